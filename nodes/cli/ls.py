"""The command line of the load balancer: what its options mean on this machine, and running it.

Names and addresses are looked up before LS serves, since that blocks, and since a mistake on the
command line is best reported at once.

Not here: the options (`ls_arguments.py`), serving as several processes (`workers.py`), and what LS
does (`nodes/ls/load_balancer.py`).
"""

from dataclasses import dataclass

from core.io.loop import Loop
from core.io.system import System
from nodes.cli.arguments import USAGE, Failure, resolve
from nodes.cli.host_names import find_hosts
from nodes.cli.introduction import Introduction
from nodes.cli.ls_arguments import LsOptions, read_ls_options
from nodes.cli.race_log import race_log
from nodes.cli.server_addresses import refuse_loops
from nodes.cli.serving import (
    ListenAddresses,
    ServerPlan,
    dns_address,
    limit_descriptors,
    own_address,
    serve,
)
from nodes.cli.status_page import status_page_address
from nodes.cli.workers import serve_with_workers
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.race_policy import RacePolicy
from nodes.ls.setup import Setup, descriptors_for
from nodes.workers.worker import StatsFilter


def run_ls(words: list[str]) -> int:
    """Be the load balancer until it stops; return the exit code. Raises Failure."""
    options = read_ls_options(words)
    system = System()
    if options.check:
        return _check(options, system)
    builder = _find(options, system)
    plan = builder.plan()
    if options.workers:
        return serve_with_workers(
            options.workers, plan, system, builder.load_balancer, options.race_log
        )
    with race_log(options.race_log) as records:
        return serve(plan, system, builder.load_balancer, records=records)


@dataclass(frozen=True, slots=True)
class _Builder:
    """All that LS is built from: its options, and what they name on this machine."""

    options: LsOptions
    listen: ListenAddresses
    setup: Setup
    links: int

    def plan(self) -> ServerPlan:
        """Return what LS is started from."""
        options, bounds = self.options, self.options.server.bounds
        policy = RacePolicy.name if options.extra_load is None else HedgePolicy.name
        servers = self.setup.where()
        serves = ", ".join([policy, *(f"{name} {address}" for name, address in servers.items())])
        times = f"timeout {bounds.timeout_s} s"
        about = {"policy": policy, "servers": servers, "timeout_s": bounds.timeout_s}
        if self.listen.dns is not None:
            times += f", DNS timeout {bounds.dns_timeout_s} s"
            about["dns_timeout_s"] = bounds.dns_timeout_s
        if options.workers:
            serves = f"{options.workers} workers, {serves}"
            about["workers"] = options.workers
        introduction = Introduction(serves, times, about)
        return ServerPlan("ls", options.server, self.listen, introduction, self.links)

    def load_balancer(self, loop: Loop, stats: StatsFilter = list) -> LoadBalancer:
        """Build LS. `stats` turns its own metrics into those that answer STATS."""
        env, setup = loop.environment, self.setup
        dns = None
        if self.listen.dns is not None:
            dns = DnsFrontEnd(env, self.options.dns_ttl_s, forwards=bool(setup.resolvers))
        return LoadBalancer(setup, env, owed=loop.owed, dns=dns, loop=loop.metrics, stats=stats)


def _check(options: LsOptions, system: System) -> int:
    """Check what can be checked without listening; return the exit code. Raises Failure."""
    from nodes.cli.check import check_can_append, check_here, check_known, checked

    def look() -> str:
        builder = _find(options, system)
        setup, start_s = builder.setup, options.server.bounds.start_s
        check_known(options.table_servers, setup.servers, start_s)
        for address in builder.listen.all():
            check_here(system, address)
        if options.race_log:
            check_can_append(options.race_log)
        return builder.plan().introduction.serves

    return checked(look)


def _find(options: LsOptions, system: System) -> _Builder:
    """Look up what the options name, and check it. Blocks. Raises Failure."""
    bounds = options.server.bounds
    resolvers = [resolve(system, *resolver)[0] for resolver in options.resolvers]
    if len(set(resolvers)) < len(resolvers):
        raise Failure("the same --dns-upstream is given twice; one is enough", USAGE)
    links = descriptors_for(bounds, len(options.table_servers), len(resolvers))
    # Host lookups need descriptors, too, and such as select can hold.
    limit_descriptors(bounds, system, links)
    table_servers = find_hosts(system, options.table_servers, bounds.lookups_max, bounds.start_s)
    listen = _listen_addresses(options, system)
    at = [address for addresses in table_servers for address in addresses]
    refuse_loops(system, listen.lines, "", at, "a table server")
    refuse_loops(system, listen.status_page, "--metrics", at, "a table server")
    refuse_loops(system, listen.dns, "--dns", at, "a table server")
    refuse_loops(system, listen.dns, "--dns", resolvers, "a --dns-upstream")
    setup = Setup(
        table_servers,
        options.table_servers,
        resolvers,
        options.extra_load,
        options.grace_s,
        options.sample,
        options.server.once,
    )
    return _Builder(options, listen, setup, links)


def _listen_addresses(options: LsOptions, system: System) -> ListenAddresses:
    """Return where LS is to listen. Raises Failure."""
    server = options.server
    status_page = status_page_address(system, server)
    dns = None
    if options.dns_port is not None:
        if options.check:  # nothing is bound, so port 0 stays as it is
            dns = resolve(system, server.host, options.dns_port)[0]
        else:
            dns = dns_address(system, server.host, options.dns_port)
    return ListenAddresses(own_address(system, server), dns, status_page)
