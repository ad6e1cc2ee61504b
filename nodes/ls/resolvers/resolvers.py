"""Resolvers: all that the load balancer asks with DNS, by what they are called: DNS1, DNS2, ...

Not here: one of them (`nodes/ls/resolvers/resolver.py`), and what is done with what it says.
"""

import math
from collections.abc import Callable, Sequence

from core.addresses import Address
from core.bounds import BoundHits, Bounds
from core.effects import Effect
from core.machine import Watch
from core.metrics import Value
from nodes.ls.link import Link
from nodes.ls.resolvers.resolver import Admits, QuestionInterest, Resolver


class Resolvers:
    """All resolvers, each as an `Resolver`. `first_bit`: that of the first one's link; those of the
    others follow. `secret(n)`: n bytes that nobody can guess. `grace_s`: the longest that a worse
    answer waits for any."""

    def __init__(
        self,
        addresses: Sequence[Address],
        first_bit: int,
        bounds: Bounds,
        random: Callable[[], float],
        secret: Callable[[int], bytes],
        interest: QuestionInterest,
        hits: BoundHits,
        grace_s: float | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._all: dict[str, Resolver] = {}
        for at, address in enumerate(addresses):
            name = f"DNS{at + 1}"
            link = Link(name, (address,), bounds, random, watch, first_bit << at)
            self._all[name] = Resolver(link, bounds, secret, interest, hits, grace_s, watch)

    @property
    def links(self) -> dict[str, Link]:
        """How each stands."""
        return {name: upstream.link for name, upstream in self._all.items()}

    @property
    def where(self) -> dict[str, str]:
        """The address of each, for people."""
        return {
            name: f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for name, link in self.links.items()
            for host, port in [link.addresses[0][1][:2]]
        }

    def __len__(self) -> int:
        return len(self._all)

    def get(self, name: str) -> Resolver | None:
        """The one that is called so, or has a socket of this name."""
        return self._all.get(name.partition(".")[0]) if self._all else None

    def due(self) -> float:
        """When one wants to be woken; infinite for never."""
        return min([upstream.due() for upstream in self._all.values()], default=math.inf)

    def woken(self, now: float, admits: Admits) -> list[Effect]:
        """Wake those that have something due. `admits`: see Policy."""
        effects: list[Effect] = []
        for upstream in self._all.values():
            if upstream.due() <= now:
                effects += upstream.woken(now, admits)
        return effects

    def held(self, questions: Sequence[bytes], now: float) -> list[Effect]:
        """Send again those that may be lost; something worse than data is held of all these."""
        effects: list[Effect] = []
        for upstream in self._all.values():
            effects += upstream.held(questions, now)
        return effects

    @property
    def silent(self) -> int:
        """The bits of those that are not waited for."""
        return sum(upstream.link.bit for upstream in self._all.values() if upstream.grace.is_silent)

    def grace_s(self, bits: int, now: float, *, is_failure: bool) -> float:
        """How long a worse answer waits for these; `is_failure`: it is REFUSED or SERVFAIL."""
        return max(
            [
                upstream.grace.grace_s(now, is_failure=is_failure)
                for upstream in self._all.values()
                if upstream.link.bit & bits
            ],
            default=0.0,
        )

    def find_with(self, question: bytes) -> None:
        """Ask those that are refused this, when they are asked whether they are back."""
        for upstream in self._all.values():
            upstream.reachability.question = question

    def metrics(self) -> list[Value]:
        """What is counted about them, beside their links."""
        return [value for upstream in self._all.values() for value in upstream.metrics()]
