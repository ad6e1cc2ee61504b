"""How a question ends: the machine, and what beats what.

An upstream that says something else than an answer may be beaten by another, so it is held: the
state is the best that was said, and RELEASED says it. An answer, and BOGUS_SAID, end all states.

Not here: how long anything is held (`nodes/ls/negatives.py`), and who is told.
"""

from core.machine import STAY, IllegalTransition, Label, Stay, Transitions
from core.protocol.names import Negative


class QuestionState(Label):
    """How far the race for a question is."""

    OPEN = "it is asked, and nothing that has been said ends it"
    DATA_HELD = "LS knows data itself, and a table may have the name"
    FAILURE_HELD = "somebody cannot find it out, and another may say more"
    REFUSAL_HELD = "somebody does not tell us, and another may"
    STALE_HELD = "LS has old data, and somebody may have newer"
    NOT_FOUND_HELD = "somebody says that there is no such name, and another may still answer"
    NAME_HELD = "a table knows that the name exists, and another may still answer"
    NO_DATA_HELD = "somebody says NO DATA, and another may still answer"
    ANSWERED = "a server has answered, or LS could"
    NOT_FOUND = "there is no such name"
    NO_DATA = "its name is known, and has nothing of this type"
    FAILED = "nobody who was waited for could say, or would"
    TIMED_OUT = "nothing came in time"
    DROPPED = "nobody is there to be replied to"


class QuestionEvent(Label):
    """The events of a question."""

    ANSWER = "a server answers it"
    NOT_FOUND_SAID = "a resolver says NXDOMAIN, or a TS BLOCKED"
    NAME_SAID = "a table shows that the name exists, and cannot know what it has of this type"
    NO_DATA_SAID = "a TS says NO DATA, or a resolver has nothing of this type"
    REFUSAL_SAID = "a resolver says REFUSED"
    FAILURE_SAID = "a resolver says SERVFAIL, or another error"
    BOGUS_SAID = "a resolver that validates says that what it found is forged or broken"
    KEPT_SAID = "LS knows data of it, as a resolver that answers"
    STALE_SAID = "LS knows data of it that is older than it may be"
    ALL_NOT_FOUND = "every configured server has spoken, and each says NOT FOUND"
    RELEASED = "every server that is waited for has spoken, or the grace is over"
    TIME_UP = "the asker has waited as long as it may"
    LOST = "the asker is gone"


S, E = QuestionState, QuestionEvent
_Row = dict[QuestionEvent, QuestionState | Stay]
_HELD: _Row = {E.ANSWER: S.ANSWERED, E.BOGUS_SAID: S.FAILED, E.LOST: S.DROPPED}  # all that is held
_NOTHING: _Row = _HELD | {  # of what says nothing about the name
    E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
    E.NAME_SAID: S.NAME_HELD,
    E.NO_DATA_SAID: S.NO_DATA_HELD,
    E.KEPT_SAID: S.DATA_HELD,
}
_NO_DATA: _Row = _HELD | {  # of what says that there is no data
    E.REFUSAL_SAID: STAY,
    E.FAILURE_SAID: STAY,
    E.STALE_SAID: STAY,
    E.KEPT_SAID: S.DATA_HELD,
}
QUESTION: Transitions[QuestionState, QuestionEvent] = {
    S.OPEN: _NOTHING | {
        E.REFUSAL_SAID: S.REFUSAL_HELD, E.FAILURE_SAID: S.FAILURE_HELD, E.STALE_SAID: S.STALE_HELD,
        E.ALL_NOT_FOUND: S.NOT_FOUND, E.TIME_UP: S.TIMED_OUT,
    },
    S.FAILURE_HELD: _NOTHING | {
        E.REFUSAL_SAID: S.REFUSAL_HELD, E.FAILURE_SAID: STAY, E.STALE_SAID: S.STALE_HELD,
        E.RELEASED: S.FAILED,
    },
    S.REFUSAL_HELD: _NOTHING | {
        E.REFUSAL_SAID: STAY, E.FAILURE_SAID: STAY, E.STALE_SAID: S.STALE_HELD,
        E.RELEASED: S.FAILED,
    },
    S.STALE_HELD: _NOTHING | {
        E.REFUSAL_SAID: STAY, E.FAILURE_SAID: STAY, E.STALE_SAID: STAY, E.RELEASED: S.ANSWERED,
    },
    S.NOT_FOUND_HELD: _NO_DATA | {
        E.NOT_FOUND_SAID: STAY, E.NAME_SAID: S.NO_DATA_HELD, E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.RELEASED: S.NOT_FOUND,
    },
    S.NAME_HELD: _NO_DATA | {
        E.NOT_FOUND_SAID: S.NO_DATA_HELD, E.NAME_SAID: STAY, E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.RELEASED: S.NO_DATA,
    },
    S.NO_DATA_HELD: _NO_DATA | {
        E.NOT_FOUND_SAID: STAY, E.NAME_SAID: STAY, E.NO_DATA_SAID: STAY, E.RELEASED: S.NO_DATA,
    },
    S.DATA_HELD: _NO_DATA | {
        E.NOT_FOUND_SAID: STAY, E.NAME_SAID: STAY, E.NO_DATA_SAID: STAY, E.KEPT_SAID: STAY,
        E.RELEASED: S.ANSWERED,
    },
    **{end: {} for end in (S.ANSWERED, S.NOT_FOUND, S.NO_DATA, S.FAILED, S.TIMED_OUT, S.DROPPED)},
}  # fmt: skip
NEGATIVES = {  # that questions end with
    S.NOT_FOUND: Negative.NOT_FOUND,
    S.NO_DATA: Negative.NO_DATA,
    S.FAILED: Negative.FAILED,
    S.TIMED_OUT: Negative.TIMED_OUT,
}


def state_after(state: QuestionState, event: QuestionEvent) -> QuestionState:
    """Return the state of a question after this event. Raises IllegalTransition."""
    after = QUESTION[state].get(event)
    if after is None:
        raise IllegalTransition(f"a question: {event.name} in {state.name}")
    return after if isinstance(after, QuestionState) else state


def negative_after(state: QuestionState, event: QuestionEvent) -> Negative:
    """Return the negative that a question ends with after this event. Raises IllegalTransition."""
    negative = NEGATIVES.get(state_after(state, event))
    if negative is None:
        raise IllegalTransition(f"a question: {event.name} in {state.name} ends nothing")
    return negative
