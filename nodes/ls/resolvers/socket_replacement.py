"""Replacing every UDP socket to one resolver at once, and asking again what they were asked.

Three things are a reason. A socket that breaks says that our address may be gone: what was asked
goes by the new sockets, before all else. A question whose sockets break `resends_max` times more is
taken to be what is refused, and fails. The resolver has moved: all is asked again. And spoofing is
suspected: then all is asked again once in `join_s`. In between only what may have its reply on the
way, or is held. The rest would take the room of questions that do get replies, as often as somebody
guesses: it is deferred, and asked then, or as soon as something worse is held of it.

Not here: when it is done (`reachability.py`, `guess_guard.py`), and a socket that is replaced since
it is old (`socket_pool.py`).
"""

import math

from core.bounds import Bounds
from core.effects import Effect
from nodes.ls.resolvers.ageing import Ageing
from nodes.ls.resolvers.in_flight import InFlight
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.send_queue import SendQueue
from nodes.ls.resolvers.socket_pool import SocketPool
from nodes.ls.resolvers.sockets import SentQuestion


class SocketReplacement:
    """Replaces the UDP sockets of one resolver."""

    def __init__(
        self,
        bounds: Bounds,
        interest: QuestionInterest,
        sockets: SocketPool,
        in_flight: InFlight,
        ageing: Ageing,
        queue: SendQueue,
    ) -> None:
        self._resends_max = bounds.resends_max
        self._is_wanted = interest.is_wanted
        self._is_held = interest.is_held
        self._sockets = sockets
        self._in_flight = in_flight
        self._ageing = ageing
        self._queue = queue

    def replace(self, *, is_elsewhere: bool = False) -> tuple[list[Effect], list[SentQuestion]]:
        """Give up all UDP sockets and dial others; also return what has no reply. `is_elsewhere`:
        see `SocketPool.replace_all`."""
        effects, given_up = self._sockets.replace_all(is_elsewhere=is_elsewhere)
        asked = [sent for socket in given_up for sent in socket.asked.values()]
        for socket in given_up:
            self._in_flight.forget(socket)
        return effects, asked

    def queue_broken(self, asked: list[SentQuestion]) -> list[bytes]:
        """Queue what sockets were asked of which one broke; return the questions that fail."""
        moves: dict[bytes, int] = {}
        for question, _, batch in asked:
            if self._is_wanted(question):
                moves[question] = max(batch.moves + 1, moves.get(question, 0))
        moved: dict[int, list[bytes]] = {}
        failed: list[bytes] = []
        for question, times in moves.items():
            if times <= self._resends_max:
                moved.setdefault(times, []).append(question)
            else:
                failed.append(question)
        for times, questions in moved.items():
            self._queue.put_first(questions, math.inf, times)
        return failed

    def open_since(self, asked: list[SentQuestion], now: float) -> dict[bytes, float]:
        """Return when those of these that are wanted were asked first."""
        open_since: dict[bytes, float] = {}
        for question, _, batch in asked:
            if self._is_wanted(question):
                since = open_since.get(question, now)
                open_since[question] = min(batch.asked_at, since)
        return open_since

    def queue_again(self, open_since: dict[bytes, float], all_from: float, now: float) -> None:
        """Queue questions that are open since these times, or defer them to `all_from`."""
        by_time: dict[float, list[bytes]] = {}
        deferred: list[bytes] = []
        for question, since in open_since.items():
            is_young = since + self._ageing.resend_s > now
            if all_from <= now or is_young or self._is_held(question):
                by_time.setdefault(since, []).append(question)
            else:
                deferred.append(question)
        for since in sorted(by_time, reverse=True):
            self._queue.put_first(by_time[since], since)
        if deferred:
            self._ageing.overdue.update(dict.fromkeys(deferred, 0))
            self._queue.defer(deferred, all_from)
