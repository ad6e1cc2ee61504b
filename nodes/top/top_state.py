"""The life of `top` as a machine.

It dials a server, asks it for STATS once a second, and dials again when the server goes away, until
somebody ends it.

Not here: what it shows, and when (`nodes/top/top.py`).
"""

from core.machine import STAY, Label, Transitions


class TopState(Label):
    """The life of `top`."""

    IDLE = "nothing has been done yet"
    DIALING = "a connection to the server is being made"
    ASKED = "STATS is asked, and its reply is awaited"
    RESTING = "the reply is shown; the next is asked for in a second"
    AWAY = "there is no connection; the server is dialled again in a second"
    ENDED = "somebody has ended it, or it was to show one frame"


class TopEvent(Label):
    """The events in the life of `top`."""

    DIAL = "it is time to dial"
    CONNECTED = "the server has answered the dial"
    REPLIED = "the reply to STATS is complete, or STATS was refused"
    ASK = "it is time to ask again"
    LOST = "the connection is gone or of no use, or could not be had"
    END = "somebody ends it, or its one frame is shown"


S, E = TopState, TopEvent
TOP: Transitions[TopState, TopEvent] = {
    S.IDLE: {E.DIAL: S.DIALING, E.END: S.ENDED},
    S.DIALING: {E.CONNECTED: S.ASKED, E.LOST: S.AWAY, E.END: S.ENDED},
    S.ASKED: {E.REPLIED: S.RESTING, E.LOST: S.AWAY, E.END: S.ENDED},
    S.RESTING: {E.ASK: S.ASKED, E.LOST: S.AWAY, E.END: S.ENDED},
    S.AWAY: {E.DIAL: S.DIALING, E.LOST: STAY, E.END: S.ENDED},
    S.ENDED: {E.LOST: STAY, E.END: STAY},
}
