"""Parts of `bench/first_good.py` with an open load: each question is sent at its time.

A resolver dies, is frozen, sends each reply twice, or closes after each; measured is what becomes
of the questions, and what LS logs about the resolver. Not here: the programs that are measured
(`bench/first_good_stage.py`), and the resolvers themselves (`bench/peers/late.c`).
"""

import contextlib
import itertools
import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from first_good_stage import OURS, Asked, Balancer, Bench, Page, odd, one_odd
from open_load import Seen, offer
from resolver import CODES
from results import Row, figures, latencies

# The bounds, for ours.
DIES_SLOWEST_S = {"NXDOMAIN": 0.12, "REFUSED": 1.25}
DIES_SILENT_SLOWEST_S = {"REFUSED": 0.02}  # once the log says that it is silent
DIES_SILENT_S = (1.0, 1.6)  # when the log says that, after its death
ENDS_WRITTEN_MOST = 4.0  # queries over TCP for a question: the first stream has all, then few each
GUESSES = "match nothing"  # words that the log must not have

FROZEN_S = 14.0
_DAY_S = 86_400


@contextlib.contextmanager
def timed(*events: tuple[float, int, int]) -> Iterator[None]:
    """Send signals meanwhile; an event is a delay in s, a process ID and a signal."""
    timers = [threading.Timer(after_s, os.kill, words) for after_s, *words in events]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def labels(count: int) -> list[bytes]:
    return [b"n%d" % number for number in range(count)]


def slowest(waits: list[tuple[float, float]], since: float, until: float) -> float:
    """Return the longest wait, in s, of questions asked in this time; 0 without any."""
    return max((took for at, took in waits if since <= at < until), default=0.0)


def said_at(log: Path, pattern: str, began: float) -> float | None:
    """Return how many s after `began` (s since 1970) a line of the log first has this."""
    for line in log.read_text().splitlines():
        if re.search(pattern, line) and (found := re.match(r"(\d+):(\d+):([\d.]+) ", line)):
            hours, minutes, seconds = map(float, found.groups())
            return (hours * 3600 + minutes * 60 + seconds - began) % _DAY_S
    return None


_DIES_RATE, _DIES_AFTER_S, _DIES_S = 40.0, 5.0, 12.0
_TRIES = 3  # of a death that misses a bound: the machine may be busy with other things


def dies(bench: Bench, page: Page) -> None:
    page.head(
        "One of two dies",
        "Both reply the same to everything, at once. One dies, without a word from its host, "
        f"{_DIES_AFTER_S:g} s after the first of {_DIES_RATE:g} questions a second. Slowest reply "
        "to questions asked before that, until LS logs that it is silent, and afterwards; in ms.",
    )
    page.add(
        "| | code | before | until silent | afterwards | other codes | lost | silent after s |"
    )
    page.add("|---|---|---:|---:|---:|---:|---:|---:|")
    last = []
    for code in DIES_SLOWEST_S:
        for name, start in bench.ours().items():
            for number in range(_TRIES if name == OURS else 1):
                bench.progress.say(f"dies, {code}, {name}, {number + 1}")
                one = die(bench, start, code)
                page.add(f"| {name} | {code} | {one.row()} |")
                if all(is_kept for _, is_kept in one.judged()):
                    break
            page.rows += one.rows(name)
            if name == OURS:
                last.append(one)
    page.add("")
    for text, is_kept in (judged for one in last for judged in one.judged()):
        page.shall(text, is_kept)
    page.add("")


@dataclass
class Death:
    """Results before and after the death of one of two resolvers."""

    code: str
    seen: Seen
    slowest_s: tuple[float, float, float]  # before it, until the log says so, and afterwards
    silent_s: float | None  # when the log said so, after the death

    @property
    def wrong(self) -> int:
        return self.seen.total() - self.seen.lost - self.seen.count(self.code)

    def row(self) -> str:
        waits = " | ".join(f"{one * 1000:.0f}" for one in self.slowest_s)
        silent = "never" if self.silent_s is None else f"{self.silent_s:.2f}"
        return f"{waits} | {self.wrong} | {self.seen.lost} | {silent}"

    def rows(self, name: str) -> list[Row]:
        """Make the rows to keep."""
        case = f"dies, {self.code}"
        spans = ("before", "until silent", "afterwards")
        found = {
            f"slowest {span}": (slowest_s * 1000, "ms")
            for span, slowest_s in zip(spans, self.slowest_s, strict=True)
        }
        counts = {"other codes": (self.wrong, "replies"), "lost": (self.seen.lost, "queries")}
        took_ms = self.seen.percentiles_ms(self.code)
        return latencies(case, name, took_ms) + figures(case, name, found | counts)

    def judged(self) -> list[tuple[str, bool]]:
        """Return the text of each bound, and whether it was kept."""
        code, most, then = self.code, max(self.slowest_s), self.slowest_s[2]
        others = self.wrong + self.seen.lost
        bound, (least_s, most_s) = DIES_SLOWEST_S[code], DIES_SILENT_S
        silent_s = math.nan if self.silent_s is None else self.silent_s  # which is never kept
        texts = [
            (f"Everything shall be {code}: {others} not", not others),
            (f"{code} shall never take more than {bound:g} s: {most:.3f}", most <= bound),
            (
                f"LS shall say {least_s:g} to {most_s:g} s after its death that it is silent: "
                f"{silent_s:.2f}",
                least_s <= silent_s <= most_s,
            ),
        ]
        if code in DIES_SILENT_SLOWEST_S:
            bound = DIES_SILENT_SLOWEST_S[code]
            text = f"{code} shall not take more than {bound:g} s from then on: {then:.3f}"
            texts.append((text, self.silent_s is not None and then <= bound))
        return texts


def die(bench: Bench, start: Balancer, code: str) -> Death:
    """Measure the death of one of two resolvers that say this code of everything."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        words = ("--code", CODES[code])
        both = [enter(odd(bench.folder, *words)) for _ in range(2)]
        asked = enter(start([port for port, _ in both], bench.folder))
        began, began_at = time.time(), time.perf_counter()
        enter(timed((_DIES_AFTER_S, both[0][1].pid, signal.SIGSTOP)))
        seen = offer(asked.port, labels(int(_DIES_RATE * _DIES_S)), _DIES_RATE)
        died_at = began_at + _DIES_AFTER_S
        silent_s = said_at(asked.log, r"\bDNS1\b.*\bsilent\b", began + _DIES_AFTER_S)
        silent_at = float("inf") if silent_s is None else died_at + silent_s
        times = (0.0, died_at, silent_at, float("inf"))
        spans = itertools.pairwise(times)
        before, until, then = (slowest(seen.waits, *span) for span in spans)
        return Death(code, seen, (before, until, then), silent_s)


_ODD_HEAD = (
    "| | | replies | bad | lost | slowest ms | resent | unmatched | streamed | spoofing logged |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def no_guess(page: Page, part: str, name: str, what: str, asked: Asked, seen: Seen) -> list[str]:
    """Add the row of a resolver that is no attacker; return the mistakes of ours about it."""
    metrics = asked.stats()
    said = asked.log.read_text().count(GUESSES)
    good = seen.count("NOERROR")
    most_ms = max((took for _, took in seen.waits), default=0.0) * 1000
    counts = [metrics.get(f"DNS1.{key}", "?") for key in ("resent", "unmatched", "streamed")]
    page.add(
        f"| {name} | {what} | {seen.total() - seen.lost:,} | {seen.total() - seen.lost - good:,} "
        f"| {seen.lost:,} | {most_ms:,.0f} | {' | '.join(counts)} | {said} |"
    )
    bad, found_ms = seen.total() - seen.lost - good, seen.all_percentiles_ms()
    found = {
        "bad": (bad, "replies"), "lost": (seen.lost, "queries"), "slowest": (most_ms, "ms"),
    }  # fmt: skip
    case = f"{part}, {what}"
    page.rows += latencies(case, name, found_ms) + figures(case, name, found)
    wrong = [f"{what}: {said} lines"] if said else []
    return wrong + ([f"{what}: {counts[2]} over TCP"] if counts[2] != "0" else [])


def judge_guesses(page: Page, wrong: list[str]) -> None:
    said = "The log shall not report spoofing, and nothing be asked over TCP because of it"
    page.add("")
    page.shall(f"{said}: {'; '.join(wrong) or 'nothing'}", not wrong)
    page.add("")


_TWICE_RATE, _TWICE_S = 2_000.0, 10.0


def twice(bench: Bench, page: Page) -> None:
    said = f"It does so for {_TWICE_S:g} s, at {_TWICE_RATE:,.0f} questions a second."
    page.head("A resolver that sends each reply twice", said)
    page.add(*_ODD_HEAD)
    wrong = []
    for name, start in bench.ours().items():
        bench.progress.say(f"twice, {name}")
        with one_odd(bench.folder, "--twice") as ports, start(ports, bench.folder) as asked:
            seen = offer(asked.port, labels(int(_TWICE_RATE * _TWICE_S)), _TWICE_RATE)
            found = no_guess(page, "twice", name, "alone", asked, seen)
        wrong += found if name == OURS else []
    judge_guesses(page, wrong)


_FROZEN_RATE, _FROZEN_AFTER_S, _THAWED_S = 200.0, 2.0, 4.0


def frozen(bench: Bench, page: Page) -> None:
    page.head(
        "A resolver that is frozen",
        f"For {FROZEN_S:g} s, at {_FROZEN_RATE:g} questions a second; then it replies to what its "
        "socket has kept.",
    )
    page.add(*_ODD_HEAD)
    wrong = []
    count = int(_FROZEN_RATE * (_FROZEN_AFTER_S + FROZEN_S + _THAWED_S))
    for what, goods in (("beside a good one", 1), ("alone", 0)):
        for name, start in bench.ours().items():
            bench.progress.say(f"frozen, {what}, {name}")
            with contextlib.ExitStack() as stack:
                enter = stack.enter_context
                all_of_them = [enter(odd(bench.folder)) for _ in range(1 + goods)]
                asked = enter(start([port for port, _ in all_of_them], bench.folder))
                pid = all_of_them[0][1].pid
                thaws_s = _FROZEN_AFTER_S + FROZEN_S
                events = ((_FROZEN_AFTER_S, pid, signal.SIGSTOP), (thaws_s, pid, signal.SIGCONT))
                enter(timed(*events))
                seen = offer(asked.port, labels(count), _FROZEN_RATE)
                found = no_guess(page, "frozen", name, what, asked, seen)
            wrong += found if name == OURS else []
    judge_guesses(page, wrong)


_ENDS_QUESTIONS, _ENDS_RATE = (300, 1_500), 20_000.0


def ends(bench: Bench, page: Page) -> None:
    page.head(
        "A resolver that truncates, and closes after each reply",
        "Over UDP each reply is truncated (TC), and each TCP connection gets one reply. All "
        "questions come at once.",
    )
    page.add(
        "| questions | | by UDP | by TCP | SERVFAIL | other codes | lost | slowest ms | lines |"
    )
    page.add("|---:|---|---:|---:|---:|---:|---:|---:|---|")
    bounds = []
    for count in _ENDS_QUESTIONS:
        for name, start in bench.ours().items():
            bench.progress.say(f"ends, {count}, {name}")
            with odd(bench.folder, "--cut") as (port, process):
                with start([port], bench.folder) as asked:
                    seen = offer(asked.port, labels(count), _ENDS_RATE)
                    is_open = bool(asked.stats())
                process.terminate()
                assert process.stdout is not None
                by_udp, by_tcp = map(int, process.stdout.readline().split())
            failed, good = seen.count("SERVFAIL"), seen.count("NOERROR")
            others = seen.total() - seen.lost - failed - good
            most_ms = max((took for _, took in seen.waits), default=0.0) * 1000
            page.add(
                f"| {count:,} | {name} | {by_udp:,} | {by_tcp:,} | {failed:,} | {others:,} "
                f"| {seen.lost:,} | {most_ms:,.0f} | {'served' if is_open else 'BUSY'} |"
            )
            found = {
                "by TCP": (by_tcp, "queries"), "SERVFAIL": (failed, "replies"),
                "lost": (seen.lost, "queries"), "slowest": (most_ms, "ms"),
            }  # fmt: skip
            case = f"ends, {count:,} questions"
            page.rows += latencies(case, name, seen.all_percentiles_ms())
            page.rows += figures(case, name, found)
            if name == OURS:
                bounds.append((count, by_tcp, count - good, is_open))
    page.add("")
    for count, by_tcp, bad, is_open in bounds:
        page.shall(f"None of {count:,} shall be bad or lost: {bad}", not bad)
        said = f"At most {ENDS_WRITTEN_MOST:g} queries by TCP for each: {by_tcp / count:.1f}"
        page.shall(said, by_tcp <= ENDS_WRITTEN_MOST * count)
        page.shall("A client of lines shall be let in afterwards", is_open)
    page.add("")
