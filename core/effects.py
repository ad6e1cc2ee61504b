"""Effects: what a brain wants done, in order, after its step.

Effects are plain values, as events are. An effect on a connection is a `ConnectionEffect` and names
a connection that exists: none may be named after its `Closed`.

Not here: what people are told (`core/operator.py`), how effects are performed (`core/io/loop.py`),
and the rules (`core/brain.py`).
"""

from dataclasses import dataclass

from core.addresses import Address
from core.framing import Framing
from core.tls import ServerIdentity


class Effect:
    """An action that a brain wants."""

    __slots__ = ()


@dataclass(slots=True)
class ConnectionEffect(Effect):
    """An action on the connection of this name."""

    conn: str


@dataclass(slots=True)
class Send(ConnectionEffect):
    """Append bytes to what waits for a connection."""

    data: bytes


@dataclass(slots=True)
class Dial(ConnectionEffect):
    """Connect to the first address that answers, each tried for `dial_s`: Opened or Closed.
    `framing` says how the messages of the stream are told apart. `identity`: whom it has to reach,
    by TLS; the dial fails where that one does not prove to be there. None: in the clear."""

    addresses: tuple[Address, ...]
    framing: Framing = Framing.LINES
    identity: ServerIdentity | None = None


@dataclass(slots=True)
class Spawn(ConnectionEffect):
    """Fork a worker and open a stream to it: Opened; Closed when it is gone."""


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
    """After Pause: read this connection again."""


@dataclass(slots=True)
class Unlisten(Effect):
    """Take nobody any more, and close what is held for workers: those who wait are left to whoever
    else has the same sockets."""


@dataclass(slots=True)
class Write(Effect):
    """Append bytes to the program's own output."""

    data: bytes


@dataclass(slots=True)
class Drain(Effect):
    """Begin a clean end, as if a signal had asked for it: DrainAsked."""


@dataclass(slots=True)
class Stop(Effect):
    """Leave the loop once the output is written; close what is still open."""

    exit_code: int
