"""The options that table server and load balancer share.

Not here: the options of one of them (`ts.py`, `ls_arguments.py`), and serving (`serving.py`).
"""

import argparse
import ipaddress
import re
from dataclasses import dataclass

from core.addresses import Address
from core.bounds import Bounds
from core.io.log_format import FORMATS
from core.operator import Level
from nodes.cli.arguments import (
    USAGE,
    Failure,
    Parser,
    add_bound,
    bound_and_value,
    own_port,
)

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)
_LOOPBACK = "127.0.0.1"
AUTO = "auto"  # the format of the log that its reader wants

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class StatusPageOptions:
    """Where the status page is to be, and by which names it is shown beside those of the
    machine."""

    host: str
    port: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of both servers. `allow`: networks that may connect; empty where only this
    machine can."""

    host: str
    port: int
    allow: tuple[Network, ...]
    bounds: Bounds
    once: bool
    log_level: Level
    log_format: str  # a name of FORMATS, or AUTO
    wire_log: bool
    status_page: StatusPageOptions | None

    def check_open(self, option: str, host: str, address: Address) -> None:
        """Raise Failure where a server would be open to other machines by mistake."""
        is_loopback = ipaddress.ip_address(address[1][0].partition("%")[0]).is_loopback
        if not self.allow and not is_loopback:
            raise Failure(
                f"{option} {host} is open to other machines: say with --allow CIDR who may connect "
                "(everyone: --allow 0.0.0.0/0 --allow ::/0)",
                USAGE,
            )


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.0.0.0/8 or ::/0") from None


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
    parser.add_argument(
        "port", metavar="PORT", type=own_port, help="port to listen on; 0 takes a free one"
    )
    parser.add_argument(
        "--host",
        default=_LOOPBACK,
        metavar="ADDR",
        help="address to listen on (default %(default)s)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_network,
        metavar="CIDR",
        help="let these addresses connect, and no others (may be repeated); required unless --host "
        "is a loopback address. Everyone: --allow 0.0.0.0/0 --allow ::/0",
    )
    add_bound(parser, "--idle", "idle_s", "close connections idle for S seconds (default: never)")
    parser.add_argument(
        "--bound",
        dest="bounds",
        action="append",
        type=bound_and_value,
        metavar="NAME=VALUE",
        help="override an internal limit (may be repeated); proto.md lists all, with reasons",
    )
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
        help="log every line received (>) and sent (<) and every change of state (=)",
    )


def add_status_page_arguments(parser: Parser) -> None:
    """Add the arguments about the status page that both servers have."""
    parser.add_argument(
        "--metrics",
        type=own_port,
        metavar="PORT",
        help="serve a status page at / on this port, /metrics (Prometheus), /livez and /readyz",
    )
    parser.add_argument(
        "--metrics-host",
        metavar="ADDR",
        help=f"address of the status page (default {_LOOPBACK}); --allow applies",
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
        host = _LOOPBACK if arguments.metrics_host is None else arguments.metrics_host
        return StatusPageOptions(host, arguments.metrics, tuple(arguments.metrics_name))
    for option, value in (
        ("--metrics-host", arguments.metrics_host),
        ("--metrics-name", arguments.metrics_name),
    ):
        if value:
            parser.error(f"{option} is for the status page; there is no --metrics PORT")
    return None


def read_server_options(
    arguments: argparse.Namespace, bounds: Bounds, parser: Parser
) -> ServerOptions:
    """Return the options that the functions above have added, and these bounds. Raises Failure."""
    return ServerOptions(
        arguments.host,
        arguments.port,
        tuple(arguments.allow),
        bounds,
        arguments.once,
        Level[arguments.log_level.upper()],
        arguments.log_format,
        arguments.wire_log,
        _read_status_page(arguments, parser),
    )
