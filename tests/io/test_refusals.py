"""Refusals: each is counted, of connections and of datagrams, and a few are told about."""

import socket

from core.events import Role
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.refusals import Refusals
from nodes.cli.serving import LINES
from tests.support.loops import BRISK, QuietSystem, Script, listen_at, real_loop, take_datagrams_at

HERE = (socket.AF_INET, ("127.0.0.1", 0))


class Teller:
    """Refusals by a clock of the test, with what they say."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        log = Log("LS", lambda line: self.said.append(line.decode().strip()), log_format=bare_line)
        self.refusals = Refusals(lambda: self.now, log)

    def count(self) -> object:
        (value,) = self.refusals.metrics()
        return value.value


def test_a_scan_is_one_record_in_ten_seconds() -> None:
    some = Teller()
    for number in range(5):
        some.refusals.refuse(f"192.0.2.{number}")
        some.now += 2.0
    assert some.said == ["192.0.2.0 is refused: no --allow admits it"]
    some.refusals.refuse("192.0.2.9")
    assert some.said[1:] == [
        "192.0.2.9 is refused: no --allow admits it (and 4 others since the last such record)"
    ]
    assert some.count() == 6


def test_a_judge_that_counts_judges_as_the_one_without() -> None:
    some = Teller()
    judge = some.refusals.counting(lambda host: host == "192.0.2.1")
    assert [judge(f"192.0.2.{number}") for number in range(3)] == [False, True, False]
    assert some.count() == 2


def test_connections_and_datagrams_that_are_refused_are_counted() -> None:
    """Each datagram, also of a host that was judged before."""
    loop = real_loop(BRISK, QuietSystem())
    nobody = lambda host: False  # noqa: E731
    lines = listen_at(loop, HERE, LINES, nobody)
    dns = take_datagrams_at(loop, HERE, Role.DNS, nobody)
    loop.start(Script())
    with socket.create_connection(lines[:2]), socket.socket(type=socket.SOCK_DGRAM) as asker:
        for _ in range(3):
            asker.sendto(b"?", dns[:2])
        for _ in range(3):
            loop.turn()
    count = {value.key: value.value for value in loop.metrics()}
    loop.close()
    assert (count["not_admitted"], count["turned_away"]) == (4, 0)
