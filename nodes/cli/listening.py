"""Listening: the sockets at which a server listens, and where they are.

They are opened before there is a loop, since that fails by a person's mistake, and before there are
workers: each worker has a set of its own, which is its successor's after it. A service manager may
hand some over instead, named `lines`, `dns`, `dns-tls` or `metrics` (man 5 systemd.socket,
FileDescriptorName=); all workers share those.

A server that serves DNS takes it at the same port by UDP and TCP.

Not here: which addresses people have asked for (`server_arguments.py`), and who may come in
(`serving.py`).
"""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from core.addresses import Address, address_text
from core.io.handed_over import is_for_datagrams, why_useless
from core.io.system import Socket, System, reason
from nodes.cli.arguments import USAGE, Failure

_PORTS_TRIED = 10
_ADVICE = {
    errno.EACCES: "ports below 1024 need root, CAP_NET_BIND_SERVICE or a socket that systemd hands "
    "over (examples/photofinish-dns.socket)",
}


@dataclass(frozen=True, slots=True)
class ListenAddresses:
    """Where a server listens, for each protocol that it serves."""

    lines: tuple[Address, ...] = ()
    dns: tuple[Address, ...] = ()
    status_page: tuple[Address, ...] = ()
    dns_tls: tuple[Address, ...] = ()


@dataclass(slots=True)
class Sockets:
    """Sockets to listen at. DNS in the clear has as many for datagrams as for streams."""

    lines: list[Socket] = field(default_factory=list)
    dns: list[Socket] = field(default_factory=list)
    datagrams: list[Socket] = field(default_factory=list)
    status_page: list[Socket] = field(default_factory=list)
    dns_tls: list[Socket] = field(default_factory=list)

    def __iter__(self) -> Iterator[Socket]:
        yield from (*self.lines, *self.dns, *self.datagrams, *self.dns_tls, *self.status_page)

    def close(self) -> None:
        """Close all of them."""
        for each in self:
            each.close()

    def where(self) -> dict[str, str]:
        """Return at which addresses they are, for people, by protocol."""
        protocols = (
            ("lines", self.lines, "{}"),
            ("dns", self.dns or self.datagrams, "{}"),
            ("dns_tls", self.dns_tls, "tls://{}"),
            ("status_page", self.status_page, "http://{}/"),
        )
        return {
            name: ", ".join(form.format(address_text(each.getsockname())) for each in sockets)
            for name, sockets, form in protocols
            if sockets
        }


def addresses_of(sockets: Sequence[Socket]) -> tuple[Address, ...]:
    """Return where these sockets are."""
    return tuple((each.family, each.getsockname()) for each in sockets)


# -- opening ---------------------------------------------------------------------------------------


def open_sockets(
    system: System, addresses: ListenAddresses, handed: Sockets, backlog: int, count: int = 1
) -> list[Sockets]:
    """Open the sockets of `count` processes, one set for each; those that were handed over are in
    every set. The status page is served by one process, and in no set. Raises Failure."""
    sets = [
        Sockets([*handed.lines], [*handed.dns], [*handed.datagrams], dns_tls=[*handed.dns_tls])
        for _ in range(count)
    ]
    opened: list[Socket] = []
    try:
        for those, lists in (
            (addresses.lines, [each.lines for each in sets]),
            (addresses.dns_tls, [each.dns_tls for each in sets]),
        ):
            for address in those:
                streams = _opened(system, address, backlog, count)
                opened += streams
                for at, stream in zip(lists, streams, strict=True):
                    at.append(stream)
        for address in addresses.dns:
            streams, datagrams = _opened_for_dns(system, address, backlog, count)
            opened += [*streams, *datagrams]
            for each, stream, bound in zip(sets, streams, datagrams, strict=True):
                each.dns.append(stream)
                each.datagrams.append(bound)
    except Failure:
        for each_opened in opened:
            each_opened.close()
        raise
    return sets


def open_status_page(
    system: System, addresses: Sequence[Address], handed: Sockets, backlog: int
) -> Sockets:
    """Open the sockets of the status page. Raises Failure."""
    pages = [*handed.status_page]
    for address in addresses:
        pages += _opened(system, address, backlog, 1)
    return Sockets(status_page=pages)


def _opened(system: System, address: Address, backlog: int, count: int) -> list[Socket]:
    try:
        return system.listen(address, backlog, count)
    except OSError as error:
        raise cannot_listen(address, error) from None


def _opened_for_dns(
    system: System, address: Address, backlog: int, count: int
) -> tuple[list[Socket], list[Socket]]:
    """Open sockets for streams and for datagrams at one port; port 0 is one that is free for both.
    Raises Failure."""
    family, (host, port, *rest) = address
    for left in reversed(range(1 if port else _PORTS_TRIED)):
        streams = _opened(system, address, backlog, count)
        at = family, (host, streams[0].getsockname()[1], *rest)
        try:
            return streams, system.take_datagrams(at, count)
        except OSError as error:
            for each in streams:
                each.close()
            if error.errno != errno.EADDRINUSE or not left:
                raise cannot_listen(at, error) from None
    raise AssertionError


def cannot_listen(address: Address, error: OSError) -> Failure:
    """Return the failure to raise when this address cannot be listened on."""
    why = f"{reason(error)}; {_ADVICE.get(error.errno or 0, 'try another port')}"
    if error.errno == errno.EADDRNOTAVAIL:
        why = f"{address[1][0]} is not an address of this machine"
    return Failure(f"cannot listen on {address_text(address[1])}: {why}")


# -- handed over -----------------------------------------------------------------------------------


def take_handed_over(system: System, names: Sequence[str]) -> Sockets:
    """Take the sockets that the service manager hands over; this program has a use for those of
    these names. Raises Failure."""
    sockets = Sockets()
    streams = {"lines": sockets.lines, "dns": sockets.dns, "metrics": sockets.status_page}
    streams["dns-tls"] = sockets.dns_tls
    try:
        given = system.handed_over()
    except OSError as error:
        raise Failure(f"cannot use what was handed over: {reason(error)}", USAGE) from None
    for name, each in given:
        trouble = why_useless(each)
        if name not in names:
            trouble = f"has a name of no use: FileDescriptorName= has to be {' or '.join(names)}"
        elif not trouble and name != "dns" and is_for_datagrams(each):
            trouble = "is for datagrams: its unit needs ListenStream="
        if trouble:
            raise Failure(f"the socket {name!r} that was handed over {trouble}", USAGE)
        if is_for_datagrams(each):
            sockets.datagrams.append(system.received_at(each))
        else:
            streams[name].append(each)
    return sockets
