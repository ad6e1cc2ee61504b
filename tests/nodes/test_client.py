"""The client's brain: one line per name, in input order, whatever comes and however it is cut.

The model is a list with a place for each name: a reply goes to the first place that waits for
its name, and what is written is the part of the list that has no hole before it.

Not here: files, arguments and exit codes of the process (`tests/processes/test_system.py`).
"""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.protocol.names import Negative
from core.text import split_lines
from nodes.client.client import LS, Client
from nodes.client.settings import ClientSettings
from tests.support.splitting import name_of, pieces
from tests.support.stage import Stage

ADDRESSES = ((2, ("127.0.0.1", 1)),)


def client(*names: bytes, bounds: Bounds | None = None, progress: bool = False) -> Stage:
    bounds, settings = bounds or Bounds(), ClientSettings(shows_progress=progress)
    brain = Client(list(names), ADDRESSES, "127.0.0.1:1", Environment(bounds), settings)
    return Stage.begun(brain, bounds)


def asking(*names: bytes, bounds: Bounds | None = None, progress: bool = False) -> Stage:
    stage = client(*names, bounds=bounds, progress=progress)
    stage.connect(LS)
    return stage


# -- against a model -------------------------------------------------------------------------------

BAD = {
    b"two words": b"two words", b"\xff": b"\\xff", b".": b".", b"-": b"-", b"a..b": b"a..b",
    b"\x1b[2J": b"\\x1b[2J", b"x - TIMED OUT": b"x - TIMED OUT", b"a\rb": b"a\\x0db",
    b"K\xe2\x84\xaa": b"K\\xe2\\x84\\xaa", b"\0": b"\\x00", b"x" * 64: b"x" * 64,
    b"a aaaa": b"a aaaa", b"a A": b"a A", b"AAAA AAAA AAAA": b"AAAA AAAA AAAA",
    b"a  AAAA": b"a  AAAA", b"a AAAA ": b"a AAAA ", b"-. AAAA": b"-. AAAA", b"QUIT ": b"QUIT ",
    b"a\tAAAA": b"a\\x09AAAA", b"a AAAA.": b"a AAAA.", name_of(254): name_of(254),
}  # fmt: skip
GOOD = [
    b"a", b"A", b"a AAAA", b"A. AAAA", b"b.x", b"B.x.", b"QUIT", b"QUIT.", b"quit", b"QUIT AAAA",
    b"quit. AAAA", b"PING", b"PING.", b"STATS", b"AAAA", b"AAAA AAAA", name_of(253) + b". AAAA",
    b"c", b"d-e.", b"D-E",
]  # fmt: skip
RESERVED = (b"QUIT", b"PING", b"STATS")


def asked_as(name: bytes) -> bytes:
    return name.lower() if name in RESERVED else name


def key(name: bytes) -> bytes:
    return name.lower().replace(b". ", b" ").removesuffix(b".")


@dataclass
class Model:
    """The line that has to be written for each name, None where nothing has come yet."""

    names: list[bytes]
    lines: list[bytes | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = [BAD[n] + b" - ERROR BADNAME" if n in BAD else None for n in self.names]

    def hear(self, reply: bytes) -> None:
        question, dash, why = reply.partition(b" - ")
        if not dash:
            fields = reply.split(b" ")
            question = fields[0] + b" AAAA" * (fields[2] == b"AAAA")
        for place, asked in enumerate(self.names):
            if self.lines[place] is None and key(asked) == key(question):
                self.lines[place] = asked + dash + why if dash else reply
                return

    def lose(self) -> None:
        lost = [n + b" - LOST" for n in self.names]
        self.lines = [x if line is None else line for x, line in zip(lost, self.lines, strict=True)]

    @property
    def waits(self) -> bool:
        return None in self.lines

    @property
    def written(self) -> bytes:
        written = b""
        for line in self.lines:
            if line is None:
                break
            written += line + b"\n"
        return written


def replies_to(names: list[bytes], chance: Random) -> list[bytes]:
    """Draw a reply for each name that can be asked, in any order, each with something that tells it
    apart."""
    negatives = [b"%b - " + why.value for why in Negative]
    spell = (bytes.upper, bytes.lower, lambda name: name.removesuffix(b".") + b".")
    replies = []
    for number, question in enumerate(n for n in names if n not in BAD):
        name, space, kind = question.partition(b" ")
        spelling = chance.choice(spell)(name)
        if chance.random() < 0.5:
            replies.append(chance.choice(negatives) % (spelling + space + kind))
        elif kind:
            replies.append(b"%b 2001:db8::%d,::1 AAAA IN" % (spelling, number))
        else:
            replies.append(b"%b 10.0.0.%d A IN" % (spelling, number))
    chance.shuffle(replies)
    return replies


def cut_short(stage: Stage, how: str) -> None:
    """List the ways in which a conversation may end too early."""
    if how in ("bye", "busy"):
        stage.hear(LS, b"BYE\n" if how == "bye" else b"- ERROR BUSY\n")
    if how in ("end", "bye", "busy"):
        stage.end(LS)
    elif how == "reset":
        stage.reset(LS)
    elif how == "silence":
        stage.wait(30.0)
    elif how == "interrupt":
        stage.drain()
    elif how == "hangup":
        stage.reload()


WAYS = ["end", "reset", "bye", "busy", "silence", "interrupt", "hangup"]

# The outcome of a line in the summary, by the last word of the line; in its order.
OUTCOME = {
    b"IN": "answered", b"FOUND": "not found", b"DATA": "no data", b"BELOW": "no data",
    b"BLOCKED": "not found",
    b"FAILED": "failed", b"OUT": "timed out", b"BADNAME": "bad", b"LOST": "lost",
}  # fmt: skip


@given(
    st.lists(st.sampled_from([*GOOD, *GOOD, *BAD]), max_size=12),
    st.randoms(use_true_random=False),
    st.lists(st.integers(1, 400), max_size=9, unique=True),
    st.integers(0, 500),
    st.sampled_from(WAYS),
)
def test_each_name_gets_its_line_in_any_order_and_any_split(
    names: list[bytes], chance: Random, cut: list[int], heard: int, way: str
) -> None:
    """`heard` bytes of the replies come, and then the conversation ends in some way."""
    stage, model = client(*names), Model(names)
    if model.waits:
        stage.connect(LS)
        asked = [asked_as(name) for name in names if name not in BAD]
        assert split_lines(stage.take(LS)) == [*asked, b"QUIT"]
        assert not set(asked).intersection(RESERVED)
    replies = b"".join(reply + b"\n" for reply in replies_to(names, chance))[:heard]
    delivered = b""
    for piece in pieces(replies, sorted(at for at in cut if at < len(replies))):
        before = delivered.count(b"\n")
        delivered += piece
        stage.hear(LS, piece)
        for reply in split_lines(replies[: delivered.rfind(b"\n") + 1])[before:]:
            model.hear(reply)
        assert bytes(stage.written) == model.written
    lost = model.waits
    if lost:
        assert not stage.has_ended(LS) and stage.exit_code is None
        cut_short(stage, way)
        model.lose()
    elif LS in stage.connections:
        assert stage.has_ended(LS) and stage.exit_code is None
        cut_short(stage, way)
        if LS in stage.connections:
            stage.end(LS)
    else:
        assert stage.dialled == []
    stage.drain()
    assert bytes(stage.written) == model.written
    assert stage.exit_code == lost
    counts = Counter(OUTCOME[line.rpartition(b" ")[2]] for line in model.lines if line)
    shown = [
        f"{counts[outcome]} {outcome}, "
        for outcome in dict.fromkeys(OUTCOME.values())
        if counts[outcome] or outcome in ("answered", "timed out", "bad", "lost")
    ]
    plural = "" if len(names) == 1 else "s"
    assert stage.reports[-1].startswith(f"{len(names)} name{plural}: {''.join(shown)}")
    assert len(stage.reports) == 1 + lost, "the reason, and the summary"


@pytest.mark.parametrize("other", [b"a", b"A", b"a."])
def test_replies_to_equal_names_keep_their_order_in_a_chunk(other: bytes) -> None:
    stage = asking(b"a", b"A")
    stage.hear(LS, other + b" - TIMED OUT\na 10.0.0.1 A IN\n")
    assert stage.written == b"a - TIMED OUT\na 10.0.0.1 A IN\n"


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "way", "said"),
    [
        (b"", "end", "LS closed the connection"),
        (b"", "reset", "no connection to LS at 127.0.0.1:1: gone"),
        (b"", "bye", "127.0.0.1:1 closed the session without an answer (is it a table server?)"),
        (b"", "busy", "LS at 127.0.0.1:1 says BUSY: the server has as many clients as it can"),
        (b"", "silence", "LS at 127.0.0.1:1 has sent no reply for 30 s (see --patience)"),
        (b"", "interrupt", "interrupted"),
        (b"", "hangup", "interrupted"),
        (b"HTTP/1.1 400\n", "end", "the server at 127.0.0.1:1 does not speak this protocol"),
        (b"- ERROR TOOLONG\n", "end", "LS at 127.0.0.1:1 says TOOLONG: the line has more than 5"),
        (b"- ERROR BUSY\nBYE\n", "end", "LS at 127.0.0.1:1 says BUSY: "),
        (
            b"- ERROR BUSY\n",
            "silence",
            "LS at 127.0.0.1:1 has sent no reply for 30 s (see --patience); LS at 127.0.0.1:1 says",
        ),
    ],
)
def test_what_arrived_is_in_its_place_and_the_rest_is_lost(
    heard: bytes, way: str, said: str
) -> None:
    """The end is explained by what LS said last; a BYE follows from what was said before it."""
    stage = asking(b"a", b"b", b"bad name", b"c.")
    stage.hear(LS, b"b 10.0.0.2 A IN\n" + heard)
    assert stage.written == b"" and stage.exit_code is None
    cut_short(stage, way)
    assert stage.written == b"a - LOST\nb 10.0.0.2 A IN\nbad name - ERROR BADNAME\nc. - LOST\n"
    assert stage.exit_code == 1
    assert stage.reports[0].startswith(said)
    assert stage.reports[1].startswith("4 names: 1 answered, 0 timed out, 1 bad, 2 lost")
    assert len(stage.reports) == 2


@pytest.mark.parametrize(
    ("heard", "tells"),
    [
        (b"", " (is it a table server?)"),
        (b"b 10.0.0.2 A IN\n", " (is it a table server?)"),
        (b"a - TIMED OUT\n", "; it is shutting down, or a table server"),
    ],
)
def test_a_bye_that_passes_names_over_is_a_table_servers(heard: bytes, tells: str) -> None:
    """LS takes names in their order, and has a reply for each that it has taken."""
    stage = asking(b"bad name", b"a", b"b", b"bad name")
    stage.hear(LS, heard + b"BYE\n")
    stage.end(LS)
    assert stage.exit_code == 1
    assert stage.reports[0] == f"127.0.0.1:1 closed the session without an answer{tells}"


@pytest.mark.parametrize("is_refused", [True, False])
def test_a_dial_that_ends_loses_every_name(is_refused: bool) -> None:
    """Refused, or interrupted."""
    stage = client(b"a", b"bad name", b"b")
    if is_refused:
        stage.refuse(LS)
    else:
        stage.drain()
    assert stage.written == b"a - LOST\nbad name - ERROR BADNAME\nb - LOST\n"
    why = "no connection to LS at 127.0.0.1:1: connection refused" if is_refused else "interrupted"
    assert stage.exit_code == 1 and stage.reports[0] == why


def test_an_ls_that_ended_and_takes_nothing_is_not_waited_for() -> None:
    """No reply can come to what it has not taken: to go on sending would be to hang for ever."""
    stage = client(b"a")
    stage.held.add(LS)
    stage.connect(LS)
    stage.end(LS)
    assert stage.written == b"a - LOST\n"
    assert stage.exit_code == 1


def test_an_ls_that_takes_no_quit_is_waited_for_in_patience() -> None:
    stage = client(b"a")
    stage.held.add(LS)
    stage.connect(LS)
    stage.hear(LS, b"a 10.0.0.1 A IN\n")
    assert stage.exit_code is None and LS in stage.connections
    stage.wait(30.0)
    assert stage.exit_code == 0
    assert stage.reports == ["1 name: 1 answered, 0 timed out, 0 bad, 0 lost, 0.0 s"]


def test_sixteen_lines_in_a_row_that_are_no_replies_are_enough() -> None:
    stage = asking(b"a", b"b")
    stage.hear(LS, b"junk\n" * 15 + b"a 10.0.0.1 A IN\n" + b"junk\n" * 15)
    assert stage.exit_code is None
    stage.hear(LS, b"junk\n")
    assert stage.exit_code == 1
    assert stage.reports[0] == "the server at 127.0.0.1:1 does not speak this protocol"
    assert stage.written == b"a 10.0.0.1 A IN\nb - LOST\n"


# -- time ------------------------------------------------------------------------------------------


def test_patience_begins_when_ls_answers_the_dial() -> None:
    stage = client(b"a")
    assert stage.brain.due == math.inf
    stage.wait(100.0)
    stage.connect(LS)
    stage.wait(29.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 1


NO_REPLIES = {
    "pong": b"PONG\n",
    "blank": b"\n\r\n",
    "error": b"- ERROR BADNAME\n",
    "bye": b"BYE\n",
    "not asked": b"x 10.0.0.9 A IN\n",
    "not owed any more": b"b 10.0.0.2 A IN\n",
    "an answer of another type": b"a ::1 AAAA IN\n",
    "a negative of another type": b"a AAAA - TIMED OUT\n",
    "no address": b"a 10.0.0.256 A IN\n",
    "no text": b"\xff\n",
    "no negative": b"a - LOST\n",
    "a line that is too long": b"z" * 600 + b"\n",
    "a byte of a line": b"a",
}


@pytest.mark.parametrize("said", NO_REPLIES.values(), ids=NO_REPLIES)
def test_what_is_no_reply_does_not_renew_the_patience(said: bytes) -> None:
    """[P63]: each reply does, be it a negative."""
    stage = asking(b"a", b"b", b"c", bounds=replace(Bounds(), patience_s=2.0))
    for reply in (b"c - TIMED OUT\n", b"b 10.0.0.2 A IN\n"):
        stage.wait(1.875)
        stage.hear(LS, reply)
    for _ in range(7):
        stage.wait(0.25)
        stage.hear(LS, said)
    stage.wait(0.24)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 1
    assert stage.written == b"a - LOST\nb 10.0.0.2 A IN\nc - TIMED OUT\n"
    assert stage.reports[0].startswith("LS at 127.0.0.1:1 has sent no reply for 2 s")


def test_progress_shows_on_a_terminal_while_names_wait() -> None:
    stage = asking(b"a", b"b", progress=True)
    stage.hear(LS, b"b 10.0.0.2 A IN\n")
    stage.wait(0.39)
    assert stage.progress == [], "what is over at once needs none"
    stage.wait(0.61)
    assert stage.progress[-1] == "1 of 2 names, 1 waiting"
    assert 1 < len(stage.progress) < 10
    stage.hear(LS, b"a 10.0.0.1 A IN\n")
    shown = len(stage.progress)
    stage.wait(1.0)
    assert stage.progress[-1] == "" and len(stage.progress) == shown
