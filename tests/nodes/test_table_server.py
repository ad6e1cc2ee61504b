"""The table server's brain: it says what its table has, and nothing about the rest.

Bytes come through real connections (`tests/support/stage.py`), cut in any way.

Not here: the file of a table (`tests/nodes/test_table_file.py`), what is wrong with a line
(`tests/protocol/test_session.py`), and how a server ends (`tests/protocol/test_server.py`).
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.effects import Close, Send
from core.environment import Environment
from core.events import Ended, Opened, Received, Relieved
from core.text import split_lines
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.splitting import cut_streams, pieces
from tests.support.stage import Stage

ROWS = {
    b"rutgers.edu": b"Rutgers.EDU 172.34.4.6 A IN\n",
    b"google.com": b"GOOGLE.com 46.1.3.7 A IN\n",
    b"quit": b"quit 10.0.0.1 A IN\n",
    b"stats": b"STATS 10.0.0.2 A IN\n",
}


def talking() -> Stage:
    return Stage.begun(TableServer(Table(ROWS), Environment()), clients=("a",))


def test_a_name_above_a_row_is_said_to_have_names_below() -> None:
    """[P44]: by itself, too, where all that is said of others is silence."""
    stage = talking()
    stage.hear("a", b"EDU\n", b"nobody\n")
    assert stage.take("a") == b"EDU - NAMES BELOW\n"


def test_a_batch_is_answered_with_one_send_and_quit_with_the_end() -> None:
    brain = TableServer(Table(ROWS), Environment())
    brain.step(Opened("a"), 0.0)
    asked = b"google.com\nnobody\nRUTGERS.edu\ngoogle.com\n"
    answers = ROWS[b"google.com"] + ROWS[b"rutgers.edu"] + ROWS[b"google.com"]
    assert brain.step(Received("a", asked), 0.0) == [Send("a", answers)]
    assert brain.step(Received("a", b"nobody\n"), 0.0) == []
    assert brain.step(Received("a", b""), 0.0) == []
    *sends, end = brain.step(Received("a", b"google.com\nQUIT\nrutgers.edu\n"), 0.0)
    assert b"".join(send.data for send in sends) == ROWS[b"google.com"] + b"BYE\n"
    assert end == Close("a")


@given(cut_streams)
def test_any_bytes_in_any_split_get_the_same_replies(
    case: tuple[bytes, list[bytes]],
) -> None:
    data, chunks = case
    heard = []
    for way in ([data] if data else [], chunks):
        stage = talking()
        stage.hear("a", *way)
        stage.end("a")
        assert stage.connections == {}
        heard.append(stage.take("a"))
    assert sorted(split_lines(heard[0])) == sorted(split_lines(heard[1]))


def test_the_account_at_the_end_says_what_became_of_questions() -> None:
    stage = talking()
    stage.hear("a", b"google.com\nnobody\n?\n\nnobody\nPING \nhal")
    stage.end("a")
    refused = b"- ERROR BADNAME\n"
    assert stage.take("a") == refused * 2 + ROWS[b"google.com"] + b"- ERROR UNFINISHED\n"
    stage.drain()
    assert stage.reports == [
        "asked 3, answered 1, no_data 0, blocked 0, unknown 2, sessions 1, errors 3"
    ]


ADDRESS = {b"": b"10.0.0.1,10.0.0.2 A", b" AAAA": b"2001:db8::1,::2 AAAA"}
SPELLERS = (bytes, bytes.title, bytes.upper)
TABLE_NAMES = [b"a", b"x", b"b.x", b"quit", b"aaaa"]


@given(
    st.sets(st.tuples(st.sampled_from(TABLE_NAMES), st.sampled_from([*ADDRESS])), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from([*TABLE_NAMES, b"nobody"]),
            st.sampled_from(SPELLERS),
            st.sampled_from([b"", b"."]),
            st.sampled_from([*ADDRESS]),
        ),
        max_size=10,
    ),
    st.booleans(),
    st.lists(st.integers(1, 150), max_size=8, unique=True),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_a14_b3_any_table_says_of_any_question_what_it_has(
    table: set[tuple[bytes, bytes]],
    asked: list[tuple[bytes, Callable[[bytes], bytes], bytes, bytes]],
    answer_unknown: bool,
    cut: list[int],
    end: bytes,
) -> None:
    """[P8] [P20] [P44]: in the order of asking; NO DATA both ways, NAMES BELOW of empty
    non-terminals (RFC 8020), NOT FOUND only where it is to be said, and all as they were asked."""
    rows = {name + kind: b"%b %b IN\n" % (name.swapcase(), ADDRESS[kind]) for name, kind in table}
    expected = []
    counts = dict.fromkeys(("answered", "no_data", "blocked", "unknown"), 0)
    for name, spell, _, kind in asked:
        spelled = spell(name)
        if (name, kind) in table:
            counts["answered"] += 1
            expected.append(rows[name + kind].removesuffix(b"\n"))
        elif any(name == other for other, _ in table):
            counts["no_data"] += 1
            expected.append(spelled + kind + b" - NO DATA")
        elif name == b"x" and not {(b"b.x", kind) for kind in ADDRESS}.isdisjoint(table):
            counts["unknown"] += 1
            expected.append(spelled + kind + b" - NAMES BELOW")
        else:
            counts["unknown"] += 1
            expected += [spelled + kind + b" - NOT FOUND"] * answer_unknown
    account = ", ".join(f"{what} {count}" for what, count in counts.items())
    # QUIT alone is a command; it is asked with its dot.
    lines = [
        spell(name) + (b"." if spell(name) == b"QUIT" and not kind else dot) + kind + end
        for name, spell, dot, kind in asked
    ]
    data = b"".join(lines)
    for chunks in (lines, pieces(data, sorted(at for at in cut if at < len(data)))):
        server = TableServer(Table(rows), Environment(), answer_unknown=answer_unknown)
        stage = Stage.begun(server, clients=("a",))
        stage.hear("a", *chunks)
        assert split_lines(stage.take("a")) == expected
        stage.end("a")
        stage.drain()
        assert stage.reports == [f"asked {len(asked)}, {account}, sessions 1, errors 0"]


def test_a_table_of_one_type_is_looked_into_once_a_name() -> None:
    """A batch of names that it does not have costs one look each."""

    class Counted(dict[bytes, bytes]):
        looks = 0

        def get(self, key: bytes, default: bytes = b"") -> bytes:
            self.looks += 1
            return super().get(key, default)

        def __contains__(self, key: object) -> bool:
            self.looks += 1
            return super().__contains__(key)

    rows = Counted({b"four": b"four 10.0.0.4 A IN\n"})
    brain = TableServer(Table(rows), Environment())
    brain.step(Opened("a"), 0.0)
    brain.step(Received("a", b"nobody\nfour\nnobody.x\n"), 0.0)
    assert rows.looks == 3


def test_an_event_that_no_table_server_gets_is_our_mistake() -> None:
    brain = TableServer(Table(ROWS), Environment())
    with pytest.raises(AssertionError):
        brain.step(Relieved("a"), 0.0)
    with pytest.raises(KeyError):
        brain.step(Ended("nobody", unfinished=False), 0.0)
