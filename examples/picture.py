"""Pictures of the status page in its states, from the real parts.

    python3 examples/picture.py        needs Chromium; writes examples/status*.png

Each picture is of servers that are started for it and asked for some seconds, while Chromium looks
at the page. Resolvers are played. `status.png` is the one in README: the upper half of the page of
an LS before two table servers that are slow on purpose (bench/slow.py).
"""

import base64
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.support.chromium import MISSING, PROGRAM, Browser, Page, browsing  # noqa: E402
from tests.support.played_resolver import played_resolver  # noqa: E402
from tests.support.processes import Program, Programs, Talk, programs  # noqa: E402

_NAMES = [f"host{number}.example" for number in range(2_000)]
_WIDE, _PHONE = (1000, 700), (390, 1000)


@dataclass(frozen=True)
class Site:
    """Programs that are looked at: a load balancer, its port, and the table servers behind."""

    ls: Program
    port: int
    behind: list[Program]


def site_of_tables(run: Programs, *words: object) -> Site:
    """Start two table servers that differ in one name, and LS."""
    rows = [f"{name} 10.0.{at >> 8}.{at & 255}" for at, name in enumerate(_NAMES)]
    tables = [run.table(f"ts{n}", *rows, f"www.example 192.0.2.{n}0") for n in (1, 2)]
    servers = [run.ts(table) for table in tables]
    ports = [port for _, port in servers]
    ls, port = run.ls(ports, "--race-sample", 1, "--metrics", 0, *words, linked=not words)
    return Site(ls, port, [server for server, _ in servers])


def site_of_slow_tables(run: Programs) -> Site:
    """Start LS before two table servers with the same rows, which are late now and then."""
    table = run.table("slow", *(f"{name} 10.0.0.1" for name in _NAMES), "www.example 192.0.2.10")
    words = (0, "--table", table, "--law", "pareto", "--mean", 0.01)
    servers = [run.start(*words, "--seed", n, python=("bench/slow.py",)) for n in (1, 2)]
    ports = [server.port() for server in servers]
    return Site(*run.ls(ports, "--race-sample", 1, "--metrics", 0), servers)


def site_of_resolvers(run: Programs, ports: list[int]) -> Site:
    """Start LS before these resolvers."""
    upstreams = [word for port in ports for word in ("--dns-upstream", f"127.0.0.1:{port}")]
    words = ("--race-sample", 1, "--metrics", 0, "--dns", 0, "--timeout", 1)
    return Site(*run.ls([], *words, *upstreams, linked=False), [])


def load(site: Site, browser: Browser, seconds: float, act: Callable[[], object] = int) -> None:
    """Ask for some seconds, and act in the midst of them."""
    chance = random.Random(1)
    talk, end = Talk(site.port), time.monotonic() + seconds
    middle, has_acted = end - seconds / 2, False
    while time.monotonic() < end:
        asked = [*chance.sample(_NAMES, 9), chance.choice([_NAMES[0], "www.example"])]
        talk.say("".join(f"{name}\n" for name in asked).encode())
        talk.hear(10)
        time.sleep(chance.uniform(0.01, 0.05))
        browser.call("Browser.getVersion")  # what its pages say is heard meanwhile
        if not has_acted and time.monotonic() > middle:
            act()
            has_acted = True
    talk.close()


def whole(page: Page, scale: float) -> bytes:
    """Return a picture of a page as long as it is."""
    return taken(page, page.value("document.documentElement.scrollHeight"), scale)


def upper_half(page: Page) -> bytes:
    """Return a picture of a page down to its list of servers."""
    top_of = "[...document.querySelectorAll('h2')].find(h => /^Servers/.test(h.innerText))"
    return taken(page, page.value(f"{top_of}.getBoundingClientRect().top + scrollY") - 8, 1.0)


def taken(page: Page, height: float, scale: float) -> bytes:
    """Return a picture of a page from its top."""
    width = page.value("innerWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
    picture = page.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    return base64.b64decode(picture["data"])


def picture(
    browser: Browser, site: Site, name: str, size: tuple[int, int], act: Callable[[], object] = int
) -> None:
    """Load a site, and write a picture of its page."""
    page = browser.open(f"http://127.0.0.1:{site.ls.listener('status page')}/", *size)
    page.prefers("dark" if name == "resolvers" else "light")
    load(site, browser, 8.0, act)
    if name == "gone":
        site.ls.signal(signal.SIGKILL)
        page.shows(lambda: "no word" in page.text("#verdict"), "that it is gone")
    path = HERE / ("status.png" if name == "load" else f"status-{name}.png")
    path.write_bytes(upper_half(page) if name == "load" else whole(page, 0.7))
    print(path.name)


def main() -> int:
    """Take them all; return the exit code."""
    if PROGRAM is None:
        print(MISSING, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        browser = stack.enter_context(browsing(Path(name)))
        run = stack.enter_context(programs(Path(name)))
        good, bad = (
            stack.enter_context(played_resolver(text)) for text in ("10.0.0.1", "SERVFAIL")
        )
        picture(browser, site_of_slow_tables(run), "load", _WIDE)
        site = site_of_tables(run)
        picture(browser, site, "phone", _PHONE, site.behind[1].kill)
        picture(browser, site, "dead", _WIDE)
        picture(browser, site_of_resolvers(run, [good, bad]), "resolvers", _WIDE)
        picture(browser, site_of_resolvers(run, [bad]), "failing", _WIDE)
        crew = site_of_tables(run, "--workers", 2)
        picture(browser, crew, "workers", _WIDE)
        picture(browser, crew, "gone", _WIDE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
