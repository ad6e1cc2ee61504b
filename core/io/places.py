"""Places: the connections to one service that hold one, and which parts for a newcomer.

A network must not shut out all others by holding every place (RFC 9210, section 4.2). When all are
taken, therefore, the longest idle connection of the network that holds most may part for a
newcomer, if the newcomer's network holds fewer than half as many. Nobody loses its only place, so
networks that are alike never take turns in it; and a connection from this machine never parts.

A connection knows the turn in which bytes last came or went: that costs an assignment. The search
runs only when all places are taken, and looks at each network, and then at each connection of one.

Not here: how a connection parts (`core/io/acceptor.py`, `core/protocol/server.py`).
"""

import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Generic, TypeVar

from core.addresses import THIS_MACHINE
from core.io.connection import Connection

Placed = TypeVar("Placed", bound=Connection)
_last_turn = attrgetter("last_turn")


class Places(Generic[Placed]):
    """The connections that hold a place, by network (see `core/addresses.py`). `most()` is how
    many places there are."""

    __slots__ = ("_by_network", "_ever", "_here", "_network_of", "most")

    def __init__(self, most: Callable[[], float] = lambda: math.inf) -> None:
        self.most = most
        self._ever = 0
        self._network_of: dict[Placed, str] = {}
        self._here: dict[Placed, None] = {}  # those from this machine
        self._by_network: dict[str, dict[Placed, None]] = {}  # the others, the oldest first

    def __len__(self) -> int:
        return len(self._network_of)

    def __iter__(self) -> Iterator[Placed]:
        return iter(self._network_of)

    def next_number(self) -> int:
        """Return the number of the next connection, from 1 on."""
        self._ever += 1
        return self._ever

    @property
    def left(self) -> float:
        """How many places are free."""
        return self.most() - len(self._network_of)

    @property
    def networks(self) -> list[str]:
        """The networks that hold places, but for this machine."""
        return list(self._by_network)

    def take(self, connection: Placed, network: str) -> None:
        """Give a newcomer of this network a place."""
        self._network_of[connection] = network
        if network == THIS_MACHINE:
            self._here[connection] = None
        else:
            self._by_network.setdefault(network, {})[connection] = None

    def leave(self, connection: Placed) -> None:
        """Free the place of a connection."""
        network = self._network_of.pop(connection)
        del self._held_by(network)[connection]
        if not self._by_network.get(network, True):
            del self._by_network[network]

    def holder(self, connection: Placed) -> tuple[str, int]:
        """Return whose place a connection has, and how many places that network holds."""
        network = self._network_of[connection]
        return network, len(self._held_by(network))

    def to_part(self, newcomer: str) -> Placed | None:
        """Return the connection that has to part for one more of the network `newcomer`, if any."""
        largest = max(self._by_network.values(), key=len, default=self._here)
        if largest is self._here or len(largest) < 2:
            return None
        if 2 * len(self._held_by(newcomer)) >= len(largest):
            return None
        return min(largest, key=_last_turn)

    def _held_by(self, network: str) -> dict[Placed, None]:
        return self._here if network == THIS_MACHINE else self._by_network.get(network, {})
