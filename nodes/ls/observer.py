"""Observers: parts that keep something about open questions, and parts that have a deadline.

The load balancer tells each part what happens, in the order of its tuple of observers; a part
overrides what it wants to hear of, and costs nothing for the rest (`hooks`). Every question is
folded. Each method returns effects, usually none.

Not here: any part. They are the policy, held negatives, line equivalents and samples.
"""

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, Protocol

from core.effects import Effect
from core.protocol.outcome import Answered
from nodes.ls.outcomes import QuestionState
from nodes.ls.replies import Denial
from nodes.ls.upstream import Upstream


class Timed(Protocol):
    """A part that has to be woken at some time."""

    def due(self) -> float:
        """Return when; infinite for never. Cheap: asked once a turn."""
        ...

    def woken(self, now: float) -> list[Effect]:
        """Do what is due, if anything is."""
        ...


class Observer:
    """Keeps something about open questions: what, is in `kept`. While that is empty it is not told
    of questions that are closed."""

    kept: Sized

    def asked(self, questions: Sequence[bytes], now: float) -> Iterable[Effect]:
        """Take note of questions that are about to be asked, for the first time or once more."""
        return ()

    def sent(self, upstream: Upstream, questions: Sequence[bytes], now: float) -> Iterable[Effect]:
        """Take note of questions that an upstream is asked."""
        return ()

    def answered(
        self, upstream: Upstream, answers: Answered, admitted: list[bool] | None, now: float
    ) -> Iterable[Effect]:
        """Take note of answers that came. Those that are not `admitted` (None: all are) do not
        count for clients, since this connection was not asked for them."""
        return ()

    def denied(
        self, upstream: Upstream, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> Iterable[Effect]:
        """Take note of what came that is no answer: `unknown` in an upstream's own table, and
        `denials`. Some of it may be about questions that are open no more."""
        return ()

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        """Take note of questions that are open no more, and how they ended."""
        return ()


def hooks(
    observers: Iterable[Observer], name: str, base: type[Observer] = Observer
) -> tuple[Callable[..., Any], ...]:
    """Return the methods of this name of those observers that override that of the base."""
    plain = getattr(base, name)
    return tuple(
        getattr(observer, name)
        for observer in observers
        if getattr(type(observer), name) is not plain
    )
