"""The servers of routes and tiers: which of LS's own each of their words means.

A resolver of a route that `--dns-upstream` gives, too, is the same one; any other is asked for the
names of its routes alone. A word without dot, colon, bracket or slash is the name of a resolver,
which `--dns-upstream` or any route gives it: a slip would be a host that nobody meant.

Not here: how routes and tiers are written (`route_arguments.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nodes.cli.arguments import USAGE, Failure
from nodes.cli.resolver_file import DNS_PORT
from nodes.cli.route_arguments import AskingOptions
from nodes.cli.server_addresses import place
from nodes.cli.server_words import ResolverOption, check_alike, check_names, resolver_words
from nodes.ls.server_names import resolver_name

_OF_A_PLACE = re.compile(r"[.:\[\]/=]")  # of an address, a host with its port, or a file


@dataclass(slots=True)
class RouteServers:
    """The routes and tiers of one LS, as its `Setup` has them."""

    routes: dict[bytes, tuple[str, ...] | None] = field(default_factory=dict)
    routed: tuple[str, ...] = ()
    tiers: dict[str, int] = field(default_factory=dict)


def all_resolvers(asking: AskingOptions) -> list[ResolverOption]:
    """Return all resolvers, each once: those that are asked for all names, and behind them those of
    routes. Raises Failure."""
    resolvers = list(asking.resolvers)
    known: dict[tuple[str, int], int] = {}
    for at, one in sorted(enumerate(resolvers), key=lambda each: bool(each[1].file)):
        known.setdefault(place(one), at)  # those that no file names are asked in any case
    for word in [word for route in asking.routes for word in route.resolvers or ()]:
        for one in () if _is_name(word) else resolver_words(word):
            at = known.setdefault(place(one), len(resolvers))
            if at == len(resolvers):
                resolvers.append(one)
            elif one.name:
                resolvers[at] = _called(resolvers[at], one.name, word)
            check_alike(resolvers[at], one)
    if trouble := check_names(resolvers):
        raise Failure(trouble, USAGE)
    return resolvers


def _called(one: ResolverOption, name: str, word: str) -> ResolverOption:
    """Return a resolver with the name that a word of a route gives it. Raises Failure."""
    if one.name not in ("", name):
        raise Failure(f"--route: {word} is called {one.name} already; one name is enough", USAGE)
    return replace(one, name=name)


def find_route_servers(
    asking: AskingOptions, chosen: Sequence[ResolverOption], tables: Sequence[str]
) -> RouteServers:
    """Return what routes and tiers come to. `chosen`: the resolvers that are asked; `tables`: the
    names of table servers. Raises Failure."""
    names = names_of(chosen)
    by_place = {place(one): name for one, name in zip(chosen, names, strict=True)}
    everywhere = {place(one) for one in asking.resolvers}
    found = RouteServers(
        routed=tuple(name for at, name in by_place.items() if at not in everywhere)
    )
    spare_bits: dict[bytes, int] = {}  # of the most specific route of each name
    for route in asking.routes:
        servers = None
        if route.resolvers is not None:
            servers = tuple(
                name for word in route.resolvers for name in _servers_of(word, names, by_place)
            )
            if route.resolvers and not servers:
                raise Failure(f"--route: {', '.join(route.resolvers)} cannot be asked", USAGE)
        for word in route.names:
            for each in word.names:
                if word.spare_bits <= spare_bits.setdefault(each, word.spare_bits):
                    found.routes[each], spare_bits[each] = servers, word.spare_bits
    for number, servers in asking.tiers:
        for name in servers:
            _check_tier(name, [*tables, *names], found.routed)
            found.tiers[name] = number
    if found.tiers and not {*tables, *names} - found.tiers.keys() - set(found.routed):
        raise Failure("--tier: no server is left in tier 1; leave the first tier out", USAGE)
    return found


def names_of(chosen: Sequence[ResolverOption]) -> list[str]:
    """Return the name of each of the resolvers that are asked."""
    return [one.name or resolver_name(number) for number, one in enumerate(chosen, 1)]


def _is_name(word: str) -> bool:
    """Return whether a word of a route can only be the name of a resolver."""
    return not _OF_A_PLACE.search(word)


def _servers_of(word: str, names: Sequence[str], by_place: dict[tuple[str, int], str]) -> list[str]:
    """Return the names of the resolvers that a word of a route means. Raises Failure."""
    if not _is_name(word):
        return [by_place[place(one)] for one in resolver_words(word) if place(one) in by_place]
    if word not in names:
        there_are = f"there are {_list(names)}" if names else "there is none"
        raise Failure(
            f"--route: no resolver is called {word!r}; {there_are}; a host is written with its "
            f"port, {word}:{DNS_PORT}",
            USAGE,
        )
    return [word]


def _check_tier(name: str, servers: Sequence[str], routed: Sequence[str]) -> None:
    if name not in servers:
        raise Failure(f"--tier: no server is called {name!r}; there are {_list(servers)}", USAGE)
    if name in routed:
        raise Failure(
            f"--tier: {name} is asked for names of routes alone, and so is in no tier", USAGE
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
