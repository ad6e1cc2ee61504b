"""Own turn: LS itself as the last tier, for what it knows of names.

That is a name that must not leave, one with a route to nobody, or a reply that is kept: as good as
the word of a resolver, and not as good as a table that has the name. The word waits until tables of
all tiers have had their turn. Old data and failures say nothing about a name, and do not wait.

Not here: what LS knows (`nodes/ls/own_words.py`), and whose turn it is (`tier_policy.py`).
"""

from collections.abc import Iterable, Mapping

from nodes.ls.cache.cache import SAID
from nodes.ls.replies import Denial
from nodes.ls.server_set import NO_SERVERS, ServerSet

OF_NAMES = frozenset(SAID.values())  # events of words that say something about a name


class OwnTurn:
    """The words of LS that wait for its turn. `bit` stands for it among the servers of tiers;
    `later`: by question, the servers whose turn has not come."""

    def __init__(self, bit: ServerSet, later: Mapping[bytes, ServerSet]) -> None:
        self.bit = bit
        self._later = later
        self._waiting: dict[bytes, Denial] = {}

    def add(self, words: Iterable[Denial]) -> None:
        """Let those of these words wait that are to."""
        self._waiting |= {word[0]: word for word in words if word[1] in OF_NAMES}

    def excluded(self, question: bytes) -> ServerSet:
        """Return the set of LS itself, if it has nothing to say of this."""
        return NO_SERVERS if question in self._waiting else self.bit

    def take(self, questions: Iterable[bytes]) -> list[Denial]:
        """Take the words on those of these questions for which it is its turn."""
        later, waiting = self._later, self._waiting
        return [
            waiting.pop(question)
            for question in questions
            if question in waiting and not later.get(question, NO_SERVERS) & self.bit
        ]

    @property
    def is_empty(self) -> bool:
        """Return whether no word waits."""
        return not self._waiting

    def take_last(self, questions: Iterable[bytes]) -> list[Denial]:
        """Take the words on these questions, whose clients wait no longer."""
        return [self._waiting.pop(one) for one in dict.fromkeys(questions) if one in self._waiting]

    def forget(self, question: bytes) -> None:
        """Forget a question that is open no more."""
        self._waiting.pop(question, None)
