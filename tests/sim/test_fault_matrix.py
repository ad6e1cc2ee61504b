"""The fault matrix in the simulator: each row of A, B and C that is marked S, by its number.

Where a row and DESIGN.md differ, what proto.md says is expected here. The same rows over real
processes are in `tests/processes/test_system.py` and `tests/processes/test_loopback.py`, part D in
`tests/protocol/test_messages.py` and most of part E in `tests/nodes/test_table_file.py` and
`tests/nodes/test_reload.py`.
"""

import errno
import os
from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.text import split_lines
from nodes.ls.link_state import LinkState
from tests.sim.scenes import Asker, Scene
from tests.support.balancers import hedging_of

X = b"x 10.0.0.1 A IN\n"
TIMED_OUT = b"x - TIMED OUT\n"
TIGHT = replace(Bounds(), waiting_bytes_high=200, waiting_bytes_low=50)


def two() -> Scene:
    """Build LS with two puppets."""
    return Scene("", "")


def asking() -> tuple[Scene, Asker]:
    """Build LS with two puppets, and a client that has asked for x."""
    scene = two()
    return scene, scene.asker(b"x\n")


# -- A. table servers ------------------------------------------------------------------------------


def test_a1_a_ts_dies_with_a_question_in_flight() -> None:
    scene, asker = asking()
    scene.puppets[0].is_gone()
    scene.puppets[1].say(X)
    assert asker.after(0.1) == X


def test_a2_a_ts_dies_in_mid_answer() -> None:
    scene, asker = asking()
    scene.puppets[0].say(X[:9])
    scene.puppets[0].end()
    assert asker.after(4.9) == b""
    assert asker.after(0.2) == TIMED_OUT


def test_a3_a4_half_a_line_and_its_rest_after_six_seconds() -> None:
    scene, asker = asking()
    scene.puppets[0].say(X[:9])
    assert asker.after(6.0) == TIMED_OUT
    scene.puppets[0].say(X[9:])
    assert asker.after(0.1) == b"" and scene.watch.brain.parts.questions.late == 1


def test_a5_a_ts_restarts_within_a_questions_life() -> None:
    scene = Scene({"x": "10.0.0.1"}, "")
    scene.tables[0].die(silently=False)
    scene.wait(0.1)
    asker = scene.asker(b"x\n")
    assert asker.after(2.0) == b""
    scene.start_table(scene.tables[0], {"x": "10.0.0.1"})
    scene.wait_for(lambda: asker.heard, within_s=2.6)
    assert asker.after(6.0) == X


def test_a6_an_answer_in_the_turn_of_its_deadline_wins() -> None:
    scene, asker = asking()
    due = scene.watch.brain.deadline()
    assert due is not None
    scene.ls.paused_until = scene.world.t + 6.0  # LS wakes after the deadline, answer in hand
    scene.watch.undisturbed_since = due + 2.0
    scene.puppets[0].say(X)
    assert asker.after(7.0) == X


def test_a7_an_answer_just_after_its_deadline_is_late() -> None:
    scene, asker = asking()
    scene.wait_for(lambda: asker.heard)
    scene.puppets[0].say(X)
    assert asker.after(1.0) == TIMED_OUT


@pytest.mark.parametrize(("name", "reply"), [(b"x", X), (b"y", b"y - TIMED OUT\n")])
def test_a8_a9_a_late_answer_serves_its_own_name_only(name: bytes, reply: bytes) -> None:
    """That name asked again is answered by it, and the next question is not."""
    scene, asker = asking()
    scene.wait(5.1)
    asker.say(name + b"\n")
    scene.wait(0.1)
    scene.puppets[0].say(X)
    assert asker.after(5.1) == TIMED_OUT + reply


@pytest.mark.parametrize("second", [X, b"x 10.0.0.2 A IN\n"])
def test_a10_a11_a12_of_two_answers_in_a_turn_the_first_wins(second: bytes) -> None:
    scene, asker = asking()
    scene.ls.paused_until = scene.world.t + 1.0
    scene.puppets[1].say(second + second)
    scene.puppets[0].say(X)
    assert asker.after(6.0) == X


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


def test_a14_an_answer_in_another_spelling() -> None:
    scene = Scene({"GOOGLE.com": "46.1.3.7"})
    asker = scene.asker(b"google.com\n")
    assert asker.take() == b"GOOGLE.com 46.1.3.7 A IN\n"


def test_a15_fifteen_malformed_answers_are_passed_over() -> None:
    scene, asker = asking()
    scene.puppets[0].say(b"x 10.0.0.999 A IN\n" * 15)
    assert asker.after(0.1) == b"" and scene.puppets[0].accepted == 1
    scene.puppets[0].say(X)
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
    assert 60 / 2.5 <= scene.puppets[0].accepted <= 60 / 2 + 7


def test_a20_a_dial_that_nobody_answers_is_made_again() -> None:
    scene = two()
    puppet = scene.puppets[0]
    scene.world.cut(scene.ls, puppet.host, scene.world.t + 20)
    puppet.stream.abort()  # type: ignore[union-attr]
    asker = scene.asker(b"x\n")
    scene.puppets[1].say(X)
    assert asker.after(0.1) == X
    scene.wait(15.0)
    assert scene.world.probes["a dial hangs"] > 3
    scene.wait(10.0)
    assert puppet.accepted == 2


def test_a21_a_refused_dial_is_made_again() -> None:
    scene = two()
    scene.puppets[0].is_gone()
    scene.wait(10.0)
    assert 4 < scene.world.probes["a dial is refused"] < 20
    scene.puppets[0].listens()
    scene.wait(2.6)
    assert scene.puppets[0].accepted == 2


def test_a22_a_dial_that_meets_itself_is_no_link() -> None:
    scene = two()
    scene.puppets[0].is_gone()
    scene.world.own_dials = 1.0
    scene.wait(10.0)
    assert scene.world.probes["a dial meets itself"] > 3
    assert "TS1" not in scene.watch.up_since


def test_a24_no_ts_at_all() -> None:
    scene = Scene("", linked=False)
    scene.puppets[0].is_gone()
    asker = scene.asker(b"x\nQUIT\n")
    took_s = scene.wait_for(lambda: asker.has_ended)
    assert asker.take() == TIMED_OUT + b"BYE\n" and 4.9 < took_s < 5.1


def test_a25_all_die_and_each_question_has_its_own_five_seconds() -> None:
    scene, asker = asking()
    scene.wait(2.0)
    asker.say(b"y\n")
    for puppet in scene.puppets:
        puppet.is_gone()
    assert asker.after(3.1) == TIMED_OUT
    assert asker.after(2.0) == b"y - TIMED OUT\n"


def test_a26_a_slow_ts_holds_up_no_other_name() -> None:
    scene = Scene("", {"x": "10.0.0.1"})
    asker = scene.asker(b"y\nx\n")
    assert asker.take() == X
    scene.wait(4.8)
    scene.puppets[0].say(b"y 10.0.0.2 A IN\n")
    assert asker.after(0.05) == b"y 10.0.0.2 A IN\n"


def test_a29_a_host_that_vanishes_is_noticed_and_linked_again() -> None:
    scene = Scene({"x": "10.0.0.1"})
    scene.tables[0].die(silently=True)
    asker = scene.asker(b"x\n")
    assert asker.after(5.1) == TIMED_OUT
    scene.wait(10.0)
    scene.start_table(scene.tables[0], {"x": "10.0.0.1"})
    scene.wait(2.6)
    asker.say(b"x\n")
    assert asker.after(0.1) == X


def test_a30_answers_held_up_on_the_way_are_late_and_do_no_harm() -> None:
    scene = Scene({"x": "10.0.0.1"})
    scene.world.cut(scene.tables[0], scene.ls, scene.world.t + 8)
    scene.watch.undisturbed_since = scene.ls.clock() + 9
    asker = scene.asker(b"x\n")
    scene.wait(5.1)
    asker.say(b"y\n")
    assert asker.after(5.1) == TIMED_OUT + b"y - TIMED OUT\n"
    asker.say(b"x\n")
    assert asker.after(0.1) == X and scene.watch.brain.parts.questions.late == 1


def test_a31_all_links_are_cut_and_heal_in_another_order() -> None:
    tables = [{f"n{n}": f"10.0.1.{n}" for n in range(k, 10, 3)} for k in range(3)]
    scene = Scene(*tables)
    scene.watch.undisturbed_since = scene.ls.clock() + 5
    now = scene.world.t
    for host, heals_at in zip(scene.tables, (now + 4, now + 2, now + 3), strict=True):
        scene.world.cut(scene.ls, host, heals_at)
        scene.world.cut(host, scene.ls, heals_at)
    asker = scene.asker(b"".join(b"n%d\n" % n for n in range(10)) + b"QUIT\n")
    scene.wait(4.5)
    said = b"".join(b"n%d 10.0.1.%d A IN\n" % (n, n) for n in range(10))
    assert lines(asker.take()) == lines(said + b"BYE\n")


# -- A again, where LS hedges, and where TSs say what they do not know -----------------------------


def hedging(share: float, **bounds: int | float) -> Scene:
    """Build LS with two puppets; it asks the first of them first, while nothing is known."""
    return Scene("", "", share=share, bounds=replace(Bounds(), explore_every=1000, **bounds))  # type: ignore[arg-type]


def test_a1_hedging_asks_another_at_once_when_a_ts_dies() -> None:
    """[P24]: without a budget, and only for what the dead TS still owed."""
    scene = hedging(0.0)
    first, second = scene.puppets
    asker = scene.asker(question_lines(100))
    assert first.take() == question_lines(100) and second.take() == b""
    first.say(answer_lines(40))
    scene.wait(0.01)
    first.is_gone()
    scene.wait(0.01)
    assert split_lines(second.take()) == split_lines(question_lines(100))[40:]
    second.say(answer_lines(100)[len(answer_lines(40)) :])
    assert asker.after(0.01) == answer_lines(100)
    assert hedging_of(scene.watch.brain).hedged == 0


def test_a1_hedging_asks_a_ts_that_is_back_for_everything() -> None:
    """[P13] [P24]"""
    scene = hedging(0.05)
    asker = scene.asker(question_lines(100))
    for puppet in scene.puppets:
        puppet.is_gone()
        puppet.take()
    scene.wait(1.0)
    scene.puppets[1].listens()
    scene.wait(2.6)
    assert scene.puppets[1].take() == question_lines(100)
    scene.puppets[1].say(answer_lines(100))
    assert asker.after(0.01) == answer_lines(100)


def test_a18_hedging_gives_the_other_what_a_stalled_ts_was_asked() -> None:
    """[P24]: from then on nobody waits for the stalled one, and an answer of it still counts."""
    scene = hedging(0.0, waiting_bytes_high=200, waiting_bytes_low=50, held_s=0.3)
    first, second = scene.puppets
    first.reads = False
    first.stream.pipe_in.size = 1 << 20  # type: ignore[union-attr]  # there is no room on the way
    asker = scene.asker(question_lines(100))
    assert second.take() == b""
    scene.wait(0.35)
    assert scene.watch.link_states["TS1"] is LinkState.STALLED
    assert second.take() == question_lines(100)
    first.say(answer_lines(1))
    second.say(answer_lines(100)[len(answer_lines(1)) :])
    scene.wait(0.01)
    assert lines(asker.take()) == lines(answer_lines(100))


@pytest.mark.parametrize("share", [None, 0.0, 1.0])
def test_a31_not_found_speaks_for_no_ts_that_is_down(share: float | None) -> None:
    """[P21]: it may have the name, and so the question stays open until 5.0 s."""
    scene = Scene({"z": "10.0.0.1"}, {"x": "10.0.0.1"}, share=share, answer_unknown=True)
    scene.tables[1].die(silently=False)
    scene.wait(0.01)
    asker = scene.asker(b"X\ny\n")
    took_s = scene.wait_for(lambda: asker.heard)
    assert 4.9 < took_s < 5.1
    assert asker.take() == b"X - TIMED OUT\ny - TIMED OUT\n"
    scene.start_table(scene.tables[1], {"x": "10.0.0.1"})
    scene.wait(2.6)
    asker.say(b"X\ny\nX AAAA\n")
    assert lines(asker.after(0.1)) == lines(X + b"y - NOT FOUND\nX AAAA - NO DATA\n")


def test_a31_what_a_ts_said_before_it_went_is_forgotten() -> None:
    """[P21] [P22]"""
    scene = two()
    first, second = scene.puppets
    asker = scene.asker(b"x\ny\n")
    first.say(b"x - NOT FOUND\n")
    scene.wait(0.01)
    first.is_gone()
    first.listens()
    second.say(b"x - NOT FOUND\n")
    assert asker.after(1.0) == b"" and first.accepted == 2
    second.say(b"y - NO DATA\n")
    first.say(b"x 10.0.0.1 A IN\ny 10.0.0.2 A IN\n")
    assert asker.after(0.01) == b"x 10.0.0.1 A IN\ny 10.0.0.2 A IN\n"


def test_hedging_costs_no_more_than_its_share_of_many_questions() -> None:
    """[P23]: a slow TS is hedged, one question in twenty."""
    scene = hedging(0.05)
    asker = scene.asker()
    for at in range(0, 1000, 100):
        asker.say(b"".join(b"n%d\n" % n for n in range(at, at + 100)))
        scene.wait(0.06)
    first, second = (split_lines(puppet.take()) for puppet in scene.puppets)
    twice = set(first) & set(second)
    assert len(set(first) | set(second)) == 1000
    assert len(first) + len(second) == 1000 + len(twice) and len(twice) == 50


# -- B. clients ------------------------------------------------------------------------------------

TABLE = {f"n{n}": "10.0.0.1" for n in range(1000)}


def lines(data: bytes) -> list[bytes]:
    """Return the lines in an order of their own: which comes first does not matter."""
    return sorted(split_lines(data))


def question_lines(count: int) -> bytes:
    return b"".join(b"n%d\n" % n for n in range(count))


def answer_lines(count: int) -> bytes:
    return b"".join(b"n%d 10.0.0.1 A IN\n" % n for n in range(count))


@pytest.mark.parametrize("word", [b"QUIT\n", b""])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_b1_b4_quit_or_half_close_with_questions_in_flight(count: int, word: bytes) -> None:
    scene = Scene(TABLE)
    asker = scene.asker(question_lines(count) + word)
    if not word:
        asker.end()
    assert asker.after(0.5) == answer_lines(count) + (b"BYE\n" if word else b"")
    assert asker.has_ended and not asker.was_reset
    asker.close()
    scene.leaves_nothing()


def test_b2_bytes_after_quit_are_read_and_dropped() -> None:
    scene = Scene(TABLE)
    asker = scene.asker(question_lines(10) + b"QUIT\n" + b"x" * 100_000)
    assert asker.after(0.5) == answer_lines(10) + b"BYE\n"
    assert asker.has_ended and not asker.was_reset


def test_b3_every_cut_gives_what_one_write_gives() -> None:
    data = b"n1\r\nbad name\nn2.\nQUIT\n"
    scene = Scene(TABLE)
    for place in range(1, len(data)):
        asker = scene.asker(data[:place])
        asker.say(data[place:])
        scene.wait(0.05)
        said = lines(asker.take())
        assert said == sorted(
            [b"n1 10.0.0.1 A IN", b"- ERROR BADNAME", b"n2 10.0.0.1 A IN", b"BYE"]
        )


@pytest.mark.parametrize("way", ["close", "reset"])
def test_b5_a_client_vanishes_with_questions_in_flight(way: str) -> None:
    scene = two()
    asker = scene.asker(question_lines(500))
    (asker.close if way == "close" else asker.reset)()
    scene.wait(1.0)
    if way == "reset":
        assert scene.watch.counts["dropped"] == 500
    scene.leaves_nothing()


def test_b6_a_reset_while_ls_sends_hurts_nobody_else() -> None:
    scene = Scene(TABLE)
    scene.world.network.room = 500
    asker = scene.asker(question_lines(1000))
    other = scene.asker(b"n1\n")
    asker.reset()
    assert other.after(1.0) == b"n1 10.0.0.1 A IN\n"
    other.close()
    scene.leaves_nothing()


def test_b8_a_byte_a_second_is_cut_ten_seconds_after_the_first() -> None:
    scene = two()
    asker = scene.asker()
    began = scene.world.t
    while not (asker.has_ended or asker.was_reset):
        asker.say(b"x")
        scene.wait(1.0)
        assert scene.world.t - began < 30
    assert 10.0 <= scene.world.t - began <= 12.0


def test_b9_a_client_that_never_reads_is_paused_and_then_cut() -> None:
    scene = Scene(TABLE)
    scene.world.network.room = 5_000
    asker = scene.asker()
    asker.reads = False
    asker.say(question_lines(1000) * 50)
    scene.wait(2.0)
    other = scene.asker(b"n1\n")
    assert other.take() == b"n1 10.0.0.1 A IN\n"
    (slow,) = (c for c in scene.ls.loop.streams.accepted.values() if c.name == "client-1")  # type: ignore[union-attr]
    assert slow.waiting > scene.bounds.owed_bytes_high and not slow.is_reading
    scene.wait(12.0)
    assert asker.stream.is_reset  # type: ignore[union-attr]
    other.close()
    scene.leaves_nothing()


def test_b9_one_who_takes_not_one_byte_is_cut_too() -> None:
    """Nothing is ever taken, so nothing but the first attempt can start the clock."""
    scene = Scene("")
    asker, other = scene.asker(), scene.asker()
    asker.say(b"?\n")
    scene.world.network.room = 0
    scene.wait(9.9)
    assert not asker.has_ended
    scene.wait(0.2)
    assert asker.has_ended and not other.has_ended
    assert scene.ls.loop.hits["write_stall_s"] == 1  # type: ignore[union-attr]


def test_b2_a_client_that_never_ends_after_bye_is_closed() -> None:
    scene = Scene("")
    asker = scene.asker(b"QUIT\n")
    assert asker.take() == b"BYE\n" and asker.has_ended
    loop = scene.ls.loop
    assert loop is not None
    scene.wait(4.9)
    assert len(loop.streams.accepted) == 1
    scene.wait(0.2)
    assert len(loop.streams.accepted) == 0 and loop.hits["linger_s"] == 1


def test_b10_one_who_reads_a_little_now_and_then_lives() -> None:
    scene = Scene(TABLE)
    scene.world.network.room = 100
    asker = scene.asker()
    asker.reads = False
    asker.say(question_lines(20) + b"QUIT\n")
    for _ in range(60):
        scene.wait(3.0)
        asker.most, asker.reads = 40, True
        if asker.stream.can_read():  # type: ignore[union-attr]
            asker.heard += asker.stream.recv(40)  # type: ignore[union-attr]
        asker.reads = False
    assert asker.take() == answer_lines(20) + b"BYE\n"


@pytest.mark.parametrize(("clients", "times"), [(20, 1), (1, 100)])
def test_b13_b16_a_name_asked_many_times_at_once_costs_one_line(clients: int, times: int) -> None:
    scene = two()
    askers = [scene.asker(b"x\n" * times) for _ in range(clients)]
    assert scene.puppets[0].take() == b"x\n"
    scene.puppets[0].say(X)
    scene.wait(0.1)
    assert [asker.take() for asker in askers] == [X * times] * clients


def test_b14_one_who_joins_has_its_own_deadline() -> None:
    scene = two()
    first = scene.asker(b"x\n")
    scene.wait(0.9)
    second = scene.asker(b"X\n")
    assert first.after(4.2) == TIMED_OUT and second.take() == b""
    assert second.after(0.9) == b"X - TIMED OUT\n"


def test_b20_silent_connections_are_cut_when_that_is_wanted() -> None:
    scene = Scene(TABLE, bounds=replace(Bounds(), idle_s=300.0, clients_max=3))
    silent = [scene.asker() for _ in range(3)]
    refused = scene.asker()
    assert refused.take() == b"- ERROR BUSY\n"
    scene.wait(301.0)
    assert all(asker.has_ended for asker in silent)
    assert scene.asker(b"n1\n").take() == b"n1 10.0.0.1 A IN\n"


def test_b21_a_cut_name_is_not_asked() -> None:
    scene = two()
    asker = scene.asker(b"example.co")
    asker.end()
    assert asker.after(0.5) == b"- ERROR UNFINISHED\n" and asker.has_ended
    assert scene.puppets[0].take() == b""


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
    assert asking.after(5.0) == TIMED_OUT + b"BYE\n"
    scene.wait(1.0)
    assert scene.ls.exit_code == 0


def test_c1_one_who_waits_in_the_backlog_is_still_taken() -> None:
    scene = Scene(TABLE, bounds=replace(Bounds(), accepts_per_turn=1))
    scene.ls.paused_until = scene.world.t + 1.0
    askers = [scene.asker() for _ in range(5)]
    for asker in askers:
        asker.say(b"n1\n")
    scene.signal()
    scene.wait(2.0)
    assert [asker.take() for asker in askers] == [b"n1 10.0.0.1 A IN\nBYE\n"] * 5


def test_c5_the_end_of_the_wake_up_pair_is_no_reason_to_spin() -> None:
    scene = two()
    signals = scene.ls.signals
    assert signals is not None and scene.ls.loop is not None
    signals.has_ended = True
    scene.ls.touched()
    scene.wait(0.1)
    turns = scene.ls.loop.turns
    scene.wait(10.0)
    assert scene.ls.loop.turns - turns <= 2


def test_c7_after_a_stop_what_can_be_read_wins_over_deadlines() -> None:
    scene = Scene({"x": "10.0.0.1"}, "")
    asker = scene.asker(b"y\nx\n")
    asker.take()
    asker.say(b"x\nz\n")
    scene.ls.paused_until = scene.world.t + 10
    scene.watch.undisturbed_since = scene.ls.clock() + 11
    scene.puppets[0].say(b"y 10.0.0.2 A IN\n")
    scene.wait(16.0)
    said = split_lines(asker.take())
    assert sorted(said) == [b"x 10.0.0.1 A IN", b"y 10.0.0.2 A IN", b"z - TIMED OUT"]


def test_c8_the_time_of_day_decides_nothing() -> None:
    scene, asker = asking()
    scene.wait(1.0)
    scene.ls.wall_offset_s = 3600.0
    scene.wait(1.0)
    scene.ls.wall_offset_s = -3600.0
    took_s = 2.0 + scene.wait_for(lambda: asker.heard)
    assert asker.take() == TIMED_OUT and 4.9 < took_s < 5.1


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


def test_c14_connections_gone_before_accept_are_passed_over() -> None:
    scene = Scene(TABLE)
    scene.world.aborts = 0.7
    askers = [scene.asker() for _ in range(10)]
    scene.wait(1.0)
    for asker in askers:
        asker.say(b"n1\n")
    scene.wait(0.5)
    assert [asker.take() for asker in askers] == [b"n1 10.0.0.1 A IN\n"] * 10


def test_c15_short_and_refused_io_and_lies_change_nothing() -> None:
    scene = Scene(TABLE)
    network = scene.world.network
    network.short, network.refused, network.spurious = 0.9, 0.3, 0.3
    asker = scene.asker()
    asker.say(question_lines(200) + b"QUIT\n")
    network.refused = 0.0  # the asker's own reading stays simple
    assert asker.after(4.0) == answer_lines(200) + b"BYE\n"


def test_c16_too_many_unknown_names_pause_the_reading() -> None:
    bounds = replace(Bounds(), pending_per_client_max=100, read_bytes=100)
    scene = Scene(TABLE, bounds=bounds)
    asker = scene.asker(b"".join(b"unknown%d\n" % n for n in range(400)) + b"QUIT\n")
    scene.wait(1.0)
    assert scene.watch.brain.parts.questions.pending <= 100 + 100 // 2
    assert asker.take() == b""
    scene.wait_for(lambda: asker.has_ended)
    assert asker.take().count(b" - TIMED OUT\n") == 400


def test_emfile_on_accept_rests_and_then_goes_on() -> None:
    scene = Scene(TABLE)
    scene.ls.fds_max = 8
    assert scene.ls.loop is not None
    askers = [scene.asker(b"n1\n") for _ in range(4)]
    turns = scene.ls.loop.turns
    scene.wait(1.0)
    assert scene.ls.loop.turns - turns <= 25
    served = [asker for asker in askers if asker.heard]
    assert 0 < len(served) < 4
    for asker in served:
        asker.say(b"QUIT\n")
        scene.wait(0.1)
        asker.close()
    scene.wait(1.0)
    assert all(asker.heard for asker in askers)


@pytest.mark.parametrize("numbers", [(1, 1, 1, 15), (1, 15, 1), (15, 1, 1), (15, 1)])
def test_c2_a_hangup_ends_nothing_also_beside_a_signal_to_end(numbers: tuple[int, ...]) -> None:
    """Neither before one that ends, nor after it, nor in one read with it."""
    scene, asker = asking()
    assert scene.ls.signals is not None
    for number in numbers:
        scene.ls.signals.ring(number)
    scene.wait(0.1)
    scene.ls.signals.ring(1)
    scene.wait(0.1)
    scene.puppets[0].say(X)
    assert asker.after(0.1) == X + b"BYE\n"
    asker.close()
    scene.wait(6.0)
    assert scene.ls.exit_code == 0


# -- E. tables -------------------------------------------------------------------------------------


def version(number: int) -> dict[str, str]:
    return {f"n{n}": f"10.0.{number}.1" for n in range(40)}


def said_by(number: int) -> bytes:
    return b"".join(b"n%d 10.0.%d.1 A IN\n" % (n, number) for n in range(40))


def version_of(line: bytes) -> int:
    return int(line.split(b".")[2])


def are_never_old_after_new(heard: list[bytes]) -> bool:
    versions = list(map(version_of, heard))
    return versions == sorted(versions)


@pytest.mark.parametrize("latency_s", [0.0001, 0.02])
def test_e5_a_reload_in_mid_traffic(latency_s: float) -> None:
    """[P25]: each answer is wholly old or new, none is old after a new one, and nobody waits for
    it. The watches see to the rest at every step (I3)."""
    scene = Scene(version(0))
    scene.world.network.latency_s = latency_s
    askers = [scene.asker() for _ in range(3)]
    scene.world.at(scene.world.t + 0.05, lambda: scene.reload(scene.tables[0], version(1)))
    for number in range(400):
        askers[number % 3].say(b"n%d\n" % (number % 40))
        scene.wait(0.0005)
    scene.wait(0.2)
    heard = [split_lines(asker.take()) for asker in askers]
    assert all(map(are_never_old_after_new, heard)) and sum(map(len, heard)) == 400
    seen = {line for each in heard for line in each}
    rows = [set(split_lines(said_by(number))) for number in (0, 1)]
    assert seen <= rows[0] | rows[1] and all(seen & each for each in rows)
    assert scene.watch.counts["timed_out"] == 0
    assert [standing.name for standing in scene.tables[0].standings] == ["RELOADING", "READY"]


def test_e5_a_batch_is_answered_from_old_table_then_new() -> None:
    """[P25]: also one that is read in parts while the table is."""
    scene = Scene(version(0))
    asker = scene.asker()
    scene.world.network.short = 0.9
    for number in range(1, 6):
        scene.reload(scene.tables[0], version(number))
        asker.say(question_lines(40))
        heard = split_lines(asker.after(0.3))
        assert are_never_old_after_new(heard)
        assert set(map(version_of, heard)) <= {number - 1, number}
        assert sorted(line.split(b" ")[0] for line in heard) == lines(question_lines(40))
    asker.say(question_lines(40))
    assert lines(asker.after(0.3)) == lines(said_by(5))


def test_e5_an_answer_of_the_old_table_counts_when_it_arrives() -> None:
    """A question asked then was answered then: an answer may come from the table of its asking."""
    scene = Scene(version(0))
    asker = scene.asker()
    (ts,) = scene.tables
    scene.world.cut(ts, scene.ls, scene.world.t + 2.0)
    scene.watch.undisturbed_since = scene.ls.clock() + 3.0
    asker.say(b"n1\n")
    scene.wait(0.1)
    scene.reload(ts, version(1))
    scene.wait(0.1)
    assert len(scene.table_watches["TS1"].tables) == 2
    asker.say(b"n2\n")
    assert asker.after(2.5) == b"n1 10.0.0.1 A IN\nn2 10.0.1.1 A IN\n"
    assert scene.world.probes["an answer is late after a reload"] == 1


def test_e5_a_new_name_is_answered_when_it_is_asked_again() -> None:
    scene = Scene(version(0))
    asker = scene.asker(b"z\n")
    scene.reload(scene.tables[0], {"z": "10.0.0.7"})
    assert asker.after(1.5) == b""
    asker.say(b"z\nn1\n")
    assert asker.after(0.1) == b"z 10.0.0.7 A IN\n" * 2
    assert asker.after(5.5) == b"n1 - TIMED OUT\n"


def test_e6_a_file_that_cannot_be_read_changes_nothing() -> None:
    """[P26]"""
    scene = Scene(version(0))
    asker = scene.asker()
    for number, error in enumerate((errno.ENOENT, errno.EAGAIN, errno.EIO), 1):
        scene.reload(scene.tables[0], OSError(error, os.strerror(error)))
        asker.say(question_lines(40))
        assert lines(asker.after(0.1)) == lines(said_by(0))
        assert scene.world.probes["a reload is refused"] == number
