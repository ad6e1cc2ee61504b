"""Workers: LS as several processes, a parent that holds the sockets, and workers that it forks.

Everything that blocks, or may fail by a person's mistake, happens in the parent before it forks:
arguments, lookups, listening. A worker has the sockets of its place, as its predecessor there had
them. It returns from here as a server that runs alone would, with its own exit code.

Not here: what the parent does (`nodes/workers/supervisor.py`), and how it forks
(`core/io/child.py`).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Protocol

from core.environment import Environment
from core.io.child import Born
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import System, reason
from core.observable import ObservableBrain
from core.tls import TlsKeys
from nodes.cli.arguments import STDOUT, Failure
from nodes.cli.listening import Sockets, open_sockets, open_status_page
from nodes.cli.race_log import race_log
from nodes.cli.server_arguments import ServerOptions
from nodes.cli.serving import LOG_BYTES_MAX, ServerPlan, gate, listen, make_loop, ready_line
from nodes.cli.status_page import with_status_page
from nodes.workers.configuration import Configuration
from nodes.workers.slot import WorkerSlot
from nodes.workers.succession import place_names
from nodes.workers.supervisor import Supervisor
from nodes.workers.worker import PARENT, StatsFilter, Worker


def serve_with_workers(
    count: int, plan: ServerPlan, system: System, configured: "ConfiguredBrain"
) -> int:
    """Serve as `serve` does, with `count` workers. Each is built from what `configured` is when it
    is forked, and opens the race log itself. Raises Failure."""
    listening, backlog = plan.listening, plan.options.bounds.backlog_max
    sets = _SocketsOfWorkers(
        open_sockets(system, listening.addresses, listening.handed, backlog, count)
    )
    try:
        return _run_parent(plan, system, sets, configured)
    except Born as born:
        name, stream = born.name, born.stream
    finally:
        sets.close()  # unless this is a worker
    sockets = sets.kept_by(name)
    # The service manager that started the parent hears nothing of its workers.
    os.environ.pop("NOTIFY_SOCKET", None)
    options = configured.options
    with race_log(configured.race_log) as records:
        loop = make_loop(f"LS.{name}", options, system, links=configured.links, records=records)
        with closing(loop):
            listen(loop, sockets, gate(options.allow), configured.keys)
            loop.adopt(PARENT, stream)
            loop.start(Worker(lambda stats: configured.build(loop, stats), os.getpid()))
            return loop.run()


class ConfiguredBrain(Configuration, Protocol):
    """A configuration that a worker can be built from."""

    @property
    def options(self) -> ServerOptions:
        """Return the options of a worker."""

    @property
    def race_log(self) -> str | None:
        """Return where it logs races, if it does."""

    @property
    def keys(self) -> TlsKeys | None:
        """Return what it serves DNS by TLS with."""

    @property
    def links(self) -> int:
        """Return how many descriptors it needs besides those of its clients."""

    def build(self, loop: Loop, stats: StatsFilter) -> ObservableBrain:
        """Build the brain of a worker; see `Worker`."""


class _SocketsOfWorkers:
    """A set of listening sockets for each place. Only the process that has opened them lets go of
    all: a child leaves the parent's loop, too, but has a set to keep."""

    def __init__(self, sets: Sequence[Sockets]) -> None:
        self.first = sets[0]
        self.places = dict(zip(place_names(len(sets)), sets, strict=True))
        self.workers: Mapping[str, WorkerSlot] = {}  # by connection, once there are any
        self._process = os.getpid()

    def close(self) -> None:
        """Close all of them, unless this is a child."""
        if os.getpid() == self._process:
            for each in self.places.values():
                each.close()

    def kept_by(self, conn: str) -> Sockets:
        """Close all but those of the place of a worker, which this process is; return these."""
        kept = self.places[self.workers[conn].place]
        ours = {each.fileno() for each in kept}
        for each in self.places.values():
            for stream in each:
                if stream.fileno() not in ours:
                    stream.close()
        return kept


def _run_parent(
    plan: ServerPlan, system: System, sets: _SocketsOfWorkers, configured: ConfiguredBrain
) -> int:
    options, listening, count = plan.options, plan.listening, len(sets.places)
    # For the ready line, whose reader may be gone.
    output = Output(STDOUT, LOG_BYTES_MAX, "standard output")
    page = open_status_page(
        system, listening.addresses.status_page, listening.handed, options.bounds.backlog_max
    )
    with ExitStack() as stack:
        stack.callback(page.close)
        # The log says once, here, that descriptors are too few for a worker. Each place may have
        # one that retires beside the one that serves.
        links = max(plan.links, 2 * count)
        loop = make_loop("LS", options, system, links=links, output=output)
        stack.callback(loop.close)
        loop.hold(sets)
        listen(loop, page, lambda host: gate(configured.options.allow)(host))
        listeners = sets.first.where() | page.where()
        plan.introduction.report(loop.engine.log, listeners)
        supervisor = Supervisor(
            Environment(options.bounds, watch=loop.watch),
            count,
            ready_line("ls", sets.first),
            with_dns=bool(sets.first.datagrams or sets.first.dns or sets.first.dns_tls),
            watchdog_s=system.watchdog_s(),
            configuration=configured,
        )
        sets.workers = supervisor.workers.by_conn
        try:
            loop.start(with_status_page(supervisor, options, system, listeners))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        return loop.run()
