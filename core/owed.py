"""Owed: what all accepted connections together are owed, and whether that is too much.

Two things count: bytes that wait to be sent, and the most that replies to pending questions may
come to. A question is a few bytes and its reply may be hundreds of times as long, so what is
promised has to be known before it is made.

Rules. Amounts are counted in `owed_bytes` where they are known: each `Connection` counts its bytes
there, the brain what it promises. Counting checks nothing. Before it reads, the loop asks whether
memory `is_short`: above the high mark, until below the low one. While it is, only connections that
are owed few bytes are read, and little at a time: askers that never read starve nobody.

Not here: what one connection may be owed (`core/io/connection.py`), and who is read
(`core/io/stream.py`).
"""

from collections.abc import Callable

from core.bounds import BoundHits, Bounds


def promised_nothing(conn: str) -> int:
    """Return what a brain that owes no replies has promised to a connection."""
    return 0


class Owed:
    """The debt of one program to all its connections: the loop makes it, its brain promises.

    `promised_to(conn)` asks the brain what pending replies to one may come to, in bytes.
    """

    __slots__ = ("_few", "_high", "_hits", "_short", "low", "owed_bytes", "promised_to")

    def __init__(self, bounds: Bounds, hits: BoundHits) -> None:
        self._high = bounds.owed_all_bytes_high
        self.low = bounds.owed_all_bytes_low  # with less than this, memory is never short
        self._few = bounds.few_bytes
        self._hits = hits
        self._short = False
        self.promised_to: Callable[[str], int] = promised_nothing
        self.owed_bytes = 0  # that are promised, or wait

    def is_short(self) -> bool:
        """Check the marks; return whether too much is owed to read all connections."""
        if self._short:
            self._short = self.owed_bytes >= self.low
        elif self.owed_bytes > self._high:
            self._short = True
            self._hits["owed_all_bytes_high"] += 1
        return self._short

    def is_few(self, conn: str, waiting: int) -> bool:
        """Return whether a connection with this many bytes waiting is read even while memory is
        short."""
        return waiting + self.promised_to(conn) < self._few
