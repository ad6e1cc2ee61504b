"""Waits: how long clients waited, by the protocol that they speak and what became of the question.

Always kept: a batch of questions that ends together is one addition, whatever is in it.

Not here: how fast each server is (`race_samples.py`).
"""

from collections.abc import Sequence

from core.metrics import Histogram, LabelledHistogram, Metric
from nodes.ls.monitored import Monitored
from nodes.ls.outcomes import QuestionState

_ABOUT = "Times that clients waited for a reply, by protocol and result"
_RESULTS = {
    QuestionState.ANSWERED: "answered",
    QuestionState.NO_DATA: "no_data",
    QuestionState.NOT_FOUND: "not_found",
    QuestionState.FAILED: "failed",
    QuestionState.TIMED_OUT: "timed_out",
}
WAITED = {
    end: Metric(
        f"{result}_seconds", _ABOUT, per="face", family="reply_seconds", label=("result", result)
    )
    for end, result in _RESULTS.items()
}


class Waits(Monitored):
    """The waits of one load balancer that is asked through these `faces`. `by_end`: a histogram for
    each end of a question and each face."""

    def __init__(self, faces: Sequence[str]) -> None:
        self.by_end = {end: {face: Histogram() for face in faces} for end in WAITED}

    def histograms(self) -> list[LabelledHistogram]:
        return [
            (WAITED[end], histogram, face)
            for end, by_face in self.by_end.items()
            for face, histogram in by_face.items()
        ]
