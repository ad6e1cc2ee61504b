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
from nodes.ts.table_file import Table
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


def said(*lines: bytes) -> bytes:
    """Return what is said to a client that sends these."""
    stage = talking()
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    return stage.take("a")


@pytest.mark.parametrize("name", [b"rutgers.edu", b"RUTGERS.edu", b"Rutgers.EDU", b"rutgers.EDU."])
def test_a14_an_answer_is_in_the_spelling_of_the_table(name: bytes) -> None:
    assert said(name) == b"Rutgers.EDU 172.34.4.6 A IN\n"


@pytest.mark.parametrize(
    "name", [b"nothinghere.com", b"www.rutgers.edu", b"ed", b"rutgers", b"rutgers.edu.x", b"ping"]
)
def test_a_name_that_the_table_does_not_have_gets_silence(name: bytes) -> None:
    assert said(name) == b""
    assert said(name, b"google.com", name) == ROWS[b"google.com"]


def test_d10_names_that_look_like_commands_are_looked_up() -> None:
    assert said(b"QUIT.", b"quit", b"STATS.", b"Stats") == (ROWS[b"quit"] * 2 + ROWS[b"stats"] * 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"two words", b"BADNAME"), (b"-", b"BADNAME"), (b"a" * 513, b"TOOLONG"),
        (b"PING ", b"BADNAME"), (b"STATS x", b"BADNAME"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_and_the_next_one_answered(line: bytes, code: bytes) -> None:
    assert said(line) == b"- ERROR " + code + b"\n"
    assert said(line, b"google.com") == b"- ERROR " + code + b"\n" + ROWS[b"google.com"]


@pytest.mark.parametrize("answer_unknown", [False, True])
@pytest.mark.parametrize("name", [b"edu", b"EDU", b"Edu AAAA", b"com"])
def test_a_name_above_a_row_is_said_to_have_names_below(name: bytes, answer_unknown: bool) -> None:
    """[P44]: an empty non-terminal (RFC 8020), which exists, whatever else is not known."""
    assert replies(answer_unknown, name, rows=ROWS) == [name + b" - NAMES BELOW"]
    assert replies(answer_unknown, b"google.com", name, rows=ROWS)[1] == name + b" - NAMES BELOW"


def test_a_name_above_a_row_may_have_a_row_of_its_own() -> None:
    rows = {b"x.y": b"x.y 10.0.0.1 A IN\n", b"y": b"y 10.0.0.2 A IN\n"}
    assert replies(False, b"y", b"y AAAA", rows=rows) == [b"y 10.0.0.2 A IN", b"y AAAA - NO DATA"]


def test_a_batch_is_answered_with_one_send_in_its_step() -> None:
    brain = TableServer(Table(ROWS), Environment())
    brain.step(Opened("a"), 0.0)
    asked = b"google.com\nnobody\nRUTGERS.edu\ngoogle.com\n"
    answers = ROWS[b"google.com"] + ROWS[b"rutgers.edu"] + ROWS[b"google.com"]
    assert brain.step(Received("a", asked), 0.0) == [Send("a", answers)]
    assert brain.step(Received("a", b"nobody\n"), 0.0) == []
    assert brain.step(Received("a", b""), 0.0) == []


def test_b1_quit_brings_the_last_answer_then_bye_then_the_end() -> None:
    brain = TableServer(Table(ROWS), Environment())
    brain.step(Opened("a"), 0.0)
    *sends, end = brain.step(Received("a", b"google.com\nQUIT\nrutgers.edu\n"), 0.0)
    assert b"".join(send.data for send in sends) == ROWS[b"google.com"] + b"BYE\n"
    assert end == Close("a")


def test_one_asker_hears_nothing_of_another() -> None:
    stage = talking()
    stage.accept("b")
    stage.hear("a", b"rutg")
    stage.hear("b", b"google.com\n")
    stage.hear("a", b"ers.edu\n")
    assert stage.take("a") == ROWS[b"rutgers.edu"]
    assert stage.take("b") == ROWS[b"google.com"]


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


def test_b4_the_end_of_input_is_answered_with_everything() -> None:
    stage = talking()
    stage.hear("a", b"rutgers.edu\ngoogle.com")
    stage.end("a")
    assert stage.take("a") == ROWS[b"rutgers.edu"] + b"- ERROR UNFINISHED\n"
    assert "a" not in stage.connections


def test_the_account_at_the_end_says_what_became_of_questions() -> None:
    stage = talking()
    stage.hear("a", b"google.com\nnobody\n?\n\nnobody\nPING \nhal")
    stage.end("a")
    stage.drain()
    assert stage.reports == ["asked 3, answered 1, no data 0, unknown 2, refused 3"]


MIXED = {
    b"both": b"Both 10.0.0.1,10.0.0.2 A IN\n",
    b"both AAAA": b"Both 2001:db8::1 AAAA IN\n",
    b"four": b"four 10.0.0.4 A IN\n",
    b"six AAAA": b"six 2001:db8::6 AAAA IN\n",
}


def replies(answer_unknown: bool, *lines: bytes, rows: dict[bytes, bytes] = MIXED) -> list[bytes]:
    stage = Stage.begun(
        TableServer(Table(rows), Environment(), answer_unknown=answer_unknown), clients=("a",)
    )
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    return split_lines(stage.take("a"))


@pytest.mark.parametrize("answer_unknown", [False, True])
def test_a_name_without_this_type_is_no_data_as_it_was_asked(answer_unknown: bool) -> None:
    """[P20]"""
    said = replies(answer_unknown, b"Four. AAAA", b"SIX", b"six AAAA", b"BOTH AAAA", b"both")
    assert said == [
        b"Four AAAA - NO DATA", b"SIX - NO DATA", b"six 2001:db8::6 AAAA IN",
        b"Both 2001:db8::1 AAAA IN", b"Both 10.0.0.1,10.0.0.2 A IN",
    ]  # fmt: skip


@pytest.mark.parametrize("answer_unknown", [False, True])
@pytest.mark.parametrize(
    ("question", "asked"), [(b"four", b"Four. AAAA"), (b"six AAAA", b"SIX."), (b"six AAAA", b"six")]
)
def test_a_table_of_one_type_says_no_data_of_the_other(
    question: bytes, asked: bytes, answer_unknown: bool
) -> None:
    """Also when nothing else is asked with it, and no name that it lacks gets a word for that."""
    rows = {question: MIXED[question]}
    no_data = asked.replace(b".", b"") + b" - NO DATA"
    assert replies(answer_unknown, asked, rows=rows) == [no_data]
    unknown = [b"nobody AAAA - NOT FOUND", b"x - NOT FOUND"] * answer_unknown
    assert replies(answer_unknown, b"nobody AAAA", b"x", asked, rows=rows) == [*unknown, no_data]


def test_a_name_in_no_row_gets_silence_or_not_found() -> None:
    """[P8]"""
    asked = b"Nobody", b"four", b"nobody. AAAA", b"QUIT."
    answer = b"four 10.0.0.4 A IN"
    assert replies(False, *asked) == [answer]
    assert replies(True, *asked) == [
        b"Nobody - NOT FOUND", answer, b"nobody AAAA - NOT FOUND", b"QUIT - NOT FOUND"
    ]  # fmt: skip


def test_with_quit_comes_the_last_negative_before_bye() -> None:
    asked = b"SIX.", b"QUIT AAAA", b"four AAAA", b"QUIT", b"four"
    last = [b"four AAAA - NO DATA", b"BYE"]
    assert replies(False, *asked) == [b"SIX - NO DATA", *last]
    assert replies(True, *asked) == [b"SIX - NO DATA", b"QUIT AAAA - NOT FOUND", *last]


ADDRESS = {b"": b"10.0.0.1,10.0.0.2 A", b" AAAA": b"2001:db8::1,::2 AAAA"}
SPELLERS = (bytes, bytes.title, bytes.upper)


@given(
    st.sets(
        st.tuples(st.sampled_from([b"a", b"b.x", b"quit", b"aaaa"]), st.sampled_from([*ADDRESS]))
    ),
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b.x", b"quit", b"aaaa", b"nobody"]),
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
def test_b3_any_table_says_of_any_question_what_it_has(
    table: set[tuple[bytes, bytes]],
    asked: list[tuple[bytes, Callable[[bytes], bytes], bytes, bytes]],
    answer_unknown: bool,
    cut: list[int],
    end: bytes,
) -> None:
    """In the order of asking; NO DATA both ways, NOT FOUND only where it is to be said, and both as
    they were asked."""
    rows = {name + kind: b"%b %b IN\n" % (name.swapcase(), ADDRESS[kind]) for name, kind in table}
    expected = []
    counts = dict.fromkeys(("answered", "no data", "unknown"), 0)
    for name, spell, _, kind in asked:
        spelled = spell(name)
        if (name, kind) in table:
            counts["answered"] += 1
            expected.append(rows[name + kind].removesuffix(b"\n"))
        elif any(name == other for other, _ in table):
            counts["no data"] += 1
            expected.append(spelled + kind + b" - NO DATA")
        else:
            counts["unknown"] += 1
            expected += [spelled + kind + b" - NOT FOUND"] * answer_unknown
    stage = Stage.begun(
        TableServer(Table(rows), Environment(), answer_unknown=answer_unknown), clients=("a",)
    )
    # QUIT alone is a command; it is asked with its dot.
    lines = [
        spell(name) + (b"." if spell(name) == b"QUIT" and not kind else dot) + kind + end
        for name, spell, dot, kind in asked
    ]
    data = b"".join(lines)
    stage.hear("a", *pieces(data, sorted(at for at in cut if at < len(data))))
    assert split_lines(stage.take("a")) == expected
    stage.end("a")
    stage.drain()
    account = ", ".join(f"{what} {count}" for what, count in counts.items())
    assert stage.reports == [f"asked {len(asked)}, {account}, refused 0"]


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

    rows = Counted({b"four": MIXED[b"four"]})
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
