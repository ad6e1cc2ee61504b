"""States of a stream, from its dial to its end.

A stream that is to be secured is SECURING until it may be used: from the start, if it was accepted.
A close that we begin is staged: FLUSHING, then LINGERING, until the peer ends, too. HALF_CLOSED and
DEAF are those of which one direction is over.

Not here: what is done in each (`core/io/connection.py`, `core/io/streams.py`).
"""

from core.machine import STAY, Label, Transitions


class StreamState(Label):
    """The life of a connection."""

    CONNECTING = "we dial, and nobody has answered yet"
    SECURING = "both ends agree how all that follows is sealed; nothing else goes either way"
    OPEN = "bytes go both ways"
    HALF_CLOSED = "the peer has ended its side and is still sent to"
    DEAF = "the peer takes nothing more; what it sent before is still read"
    FLUSHING = "we close: what is owed is sent, what comes in is dropped"
    PARTING = "we close, the peer has ended: what is owed is sent, nothing comes in"
    LINGERING = "our side is ended: what comes in is dropped until the peer ends"
    CLOSED = "the stream is gone"


class StreamEvent(Label):
    """The events in the life of a connection."""

    CONNECTED = "the dial was answered"
    REACHED = "the dial was answered, and the stream is to be secured"
    SECURED = "it is secure, and the peer of a dial has proved who it is"
    PEER_ENDED = "the peer's end of stream was read"
    SEND_FAILED = "the peer takes nothing more"
    CLOSE_ASKED = "our side wants a staged close"
    FLUSHED = "nothing is left to send"
    LOST = "the stream broke, a limit passed, or our side wants it gone at once"


S, E = StreamState, StreamEvent
STREAM: Transitions[StreamState, StreamEvent] = {
    S.CONNECTING: {
        E.CONNECTED: S.OPEN,
        E.REACHED: S.SECURING,
        E.CLOSE_ASKED: S.CLOSED,
        E.LOST: S.CLOSED,
    },
    S.SECURING: {
        E.SECURED: S.OPEN,
        E.PEER_ENDED: S.CLOSED,
        E.SEND_FAILED: S.CLOSED,
        E.CLOSE_ASKED: S.CLOSED,
        E.LOST: S.CLOSED,
    },
    S.OPEN: {
        E.PEER_ENDED: S.HALF_CLOSED,
        E.SEND_FAILED: S.DEAF,
        E.CLOSE_ASKED: S.FLUSHING,
        E.LOST: S.CLOSED,
    },
    S.HALF_CLOSED: {E.SEND_FAILED: S.CLOSED, E.CLOSE_ASKED: S.PARTING, E.LOST: S.CLOSED},
    S.DEAF: {E.PEER_ENDED: S.CLOSED, E.CLOSE_ASKED: S.CLOSED, E.LOST: S.CLOSED},
    S.FLUSHING: {
        E.PEER_ENDED: S.PARTING,
        E.SEND_FAILED: S.CLOSED,
        E.FLUSHED: S.LINGERING,
        E.LOST: S.CLOSED,
    },
    S.PARTING: {E.SEND_FAILED: S.CLOSED, E.FLUSHED: S.CLOSED, E.LOST: S.CLOSED},
    S.LINGERING: {E.PEER_ENDED: S.CLOSED, E.LOST: S.CLOSED},
    S.CLOSED: {E.LOST: STAY},
}

READ = frozenset({S.SECURING, S.OPEN, S.DEAF, S.FLUSHING, S.LINGERING})
HEARD = frozenset({S.OPEN, S.DEAF})  # input is of interest, not read and dropped
SENT_TO = frozenset({S.OPEN, S.HALF_CLOSED})
