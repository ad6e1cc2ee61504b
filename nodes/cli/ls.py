"""The command line of the load balancer.

Not here: what it does (`nodes/ls/load_balancer.py`).
"""

import argparse
import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.bounds import TICK_S, Bounds
from core.brain import Brain
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import System, reason
from nodes.cli.arguments import (
    DEFAULTS,
    EXTRA_LOAD,
    Failure,
    Parser,
    bound_in_seconds,
    bounds_of,
    own_port,
    port_number,
    program_parser,
    resolve,
    share,
    timeout_argument,
)
from nodes.cli.host_names import find_hosts
from nodes.cli.server_addresses import refuse_loops, resolver_address
from nodes.cli.serving import (
    LOG_BYTES_MAX,
    check_open,
    descriptors_of,
    own_address,
    serve,
    server_arguments,
)
from nodes.cli.workers import serve_with_workers
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer, descriptors_for
from nodes.status_page.http import WebServer
from nodes.status_page.pages import pages
from nodes.status_page.with_status_page import WithStatusPage
from nodes.workers.worker import StatsFilter

_TTL_S = 60  # short enough to be sorry for, long enough to be worth remembering
_TTL_MAX_S = 2**31 - 1  # RFC 2181, section 8
_GRACE_MAX_S = 60  # nobody waits longer for a name
_WORKERS_MAX = 256  # more processes than a machine has processors only make batches smaller


def _ttl(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _TTL_MAX_S):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of seconds")
    return int(text)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _WORKERS_MAX):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {_WORKERS_MAX}")
    return int(text)


def _grace(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _GRACE_MAX_S:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a number of seconds up to {_GRACE_MAX_S}"
        )
    return value


def bounds_of_ls(arguments: argparse.Namespace, parser: Parser) -> Bounds:
    """The bounds that the flags ask for. The time of DNS depends on who is asked, if the flags do
    not say it; of what may be in flight to a resolver, and of the grace of a drain, each worker has
    its share, and so of what lookups cost."""
    bounds = bounds_of(arguments, parser)
    share = max(1, bounds.upstream_window // (arguments.workers or 1))
    bounds = replace(bounds, upstream_window=share)
    if arguments.workers:  # its parent waits for as long again
        bounds = replace(bounds, drain_grace_s=max(TICK_S, bounds.drain_grace_s / 2))
        bounds = replace(bounds, lookup_each_s=bounds.lookup_each_s * arguments.workers)
    if not arguments.upstreams or "dns_timeout_s" in dict(arguments.bounds):
        return bounds
    return replace(bounds, dns_timeout_s=bounds.dns_timeout_upstream_s)


def run_ls(words: list[str]) -> int:
    """Be the load balancer until it stops; return the exit code. Raises Failure."""
    parser = program_parser(
        "ls",
        "The load balancer: asks every table server and resolver and relays the first answer;\n"
        "when none came in time it says `name - TIMED OUT`. A table server that is not there yet,\n"
        "or goes away, is dialled until it comes.",
    )
    server_arguments(parser)
    parser.add_argument(
        "servers",
        nargs="*",
        metavar="TS_HOST TS_PORT",
        help="table servers, in pairs; at least one, or a --dns-upstream",
    )
    parser.add_argument(
        "--dns-upstream",
        dest="upstreams",
        action="append",
        default=[],
        type=resolver_address,
        metavar="ADDR[:PORT]",
        help="ask this resolver, too, with DNS (may be repeated; port 53 by default). Its names "
        "are answered to clients, and, with --dns, whatever it says of any type to resolvers",
    )
    parser.add_argument(
        "--grace",
        type=_grace,
        metavar="S",
        help="hold a worse answer for a better one of another resolver no longer than this "
        "(default: REFUSED and SERVFAIL 1.2; NXDOMAIN and no data 3 times what its replies lately "
        "took, 0.01 to 0.4, and 1.2 where resolvers have been seen to differ)",
    )
    timeout_argument(parser)
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
        metavar="SHARE",
        help="of --policy hedge: how many more questions it may ask for speed, as a share of all "
        f"(default {EXTRA_LOAD:g})",
    )
    parser.add_argument(
        "--race-sample",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="watch so many of the races to their end, losers included, for the figures of each "
        "table server and to see whether they agree; 0.01 costs little (default 0)",
    )
    parser.add_argument(
        "--race-log", metavar="FILE", help="append each sampled race to FILE, a line of JSON each"
    )
    parser.add_argument(
        "--metrics",
        type=own_port,
        metavar="PORT",
        help="serve /metrics (Prometheus), /healthz and a status page at / here",
    )
    parser.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="ADDR",
        help="where (default %(default)s); who may come is --allow's to say",
    )
    parser.add_argument(
        "--dns",
        type=own_port,
        metavar="PORT",
        help="be asked with DNS, too, over UDP and TCP, here at --host's address",
    )
    parser.add_argument(
        "--dns-timeout",
        dest="bounds",
        action="append",
        type=bound_in_seconds("dns_timeout_s"),
        metavar="S",
        help="after so long without an answer say SERVFAIL (default "
        f"{DEFAULTS.dns_timeout_s:g}; {DEFAULTS.dns_timeout_upstream_s:g} with a --dns-upstream)",
    )
    parser.add_argument(
        "--dns-ttl",
        type=_ttl,
        default=_TTL_S,
        metavar="S",
        help="how long resolvers may remember an answer of a table (default %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="serve with N processes that share the port, for more processors and clients; one "
        "that dies is started again (default: this process alone)",
    )
    arguments = parser.parse_intermixed_args(words)
    if arguments.workers and arguments.once:
        parser.error("--once is one session in one process; leave --workers out")
    if arguments.dns is not None and arguments.once:
        parser.error("--once is one session of lines; leave --dns out")
    if arguments.max_extra_load is not None and arguments.policy != "hedge":
        parser.error("--max-extra-load is for --policy hedge; race asks everyone in any case")
    extra_load = None
    if arguments.policy == "hedge":
        given = arguments.max_extra_load
        extra_load = EXTRA_LOAD if given is None else given
    hosts, ports = arguments.servers[::2], arguments.servers[1::2]
    if len(hosts) != len(ports):
        parser.error(f"a table server is a host and a port; {hosts[-1]!r} has no port")
    if not hosts and not arguments.upstreams:
        parser.error("nobody to ask: name a table server (TS_HOST TS_PORT) or a --dns-upstream")
    if arguments.grace is not None and not arguments.upstreams:
        parser.error("--grace is for the answers of resolvers; there is no --dns-upstream")
    try:
        numbers = [port_number(port) for port in ports]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    bounds = bounds_of_ls(arguments, parser)
    if bounds.idle_s <= bounds.timeout_s:
        parser.error("--idle has to be longer than --timeout: waiting for a reply is not idling")
    system = System()
    upstreams = [resolve(system, *upstream)[0] for upstream in arguments.upstreams]
    if len(set(upstreams)) < len(upstreams):
        parser.error("the same --dns-upstream is given twice; one is enough")
    named = list(zip(hosts, numbers, strict=True))
    links = descriptors_for(bounds, len(named), len(upstreams))
    descriptors_of(bounds, system, links)  # lookups need some, and of those that select can hold
    servers = find_hosts(system, named, bounds.lookups_max, bounds.start_s)

    watchers = None
    if arguments.metrics is not None:
        watchers = resolve(system, arguments.metrics_host, arguments.metrics)[0]
        check_open(arguments.metrics_host, watchers, arguments, "--metrics-host")
    if arguments.race_log and not arguments.race_sample:
        parser.error("--race-log has nothing to write without --race-sample, for example 0.01")

    resolvers = None
    if arguments.dns is not None:
        resolvers = resolve(system, arguments.host, arguments.dns)[0]
        if arguments.dns == arguments.port != 0:
            parser.error(f"--dns {arguments.dns} is another one's port; try 5053")
    address = own_address(system, arguments)
    servers_at = [one for addresses in servers for one in addresses]
    refuse_loops(system, address, "LS itself", servers_at, "a table server")
    refuse_loops(system, watchers, "LS's own --metrics", servers_at, "a table server")
    refuse_loops(system, resolvers, "LS's own --dns", servers_at, "a table server")
    refuse_loops(system, resolvers, "LS's own --dns", upstreams, "a --dns-upstream")

    def face(reactor: Loop) -> DnsFrontEnd:
        return DnsFrontEnd(bounds, arguments.dns_ttl, reactor.hits, forwards=bool(upstreams))

    def balancer(reactor: Loop, shown: StatsFilter = list) -> LoadBalancer:
        return LoadBalancer(
            servers,
            bounds,
            system.random,
            hosts=named,
            extra_load=extra_load,
            dns=None if resolvers is None else face(reactor),
            upstreams=upstreams,
            secret=system.secret,
            grace_s=arguments.grace,
            sample=arguments.race_sample,
            loop=reactor.metrics,
            shown=shown,
            once=arguments.once,
            hits=reactor.hits,
            owed=reactor.owed,
            watch=reactor.watch,
        )

    def build(reactor: Loop) -> Brain:
        alone = balancer(reactor)
        if watchers is None:
            return alone
        return WithStatusPage(alone, WebServer(pages(alone), bounds.watchers_max))

    with ExitStack() as stack:

        def open_records() -> Output | None:
            path = arguments.race_log
            if not path:
                return None
            try:
                fd = _open_records(path)
            except OSError as error:
                raise Failure(f"cannot write {path}: {reason(error)}") from None
            stack.callback(os.close, fd)
            return Output(fd, LOG_BYTES_MAX, path, partial(_reopen_records, path, fd))

        if arguments.workers:
            return serve_with_workers(
                address,
                arguments,
                bounds,
                system,
                balancer,
                watchers=watchers,
                resolvers=resolvers,
                links=links,
                open_records=open_records,
            )
        return serve(
            "ls",
            address,
            arguments,
            bounds,
            system,
            build,
            watchers=watchers,
            resolvers=resolvers,
            links=links,
            records=open_records(),
        )


def _open_records(path: str) -> int:
    """Open a file to append to. A pipe without a reader is one, too: it may get one. Raises
    OSError."""
    flags = os.O_RDWR if Path(path).is_fifo() else os.O_WRONLY
    return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _reopen_records(path: str, fd: int) -> bool:
    """Have the descriptor lead to what is at the path now; return whether that is another file.
    Raises OSError."""
    with suppress(FileNotFoundError):
        if os.path.samestat(Path(path).stat(), os.fstat(fd)):
            return False
    anew = _open_records(path)
    os.dup2(anew, fd, inheritable=False)
    os.close(anew)
    return True
