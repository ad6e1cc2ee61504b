"""The contract between a node's brain and the reactor: events in, effects out.

A brain is pure. `step(event, now)` returns effects, which the reactor performs after the step,
in order; `deadline()` is when the brain wants a `Woken` at the latest, None for never. Time and
randomness are arguments. Both kinds are plain values: they print, and they compare with `==`.

Rules for the brain. Every connection, accepted or dialled, ends with exactly one `Closed`, and
nothing comes from it afterwards; no effect may name it then. After its own `Close` or `Abort`
the brain hears nothing of a connection but that `Closed`. One event carries every whole line of
one read; answer it with one `Send` per connection.

Names of connections: the reactor names what it accepts after the listener that it came to,
`client-1`, `client-2`, ..., or `watcher-1`; a brain names what it dials, and the reactor reads
dialled connections first, in the order in which their names were first dialled.

Not here: any behaviour.
"""

import math
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Protocol

Address = tuple[int, Any]  # (address family, socket address), as the resolver gives them
# What came, and whence; what goes, and whither: None where dialled. Whence is hashable, begins with
# the numeric host of the peer, and is whither to reply, as it is.
Datagram = tuple[bytes, Any]
DATAGRAM_BYTES_MAX = 4_096  # a query is a tenth of it, and a resolver was told 1,232
# What a listener, and what comes to it, is called. RESOLVER asks with DNS, over TCP or UDP.
CLIENT, WATCHER, RESOLVER = "client", "watcher", "resolver"


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


# -- events: what happened -----------------------------------------------------------------------


@dataclass(slots=True)
class Opened:
    """A connection was accepted, or a dialled one is there; or a socket that takes datagrams."""

    conn: str
    is_datagrams: bool = False


@dataclass(slots=True)
class Lines:
    """One read: the lines that it completed (maybe none), each ended by LF. Never after Ended.

    Of a stream that carries DNS: messages, each after its length in two bytes.
    """

    conn: str
    data: bytes


@dataclass(slots=True)
class Datagrams:
    """What one turn brought to a socket of datagrams. Of each, `DATAGRAM_BYTES_MAX` bytes are read;
    the rest is lost."""

    conn: str
    datagrams: list[Datagram]


@dataclass(slots=True)
class Ended:
    """The peer will send nothing more; it may still be sent to. `unfinished`: in mid-line."""

    conn: str
    unfinished: bool


@dataclass(slots=True)
class Closed:
    """The connection is gone, or the dial failed. `why` is empty when we closed and all went."""

    conn: str
    why: str


@dataclass(slots=True)
class PlaceWanted:
    """This accepted connection is to part for another: give it what it is owed, and close it."""

    conn: str


@dataclass(slots=True)
class Backlogged:
    """More bytes wait for this dialled connection than its high mark."""

    conn: str


@dataclass(slots=True)
class Relieved:
    """After Backlogged: fewer bytes wait than the low mark."""

    conn: str


@dataclass(slots=True)
class Resolved:
    """After Resolve: the addresses, none when the lookup failed, because of `why`."""

    conn: str
    addresses: tuple[Address, ...]
    why: str = ""


@dataclass(slots=True)
class DrainAsked:
    """A signal asked for a clean end. The backlog is accepted, each session was read once more.

    `since`: when it came, if that is known.
    """

    since: float = math.inf


@dataclass(slots=True)
class ReloadAsked:
    """A signal asked to read anew what was read at the start."""


@dataclass(slots=True)
class StatsAsked:
    """A signal asked for the figures, in the log."""


@dataclass(slots=True)
class Woken:
    """The deadline has come."""


Event = (
    Opened | Lines | Datagrams | Ended | Closed | PlaceWanted | Backlogged | Relieved | Resolved
    | DrainAsked | ReloadAsked | StatsAsked | Woken
)  # fmt: skip

# -- effects: what to do -------------------------------------------------------------------------


@dataclass(slots=True)
class Send:
    """Append bytes to what waits for a connection."""

    conn: str
    data: bytes


@dataclass(slots=True)
class SendTo:
    """Send these through a socket of datagrams, as far as the network takes them."""

    conn: str
    datagrams: list[Datagram]


@dataclass(slots=True)
class Dial:
    """Connect to the first address that answers, each tried for `dial_s`: Opened or Closed.

    `framed`: the stream carries DNS, not lines.
    """

    conn: str
    addresses: tuple[Address, ...]
    framed: bool = False


@dataclass(slots=True)
class DialDatagrams:
    """Have a socket of datagrams that hears this address only, at a port that nobody can guess
    (RFC 5452, section 4.5): Opened or Closed. Closed, too, when the network says that nothing gets
    there by it: what it was sent lately may be lost."""

    conn: str
    address: Address


@dataclass(slots=True)
class Spawn:
    """Start a process of our own kind, and be connected with it: Opened; Closed when it is gone."""

    conn: str


@dataclass(slots=True)
class Resolve:
    """Look up where a dialled connection has to go, without waiting: Resolved."""

    conn: str
    host: str
    port: int


@dataclass(slots=True)
class Close:
    """Send what waits, end our side, read and drop until the peer ends: Closed."""

    conn: str


@dataclass(slots=True)
class Abort:
    """Close at once, whatever waits: Closed."""

    conn: str


@dataclass(slots=True)
class Pause:
    """Do not read this connection until Resume."""

    conn: str


@dataclass(slots=True)
class Resume:
    """After Pause: read it again."""

    conn: str


@dataclass(slots=True)
class Unlisten:
    """Accept no clients any more."""


@dataclass(slots=True)
class Write:
    """Append bytes to the program's own output."""

    data: bytes


@dataclass(slots=True)
class Report:
    """One line for the operator: what happened, and what to do about it.

    `kind` is what it has in common with others of which a few are enough; the text, if empty.
    """

    text: str
    level: Level = Level.INFO
    kind: str = ""


@dataclass(slots=True)
class Record:
    """Whole lines for the file of records, if there is one; they may be dropped."""

    data: bytes


@dataclass(slots=True)
class ReopenRecords:
    """Go on with the file of records that is at its path now: it may have been renamed."""


@dataclass(slots=True)
class Progress:
    """How far long work has come, for a terminal; replaces the one before, empty wipes it."""

    text: str


@dataclass(slots=True)
class Notify:
    """Tell the service manager, if there is one."""

    standing: Standing


@dataclass(slots=True)
class Drain:
    """Do as if a signal had asked for a clean end: DrainAsked."""


@dataclass(slots=True)
class Stop:
    """Leave the loop once the output is written; close what is still open."""

    exit_code: int


Effect = (
    Send | SendTo | Dial | DialDatagrams | Spawn | Resolve | Close | Abort | Pause | Resume
    | Unlisten | Write | Report | Record | ReopenRecords | Progress | Notify
    | Drain | Stop
)  # fmt: skip


class Brain(Protocol):
    """What the reactor runs."""

    def step(self, event: Event, now: float) -> list[Effect]:
        """Take one event at time `now` (seconds, monotonic). Must not raise: that is a bug."""
        ...

    def deadline(self) -> float | None:
        """When a Woken is wanted; cheap, asked once a turn."""
        ...
