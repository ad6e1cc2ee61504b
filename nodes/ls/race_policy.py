"""Racing: ask every server that is up at once, and one that comes up for all that is open.

A link that is UP or HOLDING has been asked for whatever is open, so nothing is kept about it. Of
one that catches up, or is STALLED, is kept which open questions it was sent.

Not here: how a link stands (`link.py`), and which questions are open (`questions.py`).
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat

from nodes.ls.link import Link, LinkState
from nodes.ls.policy import Shares
from nodes.ls.questions import Questions


class RacePolicy:
    """A Policy that asks every link. `slice_bytes`: how much one that catches up gets at a time."""

    def __init__(self, links: Sequence[Link], questions: Questions, slice_bytes: int) -> None:
        self._links = links
        self._questions = questions
        self._slice_bytes = slice_bytes
        self._asked: list[Link] = []  # those that are asked at once
        self._sent: dict[Link, set[bytes]] = {}
        self.waiting: Collection[Link] = ()  # what a link missed it gets when it comes up

    def ask(self, questions: list[bytes], now: float) -> Shares:
        return zip(self._asked, repeat(questions))

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy. Whole batches of what is open, in the order of asking."""
        questions, link.asked_upto = self._questions.slice_from(link.asked_upto, self._slice_bytes)
        self._sent.setdefault(link, set()).update(questions)
        return questions, link.asked_upto == self._questions.next_number

    def admits(self, link: Link, questions: Sequence[bytes]) -> list[bool] | None:
        """See Policy."""
        if link.is_asked:
            return None
        sent = self._sent.get(link, ())
        return [question in sent for question in questions]

    def won(self, link: Link, questions: Sequence[bytes], now: float) -> None:
        self.closed(questions)

    def passed(self, link: Link, questions: Sequence[bytes], now: float) -> None:
        """See Policy. Every other link has been asked already."""

    def closed(self, questions: Iterable[bytes]) -> None:
        for sent in self._sent.values():
            sent.difference_update(questions)

    def links_changed(self, now: float) -> None:
        """See Policy."""
        self._asked = [link for link in self._links if link.is_asked]
        for link in self._links:
            if link.is_asked or not link.is_answering:
                self._sent.pop(link, None)
            elif link.life.state is LinkState.STALLED and link not in self._sent:
                self._sent[link] = set(self._questions.open_questions())
