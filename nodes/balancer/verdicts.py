"""Verdicts: what TSs have said of open questions that is no answer, and when that decides.

NOT FOUND decides when every configured TS has said so: one that is down, stalled or silent may
have the name. NO DATA is better than NOT FOUND and worse than an answer: it is held, for a short
while, until every live TS has spoken. What a TS has said on a connection goes with it.

A TS is one bit, so that who has spoken is one number; here is nothing of a question that nobody
has denied, and so nothing at all where TSs are silent about what they do not know.

Not here: who is told (`nodes/balancer/race.py`), and whom to ask next (`nodes/balancer/hedge.py`).
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile


class Verdicts:
    """All open questions of which a TS has said that it has nothing.

    `everyone`: the bits of all configured TSs. `hold_s`: how long NO DATA waits for an answer.
    """

    def __init__(self, everyone: int, hold_s: float) -> None:
        self._everyone = everyone
        self._hold_s = hold_s
        self.spoken: dict[bytes, int] = {}  # the bits of those who have, by question
        # Until when: the first is due first. In a dict it would be looked for among the gone.
        self._held: OrderedDict[bytes, float] = OrderedDict()

    def due(self) -> float:
        """When the first one has been held long enough; infinite for never."""
        return next(iter(self._held.values()), math.inf)

    def hear(
        self, bit: int, live: int, not_found: list[bytes], no_data: list[bytes], now: float
    ) -> tuple[list[bytes], list[bytes]]:
        """A TS says so of open questions; `live` are those who may still speak, it included.

        Returns what is NOT FOUND now, and what has been held enough.
        """
        spoken, held = self.spoken, self._held
        for question in no_data:
            held.setdefault(question, now + self._hold_s)
        unknown, enough = [], []
        for question in dict.fromkeys([*no_data, *not_found]):
            spoken[question] = by = spoken.get(question, 0) | bit
            if question in held:
                if by & live == live:
                    enough.append(question)
            elif by == self._everyone:
                unknown.append(question)
        return unknown, enough

    def held_until(self, now: float) -> list[bytes]:
        """What is not to be held for longer than that: infinite for all that is held."""
        return [
            question for question, _ in takewhile(lambda held: held[1] <= now, self._held.items())
        ]

    def held_in_vain(self, live: int) -> list[bytes]:
        """What need not be held any longer, now that only these may still speak."""
        return [question for question in self._held if self.spoken[question] & live == live]

    def are_spoken_of(self, questions: list[bytes]) -> bool:
        """Whether a TS has said of one of them that it has nothing."""
        return not self.spoken.keys().isdisjoint(questions)

    def asked_again(self, questions: list[bytes]) -> None:
        """Whoever is asked anew speaks anew. What is held stays held."""
        if self.are_spoken_of(questions):
            for question in questions:
                if question not in self._held:
                    self.spoken.pop(question, None)

    def take_back(self, bits: int) -> None:
        """The connections of these TSs are gone, and so is what they said there."""
        for question, by in list(self.spoken.items()):
            self.spoken[question] = by & ~bits
            if not by & ~bits and question not in self._held:
                del self.spoken[question]

    def forget(self, questions: Iterable[bytes]) -> None:
        """These are open no more."""
        if self.spoken:
            for question in questions:
                self.spoken.pop(question, None)
                self._held.pop(question, None)
