"""Exchange: asks upstreams what is to be asked, and gives their replies to whoever waits.

The policy says whom to ask. Observers are told, in their order, what is asked and what comes. An
answer that counts closes its question; what is no answer is kept as a negative, and the policy may
ask somebody else.

Not here: who waits (`questions.py`), and what a negative decides (`negatives.py`).
"""

from itertools import compress, repeat

from core.effects import Effect
from core.events import ConnectionEvent
from core.protocol.outcome import Answered
from nodes.ls.link_state import LinkEvent, LinkState
from nodes.ls.observer import hooks
from nodes.ls.parts import Parts
from nodes.ls.policy import Policy
from nodes.ls.replies import LinkChange, Replies
from nodes.ls.upstream import Upstream


class Exchange:
    """Between the open questions and the upstreams of one load balancer."""

    def __init__(self, parts: Parts) -> None:
        self._questions = parts.questions
        self._upstreams = parts.upstreams
        self._policy = parts.policy
        self._negatives = parts.negatives
        self._asked = hooks(parts.observers, "asked")
        self._sent = hooks(parts.observers, "sent")
        self._answered = hooks(parts.observers, "answered")
        self._denied = hooks(parts.observers, "denied")
        self._won = hooks([parts.policy], "won", Policy)
        parts.questions.observers = parts.observers

    # -- asking ------------------------------------------------------------------------------------

    def ask(self, questions: list[bytes], lines: bytes, now: float) -> list[Effect]:
        """Ask whom the policy wants asked. `lines`: the questions, if they are there already."""
        effects: list[Effect] = []
        for asked in self._asked:
            effects += asked(questions, now)
        if self._negatives.kept:
            self._negatives.asked_again(questions)
        for link, share in self._policy.ask(questions, now):
            if not lines and share is questions:
                lines = b"\n".join(questions) + b"\n"
            server = self._upstreams.by_name[link.conn]
            for sent in self._sent:
                effects += sent(server, share, now)
            effects += server.ask(share, now, lines if share is questions else b"")
        if self._policy.waiting:
            effects += self.ask_waiting(now)
        if self._upstreams.failing:
            effects += self._negatives.fail(questions, now)
        return effects

    def _send(
        self, upstream: Upstream, questions: list[bytes], lines: bytes, now: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        for sent in self._sent:
            effects += sent(upstream, questions, now)
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
        if change is not LinkChange.NONE:
            effects += self._link_changed(upstream, change, now)
        for answers in replies.answers:
            effects += self._answer(upstream, answers, now)
        if replies.unknown or replies.denials:
            effects += self._deny(upstream, replies, now)
        if replies.late:
            self._questions.count_late(replies.late)
            upstream.link.credit(0, replies.late)
        if replies.has_late_data:
            self._negatives.differs(upstream, now)
        if change is LinkChange.IS_BACK:
            effects += upstream.resume(self._open_for(upstream), now)
        if replies.failure:
            effects += upstream.give_up(replies.failure)
        if replies.failure or change is not LinkChange.NONE:
            effects += self.update_links(now)
        return effects

    def _link_changed(self, upstream: Upstream, change: LinkChange, now: float) -> list[Effect]:
        if change is LinkChange.CAME_UP:
            self._negatives.forget_servers(upstream.link.bit)
        effects = self.update_links(now)
        if change in (LinkChange.CAME_UP, LinkChange.HAS_ROOM):
            effects += self._ask_slice(upstream, now)
        return effects

    def _answer(self, upstream: Upstream, answers: Answered, now: float) -> list[Effect]:
        effects: list[Effect] = []
        link, late = upstream.link, 0
        admitted = self._policy.admits(link, answers.questions)
        for answered in self._answered:
            effects += answered(upstream, answers, admitted, now)
        if admitted is not None:
            late = admitted.count(False)
            self._questions.count_late(late)
            answers = answers.only(admitted)
        won = 0
        if answers.questions:
            if self._negatives.kept or self._negatives.told:
                self._negatives.compare(upstream, answers.questions, now)
            for take_win in self._won:
                take_win(link, answers.questions, now)
            told, won = self._questions.answer(answers, now)
            effects += told
            late += len(answers.questions) - won
        link.credit(won, late)
        return effects

    def _deny(self, upstream: Upstream, replies: Replies, now: float) -> list[Effect]:
        """Take what is no answer; end what that decides, and ask others for the rest."""
        effects: list[Effect] = []
        link = upstream.link
        for denied in self._denied:
            effects += denied(upstream, replies.unknown, replies.denials, now)
        questions = [*replies.unknown, *[question for question, _, _ in replies.denials]]
        admitted = self._policy.admits(link, questions) or repeat(True)
        are_open = map(self._questions.is_open, questions)
        counted = [
            question
            for question, is_admitted, is_open in zip(questions, admitted, are_open, strict=False)
            if is_admitted and is_open
        ]
        late = len(questions) - len(counted)
        self._questions.count_late(late)
        link.credit(0, late)
        still_open = dict.fromkeys(counted)
        unknown = [question for question in replies.unknown if question in still_open]
        denials = [denial for denial in replies.denials if denial[0] in still_open]
        self._policy.passed(link, list(still_open), now)
        effects += self._negatives.add(link.bit, unknown, denials, now)
        if denials:
            effects += self._upstreams.hurry([question for question, _, _ in denials], now)
        return effects + self.ask_waiting(now)

    # -- links -------------------------------------------------------------------------------------

    def _open_for(self, upstream: Upstream) -> list[bytes]:
        """All that is open and that this server was to be asked."""
        questions = self._questions.all_open()
        admitted = self._policy.admits(upstream.link, questions)
        return questions if admitted is None else list(compress(questions, admitted))

    def update_links(self, now: float) -> list[Effect]:
        """Take in how all links stand, since one of them may have changed."""
        effects: list[Effect] = []
        gone, unawaited = self._upstreams.update()
        if gone or unawaited:
            effects += self._negatives.servers_changed(gone, unawaited, now)
        self._policy.links_changed(now)
        return effects + self.ask_waiting(now)
