"""Silence of one table server: whether it is still there, though it says nothing.

A table server says nothing of a name that it does not have, so silence alone proves nothing. When
it has said nothing to its last `silent_questions` questions, over at least `silent_s`, it is sent
PING. If nothing has come a `try_s` later it is silent, and is sent PING each `try_s` until
something does.

Not here: the silence of a resolver (`resolvers/grace.py`), and what follows (`health.py`).
"""

import math

from core.bounds import Bounds
from core.effects import Effect, Send
from core.protocol.names import Command
from nodes.ls.link import Link
from nodes.ls.unanswered import Unanswered


class TableSilence:
    """The silence of one table server. `pings`: how many it was sent on its connection."""

    __slots__ = ("_asked", "_bounds", "_is_doubted", "_link", "_replies", "_since", "pings")

    def __init__(self, link: Link, bounds: Bounds) -> None:
        self._link = link
        self._bounds = bounds
        self.begin(0, 0)

    def begin(self, asked: int, replies: int) -> None:
        """Take note that it has a new connection; `asked`, `replies`: see `look`."""
        self.pings = 0
        self._replies = replies  # as many as there had been when it was looked at last
        self._asked = asked  # how many questions it had been sent when something had come last
        self._since = math.inf  # when that was seen
        self._is_doubted = False  # it is sent PING

    def look(self, asked: int, replies: int, unanswered: Unanswered, now: float) -> list[Effect]:
        """See whether it is there, which has been sent so many questions, and has sent so many
        lines. To be called whenever `unanswered` looks, which it will as long as this doubts."""
        link, bounds = self._link, self._bounds
        if not link.is_live:
            return []
        if replies != self._replies:
            self._replies, self._asked, self._since = replies, asked, now
            self._is_doubted = False
        self._since = min(self._since, now)
        is_silent = self._is_doubted
        if asked - self._asked >= bounds.silent_questions and now - self._since >= bounds.silent_s:
            self._is_doubted = True
        if not self._is_doubted:
            return []
        self.pings += 1
        if unanswered.due == math.inf:
            unanswered.begin(now)
        ping = Send(link.conn, Command.PING.value + b"\n")
        return [ping, *(link.health.says_nothing() if is_silent else ())]
