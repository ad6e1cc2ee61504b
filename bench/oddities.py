"""Table of what a client hears of LS in front of odd resolvers, and how soon.

    python3 bench/oddities.py --results bench/ODD.md
    python3 bench/oddities.py --kinds "REFUSED; TC, and TCP is closed" --questions 20

Each kind of `bench/odd_kinds.py` is asked together with a good resolver, which has every name and
replies after 20 ms, and alone. Each time some 50 questions are asked over UDP, each at its time,
every other one with EDNS; a reply with TC is asked for again over TCP, as clients do. A measurement
has an LS of its own. Several run at once: all of them wait most of the time.

These are required: clients hear only what the table of kinds allows, nothing is lost, and nothing
takes 1.8 s or more; where the resolver itself is late, as much longer; and where its replies cannot
be understood, no more than clients wait. The log must not report forged replies
where there are none. Violations are listed below the table, and the exit code is 1.

Not here: resolvers under load (`bench/first_good.py`).
"""

import argparse
import contextlib
import itertools
import math
import signal
import socket
import statistics
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from odd_kinds import GOOD_S, KINDS, UNDERSTOOD_S, Kind, stream_good
from odd_resolver import CODES, LOOPBACK, Loop, Resolver, end_of_question, number_of
from percentiles import percentiles
from results import Row, add_flag, figures, keep, latencies, machine
from systems import Process, free_port, node
from terminal import Progress, chosen

_AT_ONCE = 14  # measurements
_LOST_S = 8.0  # after the last question
_FORGED = "forged"
PLACES = ("beside", "alone")


@dataclass
class Heard:
    """Results of one measurement: codes, `data` or `wrong data`, and s. `log` is the log of LS."""

    replies: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    log: str = ""

    def text(self) -> str:
        if len(self.replies) == 1:
            return next(iter(self.replies))
        return ", ".join(f"{count} {what}" for what, count in self.replies.most_common())

    def rows(self, kind: str, place: str) -> list[Row]:
        """Make the rows to keep: how often each reply came, and after how long."""
        case = f"{kind}, {place}"
        counts: dict[str, tuple[float, str]] = {
            what: (count, "replies") for what, count in self.replies.items()
        }
        waits_ms = [1000 * wait_s for wait_s in self.waits_s]
        worst = {"worst": (max(waits_ms, default=math.nan), "ms")}
        took_ms = percentiles(waits_ms)
        return figures(case, "ours", counts | worst) + latencies(case, "ours", took_ms)

    def missed(self, kind: Kind, place: str) -> list[str]:
        """List what is not as required."""
        allowed = kind.beside if place == "beside" else kind.alone
        limit_s = kind.alone_s if place == "alone" else UNDERSTOOD_S
        bad = {what: count for what, count in self.replies.items() if what not in allowed}
        texts = [f"{count} times {what}" for what, count in bad.items()]
        if (worst := max(self.waits_s, default=0.0)) >= limit_s:
            texts.append(f"one took {worst:.2f} s, and {limit_s:g} s are too long")
        if _FORGED in self.log and not kind.is_suspect:
            texts.append("the log speaks of forged replies")
        return texts


class Measurement:
    """An LS in front of one kind of resolver, and the client that asks it."""

    def __init__(self, loop: Loop, kind: Kind, place: str, questions: int | None) -> None:
        self.loop = loop
        self.kind = kind
        self.place = place
        self.heard = Heard()
        self.asked_at: dict[int, float] = {}
        self.count = min(kind.questions, questions or kind.questions)
        self.asked = 0
        self._stack = contextlib.ExitStack()
        resolvers = [Resolver(loop, kind.way, kind.stream)]
        if place == "beside":
            resolvers.append(Resolver(loop, kind.good, stream_good))
        for one in resolvers:
            self._stack.callback(one.close)
        words = [word for one in resolvers
                 for word in ("--dns-upstream", f"{LOOPBACK}:{one.port}")]  # fmt: skip
        self.port = free_port()
        self.ls = Process(node("ls", 0, "--dns", self.port, *words))
        self._stack.callback(self.ls.stop)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stack.enter_context(self.client)
        self.client.connect((LOOPBACK, self.port))
        self.client.setblocking(False)
        loop.readers[self.client] = self.hear
        self._stack.callback(loop.readers.pop, self.client)

    def go(self) -> None:
        self.ends_at = time.perf_counter() + self.count / self.kind.rate + _LOST_S
        self.ask()

    def ask(self) -> None:
        number, self.asked = self.asked, self.asked + 1
        self.asked_at[number] = time.perf_counter()
        self.client.send(query(number, has_edns=bool(number % 2)))
        if self.asked < self.count:
            self.loop.after(1 / self.kind.rate, self.ask)

    def hear(self) -> None:
        while True:
            try:
                message = self.client.recv(4096)
            except OSError:  # nothing more
                return
            if message[2] & 0x02:
                self.over_tcp(int.from_bytes(message[:2]))
            else:
                self.took(message)

    def over_tcp(self, number: int) -> None:
        """Ask this again, as clients do when a reply is cut."""
        stream = socket.create_connection((LOOPBACK, self.port))
        message = query(number, has_edns=bool(number % 2))
        stream.sendall(len(message).to_bytes(2) + message)
        came = bytearray()

        def read() -> None:
            part = stream.recv(65_536)
            came.extend(part)
            if not part or len(came) >= 2 + int.from_bytes(came[:2]):
                del self.loop.readers[stream]
                stream.close()
                if part:
                    self.took(bytes(came[2:]))

        self.loop.readers[stream] = read

    def took(self, message: bytes) -> None:
        """Note the last reply to a question."""
        at = self.asked_at.pop(int.from_bytes(message[:2]), None)
        if at is not None:
            self.heard.replies[meaning(message)] += 1
            self.heard.waits_s.append(time.perf_counter() - at)

    @property
    def is_over(self) -> bool:
        is_done = self.asked == self.count and not self.asked_at
        return is_done or time.perf_counter() > self.ends_at

    def result(self) -> Heard:
        if self.asked_at:
            self.heard.replies["lost"] += len(self.asked_at)
        self.heard.log = self.ls.log()
        return self.heard

    def close(self) -> None:
        self._stack.close()


def query(number: int, *, has_edns: bool) -> bytes:
    """Make a query for the address of the name of this number, which is its ID, too."""
    label = b"n%d" % number
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, has_edns)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if has_edns else b""
    return head + bytes([len(label)]) + label + b"\7example\0\0\1\0\1" + opt


def meaning(message: bytes) -> str:
    """Return the code of a message, NODATA, or `data` if it has the address of the name asked."""
    code = message[3] & 15
    if message[-11:-8] == b"\0\0\x29":  # an OPT record without options has the upper bits
        code |= message[-6] << 4
    if code:
        return CODES[code] if code < len(CODES) else {16: "BADVERS"}.get(code, f"code {code}")
    if message[6:8] != b"\0\1":
        return "NODATA"
    record = message[end_of_question(message) :][:16]
    return "data" if record[12:] == (10 << 24 | number_of(message)).to_bytes(4) else "wrong data"


def measure(
    kinds: list[Kind], questions: int | None, progress: Progress
) -> dict[tuple[str, str], Heard]:
    """Measure kinds; return results by the name of the kind and the place."""
    loop = Loop()
    todo = list(itertools.product(kinds, PLACES))
    seen: dict[tuple[str, str], Heard] = {}
    for first in range(0, len(todo), _AT_ONCE):
        progress.say(f"{first} of {len(todo)}")
        with contextlib.ExitStack() as stack:
            running = []
            for kind, place in todo[first : first + _AT_ONCE]:
                running.append(Measurement(loop, kind, place, questions))
                stack.callback(running[-1].close)
            for one in running:  # when all LSs are up: while one starts, no other is served
                one.go()
            while not all(one.is_over for one in running):
                loop.turn()
            seen |= {(one.kind.name, one.place): one.result() for one in running}
    progress.end()
    return seen


def page(kinds: list[Kind], seen: dict[tuple[str, str], Heard]) -> tuple[list[str], int]:
    """Format the page; return its lines, and how many bounds are missed."""
    lines = [
        "# Odd resolvers",
        "",
        "`make bench-odd` writes this page: what a client hears of LS, and after how many ms, "
        "where a resolver is odd,",
        f"together with a good one, which has every name and replies after {GOOD_S * 1000:g} ms, "
        "and alone. `data` is the right address.",
        "",
        f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}.",
        "",
        "| the resolver | beside a good one | median | worst | alone | median | worst |",
        "|---|---|---:|---:|---|---:|---:|",
    ]
    missed = []
    for kind in kinds:
        cells = [kind.name]
        for place in PLACES:
            heard = seen[kind.name, place]
            waits_ms = [one * 1000 for one in heard.waits_s] or [float("nan")]
            is_bad = heard.missed(kind, place)
            mark = "**" if is_bad else ""
            cells.append(f"{mark}{heard.text()}{mark}")
            cells += [f"{statistics.median(waits_ms):,.0f}", f"{max(waits_ms):,.0f}"]
            missed += [f"- {kind.name}, {place}: {text}: NOT kept." for text in is_bad]
        lines.append(f"| {' | '.join(cells)} |")
    said = (
        "Beside a good resolver no reply is worse than its own, none is lost, and none takes "
        f"{UNDERSTOOD_S:g} s; alone none takes as long if the resolver can be understood, "
        "unless it is late itself"
    )
    lines += ["", f"{said}: {'NOT kept:' if missed else 'kept.'}"]
    return [*lines, *([""] if missed else []), *missed, ""], len(missed)


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kinds", metavar="A;B", help="only these kinds (default: all)")
    parser.add_argument(
        "--questions", type=int, metavar="N", help="of each kind, at most (default 50, of some 240)"
    )
    parser.add_argument("--results", type=Path, metavar="FILE.md", help="write the page")
    add_flag(parser)
    arguments = parser.parse_args()
    wanted = chosen(arguments.kinds, names, "kind", ";")
    kinds = [kind for kind in KINDS if kind.name in wanted]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no server behind
    try:
        seen = measure(kinds, arguments.questions, Progress())
        lines, missed = page(kinds, seen)
    except KeyboardInterrupt:
        return 1
    print("\n".join(lines))
    if arguments.results:
        arguments.results.write_text("\n".join(lines))
    keep(arguments.json, "odd", [row for key, heard in seen.items() for row in heard.rows(*key)])
    if missed:
        print(f"{missed} bounds were missed", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
