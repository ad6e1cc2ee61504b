"""Checks of stories of LS before resolvers that hold in stories of some shapes only.

Each of them, and the stories that it holds in (see `tests/sim/resolver_shapes.py`):

- "first good answer", calm: data that one of the resolvers has is told, and nothing else. Where the
  others say NXDOMAIN, only once LS has seen lately that this one has what they deny;
- "no overflow", calm: no resolver's socket overflows; LS does not send more than is read;
- "no guesses", honest: LS does not report that somebody guesses; a copy is none, nor is what is
  late;
- "no streams", honest: no resolver is dialled over TCP unless it has cut a reply;
- "the dead hold nobody", dead: whatever one says is told soon, however silent the other;
- "refused at once", closed: once a port is closed, nobody waits for it; once it is open again,
  nobody is refused.

Not here: what holds in every story (`tests/sim/resolver_story.py`).
"""

import math
from bisect import bisect_left
from collections.abc import Callable

from tests.sim.invariants import hold
from tests.sim.resolver_shapes import Shape, owner, truth
from tests.sim.world import Observer, World
from tests.support.dns_messages import CODES, TYPES

DEAD_HOLD_S = 1.25
REFUSED_S = 0.3  # within so long after it was closed, or opened again, LS knows
_LATELY_S = 2.0
_READ_S = (
    0.01  # LS has read what came so long ago: of two that come at once it may read either first
)


class Reports(Observer):
    """A log that keeps what LS reports, and passes on what it hears."""

    def __init__(self, world: World, name: str, hear: Callable[[str, bytes], None]) -> None:
        super().__init__(world, name)
        self.texts: list[str] = []
        self._hear = hear

    def received(self, conn: str, data: bytes) -> None:
        super().received(conn, data)
        self._hear(conn, data)

    def report(self, text: str, *more: object) -> None:
        self.texts.append(text)
        super().report(text, *more)


class Checks:
    """The checks of a story."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        # Deniers of each question while it was open, and when that came first.
        self._denied: dict[bytes, dict[str, float]] = {}
        self._shown_at: dict[str, list[float]] = {}  # when who had what another had denied
        self._closed = (math.inf, math.inf)

    def came(self, who: str, section: bytes, what: str, now: float) -> None:
        """Take note that a good reply came to LS, of what is open."""
        denied = self._denied.setdefault(section, {})
        if what != "data":
            denied.setdefault(who, now)
        elif any(at + _READ_S < now for other, at in denied.items() if other != who):
            self._shown_at.setdefault(who, []).append(now)

    def told(self, section: bytes, what: str, asked_at: float) -> None:
        """Take note of what an asker heard of a question."""
        if self.shape.kind not in ("halves", "load", "moves", "old"):
            return
        question = wording(section)
        if truth(question) in CODES or (
            self.shape.denial == "NXDOMAIN" and not self._is_known(question, asked_at)
        ):
            return
        hold(what == "data", "first good answer", f"{what} of {question}")

    def _is_known(self, question: str, asked_at: float) -> bool:
        """Return whether LS could know that whoever has this has what the others deny."""
        shown_at = self._shown_at.get(owner(question, 2), [])
        at = bisect_left(shown_at, asked_at)
        return at > 0 and asked_at - shown_at[at - 1] <= _LATELY_S

    def held(self, held_s: float, text: str) -> None:
        """Check something worse than data that was told so long after it, or a better one, had
        come."""
        if self.shape.kind == "dead":
            hold(held_s <= DEAD_HOLD_S, "the dead hold nobody", f"{held_s:.3f} s: {text}")

    def closed_port(self, closed_at: float, opened_at: float) -> None:
        """Close the port of a resolver: from then to then nobody listens there."""
        self._closed = (closed_at, opened_at)

    def replied(self, what: str, truth: str, asked_at: float, now: float) -> None:
        """Check a reply that an asker heard then; it would be that if nobody refused anything."""
        if self.shape.kind != "closed":
            return
        closed_at, opened_at = self._closed
        if closed_at + REFUSED_S < asked_at:
            seen = f"{what} at {now:.3f}, asked at {asked_at:.3f}"
            hold(now - asked_at < REFUSED_S, "refused at once", seen)
        if not closed_at - REFUSED_S < asked_at < opened_at + REFUSED_S:
            seen = f"{what}, not {truth}, asked at {asked_at:.3f}"
            hold(what == truth, "refused at once", seen)

    def ended(self, overflowed: int, reports: list[str], dialled: list[str]) -> None:
        """Check the end of a story: what was lost at sockets of resolvers, what LS reported, and
        who was dialled without having cut anything."""
        if self.shape.is_calm:
            hold(not overflowed, "no overflow", f"{overflowed} datagrams lost")
        if self.shape.is_honest:
            guesses = [text for text in reports if "match nothing" in text]
            hold(not guesses, "no guesses", str(guesses))
            hold(not dialled, "no streams", str(dialled))


def wording(section: bytes) -> str:
    """Return the question of a section, as the race has it."""
    labels, at = [], 0
    while section[at]:
        labels.append(section[at + 1 : at + 1 + section[at]].decode().lower())
        at += section[at] + 1
    kind = int.from_bytes(section[-4:-2])
    words = {TYPES["A"]: "", TYPES["AAAA"]: " AAAA"}
    return ".".join(labels) + words.get(kind, f" TYPE{kind}")
