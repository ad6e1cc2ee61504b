"""The load balancer's brain, fault by fault.

The rows of the fault matrix that need neither sockets nor a simulated network, with their numbers
in the names of the tests.

Not here: LS under chance (`tests/nodes/test_load_balancer_machine.py`), batches and joining in
detail (`tests/nodes/test_questions.py`), who has said what in detail
(`tests/nodes/test_negatives.py`), LS that hedges (`tests/nodes/test_hedge_policy.py`), waits before
a dial as such (`tests/nodes/test_link.py`), and what is wrong with a line
(`tests/protocol/test_session.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.operator import Standing
from tests.support.balancers import load_balancer, metric
from tests.support.stage import Stage

SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"


def started(bounds: Bounds | None = None, linked: bool = True, once: bool = False) -> Stage:
    bounds = bounds or Bounds()
    stage = Stage.begun(load_balancer(SERVERS, bounds, lambda: 0.0, once=once), bounds)
    if linked:
        stage.connect(T1)
        stage.connect(T2)
    return stage


def asking(*lines: bytes, bounds: Bounds | None = None) -> Stage:
    """Build LS with one client that has asked these, and take out what it sent to its TSs."""
    stage = started(bounds)
    stage.accept("a")
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    stage.take(T1)
    stage.take(T2)
    return stage


# -- part A of the fault matrix --------------------------------------------------------------------


def test_a1_a_ts_dies_and_the_other_answers() -> None:
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


def test_a3_a4_half_a_line_and_a_late_rest_are_one_timeout() -> None:
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


@pytest.mark.parametrize("order", [(T1, T2), (T2, T1)])
def test_a10_a11_a12_the_answer_that_is_read_first_counts(
    order: tuple[str, str],
) -> None:
    """The loop reads links in their order, so that of two in one turn the lowest wins."""
    stage = asking(b"x")
    for number, link in enumerate(order):
        stage.hear(link, b"x 10.0.0.%d A IN\nx 10.0.1.%d A IN\n" % (number, number))
    assert stage.take("a") == b"x 10.0.0.0 A IN\n"
    stage.hear("a", b"QUIT\n")
    assert stage.take("a") == b"BYE\n"


@pytest.mark.parametrize(("count", "closed"), [(101, False), (102, True)])
def test_a13_a_ts_that_answers_what_nobody_asked_is_closed(count: int, closed: bool) -> None:
    stage = asking(b"x")
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * count)
    assert (T1 not in stage.connections) is closed
    stage.hear(T2, b"x 10.0.0.2 A IN\n")
    assert stage.take("a") == b"x 10.0.0.2 A IN\n"
    stage.wait(0.05)
    assert (T1 in stage.dialled) is closed


def test_a13_surplus_is_counted_by_connection() -> None:
    """To answer everything three times is no surplus of a hundred; a new connection owes anew."""
    stage = asking(*(b"n%d" % n for n in range(50)))
    answers = b"".join(b"n%d 10.0.0.1 A IN\n" % n for n in range(50))
    stage.hear(T1, answers * 3)
    assert T1 in stage.connections
    stage.reset(T1)
    stage.wait(0.05)
    stage.connect(T1)
    stage.hear(T1, b"y 10.0.0.1 A IN\n" * 100)
    assert T1 in stage.connections
    stage.hear(T1, b"y - TIMED OUT\n")
    assert T1 not in stage.connections


def test_blank_lines_of_a_ts_are_no_surplus() -> None:
    """proto.md, Conventions: a line with no byte in it is ignored."""
    stage = asking(b"x")
    for chunk in (b"\n" * 1_000, b"\r\n" * 1_000, b"\n\r\ny - TIMED OUT\n\n" * 50):
        stage.hear(T1, chunk)
    assert T1 in stage.connections
    stage.hear(T1, b"\nx 10.0.0.1 A IN\n\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a13_a_ts_that_always_floods_is_dialled_ever_less() -> None:
    stage = asking(b"x")
    waits = []
    for _ in range(6):
        stage.hear(T1, b"y 10.0.0.1 A IN\n" * 102)
        before = stage.now
        stage.wait(stage.brain.deadline() - before)
        waits.append(round(stage.now - before, 3))
        stage.connect(T1)
        assert stage.take(T1) == b"x\n"
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


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
def test_a15_a_malformed_answer_ends_no_question(line: bytes) -> None:
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
    assert metric(stage.brain, "TS1.nothing_said") == 50
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


def test_a15_sixteen_malformed_lines_in_a_row_close_the_link() -> None:
    stage = asking(b"x", b"y")
    stage.hear(T1, b"?\n" * 15 + b"x 10.0.0.1 A IN\n" + b"?\n" * 15)
    assert T1 in stage.connections
    stage.hear(T1, b"?\n")
    assert T1 not in stage.connections
    assert metric(stage.brain, "TS1.malformed") == 31


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


def test_a24_without_a_ts_questions_time_out_in_their_time() -> None:
    stage = started(linked=False)
    stage.accept("a")
    stage.hear("a", b"x\n")
    stage.wait(4.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"x - TIMED OUT\n"


def test_a25_when_all_ts_die_questions_time_out_in_their_time() -> None:
    stage = asking(b"x")
    stage.wait(1.0)
    stage.hear("a", b"y\n")
    stage.reset(T1)
    stage.reset(T2)
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\n"
    stage.wait(1.0)
    assert stage.take("a") == b"y - TIMED OUT\n"


def test_a27_of_a_ts_that_is_away_the_log_speaks_once() -> None:
    stage = started(linked=False)
    stage.connect(T2)
    for _ in range(5):
        stage.refuse(T1)
        stage.wait(2.0)
    stage.connect(T1)
    stage.reset(T1)
    down = "TS1 is down ({}); dialling it again"
    assert stage.reports == [
        "TS2 is up", down.format("connection refused"), "TS1 is up", down.format("gone"),
    ]  # fmt: skip


def test_a28_a_ts_that_ends_is_dialled_again() -> None:
    stage = asking(b"x")
    stage.hear(T1, b"BYE\n")
    stage.end(T1)
    assert stage.has_ended(T1)
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"


# -- questions that TSs do not have ----------------------------------------------------------------


def test_not_found_takes_every_configured_ts() -> None:
    """[P21]"""
    stage = asking(b"X.y.")
    stage.hear(T1, b"x.Y - NOT FOUND\n" * 3)
    assert stage.take("a") == b""
    stage.hear(T2, b"x.y. - NOT FOUND\n")
    assert stage.take("a") == b"X.y - NOT FOUND\n"
    assert stage.brain.deadline() is None


def test_one_that_is_down_may_have_the_name() -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.reset(T2)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.wait(0.05)
    stage.connect(T2)
    assert stage.take(T2) == b"x\n"
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_what_a_ts_has_said_goes_with_its_connection() -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.reset(T1)
    stage.wait(0.05)
    stage.connect(T1)
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


@pytest.mark.parametrize("is_back", [True, False])
def test_the_words_of_a_stalled_ts_go_with_its_connection(
    is_back: bool,
) -> None:
    """[P21]: by then it is not waited for any more, which is something else."""
    stage = asking(b"x", bounds=TIGHT)
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(1.0)
    assert stage.reports[-1].startswith("TS1 is stalled")
    stage.held.clear()
    stage.reset(T1)
    stage.wait(0.05)
    if is_back:
        stage.connect(T1)
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == b""
    if not is_back:
        stage.connect(T1)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"


def test_a_stalled_ts_may_have_the_name_and_its_words_count() -> None:
    """[P21]"""
    stage = asking(b"x", b"y", bounds=TIGHT)
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.5)
    stage.wait(0.5)
    stage.hear(T2, b"x - NOT FOUND\ny - NOT FOUND\n")
    assert stage.take("a") == b"x - NOT FOUND\n"
    stage.hear(T1, b"y - NOT FOUND\n")
    assert stage.take("a") == b"y - NOT FOUND\n"


def test_a_link_that_has_not_been_asked_yet_cannot_deny() -> None:
    """[P10]"""
    stage = started(TIGHT, linked=False)
    stage.accept("a")
    names = [b"n%02d" % n for n in range(30)]
    for name in names:
        stage.hear("a", name + b"\n")
    stage.connect(T2)
    stage.hear(T2, b"n29 - NOT FOUND\n")
    stage.held.add(T1)
    stage.connect(T1)
    stage.hear(T1, b"n29 - NOT FOUND\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    stage.hear(T1, b"n29 - NOT FOUND\n")
    assert stage.take("a") == b"n29 - NOT FOUND\n"


@pytest.mark.parametrize(("age_s", "is_asked_again"), [(0.9, False), (1.0, True)])
def test_what_is_asked_again_has_to_be_denied_again(age_s: float, is_asked_again: bool) -> None:
    """[P21]"""
    stage = asking(b"x")
    stage.hear(T1, b"x - NOT FOUND\n")
    stage.wait(age_s)
    stage.hear("a", b"x\n")
    stage.hear(T2, b"x - NOT FOUND\n")
    assert stage.take("a") == (b"" if is_asked_again else b"x - NOT FOUND\n" * 2)
    stage.hear(T1, b"x - NOT FOUND\n")
    assert stage.take("a") == (b"x - NOT FOUND\n" * 2 if is_asked_again else b"")


def test_no_data_is_held_for_an_answer_and_not_for_long() -> None:
    """[P22]"""
    stage = asking(b"x AAAA", b"y AAAA")
    stage.hear(T1, b"x AAAA - NO DATA\ny AAAA - NO DATA\n")
    stage.wait(0.009)
    stage.hear(T2, b"x ::1 AAAA IN\n")
    assert stage.take("a") == b"x ::1 AAAA IN\n"
    stage.wait(0.001)
    assert stage.take("a") == b"y AAAA - NO DATA\n"
    assert stage.brain.deadline() is None


def test_names_below_are_no_data_once_every_live_ts_has_spoken() -> None:
    """[P44]: whatever the others say, and who says it first."""
    for words in ((b"NAMES BELOW", b"NOT FOUND"), (b"NOT FOUND", b"NAMES BELOW"),
                  (b"NAMES BELOW", b"NAMES BELOW"), (b"NO DATA", b"NAMES BELOW")):  # fmt: skip
        stage = asking(b"X AAAA", b"y")
        stage.hear(T1, b"x AAAA - %b\ny - %b\n" % (words[0], words[0]))
        assert stage.take("a") == b""
        stage.hear(T2, b"x AAAA - %b\ny - %b\n" % (words[1], words[1]))
        assert stage.take("a") == b"X AAAA - NO DATA\ny - NO DATA\n"
        assert stage.brain.deadline() is None


def test_names_below_shorten_no_wait_for_an_address() -> None:
    """[P44]: another table may have the name itself; and when none has, it is no timeout."""
    stage = asking(b"x", b"y")
    stage.hear(T1, b"x - NAMES BELOW\ny - NAMES BELOW\n? ?\n")
    stage.wait(4.9)
    assert stage.take("a") == b""
    stage.hear(T2, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    stage.wait(0.1)
    assert stage.take("a") == b"y - NO DATA\n"


def test_no_data_does_not_wait_for_one_that_has_stalled() -> None:
    """[P22]"""
    stage = asking(b"x", bounds=replace(TIGHT, no_data_s=4.0))
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.hear(T2, b"x - NO DATA\n")
    stage.wait(0.99)
    assert stage.take("a") == b""
    stage.wait(0.01)
    assert stage.take("a") == b"x - NO DATA\n"


@pytest.mark.parametrize("cut", range(1, 40))
def test_an_answer_wins_over_no_data_of_the_same_ts(cut: int) -> None:
    """[P22]"""
    stage = asking(b"x")
    said = b"x - NO DATA\nx 10.0.0.1 A IN\n"
    stage.hear(T1, said[:cut], said[cut:])
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


# -- part B ----------------------------------------------------------------------------------------


def test_names_like_commands_travel_in_lower_case_and_undotted() -> None:
    stage = started()
    stage.accept("a")
    stage.hear("a", b"QUIT.\nquit\nPing\nSTATS.\nping.\n")
    assert stage.take(T1) == stage.take(T2) == b"quit\nping\nstats\n"
    stage.wait(5.0)
    assert stage.take("a") == b"".join(
        name + b" - TIMED OUT\n" for name in (b"QUIT", b"quit", b"Ping", b"STATS", b"ping")
    )
    assert T1 in stage.connections and T2 in stage.connections


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


def test_b9_c16_a_client_with_too_many_questions_is_paused() -> None:
    stage = asking(
        *(b"n%d" % n for n in range(10)),
        bounds=replace(Bounds(), pending_per_client_max=10),
    )
    assert stage.paused == set()
    stage.hear("a", b"n10\n")
    assert stage.paused == {"a"}
    stage.accept("b")
    stage.hear("b", b"n1\n")
    assert stage.paused == {"a"}
    stage.hear(T1, b"n3 10.0.0.1 A IN\n")
    assert stage.paused == set()


# -- links: catching up and backpressure -----------------------------------------------------------

TIGHT = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)


def test_a_link_that_comes_up_is_asked_what_is_open() -> None:
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


def test_a18_a_link_that_takes_nothing_holds_for_a_second() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.paused == {"a", "b"}
    stage.wait(0.99)
    assert stage.paused == {"a", "b"}
    stage.wait(0.01)
    assert stage.paused == set()
    assert stage.reports[-1] == "TS1 is stalled: it does not take its questions"
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


def test_a_client_that_comes_during_a_hold_is_not_read() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.accept("late")
    assert stage.paused == {"a", "late"}
    stage.wait(1.0)
    assert stage.paused == set()


def test_ls_is_unhealthy_when_all_links_have_stalled() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held |= {T1, T2}
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.brain.unhealthy() == ""
    stage.wait(1.0)
    assert stage.brain.unhealthy() == "no table server is up"


def test_an_answer_to_another_connection_waits_for_its_slice() -> None:
    """[P10]: what was asked before a stall and a reset counts for nothing."""
    stage = asking(*(b"n%02d" % n for n in range(9)), bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(1.0)
    stage.reset(T1)
    stage.wait(0.05)
    stage.connect(T1)
    assert stage.connections[T1].waiting > 30  # the first slice
    stage.hear(T1, b"n" * 40 + b" 10.0.0.1 A IN\n")
    assert stage.take("a") == b""
    stage.held.clear()
    stage.settle()
    stage.hear(T1, b"n" * 40 + b" 10.0.0.1 A IN\n")
    assert stage.take("a") == b"n" * 40 + b" 10.0.0.1 A IN\n"


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


def test_of_two_links_that_hold_the_second_goes_on() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held |= {T1, T2}
    stage.hear("a", b"n" * 40 + b"\n")
    stage.wait(0.5)
    stage.held.discard(T1)
    stage.settle()
    assert stage.paused == {"a"}
    stage.wait(0.5)
    assert stage.paused == set()


def test_a_link_lost_during_its_hold_lets_the_clients_go() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    stage.reset(T1)
    assert stage.paused == set()


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_pays_what_is_owed_and_then_parts_from_links() -> None:
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


def test_a_drain_dials_in_silence_while_somebody_waits() -> None:
    stage = asking(b"x")
    stage.reset(T1)
    stage.reset(T2)
    said = len(stage.reports)
    stage.drain()
    stage.wait(0.05)
    stage.refuse(T2)
    stage.connect(T1)
    assert stage.take(T1) == b"x\n"
    assert stage.reports[said:] == ["TS1 is up"]
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\nBYE\n"


def test_a_drain_lets_those_go_who_are_held_up() -> None:
    stage = asking(b"x", bounds=TIGHT)
    stage.accept("b")
    stage.held.add(T1)
    stage.hear("a", b"n" * 40 + b"\n")
    assert stage.paused == {"a", "b"}
    stage.drain()
    assert stage.take("b") == b"BYE\n" and stage.has_ended("b")
    stage.wait(5.0)
    assert stage.take("a") == b"x - TIMED OUT\n" + b"n" * 40 + b" - TIMED OUT\nBYE\n"
    assert stage.has_ended("a")


def test_a_second_request_to_drain_changes_nothing() -> None:
    stage = asking(b"x")
    stage.drain()
    stage.wait(1.0)
    stage.drain()
    assert stage.take("a") == b""
    stage.wait(4.0)
    assert stage.take("a") == b"x - TIMED OUT\nBYE\n"
    stage.wait(1.0)
    assert stage.exit_code == 0


def test_the_account_at_the_end_adds_up() -> None:
    stage = asking(b"x", b"X", b"y", b"?", b"nobody")
    stage.accept("b")
    stage.hear("b", b"gone\nx\n")
    stage.hear(T1, b"x 10.0.0.1 A IN\nlate 10.0.0.1 A IN\n")
    stage.reset("b")
    stage.wait(5.0)
    stage.hear("a", b"z\n")
    stage.drain()
    stage.hear(T2, b"x 10.0.0.1 A IN\nz 10.0.0.1 A IN\n")
    for conn in ("a", T1, T2):
        stage.end(conn)
    assert stage.exit_code == 0
    assert stage.reports[-1] == (
        "asked 7, answered 4, not found 0, no data 0, failed 0, timed out 2, dropped 1, pending 0, "
        "refused 1; joined 2, late 2"
    )


def test_with_nothing_open_there_is_nothing_to_wake_for() -> None:
    stage = started()
    stage.accept("a")
    assert stage.brain.deadline() is None
    stage.hear("a", b"x\n")
    assert stage.brain.deadline() == stage.now + 5.0
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.brain.deadline() is None


def test_a_drain_without_clients_gives_up_dials() -> None:
    stage = started(linked=False)
    stage.connect(T1)
    stage.drain()
    assert stage.dialled == [] and stage.take(T1) == b"QUIT\n"
    stage.hear(T1, b"BYE\n")
    assert stage.exit_code is None
    stage.end(T1)
    assert stage.exit_code == 0


def test_c3_a_drain_ends_a_second_after_the_timeout() -> None:
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
    assert not stage.listening
    stage.hear("b", b"y\n")
    assert stage.take("b") == b"- ERROR BUSY\nBYE\n"
    stage.hear("a", b"tgers.edu\nQUIT\n")
    stage.wait(5.0)
    stage.end("a")
    stage.end("b")
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


def test_a_ts_that_stays_away_is_looked_up_again() -> None:
    bounds = Bounds()
    brain = load_balancer(SERVERS, bounds, lambda: 0.0, hosts=[("ts1", 1), ("ts2", 2)])
    stage = Stage.begun(brain, bounds, up=(T2,))
    while stage.now < 127:
        stage.refuse(T1)
        stage.wait(2.0)
    assert stage.lookups == []
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.lookups == [(T1, "ts1", 1)]
    stage.resolve(T1, ((2, ("elsewhere", 1)),))  # the dial to where it was is given up
    stage.wait(3.0)
    assert stage.dialled == [T1] and stage.addresses[T1] == ((2, ("elsewhere", 1)),)
    stage.resolve(T1, ())
    stage.refuse(T1)
    stage.wait(2.0)
    assert stage.addresses[T1] == ((2, ("elsewhere", 1)),)


# -- reloading -------------------------------------------------------------------------------------

HOSTS = ("ts1", 1), ("ts2", 2)
ELSEWHERE = ((2, ("elsewhere", 1)),)
LOOKUPS = [(T1, "ts1", 1), (T2, "ts2", 2)]
RELOADING, READY = Standing.RELOADING, Standing.READY


def named(linked: bool = True) -> Stage:
    """Build LS that knows its TSs by name."""
    stage = Stage.begun(load_balancer(SERVERS, Bounds(), lambda: 0.0, hosts=HOSTS))
    if linked:
        stage.connect(T1)
        stage.connect(T2)
    stage.accept("a")
    stage.reports.clear()
    return stage


def test_a_reload_looks_up_every_ts_and_waits_for_none() -> None:
    stage = named()
    stage.reload()
    assert stage.lookups == LOOKUPS and stage.standings == [RELOADING]
    stage.hear("a", b"x\n")
    stage.hear(T2, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"
    stage.resolve(T2, SERVERS[1])
    assert stage.reports == ["TS2 has the same address as before"]
    assert stage.standings == [RELOADING]
    stage.resolve(T1, (), "no reply")
    said = "TS1: cannot look up ts1 (no reply); it is taken to be where it was"
    assert stage.reports[1:] == [said]
    assert stage.standings == [RELOADING, READY]
    assert stage.dialled == [] and set(stage.connections) == {T1, T2, "a"}


def test_a_ts_that_has_moved_is_asked_there_what_is_open() -> None:
    """[P13]: and what still comes from where it was does not count."""
    stage = named()
    stage.hear("a", b"x\ny\n")
    stage.hear(T1, b"y 10.0.0.1 A IN\n")
    stage.take(T1)
    stage.take(T2)
    stage.reload()
    stage.resolve(T2, SERVERS[1])
    stage.resolve(T1, ELSEWHERE)
    assert stage.standings == [RELOADING, READY]
    assert stage.reports[1:] == ["TS1 is down (it has moved); dialling it again"]
    stage.hear(T1, b"x 10.0.0.9 A IN\n")
    stage.wait(0.2)
    assert stage.dialled == [T1] and stage.addresses[T1] == ELSEWHERE
    stage.connect(T1)
    assert stage.take(T1) == b"x\n" and stage.take(T2) == b""
    stage.take("a")
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x 10.0.0.1 A IN\n"


@pytest.mark.parametrize("way", ["dialling", "away", "stalled"])
def test_a_ts_that_has_moved_is_dialled_there_however_it_stood(way: str) -> None:
    stage = named(linked=way == "stalled")
    if way == "away":
        stage.refuse(T1)
    elif way == "stalled":
        stage.held.add(T1)
        label = b"z" * 60
        for n in range(0, 6_000, 1_000):
            names = b"".join(
                b"%d.%b.%b.%b\n" % (k, label, label, label) for k in range(n, n + 1000)
            )
            stage.hear("a", names)
        stage.wait(1.1)
        assert "TS1 is stalled: it does not take its questions" in stage.reports
    stage.reload()
    stage.resolve(T1, ELSEWHERE)
    stage.wait(0.3)
    assert T1 in stage.dialled and stage.addresses[T1] == ELSEWHERE
    stage.held.clear()
    stage.connect(T1)


def test_addresses_in_another_order_are_no_move() -> None:
    both = (*SERVERS[0], *ELSEWHERE)
    servers = (both, SERVERS[1])
    stage = Stage.begun(load_balancer(servers, Bounds(), lambda: 0.0, hosts=HOSTS), up=(T1,))
    stage.reload()
    stage.resolve(T1, both[::-1])
    assert T1 in stage.connections and stage.reports[-1] == "TS1 has the same address as before"


def test_who_asks_again_gets_one_more_round_and_ready_after_that() -> None:
    """Lookups for this are never more at a time than TSs."""
    stage = named()
    for _ in range(100):
        stage.reload()
    assert stage.lookups == LOOKUPS
    stage.resolve(T1, SERVERS[0])
    stage.reload()
    assert stage.lookups == LOOKUPS
    stage.resolve(T2, SERVERS[1])
    assert stage.lookups == LOOKUPS * 2 and READY not in stage.standings
    stage.resolve(T2, ELSEWHERE)
    stage.resolve(T1, SERVERS[0])
    assert stage.lookups == LOOKUPS * 2 and stage.standings.count(READY) == 1
    assert stage.standings[-1] is READY
    stage.reload()
    assert stage.lookups == LOOKUPS * 3


def test_a_drain_looks_nothing_up_and_waits_for_no_lookup() -> None:
    stage = named()
    stage.reload()
    stage.reload()
    stage.drain()
    stage.reload()
    stage.resolve(T1, ELSEWHERE)
    stage.resolve(T2, SERVERS[1])
    assert stage.lookups == LOOKUPS
    stage.end("a")
    assert stage.dialled == []
    for conn in (T1, T2):
        if conn in stage.connections:
            stage.end(conn)
    assert stage.exit_code == 0


def test_ls_whose_tss_have_no_names_has_nothing_to_reload() -> None:
    stage = started()
    stage.reload()
    assert stage.lookups == [] and stage.standings == []
