"""The load balancer's brain: against an obvious model under chance, and fault by fault.

The rows of the fault matrix that need neither sockets nor a simulated network are here, with
their numbers in the names of the tests.
"""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.wire import fold, split_lines
from nodes.ls import LoadBalancer
from tests.splitting import pieces
from tests.stage import Stage

SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"


def started(bounds: Bounds | None = None, linked: bool = True, once: bool = False) -> Stage:
    bounds = bounds or Bounds()
    stage = Stage(LoadBalancer(SERVERS, bounds, lambda: 0.0, once=once), bounds)
    stage.begin()
    if linked:
        stage.connect(T1)
        stage.connect(T2)
    return stage


def asking(*lines: bytes, bounds: Bounds | None = None) -> Stage:
    """LS with one client that has asked these, and what it sent to its TSs taken out."""
    stage = started(bounds)
    stage.accept("a")
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    stage.take(T1)
    stage.take(T2)
    return stage


# -- against a model -------------------------------------------------------------------------------

NAMES = [b"a", b"B.x", b"c.y.", b"D", b"nobody"]


@dataclass
class Plan:
    """One step of a random story: what happens, to whom, and with what."""

    kind: str
    who: int
    names: list[bytes]
    cut: list[int]
    seconds: float


plans = st.lists(
    st.builds(
        Plan,
        st.sampled_from(["ask", "ask", "answer", "answer", "wait", "lose", "reach", "leave"]),
        st.integers(0, 1),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
        st.lists(st.integers(1, 40), max_size=4, unique=True).map(sorted),
        st.sampled_from([0.2, 1.0, 2.4, 4.9]),
    ),
    max_size=25,
)


def address(name: bytes) -> bytes:
    return b"10.0.0.%d" % (1 + [fold(n) for n in NAMES].index(fold(name)))


@given(plans, st.booleans())
def test_every_question_gets_one_reply_of_its_own_whatever_happens(
    plan: list[Plan], quits: bool
) -> None:
    """A multiset per client of what it asked equals that of the names it heard of."""
    stage = started()
    clients = {0: "a", 1: "b"}
    asked: dict[str, list[bytes]] = {"a": [], "b": []}
    heard: dict[str, list[bytes]] = {"a": [], "b": []}
    for client in clients.values():
        stage.accept(client)
    for step in plan:
        client, link = clients[step.who], (T1, T2)[step.who]
        if step.kind == "ask" and client in stage.connections:
            data = b"".join(name + b"\n" for name in step.names)
            stage.hear(client, *pieces(data, [at for at in step.cut if at < len(data)]))
            asked[client] += step.names
        elif step.kind == "answer" and link in stage.connections:
            sent = {n for n in split_lines(stage.take(link)) if n != b"nobody"}
            replies = [n for name in step.names if (n := fold(name)) in sent]
            data = b"".join(b"%b %b A IN\n" % (n.upper(), address(n)) for n in replies)
            stage.hear(link, *pieces(data, [at for at in step.cut if at < len(data)]))
        elif step.kind == "wait":
            stage.wait(step.seconds)
        elif step.kind == "lose" and link in stage.connections:
            stage.take(link)
            stage.reset(link)
        elif step.kind == "reach":
            stage.wait(2.5)
            if link in stage.dialled:
                stage.connect(link)
        elif step.kind == "leave" and client in stage.connections:
            heard.pop(client, None)
            asked.pop(client, None)
            stage.reset(client)
    for client in asked:
        if quits:
            stage.hear(client, b"QUIT\n")
        else:
            stage.end(client)
    stage.wait(5.0)
    for client, names in asked.items():
        lines = split_lines(stage.take(client))
        if quits:
            assert lines.pop() == b"BYE"
        assert client not in stage.connections or stage.has_ended(client)
        for line in lines:
            fields = line.split(b" ")
            assert fields[1:] in ([address(fields[0]), b"A", b"IN"], [b"-", b"TIMED", b"OUT"])
            heard[client].append(fold(fields[0]))
        assert sorted(heard[client]) == sorted(map(fold, names))
        timed_out = [line.split(b" ")[0] for line in lines if line.endswith(b"OUT")]
        assert {n + b"." * (n == b"c.y") for n in timed_out} <= set(names)


# -- part A of the fault matrix --------------------------------------------------------------------


def test_a1_a_ts_dies_with_a_question_in_flight_and_the_other_answers() -> None:
    stage = asking(b"x")
    stage.reset(T1)
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.2 A IN\n"


def test_a2_a_fragment_of_an_answer_is_never_relayed() -> None:
    stage = asking(b"www.google.com")
    stage.hear(T1, b"www.goo")
    stage.end(T1)
    stage.wait(4.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"www.google.com - TIMED OUT\n"


def test_a3_a4_half_a_line_and_its_rest_too_late_come_to_one_timeout() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"x 10.0")
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.hear(T1, b".0.1 A IN\n")
    assert stage.take("a") == b""


def test_a5_a_ts_that_restarts_is_asked_once_for_what_is_open() -> None:
    stage = asking(b"x", b"y", b"x")
    stage.hear(T2, b"y 10.0.0.2 A IN\n")
    stage.reset(T1)
    stage.wait(2.0)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"y 10.0.0.2 A IN\n" + b"x 10.0.0.1 A IN\n" * 2


def test_a8_a_late_answer_satisfies_the_same_name_asked_again() -> None:
    stage = asking(b"x")
    stage.wait(5.0)
    stage.hear("a", b"x\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x - TIMED OUT\nx 10.0.0.1 A IN\n"


def test_a9_a_late_answer_is_not_credited_to_the_next_question() -> None:
    stage = asking(b"x")
    stage.wait(5.0)
    stage.hear("a", b"y\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x - TIMED OUT\n"


def test_a10_a11_a12_of_several_answers_the_first_one_counts() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"x 10.0.0.1 A IN\nx 10.0.0.9 A IN\n")
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


@pytest.mark.parametrize(("count", "closed"), [(101, False), (102, True)])
def test_a13_a_ts_that_answers_what_nobody_asked_is_closed(count: int, closed: bool) -> None:
    stage = asking(b"x")
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * count)
    assert (T1 not in stage.connections) is closed
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.2 A IN\n"
    stage.wait(0.05)
    assert (T1 in stage.dialled) is closed


def test_a13_answers_in_the_chunk_that_closes_a_link_still_count() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * 101 + b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    assert T1 not in stage.connections


@pytest.mark.parametrize("answer", [b"GOOGLE.com 10.0.0.1 A IN", b"google.COM. 10.0.0.1 A IN"])
def test_a14_an_answer_in_another_spelling_is_relayed_as_it_came(answer: bytes) -> None:
    stage = asking(b"google.com")
    stage.hear(T1, answer + b"\n")
    assert stage.take("a") == answer + b"\n"


BAD = [
    b"x", b"x 10.0.0.1 A", b"x 10.0.0.256 A IN", b"x 010.0.0.1 A IN", b"x 10.0.0.1 B IN",
    b"x 10.0.0.1 A IN ", b" x 10.0.0.1 A IN", b"x\0 10.0.0.1 A IN", b"\xff 10.0.0.1 A IN",
    b"x 10.0.0.1 A IN\x1b", b"x  10.0.0.1 A IN", b"x\t10.0.0.1 A IN", b"x ::1 A IN",
]  # fmt: skip


@pytest.mark.parametrize("line", BAD)
def test_a15_a_malformed_answer_is_dropped_and_the_question_waits_on(line: bytes) -> None:
    stage = asking(b"x")
    stage.hear(T1, line + b"\n")
    assert stage.take("a") == b""
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


@pytest.mark.parametrize("line", [b"x - TIMED OUT", b"- ERROR BADNAME", b"BYE"])
def test_a15_what_a_ts_may_say_beside_answers_ends_no_question(line: bytes) -> None:
    stage = asking(b"x")
    stage.hear(T1, (line + b"\n") * 50)
    assert stage.take("a") == b"" and T1 in stage.connections
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a15_sixteen_malformed_lines_in_a_row_close_the_link_and_fifteen_do_not() -> None:
    stage = asking(b"x", b"y")
    stage.hear(T1, b"?\n" * 15 + b"x 10.0.0.1 A IN\n" + b"?\n" * 15)
    assert T1 in stage.connections
    stage.hear(T1, b"?\n")
    assert T1 not in stage.connections


def test_a16_a_line_without_end_closes_the_link() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"z" * 513)
    assert T1 not in stage.connections
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"


def test_a19_the_wait_before_a_redial_doubles_to_two_seconds() -> None:
    stage = started(linked=False)
    waits = []
    for _ in range(9):
        for link in list(stage.dialled):
            stage.refuse(link)
        before = stage.now
        while T1 not in stage.dialled:
            stage.wait(0.01)
        waits.append(round(stage.now - before, 2))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("stood_s", "wait_s"), [(1.0, 2.0), (3.0, 0.05)])
def test_a19_only_a_connection_that_stood_starts_the_waits_over(
    stood_s: float, wait_s: float
) -> None:
    stage = started(linked=False)
    for _ in range(9):
        stage.refuse(T1)
        stage.wait(2.0)
    stage.connect(T1)
    stage.wait(stood_s)
    stage.reset(T1)
    stage.wait(wait_s - 0.01)
    assert T1 not in stage.dialled
    stage.wait(0.02)
    assert T1 in stage.dialled


def test_a24_with_no_ts_at_all_every_question_times_out_in_its_time() -> None:
    stage = started(linked=False)
    stage.accept("a")
    stage.hear("a", b"x\n")
    stage.wait(4.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"x - TIMED OUT\n"


def test_a25_when_all_ts_die_each_question_times_out_at_its_own_time() -> None:
    stage = asking(b"x")
    stage.wait(1.0)
    stage.hear("a", b"y\n")
    stage.reset(T1)
    stage.reset(T2)
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.wait(1.0)
    assert stage.take("a") == b"y - TIMED OUT\n"


def test_a28_a_ts_that_ends_is_dialled_again() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"BYE\n")
    stage.end(T1)
    assert stage.has_ended(T1)
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"


# -- part B ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_b1_quit_with_questions_in_flight(count: int) -> None:
    names = [b"n%d" % n for n in range(count)]
    stage = asking(*names, b"QUIT")
    stage.hear(T1, b"".join(name + b" 10.0.0.1 A IN\n" for name in names))
    assert stage.take("a") == b"".join(n + b" 10.0.0.1 A IN\n" for n in names) + b"BYE\n"
    assert stage.has_ended("a")


def test_b5_a_client_that_vanishes_leaves_nothing_behind() -> None:
    stage = asking(*(b"n%d" % n for n in range(100)))
    stage.reset("a")
    assert stage.brain.deadline() is None
    stage.hear(T1, b"n1 10.0.0.1 A IN\n")
    stage.accept("b")
    stage.hear("b", b"n1\n")
    assert stage.take(T1) == b"n1\n"


def test_b9_c16_too_many_questions_of_one_client_pause_it_until_some_are_replied() -> None:
    stage = asking(
        *(b"n%d" % n for n in range(10)), bounds=replace(Bounds(), pending_per_client_max=10)
    )
    assert stage.paused == set()
    stage.hear("a", b"n10\n")
    assert stage.paused == {"a"}
    stage.accept("b")
    stage.hear("b", b"n1\n")
    assert stage.paused == {"a"}
    stage.hear(T1, b"n3 10.0.0.1 A IN\n")
    assert stage.paused == set()


def test_c16_too_many_questions_in_all_pause_all_but_those_with_few() -> None:
    bounds = replace(Bounds(), pending_max=20, pending_few=5)
    stage = asking(*(b"n%d" % n for n in range(18)), bounds=bounds)
    stage.accept("b")
    stage.hear("b", b"x1\nx2\nx3\n")
    assert stage.paused == {"a"}
    stage.hear("b", b"x4\nx5\n")
    assert stage.paused == {"a", "b"}
    stage.hear(T1, b"".join(b"n%d 10.0.0.1 A IN\n" % n for n in range(2)))
    assert stage.paused == {"a", "b"}
    stage.hear(T1, b"x1 10.0.0.1 A IN\n")
    assert stage.paused == set()


# -- links: catching up and backpressure -----------------------------------------------------------

TIGHT = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)


def test_a_question_asked_while_a_link_is_dialled_is_sent_when_it_comes_up() -> None:
    stage = started(linked=False)
    stage.accept("a")
    stage.hear("a", b"x\ny\n")
    stage.connect(T2)
    assert stage.take(T2) == b"x\ny\n"
    stage.hear("a", b"z\n")
    assert stage.take(T2) == b"z\n"


def test_catching_up_goes_in_slices_and_what_is_new_comes_after() -> None:
    stage = started(TIGHT, linked=False)
    stage.accept("a")
    names = [b"n%02d" % n for n in range(30)]
    for name in names:
        stage.hear("a", name + b"\n")
    stage.held.add(T1)
    stage.connect(T1)
    first = stage.connections[T1].waiting
    assert 30 < first <= 36  # over the high mark, by one batch at most
    stage.hear("a", b"new\n")
    assert stage.connections[T1].waiting == first and stage.paused == set()
    stage.hear(T1, b"n29 10.0.0.1 A IN\n")  # not asked on this connection yet: it is late
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == b"".join(name + b"\n" for name in [*names, b"new"])


def test_a18_a_link_that_takes_nothing_holds_the_clients_for_a_second_and_then_nobody() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.paused == {"a", "b"}
    stage.wait(0.99)
    assert stage.paused == {"a", "b"}
    stage.wait(0.01)
    assert stage.paused == set()
    waiting = stage.connections[T1].waiting
    stage.hear("a", b"y\n")
    assert stage.connections[T1].waiting == waiting
    assert stage.take(T2).endswith(b"\ny\n")
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    assert stage.take(T1) == b"n" * 40 + b"\ny\n"
    stage.hear("a", b"z\n")
    assert stage.take(T1) == b"z\n"
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    assert stage.take("a") == b"y 10.0.0.1 A IN\n"


def test_a_link_that_takes_again_in_time_lets_the_clients_go() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.9)
    stage.held.clear()
    stage.settle()
    assert stage.paused == set()
    stage.wait(1.0)
    stage.hear("a", b"z\n")
    assert stage.take(T1).endswith(b"z\n")


def test_a_link_that_is_lost_while_it_holds_the_clients_lets_them_go() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.reset(T1)
    assert stage.paused == set()


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_gives_everyone_what_it_is_owed_and_then_parts_from_the_links() -> None:
    stage = asking(b"x")
    stage.accept("idle")
    stage.drain()
    assert stage.take("idle") == b"BYE\n" and not stage.listening
    stage.end("idle")
    stage.hear("a", b"too-late\n")
    assert stage.take(T1) == b""
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\nBYE\n"
    stage.end("a")
    assert stage.take(T1) == b"QUIT\n" and stage.take(T2) == b"QUIT\n"
    assert stage.exit_code is None
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


def test_a_drain_with_nobody_there_gives_up_links_that_are_not_up() -> None:
    stage = started(linked=False)
    stage.connect(T1)
    stage.drain()
    stage.end(T1)
    assert stage.exit_code == 0


def test_c3_a_drain_ends_a_second_after_the_timeout_at_the_latest() -> None:
    stage = asking(b"x")
    stage.drain()
    stage.wait(5.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 0


def test_once_the_session_that_spoke_first_ends_the_server() -> None:
    stage = started(once=True)
    stage.accept("probe")
    stage.end("probe")
    assert stage.exit_code is None and stage.listening
    stage.accept("a")
    stage.accept("b")
    stage.hear("a", b"ru")
    assert stage.listening
    stage.hear("b", b"y\n")
    assert stage.listening
    stage.hear("a", b"tgers.edu\nQUIT\n")
    assert not stage.listening
    stage.wait(5.0)
    stage.end("a")
    assert stage.take("b").endswith(b"BYE\n")
    stage.end("b")
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


def test_a_ts_that_stays_away_is_looked_up_again() -> None:
    bounds = Bounds()
    brain = LoadBalancer(SERVERS, bounds, lambda: 0.0, hosts=[("ts1", 1), ("ts2", 2)])
    stage = Stage(brain, bounds)
    stage.begin()
    stage.connect(T2)
    while stage.now < 127:
        stage.refuse(T1)
        stage.wait(2.0)
    assert stage.lookups == []
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.lookups == [(T1, "ts1", 1)]
    stage.resolve(T1, ((2, ("elsewhere", 1)),))
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.dialled == [T1] and stage.addresses[T1] == ((2, ("elsewhere", 1)),)
    stage.resolve(T1, ())
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.addresses[T1] == ((2, ("elsewhere", 1)),)
