"""The options of the load balancer: read from words, and checked against each other.

Not here: anything that asks the operating system, such as whether an address can be listened on
(`ls.py`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.bounds import TICK_S, Bounds
from nodes.cli.arguments import (
    DEFAULTS,
    EXTRA_LOAD,
    SHARE,
    TIME,
    TIMES,
    Parser,
    in_seconds,
    in_whole_seconds,
    number,
    program_parser,
    share,
    whole,
)
from nodes.cli.bound_arguments import add_bound, add_timeout, read_bounds
from nodes.cli.cache_arguments import STALE_S, add_cache_arguments, read_cache_options
from nodes.cli.given_words import (
    add_configuration_arguments,
    parse_given,
    print_configuration,
)
from nodes.cli.listen_arguments import DEFAULTS_TO_LISTEN, own_host_and_port
from nodes.cli.route_arguments import AskingOptions, add_route_arguments, read_asking_options
from nodes.cli.server_arguments import (
    ServerOptions,
    add_server_arguments,
    add_status_page_arguments,
    read_server_options,
)
from nodes.cli.server_words import resolver_words, split_positionals
from nodes.cli.tls_arguments import (
    TlsOptions,
    add_authorities_argument,
    add_dns_tls_arguments,
    read_tls_options,
)
from nodes.ls.setup import OwnWordsSetup

_SAMPLE = 0.01  # share of races where a page shows what they buy: costs little
_TTL_S = 60  # short enough to undo a mistake, long enough to be cached
_TTL_MAX_S = 2**31 - 1  # TTL (RFC 2181, section 8)
_GRACE_MAX_S = 60  # grace: nobody waits longer for a name
_WORKERS_MAX = 128  # workers: their parent has sockets for each, within what select() can hold
_DNS_TIMEOUT = "--dns-timeout"

_ttl = number(in_whole_seconds, 0, _TTL_MAX_S, "a time of whole seconds, like 60, 60s, 1m or 1h")
_workers = number(whole, 1, _WORKERS_MAX, f"a number from 1 to {_WORKERS_MAX}")
_grace = number(in_seconds, 0, _GRACE_MAX_S, f"a time up to {_GRACE_MAX_S} s, like {TIMES}")


def _names(text: str) -> tuple[str, ...]:
    """Return the names in a text that has commas between them."""
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True, slots=True)
class LsOptions:
    """The options of the load balancer. Servers and addresses are hosts and ports."""

    server: ServerOptions
    table_servers: tuple[tuple[str, int], ...]
    asking: AskingOptions
    grace_s: float | None  # None: as long as the resolvers usually take
    extra_load: float | None  # the share of extra questions that hedging may ask; None: race
    trusts_data: bool  # more than a validator's word
    private_from: tuple[str, ...]  # names of resolvers whose private addresses do not count
    sample: float  # the share of races that are followed to the end
    race_log: str | None
    own_words: OwnWordsSetup
    tls: TlsOptions
    dns_ttl_s: int
    workers: int | None  # None: this process alone
    config: str | None
    check: bool
    # Options given that mean nothing unless DNS is served.
    only_dns: tuple[str, ...] = field(compare=False)


def ls_parser() -> Parser:
    """Return the parser of the words of `ls`."""
    parser = program_parser(
        "ls",
        "The load balancer: asks every table server and resolver, and relays the first answer; if\n"
        "none comes in time, it says `name - TIMED OUT`. It starts without table servers that are\n"
        "down, and dials them until they are up.",
    )
    parser.add_argument(
        "port",
        nargs="?",
        metavar="PORT",
        help="port to listen on for lines; 0 takes a free one. Not needed with --dns or --dns-tls",
    )
    add_server_arguments(parser)
    _add_upstreams(parser)
    _add_policy(parser)
    _add_monitoring(parser)
    _add_dns(parser)
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="serve with N processes that share the port, for more processors and clients; a "
        "process that dies is started again (default: this process alone)",
    )
    add_configuration_arguments(parser)
    return parser


def read_ls_options(words: Sequence[str]) -> LsOptions:
    """Read the options from a command line. Raises Failure."""
    parser = ls_parser()
    arguments = parse_given(parser, words)
    try:
        port, servers = split_positionals(list(filter(None, [arguments.port, *arguments.servers])))
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if arguments.race_sample is None:
        arguments.race_sample = 0.0 if arguments.metrics is None else _SAMPLE
    asking = read_asking_options(arguments, parser)
    arguments.have_resolvers = asking.have_resolvers
    _check(arguments, servers, parser)
    extra_load = None
    if arguments.policy == "hedge":
        extra_load = arguments.max_extra_load
        extra_load = EXTRA_LOAD if extra_load is None else extra_load
    reads_files = arguments.config or asking.names_files
    if arguments.workers is None and reads_files and not arguments.once:
        arguments.workers = 1  # a parent that can replace it when a file has changed
    options = LsOptions(
        read_server_options(arguments, port, _read_ls_bounds(arguments, parser), parser),
        servers,
        asking,
        arguments.grace,
        extra_load,
        arguments.trust_data,
        tuple(name for names in arguments.private_from for name in names),
        arguments.race_sample,
        arguments.race_log,
        read_cache_options(arguments, parser),
        read_tls_options(arguments, parser, asks_by_tls=asking.asks_by_tls),
        _TTL_S if arguments.dns_ttl is None else arguments.dns_ttl,
        arguments.workers,
        arguments.config,
        arguments.check,
        _only_dns(arguments),
    )
    if arguments.print_config:
        print_configuration(parser, arguments, _defaults(options))
    return options


def _defaults(options: LsOptions) -> dict[str, object]:
    """Return the defaults that hold, of flags of which the parser does not know them."""
    bounds = options.server.bounds
    return {
        **DEFAULTS_TO_LISTEN,
        "timeout": bounds.timeout_s,
        "dns-timeout": bounds.dns_timeout_s if options.server.listen.serves_dns else None,
        "dns-ttl": options.dns_ttl_s if options.server.listen.serves_dns else None,
        "race-sample": options.sample,
        "max-extra-load": options.extra_load,
        "workers": options.workers,
        "cache": 0,
        "stale": STALE_S if options.own_words.cache_bytes else None,
    }


# -- the parser ------------------------------------------------------------------------------------


def _add_upstreams(parser: Parser) -> None:
    parser.add_argument(
        "servers",
        nargs="*",
        default=[],
        metavar="TS_HOST:TS_PORT",
        help="table servers, each as one word or as two (TS_HOST TS_PORT); at least one, or a "
        "--dns-upstream",
    )
    parser.add_argument(
        "--dns-upstream",
        "--upstream",
        dest="upstreams",
        action="append",
        default=[],
        type=resolver_words,
        metavar="[NAME=]HOST[:PORT]|FILE",
        help="also ask this resolver, with DNS (may be repeated; port 53 by default); NAME is what "
        "logs and metrics call it, instead of DNS1; a FILE with a / in its path has nameserver "
        "lines, as /etc/resolv.conf; tls://ADDR[:PORT][#HOSTNAME] is asked by TLS alone (port 853 "
        "by default), and needs a certificate for HOSTNAME, or for ADDR. Line clients get its "
        "addresses; with --dns, DNS clients get its replies of any type, unchanged",
    )
    add_authorities_argument(parser)
    parser.add_argument(
        "--grace",
        type=_grace,
        metavar=TIME,
        help="longest time to hold a worse answer in case another resolver has a better one "
        f"(default: {DEFAULTS.grace_failed_s:g} with REFUSED and SERVFAIL; with NXDOMAIN and no "
        f"data 3 times as long as that resolver's replies lately took, {DEFAULTS.grace_min_s:g} to "
        f"{DEFAULTS.grace_max_s:g}, or {DEFAULTS.grace_failed_s:g} where resolvers have differed)",
    )
    add_route_arguments(parser)
    add_cache_arguments(parser)
    add_timeout(parser)
    _add_ranks(parser)


def _add_ranks(parser: Parser) -> None:
    parser.add_argument(
        "--trust-data",
        action="store_true",
        help="let another's data win where a resolver that validates says that a name is bogus "
        "(DNSSEC); without it that ends the question",
    )
    parser.add_argument(
        "--private-from",
        action="append",
        default=[],
        type=_names,
        metavar="NAME[,NAME...]",
        help="count replies of these resolvers that have private addresses as REFUSED (may be "
        "repeated): pages of strangers then cannot lead into your network",
    )


def _add_policy(parser: Parser) -> None:
    parser.add_argument(
        "--policy",
        choices=("race", "hedge"),
        default="race",
        help="race: ask every table server at once (the default; right for different tables). "
        "hedge: ask the fastest, and the next one only when that takes long (right for equal "
        "tables that are served with --answer-unknown)",
    )
    parser.add_argument(
        "--max-extra-load",
        type=share,
        metavar=SHARE,
        help="with --policy hedge: extra questions that it may ask for speed, as a share of all "
        f"(default {EXTRA_LOAD:g})",
    )


def _add_monitoring(parser: Parser) -> None:
    parser.add_argument(
        "--race-sample",
        type=share,
        metavar=SHARE,
        help="share of races to follow to the end, losers included: measures each server "
        f"and shows whether they agree (default {_SAMPLE:g} with --metrics, else 0)",
    )
    parser.add_argument(
        "--race-log", metavar="FILE", help="append each sampled race to FILE, as one line of JSON"
    )
    add_status_page_arguments(parser)


def _add_dns(parser: Parser) -> None:
    parser.add_argument(
        "--dns",
        action="append",
        default=[],
        type=own_host_and_port,
        metavar="[ADDR:]PORT",
        help="serve DNS over UDP and TCP on this port, at ADDR or at each --host (may be repeated)",
    )
    add_bound(
        parser,
        _DNS_TIMEOUT,
        "dns_timeout_s",
        "time that a DNS query may wait for its answer before SERVFAIL (default "
        f"{DEFAULTS.dns_timeout_s:g}; {DEFAULTS.dns_timeout_upstream_s:g} with a --dns-upstream)",
    )
    parser.add_argument(
        "--dns-ttl",
        type=_ttl,
        metavar=TIME,
        help=f"time that DNS clients may cache an answer from a table (default {_TTL_S})",
    )
    add_dns_tls_arguments(parser)


# -- checks ----------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace, servers: Sequence[object], parser: Parser) -> None:
    """Check the options against each other. Raises Failure."""
    if arguments.workers and arguments.once:
        parser.error("--once serves one session in one process; leave out --workers")
    for flag, ports in ("--dns", arguments.dns), ("--dns-tls", arguments.dns_tls):
        if ports and arguments.once:
            parser.error(f"--once serves one session of lines; leave out {flag}")
    if arguments.max_extra_load is not None and arguments.policy != "hedge":
        parser.error("--max-extra-load is for --policy hedge; race asks every server in any case")
    if arguments.policy == "hedge" and not servers and arguments.upstreams:
        parser.error("--policy hedge is for table servers; every --dns-upstream is always asked")
    if not servers and not arguments.upstreams:
        what = " for names without a route" if arguments.route else ""
        server = "name a table server (TS_HOST TS_PORT) or a --dns-upstream"
        parser.error(f"no server to ask{what}: {server}")
    if arguments.grace is not None and not arguments.have_resolvers:
        parser.error("--grace is for the answers of resolvers; there is no --dns-upstream")
    if arguments.trust_data and not arguments.have_resolvers:
        parser.error("--trust-data is for the words of resolvers; there is no --dns-upstream")
    if arguments.private_from and not arguments.have_resolvers:
        parser.error("--private-from is for resolvers; there is no --dns-upstream")
    if arguments.race_log and not arguments.race_sample:
        parser.error("--race-log has nothing to write without --race-sample, for example 0.01")


def _only_dns(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the options given that are for DNS clients alone."""
    ttl = () if arguments.dns_ttl is None else ("--dns-ttl",)
    return (*ttl, *({_DNS_TIMEOUT} & arguments.bound_options))


def _read_ls_bounds(arguments: argparse.Namespace, parser: Parser) -> Bounds:
    """Return the bounds that the options ask for. Raises Failure.

    The timeout of DNS depends on who is asked, unless the options set it. Each worker has its share
    of what may be in flight to a resolver, of the grace of a drain, and of what lookups cost.
    """
    bounds = read_bounds(arguments, parser)
    if bounds.idle_s <= bounds.timeout_s:
        parser.error("--idle must be longer than --timeout: waiting for a reply is not idling")
    window = max(1, bounds.upstream_window // (arguments.workers or 1))
    bounds = replace(bounds, upstream_window=window)
    if arguments.workers:  # its parent waits for as long again
        bounds = replace(bounds, drain_grace_s=max(TICK_S, bounds.drain_grace_s / 2))
        bounds = replace(bounds, lookup_each_s=bounds.lookup_each_s * arguments.workers)
    if not arguments.have_resolvers or "dns_timeout_s" in dict(arguments.bounds):
        return bounds
    return replace(bounds, dns_timeout_s=bounds.dns_timeout_upstream_s)
