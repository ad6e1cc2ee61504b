"""Workers: LS as several processes, a parent that holds the port, and workers that it forks.

Everything that blocks, or may fail by a person's mistake, happens in the parent before it forks:
arguments, lookups, the claim to the port. A worker returns from here as a server that runs alone
would, with its own exit code.

Not here: what the parent does (`nodes/workers/supervisor.py`), and how it forks
(`core/io/child.py`).
"""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from core.addresses import Address, address_text
from core.environment import Environment
from core.io.child import Born
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import Socket, System, reason
from core.observable import ObservableBrain
from nodes.cli.arguments import STDOUT, Failure
from nodes.cli.race_log import race_log
from nodes.cli.serving import (
    LOG_BYTES_MAX,
    ListenAddresses,
    ServerPlan,
    cannot_listen,
    listen,
    listen_for_dns,
    listen_for_status_page,
    make_loop,
    ready_line,
)
from nodes.cli.status_page import with_status_page
from nodes.workers.supervisor import Supervisor
from nodes.workers.worker import PARENT, StatsFilter, Worker

Build = Callable[[Loop, StatsFilter], ObservableBrain]


def serve_with_workers(
    count: int, plan: ServerPlan, system: System, build: Build, race_log_path: str | None
) -> int:
    """Serve as `serve` does, with `count` workers. `build` makes the brain of each; each opens the
    race log itself. Raises Failure."""
    claims: list[Socket] = []
    try:
        plan = replace(plan, listen=_claim(system, plan.listen, claims))
        return _run_parent(count, plan, system, claims)
    except Born as born:
        name, stream = born.name, born.stream
    finally:
        for claim in claims:  # those that no loop has closed
            claim.close()
    # The service manager that started the parent hears nothing of its workers.
    os.environ.pop("NOTIFY_SOCKET", None)
    options, addresses = plan.options, plan.listen
    with race_log(race_log_path) as records:
        loop = make_loop(f"LS.{name}", options, system, links=plan.links, records=records)
        with closing(loop):
            listen(loop, addresses.lines, options.allow, shared=True)
            if addresses.dns is not None:
                listen_for_dns(loop, addresses.dns, options.allow, shared=True)
            loop.adopt(PARENT, stream)
            loop.start(Worker(lambda stats: build(loop, stats), os.getpid()))
            return loop.run()


def _claim(system: System, addresses: ListenAddresses, claims: list[Socket]) -> ListenAddresses:
    """Claim the addresses that workers share; return them with their ports. Raises Failure."""
    lines, dns = _claimed(system, addresses.lines, claims), addresses.dns
    if dns is not None:
        dns = _claimed(system, dns, claims)
        _check_datagrams(system, dns)
    return ListenAddresses(lines, dns, addresses.status_page)


def _claimed(system: System, address: Address, claims: list[Socket]) -> Address:
    try:
        claims.append(system.claim(address))
    except OSError as error:
        raise cannot_listen(address, error) from None
    return address[0], claims[-1].getsockname()


def _check_datagrams(system: System, address: Address) -> None:
    """Check that nobody else takes datagrams at this address. They cannot be claimed: a socket that
    holds the address gets some of them. Raises Failure."""
    try:
        system.take_datagrams(address).close()
    except OSError as error:
        raise cannot_listen(address, error) from None


def _run_parent(count: int, plan: ServerPlan, system: System, claims: list[Socket]) -> int:
    options, addresses = plan.options, plan.listen
    # For the ready line, whose reader may be gone.
    output = Output(STDOUT, LOG_BYTES_MAX, "standard output")
    # The log says once, here, that descriptors are too few for a worker.
    loop = make_loop("LS", options, system, links=max(plan.links, count), output=output)
    with closing(loop):
        loop.hold(*claims)
        listeners = {"lines": address_text(addresses.lines[1])}
        if addresses.dns is not None:
            listeners["dns"] = address_text(addresses.dns[1])
        listeners |= listen_for_status_page(loop, addresses.status_page, options.allow)
        plan.introduction.report(loop.engine.log, listeners)
        supervisor = Supervisor(
            Environment(options.bounds, watch=loop.watch),
            count,
            ready_line("ls", addresses.lines[1]),
            with_dns=addresses.dns is not None,
            watchdog_s=system.watchdog_s(),
        )
        try:
            loop.start(with_status_page(supervisor, options, system, listeners))
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        return loop.run()
