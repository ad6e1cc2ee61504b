"""The grammar of proto.md, held against the parsers of the code.

Lines are drawn from the grammar, and half of them are changed a little. Each is judged twice: by
the grammar, with the limits that ABNF cannot say, and by the parsers. A line goes through the exact
parser by itself, and in a chunk, cut anywhere, through both ways of reading many lines at once.

Not here: how ABNF is read (`abnf.py`), and a run of a hundred thousand lines
(`tests/fuzz_grammar.py`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from core.environment import Environment
from core.io.line_buffer import LineBuffer
from core.protocol.batches import read_each_request, read_questions, read_replies
from core.protocol.error_streak import ErrorStreak
from core.protocol.messages import (
    Answer,
    NoAnswer,
    ProtocolError,
    Question,
    Refusal,
    Reply,
    Request,
    Stat,
    format_message,
    parse_reply,
    parse_request,
)
from core.protocol.names import LINE_BYTES_MAX, REPLIES, Command, Error, Word
from core.protocol.reply_batch import ReplyBatch, read_each
from core.text import split_lines
from tests.support.abnf import Grammar, Reference, Sequence
from tests.support.splitting import folded, pieces
from tests.support.transcript import fenced

DOCUMENT = (Path(__file__).parents[2] / "proto.md").read_text()
GRAMMAR = "\n".join(line for _, _, body in fenced(DOCUMENT, "abnf") for line in body)
LIMITS = {name: int(value) for name, value in re.findall(r"`(\w+_MAX)` \| (\d+) \|", DOCUMENT)}
SIDES = {"request": parse_request, "reply": parse_reply}

Judgement = tuple[bytes, ...] | Error  # the kind of a line and what it says, or what is wrong

_KEPT = ("name", "question", "addresses", "reason", "code", "metric", "value")
_PARTS = {  # groups that tell all of a line of this kind; of another kind it is the line
    "question": ("question",),
    "answer": ("name", "addresses"),
    "negative": ("question", "reason"),
    "error": ("code",),
    "stat": ("metric", "value"),
}
# Negatives that are sorted in a batch.
_ENDING = (
    b"NOT FOUND",
    b"NO DATA",
    b"NAMES BELOW",
    b"BLOCKED",
)
_AWKWARD = (
    *(b" ", b".", b"-", b",", b":", b"::", b"_", b"/", b"\r", b"\0", b"\t", b"\v", b"\x85", b"0"),
    *(b"\xff", b"1", b"a", b"G", b"\xe9", "\u212a".encode(), "\u2028".encode(), b"256", b"01"),
    *(b"QUIT", b"STAT ", b"STATS", b" AAAA", b" A", b" IN", b" - ", b"NO DATA", b"- ERROR "),
    *(b"10.0.0.1", b"::1", b"1:2:3:4:5:6:7:8", b"a" * 63, b"-" * 63, b" 60"),
)
_WORDS = [word.encode() for word in re.findall(r'%s"(\w+)"', GRAMMAR)]
_ENDS = [b"\n"] * 30 + [b"\r\n"] * 4 + [b"\r\r\n"]
_LENGTHS = (62, 63, 64, 65, 252, 253, 254, 255, 256, 511, 512, 513, 514)


# -- judging ---------------------------------------------------------------------------------------


class Judge:
    """A grammar with the limits of proto.md."""

    def __init__(self, text: str = GRAMMAR) -> None:
        self.grammar = Grammar(text)
        self._kinds: dict[str, list[tuple[str, re.Pattern[bytes]]]] = {
            side: [
                (str(kind), self._line_of(Reference(str(kind))))
                for kind in self.grammar.choices(side)
            ]
            for side in SIDES
        }
        self._end = re.compile(b"(?s:(.*?))" + self.grammar.pattern("end"))

    def _line_of(self, kind: Reference) -> re.Pattern[bytes]:
        return re.compile(self.grammar.pattern(Sequence((kind, Reference("end"))), _KEPT))

    def judge(self, side: str, line: bytes) -> Judgement | None:
        """Return what a line of a side is; None for an empty one. The line has its end."""
        found = self._end.fullmatch(line)
        assert found is not None
        if not found[1]:
            return None
        if len(found[1]) > LIMITS["LINE_BYTES_MAX"]:
            return Error.TOOLONG
        for kind, pattern in self._kinds[side]:
            fits = pattern.fullmatch(line)
            if fits is None or ("name" in pattern.groupindex and not _is_short(fits["name"])):
                continue
            parts = [fits[part] for part in _PARTS[kind]] if kind in _PARTS else [found[1]]
            if kind == "question":  # a trailing dot is dropped
                parts = [fits["name"].removesuffix(b".") + parts[0].removeprefix(fits["name"])]
            return (kind.encode(), *parts)
        return Error.BADNAME


def _is_short(name: bytes) -> bool:
    """Return whether a name keeps what the grammar says of names outside of ABNF."""
    name = name.removesuffix(b".")
    return len(name) <= LIMITS["NAME_BYTES_MAX"] and name.strip(b"-") != b""


def told(message: Request | Reply) -> Judgement:
    """Return the judgement that a message of the code comes to."""
    match message:
        case Command() | Word():
            kind = b"command" if isinstance(message, Command) else b"word"
            return kind, message.value
        case Question():
            return b"question", format_message(message)
        case Answer(spelling, addresses, type):
            return b"answer", spelling, b"%b %b" % (addresses, type.value)
        case NoAnswer(question, why):
            return b"negative", format_message(question), why.value
        case Refusal(code):
            return b"error", code.name.encode()
        case Stat(key, value):
            return b"stat", key, value


def parsed(side: str, line: bytes) -> Judgement:
    """Return what the code says of a line without its end."""
    try:
        return told(SIDES[side](line))
    except ProtocolError as error:
        return error.code


# -- comparing -------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """Lines that were judged twice. `differences`: each in words; `kinds` counts what the grammar
    says of lines, and `chunks` how chunks were read."""

    judge: Judge
    differences: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    chunks: Counter[str] = field(default_factory=Counter)

    def compare(self, side: str, lines: list[bytes], cuts: Iterable[int] = ()) -> None:
        """Compare lines, each with its end, by themselves and together, cut at these places."""
        judged = [self.judge.judge(side, line) for line in lines]
        for line, judgement in zip(lines, judged, strict=True):
            legal = isinstance(judgement, tuple)
            self.kinds[f"{side}: {judgement[0].decode() if legal else judgement}"] += 1
            alone = filter(None, split_lines(_through_a_buffer([line])))
            code = [parsed(side, whole) for whole in alone]
            self._check(line, code, [] if judgement is None else [judgement])
        data = _through_a_buffer(pieces(b"".join(lines), sorted(cuts)))
        compare = self._compare_requests if side == "request" else self._compare_replies
        compare(data, [judgement for judgement in judged if judgement is not None])

    def _compare_requests(self, data: bytes, judged: list[Judgement]) -> None:
        """Compare both ways to read a chunk of requests. Nothing is read after QUIT."""
        quit_line = (b"command", b"QUIT")
        if quit_line in judged:
            judged = judged[: judged.index(quit_line) + 1]
        spelled = [j[1] for j in judged if isinstance(j, tuple) and j[0] == b"question"]
        others = [j for j in judged if not isinstance(j, tuple) or j[0] != b"question"]
        exact, said = read_each_request(data, _streak(), len(data))
        heard = [one if isinstance(one, Error) else told(one) for one in said]
        self._check(data, [exact.spellings, heard], [spelled, others])
        at_once = read_questions(data)
        self.chunks[f"requests {'at once' if at_once else 'line by line'}"] += 1
        if at_once:
            self._check(data, [at_once.spellings, []], [spelled, others])
            self._check(data, at_once.lines, exact.lines)
        self._check(data, exact.questions, [folded(spelling) for spelling in spelled])

    def _compare_replies(self, data: bytes, judged: list[Judgement]) -> None:
        """Compare both ways to read a chunk of replies. Nothing is read after a line that is too
        long."""
        if Error.TOOLONG in judged:
            judged = judged[: judged.index(Error.TOOLONG) + 1]
        expected: dict[object, list[object]] = {}
        for judgement in judged:
            match judgement:
                case (b"answer", name, addresses):
                    question = name + b" AAAA" * addresses.endswith(b" AAAA")
                    expected.setdefault("questions", []).append(folded(question))
                    line = b"%b %b IN" % (name, addresses)
                    expected.setdefault("answers", []).append(line)
                case (b"negative", question, why) if why in _ENDING:
                    expected.setdefault(why, []).append(folded(question))
                case Error():
                    expected.setdefault("malformed", []).append(1)
                case _:
                    expected.setdefault("others", []).append(judgement)
        for read in (read_each, read_replies):
            self._check(data, _told_of_batch(read(data, _streak())), expected)
        is_plain = REPLIES.fullmatch(data) is not None
        self.chunks[f"replies {'at once' if is_plain else 'line by line'}"] += 1

    def _check(self, data: bytes, code: object, grammar: object) -> None:
        if code != grammar:
            self.differences.append(f"{data!r}: the code says {code}, the grammar {grammar}")


def _told_of_batch(batch: ReplyBatch) -> dict[object, list[object]]:
    sorted_negatives = (batch.not_found, batch.no_data, batch.names_below, batch.blocked)
    found: dict[object, list[object]] = {
        "questions": [*batch.questions],
        "answers": [*batch.each()],
        **dict(zip(_ENDING, sorted_negatives, strict=True)),
        "malformed": [1] * batch.malformed,
        "others": [told(reply) for reply in batch.others],
    }
    return {kind: [*these] for kind, these in found.items() if these}


def _through_a_buffer(parts: Iterable[bytes]) -> bytes:
    buffer = LineBuffer(LINE_BYTES_MAX)
    return b"".join([buffer.receive(part) for part in parts])


def _streak() -> ErrorStreak:
    return ErrorStreak(Environment())


# -- drawing ---------------------------------------------------------------------------------------


def changed(line: bytes, chance: Random) -> bytes:
    """Change a line a little; it may be legal still, or again."""
    at, to = sorted(chance.choices(range(len(line) + 1), k=2))
    to = min(to, at + chance.choice([1, 1, 2, 9, 400]))
    match chance.randrange(8):
        case 0:
            line = line[:at] + line[to:]
        case 1:
            line = line[:at] + chance.choice(_AWKWARD) + line[at:]
        case 2:
            line = line[:at] + chance.choice(_AWKWARD) + line[to:]
        case 3:
            line = line[:at] + line[at:to].swapcase() + line[to:]
        case 4:
            line = line[:at]
        case 5:  # a word of the grammar for a name
            line = b"".join([chance.choice(_WORDS), *line.partition(b" ")[1:]])
        case 6:
            line = line[:at] + bytes([chance.randrange(256)]) + line[at + 1 :]
        case _:  # as long as a limit, or nearly
            more = chance.choice(_LENGTHS) - len(line)
            part = chance.choice([line[at:to], b"a", b"a.b-", b",1.2.3.4", b",::1"])
            if more > 0 and part:
                line = line[:at] + (part * more)[:more] + line[at:]
    return line.replace(b"\n", b"")


def drawn(judge: Judge, side: str, chance: Random) -> list[bytes]:
    """Draw the lines of a chunk, each with its end: all as the grammar has them, or some changed;
    often of few kinds, as a server has them."""
    kinds: list[str] = [str(kind) for kind in judge.grammar.choices(side)]
    if chance.random() < 0.6:
        kinds = ["question"] if side == "request" else ["answer", "negative"][chance.randrange(2) :]
    share = chance.choice([0, 0, 0.5, 1])
    has_dots = chance.random() < 0.5  # at the ends of names
    lines = []
    for _ in range(chance.randint(1, 6)):
        line = judge.grammar.draw(chance.choice(kinds), chance)
        if not has_dots:
            line = line.replace(b". ", b" ").removesuffix(b".")
        for _ in range(chance.choice([1, 1, 2, 3]) if chance.random() < share else 0):
            line = changed(line, chance)
        lines.append(line + chance.choice(_ENDS))
    return lines


def compare_drawn(comparison: Comparison, side: str, chance: Random) -> int:
    """Draw a chunk and compare it; return how many lines it had."""
    lines = drawn(comparison.judge, side, chance)
    size = sum(map(len, lines))
    cuts = {chance.randrange(size) for _ in range(chance.choice([0, 0, 1, 5]))}
    comparison.compare(side, lines, cuts)
    return len(lines)
