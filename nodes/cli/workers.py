"""Running LS as several processes: a parent that holds the port, and workers that it forks.

Everything that blocks or may fail for a person's mistake happens in the parent before it forks:
arguments, lookups, the claim to the port. A worker returns from here as a server that runs alone
would, with its own exit code.

Not here: what the parent does (`nodes/workers/supervisor.py`), and how it forks
(`core/io/child.py`).
"""

import argparse
import os
from collections.abc import Callable
from contextlib import closing

from core.addresses import Address
from core.bounds import Bounds
from core.environment import Environment
from core.io.child import Born
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import Socket, System, reason
from nodes.cli.arguments import STDOUT, Failure, address_text, say
from nodes.cli.serving import (
    LOG_BYTES_MAX,
    cannot_listen,
    listen,
    listen_for_dns,
    listen_for_watchers,
    reactor_of,
    ready_line,
)
from nodes.status_page.http import WebServer
from nodes.status_page.pages import pages
from nodes.status_page.with_status_page import WithStatusPage
from nodes.workers.supervisor import Supervisor
from nodes.workers.worker import PARENT, ObservableBrain, StatsFilter, Worker


def serve_with_workers(
    address: Address,
    arguments: argparse.Namespace,
    bounds: Bounds,
    system: System,
    build: Callable[[Loop, StatsFilter], ObservableBrain],
    *,
    watchers: Address | None,
    resolvers: Address | None,
    links: int,
    open_records: Callable[[], Output | None],
) -> int:
    """As `serve`, with so many workers as the arguments say. `build` makes the brain of each;
    `open_records` opens its file, in each; `links`: see `reactor_of`."""
    claims: list[Socket] = []
    try:
        address = _claimed(system, address, claims)
        if resolvers is not None:
            resolvers = _claimed(system, resolvers, claims)
            _check_datagrams(system, resolvers)
            say(f"DNS on {address_text(resolvers[1])}")
        return _be_parent(arguments, bounds, system, claims, address, watchers, resolvers, links)
    except Born as born:
        name, stream = born.name, born.stream
    finally:
        for claim in claims:  # those that no loop has closed
            claim.close()
    # Who started the parent is not told of its workers.
    os.environ.pop("NOTIFY_SOCKET", None)
    reactor = reactor_of(
        f"LS.{name}", arguments, bounds, system, links=links, records=open_records()
    )
    with closing(reactor):
        listen(reactor, address, arguments, shared=True)
        if resolvers is not None:
            listen_for_dns(reactor, resolvers, arguments, shared=True)
        reactor.adopt(PARENT, stream)
        reactor.start(Worker(lambda shown: build(reactor, shown), os.getpid()))
        return reactor.run()


def _claimed(system: System, address: Address, claims: list[Socket]) -> Address:
    """Claim this address; return what it became. Raises Failure."""
    try:
        claims.append(system.claim(address))
    except OSError as error:
        raise cannot_listen(address, error) from None
    return address[0], claims[-1].getsockname()


def _check_datagrams(system: System, address: Address) -> None:
    """Nobody else takes datagrams there. They cannot be claimed: a socket that holds the address
    gets some of them. Raises Failure."""
    try:
        system.take_datagrams(address).close()
    except OSError as error:
        raise cannot_listen(address, error) from None


def _be_parent(
    arguments: argparse.Namespace,
    bounds: Bounds,
    system: System,
    claims: list[Socket],
    address: Address,
    watchers: Address | None,
    resolvers: Address | None,
    links: int,
) -> int:
    output = Output(STDOUT, LOG_BYTES_MAX)  # the ready line: no end waits for its reader
    # What a worker has no room for is said once, here.
    most = max(links, arguments.workers)
    reactor = reactor_of("LS", arguments, bounds, system, links=most, output=output)
    with closing(reactor):
        reactor.hold(*claims)
        listen_for_watchers(reactor, watchers, arguments)
        ready = ready_line("ls", address[1])
        supervisor = Supervisor(
            Environment(bounds, watch=reactor.watch),
            arguments.workers,
            ready,
            with_dns=resolvers is not None,
            watchdog_s=system.watchdog_s(),
        )
        web = WebServer(pages(supervisor), bounds.watchers_max)
        try:
            reactor.start(WithStatusPage(supervisor, web))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        return reactor.run()
