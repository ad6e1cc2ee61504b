"""A headless Chromium for the tests: it opens a page, and says what is seen and what went wrong.

It is driven over the DevTools protocol through a pair of pipes (`--remote-debugging-pipe`):
messages of JSON, each ended by a NUL byte, to its descriptor 3 and from its descriptor 4. There is
no port to find, and nothing to install but the browser itself.

Complaints of a page are collected as they come: everything on its console, exceptions that nobody
caught, and what the browser itself logs (a request that failed, something that the content security
policy forbids).

Not here: any page.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE_S, wait_for

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome-stable"))), None
)
MISSING = "no Chromium here (Debian: apt-get install chromium)"
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip
# A page of the tests looks five times as often, and gives up in half the time: both are its own.
_HURRY = """\
const [wait, patience] = [setTimeout.bind(window), AbortSignal.timeout.bind(AbortSignal)];
window.setTimeout = (act, ms, ...more) => wait(act, ms / 5, ...more);
AbortSignal.timeout = (ms) => patience(ms / 2);
"""
# Chromium wants its pipes at 3 and 4, where Python may have something else at that moment.
_LAUNCHER = """\
import fcntl, os, sys
high = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.closerange(5, 256)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """A Chromium with a profile of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None, MISSING
        hears, self._says = os.pipe()
        self._hears, says = os.pipe()
        command = [sys.executable, "-c", _LAUNCHER, str(hears), str(says), PROGRAM, *FLAGS]
        self._log = (folder / "chromium.log").open("w+")
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            pass_fds=(hears, says),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # it has children, which are to go with it
        )
        os.close(hears)
        os.close(says)
        self._number = 0
        self._heard = b""
        self._pages: dict[str, Page] = {}

    def call(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """Ask for something and wait for what comes of it. AssertionError when it is refused."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._says, data) :]
        while True:
            message = self._next()
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message}"
                result: dict[str, Any] = message["result"]
                return result
            if message.get("sessionId") in self._pages:
                self._pages[message["sessionId"]].heard(message["method"], message["params"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._heard:
            left = max(0.0, end - time.monotonic())
            assert select.select([self._hears], [], [], left)[0], "Chromium says nothing"
            data = os.read(self._hears, 1 << 20)
            assert data, f"Chromium has ended: {Path(self._log.name).read_text()}"
            self._heard += data
        message, _, self._heard = self._heard.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, address: str, width: int = 1000, height: int = 700) -> "Page":
        """Open a new page; return it loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Runtime", "Log", "Page"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.call("Page.addScriptToEvaluateOnNewDocument", source=_HURRY)
        page.call("Page.navigate", url=address)
        wait_for(
            lambda: (
                page.value("location.href + ' ' + document.readyState") == f"{address} complete"
            ),
            f"{address} in Chromium",
        )
        return page

    def end(self) -> None:
        try:
            self.call("Browser.close")  # it ends its children, too
            self._process.wait(PATIENCE_S)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._says)
        os.close(self._hears)
        self._log.close()


class Page:
    """A page of it. `complaints`: what it and the browser found wrong with it so far."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def heard(self, method: str, event: dict[str, Any]) -> None:
        """Take an event of this page."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded":
            entry = event["entry"]
            self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")

    def value(self, expression: str) -> Any:  # noqa: ANN401 (whatever the page has there)
        """Evaluate an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return what a person reads there."""
        text: str = self.value(f"document.querySelector({json.dumps(selector)}).innerText")
        return text

    def texts(self, selector: str) -> list[str]:
        """Return what a person reads in each that there is."""
        texts: list[str] = self.value(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)"
        )
        return texts

    def shows(self, happened: Callable[[], object], what: str) -> None:
        """Wait until it does."""
        try:
            wait_for(happened, f"{what} on the page")
        except AssertionError as never:
            raise AssertionError(f"{never}:\n{self.text()}") from None

    def prefers(self, scheme: str) -> None:
        """Make the person before it want it `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Run a browser that is ended with what is inside."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.end()
