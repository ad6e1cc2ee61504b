"""A scraper of /metrics, in a process of its own: its work is not that of the load.

It begins scrapes at its rate, whatever became of those before; each is served whole, refused, or
lost. Not here: what scraping costs LS (`bench/watching.py`).
"""

import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import TypedDict

from percentiles import percentiles

_PATIENCE_S = 5.0
_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Told(TypedDict):
    """Results of a scraper."""

    ended: dict[str, int]  # began, served, refused, lost
    seconds: float
    took_ms: dict[str, float]  # percentiles of those that were served


class Scrape:
    """A request in progress."""

    def __init__(self, port: int) -> None:
        self.began = time.perf_counter()
        self.heard = b""
        self.is_asked = False
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.error = self.socket.connect_ex(("127.0.0.1", port))

    def move(self) -> str:
        """Go on; return how it ended: served, refused, or not yet (empty)."""
        try:
            if not self.is_asked:
                self.is_asked = True
                self.socket.send(_REQUEST)
                return ""
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return ""
        except OSError:  # reset: it was turned away
            return "refused"
        if data:
            self.heard += data
            return ""
        if not self.heard:
            return "refused"
        head, _, body = self.heard.partition(b"\r\n\r\n")
        whole = b"Content-Length: %d\r\n" % len(body) in head
        return "served" if whole and head.startswith(b"HTTP/1.1 200 ") else "lost"


def scrape(port: int, rate: int) -> None:
    """Scrape at a rate from each `g` on standard input to the next `s`; at its end, print the
    results."""
    ended: Counter[str] = Counter()
    open_: dict[int, Scrape] = {}
    times: list[float] = []
    began = due = seconds = 0.0
    is_over = False
    while not is_over or open_:
        now = time.perf_counter()
        while began and due <= now:
            due += 1 / rate
            ended["began"] += 1
            one = Scrape(port)
            if one.error in (0, errno.EINPROGRESS):
                open_[one.socket.fileno()] = one
            else:
                ended["refused"] += 1
                one.socket.close()
        if any(one.began + _PATIENCE_S < now for one in open_.values()):
            break
        reads = [fd for fd, one in open_.items() if one.is_asked]
        writes = [fd for fd, one in open_.items() if not one.is_asked]
        inputs = [] if is_over else [0]
        wait_s = max(0.0, due - now) if began else None if inputs and not open_ else 1.0
        readable, writable, _ = select.select([*inputs, *reads], writes, [], wait_s)
        if 0 in readable:
            readable.remove(0)
            word = os.read(0, 1)
            if word == b"g":
                began = due = time.perf_counter()
            elif began:
                seconds += time.perf_counter() - began
                began = 0.0
            is_over = not word
        for fd in (*readable, *writable):
            if how := open_[fd].move():
                ended[how] += 1
                if how == "served":
                    times.append(time.perf_counter() - open_[fd].began)
                open_.pop(fd).socket.close()
    ended["lost"] += len(open_)
    took_ms = percentiles(1000 * took_s for took_s in times)
    print(json.dumps({"ended": ended, "seconds": seconds, "took_ms": took_ms}))


class Scraper:
    """The process as its bench sees it: `go` and `rest` work at once, `end` returns its results."""

    def __init__(self, port: int, rate: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(port), str(rate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"g")

    def rest(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"s")

    def end(self) -> Told:
        out, _ = self._process.communicate()  # which ends its input
        told: Told = json.loads(out)
        return told

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    scrape(int(sys.argv[1]), int(sys.argv[2]))
