"""Serving: who may connect to a server, its listeners, its log and its loop.

Not here: what a server is made of (`ts.py`, `ls.py`), its options (`server_arguments.py`), and what
it says of itself (`introduction.py`).
"""

import errno
import ipaddress
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from core.addresses import Address, address_text
from core.bounds import Bounds
from core.events import Role
from core.framing import Framing
from core.io.descriptors import Descriptors
from core.io.listener import Service, everybody
from core.io.log import Log
from core.io.log_format import FORMATS
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System, reason
from core.observable import ObservableBrain
from core.operator import Standing
from core.protocol.messages import refusal
from core.protocol.names import LINE_BYTES_MAX, Error
from nodes.cli.arguments import STDERR, STDOUT, Failure, resolve
from nodes.cli.introduction import Introduction
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
STATUS_PAGE = Service(Role.HTTP, "watchers_max", farewell=None, drains=False)
_PORTS_TRIED = 10
_ADVICE = {
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "is it an address of this machine?",
}


@dataclass(frozen=True, slots=True)
class ListenAddresses:
    """Where a server listens, for each protocol that it serves."""

    lines: Address
    dns: Address | None = None
    status_page: Address | None = None

    def all(self) -> list[Address]:
        """Return the addresses that there are."""
        return [at for at in (self.lines, self.dns, self.status_page) if at is not None]


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """All that a server is started from. `name` is that of its program; `links`: the descriptors
    that it needs besides those of its clients."""

    name: str
    options: ServerOptions
    listen: ListenAddresses
    introduction: Introduction
    links: int = 0


def own_address(system: System, options: ServerOptions) -> Address:
    """Return where the server is to listen. Raises Failure."""
    address = resolve(system, options.host, options.port)[0]
    options.check_open("--host", options.host, address)
    return address


def dns_address(system: System, host: str, port: int) -> Address:
    """Return where to take DNS; for port 0 at a port that is free for both TCP and UDP: sockets
    that ask resolvers may stand at any. Raises Failure."""
    address = resolve(system, host, port)[0]
    for _ in range(0 if port else _PORTS_TRIED):
        try:
            with closing(system.claim(address)) as claim:
                free = claim.getsockname()
                system.take_datagrams((address[0], free)).close()
                return address[0], free
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise cannot_listen(address, error) from None
    return address


def gate(allow: Sequence[Network]) -> Callable[[str], bool]:
    """Return a function that tells whether a host, as `accept` returns it, may connect."""
    if not allow:
        return everybody

    def admit(host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
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


def listen(
    loop: Loop,
    address: Address,
    allow: Sequence[Network],
    service: Service = LINES,
    *,
    shared: bool = False,
) -> Sequence[object]:
    """Have the loop listen at this address; return where that is. Raises Failure."""
    try:
        bound = loop.listen(address, service, gate(allow), shared=shared)
    except OSError as error:
        raise cannot_listen(address, error) from None
    _check_descriptors(loop.descriptors)
    return bound


def listen_for_dns(
    loop: Loop, address: Address, allow: Sequence[Network], *, shared: bool = False
) -> Sequence[object]:
    """Have the loop take DNS over TCP and UDP, at the same port. Raises Failure."""
    bound = listen(loop, address, allow, DNS_STREAMS, shared=shared)
    try:
        return loop.listen_for_datagrams(
            (address[0], bound), DNS_STREAMS.role, gate(allow), shared=shared
        )
    except OSError as error:
        raise cannot_listen((address[0], bound), error) from None


def listen_for_status_page(
    loop: Loop, address: Address | None, allow: Sequence[Network]
) -> dict[str, str]:
    """Have the loop serve the status page, if there is an address for it; return where, as
    `Introduction.report` takes it. Raises Failure."""
    if address is None:
        return {}
    return {"status_page": f"http://{address_text(listen(loop, address, allow, STATUS_PAGE))}/"}


def cannot_listen(address: Address, error: OSError) -> Failure:
    """Return the failure to raise when this address cannot be listened on."""
    advice = _ADVICE.get(error.errno or 0, "try another port")
    return Failure(f"cannot listen on {address_text(address[1])}: {reason(error)}; {advice}")


# -- serving ---------------------------------------------------------------------------------------


def ready_line(name: str, bound: Sequence[object]) -> bytes:
    """Return the line that a server writes on standard output once clients can connect."""
    return f"{name} ready on {address_text(bound)}\n".encode()


def serve(
    plan: ServerPlan,
    system: System,
    build: Callable[[Loop], ObservableBrain],
    *,
    records: Output | None = None,
) -> int:
    """Listen, say so, and run the brain that `build` makes, behind its status page, to its end;
    return the exit code. Raises Failure."""
    name, options, addresses = plan.name, plan.options, plan.listen
    # For the ready line, whose reader may be gone.
    output = Output(STDOUT, LOG_BYTES_MAX, "standard output")
    loop = make_loop(
        name.upper(), options, system, links=plan.links, records=records, output=output
    )
    with closing(loop):
        bound = listen(loop, addresses.lines, options.allow)
        listeners = {"lines": address_text(bound)}
        if addresses.dns is not None:
            listeners["dns"] = address_text(listen_for_dns(loop, addresses.dns, options.allow))
        listeners |= listen_for_status_page(loop, addresses.status_page, options.allow)
        plan.introduction.report(loop.engine.log, listeners)
        try:
            loop.start(with_status_page(build(loop), options, system, listeners))
            output.append(ready_line(name, bound))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        system.notify(Standing.READY)
        return loop.run()
