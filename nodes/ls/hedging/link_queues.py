"""Link queues: what links are to be asked besides new questions, slice by slice.

A question that has been closed or denied, or is asked anew, by the time its slice comes is left
out.

Not here: what is put into a queue (`hedge_policy.py`), and when a slice is taken (`exchange.py`).
"""

from collections import deque
from collections.abc import Collection, Mapping

from nodes.ls.hedging.asking import Asking
from nodes.ls.link import Link


class LinkQueues:
    """A queue for each link that has something waiting. `askings`: that of each open question."""

    def __init__(self, askings: Mapping[bytes, Asking], slice_bytes: int) -> None:
        self._askings = askings
        self._slice_bytes = slice_bytes
        # Questions, and the origin of their asking when they were put there; no queue is empty.
        self._queues: dict[Link, deque[tuple[Asking, list[bytes]]]] = {}
        self.links: Collection[Link] = self._queues.keys()  # those with a queue, always

    def add(self, link: Link, asking: Asking, questions: list[bytes]) -> None:
        """Let some questions of an asking wait for a link."""
        self._queues.setdefault(link, deque()).append((asking.origin, questions))

    def drop(self, link: Link) -> None:
        """Forget what waits for a link."""
        self._queues.pop(link, None)

    def next_slice(self, link: Link) -> tuple[list[bytes], bool]:
        """Take what a link is to be asked next, and return it with whether that is all: whole
        lists, until their lines come to more than `slice_bytes`."""
        queue, askings = self._queues.get(link, deque()), self._askings
        questions: list[bytes] = []
        size = 0
        while queue and size <= self._slice_bytes:
            origin, waiting = queue.popleft()
            for question in waiting:
                asking = askings.get(question)
                if asking is not None and asking.origin is origin and not asking.denied & link.bit:
                    if not asking.recipients & link.bit:
                        asking.add_recipient(link)
                    questions.append(question)
                    size += len(question) + 1
        if not queue:
            self.drop(link)
        return questions, not queue
