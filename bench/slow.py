"""A slow table server, to measure the gain of asking twice: our own, but its answers come late.

    python3 bench/slow.py PORT --table FILE --law LAW [--mode delay|service] [--seed N] ...

It wraps the brain of the real one and holds back its answers, line by line, until they are due. In
mode `delay` each answer is late by a draw of its own, whatever else goes on; in mode `service` one
server takes the questions in their order, a draw each, so that they queue. The answers that fall
due within one step of a grid leave together, because a turn of the loop costs tens of
microseconds and everything that is measured shares the cores.

`asked.slow.bench`, sent alone, is answered at once with the count of all questions so far,
written as an address, and is not counted, so that a measurement can ask at any moment.

Not here: the laws (`bench/laws.py`), and a clean end: a signal stops it at once, and after QUIT no
answers that are held back are sent.
"""

import argparse
import heapq
import math
import os
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from laws import LAWS

from core.bounds import Bounds
from core.effects import Close, Effect, Send, Stop
from core.environment import Environment
from core.events import Closed, Event, Received, Woken
from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.operator import DrainAsked, Report
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.serving import LINES
from nodes.ts.table_file import load
from nodes.ts.table_server import TableServer

GRID_S = 0.00025
_COUNT_QUESTION = b"asked.slow.bench\n"
_STDOUT, _STDERR = 1, 2


class SlowTableServer:
    """The brain. `draw` is called for each answer: how late in s, or how long to serve it.

    `queues`: mode `service`. `is_silent` is called for each answer, too: True drops it.
    From `slow_after_s` after the first question on, each draw is `slow_by_s` longer.
    """

    def __init__(
        self,
        server: TableServer,
        draw: Callable[[], float],
        *,
        queues: bool = False,
        is_silent: Callable[[], bool] = lambda: False,
        slow_by_s: float = 0.0,
        slow_after_s: float = 0.0,
    ) -> None:
        self._server = server
        self._draw = draw
        self._queues = queues
        self._is_silent = is_silent
        self._slow_by_s = slow_by_s
        self._slow_after_s = slow_after_s
        self._slow_from: float | None = None  # known from the first question on
        self._free_at = 0.0  # when the server of mode `service` has served all
        self._held: dict[int, dict[str, list[bytes]]] = {}  # by step of the grid and connection
        self._steps: list[int] = []  # a heap of those

    @property
    def due(self) -> float:
        """When the first answer is due; the real server is never while it serves."""
        return self._steps[0] * GRID_S if self._steps else math.inf

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event; see `core/brain.py`."""
        match event:
            case Woken():
                return self._release(now)
            case DrainAsked():
                return [Report(f"asked {self._server.asked}"), Stop(0)]
            case Received(conn, data) if data == _COUNT_QUESTION:
                return [Send(conn, _count_answer(self._asked()))]
            case Closed(conn):
                self._forget(conn)
        effects = self._server.step(event, now)
        for effect in effects:
            if isinstance(effect, Close):  # nothing may be sent after it
                self._forget(effect.conn)
                return effects
        for effect in effects:
            if isinstance(effect, Send):
                self._hold(effect.conn, effect.data, now)
        return [effect for effect in effects if not isinstance(effect, Send)]

    def _asked(self) -> int:
        """Return how many questions the server has been asked."""
        (asked,) = (int(value.value) for value in self._server.metrics() if value.key == "asked")
        return asked

    def _hold(self, conn: str, answers: bytes, now: float) -> None:
        """Keep each line until its own time."""
        if self._slow_from is None:
            self._slow_from = now + self._slow_after_s
        slow_by_s = self._slow_by_s if now >= self._slow_from else 0.0
        for line in answers.split(b"\n")[:-1]:
            if self._is_silent():
                continue
            begins = max(now, self._free_at) if self._queues else now
            due = self._free_at = begins + self._draw() + slow_by_s
            step = math.ceil(due / GRID_S)
            if step not in self._held:
                self._held[step] = {}
                heapq.heappush(self._steps, step)
            self._held[step].setdefault(conn, []).append(line)

    def _release(self, now: float) -> list[Effect]:
        """Send the lines that are due, one Send for each connection."""
        due: dict[str, list[bytes]] = {}
        while self._steps and self._steps[0] * GRID_S <= now:
            for conn, lines in self._held.pop(heapq.heappop(self._steps)).items():
                due.setdefault(conn, []).extend(lines)
        return [Send(conn, b"\n".join(lines) + b"\n") for conn, lines in due.items()]

    def _forget(self, conn: str) -> None:
        """Drop the lines held back for a connection that ends."""
        for lines in self._held.values():
            lines.pop(conn, None)


# -- the count of questions ------------------------------------------------------------------------


def _count_answer(count: int) -> bytes:
    address = ".".join(map(str, count.to_bytes(4, "big")))
    return b"%s %s A IN\n" % (_COUNT_QUESTION.strip(), address.encode())


class Counter:
    """A connection to a slow table server that asks how many questions it has been asked."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._stream = self._socket.makefile("rb")

    def asked(self) -> int:
        self._socket.sendall(_COUNT_QUESTION)
        _, address, *_ = self._stream.readline().split()
        return int.from_bytes(map(int, address.split(b".")), "big")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


# -- the program -----------------------------------------------------------------------------------


def main() -> int:
    """Be a slow table server until a signal comes; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("port", metavar="PORT", type=int, help="to listen on, at 127.0.0.1; 0: a free one")
    add("--table", required=True, metavar="FILE", help="the rows to serve")
    add("--law", required=True, choices=LAWS, help="law of the delays")
    add(
        "--mean",
        type=float,
        default=0.005,
        metavar="S",
        help="mean of the law (default %(default)s)",
    )
    add("--mode", choices=("delay", "service"), default="delay", help="(default %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the delays (default 0)")
    add(
        "--silent",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of answers that never come (default 0)",
    )
    add("--slow-by", type=float, default=0.0, metavar="S", help="added to each delay (default 0)")
    add(
        "--slow-after",
        type=float,
        default=0.0,
        metavar="S",
        help="add it only from then on (default 0)",
    )
    arguments = parser.parse_args()
    if arguments.mean <= 0 or min(arguments.silent, arguments.slow_by, arguments.slow_after) < 0:
        parser.error("--mean has to be more than 0, and nothing less than 0")
    chance = random.Random(arguments.seed)
    law, mean_s = LAWS[arguments.law], arguments.mean
    bounds = Bounds()
    log_output = Output(_STDERR)
    system = System()
    loop = Loop(
        system,
        bounds,
        Log("SLOW", log_output.append, system.wall),
        Destinations(log_output),
        line_bytes_max=LINE_BYTES_MAX,
    )
    try:
        table = load(arguments.table, lambda text: print(text, file=sys.stderr))
        here = (socket.AF_INET, ("127.0.0.1", arguments.port))
        (stream,) = system.listen(here, bounds.backlog_max)
    except OSError as error:
        print(f"slow: cannot start: {error}", file=sys.stderr)
        return 1
    host, port = stream.getsockname()
    loop.listen(stream, LINES)
    loop.start(
        SlowTableServer(
            TableServer(table, Environment(bounds, loop.hits)),
            lambda: law(chance, mean_s),
            queues=arguments.mode == "service",
            is_silent=lambda: chance.random() < arguments.silent,
            slow_by_s=arguments.slow_by,
            slow_after_s=arguments.slow_after,
        )
    )
    os.write(_STDOUT, f"slow ready on {host}:{port}\n".encode())
    return loop.run()


if __name__ == "__main__":
    sys.exit(main())
