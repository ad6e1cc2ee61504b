"""Host lookups: where table servers are now, when somebody asks for that, or one is away for long.

A table server without an address is looked up until there is one; one that has moved is parted
from, and dialled where it is now. A reload asks for all of them, and nothing waits for it. A reload
that is asked for meanwhile makes one more round afterwards: there are no more children at a time
than table servers.

Not here: the lookup itself (`core/io/lookup.py`).
"""

from collections.abc import Sequence

from core.effects import Effect, Resolve
from core.events import Resolved
from core.operator import Level, Notify, Report, Standing
from nodes.ls.link_state import LinkState
from nodes.ls.table_link import TableLink


class HostLookups:
    """The lookups for those table servers that have a host name."""

    def __init__(self, servers: Sequence[TableLink]) -> None:
        self._servers = {
            server.link.conn: (server, server.whereabouts)
            for server in servers
            if server.whereabouts is not None
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
        return effects + [
            Resolve(conn, *whereabouts.host) for conn, (_, whereabouts) in self._servers.items()
        ]

    def resolved(self, event: Resolved, now: float) -> list[Effect]:
        """Take what a lookup found."""
        server, whereabouts = self._servers[event.conn]
        link, addresses, why = server.link, event.addresses, event.why
        host = whereabouts.host[0]
        about = {"server": link.conn, "host": host, "reason": why}
        effects: list[Effect] = []
        has_moved = bool(addresses) and set(addresses) != set(link.addresses)
        if has_moved:
            whereabouts.found(addresses, now)
            if not self._is_over and (link.is_answering or link.life.state is LinkState.DIALING):
                effects += server.give_up("it has moved")
        elif not link.addresses:
            if not self._is_over:
                text = f"{link.conn}: cannot look up {host} ({why}); "
                text += "trying again; is the name spelled right?"
                kind = f"{link.conn} cannot be looked up"
                effects.append(Report(text, Level.WARNING, "host_not_found", about, kind))
            nowhere = sum(not server.link.addresses for server, _ in self._servers.values())
            whereabouts.not_found(now, nowhere)
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
