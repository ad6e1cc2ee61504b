"""LS with `--cache`, asked by dig: what it tells of old replies, and what it keeps from resolvers.

The resolvers are played ones, which are told what to say next. A TTL of 1 is over at once, since
LS never says 0, so nothing here waits for a reply to grow old. "At once" is before what LS waits
for otherwise, which is longer than dig waits.

`make test-dns` runs these tests, too. Not here: the cache beside resolvers of other makes
(`tests/tools/test_cache_beside_others.py`).
"""

import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.at_once import at_once
from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Program,
    Programs,
    can_be_apart,
    stats,
    wait_for,
)
from tests.support.switched_resolver import SILENT, SwitchedResolver, switched_resolver
from tests.tools.test_dns_tools import dig, dnsmasq, status, with_dig
from tests.tools.test_resolver_tools import LOOPBACK, dnsmasq_words

pytestmark = [pytest.mark.process, pytest.mark.dns, dig]
_LONG_S = 2 * PATIENCE_S  # longer than dig waits
_OLD = "n1.example"
_STALE, _CACHED_ERROR = 3, 13  # extended errors (RFC 8914)
_DAY_S = 86_400


@dataclass(frozen=True)
class Dug:
    """A reply, as dig shows it."""

    code: str
    addresses: list[str]
    ttls: set[int]  # of all records
    error: int | None  # the extended one
    took_s: float

    @classmethod
    def of(cls, shown: str) -> "Dug":
        records = re.findall(
            r"^[^;\s]\S*\t+(\d+)\tIN\t(\S+)\t(.*)$", shown.replace(" ", "\t"), re.M
        )
        error = re.search(r"EDE: (\d+)", shown)
        took = re.search(r"Query time: (\d+) msec", shown)
        assert took is not None, shown
        return cls(
            status(shown),
            [data for _, kind, data in records if kind in ("A", "AAAA")],
            {int(ttl) for ttl, *_ in records},
            None if error is None else int(error[1]),
            int(took[1]) / 1000,
        )


@dataclass(frozen=True)
class Site:
    """LS with a cache, before played resolvers."""

    resolvers: list[SwitchedResolver]
    program: Program
    port: int  # for lines
    dns_port: str

    def ask(self, *words: str) -> Dug:
        return Dug.of(with_dig(self.dns_port, *words))

    def asked(self, name: str = _OLD) -> int:
        return sum(one.asked[name] for one in self.resolvers)

    def make_silent(self) -> None:
        """Ask until nobody waits for the second resolver; the first answers."""
        self.resolvers[1].says = SILENT
        self.ask(_OLD)
        for number in range(20):
            self.ask(f"other{number}.example")
        wait_for(lambda: stats(self.port)["DNS2.state"] == "SILENT", "DNS2 is silent")

    def say(self, *texts: str) -> None:
        for one, text in zip(self.resolvers, texts, strict=True):
            one.says = text


@contextmanager
def a_site(
    run: Programs, *words: object, count: int = 2, ttl_s: int = 1, tables: tuple[int, ...] = ()
) -> Iterator[Site]:
    """Start LS before so many resolvers; the first has 10.0.0.1 for all names, and so on."""
    with ExitStack() as stack:
        resolvers = [
            stack.enter_context(switched_resolver(f"10.0.0.{n + 1}", ttl_s)) for n in range(count)
        ]
        upstreams = [
            word for one in resolvers for word in ("--dns-upstream", f"{LOOPBACK}:{one.port}")
        ]
        waits = ("--dns-timeout", _LONG_S, "--timeout", _LONG_S)
        words = ("--cache", 8, "--dns", 0, *waits, *upstreams, *words)
        ls, port = run.ls(list(tables), *words, linked=bool(tables))
        yield Site(resolvers, ls, port, str(ls.listener("DNS")))


def bounds(**values: float) -> list[str]:
    return [word for key, value in values.items() for word in ("--bound", f"{key}={value}")]


# -- old data --------------------------------------------------------------------------------------

NEVER = bounds(stale_after_s=_LONG_S, grace_failed_s=_LONG_S)


def assert_is_old(said: Dug) -> None:
    """[P97]"""
    assert said.code == "NOERROR" and said.addresses in (["10.0.0.1"], ["10.0.0.2"]), said
    assert (said.ttls, said.error) == ({30}, _STALE)


@at_once
def test_silence_brings_old_data_at_1_8_s(run: Programs) -> None:
    with a_site(run) as site:
        first = site.ask(_OLD)
        assert (first.ttls, first.error) == ({1}, None)
        site.say(SILENT, SILENT)
        second = site.ask(_OLD)
        assert_is_old(second)
        assert second.took_s > 1.78  # dig has a clock that goes in steps of some ms
        asked = site.asked()
        assert asked >= 4
        assert_is_old(site.ask(_OLD))  # for a while at once, to everybody
        assert site.asked() == asked
        assert stats(site.port)["stale"] == "1"


@at_once
def test_failures_of_all_bring_old_data_at_once(run: Programs) -> None:
    with a_site(run, *NEVER, *bounds(stale_hold_s=_LONG_S)) as site:
        site.ask(_OLD)
        site.say("SERVFAIL", "REFUSED")
        assert_is_old(site.ask(_OLD))
        assert site.asked() == 4


@at_once
def test_a_failure_beside_long_silence_brings_old_data(run: Programs) -> None:
    with a_site(run, *NEVER) as site:
        site.make_silent()
        site.resolvers[0].says = "SERVFAIL"
        assert_is_old(site.ask(_OLD))


@at_once
def test_one_that_was_silent_long_may_have_new_data(run: Programs) -> None:
    with a_site(run, *NEVER, *bounds(stale_hold_s=_LONG_S)) as site:
        site.make_silent()
        site.say("SERVFAIL", "10.0.0.99")
        site.resolvers[1].delay_s = 0.1
        assert site.ask(_OLD).addresses == ["10.0.0.99"]


@at_once
def test_new_data_after_a_failure_wins_over_old_data(run: Programs) -> None:
    with a_site(run, *NEVER) as site:
        site.ask(_OLD)
        site.say("SERVFAIL", "10.0.0.99")
        site.resolvers[1].delay_s = 0.012
        said = site.ask(_OLD)
        assert (said.addresses, said.ttls, said.error) == (["10.0.0.99"], {1}, None)


@at_once
def test_denials_of_all_win_over_old_data(run: Programs) -> None:
    with a_site(run) as site:
        site.ask(_OLD)
        site.say("NXDOMAIN", "NXDOMAIN")
        said = site.ask(_OLD)
        assert (said.code, said.addresses, said.error) == ("NXDOMAIN", [], None)


@at_once
def test_old_data_is_not_told_without_stale(run: Programs) -> None:
    with a_site(run, "--stale", 0) as site:
        site.ask(_OLD)
        site.say("SERVFAIL", "SERVFAIL")
        assert site.ask(_OLD).code == "SERVFAIL"


# -- failures --------------------------------------------------------------------------------------


@at_once
def test_a_failure_is_told_again_and_nobody_is_asked(run: Programs) -> None:
    """[P96]"""
    with a_site(run, *bounds(failure_kept_s=_DAY_S)) as site:
        site.say("SERVFAIL", "SERVFAIL")
        first = site.ask(_OLD)
        assert first.code == "SERVFAIL" and first.error != _CACHED_ERROR
        asked = site.asked()
        second = site.ask(_OLD)
        assert (second.code, second.error) == ("SERVFAIL", _CACHED_ERROR)
        assert site.asked() == asked
        site.say("10.0.0.1", "10.0.0.1")
        assert site.ask(_OLD, "+cd").addresses == ["10.0.0.1"]  # another question


# -- TTLs and entries ------------------------------------------------------------------------------


@at_once
def test_ttls_fall_with_time_and_are_never_0(run: Programs) -> None:
    """[P94]: until it is over, and is asked for again."""
    ttl_s = 4
    with a_site(run, count=1, ttl_s=ttl_s) as site:
        begun = time.monotonic()
        assert site.ask(_OLD).ttls == {ttl_s}
        heard = time.monotonic()
        told = 0
        while site.asked() == 1:
            asked = time.monotonic()
            said = site.ask(_OLD)
            if site.asked() > 1:
                break
            (ttl,) = said.ttls
            oldest_s, youngest_s = time.monotonic() - begun, asked - heard
            assert max(1, ttl_s - math.ceil(oldest_s)) <= ttl <= ttl_s - youngest_s
            told += 1
        assert told and stats(site.port)["cached"] == str(told)
        assert said.ttls == {ttl_s}


@at_once
def test_flags_are_parts_of_what_is_asked(run: Programs) -> None:
    with a_site(run, count=1, ttl_s=_DAY_S) as site:
        ways = [["+noad"], ["+ad"], ["+noad", "+cd"], ["+noad", "+dnssec"], ["+dnssec", "+cd"]]
        for number, words in enumerate(ways):
            site.ask(_OLD, *words)
            site.ask(_OLD, *words)
            site.ask("N1.Example", *words)
            assert site.asked() == number + 1, words


# -- emptying it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@at_once
def test_sigusr2_empties_the_cache_of_every_worker(run: Programs, workers: int) -> None:
    """[P99]: each dig has a port of its own, and comes to any of them."""
    with a_site(run, "--workers", workers, count=1, ttl_s=_DAY_S) as site:
        for times in (1, 2):
            wait_for(lambda: site.ask(_OLD) and site.asked() == times * workers, "all ask")  # noqa: B023
            for _ in range(5):
                site.ask(_OLD)
            assert site.asked() == times * workers
            site.program.signal(signal.SIGUSR2)
            site.program.logs("the cache is emptied; replies that were in it: 1", times * workers)


# -- beside a table --------------------------------------------------------------------------------


@at_once
def test_a_table_that_gets_a_kept_name_answers_at_once(run: Programs) -> None:
    """[P95]"""
    table = run.table("table", "other.example 10.9.9.8")
    ts, ts_port = run.ts(table, 0, "--answer-unknown")
    never = bounds(no_data_s=_LONG_S)
    with a_site(run, *never, count=1, ttl_s=_DAY_S, tables=(ts_port,)) as site:
        for _ in range(2):
            assert site.ask(_OLD).addresses == ["10.0.0.1"]
        assert site.asked() == 1
        for number, rows in enumerate([f"{_OLD} 10.9.9.9", "other.example 10.9.9.8"], 1):
            run.replace(table, rows)
            ts.signal(signal.SIGHUP)
            ts.logs(" reloaded: ", number)
            expected = ["10.9.9.9"] if number == 1 else ["10.0.0.1"]
            assert site.ask(_OLD).addresses == expected
        assert site.asked() == 2  # the reply that was kept is gone


# -- names that must not leave ---------------------------------------------------------------------

NOBODYS = {
    ("foo.test", "A"): ("NXDOMAIN", []),
    ("localhost", "A"): ("NOERROR", ["127.0.0.1"]),
    ("localhost", "AAAA"): ("NOERROR", ["::1"]),
    ("localhost", "MX"): ("NOERROR", []),
    ("_dns.resolver.arpa", "SVCB"): ("NOERROR", []),
}
NETWORKS = [("nas.home.arpa", "A"), ("1.1.168.192.in-addr.arpa", "PTR")]


@at_once
def test_names_of_nobody_never_reach_a_resolver(run: Programs) -> None:
    """[P92]: those of a network reach one in it."""
    with a_site(run, "--stale", 0, count=1) as site:
        for question, expected in NOBODYS.items():
            said = site.ask(*question)
            assert (said.code, said.addresses) == expected, question
        assert not site.resolvers[0].asked
        for name, kind in NETWORKS:
            assert site.ask(name, kind).code == "NOERROR"
            assert site.asked(name) == 1
        assert stats(site.port)["kept_here"] == str(len(NOBODYS))


# A host of its own, with an address that counts as public. Each resolver logs what it is asked.
APART = ["unshare", "--mount", "--mount-proc", "--net", "--pid", "--fork", "--kill-child"]
PUBLIC = "9.9.9.9"
INSIDE = """
set -e
ip link set lo up
ip addr add {public}/32 dev lo
{far} 2> {folder}/far.log &
{near} 2> {folder}/near.log &
for at in {public} 127.0.0.1; do
    until dig @$at +tries=1 +time=1 n1.example > /dev/null; do sleep 0.02; done
done
{python} -m nodes ls --dns 5300 --cache 8 {upstreams} > {folder}/ls.out 2> {folder}/ls.err &
until grep -q 'DNS on' {folder}/ls.err; do kill -0 $!; sleep 0.02; done
dig @127.0.0.1 -p 5300 n2.example
{digs}
"""
PLACES = {
    "the world": ([PUBLIC], [], {"far": set(), "near": set()}),
    "both": ([PUBLIC, LOOPBACK], [], {"far": set(), "near": {name for name, _ in NETWORKS}}),
    "leaked": ([PUBLIC], ["--leak", "home.arpa"], {"far": {"nas.home.arpa"}, "near": set()}),
}


@dnsmasq
@pytest.mark.skipif(not can_be_apart(APART), reason="no namespaces (Debian, as root: iproute2)")
@pytest.mark.parametrize("place", PLACES)
@at_once
def test_names_of_a_network_do_not_reach_the_world(tmp_path: Path, place: str) -> None:
    """[P92]: with a resolver in the network LS asks that one alone."""
    resolvers, words, expected = PLACES[place]
    asked = [*NOBODYS, *NETWORKS]
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.1 n1.example\n10.0.0.2 n2.example\n10.0.0.5 nas.home.arpa\n")
    servers = {
        name: " ".join([*dnsmasq_words(53, f"--addn-hosts={hosts}", host), "--log-queries"])
        for name, host in (("far", PUBLIC), ("near", LOOPBACK))
    }
    script = INSIDE.format(
        folder=tmp_path, python=sys.executable, public=PUBLIC, **servers,
        upstreams=" ".join([*(f"--dns-upstream {one}" for one in resolvers), *words]),
        digs="\n".join(f"dig @127.0.0.1 -p 5300 {name} {kind}" for name, kind in asked),
    )  # fmt: skip
    done = subprocess.run(
        [*APART, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=_LONG_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for log, names in expected.items():
        seen = set(re.findall(r"query\[\S+\] (\S+) from", (tmp_path / f"{log}.log").read_text()))
        has_control = log == "far" or LOOPBACK in resolvers
        assert seen == {"n1.example", *names} | ({"n2.example"} if has_control else set()), log
    codes = re.findall(r"status: (\w+)", done.stdout)
    home = "NXDOMAIN" if place == "the world" else "NOERROR"
    assert codes[:-1] == ["NOERROR", *(code for code, _ in NOBODYS.values()), home]
