"""Upstreams: all servers that the load balancer asks, and how they stand taken together.

How they stand is summed up once, and anew only when a link may have changed (`update`): a step that
changes none asks none.

Not here: what is done about a change (`exchange.py`).
"""

from collections.abc import Iterable, Sequence

from core.effects import Effect
from core.metrics import Value
from nodes.ls.barred import Barred
from nodes.ls.health import HealthState
from nodes.ls.link import Link
from nodes.ls.link_metrics import link_metrics
from nodes.ls.link_state import LinkState
from nodes.ls.monitored import Monitored
from nodes.ls.server_set import NO_SERVERS, ServerSet, union, without
from nodes.ls.upstream import Upstream


class Upstreams(Monitored):
    """All upstreams. `by_conn` knows each by all its connections. `are_in_tiers`: some are asked
    after others."""

    def __init__(
        self,
        servers: Sequence[Upstream],
        by_conn: dict[str, Upstream],
        barred: Barred,
        *,
        are_in_tiers: bool = False,
    ) -> None:
        self.all = servers
        self.by_conn = by_conn
        self.by_name = {upstream.link.conn: upstream for upstream in servers}
        self.links = [upstream.link for upstream in servers]
        self.everyone = union(link.bit for link in self.links)
        self.resolvers = union(
            upstream.link.bit for upstream in servers if upstream.covers_all_names
        )
        self.have_tables = self.resolvers != self.everyone
        self.barred = barred
        self.present = NO_SERVERS  # those that have a connection
        self._live = NO_SERVERS  # those that are asked, at once or in slices
        self._are_in_tiers = are_in_tiers
        self.awaited = NO_SERVERS  # those that a reply is waited for from
        self.failing = NO_SERVERS  # those that are down, where that counts as a failure
        self.is_holding = False  # whether one holds up clients
        self._limited = list(filter(_is_limited, servers))
        for upstream in servers:
            upstream.look()

    def link(self, name: str) -> Link:
        """Return the link of the server that is called so."""
        return self.by_name[name].link

    def update(self) -> tuple[ServerSet, ServerSet]:
        """Take in how they stand; return those that have lost their connection or have a new one,
        and those from which nothing is hoped for any more."""
        present = awaited = live = NO_SERVERS
        is_holding = False
        for upstream in self.all:
            link = upstream.link
            if link.is_answering:
                present |= link.bit
            if link.is_live:
                live |= link.bit
            if self._is_awaited(upstream):
                awaited |= link.bit
            is_holding = is_holding or link.life.state is LinkState.HOLDING
            upstream.look()
        reconnected = self.present ^ present
        unawaited = without(self.awaited, awaited) | without(self._live, live)
        self.present, self._live, self.awaited = present, live, awaited
        self.is_holding = is_holding
        self.failing = without(self.resolvers, live | awaited)
        return reconnected, unawaited

    def _is_awaited(self, upstream: Upstream) -> bool:
        """Return whether a reply of it is waited for. In tiers a table server is that is dialled
        for the first time, and none that is known to be silent."""
        if not self._are_in_tiers or upstream.covers_all_names:
            return upstream.is_awaited
        link = upstream.link
        if link.health.life.state is HealthState.NEW:
            return bool(link.addresses)
        return upstream.is_awaited and link.health.life.state is not HealthState.SILENT

    @property
    def are_all_down(self) -> bool:
        """Return whether nothing has to be closed any more."""
        return all(link.life.state is LinkState.DOWN for link in self.links)

    @property
    def live_resolvers(self) -> ServerSet:
        """Return the resolvers that are asked, whether or not a reply is waited for."""
        return self._live & self.resolvers

    def resolvers_for(self, question: bytes) -> ServerSet:
        """Return the resolvers that may be asked this, well or not."""
        return without(self.resolvers, self.barred.of(question))

    def fails_at_once(self, question: bytes) -> bool:
        """Return whether one is down that may be asked this, and none awaited whose failure would
        count."""
        resolvers = self.resolvers_for(question)
        return bool(self.failing & resolvers) and not self.awaited & resolvers

    def among(self, servers: ServerSet) -> list[Upstream]:
        """Return those in this set."""
        return [upstream for upstream in self.all if upstream.link.bit & servers]

    def unable(self, question: bytes) -> ServerSet:
        """Return those that cannot be asked this, or need not."""
        return self.unable_in_any_tier(question) | self.barred.later.get(question, NO_SERVERS)

    def unable_in_any_tier(self, question: bytes) -> ServerSet:
        """Return those that cannot be asked this, or need not, whichever tier has its turn."""
        unable = self.barred.from_all_tiers(question)
        for upstream in self._limited:
            if not upstream.can_be_asked(question):
                unable |= upstream.link.bit
        return unable

    def without_data(self, question: bytes) -> ServerSet:
        """Return those that can only say of this that the name exists."""
        return union(
            upstream.link.bit for upstream in self._limited if not upstream.can_have_data(question)
        )

    def limits(self, question: bytes) -> tuple[ServerSet, ServerSet]:
        """Return those that cannot be asked this, and those that can have no data of it."""
        return self.unable(question), self.without_data(question)

    def grace_s(
        self, question: bytes, servers: ServerSet, now: float, *, is_failure: bool
    ) -> float:
        """Return how long a negative of this waits for these."""
        is_early = self.failing & self.resolvers_for(question) > 0
        return max(
            [
                upstream.grace_s(now, is_failure=is_failure, is_early=is_early)
                for upstream in self.among(servers)
            ],
            default=0.0,
        )

    def hurry(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        """Ask again what may have been lost of these: something worse than data is held of them."""
        effects: list[Effect] = []
        for upstream in self.all:
            effects += upstream.hurry(questions, now)
        return effects

    def probe_with(self, question: bytes) -> None:
        """Ask those that are down this, to see whether they are back."""
        for upstream in self.all:
            if not self.barred.of(question) & upstream.link.bit:
                upstream.probe_with(question)

    def metrics(self) -> list[Value]:
        """Return what is counted about each link, and then what else each upstream counts."""
        of_links = [value for upstream in self.all for value in link_metrics(upstream)]
        return of_links + [value for upstream in self.all for value in upstream.metrics()]

    def mute(self) -> None:
        """Say no more that one is down."""
        for link in self.links:
            link.health.mute()

    def part(self) -> list[Effect]:
        """Take leave of all, and say no more of them."""
        self.mute()
        effects: list[Effect] = []
        for upstream in self.all:
            effects += upstream.part()
        return effects


def _is_limited(upstream: Upstream) -> bool:
    """Return whether there are questions that it cannot be asked, or have data of."""
    kind = type(upstream)
    return (kind.can_be_asked, kind.can_have_data) != (
        Upstream.can_be_asked,
        Upstream.can_have_data,
    )
