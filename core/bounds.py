"""Every bound of the running system, once, each with its reason.

Rules: what both ends of a conversation must agree on (the length of a line, of a name) is grammar
and stands in `core/protocol/names.py`; everything here is one program's own choice, so a test or
an operator may run with another value. Units stand last in each name. `proto.md` lists every field
with its default, and `tests/test_proto.py` compares the two.

A mark pair `*_high` / `*_low` is hysteresis: the limit takes hold above the first and lets go
below the second, so that a value that trembles round one mark does not flap.

`BoundHits` counts how often a bound took hold, by the name of its field: whoever keeps a bound
counts it, and a server says so when it stops.
"""

import math
from collections import Counter
from dataclasses import dataclass, fields

BoundHits = Counter[str]
FD_SETSIZE = 1024  # select() can hold no descriptor from here on, whatever it is told
PIPE_BYTES = 4_096  # what a pipe takes whole or not at all: PIPE_BUF (POSIX: 512 or more)
TICK_S = 0.001  # no span is shorter: a turn takes about as long
_INT_MAX = 2**31 - 1  # what listen() takes
_READ_BYTES_MAX = 16 * 1024 * 1024  # recv() takes the memory before it knows what is there
_ASKED_MAX = 32_768  # half of all IDs: a free one is looked for by chance
_SLEEP_MAX_S = 86_400.0  # select() refuses what does not fit into its clock


@dataclass(frozen=True, slots=True)
class Bounds:
    """All bounds of one program. Times in s, the rest are counts of what the name says.

    Raises ValueError when they contradict each other, or what `select` can do.
    """

    # -- time ---------------------------------------------------------------------------------
    timeout_s: float = 5.0  # how long a question may stay open: what the first system promised
    dns_timeout_s: float = 1.8  # the same, asked by DNS: a table takes no time, it is lost by then
    dns_timeout_upstream_s: float = 4.5  # where resolvers are asked: dig and stubs wait 5 s
    join_s: float = 1.0  # question shares a query sent less than this ago; an older one may be lost
    no_data_s: float = 0.01  # NO DATA waits so long for another's answer: not felt by a person
    held_s: float = 1.0  # a TS that takes nothing may hold up the clients this long, not longer
    dial_s: float = 3.0  # one address: two lost SYNs (1 s, 3 s); a user waits no longer for a name
    redial_first_s: float = 0.05  # a TS that restarts is back within a question's life
    redial_max_s: float = 2.0  # a dead TS costs a SYN every 2 s, and is back 2 s after it returns
    start_s: float = 2.0  # LS waits so long for the name service before it serves without it
    lookup_max_s: float = 5.0  # longest wait before an unknown name is looked up again
    lookup_each_s: float = 1.0  # the same for each of many: a lookup costs 20 ms of a core
    away_s: float = 30.0  # a TS that has been away so long may have moved: look its host up again
    mid_line_s: float = 10.0  # longest time for a line, which takes microseconds
    write_stall_s: float = 10.0  # no byte taken for this long: the peer is gone or stuck
    restart_first_s: float = 0.05  # first wait for a dead worker: its clients miss it
    restart_max_s: float = 5.0  # longest such wait: a worker that cannot live must not cost a core
    news_s: float = 1.0  # how often workers report their metrics: as fresh as a page has to be
    linger_s: float = 5.0  # between our end of stream and the peer's: then we stop waiting
    dns_idle_s: float = 10.0  # a stream of DNS on which nothing comes or goes (RFC 7766, 6.2.3)
    idle_s: float = math.inf  # a connection that says nothing costs one descriptor: kept by default
    accept_rest_s: float = 0.1  # after running out of descriptors: or the loop would spin
    drain_grace_s: float = 1.0  # past the timeout of the last question, for its reply to be taken
    patience_s: float = 30.0  # a client that waits longer for a reply has lost its LS
    # -- hedging ------------------------------------------------------------------------------
    hedge_delay_min_s: float = 0.001  # the next TS is asked no sooner: a turn or two of ours
    hedge_delay_max_s: float = 0.05  # the same at most: one slow server must not raise the delay
    hedge_tokens_max: int = 100  # speculative questions saved up: one bad moment, not a bad hour
    hedge_per_turn: int = 1024  # questions looked at: some ms, however many are open
    explore_every: int = 100  # one question in so many asks another TS first
    # -- resolvers ----------------------------------------------------------------------------
    grace_min_s: float = 0.01  # a worse answer waits so long in any case: not felt by a person
    grace_max_s: float = 0.4  # the same at most: a page waits for several names in turn
    grace_unknown_s: float = 0.1  # the same for a resolver that has not shown how fast it is
    grace_failed_s: float = 1.2  # REFUSED and SERVFAIL wait so long: for four resends and a reply
    split_view_s: float = 600.0  # after a resolver had what another denied, NXDOMAIN waits as long
    resend_min_s: float = 0.03  # held: sent again no sooner; a busy resolver takes so long
    resends_max: int = 4  # number of resends, each after twice as long as the one before
    silent_questions: int = 16  # no reply to so many in a row, and it is not waited for
    silent_s: float = 1.0  # shortest time of such silence: a burst of questions is none
    probe_s: float = 0.1  # time between questions to a silent resolver: it costs it nothing
    upstream_window: int = 150  # in flight: over half of what a socket of the usual size holds
    upstream_sockets: int = 4  # for each: a guess has to find one, and each costs a turn a read
    upstream_socket_s: float = 10.0  # then another port: what was found out of it is worth nothing
    upstream_asked_max: int = _ASKED_MAX  # by one socket
    remembered_max: int = 4_096  # pairs kept of one socket: a copy of a reply is no guess
    unmatched_max: int = 32  # replies that match nothing: of 65,536 IDs few have been tried then
    plain_s: float = 600.0  # time without EDNS: a forger may have asked for it
    wary_s: float = 10.0  # time on TCP alone after a suspected forger, who has to find a port anew
    # -- one turn -----------------------------------------------------------------------------
    accepts_per_turn: int = 16  # a storm of connections must not starve those who are served
    read_bytes: int = 64 * 1024  # one read: large enough to batch, small enough to share
    dns_read_bytes: int = 2 * 1024  # of a stream that carries DNS: a hundred queries, not thousands
    turn_bytes: int = 128 * 1024  # read of all accepted connections together, in equal shares
    turn_sent_bytes: int = 4 * 1024 * 1024  # sent to all of them, likewise: some 30 ms
    datagrams_per_turn: int = 512  # of one socket: large enough to batch, small enough to share
    late_turns: int = 16  # turns a due deadline waits while a TS still has answers to read
    sleep_s: float = 60.0  # the longest select: no timer is ever further away in effect
    # -- bytes waiting for a peer -------------------------------------------------------------
    owed_bytes_high: int = 64 * 1024  # more owed to a client that does not read: it is not read
    owed_bytes_low: int = 16 * 1024
    owed_all_bytes_high: int = 64 * 1024 * 1024  # owed to all, with what pending replies may be
    owed_all_bytes_low: int = 48 * 1024 * 1024
    few_bytes: int = 8 * 1024  # whoever is owed less is read above it, too: 16 questions of lines
    few_read_bytes: int = 128  # the most read of those at a time: 64 of the shortest questions
    waiting_bytes_high: int = 1024 * 1024  # more waiting for a TS: no client is read
    waiting_bytes_low: int = 256 * 1024
    # -- counts -------------------------------------------------------------------------------
    descriptors_max: int = FD_SETSIZE  # or less, to leave some to others
    descriptors_spare: int = 16  # files that are read anew, sockets that part or are closed
    clients_max: int = 992  # less where descriptors are few: see `core/io/descriptors.py`
    lookups_max: int = 4  # each is a process: some 20 ms of a processor
    backlog_max: int = 1024  # connections that the kernel keeps for us until we accept
    pending_per_client_max: int = 65_536  # open questions of a client: with more it is not read
    stream_pending_max: int = 128  # the same of a stream that carries DNS (RFC 7766, 6.2.1)
    samples_max: int = 65_536  # races that are watched at once: each is some 2 KB
    stats_per_read: int = 16  # STATS answered in one read: each is some 2 KB for 6 bytes
    dns_per_second: int = 1_000  # datagrams of one address that are heard; loopback is exempt
    dns_clients_max: int = 64  # streams that carry DNS at once; most of it goes by datagrams
    watchers_max: int = 16  # connections to the status page at once: each lives for one request
    errors_in_a_row_max: int = 16  # whoever errs this often speaks another protocol
    surplus_answers_max: int = 100  # answers beyond what a TS was asked: then it is not a TS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least, most = (TICK_S, math.inf) if field.name.endswith("_s") else (1, _INT_MAX)
            if not least <= value <= most:
                raise ValueError(f"{field.name} has to be from {least} to {most}, not {value}")
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
        """How long any asker waits, whatever it speaks."""
        return max(self.timeout_s, self.dns_timeout_s)

    def drain_s(self, with_dns: bool) -> float:
        """How long a drain may take: until the last question, asked in either way, is over."""
        return (self.longest_s if with_dns else self.timeout_s) + self.drain_grace_s
