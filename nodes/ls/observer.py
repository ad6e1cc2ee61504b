"""Observers: parts that keep something about open questions, and parts that have to be woken.

Each observer is told what happens, in the order of their tuple (`parts.py`). An observer overrides
what it wants to hear of, and costs nothing for the rest (`hearers`). Every question is folded.
Unless it says otherwise a method returns effects, usually none.

Not here: any observer, and who tells them: the exchange (`exchange.py`) of everything but questions
that are asked again or closed (`questions.py`).
"""

from collections.abc import Iterable, Sequence, Sized
from typing import Protocol

from core.effects import Effect
from core.protocol.outcome import Answered
from nodes.ls.held_negative import HeldNegative
from nodes.ls.outcomes import QuestionState
from nodes.ls.replies import Denial
from nodes.ls.server_set import ServerSet
from nodes.ls.upstream import Upstream


class Timed(Protocol):
    """A part that has to be woken at some time.

    It keeps `due` itself, so that a turn asks nothing of a part that has nothing to do. `due` is
    never later than there is something to do; it may be earlier, where finding out would cost more
    than to be woken once for nothing: `woken` sets it right. When one part is due all are woken.
    """

    @property
    def due(self) -> float:
        """When it has to be woken; infinite for never."""
        ...

    def woken(self, now: float) -> list[Effect]:
        """Do what is due, if anything is."""
        ...


ALWAYS = (None,)  # `kept` of an observer that wants to be told in any case


class Observer:
    """A part that keeps something about open questions, in `kept`. While that is empty it is told
    of questions only what is `asked`: that is where it may begin to keep something."""

    kept: Sized

    def asked(self, questions: Sequence[bytes], now: float) -> Iterable[Effect]:
        """Take note of questions that are about to be asked, for the first time or once more."""
        return ()

    def asked_again(self, questions: Sequence[bytes]) -> None:
        """Take note of those among them that have been asked before, and may have been lost."""

    def sent(self, upstream: Upstream, questions: Sequence[bytes], now: float) -> Iterable[Effect]:
        """Take note of questions that an upstream is asked."""
        return ()

    def answered(
        self, upstream: Upstream, answers: Answered, admitted: list[bool] | None, now: float
    ) -> Iterable[Effect]:
        """Take note of all answers that came. Those that are not `admitted` (None: all are) do not
        count for clients, since this connection was not asked for them."""
        return ()

    def admitted(
        self, upstream: Upstream, questions: Sequence[bytes], now: float
    ) -> Iterable[Effect]:
        """Take note of answers that are admitted: those of these questions that are still open are
        about to be closed by them."""
        return ()

    def denied(
        self, upstream: Upstream, unknown: Sequence[bytes], denials: Sequence[Denial], now: float
    ) -> Iterable[Effect]:
        """Take note of all that came and is no answer: `unknown` in an upstream's own table, and
        `denials`. Some of it may be about questions that are open no more."""
        return ()

    def closed(
        self, questions: Sequence[bytes], end: QuestionState, now: float
    ) -> Iterable[Effect]:
        """Take note of questions that are open no more, and how they ended."""
        return ()

    def released(self, held: Sequence[HeldNegative], now: float) -> Iterable[Effect]:
        """Take note of what is told of questions, of what was held of them: that they are closed
        comes next."""
        return ()

    def differed(self, upstream: Upstream, now: float) -> Iterable[Effect]:
        """Take note that an upstream had data, too late, of what another one denied."""
        return ()

    def links_changed(
        self, reconnected: ServerSet, unawaited: ServerSet, now: float
    ) -> Iterable[Effect]:
        """Take note that links may have changed. `reconnected`: those that have lost their
        connection or have a new one, for which nothing counts that came before. `unawaited`: those
        from which nothing is hoped for any more."""
        return ()


def hearers(observers: Iterable[Observer], name: str) -> tuple[Observer, ...]:
    """Return the observers that override the method of this name, in their order."""
    plain = getattr(Observer, name)
    return tuple(observer for observer in observers if getattr(type(observer), name) is not plain)
