"""The last minute of a server, the verdict that follows from it, and its recent events.

A history is compared with a model that remembers every second. Not here: how the page shows them
(`tests/tools/test_page.py`), and pages as bytes (`tests/nodes/test_requests.py`).
"""

import math
from bisect import bisect_left
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.effects import Stop
from core.metrics import SPANS_S, Histogram, LabelledHistogram, Metric, Value
from core.operator import Level, Report
from nodes.status_page.history import History, quantile
from nodes.status_page.recent_events import RecentEvents
from nodes.status_page.verdict import duration, percent, verdict

RESULTS = ("answered", "no_data", "not_found", "failed", "timed_out", "dropped")
REPLIES = ("won", "late", "none", "refused")
SERVERS = ("TS1", "DNS1")
TIMES_S = (0.0001, 0.004, 0.3, 20.0)
FACES = ("lines", "dns")
START = 100.0


class Counted:
    """A server that counts, as a status page sees it."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.waits = {(face, result): Histogram() for face in FACES for result in RESULTS[:5]}
        self.answers = {server: Histogram() for server in SERVERS}

    def values(self) -> list[Value]:
        of_clients = [
            *(Value(Metric("asked", "Asked"), self.counts["", "asked"]),),
            *(Value(Metric("pending", "Open", is_level=True), self.counts["", "pending"]),),
            *(
                Value(Metric(name, "Ended", family="replies"), self.counts["", name])
                for name in RESULTS
            ),
        ]
        return of_clients + [
            Value(Metric(name, "Of one", per="server", family=family), self.counts[of, name], of)
            for of in SERVERS
            for name, family in [("asked", ""), *((reply, "replies") for reply in REPLIES)]
        ]

    def histograms(self) -> list[LabelledHistogram]:
        waits = [
            (Metric(f"{result}_seconds", "Waits", per="face", family="reply_seconds"), times, face)
            for (face, result), times in self.waits.items()
        ]
        answers = Metric("answer_seconds", "Times", per="server")
        margin = (Metric("margin_seconds", "Margin"), Histogram(), "")
        return [*waits, *((answers, times, of) for of, times in self.answers.items()), margin]


def rank(times: list[float], share: float) -> float | str | None:
    """Return the end of the span of the time at this rank, by sorting."""
    if not times:
        return None
    time = sorted(times)[math.ceil(share * len(times)) - 1]
    at = bisect_left(SPANS_S, time)
    return SPANS_S[at] if at < len(SPANS_S) else "inf"


COUNTS = st.dictionaries(
    st.one_of(
        st.tuples(st.just(""), st.sampled_from(("asked", "pending", *RESULTS))),
        st.tuples(st.sampled_from(SERVERS), st.sampled_from(("asked", *REPLIES))),
    ),
    st.integers(1, 50),
    max_size=5,
)
WAITS = st.lists(
    st.tuples(st.sampled_from(FACES), st.sampled_from(RESULTS[:5]), st.sampled_from(TIMES_S)),
    max_size=4,
)
ANSWERS = st.lists(st.tuples(st.sampled_from(SERVERS), st.sampled_from(TIMES_S)), max_size=4)
SECONDS = st.tuples(st.sampled_from((1.0, 1.25, 30.0)), COUNTS, WAITS, ANSWERS)


@given(st.lists(SECONDS, max_size=70))
def test_a_history_says_what_a_model_of_all_seconds_says(seconds: list[Any]) -> None:
    server, history, now = Counted(), History(), START
    assert history.due < now
    history.take(server.values(), server.histograms(), now)
    model: list[tuple[float, float, Any, Any, Any]] = []
    for length, counts, waits, answers in seconds:
        server.counts.update(counts)
        for face, result, time in waits:
            server.waits[face, result].add(time)
        for of, time in answers:
            server.answers[of].add(time)
        assert history.due == now + 1.0
        now += length
        history.take(server.values(), server.histograms(), now)
        model.append((now, length, Counter(counts), waits, answers))
    kept = [one for one in model if one[0] > now - 60.0]
    minute = history.last_minute(SERVERS)
    total: Counter[tuple[str, str]] = Counter()
    for _, _, counts, _, _ in kept:
        total.update(counts)
    errors = [counts["", "failed"] + counts["", "timed_out"] for _, _, counts, _, _ in kept]
    replied = sum(total["", name] for name in RESULTS[:5])
    waited = [time for _, _, _, waits, _ in kept for _, _, time in waits]
    assert minute == {
        "seconds": sum(length for _, length, _, _, _ in kept),
        "steps": {
            "seconds": [length for _, length, _, _, _ in kept],
            "asked": [counts["", "asked"] for _, _, counts, _, _ in kept],
            "errors": errors,
        },
        "asked": total["", "asked"],
        "replies": {name: total["", name] for name in RESULTS if total["", name]},
        "errors_share": sum(errors) / replied if replied else None,
        "times": len(waited), "p50_s": rank(waited, 0.5), "p99_s": rank(waited, 0.99),
        "servers": {
            of: {
                "asked": total[of, "asked"],
                "replies": {name: total[of, name] for name in REPLIES if total[of, name]},
                "times": len(times), "p50_s": rank(times, 0.5), "p99_s": rank(times, 0.99),
            }
            for of in SERVERS
            for times in [[s for _, _, _, _, told in kept for by, s in told if by == of]]
        },
    }  # fmt: skip


def test_a_history_begins_anew_when_a_count_has_fallen() -> None:
    history, before, after = History(), Counted(), Counted()
    before.counts.update({("", "asked"): 500, ("", "failed"): 9})
    history.take([], [], START)
    history.take(before.values(), before.histograms(), START + 1)
    assert history.last_minute(())["steps"]["errors"] == [9]
    after.counts.update({("", "asked"): 900, ("", "failed"): 8})  # another process, and busier
    history.take(after.values(), after.histograms(), START + 2)
    minute = history.last_minute(())
    assert (minute["seconds"], minute["asked"], minute["replies"]) == (0, 0, {})
    after.counts["", "asked"] += 2
    history.take(after.values(), after.histograms(), START + 3)
    assert history.last_minute(())["steps"] == {"seconds": [1.0], "asked": [2], "errors": [0]}


@given(st.lists(st.sampled_from(TIMES_S), max_size=120), st.sampled_from([50, 99]))
def test_a_quantile_is_the_time_at_that_rank(times: list[float], percent: int) -> None:
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    assert quantile(histogram.counts, percent) == rank(times, percent / 100)


# -- the verdict -----------------------------------------------------------------------------------


def status(
    replies: dict[str, int], servers: dict[str, str], unhealthy: str = "", **more: object
) -> dict[str, Any]:
    """Return what a verdict is made from: clients' results, and how servers are."""
    replied = sum(count for name, count in replies.items() if name != "dropped")
    errors = replies.get("failed", 0) + replies.get("timed_out", 0)
    return {
        "time": 1_000_000.0,
        "unhealthy": unhealthy,
        "figures": {},
        "last_minute": {"replies": replies, "errors_share": errors / replied if replied else None},
        "servers": [
            {"name": name, "state": state, "since": "999980.000", "why": "closed"}
            for name, state in servers.items()
        ],
        **more,
    }


COUNT = st.sampled_from([0, 1, 10, 98, 99, 100, 10_000])


@given(
    st.fixed_dictionaries(dict.fromkeys(RESULTS, COUNT)),
    st.lists(st.sampled_from(["NEW", "UP", "DOWN", "UP/FAILING"]), max_size=3),
    st.sampled_from(["", "draining"]),
    st.lists(st.sampled_from([("UP", 0), ("UP", 1), ("STARTING", 0)]), max_size=2),
)
def test_no_state_in_which_clients_fail_has_a_calm_word(
    replies: dict[str, int], states: list[str], unhealthy: str, workers: list[tuple[str, int]]
) -> None:
    """[P70]"""
    crew = [{"name": "W1", "state": state, "old": is_old} for state, is_old in workers]
    servers = {f"TS{number}": state for number, state in enumerate(states)}
    found = verdict(status(replies, servers, unhealthy, workers=crew))
    failed = replies["failed"] + replies["timed_out"]
    fail = failed * 100 > sum(replies[name] for name in RESULTS[:5])
    leave = replies["dropped"] * 100 > sum(replies.values())
    is_bad = not {"NEW", "UP"}.issuperset(states) or {("UP", 0)} < {("UP", 0), *workers}
    expected = "DEGRADED" if is_bad or leave else "OK"
    if fail:
        expected = "FAILING"
    if unhealthy:
        expected = "NOT READY"
    assert found["word"] == expected
    assert ("failed or timed out" in found["why"]) == (failed > 0), "it is told in each state"
    told = {name for name in servers if name in found["why"]}
    assert told == {name for name in servers if servers[name] not in "NEW UP" and not unhealthy}


@pytest.mark.parametrize(
    ("state", "more", "why"),
    [
        ("UP", {}, ""),
        ("DOWN", {}, "TS1 DOWN for 20 s: closed"),
        ("DOWN", {"since": "0.000", "why": "-"}, "TS1 DOWN"),
        ("UP/DOWN", {"since": "999900.000/0.000", "why": "-/gone"}, "TS1 UP/DOWN for 1 min: gone"),
    ],
)
def test_a_bad_server_is_told_with_since_and_why(
    state: str, more: dict[str, str], why: str
) -> None:
    told = status({}, {"TS1": state})
    told["servers"][0].update(more)
    assert verdict(told)["why"] == why


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        ({"state": "UP", "old": 0}, ""),
        ({"state": "UP", "old": 1}, "worker W1 does not report"),
        ({"state": "VACANT", "old": 0}, "worker W1 VACANT"),
    ],
)
def test_a_worker_that_does_not_serve_is_told(worker: dict[str, object], why: str) -> None:
    found = verdict(status({}, {}, workers=[{"name": "W1", **worker}]))
    assert found == {"word": "DEGRADED" if why else "OK", "why": why}


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (14.0, ""),
        (13.9, "the certificate of DNS over TLS ends in 14 days"),
        (0.4, "the certificate of DNS over TLS ends within a day"),
        (-0.1, "the certificate of DNS over TLS has ended"),
    ],
)
def test_a_certificate_that_ends_soon_is_told(days: float, why: str) -> None:
    found = verdict(status({}, {"TS1": "UP"}, figures={"tls_days": days}))
    assert found == {"word": "DEGRADED" if why else "OK", "why": why}


def test_shares_and_times_are_written_short() -> None:
    shares = [percent(share) for share in (0.000123, 0.0098, 0.01, 0.0456, 1.0)]
    assert shares == ["0.012 %", "0.98 %", "1 %", "4.56 %", "100 %"]
    times = [duration(seconds) for seconds in (-1.0, 59.4, 61.0, 7_300.0, 200_000.0)]
    assert times == ["0 s", "59 s", "1 min", "2 h", "2 d"]


# -- events ----------------------------------------------------------------------------------------


def test_the_last_ten_kinds_of_events_are_kept_with_counts() -> None:
    times = iter(range(100))
    events = RecentEvents(lambda: float(next(times)))
    about = {"server": "TS1"}
    for number in range(11):
        events.take([Stop(0), Report(f"event {number}", Level.WARNING, "happened", about)])
    events.take([Report("whispered", Level.DEBUG), Report("TS1 is up", kind="up")])
    for number in range(5):
        events.take([Report(f"bad line {number}", Level.ERROR, "bad_line", kind="bad line")])
    told = events.entries()
    assert len(told) == 10
    assert told[0] == {
        "time": 16.0, "level": "error", "event": "bad_line", "text": "bad line 4", "times": 5
    }  # fmt: skip
    assert [one["text"] for one in told[1:]] == [
        "TS1 is up",
        *(f"event {n}" for n in range(10, 2, -1)),
    ]
