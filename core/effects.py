"""Effects: what a brain wants done, in order, after its step.

Plain values, as events are. What is done to a connection is a `ConnectionEffect`, and names one
that is there: none may be named after its `Closed`.

Not here: who performs them (`core/io/loop.py`), and the rules (`core/brain.py`).
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from core.addresses import Address, Datagram


class Effect:
    """Something to be done."""

    __slots__ = ()


@dataclass(slots=True)
class ConnectionEffect(Effect):
    """Something to be done to the connection of this name."""

    conn: str


class Level(IntEnum):
    """How much an operator wants to hear of something."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Standing(Enum):
    """What a service manager wants to know of a server."""

    READY = "it serves, with what it has read"
    RELOADING = "it serves, and reads anew what it read before it began to"
    STOPPING = "it drains"


@dataclass(slots=True)
class Send(ConnectionEffect):
    """Append bytes to what waits for a connection."""

    data: bytes


@dataclass(slots=True)
class SendTo(ConnectionEffect):
    """Send these through a socket of datagrams, as far as the network takes them."""

    datagrams: list[Datagram]


@dataclass(slots=True)
class Dial(ConnectionEffect):
    """Connect to the first address that answers, each tried for `dial_s`: Opened or Closed.

    `framed`: the stream carries DNS, not lines.
    """

    addresses: tuple[Address, ...]
    framed: bool = False


@dataclass(slots=True)
class DialDatagrams(ConnectionEffect):
    """Have a socket of datagrams that hears this address only, at a port that nobody can guess
    (RFC 5452, section 4.5): Opened or Closed. Closed, too, when the network says that nothing gets
    there by it: what it was sent lately may be lost."""

    address: Address


@dataclass(slots=True)
class Spawn(ConnectionEffect):
    """Start a process of our own kind, and be connected with it: Opened; Closed when it is gone."""


@dataclass(slots=True)
class Resolve(ConnectionEffect):
    """Look up where a dialled connection has to go, without waiting: Resolved."""

    host: str
    port: int


@dataclass(slots=True)
class Close(ConnectionEffect):
    """Send what waits, end our side, read and drop until the peer ends: Closed."""


@dataclass(slots=True)
class Abort(ConnectionEffect):
    """Close at once, whatever waits: Closed."""


@dataclass(slots=True)
class Pause(ConnectionEffect):
    """Do not read this connection until Resume."""


@dataclass(slots=True)
class Resume(ConnectionEffect):
    """After Pause: read it again."""


@dataclass(slots=True)
class Unlisten(Effect):
    """Accept no clients any more."""


@dataclass(slots=True)
class Write(Effect):
    """Append bytes to the program's own output."""

    data: bytes


@dataclass(slots=True)
class Report(Effect):
    """One line for the operator: what happened, and what to do about it.

    `kind` is what it has in common with others of which a few are enough; the text, if empty.
    """

    text: str
    level: Level = Level.INFO
    kind: str = ""


@dataclass(slots=True)
class Record(Effect):
    """Whole lines for the file of records, if there is one; they may be dropped."""

    data: bytes


@dataclass(slots=True)
class ReopenRecords(Effect):
    """Go on with the file of records that is at its path now: it may have been renamed."""


@dataclass(slots=True)
class Progress(Effect):
    """How far long work has come, for a terminal; replaces the one before, empty wipes it."""

    text: str


@dataclass(slots=True)
class Notify(Effect):
    """Tell the service manager, if there is one."""

    standing: Standing


@dataclass(slots=True)
class Drain(Effect):
    """Do as if a signal had asked for a clean end: DrainAsked."""


@dataclass(slots=True)
class Stop(Effect):
    """Leave the loop once the output is written; close what is still open."""

    exit_code: int
