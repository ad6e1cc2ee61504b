"""Exchange: asks upstreams what is to be asked, and gives their replies to whoever waits.

Four parts are called by name, for what they decide: the policy (whom to ask, and whose replies are
admitted), the cache (which of these are late), held negatives (what denials come to, and servers
that are down), and questions (what is still open, and who waits). All else is told to observers, in
their order: what is asked, what comes, how links change. An answer that is admitted closes its
question; what is no answer goes to held negatives, and the policy may ask somebody else.

Not here: what any of them makes of it (`policy.py`, `negatives.py`, `questions.py`, `observer.py`).
"""

from itertools import compress, repeat

from core.effects import Effect
from core.events import ConnectionEvent
from core.protocol.asker import Asker, Requests
from core.protocol.outcome import Answered
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.observer import hearers
from nodes.ls.outcomes import QuestionEvent
from nodes.ls.parts import Parts
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.server_set import NO_SERVERS
from nodes.ls.upstream import Upstream


class Exchange:
    """Between the open questions and the upstreams of one load balancer."""

    def __init__(self, parts: Parts) -> None:
        self._questions = parts.questions
        self._upstreams = parts.upstreams
        self._barred = parts.upstreams.barred
        self._policy = parts.policy
        self._negatives = parts.negatives
        self._own_words = own_words = parts.own_words
        self._cache = parts.cache
        # The same, where something may be told at once.
        self._known = None if own_words is None or own_words.told_at_once is None else own_words
        observers = parts.observers
        self._hear_asked = hearers(observers, "asked")
        self._hear_sent = hearers(observers, "sent")
        self._hear_answered = hearers(observers, "answered")
        self._hear_admitted = hearers(observers, "admitted")
        self._hear_denied = hearers(observers, "denied")
        self._hear_differed = hearers(observers, "differed")
        self._hear_links = hearers(observers, "links_changed")

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, asker: Asker, requests: Requests, now: float) -> list[Effect]:
        """Admit an asker's questions (at least one), and ask whom the policy wants asked those that
        are not being asked already, and of which LS has no word itself that is enough."""
        if self._known is not None and (known := self._known.take_known(requests, now)):
            asker.admitted(sum(len(relayed.questions) for relayed in known.values()))
            effects = self.ask(asker, requests, now) if requests.questions else []
            return effects + self._questions.tell_known(asker, known)
        admitted, lines = requests.questions, requests.lines
        questions = self._questions.ask(asker, admitted, requests.spellings, now)
        if questions is not admitted:
            if not questions:
                return []
            lines = b""
        effects = []
        if self._own_words is not None and (words := self._own_words.speak(questions, now)):
            self._policy.begin(questions, now)
            words = self._own_words.take_turn(words)
            effects += self._negatives.add(NO_SERVERS, (), words, now)
            questions, lines = list(filter(self._questions.is_open, questions)), b""
            if not questions:
                return effects
        for observer in self._hear_asked:
            effects += observer.asked(questions, now)
        barred, shares = self._barred, self._policy.ask(questions, now)
        if barred.routes is not None or barred.withheld or barred.later:
            shares = barred.let_pass(shares)
        for link, share in shares:
            server = self._upstreams.by_name[link.conn]
            if not lines and share is questions:
                lines = b"\n".join(questions) + b"\n"
            for observer in self._hear_sent:
                if observer.kept:
                    effects += observer.sent(server, share, now)
            effects += server.ask(share, now, lines if share is questions else b"")
        if self._upstreams.failing:
            still_open = list(filter(self._questions.is_open, questions))
            effects += self._negatives.fail(still_open, now)
        if self._policy.waiting:
            effects += self.ask_waiting(now)
        return effects

    def _send(
        self, upstream: Upstream, questions: list[bytes], lines: bytes, now: float
    ) -> list[Effect]:
        if not (questions := self._barred.askable(upstream.link, questions)):
            return []
        effects: list[Effect] = []
        for observer in self._hear_sent:
            if observer.kept:
                effects += observer.sent(upstream, questions, now)
        return effects + upstream.ask(questions, now, lines)

    def _ask_slice(self, upstream: Upstream, now: float) -> list[Effect]:
        """Ask a server for the next slice of what the policy has for it. If more is left, it goes
        over the high mark, so that Relieved will call for the next one."""
        link = upstream.link
        questions, is_last = self._policy.next_slice(link, now)
        while not is_last and not upstream.takes_slices:
            more, is_last = self._policy.next_slice(link, now)
            questions += more
        if link.life.state is LinkState.CATCHING_UP and is_last:
            link.life.fire(LinkEvent.CAUGHT_UP)
        elif link.life.state is LinkState.UP and not is_last:
            link.life.fire(LinkEvent.FELL_BEHIND)
        return self._send(upstream, questions, b"", now) if questions else []

    def ask_waiting(self, now: float) -> list[Effect]:
        """Ask servers for what the policy wants them to be asked besides new questions."""
        effects: list[Effect] = []
        for link in list(self._policy.waiting):
            if link.life.state is LinkState.UP:  # else it is asked as soon as it is relieved
                effects += self._ask_slice(self._upstreams.by_name[link.conn], now)
        return effects

    # -- replies -----------------------------------------------------------------------------------

    def receive(self, upstream: Upstream, event: ConnectionEvent, now: float) -> list[Effect]:
        """Take what happened to an upstream, and give its replies to whoever waits for them."""
        replies = upstream.receive(event, now)
        effects = replies.effects
        change = replies.link_change
        if change is not None:
            effects += self._link_changed(upstream, change, now)
        for answers in replies.answers:
            effects += self._answer(upstream, answers, now)
        if replies.unknown or replies.denials:
            effects += self._deny(upstream, replies, now)
        if replies.late:
            self._questions.count_late(replies.late)
            upstream.link.replies.credit(0, replies.late)
        if replies.has_late_data:
            for observer in self._hear_differed:
                effects += observer.differed(upstream, now)
        if replies.failure or change is not None:
            if change is LinkChange.IS_BACK:
                effects += upstream.resume(self._open_for(upstream), now)
            if replies.failure:
                effects += upstream.give_up(replies.failure)
            effects += self.update_links(now)
        return effects

    def _link_changed(self, upstream: Upstream, change: LinkChange, now: float) -> list[Effect]:
        effects = self.update_links(now)
        if change in (LinkChange.CAME_UP, LinkChange.HAS_ROOM):
            effects += self._ask_slice(upstream, now)
        return effects

    def _answer(self, upstream: Upstream, answers: Answered, now: float) -> list[Effect]:
        effects: list[Effect] = []
        link, late = upstream.link, 0
        admitted = self._policy.admits(link, answers.questions)
        if self._cache is not None:
            admitted = self._cache.admits(upstream, answers.questions, (), admitted)
        for observer in self._hear_answered:
            if observer.kept:
                effects += observer.answered(upstream, answers, admitted, now)
        if admitted is not None:
            late = admitted.count(False)
            self._questions.count_late(late)
            answers = answers.only(admitted)
        won = 0
        if answers.questions:
            for observer in self._hear_admitted:
                if observer.kept:
                    effects += observer.admitted(upstream, answers.questions, now)
            told, won = self._questions.answer(answers, now)
            effects += told
            late += len(answers.questions) - won
        link.replies.credit(won, late)
        return effects

    def _deny(self, upstream: Upstream, replies: Replies, now: float) -> list[Effect]:
        """Take what is no answer; end what that decides, and ask others for the rest."""
        effects: list[Effect] = []
        link = upstream.link
        for observer in self._hear_denied:
            if observer.kept:
                effects += observer.denied(upstream, replies.unknown, replies.denials, now)
        questions = [*replies.unknown, *[question for question, _, _ in replies.denials]]
        admitted = self._policy.admits(link, questions)
        if self._cache is not None:
            admitted = self._cache.admits(upstream, questions, replies.denials, admitted)
        are_open = map(self._questions.is_open, questions)
        counted = [
            question
            for question, is_admitted, is_open in zip(
                questions, admitted or repeat(True), are_open, strict=False
            )
            if is_admitted and is_open
        ]
        late = len(questions) - len(counted)
        self._questions.count_late(late)
        link.replies.credit(0, late)
        still_open = dict.fromkeys(counted)
        unknown = [question for question in replies.unknown if question in still_open]
        denials = [denial for denial in replies.denials if denial[0] in still_open]
        link.replies.deny(QuestionEvent.NOT_FOUND_SAID, len(unknown))
        for _, said, _ in denials:
            link.replies.deny(said, 1)
        self._policy.passed(link, list(still_open), now)
        effects += self._negatives.add(link.bit, unknown, denials, now)
        if denials:
            effects += self._upstreams.hurry([question for question, _, _ in denials], now)
        return effects + self.ask_waiting(now)

    # -- links -------------------------------------------------------------------------------------

    def _open_for(self, upstream: Upstream) -> list[bytes]:
        """Return all that is open and that this server was to be asked."""
        questions = self._questions.all_open()
        admitted = self._policy.admits(upstream.link, questions)
        if admitted is not None:
            questions = list(compress(questions, admitted))
        return self._barred.askable(upstream.link, questions)

    def update_links(self, now: float) -> list[Effect]:
        """Take in how all links stand, since one of them may have changed."""
        effects: list[Effect] = []
        reconnected, unawaited = self._upstreams.update()
        for observer in self._hear_links:
            effects += observer.links_changed(reconnected, unawaited, now)
        return effects + self.ask_waiting(now)
