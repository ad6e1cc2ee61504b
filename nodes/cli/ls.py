"""The command line of the load balancer: what its options mean on this machine, and running it.

Names and addresses are looked up before LS serves, since that blocks, and since a mistake on the
command line is best reported at once.

Not here: the options (`ls_arguments.py`), serving as several processes (`workers.py`), and what LS
does (`nodes/ls/load_balancer.py`).
"""

from dataclasses import dataclass

from core.addresses import Address
from core.environment import Environment
from core.io.loop import Loop
from core.io.system import System
from nodes.cli.arguments import USAGE, Failure, resolve
from nodes.cli.host_names import find_hosts
from nodes.cli.ls_arguments import LsOptions, read_ls_options
from nodes.cli.race_log import race_log
from nodes.cli.server_addresses import refuse_loops
from nodes.cli.serving import ListenAddresses, dns_address, limit_descriptors, own_address, serve
from nodes.cli.status_page import status_page_address
from nodes.cli.workers import serve_with_workers
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import Setup, descriptors_for
from nodes.workers.worker import StatsFilter


def run_ls(words: list[str]) -> int:
    """Be the load balancer until it stops; return the exit code. Raises Failure."""
    options = read_ls_options(words)
    system = System()
    plan = _plan(options, system)
    if options.workers:
        return serve_with_workers(
            options.workers,
            options.server,
            system,
            plan.listen,
            plan.load_balancer,
            links=plan.links,
            race_log_path=options.race_log,
        )
    with race_log(options.race_log) as records:
        return serve(
            "ls",
            options.server,
            system,
            plan.listen,
            plan.load_balancer,
            links=plan.links,
            records=records,
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that LS is built from. `links`: descriptors that it needs besides those of clients."""

    options: LsOptions
    system: System
    listen: ListenAddresses
    table_servers: list[tuple[Address, ...]]  # parallel to those of the options
    resolvers: list[Address]  # likewise
    links: int

    def load_balancer(self, loop: Loop, stats: StatsFilter = list) -> LoadBalancer:
        """Build LS. `stats` turns its own metrics into those that answer STATS."""
        options = self.options
        env = Environment(
            options.server.bounds, loop.hits, loop.watch, self.system.random, self.system.secret
        )
        dns = None
        if self.listen.dns is not None:
            dns = DnsFrontEnd(env, options.dns_ttl_s, forwards=bool(self.resolvers))
        setup = Setup(
            self.table_servers,
            options.table_servers,
            self.resolvers,
            options.extra_load,
            options.grace_s,
            options.sample,
            options.server.once,
        )
        return LoadBalancer(setup, env, owed=loop.owed, dns=dns, loop=loop.metrics, stats=stats)


def _plan(options: LsOptions, system: System) -> _Plan:
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
    return _Plan(options, system, listen, table_servers, resolvers, links)


def _listen_addresses(options: LsOptions, system: System) -> ListenAddresses:
    """Return where LS is to listen. Raises Failure."""
    server = options.server
    status_page = status_page_address(system, server)
    dns = None
    if options.dns_port is not None:
        dns = dns_address(system, server.host, options.dns_port)
    return ListenAddresses(own_address(system, server), dns, status_page)
