"""Verdict: whether clients are served well, in a word and the reasons, for whoever looks.

| word | when |
|---|---|
| NOT READY | nobody should be sent here, as `/readyz` says |
| FAILING | more than 1 % of the questions that had a reply in the last 60 s failed or timed out |
| DEGRADED | a server is bad, a worker does not serve, clients leave before their replies, or the
| | certificate of DNS over TLS ends within two weeks |
| OK | none of these |

The first that fits is the word: clients never fail under a calm one. All that fit are reasons, but
those of DEGRADED are left out where nobody should be sent here, since that says how servers are.

Not here: what it follows from (`history.py`), and how it is shown (`page.html`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from core.tls import SOON_DAYS, end_text

_SHARE_MAX = 0.01  # of errors, and of askers that have left
_GOOD_SERVER = frozenset({"NEW", "UP"})
_GOOD_WORKER = "UP"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))
_NONE = "-"  # in place of a reason


def verdict(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the `word` and `why` for a status without them."""
    minute = status["last_minute"]
    found = [("NOT READY", status["unhealthy"])] if status["unhealthy"] else []
    share = minute["errors_share"] or 0.0
    if share:
        errors = f"{percent(share)} of questions failed or timed out in the last 60 s"
        found.append(("FAILING" if share > _SHARE_MAX else "OK", errors))
    if not status["unhealthy"]:
        found += [("DEGRADED", text) for text in _faults(status, minute)]
    order = ("NOT READY", "FAILING", "DEGRADED", "OK")
    word = min((word for word, _ in found), key=order.index, default="OK")
    return {"word": word, "why": "; ".join(text for _, text in found)}


def _faults(status: Mapping[str, Any], minute: Mapping[str, Any]) -> Iterator[str]:
    for server in status["servers"]:
        states = str(server["state"]).split("/")  # of several workers
        if not _GOOD_SERVER.issuperset(states):
            yield f"{server['name']} {server['state']}{_since(server, status['time'])}"
    for worker in status.get("workers", ()):
        if worker["state"] != _GOOD_WORKER:
            yield f"worker {worker['name']} {worker['state']}"
        elif worker["old"]:
            yield f"worker {worker['name']} does not report"
    days = status["figures"].get("tls_days", SOON_DAYS)
    if days < SOON_DAYS:
        yield f"the certificate of DNS over TLS {end_text(days)}"
    replies = minute["replies"]
    left = replies.get("dropped", 0) / max(1, sum(replies.values()))
    if left > _SHARE_MAX:
        yield f"{percent(left)} of questions lost their askers before the reply"


def _since(server: Mapping[str, Any], time: float) -> str:
    """Return for how long it is so, and why, as far as they are known."""
    known = [float(word) for word in server["since"].split("/") if float(word)]
    text = f" for {duration(time - min(known))}" if known else ""
    reasons = [word for word in server["why"].split("/") if word != _NONE]
    return f"{text}: {'/'.join(reasons)}" if reasons else text


def percent(share: float) -> str:
    """Write a share: `0.04 %`, `3.2 %`, `100 %`."""
    return f"{100 * share:.2g} %" if share < _SHARE_MAX else f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Write a time in its largest whole unit."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
