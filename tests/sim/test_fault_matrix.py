"""The fault matrix in the simulator: each row of A, B and C that is marked S, by its number.

Rows that differ in lines only are scripts for `play`. The same rows over real processes are in
`tests/processes/test_system.py` and `tests/processes/test_loopback.py`, part D in
`tests/protocol/test_messages.py` and most of part E in `tests/nodes/test_table_file.py` and
`tests/nodes/test_reload.py`.
"""

import errno
import os
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.text import split_lines
from tests.sim.scenes import Asker, Scene, Speaker

X = b"x 10.0.0.1 A IN\n"
TIGHT = replace(Bounds(), waiting_bytes_high=200, waiting_bytes_low=50)


def two() -> Scene:
    """Build LS with two puppets."""
    return Scene("", "")


def asking() -> tuple[Scene, Asker]:
    """Build LS with two puppets, and a client that has asked for x."""
    scene = two()
    return scene, scene.asker(b"x\n")


def play(script: str) -> None:
    """Play a scene of LS, two puppets and clients, C and D: who does what, or so many seconds.

    They hear all that has come since the last time; of lines the order is free.
    """
    scene = two()
    people: dict[str, Speaker] = dict(zip(("TS1", "TS2"), scene.puppets, strict=True))
    for step in script.split(";"):
        who, *words = step.split()
        if not words:
            scene.wait(float(who))
            continue
        someone = people.get(who) or people.setdefault(who, scene.asker())
        verb, text = words[0], " ".join(words[1:])
        data = text.replace(" | ", "\n").encode()
        match verb:
            case "says":
                someone.say(data + b"\n")
            case "begins":
                someone.say(data)
            case "hears":
                assert lines(someone.take()) == lines(data + b"\n" * bool(data)), step
            case "ends":
                someone.end()
            case "vanishes":
                someone.host.die(silently=True)
            case "is_cut":
                assert someone.has_ended or someone.was_reset
            case "waits":  # its answers do
                scene.world.cut(someone.host, scene.ls, scene.world.t + float(text))
            case _:
                getattr(someone, verb)()
        scene.wait(0.05)


# -- A. table servers ------------------------------------------------------------------------------


TABLE_SERVERS = [
    "C says x; TS1 is_gone; TS2 says x 10.0.0.1 A IN; C hears x 10.0.0.1 A IN",
    "C says x; TS1 begins x 10.0.0; TS1 ends; 4.7; C hears; 0.2; C hears x - TIMED OUT",
    "C says x; TS1 begins x 10.0.0; 6; C hears x - TIMED OUT; TS1 says .1 A IN; C hears",
    "TS1 is_gone; C says x; TS1 listens; 2.6; TS1 hears x; TS1 says x ::1 AAAA IN; C hears;"
    "TS1 says x 10.0.0.1 A IN; C hears x 10.0.0.1 A IN",
    "C says x; 5.1; C hears x - TIMED OUT; TS1 says x 10.0.0.1 A IN; 1; C hears",
    "C says x; 5.1; C says x; TS1 says x 10.0.0.1 A IN; C hears x - TIMED OUT | x 10.0.0.1 A IN",
    "C says x; 5.1; C says y; TS1 says x 10.0.0.1 A IN; 5.1; C hears x - TIMED OUT | y - TIMED OUT",
    "C says x; TS1 says x 10.0.0.1 A IN | x 10.0.0.1 A IN; C hears x 10.0.0.1 A IN;"
    "TS2 says x 10.0.0.1 A IN | x 10.0.0.2 A IN; 6; C hears",
    "C says google.com; TS1 says GOOGLE.com 46.1.3.7 A IN; C hears GOOGLE.com 46.1.3.7 A IN",
]


@pytest.mark.parametrize("script", TABLE_SERVERS)
def test_a1_a2_a3_a4_a5_a7_a8_a9_a10_a11_a12_a14_answers(script: str) -> None:
    """A TS dies, is late, answers twice, otherwise than the other, or in another spelling."""
    play(script)


LINKS = [
    "TS1 is_gone; 10; TS1 listens; 2.6; C says x; TS1 hears x",
    "TS1 is_gone; TS2 is_gone; C says x | QUIT; 4.8; C hears; 0.2; C hears x - TIMED OUT | BYE",
    "C says x; 2; C says y; TS1 is_gone; TS2 is_gone; 3; C hears x - TIMED OUT; 2;"
    "C hears y - TIMED OUT",
    "C says y | x; TS2 says x 10.0.0.1 A IN; C hears x 10.0.0.1 A IN; 4.6;"
    "TS1 says y 10.0.0.2 A IN; C hears y 10.0.0.2 A IN",
    "TS1 vanishes; TS2 vanishes; C says x; 5.1; C hears x - TIMED OUT; 10; TS1 listens; 2.6;"
    "C says x; TS1 says x 10.0.0.1 A IN; C hears x 10.0.0.1 A IN",
    "C says x; TS1 waits 8; TS1 says x 10.0.0.1 A IN; 5.1; C says y; 5.1;"
    "C hears x - TIMED OUT | y - TIMED OUT",
    "TS1 waits 4; TS2 waits 2; C says x | y; TS1 says x 10.0.0.1 A IN; TS2 says y 10.0.0.2 A IN;"
    "3; C hears y 10.0.0.2 A IN; 1.5; C hears x 10.0.0.1 A IN",
]


@pytest.mark.parametrize("script", LINKS)
def test_a21_a24_a25_a26_a29_a30_a31_links_go_and_come(script: str) -> None:
    """Dials are refused, all TSs are down or slow, vanish, or are cut off for a while."""
    play(script)


@pytest.mark.parametrize(
    "data",
    [b"y 10.0.0.1 A IN\n" * 110, b"\x1b\0\xff\n" * 16, b"z" * 10_000_000, b"BYE\n"],
    ids=["unasked", "malformed", "endless", "polite"],
)
def test_a13_a15_a16_a28_a_ts_that_breaks_off_is_redialled(data: bytes) -> None:
    """A TS breaks the rules (I7 watches how much LS holds of it meanwhile), or ends politely."""
    scene, asker = asking()
    bad, good = scene.puppets
    bad.say(data)
    if data == b"BYE\n":
        bad.end()
    scene.wait(0.5)
    assert bad.accepted == 2
    good.say(X)
    assert asker.after(0.1) == X


def test_a18_a_ts_that_stops_reading_holds_clients_up_for_1_s() -> None:
    scene = Scene("", {"x": "10.0.0.1"}, bounds=TIGHT)
    scene.puppets[0].reads = False
    scene.world.network.room = 100
    asker = scene.asker(b"".join(b"n%d\n" % n for n in range(200)))
    scene.wait(0.5)
    assert scene.watch.brain.backpressure.paused
    scene.world.network.room = 1 << 20  # for the others; the puppet's stays full of its own
    scene.puppets[0].stream.pipe_in.size = 1 << 20  # type: ignore[union-attr]
    scene.wait(1.5)
    other = scene.asker(b"x\n")
    assert other.take() == X
    assert asker.heard.count(b"\n") <= 200


def test_a19_a_ts_that_accepts_and_closes_is_dialled_rarely() -> None:
    scene = Scene("", linked=False)
    for _ in range(6000):
        scene.wait(0.01)
        if scene.puppets[0].stream is not None and not scene.puppets[0].stream.is_closed:
            scene.puppets[0].close()
    assert 60 / 1.25 <= scene.puppets[0].accepted <= 60 + 7


# -- B. clients ------------------------------------------------------------------------------------

TABLE = {f"n{n}": "10.0.0.1" for n in range(1000)}


def lines(data: bytes) -> list[bytes]:
    """Return the lines in an order of their own: which comes first does not matter."""
    return sorted(split_lines(data))


def question_lines(count: int) -> bytes:
    return b"".join(b"n%d\n" % n for n in range(count))


def answer_lines(count: int) -> bytes:
    return b"".join(b"n%d 10.0.0.1 A IN\n" % n for n in range(count))


@pytest.mark.parametrize("lies", [0.0, 0.3])
@pytest.mark.parametrize("word", [b"QUIT\n", b""])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_b1_b4_c15_quit_or_half_close_with_questions_in_flight(
    count: int, word: bytes, lies: float
) -> None:
    """Also where `select` lies, and sends are refused or short."""
    scene = Scene(TABLE)
    network = scene.world.network
    network.short, network.refused, network.spurious = 3 * lies, lies, lies
    asker = scene.asker(question_lines(count) + word)
    if not word:
        asker.end()
    assert asker.after(4.0) == answer_lines(count) + (b"BYE\n" if word else b"")
    assert asker.has_ended and not asker.was_reset
    asker.close()
    scene.leaves_nothing()


CLIENTS = [
    "C begins x; 5; C begins x; 5.1; C is_cut",
    "C says x | x | x; D says X; TS1 hears x; TS1 says x 10.0.0.1 A IN; D hears x 10.0.0.1 A IN;"
    "C hears x 10.0.0.1 A IN | x 10.0.0.1 A IN | x 10.0.0.1 A IN",
    "C says x; 0.9; D says X; 4.1; C hears x - TIMED OUT; D hears; 0.9; D hears X - TIMED OUT",
    "C begins example.co; C ends; 0.5; C hears - ERROR UNFINISHED; C is_cut; TS1 hears",
]


@pytest.mark.parametrize("script", CLIENTS)
def test_b8_b13_b14_b16_b21_clients_dawdle_or_ask_the_same(script: str) -> None:
    play(script)


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("room", [500, 1_000_000])
def test_b5_b6_a_client_vanishes_and_nobody_else_is_hurt(way: str, room: int) -> None:
    scene = Scene(TABLE, "")
    scene.world.network.room = room
    asker = scene.asker(question_lines(1000) + b"y\n" * 5)
    other = scene.asker(b"n1\n")
    getattr(asker, way)()
    assert other.after(1.0) == b"n1 10.0.0.1 A IN\n"
    other.close()
    scene.leaves_nothing()


def test_b3_every_cut_gives_what_one_write_gives() -> None:
    data = b"n1\r\nbad name\nn2.\nQUIT\n"
    scene = Scene(TABLE)
    for place in range(1, len(data)):
        asker = scene.asker(data[:place])
        asker.say(data[place:])
        said = b"n1 10.0.0.1 A IN\n- ERROR BADNAME\nn2 10.0.0.1 A IN\nBYE\n"
        assert lines(asker.after(0.05)) == lines(said)


# -- C. the process and its system -----------------------------------------------------------------


def test_c1_c3_a_drain_gives_what_is_owed_and_ends_in_its_time() -> None:
    scene = two()
    asking, idle, late = scene.asker(b"x\n"), scene.asker(), scene.asker()
    deaf = scene.asker(b"y\n")
    deaf.reads = False
    scene.ls.paused_until = scene.world.t + 0.1
    late.say(b"z\n")  # unread when the signal comes: it is read once more
    scene.wait(0.05)
    scene.signal()
    assert idle.after(0.2) == b"BYE\n" and idle.has_ended
    scene.puppets[0].say(b"z 10.0.0.1 A IN\n")
    assert late.after(0.1) == b"z 10.0.0.1 A IN\nBYE\n"
    assert asking.after(5.0) == b"x - TIMED OUT\nBYE\n"
    scene.wait(1.0)
    assert scene.ls.exit_code == 0


def test_c10_a_dial_without_a_descriptor_is_tried_again() -> None:
    """[P59]: from another cause than clients."""
    scene = Scene("", linked=False)
    assert scene.world.probes["a dial runs out of descriptors"] == 0
    scene.wait(1.0)
    scene.ls.fds_max = 6
    scene.puppets[0].is_gone()
    scene.wait(0.01)
    holders = [scene.ls.take_fd(object()) for _ in range(2) if scene.ls.has_fd()]
    scene.puppets[0].listens()
    scene.wait(5.0)
    assert scene.world.probes["a dial runs out of descriptors"] > 1
    for fd in holders:
        del scene.ls.open[fd]
    scene.wait(2.6)
    assert scene.puppets[0].accepted == 2


def test_c12_an_exception_out_of_a_step_leaves_the_loop() -> None:
    scene = two()

    def broken(event: object, now: float) -> list[object]:
        raise ZeroDivisionError

    scene.watch.brain.step = broken  # type: ignore[assignment, method-assign]
    with pytest.raises(ZeroDivisionError):
        scene.asker(b"x\n")


def test_c14_a_connection_reset_before_accept_leaves_nothing() -> None:
    scene = Scene("")
    scene.ls.paused_until = scene.world.t + 1.0
    scene.asker().reset()
    scene.wait(1.5)
    assert scene.world.probes["reset before it was tuned"] == 1
    scene.leaves_nothing()


def test_c16_too_many_unknown_names_pause_the_reading() -> None:
    bounds = replace(Bounds(), pending_per_client_max=100, read_bytes=100)
    scene = Scene(TABLE, bounds=bounds)
    asker = scene.asker(b"".join(b"unknown%d\n" % n for n in range(400)) + b"QUIT\n")
    scene.wait(1.0)
    assert scene.watch.brain.parts.questions.pending <= 100 + 100 // 2
    assert asker.take() == b""
    scene.wait_for(lambda: asker.has_ended)
    assert asker.take().count(b" - TIMED OUT\n") == 400


# -- E. tables -------------------------------------------------------------------------------------


def version(number: int) -> dict[str, str]:
    return {f"n{n}": f"10.0.{number}.1" for n in range(40)}


@pytest.mark.parametrize("latency_s", [0.0001, 0.02])
def test_e5_a_reload_in_mid_traffic(latency_s: float) -> None:
    """[P25]: nobody waits for it. That each answer is of one table, and never of an older one than
    the last, the watches see at every step (I3, P10)."""
    scene = Scene(version(0))
    scene.world.network.latency_s = latency_s
    askers = [scene.asker() for _ in range(3)]
    scene.world.at(scene.world.t + 0.05, lambda: scene.reload(scene.tables[0], version(1)))
    for number in range(400):
        askers[number % 3].say(b"n%d\n" % (number % 40))
        scene.wait(0.0005)
    scene.wait(0.2)
    heard = [line for asker in askers for line in split_lines(asker.take())]
    assert len(heard) == 400 and {line.split(b".")[2] for line in heard} == {b"0", b"1"}
    assert scene.watch.counts["timed_out"] == 0
    assert [standing.name for standing in scene.tables[0].standings] == ["RELOADING", "READY"]


def test_e6_a_file_that_cannot_be_read_changes_nothing() -> None:
    """[P26]"""
    scene = Scene(version(0))
    asker = scene.asker()
    for number, error in enumerate((errno.ENOENT, errno.EAGAIN, errno.EIO), 1):
        scene.reload(scene.tables[0], OSError(error, os.strerror(error)))
        asker.say(question_lines(40))
        assert lines(asker.after(0.1)) == lines(answer_lines(40))
        assert scene.world.probes["a reload is refused"] == number
