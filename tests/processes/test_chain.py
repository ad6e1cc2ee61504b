"""LSs behind LSs, as real processes: every hop speaks the same protocol, and what follows from it.

An LS is to the one before it a TS that says what it does not know. The tests show answers,
negatives and types through two hops; an inner LS that drains, dies and comes back; whose time is up
first; and that a circle of LSs, which nobody should build, does no harm.

Not here: several LSs side by side behind another balancer (`tests/tools/test_haproxy.py`).
"""

import signal

import pytest

from tests.support.at_once import at_once
from tests.support.processes import Program, Programs, Talk, exchange, stats

pytestmark = pytest.mark.process


def chain(run: Programs, outer_s: float, inner_s: float) -> tuple[int, list[Program], list[int]]:
    """Start an LS before two, each of which has both TSs; return its port, and the two with
    theirs."""
    tables = (
        run.table("a", "one.example 10.0.0.1", "both.example 10.0.0.2"),
        run.table("b", "two.example 10.0.0.3", "both.example 10.0.0.2"),
    )
    ts_ports = [run.ts(table, 0, "--answer-unknown")[1] for table in tables]
    inner = [run.ls(ts_ports, "--timeout", inner_s) for _ in range(2)]
    _, port = run.ls([port for _, port in inner], "--timeout", outer_s)
    return port, [program for program, _ in inner], [port for _, port in inner]


@at_once
def test_answers_types_and_negatives_come_through_two_hops(run: Programs) -> None:
    port, _, inner = chain(run, 20, 10)
    asked = b"One.example\ntwo.example.\nBOTH.example\nno.example\ntwo.example AAAA\nQUIT\n"
    (said,) = exchange(port, [asked])
    assert sorted(said.split(b"\n")[:-1]) == sorted(
        [
            b"one.example 10.0.0.1 A IN",
            b"two.example 10.0.0.3 A IN",
            b"both.example 10.0.0.2 A IN",
            b"no.example - NOT FOUND",
            b"two.example AAAA - NO DATA",
            b"BYE",
        ]
    )
    told = [stats(port) for port in inner]
    assert [(one["asked"], one["not_found"], one["no_data"]) for one in told] == [
        ("5", "1", "1")
    ] * 2


@at_once
def test_an_inner_one_may_drain_die_and_come_back(run: Programs) -> None:
    port, inner, ports = chain(run, 20, 10)
    asker = Talk(port)
    inner[0].signal(signal.SIGTERM)
    for _ in range(50):  # some of them while it drains, some after it has gone
        assert asker.ask(b"one.example") == b"one.example 10.0.0.1 A IN"
    assert inner[0].exits() == 0
    inner[1].kill()
    asker.say(b"two.example\n")  # nobody is there
    ts_ports = [run.ts(run.table("c", "two.example 10.0.0.3"))[1]]
    run.start("ls", ports[1], "127.0.0.1", ts_ports[0])
    assert asker.hear(1) == [b"two.example 10.0.0.3 A IN"]
    asker.close()
