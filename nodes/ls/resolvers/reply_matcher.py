"""Replies of one resolver, matched with what it was asked, and sorted by what they say.

A reply counts only when it came by the socket of its query, with the same ID, and repeats the
question (an error need not, RFC 1035); anything else is as if it had not come. A reply that nobody
wants any more, and a copy of one, are *late*.

Not here: what a reply says (`nodes/dns/reply.py`), what it counts as (`reply_ranks.py`), which is
good enough (`nodes/ls/negatives.py`), and what else follows (`resolver.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import compress, repeat

from core.addresses import DATAGRAM_BYTES_MAX
from core.effects import Effect
from nodes.dns.codes import HEADER, ID_BYTES, RCODE_MASK, TYPE_AND_CLASS, UDP_BYTES_MAX, Rcode
from nodes.dns.reply import DnsReply, ReplyResult, is_bare, read_reply
from nodes.dns.wire_names import Malformed, walk_name
from nodes.ls.link import Link
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.replies import Denial
from nodes.ls.resolvers.edns_fallback import EdnsFallback
from nodes.ls.resolvers.guess_guard import GuessGuard
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.sockets import ResolverSocket, SentBatch
from nodes.ls.resolvers.tries import TRY

_HEADER_BYTES, _TYPE_AND_CLASS_BYTES = ID_BYTES + HEADER.size, TYPE_AND_CLASS.size
_CODE_AT = ID_BYTES + 1
_REPLIES_KEPT = 16_384


@dataclass(slots=True)
class QuestionInterest:
    """Knowledge of questions that a resolver needs from its owner."""

    is_wanted: Callable[[bytes], bool]  # whether a reply would be of interest
    is_held: Callable[[bytes], bool]  # whether something worse than data is held of it
    was_denied: Callable[[bytes], bool]  # whether it was lately told that it has no data
    # Which questions the resolver of a link is still to be asked; None: all. See Policy.
    admits: Callable[[Link, list[bytes]], list[bool] | None]

    def admitted(self, link: Link, questions: list[bytes]) -> list[bytes]:
        """Return those of these that the resolver of a link is still to be asked."""
        return list(compress(questions, self.admits(link, questions) or repeat(True)))

    def of_link(self, link: Link) -> "QuestionInterest":
        """Return the same, where nothing is wanted but what the resolver of a link is still to be
        asked: so it is of what waits to be sent, again or for the first time."""

        def is_asked(question: bytes) -> bool:
            return self.is_wanted(question) and self.admits(link, [question]) != [False]

        return replace(self, is_wanted=is_asked)


@dataclass(slots=True)
class ResolverReplies:
    """Replies that an event on a socket brought, to questions that somebody wants.

    `questions` and `answers` are parallel.
    """

    effects: list[Effect] = field(default_factory=list)
    questions: list[bytes] = field(default_factory=list)
    answers: list[DnsReply] = field(default_factory=list)
    denials: list[Denial] = field(default_factory=list)
    late: int = 0  # replies that nobody waited for
    late_failures: int = 0  # those of them that are SERVFAIL or another failure
    late_refusals: int = 0  # those that are REFUSED
    barred: int = 0  # denials since of a private address: the resolver is well
    tried: int = 0  # replies to what LS asked for itself
    truncated: int = 0  # replies that are asked for again over TCP
    is_back: bool = False  # it had been silent, or refused
    differs: bool = False  # it has data, too late, of what another resolver denied
    why: str = ""  # why nothing gets there, if it is to be parted from

    @property
    def count(self) -> int:
        """How many replies there are, of all kinds; those to be asked again without EDNS aside."""
        heard = len(self.questions) + len(self.denials) + self.late
        return heard + self.tried + self.truncated


@dataclass(slots=True)
class AskAgain:
    """Queries to be sent another way, since of their replies."""

    over_tcp: list[bytes] = field(default_factory=list)  # the reply is truncated
    plain: list[tuple[bytes, SentBatch]] = field(default_factory=list)  # it is not understood


class ReplyMatcher:
    """Matches the replies of the resolver of a link."""

    def __init__(
        self,
        link: Link,
        interest: QuestionInterest,
        in_flight: InFlight,
        overdue: dict[bytes, int],
        edns: EdnsFallback,
        guard: GuessGuard,
        ranks: ReplyRanks,
    ) -> None:
        self._link = link
        self._is_wanted = interest.is_wanted
        self._admits = interest.admits
        self._was_denied = interest.was_denied
        self._in_flight = in_flight
        self._overdue = overdue
        self._edns = edns
        self._guard = guard
        self._ranks = ranks

    def match(
        self, socket: ResolverSocket, messages: list[bytes], found: ResolverReplies, now: float
    ) -> AskAgain | None:
        """Match what came by a socket, and add it to `found`; return what is to be asked again."""
        asked, is_wanted, overdue = socket.asked, self._is_wanted, self._overdue
        is_plain_of_interest = not self._edns.is_at_rest
        may_be_barred = self._ranks.bars_private
        again: AskAgain | None = None
        batch: SentBatch | None = None
        replies = 0  # to queries of this batch
        for message in messages:
            number = message[:ID_BYTES]
            sent = asked.get(number)
            if sent is None:
                self._take_unmatched(socket, message, found, now)
                continue
            question, repeated, its_batch = sent
            if is_wanted(question):
                after_id = message[ID_BYTES:]
                is_short = len(after_id) <= UDP_BYTES_MAX
                reply = _read(after_id) if is_short else _read_long(socket, after_id)
                if reply is None:
                    self._link.replies.misread(1)
                    continue
                if reply.section != repeated and reply.section:
                    self._take_unmatched(socket, message, found, now)
                    continue
                if reply.is_cut or reply.result is ReplyResult.MISUNDERSTOOD:
                    again = self._sort_useless(reply, question, its_batch, found, again)
                elif reply.result is ReplyResult.DATA and not may_be_barred:
                    found.questions.append(question)
                    found.answers.append(reply)
                else:
                    self._sort_closely(reply, question, found, now)
                if (
                    is_plain_of_interest
                    and reply.result is not ReplyResult.MISUNDERSTOOD
                    and question in its_batch.plain
                ):
                    found.effects += self._edns.understood(question, now)
            elif _repeats(message, repeated) or is_bare(message[ID_BYTES:]):
                self._take_late(message, question, found)
            else:
                self._take_unmatched(socket, message, found, now)
                continue
            del asked[number]
            if overdue:
                overdue.pop(question, None)
            if its_batch is not batch:
                if batch is not None:
                    self._in_flight.learn(batch, replies, now)
                batch, replies = its_batch, 0
            replies += 1
        if batch is not None:
            self._in_flight.learn(batch, replies, now)
        return again

    def _sort_closely(
        self, reply: DnsReply, question: bytes, found: ResolverReplies, now: float
    ) -> None:
        """Sort a reply that is no data, or has what it may not have."""
        ranks = self._ranks
        if ranks.has_barred(reply):
            denial, effects = ranks.bar(question, reply, now)
            found.denials.append(denial)
            found.effects += effects
            found.barred += 1
        elif reply.result is ReplyResult.DATA:
            found.questions.append(question)
            found.answers.append(reply)
        else:
            found.denials.append((question, ranks.event(reply.result, found.count), reply))

    def _sort_useless(
        self,
        reply: DnsReply,
        question: bytes,
        batch: SentBatch,
        found: ResolverReplies,
        again: AskAgain | None,
    ) -> AskAgain | None:
        """Sort a reply that is truncated, or says that the query was not understood: it is asked
        again another way, or, where there is none, has failed. It is late if the question is not to
        be asked of this resolver any more."""
        if self._admits(self._link, [question]) == [False]:
            found.late += 1
            return again
        has_failed = batch.socket.is_stream if reply.is_cut else question in batch.plain
        if has_failed:  # its code is not passed on: it would say that LS does not know EDNS
            found.denials.append((question, QuestionEvent.FAILURE_SAID, None))
            return again
        again = again or AskAgain()
        if reply.is_cut:
            found.truncated += 1
            again.over_tcp.append(question)
        else:
            again.plain.append((question, batch))
        return again

    def _take_unmatched(
        self, socket: ResolverSocket, message: bytes, found: ResolverReplies, now: float
    ) -> None:
        """Count a message that matches nothing as a guess, unless it is late, or a copy."""
        if socket.is_stream:
            self._guard.count_unmatched()
            return
        pair = message[:ID_BYTES] + _question_section(message)
        has_pair = len(pair) > ID_BYTES or is_bare(message[ID_BYTES:])
        if has_pair and socket.recent.has(pair):
            self._take_late(message, b"", found)
        else:
            self._guard.count_guess(now)

    def _take_late(self, message: bytes, question: bytes, found: ResolverReplies) -> None:
        """Count a reply that nobody waited for, and what it says. That to TRY is not late."""
        code, before = message[_CODE_AT] & RCODE_MASK, found.count
        found.late += question != TRY
        found.tried += question == TRY
        if code == Rcode.NOERROR:
            if self._was_denied(question) and self._has_data(message):
                found.differs = True
        elif code == Rcode.SERVFAIL:
            reply = read_reply(message[ID_BYTES:])
            result = ReplyResult.FAILED if reply is None else reply.result
            said = self._ranks.event(result, before)
            found.late_failures += said is QuestionEvent.FAILURE_SAID
        else:
            found.late_refusals += code == Rcode.REFUSED
            found.late_failures += code not in (Rcode.NXDOMAIN, Rcode.REFUSED)

    def _has_data(self, message: bytes) -> bool:
        reply = read_reply(message[ID_BYTES:])
        if reply is None or reply.result is not ReplyResult.DATA:
            return False
        return not self._ranks.has_barred(reply)


def _question_section(message: bytes) -> bytes:
    """Return the question section of a message, in lower case; empty where there is none."""
    try:
        end = walk_name(message[ID_BYTES:], HEADER.size)[0] + ID_BYTES
    except Malformed:
        return b""
    return message[_HEADER_BYTES:end].lower() + message[end : end + _TYPE_AND_CLASS_BYTES]


def _repeats(message: bytes, asked: bytes) -> bool:
    """Return whether a message has this question section, in whatever spelling."""
    at, size = _HEADER_BYTES, len(asked) - _TYPE_AND_CLASS_BYTES
    section = message[at : at + len(asked)]
    return section == asked or section[:size].lower() + section[size:] == asked


def _read_long(socket: ResolverSocket, after_id: bytes) -> DnsReply | None:
    is_whole = socket.is_stream or ID_BYTES + len(after_id) < DATAGRAM_BYTES_MAX
    return read_reply(after_id, is_whole=is_whole)


@lru_cache(maxsize=_REPLIES_KEPT)
def _read(message: bytes) -> DnsReply | None:
    return read_reply(message)
