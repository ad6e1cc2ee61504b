"""The arguments about who is asked what: resolvers, whose names are whose, and who is asked first.

A route is written `NAME[,NAME...]=RESOLVER[,RESOLVER...]`, a tier `N=NAME[,NAME...]`. A network
stands for the names of its addresses (RFC 1035, section 3.5; RFC 3596, section 2.5), as many as it
takes where its length is within a byte.

Not here: which resolvers a route comes to on this machine (`route_servers.py`), and what LS makes
of it (`nodes/ls/routes.py`, `nodes/ls/tiers/`).
"""

import argparse
import ipaddress
from dataclasses import dataclass

from core.protocol.names import is_name
from nodes.cli.arguments import Parser
from nodes.cli.server_words import ResolverOption, check_names, is_url, names_file, resolver_words
from nodes.ls.server_names import LEGAL_NAME

_DEFAULT = "default"
_TIER_MAX = 9  # tiers: nobody waits for more
_LIKE = "write it like corp.example=10.0.0.1, lan= or pub.corp.example=default"
_TIER_LIKE = "write it like 2=DNS1,DNS2"


@dataclass(frozen=True, slots=True)
class RouteName:
    """A name or a network, as its `word` says: `names`, folded, that stand for it. `spare_bits`: by
    how many bits each of them is longer than the network; of two that have a name in common the one
    with fewer is the more specific."""

    word: str
    names: tuple[bytes, ...]
    spare_bits: int = 0


@dataclass(frozen=True, slots=True)
class RouteOption:
    """A route, as its `text` says: names, and the resolvers that they belong to, as they were
    written; None: those that other names belong to."""

    text: str
    names: tuple[RouteName, ...]
    resolvers: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class AskingOptions:
    """The options about who is asked. `tiers`: the number of each, and the names of its servers."""

    resolvers: tuple[ResolverOption, ...]
    routes: tuple[RouteOption, ...]
    tiers: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def have_resolvers(self) -> bool:
        """Whether a resolver is asked for anything."""
        return bool(self.resolvers) or any(route.resolvers for route in self.routes)

    @property
    def asks_by_tls(self) -> bool:
        """Whether a resolver is asked by TLS."""
        return any(one.identity for one in self.resolvers) or any(map(is_url, self._words))

    @property
    def names_files(self) -> bool:
        """Whether resolvers are named by a file."""
        return any(one.file for one in self.resolvers) or any(map(names_file, self._words))

    @property
    def _words(self) -> list[str]:
        return [word for route in self.routes for word in route.resolvers or ()]


def add_route_arguments(parser: Parser) -> None:
    """Add the arguments about routes and tiers to the parser of LS."""
    parser.add_argument(
        "--route",
        action="append",
        default=[],
        type=_route,
        metavar="NAME[,NAME...]=[RESOLVER,...]",
        help="ask these resolvers, and no others, for these names and all below them (may be "
        "repeated; the longest name wins). A NAME may be a network, 10.0.0.0/8: the names of its "
        "addresses; a RESOLVER is what --dns-upstream takes, or the name of one that is given "
        "there or in another route (a host without a dot is written with its port). Without "
        "a RESOLVER nobody is asked, and what no table has does not exist; with the word default "
        "it is as if there were no route",
    )
    add_tier(
        parser,
        "ask these servers, TS1 or DNS2 for example, only when those of the tiers before have "
        "failed, do not have the name, or have said nothing for 0.5 s (may be repeated; N is 2 or "
        "more, and all other servers are in tier 1). Put tables, with --answer-unknown, before "
        "resolvers: what a table has, or blocks, is then asked of nobody else",
    )


def add_tier(parser: Parser, about: str) -> None:
    """Add the argument that puts servers into a tier, with this help."""
    parser.add_argument(
        "--tier",
        action="append",
        default=[],
        type=tier_words,
        metavar="N=NAME[,NAME...]",
        help=about,
    )


def read_asking_options(arguments: argparse.Namespace, parser: Parser) -> AskingOptions:
    """Return what the arguments ask for. Raises Failure."""
    resolvers = tuple(resolver for upstream in arguments.upstreams for resolver in upstream)
    if trouble := check_names(resolvers):
        parser.error(trouble)
    options = AskingOptions(resolvers, tuple(arguments.route), tuple(sorted(arguments.tier)))
    if arguments.route and not options.have_resolvers:
        parser.error("--route is for resolvers; there is no --dns-upstream, and none in a route")
    known: dict[tuple[bytes, int], RouteName] = {}
    for name in [name for route in options.routes for name in route.names]:
        other = known.setdefault((name.names[0], name.spare_bits), name)
        if other is not name:
            same = "" if other.word == name.word else f", and {other.word} is the same"
            parser.error(f"--route: {name.word} has two routes{same}; give all resolvers in one")
    if arguments.tier:
        _check_tiers(arguments, options, parser)
    return options


def _check_tiers(arguments: argparse.Namespace, options: AskingOptions, parser: Parser) -> None:
    if arguments.policy == "hedge":
        parser.error("--tier and --policy hedge exclude each other: both say who is asked first")
    numbers = [number for number, _ in options.tiers]
    for number in range(2, max(numbers)):
        if number not in numbers:
            parser.error(f"--tier: there is a tier {max(numbers)} and no tier {number}")
    known: set[str] = set()
    for name in [name for _, names in options.tiers for name in names]:
        if name in known:
            parser.error(f"--tier: {name} is there twice; once is enough")
        known.add(name)


# -- words -----------------------------------------------------------------------------------------


def tier_words(text: str) -> tuple[int, tuple[str, ...]]:
    """Return the number of a tier and the names of its servers. Raises ArgumentTypeError."""
    number, equals, rest = text.partition("=")
    names = tuple(name.strip() for name in rest.split(","))
    if not equals or not (number.isascii() and number.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is no tier; {_TIER_LIKE}")
    if int(number) == 1:
        raise argparse.ArgumentTypeError(
            f"servers that are in no other tier are in tier 1; leave it out, or {_TIER_LIKE}"
        )
    if not 2 <= int(number) <= _TIER_MAX:
        raise argparse.ArgumentTypeError(f"tiers go from 2 to {_TIER_MAX}; {_TIER_LIKE}")
    for name in names:
        if not LEGAL_NAME.fullmatch(name):
            raise argparse.ArgumentTypeError(f"'{name}' is no name of a server; {_TIER_LIKE}")
    return int(number), names


def _route(text: str) -> RouteOption:
    """Read a route. Raises ArgumentTypeError."""
    left, equals, right = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is no route; {_LIKE}")
    names = tuple(_name(word.strip()) for word in left.split(","))
    if right.strip() == _DEFAULT:
        return RouteOption(text, names, None)
    words = [word.strip() for word in right.split(",")] if right.strip() else []
    for word in words:
        if word.lower() == _DEFAULT:
            raise argparse.ArgumentTypeError(
                f"'{word}' is for a route alone, and in small letters: {left}={_DEFAULT}"
            )
        resolver_words(word)  # or the name of one, which looks like a host
    return RouteOption(text, names, tuple(words))


def _name(word: str) -> RouteName:
    """Read a name or a network. Raises ArgumentTypeError."""
    if "/" in word:
        return _network(word)
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        pass
    else:
        raise argparse.ArgumentTypeError(
            f"{word} is an address; write its network, {word}/{address.max_prefixlen}"
        )
    if word.startswith(("*", ".")) and word.strip("*."):
        raise argparse.ArgumentTypeError(
            f"a route has all names below its own: write {word.lstrip('*.')} for '{word}'"
        )
    try:
        name = word.encode("idna").lower().removesuffix(b".")
    except UnicodeError:
        name = b""
    if not is_name(name):
        raise argparse.ArgumentTypeError(f"'{word}' is neither a name nor a network; {_LIKE}")
    return RouteName(word, (name,))


def _network(word: str) -> RouteName:
    """Read a network: its names are those below which its addresses are. Raises
    ArgumentTypeError."""
    try:
        network = ipaddress.ip_network(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.0.0.0/8") from None
    each, suffix = (8, "in-addr.arpa") if network.version == 4 else (4, "ip6.arpa")
    count = -(-network.prefixlen // each)  # labels that tell its addresses apart from others
    names = []
    for part in network.subnets(new_prefix=count * each):
        digits = part.network_address.reverse_pointer.removesuffix(f".{suffix}").split(".")
        names.append(".".join([*digits[len(digits) - count :], suffix]).encode())
    return RouteName(word, tuple(names), count * each - network.prefixlen)
