"""The introduction of a server: the first record of its log, which says what it is and where.

Not here: where it listens (`serving.py`), and what it says when it ends
(`core/protocol/server_state.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.io.log import Log
from core.operator import Level
from core.version import VERSION

_LISTENERS = {
    "lines": "lines on",
    "dns": "DNS on",
    "dns_tls": "DNS over TLS on",
    "status_page": "status page on",
}


@dataclass(frozen=True, slots=True)
class Introduction:
    """A server as it presents itself. `serves`: its table, or its policy and servers; `times`: its
    timeouts; `about`: both as fields."""

    serves: str
    times: str = ""
    about: Mapping[str, object] = field(default_factory=dict)

    def report(self, log: Log, listeners: Mapping[str, str]) -> None:
        """Say it in the log. `listeners`: where it listens, by protocol."""
        where = ", ".join(f"{_LISTENERS[name]} {address}" for name, address in listeners.items())
        text = "; ".join(filter(None, [f"photofinish {VERSION}: {self.serves}", where, self.times]))
        about = {"version": VERSION, **self.about, **listeners}
        log.report(text, Level.INFO, "started", about)
