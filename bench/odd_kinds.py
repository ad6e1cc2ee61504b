"""The kinds of odd resolver: the behaviour of each, and what a client of LS must hear.

Not here: messages, sockets, and the loop (`bench/odd_resolver.py`); the client, and the verdict
(`bench/oddities.py`).
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from odd_resolver import (
    FORMERR,
    NOERROR,
    NOTIMP,
    RA,
    REFUSED,
    SERVFAIL,
    TC,
    Address,
    Resolver,
    Stream,
    Way,
    data,
    denial,
    has_edns,
    header,
    no_data,
    number_of,
    other_name,
    padding,
    referral,
    reply,
    upper,
)

GOOD_S = 0.02  # the delay of a good resolver


# -- behaviours ------------------------------------------------------------------------------------


def says(make: Callable[[bytes], bytes], wait_s: float = 0.0, times: int = 1) -> Way:
    """Reply this to every query."""

    def way(one: Resolver, query: bytes, whence: Address) -> None:
        for _ in range(times):
            one.say(make(query), whence, wait_s)

    return way


def if_edns(make: Callable[[bytes], bytes]) -> Way:
    """Reply this to queries with EDNS, and well to others."""
    return says(lambda query: make(query) if has_edns(query) else data(query))


def silent(one: Resolver, query: bytes, whence: Address) -> None:
    pass


def silent_to_edns(one: Resolver, query: bytes, whence: Address) -> None:
    if not has_edns(query):
        one.say(data(query), whence)


def wrong_id_first(one: Resolver, query: bytes, whence: Address) -> None:
    good = data(query)
    one.say(bytes([good[0] ^ 1]) + good[1:], whence)
    one.say(good, whence)


def from_another_port(one: Resolver, query: bytes, whence: Address) -> None:
    one.other.sendto(data(query), whence)


AWAY_AFTER, AWAY_S = 100, 1.5


def away(one: Resolver, query: bytes, whence: Address) -> None:
    """Reply well, but receive nothing for a while."""
    now = time.perf_counter()
    if one.asked == AWAY_AFTER:
        one.mute_until = now + AWAY_S
    if now >= one.mute_until:
        one.say(data(query), whence)


FROZEN_AFTER, FROZEN_S = 10, 1.2


def freezes(one: Resolver, query: bytes, whence: Address) -> None:
    """Reply well, but stand still for a while, and then reply to all that came meanwhile."""
    if one.asked == FROZEN_AFTER:
        one.mute_until = time.perf_counter() + FROZEN_S
    one.say(data(query), whence, max(0.0, one.mute_until - time.perf_counter()))


def loses_firsts(one: Resolver, query: bytes, whence: Address) -> None:
    """Lose the first query for each third name."""
    number = number_of(query)
    if number % 3 or number in one.heard:
        one.say(data(query), whence)
    one.heard.add(number)


def loses_thirds(one: Resolver, query: bytes, whence: Address) -> None:
    if one.asked % 3:
        one.say(data(query), whence)


def stream_good(query: bytes) -> tuple[bytes, bool]:
    return data(query), False


def stream_ends(query: bytes) -> tuple[bytes, bool]:
    return data(query), True


def cut(query: bytes) -> bytes:
    return reply(query, flags=RA | TC)


def stream_cut(query: bytes) -> tuple[bytes, bool]:
    return cut(query), False


def garbage(query: bytes) -> bytes:
    """Reply with the ID of the query, a header that promises records, and noise."""
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + random.Random(query).randbytes(40)


# -- the table -------------------------------------------------------------------------------------

DATA = frozenset({"data"})
_good = says(data, GOOD_S)
_FAILED = frozenset({"SERVFAIL"})
_NO_DATA = frozenset({"NODATA"})
# A resolver of which nothing can be understood is waited for as long as clients wait (4.5 s).
UNDERSTOOD_S, NOT_UNDERSTOOD_S = 1.8, 5.0


@dataclass(frozen=True)
class Kind:
    """A kind of odd resolver, and what a client must hear: codes, or `data` for the right address.

    `alone_s`: the slowest reply must be faster, where no other resolver is asked."""

    name: str
    way: Way | None
    alone: frozenset[str] = DATA
    beside: frozenset[str] = DATA
    alone_s: float = UNDERSTOOD_S
    good: Way = _good  # the behaviour of the other resolver
    stream: Stream | None = stream_good
    is_suspect: bool = False  # the log may speak of forged replies
    questions: int = 50
    rate: float = 25.0  # questions a second


_denies, _has_none = says(denial, GOOD_S), says(no_data, GOOD_S)
_REFERRED = frozenset({"NODATA", "REFUSED", "SERVFAIL"})
_AWAY = f"away for {AWAY_S:g} s after {AWAY_AFTER} queries"
_REFUSED, _DENIED = frozenset({"REFUSED"}), frozenset({"NXDOMAIN"})


def _code(code: int) -> Callable[[bytes], bytes]:
    return lambda query: reply(query, code)


def _header(code: int) -> Callable[[bytes], bytes]:
    return lambda query: header(query, code)


def _without_opt(code: int) -> Callable[[bytes], bytes]:
    return lambda query: reply(query[:11] + b"\0" + query[12:], code)


def _mute(name: str, way: Way, *, is_suspect: bool = False) -> Kind:
    """Make a kind whose replies cannot be understood."""
    late_s = NOT_UNDERSTOOD_S
    return Kind(name, way, _FAILED, alone_s=late_s, stream=None, is_suspect=is_suspect)


KINDS = (
    Kind("good", says(data)),
    Kind("good, after 0.6 s", says(data, 0.6)),
    Kind("good, after 2.5 s", says(data, 2.5), alone_s=2.5 + UNDERSTOOD_S),
    Kind("REFUSED", says(_code(REFUSED)), _REFUSED),
    Kind("REFUSED, header only", says(_header(REFUSED)), _REFUSED | _FAILED),
    Kind("SERVFAIL", says(_code(SERVFAIL)), _FAILED),
    Kind("SERVFAIL, header only", says(_header(SERVFAIL)), _FAILED),
    Kind("FORMERR to EDNS", if_edns(_without_opt(FORMERR))),
    Kind("FORMERR to EDNS, header only", if_edns(_header(FORMERR))),
    Kind("NOTIMP to EDNS", if_edns(_without_opt(NOTIMP))),
    Kind("NOTIMP to EDNS, header only", if_edns(_header(NOTIMP))),
    Kind("BADVERS to EDNS", if_edns(lambda q: reply(q, high=1)), DATA | _FAILED),
    Kind("silent to EDNS", silent_to_edns, DATA | _FAILED, alone_s=NOT_UNDERSTOOD_S),
    Kind("FORMERR to everything", says(_code(FORMERR)), _FAILED | {"FORMERR"}),
    Kind("a referral", says(referral), _REFERRED),
    Kind("a referral, the other says NXDOMAIN", says(referral), _REFERRED, _DENIED, good=_denies),
    Kind("NXDOMAIN, the other has data", says(denial), _DENIED),
    Kind("NO DATA, the other has data", says(no_data), _NO_DATA),
    Kind("NOERROR with nothing in it", says(reply), _NO_DATA),
    Kind("NO DATA, the other says NXDOMAIN", says(no_data), _NO_DATA, _NO_DATA, good=_denies),
    Kind("NXDOMAIN, the other says NO DATA", says(denial), _DENIED, _NO_DATA, good=_has_none),
    Kind("bytes behind the end", says(lambda q: data(q) + bytes(7))),
    Kind("5,000 bytes in a datagram", says(lambda q: data(q, more=padding(q)))),
    Kind("TC, and TCP is good", says(cut)),
    Kind("TC, and TCP is closed", says(cut), _FAILED, stream=None),
    Kind("TC, and TCP ends after each reply", says(cut), stream=stream_ends),
    Kind("TC, and TC over TCP", says(cut), _FAILED, stream=stream_cut),
    Kind("each reply twice", says(data, times=2)),
    Kind("a wrong ID first", wrong_id_first, is_suspect=True),
    Kind("capital letters", says(lambda q: upper(data(q)))),
    Kind("each third question is lost once", loses_firsts),
    Kind("each third query is lost", loses_thirds, DATA | _FAILED, alone_s=NOT_UNDERSTOOD_S),
    Kind(_AWAY, away, questions=240, rate=60.0, alone_s=AWAY_S + 1.0),
    Kind(f"frozen for {FROZEN_S:g} s", freezes, alone_s=FROZEN_S + 1.0),
    Kind("a closed port", None, _FAILED, stream=None),
    _mute("silent", silent),
    _mute("another question", says(lambda q: other_name(data(q))), is_suspect=True),
    _mute("from another port", from_another_port),
    _mute("malformed", says(garbage)),
    _mute("NOERROR, header only", says(_header(NOERROR))),
    _mute("the query comes back", says(lambda q: q)),
)
