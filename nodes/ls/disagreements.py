"""Disagreements: sampled races in which two servers answered with different sets of addresses.

The spelling and the order of addresses do not matter. Each disagreement is reported, as a warning
where a server with a table takes part: among resolvers it is no news, since a name that is served
from many places has other addresses for each of them. The latest are kept for the status page, one
for each question: one that is asked often tells no more.

Not here: which races are sampled (`nodes/ls/race_samples.py`).
"""

import ipaddress
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.metrics import Metric, Value
from core.operator import Level, Report

DISAGREEMENTS = Metric(
    "disagreements", "Sampled races in which two servers gave different addresses"
)
DISAGREED = Metric(
    "disagreed", "Sampled races in which the server gave other addresses", per="server"
)
_LATEST_MAX = 20


class Disagreements:
    """All disagreements of these servers. `may_differ`: those of which nobody expects that they
    agree with each other."""

    def __init__(self, servers: Sequence[str], may_differ: Collection[str] = ()) -> None:
        self._may_differ = frozenset(may_differ)
        self.latest: deque[dict[str, Any]] = deque(maxlen=_LATEST_MAX)
        self._total = 0
        self._by_server = dict.fromkeys(servers, 0)

    def total(self) -> Value:
        """Return how many there were."""
        return Value(DISAGREEMENTS, self._total)

    def by_server(self) -> list[Value]:
        """Return how often each server differed from the winner."""
        return [Value(DISAGREED, number, server) for server, number in self._by_server.items()]

    def compare(self, question: str, answers: Mapping[str, str], winner: str) -> list[Report]:
        """Compare the addresses that servers answered with; report if any differ."""
        first = _as_set(answers[winner])
        others = [server for server, text in answers.items() if _as_set(text) != first]
        if not others:
            return []
        self._total += 1
        for server in others:
            self._by_server[server] += 1
        times = 1
        for record in self.latest:
            if record["question"] == question:
                times += record["times"]
                self.latest.remove(record)
                break
        self.latest.append({"question": question, "answers": answers, "times": times})
        text = ", ".join(f"{server} {addresses}" for server, addresses in answers.items())
        text = f"servers disagree about {question}: {text}"
        level = Level.DEBUG if self._may_differ.issuperset(answers) else Level.WARNING
        about = {"question": question, "answers": dict(answers)}
        return [Report(text, level, "servers_disagree", about, "disagreement")]


def _as_set(addresses: str) -> frozenset[object]:
    """Return a set that is the same however its addresses are spelled and ordered."""
    if ":" not in addresses:
        return frozenset(addresses.split(","))
    return frozenset(map(ipaddress.ip_address, addresses.split(",")))
