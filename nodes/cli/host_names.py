"""Host names: where servers are, as far as that is known before LS serves.

An address needs no lookup. A name is looked up by a child process, as the loop does it later, since
a name service that does not reply would hold up the start; a host that is not known in time, or not
known yet, is looked up again while LS serves. Only a text that can be no host name is an error.

Not here: one lookup (`core/io/lookup.py`), and looking up again (`nodes/ls/load_balancer.py`).
"""

from collections.abc import Sequence

from core.addresses import Address
from core.io.lookup import Lookups
from core.io.system import System
from core.protocol.names import NAME_BYTES_MAX
from nodes.cli.arguments import USAGE, Failure
from nodes.ls.setup import ServerSetup
from nodes.ls.whereabouts import Host

_Found = tuple[Address, ...]


def find_servers(
    system: System,
    named: Sequence[tuple[str, Host]],
    known: Sequence[ServerSetup],
    lookups_max: int,
    within_s: float,
) -> list[ServerSetup]:
    """Return these servers, each a name and a host, with their addresses: those of servers that are
    `known` already, and what is found, see `find_hosts`."""
    found = {server.host: server.addresses for server in known if server.addresses}
    hosts = [host for _, host in named if host not in found]
    found |= zip(hosts, find_hosts(system, hosts, lookups_max, within_s), strict=True)
    return [ServerSetup(name, found[host], host) for name, host in named]


def find_hosts(
    system: System, hosts: Sequence[tuple[str, int]], lookups_max: int, within_s: float
) -> list[_Found]:
    """Return the addresses of each host and port, none for a host that is not found within this
    time; `lookups_max` are looked up at once. Raises Failure for a text that is no host name."""
    found = {host: system.numeric(*host) for host in hosts}
    lookups = Lookups(lookups_max)
    for host, addresses in found.items():
        if not addresses:
            check_name(host[0])
            lookups.want(host[0], *host)
    found |= _look_up(system, lookups, system.now() + within_s)
    by_name = {host: addresses for (host, _), addresses in found.items() if addresses}
    return [_at_port(by_name.get(host, ()), port) for host, port in hosts]


def check_name(host: str) -> None:
    """Raise Failure for a name that no name service can know (RFC 1035, section 2.3.4)."""
    try:
        size = len(host.encode("idna"))
    except UnicodeError:
        size = 0
    if not 0 < size <= NAME_BYTES_MAX + 1:
        raise Failure(f"{host!r} is not a host name: is it spelled right?", USAGE)


def _look_up(system: System, lookups: Lookups, until: float) -> dict[tuple[str, int], _Found]:
    """Return what these lookups find in time."""
    found = {}
    try:
        while lookups.waiting or lookups.fds:
            while lookups.may_start:
                name, host, port = lookups.next()
                lookups.started(name, system.look_up(host, port))
            left_s = until - system.now()
            if left_s <= 0:
                break
            for fd in system.select(lookups.fds, [], [], left_s)[0]:
                host, lookup = lookups.at(fd)
                addresses = lookup.read()
                if addresses is not None:
                    lookups.done(fd)
                    lookup.close()
                    found[host, 0] = addresses
    except OSError:  # no process or descriptor for it: the loop tries again, and says why
        pass
    finally:
        for lookup in lookups.give_up():
            lookup.close()
    return found


def _at_port(addresses: _Found, port: int) -> _Found:
    """Return the same addresses, at another port."""
    return tuple((family, (end[0], port, *end[2:])) for family, end in addresses)
