"""Certificates: those that the listeners of one loop show, read anew on demand, and their end.

They are read before there is a loop, since that fails by a person's mistake. A file that cannot be
used later changes nothing: what was read before is shown. Connections that are there keep what they
have. From two weeks before the end on the log says so each day.

Not here: reading (`core/io/tls_layer.py`), and connections (`core/io/acceptor.py`).
"""

import math
from collections.abc import Callable

from core.io.engine import Engine
from core.io.system import reason
from core.metrics import Metric, Value
from core.operator import Level, ReadKeys
from core.tls import SOON_DAYS, CertificateFacts, TlsKeys, end_text

DAYS = Metric(  # for Prometheus without its unit: there it should be seconds
    "tls_days",
    "Days until the certificate of --dns-tls ends",
    is_level=True,
    family="tls_certificate_left",
    is_shared=True,
)
_DAY_S = 86_400.0


class Certificates:
    """The certificates of one loop. `keys()` returns which there are. `due` is when to look at the
    end of each again."""

    def __init__(self, engine: Engine, keys: Callable[[], list[TlsKeys]]) -> None:
        self.due = math.inf
        self._engine = engine
        self._keys = keys
        engine.timers.append(self)
        engine.performers[ReadKeys] = lambda _: self._read()

    def start(self) -> None:
        """Look at the end of each from now on."""
        if self._keys():
            self.due = self._engine.system.now()

    def expire(self, now: float) -> None:
        """Say which end soon, if it is time to look."""
        if now < self.due:
            return
        self.due = now + _DAY_S
        for keys in self._keys():
            days = self._days(self._engine.system.tls.certificate(keys))
            if days < SOON_DAYS:
                self._say(keys, days, "", Level.WARNING)

    def metrics(self) -> list[Value]:
        """Return when the first of them ends."""
        days = [self._days(self._engine.system.tls.certificate(keys)) for keys in self._keys()]
        return [Value(DAYS, round(min(days), 1))] if days else []

    def _read(self) -> None:
        """Read all anew, and the authorities of those that are dialled."""
        tls = self._engine.system.tls
        for path in tls.authorities:
            try:
                tls.load_authorities(path)
            except (OSError, ValueError) as error:
                self._refuse(f"the authorities of {path or 'this machine'}", path, error)
        for keys in self._keys():
            try:
                days = self._days(tls.load_keys(keys))
            except (OSError, ValueError) as error:
                self._refuse(f"{keys.certificate} with {keys.key}", keys.certificate, error)
            else:
                level = Level.WARNING if days < SOON_DAYS else Level.INFO
                self._say(keys, days, "was read anew, and ", level)

    def _refuse(self, what: str, path: str, error: OSError | ValueError) -> None:
        """Report that something cannot be used."""
        why = reason(error) if isinstance(error, OSError) else str(error)
        text = f"cannot use {what}: {why}; all stays as it was"
        about = {"file": path, "reason": why}
        self._engine.log.report(text, Level.ERROR, "certificate_refused", about)

    def _days(self, facts: CertificateFacts) -> float:
        return (facts.ends_at - self._engine.system.wall()) / _DAY_S

    def _say(self, keys: TlsKeys, days: float, news: str, level: Level) -> None:
        """Report when a certificate ends."""
        advice = "" if level is Level.INFO else "; renew it, and send SIGHUP"
        text = f"the certificate {keys.certificate} {news}{end_text(days)}{advice}"
        about = {"file": keys.certificate, "days": round(days, 1)}
        self._engine.log.report(text, level, "certificate_ends", about)
