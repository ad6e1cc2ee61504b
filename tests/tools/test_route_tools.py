"""LS with `--route` before dnsmasq, asked by dig: whom each name is asked of, and what is told.

Each dnsmasq logs what it is asked, and is asked itself before its log is read: all that LS had sent
it by then is in there.

`make test-dns` runs these tests, too. Not here: how routes are written
(`tests/nodes/test_route_arguments.py`), and routes beside every other part of LS
(`tests/nodes/test_routes.py`).
"""

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import PATIENCE_S, exchange, free_port, programs, wait_for
from tests.tools.test_dns_tools import dig, dnsmasq, output_of, status, with_dig
from tests.tools.test_resolver_tools import LOOPBACK, Server, dnsmasq_words

pytestmark = [pytest.mark.process, pytest.mark.dns, dig, dnsmasq]
_FENCE = "fence.test"
_OWN = {_FENCE, "n1.example", "<root>", "."}  # asked by the test, and by LS to see who is there


class Logged(Server):
    """dnsmasq that has one address for all names but those of its own records, and logs what it is
    asked. Without an address, and told no more, it refuses everything."""

    def __init__(
        self, stack: ExitStack, folder: Path, name: str, address: str = "", *more: str
    ) -> None:
        port = free_port()
        words = dnsmasq_words(port, "--log-queries")
        if address:
            words += [f"--address=/#/{address}", "--local=/#/"]
        super().__init__(stack, [*words, *more], port, folder / f"{name}.log")
        self.name = name
        self.address = address

    def asked(self) -> list[str]:
        """Return what it has been asked by now: names, each as often as it was asked for them."""
        output_of("dig", f"@{LOOPBACK}", "-p", str(self.port), "+tries=1", _FENCE)
        found = re.findall(r"query\[\S+\] (\S+) from", self.log.read_text())
        return [name.lower() for name in found if name not in _OWN]


@dataclass(frozen=True)
class Site:
    """LS before servers that log."""

    servers: list[Logged]
    port: int  # for lines
    dns_port: str

    def ask(self, *words: str) -> str:
        return with_dig(self.dns_port, *words)

    def asked_for(self, name: str) -> set[str]:
        """Return the names of the servers that were asked for this one."""
        return {one.name for one in self.servers if name.lower() in one.asked()}


@contextmanager
def a_site(
    folder: Path,
    routes: list[str],
    *words: object,
    more: dict[str, list[str]] | None = None,
    refusing: bool = False,
) -> Iterator[Site]:
    """Start LS before `world`, to which all is asked that has no route, and `corp1` and `corp2`,
    which stand for themselves in routes; and before a table. `more`: words for a server;
    `refusing`: those of routes refuse everything."""
    more = more or {}
    with ExitStack() as stack:
        run = stack.enter_context(programs(folder))
        addresses = {"world": "10.0.0.9", "corp1": "10.0.0.1", "corp2": "10.0.0.2"}
        if refusing:
            addresses |= {"corp1": "", "corp2": ""}
        servers = [
            Logged(stack, folder, name, address, *more.get(name, ()))
            for name, address in addresses.items()
        ]
        places = {one.name: f"{LOOPBACK}:{one.port}" for one in servers}
        told = [re.sub(r"corp[12]\b(?!\.)", lambda found: places[found[0]], one) for one in routes]
        (folder / "table.txt").write_text("nas.lan 10.3.0.1 A\n")
        _, ts_port = run.ts(folder / "table.txt", 0, "--answer-unknown")
        waits = ("--dns-timeout", PATIENCE_S, "--timeout", PATIENCE_S)
        asks = ["--dns-upstream", f"world={places['world']}"]
        asks += [word for one in told for word in ("--route", one)]
        ls, port = run.ls([ts_port], "--dns", 0, *waits, *asks, *words)
        yield Site(servers, port, str(ls.listener("DNS")))


# -- each form of a route --------------------------------------------------------------------------

ROUTES = [
    "corp.example,10.0.0.0/9=corp1,corp2",
    "lan=",
    "pub.corp.example=default",
    "box=world",
    "home.arpa=corp1",
]
BOTH, NOBODY, WORLD = {"corp1", "corp2"}, set[str](), {"world"}
CASES = {
    "corp.example": BOTH,
    "x.corp.example": BOTH,
    "a.b.CORP.example": BOTH,
    "pub.corp.example": WORLD,
    "x.pub.corp.example": WORLD,
    "xpub.corp.example": BOTH,
    "xcorp.example": WORLD,
    "example": WORLD,
    "lan": NOBODY,
    "tv.lan": NOBODY,
    "xlan": WORLD,
    "fritz.box": WORLD,
    "nas.home.arpa": {"corp1"},
    "1.0.0.10.in-addr.arpa": BOTH,
    "254.255.127.10.in-addr.arpa": BOTH,
    "1.0.128.10.in-addr.arpa": WORLD,
    "1.0.0.11.in-addr.arpa": WORLD,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with a_site(tmp_path_factory.mktemp("routes"), ROUTES) as one:
        yield one


@pytest.mark.parametrize("name", CASES)
def test_a_name_is_asked_of_whom_its_route_says(site: Site, name: str) -> None:
    """[P107]"""
    expected = CASES[name]
    is_reverse = name.endswith(".in-addr.arpa")
    said = site.ask(name, "PTR" if is_reverse else "A")
    assert site.asked_for(name) == expected
    if is_reverse:
        return
    assert status(said) == ("NOERROR" if expected else "NXDOMAIN")
    addresses = {one.address for one in site.servers if one.name in expected}
    assert set(re.findall(r"IN\s+A\s+(\S+)$", said, re.M)) <= addresses
    assert "ANSWER: 1" in said or not expected


@pytest.mark.parametrize("kind", ["AAAA", "MX", "HTTPS", "NS", "ANY"])
def test_a_route_is_one_for_every_type(site: Site, kind: str) -> None:
    for name, expected in ((f"{kind}.corp.example", BOTH), (f"{kind}.lan", NOBODY)):
        site.ask(name, kind, "+notcp")
        assert site.asked_for(name) == expected


def test_a_table_has_its_name_of_nobodys(site: Site) -> None:
    assert site.ask("nas.lan", "+short") == "10.3.0.1\n"
    assert status(site.ask("nas.lan", "MX")) == "NOERROR"
    assert site.asked_for("nas.lan") == NOBODY


# Wrong in Tailscale once (its issue 8490): a shorter name won.
@pytest.mark.parametrize("turned", [False, True])
@at_once
def test_the_longest_name_wins_in_any_order(tmp_path: Path, turned: bool) -> None:
    routes = ["corp.example=corp1", "dev.corp.example=corp2", "lab.dev.corp.example=default"]
    with a_site(tmp_path, routes[::-1] if turned else routes) as site:
        for name, expected in {
            "x.corp.example": {"corp1"},
            "xdev.corp.example": {"corp1"},
            "dev.corp.example": {"corp2"},
            "X.Dev.Corp.Example": {"corp2"},
            "x.lab.dev.corp.example": WORLD,
        }.items():
            assert status(site.ask(name)) == "NOERROR"
            assert site.asked_for(name) == expected


# -- servers of a route that are down --------------------------------------------------------------


# Wrong in AdGuard Home once (its issue 8606): others were asked then.
@pytest.mark.parametrize(
    ("trouble", "code"), [("closed", "SERVFAIL"), ("stopped", "SERVFAIL"), ("refusing", "REFUSED")]
)
@at_once
def test_a_route_whose_servers_fail_is_not_the_turn_of_others(
    tmp_path: Path, trouble: str, code: str
) -> None:
    """[P108]"""
    routes = ["corp.example,10.0.0.0/8=corp1,corp2"]
    wait = ("--dns-timeout", 2, "--timeout", 2)
    with a_site(tmp_path, routes, *wait, refusing=trouble == "refusing") as site:
        world, *routed = site.servers
        for one in routed if trouble == "closed" else ():
            one.end()
        for one in routed if trouble == "stopped" else ():
            one.signal(signal.SIGSTOP)
        for words in (["x.corp.example"], ["corp.example", "MX"], ["-x", "10.0.0.1"]):
            assert status(site.ask(*words)) == code
        line = b"x.corp.example - FAILED" if trouble != "stopped" else b"x.corp.example - TIMED OUT"
        assert exchange(site.port, [b"x.corp.example\nQUIT\n"]) == [line + b"\nBYE\n"]
        assert site.ask("there.example", "+short") == "10.0.0.9\n"
        assert world.asked() == ["there.example"]


@at_once
def test_servers_of_a_route_that_are_back_are_asked_again(tmp_path: Path) -> None:
    with a_site(tmp_path, ["corp.example=corp1"]) as site:
        world, corp, _ = site.servers
        corp.end()
        assert status(site.ask("x1.corp.example")) == "SERVFAIL"
        corp.start()
        wait_for(lambda: site.ask("x2.corp.example", "+short") == "10.0.0.1\n", "it is asked")
        assert world.asked() == []


# -- aliases ---------------------------------------------------------------------------------------

ALIASES = {
    "corp1": ["--host-record=www.pub.example,10.0.7.1", "--cname=in.corp.example,www.pub.example"],
    "world": ["--host-record=web.corp.example,10.0.7.9", "--cname=out.example,web.corp.example"],
}


@at_once
def test_who_is_asked_for_an_alias_says_where_it_leads(tmp_path: Path) -> None:
    """Each has an address for a name that belongs to the other."""
    with a_site(tmp_path, ["corp.example=corp1"], more=ALIASES) as site:
        for alias, to, address, asked in (
            ("in.corp.example", "www.pub.example", "10.0.7.1", {"corp1"}),
            ("out.example", "web.corp.example", "10.0.7.9", {"world"}),
        ):
            assert site.ask(alias, "+short") == f"{to}.\n{address}\n"
            line = f"{alias} {address} A IN\nBYE\n".encode()
            assert exchange(site.port, [f"{alias}\nQUIT\n".encode()]) == [line]
            assert (site.asked_for(alias), site.asked_for(to)) == (asked, NOBODY)
        assert site.ask("www.pub.example", "+short") == "10.0.0.9\n"
        assert site.ask("web.corp.example", "+short") == "10.0.0.1\n"


# -- networks --------------------------------------------------------------------------------------


@at_once
def test_a_network_that_ends_within_a_byte_ends_there(tmp_path: Path) -> None:
    """The server that is asked says the name that it has for the address."""
    inside, outside = ["10.0.0.1", "10.127.255.254"], ["10.128.0.1", "10.255.0.1", "11.0.0.1"]
    more = {
        name: [f"--host-record=h{n}.{name}.example,{at}" for n, at in enumerate(inside + outside)]
        for name in ("corp1", "world")
    }
    with a_site(tmp_path, ["10.0.0.0/9=corp1"], more=more) as site:
        for number, address in enumerate(inside + outside):
            name = "corp1" if address in inside else "world"
            assert site.ask("-x", address, "+short") == f"h{number}.{name}.example.\n"
