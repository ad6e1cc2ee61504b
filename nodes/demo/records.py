"""Records: what the servers of the demo put into their logs, and how it is shown.

A server writes its log as JSON, an object a line. Records of several servers are put in order by
their times: all run on one machine.

Not here: when they are shown (`demo.py`), and what a record is (`core/io/log_format.py`).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LS_LABEL, CLIENT_LABEL = "LS", "client"  # labels, beside those of the tables
_SENT = "line_sent"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A record of a server's log, `time` in s. `sent_to`: whom it sent the line that `text` ends
    with; empty where it sent none."""

    time: float
    node: str
    text: str
    sent_to: str

    @property
    def line(self) -> str:
        """The line that was sent."""
        return self.text.split(" ", 2)[2]


def node_record(node: str, line: str) -> NodeRecord | None:
    """Return the record of this node that a line is, if it is one."""
    if not line.startswith("{"):
        return None
    try:
        said = json.loads(line)
        sent_to = said["connection"] if said["event"] == _SENT else ""
        return NodeRecord(said["time"], node, said["text"], sent_to)
    except (ValueError, LookupError):
        return None


def merged(records: Iterable[NodeRecord], began: float) -> Iterator[str]:
    """Yield the lines that show these records in their order, with s since `began`."""
    for record in sorted(records, key=lambda record: record.time):
        yield f"  {record.time - began:7.4f}  {record.node:6} {record.text}"


def race(records: Iterable[NodeRecord], name: str) -> Iterator[str]:
    """Yield the lines that show the race for a name, with ms since it was first asked."""
    began = None
    for record in sorted(records, key=lambda record: record.time):
        if not record.sent_to or record.line.lower().split(" ")[0] != name:
            continue
        began = record.time if began is None else began
        if record.node != LS_LABEL:
            said = f"answers {record.line}"
        elif record.line == name:
            said = f"asks {record.sent_to}"
        else:
            said = f"tells the client {record.line}"
        yield f"{(record.time - began) * 1000:9.2f}  {record.node:3}  {said}"
