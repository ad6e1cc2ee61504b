"""The names of this machine, as far as it knows them without asking a name server.

They are its host name, the first label of that, and whatever the table of hosts (/etc/hosts) has in
the same line as one of these: its full name, on most systems and in containers.

Not here: what they are for, and host lookups (`core/io/lookup.py`).
"""

import os
from pathlib import Path

_HOSTS = "/etc/hosts"


def names_beside(name: str, hosts: str) -> set[str]:
    """Return the names of the machine with this host name, by this text of a table of hosts."""
    own = {name.lower(), name.lower().partition(".")[0]} - {""}
    beside = set()
    for line in hosts.split("\n"):
        _, *names = line.partition("#")[0].lower().split() or [""]
        if not own.isdisjoint(names):
            beside.update(names)
    return own | beside


def own_names() -> set[str]:
    """Return the names of this machine."""
    try:
        hosts = Path(_HOSTS).read_text(errors="replace")
    except OSError:
        hosts = ""
    return names_beside(os.uname().nodename, hosts)
