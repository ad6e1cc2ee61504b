"""The servers that LS is told to ask, as this machine allows: none that is LS itself, none twice.

A server at LS's own address is refused at once. If it moves there later, it is not asked there,
either (`core/io/dialler.py`). A file of resolvers may well name LS: of those that it has, LS itself
is left out, and so is systemd-resolved, which may ask LS.

Not here: how servers are written (`server_words.py`), and looking hosts up (`host_names.py`).
"""

import ipaddress
from collections.abc import Collection, Sequence

from core.addresses import Address, address_text, comes_to
from core.io.log import Log
from core.io.system import System
from core.operator import Level
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.resolver_file import DNS_PORT, SYSTEM_FILE, system_nameservers
from nodes.cli.server_words import ResolverOption, check_alike
from nodes.ls.setup import ServerSetup, Setup

# Where systemd-resolved takes queries (man 8 systemd-resolved), and where its file of others is.
_STUBS = ("127.0.0.53", "127.0.0.54")
_BEHIND_STUBS = "/run/systemd/resolve/resolv.conf"


def refuse_loops(
    system: System, own: Sequence[Address], option: str, others: Sequence[Address], given_as: str
) -> None:
    """Raise Failure where one of these others, `given_as` a server to ask, is one of LS's own
    addresses, those of this option (empty for PORT)."""
    for other in others:
        if any(_comes_to(system, each, other) for each in own):
            raise Failure(
                f"{address_text(other[1])}, given as {given_as}, is this load balancer's own "
                f"{option}{' ' if option else ''}address: LS would ask itself; give one of the two "
                "another port",
                USAGE,
            )


def choose_resolvers(
    system: System, resolvers: Sequence[ResolverOption], dns: Sequence[Address], log: Log
) -> list[ResolverOption]:
    """Return those of these resolvers that are asked by an LS that takes DNS at these addresses;
    log which of a file are left out. Raises Failure where one is given twice, or a file has none
    that can be asked."""
    known: dict[tuple[str, int], ResolverOption] = {}
    for one in [one for one in resolvers if not one.file]:
        if (other := known.setdefault(place(one), one)) is not one:
            check_alike(other, one)
            raise Failure("the same --dns-upstream is given twice; one is enough", USAGE)
    chosen: list[ResolverOption] = []
    for one in resolvers:
        if not one.file:
            chosen.append(one)
        elif why := _why_left_out(system, one, dns, known):
            about = {"file": one.file, "address": one.host, "reason": why}
            text = f"{one.file}: {one.host} is left out: {why}"
            log.report(text, Level.INFO, "resolver_left_out", about)
        else:
            chosen.append(one)
            known[place(one)] = one
    _check_files(resolvers, chosen)
    return chosen


def _why_left_out(
    system: System, one: ResolverOption, dns: Sequence[Address], known: Collection[tuple[str, int]]
) -> str:
    """Return why this one of a file is not asked; empty if it is."""
    if place(one) in known:
        return "it is given already"
    if dns and one.host in _STUBS:
        return "it is systemd-resolved, which may ask this load balancer"
    if _is_own(system, one.host, dns):
        return "it is this load balancer itself"
    return ""


def _check_files(resolvers: Sequence[ResolverOption], chosen: Sequence[ResolverOption]) -> None:
    """Raise Failure where a file has named none that is asked."""
    places = {place(one) for one in chosen}
    for path in dict.fromkeys(one.file for one in resolvers if one.file):
        left_out = [one for one in resolvers if one.file == path]
        if not any(place(one) in places for one in left_out):
            instead = "name another one with --dns-upstream ADDR"
            if any(one.host in _STUBS for one in left_out) and path != _BEHIND_STUBS:
                instead = f"take {_BEHIND_STUBS}"
            hosts = ", ".join(one.host for one in left_out)
            raise Failure(
                f"'{path}' has no resolver that can be asked, since {hosts} would ask this load "
                f"balancer; {instead}",
                USAGE,
            )


def place(one: ResolverOption) -> tuple[str, int]:
    """Return where a resolver is, alike for all ways to write that."""
    try:
        host = str(ipaddress.ip_address(one.host))
    except ValueError:
        host = one.host.lower().removesuffix(".")
    return host, one.port


def refuse_own_lookups(
    system: System, servers: Sequence[ServerSetup], dns: Sequence[Address]
) -> None:
    """Raise Failure where a host is not known and this machine asks nobody but this LS, which takes
    DNS at these addresses, for hosts."""
    unknown = [server.host[0] for server in servers if server.host and not server.addresses]
    if unknown and all(_is_own(system, host, dns) for host in system_nameservers()):
        raise Failure(
            f"cannot look up {unknown[0]!r}: {SYSTEM_FILE} names this load balancer alone, which "
            "would have to ask itself; give an address instead of the name",
            USAGE,
        )


def warn_of_twins(servers: Sequence[ServerSetup], log: Log) -> None:
    """Log which of these servers have an address in common."""
    known: dict[Address, str] = {}
    for server in servers:
        for address in server.addresses:
            other = known.setdefault(address, server.name)
            if other != server.name:
                where = address_text(address[1])
                text = f"{server.name} and {other} are at the same address; one is enough"
                about = {"server": server.name, "host": server.where, "address": where}
                log.report(text, Level.WARNING, "server_twice", about)


def warn_of_clear(setup: Setup, log: Log) -> None:
    """Log which resolvers are asked in the clear where another of that tier is asked by TLS: they
    show on the way what the other hides."""
    for secure in setup.resolvers:
        hosts = {end[0] for _, end in secure.addresses if secure.identity}
        for clear in setup.resolvers:
            alike = hosts & {end[0] for _, end in clear.addresses if not clear.identity}
            if alike and setup.tier_of(clear.name) == setup.tier_of(secure.name):
                text = (
                    f"{clear.name} is asked in the clear, at {min(alike)}, what {secure.name} is "
                    "asked there by TLS: it shows what the other hides"
                )
                about = {"server": clear.name, "address": min(alike), "secure": secure.name}
                log.report(text, Level.WARNING, "server_in_clear", about)


def _is_own(system: System, host: str, dns: Sequence[Address]) -> bool:
    """Return whether DNS queries to this address come to one of these listeners."""
    return any(
        _comes_to(system, own, other) for other in system.numeric(host, DNS_PORT) for own in dns
    )


def _comes_to(system: System, own: Address, other: Address) -> bool:
    if own[1][1] != other[1][1]:
        return False
    try:
        return comes_to(own[1], *system.path(other))
    except OSError:  # there is no route to it
        return False
