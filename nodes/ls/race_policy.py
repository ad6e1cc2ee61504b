"""Racing: ask every server that is up at once, and one that comes up for all that is open.

A link that is UP or HOLDING has been asked for whatever is open, so nothing is kept about it. Of
one that catches up, or is STALLED, is kept which open questions it was sent, and how far it has
come.

Not here: how a link stands (`link.py`), and which questions are open (`questions.py`).
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat

from core.effects import Effect
from nodes.ls.link import Link
from nodes.ls.link_state import ASKED_NOW, LinkState
from nodes.ls.outcomes import QuestionState
from nodes.ls.policy import Policy, Shares
from nodes.ls.questions import Questions
from nodes.ls.server_set import ServerSet
from nodes.ls.waiting import START, Place


class RacePolicy(Policy):
    """A Policy that asks every link. `slice_bytes`: how much one that catches up gets at a time."""

    name = "race"

    def __init__(self, links: Sequence[Link], questions: Questions, slice_bytes: int) -> None:
        self._links = links
        self._questions = questions
        self._slice_bytes = slice_bytes
        self._asked: list[Link] = []  # those that are asked at once
        self._sent: dict[Link, set[bytes]] = {}
        self.kept = self._sent
        self._upto: dict[Link, Place] = {}  # with which each goes on
        self.waiting: Collection[Link] = ()  # a link gets the questions it missed when it comes up

    def ask(self, questions: list[bytes], now: float) -> Shares:
        return zip(self._asked, repeat(questions))

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy. Whole batches of what is open, in the order of asking."""
        upto = self._upto.get(link, START)
        questions, self._upto[link] = self._questions.slice_from(upto, self._slice_bytes)
        self._sent.setdefault(link, set()).update(questions)
        return questions, self._upto[link] == self._questions.batches.end()

    def admits(self, link: Link, questions: Sequence[bytes]) -> list[bool] | None:
        """See Policy."""
        if link.life.state in ASKED_NOW:
            return None
        sent = self._sent.get(link, ())
        return [question in sent for question in questions]

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        for sent in self._sent.values():
            sent.difference_update(questions)
        return ()

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        self._asked = [link for link in self._links if link.is_asked]
        for link in self._links:
            if link.is_asked or not link.is_answering:
                self._sent.pop(link, None)
                if not link.is_answering:
                    self._upto.pop(link, None)
            elif link.life.state is LinkState.STALLED and link not in self._sent:
                self._sent[link] = set(self._questions.all_open())
                self._upto[link] = self._questions.batches.end()
        return ()
