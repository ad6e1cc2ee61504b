"""ABNF (RFC 5234, RFC 7405): a grammar that is read from its text.

It judges (`pattern`: a rule as a regular expression) and it talks (`draw`: bytes that fit a rule,
drawn by chance). Only grammars whose rules do not lead back to themselves can be read, which those
of lines do not; prose values are not known either.

Not here: the grammar of proto.md (`tests/support/grammar.py`).
"""

import re
from dataclasses import dataclass
from random import Random

_CORE = """
ALPHA  = %x41-5A / %x61-7A
DIGIT  = %x30-39
HEXDIG = DIGIT / "A" / "B" / "C" / "D" / "E" / "F"
VCHAR  = %x21-7E
SP     = %x20
CR     = %x0D
LF     = %x0A
"""
_COMMENT = re.compile(r'("[^"]*")|;.*')
_RULE = re.compile(r"([A-Za-z][A-Za-z0-9-]*) *= *(.*)")
_TOKEN = re.compile(
    r"""\ *+(?:
    (?P<text>(?:%[si])?"[^"]*")
  | (?P<range>%x[0-9A-F]+(?:-[0-9A-F]+)?)
  | (?P<repeat>\d*\*\d*|\d+)
  | (?P<name>[A-Za-z][A-Za-z0-9-]*)
  | (?P<sign>[/()\[\]])
  | (?P<end>$)
  )""",
    re.X,
)
_MORE_MAX = 4  # repetitions beyond the least, most often


@dataclass(frozen=True)
class Text:
    """These letters; `is_exact`: in this case."""

    data: bytes
    is_exact: bool


@dataclass(frozen=True)
class Range:
    """A byte from `low` to `high`."""

    low: int
    high: int


@dataclass(frozen=True)
class Reference:
    """Another rule."""

    name: str


@dataclass(frozen=True)
class Sequence:
    """Each of these, in order."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Choice:
    """The first of these that fits."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Repeat:
    """`item` again and again; `most` is None where there is no bound."""

    item: "Node"
    least: int
    most: int | None


Node = Text | Range | Reference | Sequence | Choice | Repeat


class _Reader:
    """Reads what stands behind a rule's `=`, a token after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._step()

    def _step(self) -> None:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise ValueError(f"no ABNF: {self._text[self._at :]}")
        self._at = found.end()
        self._kind = found.lastgroup or ""
        self._token = found[self._kind]

    def _take(self, *tokens: str) -> str:
        """Step over one of these signs, or over the end."""
        token = self._token
        if token not in tokens:
            raise ValueError(
                f"{token or 'the end'} where {' or '.join(tokens)} was due: {self._text}"
            )
        if self._kind != "end":
            self._step()
        return token

    def whole(self) -> Node:
        node = self._choice()
        self._take("")
        return node

    def _choice(self) -> Node:
        items = [self._sequence()]
        while self._token == "/":
            self._step()
            items.append(self._sequence())
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def _sequence(self) -> Node:
        items = [self._repetition()]
        while self._token not in ("/", ")", "]", ""):
            items.append(self._repetition())
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _repetition(self) -> Node:
        if self._kind != "repeat":
            return self._element()
        least, star, most = self._token.partition("*")
        self._step()
        if not star:
            most = least
        return Repeat(self._element(), int(least or 0), int(most) if most else None)

    def _element(self) -> Node:
        kind, token = self._kind, self._token
        if kind == "name":
            self._step()
            return Reference(token.lower())
        if kind == "text":
            self._step()
            return Text(token.split('"')[1].encode(), token.startswith("%s"))
        if kind == "range":
            self._step()
            low, _, high = token.removeprefix("%x").partition("-")
            return Range(int(low, 16), int(high or low, 16))
        bracket = self._take("(", "[")
        node = self._choice()
        self._take(")" if bracket == "(" else "]")
        return node if bracket == "(" else Repeat(node, 0, 1)


class Grammar:
    """A grammar: its rules by name, in lower case. Raises ValueError for a text that is none."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        bare = _COMMENT.sub(lambda found: found[1] or "", _CORE + text)
        for line in filter(str.strip, re.sub(r"\n +", " ", bare).split("\n")):
            found = _RULE.fullmatch(line.rstrip())
            if found is None or found[1].lower() in self.rules:
                raise ValueError(f"no rule, or a second one of its name: {line}")
            self.rules[found[1].lower()] = _Reader(found[2]).whole()

    def choices(self, rule: str) -> list[str | bytes]:
        """Return what a rule has to choose from: names of rules, and texts."""
        node = self.rules[rule]
        assert isinstance(node, Choice)
        return [
            item.name if isinstance(item, Reference) else item.data
            for item in node.items
            if isinstance(item, Reference | Text)
        ]

    # -- judging -----------------------------------------------------------------------------------

    def pattern(self, node: str | Node, kept: tuple[str, ...] = ()) -> bytes:
        """Return a rule, or a node made of rules, as a regular expression. Rules that are `kept`
        are groups of their names; each may occur once."""
        match node:
            case str(name) | Reference(name):
                group = b"?P<%b>" % name.encode() if name in kept else b"?:"
                return b"(%b%b)" % (group, self.pattern(self.rules[name], kept))
            case Text(data, is_exact):
                return b"(?%b:%b)" % (b"" if is_exact else b"i", re.escape(data))
            case Range(low, high):
                return b"[\\x%02x-\\x%02x]" % (low, high)
            case Sequence(items):
                return b"".join(b"(?:%b)" % self.pattern(item, kept) for item in items)
            case Choice(items):
                return b"|".join(self.pattern(item, kept) for item in items)
            case Repeat(item, least, most):
                count = b"%d,%b" % (least, b"" if most is None else b"%d" % most)
                return b"(?:%b){%b}" % (self.pattern(item, kept), count)

    # -- talking -----------------------------------------------------------------------------------

    def draw(self, node: str | Node, chance: Random) -> bytes:
        """Draw bytes that fit a rule: mostly short ones, and some that are as long as may be."""
        match node:
            case str(name) | Reference(name):
                return self.draw(self.rules[name], chance)
            case Text(data, is_exact):
                return data if is_exact or chance.random() < 0.5 else data.swapcase()
            case Range(low, high):
                return bytes([chance.randint(low, high)])
            case Sequence(items):
                return b"".join([self.draw(item, chance) for item in items])
            case Choice(items):
                return self.draw(chance.choice(items), chance)
            case Repeat(item, least, most):
                few = least + _MORE_MAX
                if most is None or (most > few and chance.random() < 0.8):
                    most = few
                return b"".join(
                    [self.draw(item, chance) for _ in range(chance.randint(least, most))]
                )
