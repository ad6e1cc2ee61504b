"""`--check`: whether a configuration is good, as far as that can be told without listening.

Not here: what a program checks before it serves in any case (`ls.py`, `ts.py`).
"""

import errno
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from core.addresses import Address, comes_to
from core.io.system import System, reason
from nodes.cli.arguments import CLEAN, USAGE, Failure, show
from nodes.ls.server_names import is_table_name
from nodes.ls.setup import ServerSetup

_PORT = 9  # any: there is no path to port 0


def checked(look: Callable[[], str]) -> int:
    """Say that a configuration is good, and what `look` has found; return the exit code. Raises
    Failure, of bad usage in any case."""
    try:
        found = look()
    except Failure as failure:
        raise Failure(str(failure), USAGE) from None
    show(f"photofinish: configuration is good: {found}")
    return CLEAN


def check_known(servers: Sequence[ServerSetup], routed: Collection[str], within_s: float) -> None:
    """Check that each server has addresses: LS would start without them. `routed`: the names of
    those that routes alone give. Raises Failure."""
    for server in servers:
        if server.host and not server.addresses:
            host = server.host[0]
            given_as = "a table server" if is_table_name(server.name) else "--dns-upstream"
            given_as = "a resolver of --route" if server.name in routed else given_as
            raise Failure(
                f"cannot resolve {host!r} within {within_s:g} s, given as {given_as}; is the name "
                "right?"
            )


def check_here(system: System, address: Address) -> None:
    """Check that an address is one of this machine: only there can a server listen. Raises
    Failure."""
    family, (host, _, *scope) = address
    wildcard = "::" if ":" in host else "0.0.0.0"
    try:
        is_here = comes_to((wildcard, _PORT), *system.path((family, (host, _PORT, *scope))))
    except OSError:  # no way leads there
        is_here = False
    if not is_here:
        raise Failure(f"{host} is not an address of this machine")


def check_can_append(path: str) -> None:
    """Check that a file can be appended to, or made. Raises Failure."""
    try:
        is_there = Path(path).exists()
        folder = Path(path).parent
        folder.stat()
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise Failure(f"cannot write {path}: {reason(error)}") from None
    place, way = (path, os.W_OK) if is_there else (folder, os.W_OK | os.X_OK)
    if not os.access(place, way):
        raise Failure(f"cannot write {path}: permission denied")
