"""Own words: what LS says itself of a question, as one says it who is asked.

There is nothing to ask about special names, which must not leave; of others LS may have kept what
resolvers said. Such a word goes the way of any other: it is held, so that a table that has the name
wins, and a server with something better does. From servers that are not to be asked beside it, or
need not be, the question is *withheld* for as long as it is open.

Where there are no tables, replies that are kept, and still hold, are told at once: nobody could
have anything better.

Not here: which names are special (`nodes/dns/special_names.py`), and what is kept
(`cache/cache.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress

from core.addresses import are_public
from core.effects import Effect
from core.metrics import Metric, Value
from core.protocol.asker import Requests
from core.protocol.outcome import Relayed
from nodes.dns.reply import ReplyResult
from nodes.dns.special_names import SPECIAL_NAMES, Scope, own_reply, special_name
from nodes.ls.cache.cache import SAID, Cache
from nodes.ls.monitored import Monitored
from nodes.ls.observer import Observer
from nodes.ls.outcomes import QuestionEvent, QuestionState
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet, union
from nodes.ls.upstreams import Upstreams

KEPT_HERE = Metric("kept_here", "Questions that some resolver was not asked, for their names' sake")
_NAMES_MAX = 16_384  # questions of which it is remembered whether their names are special
_ENDS = {
    ReplyResult.DATA: QuestionState.ANSWERED,
    ReplyResult.NO_DATA: QuestionState.NO_DATA,
    ReplyResult.NOT_FOUND: QuestionState.NOT_FOUND,
}


class _SpecialNames(dict[bytes, bytes | None]):
    """The special name of each question that was asked lately, and is not leaked."""

    def __init__(self, leaked: Iterable[bytes]) -> None:
        super().__init__()
        self._leaked = frozenset(leaked)

    def __missing__(self, question: bytes) -> bytes | None:
        if len(self) == _NAMES_MAX:
            self.clear()
        name = special_name(question)
        found = self[question] = None if name in self._leaked else name
        return found


class OwnWords(Observer, Monitored):
    """Knowledge of LS, beside these upstreams. `leaked`: special names that are asked for;
    `all_open()`: the questions that somebody waits for."""

    def __init__(
        self,
        upstreams: Upstreams,
        cache: Cache | None,
        leaked: Iterable[bytes],
        all_open: Callable[[], Iterable[bytes]],
    ) -> None:
        self._upstreams = upstreams
        self._all_open = all_open
        self._cache = cache
        # Where there are no tables: what is kept is told at once.
        self.told_at_once = None if upstreams.have_tables else cache
        self._special = _SpecialNames(leaked)
        self._kept_here = 0
        self.kept = upstreams.withheld

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
        """Return what LS says of questions that are about to be asked, and withhold them from whom
        they are not to be asked of."""
        words: list[Denial] = []
        names = list(map(self._special.__getitem__, questions))
        if self._cache is None and names.count(None) == len(names):
            return words
        for question, name in zip(questions, names, strict=True):
            if name is not None and (own := self._word_on_special(question, name)):
                words += own
            elif self._cache is not None and (known := self._cache.word(question, now)):
                word, is_enough = known
                words.append(word)
                if is_enough:
                    self._upstreams.withheld[question] = self._upstreams.resolvers
        return words

    def _word_on_special(self, question: bytes, name: bytes) -> list[Denial]:
        upstreams = self._upstreams
        withheld = upstreams.resolvers
        if SPECIAL_NAMES[name].scope is Scope.NETWORK:
            withheld = self._public_resolvers()
        if not withheld:
            return []
        self._kept_here += 1
        upstreams.withheld[question] = withheld
        if withheld != upstreams.resolvers:
            return []
        if withheld & self._lost_resolvers() and SPECIAL_NAMES[name].scope is Scope.NETWORK:
            return [(question, QuestionEvent.FAILURE_SAID, None)]
        result, reply = own_reply(question, name)
        return [(question, SAID[result], reply)]

    def _public_resolvers(self) -> ServerSet:
        """Return the resolvers that are outside of this network, or may be."""
        return self._lost_resolvers() | union(
            upstream.link.bit
            for upstream in self._upstreams.all
            if upstream.covers_all_names and are_public(upstream.link.addresses)
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
                name = self._special[question]
                if name is not None and SPECIAL_NAMES[name].scope is Scope.NETWORK:
                    withheld = self._upstreams.withheld.get(question, NO_SERVERS)
                    self._upstreams.withheld[question] = withheld | public
        return ()

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for question in questions:
            self._upstreams.withheld.pop(question, None)
        return ()
