"""Guess guard: notices when somebody forges replies, and keeps a resolver on TCP for a while.

A forger has to try many IDs, and that shows: after `unmatched_max` replies that match nothing,
within `upstream_socket_s`, spoofing is suspected (RFC 5452, section 9.2). Then every UDP socket is
replaced, and the resolver is asked over TCP for `wary_s`, from when a stream is there: nothing can
be guessed on it. Where no stream could be had lately, UDP goes on by the new sockets alone.

Not here: which reply matches nothing (`nodes/ls/resolvers/reply_matcher.py`), and what follows
(`nodes/ls/resolvers/resolver.py`).
"""

import math

from core.environment import Environment
from core.operator import Level, Report


class GuessGuard:
    """The replies of one resolver, called `name`, that match nothing.

    `unmatched`: how many there were. `is_alarmed`: too many lately. `tcp_until`: when asking over
    TCP ends.
    """

    def __init__(self, env: Environment, name: str) -> None:
        self.unmatched = 0
        self.is_alarmed = False
        self.tcp_until = -math.inf
        self._bounds = env.bounds
        self._hits = env.hits
        self._name = name
        self._guesses = 0  # lately
        self._guesses_since = -math.inf
        self._is_tcp_next = False  # once a stream is there
        self._no_stream_until = -math.inf  # none could be had: it is no use to wait for one
        self._all_again_at = -math.inf

    def count_unmatched(self) -> None:
        """Count a reply that matches nothing on a stream: no guess, for it needs none to get
        there."""
        self.unmatched += 1

    def count_guess(self, now: float) -> None:
        """Count a reply that matches nothing of a UDP socket."""
        self.unmatched += 1
        if now - self._guesses_since > self._bounds.upstream_socket_s:
            self._guesses_since, self._guesses = now, 0
        self._guesses += 1
        self.is_alarmed = self._guesses >= self._bounds.unmatched_max

    def suspect_spoofing(self, now: float, *, has_stream: bool) -> tuple[Report, bool]:
        """Begin to ask over TCP, or do so once there is a stream. Return what the operator is told,
        and whether a stream has to be dialled."""
        self._hits["unmatched_max"] += 1
        by_tcp = now >= self._no_stream_until
        if by_tcp and has_stream:
            self.tcp_until = now + self._bounds.wary_s
        elif by_tcp:
            self._is_tcp_next = True
        way = f"over TCP for {self._bounds.wary_s:g} s" if by_tcp else "by other sockets"
        text = (
            f"{self._name}: {self._guesses} replies that match nothing: late after a freeze, "
            f"or forged; it is asked {way}"
        )
        about = {"server": self._name, "replies": self._guesses}
        self._guesses = 0
        self.is_alarmed = False
        report = Report(text, Level.WARNING, "replies_unmatched", about, "guesses")
        return report, self._is_tcp_next

    def stream_opened(self, now: float) -> None:
        """Begin to ask over TCP if that was to be done once there is a stream."""
        if self._is_tcp_next:
            self._is_tcp_next = False
            self.tcp_until = now + self._bounds.wary_s

    def stream_failed(self, now: float) -> None:
        """Go back to UDP, since no stream is to be had."""
        self._is_tcp_next = False
        self.tcp_until = -math.inf
        self._no_stream_until = now + self._bounds.away_s

    def take_turn(self, now: float) -> float:
        """Return from when everything that replaced sockets were asked may be asked again: from
        now, once in `join_s`, else from when that is over."""
        if now >= self._all_again_at:
            self._all_again_at = now + self._bounds.join_s
            return now
        return self._all_again_at
