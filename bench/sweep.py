"""Load at which asking both servers stops paying: mean latency against load, once or twice.

Two servers that serve one question at a time. `single` gives each question to one of them, by
chance, so that each has half; `race` gives it to both and takes the first answer, so that each
has all. The load is the share of its time for which a server is busy under `single`; under race
it is twice as much, and from 0.5 on both have more than they can do.

All combinations run at the same time, a few systems for each, since each is idle for most of the
time. Under race the loads rise, so that what overflows comes last; under single they fall, so that
not all are high at once. The service time is long against what a lookup costs the cores.

Not here: how questions arrive (`bench/arrivals.py`).
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from arrivals import Offer, Station, ask_all
from systems import HERE, node, running
from workloads import names_and_answers, write_table

LOADS = tuple(percent / 100 for percent in range(5, 71, 5))
LAWS = ("exponential", "deterministic")
POLICIES = ("single", "race")
SERVICE_S = 0.010
_QUESTIONS_PER_S = 250  # of each point, for each second of --seconds
_LONGEST = 5  # times --seconds
_SYSTEMS = 4  # for each law and policy, to share its points
_NAMES = 20_000

Curve = list[tuple[float, float]]  # load, mean latency in service times
Sweep = dict[str, dict[str, Curve]]  # by law and policy


def measure_sweep(folder: Path, seconds: float, say: Callable[[str], None]) -> Sweep:
    """Measure every load under every law and policy."""
    table = write_table(folder / "sweep", range(_NAMES))
    stations: list[Station] = []
    offers: dict[tuple[str, str], list[Offer]] = {}
    with contextlib.ExitStack() as stack:
        for law in LAWS:
            for policy in POLICIES:
                made = offers[law, policy] = [_offer(load, seconds) for load in LOADS]
                order = made if policy == "race" else made[::-1]
                for number in range(_SYSTEMS):
                    say(f"load: starting system {len(stations) + 1}")
                    ports = _start(stack, law, policy, table, seed=2 * len(stations))
                    stations.append(
                        Station(ports, *names_and_answers(_NAMES), order[number::_SYSTEMS])
                    )
        ask_all(stations, lambda count: say(f"load: {count} of {len(stations)} systems are asked"))
    return {
        law: {
            policy: [(offer.load, offer.mean_s / SERVICE_S) for offer in offers[law, policy]]
            for policy in POLICIES
        }
        for law in LAWS
    }


def crossing(single: Curve, race: Curve) -> float | None:
    """Interpolate the load up to which race is faster; None if it never is."""
    gains = [(load, alone - both) for (load, alone), (_, both) in zip(single, race, strict=True)]
    paying = [at for at, (_, gain) in enumerate(gains) if gain > 0]
    if not paying:
        return None
    at = paying[-1]
    if at + 1 == len(gains):
        return gains[at][0]
    (load, gain), (next_load, loss) = gains[at : at + 2]
    return load + (next_load - load) * gain / (gain - loss)


def _offer(load: float, seconds: float) -> Offer:
    rate = 2 * load / SERVICE_S
    return Offer(load, rate, int(min(_QUESTIONS_PER_S * seconds, _LONGEST * seconds * rate)))


def _start(
    stack: contextlib.ExitStack, law: str, policy: str, table: Path, seed: int
) -> Sequence[int]:
    """Start two servers, and an LS in front of both or one of each; return the ports to ask."""
    words = [sys.executable, HERE / "slow.py", 0, "--table", table, "--law", law]
    words += ["--mode", "service", "--mean", SERVICE_S, "--seed"]
    servers = [
        stack.enter_context(running([*map(str, words), str(seed + number)])).port
        for number in range(2)
    ]
    behind = [servers] if policy == "race" else [[port] for port in servers]
    return [
        stack.enter_context(
            running(node("ls", 0, *(word for port in ports for word in ("127.0.0.1", port))))
        ).port
        for ports in behind
    ]
