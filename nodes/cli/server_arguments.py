"""The options that table server and load balancer share.

Not here: the options of one of them (`ts.py`, `ls_arguments.py`), and serving (`serving.py`).
"""

import argparse
import ipaddress
from dataclasses import dataclass

from core.addresses import Address
from core.bounds import Bounds
from core.operator import Level
from nodes.cli.arguments import (
    USAGE,
    Failure,
    Parser,
    add_bound,
    bound_and_value,
    own_port,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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
    log_as_json: bool
    wire_log: bool

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


def add_server_arguments(parser: Parser) -> None:
    """Add the arguments that both servers have."""
    parser.add_argument(
        "port", metavar="PORT", type=own_port, help="port to listen on; 0 takes a free one"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
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
        choices=("text", "json"),
        default="text",
        help="format of the log (default %(default)s)",
    )
    parser.add_argument(
        "--wire-log",
        action="store_true",
        help="log every line received (>) and sent (<) and every change of state (=)",
    )


def read_server_options(arguments: argparse.Namespace, bounds: Bounds) -> ServerOptions:
    """Return the options that `add_server_arguments` added, and these bounds."""
    return ServerOptions(
        arguments.host,
        arguments.port,
        tuple(arguments.allow),
        bounds,
        arguments.once,
        Level[arguments.log_level.upper()],
        arguments.log_format == "json",
        arguments.wire_log,
    )
