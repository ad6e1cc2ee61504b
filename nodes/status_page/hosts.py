"""The hosts that the status page is served for: a defence against DNS rebinding.

A page of another site may let its own name lead to this machine; then a browser here lets it read
what this server says to that name. But the browser also says which name it means. A page is
therefore shown only to a request for a host that nobody else can let lead here: a numeric address,
`localhost` and the names below it (RFC 6761, 6.3), and names that are the server's own. Letters may
be upper or lower case, and a dot may stand at the end.

Not here: where a request names its host (`request.py`), and which names are the server's own
(`nodes/cli/status_page.py`).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

_LOCALHOST = "localhost"


class ServedHosts:
    """The hosts of one server; `names`: its own."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset({_LOCALHOST, *map(_normal, names)})

    def serves(self, host: str) -> bool:
        """Return whether a request that was sent to this host may see a page."""
        spelled = _normal(host)
        is_below_localhost = spelled.endswith(f".{_LOCALHOST}")
        return spelled in self._names or is_below_localhost or _is_address(spelled)


def _normal(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(host: str) -> bool:
    """Return whether this is a numeric address, as a URL has it: one of IPv6 in brackets."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        else:
            IPv4Address(host)
    except ValueError:
        return False
    return True
