"""How a question ends: the machine, and what beats what.

An upstream that says something else than an answer may be beaten by another, so it is held: the
state is the best that was said, and RELEASED says it. An answer, and BOGUS_SAID, end all states.

Not here: how long anything is held (`nodes/ls/negatives.py`), and who is told.
"""

from core.machine import STAY, IllegalTransition, Label, Transitions
from core.protocol.names import Negative


class QuestionState(Label):
    """How far the race for a question is."""

    OPEN = "it is asked, and nothing that has been said ends it"
    FAILURE_HELD = "somebody cannot find it out, and another may say more"
    REFUSAL_HELD = "somebody does not tell us, and another may"
    NOT_FOUND_HELD = "a resolver says that there is no such name, and another may still answer"
    NAME_HELD = "a table knows that the name exists, and another may still answer"
    NO_DATA_HELD = "somebody says NO DATA, and another may still answer"
    ANSWERED = "a server has answered"
    NOT_FOUND = "there is no such name"
    NO_DATA = "its name is known, and has nothing of this type"
    FAILED = "nobody who was waited for could say, or would"
    TIMED_OUT = "nothing came in time"
    DROPPED = "nobody is there to be replied to"


class QuestionEvent(Label):
    """The events of a question."""

    ANSWER = "a server answers it"
    NOT_FOUND_SAID = "a resolver says NXDOMAIN"
    NAME_SAID = "a table shows that the name exists, and cannot know what it has of this type"
    NO_DATA_SAID = "a TS says NO DATA, or a resolver has nothing of this type"
    REFUSAL_SAID = "a resolver says REFUSED"
    FAILURE_SAID = "a resolver says SERVFAIL, or another error"
    BOGUS_SAID = "a resolver that validates says that what it found is forged or broken"
    ALL_NOT_FOUND = "every configured server has spoken, and each says NOT FOUND"
    RELEASED = "every server that is waited for has spoken, or the grace is over"
    TIME_UP = "the asker has waited as long as it may"
    LOST = "the asker is gone"


S, E = QuestionState, QuestionEvent
QUESTION: Transitions[QuestionState, QuestionEvent] = {
    S.OPEN: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: S.REFUSAL_HELD,
        E.FAILURE_SAID: S.FAILURE_HELD,
        E.BOGUS_SAID: S.FAILED,
        E.ALL_NOT_FOUND: S.NOT_FOUND,
        E.TIME_UP: S.TIMED_OUT,
        E.LOST: S.DROPPED,
    },
    S.FAILURE_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: S.REFUSAL_HELD,
        E.FAILURE_SAID: STAY,
        E.BOGUS_SAID: S.FAILED,
        E.RELEASED: S.FAILED,
        E.LOST: S.DROPPED,
    },
    S.REFUSAL_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NOT_FOUND_HELD,
        E.NAME_SAID: S.NAME_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.BOGUS_SAID: S.FAILED,
        E.RELEASED: S.FAILED,
        E.LOST: S.DROPPED,
    },
    S.NOT_FOUND_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: S.NO_DATA_HELD,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.BOGUS_SAID: S.FAILED,
        E.RELEASED: S.NOT_FOUND,
        E.LOST: S.DROPPED,
    },
    S.NAME_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: S.NO_DATA_HELD,
        E.NAME_SAID: STAY,
        E.NO_DATA_SAID: S.NO_DATA_HELD,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.BOGUS_SAID: S.FAILED,
        E.RELEASED: S.NO_DATA,
        E.LOST: S.DROPPED,
    },
    S.NO_DATA_HELD: {
        E.ANSWER: S.ANSWERED,
        E.NOT_FOUND_SAID: STAY,
        E.NAME_SAID: STAY,
        E.NO_DATA_SAID: STAY,
        E.REFUSAL_SAID: STAY,
        E.FAILURE_SAID: STAY,
        E.BOGUS_SAID: S.FAILED,
        E.RELEASED: S.NO_DATA,
        E.LOST: S.DROPPED,
    },
    **{end: {} for end in (S.ANSWERED, S.NOT_FOUND, S.NO_DATA, S.FAILED, S.TIMED_OUT, S.DROPPED)},
}
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
