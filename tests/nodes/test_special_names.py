"""Special names, and what is said of them; `ipaddress` is the oracle of reverse names.

Not here: who is asked for them (`tests/nodes/test_own_words.py`).
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol.names import nearest
from nodes.dns.codes import Flag, Rcode
from nodes.dns.question import TableAnswer
from nodes.dns.reply import DnsReply, ReplyResult
from nodes.dns.special_names import SPECIAL_NAMES, Scope, own_reply

NOBODYS = {  # RFC 6761, RFC 7686, RFC 9462, by what is said of them
    "resolver.arpa": ReplyResult.NO_DATA,
    "localhost": ReplyResult.NO_DATA,
    "invalid": ReplyResult.NOT_FOUND,
    "test": ReplyResult.NOT_FOUND,
    "onion": ReplyResult.NOT_FOUND,
}
NETWORKS = ["local", "home.arpa", "internal"]  # RFC 6762, RFC 8375, ICANN
PRIVATE = [
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 6303, section 4.1: RFC 1918
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16"),  # section 4.2: RFC 5735
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "255.255.255.255/32"),
        *("::/128", "::1/128"),  # section 4.3
        "fc00::/7",  # section 4.4
        "fe80::/10",  # section 4.5
        "2001:db8::/32",  # section 4.6
        "100.64.0.0/10",  # RFC 7793
    )
]
FORMS = ["{}", "{} AAAA", "{} TYPE64", "{} TYPE1 +ad", "{} TYPE28 +cd+do", "{} TYPE12 -rd"]


def is_private(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in PRIVATE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*NOBODYS, *NETWORKS])
def test_a_special_name_is_found_with_all_below_it(name: str, form: str) -> None:
    """Of whatever type, and with whatever flags."""
    for below in ("", "nas.", "_dns.", "a.b.c.", r"\032.", r"a\046b.", "x" * 63 + "."):
        question = form.format(below + name).encode()
        assert nearest(question, SPECIAL_NAMES) == name.encode()
    assert nearest(form.format(name).encode(), SPECIAL_NAMES) == name.encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name",
    [
        *("notlocal", "local.example", "xlocalhost", "localhost.example", "localhosts", "loca"),
        *("arpa", "example.arpa", "xhome.arpa", "home.arpa.example", "home", "resolver", "x.arpa"),
        *("in-addr.arpa", "11.in-addr.arpa", "9.in-addr.arpa", "110.in-addr.arpa", "10.arpa"),
        *("15.172.in-addr.arpa", "32.172.in-addr.arpa", "172.in-addr.arpa", "1.192.in-addr.arpa"),
        *("63.100.in-addr.arpa", "128.100.in-addr.arpa", "192.in-addr.arpa", "x10.in-addr.arpa"),
        *("1.0.192.in-addr.arpa", "254.255.255.255.in-addr.arpa", "10.in-addr.arpa.example"),
        *("ip6.arpa", "f.ip6.arpa", "e.f.ip6.arpa", "7.e.f.ip6.arpa", "b.f.ip6.arpa"),
        *("0.ip6.arpa", "9.b.d.0.1.0.0.2.ip6.arpa", "c.e.f.ip6.arpa", "xd.f.ip6.arpa"),
        *("tests", "contest", "testing.example", "onion.example", "www.internal.example"),
        *("example", "www.example", r"nas\046home.arpa", r"a\046local", "."),
    ],
)
def test_a_name_that_only_looks_alike_is_none(name: str, form: str) -> None:
    assert nearest(form.format(name).encode(), SPECIAL_NAMES) is None


def in_network(text: str) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    network = ip_network(text)
    first, last = int(network[0]), int(network[-1])
    kind = type(network[0])
    return st.one_of(
        st.integers(first, last), st.sampled_from([first, last, max(first - 1, 0)])
    ).map(kind)


addresses = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.sampled_from([str(network) for network in PRIVATE]).flatmap(in_network),
)


@given(addresses)
def test_the_reverse_name_of_a_private_address_is_special(
    address: IPv4Address | IPv6Address,
) -> None:
    """RFC 6303 and RFC 7793; and of no other address."""
    name = nearest(address.reverse_pointer.encode() + b" TYPE12", SPECIAL_NAMES)
    assert (name is not None) is is_private(address)
    assert name is None or SPECIAL_NAMES[name].scope is Scope.NETWORK


@pytest.mark.parametrize("network", [str(network) for network in PRIVATE])
def test_both_ends_of_a_private_network_are_special(network: str) -> None:
    for end in (ip_network(network)[0], ip_network(network)[-1]):
        assert nearest(end.reverse_pointer.encode(), SPECIAL_NAMES) is not None
    for beside in (int(ip_network(network)[0]) - 1, int(ip_network(network)[-1]) + 1):
        if 0 <= beside < 2 ** ip_network(network).max_prefixlen:
            address = type(ip_network(network)[0])(beside)
            found = nearest(address.reverse_pointer.encode(), SPECIAL_NAMES)
            assert (found is not None) is is_private(address)


def test_a_reverse_zone_is_special_as_a_name_itself() -> None:
    for zone in ("168.192.in-addr.arpa", "16.172.in-addr.arpa", "d.f.ip6.arpa"):
        assert nearest(zone.encode(), SPECIAL_NAMES) == zone.encode()
        assert (
            nearest(b"lb._dns-sd._udp." + zone.encode() + b" TYPE12", SPECIAL_NAMES)
            == zone.encode()
        )


def test_scopes_are_as_the_standards_say() -> None:
    nobodys = {name for name, special in SPECIAL_NAMES.items() if special.scope is Scope.NOBODY}
    assert nobodys == {name.encode() for name in NOBODYS}
    reverse = {name for name in SPECIAL_NAMES if name.endswith((b".in-addr.arpa", b".ip6.arpa"))}
    assert set(SPECIAL_NAMES) - nobodys - reverse == {name.encode() for name in NETWORKS}
    assert ip_address("172.31.255.255").reverse_pointer.encode().endswith(b".31.172.in-addr.arpa")
    assert b"31.172.in-addr.arpa" in reverse


# -- words of LS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("marks", ["", " +ad", " +cd+do"])
@pytest.mark.parametrize("name", ["localhost", "a.localhost"])
def test_localhost_has_the_addresses_of_this_host(name: str, marks: str) -> None:
    """RFC 6761, section 6.3: also where a query says more than a line can."""
    for rdtype, line, address in ((1, "", "127.0.0.1"), (28, " AAAA", "::1")):
        question = f"{name} TYPE{rdtype}{marks}" if marks else name + line
        result, reply = own_reply(question.encode(), SPECIAL_NAMES[b"localhost"])
        assert result is ReplyResult.DATA
        assert isinstance(reply, TableAnswer) and reply.addresses == address.encode()


@pytest.mark.parametrize("rdtype", [15, 64, 12, 255, 6])
def test_localhost_has_nothing_of_other_types(rdtype: int) -> None:
    result, reply = own_reply(b"localhost TYPE%d" % rdtype, SPECIAL_NAMES[b"localhost"])
    assert result is ReplyResult.NO_DATA
    assert isinstance(reply, DnsReply) and not reply.flags & 0xF


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["resolver.arpa", "test", "invalid", "onion", *NETWORKS])
def test_of_others_is_said_what_the_standards_say(name: str, form: str) -> None:
    """NXDOMAIN; and NO DATA of resolver.arpa (RFC 9462, section 6.4), also below it."""
    question = form.format(f"_dns.{name}").encode()
    result, reply = own_reply(question, SPECIAL_NAMES[name.encode()])
    expected = NOBODYS.get(name, ReplyResult.NOT_FOUND)
    assert result is expected and isinstance(reply, DnsReply)
    code = Rcode.NOERROR if expected is ReplyResult.NO_DATA else Rcode.NXDOMAIN
    assert reply.result is expected and reply.flags & 0xF == code
    assert not reply.flags & (Flag.TC | Flag.AD) and not reply.is_referral
    said = b"NO DATA" if expected is ReplyResult.NO_DATA else b"NOT FOUND"
    assert reply.line(b"x", b"X") == b"X - %b\n" % said


def test_a_name_of_localhost_that_no_line_can_have_has_no_data() -> None:
    """A byte that a line has not makes it no name of a host."""
    result, _ = own_reply(rb"a\032b.localhost TYPE1", SPECIAL_NAMES[b"localhost"])
    assert result is ReplyResult.NO_DATA
