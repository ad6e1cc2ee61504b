"""Serving: who may connect to a server, its listeners, its log and its loop.

Not here: what a server is made of (`ts.py`, `ls.py`), its options (`server_arguments.py`), its
sockets (`listening.py`), and what it says of itself (`introduction.py`).
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from core.addresses import Address, address_text
from core.bounds import Bounds
from core.events import Role
from core.framing import Framing
from core.io.descriptors import Descriptors
from core.io.listener import Admit, Service, everybody
from core.io.log import Log
from core.io.log_format import FORMATS
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System, reason
from core.observable import ObservableBrain
from core.operator import Standing
from core.protocol.messages import refusal
from core.protocol.names import LINE_BYTES_MAX, Error
from core.tls import TlsKeys
from nodes.cli.arguments import STDERR, STDOUT, USAGE, Failure, resolve
from nodes.cli.introduction import Introduction
from nodes.cli.listen_arguments import HostAndPort
from nodes.cli.listening import (
    ListenAddresses,
    Sockets,
    addresses_of,
    open_sockets,
    open_status_page,
    take_handed_over,
)
from nodes.cli.server_arguments import AUTO, Network, ServerOptions
from nodes.cli.status_page import with_status_page

LOG_BYTES_MAX = 1024 * 1024  # bytes that wait for a slow reader of the log before lines are dropped
# The service of each kind of listener. A watcher too many waits, since the others are soon gone.
LINES = Service(Role.LINES, "clients_max", refusal(Error.BUSY), reserves=False)
DNS_STREAMS = Service(
    Role.DNS,
    "dns_clients_max",
    framing=Framing.LENGTH_PREFIXED,
    reads="dns_read_bytes",
    idles="dns_idle_s",
)
DNS_TLS_STREAMS = Service(  # its keys are those of a run
    Role.TLS,
    "tls_clients_max",
    framing=Framing.LENGTH_PREFIXED,
    reads="dns_read_bytes",
    idles="dns_idle_s",
    accepts="tls_accepts_per_turn",
)
_LOOPBACK = {4: ip_network("127.0.0.0/8"), 6: ip_network("::1")}
STATUS_PAGE = Service(Role.HTTP, "watchers_max", farewell=None, drains=False)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server is to listen: addresses, and sockets that were handed over."""

    addresses: ListenAddresses
    handed: Sockets

    @property
    def lines(self) -> tuple[Address, ...]:
        """Where it takes lines."""
        return self.addresses.lines + addresses_of(self.handed.lines)

    @property
    def dns(self) -> tuple[Address, ...]:
        """Where it takes DNS in the clear."""
        streams, datagrams = addresses_of(self.handed.dns), addresses_of(self.handed.datagrams)
        return tuple(dict.fromkeys((*self.addresses.dns, *streams, *datagrams)))

    @property
    def dns_tls(self) -> tuple[Address, ...]:
        """Where it takes DNS by TLS."""
        return self.addresses.dns_tls + addresses_of(self.handed.dns_tls)

    @property
    def all_dns(self) -> tuple[Address, ...]:
        """Where it takes DNS, in the clear or by TLS."""
        return self.dns + self.dns_tls

    @property
    def status_page(self) -> tuple[Address, ...]:
        """Where it serves its status page."""
        return self.addresses.status_page + addresses_of(self.handed.status_page)

    def all(self) -> tuple[Address, ...]:
        """Return all of these addresses."""
        return self.lines + self.all_dns + self.status_page


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """All that a server is started from. `name` is that of its program; `links`: the descriptors
    that it needs besides those of its clients; `keys`: what it serves DNS by TLS with."""

    name: str
    options: ServerOptions
    listening: Listening
    introduction: Introduction
    links: int = 0
    keys: TlsKeys | None = None


# -- where it listens, and for whom ----------------------------------------------------------------


def find_listening(system: System, options: ServerOptions, names: Sequence[str]) -> Listening:
    """Return where the server is to listen. Of sockets that are handed over it takes those of these
    names. Raises Failure."""
    asked = options.listen
    page = asked.status_page
    found = Listening(
        ListenAddresses(
            _resolved(system, asked.lines),
            _resolved(system, asked.dns),
            () if page is None else _resolved(system, [(page.host, page.port)]),
            _resolved(system, asked.dns_tls),
        ),
        take_handed_over(system, names),
    )
    if not found.lines and not found.all_dns:
        raise Failure("no PORT: say where to listen (see --help)", USAGE)
    check_open(options, found)
    return found


def _resolved(system: System, hosts: Sequence[HostAndPort]) -> tuple[Address, ...]:
    return tuple(resolve(system, host, port)[0] for host, port in hosts)


def check_open(options: ServerOptions, listening: Listening) -> None:
    """Raise Failure where a server would be open to other machines by mistake, or to nobody."""
    everywhere = listening.all()
    others = [end for _, end in everywhere if not _ip(end[0]).is_loopback]
    if others and not options.allow:
        raise Failure(
            f"{address_text(others[0])} is open to other machines: say with --allow CIDR who may "
            "connect (everyone: --allow 0.0.0.0/0 --allow ::/0)",
            USAGE,
        )
    if options.allow and not others and not any(map(_has_loopback, options.allow)):
        _, first = everywhere[0]
        raise Failure(
            f"nobody can connect: {address_text(first)} is for this machine only, and --allow "
            "admits only others; say with --host where to listen",
            USAGE,
        )
    admitted = {network.version for network in options.allow}
    for _, end in listening.lines + listening.all_dns:
        version = _ip(end[0]).version
        if admitted and version not in admitted:
            raise Failure(
                f"nobody can connect: {address_text(end)} takes IPv{version} only, and --allow "
                f"admits none; say with --host or --dns where to listen for IPv{min(admitted)}",
                USAGE,
            )


def _ip(host: str) -> IPv4Address | IPv6Address:
    """Return the address that a host, as `accept` returns it, stands for: without its scope."""
    return ip_address(host.partition("%")[0])


def _has_loopback(network: Network) -> bool:
    return network.overlaps(_LOOPBACK[network.version])


def gate(allow: Sequence[Network]) -> Admit:
    """Return a function that tells whether a host, as `accept` returns it, may connect."""
    if not allow:
        return everybody

    def admit(host: str) -> bool:
        address = _ip(host)
        return any(address in network for network in allow)

    return admit


# -- the log and the loop --------------------------------------------------------------------------


def _write_now(record: bytes) -> None:
    with suppress(OSError):
        os.write(STDERR, record)


def make_log(
    name: str,
    options: ServerOptions,
    system: System,
    write: Callable[[bytes], None] = _write_now,
) -> Log:
    """Make the log of a server, which calls it by this name. Before there is a loop its records are
    written at once, as far as standard error takes them."""
    log_format = options.log_format
    if log_format == AUTO:
        log_format = "journal" if system.leads_to_journal(STDERR) else "text"
    return Log(
        name,
        write,
        system.wall,
        system.now,
        least=options.log_level,
        log_format=FORMATS[log_format],
    )


def make_loop(
    name: str,
    options: ServerOptions,
    system: System,
    *,
    links: int = 0,
    records: Output | None = None,
    output: Output | None = None,
) -> Loop:
    """Make the loop of a server; the log calls it by this name. `links`: the descriptors that it
    needs besides those of its clients. `output`: what is written to it may be lost. Raises Failure
    when there are too few descriptors."""
    log_output = Output(STDERR, LOG_BYTES_MAX)
    return Loop(
        system,
        options.bounds,
        make_log(name, options, system, log_output.append),
        Destinations(log_output, records=records, own=output),
        line_bytes_max=LINE_BYTES_MAX,
        wire_log=options.wire_log,
        descriptors=limit_descriptors(options.bounds, system, links),
    )


def limit_descriptors(bounds: Bounds, system: System, links: int) -> Descriptors:
    """Limit the descriptors of this process, and count them from now on; `links`: see `make_loop`.
    Raises Failure when there are too few."""
    limit, taken = system.limit_descriptors(bounds.descriptors_max)
    descriptors = Descriptors(bounds, limit, taken)
    descriptors.reserve(links)
    _check_descriptors(descriptors)
    return descriptors


def _check_descriptors(descriptors: Descriptors) -> None:
    if too_few := descriptors.too_few():
        raise Failure(too_few)


# -- listening -------------------------------------------------------------------------------------


def listen(loop: Loop, sockets: Sockets, admit: Admit, keys: TlsKeys | None = None) -> None:
    """Have the loop listen at these sockets; `keys`: what DNS by TLS is served with. Raises Failure
    when there are too few descriptors."""
    for service, streams in (
        (LINES, sockets.lines),
        (DNS_STREAMS, sockets.dns),
        (replace(DNS_TLS_STREAMS, keys=keys), sockets.dns_tls),
        (STATUS_PAGE, sockets.status_page),
    ):
        for stream in streams:
            loop.listen(stream, service, admit)
    for bound in sockets.datagrams:
        loop.listen_for_datagrams(bound, DNS_STREAMS.role, admit)
    _check_descriptors(loop.descriptors)


# -- serving ---------------------------------------------------------------------------------------


def ready_line(name: str, sockets: Sockets) -> bytes:
    """Return the line that a server writes on standard output once clients can connect."""
    where = sockets.where()
    at = where.get("lines") or where.get("dns") or where["dns_tls"]
    return f"{name} ready on {at}\n".encode()


def serve(
    plan: ServerPlan,
    system: System,
    build: Callable[[Loop], ObservableBrain],
    *,
    records: Output | None = None,
) -> int:
    """Listen, say so, and run the brain that `build` makes, behind its status page, to its end;
    return the exit code. Raises Failure."""
    name, options, listening = plan.name, plan.options, plan.listening
    backlog = options.bounds.backlog_max
    # For the ready line, whose reader may be gone.
    output = Output(STDOUT, LOG_BYTES_MAX, "standard output")
    with ExitStack() as stack:
        (sockets,) = open_sockets(system, listening.addresses, listening.handed, backlog)
        stack.callback(sockets.close)
        page = open_status_page(system, listening.addresses.status_page, listening.handed, backlog)
        sockets.status_page += page.status_page
        loop = make_loop(
            name.upper(), options, system, links=plan.links, records=records, output=output
        )
        stack.callback(loop.close)
        listen(loop, sockets, gate(options.allow), plan.keys)
        listeners = sockets.where()
        plan.introduction.report(loop.engine.log, listeners)
        try:
            loop.start(with_status_page(build(loop), options, system, listeners))
            output.append(ready_line(name, sockets))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        system.notify(Standing.READY)
        return loop.run()
