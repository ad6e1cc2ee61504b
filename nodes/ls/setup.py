"""Setup: what one load balancer is made of.

Its options, and the upstreams that follow from them.

Not here: how options are read (`nodes/cli/ls.py`), and what is done with the parts
(`load_balancer.py`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from core.addresses import Address, address_text
from core.bounds import Bounds
from core.environment import Environment
from core.io.descriptors import LOOKUP_STARTS
from core.tls import ServerIdentity
from nodes.ls.link import Link
from nodes.ls.resolvers.line_equivalents import LineEquivalents, TableLinkBesideResolvers
from nodes.ls.server_set import ServerSet, server_at, union
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Host

_STREAMS = 2  # to a resolver: the one in use, and one that has not ended yet


@dataclass(frozen=True, slots=True)
class ServerSetup:
    """A server to ask, by the name that logs and metrics have for it. `addresses`: none while they
    are not known. `host`: what they are looked up from; without it they stay as they are.
    `identity`: whom they have to lead to, by TLS; None: it is asked in the clear."""

    name: str
    addresses: tuple[Address, ...]
    host: Host | None = None
    identity: ServerIdentity | None = None

    @property
    def where(self) -> str:
        """Return where it is, for people."""
        return "" if self.host is None else where_text(self.host, self.identity)

    def link(self, env: Environment, number: int) -> Link:
        """Return a link to it, which has this number among all servers."""
        bit = server_at(number)
        return Link(self.name, self.addresses, env, bit, self.where, self.identity)


def where_text(host: Host, identity: ServerIdentity | None) -> str:
    """Return where a server is, as people write it: tls://9.9.9.9:853#dns.quad9.net where it has to
    prove who it is, and the name is that of its certificate, unless that is for its address."""
    if identity is None:
        return address_text(host)
    is_for_address = identity.name == host[0].partition("%")[0]
    return f"tls://{address_text(host)}{'' if is_for_address else f'#{identity.name}'}"


@dataclass(frozen=True, slots=True)
class OwnWordsSetup:
    """Options of what LS says itself. `cache_bytes`: the memory for what resolvers said; `stale_s`:
    how long after its end data of it may be told, if nobody says anything better. `leaked`: special
    names that resolvers are asked for all the same."""

    cache_bytes: int = 0
    stale_s: float = 0.0
    leaked: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """Options of one load balancer.

    `servers`: table servers; `resolvers`: servers that are asked by DNS. `extra_load`: hedge, for
    this share of extra questions; None: race. `grace_s`: how long a negative waits for something
    better; None: as long as those that are awaited usually take. `sample`: the share of races that
    are watched to their end. `trusts_data`: a resolver's word that a name is bogus is a SERVFAIL;
    `private_from`: the names of resolvers whose private addresses count as REFUSED. `routes`: the
    names of the resolvers that a name, and what is below it, belongs to; None: those of all names
    without a route. `routed`: the names of the resolvers that are asked for those alone. `tiers`:
    that of each server, by its name, where it is not the first.
    """

    servers: Sequence[ServerSetup] = ()
    resolvers: Sequence[ServerSetup] = ()
    extra_load: float | None = None
    grace_s: float | None = None
    sample: float = 0.0
    own_words: OwnWordsSetup = OwnWordsSetup()
    once: bool = False
    trusts_data: bool = False
    private_from: Collection[str] = ()
    routes: Mapping[bytes, Collection[str] | None] = field(default_factory=dict)
    routed: Collection[str] = ()
    tiers: Mapping[str, int] = field(default_factory=dict)

    def all(self) -> list[ServerSetup]:
        """Return all servers, table servers first."""
        return [*self.servers, *self.resolvers]

    def servers_in(self, names: Collection[str]) -> ServerSet:
        """Return the servers that have these names."""
        return union(server_at(n) for n, server in enumerate(self.all()) if server.name in names)

    @property
    def default_resolvers(self) -> ServerSet:
        """Return those that are asked for names without a route."""
        names = [server.name for server in self.resolvers if server.name not in self.routed]
        return self.servers_in(names)

    def routes_to(self) -> dict[bytes, ServerSet | None]:
        """Return the resolvers of each route; None: those of names without a route."""
        return {
            name: None if servers is None else self.servers_in(servers)
            for name, servers in self.routes.items()
        }

    def tier_of(self, name: str) -> int:
        """Return the tier of the server with this name. A resolver of routes alone is in the
        first tier that has a resolver for all names: there it takes its place."""
        if name not in self.routed:
            return self.tiers.get(name, 1)
        default = [one.name for one in self.resolvers if one.name not in self.routed]
        return min(map(self.tier_of, default), default=max(self.tiers.values(), default=1))

    def servers_by_tier(self) -> list[ServerSet]:
        """Return the servers of each tier, in their order; none where there are no tiers."""
        tiers: dict[int, list[str]] = {}
        for server in self.all() if self.tiers else ():
            tiers.setdefault(self.tier_of(server.name), []).append(server.name)
        return [self.servers_in(names) for _, names in sorted(tiers.items())]

    def where(self) -> dict[str, str]:
        """Return the address of each server, for people."""
        return {server.name: server.where for server in self.all()}


def descriptors_for(bounds: Bounds, servers: int, resolvers: int) -> int:
    """Return how many descriptors LS needs for so many servers, host lookups included. Each UDP
    socket may be there twice: it is replaced before its last replies have come."""
    each = 2 * bounds.upstream_sockets + _STREAMS
    return servers + each * resolvers + bounds.lookups_max - 1 + LOOKUP_STARTS


def table_links(
    setup: Setup,
    env: Environment,
    equivalents: LineEquivalents | None,
    is_wanted: Callable[[bytes], bool],
) -> list[TableLink]:
    """Return a link to each table server. `equivalents`: there are resolvers beside them;
    `is_wanted(question)`: whether a reply to it is of interest."""
    links: list[TableLink] = []
    for number, server in enumerate(setup.servers):
        link = server.link(env, number)
        if equivalents is None:
            links.append(TableLink(link, env, server.host))
        else:
            links.append(TableLinkBesideResolvers(link, env, server.host, equivalents, is_wanted))
    return links
