"""Cache: what resolvers said lately, told again for as long as they said that it holds.

It is never worse than asking:

- Only replies of resolvers are kept, never those of tables; and where there are tables they are
  asked all the same, so it hides none (`nodes/ls/own_words.py`). A table's answer drops all that is
  kept of its name.
- Data past its lifetime is *stale*. It is told only when those who were asked failed, or say
  nothing; then for `stale_again_s` to whoever asks.
- A negative that not every resolver has said is kept for a short time, and what another says later
  and better takes its place.
- A failure is kept apart, for `failure_kept_s`, and looked at only where there is nothing else
  (RFC 9520). When a server comes back all are forgotten, but for the word of a validator: data of
  that asking that comes late may be forged.

Not here: which entries go when there is no room (`store.py`), TTLs (`nodes/dns/lifetime.py`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import NamedTuple

from core.bounds import Bounds
from core.effects import Effect
from core.metrics import Metric, Value
from core.operator import Report
from core.protocol.outcome import Answered, Relayed, RelayedReply
from nodes.dns.codes import RCODE_MASK, ExtendedError, Rcode, extended_error
from nodes.dns.lifetime import NEGATIVE_TTL_MAX_S, Lifetime
from nodes.dns.question import is_keepable
from nodes.dns.reply import DnsReply, ReplyResult
from nodes.ls.cache.entry import Entry
from nodes.ls.cache.store import Store
from nodes.ls.held_negative import SAYS_NO_DATA, HeldNegative
from nodes.ls.monitored import Monitored
from nodes.ls.observer import ALWAYS, Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet, has_all
from nodes.ls.setup import OwnWordsSetup
from nodes.ls.upstream import Upstream
from nodes.ls.upstreams import Upstreams

CACHED = Metric("cached", "Questions to which a reply was kept")
STALE = Metric("stale", "Times that data was told past its lifetime, since nobody had newer")
REPAIRED = Metric("repaired", "Replies that were kept instead of a worse one, too late to be told")
EVICTED = Metric("evicted", "Replies that were kept no longer, for want of room")
ENTRIES = Metric("cache_entries", "Replies that are kept", is_level=True)
BYTES = Metric("cache_bytes", "Bytes that they take", is_level=True)
_IS_CACHED = extended_error(ExtendedError.CACHED_ERROR)
_NAME_BYTES = 400  # of a name, for its questions
_FAILURES_MAX = 16_384  # failures kept: some 10 MB
_OPTION_BYTES_MAX = 64  # of options that are kept with a failure: its codes, without long texts
_DISPUTED_MAX_S = 30  # negatives that not every resolver has said: another may have data
# The better of two replies: a late one that is better takes the place of what is kept.
_WORTH = {ReplyResult.NOT_FOUND: 1, ReplyResult.NO_DATA: 2, ReplyResult.DATA: 3}
SAID = {
    ReplyResult.DATA: QuestionEvent.KEPT_SAID,
    ReplyResult.NO_DATA: QuestionEvent.NO_DATA_SAID,
    ReplyResult.NOT_FOUND: QuestionEvent.NOT_FOUND_SAID,
}
_FAILURES = frozenset({QuestionState.FAILURE_HELD, QuestionState.REFUSAL_HELD})


class _Failure(NamedTuple):
    """A failure, what is told of it until a time. `is_final`: it is a validator's word, and no late
    reply is better."""

    until: float
    reply: DnsReply
    is_final: bool


class Cache(Observer, Monitored):
    """Replies of these resolvers. `is_open(question)`: whether somebody waits for a reply."""

    kept: Sized = ALWAYS

    def __init__(
        self,
        setup: OwnWordsSetup,
        bounds: Bounds,
        upstreams: Upstreams,
        is_open: Callable[[bytes], bool],
    ) -> None:
        self._bounds = bounds
        self._stale_s = setup.stale_s
        self._upstreams = upstreams
        self._is_open = is_open
        self._store: Store[Entry] = Store(setup.cache_bytes, self._forgotten)
        self._entries = self._store.values
        self._failures: dict[bytes, _Failure] = {}
        self._worse: set[bytes] = set()  # of which a better reply would be kept
        # The questions about a name; None where there is no table, whose answer would drop them.
        self._by_name: defaultdict[bytes, set[bytes]] | None = (
            defaultdict(set) if upstreams.have_tables else None
        )
        self._name_bytes = 0 if self._by_name is None else _NAME_BYTES
        self._told_stale = 0
        self._repaired = 0
        self._cached = 0

    def metrics(self) -> list[Value]:
        return [
            Value(CACHED, self._cached),
            Value(STALE, self._told_stale),
            Value(REPAIRED, self._repaired),
            Value(EVICTED, self._store.evicted),
            Value(ENTRIES, len(self._entries)),
            Value(BYTES, self._store.bytes),
        ]

    # -- looking -----------------------------------------------------------------------------

    def look(self, questions: Sequence[bytes], now: float) -> list[DnsReply | None] | None:
        """Return what can be told of these at once; None: nothing."""
        entries = list(map(self._entries.get, questions))
        if entries.count(None) == len(entries):
            return None
        replies = [
            None
            if entry is None
            else entry.told
            if now <= entry.holds_until
            else self._current(entry, now)
            for entry in entries
        ]
        hits = [
            question
            for question, reply in zip(questions, replies, strict=True)
            if reply is not None
        ]
        self._cached += len(hits)
        self._store.touch(hits)
        return replies if hits else None

    def has(self, question: bytes, now: float) -> bool:
        """Return whether there is something to be told of this at once."""
        entry = self._entries.get(question)
        return entry is not None and self._current(entry, now) is not None

    def _current(self, entry: Entry, now: float) -> DnsReply | None:
        """Return what is told without asking anybody."""
        reply = entry.fresh(now)
        return entry.stale() if reply is None and now < entry.told_until else reply

    def word(self, question: bytes, now: float) -> tuple[Denial, bool] | None:
        """Return what is known of this, as one says it who is asked, and whether no resolver need
        be asked; None: nothing."""
        if replies := self.look((question,), now):
            return (question, SAID[self._entries[question].result], replies[0]), True
        entry = self._entries.get(question)
        if self._stale_s and entry and entry.is_data and entry.over_s(now) < self._stale_s:
            self._store.touch((question,))
            return (question, QuestionEvent.STALE_SAID, entry.stale()), False
        if question in self._failures:
            until, reply, _ = self._failures[question]
            if now < until:
                return (question, QuestionEvent.FAILURE_SAID, reply), True
            del self._failures[question]
        return None

    def wants(self, question: bytes) -> bool:
        """Return whether a late reply to this may be better than what is kept."""
        failure = self._failures.get(question)
        return question in self._worse if failure is None else not failure.is_final

    def admits(
        self,
        upstream: Upstream,
        questions: Sequence[bytes],
        denials: Sequence[Denial],
        admitted: list[bool] | None,
    ) -> list[bool] | None:
        """Return which replies of a server to these count, of those that are `admitted`; None: all.
        Where a validator's word is kept, and tables alone are asked, a resolver's reply is late, if
        it does not say so, too."""
        failures = self._failures
        if not failures or failures.keys().isdisjoint(questions):
            return admitted
        bit, withheld = upstream.link.bit, self._upstreams.barred.withheld
        ended = {
            question
            for question in failures.keys() & set(questions)
            if failures[question].is_final and withheld.get(question, NO_SERVERS) & bit
        }
        ended.difference_update(
            question for question, event, _ in denials if event is QuestionEvent.BOGUS_SAID
        )
        if not ended:
            return admitted
        both = zip(questions, admitted or [True] * len(questions), strict=True)
        return [is_admitted and question not in ended for question, is_admitted in both]

    def clear(self) -> Report:
        """Forget everything; return what there is to say in the log."""
        count = len(self._entries)
        self._store.clear()
        self._failures.clear()
        self._worse.clear()
        if self._by_name is not None:
            self._by_name.clear()
        text = f"the cache is emptied; replies that were in it: {count}"
        return Report(text, event="cache_flushed", about={"replies": count})

    # -- replies of servers: see `Observer` --------------------------------------------------------

    def answered(
        self, upstream: Upstream, answers: Answered, admitted: list[bool] | None, now: float
    ) -> Iterable[Effect]:
        if not isinstance(answers, Relayed) or not upstream.covers_all_names:
            self._drop_names(answers.questions)
            return ()
        for at, question in enumerate(answers.questions):
            if admitted is not None and not admitted[at]:
                continue
            if self._is_open(question):
                self._keep(question, answers.replies[at], now)
            elif self.wants(question):
                self._repair(question, answers.replies[at], now)
        return ()

    def denied(
        self, upstream: Upstream, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> Iterable[Effect]:
        for question, event, reply in denials:
            if not isinstance(reply, DnsReply):  # a table says it
                continue
            if event is QuestionEvent.BOGUS_SAID:
                self._fail(question, reply, now, is_final=True)
            elif self.wants(question) and not self._is_open(question):
                self._repair(question, reply, now)
        return ()

    def released(self, held: Sequence[HeldNegative], now: float) -> Iterable[Effect]:
        upstreams = self._upstreams
        for one in held:
            question, reply = one.question, one.reply
            asked = upstreams.resolvers_for(question)  # nobody, of what LS has said itself
            if one.best is QuestionState.STALE_HELD:
                self._count_stale(question, now)
            elif one.best in _FAILURES and one.heard & asked:
                self._fail(question, reply, now)
            elif one.best not in SAYS_NO_DATA or not one.said_by & upstreams.resolvers:
                continue  # LS or a table has said so
            elif isinstance(reply, DnsReply):
                is_agreed = bool(asked) and has_all(one.agreed, asked)
                most_s = NEGATIVE_TTL_MAX_S if is_agreed else _DISPUTED_MAX_S
                self._keep(question, reply, one.said_at, most_s)
        return ()

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        if reconnected and self._failures:
            final = {one: failure for one, failure in self._failures.items() if failure.is_final}
            self._failures = final
        return ()

    # -- keeping -----------------------------------------------------------------------------------

    def _keep(
        self, question: bytes, reply: DnsReply, now: float, negative_max_s: int = NEGATIVE_TTL_MAX_S
    ) -> None:
        """Keep a reply instead of what was kept, which is older."""
        self._failures.pop(question, None)
        lifetime = Lifetime(reply, negative_max_s)
        entry = Entry(question, reply, lifetime, now, self._name_bytes)
        if not (lifetime.seconds and is_keepable(question) and self._store.takes(entry)):
            self._drop(question)
            return
        self._worse.discard(question)
        if not entry.is_data:
            self._worse.add(question)
        if self._by_name is not None:
            self._by_name[_name_of(question)].add(question)
        self._store.put(question, entry)

    def _repair(self, question: bytes, reply: DnsReply, now: float) -> None:
        """Keep a reply that came too late to be told, if it is better than what is kept."""
        entry = self._entries.get(question)
        holds = entry is not None and entry.fresh(now) is not None
        if _WORTH.get(reply.result, 0) > (_WORTH[entry.result] if entry and holds else 0):
            self._keep(question, reply, now, _DISPUTED_MAX_S)
            self._repaired += question in self._entries

    def _count_stale(self, question: bytes, now: float) -> None:
        """Take note that stale data is told: that is news enough for a while."""
        self._told_stale += 1
        if entry := self._entries.get(question):
            left_s = self._stale_s - entry.over_s(now)
            entry.told_until = now + min(self._bounds.stale_again_s, left_s)
            self._worse.add(question)

    def _fail(
        self, question: bytes, reply: RelayedReply | None, now: float, *, is_final: bool = False
    ) -> None:
        """Keep a failure, beside what is kept."""
        if not is_keepable(question):
            return
        if len(self._failures) == _FAILURES_MAX:
            self._failures.clear()
        until = now + self._bounds.failure_kept_s
        self._failures[question] = _Failure(until, _failure(reply), is_final)

    def _drop_names(self, questions: Sequence[bytes]) -> None:
        """Drop all that is kept of these names: a table has them."""
        if self._failures:
            for question in questions:
                self._failures.pop(question, None)
        if not self._by_name:
            return
        for name in set(map(_name_of, questions)):
            for question in list(self._by_name.get(name, ())):
                self._drop(question)

    def _drop(self, question: bytes) -> None:
        self._store.take(question)
        self._forgotten(question)

    def _forgotten(self, question: bytes) -> None:
        """Take note that a question is not in the store any more."""
        self._worse.discard(question)
        if self._by_name is not None:
            name = _name_of(question)
            self._by_name[name].discard(question)
            if not self._by_name[name]:
                del self._by_name[name]


def _name_of(question: bytes) -> bytes:
    return question.partition(b" ")[0]


def _failure(reply: RelayedReply | None) -> DnsReply:
    """Return a failure as one that was kept (RFC 8914, section 4.14)."""
    options, rcode = b"", Rcode.SERVFAIL
    if isinstance(reply, DnsReply):
        if len(reply.options) <= _OPTION_BYTES_MAX:
            options = reply.options
        if reply.flags & RCODE_MASK == Rcode.REFUSED:
            rcode = Rcode.REFUSED
    failure = DnsReply(b"", rcode, is_cut=False)
    failure.options = options + _IS_CACHED
    return failure
