"""Policy: the contract of whatever decides which servers are asked a question, and when.

The load balancer tells its policy what happens to questions and links. Two ways lead from there to
a link: what `ask` returns is sent at once, with the other questions of the same read; everything
else waits in the policy until the load balancer takes it, slice by slice (`next_slice`), so that no
link is given more than it takes. Every question in here is folded, and open when it comes.

Not here: any policy (`race_policy.py`, `hedging/hedge_policy.py`, `tiers/tier_policy.py`).
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence

from nodes.ls.link import Link
from nodes.ls.observer import Observer

Shares = Iterable[tuple[Link, list[bytes]]]  # which link is to be asked what


class Policy(Observer):
    """Decides which links are asked. `name`: that of the option `--policy`. `waiting`: the links
    that have a next slice waiting, whether or not they can take it."""

    name: str
    waiting: Collection[Link]

    def begin(self, questions: list[bytes], now: float) -> None:
        """Take note of questions that are open, and may be decided before they are to be asked."""

    @abstractmethod
    def ask(self, questions: list[bytes], now: float) -> Shares:
        """Return which links to ask these at once: new questions, or some to be asked again."""

    @abstractmethod
    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """Return what else to ask a link, up to its high mark, and whether that is all."""

    @abstractmethod
    def admits(self, link: Link, questions: Sequence[bytes]) -> list[bool] | None:
        """Return whether a link was asked each of these on its present connection; None: all."""

    def passed(self, link: Link, questions: Sequence[bytes], now: float) -> None:
        """Take note that a link has nothing about these, which may stay open."""
