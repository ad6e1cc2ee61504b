"""States of a link to an upstream.

A link that comes up is asked for what is open, in slices, before it gets what is new (CATCHING_UP).
A link that takes too little first holds the clients up (HOLDING), since they ask faster than it
reads, and after a while nobody (STALLED): the other servers are there to answer.

Not here: a link (`link.py`).
"""

from core.machine import STAY, Label, Transitions


class LinkState(Label):
    """How a link stands."""

    DOWN = "there is no connection; it is dialled again in time, once its address is known"
    DIALING = "a connection is being made"
    CATCHING_UP = "it is being asked, slice by slice, for what is still open"
    UP = "it has been asked for all that it is to be asked, and may get what is new"
    HOLDING = "as UP, and too much waits for it: no client is read meanwhile"
    STALLED = "it has held the clients up for too long: it gets nothing new, and holds up nobody"
    CLOSING = "we end it, and what still comes from it does not count"


class LinkEvent(Label):
    """The events of a link."""

    DIAL_DUE = "it is time to dial"
    CONNECTED = "the dial was answered"
    CAUGHT_UP = "the last slice is on its way"
    BACKLOGGED = "more waits for it than the high mark"
    FELL_BEHIND = "it is to be asked more than one slice"
    RELIEVED = "less waits for it than the low mark"
    HELD_TOO_LONG = "the clients have been held up for as long as they may be"
    LOST = "the dial failed or the connection is gone"
    GIVEN_UP = "we close it: it has ended, is no table server, or is not needed any more"


S, E = LinkState, LinkEvent
ASKED_NOW = frozenset({S.UP, S.HOLDING})  # a new question is sent to it at once
LIVE = ASKED_NOW | {S.CATCHING_UP}  # it is asked, at once or in slices, and can be hoped to answer
ANSWERING = LIVE | {S.STALLED}  # its replies may count
LINK: Transitions[LinkState, LinkEvent] = {
    S.DOWN: {E.DIAL_DUE: S.DIALING},
    S.DIALING: {E.CONNECTED: S.CATCHING_UP, E.LOST: S.DOWN, E.GIVEN_UP: S.CLOSING},
    S.CATCHING_UP: {
        E.CAUGHT_UP: S.UP,
        E.BACKLOGGED: STAY,
        E.RELIEVED: STAY,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.UP: {
        E.BACKLOGGED: S.HOLDING,
        E.FELL_BEHIND: S.CATCHING_UP,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.HOLDING: {
        E.RELIEVED: S.UP,
        E.HELD_TOO_LONG: S.STALLED,
        E.LOST: S.DOWN,
        E.GIVEN_UP: S.CLOSING,
    },
    S.STALLED: {E.RELIEVED: S.CATCHING_UP, E.LOST: S.DOWN, E.GIVEN_UP: S.CLOSING},
    S.CLOSING: {E.LOST: S.DOWN},
}
