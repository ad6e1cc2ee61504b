"""Host lookups: where servers are now, when somebody asks for that, or one is away for long.

A server without an address is looked up until there is one; one that has moved is asked where it is
now. A reload asks for all of them, and nothing waits for it. A reload that is asked for meanwhile
makes one more round afterwards: there are no more children at a time than servers.

Not here: the lookup itself (`core/io/lookup.py`), and how a server is asked elsewhere (`Upstream`).
"""

from collections.abc import Sequence

from core.addresses import Address, address_text
from core.effects import Effect
from core.events import Resolved
from core.operator import Level, Notify, Report, Standing
from nodes.ls.link_state import LinkState
from nodes.ls.upstream import Upstream

_PARTED = (LinkState.DOWN, LinkState.CLOSING)


class HostLookups:
    """The lookups for those servers that have a host."""

    def __init__(self, servers: Sequence[Upstream]) -> None:
        self._servers = {
            server.link.conn: server for server in servers if not server.whereabouts.is_fixed
        }
        self._reloading: dict[str, None] = {}  # those that are looked up because of a reload
        self._reload_again = False
        self._is_draining = False
        self._is_over = False  # LS needs nobody any more

    def drain(self) -> None:
        """Look nothing up any more because of a reload."""
        self._is_draining = True

    def end(self) -> None:
        """Move no server any more: they are being parted from."""
        self._is_over = True

    def reload(self) -> list[Effect]:
        """Look all of them up."""
        if not self._servers or self._is_draining:
            return []
        effects: list[Effect] = [Notify(Standing.RELOADING)]
        self._reload_again = bool(self._reloading)
        if self._reload_again:
            return effects
        self._reloading = dict.fromkeys(self._servers)
        for server in self._servers.values():
            effects += server.whereabouts.look_up()
        return effects

    def resolved(self, event: Resolved, now: float) -> list[Effect]:
        """Take what a lookup found."""
        server = self._servers[event.conn]
        link, addresses, why = server.link, event.addresses, event.why
        host = server.whereabouts.host_name
        about = {"server": link.conn, "host": host, "reason": why}
        effects: list[Effect] = []
        has_moved = bool(addresses) and set(addresses) != set(link.addresses)
        if has_moved:
            effects += self._move(server, addresses, now)
        elif not link.addresses:
            if not self._is_over:
                text = f"{link.conn}: cannot look up {host} ({why}); "
                text += "trying again; is the name spelled right?"
                kind = f"{link.conn} cannot be looked up"
                effects.append(Report(text, Level.WARNING, "host_not_found", about, kind))
            nowhere = sum(not other.link.addresses for other in self._servers.values())
            server.whereabouts.not_found(now, nowhere)
        if event.conn in self._reloading:
            del self._reloading[event.conn]
            if not addresses and link.addresses:
                text = f"{link.conn}: cannot look up {host} ({why}); it is taken to be where it was"
                effects.append(Report(text, Level.WARNING, "host_not_found", about))
            elif addresses and not has_moved:
                text = f"{link.conn} has the same address as before"
                effects.append(Report(text, Level.INFO, "host_unmoved", {"server": link.conn}))
            if not self._reloading and self._reload_again:
                effects += self.reload()
            elif not self._reloading:
                effects.append(Notify(Standing.READY))
        return effects

    def _move(self, server: Upstream, addresses: tuple[Address, ...], now: float) -> list[Effect]:
        """Ask a server at these addresses from now on."""
        link, host = server.link, server.whereabouts.host_name
        server.whereabouts.found(addresses)
        if self._is_over:
            return []
        about = {"server": link.conn, "host": host, "address": address_text(addresses[0][1])}
        text = f"{link.conn}: {host} is at {about['address']} now"
        effects: list[Effect] = [Report(text, Level.INFO, "host_found", about)]
        for other in self._servers.values():
            if other is not server and _is_same(server, other):
                text = f"{link.conn} and {other.link.conn} are at the same address; one is enough"
                effects.append(Report(text, Level.WARNING, "server_twice", about))
        if link.life.state not in _PARTED:
            effects += server.moved(now)
        return effects


def _is_same(one: Upstream, other: Upstream) -> bool:
    """Return whether two are one server, as far as their addresses tell."""
    addresses = set(one.link.addresses)
    return one.kind == other.kind and not addresses.isdisjoint(other.link.addresses)
