"""An open load of DNS queries: each is sent at its time, whatever became of those before.

Not here: the closed load of dnsperf (`bench/dnsperf.py`), and the resolvers (`bench/resolver.py`).
"""

import math
import select
import socket
import time
from dataclasses import dataclass, field

from dns_balancers import query
from percentiles import percentiles
from resolver import CODES, FORGED

_WAIT_S = 3.0  # for the last replies
_NAME_OF = {code: name for name, code in CODES.items()}


@dataclass
class Seen:
    """Results of queries: ms of those that had a reply, by code; how many were forged."""

    took_ms: dict[str, list[float]] = field(default_factory=dict)
    lost: int = 0
    forged: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)  # when asked, and for how long

    def count(self, code: str) -> int:
        return len(self.took_ms.get(code, []))

    def total(self) -> int:
        return sum(map(len, self.took_ms.values())) + self.lost

    def percentiles_ms(self, code: str) -> dict[str, float]:
        """Return the percentiles of the latencies of a code; NaN when there are none."""
        return percentiles(self.took_ms.get(code, []))

    def all_percentiles_ms(self) -> dict[str, float]:
        """Return the percentiles of the latencies of all codes together."""
        return percentiles([ms for took in self.took_ms.values() for ms in took])

    def slowest_ms(self, code: str) -> float:
        """Return the longest latency of a code; NaN when there is none."""
        return max(self.took_ms.get(code, []), default=math.nan)

    def add(self, other: "Seen") -> None:
        for code, took in other.took_ms.items():
            self.took_ms.setdefault(code, []).extend(took)
        self.lost += other.lost
        self.forged += other.forged


def offer(port: int, labels: list[bytes], rate: float) -> Seen:
    """Ask for these at `rate` a second; no reply `_WAIT_S` after the last question is a loss."""
    assert len(labels) < 65_536
    seen = Seen()
    sent_at: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        began = time.perf_counter()
        number = 0
        while True:
            now = time.perf_counter()
            while number < len(labels) and began + number / rate <= now:
                sent_at[number] = time.perf_counter()
                client.send(query(number, labels[number]))
                number += 1
            if number == len(labels):
                until = began + number / rate + _WAIT_S
                if not sent_at or now > until:
                    break
            else:
                until = began + number / rate
            if not select.select([client], [], [], max(0.0, until - now))[0]:
                continue
            while True:
                try:
                    said = client.recv(4096)
                except BlockingIOError:
                    break
                at = sent_at.pop(int.from_bytes(said[:2]), None)
                if at is None:
                    continue
                code = _NAME_OF[said[3] & 15]
                if code == "NOERROR" and not said[7]:
                    code = "NODATA"
                took_s = time.perf_counter() - at
                seen.took_ms.setdefault(code, []).append(took_s * 1000)
                seen.waits.append((at, took_s))
                seen.forged += socket.inet_aton(FORGED) in said
    seen.lost = len(sent_at)
    return seen
