"""The options that table server and load balancer share.

Not here: the options of one of them (`ts.py`, `ls_arguments.py`), and serving (`serving.py`).
"""

import argparse
import ipaddress
import re
from dataclasses import dataclass

from core.bounds import Bounds
from core.io.log_format import FORMATS
from core.operator import Level
from nodes.cli.address_words import without_brackets
from nodes.cli.arguments import Parser
from nodes.cli.bound_arguments import add_bound, add_bounds
from nodes.cli.listen_arguments import (
    LOOPBACK,
    ListenOptions,
    StatusPageOptions,
    add_host,
    own_host_and_port,
    read_listen_options,
)

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
AUTO = "auto"  # the format of the log that its reader wants

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of both servers. `allow`: networks that may connect; empty where only this
    machine can."""

    listen: ListenOptions
    allow: tuple[Network, ...]
    bounds: Bounds
    once: bool
    log_level: Level
    log_format: str  # a name of FORMATS, or AUTO
    wire_log: bool


def _network(text: str) -> Network:
    """Read a network, or one address, which may not look like a network without its length."""
    try:
        network = ipaddress.ip_network(without_brackets(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.0.0.0/8 or ::/0") from None
    if "/" not in text and (bits := _network_bits(network.network_address)) is not None:
        raise argparse.ArgumentTypeError(
            f"{text} is one address; did you mean {text}/{bits}? If not, write {network}"
        )
    return network


def _network_bits(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int | None:
    """Return how many bits of an address are its network's, if all others look as if left out."""
    each, most = (1, 3) if address.version == 4 else (2, 8)  # bytes between dots, of a network
    size = -(-len(address.packed.rstrip(b"\0")) // each) * each
    return 8 * size if size <= most else None


def _host_name(text: str) -> str:
    """Read a host name, as a browser spells it where it has letters of other scripts (IDNA)."""
    try:
        name = text.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not _HOST_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a host name; write it like ls1.example, without http:// and port"
        )
    return name


def add_server_arguments(parser: Parser) -> None:
    """Add the arguments that both servers have."""
    add_host(parser)
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_network,
        metavar="CIDR",
        help="let these addresses connect, and no others (may be repeated); required unless --host "
        "is a loopback address. Everyone: --allow 0.0.0.0/0 --allow ::/0",
    )
    add_bound(parser, "--idle", "idle_s", "close connections idle for so long (default: never)")
    add_bounds(parser)
    parser.add_argument(
        "--once",
        action="store_true",
        help="serve one session, the first connection that sends a byte, and exit when it ends",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.name.lower() for level in Level],
        default=Level.INFO.name.lower(),
        help="least severe level to log (default %(default)s)",
    )
    parser.add_argument(
        "--log-format",
        choices=(AUTO, *FORMATS),
        default=AUTO,
        help="format of the log on standard error: text; json, an object a line; journal, for "
        "systemd's (default %(default)s: journal where that is what reads it, else text)",
    )
    parser.add_argument(
        "--wire-log",
        action="store_true",
        help="log every line received (>) and sent (<) and every change of state (=); such a log "
        "has the names that clients ask for",
    )


def add_status_page_arguments(parser: Parser) -> None:
    """Add the arguments about the status page that both servers have."""
    parser.add_argument(
        "--metrics",
        type=own_host_and_port,
        metavar="[ADDR:]PORT",
        help="serve a status page at / on this port, /metrics (Prometheus), /livez and /readyz",
    )
    parser.add_argument(
        "--metrics-host",
        type=without_brackets,
        metavar="ADDR",
        help=f"address of the status page (default {LOOPBACK}); --allow applies",
    )
    parser.add_argument(
        "--metrics-name",
        action="append",
        default=[],
        type=_host_name,
        metavar="NAME",
        help="also show the status page to those who call it by this host name (may be repeated); "
        "addresses, localhost and this machine's own names always do",
    )


def _read_status_page(arguments: argparse.Namespace, parser: Parser) -> StatusPageOptions | None:
    """Return the options of the status page, if there is to be one. Raises Failure."""
    if arguments.metrics is not None:
        host, port = arguments.metrics
        if host is not None and arguments.metrics_host is not None:
            parser.error("--metrics has an address already; leave out --metrics-host")
        host = host or arguments.metrics_host or LOOPBACK
        return StatusPageOptions(host, port, tuple(arguments.metrics_name))
    for option, value in (
        ("--metrics-host", arguments.metrics_host),
        ("--metrics-name", arguments.metrics_name),
    ):
        if value not in (None, []):
            parser.error(f"{option} is for the status page; there is no --metrics PORT")
    return None


def read_server_options(
    arguments: argparse.Namespace, port: int | None, bounds: Bounds, parser: Parser
) -> ServerOptions:
    """Return the options that the functions above have added, with PORT, if there is one, and these
    bounds. Raises Failure."""
    return ServerOptions(
        read_listen_options(arguments, port, _read_status_page(arguments, parser), parser),
        tuple(arguments.allow),
        bounds,
        arguments.once,
        Level[arguments.log_level.upper()],
        arguments.log_format,
        arguments.wire_log,
    )
