"""LS before resolvers: which reply is good enough, what counts at all, and what is relayed.

The real LS on a `tests/support/stage.py`; resolvers are played by hand, with
`tests/support/dns_messages.py`. DNS askers are two clients of one socket (`UDP`), a stream (`TCP`),
and there are clients of lines.

Not here: the rule of grace against a model (`tests/nodes/test_negatives.py`), the bytes of replies
(`tests/nodes/test_reply.py`), a network with chance (`tests/sim/test_resolver_story.py`), and
programs (`tests/tools/test_resolver_tools.py`).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Effect
from core.environment import Environment
from core.events import Closed, Event, Opened
from core.io.frame_buffer import frame, split_frames
from nodes.cli.ls_arguments import read_ls_options
from nodes.dns.reply import read_reply
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from nodes.ls.resolvers.resolver import Resolver
from nodes.ls.resolvers.resolver_link import ResolverLink
from tests.support.balancers import load_balancer, part_of
from tests.support.dns_messages import (
    AD,
    CD,
    CODES,
    DO,
    RA,
    RD,
    TC,
    TO_QUESTION,
    address,
    malformed,
    name,
    opt,
    option,
    question_of,
    record,
    reply,
    said,
    section_of,
)
from tests.support.stage import Stage

UDP, TCP, CLIENT = "dns-client-0", "dns-client-1", "client-1"
HERE, THERE = ("127.0.0.1", 4000), ("127.0.0.1", 4001)
D1, D2, D3 = "DNS1", "DNS2", "DNS3"
UNKNOWN_S = Bounds().grace_unknown_s
MX = record(TO_QUESTION, "MX", b"\0\x0a" + name("mail.example"))


class Chance:
    """Bytes that look like chance and come again."""

    def __init__(self) -> None:
        self.state = 1
        self.draw = self.next  # a test may put something else here

    def __call__(self, size: int) -> bytes:
        return self.draw(size)

    def next(self, size: int) -> bytes:
        drawn = bytearray()
        for _ in range(size):
            self.state = self.state * 1_103_515_245 + 12_345 & 0x7FFFFFFF
            drawn.append(self.state >> 16 & 255)
        return bytes(drawn)


class Cast:
    """LS, and everybody who talks to it."""

    def __init__(
        self,
        count: int = 2,
        *,
        tables: int = 0,
        bounds: Bounds | None = None,
        refused: set[str] | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        self.bounds = bounds or Bounds()
        hits = BoundHits()
        self.chance = Chance()
        self.brain = load_balancer(
            [((2, (f"TS{n + 1}", 1)),) for n in range(tables)],
            self.bounds,
            lambda: 0.0,
            dns=DnsFrontEnd(Environment(self.bounds, hits), 60, forwards=True),
            resolvers=[(2, (f"10.0.0.{n + 53}", 53)) for n in range(count)],
            secret=self.chance,
            hits=hits,
            **more,
        )
        self.hits = hits
        self.stage = Stage(self.brain, self.bounds)
        self.stage.refused |= refused or set()
        self.stage.begin()
        self.stage.take_datagrams(UDP)
        for n in range(tables):
            self.stage.connect(f"TS{n + 1}")
        self.stage.accept(CLIENT)
        self.number = 0

    # askers

    def ask(
        self,
        question: str,
        *,
        edns: bytes = b"",
        flags: int = RD,
        whence: Any = HERE,  # noqa: ANN401
    ) -> bytes:
        """Ask a query by UDP; return it, so that its reply can be compared."""
        query = self.query(question, edns=edns, flags=flags)
        self.stage.step(Datagrams(UDP, [(query, whence)]))
        return query

    def query(self, question: str, *, edns: bytes = b"", flags: int = RD) -> bytes:
        self.number += 1
        text, _, kind = question.partition(" ")
        number = {"": 1, "AAAA": 28, "MX": 15, "ANY": 255, "SOA": 6, "TXT": 16}[kind]
        head = (
            self.number.to_bytes(2)
            + flags.to_bytes(2)
            + b"\0\1\0\0\0\0"
            + b"\0"
            + bytes([bool(edns)])
        )
        return head + name(text) + number.to_bytes(2) + b"\0\1" + edns

    def told(self) -> list[tuple[bytes, Any]]:
        """Return what was said by UDP since the last time."""
        told, self.stage.replies[UDP] = self.stage.replies[UDP], []
        return told

    def codes(self) -> list[int]:
        return [message[3] & 15 for message, _ in self.told()]

    def lines(self) -> bytes:
        return self.stage.take(CLIENT)

    def say_lines(self, *lines: str) -> None:
        self.stage.hear(CLIENT, "".join(f"{line}\n" for line in lines).encode())

    # resolvers

    def asked(self, resolver: str) -> list[tuple[str, bytes]]:
        """Return what this one was asked since the last time: by which socket, and the query."""
        found = []
        for conn in list(self.stage.replies):
            if conn.startswith(f"{resolver}."):
                found += [(conn, query) for query, _ in self.stage.replies[conn]]
                self.stage.replies[conn] = []
        for conn in self.stage.framed:
            if conn.startswith(f"{resolver}."):
                found += [(conn, query) for query in split_frames(self.stage.take(conn))]
        return found

    def query_at(self, resolver: str) -> tuple[str, bytes]:
        """Return the only query that it was asked."""
        (found,) = self.asked(resolver)
        return found

    def say(self, conn: str, *messages: bytes) -> None:
        """Let it say this by a socket of its."""
        if conn in self.stage.framed:
            self.stage.hear(conn, b"".join(map(frame, messages)))
        elif conn in self.stage.replies:
            self.stage.step(Datagrams(conn, [(message, None) for message in messages]))

    def answer(self, resolver: str, *texts: str) -> None:
        """Let it reply in these words to all that it was asked."""
        for (conn, query), text in zip(self.asked(resolver), texts, strict=True):
            self.say(conn, said(query, text))

    def dialled(self, resolver: str) -> str:
        """Return the stream to it that is being dialled."""
        (conn,) = [conn for conn in self.stage.dialled if conn.startswith(f"{resolver}.")]
        return conn

    def sockets(self, resolver: str) -> list[str]:
        return [conn for conn in self.stage.replies if conn.startswith(f"{resolver}.")]

    def metric(self, key: str) -> Any:  # noqa: ANN401
        return next(value.value for value in self.brain.metrics() if value.key == key)

    def resolver(self, name: str) -> Resolver:
        link = self.brain.parts.upstreams.by_name[name]
        assert isinstance(link, ResolverLink)
        return link.resolver

    def wait(self, seconds: float) -> None:
        self.stage.wait(seconds)


# -- the first good answer -------------------------------------------------------------------------

BEST_FIRST = ["10.0.0.9", "NOERROR", "NXDOMAIN", "REFUSED", "SERVFAIL"]
SAYS = {"10.0.0.9": "x.example 10.0.0.9 A IN", "NXDOMAIN": "x.example - NOT FOUND",
        "NOERROR": "x.example - NO DATA", "REFUSED": "x.example - FAILED",
        "SERVFAIL": "x.example - FAILED", "FORMERR": "x.example - FAILED"}  # fmt: skip


@pytest.mark.parametrize(("first", "second"), list(permutations(BEST_FIRST, 2)))
def test_the_better_one_is_told_whoever_says_it_first(first: str, second: str) -> None:
    """[P33]: to a resolver as it was said, to a client in lines. NO DATA of one shows that the name
    exists, whatever another says of it."""
    cast = Cast()
    query = cast.ask("x.example")
    cast.say_lines("x.example")
    cast.answer(D1, first)
    told = cast.told()
    assert bool(told) is (first == BEST_FIRST[0])
    cast.answer(D2, second)
    told += cast.told()
    best = min(first, second, key=BEST_FIRST.index)
    (message, whence) = told[0]
    assert len(told) == 1 and whence == HERE
    assert message == said(query, best)[:11] + b"\0" + said(query, best)[12:-11]  # without OPT
    assert cast.lines() == SAYS[best].encode() + b"\n"


@pytest.mark.parametrize("other", ["10.0.0.9", "NOERROR", "NXDOMAIN", "SERVFAIL"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_referral_counts_as_a_refusal_and_is_told_as_a_failure(
    other: str, is_first: bool
) -> None:
    """[P43]: as it came it would say that there is nothing."""
    cast = Cast()
    query = cast.ask("x.example")
    cast.say_lines("x.example")
    referral = record(b"\7example\0", "NS", name("ns.example"))
    ((conn, asked),), ((second, asked_second),) = cast.asked(D1), cast.asked(D2)
    says = [
        lambda: cast.say(conn, reply(asked, authorities=(referral,), flags=RD)),
        lambda: cast.say(second, said(asked_second, other)),
    ]
    for say in says if is_first else says[::-1]:
        say()
    ((message, _),) = cast.told()
    told = "SERVFAIL" if other == "SERVFAIL" else other
    assert message[3] & 15 == CODES.get(told, 0) and section_of(message) == section_of(query)
    assert message[8:12] == bytes(4) and cast.lines() == SAYS[told].encode() + b"\n"


def test_who_wants_no_recursion_gets_a_referral_as_it_came() -> None:
    cast = Cast(1)
    cast.ask("x.example", flags=0)
    conn, asked = cast.query_at(D1)
    referral = record(b"\7example\0", "NS", name("ns.example"))
    cast.say(conn, reply(asked, authorities=(referral,), flags=0))
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message.endswith(referral)


def test_any_other_code_is_a_failure() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.say(conn, reply(query, flags=RD | RA | 9))  # NOTAUTH
    assert cast.codes() == [9] and cast.metric("failed") == 1


def test_of_equals_the_first_is_told() -> None:
    cast = Cast()
    cast.ask("x.example")
    for resolver, ttl_s in ((D1, 1), (D2, 2)):
        conn, query = cast.query_at(resolver)
        soa = record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), ttl_s)
        cast.say(conn, reply(query, "NXDOMAIN", authorities=(soa,)))
    ((message, _),) = cast.told()
    assert message.endswith(record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), 1))


def test_a_worse_answer_waits_for_the_grace_and_no_longer() -> None:
    """[P33]"""
    cast = Cast()
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(UNKNOWN_S - 0.001)
    assert cast.codes() == []
    cast.wait(0.001)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [] and cast.metric("DNS2.late") == 1


@pytest.mark.parametrize(
    ("takes_s", "grace_s"), [(0.001, 0.01), (0.02, 0.06), (0.1, 0.3), (0.3, 0.4)]
)
def test_the_grace_is_three_times_what_the_one_that_is_waited_for_usually_takes(
    takes_s: float, grace_s: float
) -> None:
    """Between the floor and the ceiling; 4 % is what a bucket of times may be wide."""
    cast = Cast()
    for n in range(40):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        cast.wait(takes_s)
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "NXDOMAIN"))
    cast.told()
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(grace_s * 0.94)
    assert cast.codes() == []
    cast.wait(grace_s * 0.1)
    assert cast.codes() == [CODES["NXDOMAIN"]]


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
def test_a_failure_waits_longer_than_a_denial(failure: str) -> None:
    """[P33]: case A3; the good one takes half a second, twenty at a time, and is not silent."""
    cast = Cast()
    for burst in range(3):
        for n in range(20):
            cast.ask(f"n{n}.b{burst}.example")
        cast.answer(D1, *[failure] * 20)
        cast.wait(0.6)
        assert cast.told() == []
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "10.0.0.2"))
        assert cast.codes() == [0] * 20
    cast.ask("x.example")
    cast.answer(D1, failure)
    cast.wait(cast.bounds.grace_failed_s - 0.001)
    assert cast.codes() == []
    cast.wait(0.001)
    assert cast.codes() == [CODES[failure]]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_denial_waits_where_resolvers_differ(is_late: bool) -> None:
    """[P33]: split views are learnt, also from data that comes when NXDOMAIN has been told."""
    cast = Cast()
    for name_ in ("w.example", "x.example"):  # the first reply shows how fast it is
        cast.ask(name_)
        cast.answer(D1, "NXDOMAIN")
        if is_late and name_ == "x.example":
            cast.wait(0.4)
            assert cast.codes() == [CODES["NXDOMAIN"]]
        for conn, query in cast.asked(D2):
            cast.say(conn, said(query, "NXDOMAIN" if name_ == "w.example" else "10.0.0.2"))
        cast.told()
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(cast.bounds.grace_failed_s - 0.01)
    assert cast.codes() == []
    cast.wait(0.01)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.asked(D2)
    cast.ask("z.example")
    cast.answer(D2, "NXDOMAIN")  # the first never had what the second denied
    cast.wait(UNKNOWN_S)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.asked(D1)
    cast.wait(cast.bounds.split_view_s)
    cast.ask("y2.example")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(0.4)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_what_is_held_waits_longer_once_resolvers_differ() -> None:
    """[P33]: also what was denied before that was known, from when it was held."""
    cast = Cast()
    cast.ask("w.example")
    for conn, query in [*cast.asked(D1), *cast.asked(D2)]:
        cast.say(conn, said(query, "NXDOMAIN"))
    cast.told()
    cast.ask("x.example")
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN", "NXDOMAIN")
    cast.wait(0.005)
    x, _ = cast.asked(D2)
    cast.say(x[0], said(x[1], "10.0.0.2"))
    assert cast.codes() == [0]
    cast.wait(cast.bounds.grace_failed_s - 0.006)
    assert cast.codes() == []
    cast.wait(0.001)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_the_grace_can_be_told() -> None:
    """[P33]: `--grace` is the longest; it makes none longer."""
    for text, most_s, waits_s in (
        ("SERVFAIL", 0.0, 0.0),
        ("SERVFAIL", 0.3, 0.3),
        ("SERVFAIL", 9.0, Bounds().grace_failed_s),
        ("NXDOMAIN", 0.05, 0.05),
        ("NXDOMAIN", 9.0, UNKNOWN_S),
    ):
        cast = Cast(grace_s=most_s)
        cast.ask("x.example")
        cast.answer(D1, text)
        if waits_s:
            cast.wait(waits_s - 0.01)
            assert cast.codes() == []
        cast.wait(0.01)
        assert cast.codes() == [CODES[text]]


def test_nothing_is_held_past_a_timeout_and_the_timeout_of_one_ends_no_other() -> None:
    """[P33]: the one whose time is over hears the best that was said."""
    cast = Cast(bounds=replace(Bounds(), grace_failed_s=60.0, dns_timeout_s=1.8))
    cast.resolver(D2).grace.differs(1e9)
    cast.ask("x.example")
    cast.wait(1.0)
    cast.ask("y.example")
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "NXDOMAIN"))
    cast.wait(0.8)
    ((message, _),) = cast.told()
    assert section_of(message).startswith(name("x.example")) and message[3] & 15 == 3
    cast.wait(1.0)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_with_three_the_grace_is_that_of_those_who_are_left() -> None:
    cast = Cast(3)
    for n in range(40):  # DNS2 takes 20 ms; DNS3 has never said anything
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        cast.wait(0.02)
        cast.answer(D2, "10.0.0.2")
        cast.asked(D3)
        if n == 10:
            cast.wait(0.5)  # now it is silent
    cast.told()
    cast.ask("x.example")
    cast.answer(D1, "SERVFAIL")
    cast.answer(D2, "SERVFAIL")
    assert cast.codes() == [CODES["SERVFAIL"]]


# -- silence ---------------------------------------------------------------------------------------


def test_one_that_is_silent_is_not_waited_for_until_it_speaks_again() -> None:
    """[P34]"""
    cast = Cast()
    for n in range(16):
        cast.ask(f"n{n}.example")
        cast.answer(D1, "NXDOMAIN")
        assert cast.codes() == [], n  # the other is waited for
        cast.wait(UNKNOWN_S)
        assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.wait(cast.bounds.grace_max_s)
    assert "DNS2 is silent: nobody waits for it until it replies again" in cast.stage.reports
    cast.asked(D2)
    cast.ask("x.example")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.answer(D2, "NXDOMAIN")  # it was asked all the same
    cast.ask("y.example")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == []
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [0]


def test_many_in_flight_are_no_silence() -> None:
    """Of a hundred that were asked at once forty are lost, and replies to the others have come."""
    cast = Cast()
    for n in range(100):
        cast.ask(f"n{n}.example")
    cast.wait(cast.bounds.grace_max_s - 0.01)
    for conn, query in cast.asked(D2)[:60]:
        cast.say(conn, said(query, "10.0.0.2"))
    cast.wait(0.1)
    assert not any("DNS2 is silent" in report for report in cast.stage.reports)


# -- replies that count ----------------------------------------------------------------------------


def another_id(query: bytes) -> bytes:
    return bytes([query[0] ^ 0x80]) + query[1:]


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "another ID": lambda query: said(another_id(query), "10.6.6.6"),
    "another name": lambda query: said(query, "10.6.6.6").replace(b"\1x", b"\1y"),
    "another type": lambda query: reply(query, section=section_of(query)[:-3] + b"\x1c\0\1"),
    "another class": lambda query: reply(query, section=section_of(query)[:-1] + b"\3"),
    "no reply": lambda query: query,
    "no question": lambda query: query[:2] + b"\x81\x80" + bytes(8),
    "cut short": lambda query: said(query, "10.6.6.6")[:-12],
    "and other bytes": lambda query: malformed(said(query, "10.6.6.6")),
    "an operation": lambda query: query[:2] + b"\xa9" + said(query, "10.6.6.6")[3:],
    "nothing": lambda query: b"",
    "an ID": lambda query: query[:2],
}  # fmt: skip


@pytest.mark.parametrize("spoiled", ["another name", "another type", "no question", "nothing"])
def test_what_is_about_something_else_settles_nothing_that_is_closed_either(spoiled: str) -> None:
    """A question that is asked again would miss the reply that is on its way."""
    cast = Cast(2)
    cast.ask("x.example")
    cast.answer(D2, "10.0.0.2")
    conn, asked = cast.query_at(D1)
    cast.say(conn, SPOILED[spoiled](asked))
    assert cast.metric("DNS1.unmatched") == 1 and cast.metric("DNS1.late") == 0
    cast.say(conn, said(asked, "10.0.0.1").replace(b"example", b"eXAMPLE"))
    assert cast.metric("DNS1.late") == 1


@pytest.mark.parametrize("spoiled", SPOILED)
def test_f5_what_is_no_reply_to_its_question_ends_nothing(spoiled: str) -> None:
    """[P35]: and the good one still counts."""
    cast = Cast(1)
    query = cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, SPOILED[spoiled](asked))
    assert cast.told() == []
    cast.say(conn, said(asked, "10.0.0.1"))
    ((message, _),) = cast.told()
    assert message[:2] == query[:2] and message.endswith(address("10.0.0.1"))
    counted = cast.metric("DNS1.unmatched"), cast.metric("DNS1.malformed")
    is_matched = spoiled in (
        "no reply",
        "no question",
        "cut short",
        "and other bytes",
        "an operation",
        "an ID",
    )
    assert counted == ((0, 1) if is_matched else (1, 0))


def test_a_reply_counts_only_at_the_socket_that_asked() -> None:
    """[P35]"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    for other in cast.sockets(D1):
        if other != conn:
            cast.say(other, said(asked, "10.6.6.6"))
    assert cast.told() == [] and cast.metric("DNS1.unmatched") == 3


def test_a_reply_counts_once_and_only_from_one_who_was_asked_so() -> None:
    """[P35]: IDs are drawn for each resolver, so one cannot answer what another was asked."""
    cast = Cast()
    cast.ask("x.example")
    conn_1, asked_1 = cast.query_at(D1)
    conn_2, asked_2 = cast.query_at(D2)
    assert asked_1[:2] != asked_2[:2] and asked_1[2:] == asked_2[2:]
    cast.say(conn_2, said(asked_1, "10.6.6.6"))
    cast.say(conn_1, said(asked_1, "10.0.0.1"), said(asked_1, "10.6.6.6"))
    ((message, _),) = cast.told()
    assert message.endswith(address("10.0.0.1"))
    assert (cast.metric("DNS1.unmatched"), cast.metric("DNS2.unmatched")) == (0, 1)
    assert cast.metric("DNS1.late") == 1  # the second is a copy, whatever it says


def test_ids_are_the_bytes_of_the_secret_source_and_free_ones() -> None:
    """Two of the same would let one reply end the other's question."""
    drawn = iter([b"\0", b"\1\1\2\2\3\3", b"\0", b"\1\1", b"\2\2", b"\4\4"])
    cast = Cast(1)
    cast.chance.draw = lambda size: next(drawn)
    cast.stage.step(Datagrams(UDP, [(cast.query(f"n{n}.example"), HERE) for n in range(3)]))
    assert [query[:2] for _, query in cast.asked(D1)] == [b"\1\1", b"\2\2", b"\3\3"]
    cast.wait(0.001)
    cast.ask("x.example")
    assert [query[:2] for _, query in cast.asked(D1)] == [b"\4\4"]


def guesses(query: bytes, count: int) -> list[bytes]:
    mine = int.from_bytes(query[:2])
    return [
        said((mine ^ n).to_bytes(2) + query[2:], "10.6.6.6") for n in range(1, count + 1)
    ]  # fmt: skip


def test_who_guesses_finds_other_sockets_and_then_a_stream() -> None:
    """[P36]: it goes on over UDP, by other ports, until the stream is there."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 31))
    assert conn in cast.sockets(D1) and not cast.stage.dialled
    cast.say(conn, *guesses(asked, 1))
    assert conn not in cast.sockets(D1) and cast.hits["unmatched_max"] == 1
    by, again = cast.query_at(D1)
    assert by in cast.sockets(D1) and again[2:] == asked[2:] and again[:2] != asked[:2]
    cast.say(by, said(again, "10.0.0.1"))
    assert cast.codes() == [0]
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.ask("y.example")
    by, other = cast.query_at(D1)
    assert by == stream and question_of(other) == "y.example"
    cast.say(stream, said(other, "10.0.0.2"))
    assert cast.codes() == [0]
    cast.wait(cast.bounds.wary_s)
    cast.ask("z.example")
    ((by, _),) = cast.asked(D1)
    assert by in cast.sockets(D1) and len(cast.sockets(D1)) == cast.bounds.upstream_sockets


def test_a_stream_that_ends_in_wary_times_costs_nobody_time() -> None:
    """[P36]: UDP goes on while it is dialled again."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.asked(D1)
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.stage.end(stream)
    cast.ask("y.example")
    by, asked = cast.query_at(D1)
    assert by in cast.sockets(D1)
    cast.say(by, said(asked, "10.0.0.1"))
    assert 0 in cast.codes()


def test_guesses_at_any_socket_add_up_and_old_ones_are_forgotten() -> None:
    """[P36]: who knows all ports has no more guesses than who knows one. A few now and then are
    replies that came twice, or very late."""
    cast = Cast(1)
    for _ in range(40):
        for n in range(10):
            cast.ask(f"n{n}.example")
        (conn, asked), *_ = cast.asked(D1)
        cast.say(conn, *guesses(asked, 3), said(asked, "10.0.0.1"))
        cast.wait(1.5)
    assert not cast.hits["unmatched_max"]
    cast.wait(10.0)
    cast.asked(D1)
    cast.ask("x.example")
    _, asked = cast.query_at(D1)
    before = cast.sockets(D1)
    for conn in before:
        cast.say(conn, *guesses(asked, 8))
    assert cast.hits["unmatched_max"] == 1 and not set(before) & set(cast.sockets(D1))
    assert len(cast.sockets(D1)) == cast.bounds.upstream_sockets
    assert [question_of(query) for _, query in cast.asked(D1)] == ["x.example"]


def test_without_tcp_it_is_udp_again_by_another_socket() -> None:
    """[P36]"""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    ((by, again),) = cast.asked(D1)
    assert by in cast.sockets(D1) and by != conn
    cast.say(by, said(again, "10.0.0.1"))
    assert cast.codes() == [0]


@pytest.mark.parametrize("how", ["end", "too slow"])
def test_where_tcp_is_taken_and_nothing_said_it_is_udp_again(how: str) -> None:
    """[P36]: only what was cut has no other way."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    cast = Cast(1, bounds=Bounds() if how == "end" else bounds)
    cast.ask("cut.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.asked(D1)
    if how == "too slow":
        cast.stage.held.add(cast.dialled(D1))
    cast.stage.connect(cast.dialled(D1))
    if how == "end":
        assert {question_of(query) for _, query in cast.asked(D1)} == {"cut.example"}
        cast.stage.end(next(iter(cast.stage.framed)))
    ((message, _),) = cast.told()
    assert message[3] & 15 == CODES["SERVFAIL"] and name("cut.example") in message
    cast.ask("y.example")
    ((by, again),) = cast.asked(D1)
    assert by in cast.sockets(D1) and question_of(again) == "y.example"


def test_where_tcp_was_not_to_be_had_a_guess_costs_no_time() -> None:
    """Else one who guesses could have a resolver wait for a dial again and again."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    for _ in range(5):
        conn, asked = cast.query_at(D1)
        cast.say(conn, *guesses(asked, 32))
        assert not cast.stage.dialled and conn not in cast.sockets(D1)
    assert len(cast.sockets(D1)) == cast.bounds.upstream_sockets
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "10.0.0.1"))
    assert cast.codes() == [0]
    assert cast.stage.reports[-1].endswith("or forged; it is asked by other sockets")


def test_guesses_again_re_ask_at_once_only_what_is_young() -> None:
    """[P36]: what has been open for long would take the room of what gets replies, as often as
    somebody guesses. It is asked again all the same, `join_s` after all was."""
    cast = Cast(1)
    cast.ask("old.example")
    conn, asked = cast.query_at(D1)
    cast.wait(0.5)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["old.example"]
    cast.wait(0.3)
    cast.ask("young.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["young.example"]
    cast.wait(0.6)
    assert "old.example" not in [question_of(query) for _, query in cast.asked(D1)]
    cast.wait(0.2)
    assert "old.example" in [question_of(query) for _, query in cast.asked(D1)]


def test_guesses_re_ask_at_once_what_is_held() -> None:
    """[P36], [P39]: somebody waits for it, for a grace at most."""
    cast = Cast(2)
    cast.ask("x.example")
    (first, asked), (second, other) = cast.asked(D1)[0], cast.asked(D2)[0]
    cast.wait(0.3)
    cast.asked(D1)
    cast.say(second, said(other, "REFUSED"))
    cast.asked(D1)
    cast.say(first, *guesses(asked, 32))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["x.example"]


def test_the_only_socket_that_is_given_up_loses_no_question() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1))
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, *guesses(asked, 32))
    cast.stage.refuse(cast.dialled(D1))
    for _ in range(3):
        conn, asked = cast.query_at(D1)
        cast.say(conn, *guesses(asked, 32))
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "10.0.0.1"))
    assert cast.codes() == [0]


def test_guesses_at_a_socket_that_is_retired_cost_no_more_sockets() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_socket_s=0.1))
    for n in range(40):
        cast.ask(f"n{n}.example")
        cast.wait(0.05)
    asked = cast.asked(D1)
    for conn, query in asked:
        cast.say(conn, *guesses(query, 32))
    assert len(cast.resolver(D1).sockets.open) == cast.bounds.upstream_sockets


def test_a_stream_that_is_stuck_is_given_up() -> None:
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    cast.wait(6.0)
    assert stream not in cast.stage.connections
    cast.asked(D1)
    cast.ask("y.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    assert cast.dialled(D1) == stream  # by the same name, so that the loop keeps one place for it


def test_sockets_are_replaced_by_and_by_and_let_go_when_all_is_replied() -> None:
    cast = Cast(1)
    first = cast.sockets(D1)
    assert len(first) == cast.bounds.upstream_sockets
    held: dict[str, bytes] = {}
    for n in range(300):
        cast.ask(f"n{n}.example")
        for conn, query in cast.asked(D1):
            if conn in held:
                cast.say(conn, said(query, "10.0.0.1"))
            else:
                held[conn] = query  # not replied to at once
        cast.wait(0.1)
        assert len(cast.sockets(D1)) <= 3 * cast.bounds.upstream_sockets
        for by, waiting in list(held.items()):
            if n % 20 == 19:
                cast.say(by, said(waiting, "10.0.0.1"))
                del held[by]
    assert not set(first) & set(cast.sockets(D1))
    assert cast.metric("timed_out") + cast.metric("answered") == 300


def test_sockets_are_no_more_when_one_closes_while_the_successor_of_another_is_on_its_way() -> None:
    """The closing of one that has been replaced says nothing about who comes next."""
    cast = Cast(1)
    sockets = cast.resolver(D1).sockets
    most = cast.bounds.upstream_sockets
    first, second = sockets.open[:2]
    first.replace_at = second.replace_at = cast.stage.now
    cast.chance.draw = lambda size: bytes(size)  # the first of those that are open

    def turn(event: Event) -> list[Effect]:
        return cast.brain.step(event, cast.stage.now)

    (dial, sent) = turn(Datagrams(UDP, [(cast.query("x.example"), HERE)]))
    assert isinstance(dial, DialDatagrams) and isinstance(sent, SendTo)
    turn(Opened(dial.conn))
    ((query, _),) = sent.datagrams
    turn(Datagrams(sent.conn, [(said(query, "10.0.0.1"), None)]))  # and it is closed
    (dial, _) = turn(Datagrams(UDP, [(cast.query("y.example"), HERE)]))
    assert isinstance(dial, DialDatagrams)
    turn(Closed(sent.conn, ""))
    turn(Opened(dial.conn))
    assert len(sockets.open) == most and second not in sockets.open


def test_no_socket_is_asked_more_than_it_has_room_for() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1, upstream_asked_max=5))
    for n in range(8):
        cast.ask(f"n{n}.example")
    assert len(cast.asked(D1)) == 5 and cast.hits["upstream_asked_max"] == 3
    cast.wait(6.0)  # a question without hope is forgotten
    cast.ask("x.example")
    assert [question_of(query) for _, query in cast.asked(D1)][-1] == "x.example"


def test_what_is_lost_is_sent_once_more_and_then_forgotten() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    ((_, first),) = cast.asked(D1)
    cast.wait(1.0)
    ((conn, again),) = cast.asked(D1)
    assert first[2:] == again[2:] and first[:2] != again[:2]
    cast.wait(3.0)
    assert cast.asked(D1) == []
    cast.say(conn, said(again, "10.0.0.1"))
    assert cast.lines() == b"x.example 10.0.0.1 A IN\n"
    cast.wait(10.0)
    resolver = cast.resolver(D1)
    assert not any(one.asked for one in resolver.sockets.by_conn.values())
    assert resolver.due() == math.inf and cast.brain.deadline() is None


def test_a_silent_one_is_sent_nothing_once_more() -> None:
    cast = Cast()
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.answer(D1, *["10.0.0.1"] * 20)
    cast.asked(D2)
    cast.wait(0.5)
    cast.ask("x.example")
    assert len(cast.asked(D1)) == len(cast.asked(D2)) == 1
    cast.wait(1.0)
    assert (len(cast.asked(D1)), len(cast.asked(D2))) == (1, 0)


# -- in flight -------------------------------------------------------------------------------------


WINDOW_100 = replace(Bounds(), upstream_window=100)


def flood(cast: Cast, count: int, label: str = "n") -> None:
    """Ask so many different questions at once."""
    queries = [cast.query(f"{label}{n}.example") for n in range(count)]
    cast.stage.step(Datagrams(UDP, [(query, HERE) for query in queries]))


def test_no_more_is_in_flight_than_the_window_and_the_rest_waits() -> None:
    """[P40]: case A2."""
    cast = Cast(1)
    flood(cast, 350)
    first = cast.asked(D1)
    assert len(first) == cast.bounds.upstream_window == 350 - cast.metric("DNS1.waiting")
    for conn, query in first[:30]:
        cast.say(conn, said(query, "10.0.0.1"))
    more = cast.asked(D1)
    assert len(more) == 30 and question_of(more[0][1]) == f"n{len(first)}.example"
    for conn, query in [*first[30:], *more]:
        cast.say(conn, said(query, "10.0.0.1"))
    while more := cast.asked(D1):
        for conn, query in more:
            cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] * 350 and cast.metric("DNS1.resent") == 0


def test_what_nobody_wants_any_more_is_skipped_in_the_queue() -> None:
    """[P40]"""
    cast = Cast(bounds=WINDOW_100)
    flood(cast, 150)
    mine = cast.asked(D2)
    while more := cast.asked(D1):
        for conn, query in more:
            cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("DNS2.waiting") == 50
    cast.ask("x.example")
    cast.asked(D1)
    conn, query = mine[0]
    cast.say(conn, said(query, "10.0.0.1"))
    assert [question_of(query) for _, query in cast.asked(D2)] == ["x.example"]
    assert cast.metric("DNS2.waiting") == 0


def test_what_is_overtaken_makes_room() -> None:
    """[P40]: a slow reply, or one that is lost, is no longer in the resolver's socket."""
    cast = Cast(1, bounds=replace(WINDOW_100, upstream_sockets=1))
    for n in range(60):
        cast.ask(f"slow{n}.example")
    cast.asked(D1)
    flood(cast, 100)
    assert cast.metric("DNS1.waiting") == 100 - 40
    conn, query = cast.asked(D1)[0]
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.metric("DNS1.waiting") == 0


def test_what_is_lost_does_not_shut_a_resolver_out() -> None:
    """[P40]: after a while it has left the window, and nothing needs to come for that."""
    cast = Cast(1, bounds=WINDOW_100)
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    flood(cast, 150)
    assert len(cast.asked(D1)) == 100
    cast.wait(cast.bounds.resend_min_s + 0.001)
    assert len(cast.asked(D1)) == 50


def test_the_window_grows_with_what_is_under_way_and_not_with_a_queue() -> None:
    """[P40]: a resolver that is 40 ms away is asked more at once; one whose queue is 40 ms is not,
    though its replies come as fast and as late."""
    for is_far in (True, False):
        cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1))
        if not is_far:
            cast.ask("x.example")
            cast.answer(D1, "10.0.0.1")
        flood(cast, 4_000)
        most = 0
        for _ in range(12):
            round_ = cast.asked(D1)
            most = max(most, len(round_))
            cast.wait(0.04)
            for conn, query in round_:
                cast.say(conn, said(query, "10.0.0.1"))
        assert (most > 400) is is_far, most


def test_a_silent_one_gets_no_queue_but_a_question_now_and_then() -> None:
    """[P34]: and when it replies it is asked for what is open."""
    cast = Cast(1)
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(1.0)
    assert any("DNS1 is silent" in report for report in cast.stage.reports)
    cast.wait(0.2)
    cast.asked(D1)
    for n in range(30):
        cast.ask(f"m{n}.example")
        cast.wait(0.01)
    probes = cast.asked(D1)
    assert 3 <= len(probes) <= 4 and cast.metric("DNS1.waiting") == 0
    conn, query = probes[0]
    cast.say(conn, said(query, "10.0.0.1"))
    again = {question_of(query) for _, query in cast.asked(D1)}
    assert again == {f"{one}{n}.example" for one in "nm" for n in range(30)} - {
        question_of(query), *(f"n{n}.example" for n in range(20, 30))
    }  # fmt: skip


def test_a_silent_one_that_is_refused_fails_what_is_open() -> None:
    """Nobody waits for it, and so nobody is awaited less when it is down."""
    cast = Cast(1)
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(1.0)
    assert any("DNS1 is silent" in report for report in cast.stage.reports)
    cast.told()
    for _ in range(2):  # the first may be about one datagram
        conn = cast.sockets(D1)[-1]
        del cast.stage.replies[conn]
        cast.stage.step(Closed(conn, "connection refused"))
    assert cast.codes() == [CODES["SERVFAIL"]] * 20
    assert cast.metric("pending") == 0


def test_when_one_turns_silent_what_is_held_for_it_is_told_at_once() -> None:
    """[P34]: 40 questions a second, and it dies."""
    cast = Cast()
    for n in range(40):
        cast.ask(f"a{n}.example")
        cast.answer(D1, "REFUSED")
        cast.answer(D2, "REFUSED")
        cast.wait(0.025)
    cast.told()
    died = cast.stage.now
    waits: list[float] = []
    silent_at = 0.0
    asked: dict[bytes, float] = {}
    for n in range(100):
        query = cast.ask(f"b{n}.example")
        asked[query[:2]] = cast.stage.now
        for conn, question in cast.asked(D1):
            cast.say(conn, said(question, "REFUSED"))
        for _ in range(5):
            for message, _ in cast.told():
                waits.append(cast.stage.now - asked.pop(message[:2]))
            if not silent_at and any("silent" in report for report in cast.stage.reports):
                silent_at = cast.stage.now
                assert not asked  # nobody else is missing
            cast.wait(0.005)
    assert max(waits) <= cast.bounds.grace_failed_s
    assert 1.0 <= silent_at - died <= 1.6
    assert not asked or cast.stage.now - min(asked.values()) < 0.03


# -- sent again ------------------------------------------------------------------------------------


def test_what_is_held_is_sent_again_to_who_has_not_replied() -> None:
    """[P39]: after 30 ms, twice as long, and so on, four times."""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.ask("y.example")
    cast.asked(D2)
    x, _ = cast.asked(D1)
    cast.say(x[0], said(x[1], "REFUSED"))
    began = cast.stage.now
    times: list[float] = []
    while cast.stage.now - began < 1.1:
        cast.wait(0.005)
        for _, query in cast.asked(D2):
            if question_of(query) == "x.example":
                times.append(round(cast.stage.now - began, 2))
    assert times == [0.03, 0.09, 0.21, 0.45]
    assert [question_of(query) for _, query in cast.asked(D1)] == ["y.example"]  # once, at 1 s
    assert cast.metric("DNS2.resent") == 4 + 1


def test_what_is_held_later_is_sent_again_at_once_if_it_may_be_lost() -> None:
    """[P39]: the times count from the asking."""
    cast = Cast()
    cast.ask("w.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.1")
    cast.ask("x.example")
    cast.asked(D2)
    cast.wait(0.5)
    assert cast.asked(D2) == []
    cast.answer(D1, "SERVFAIL")
    conn, query = cast.query_at(D2)
    cast.say(conn, said(query, "10.0.0.2"))
    assert cast.codes()[-1] == 0


def test_one_that_is_silent_is_not_sent_again_what_is_held() -> None:
    """[P39]"""
    cast = Cast()
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.answer(D1, *["10.0.0.1"] * 20)
    cast.wait(1.5)
    cast.asked(D2)
    cast.ask("x.example")
    assert len(cast.asked(D2)) == 1  # a probe
    cast.answer(D1, "REFUSED")
    assert cast.codes()[-1] == CODES["REFUSED"]
    cast.wait(2.0)
    assert cast.asked(D2) == []


@pytest.mark.parametrize("ending", ["it replies late", "its sockets are given up"])
def test_what_may_be_lost_is_forgotten_when_it_is_replied_to_too_late(ending: str) -> None:
    """Else each question that it is slow about, and another is not, would be kept for ever."""
    cast = Cast()
    for n in range(50):
        cast.ask(f"n{n}.example")
        cast.wait(0.15)
        conn, query = cast.query_at(D2)
        cast.answer(D1, "10.0.0.1")
        if ending == "it replies late":
            cast.say(conn, said(query, "10.0.0.1"))
        else:
            cast.say(conn, *guesses(query, 32))
    assert not cast.resolver(D2).ageing.overdue


# -- copies, and what comes late -------------------------------------------------------------------


def test_a_resolver_that_says_everything_twice_is_no_guesser() -> None:
    """[P36]: case A11."""
    cast = Cast(1)
    for n in range(500):
        cast.ask(f"n{n}.example")
        conn, query = cast.query_at(D1)
        cast.say(conn, *[said(query, "10.0.0.1")] * 2)
        cast.wait(0.01)
    assert cast.metric("DNS1.late") == 500 and cast.metric("DNS1.unmatched") == 0
    assert not cast.hits["unmatched_max"] and not cast.stage.dialled


def test_a_resolver_that_was_frozen_is_no_guesser() -> None:
    """[P36]: what it replies to is given up long since, but it was asked."""
    cast = Cast(1, bounds=replace(Bounds(), upstream_socket_s=1_000.0))
    asked: list[tuple[str, bytes]] = []
    for n in range(1_000):
        cast.ask(f"n{n}.example")
        asked += cast.asked(D1)
        cast.wait(0.014)
    for conn, query in asked:
        cast.say(conn, said(query, "10.0.0.1"))
    assert len(asked) > 100 and cast.metric("DNS1.unmatched") == 0


def test_of_copies_only_so_many_are_remembered() -> None:
    """[P36]: twice the bound at most."""
    cast = Cast(1, bounds=replace(Bounds(), remembered_max=8, upstream_sockets=1))
    conn = cast.sockets(D1)[0]
    said_ = []
    for n in range(30):
        cast.ask(f"n{n}.example")
        _, query = cast.query_at(D1)
        said_.append(said(query, "10.0.0.1"))
        cast.say(conn, said_[-1])
    cast.say(conn, *said_)
    assert 8 <= cast.metric("DNS1.late") <= 16
    assert cast.metric("DNS1.unmatched") == 30 - cast.metric("DNS1.late")


# -- TCP -------------------------------------------------------------------------------------------


def test_a_stream_that_closes_after_each_reply_costs_two_writes_each() -> None:
    """[P41]: case A12."""
    cast = Cast(1)
    flood(cast, 300)
    written = 0
    while waiting := [one for one in cast.asked(D1) if one[0] in cast.sockets(D1)]:
        for conn, query in waiting:
            cast.say(conn, said(query, "TC"))
    while cast.stage.dialled:
        stream = cast.dialled(D1)
        cast.stage.connect(stream)
        asked = cast.asked(D1)
        written += len(asked)
        cast.say(stream, said(asked[0][1], "10.0.0.1"))
        cast.stage.end(stream)
    assert cast.codes() == [0] * 300
    assert written <= 3 * 300


def test_a_stream_that_stays_after_one_that_closed_gets_more_and_more() -> None:
    """[P41]"""
    cast = Cast(1)
    flood(cast, 60)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    first = cast.dialled(D1)
    cast.stage.connect(first)
    cast.say(first, said(cast.asked(D1)[0][1], "10.0.0.1"))
    cast.stage.end(first)
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    sizes = []
    while asked := cast.asked(D1):
        sizes.append(len(asked))
        cast.say(stream, *[said(query, "10.0.0.1") for _, query in asked])
    assert sizes == [2, 4, 8, 16, 29] and cast.codes() == [0] * 60


def test_a_stream_that_closes_on_several_questions_is_tried_with_one() -> None:
    """[P41]: and then it is no way at all."""
    cast = Cast(1)
    flood(cast, 5)
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "TC"))
    for size in (5, 1):
        stream = cast.dialled(D1)
        cast.stage.connect(stream)
        assert len(cast.asked(D1)) == size
        cast.stage.end(stream)
    assert cast.codes() == [CODES["SERVFAIL"]] * 5 and not cast.stage.dialled


def test_what_is_cut_is_asked_for_again_over_tcp_and_the_stream_is_kept() -> None:
    cast = Cast(1)
    query = cast.ask("x.example MX", edns=opt())
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    assert cast.told() == []
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    by, again = cast.query_at(D1)
    assert by == stream and again[2:] == asked[2:]
    cast.say(stream, reply(again, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message == reply(query, answers=(MX,))
    cast.ask("y.example MX")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    assert not cast.stage.dialled and cast.query_at(D1)[0] == stream


def test_what_is_too_long_for_the_asker_is_cut_by_us() -> None:
    """[P37]"""
    cast = Cast(1)
    long = tuple(record(TO_QUESTION, "TXT", bytes([200]) + bytes(200)) for _ in range(4))
    for edns, fits in ((b"", False), (opt(size=4096), True)):
        query = cast.ask("x.example TXT", edns=edns)
        conn, asked = cast.query_at(D1)
        cast.say(conn, reply(asked, answers=long))
        ((message, _),) = cast.told()
        flags = int.from_bytes(message[2:4])
        assert bool(flags & TC) is not fits and message[:2] == query[:2]
        assert len(message) <= (1232 if fits else 512)


@pytest.mark.parametrize("edns", [b"", opt()])
def test_what_no_message_can_hold_beside_our_opt_record_is_cut(edns: bytes) -> None:
    """A resolver without EDNS may fill a message to its last byte; that has ended LS."""
    cast = Cast(1)
    cast.stage.accept(TCP)
    cast.stage.hear(TCP, frame(cast.query("x.example TXT", edns=edns)))
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    cast.stage.connect(cast.dialled(D1))
    conn, asked = cast.query_at(D1)
    room = 65_535 - len(reply(asked, additionals=())) - len(record(TO_QUESTION, "TXT", b""))
    longest = reply(asked, answers=(record(TO_QUESTION, "TXT", bytes(room)),), additionals=())
    cast.say(conn, longest)
    (message,) = split_frames(cast.stage.take(TCP))
    if edns:
        assert message[2] & 2 and len(message) < 100 and message.endswith(opt())
    else:
        assert message[2:] == longest[2:]


def test_tc_without_tcp_counts_as_a_failure() -> None:
    cast = Cast()
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    cast.stage.refuse(cast.dialled(D1))
    assert cast.codes() == []
    cast.answer(D2, "REFUSED")
    assert cast.codes() == [CODES["REFUSED"]]


@pytest.mark.parametrize("has_spoken", [True, False])
def test_a_stream_that_is_ended_is_dialled_again_if_it_ever_spoke(has_spoken: bool) -> None:
    cast = Cast(1)
    if has_spoken:
        cast.ask("x.example")
        conn, asked = cast.query_at(D1)
        cast.say(conn, said(asked, "TC"))
        cast.stage.connect(cast.dialled(D1))
        cast.answer(D1, "10.0.0.1")
        cast.told()
    cast.ask("y.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    if not has_spoken:
        cast.stage.connect(cast.dialled(D1))
    stream, _ = cast.query_at(D1)
    cast.stage.end(stream)
    if has_spoken:
        cast.stage.connect(cast.dialled(D1))
        cast.answer(D1, "10.0.0.2")
        assert cast.codes() == [0]
    else:
        assert cast.codes() == [CODES["SERVFAIL"]] and not cast.stage.dialled


def test_tc_on_a_stream_is_a_failure_at_once() -> None:
    """[P47]: there is no other way that could bring more."""
    cast = Cast(1)
    cast.ask("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, said(asked, "TC"))
    stream = cast.dialled(D1)
    cast.stage.connect(stream)
    _, asked = cast.query_at(D1)
    cast.say(stream, said(asked, "TC"))
    assert cast.codes() == [CODES["SERVFAIL"]] and cast.metric("DNS1.malformed") == 0
    assert cast.asked(D1) == []


# -- replies that are relayed ----------------------------------------------------------------------


def test_a_reply_is_relayed_as_it_came_but_for_what_is_between_two_hops() -> None:
    """[P37]: a cookie, padding and the like stay here, and what explains the reply goes on."""
    cast = Cast(1)
    cookie, padding, ede = option(10, bytes(24)), option(12, bytes(9)), option(15, b"\0\3stale")
    glue = record(name("mail.example"), "A", address("10.0.0.7"))
    for edns in (b"", opt(), opt(flags=DO), opt(option(10, bytes(8)))):
        query = cast.ask("X.Example MX", edns=edns)
        conn, asked = cast.query_at(D1)
        has_do = bool(edns) and edns[7] & 0x80
        assert question_of(asked) == "x.example TYPE15" + " +do" * bool(has_do)
        flags = DO if has_do else 0
        theirs = opt(cookie + ede + padding, size=4096, flags=flags)
        cast.say(conn, reply(asked, answers=(MX,), additionals=(glue, theirs, glue)))
        ((message, _),) = cast.told()
        ours = (glue, opt(ede, flags=flags)) if edns else (glue,)
        assert message == reply(query, answers=(MX,), additionals=ours)


def test_bits_of_the_query_go_to_the_resolver_and_who_differs_does_not_join() -> None:
    """[P37]"""
    cast = Cast(1)
    for flags, edns, text in (
        (RD, b"", "x.example"),
        (RD | AD, b"", "x.example TYPE1 +ad"),
        (RD | CD, opt(flags=DO), "x.example TYPE1 +cd+do"),
        (0, b"", "x.example TYPE1 -rd"),
        (RD, opt(), None),
    ):
        cast.ask("x.example", flags=flags, edns=edns, whence=THERE)
        assert [question_of(query) for _, query in cast.asked(D1)] == (
            [] if text is None else [text]
        )
    assert cast.metric("joined") == 1


def test_each_asker_has_its_own_id_and_spelling() -> None:
    """[P37]"""
    cast = Cast(1)
    queries = [
        cast.ask(text, whence=whence)
        for text in ("x.example", "X.eXample")
        for whence in (HERE, THERE)
    ]
    cast.answer(D1, "10.0.0.1")
    assert [(message[:2], section_of(message), whence) for message, whence in cast.told()] == [
        (query[:2], section_of(query), whence)
        for query, whence in zip(queries, [HERE, THERE] * 2, strict=True)
    ]


def test_a_code_that_needs_edns_is_servfail_to_one_without() -> None:
    cast = Cast(1)
    for edns in (b"", opt()):
        cast.ask("x.example", edns=edns)
        conn, asked = cast.query_at(D1)
        cast.say(conn, reply(asked, flags=RD | RA | 7, additionals=(opt(high=1),)))  # BADCOOKIE
        ((message, _),) = cast.told()
        assert message[3] & 15 == (7 if edns else CODES["SERVFAIL"])
        assert not edns or message[-11:] == opt(high=1)


def test_a_stream_of_dns_is_relayed_to_as_well() -> None:
    cast = Cast(1)
    cast.stage.accept(TCP)
    query = cast.query("x.example TXT")
    cast.stage.hear(TCP, frame(query))
    conn, asked = cast.query_at(D1)
    long = tuple(record(TO_QUESTION, "TXT", bytes([200]) + bytes(200)) for _ in range(4))
    cast.say(conn, reply(asked, answers=long))
    assert split_frames(cast.stage.take(TCP)) == [reply(query, answers=long, additionals=())]


# -- lines -----------------------------------------------------------------------------------------


def test_a_client_of_lines_gets_the_addresses_that_aliases_lead_to() -> None:
    cast = Cast(1)
    cast.say_lines("X.example", "y.example AAAA")
    (conn, x), (_, y) = cast.asked(D1)
    alias = record(TO_QUESTION, "CNAME", name("other.example"))
    found = [record(name("OTHER.example"), "A", address(text)) for text in ("10.0.0.1", "10.0.0.2")]
    stray = record(name("stray.example"), "A", address("10.6.6.6"))
    cast.say(conn, reply(x, answers=(found[0], stray, alias, found[1])), said(y, "2001:db8::1"))
    assert cast.lines() == b"x.example 10.0.0.1,10.0.0.2 A IN\ny.example 2001:db8::1 AAAA IN\n"


def test_an_alias_that_leads_to_nothing_is_no_data() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, answers=(record(TO_QUESTION, "CNAME", name("other.example")),)))
    assert cast.lines() == b"x.example - NO DATA\n"


def test_a_set_that_no_line_holds_is_cut_to_what_it_does() -> None:
    cast = Cast(1)
    cast.say_lines("x.example")
    cast.answer(D1, ",".join(f"10.200.200.{n}" for n in range(100, 160)))
    line = cast.lines()
    assert 490 < len(line) <= 513 and line.endswith(b" A IN\n") and b",, " not in line


def test_a_long_set_is_written_once_for_all_who_ask() -> None:
    """A client that asked often for a name with thousands of addresses has stopped LS."""
    cast = Cast(1)
    cast.say_lines(*["x.example"] * 300)
    conn, asked = cast.query_at(D1)
    many = [record(TO_QUESTION, "A", number.to_bytes(4)) for number in range(3_000)]
    answer = reply(asked, answers=tuple(many))
    parsed = read_reply(answer[2:])
    assert parsed is not None and parsed.addresses is parsed.addresses
    cast.say(conn, answer)
    assert len(cast.lines().splitlines()) == 300


def test_lines_and_queries_join() -> None:
    cast = Cast(1)
    cast.say_lines("X.example")
    cast.ask("x.example")
    assert len(cast.asked(D1)) == 1 and cast.metric("joined") == 1


# -- beside table servers --------------------------------------------------------------------------


def test_table_servers_are_asked_what_a_line_can_ask_and_are_waited_for() -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example")
    cast.ask("x~.example MX")
    assert cast.stage.take("TS1") == b"x.example\n"
    (conn, x), (_, mx) = cast.asked(D1)
    cast.say(conn, said(x, "NXDOMAIN"), said(mx, "NXDOMAIN"))
    assert cast.codes() == [CODES["NXDOMAIN"]]  # of MX: nobody else was asked
    cast.stage.hear("TS1", b"x.example 10.0.0.1 A IN\n")
    ((message, _),) = cast.told()
    assert message.endswith(address("10.0.0.1"))


def test_a_query_that_says_more_than_a_line_is_asked_of_tables_as_the_line() -> None:
    """dig sets AD, and a resolver DO: a name of a table is theirs as well as anybody's."""
    cast = Cast(1, tables=1)
    plain = cast.ask("x.example AAAA")
    signed = cast.ask("X.Example AAAA", edns=opt(flags=DO))
    asked = {question_of(query) for _, query in cast.asked(D1)}
    assert asked == {"x.example AAAA", "x.example TYPE28 +do"}
    assert cast.stage.take("TS1") == b"x.example AAAA\nx.example AAAA\n"
    cast.stage.hear("TS1", b"x.EXAMPLE 2001:db8::1,2001:db8::2 AAAA IN\n")
    told = {message[:2]: message for message, _ in cast.told()}
    for query, edns in ((plain, b""), (signed, opt(flags=DO))):
        message = told[query[:2]]
        assert section_of(message) == section_of(query) and message[6:8] == b"\0\2"
        assert address("2001:db8::1") in message and address("2001:db8::2") in message
        assert message.endswith(edns)
    assert not part_of(cast.brain, LineEquivalents) and cast.metric("TS1.won") == 2


@pytest.mark.parametrize("flags", [RD | AD, RD | CD, 0])
def test_what_a_table_has_not_is_said_of_the_query_that_says_more_too(flags: int) -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example", flags=flags)
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == []
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.ask("y.example", flags=flags)
    cast.answer(D1, "SERVFAIL")
    cast.stage.hear("TS1", b"y.example - NO DATA\n")
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:8] == b"\0\0"
    cast.ask("z.example", flags=flags)
    cast.wait(1.8)
    assert not part_of(cast.brain, LineEquivalents)


@pytest.mark.parametrize(("question", "lines"), [("x.example MX", 1), ("x~.example MX", 0)])
def test_a_table_server_is_not_silent_about_what_it_cannot_be_asked(
    question: str, lines: int
) -> None:
    """Nor about what it cannot have: that it has the name is no reply in a sampled race."""
    cast = Cast(1, tables=1, sample=1.0)
    cast.ask(question)
    conn, asked = cast.query_at(D1)
    cast.say(conn, reply(asked, answers=(MX,)))
    assert cast.metric("sampled") == 1 and cast.metric("TS1.asked") == lines
    assert cast.metric("TS1.silent") == 0 and cast.metric("DNS1.won") == 1


@pytest.mark.parametrize("flags", [RD, RD | AD])
def test_a_silent_table_server_holds_a_worse_answer_up_for_as_little_as_no_data(flags: int) -> None:
    cast = Cast(1, tables=1)
    cast.ask("x.example", flags=flags)
    cast.answer(D1, "NXDOMAIN")
    cast.wait(cast.bounds.no_data_s * 0.9)
    assert cast.codes() == []
    cast.wait(cast.bounds.no_data_s * 0.1)
    assert cast.codes() == [CODES["NXDOMAIN"]]


def test_not_found_of_all_tables_is_no_word_of_a_resolver() -> None:
    cast = Cast(1, tables=1)
    cast.say_lines("x.example")
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    assert cast.lines() == b""
    cast.answer(D1, "10.0.0.1")
    assert cast.lines() == b"x.example 10.0.0.1 A IN\n"
    cast.say_lines("y.example")
    cast.answer(D1, "SERVFAIL")
    cast.stage.hear("TS1", b"y.example - NOT FOUND\n")
    assert cast.lines() == b"y.example - FAILED\n"


def test_a_table_server_that_comes_again_is_not_waited_for_about_what_it_cannot_be_asked() -> None:
    cast = Cast(tables=1)
    cast.ask("x~.example MX")
    cast.answer(D1, "SERVFAIL")
    cast.stage.reset("TS1")
    cast.wait(cast.bounds.redial_first_s)
    cast.stage.connect("TS1")
    cast.answer(D2, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]]


# -- a table that has the name ---------------------------------------------------------------------

HAS = [b"web.corp 10.0.0.1 A IN\n", b"web.corp - NO DATA\n"]  # A, and AAAA only
NOTHING = ["NXDOMAIN", "REFUSED", "SERVFAIL"]


@pytest.mark.parametrize("has", HAS)
@pytest.mark.parametrize("code", NOTHING)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_name_of_a_table_exists_whatever_type_is_asked(
    has: bytes, code: str, is_first: bool
) -> None:
    """[P42]: NO DATA, as a DNS client hears it; who spoke first does not matter."""
    cast = Cast(1, tables=1)
    query = cast.ask("Web.Corp MX")
    assert cast.stage.take("TS1") == b"web.corp\n"
    if is_first:
        cast.stage.hear("TS1", has)
    assert cast.codes() == []
    cast.answer(D1, code)
    if not is_first:
        assert cast.codes() == []
        cast.stage.hear("TS1", has)
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:12] == bytes(6)
    assert section_of(message) == section_of(query)
    assert cast.metric("no_data") == 1 and cast.metric("late") == 0
    assert cast.metric("TS1.late") == 0 and cast.metric("TS1.asked") == 1
    assert not part_of(cast.brain, LineEquivalents) and cast.brain.parts.negatives.is_empty


def test_a_table_s_no_data_for_a_line_beats_nxdomain_too() -> None:
    cast = Cast(1, tables=1)
    cast.ask("web.corp AAAA")
    cast.say_lines("web.corp AAAA")
    cast.stage.hear("TS1", b"web.corp AAAA - NO DATA\n")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [0] and cast.lines() == b"web.corp AAAA - NO DATA\n"


@pytest.mark.parametrize("has", HAS)
def test_a_name_of_a_table_shortens_no_wait_for_data(has: bytes) -> None:
    """[P42]: a resolver that needs 2 s for the MX is heard, and is not pressed."""
    cast = Cast(1, tables=1, bounds=replace(Bounds(), dns_timeout_s=4.5))
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", has)
    conn, query = cast.query_at(D1)
    cast.wait(0.9)
    assert cast.codes() == [] and cast.asked(D1) == []  # nothing is held for a grace
    cast.wait(1.1)
    cast.say(conn, reply(query, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message.endswith(MX)


def test_a_refusal_waits_no_shorter_for_data_since_a_table_has_the_name() -> None:
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    cast.answer(D1, "REFUSED")
    cast.wait(cast.bounds.grace_failed_s - 0.01)
    assert cast.codes() == []
    (conn, query) = cast.asked(D2)[0]
    cast.say(conn, reply(query, answers=(MX,)))
    ((message, _),) = cast.told()
    assert message.endswith(MX)


def test_nxdomain_begins_the_grace_of_a_name_of_a_table() -> None:
    """Not the table's word: from then on the other resolver has its time, and then it is NO DATA,
    though it was NXDOMAIN that was said with a message."""
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    cast.wait(0.5)
    soa = record(TO_QUESTION, "SOA", b"\0\0" + bytes(20), 1)
    conn, query = cast.asked(D1)[0]
    cast.say(conn, reply(query, "NXDOMAIN", authorities=(soa,)))
    cast.wait(UNKNOWN_S - 0.001)
    assert cast.codes() == []
    cast.wait(0.001)
    ((message, _),) = cast.told()
    assert message[3] & 15 == 0 and message[6:12] == bytes(6)


@pytest.mark.parametrize("how", ["time", "silence"])
def test_a_name_of_a_table_is_no_data_where_resolvers_say_nothing(how: str) -> None:
    """[P42]: at the asker's time, or at once where nobody is left who may have data."""
    cast = Cast(1, tables=2)
    if how == "silence":
        for n in range(cast.bounds.silent_questions):
            cast.ask(f"n{n}.example")
        cast.wait(1.5)
        cast.told()
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])  # and TS2 is silent: it could say nothing better
    if how == "time":
        cast.wait(cast.bounds.dns_timeout_s - 0.01)
        assert cast.codes() == []
        cast.wait(0.01)
    assert cast.codes()[-1:] == [0]


def test_no_data_of_a_resolver_waits_for_no_table_that_cannot_have_the_type() -> None:
    cast = Cast(1, tables=1)
    cast.ask("web.corp MX")
    cast.answer(D1, "NOERROR")
    assert cast.codes() == [0]
    cast.stage.hear("TS1", HAS[0])
    assert cast.metric("TS1.late") == 1 and cast.brain.parts.negatives.is_empty


def test_nxdomain_waits_for_a_table_as_no_data_does() -> None:
    """A table that is silent does not have the name, or is slow."""
    cast = Cast(1, tables=1)
    cast.ask("web.corp MX")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(cast.bounds.no_data_s * 0.9)
    assert cast.codes() == []
    cast.wait(cast.bounds.no_data_s * 0.1)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    cast.ask("other.corp MX")
    cast.stage.hear("TS1", b"other.corp - NOT FOUND\n")
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [CODES["NXDOMAIN"]] and cast.metric("late") == 0


@pytest.mark.parametrize("kind", ["", " AAAA", " MX"])
def test_names_below_one_of_a_table_are_no_word_beside_resolvers(kind: str) -> None:
    """[P44]: a table that has names below `com` says nothing of `com`; it has spoken, though."""
    cast = Cast(tables=1)
    for code in ("NXDOMAIN", "SERVFAIL"):
        cast.ask(f"com{kind}")
        line = cast.stage.take("TS1").strip()
        cast.stage.hear("TS1", line + b" - NAMES BELOW\n")
        cast.answer(D1, code)
        assert cast.codes() == []
        cast.answer(D2, code)
        assert cast.codes() == [CODES[code]]
    cast.ask(f"com{kind}")
    cast.stage.hear("TS1", line + b" - NAMES BELOW\n")
    cast.answer(D1, "NXDOMAIN")
    cast.wait(UNKNOWN_S)
    assert cast.codes() == [CODES["NXDOMAIN"]]
    assert cast.metric("TS1.malformed") == 0 and cast.metric("late") == 0


def test_a_table_is_asked_once_for_all_types_of_one_read() -> None:
    cast = Cast(1, tables=1)
    queries = [cast.query(f"web.corp {kind}".strip()) for kind in ("", "MX", "TXT", "AAAA")]
    cast.stage.step(Datagrams(UDP, [(query, HERE) for query in queries]))
    assert cast.stage.take("TS1") == b"web.corp\nweb.corp AAAA\n"
    assert cast.metric("TS1.asked") == 2
    cast.stage.hear("TS1", b"web.corp 10.0.0.1 A IN\nweb.corp AAAA - NO DATA\n")
    assert cast.codes() == [0]
    for conn, query in cast.asked(D1):
        cast.say(conn, said(query, "NXDOMAIN"))
    assert cast.codes() == [0, 0, 0] and cast.metric("no_data") == 3


def test_data_after_the_name_of_a_table_does_not_say_that_servers_differ() -> None:
    """No table denies it. Else each MX would make the resolver one that is waited for longer."""
    cast = Cast(tables=1)
    cast.ask("web.corp MX")
    cast.stage.hear("TS1", HAS[0])
    conn, query = cast.asked(D1)[0]
    cast.say(conn, reply(query, answers=(MX,)))
    assert cast.codes() == [0]
    cast.asked(D2)
    cast.ask("x.example")
    cast.answer(D2, "NXDOMAIN")
    cast.stage.hear("TS1", b"x.example - NOT FOUND\n")
    cast.wait(cast.bounds.grace_max_s)
    assert cast.codes() == [CODES["NXDOMAIN"]]


@pytest.mark.parametrize("extra_load", [0.0, 1.0])
def test_hedging_asks_a_table_for_the_name_last(extra_load: float) -> None:
    """[P42]: where resolvers have nothing."""
    cast = Cast(1, tables=1, extra_load=extra_load)
    cast.ask("web.corp MX")
    assert cast.stage.take("TS1") == b""
    cast.answer(D1, "NXDOMAIN")
    assert cast.codes() == [] and cast.stage.take("TS1") == b"web.corp\n"
    cast.stage.hear("TS1", HAS[0])
    assert cast.codes() == [0]


# -- policies, samples, the end --------------------------------------------------------------------


def test_hedging_asks_one_and_the_next_when_the_first_has_nothing_good() -> None:
    cast = Cast(extra_load=0.0)
    cast.ask("x.example")
    assert cast.asked(D2) == []
    cast.answer(D1, "SERVFAIL")
    assert cast.codes() == []
    cast.answer(D2, "10.0.0.2")
    assert cast.codes() == [0]


@pytest.mark.parametrize("explore_every", [1, 1_000])
def test_hedging_asks_nobody_what_it_cannot_be_asked(explore_every: int) -> None:
    """A table server, however fast it is, has nothing to say to a query for MX, and is not thought
    to be slow for it."""
    cast = Cast(tables=1, extra_load=0.05, bounds=Bounds(explore_every=explore_every))
    for n in range(30):
        cast.say_lines(f"a{n}.example")
        cast.stage.hear("TS1", f"a{n}.example 10.0.0.1 A IN\n".encode())
        for conn, query in cast.asked(D1) + cast.asked(D2):
            cast.say(conn, said(query, "10.0.0.1"))
        cast.stage.take("TS1")
        cast.ask(f"x{n}.example MX")
        (conn, query) = (cast.asked(D1) + cast.asked(D2))[0]
        cast.wait(0.02)
        cast.say(conn, reply(query, answers=(MX,)))
        assert cast.codes() == [0] and cast.stage.take("TS1") == b""
    if explore_every > 1:
        assert cast.metric("TS1.won") == 30


def test_hedging_asks_a_table_server_that_comes_for_nothing_that_it_cannot_be_asked() -> None:
    cast = Cast(2, tables=1, extra_load=0.0, refused={f"DNS1.{n}" for n in range(1, 5)})
    cast.stage.reset("TS1")
    cast.ask("x~.example MX")
    cast.ask("x.example")
    cast.wait(0.1)
    cast.asked(D1)
    cast.stage.connect("TS1")
    cast.wait(1.0)
    assert cast.stage.take("TS1") == b"x.example\n"
    cast.wait(0.8)
    assert cast.codes() == [CODES["SERVFAIL"]] * 2


def test_hedging_counts_the_answers_and_losses_of_resolvers() -> None:
    cast = Cast(extra_load=1.0)
    cast.ask("x.example")
    cast.wait(0.05)
    cast.answer(D2, "10.0.0.2")
    cast.answer(D1, "10.0.0.1")
    assert cast.codes() == [0]
    assert (cast.metric("hedged"), cast.metric("DNS2.won"), cast.metric("DNS1.late")) == (1, 1, 1)


def test_resolvers_that_differ_are_reported_and_recorded() -> None:
    cast = Cast(3, sample=1.0)
    cast.ask("x.example")
    cast.answer(D1, "10.0.0.1")
    cast.answer(D2, "10.0.0.2,10.0.0.1")
    cast.answer(D3, "REFUSED")
    assert cast.metric("disagreements") == 1
    assert cast.stage.reports[-1] == (
        "TSs disagree about x.example: DNS1 10.0.0.1, DNS2 10.0.0.2,10.0.0.1"
    )
    cast.ask("y.example MX")
    for resolver in (D1, D2, D3):
        conn, asked = cast.query_at(resolver)
        cast.say(conn, reply(asked, answers=(MX,)))
    assert cast.metric("disagreements") == 1 and cast.metric("sampled") == 2


def test_a_question_that_comes_back_joins_and_costs_nothing_more() -> None:
    """A loop: what LS asks its resolver is asked of LS again, by whoever that forwards to."""
    cast = Cast(1)
    cast.ask("x.example MX", edns=opt(flags=DO))
    for _ in range(3):
        for _, query in cast.asked(D1):
            cast.stage.step(Datagrams(UDP, [(query, THERE)]))
    assert cast.asked(D1) == [] and cast.metric("joined") == 1
    cast.wait(1.8)
    assert cast.codes() == [CODES["SERVFAIL"]] * 2


def test_a_resolver_without_sockets_is_dialled_again() -> None:
    cast = Cast(1, refused={f"DNS1.{n}" for n in range(1, 5)})
    assert cast.metric("DNS1.state") == "DOWN" and cast.brain.unhealthy() == "no server is up"
    cast.ask("x.example")
    assert cast.codes() == [CODES["SERVFAIL"]]  # nobody could be asked
    cast.wait(0.1)
    assert cast.metric("DNS1.state") == "UP" and cast.brain.unhealthy() == ""
    assert cast.stage.reports == ["DNS1 is down (refused); dialling it again", "DNS1 is up"]
    cast.ask("x.example")
    assert len(cast.asked(D1)) == 1


@pytest.mark.parametrize("extra_load", [None, 0.0])
def test_a_resolver_that_comes_is_asked_for_all_that_is_open_however_much(
    extra_load: float | None,
) -> None:
    """Nothing waits for a socket of datagrams, so nothing will be said to be less by and by."""
    bounds = replace(Bounds(), waiting_bytes_high=30, waiting_bytes_low=10)
    gone = {f"DNS1.{n}" for n in range(1, 5)}
    cast = Cast(2, bounds=bounds, refused=gone, extra_load=extra_load)
    for n in range(20):
        cast.ask(f"n{n}.example")
    cast.wait(0.1)
    assert cast.metric("DNS1.state") == "UP" and len(cast.asked(D1)) == 20


def test_a_drain_closes_every_socket_and_ends() -> None:
    cast = Cast(tables=1)
    cast.ask("x.example")
    cast.ask("y.example")
    (conn, x), (other, y) = cast.asked(D1)
    cast.say(other, said(y, "TC"))
    cast.stage.end(CLIENT)
    cast.stage.drain()
    assert cast.stage.exit_code is None
    cast.say(conn, said(x, "10.0.0.1"))
    cast.stage.connect(cast.dialled(D1))
    cast.answer(D1, "10.0.0.2")
    cast.stage.end("TS1")
    assert cast.stage.exit_code == 0 and not cast.sockets(D1) and not cast.sockets(D2)
    assert [message[3] & 15 for message, _ in cast.told()] == [0, 0]


def test_what_is_asked_in_text_can_be_logged_and_ends_its_own_asker_only() -> None:
    """Names with any byte in them; one asks for another's text."""
    cast = Cast(1)
    odd = [b"\5a b.c\0", b"\3a\nb\0", b"\3a\\b\0", b"\7a - b.c\0", b"\0"]
    for number, packed in enumerate(odd):
        head = number.to_bytes(2) + RD.to_bytes(2) + b"\0\1\0\0\0\0\0\0"
        cast.stage.step(Datagrams(UDP, [(head + packed + b"\0\x10\0\1", HERE)]))
    assert sorted(section_of(query)[:-4] for _, query in cast.asked(D1)) == sorted(odd)
    cast.wait(1.8)
    assert [(message[:2], section_of(message)[:-4]) for message, _ in cast.told()] == [
        (number.to_bytes(2), packed) for number, packed in enumerate(odd)
    ]


def test_flags_of_the_reply_are_the_resolvers() -> None:
    cast = Cast(1)
    cast.ask("x.example", flags=RD | AD)
    conn, asked = cast.query_at(D1)
    cast.say(
        conn,
        reply(asked, answers=(record(TO_QUESTION, "A", address("10.0.0.1")),), flags=RD | RA | AD),
    )
    ((message, _),) = cast.told()
    assert int.from_bytes(message[2:4]) == 0x8000 | RD | RA | AD


def bounds_said(*said: tuple[str, float], upstreams: int = 1, workers: int | None = None) -> Bounds:
    """Return what the command line makes of these."""
    words = ["0", "localhost", "5001", *["--dns-upstream", "192.0.2.1"] * upstreams]
    for bound, value in said:
        words += ["--bound", f"{bound}={value}"]
    if workers is not None:
        words += ["--workers", str(workers)]
    return read_ls_options(words).server.bounds


def test_workers_share_what_may_be_in_flight() -> None:
    """[P40]"""
    for workers, share in ((None, 150), (1, 150), (3, 50), (256, 1)):
        assert bounds_said(workers=workers).upstream_window == share


@pytest.mark.parametrize("given", [[], [("timeout_s", 1.0)]], ids=["defaults", "short lines"])
def test_a_good_reply_after_2_5_s_is_relayed_by_default(given: list[tuple[str, float]]) -> None:
    cast = Cast(1, bounds=bounds_said(*given))
    cast.ask("x.example")
    conn, query = cast.query_at(D1)
    cast.wait(2.5)
    assert cast.codes() == []
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] and cast.metric("DNS1.unmatched") == 0


def test_lines_time_out_as_they_are_told_beside_patient_dns() -> None:
    cast = Cast(1, bounds=bounds_said(("timeout_s", 1.0)))
    cast.say_lines("x.example")
    cast.ask("x.example")
    cast.wait(1.1)
    assert cast.lines() == b"x.example - TIMED OUT\n" and cast.codes() == []


@pytest.mark.parametrize(
    ("given", "upstreams", "due_s"),
    [
        ([], 1, 4.5),
        ([], 0, 1.8),
        ([("dns_timeout_s", 1.8)], 1, 1.8),
        ([("dns_timeout_s", 0.5)], 0, 0.5),
        ([("dns_timeout_s", 9.0), ("dns_timeout_s", 3.0)], 1, 3.0),
        ([("dns_timeout_upstream_s", 3.0)], 1, 3.0),
        ([("dns_timeout_upstream_s", 3.0)], 0, 1.8),
    ],
)
def test_servfail_comes_when_it_was_said_or_by_who_is_asked(
    given: list[tuple[str, float]], upstreams: int, due_s: float
) -> None:
    cast = Cast(upstreams, tables=1, bounds=bounds_said(*given, upstreams=upstreams))
    cast.ask("x.example")
    cast.wait(due_s - 0.1)
    assert cast.codes() == []
    cast.wait(0.2)
    assert cast.codes() == [CODES["SERVFAIL"]]
