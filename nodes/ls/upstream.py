"""Upstream: a server that the load balancer asks, whatever it speaks, and what it replied.

The contract that a table server over its link (`table_link.py`) and a resolver
(`resolvers/resolver_link.py`) fulfil. A further kind of server is one more file.

Not here: how a link stands (`link.py`), and all upstreams together (`upstreams.py`).
"""

import math
from abc import abstractmethod
from collections.abc import Iterable

from core.effects import Effect
from core.events import ConnectionEvent
from core.metrics import Value
from nodes.ls.link import Link
from nodes.ls.replies import Replies
from nodes.ls.unanswered import Unanswered
from nodes.ls.whereabouts import Whereabouts


class Upstream:
    """A server that is asked, and `Timed`. It may promise that
    - it `covers_all_names`: it may know what others deny, its addresses of a name may differ from
      another such server's, and being down counts as its failure;
    - it `takes_slices`: it says when it has room for more (`LinkChange.HAS_ROOM`).
    """

    kind: str  # of server, in a word
    link: Link
    whereabouts: Whereabouts
    unanswered: Unanswered
    asked = 0  # questions that it was sent
    due = math.inf  # see `Timed`
    covers_all_names = takes_slices = False

    @abstractmethod
    def ask(self, questions: list[bytes], now: float, lines: bytes = b"") -> list[Effect]:
        """Ask it. `lines`: the questions as lines, if they are there already."""

    def resume(self, questions: list[bytes], now: float) -> list[Effect]:
        """Ask it once more for all that is open: it was silent."""
        return []

    @abstractmethod
    def receive(self, event: ConnectionEvent, now: float) -> Replies:
        """Take what happened on one of its connections."""

    @abstractmethod
    def give_up(self, why: str) -> list[Effect]:
        """Close its connections; it is dialled again in time."""

    @abstractmethod
    def moved(self, now: float) -> list[Effect]:
        """Leave where it was: its link has a connection, and other addresses now."""

    def can_be_asked(self, question: bytes) -> bool:
        """Return whether it can be asked this at all."""
        return True

    def can_have_data(self, question: bytes) -> bool:
        """Return whether its reply to this can be more than that the name exists."""
        return True

    @property
    @abstractmethod
    def is_awaited(self) -> bool:
        """Return whether others' negatives wait for it."""

    @abstractmethod
    def grace_s(self, now: float, *, is_failure: bool, is_early: bool) -> float:
        """Return how long a negative waits for it. `is_failure`: REFUSED or SERVFAIL; `is_early`:
        it came at once, from a server that is down."""

    def differed(self, now: float) -> bool:
        """Take note that it had what another denied; return whether it did not before."""
        return False

    def hurry(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        """Ask again what may have been lost of these: something worse than data is held of them."""
        return []

    def probe_with(self, question: bytes) -> None:
        """Ask it this, if it is down, to see whether it is back."""

    @abstractmethod
    def look(self) -> None:
        """Work out anew when it is `due`: its link may stand otherwise."""

    @abstractmethod
    def woken(self, now: float) -> list[Effect]:
        """Do what is due: dial, ask again, give up."""

    @abstractmethod
    def part(self) -> list[Effect]:
        """Take leave: it is not needed any more, and never dialled again."""

    def metrics(self) -> list[Value]:
        """Return what is counted about it, beside its link."""
        return []
