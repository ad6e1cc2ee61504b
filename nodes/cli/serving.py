"""Running a server: the arguments of both servers, who may connect, listening, and the loop.

Not here: what a server is made of (`nodes/cli/ts.py`, `ls.py`).
"""

import argparse
import ipaddress
from collections.abc import Callable, Sequence
from contextlib import closing

from core.addresses import Address
from core.bounds import Bounds
from core.brain import Brain
from core.effects import Level, Standing
from core.events import Role
from core.io.descriptors import Descriptors
from core.io.frame_buffer import FrameBuffer
from core.io.listener import Service, everybody
from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import System, reason
from core.protocol.messages import LINE_BYTES_MAX, Error, refusal
from nodes.cli.arguments import (
    STDERR,
    STDOUT,
    USAGE,
    Failure,
    Parser,
    address_text,
    bound_and_value,
    bound_in_seconds,
    own_port,
    resolve,
    say,
)

LOG_BYTES_MAX = 1024 * 1024  # what waits for a slow reader of the log before records are dropped
# What comes to each kind of listener. A watcher too many waits, since the others are soon gone.
LINES = Service(Role.LINES, "clients_max", refusal(Error.BUSY), reserves=False)
DNS_STREAMS = Service(
    Role.DNS, "dns_clients_max", framer=FrameBuffer, reads="dns_read_bytes", idles="dns_idle_s"
)
STATUS_PAGE = Service(Role.HTTP, "watchers_max", farewell=None, drains=False)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.0.0.0/8 or ::/0") from None


def server_arguments(parser: Parser) -> None:
    """Add what both servers have."""
    parser.add_argument("port", metavar="PORT", type=own_port, help="to listen on; 0: a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDR", help="to listen at (default %(default)s)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_network,
        metavar="CIDR",
        help="let these addresses connect, and no others (may be repeated); needed when --host "
        "is not a loopback address. Everyone: --allow 0.0.0.0/0 --allow ::/0",
    )
    parser.add_argument(
        "--idle",
        dest="bounds",
        action="append",
        type=bound_in_seconds("idle_s"),
        metavar="S",
        help="close a connection on which nothing has come or gone for so long (default: never)",
    )
    parser.add_argument(
        "--bound",
        dest="bounds",
        action="append",
        type=bound_and_value,
        metavar="NAME=VALUE",
        help="another bound than the default (may be repeated); proto.md lists them, with reasons",
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
        help="log what is at least so important (default %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="(default %(default)s)"
    )
    parser.add_argument(
        "--wire-log",
        action="store_true",
        help="log every line received (>) and sent (<) and every change of state (=)",
    )


def gate(allow: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> Callable[[str], bool]:
    """Who may connect, by the address that accept returned."""
    if not allow:
        return everybody

    def admit(host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in network for network in allow)

    return admit


def check_open(host: str, address: Address, arguments: argparse.Namespace, flag: str) -> None:
    """Nobody opens a server to other machines by mistake. Raises Failure."""
    loopback = ipaddress.ip_address(address[1][0].partition("%")[0]).is_loopback
    if not arguments.allow and not loopback:
        raise Failure(
            f"{flag} {host} is open to other machines: say with --allow CIDR who may connect "
            "(everyone: --allow 0.0.0.0/0 --allow ::/0)",
            USAGE,
        )


def own_address(system: System, arguments: argparse.Namespace) -> Address:
    """Where the server is to listen. Raises Failure."""
    address = resolve(system, arguments.host, arguments.port)[0]
    check_open(arguments.host, address, arguments, "--host")
    return address


def reactor_of(
    name: str,
    arguments: argparse.Namespace,
    bounds: Bounds,
    system: System,
    *,
    links: int = 0,
    records: Output | None = None,
    output: Output | None = None,
) -> Loop:
    """The loop of a server that is called so in the log. `links`: the descriptors that it needs
    besides those for whoever comes to it. What goes to `output` may be lost. Raises Failure when
    there are too few descriptors."""
    sink = Output(STDERR, LOG_BYTES_MAX)
    log = Log(
        name,
        sink.append,
        system.wall,
        system.now,
        least=Level[arguments.log_level.upper()],
        as_json=arguments.log_format == "json",
    )
    descriptors = descriptors_of(bounds, system, links)
    return Loop(
        system,
        bounds,
        log,
        sink,
        line_bytes_max=LINE_BYTES_MAX,
        wire_log=arguments.wire_log,
        records=records,
        output=output,
        descriptors=descriptors,
    )


def descriptors_of(bounds: Bounds, system: System, links: int) -> Descriptors:
    """What there are from now on; `links`: see `reactor_of`. Raises Failure when too few."""
    limit, taken = system.limit_descriptors(bounds.descriptors_max)
    descriptors = Descriptors(bounds, limit, taken)
    descriptors.reserve(links)
    _check_descriptors(descriptors)
    return descriptors


def _check_descriptors(descriptors: Descriptors) -> None:
    if too_few := descriptors.too_few():
        raise Failure(too_few)


def listen(
    reactor: Loop,
    address: Address,
    arguments: argparse.Namespace,
    service: Service = LINES,
    *,
    shared: bool = False,
) -> Sequence[object]:
    """Have a reactor listen; see there. Raises Failure."""
    try:
        there = reactor.listen(address, service, gate(arguments.allow), shared=shared)
    except OSError as error:
        raise cannot_listen(address, error) from None
    _check_descriptors(reactor.descriptors)
    return there


def cannot_listen(address: Address, error: OSError) -> Failure:
    """What to say about it."""
    where = address_text(address[1])
    return Failure(f"cannot listen on {where}: {reason(error)}; try another port")


def listen_for_watchers(
    reactor: Loop, address: Address | None, arguments: argparse.Namespace
) -> None:
    """Have a status page there, if it is to be anywhere. Raises Failure."""
    if address is not None:
        watched = listen(reactor, address, arguments, STATUS_PAGE)
        say(f"status page on http://{address_text(watched)}/")


def listen_for_dns(
    reactor: Loop, address: Address, arguments: argparse.Namespace, *, shared: bool = False
) -> Sequence[object]:
    """Have a reactor take DNS over TCP and UDP, at the same port. Raises Failure."""
    there = listen(reactor, address, arguments, DNS_STREAMS, shared=shared)
    try:
        gatekeeper = gate(arguments.allow)
        return reactor.listen_for_datagrams((address[0], there), gatekeeper, shared=shared)
    except OSError as error:
        raise cannot_listen((address[0], there), error) from None


def ready_line(name: str, there: Sequence[object]) -> bytes:
    """What a server writes on standard output once it can be connected to."""
    return f"{name} ready on {address_text(there)}\n".encode()


def serve(
    name: str,
    address: Address,
    arguments: argparse.Namespace,
    bounds: Bounds,
    system: System,
    build: Callable[[Loop], Brain],
    *,
    watchers: Address | None = None,
    resolvers: Address | None = None,
    links: int = 0,
    records: Output | None = None,
) -> int:
    """Listen at this address, say so, and run the server's brain to its end.

    `links`: see `reactor_of`. `watchers`: where its status page is to be. `resolvers`: where it is
    to be asked with DNS.
    """
    output = Output(STDOUT, LOG_BYTES_MAX)  # for the ready line: whoever reads it may have gone
    reactor = reactor_of(
        name.upper(), arguments, bounds, system, links=links, records=records, output=output
    )
    with closing(reactor):
        there = listen(reactor, address, arguments)
        listen_for_watchers(reactor, watchers, arguments)
        if resolvers is not None:
            say(f"DNS on {address_text(listen_for_dns(reactor, resolvers, arguments))}")
        try:
            reactor.start(build(reactor))
            output.append(ready_line(name, there))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        system.notify(Standing.READY)
        return reactor.run()
