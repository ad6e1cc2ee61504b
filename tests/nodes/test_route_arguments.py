"""Routes and tiers as people write them: what the words of `ls` come to, and what is refused.

Not here: what LS makes of them (`test_routes.py`, `test_tier_policy.py`).
"""

import argparse
import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol.names import nearest
from nodes.cli.arguments import Failure
from nodes.cli.ls_arguments import LsOptions, read_ls_options
from nodes.cli.route_arguments import tier_words
from nodes.cli.route_servers import RouteServers, all_resolvers, find_route_servers, names_of

TABLES = ["TS1", "TS2"]


def options(*words: str) -> LsOptions:
    return read_ls_options(["5300", "localhost:5301", "localhost:5302", *words])


def found(*words: str) -> RouteServers:
    asking = options(*words).asking
    return find_route_servers(asking, all_resolvers(asking), TABLES)


def refusal(*words: str) -> str:
    with pytest.raises(Failure) as failure:
        found(*words)
    return str(failure.value)


UPSTREAMS = ("--dns-upstream", "192.0.2.1", "--dns-upstream", "office=192.0.2.2:5353")


BOTH = ("DNS3", "DNS4")


@pytest.mark.parametrize(
    ("text", "routes", "routed"),
    [
        ("a=vpn=tls://10.0.0.1#ns.example", {b"a": ("vpn",)}, ("vpn",)),
        ("a=tls://[::1]:5,10.0.0.1", {b"a": BOTH}, BOTH),
        ("corp.example=10.0.0.1", {b"corp.example": ("DNS3",)}, ("DNS3",)),
        ("Corp.EXAMPLE.=10.0.0.1", {b"corp.example": ("DNS3",)}, ("DNS3",)),
        ("a,b=10.0.0.1,[::1]:54", dict.fromkeys([b"a", b"b"], BOTH), BOTH),
        ("a=vpn=10.0.0.1", {b"a": ("vpn",)}, ("vpn",)),
        ("a=[2001:db8::1]:53", {b"a": ("DNS3",)}, ("DNS3",)),
        ("a=ns.corp.example", {b"a": ("DNS3",)}, ("DNS3",)),
        ("lan=", {b"lan": ()}, ()),
        ("pub.example=default", {b"pub.example": None}, ()),
        ("a=office", {b"a": ("office",)}, ()),
        ("a=192.0.2.2:5353,DNS1", {b"a": ("office", "DNS1")}, ()),
        ("bücher.example=", {b"xn--bcher-kva.example": ()}, ()),
        ("_tcp.example=", {b"_tcp.example": ()}, ()),
        ("10.0.0.0/8=office", {b"10.in-addr.arpa": ("office",)}, ()),
        ("10.0.0.0/15=", {b"0.10.in-addr.arpa": (), b"1.10.in-addr.arpa": ()}, ()),
        ("192.0.2.7/32=", {b"7.2.0.192.in-addr.arpa": ()}, ()),
        ("0.0.0.0/0=", {b"in-addr.arpa": ()}, ()),
        ("fd00::/8=", {b"d.f.ip6.arpa": ()}, ()),
        ("fc00::/7=", {b"c.f.ip6.arpa": (), b"d.f.ip6.arpa": ()}, ()),
    ],
)  # fmt: skip
def test_a_route_names_names_and_resolvers(
    text: str, routes: dict[bytes, tuple[str, ...] | None], routed: tuple[str, ...]
) -> None:
    """[P107]"""
    servers = found(*UPSTREAMS, "--route", text)
    assert servers.routes == routes and servers.routed == routed


@pytest.mark.parametrize(
    "words",
    [
        ("--route", "a=x=10.0.0.1:5353", "--route", "b=x"),
        ("--route", "b=x", "--route", "a=x=10.0.0.1:5353"),
        ("--route", "a=x=10.0.0.1:5353", "--route", "b=10.0.0.1:5353"),
        ("--route", "b=10.0.0.1:5353", "--route", "a=x=10.0.0.1:5353"),
        ("--route", "a=x=10.0.0.1:5353", "--route", "b=x=10.0.0.1:5353"),
    ],
)
def test_the_name_of_a_resolver_is_for_all_routes(words: list[str]) -> None:
    servers = found(*UPSTREAMS, *words)
    assert servers.routes == {b"a": ("x",), b"b": ("x",)} and servers.routed == ("x",)


def test_a_route_names_a_resolver_of_all_names() -> None:
    servers = found(*UPSTREAMS, "--route", "a=x=192.0.2.1", "--route", "b=x")
    assert servers.routes == {b"a": ("x",), b"b": ("x",)} and servers.routed == ()


def test_a_host_without_a_dot_is_written_with_its_port() -> None:
    assert found(*UPSTREAMS, "--route", "a=router:53").routed == ("DNS3",)
    assert found(*UPSTREAMS, "--route", "a=x=router").routed == ("x",)


def test_a_resolver_by_tls_is_no_file_that_is_read_again() -> None:
    tls = "tls://10.0.0.1#ns.example"
    for words in (["--dns-upstream", tls], [*UPSTREAMS, "--route", f"a={tls}"]):
        assert options(*words).asking.asks_by_tls and options(*words).workers is None
    assert not options(*UPSTREAMS, "--route", "a=10.0.0.1").asking.asks_by_tls


def test_routes_share_a_resolver_that_is_asked_by_tls() -> None:
    """However its address is written, if it has to be the same one."""
    words = ["--dns-upstream", "tls://2001:db8::1#ns.example", "--route"]
    asking = options(*words, "a=x=tls://[2001:DB8::0:1]:853#NS.example.").asking
    assert [one.where for one in all_resolvers(asking)] == ["tls://[2001:db8::1]:853#ns.example"]
    assert found(*words, "a=x=tls://[2001:db8::1]:853#ns.example").routes == {b"a": ("x",)}


def test_routes_share_a_resolver() -> None:
    words = ("--route", "a=10.0.0.1", "--route", "b=10.0.0.1:53,10.0.0.2")
    servers = found(*UPSTREAMS, *words)
    assert servers.routes == {b"a": ("DNS3",), b"b": ("DNS3", "DNS4")}


networks = st.ip_addresses().flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda bits: ipaddress.ip_network(f"{address}/{bits}", strict=False)
    )
)


@given(network=networks, other=st.ip_addresses(), number=st.integers(min_value=0))
def test_a_network_is_the_names_of_its_addresses(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    number: int,
) -> None:
    routes = found(*UPSTREAMS, "--route", f"{network}=").routes
    assert len(routes) <= 128
    inside = network[number % network.num_addresses]
    assert nearest(inside.reverse_pointer.encode(), routes) is not None
    is_inside = other.version == network.version and other in network
    assert (nearest(other.reverse_pointer.encode(), routes) is not None) is is_inside


nested = st.ip_addresses().flatmap(
    lambda address: st.tuples(
        st.just(address), st.sets(st.integers(0, address.max_prefixlen), min_size=1, max_size=6)
    )
)


@given(nested, st.integers(min_value=0), st.randoms(use_true_random=False))
def test_the_route_of_an_address_is_its_longest_prefix(
    nested: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, set[int]],
    flipped: int,
    order: random.Random,
) -> None:
    """Of networks around one address; another one differs in a bit."""
    address, lengths = nested
    inside = [ipaddress.ip_network(f"{address}/{bits}", strict=False) for bits in lengths]
    order.shuffle(inside)
    hosts = {network: f"192.0.2.{number}" for number, network in enumerate(inside, 100)}
    words = [f"{network}={host}" for network, host in hosts.items()]
    asking = options(*UPSTREAMS, *(each for word in words for each in ("--route", word))).asking
    resolvers = all_resolvers(asking)
    routes = find_route_servers(asking, resolvers, TABLES).routes
    called = {one.host: name for one, name in zip(resolvers, names_of(resolvers), strict=True)}
    bit = 1 << flipped % address.max_prefixlen
    for one in address, type(address)(int(address) ^ bit):
        around = [network for network in inside if one in network]
        name = nearest(one.reverse_pointer.encode(), routes)
        assert (name is None) is (not around)
        if name is not None:
            longest = max(around, key=lambda network: network.prefixlen)
            assert routes[name] == (called[hosts[longest]],)


def test_a_name_goes_over_a_network_that_has_it() -> None:
    words = ("--route", "7.2.0.192.in-addr.arpa=office", "--route", "192.0.2.0/25=DNS1")
    for each in words, (words[2], words[3], words[0], words[1]):
        routes = found(*UPSTREAMS, *each).routes
        assert routes[b"7.2.0.192.in-addr.arpa"] == ("office",) and len(routes) == 128
        assert routes[b"8.2.0.192.in-addr.arpa"] == ("DNS1",)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--route", "corp.example"], "'corp.example' is no route; write it like"),
        (["--route", "=10.0.0.1"], "'' is neither a name nor a network"),
        (["--route", "a b=10.0.0.1"], "'a b' is neither a name nor a network"),
        (["--route", ".=10.0.0.1"], "'.' is neither a name nor a network"),
        (["--route", "*.a.example="], "write a.example for '*.a.example'"),
        (["--route", ".a.example="], "write a.example for '.a.example'"),
        (["--route", "10.0.0.1="], "10.0.0.1 is an address; write its network, 10.0.0.1/32"),
        (["--route", "10.0.0.1/8="], "10.0.0.1/8 has host bits set"),
        (["--route", "a=10.0.0.256"], "'10.0.0.256' is neither an address nor a host name"),
        (["--route", "a=https://x"], "'https://x' is DNS over HTTPS, which LS does not speak"),
        (["--route", "a=tls://x"], "write the address of x in its place and #x behind it"),
        (
            ["--route", "a=tls://192.0.2.2:5353"],
            "192.0.2.2:5353 and tls://192.0.2.2:5353 are one resolver, and say differently how",
        ),
        (
            ["--route", "a=tls://10.0.0.1#x", "--route", "b=tls://10.0.0.1#y"],
            "tls://10.0.0.1:853#x and tls://10.0.0.1:853#y are one resolver, and say differently",
        ),
        (["--route", "a=DNS9"], "no resolver is called 'DNS9'; there are DNS1, office"),
        (["--route", "a=TS1"], "no resolver is called 'TS1'; there are DNS1, office"),
        (
            ["--route", "lan=routr"],
            "--route: no resolver is called 'routr'; there are DNS1, office; a host is written "
            "with its port, routr:53",
        ),
        (["--route", "lan=Office"], "no resolver is called 'Office'; there are DNS1, office"),
        (["--route", "lan=none"], "no resolver is called 'none'; there are DNS1, office"),
        (["--route", "lan=Default"], "'Default' is for a route alone, and in small letters: lan="),
        (["--route", "lan=default,10.0.0.1"], "'default' is for a route alone, and in small let"),
        (["--route", "a=x=192.0.2.2:5353"], "x=192.0.2.2:5353 is called office already; one name"),
        (["--route", "a=x=10.0.0.1", "--route", "b=y=10.0.0.1"], "y=10.0.0.1 is called x already"),
        (["--route", "a=,"], "is neither an address nor a host name"),
        (["--route", "a=", "--route", "a=default"], "--route: a has two routes; give all"),
        (["--route", "a=", "--route", "A=default"], "A has two routes, and a is the same; give"),
        (["--route", "fc00::/7=", "--route", "fc00::/7=DNS1"], "fc00::/7 has two routes; give all"),
        (["--route", "10.0.0.0/8,10.in-addr.arpa="], "10.in-addr.arpa has two routes, and 10.0"),
        (["--tier", "DNS1"], "'DNS1' is no tier; write it like 2=DNS1,DNS2"),
        (["--tier", "1=DNS1"], "servers that are in no other tier are in tier 1"),
        (["--tier", "10=DNS1"], "tiers go from 2 to 9"),
        (["--tier", "2="], "'' is no name of a server"),
        (["--tier", "3=DNS1"], "there is a tier 3 and no tier 2"),
        (["--tier", "2=DNS1", "--tier", "3=DNS1"], "DNS1 is there twice"),
        (["--tier", "2=DNS3"], "no server is called 'DNS3'; there are TS1, TS2, DNS1, office"),
        (["--tier", "2=TS1,TS2,DNS1,office"], "no server is left in tier 1"),
        (["--tier", "2=DNS1", "--policy", "hedge"], "exclude each other"),
        (["--route", "a=10.0.0.1", "--tier", "2=DNS3"], "DNS3 is asked for names of routes alone"),
        (["--route", "a=x=10.0.0.1", "--route", "b=x=10.0.0.2"], "two resolvers are called 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], why: str) -> None:
    assert why in refusal(*UPSTREAMS, *words)


def test_a_route_needs_a_resolver() -> None:
    assert "--route is for resolvers" in refusal("--route", "lan=")
    assert found("--route", "a=10.0.0.1", "--route", "lan=").routed == ("DNS1",)
    assert "no resolver is called 'TS1'; there is none; a host" in refusal("--route", "a=TS1")


def test_without_a_server_for_all_other_names_ls_does_not_start() -> None:
    with pytest.raises(Failure, match="no server to ask for names without a route"):
        read_ls_options(["5300", "--route", "a=10.0.0.1"])


def test_resolvers_of_routes_make_an_ls_before_resolvers() -> None:
    """Its defaults are those, and its other options are for them, too."""
    words = ("--route", "vpn.example=vpn=10.0.0.1", "--private-from", "vpn", "--cache", "1")
    read = options("--dns", "5353", *words)
    assert read.private_from == ("vpn",) and read.own_words.cache_bytes
    assert read.server.bounds.dns_timeout_s == read.server.bounds.dns_timeout_upstream_s


def test_tiers_are_given_in_any_order() -> None:
    words = ("--tier", "3=office", "--tier", "2=DNS1, TS2")
    assert found(*UPSTREAMS, *words).tiers == {"DNS1": 2, "TS2": 2, "office": 3}


def test_a_tier_is_a_number_and_names() -> None:
    assert tier_words("2=DNS1,TS2") == (2, ("DNS1", "TS2"))
    with pytest.raises(argparse.ArgumentTypeError):
        tier_words("2")
