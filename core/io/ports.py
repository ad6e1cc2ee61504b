"""Ports: which of ours a socket of datagrams may have, so that nobody can guess it.

Any port that a program may take without asking (RFC 6056, section 3.2), but for those that replies
would not come back to: networks filter some because they belong to services that are abused to
flood others, or were; a network card keeps one for itself; and an operator may have reserved some
(ip_local_reserved_ports). Without the reserved ones 64,499 of 64,512 are left: somebody who guesses
has to try 1 in 5,000 fewer. Where so much is reserved that too few would be left, what is reserved
does not count: whoever has reserved it keeps it only from those who let the kernel choose.

Not here: sockets (`core/io/system.py`).
"""

from array import array
from functools import lru_cache
from pathlib import Path

_FIRST, _LAST = 1_024, 65_535
_LEFT_LEAST = 16_384  # 14 bits beside the 16 of an ID
_RESERVED = "/proc/sys/net/ipv4/ip_local_reserved_ports"  # of Linux
_FILTERED = frozenset(
    {
        1_434,  # SQL Server Browser: a worm
        1_900,  # SSDP
        3_283,  # Apple Remote Desktop
        3_389,  # RDP
        3_702,  # WS-Discovery
        4_791,  # RoCE: network cards that can do it take what comes there (pdns#14957)
        5_353,  # multicast DNS
        5_355,  # LLMNR
        5_683,  # CoAP
        10_001,  # Ubiquiti discovery
        11_211,  # memcached (pdns#6321)
        27_960,  # Quake III
        37_810,  # video recorders
    }
)


def reserved_in(text: str) -> set[int]:
    """Parse a list like `8080,9148-9150`, as Linux writes it; skip what is no port."""
    ports: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            ports.update(range(int(first), min(int(last or first), _LAST) + 1))
    return ports


def usable(reserved: set[int]) -> "array[int]":
    """Return the ports that are left when these are reserved, in order."""
    for refused in (_FILTERED | reserved, _FILTERED):
        ports = array("H", [port for port in range(_FIRST, _LAST + 1) if port not in refused])
        if len(ports) >= _LEFT_LEAST:
            break
    return ports


@lru_cache(maxsize=1)
def ours() -> "array[int]":
    """Return the ports to choose from, as this machine reserves them; looked up once."""
    try:
        text = Path(_RESERVED).read_text()
    except (OSError, UnicodeError):
        text = ""
    return usable(reserved_in(text))
