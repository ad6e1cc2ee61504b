"""Handshakes: how many streams were secured, and how many could not be, by reason.

A brain hears why its own dial has failed. Of a client that could not be secured nobody else hears:
it is in the log.

Not here: what a handshake is (`core/io/secure_layer.py`).
"""

from collections import Counter

from core.io.log import Log
from core.io.secure_layer import KINDS
from core.metrics import Metric, Value
from core.operator import Level

TLS_DONE = Metric("tls_handshakes", "TLS handshakes that are done, dialled and accepted")
TLS_FAILED = {
    kind: Metric(
        f"tls_failed_{kind}",
        f"TLS handshakes that have failed: {about}",
        family="tls_failed",
        family_about="TLS handshakes that have failed, by reason",
        label=("reason", kind),
    )
    for kind, about in KINDS.items()
}


class Handshakes:
    """The handshakes of one loop. In a turn as many are computed as `per_turn`: each takes as long
    as many reads, and clients may all say at one moment what makes it due."""

    def __init__(self, log: Log, per_turn: int) -> None:
        self._log = log
        self._per_turn = per_turn
        self._turn = self._computed = 0
        self._done = 0
        self._failed: Counter[str] = Counter()

    def compute(self, turn: int) -> None:
        """Count one that was computed in this turn."""
        self._computed = self._computed + 1 if turn == self._turn else 1
        self._turn = turn

    def may_compute(self, turn: int) -> bool:
        """Return whether one more may be computed in this turn."""
        return turn != self._turn or self._computed < self._per_turn

    def succeed(self) -> None:
        """Count one that has secured a stream."""
        self._done += 1

    def fail(self, kind: str) -> None:
        """Count one that has failed."""
        self._failed[kind] += 1

    def report(self, client: str, host: str, why: str, kind: str) -> None:
        """Report one that has failed."""
        about = {"client": client, "address": host, "reason": why}
        text = f"{client} is not served: {why} [{host}]"
        self._log.report(text, Level.INFO, "tls_failed", about, f"not served: {kind}")

    def metrics(self, *, are_due: bool) -> list[Value]:
        """Return what is counted, if there was any; or in any case, where `are_due`: what appears
        with its first count is not seen to rise."""
        if not (are_due or self._done or self._failed):
            return []
        failed = [Value(metric, self._failed[kind]) for kind, metric in TLS_FAILED.items()]
        return [Value(TLS_DONE, self._done), *failed]
