"""Sets of servers, as numbers: each server is one bit.

A set is kept for every open question and worked out anew for every reply, so it is a plain `int`:
making one, or testing it, allocates nothing. `|` unites two sets, `&` is what both have, and a set
is true when it is not empty; the functions here give words to the rest.

Not here: the servers themselves (`nodes/ls/link.py`, whose `bit` is the set of that one server).
"""

from collections.abc import Iterable
from functools import reduce
from operator import and_

ServerSet = int

NO_SERVERS: ServerSet = 0


def server_at(number: int) -> ServerSet:
    """Return the set that has only the server of this number, counted from 0."""
    return 1 << number


def union(sets: Iterable[ServerSet]) -> ServerSet:
    """Return the set of all servers that are in any of these sets."""
    servers = NO_SERVERS
    for more in sets:
        servers |= more
    return servers


def common(sets: Iterable[ServerSet]) -> ServerSet:
    """Return the set of the servers that are in each of these sets (at least one)."""
    return reduce(and_, sets)


def without(servers: ServerSet, others: ServerSet) -> ServerSet:
    """Return those of `servers` that are not among `others`."""
    return servers & ~others


def has_all(servers: ServerSet, others: ServerSet) -> bool:
    """Return whether all of `others` are among `servers`; no servers are among any."""
    return not others & ~servers
