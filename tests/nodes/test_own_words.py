"""Names that must not leave: which resolver is asked for them, and what is said where none is.

A private resolver, the router, is at 192.168.1.1, and a public one at 9.9.9.9. The public one never
sees such a name, when sockets break, resolvers go and come, and questions are sent again.

Not here: which names are special (`tests/nodes/test_special_names.py`), and what is said of what
LS keeps (`tests/nodes/test_cache.py`).
"""

from dataclasses import replace
from typing import Any

import pytest

from core.bounds import Bounds
from nodes.ls.setup import OwnWordsSetup, ServerSetup
from tests.support.dns_messages import AD, CODES, opt, question_of, said
from tests.support.resolver_cast import D1, D2, Cast

ROUTER, QUAD9 = "192.168.1.1", "9.9.9.9"
NOERROR, SERVFAIL, NXDOMAIN = (CODES[code] for code in ("NOERROR", "SERVFAIL", "NXDOMAIN"))
NETWORKS = ["home.arpa", "nas.home.arpa", "printer.local", "wiki.internal"]
REVERSE = ["7.1.168.192.in-addr.arpa", "d.f.ip6.arpa"]
TRIED = ". TYPE2"  # asked by LS itself, of whoever may be back
NOBODYS = ["_dns.resolver.arpa", "x.test", "x.invalid", "x.onion", "localhost", "a.localhost"]


def at(*hosts: str) -> list[ServerSetup]:
    """Return resolvers at these addresses, DNS1 first. Where one begins with @ its address is not
    known yet."""
    return [
        ServerSetup(f"DNS{n}", () if host[0] == "@" else ((2, (host, 53)),), (host[1:], 53))
        for n, host in enumerate(hosts, 1)
    ]


class Home(Cast):
    """LS at home: it asks the router and a public resolver, if it is not told otherwise."""

    def __init__(
        self,
        *hosts: str,
        leaked: tuple[bytes, ...] = (),
        cache: int = 0,
        stale_s: float = 0.0,
        **more: Any,  # noqa: ANN401
    ) -> None:
        own_words = OwnWordsSetup(cache, stale_s, leaked)
        super().__init__(resolvers=at(*(hosts or (ROUTER, QUAD9))), own_words=own_words, **more)

    def named(self, resolver: str) -> list[str]:
        """Return what this one was asked since the last time."""
        return [question_of(query) for _, query in self.asked(resolver)]

    def law_holds(self) -> bool:
        ends = ("answered", "not_found", "no_data", "failed", "timed_out", "dropped", "pending")
        return bool(self.metric("asked") == sum(map(self.metric, ends)))


# -- resolvers that are asked ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NETWORKS, *REVERSE])
def test_a_name_of_a_network_goes_to_the_private_one_only(name: str) -> None:
    """[P92]: what that says is told."""
    home = Home()
    home.ask(name)
    home.say_lines(f"{name} AAAA")
    assert home.named(D2) == []
    asked = home.asked(D1)
    assert [question_of(query) for _, query in asked] == [name, f"{name} AAAA"]
    for (conn, query), text in zip(asked, ["192.168.1.7", "NOERROR"], strict=True):
        home.say(conn, said(query, text))
    assert home.codes() == [NOERROR] and home.lines() == f"{name} AAAA - NO DATA\n".encode()
    assert home.metric("kept_here") == 2 and home.law_holds()


@pytest.mark.parametrize("text", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_the_word_of_the_private_one_is_told_at_once(text: str) -> None:
    """Nobody else is waited for, who was not asked."""
    home = Home()
    home.ask("nas.home.arpa")
    home.answer(D1, text)
    assert home.codes() == [CODES[text]] and home.law_holds()


@pytest.mark.parametrize("name", NOBODYS)
@pytest.mark.parametrize("hosts", [(ROUTER, QUAD9), (ROUTER,), (QUAD9,)])
def test_a_name_that_is_nobodys_goes_to_none(hosts: tuple[str, ...], name: str) -> None:
    """[P92]"""
    home = Home(*hosts)
    home.ask(name)
    home.ask(f"{name} MX")
    home.say_lines(name)
    is_there = {"localhost": b"127.0.0.1 A IN", "a.localhost": b"127.0.0.1 A IN"}
    no_such_name = b"- NO DATA" if name.endswith("resolver.arpa") else b"- NOT FOUND"
    assert home.lines() == b"%b %b\n" % (name.encode(), is_there.get(name, no_such_name))
    code = NOERROR if name in ("_dns.resolver.arpa", *is_there) else NXDOMAIN
    assert home.codes() == [code, code]
    home.wait(5.0)
    assert not any(home.named(resolver) for resolver in (D1, D2)[: len(hosts)])
    assert home.metric("kept_here") == 3 and home.metric("pending") == 0 and home.law_holds()


def test_localhost_is_this_host_also_with_ad() -> None:
    home = Home(QUAD9)
    for question, address in (("localhost", "127.0.0.1"), ("localhost AAAA", "::1")):
        for flags in (0x100, 0x100 | AD):
            query = home.ask(question, flags=flags, edns=opt())
            ((message, _),) = home.told()
            assert message[6:8] == b"\0\1" and message[:2] == query[:2]
            packed = b"\x7f\0\0\1" if address == "127.0.0.1" else bytes(15) + b"\1"
            assert packed in message


@pytest.mark.parametrize("name", [*NETWORKS, *REVERSE])
@pytest.mark.parametrize("hosts", [(QUAD9,), (QUAD9, "2620:fe::9"), ("100.128.0.1", QUAD9)])
def test_with_public_ones_only_there_is_no_such_name(hosts: tuple[str, ...], name: str) -> None:
    home = Home(*hosts)
    home.ask(name)
    assert home.codes() == [NXDOMAIN]
    home.wait(5.0)
    assert not any(home.named(f"DNS{n}") for n in range(1, len(hosts) + 1)) and home.law_holds()


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.53", "172.16.0.1", "fe80::1%eth0", "fd00::1", "::1", "100.64.0.1"]
)
def test_addresses_of_a_network_are_private(host: str) -> None:
    home = Home(host)
    home.ask("nas.home.arpa")
    assert home.named(D1) == ["nas.home.arpa"]


def test_other_names_go_to_all() -> None:
    home = Home()
    for name in ("example.com", "notlocal", "local.example", "11.in-addr.arpa"):
        home.ask(name)
        assert home.named(D1) == home.named(D2) == [name]
    assert home.metric("kept_here") == 0


def test_beside_other_names_in_a_read_a_special_one_is_kept_back() -> None:
    home = Home()
    home.say_lines("a.example", "nas.home.arpa", "b.example", "x.test")
    assert home.named(D1) == ["a.example", "nas.home.arpa", "b.example"]
    assert home.named(D2) == ["a.example", "b.example"]
    assert home.lines() == b"x.test - NOT FOUND\n"


@pytest.mark.parametrize("name", [b"home.arpa", b"test"])
def test_with_leak_all_are_asked_for_that_name(name: bytes) -> None:
    home = Home(leaked=(name,))
    for asked in ("nas.home.arpa", "x.test", "x.local"):
        home.ask(asked)
    leaked = "nas.home.arpa" if name == b"home.arpa" else "x.test"
    assert home.named(D2) == [leaked]
    assert home.metric("kept_here") == 2


# -- resolvers that are down, or silent ------------------------------------------------------------


def refuse(home: Home, resolver: str) -> None:
    """Let the network say that nothing gets there."""
    home.ask("first.example")
    for _ in range(2):
        for conn in {conn for conn, _ in home.asked(resolver)}:
            if conn in home.stage.replies:
                home.stage.break_socket(conn)
    assert home.metric(f"{resolver}.link") != "UP"
    home.told()


def test_where_the_private_one_is_down_it_is_a_failure() -> None:
    """[P93]: NXDOMAIN would be a lie, and nobody else may be asked."""
    home = Home()
    refuse(home, D1)
    home.asked(D2)
    home.ask("nas.home.arpa")
    home.say_lines("nas.home.arpa")
    assert home.codes() == [SERVFAIL] and home.lines() == b"nas.home.arpa - FAILED\n"
    assert home.named(D2) == [] and home.law_holds()


def test_a_private_one_that_comes_is_asked_for_what_is_open() -> None:
    home = Home(refused={f"DNS1.{n}" for n in range(1, 5)}, tables=1)
    home.ask("x.example MX")
    home.stage.hear("TS1", b"x.example - NOT FOUND\n")
    home.ask("nas.home.arpa MX")
    home.wait(0.2)
    assert home.metric("DNS1.link") == "UP"
    assert "nas.home.arpa TYPE15" in home.named(D1)
    assert set(home.named(D2)) == {"x.example TYPE15"}


def test_a_probe_of_one_that_is_down_carries_no_special_name() -> None:
    """[P92]: it would be the question that was asked last."""
    home = Home()
    refuse(home, D2)
    home.asked(D2)
    for n in range(8):
        home.ask(f"nas{n}.home.arpa")
        home.ask(f"x{n}.test")
        home.wait(0.5)
    probes = home.named(D2)
    assert probes and set(probes) == {"first.example"}


def test_what_is_asked_again_is_kept_back_as_before() -> None:
    """[P92]: when it is overdue, when a client asks once more, and when it is held."""
    home = Home()
    for second in range(8):
        home.ask("nas.home.arpa")
        home.ask(f"n{second}.example")
        home.wait(0.6)
    assert "nas.home.arpa" in home.named(D1)
    assert set(home.named(D2)) <= {f"n{second}.example" for second in range(8)} | {TRIED}


def silence(home: Home, resolver: str) -> None:
    """Let it be silent, while the other answers."""
    other = D1 if resolver == D2 else D2
    for n in range(20):
        home.ask(f"s{n}.example")
        home.answer(other, "10.0.0.1")
    home.wait(1.5)
    home.asked(resolver)
    assert any(f"{resolver} is silent" in report for report in home.stage.reports)
    home.told()


def test_a_silent_public_one_that_is_back_is_asked_none() -> None:
    """[P92]: it is asked for all that is open; and while it is silent now and then for one."""
    home = Home()
    silence(home, D2)
    home.ask("nas.home.arpa")
    home.ask("nas.local AAAA")
    home.wait(1.1)
    home.ask("x.example")
    (conn, query) = home.asked(D2)[-1]
    assert question_of(query) == "x.example"
    home.ask("y.example")
    home.say(conn, said(query, "10.0.0.2"))
    assert set(home.named(D2)) <= {"x.example", "y.example"}
    assert home.metric("pending") == 3


@pytest.mark.parametrize("extra_load", [None, 0.0])
def test_a_public_one_that_comes_is_asked_none(extra_load: float | None) -> None:
    """[P92]: it had no socket when the question was asked."""
    home = Home(refused={f"DNS2.{n}" for n in range(1, 5)}, extra_load=extra_load)
    assert home.metric("DNS2.state") == "DOWN"
    home.ask("nas.home.arpa")
    home.ask("x.example")
    home.wait(0.2)
    assert home.metric("DNS2.link") == "UP"
    home.wait(2.0)
    assert set(home.named(D2)) <= {"x.example", TRIED} and "nas.home.arpa" in home.named(D1)


@pytest.mark.parametrize("sockets", [1, 4])
def test_sockets_that_are_replaced_carry_no_special_name(sockets: int) -> None:
    """[P92]: one breaks, and what was asked by it goes by another."""
    home = Home(bounds=replace(Bounds(), upstream_sockets=sockets))
    for n in range(8):
        home.ask(f"nas{n}.home.arpa")
        home.ask(f"n{n}.example")
    for conn in {conn for conn, _ in home.asked(D2)}:
        if conn in home.stage.replies:
            home.stage.break_socket(conn)
    again = home.named(D2)
    assert again and not any("home.arpa" in name for name in again)


def test_a_reply_that_is_cut_is_asked_for_of_the_same_one() -> None:
    home = Home()
    home.ask("nas.home.arpa")
    home.cut(D1)
    assert home.named(D1) == ["nas.home.arpa"]
    assert not [conn for conn in home.stage.dialled if conn.startswith(D2)]
    assert home.named(D2) == []


# -- where a resolver is, if that is not known -----------------------------------------------------


def test_a_resolver_that_may_be_public_is_asked_no_special_name() -> None:
    """[P92]: its address is looked up while the question is open, and turns out to be public."""
    home = Home("@dns.quad9.net", ROUTER)
    home.ask("nas.home.arpa")
    home.ask("x.example")
    home.stage.resolve(D1, ((2, (QUAD9, 53)),))
    home.wait(0.3)
    assert home.metric("DNS1.link") == "UP"
    assert set(home.named(D1)) == {"x.example", TRIED} and "nas.home.arpa" in home.named(D2)


def test_while_nobody_knows_where_a_resolver_is_it_is_a_failure() -> None:
    """The router may know the name."""
    home = Home("@router.lan", QUAD9)
    home.ask("nas.home.arpa")
    assert home.codes() == [SERVFAIL] and home.named(D2) == [] and home.law_holds()
    home.stage.resolve(D1, ((2, (ROUTER, 53)),))
    home.wait(0.3)
    home.ask("nas.home.arpa")
    assert home.named(D1)[-1] == "nas.home.arpa" and home.named(D2) == []


def test_one_with_a_private_and_a_public_address_is_public() -> None:
    home = Home("@two.example")
    home.stage.resolve(D1, ((2, (ROUTER, 53)), (2, (QUAD9, 53))))
    home.wait(0.3)
    home.ask("nas.home.arpa")
    assert home.codes() == [NXDOMAIN] and "nas.home.arpa" not in home.named(D1)


# -- hedging ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tables", [0, 1])
@pytest.mark.parametrize("extra_load", [0.0, 0.05, 1.0])
def test_hedging_asks_whom_it_may_at_once(extra_load: float, tables: int) -> None:
    """The public one is the fastest, and is not asked; the question does not wait for that."""
    home = Home(tables=tables, extra_load=extra_load)
    for n in range(40):
        home.ask(f"n{n}.example")
        home.stage.take("TS1")
        for resolver, takes_s in ((D2, 0.001), (D1, 0.02)):
            home.wait(takes_s)
            for conn, query in home.asked(resolver):
                home.say(conn, said(query, "10.0.0.1"))
        home.told()
    home.asked(D1), home.asked(D2)
    home.ask("nas.home.arpa MX")
    assert home.named(D1) == ["nas.home.arpa TYPE15"] and home.named(D2) == []
    home.wait(2.5)
    assert "nas.home.arpa TYPE15" not in home.named(D2)


# -- the cache -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tables", [0, 1])
def test_what_the_private_one_said_is_kept_as_any_other(tables: int) -> None:
    """Beside a table as well; and the public one is not asked when it has ended."""
    home = Home(cache=1 << 20, tables=tables)
    home.ask("nas.home.arpa")
    home.stage.hear("TS1", b"nas.home.arpa - NOT FOUND\n")
    home.answer(D1, "192.168.1.7")
    assert home.codes() == [NOERROR]
    home.ask("nas.home.arpa")
    home.wait(Bounds().no_data_s)
    assert home.codes() == [NOERROR] and home.named(D1) == []
    home.wait(60.0)
    home.ask("nas.home.arpa")
    assert home.codes() == [] and "nas.home.arpa" in home.named(D1) and home.named(D2) == []
    assert home.law_holds()


@pytest.mark.parametrize("stale_s", [0.0, 86_400.0])
def test_old_data_of_the_private_one_is_told_when_it_is_down(stale_s: float) -> None:
    home = Home(cache=1 << 20, stale_s=stale_s)
    home.ask("nas.home.arpa")
    home.answer(D1, "192.168.1.7")
    home.told()
    home.wait(60.0)
    refuse(home, D1)
    home.asked(D2)
    home.ask("nas.home.arpa")
    assert home.codes() == [NOERROR if stale_s else SERVFAIL] and home.named(D2) == []


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.test", "nas.local", "localhost", "_dns.resolver.arpa"])
def test_a_table_that_has_a_special_name_wins(name: str) -> None:
    """[P93]: what LS says itself is held meanwhile."""
    home = Home(QUAD9, tables=1)
    home.ask(name)
    home.say_lines(name)
    assert home.stage.take("TS1") == f"{name}\n".encode()
    assert home.told() == [] and home.lines() == b""
    home.stage.hear("TS1", f"{name} 10.0.0.7 A IN\n".encode())
    ((message, _),) = home.told()
    assert message.endswith(b"\x0a\0\0\x07")
    assert home.lines() == f"{name} 10.0.0.7 A IN\n".encode()
    assert home.named(D1) == [] and home.metric("TS1.won") == 1 and home.law_holds()


@pytest.mark.parametrize("is_down", [False, True])
def test_ls_says_what_it_knows_once_tables_have_spoken(is_down: bool) -> None:
    """[P93]; a resolver that is down makes no failure of it."""
    home = Home(QUAD9, tables=2)
    if is_down:
        refuse(home, D1)
        home.wait(0.1)
        home.asked(D1)
    home.ask("x.test")
    home.say_lines("localhost")
    home.stage.hear("TS1", b"x.test - NOT FOUND\nlocalhost - NOT FOUND\n")
    assert home.told() == [] and home.lines() == b""
    home.stage.hear("TS2", b"x.test - NOT FOUND\nlocalhost - NOT FOUND\n")
    assert home.codes() == [NXDOMAIN] and home.lines() == b"localhost 127.0.0.1 A IN\n"
    assert "x.test" not in home.named(D1) and home.law_holds()


def test_a_table_that_says_nothing_is_waited_for_no_data_s() -> None:
    home = Home(QUAD9, tables=1)
    home.ask("x.test")
    home.wait(Bounds().no_data_s - 0.001)
    assert home.codes() == []
    home.wait(0.001)
    assert home.codes() == [NXDOMAIN] and home.law_holds()


def test_a_name_that_a_table_shows_to_exist_has_no_data() -> None:
    """Not NXDOMAIN, which LS would have said."""
    home = Home(QUAD9, tables=1)
    home.ask("x.test MX")
    home.stage.hear("TS1", b"x.test 10.0.0.1 A IN\n")
    assert home.codes() == [NOERROR] and home.law_holds()


def test_the_private_one_and_a_table_race_for_a_name() -> None:
    home = Home(tables=1)
    home.ask("nas.home.arpa")
    home.stage.hear("TS1", b"nas.home.arpa - NOT FOUND\n")
    assert home.told() == []
    home.answer(D1, "NXDOMAIN")
    assert home.codes() == [NXDOMAIN] and home.named(D2) == [] and home.law_holds()


def test_where_there_is_no_resolver_no_name_is_special() -> None:
    """With tables alone all stays as it is."""
    cast = Cast(0, tables=1)
    assert cast.brain.parts.own_words is None
    cast.say_lines("x.test", "localhost")
    assert cast.stage.take("TS1") == b"x.test\nlocalhost\n"
    cast.stage.hear("TS1", b"x.test 10.0.0.1 A IN\nlocalhost - NOT FOUND\n")
    assert cast.lines() == b"x.test 10.0.0.1 A IN\nlocalhost - NOT FOUND\n"
    assert not [value for value in cast.brain.metrics() if value.key == "kept_here"]


def test_once_a_question_is_closed_it_is_withheld_no_more() -> None:
    """Nothing is remembered of it, however it ended."""
    home = Home(tables=1)
    withheld = home.brain.parts.upstreams.barred.withheld
    home.ask("nas.home.arpa")
    home.ask("x.test")
    home.stage.accept("client-9")
    home.stage.hear("client-9", b"y.home.arpa\n")
    assert len(withheld) == 3
    home.stage.end("client-9")
    home.stage.reset("client-9")
    home.stage.hear("TS1", b"nas.home.arpa 10.0.0.1 A IN\n")
    home.wait(0.1)
    assert not withheld and home.law_holds()
