"""Where a server is to listen, read from words.

    PORT                 lines, at each --host (or 127.0.0.1)
    --host ADDR          that address; may be repeated
    --host ADDR:PORT     lines there, at a port of its own
    --dns PORT           DNS, at each --host; may be repeated
    --dns ADDR:PORT      DNS there
    --dns-tls PORT       DNS over TLS, likewise
    --metrics PORT       the status page, at --metrics-host (or 127.0.0.1)

Rules. A host may be a name. `0.0.0.0` is every IPv4 address and `::` every IPv6 address, and
neither of them the other.

Not here: sockets (`listening.py`), and who may connect (`server_arguments.py`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from core.addresses import address_text
from nodes.cli.address_words import split_address
from nodes.cli.arguments import PORT_MAX, Parser, own_port

LOOPBACK = "127.0.0.1"
DEFAULTS_TO_LISTEN = {"host": [LOOPBACK]}  # by flag: those that no parser knows
HostAndPort = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StatusPageOptions:
    """Where the status page is to be, and by which names it is shown beside those of the
    machine."""

    host: str
    port: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Where a server is to listen."""

    lines: tuple[HostAndPort, ...]
    dns: tuple[HostAndPort, ...] = ()
    status_page: StatusPageOptions | None = None
    dns_tls: tuple[HostAndPort, ...] = ()

    @property
    def serves_dns(self) -> bool:
        """Whether there are to be DNS clients."""
        return bool(self.dns or self.dns_tls)


def own_host(text: str) -> tuple[str, int | None]:
    """Read a host to listen on, which may have a port of its own."""
    host, port = split_address(text)
    if not host:
        raise argparse.ArgumentTypeError(f"'{text}' has no address before its port")
    return host, None if port is None else own_port(port)


def own_host_and_port(text: str) -> tuple[str | None, int]:
    """Read a port to listen on, which may have an address before it."""
    host, port = split_address(text)
    if port is None:  # else an address without a port
        return None, own_port(text)
    if not host:
        raise argparse.ArgumentTypeError(f"'{text}' has no address before its port")
    return host, own_port(port)


def add_host(parser: Parser) -> None:
    """Add `--host`."""
    parser.add_argument(
        "--host",
        dest="hosts",
        action="append",
        default=[],
        type=own_host,
        metavar="ADDR[:PORT]",
        help="address to listen on, at PORT or a port of its own (may be repeated; default "
        f"{LOOPBACK}). 0.0.0.0 is every IPv4 address, :: every IPv6 address",
    )


def read_listen_options(
    arguments: argparse.Namespace, port: int | None, page: StatusPageOptions | None, parser: Parser
) -> ListenOptions:
    """Return where these arguments say to listen; `port` is PORT, if it was given. Raises
    Failure."""
    hosts: Sequence[tuple[str, int | None]] = arguments.hosts or [(LOOPBACK, None)]
    lines: list[HostAndPort] = []
    for host, own in hosts:
        at = port if own is None else own
        if at is not None:
            lines.append((host, at))
    dns, dns_tls = (
        _at_each(getattr(arguments, name, ()), [host for host, _ in hosts])
        for name in ("dns", "dns_tls")
    )
    for host, _ in arguments.hosts:
        if host not in [used for used, _ in (*lines, *dns, *dns_tls)]:
            is_ls = hasattr(arguments, "dns")
            wanted = "PORT, --dns PORT or --dns-tls PORT" if is_ls else "PORT"
            parser.error(
                f"--host {host} does nothing without {wanted}; sockets that are handed over have "
                "their own addresses"
            )
    pages = [] if page is None else [(page.host, page.port)]
    given = [("PORT", lines), ("--dns", dns), ("--dns-tls", dns_tls), ("--metrics", pages)]
    _check_apart(given, parser)
    return ListenOptions(tuple(lines), tuple(dns), page, tuple(dns_tls))


def _at_each(given: Sequence[tuple[str | None, int]], hosts: Sequence[str]) -> list[HostAndPort]:
    """Return where these are: each at its host, or, without one, at each of these hosts."""
    return [(host, port) for own, port in given for host in (hosts if own is None else [own])]


def _check_apart(given: Sequence[tuple[str, Sequence[HostAndPort]]], parser: Parser) -> None:
    """Check that nobody else has any of these addresses. Raises Failure."""
    taken: dict[HostAndPort, str] = {}
    for option, addresses in given:
        for host, port in addresses:
            other = taken.get((host, port))
            if other == option:
                parser.error(f"{address_text((host, port))} is given twice for {option}")
            if other is not None and port:
                advised = port + 1 if port < PORT_MAX else port - 1
                parser.error(f"{other} and {option} are both {port}; try {option} {advised}")
            if port:
                taken[host, port] = option
