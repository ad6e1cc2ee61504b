"""Stage for the parts of `bench/first_good.py`: balancers, resolvers, and the page.

LS of a checkout and a peer are started in front of resolvers that are started here, too. The page
keeps count of the bounds that are missed. Not here: the load (`bench/crowded.py`, `bench/odd.py`).
"""

import contextlib
import os
import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dns_balancers import NAMES, address, all_servers, dnsmasq, serving
from dns_servers import late
from dnsperf import Wrong
from results import Row
from systems import PEERS, compiled, free_port, node
from terminal import Progress
from workers import stats

OURS, BEFORE, PEER = "ours", "before", "dnsmasq --all-servers"


# -- balancers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A balancer that is up. `lines`: the port for STATS, 0 where there is none."""

    port: int
    pid: int
    lines: int = 0
    log: Path = Path(os.devnull)

    def stats(self) -> dict[str, str]:
        """Ask for STATS; nothing where there are no lines, or LS takes no client."""
        with contextlib.suppress(OSError):
            return stats(self.lines) if self.lines else {}
        return {}

    def metrics(self) -> Counter[str]:
        """Add up the STATS of all its resolvers."""
        summed: Counter[str] = Counter()
        for name, said in self.stats().items():
            if re.fullmatch(r"DNS\d+\.(resent|unmatched|streamed)", name):
                summed[name.partition(".")[2]] += int(said)
        return summed


Balancer = Callable[[list[int], Path], contextlib.AbstractContextManager[Asked]]


def photofinish(root: Path) -> Balancer:
    """Return a starter of the LS of the checkout in `root`."""

    @contextlib.contextmanager
    def start(upstreams: list[int], folder: Path) -> Iterator[Asked]:
        port, lines = free_port(), free_port()
        words = [word for one in upstreams for word in ("--dns-upstream", f"127.0.0.1:{one}")]
        path = folder / "ls.log"
        words = node("ls", lines, "--dns", port, *words)
        with path.open("w") as log, contextlib.ExitStack() as stack:
            try:
                pid = stack.enter_context(serving(words, port, root, log.fileno()))
            except RuntimeError as wrong:
                raise Wrong(f"{wrong}: {path.read_text()}") from None
            yield Asked(port, pid, lines, path)

    return start


@contextlib.contextmanager
def peer(upstreams: list[int], folder: Path) -> Iterator[Asked]:
    """Start a dnsmasq that asks all of these."""
    with all_servers(upstreams, folder) as (port, pid):
        yield Asked(port, pid)


# -- resolvers -------------------------------------------------------------------------------------


@contextlib.contextmanager
def tables(folder: Path, shares: int, *words: str) -> Iterator[list[int]]:
    """Start `shares` dnsmasq, each with its share of the names; yield their ports."""
    with contextlib.ExitStack() as stack:
        ports = []
        for share in range(shares):
            hosts = folder / f"hosts{share}-of-{shares}"
            numbers = range(share, NAMES, shares)
            rows = (f"{'.'.join(map(str, address(n)))} n{n}.example\n" for n in numbers)
            hosts.write_text("".join(rows))
            ports.append(free_port())
            command = dnsmasq(ports[-1], f"--addn-hosts={hosts}", *words)
            stack.enter_context(serving(command, ports[-1]))
        yield ports


@contextlib.contextmanager
def odd(folder: Path, *words: object) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start a `bench/peers/late.c`; yield its port and process."""
    with late(*words, program=(str(compiled(PEERS / "late.c", folder)),)) as one:
        yield one


@contextlib.contextmanager
def one_odd(folder: Path, *words: object) -> Iterator[list[int]]:
    with odd(folder, *words) as (port, _):
        yield [port]


def drops(ports: list[int]) -> tuple[int, int]:
    """Count datagrams that found no room: in sockets bound to these ports, and in those connected.

    See man 5 proc, net/udp. Of the latter, sockets that are open now."""
    bound = connected = 0
    for row in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = row.split()
        own, other = (int(end.split(":")[1], 16) for end in fields[1:3])
        bound += int(fields[-1]) * (own in ports)
        connected += int(fields[-1]) * (other in ports)
    return bound, connected


# -- the page --------------------------------------------------------------------------------------


@dataclass
class Page:
    """The lines of the page, the rows to keep, and the number of missed bounds."""

    lines: list[str] = field(default_factory=list)
    missed: int = 0
    rows: list[Row] = field(default_factory=list)  # to keep

    def add(self, *lines: str) -> None:
        self.lines += lines

    def head(self, title: str, *lines: str) -> None:
        self.add(f"## {title}", "", *lines, "")

    def shall(self, text: str, is_kept: bool) -> None:
        """Add a bound, and whether it was kept."""
        self.missed += not is_kept
        self.add(f"- {text}: {'kept' if is_kept else 'NOT kept'}.")

    def ratio(self, name: str, ratios: list[float], least: float) -> None:
        """Add the bound that ours is `least` times as fast as `name`; a ratio for each round."""
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        said = f"- Ours shall be {least:g} times {name}, and is {middle:.2f} ({low:.2f} to"
        said += f" {high:.2f} in {len(ratios)} rounds): "
        is_missed = high < least
        self.missed += is_missed
        word = "NOT reached" if is_missed else "reached" if middle >= least else "within the noise"
        self.add(f"{said}{word}.")


@dataclass
class Bench:
    """Settings that all parts share."""

    folder: Path
    balancers: dict[str, Balancer]
    rounds: int
    loads: list[int]
    runs: int  # through the names, a round
    progress: Progress

    def ours(self) -> dict[str, Balancer]:
        return {name: start for name, start in self.balancers.items() if name != PEER}
