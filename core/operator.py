"""The operator: the events by which people ask a program for something, and how they are told.

People ask by signals: for a clean end, for files to be read again, for metrics. They are told in
the log, on a terminal, in the file of records, and through the service manager.

Not here: which signal asks for what, and where all of it is written (`core/io/`); the rules of
events and effects (`core/brain.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from core.effects import Effect
from core.events import Event


@dataclass(slots=True)
class DrainAsked(Event):
    """A signal asked for a clean end, at `since` if that is known. By now the backlog has
    been accepted, and each session read once more."""

    since: float = math.inf


@dataclass(slots=True)
class ReloadAsked(Event):
    """A signal asked to read again what was read at the start."""


@dataclass(slots=True)
class StatsAsked(Event):
    """A signal asked for the metrics, in the log."""


@dataclass(slots=True)
class FlushAsked(Event):
    """A signal asked to forget what is kept of what others said."""


class Level(IntEnum):
    """The severity of a report."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(slots=True)
class Report(Effect):
    """A record of the log: what happened, and what to do about it.

    `text` is for people. For programs `event` names what happened, in snake_case, and `about` has
    the facts of the text by name: `server`, `address`, `reason` and the like, as JSON has values.
    Reports of one `kind` (by default the text) are limited together.
    """

    text: str
    level: Level = Level.INFO
    event: str = ""
    about: Mapping[str, object] = field(default_factory=dict)
    kind: str = ""


@dataclass(slots=True)
class Progress(Effect):
    """Progress of long work, for a terminal; replaces the text before, and empty wipes it."""

    text: str


@dataclass(slots=True)
class Record(Effect):
    """Whole lines for the file of records, if there is one; they may be dropped."""

    data: bytes


@dataclass(slots=True)
class ReopenRecords(Effect):
    """Go on with the file of records that is at its path now: it may have been renamed."""


@dataclass(slots=True)
class ReadKeys(Effect):
    """Read anew the certificates that listeners show, with their keys, and the authorities that are
    trusted."""


class Standing(Enum):
    """The state of a server, as a service manager wants to know it."""

    READY = "it serves, with what it has read"
    RELOADING = "it serves, and reads anew what it read before it began to"
    STOPPING = "it drains"


@dataclass(slots=True)
class Notify(Effect):
    """Tell the service manager, if there is one."""

    standing: Standing
