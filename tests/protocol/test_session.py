"""Session: what a chunk of requests comes to, and how a conversation ends.

The reference reads line by line and knows the grammar in its own words: split at dots, count,
look at each byte. It holds both ways of the session, the pattern for a whole chunk and the loop.

Not here: bytes that are not yet lines (`tests/io/test_line_buffer.py`), the server around the
sessions (`tests/protocol/test_server.py`), and what an answer is
(`tests/nodes/test_table_server.py`, `tests/nodes/test_load_balancer.py`).
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Close, Send
from core.environment import Environment
from core.protocol.asker import SessionEvent, SessionState
from core.protocol.names import Negative
from core.protocol.outcome import Denied
from core.protocol.session import Session
from tests.support.splitting import folded, name_of

ERRORS_MAX = 16
METRICS = b"STAT asked 1\nEND\n"
LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def session(errors_max: int = ERRORS_MAX) -> Session:
    bounds = replace(Bounds(), errors_in_a_row_max=errors_max)
    return Session("a", Environment(bounds), lambda: METRICS)


@dataclass
class Reference:
    """The obvious way to take an asker's lines, one after the other."""

    errors_max: int = ERRORS_MAX
    spellings: list[bytes] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)  # replies that are no answer
    errors: int = 0
    stats: int = 0  # in this read
    errors_in_a_row: int = 0
    open: bool = True

    def take(self, line: bytes) -> None:
        if not self.open or not line:
            return
        kind = b" AAAA" if line.endswith(b" AAAA") else b""
        name = line.removesuffix(kind).removesuffix(b".")
        if line == b"QUIT":
            self.open = False
        elif len(line) > 512:
            self.refuse(b"TOOLONG")
        elif line == b"STATS" and self.stats == 16:
            self.refuse(b"TOOMANY")
        elif line in (b"PING", b"STATS"):
            self.stats += line == b"STATS"
            self.said.append(b"PONG\n" if line == b"PING" else METRICS)
            self.errors_in_a_row = 0
        elif (
            len(name) <= 253
            and set(name) <= LETTERS | set(b".")
            and all(1 <= len(label) <= 63 for label in name.split(b"."))
            and set(name) != set(b"-")
        ):
            self.spellings.append(name + kind)
            self.errors_in_a_row = 0
        else:
            self.refuse(b"BADNAME")

    def refuse(self, code: bytes) -> None:
        self.said.append(b"- ERROR " + code + b"\n")
        self.errors += 1
        self.errors_in_a_row += 1
        self.open = self.errors_in_a_row < self.errors_max


GOOD = [
    b"rutgers.edu", b"GOOGLE.com", b"x.", b"quit", b"QUIT.", b"Ping", b"STATS.", b"QUITE", b"-.a",
    b"Google.com AAAA", b"x. AAAA", b"QUIT AAAA", b"QUIT. AAAA", b"PING AAAA", b"stats AAAA",
    b"AAAA", b"AAAA AAAA",
]  # fmt: skip
BAD = [
    b".", b"-", b"---", b"--.", b"a..b", b".a", b"two words", b"QUIT ", b" QUIT",
    b"\0", b"a\rb", b"\r", b"\xff", b"a\x1b[2J", b"\xe2\x84\xaa", b"x" * 64, b"x - TIMED OUT",
    b"x aaaa", b"X AaAA", b"x A", b"- AAAA", b"-. AAAA", b". AAAA", b" AAAA", b"x AAAA ",
    b"x  AAAA", b"x\tAAAA", b"x AAAA.", b"x.. AAAA", b"x AAAA AAAA", b"QUIT A", b"x AAAA\r\r",
]  # fmt: skip
EDGES = [
    b"a" * 63, b".".join([b"a" * 63] * 3 + [b"a" * 61]), b".".join([b"a" * 63] * 3 + [b"a" * 62]),
    b".".join([b"a" * 63] * 3 + [b"a" * 61]) + b".", b"a" * 512, b"a" * 513, b"a" * 9000,
    name_of(248) + b" AAAA", name_of(249) + b" AAAA", name_of(253) + b" AAAA",
    name_of(253) + b". AAAA", name_of(254) + b" AAAA", b"a" * 509 + b" AAAA",
]  # fmt: skip
requests = st.one_of(
    st.sampled_from(GOOD),
    st.sampled_from(BAD),
    st.sampled_from([b"", b"QUIT", b"PING", b"STATS", *EDGES]),
    st.binary(max_size=4).map(lambda text: text.replace(b"\n", b"")),
)
few_or_plain = st.one_of(
    st.lists(requests, max_size=30), st.lists(st.sampled_from(GOOD), min_size=1, max_size=9)
)


@given(few_or_plain, st.lists(st.integers(0, 30), max_size=5), st.integers(1, 4))
@example([b"QUIT", b"x", b"?", b"PING", b"QUIT"], [2, 3], 4)
@example([b"PING", b"", b"x AAAA", b"STATS", b"QUIT. AAAA", b"X"], [], 1)
@example([b"?", b"", b"?", b"x", b"?", b"?", b"?", b"x", b"?"], [1, 3, 4], 3)
def test_b18_b19_chunks_come_to_what_their_lines_do_one_by_one(
    lines: list[bytes], cut: list[int], errors_max: int
) -> None:
    """[P5] [P6]"""
    asker, reference = session(errors_max), Reference(errors_max)
    spellings: list[bytes] = []
    said, errors = b"", 0
    borders = [0, *sorted(cut), len(lines)]
    for begin, end in pairwise(borders):
        chunk = lines[begin:end]
        asked = asker.receive(b"".join(line + b"\n" for line in chunk), 0.0)
        assert asked.questions == [folded(spelling) for spelling in asked.spellings]
        assert asked.lines == b"".join(question + b"\n" for question in asked.questions)
        assert not {b"QUIT", b"PING", b"STATS"}.intersection(asked.questions)
        spellings += asked.spellings
        said += asked.said
        errors += asked.errors
        reference.stats = 0
        for line in chunk:
            reference.take(line)
        assert (asker.life.state is SessionState.OPEN) is reference.open
    assert spellings == reference.spellings
    assert said == b"".join(reference.said)
    assert errors == reference.errors


def test_of_one_read_sixteen_stats_are_answered() -> None:
    """Each is some 2 KB for 6 bytes: a read of 64 KiB would cost 20 MB."""
    asker = session()
    assert asker.receive(b"STATS\n" * 17, 0.0).said == METRICS * 16 + b"- ERROR TOOMANY\n"
    assert asker.receive(b"STATS\n", 0.0).said == METRICS
    assert asker.receive(b"STATS\n" * 40, 0.0).said == METRICS * 16 + b"- ERROR TOOMANY\n" * 16
    assert asker.life.state is SessionState.LEAVING


def test_stats_are_made_only_for_those_who_get_them() -> None:
    made: list[bytes] = []
    env = Environment(Bounds(stats_per_read=2))
    asker = Session("a", env, lambda: made.append(METRICS) or METRICS)
    assert asker.receive(b"x\nSTATS\n" * 5, 0.0).said.startswith(METRICS * 2)
    assert len(made) == 2


@pytest.mark.parametrize("unfinished", [False, True])
def test_b21_a_cut_last_line_is_said_to_be_unfinished(unfinished: bool) -> None:
    asker = session()
    said = b"- ERROR UNFINISHED\n" if unfinished else b""
    assert asker.receive_end(unfinished) == said
    assert asker.last_words() == [Close("a")]


ENDS = {
    "QUIT": lambda asker: asker.receive(b"QUIT\n", 0.0),
    "too many errors": lambda asker: asker.receive(b"?\n" * 16, 0.0),
    "drain": lambda asker: asker.life.fire(SessionEvent.DRAIN),
    "end of input": lambda asker: asker.receive_end(unfinished=False),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_last_words_wait_for_what_is_owed_and_are_said_once(how: str) -> None:
    """Only one who ended its input gets no BYE: it has said that it knows."""
    asker = session()
    assert asker.last_words() == []
    asker.owed = 2
    ENDS[how](asker)
    for owed in (2, 1):
        asker.owed = owed
        assert asker.last_words() == []
    asker.owed = 0
    bye = [] if how == "end of input" else [Send("a", b"BYE\n")]
    assert asker.last_words() == [*bye, Close("a")]
    assert asker.last_words() == []
    assert asker.life.state is SessionState.DONE


def test_each_question_that_is_replied_to_is_owed_no_more() -> None:
    asker, bye = session(), [Send("a", b"BYE\n"), Close("a")]
    asker.admitted(4)
    two, one = (Denied(names, names, Negative.NO_DATA) for names in ([b"x", b"y"], [b"z"]))
    lines = two.lines + one.lines
    assert asker.reply([two, one]) == [Send("a", lines)] and asker.owed == 1
    asker.receive(b"QUIT\n", 0.0)
    assert asker.reply([one]) == [Send("a", one.lines), *bye]


@pytest.mark.parametrize("first", ["QUIT", "too many errors", "drain"])
def test_a_bye_is_said_though_the_input_ends_before(first: str) -> None:
    asker = session()
    asker.owed = 1
    ENDS[first](asker)
    assert asker.receive_end(unfinished=True) == b""
    asker.owed = 0
    assert asker.last_words() == [Send("a", b"BYE\n"), Close("a")]


def test_a_drain_changes_nothing_for_one_who_has_ended_its_input() -> None:
    asker = session()
    asker.owed = 1
    asker.receive_end(unfinished=False)
    asker.life.fire(SessionEvent.DRAIN)
    asker.owed = 0
    assert asker.last_words() == [Close("a")]


@pytest.mark.parametrize("owed", [0, 3])
def test_one_who_is_gone_gets_no_last_words(owed: int) -> None:
    asker = session()
    asker.owed = owed
    asker.life.fire(SessionEvent.LOST)
    asker.owed = 0
    assert asker.last_words() == []
