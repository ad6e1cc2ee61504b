"""Own words: what LS says itself of a question, as one says it who is asked.

There is nothing to ask about special names, which must not leave, nor about those with a route to
nobody; of others LS may have kept what resolvers said. Such a word goes the way of any other: it is
held, so that a table that has the name wins, and a server with something better does. From servers
that are not to be asked beside it, or need not be, the question is *withheld* for as long as it is
open.

Where there are no tables, replies that are kept, and still hold, are told at once: nobody could
have anything better. Where servers are in tiers, LS is the last one: what it knows waits until
tables of all tiers have had their turn; but old data and failures, which say nothing about a name,
are held from the beginning.

Not here: of which names LS knows itself (`local_names.py`), and what is kept (`cache/cache.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress

from core.addresses import are_public
from core.effects import Effect
from core.metrics import Metric, Value
from core.protocol.asker import Requests
from core.protocol.outcome import Relayed
from nodes.dns.reply import ReplyResult
from nodes.dns.special_names import Scope, Special, own_reply
from nodes.ls.cache.cache import SAID, Cache
from nodes.ls.local_names import LocalNames
from nodes.ls.monitored import Monitored
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet, union
from nodes.ls.tiers.own_turn import OF_NAMES, OwnTurn
from nodes.ls.upstreams import Upstreams

KEPT_HERE = Metric("kept_here", "Questions that some resolver was not asked, for their names' sake")
_ENDS = {
    ReplyResult.DATA: QuestionState.ANSWERED,
    ReplyResult.NO_DATA: QuestionState.NO_DATA,
    ReplyResult.NOT_FOUND: QuestionState.NOT_FOUND,
}


class OwnWords(Observer, Monitored):
    """Knowledge of LS, beside these upstreams. `default`: the resolvers that are asked for names
    without a route; `all_open()`: the questions that somebody waits for; `turn`: where
    servers are in tiers."""

    def __init__(
        self,
        upstreams: Upstreams,
        cache: Cache | None,
        local_names: LocalNames,
        default: ServerSet,
        all_open: Callable[[], Iterable[bytes]],
        turn: OwnTurn | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._withheld = upstreams.barred.withheld
        self._turn = turn
        self._default = default
        self._all_open = all_open
        self._cache = cache
        # Where there are no tables: what is kept is told at once.
        self.told_at_once = None if upstreams.have_tables else cache
        self._local = local_names
        self._kept_here = 0
        self.kept = self._withheld

    def metrics(self) -> list[Value]:
        return [Value(KEPT_HERE, self._kept_here)]

    def has_reply(self, question: bytes, now: float) -> bool:
        """Return whether this can be told at once."""
        return self.told_at_once is not None and self.told_at_once.has(question, now)

    def take_known(self, requests: Requests, now: float) -> dict[QuestionState, Relayed]:
        """Take out of requests what can be told at once; return that, by how it ends questions."""
        questions, spellings = requests.questions, requests.spellings
        assert self.told_at_once is not None
        replies = self.told_at_once.look(questions, now)
        if replies is None:
            return {}
        ends = [None if reply is None else _ENDS[reply.result] for reply in replies]
        known: dict[QuestionState, Relayed] = {}
        left: tuple[list[bytes], list[bytes]] = [], []
        for end in dict.fromkeys(ends):
            some, spelled, told = questions, spellings, replies
            if ends.count(end) < len(ends):
                chosen = [one is end for one in ends]
                some = list(compress(questions, chosen))
                spelled = some if spellings is questions else list(compress(spellings, chosen))
                told = list(compress(replies, chosen))
            if end is None:
                left = some, spelled
            else:
                known[end] = Relayed(some, told, spelled)
        requests.questions, requests.spellings = left
        requests.lines = b""
        return known

    def speak(self, questions: Sequence[bytes], now: float) -> list[Denial]:
        """Return what LS knows of questions that are about to be asked, and withhold them from whom
        they are not to be asked of. See `take_turn`."""
        words: list[Denial] = []
        local = list(map(self._local.__getitem__, questions))
        if self._default and self._cache is None and local.count(None) == len(local):
            return words
        for question, special in zip(questions, local, strict=True):
            if special is not None and (own := self._word_on_special(question, special)):
                words += own
            elif self._cache is not None and (known := self._cache.word(question, now)):
                word, is_enough = known
                words.append(word)
                if is_enough:
                    self._withheld[question] = self._upstreams.resolvers
            elif not self._default and self._upstreams.unable(question) == self._upstreams.everyone:
                words.append((question, QuestionEvent.FAILURE_SAID, None))  # nobody can be asked
        if self._turn is not None:
            self._turn.add(words)
        return words

    def take_turn(self, words: list[Denial]) -> list[Denial]:
        """Return those of these words, which were just spoken, that do not have to wait for LS's
        turn in tiers."""
        if self._turn is None:
            return words
        taken = self._turn.take([question for question, _, _ in words])
        return taken + [word for word in words if word[1] not in OF_NAMES]

    def _word_on_special(self, question: bytes, special: Special) -> list[Denial]:
        is_networks = special.scope is Scope.NETWORK
        withheld = self._public_resolvers() if is_networks else self._default
        if is_networks and self._default and not withheld:
            return []
        self._kept_here += 1
        self._withheld[question] = withheld
        if withheld != self._default:
            return []
        if is_networks and withheld & self._lost_resolvers():
            return [(question, QuestionEvent.FAILURE_SAID, None)]
        result, reply = own_reply(question, special)
        return [(question, SAID[result], reply)]

    def _public_resolvers(self) -> ServerSet:
        """Return the resolvers that are outside of this network, or may be, of those that are asked
        for names without a route."""
        return self._default & (
            self._lost_resolvers()
            | union(
                upstream.link.bit
                for upstream in self._upstreams.all
                if upstream.covers_all_names and are_public(upstream.link.addresses)
            )
        )

    def _lost_resolvers(self) -> ServerSet:
        """Return the resolvers of which it is not known where they are."""
        return self._upstreams.resolvers & union(
            link.bit for link in self._upstreams.links if not link.addresses
        )

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        """Withhold what is open from a resolver that has moved out of this network, too."""
        if reconnected & self._upstreams.resolvers and (public := self._public_resolvers()):
            for question in self._all_open():
                special = self._local[question]
                if special is not None and special.scope is Scope.NETWORK:
                    withheld = self._withheld.get(question, NO_SERVERS)
                    self._withheld[question] = withheld | public
        return ()

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for question in questions:
            self._withheld.pop(question, None)
            if self._turn is not None:
                self._turn.forget(question)
        return ()
