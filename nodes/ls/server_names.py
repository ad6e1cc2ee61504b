"""The names of servers, by which the log, STATS, metrics and the status page call them.

Table servers are TS1, TS2, ..., resolvers DNS1, DNS2, ..., or as people name them. A name is a
label of metrics, the first part of a key of STATS (`quad9.asked`), and of the names of a resolver's
connections (`quad9.1`), so it has no dot. It is none that something else has there: another server,
a tier, a worker, a connection, or a protocol that clients speak.

Not here: who has which name (`setup.py`).
"""

import re

LEGAL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_TABLE = re.compile(r"TS[1-9][0-9]{0,5}")
_TAKEN = re.compile(
    r"(?:TS|DNS|W|tier|client-|dns-client-|tls-client-|watcher-|worker-)[0-9]+|lines|dns|parent",
    re.IGNORECASE,
)


def table_name(number: int) -> str:
    """Return the name of a table server, counted from 1."""
    return f"TS{number}"


def resolver_name(number: int) -> str:
    """Return the name of a resolver that has none of its own, counted from 1."""
    return f"DNS{number}"


def is_table_name(name: str) -> bool:
    """Return whether this is the name of a table server."""
    return _TABLE.fullmatch(name) is not None


def is_taken(name: str) -> bool:
    """Return whether something else has this name, or may have it."""
    return _TAKEN.fullmatch(name) is not None
