"""The life of a client as a machine.

A client dials LS for its first name, sends every name and QUIT, and is done when each name has its
reply. While names may still come LS may leave, if it owes nothing: it is dialled again for the next
one. The end may come from every state: the patience is over, the connection is gone, or a signal
interrupts.

Not here: the client (`nodes/client/client.py`).
"""

from core.machine import STAY, Label, Transitions


class ClientState(Label):
    """The life of a client."""

    IDLE = "there is no connection, and nothing to be asked"
    DIALING = "a connection to LS is being made"
    ASKING = "names are being sent, and replies come"
    LEAVING = "everything is asked, QUIT too; replies come, and then BYE"
    DONE = "every name has its line"
    FAILED = "the connection could not be made, ended too early, or brought no replies"


class ClientEvent(Label):
    """The events in the life of a client."""

    NAMED = "there is a name to ask"
    NOTHING_TO_ASK = "no more names come"
    CONNECTED = "LS has answered the dial"
    ALL_ASKED = "the last name is on its way"
    LEFT = "LS ends the connection while nothing is owed"
    ALL_REPLIED = "nothing is owed"
    CUT_SHORT = "there will be no more replies, and some are owed"


S, E = ClientState, ClientEvent
CLIENT: Transitions[ClientState, ClientEvent] = {
    S.IDLE: {E.NAMED: S.DIALING, E.NOTHING_TO_ASK: S.DONE, E.CUT_SHORT: S.FAILED},
    S.DIALING: {E.CONNECTED: S.ASKING, E.CUT_SHORT: S.FAILED},
    S.ASKING: {E.ALL_ASKED: S.LEAVING, E.LEFT: S.IDLE, E.CUT_SHORT: S.FAILED},
    S.LEAVING: {E.ALL_REPLIED: S.DONE, E.CUT_SHORT: S.FAILED},
    S.DONE: {E.CUT_SHORT: STAY},
    S.FAILED: {E.NOTHING_TO_ASK: STAY, E.CUT_SHORT: STAY},
}
