"""Metrics of questions: what became of all that clients asked.

The conservation law holds among them: asked = answered + not found + no data + failed + timed out +
dropped + pending.

Not here: who counts (`questions.py`).
"""

from core.metrics import Metric, Value
from core.protocol.names import Negative
from core.protocol.server_state import ANSWERED, ASKED, NO_DATA, ended
from nodes.ls.monitored import Monitored
from nodes.ls.questions import Questions

DENIED = {
    Negative.TIMED_OUT: ended("timed_out", "Questions that nothing came for in time"),
    Negative.NOT_FOUND: ended("not_found", "Questions whose name nobody has"),
    Negative.NO_DATA: NO_DATA,
    Negative.FAILED: ended("failed", "Questions that nobody could, or would, find out"),
}
DROPPED = ended("dropped", "Questions whose asker left before the reply")
PENDING = Metric("pending", "Questions without a reply", is_level=True)
JOINED = Metric("joined", "Questions that share the reply of an earlier, equal one")
LATE = Metric("late", "Replies of servers that nobody waited for")


class QuestionMetrics(Monitored):
    """The metrics of all questions of one load balancer."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def metrics(self) -> list[Value]:
        questions = self._questions
        return [
            Value(ASKED, questions.asked),
            Value(ANSWERED, questions.answered),
            *(Value(metric, questions.denied[why]) for why, metric in DENIED.items()),
            Value(DROPPED, questions.dropped),
            Value(PENDING, questions.pending),
            Value(JOINED, questions.joined),
            Value(LATE, questions.late),
        ]
