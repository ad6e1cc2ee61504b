"""Asking: questions that were asked together, and the servers that were asked them so far.

An asking is split when its questions part: some are hedged and some are not, some are denied. The
parts have the same history, and so the same `origin`: what waits in a queue for the asking that was
split is still to be asked for its parts, but not for a later asking of the same question.

Not here: whom to ask, and when (`hedge_policy.py`; the contract is `nodes/ls/policy.py`).
"""

import math
from collections.abc import Mapping

from core.machine import STAY, Label, Machine, Transitions
from nodes.ls.link import Link
from nodes.ls.server_set import NO_SERVERS, ServerSet, without


class AskingState(Label):
    """Progress of an asking."""

    NOWHERE = "no TS that may still answer has been asked"
    ASKED = "the TS that was asked last has time to answer"
    LATE = "it has had it: the next TS is asked when the budget allows"
    EVERYWHERE = "every TS that is there has been asked"


class AskingEvent(Label):
    """Events in the life of an asking."""

    PLACED = "a TS is asked, outside the budget"
    DELAY_OVER = "the delay is over"
    HEDGED = "the budget allows one more TS"
    ALL_ASKED = "there is no TS left to ask"
    DESERTED = "every TS that was asked is gone, stalled, or has nothing"


S, E = AskingState, AskingEvent
ASKING: Transitions[AskingState, AskingEvent] = {
    S.NOWHERE: {E.PLACED: S.ASKED, E.DESERTED: STAY},
    S.ASKED: {E.DELAY_OVER: S.LATE, E.ALL_ASKED: S.EVERYWHERE, E.DESERTED: S.NOWHERE},
    S.LATE: {E.HEDGED: S.ASKED, E.ALL_ASKED: S.EVERYWHERE, E.DESERTED: S.NOWHERE},
    S.EVERYWHERE: {E.PLACED: STAY, E.ALL_ASKED: STAY, E.DESERTED: S.NOWHERE},
}


class Asking:
    """Questions that were asked together, and have had the same history since.

    `began_at`: when the first of their clients asked. `version`: that of the links (see
    `LinkChanges`) by which it was assessed last.
    """

    __slots__ = (
        "began_at", "check_at", "denied", "explores", "life", "open_count", "origin", "questions",
        "recipients", "sent_at", "unable", "version", "without_data",
    )  # fmt: skip

    def __init__(
        self,
        questions: list[bytes],
        began_at: float,
        version: int,
        state: AskingState = AskingState.NOWHERE,
    ) -> None:
        self.questions = questions  # some may be closed, or belong to a later asking by now
        self.open_count = len(questions)  # those that are open and belong to this one
        self.began_at = began_at
        self.version = version
        self.check_at = math.inf  # when it is checked next
        self.life = Machine(ASKING, state, "asking")
        self.sent_at: dict[Link, float] = {}  # when it went to each link, the first one first
        self.origin: Asking = self  # the asking that it was split off from in the first place
        # Those whose replies count: they were sent it, or an earlier asking of the same questions,
        # on their present connection.
        self.recipients: ServerSet = NO_SERVERS
        self.denied: ServerSet = NO_SERVERS  # those that have nothing
        self.unable: ServerSet = NO_SERVERS  # those that cannot be asked it
        self.without_data: ServerSet = NO_SERVERS  # those that are asked last: they have no data
        self.explores = False

    def split(self, questions: list[bytes]) -> "Asking":
        """Return an asking with the same history for some of the open questions."""
        part = Asking(questions, self.began_at, self.version, self.life.state)
        part.sent_at = dict(self.sent_at)
        part.origin = self.origin
        part.recipients, part.denied = self.recipients, self.denied
        part.unable, part.without_data = self.unable, self.without_data
        part.explores = self.explores
        self.settle(len(questions))
        return part

    def succeed(self, earlier: "Asking") -> None:
        """Take over from the asking that these questions belonged to, since they are asked again:
        they are as old as they were, and whoever was sent them may still answer."""
        earlier.settle(len(self.questions))
        self.began_at = earlier.began_at
        self.recipients = earlier.recipients

    def settle(self, count: int) -> None:
        """Let go of so many questions: they are closed, or belong to another asking."""
        self.open_count -= count

    def open_questions(self, askings: Mapping[bytes, "Asking"]) -> list[bytes]:
        """Return those that are open and belong to it. `askings`: that of each open question."""
        return [question for question in self.questions if askings.get(question) is self]

    def sent(self, link: Link, now: float, event: AskingEvent) -> None:
        """Take note that a link is asked; it may have to wait in the link's queue first."""
        self.life.fire(event)
        self.sent_at[link] = now

    def add_recipient(self, link: Link) -> None:
        """Take note that the questions are on their way over the link's present connection."""
        self.recipients |= link.bit

    def denied_by(self, link: Link) -> None:
        """Take note that a link has nothing."""
        self.denied |= link.bit

    def forget(self, link: Link) -> None:
        """Forget a link whose connection is lost, with all that went over it."""
        self.recipients = without(self.recipients, link.bit)
        self.denied = without(self.denied, link.bit)
        self.sent_at.pop(link, None)

    def awaits(self, link: Link) -> bool:
        """Return whether a link that was asked may still answer."""
        return link.is_live and not link.bit & self.denied

    def may_be_answered(self) -> bool:
        """Return whether any link that was asked may still answer."""
        return any(map(self.awaits, self.sent_at))
