"""Askers that speak DNS, before the real LS: who gets which reply, when, and who is not heard.

The tests play a brain with two links, a socket of datagrams (`UDP`), streams, and clients that
speak lines. A query is made by hand, a reply is looked at by its ID, its code, its spelling and its
addresses.

Not here: what stands in a message (`tests/nodes/test_query.py`), datagrams under chance
(`tests/nodes/test_load_balancer_machine.py`), and sockets (`tests/processes/test_dns_loopback.py`).
"""

import struct
from dataclasses import replace
from typing import Any

import pytest

from core.addresses import Datagram
from core.bounds import BoundHits, Bounds
from core.datagram_events import Datagrams
from core.environment import Environment
from core.events import Woken
from core.io.frame_buffer import frame, split_frames
from core.metrics import Value
from core.owed import Owed
from nodes.ls import dns_shared as module
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.dns_shared import DnsShared
from tests.fuzz_dns import Fuzz
from tests.support.balancers import load_balancer
from tests.support.dns_clients import AAAA, A, Reply, query
from tests.support.stage import Stage

SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)
T1, T2 = "TS1", "TS2"
UDP, TCP, TLS = "dns-client-0", "dns-client-1", "tls-client-1"
MX = 15
NOERROR, SERVFAIL = 0, 2
HERE, THERE = ("127.0.0.1", 4000), ("127.0.0.1", 4001)
EDNS = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)


def started(bounds: Bounds | None = None, **more: Any) -> Stage:  # noqa: ANN401
    bounds = bounds or Bounds()
    hits = BoundHits()
    dns = DnsFrontEnd(Environment(bounds, hits), 60)
    brain = load_balancer(SERVERS, bounds, lambda: 0.0, dns=dns, hits=hits, **more)
    stage = Stage.begun(brain, bounds)
    stage.take_datagrams(UDP)
    stage.connect(T1)
    stage.connect(T2)
    return stage


def ask(stage: Stage, *datagrams: Datagram) -> None:
    """Let these come in one turn."""
    stage.step(Datagrams(UDP, list(datagrams)))


def replies(stage: Stage) -> list[tuple[Reply, Any]]:
    """Return what was said by UDP since the last time, and to whom."""
    said, stage.replies[UDP] = stage.replies[UDP], []
    return [(Reply(data), whence) for data, whence in said]


def metrics(stage: Stage) -> dict[str, Any]:
    values: list[Value] = stage.brain.metrics()  # type: ignore[attr-defined]
    return {value.key: value.value for value in values}


# -- a race with two kinds of askers ---------------------------------------------------------------


def test_a_question_of_many_is_asked_once_and_replied_to_each() -> None:
    """[P29]"""
    stage = started()
    stage.accept("client-1")
    stage.accept(TCP)
    ask(stage, (query(1, b"x"), HERE), (query(2, b"X"), THERE), (query(1, b"x"), HERE))
    stage.hear("client-1", b"X\n")
    stage.hear(TCP, frame(query(9, b"x")))
    assert stage.take(T1) == b"x\n"
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    said = replies(stage)
    assert [(r.number, r.name, whence) for r, whence in said] == [
        (1, b"x", HERE),
        (2, b"X", THERE),
        (1, b"x", HERE),
    ]
    assert stage.take("client-1") == b"x 10.0.0.1 A IN\n"
    (data,) = split_frames(stage.take(TCP))
    assert Reply(data).number == 9
    told = metrics(stage)
    assert (told["asked"], told["answered"], told["joined"], told["dns_queries"]) == (5, 5, 4, 4)
    assert told["clients"] == told["sessions"] == 1


def test_several_addresses_are_turned_round_from_reply_to_reply() -> None:
    stage = started()
    seen = []
    for number in range(4):
        ask(stage, (query(number, b"x"), HERE))
        stage.hear(T1, b"x 10.0.0.1,10.0.0.2,10.0.0.3 A IN\n")
        ((reply, _),) = replies(stage)
        seen.append([address[-1] for address in reply.addresses])
    assert seen == [["1", "2", "3"], ["2", "3", "1"], ["3", "1", "2"], ["1", "2", "3"]]


@pytest.mark.parametrize(
    ("first", "second", "codes"),
    [
        (b"x - NOT FOUND\nx AAAA - NO DATA\n", b"x - NOT FOUND\nx AAAA - NOT FOUND\n", [3, 0, 3]),
        (b"x AAAA - NO DATA\n", b"x AAAA - NO DATA\nx 10.0.0.1 A IN\n", [0, 0, 0]),
        # [P44]: a resolver that trusts NXDOMAIN would deny the names below it (RFC 8020).
        (
            b"x - NAMES BELOW\nx AAAA - NAMES BELOW\n",
            b"x - NOT FOUND\nx AAAA - NOT FOUND\n",
            [0, 0, 0],
        ),
    ],
)
def test_what_tables_say_becomes_a_code(first: bytes, second: bytes, codes: list[int]) -> None:
    """A query for another type asks whether the name is known, and gets no addresses."""
    stage = started()
    ask(stage, *((query(number, b"x", kind), HERE) for number, kind in enumerate((A, AAAA, MX))))
    assert stage.take(T1) == b"x\nx AAAA\n"
    stage.hear(T1, first)
    assert replies(stage) == []
    stage.hear(T2, second)
    said = sorted((reply.number, reply.code, len(reply.addresses)) for reply, _ in replies(stage))
    counts = [int(b"10.0.0.1" in second), 0, 0]
    assert said == list(zip(range(3), codes, counts, strict=True))


def test_f11_time_is_up_sooner_for_dns_than_for_lines() -> None:
    stage = started()
    stage.accept("client-1")
    ask(stage, (query(1, b"x"), HERE))
    stage.hear("client-1", b"x\n")
    stage.wait(1.75)
    assert replies(stage) == []
    stage.wait(0.1)
    assert [(reply.number, reply.code) for reply, _ in replies(stage)] == [(1, SERVFAIL)]
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert stage.take("client-1") == b"x 10.0.0.1 A IN\n" and replies(stage) == []


# -- streams ---------------------------------------------------------------------------------------


def test_f8_a_stream_gets_its_replies_as_they_are_ready() -> None:
    """Not in order (RFC 7766, section 6.2.1.1)."""
    stage = started()
    stage.accept(TCP)
    sent = b"".join(frame(query(n, b"n%d" % n)) for n in range(100))
    stage.hear(TCP, sent[:1000], sent[1000:1001], sent[1001:])
    stage.hear(T1, b"".join(b"n%d 10.0.0.%d A IN\n" % (n, n) for n in range(99, -1, -1)))
    said = [Reply(data) for data in split_frames(stage.take(TCP))]
    assert [reply.number for reply in said] == list(range(99, -1, -1))


def test_a_stream_that_has_ended_gets_what_it_is_owed() -> None:
    stage = started()
    stage.accept(TCP)
    stage.hear(TCP, frame(query(1, b"x")) + b"\0\x30half")
    stage.end(TCP)
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert [Reply(data).number for data in split_frames(stage.take(TCP))] == [1]
    assert stage.has_ended(TCP)


def test_f7_a_stream_without_dns_is_ended_with_what_is_owed() -> None:
    stage = started()
    stage.accept(TCP)
    stage.hear(TCP, frame(query(1, b"x")) + b"\0\0" * 15 + frame(query(2, b"y")) + b"\0\0" * 15)
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert not stage.has_ended(TCP)
    stage.hear(TCP, b"\0\0" * 30_000 + frame(query(3, b"z")))
    assert metrics(stage)["dns_ignored"] == 31 and stage.take(T1) == b"x\ny\n"
    stage.hear(T1, b"y 10.0.0.2 A IN\n")
    assert [Reply(message).number for message in split_frames(stage.take(TCP))] == [1, 2]
    assert stage.has_ended(TCP)


# -- padding ---------------------------------------------------------------------------------------

PADDED = EDNS[:-2] + struct.pack(">HHH", 84, 12, 80) + bytes(80)
PADDED_REPLY_BYTES = 468
TRANSFER = 252


def test_a_padded_query_by_tls_gets_padded_replies() -> None:
    stage = started()
    stage.accept(TLS)
    for number, (name, kind) in enumerate(((b"x", A), (b"x", MX), (b"y", A), (b"z", A))):
        stage.hear(TLS, frame(query(number, name, kind, PADDED)))
    stage.hear(TLS, frame(query(4, b"x", TRANSFER, PADDED)))
    stage.hear(T1, b"x 10.0.0.1 A IN\ny - NOT FOUND\n")
    stage.hear(T2, b"y - NOT FOUND\n")
    stage.wait(2.0)
    said = split_frames(stage.take(TLS))
    assert {len(message) for message in said} == {PADDED_REPLY_BYTES}
    told = sorted((reply.number, reply.code, len(reply.addresses)) for reply in map(Reply, said))
    assert told == [(0, 0, 1), (1, 0, 0), (2, 3, 0), (3, SERVFAIL, 0), (4, 5, 0)]


@pytest.mark.parametrize(
    ("conn", "edns", "size"),
    [
        (TLS, PADDED, PADDED_REPLY_BYTES),
        (TLS, EDNS, 46),
        (TLS, b"", 35),
        (TCP, PADDED, 46),  # RFC 7830, section 6: anybody can read it
        (UDP, PADDED, 46),
    ],
    ids=["padded", "not padded", "without EDNS", "by TCP", "by UDP"],
)
def test_only_padded_queries_by_tls_get_padded_replies(conn: str, edns: bytes, size: int) -> None:
    """[P120]: the same bytes may have come by another way before."""
    stage = started()
    stage.accept(TLS)
    stage.accept(TCP)

    def reply_bytes(conn: str, edns: bytes) -> int:
        if conn == UDP:
            ask(stage, (query(1, b"x", A, edns), HERE))
        else:
            stage.hear(conn, frame(query(1, b"x", A, edns)))
        stage.hear(T1, b"x 10.0.0.1 A IN\n")
        stage.hear(T2, b"x 10.0.0.1 A IN\n")
        (message,) = (
            split_frames(stage.take(conn)) if conn != UDP else [stage.replies[UDP].pop()[0]]
        )
        assert Reply(message).addresses == ["10.0.0.1"]
        return len(message)

    for other in (TLS, TCP, UDP):
        reply_bytes(other, PADDED)
        reply_bytes(other, EDNS)
    assert reply_bytes(conn, edns) == size


def test_queries_by_tls_count_as_all_dns_queries_do() -> None:
    stage = started()
    for conn in (TLS, TCP):
        stage.accept(conn)
        stage.hear(conn, frame(query(1, b"x", A, PADDED)))
    values: list[Value] = stage.brain.metrics()  # type: ignore[attr-defined]
    assert [value.value for value in values if value.key == "dns_queries"] == [2]
    assert metrics(stage)["clients"] == 0


# -- askers that are not heard ---------------------------------------------------------------------


def test_what_is_no_query_is_ignored_and_a_wrong_one_refused() -> None:
    """[P30]: and what is right beside them is asked."""
    stage = started()
    reply = bytearray(query(1, b"x"))
    reply[2] |= 0x80
    nothing = [(bytes(reply), HERE), (b"\0" * 11, HERE), (b"", HERE)]
    ask(stage, *nothing, (query(1, b"x") + b"!", HERE), (query(2, b"y"), THERE))
    ((data, whence),) = stage.replies[UDP]
    assert (data[:2], data[3] & 15, whence) == (b"\0\1", 1, HERE)
    told = metrics(stage)
    assert stage.take(T1) == b"y\n" and (told["dns_ignored"], told["dns_refused"]) == (3, 1)


def test_f6_a_datagram_has_no_more_than_the_client_takes() -> None:
    """[P31]"""
    stage = started()
    name = b".".join([b"a" * 63] * 3)
    addresses = b",".join(b"1:%x::" % n for n in range(30))
    ask(stage, (query(1, name, AAAA), HERE), (query(2, name, AAAA, EDNS), HERE))
    stage.accept(TCP)
    stage.hear(TCP, frame(query(3, name, AAAA)))
    line = b"%b %b AAAA IN\n" % (name, addresses[:270].rpartition(b",")[0])
    stage.hear(T1, line)
    (plain, _), (known, _) = replies(stage)
    count = line.count(b",") + 1
    assert plain.is_cut and not plain.addresses
    assert not known.is_cut and len(known.addresses) == count
    (data,) = split_frames(stage.take(TCP))
    assert len(Reply(data).addresses) == count


def test_f9_one_who_asks_too_much_is_not_heard_and_others_are() -> None:
    """[P32]"""
    stage = started(replace(Bounds(), dns_per_second=3))
    flood, other = ("192.0.2.1", 53), ("192.0.2.2", 53)
    ask(stage, *((query(n, b"n%d" % n), flood) for n in range(10)), (query(99, b"x"), other))
    assert stage.take(T1) == b"n0\nn1\nn2\nx\n"
    assert metrics(stage)["dns_limited"] == metrics(stage)["dns_per_second.hits"] == 7
    stage.wait(0.5)
    ask(stage, (query(1, b"still"), flood))
    assert stage.take(T1) == b""
    stage.wait(0.6)
    ask(stage, (query(1, b"again"), flood))
    assert stage.take(T1).split() == [b"again"]


@pytest.mark.parametrize(
    ("hosts", "heard"),
    [
        (["127.0.0.1"] * 5, 5),
        (["127.9.9.9"] * 5, 5),
        (["::1"] * 5, 5),
        (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:1::", "2001:db8:0:1::1"], 3),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3"], 2),
    ],
)
def test_whose_datagrams_count_together(hosts: list[str], heard: int) -> None:
    """IPv6 clients by their /64; this machine's own not at all."""
    stage = started(replace(Bounds(), dns_per_second=2))
    ask(stage, *((query(n, b"n%d" % n), (host, 53, 0, 0)) for n, host in enumerate(hosts)))
    assert stage.take(T1).count(b"\n") == heard


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHE_BYTES_MAX", 6_000)
    shared = DnsShared(Environment(), 60, forwards=False)
    for number in range(100):
        found = shared.queries[query(0, b"n%d" % number)[2:]]
        assert shared.queries[query(1, b"n%d" % number)[2:]] is found
        records = shared.record_sets[b"10.0.0.%d" % number]
        assert shared.record_sets[b"10.0.0.%d" % number] is records
        assert len(shared.queries) <= 10 and len(shared.record_sets) <= 10
    padded = query(0, b"x", edns=EDNS[:-2] + struct.pack(">HHH", 600, 12, 596) + b"\0" * 596)[2:]
    before = dict(shared.queries)
    assert shared.queries[padded] is not None and shared.queries == before


def test_a_datagram_that_there_is_no_room_for_fails_at_once() -> None:
    stage = started(replace(Bounds(), pending_per_client_max=8))
    ask(stage, *((query(n, b"n%d" % n), HERE) for n in range(10)))
    assert [(reply.number, reply.code) for reply, _ in replies(stage)] == [
        (8, SERVFAIL), (9, SERVFAIL),
    ]  # fmt: skip
    assert stage.paused == set() and metrics(stage)["pending_per_client_max.hits"] == 2
    stage.hear(T1, b"n0 10.0.0.1 A IN\n")
    ask(stage, (query(10, b"x"), HERE), (query(11, b"y"), HERE))
    assert [(reply.number, reply.code) for reply, _ in replies(stage)] == [(0, 0), (11, SERVFAIL)]


def test_datagrams_are_read_while_a_link_holds_up_the_rest() -> None:
    stage = started(replace(Bounds(), waiting_bytes_high=10, waiting_bytes_low=5))
    stage.accept(TCP)
    stage.held |= {T1, T2}
    ask(stage, (query(1, b"a-long-name"), HERE))
    assert stage.paused == {TCP}


def test_a_stream_with_too_much_in_flight_is_not_read() -> None:
    stage = started(replace(Bounds(), stream_pending_max=4))
    stage.accept(TCP)
    stage.hear(TCP, b"".join(frame(query(n, b"n%d" % n)) for n in range(4)))
    assert stage.paused == set()
    stage.hear(TCP, frame(query(4, b"n4")))
    assert stage.paused == {TCP} and metrics(stage)["stream_pending_max.hits"] == 1
    stage.hear(T1, b"n4 10.0.0.1 A IN\n")
    assert stage.paused == set()


def test_replies_to_streams_are_promised_as_long_as_they_may_be() -> None:
    owed = Owed(Bounds(), BoundHits())
    stage = started(owed=owed)
    stage.accept(TCP)
    ask(stage, (query(1, b"x"), HERE))
    assert owed.owed_bytes == 0
    stage.hear(TCP, frame(query(1, b"x")) + frame(query(2, b"y")))
    assert owed.owed_bytes == 2 * 65_535
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert owed.owed_bytes == owed.promised_to(TCP) == 65_535
    stage.reset(TCP)
    assert owed.owed_bytes == owed.promised_to(TCP) == 0


def test_a_drain_gives_everyone_what_they_are_owed() -> None:
    stage = started()
    stage.accept(TCP)
    stage.hear(TCP, frame(query(1, b"x")))
    ask(stage, (query(2, b"x"), HERE), (query(3, b"y"), HERE))
    stage.drain()
    ask(stage, (query(4, b"z"), HERE))  # not taken
    stage.hear(T1, b"x 10.0.0.1 A IN\n")
    assert [reply.number for reply, _ in replies(stage)] == [2]
    assert [Reply(data).number for data in split_frames(stage.take(TCP))] == [1]
    assert stage.has_ended(TCP) and stage.exit_code is None
    stage.end(TCP)
    stage.wait(1.9)
    assert [(reply.number, reply.code) for reply, _ in replies(stage)] == [(3, SERVFAIL)]
    stage.end(T1)
    stage.end(T2)
    assert stage.exit_code == 0


@pytest.mark.parametrize("behind", ["tables", "a resolver"])
def test_a_mutated_packet_gets_a_reply_or_silence(behind: str) -> None:
    """Behind a resolver its replies are mutated, too. More of them: `make fuzz-dns`."""
    fuzz = Fuzz("ci", resolvers=behind == "a resolver")
    outcome = fuzz.run(20_000)
    assert outcome.codes.keys() >= {0, 1, 2, 3, 4, 5}
    assert outcome.silent > 400 and outcome.asked > 3_000
    fuzz.now += 60.0
    while fuzz.brain.due <= fuzz.now:
        fuzz.look(fuzz.brain.step(Woken(), fuzz.now))
    assert fuzz.brain.parts.negatives.is_empty and not fuzz.brain.parts.questions.all_open()
