"""Setup: what one load balancer is made of.

Its options, and the upstreams that follow from them. Table servers are called TS1, TS2, ...,
resolvers DNS1, DNS2, ...

Not here: how options are read (`nodes/cli/ls.py`), and what is done with the parts
(`load_balancer.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.addresses import Address, address_text
from core.bounds import Bounds
from core.environment import Environment
from core.io.descriptors import LOOKUP_STARTS
from nodes.ls.link import Link
from nodes.ls.resolvers.line_equivalents import LineEquivalents, TableLinkBesideResolvers
from nodes.ls.server_set import server_at
from nodes.ls.table_link import TableLink
from nodes.ls.whereabouts import Host

_STREAMS = 2  # to a resolver: the one in use, and one that has not ended yet


@dataclass(frozen=True, slots=True)
class Setup:
    """Options of one load balancer.

    `servers`: the addresses of each table server. `hosts`, parallel to it: what those were looked
    up from; without it a server that has moved is not found again. A server without an address is
    looked up until there is one. `resolvers`: servers that are asked by DNS. `extra_load`: hedge,
    for this share of extra questions; None: race. `grace_s`: how long a negative waits for
    something better; None: as long as those that are awaited usually take. `sample`: the share of
    races that are watched to their end.
    """

    servers: Sequence[tuple[Address, ...]] = ()
    hosts: Sequence[Host] = ()
    resolvers: Sequence[Address] = ()
    extra_load: float | None = None
    grace_s: float | None = None
    sample: float = 0.0
    once: bool = False

    def where(self) -> dict[str, str]:
        """Return the address of each server, for people."""
        where = {f"TS{number}": address_text(host) for number, host in enumerate(self.hosts, 1)}
        for number, (_, address) in enumerate(self.resolvers, 1):
            where[f"DNS{number}"] = address_text(address)
        return where


def descriptors_for(bounds: Bounds, servers: int, resolvers: int) -> int:
    """Return how many descriptors LS needs for so many servers, host lookups included. Each UDP
    socket may be there twice: it is replaced before its last replies have come."""
    each = 2 * bounds.upstream_sockets + _STREAMS
    lookups = bounds.lookups_max - 1 + LOOKUP_STARTS if servers else 0
    return servers + each * resolvers + lookups


def table_links(
    setup: Setup,
    env: Environment,
    equivalents: LineEquivalents | None,
    is_wanted: Callable[[bytes], bool],
) -> list[TableLink]:
    """Return a link to each table server. `equivalents`: there are resolvers beside them;
    `is_wanted(question)`: whether a reply to it is of interest."""
    links, where = [], setup.where()
    for number, addresses in enumerate(setup.servers):
        name = f"TS{number + 1}"
        link = Link(name, addresses, env, server_at(number), where.get(name, ""))
        host = setup.hosts[number] if number < len(setup.hosts) else None
        if equivalents is None:
            links.append(TableLink(link, env, host))
        else:
            links.append(TableLinkBesideResolvers(link, env, host, equivalents, is_wanted))
    return links
