"""Reply counts: what came from one server, through every connection to it.

Not here: their names (`link_metrics.py`), and what became of the questions (`questions.py`).
"""

from collections import Counter

from nodes.ls.outcomes import QuestionEvent


class ReplyCounts:
    """The counts of one server. Each reply is in one of them."""

    __slots__ = ("denied", "late", "malformed", "nothing_said", "truncated", "won")

    def __init__(self) -> None:
        self.won = 0  # races
        self.late = 0  # replies that nobody waited for
        self.denied: Counter[QuestionEvent] = Counter()  # that counted, and were no answers
        self.truncated = 0  # those that are asked for again over TCP
        self.malformed = 0  # lines or messages that are no replies
        self.nothing_said = 0  # legal lines that end no question

    def credit(self, won: int, late: int) -> None:
        """Count replies that won races, and replies that nobody waited for."""
        self.won += won
        self.late += late

    def deny(self, said: QuestionEvent, count: int) -> None:
        """Count replies that counted, and were no answers."""
        self.denied[said] += count

    def truncate(self, count: int) -> None:
        """Count replies that were truncated."""
        self.truncated += count

    def misread(self, malformed: int, nothing_said: int = 0) -> None:
        """Count what came and ended no question."""
        self.malformed += malformed
        self.nothing_said += nothing_said
