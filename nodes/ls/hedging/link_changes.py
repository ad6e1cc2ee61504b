"""Link changes: which askings have not been assessed since a link came, went, stalled or recovered.

A change of links concerns everything that is open, and no step may go through all of that. A
*round* goes through all askings in small parts, therefore. If links change meanwhile, the round
goes on, and another one follows: a round that began anew each time would never end while links
flap.

Until its turn comes, an asking is as it was. Before that it is touched only by those that
assess it, or at least have it forget what went over lost connections (`forget_lost`).

Not here: how an asking is assessed (`hedge_policy.py`).
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from nodes.ls.hedging.asking import Asking
from nodes.ls.link import Link
from nodes.ls.server_set import NO_SERVERS, ServerSet, union, without


class LinkChanges:
    """Changes of links, numbered: `version` is how many there have been. `askings`: that of each
    open question."""

    def __init__(self, links: Sequence[Link], askings: Mapping[bytes, Asking]) -> None:
        self._links = links
        self._askings = askings
        self.version = 0
        self._answering: ServerSet = NO_SERVERS  # those from which a reply may count
        self._live: ServerSet = NO_SERVERS  # those that are asked
        self._lost: dict[Link, int] = {}  # the version at which each lost its last connection
        self._round: deque[Asking] = deque()  # those that have to be assessed still
        self._round_version = 0  # the version at which the round began

    def update(self) -> Sequence[Link] | None:
        """Take in how the links stand. Return those that have lost their connections; None when
        nothing has changed."""
        answering = union(link.bit for link in self._links if link.is_answering)
        live = union(link.bit for link in self._links if link.is_live)
        if (answering, live) == (self._answering, self._live):
            return None
        gone = without(self._answering, answering)
        self._answering, self._live = answering, live
        self.version += 1
        lost = [link for link in self._links if link.bit & gone]
        self._lost.update(dict.fromkeys(lost, self.version))
        return lost

    @property
    def is_behind(self) -> bool:
        """Return whether there may be outdated askings."""
        return bool(self._round) or self._round_version != self.version

    def is_outdated(self, asking: Asking) -> bool:
        """Return whether an asking was assessed before the last change."""
        return asking.version != self.version

    def take_outdated(self, questions_max: int) -> Iterator[Asking]:
        """Go on with the round, and yield what has to be assessed, until the questions that were
        gone through come to `questions_max`."""
        while questions_max > 0 and self.is_behind:
            if not self._round:
                self._round_version = self.version
                self._round.extend(dict.fromkeys(self._askings.values()))
                continue
            asking = self._round.popleft()
            if asking.open_count and self.is_outdated(asking):
                yield asking
            questions_max -= len(asking.questions) or 1

    def forget_lost(self, asking: Asking) -> None:
        """Take from an asking what went over connections lost since it was assessed."""
        if asking.version != self.version:
            for link, version in self._lost.items():
                if version > asking.version:
                    asking.forget(link)
