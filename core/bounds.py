"""Every bound of the running system, once, each with its reason.

Rules: what both ends of a conversation must agree on (the length of a line, of a name) is grammar
and stands in `core/protocol/names.py`; everything here is one program's own choice, so a test or
an operator may run with another value. Units stand last in each name. A reason begins with what is
bounded; `--list-bounds` prints it. `proto.md` lists every field with its default, and
`tests/protocol/test_proto.py` compares the two.

A mark pair `*_high` / `*_low` is hysteresis: the limit takes hold above the first and lets go
below the second, so that a value that hovers around one mark does not flap.

`BoundHits` counts how often a bound took hold, by the name of its field: one of COUNTED. The code
that keeps a bound counts it, and a server reports the counts when it stops.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TypeVar

BoundHits = Counter[str]
COUNTED = (  # bounds whose hits are counted
    "accept_rest_s", "accepts_per_turn", "away_s", "clients_max", "datagrams_per_turn", "dial_s",
    "dns_clients_max", "dns_idle_s", "dns_per_second", "drain_grace_s", "errors_in_a_row_max",
    "held_s", "idle_s", "late_turns", "linger_s", "mid_line_s", "owed_all_bytes_high",
    "owed_bytes_high", "pending_per_client_max", "read_bytes", "stream_pending_max",
    "surplus_answers_max", "tls_accepts_per_turn", "tls_clients_max", "tls_per_second",
    "turn_bytes", "turn_sent_bytes", "unmatched_max", "upstream_asked_max", "waiting_bytes_high",
    "watchers_max", "write_stall_s",
)  # fmt: skip
FD_SETSIZE = 1024  # descriptors that select() can hold, whatever it is told
PIPE_BYTES = 4_096  # bytes that a pipe takes whole or not at all: PIPE_BUF (POSIX: 512 or more)
TICK_S = 0.001  # shortest span: a turn takes about as long
_INT_MAX = 2**31 - 1  # backlog that listen() takes
_READ_BYTES_MAX = 16 * 1024 * 1024  # recv() allocates before it knows what is there
_ASKED_MAX = 32_768  # half of all IDs: a free ID is found by trying
_SLEEP_MAX_S = 86_400.0  # select() refuses what does not fit its clock
_Value = TypeVar("_Value", int, float)


def _bound(default: _Value, reason: str) -> _Value:
    """Return a field with this default, and the reason for it."""
    return field(default=default, metadata={"reason": reason})


@dataclass(frozen=True, slots=True)
class Bounds:
    """All bounds of one program. Times are in s; the rest are counts of what the name says.

    Raises ValueError when they contradict each other, or what `select` can do.
    """

    # -- time ---------------------------------------------------------------------------------
    timeout_s: float = _bound(5.0, "question without an answer: what the first system promised")
    dns_timeout_s: float = _bound(
        1.8, "DNS question without an answer: tables take no time, so it is lost by then"
    )
    dns_timeout_upstream_s: float = _bound(
        4.5, "DNS question where there are resolvers: dig and libc wait for 5 s"
    )
    join_s: float = _bound(
        1.0, "age of a query that a question may share; an older one may be lost"
    )
    no_data_s: float = _bound(
        0.01, "wait of NO DATA for another server's answer: not felt by a person"
    )
    held_s: float = _bound(1.0, "time for which a TS that takes nothing may hold up the clients")
    dial_s: float = _bound(
        3.0, "dial of one address: two lost SYNs (1 s, 3 s); users wait no longer"
    )
    redial_first_s: float = _bound(
        0.05, "first wait for a redial: a question outlives a TS's restart"
    )
    redial_max_s: float = _bound(
        1.0, "longest wait for a redial: a SYN a second; a TS is back a second late"
    )
    start_s: float = _bound(
        2.0, "wait for the name service at the start; then LS serves without it"
    )
    lookup_max_s: float = _bound(5.0, "longest wait before an unknown host is looked up again")
    lookup_each_s: float = _bound(
        1.0, "wait for each of many unknown hosts: a lookup costs 20 ms of a core"
    )
    away_s: float = _bound(
        30.0, "absence after which a server may have moved: its host is looked up again"
    )
    mid_line_s: float = _bound(
        10.0, "time from the first byte of a line to its end; it takes microseconds"
    )
    write_stall_s: float = _bound(10.0, "time in which the peer takes no byte: it is gone or stuck")
    restart_first_s: float = _bound(0.05, "first wait after a worker died: its clients miss it")
    restart_max_s: float = _bound(
        1.0, "longest wait after a worker died: clients wait; a start costs 30 ms of a core"
    )
    retire_s: float = _bound(
        10.0, "time that a replaced worker serves who is connected, before it drains"
    )
    news_s: float = _bound(
        1.0, "time between reports of a worker: metrics as fresh as a page has to be"
    )
    linger_s: float = _bound(5.0, "wait between our end of stream and the peer's")
    dns_idle_s: float = _bound(10.0, "idle time of a DNS stream (RFC 7766, section 6.2.3)")
    idle_s: float = _bound(
        math.inf, "idle time of a connection: kept by default, it costs one descriptor"
    )
    accept_rest_s: float = _bound(
        0.1, "pause in accepting without descriptors: else the loop would spin"
    )
    drain_grace_s: float = _bound(1.0, "time past the last timeout, for the reply to be taken")
    patience_s: float = _bound(
        30.0, "wait of a client for its next reply: after that it has lost its LS"
    )
    # -- hedging ------------------------------------------------------------------------------
    hedge_delay_min_s: float = _bound(
        0.001, "shortest delay until the next TS is asked: a turn or two"
    )
    hedge_delay_max_s: float = _bound(
        0.05, "longest delay until the next TS is asked: one slow server must not raise it"
    )
    hedge_tokens_max: int = _bound(
        100, "speculative questions saved up: one bad moment, not a bad hour"
    )
    hedge_per_turn: int = _bound(
        1024, "questions looked at in a turn: some ms, however many are open"
    )
    explore_every: int = _bound(100, "questions of which one asks another TS first")
    tier_s: float = _bound(
        0.5, "time of a tier until the next one is asked, too: a person hardly waits for it"
    )
    # -- resolvers ----------------------------------------------------------------------------
    grace_min_s: float = _bound(0.01, "shortest wait of a worse answer: not felt by a person")
    grace_max_s: float = _bound(
        0.4, "longest wait of a worse answer: a page waits for several names in turn"
    )
    grace_unknown_s: float = _bound(
        0.1, "wait for a resolver that has not shown yet how fast it is"
    )
    grace_failed_s: float = _bound(
        1.2, "wait of REFUSED and SERVFAIL: enough for four resends and a reply"
    )
    stale_after_s: float = _bound(
        1.8, "wait of old data, while nobody says anything: as long as DNS clients bear (RFC 8767)"
    )
    stale_hold_s: float = _bound(
        0.03, "shortest wait of old data once a resolver has failed: another may be back"
    )
    stale_again_s: float = _bound(
        5.0, "time in which old data is told again at once: a server that is gone is no faster"
    )
    failure_kept_s: float = _bound(
        5.0, "time for which a failure is told again: a storm is one question (RFC 9520)"
    )
    split_view_s: float = _bound(
        600.0, "time in which NXDOMAIN waits, too, after resolvers differed"
    )
    resend_min_s: float = _bound(0.03, "time until a held question is resent: busy servers take it")
    resends_max: int = _bound(
        4, "resends of a question, each after twice as long as the one before"
    )
    silent_questions: int = _bound(
        16, "questions in a row without a reply: the resolver is not waited for"
    )
    silent_s: float = _bound(
        1.0, "shortest time of a resolver's silence: a burst of questions is none"
    )
    failing_replies: int = _bound(16, "failures in a row: the server is said to fail")
    failing_s: float = _bound(
        2.0, "shortest time of failures in a row: one bad name asked often is none"
    )
    refusing_s: float = _bound(
        60.0, "shortest time of REFUSED in a row: half of a split view is refused, and well"
    )
    try_s: float = _bound(1.0, "time between looks at a server, and tries of one that is not good")
    probe_s: float = _bound(
        0.1, "time between questions to a silent resolver: they cost it nothing"
    )
    upstream_window: int = _bound(
        150, "queries in flight: over half of what a usual socket buffer holds"
    )
    upstream_sockets: int = _bound(
        4, "sockets to each: a guess has to hit one; each costs a read a turn"
    )
    upstream_socket_s: float = _bound(
        10.0, "life of a socket: the next has a port that no guesser knows"
    )
    upstream_asked_max: int = _bound(_ASKED_MAX, "queries in flight on one socket")
    remembered_max: int = _bound(
        4_096, "queries remembered of one socket: a copy of a reply is no guess"
    )
    unmatched_max: int = _bound(
        32, "replies that match nothing: of 65,536 IDs few have been tried by then"
    )
    plain_s: float = _bound(600.0, "time without EDNS: a forger may have brought it about")
    wary_s: float = _bound(
        10.0, "time on TCP alone after a suspected forger, who has to find a port anew"
    )
    # -- a turn ------------------------------------------------------------------------------------
    accepts_per_turn: int = _bound(
        16, "connections accepted: a storm of them must not starve the others"
    )
    tls_accepts_per_turn: int = _bound(
        2, "TLS connections accepted in a turn: a handshake is 0.5 ms of it"
    )
    read_bytes: int = _bound(
        64 * 1024, "bytes of one read: large enough to batch, small enough to share"
    )
    dns_read_bytes: int = _bound(
        2 * 1024, "bytes of one read of a DNS stream: a hundred queries, not thousands"
    )
    turn_bytes: int = _bound(
        128 * 1024, "bytes read from all accepted connections, in equal shares"
    )
    turn_sent_bytes: int = _bound(
        4 * 1024 * 1024, "bytes sent to all accepted connections, in equal shares: some 30 ms"
    )
    datagrams_per_turn: int = _bound(
        512, "datagrams of one socket: enough to batch, few enough to share"
    )
    late_turns: int = _bound(
        16, "turns that a due deadline waits while a TS still has answers to read"
    )
    quiet_look_s: float = _bound(0.002, "wait of what a quiet client sends, while others are busy")
    sleep_s: float = _bound(60.0, "wait of one select: in effect no timer is ever further away")
    # -- bytes waiting for a peer -------------------------------------------------------------
    owed_bytes_high: int = _bound(64 * 1024, "bytes owed to a client: above, it is not read")
    owed_bytes_low: int = _bound(16 * 1024, "bytes owed to a client: below, it is read again")
    owed_all_bytes_high: int = _bound(
        64 * 1024 * 1024, "bytes owed to all, replies to come included: above, few are read"
    )
    owed_all_bytes_low: int = _bound(
        48 * 1024 * 1024, "bytes owed to all: below, every client is read again"
    )
    few_bytes: int = _bound(8 * 1024, "bytes owed to a client that is always read: 16 questions")
    few_read_bytes: int = _bound(
        128, "bytes of one read of such a client: 64 of the shortest questions"
    )
    waiting_bytes_high: int = _bound(
        1024 * 1024, "bytes waiting for a TS: above, no client is read"
    )
    waiting_bytes_low: int = _bound(
        256 * 1024, "bytes waiting for a TS: below, clients are read again"
    )
    # -- counts -------------------------------------------------------------------------------
    descriptors_max: int = _bound(FD_SETSIZE, "descriptors; fewer leave some to others")
    descriptors_spare: int = _bound(
        16, "descriptors of files that are read again, of sockets that close"
    )
    clients_max: int = _bound(
        992, "clients; fewer where descriptors are few: see `core/io/descriptors.py`"
    )
    lookups_max: int = _bound(
        4, "host lookups at once: each is a process, and some 20 ms of a core"
    )
    quiet_turns: int = _bound(
        1_024, "turns without a byte after which a client is quiet: half a second"
    )
    quiet_least: int = _bound(
        64, "quiet clients: with fewer, each turn looks at all; they cost it 15 us"
    )
    backlog_max: int = _bound(1024, "connections that the kernel keeps for us until we accept")
    pending_per_client_max: int = _bound(
        65_536, "open questions of a client: with more it is not read"
    )
    stream_pending_max: int = _bound(
        128, "open questions of a DNS stream (RFC 7766, section 6.2.1)"
    )
    samples_max: int = _bound(65_536, "races watched at once: each is some 2 KB")
    stats_per_read: int = _bound(16, "STATS answered in one read: each is some 2 KB for 6 bytes")
    dns_per_second: int = _bound(
        1_000, "datagrams of one address that are taken; loopback is exempt"
    )
    dns_clients_max: int = _bound(64, "DNS streams at once; most DNS comes in datagrams")
    tls_clients_max: int = _bound(128, "DNS clients by TLS at once: each is some 26 KiB")
    tls_per_second: int = _bound(
        20, "TLS connections of one address in a second; loopback is exempt"
    )
    watchers_max: int = _bound(
        16, "connections to the status page at once: each lives for one request"
    )
    names_held_max: int = _bound(
        1_000_000, "names of a client that are not yet written: each is some 250 bytes"
    )
    errors_in_a_row_max: int = _bound(
        16, "errors in a row: a peer that makes them speaks another protocol"
    )
    surplus_answers_max: int = _bound(
        100, "lines of a TS beyond what it was asked: with more it is no TS"
    )

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            least, most = (TICK_S, math.inf) if bound.name.endswith("_s") else (1, _INT_MAX)
            if not least <= value <= most:
                raise ValueError(f"{bound.name} must be from {least} to {most}, not {value}")
        for low, high in (
            ("owed_bytes_low", "owed_bytes_high"),
            ("owed_all_bytes_low", "owed_all_bytes_high"),
            ("waiting_bytes_low", "waiting_bytes_high"),
            ("redial_first_s", "redial_max_s"),
            ("redial_first_s", "lookup_max_s"),
            ("restart_first_s", "restart_max_s"),
            ("hedge_delay_min_s", "hedge_delay_max_s"),
            ("grace_min_s", "grace_max_s"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} cannot be more than {high}")
        for name, most in (
            ("descriptors_max", FD_SETSIZE),
            ("read_bytes", _READ_BYTES_MAX),
            ("dns_read_bytes", _READ_BYTES_MAX),
            ("few_read_bytes", _READ_BYTES_MAX),
            ("sleep_s", _SLEEP_MAX_S),
            ("upstream_asked_max", _ASKED_MAX),
        ):
            if getattr(self, name) > most:
                raise ValueError(f"{name} cannot be more than {most}")

    @property
    def longest_s(self) -> float:
        """The longest time that any asker waits, whatever it speaks."""
        return max(self.timeout_s, self.dns_timeout_s)

    def drain_s(self, with_dns: bool) -> float:
        """Return how long a drain may take: until the last question of any asker is over."""
        return (self.longest_s if with_dns else self.timeout_s) + self.drain_grace_s


def reasons() -> Iterator[tuple[str, float, str]]:
    """Yield each bound: its name, its default, and the reason for that."""
    defaults = Bounds()
    for bound in fields(Bounds):
        yield bound.name, getattr(defaults, bound.name), bound.metadata["reason"]
