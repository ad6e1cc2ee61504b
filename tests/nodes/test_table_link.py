"""Table link: what a table server is sent, and what its lines come to.

Not here: how a link stands (`tests/nodes/test_link.py`), and what LS makes of replies
(`tests/nodes/test_load_balancer.py`).
"""

from dataclasses import replace

import pytest

from core.bounds import Bounds
from core.effects import Abort, Close, Dial, Resolve, Send
from core.environment import Environment
from core.events import Closed, Ended, Opened, Received, Relieved
from core.protocol.outcome import Answers
from nodes.ls.link import Link
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Host
from tests.support.balancers import link_metric

BOUNDS = replace(Bounds(), errors_in_a_row_max=3, surplus_answers_max=2, away_s=30.0)
ADDRESSES = ((2, ("127.0.0.1", 1)),)


def connected(host: Host | None = None) -> TableLink:
    """Build a link that is up, and was asked nothing."""
    table = TableLink(Link("TS1", ADDRESSES, Environment(BOUNDS)), Environment(BOUNDS), host)
    table.woken(0.0)
    connect(table, 0.0)
    return table


def connect(table: TableLink, now: float) -> None:
    assert table.receive(Opened("TS1"), now).link_change is LinkChange.CAME_UP
    table.link.life.fire(LinkEvent.CAUGHT_UP)


def hear(table: TableLink, data: bytes) -> Replies:
    return table.receive(Received("TS1", data), 1.0)


def test_questions_are_sent_as_lines_and_counted() -> None:
    table = connected()
    assert table.ask([b"a", b"b AAAA"], 1.0) == [Send("TS1", b"a\nb AAAA\n")]
    lines = b"c\n"
    (send,) = table.ask([b"c"], 1.0, lines)
    assert isinstance(send, Send) and send.data is lines
    assert link_metric(table, "asked") == 3


def test_a_chunk_of_answers_goes_on_as_it_came() -> None:
    chunk = b"A 10.0.0.1 A IN\nb 10.0.0.2 A IN\n"
    (answers,) = hear(connected(), chunk).answers
    assert isinstance(answers, Answers)
    assert answers.questions == [b"a", b"b"] and answers.lines is chunk


@pytest.mark.parametrize("is_odd", [False, True])
def test_other_lines_are_sorted_by_what_they_say(is_odd: bool) -> None:
    """Odd lines are counted, and end no question."""
    table = connected()
    table.ask([b"a", b"b", b"c", b"d", b"e AAAA", b"f"], 1.0)
    lines = b"A 10.0.0.1 A IN\nB - NOT FOUND\nc - NO DATA\nd - NAMES BELOW\ne AAAA - BLOCKED\n"
    replies = hear(table, lines + b"a - TIMED OUT\nPONG\nnonsense\n" * is_odd)
    (answers,) = replies.answers
    assert (answers.questions, answers.lines) == ([b"a"], b"A 10.0.0.1 A IN\n")
    assert replies.unknown == [b"b"]
    assert replies.denials == [
        (b"c", QuestionEvent.NO_DATA_SAID, None),
        (b"d", QuestionEvent.NAME_SAID, None),
        (b"e AAAA", QuestionEvent.NOT_FOUND_SAID, None),
    ]
    assert not replies.failure
    assert link_metric(table, "nothing_said") == 2 * is_odd
    assert link_metric(table, "malformed") == is_odd


def test_too_many_errors_in_a_row_are_another_protocol() -> None:
    table = connected()
    table.ask([b"a"] * 9, 1.0)
    for chunk in (b"?\n?\n", b"a 10.0.0.1 A IN\n", b"?\n?\na - NOT FOUND\n", b"?\n\n?\n"):
        assert not hear(table, chunk).failure
    assert hear(table, b"?\n").failure == "it does not speak this protocol"


def test_errors_of_an_earlier_connection_do_not_count() -> None:
    table = connected()
    table.ask([b"a"] * 9, 1.0)
    hear(table, b"?\n?\n")
    table.receive(Closed("TS1", "gone"), 2.0)
    table.woken(10.0)
    connect(table, 10.0)
    table.ask([b"a"] * 9, 10.0)
    assert not hear(table, b"?\n?\n").failure


def test_a_line_that_is_too_long_is_another_protocol() -> None:
    replies = hear(connected(), b"a - NOT FOUND\n" + b"x" * 600 + b"\nb - NOT FOUND\n")
    assert replies.failure == "it sent a line that is too long"
    assert replies.unknown == [b"a"]


def test_more_answers_than_were_asked_for_are_a_failure() -> None:
    table = connected()
    table.ask([b"a"], 1.0)
    assert not hear(table, b"a 10.0.0.1 A IN\n\n\n" * 3).failure
    replies = hear(table, b"a 10.0.0.1 A IN\n")
    assert replies.failure == "it answers what nobody asked"
    assert replies.answers  # its words count all the same


def test_one_that_ends_is_closed_and_one_given_up_is_aborted() -> None:
    table = connected()
    assert table.receive(Ended("TS1", False), 1.0).effects[-1] == Close("TS1")
    assert connected().give_up("why")[-1] == Abort("TS1")


def test_one_that_was_stalled_has_room_for_what_waits() -> None:
    table = connected()
    table.link.backlogged(1.0)
    assert table.receive(Relieved("TS1"), 1.0).link_change is LinkChange.OTHER
    table.link.backlogged(1.0)
    (report,) = table.woken(1.0 + BOUNDS.held_s)
    assert "stalled" in str(report)
    assert table.receive(Relieved("TS1"), 9.0).link_change is LinkChange.HAS_ROOM


def test_one_long_away_is_dialled_and_looked_up() -> None:
    table = connected(host=("ts.example", 53))
    table.receive(Closed("TS1", "gone"), 10.0)
    assert table.woken(39.0) == [Dial("TS1", ADDRESSES)]
    table.receive(Closed("TS1", "refused"), 39.0)
    assert table.woken(45.0) == [Dial("TS1", ADDRESSES), Resolve("TS1", "ts.example", 53)]


def test_one_that_is_parted_from_is_told_and_never_dialled() -> None:
    table = connected()
    effects = table.part()
    assert effects[0] == Send("TS1", b"QUIT\n") and effects[-1] == Close("TS1")
    table.receive(Closed("TS1", ""), 1.0)
    assert table.link.life.state is LinkState.DOWN
    assert table.woken(1e9) == []
