"""Cost of a turn, counted: calls, effects and system calls, of TS, LS and the client.

    python3 bench/turn.py
    python3 bench/turn.py --only LS
    python3 bench/turn.py --calls "LS, 1 in flight"     which functions, and how often
    python3 bench/turn.py --check bench/RESULTS.md      whether its table is still true

No clock is read, so noise cannot hide a change: the real loop and the real brain of one program run
over sockets in memory, and the profiler counts what a workload costs once it has warmed up. A
*call* is one of a Python function in core/ or nodes/ (a generator counts once for each item); a
*C call* is one that these make into C. The figures are those of one Python version.

Not here: how long that takes (`bench/cpu.py`, `bench/throughput.py`).
"""

import argparse
import struct
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from memory_stage import Peer, Stage
from report import COUNTED, split_results

from core.io.loop import Loop
from nodes.client.client import Client
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.setup import ServerSetup, Setup
from nodes.status_page.status_page import StatusPage
from nodes.status_page.with_status_page import WithStatusPage
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer

ROOT = Path(__file__).resolve().parent.parent
ABOUT = """Calls of Python functions in core/ and nodes/ (the making of a dataclass is one), calls
of these into C, effects and system calls, by `python3 bench/turn.py`. No clock is read; the figures
are those of Python 3.11. A test compares them: a change that raises one says what it buys."""
HEAD = (
    "workload", "turns a round", "calls a turn", "C calls a turn", "effects a turn",
    "system calls a turn", "calls a lookup",
)  # fmt: skip
_WARM, _ROUNDS, _NAMES = 20, 40, 20
_HEADER_BYTES = 12


@dataclass(frozen=True)
class Cost:
    """The cost of a workload, in all its turns: `calls` by function."""

    turns: int
    lookups: int
    effects: int
    calls: Counter[str]
    c_calls: int
    system_calls: int


# -- workloads: each makes a stage, and returns a round of lookups, and how many that are ----------

Round = Callable[[int], None]


def _names(connections: int, window: int) -> list[list[bytes]]:
    return [
        [b"n%d-%d.example" % (at, number) for number in range(window)] for at in range(connections)
    ]


def _answer(name: bytes) -> bytes:
    return name + b" 10.0.0.1 A IN\n"


def ts(connections: int, window: int) -> tuple[Stage, Round, int]:
    """Return a TS that is asked by so many clients for so many names each."""
    names = _names(connections, window)
    table = Table({name: _answer(name) for each in names for name in each})
    stage = Stage(lambda loop: TableServer(table, loop.environment, loop=loop.metrics))
    clients = stage.connect(connections)

    def ask(number: int) -> None:
        for client, each in zip(clients, names, strict=True):
            client.come.append(b"\n".join(each) + b"\n")
        stage.turn()
        assert all(client.sent.pop().count(b" IN\n") == window for client in clients)

    return stage, ask, connections * window


def _load_balancer(stage_of: Setup, *, dns: bool, watched: bool) -> Stage:
    def build(loop: Loop) -> Any:  # noqa: ANN401
        env = loop.environment
        front_end = DnsFrontEnd(env, 60, forwards=bool(stage_of.resolvers)) if dns else None
        ls = LoadBalancer(stage_of, env, owed=loop.owed, dns=front_end, loop=loop.metrics)
        return WithStatusPage(ls, StatusPage(ls, watchers_max=4)) if watched else ls

    return Stage(build, dns=dns)


def _setup(tables: int = 0, resolvers: int = 0, *, watched: bool = False) -> Setup:
    return Setup(
        servers=[
            ServerSetup(f"TS{number + 1}", ((2, (f"ts{number}", 53)),)) for number in range(tables)
        ],
        resolvers=[
            ServerSetup(f"DNS{number + 1}", ((2, (f"dns{number}", 53)),))
            for number in range(resolvers)
        ],
        sample=1.0 if watched else 0.0,
    )


def ls(connections: int, window: int, watched: bool = False) -> tuple[Stage, Round, int]:
    """Return an LS in front of two TSs with half of the names each; all are asked of both."""
    names = _names(connections, window)
    stage = _load_balancer(_setup(2, watched=watched), dns=False, watched=watched)
    servers = [*stage.system.dialled("ts0"), *stage.system.dialled("ts1")]
    clients = stage.connect(connections)

    def ask(number: int) -> None:
        for client, each in zip(clients, names, strict=True):
            client.come.append(b"\n".join(each) + b"\n")
        stage.turn()
        for place, server in enumerate(servers):
            asked = b"".join(server.sent).split()
            server.sent.clear()
            assert len(asked) == connections * window
            if mine := [name for at, name in enumerate(asked) if (at + number) % 2 == place]:
                server.come.append(b"".join(map(_answer, mine)))
        stage.turn()
        for client in clients:
            assert b"".join(client.sent).count(b" IN\n") == window
            client.sent.clear()

    return stage, ask, connections * window


def _query(number: int) -> bytes:
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    return head + b"\x07n%06d\x07example\0" % (number % _NAMES) + struct.pack(">HH", 1, 1)


def dns(in_flight: int, watched: bool = False) -> tuple[Stage, Round, int]:
    """Return an LS in front of two TSs that is asked by DNS: the first TS has the names."""
    stage = _load_balancer(_setup(2, watched=watched), dns=True, watched=watched)
    (first,), (second,) = stage.system.dialled("ts0"), stage.system.dialled("ts1")
    asker = stage.dns

    def ask(number: int) -> None:
        asker.come.extend(_query(number * in_flight + at) for at in range(in_flight))
        stage.turn()
        names = first.sent.pop().split()
        second.sent.pop()
        first.come.append(b"".join(map(_answer, names)))
        stage.turn()
        assert len(asker.sent) == in_flight
        asker.sent.clear()

    return stage, ask, in_flight


def resolvers(in_flight: int, watched: bool = False) -> tuple[Stage, Round, int]:
    """Return an LS in front of two resolvers that is asked by DNS: the first one is faster."""
    stage = _load_balancer(_setup(0, 2, watched=watched), dns=True, watched=watched)
    asker = stage.dns

    def reply(sockets: list[Peer]) -> int:
        count = 0
        for socket in sockets:
            for query in socket.sent:
                at = query.index(b"\0", _HEADER_BYTES) + 5
                data = struct.pack(">2s5H", query[:2], 0x8180, 1, 1, 0, 0) + query[_HEADER_BYTES:at]
                data += b"\xc0\x0c" + struct.pack(">HHIH4s", 1, 1, 60, 4, b"\x0a\0\0\1")
                socket.come.append(data)
                count += 1
            socket.sent.clear()
        return count

    def ask(number: int) -> None:
        asker.come.extend(_query(number * in_flight + at) for at in range(in_flight))
        stage.turn()
        for host in ("dns0", "dns1"):
            assert reply(stage.system.dialled(host)) == in_flight
            stage.turn()
        assert len(asker.sent) == in_flight
        asker.sent.clear()

    return stage, ask, in_flight


def client(window: int) -> tuple[Stage, Round, int]:
    """Return a client that has asked for all its names, and hears of so many in each read."""
    count = (_WARM + _ROUNDS + 1) * window
    names = [b"n%d.example" % number for number in range(count)]
    stage = Stage(
        lambda loop: Client(names, ((2, ("ls", 53)),), "LS", loop.environment), serves=False
    )
    (server,) = stage.system.dialled("ls")

    def hear(number: int) -> None:
        mine = names[number * window : (number + 1) * window]
        server.come.append(b"".join(map(_answer, mine)))
        stage.turn(2)

    return stage, hear, window


WORKLOADS: dict[str, Callable[[], tuple[Stage, Round, int]]] = {
    "TS, 1 in flight": lambda: ts(1, 1),
    "TS, 1x100": lambda: ts(1, 100),
    "TS, 50x100": lambda: ts(50, 100),
    "LS, 1 in flight": lambda: ls(1, 1),
    "LS, 1x100": lambda: ls(1, 100),
    "LS, 50x100": lambda: ls(50, 100),
    "LS, a DNS query": lambda: dns(1),
    "LS, 20 DNS queries": lambda: dns(20),
    "LS, a query before two resolvers": lambda: resolvers(1),
    "LS, 20 queries before two resolvers": lambda: resolvers(20),
    "LS watched, 1 in flight": lambda: ls(1, 1, watched=True),
    "LS watched, 1x100": lambda: ls(1, 100, watched=True),
    "LS watched, a DNS query": lambda: dns(1, watched=True),
    "LS watched, a query before two resolvers": lambda: resolvers(1, watched=True),
    "client, 1 a read": lambda: client(1),
    "client, 100 a read": lambda: client(100),
}
_SYSTEM = sys.modules[Stage.__module__].__file__
_SYSTEM_CALLS = {"select", "recv", "recvfrom", "send", "sendto", "accept", "write"}


def measure(workload: str) -> Cost:
    """Count what a workload costs."""
    stage, ask, lookups = WORKLOADS[workload]()
    for number in range(_WARM):
        ask(number)
    calls: Counter[str] = Counter()
    c_calls = system_calls = 0
    ours: dict[Any, str] = {}  # by code: the name, or "" for code that is not counted

    def name_of(code: Any) -> str:  # noqa: ANN401
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT / "core") or path.is_relative_to(ROOT / "nodes"):
            return f"{path.relative_to(ROOT)} {code.co_qualname}"
        return f"a dataclass {code.co_qualname}" if code.co_filename == "<string>" else ""

    def count(frame: Any, event: str, argument: Any) -> None:  # noqa: ANN401
        nonlocal c_calls, system_calls
        code = frame.f_code
        if code not in ours:
            ours[code] = name_of(code)
        if event == "call":
            if ours[code]:
                calls[ours[code]] += 1
            elif code.co_filename == _SYSTEM and code.co_name in _SYSTEM_CALLS:
                system_calls += 1
        elif event == "c_call" and ours[code]:
            c_calls += 1

    turns, effects = stage.loop.turns, stage.effects
    sys.setprofile(count)
    try:
        for number in range(_WARM, _WARM + _ROUNDS):
            ask(number)
    finally:
        sys.setprofile(None)
    turns, effects = stage.loop.turns - turns, stage.effects - effects
    return Cost(turns, lookups * _ROUNDS, effects, calls, c_calls, system_calls)


def row(workload: str) -> list[str]:
    """Count what a workload costs; return its row of the table."""
    cost = measure(workload)
    counts = (cost.calls.total(), cost.c_calls, cost.effects, cost.system_calls)
    return [
        workload,
        f"{cost.turns / _ROUNDS:.1f}",
        *(f"{count / cost.turns:.1f}" for count in counts),
        f"{cost.calls.total() / cost.lookups:.2f}",
    ]


def as_section() -> str:
    """Return all counts as a section of RESULTS.md."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    lines += ["| " + " | ".join(row(workload)) + " |" for workload in WORKLOADS]
    return "\n".join([COUNTED, "", ABOUT, "", *lines, ""])


def check(path: Path) -> int:
    """Compare this file's section with the counts of now; return the exit code."""
    _, section = split_results(path)
    kept, counted = section.splitlines(), as_section().splitlines()
    if kept == counted:
        return 0
    print("\n".join(unified_diff(kept, counted, str(path), "counted now", lineterm="")))
    print(f"turn: if that is meant: python3 bench/turn.py --results {path}", file=sys.stderr)
    return 1


def main(words: Sequence[str]) -> int:
    """Count, and print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="workloads with this in the name"
    )
    parser.add_argument("--calls", metavar="WORKLOAD", help="show which functions a round calls")
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write the table there")
    parser.add_argument(
        "--check", type=Path, metavar="FILE.md", help="exit with 1 if the table there is another"
    )
    arguments = parser.parse_args(words)
    if arguments.calls is not None and arguments.calls not in WORKLOADS:
        parser.error(f"no such workload: {arguments.calls}; there are {'; '.join(WORKLOADS)}")
    if arguments.calls:
        for name, count in measure(arguments.calls).calls.most_common():
            print(f"{count / _ROUNDS:8.2f}  {name}")
    elif arguments.check:
        return check(arguments.check)
    elif arguments.results:
        before, _ = split_results(arguments.results)
        arguments.results.write_text(before.rstrip("\n") + "\n\n" + as_section())
    else:
        widths = [max(map(len, WORKLOADS)), *map(len, HEAD[1:])]
        for cells in (list(HEAD), *(row(name) for name in WORKLOADS if arguments.only in name)):
            texts = [cells[0].ljust(widths[0])]
            texts += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
            print("  ".join(texts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
