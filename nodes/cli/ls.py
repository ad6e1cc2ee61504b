"""The command line of the load balancer: what its options mean on this machine, and running it.

Names and addresses are looked up before LS serves, since that blocks, and since a mistake on the
command line is best reported at once.

Not here: the options (`ls_arguments.py`), serving as several processes (`workers.py`), and what LS
does (`nodes/ls/load_balancer.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core.bounds import Bounds
from core.io.loop import Loop
from core.io.system import System
from core.tls import TlsKeys
from nodes.cli.arguments import USAGE, Failure
from nodes.cli.given_words import failures_name
from nodes.cli.host_names import find_servers
from nodes.cli.introduction import Introduction
from nodes.cli.ls_arguments import LsOptions, read_ls_options
from nodes.cli.race_log import race_log
from nodes.cli.route_servers import all_resolvers, find_route_servers, names_of
from nodes.cli.server_addresses import (
    choose_resolvers,
    refuse_loops,
    refuse_own_lookups,
    warn_of_clear,
    warn_of_twins,
)
from nodes.cli.server_arguments import ServerOptions
from nodes.cli.serving import (
    Listening,
    ServerPlan,
    check_open,
    find_listening,
    limit_descriptors,
    make_log,
    serve,
)
from nodes.cli.tls_files import check_use, checked_certificate, identified, read_tls_files
from nodes.cli.workers import serve_with_workers
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.race_policy import RacePolicy
from nodes.ls.server_names import table_name
from nodes.ls.setup import ServerSetup, Setup, descriptors_for
from nodes.ls.tiers.tier_policy import TierPolicy
from nodes.workers.configuration import RefusedError
from nodes.workers.worker import StatsFilter


def run_ls(words: list[str]) -> int:
    """Be the load balancer until it stops; return the exit code. Raises Failure."""
    options = read_ls_options(words)
    system = System()
    if options.check:
        return _check(options, system)
    with failures_name(options.config):
        builder = _find(options, system)
    plan = builder.plan()
    if options.workers:
        configured = _ConfiguredLs(words, builder, system)
        return serve_with_workers(options.workers, plan, system, configured)
    with race_log(options.race_log) as records:
        return serve(plan, system, builder.load_balancer, records=records)


@dataclass(frozen=True, slots=True)
class _Builder:
    """All that LS is built from: its options, and what they name on this machine."""

    options: LsOptions
    listening: Listening
    setup: Setup
    links: int

    def plan(self) -> ServerPlan:
        """Return what LS is started from."""
        options, bounds = self.options, self.options.server.bounds
        setup = self.setup
        policy = RacePolicy.name if options.extra_load is None else HedgePolicy.name
        if setup.tiers:
            policy = TierPolicy.name
        servers = setup.where()
        shown = [f"{name} {address}{self._place(name)}" for name, address in servers.items()]
        routes = [route.text for route in options.asking.routes]
        if routes:
            shown.append(f"{len(routes)} route{'s' * (len(routes) > 1)}")
        serves = ", ".join([policy, *shown])
        times = f"timeout {bounds.timeout_s} s"
        about = {"policy": policy, "servers": servers, "timeout_s": bounds.timeout_s}
        if routes:
            about["routes"] = routes
        if self.listening.all_dns:
            times += f", DNS timeout {bounds.dns_timeout_s} s"
            about["dns_timeout_s"] = bounds.dns_timeout_s
        if setup.own_words.cache_bytes:
            times += f", a cache of {setup.own_words.cache_bytes / 2**20:g} MiB"
            about["cache_bytes"] = setup.own_words.cache_bytes
        if options.workers:
            serves = f"{options.workers} worker{'s' * (options.workers > 1)}, {serves}"
            about["workers"] = options.workers
        introduction = Introduction(serves, times, about)
        keys = options.tls.keys
        return ServerPlan("ls", options.server, self.listening, introduction, self.links, keys)

    def _place(self, name: str) -> str:
        """Return in which tier a server is, or that it is asked for routes alone, for people."""
        if name in self.setup.routed:
            return " for its routes"
        tier = self.setup.tiers.get(name, 1)
        return f" in tier {tier}" if self.setup.tiers else ""

    def load_balancer(self, loop: Loop, stats: StatsFilter = list) -> LoadBalancer:
        """Build LS. `stats` turns its own metrics into those that answer STATS."""
        env, setup = loop.environment, self.setup
        dns = None
        if self.listening.all_dns:
            dns = DnsFrontEnd(env, self.options.dns_ttl_s, forwards=bool(setup.resolvers))
        return LoadBalancer(setup, env, owed=loop.owed, dns=dns, loop=loop.metrics, stats=stats)


def _check(options: LsOptions, system: System) -> int:
    """Check what can be checked without listening; return the exit code. Raises Failure."""
    from nodes.cli.check import check_here, checked

    def look() -> str:
        with failures_name(options.config):
            builder = _find(options, system)
            _check_new(None, builder)
            for address in builder.listening.all():
                check_here(system, address)
            found = [builder.plan().introduction.serves]
            if (keys := options.tls.keys) is not None:
                found.append(checked_certificate(keys, system.tls.certificate(keys), system.wall()))
        return ", ".join(found)

    return checked(look)


class _ConfiguredLs:
    """The configuration of workers: the command line, and the files that it names."""

    def __init__(self, words: Sequence[str], builder: _Builder, system: System) -> None:
        self._words = words
        self._builder = builder
        self._system = system

    @property
    def options(self) -> ServerOptions:
        return self._builder.options.server

    @property
    def bounds(self) -> Bounds:
        return self.options.bounds

    @property
    def race_log(self) -> str | None:
        return self._builder.options.race_log

    @property
    def keys(self) -> TlsKeys | None:
        return self._builder.options.tls.keys

    @property
    def links(self) -> int:
        return self._builder.links

    def build(self, loop: Loop, stats: StatsFilter) -> LoadBalancer:
        """Build the brain of a worker."""
        return self._builder.load_balancer(loop, stats)

    def reread(self) -> bool:
        """Read the command line and its files anew; see `Configuration`. New hosts are looked up
        here: the parent serves nobody, so nobody waits. Files of TLS are read in any case, since a
        worker that is forked later has them from here; those that there are read them anew."""
        before = self._builder
        try:
            options = read_ls_options(self._words)
            if options == before.options:
                read_tls_files(self._system.tls, options.tls, before.setup.resolvers)
                return False
            _check_fixed(before.options, options)
            with failures_name(options.config):
                after = _find(options, self._system, before)
                _check_new(before, after)
            self._builder = after
        except Failure as failure:
            raise RefusedError(str(failure)) from None
        return True


def _check_new(before: _Builder | None, after: _Builder) -> None:
    """Check what LS could only fail at, or serve nobody with, where it is not as before. Raises
    Failure."""
    from nodes.cli.check import check_can_append, check_known

    old = {server.host for server in before.setup.all()} if before else set()
    new = [server for server in after.setup.all() if server.host not in old]
    check_known(new, after.setup.routed, after.options.server.bounds.start_s)
    path = after.options.race_log
    if path and (before is None or path != before.options.race_log):
        check_can_append(path)


def _check_fixed(before: LsOptions, after: LsOptions) -> None:
    """Raise Failure where something has changed that cannot while LS runs."""
    listen, then = after.server.listen, before.server.listen
    for what, old, new in (
        ("PORT or --host", then.lines, listen.lines),
        ("--dns", then.dns, listen.dns),
        ("--dns-tls", then.dns_tls, listen.dns_tls),
        ("--metrics, --metrics-host or --metrics-name", then.status_page, listen.status_page),
        ("--workers", before.workers, after.workers),
        ("--once", before.server.once, after.server.once),
        ("--log-format", before.server.log_format, after.server.log_format),
    ):
        if old != new:
            raise Failure(f"{what} cannot change while LS runs: restart it for that")


def _find(options: LsOptions, system: System, before: _Builder | None = None) -> _Builder:
    """Look up what the options name, and check it. Blocks. `before`: what LS was built from until
    now; hosts that it knew are not looked up. Raises Failure."""
    bounds = options.server.bounds
    listening = _find_listening(options, system, before)
    known = [] if before is None else before.setup.all()
    log = make_log("LS", options.server, system)
    chosen = choose_resolvers(system, all_resolvers(options.asking), listening.all_dns, log)
    read_tls_files(system.tls, options.tls, chosen)
    count = len(options.table_servers)
    links = descriptors_for(bounds, count, len(chosen))
    if before is None:
        # Host lookups need descriptors, too, and such as select can hold.
        limit_descriptors(bounds, system, links)
    named = [(table_name(n), host) for n, host in enumerate(options.table_servers, 1)]
    names = names_of(chosen)
    named += [(name, (one.host, one.port)) for name, one in zip(names, chosen, strict=True)]
    who = find_route_servers(options.asking, chosen, [name for name, _ in named[:count]])
    _check_names(options.private_from, names)
    servers = find_servers(system, named, known, bounds.lookups_max, bounds.start_s)
    if before is None:
        refuse_own_lookups(system, servers, listening.all_dns)
    tables = servers[:count]
    resolvers = identified(servers[count:], chosen, options.tls.authorities)
    _refuse_loops(system, listening, tables, resolvers)
    for kind in (tables, resolvers):
        warn_of_twins(kind, log)
    setup = Setup(
        tables,
        resolvers,
        options.extra_load,
        options.grace_s,
        options.sample,
        options.own_words,
        options.server.once,
        options.trusts_data,
        frozenset(options.private_from),
        who.routes,
        who.routed,
        who.tiers,
    )
    warn_of_clear(setup, log)
    return _Builder(options, listening, setup, links)


def _find_listening(options: LsOptions, system: System, before: _Builder | None) -> Listening:
    """Return where LS is to listen, or listens already, see `_find`. Raises Failure."""
    if before is None:
        listening = find_listening(system, options.server, ("lines", "dns", "dns-tls", "metrics"))
    else:
        listening = before.listening
        check_open(options.server, listening)
    if listening.all_dns and options.server.once:
        raise Failure("--once serves one session of lines; leave out the socket for DNS", USAGE)
    if not listening.all_dns and options.only_dns:
        raise Failure(f"{options.only_dns[0]} is for DNS clients; there is no --dns PORT", USAGE)
    check_use(options.tls, is_served=bool(listening.dns_tls))
    return listening


def _refuse_loops(
    system: System,
    listening: Listening,
    tables: Sequence[ServerSetup],
    resolvers: Sequence[ServerSetup],
) -> None:
    """Raise Failure where one of these servers is LS itself."""
    own = [
        ("", listening.lines),
        ("--metrics", listening.status_page),
        ("--dns", listening.dns),
        ("--dns-tls", listening.dns_tls),
    ]
    for servers, given_as, those in (
        (tables, "a table server", own),
        (resolvers, "a --dns-upstream", own[2:]),
    ):
        at = [address for server in servers for address in server.addresses]
        for option, addresses in those:
            refuse_loops(system, addresses, option, at, given_as)


def _check_names(given: Sequence[str], resolvers: Sequence[str]) -> None:
    """Raise Failure where a name is that of no resolver."""
    for name in given:
        if name not in resolvers:
            known = ", ".join(resolvers)
            raise Failure(
                f"--private-from: no resolver is called {name!r}; there are {known}", USAGE
            )
