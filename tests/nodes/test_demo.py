"""The demo's brain: what it starts and when, what it shows, and when it gives up.

The programs are what the test says they are.

Not here: real processes (`tests/processes/test_demo.py`).
"""

import json
import math

import pytest

from core.effects import Spawn, Stop, Write
from core.events import Closed, Event, Received, Woken
from core.operator import DrainAsked, ReloadAsked, Report
from nodes.demo.demo import Demo
from nodes.demo.scenario import Scenario

SCENARIO = Scenario.read()
ANSWER = "GOOGLE.com 46.1.3.7 A IN"
SERVERS = ["TS1", "TS2", "LS"]
ALL = [*SERVERS, "client"]
WELL = "it ended with exit code 0"


class Cast:
    """A demo and the programs that it has started."""

    def __init__(self, *, is_whole: bool = False) -> None:
        self.demo = Demo(SCENARIO, is_whole=is_whole)
        self.now = 100.0
        self.spawned: list[str] = []
        self.written = ""
        self.reports: list[str] = []
        self.exit_code: int | None = None
        self.step(Woken())

    def step(self, event: Event) -> None:
        for effect in self.demo.step(event, self.now):
            match effect:
                case Spawn(label):
                    self.spawned.append(label)
                case Write(data):
                    self.written += data.decode()
                case Report(text):
                    self.reports.append(text)
                case Stop(code):
                    assert self.exit_code is None
                    self.exit_code = code

    def says(self, label: str, *lines: str) -> None:
        self.step(Received(label, "".join(f"{line}\n" for line in lines).encode()))

    def sends(self, node: str, conn: str, line: str, at: float) -> None:
        """Let a server log that it has sent a line."""
        record = {"time": at, "event": "line_sent", "connection": conn, "text": f"< {conn} {line}"}
        self.says(node, json.dumps(record))

    def serve(self) -> None:
        """Let each server be ready in its turn."""
        for port, (label, program) in enumerate([("TS1", "ts"), ("TS2", "ts"), ("LS", "ls")], 51):
            self.says(label, f"{program} ready on 127.0.0.1:{port}")

    def end(self, *labels: str) -> None:
        for label in labels:
            self.step(Closed(label, WELL))


def test_each_program_starts_when_those_it_needs_are_ready() -> None:
    cast = Cast()
    assert cast.spawned == ["TS1", "TS2"]
    cast.says("TS2", "ts ready on 127.0.0.1:52")
    assert cast.spawned == ["TS1", "TS2"]
    cast.says("TS1", "ts ready on 127.0.0.1:51")
    assert cast.spawned == SERVERS
    assert cast.demo.words("LS")[:6] == ["ls", "0", "127.0.0.1", "51", "127.0.0.1", "52"]
    cast.says("LS", "ls ready on 127.0.0.1:53")
    assert cast.spawned == ALL
    assert cast.demo.words("client") == ["client", "127.0.0.1", "53", *SCENARIO.names]


def test_it_shows_the_lines_of_the_client_and_then_the_race() -> None:
    cast = Cast()
    cast.serve()
    cast.says("client", *SCENARIO.expected)
    assert cast.written.endswith("\n".join(["", *SCENARIO.expected, ""]))
    cast.sends("TS2", "client-1", ANSWER, 7.0011)
    for at, conn in enumerate(["TS1", "TS2"]):
        cast.sends("LS", conn, "google.com", 7 + at / 10_000)
        cast.sends("LS", conn, "rutgers.edu", 7)
    cast.sends("LS", "client-1", ANSWER, 7.0015)
    cast.end(*ALL)
    assert (cast.exit_code, cast.reports) == (0, [])
    _, _, after = cast.written.partition("google.com, in ms:\n\n")
    assert after.split("\n")[:5] == [
        "     0.00  LS   asks TS1",
        "     0.10  LS   asks TS2",
        f"     1.10  TS2  answers {ANSWER}",
        f"     1.50  LS   tells the client {ANSWER}",
        "",
    ]


def test_all_of_it_shows_records_in_order_and_the_client_last() -> None:
    cast = Cast(is_whole=True)
    cast.serve()
    cast.sends("TS1", "client-1", "second", 7.5)
    cast.sends("LS", "client-1", "first", 7.25)
    assert cast.demo.due == pytest.approx(cast.now + 0.1)
    cast.now = cast.demo.due
    cast.step(Woken())
    assert cast.written.endswith(
        "\n   0.0000  LS     < client-1 first\n   0.2500  TS1    < client-1 second\n"
    )
    cast.says("client", *SCENARIO.expected)
    cast.end(*ALL)
    assert cast.exit_code == 0
    assert cast.written.endswith("\n".join(["", "", *SCENARIO.expected, ""]))


def test_other_lines_of_the_client_than_expected_are_a_failure() -> None:
    cast = Cast()
    cast.serve()
    cast.says("client", *reversed(SCENARIO.expected))
    cast.end(*ALL)
    assert (cast.exit_code, cast.reports) == (1, ["the client did not write what it should"])


@pytest.mark.parametrize("why", [WELL, "it was ended by signal 9"])
def test_a_server_that_ends_before_it_serves_is_a_failure(why: str) -> None:
    cast = Cast()
    cast.says("TS1", "photofinish: no room")
    cast.step(Closed("TS1", why))
    cast.end("TS2")
    assert (cast.exit_code, cast.reports) == (1, [f"TS1: {why}"])
    assert cast.written.endswith("\nTS1 photofinish: no room\n")


def test_what_servers_said_is_shown_when_one_fails() -> None:
    cast = Cast()
    cast.serve()
    cast.sends("LS", "TS1", "google.com", 7)
    cast.step(Closed("client", "it ended with exit code 1"))
    assert (cast.exit_code, cast.reports) == (1, ["client: it ended with exit code 1"])
    assert cast.written.endswith("   0.0000  LS     < TS1 google.com\n")


@pytest.mark.parametrize("event", [DrainAsked(), ReloadAsked()])
def test_a_signal_ends_it_with_a_line(event: Event) -> None:
    cast = Cast()
    cast.step(event)
    cast.end("TS1")
    assert (cast.exit_code, cast.reports) == (1, ["interrupted"])


def test_it_gives_up_when_it_takes_too_long() -> None:
    cast = Cast()
    cast.serve()
    assert cast.demo.due < math.inf
    cast.now = cast.demo.due
    cast.step(Woken())
    assert (cast.exit_code, cast.reports) == (1, ["not finished after 30 s"])


@pytest.mark.parametrize("line", ["{", '{"time": 1}', "[]", ""])
def test_a_line_that_is_no_record_is_shown(line: str) -> None:
    cast = Cast()
    cast.says("TS1", line)
    assert cast.written.endswith(f"\nTS1 {line}\n")
