"""A home as README and `examples/operations.md` set it up, under dig and dnsperf: LS with
`examples/photofinish-home.toml`, behind it a TS with a list of 200,000 names and one with a hosts
file, and two dnsmasqs that log the names that they are asked for.

Names that a table has, or blocks, are asked of no resolver, whatever the type; none of thousands is
lost while the list is read again.

`make test-dns` runs these tests, too. Not here: tiers beside every other part of LS
(`tests/nodes/test_tier_policy.py`), and how fast it is.
"""

import random
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import PATIENCE_S, ROOT, Program, programs, stats, wait_for
from tests.tools.test_dns_tools import dig, dnsmasq, dnsperf, output_of, status, with_dig
from tests.tools.test_resolver_tools import LOOPBACK
from tests.tools.test_route_tools import Logged

pytestmark = [pytest.mark.process, pytest.mark.dns, dig, dnsmasq]
_COUNT = 200_000
_WORLD = "198.41.0.4"  # resolvers say it of all names
_HOSTS = "10.1.1.1 www.over.example nas.lan\nfd00::6 six.over.example\n"
_OF_RESOLVERS = [  # besides an address of each name
    *("--local-ttl=3600", "--address=/#/2001:db8::9", "--ptr-record=9.1.168.192.in-addr.arpa,tv"),
    *(f"--mx-host={name},mail.example" for name in ("www.over.example", "over.example")),
]


def names_to_block(size: int, seed: int = 1) -> list[str]:
    """Make up names, of which none is below another."""
    chance = random.Random(seed)
    return [
        f"{'www.' * (number % 3)}{chance.getrandbits(40):x}-{number}.blocked.example"
        for number in range(size)
    ]


@dataclass(frozen=True)
class Home:
    """LS for a home, and what is behind it."""

    names: list[str]
    folder: Path
    list_server: Program
    list_port: int
    resolvers: list[Logged]
    ls: Program
    port: int  # for lines
    dns_port: str

    @property
    def list_path(self) -> Path:
        return self.folder / "blocked.txt"

    def ask(self, *words: str) -> str:
        return with_dig(self.dns_port, *words)

    def asked_for(self, name: str) -> set[str]:
        """Return the names of the resolvers that were asked for this one, or below it."""
        return {
            one.name
            for one in self.resolvers
            if any(f".{asked}".endswith(f".{name}") for asked in one.asked())
        }


@contextmanager
def a_home(folder: Path, size: int, *words: object) -> Iterator[Home]:
    """Start a home with so many names to block; these words are for the TS that has the list."""
    names = names_to_block(size)
    list_path, hosts = folder / "blocked.txt", folder / "hosts.txt"
    list_path.write_text("".join(f"{name}\n" for name in names))
    hosts.write_text(_HOSTS)
    with ExitStack() as stack:
        run = stack.enter_context(programs(folder))
        resolvers = [
            Logged(stack, folder, name, _WORLD, *_OF_RESOLVERS) for name in ("router", "quad9")
        ]
        blocked, list_port = run.ts(list_path, 0, "--answer-unknown", *words)
        _, hosts_port = run.ts(hosts, 0, "--answer-unknown")
        text = (ROOT / "examples/photofinish-home.toml").read_text()
        for shown, here in {
            "port = 5300 ": "port = 0 ",
            "metrics = 5380": "metrics = 0",
            "localhost:5301": f"{LOOPBACK}:{list_port}",
            "localhost:5302": f"{LOOPBACK}:{hosts_port}",
            "192.168.1.1": f"{LOOPBACK}:{resolvers[0].port}",
            # Raced and in the clear, so that both are seen.
            "tls://9.9.9.9#dns.quad9.net": f"{LOOPBACK}:{resolvers[1].port}",
            'cloudflare = "tls://1.1.1.1#cloudflare-dns.com"': "",
            '["quad9", "cloudflare"]': '["quad9"]',
            '2 = "quad9,cloudflare"\n3 = "router"': '2 = "router,quad9"',
        }.items():
            assert text.count(shown) == 1, shown
            text = text.replace(shown, here)
        (folder / "home.toml").write_text(text)
        waits = ["--dns-timeout", PATIENCE_S, "--timeout", PATIENCE_S]
        waits += ["--bound", f"tier_s={PATIENCE_S}"]  # however long this machine stalls
        ls = run.start("ls", "--config", folder / "home.toml", "--dns", 0, *waits)
        port = ls.port()
        for server in ("TS1", "TS2"):
            ls.logs(f"{server} is up")
        dns_port = str(ls.listener("DNS"))
        yield Home(names, folder, blocked, list_port, resolvers, ls, port, dns_port)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with a_home(tmp_path_factory.mktemp("home"), _COUNT) as one:
        yield one


def assert_has_nothing(said: str) -> None:
    assert status(said) == "NOERROR" and "ANSWER: 0" in said, said


# -- by dig ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "x.", "a.b."])
def test_a_name_to_block_and_those_below_are_asked_of_nobody(home: Home, below: str) -> None:
    """[P102] [P104]"""
    for name in (home.names[0], home.names[_COUNT // 2], home.names[-1].upper()):
        assert home.ask(f"{below}{name}", "+short") == "0.0.0.0\n"
        assert home.ask(f"{below}{name}", "AAAA", "+short") == "::\n"
        for kind in ("MX", "HTTPS", "TXT", "CNAME"):
            assert_has_nothing(home.ask(f"{below}{name}", kind))
        assert home.asked_for(name.lower()) == set()


def test_other_types_of_a_name_of_the_hosts_file_are_nobodys(home: Home) -> None:
    """[P104]: resolvers would have them."""
    assert home.ask("www.over.example", "+short") == "10.1.1.1\n"
    assert home.ask("six.over.example", "AAAA", "+short") == "fd00::6\n"
    for words in (["www.over.example", "AAAA"], ["www.over.example", "MX"], ["six.over.example"]):
        assert_has_nothing(home.ask(*words))
    for name in ("www.over.example", "six.over.example"):
        assert home.asked_for(name) == set()


def test_names_above_those_of_tables_do_not_vanish(home: Home) -> None:
    """[P44]"""
    for name in ("over.example", "blocked.example", "not.blocked.example", "x.over.example"):
        assert home.ask(name, "+short") == f"{_WORLD}\n"
        assert home.ask(name, "AAAA", "+short") == "2001:db8::9\n"
    assert home.ask("over.example", "MX", "+short") == "1 mail.example.\n"


def test_names_of_the_router_are_asked_of_it_alone(home: Home) -> None:
    """[P107]: but one that the hosts file has."""
    assert home.ask("nas.lan", "+short") == "10.1.1.1\n"
    assert home.ask("tv.lan", "+short") == f"{_WORLD}\n"
    assert home.ask("-x", "192.168.1.9", "+short") == "tv.\n"
    assert home.asked_for("lan") == home.asked_for("9.1.168.192.in-addr.arpa") == {"router"}
    assert home.asked_for("nas.lan") == set()
    home.ask("elsewhere.example")
    assert home.asked_for("elsewhere.example") == {"router", "quad9"}


def test_what_is_counted_is_what_operations_says(home: Home) -> None:
    """A reply that is kept is asked of nobody, and not counted for the second tier."""

    def counted(*words: str) -> dict[str, int]:
        before, _, after = stats(home.port), home.ask(*words), stats(home.port)
        shown = ("TS1.won", "TS2.won", "tier2.asked", "cached", "kept_here")
        grown = {key: int(after[key]) - int(before[key]) for key in shown}
        return {key: by for key, by in grown.items() if by}

    assert counted(home.names[1]) == {"TS1.won": 1}
    assert counted(home.names[1], "MX") == {}
    assert counted("nas.lan") == {"TS2.won": 1}
    assert counted("counted.example") == {"tier2.asked": 1}
    assert counted("counted.example") == {"cached": 1}
    assert counted("counted.test") == {"kept_here": 1}


# -- a TS that goes, and other words ---------------------------------------------------------------


@at_once
def test_names_are_blocked_again_once_the_list_is_back(tmp_path: Path) -> None:
    """While its TS is away nothing is blocked, and what is kept of that does not last: [P95]."""
    with a_home(tmp_path, 10) as home:
        name = home.names[0]
        assert home.ask(name, "+short") == "0.0.0.0\n"
        home.list_server.kill()
        home.ls.logs("TS1 is ")
        wait_for(lambda: home.ask(name, "+short") == f"{_WORLD}\n", "a resolver is asked")
        assert home.ask("nas.lan", "+short") == "10.1.1.1\n"
        with programs(tmp_path) as run:
            run.ts(home.list_path, home.list_port, "--answer-unknown")
            home.ls.logs("TS1 is up", 2)
            assert home.ask(name, "+short") == "0.0.0.0\n"


@at_once
def test_blocked_with_nxdomain_no_name_is_there_for_any_type(tmp_path: Path) -> None:
    """[P103]"""
    with a_home(tmp_path, 10, "--block-with", "NXDOMAIN") as home:
        for kind in ("A", "AAAA", "MX", "HTTPS"):
            assert status(home.ask(f"x.{home.names[0]}", kind)) == "NXDOMAIN"
        assert home.asked_for(home.names[0]) == set()
        assert home.ask("blocked.example", "+short") == f"{_WORLD}\n"


# -- by dnsperf ------------------------------------------------------------------------------------


def a_load(home: Home, folder: Path, size: int) -> list[str]:
    """Write so many questions, about names to block, below them, and others of tables; return a
    command that asks them."""
    chance = random.Random(2)
    asked = []
    for number in range(size):
        name = "www.over.example" if number % 10 == 9 else chance.choice(home.names)
        below = chance.choice(["", "", "x.", "a.b."]) if number % 10 < 9 else ""
        asked.append(f"{below}{name} {chance.choice(['A', 'A', 'AAAA', 'MX', 'HTTPS'])}\n")
    (folder / "queries.txt").write_text("".join(asked))
    words = ["dnsperf", "-s", LOOPBACK, "-p", home.dns_port, "-d", f"{folder}/queries.txt"]
    return [*words, "-q", "20", "-c", "4", "-t", f"{PATIENCE_S:.0f}"]


def assert_nothing_left(home: Home) -> None:
    """Assert that no name of a table has reached a resolver, and that another one has."""
    home.ask("control.example")
    for one in home.resolvers:
        asked = set(one.asked())
        assert "control.example" in asked
        assert [name for name in asked if name.endswith(".blocked.example")] in (
            [],
            ["not.blocked.example"],
        )
        assert "www.over.example" not in asked


@dnsperf
def test_of_10_000_names_to_block_none_leaves_the_house(home: Home, tmp_path: Path) -> None:
    """[P104]"""
    said = output_of(*a_load(home, tmp_path, 10_000), "-n", "1")
    assert re.search(r"Queries completed:\s+10000 \(100.00%\)", said), said
    assert re.search(r"Response codes:\s+NOERROR 10000 \(100.00%\)", said), said
    assert_nothing_left(home)


@contextmanager
def under_load(home: Home, folder: Path) -> Iterator[None]:
    """Ask for names of tables all the while: none may be lost, be answered otherwise, or leave."""
    words = a_load(home, folder, 10_000)
    load = subprocess.Popen([*words, "-n", "1000"], stdout=subprocess.PIPE, text=True)
    try:
        yield
        assert load.poll() is None, "it is over before what it is to see"
        load.send_signal(signal.SIGINT)
        said, _ = load.communicate(timeout=PATIENCE_S)
    finally:
        load.kill()
        load.wait()
    assert re.search(r"Queries lost:\s+0 \(0.00%\)", said), said
    assert re.search(r"Response codes:\s+NOERROR \d+ \(100.00%\)", said), said
    assert_nothing_left(home)


@dnsperf
def test_no_query_is_lost_while_the_list_is_read_again(home: Home, tmp_path: Path) -> None:
    """New names come to it each time, and all that are asked for stay."""
    with under_load(home, tmp_path):
        asked = int(stats(home.port)["asked"])
        for number in count(1):
            new = home.list_path.with_suffix(".new")
            more = [f"{name}x" for name in names_to_block(_COUNT // 10, number)]
            new.write_text("".join(f"{name}\n" for name in [*more, *home.names]))
            new.rename(home.list_path)
            home.list_server.signal(signal.SIGHUP)
            wait_for(
                lambda: stats(home.list_port)["reloads"] == str(number),  # noqa: B023
                "it is read again",
            )
            if number >= 3 and int(stats(home.port)["asked"]) > asked + 1000:
                break


@dnsperf
@at_once
def test_no_name_gets_out_while_ls_takes_a_new_configuration(tmp_path: Path) -> None:
    """[P105]: each worker that begins is asked before it has dialled the tables."""
    with a_home(tmp_path, 1000) as home, under_load(home, tmp_path):
        path = home.folder / "home.toml"
        text = path.read_text()
        for number in range(1, 5):
            path.write_text(text.replace("cache = 32", f"cache = {32 + number}"))
            home.ls.signal(signal.SIGHUP)
            for server in ("TS1", "TS2"):
                home.ls.logs(f"{server} is up", 1 + number)
