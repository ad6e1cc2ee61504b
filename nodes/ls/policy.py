"""Policy: whom to ask, and when. The contract, and the default: everyone, at once.

The load balancer tells its policy what happens to questions and links, and the policy says which
link is to be asked what. Two ways lead to a link: what `ask` returns is sent at once, with the
other questions of the same read; everything else waits in the policy until the load balancer
takes it for a link, slice by slice (`next_slice`), so that no link is given more than it takes.

Every question in here is folded, and open when it comes.

Not here: the other policy (`nodes/ls/hedging/policy.py`), and how a link stands.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Protocol

from nodes.ls.link import Link, LinkState
from nodes.ls.questions import Questions

Shares = Iterable[tuple[Link, list[bytes]]]  # who is to be asked what


class Policy(Protocol):
    """What the load balancer wants to know of a policy.

    `waiting` are the links that have a next slice waiting, whether or not they can take it.
    """

    @property
    def waiting(self) -> Collection[Link]: ...

    def ask(self, questions: list[bytes], now: float) -> Shares:
        """New questions, or some to be asked anew: whom to ask at once."""
        ...

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """What else a link is to be asked, up to its high mark; and whether that is all."""
        ...

    def admits(self, link: Link, questions: list[bytes]) -> list[bool] | None:
        """Whether a link was asked each of these on its present connection; None: all."""
        ...

    def answered(self, link: Link, questions: list[bytes], now: float) -> None:
        """A link answers these: they are open no more."""
        ...

    def denied(self, link: Link, questions: list[bytes], now: float) -> None:
        """A link says that it has nothing about these."""
        ...

    def closed(self, questions: Iterable[bytes]) -> None:
        """These are open no more, for another reason than an answer."""
        ...

    def links_moved(self, now: float) -> None:
        """A link may have come, gone, stalled or recovered."""
        ...


class RacePolicy:
    """Ask every link that is up for everything; one that comes up, for all that is open.

    A link that is up has been asked for whatever is open, so nothing is kept about it. Of one that
    catches up, or is stalled, is kept which open questions it was sent.
    """

    def __init__(self, links: Sequence[Link], race: Questions, slice_bytes: int) -> None:
        self._links = links
        self._questions = race
        self._slice_bytes = slice_bytes
        self._asked: list[Link] = []
        self._sent: dict[Link, set[bytes]] = {}
        self.waiting = ()  # what a link has missed it is asked for when it comes up, not later

    def ask(self, questions: list[bytes], now: float) -> Shares:
        return zip(self._asked, repeat(questions))

    def next_slice(self, link: Link, now: float) -> tuple[list[bytes], bool]:
        """See Policy. Whole batches of what is open, in the order of asking."""
        questions, link.asked_upto = self._questions.slice_from(link.asked_upto, self._slice_bytes)
        self._sent.setdefault(link, set()).update(questions)
        return questions, link.asked_upto == self._questions.next_number

    def admits(self, link: Link, questions: list[bytes]) -> list[bool] | None:
        """See Policy."""
        if link.is_asked:
            return None
        sent = self._sent.get(link, ())
        return [question in sent for question in questions]

    def answered(self, link: Link, questions: list[bytes], now: float) -> None:
        self.closed(questions)

    def denied(self, link: Link, questions: list[bytes], now: float) -> None:
        pass

    def closed(self, questions: Iterable[bytes]) -> None:
        for sent in self._sent.values():
            sent.difference_update(questions)

    def links_moved(self, now: float) -> None:
        """See Policy."""
        self._asked = [link for link in self._links if link.is_asked]
        for link in self._links:
            if link.is_asked or not link.is_answering:
                self._sent.pop(link, None)
            elif link.life.state is LinkState.STALLED and link not in self._sent:
                self._sent[link] = set(self._questions.open_questions())
