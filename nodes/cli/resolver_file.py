"""Files that name resolvers, as /etc/resolv.conf does (man 5 resolv.conf).

Of such a file only the addresses in its `nameserver` lines count. The C library takes the first
three, LS all of them.

Not here: which of them LS asks (`server_addresses.py`).
"""

import os

from core.regular_file import regular_file

SYSTEM_FILE = "/etc/resolv.conf"
DNS_PORT = 53
_DEFAULT = "127.0.0.1"  # of the C library, for a file without such a line
_BYTES_MAX = 1 << 20


def read_nameservers(path: str) -> list[str]:
    """Return what stands behind `nameserver` in the lines of a file. Raises OSError."""
    with regular_file(path) as fd:
        data = os.read(fd, _BYTES_MAX)
    fields = [line.split() for line in data.decode(errors="replace").split("\n")]
    return list(
        dict.fromkeys(words[1] for words in fields if words[:1] == ["nameserver"] and words[1:])
    )


def system_nameservers() -> list[str]:
    """Return the addresses at which this machine's programs look up names by DNS."""
    try:
        return read_nameservers(SYSTEM_FILE) or [_DEFAULT]
    except OSError:
        return [_DEFAULT]
