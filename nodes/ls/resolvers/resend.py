"""Sending again over UDP what may be lost.

A question of which something worse is held is sent again when it is overdue, `resends_max` times at
most, each time after twice as long; any other once, when it is as old as an asking may be. A silent
resolver is sent nothing again.

Not here: when a question is overdue, or lost (`nodes/ls/resolvers/ageing.py`), and what a socket
was asked that broke, or was given up (`nodes/ls/resolvers/resolver.py`).
"""

from collections.abc import Callable, Iterable

from core.bounds import Bounds
from core.effects import Effect
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.grace import Grace
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.sockets import SentBatch
from nodes.ls.resolvers.udp_sender import UdpSender


class Resender:
    """Sends again what one resolver may not have got. `admitted`: those of these questions that it
    is still to be asked."""

    def __init__(
        self,
        bounds: Bounds,
        interest: QuestionInterest,
        admitted: Callable[[list[bytes]], list[bytes]],
        grace: Grace,
        ageing: Ageing,
        in_flight: InFlight,
        sender: UdpSender,
    ) -> None:
        self._resends_max = bounds.resends_max
        self._is_wanted = interest.is_wanted
        self._is_held = interest.is_held
        self._admitted = admitted
        self._grace = grace
        self._ageing = ageing
        self._in_flight = in_flight
        self._sender = sender

    def resend_overdue(self, now: float) -> list[Effect]:
        """Take what is overdue out of the window; send again what of it is held."""
        effects: list[Effect] = []
        for batch in self._ageing.take_overdue(now):
            self._in_flight.leave(batch)
            questions = self._unanswered(batch)
            self._ageing.overdue.update(dict.fromkeys(questions, batch.tries))
            effects += self.resend_held(questions, now)
        return effects

    def resend_held(self, questions: Iterable[bytes], now: float) -> list[Effect]:
        """Send again those of these questions that are held and overdue."""
        overdue = self._ageing.overdue
        if not overdue:
            return []
        by_tries: dict[int, list[bytes]] = {}
        for question in questions:
            tries = overdue.get(question, self._resends_max)
            if tries < self._resends_max and self._is_held(question):
                by_tries.setdefault(tries + 1, []).append(question)
        effects: list[Effect] = []
        for tries, again in by_tries.items():
            effects += self.resend(again, tries, now)
        return effects

    def lost_in(self, batch: SentBatch) -> list[bytes]:
        """Return the questions of a batch to send once more, since it is as old as an asking may
        be: none of a batch that was sent again, or of those that need the stream."""
        if batch.tries:
            return []
        questions = self._unanswered(batch)
        if batch.socket.is_stream:
            return [question for question in questions if question not in batch.tcp_only]
        overdue = self._ageing.overdue
        return [question for question in questions if overdue.get(question) == 0]

    def resend(self, questions: list[bytes], tries: int, now: float) -> list[Effect]:
        """Send questions again that have been sent `tries` times."""
        if not questions or self._grace.is_silent or not self._sender.has_socket:
            return []
        if not (questions := self._admitted(list(dict.fromkeys(questions)))):
            return []
        for question in questions:
            self._ageing.overdue.pop(question, None)
        return self._sender.send_again(questions, tries, now)

    def _unanswered(self, batch: SentBatch) -> list[bytes]:
        """Return the questions of a batch that have no reply, and want one."""
        return [question for _, question in batch.unanswered() if self._is_wanted(question)]
