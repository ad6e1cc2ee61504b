"""Servers that the DNS benches put behind the balancers: Knot DNS, an unbound that serves TLS, too,
and resolvers that are odd.

Not here: the balancers (`bench/dns_balancers.py`), and what makes a resolver odd
(`bench/resolver.py`, `bench/peers/late.c`).
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dns_balancers import NAMES, address, serving
from systems import HERE, free_port


@contextlib.contextmanager
def knots(folder: Path) -> Iterator[dict[int, int]]:
    """Start two real servers with the same zone; yield the process ID of each, by its port."""
    zone = folder / "example.zone"
    records = "".join(f"n{n} A {'.'.join(map(str, address(n)))}\n" for n in range(NAMES))
    zone.write_text(
        "$ORIGIN example.\n$TTL 3600\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
        + records
    )
    (folder / "queries").write_text("".join(f"n{n}.example A\n" for n in range(NAMES)))
    with contextlib.ExitStack() as stack:
        pids = {}
        for number in range(2):
            home = folder / f"knot{number}"
            home.mkdir()
            port = free_port()
            path = home / "knot.conf"
            path.write_text(
                f"""server:
    listen: 127.0.0.1@{port}
    rundir: {home}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {home}
zone:
  - domain: example.
    file: {zone}
    zonefile-sync: -1
    journal-content: none
"""
            )
            pids[port] = stack.enter_context(serving(["knotd", "-c", str(path)], port))
        yield pids


@dataclass(frozen=True)
class Resolver:
    """A resolver that is up: its port by UDP and TCP, that by TLS, and its process."""

    port: int
    tls_port: int
    pid: int


@contextlib.contextmanager
def secured(folder: Path, certificate: Path, key: Path) -> Iterator[Resolver]:
    """Start an unbound that knows all names by itself."""
    port, tls_port = free_port(), free_port()
    records = (f"n{n}.example 3600 A {'.'.join(map(str, address(n)))}" for n in range(NAMES))
    data = "\n".join(f'    local-data: "{record}"' for record in records)
    path = folder / "secured.conf"
    path.write_text(
        f"""server:
    port: {port}
    interface: 127.0.0.1@{port}
    interface: 127.0.0.1@{tls_port}
    tls-port: {tls_port}
    tls-service-pem: "{certificate}"
    tls-service-key: "{key}"
    tcp-idle-timeout: 120000
    use-syslog: no
    logfile: "{folder / "secured.log"}"
    pidfile: ""
    chroot: ""
    username: ""
    directory: "{folder}"
    num-threads: 1
    module-config: "iterator"
    local-zone: "example." static
{data}
"""
    )
    with serving(["unbound", "-d", "-c", str(path)], port) as pid:
        yield Resolver(port, tls_port, pid)


@contextlib.contextmanager
def late(
    *words: object, program: tuple[str, ...] = (sys.executable, str(HERE / "resolver.py"))
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start `bench/resolver.py`, or another program; yield its port and process."""
    process = subprocess.Popen([*program, *map(str, words)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline().rsplit(":", 1)[1]), process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def standing_still(pids: Collection[int]) -> Iterator[None]:
    """Stop these processes for a while."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
