"""Owed: what all accepted connections together are owed, and whether that is too much.

Two things count: bytes that wait to be sent, and the most that replies to pending questions may
come to. A question is a few bytes and its reply may be hundreds of times as long, so what is
promised has to be known before it is made.

Rules. Amounts are added where they are known: each `Connection` adds its bytes, the brain what it
has promised to each. Adding checks nothing. Before it reads, the loop asks whether memory
`is_short`: above the high mark, until below the low one. While it is, only connections that are
owed few bytes are read, and little at a time: askers that never read starve nobody.

Not here: what one connection may be owed (`core/io/connection.py`), and who is read
(`core/io/stream.py`).
"""

from core.bounds import BoundHits, Bounds


class Owed:
    """The debt of one program to all its connections: the loop makes it, its brain promises."""

    __slots__ = ("_few", "_high", "_hits", "_promised", "_short", "low", "total")

    def __init__(self, bounds: Bounds, hits: BoundHits) -> None:
        self._high = bounds.owed_all_bytes_high
        self.low = bounds.owed_all_bytes_low  # with less than this, memory is never short
        self._few = bounds.few_bytes
        self._hits = hits
        self._short = False
        self._promised: dict[str, int] = {}  # bytes, by connection
        self.total = 0  # bytes that are promised, or wait

    def add(self, count: int) -> None:
        """Count bytes that begin to wait on a connection, or, negative, wait no more."""
        self.total += count

    def promise(self, conn: str, count: int) -> None:
        """Replace what is promised to a connection: the most its pending replies may come to."""
        promised = self._promised
        self.total += count - promised.get(conn, 0)
        if count:
            promised[conn] = count
        else:
            promised.pop(conn, None)

    def is_short(self) -> bool:
        """Check the marks; return whether too much is owed to read all connections."""
        if self._short:
            self._short = self.total >= self.low
        elif self.total > self._high:
            self._short = True
            self._hits["owed_all_bytes_high"] += 1
        return self._short

    def is_few(self, conn: str, waiting: int) -> bool:
        """Return whether a connection with this many bytes waiting is read even while memory is
        short."""
        return waiting + self._promised.get(conn, 0) < self._few
