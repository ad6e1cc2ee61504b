"""Resolvers: all servers that the load balancer asks with DNS. They are called DNS1, DNS2, ...

Not here: a single one (`nodes/ls/resolvers/resolver.py`), and what its replies count for
(`nodes/ls/load_balancer.py`).
"""

import math
from collections.abc import Sequence

from core.addresses import Address
from core.effects import Effect
from core.environment import Environment
from core.metrics import Value
from nodes.ls.link import Link
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolver import Resolver


class Resolvers:
    """All resolvers. `first_bit`: the bit of the first link; those of the others follow. `grace_s`:
    the longest that a worse answer waits for any.

    `by_name`: each resolver by what it is called. `by_connection`: each by the names of the
    connections that it has, or is dialling.
    """

    def __init__(
        self,
        env: Environment,
        addresses: Sequence[Address],
        first_bit: int,
        interest: QuestionInterest,
        grace_s: float | None = None,
    ) -> None:
        self.by_name: dict[str, Resolver] = {}
        self.by_connection: dict[str, Resolver] = {}
        for at, address in enumerate(addresses):
            name = f"DNS{at + 1}"
            link = Link(name, (address,), env.bounds, env.random, env.watch, first_bit << at)
            self.by_name[name] = Resolver(env, link, interest, self.by_connection, grace_s)

    @property
    def links(self) -> dict[str, Link]:
        """Return how each stands, by its name."""
        return {name: resolver.link for name, resolver in self.by_name.items()}

    @property
    def where(self) -> dict[str, str]:
        """Return the address of each, for people."""
        return {
            name: f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for name, link in self.links.items()
            for host, port in [link.addresses[0][1][:2]]
        }

    def __len__(self) -> int:
        return len(self.by_name)

    def due(self) -> float:
        """Return when one has to be woken; infinite for never."""
        due = math.inf
        for resolver in self.by_name.values():
            due = min(due, resolver.due())
        return due

    def woken(self, now: float) -> list[Effect]:
        """Wake those that have something due."""
        effects: list[Effect] = []
        for resolver in self.by_name.values():
            if resolver.due() <= now:
                effects += resolver.woken(now)
        return effects

    def held(self, questions: Sequence[bytes], now: float) -> list[Effect]:
        """Send those of these questions again that may be lost. Something worse than data is held
        of each."""
        effects: list[Effect] = []
        for resolver in self.by_name.values():
            effects += resolver.held(questions, now)
        return effects

    @property
    def silent(self) -> int:
        """Return the bits of those that nobody waits for."""
        return sum(
            resolver.link.bit for resolver in self.by_name.values() if resolver.grace.is_silent
        )

    def grace_s(self, bits: int, now: float, *, is_failure: bool) -> float:
        """Return how long a worse answer waits for these; `is_failure`: REFUSED or SERVFAIL."""
        return max(
            [
                resolver.grace.grace_s(now, is_failure=is_failure)
                for resolver in self.by_name.values()
                if resolver.link.bit & bits
            ],
            default=0.0,
        )

    def find_with(self, question: bytes) -> None:
        """Let this be the question by which a refused resolver is asked whether it is back."""
        for resolver in self.by_name.values():
            resolver.reachability.question = question

    def metrics(self) -> list[Value]:
        """Return what is counted about them, beside their links."""
        return [value for resolver in self.by_name.values() for value in resolver.metrics()]
