"""The servers that LS is told to ask: how their words are read.

Not here: addresses that are LS itself (`tests/nodes/test_server_addresses.py`).
"""

import argparse
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.tls import ServerIdentity
from nodes.cli.server_words import (
    ResolverOption,
    check_names,
    resolver_words,
    split_positionals,
)

T1, T2 = ("localhost", 5301), ("localhost", 5302)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", (None, ())),
        ("5300", (5300, ())),
        ("0 localhost 5301 localhost 5302", (0, (T1, T2))),
        ("5300 localhost:5301 localhost:5302", (5300, (T1, T2))),
        ("5300 localhost:5301 localhost 5302", (5300, (T1, T2))),
        ("5300 localhost 5301 localhost:5302", (5300, (T1, T2))),
        ("localhost:5301 localhost 5302", (None, (T1, T2))),
        ("[::1]:5301 ::1 5302 [::1] 5303", (None, (("::1", 5301), ("::1", 5302), ("::1", 5303)))),
        ("5300 fe80::1%eth0 5301", (5300, (("fe80::1%eth0", 5301),))),
    ],
)
def test_servers_are_read_as_one_word_or_two(words: str, found: object) -> None:
    assert split_positionals(words.split()) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("5300 localhost", "'localhost' has no port; write it like localhost:5301"),
        ("5300 localhost localhost 5301", "'localhost' has no port; write it like localhost:5301"),
        ("5300 localhost:", "'localhost:' has no port; write it like localhost:5301"),
        ("5300 ::1", r"'::1' has no port; write it like \[::1\]:5301"),
        ("5300 ::1:5301", r"'::1:5301' has no port; write it like \[::1:5301\]:5301"),
        ("5300 [::1] x", r"'\[::1\]' has no port; write it like \[::1\]:5301"),
        ("5300 5301", "'5301' is a port without a host; write it like localhost:5301"),
        ("localhost:5301 5300", "'5300' is a port without a host; write it like localhost:5300"),
        ("5300 localhost:x", "'x' is not a port, 1 to 65535"),
        ("5300 localhost 0", "'0' is not a port, 1 to 65535"),
        ("70000 localhost 1", "'70000' is not a port, 0 to 65535"),
        ("1_0 localhost 1", "'1_0' has no port"),
    ],
)
def test_words_that_are_no_server_say_what_to_write(words: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{said}"):
        split_positionals(words.split())


# -- resolvers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("127.0.0.2:5354", ("127.0.0.2", 5354)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[2001:db8::1]:5354", ("2001:db8::1", 5354)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
        ("[fe80::1%2]:5354", ("fe80::1%2", 5354)),
        ("169.254.1.1", ("169.254.1.1", 53)),
        ("localhost", ("localhost", 53)),
        ("dns.example.:5354", ("dns.example.", 5354)),
        ("b\u00fccher.example", ("b\u00fccher.example", 53)),
    ],
)
def test_a_resolver_that_can_be_asked_is_taken(text: str, found: tuple[str, int]) -> None:
    assert resolver_words(text) == (ResolverOption(*found),)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("0.0.0.0:5354", "write 127.0.0.1$"),
        ("[::]:5354", "write ::1$"),
        ("::", "write ::1$"),
        ("[::ffff:192.0.2.1]:5354", "write it as 192.0.2.1$"),
        ("::ffff:0.0.0.0", "write it as 0.0.0.0$"),
        ("224.0.0.251:5353", "write that of one resolver$"),
        ("255.255.255.255", "write that of one resolver$"),
        ("[ff02::fb%eth0]:5353", "write that of one resolver$"),
        ("fe80::1", "write it like fe80::1%eth0$"),
        ("[fe80::1]:5354", "write it like fe80::1%eth0$"),
        ("fe80::1%", "write it like"),
        ("[::1", "write it like"),
        ("[::1:5354", "write it like"),
        ("[::1]5354", "write it like"),
        ("[fe80::1]%eth0:53", "write it like"),
        ("127.0.0.1%eth0", "write it like"),
        ("9.9.9.9#53", "write it like"),
        ("9.9.9.9@53", "write it like"),
        ("192.0.2.256", "is neither an address nor a host name"),
        ("1.2.3", "is neither an address nor a host name"),
        ("a..b", "is neither an address nor a host name"),
        ("", "is neither an address nor a host name"),
        ("9.9.9.9#dns.quad9.net", "write it like"),
        ("192.0.2.1:0", "is not a port"),
        ("[fe80::1%eth0]:0", "is not a port"),
    ],
)
def test_a_resolver_that_never_works_is_refused(text: str, instead: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=instead):
        resolver_words(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "identity", "where"),
    [
        ("tls://192.0.2.1", "192.0.2.1", 853, "192.0.2.1", "tls://192.0.2.1:853"),
        ("TLS://192.0.2.1:5", "192.0.2.1", 5, "192.0.2.1", "tls://192.0.2.1:5"),
        ("tls://9.9.9.9#a.example", "9.9.9.9", 853, "a.example", "tls://9.9.9.9:853#a.example"),
        ("tls://9.9.9.9:5#A.Example.", "9.9.9.9", 5, "a.example", "tls://9.9.9.9:5#a.example"),
        ("tls://2001:DB8:0::1", "2001:db8::1", 853, "2001:db8::1", "tls://[2001:db8::1]:853"),
        ("tls://[2001:db8::1]", "2001:db8::1", 853, "2001:db8::1", "tls://[2001:db8::1]:853"),
        ("tls://[::1]:5#localhost", "::1", 5, "localhost", "tls://[::1]:5#localhost"),
        ("tls://fe80::1%eth0", "fe80::1%eth0", 853, "fe80::1", "tls://[fe80::1%eth0]:853"),
        (
            "tls://192.0.2.1#bücher.example", "192.0.2.1", 853, "xn--bcher-kva.example",
            "tls://192.0.2.1:853#xn--bcher-kva.example",
        ),
    ],
)  # fmt: skip
def test_a_resolver_by_tls_has_to_be_who_its_url_says(
    text: str, host: str, port: int, identity: str, where: str
) -> None:
    """A certificate is for a name, in the letters of DNS, or for an address without its scope."""
    found = ResolverOption(host, port, identity=ServerIdentity(identity))
    assert resolver_words(text) == (found,) and found.where == where
    assert resolver_words(where) == (found,), "what is shown can be typed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls://dns.example", "write the address of dns.example in its place and #dns.example beh"),
        ("tls://dns.example:853#dns.example", "write the address of dns.example in its place"),
        ("tls://", "has no address behind tls://; write it like tls://9.9.9.9#dns.quad9.net"),
        ("tls://#dns.example", "has no address behind tls://; write it like tls://9.9.9.9#dns"),
        ("tls://192.0.2.256", "has no address behind tls://"),
        ("tls://192.0.2.1/", "has no address behind tls://"),
        ("tls://[::1", "has no address behind tls://"),
        ("tls://192.0.2.1#", "'tls://192.0.2.1#' has no host name behind its #; write the one"),
        ("tls://192.0.2.1#192.0.2.1", "'192.0.2.1' is no host name; write the one that the cert"),
        ("tls://192.0.2.1#a b", "'a b' is no host name"),
        ("tls://192.0.2.1#a..b", "'a..b' is no host name"),
        ("tls://192.0.2.1#a#b", "'a#b' is no host name"),
        ("tls://192.0.2.1#a.example:853", "'a.example:853' is no host name"),
        (f"tls://192.0.2.1#{'a' * 64}", "aa' is no host name"),
        ("tls://192.0.2.1:0", "'0' is not a port"),
        ("tls://192.0.2.1:x#a.example", "'x' is not a port"),
        ("tls://224.0.0.1#a.example", "'224.0.0.1' is the address of many machines"),
        ("tls://0.0.0.0", "'0.0.0.0' stands for every address of this machine; write 127.0.0.1"),
        ("tls://fe80::1", "'fe80::1' needs the interface that it is at; write it like fe80::1%"),
        ("https://dns.example/dns-query", "is DNS over HTTPS, which LS does not speak; write tls://"),
        ("https://dns.example/?a=b", "'https://dns.example/\\?a=b' is DNS over HTTPS"),
        ("H3://dns.example", "is DNS over HTTPS, which LS does not speak"),
        ("quic://192.0.2.1", "is DNS over QUIC, which LS does not speak"),
        ("sdns://AgcAAAA=", "is a stamp of dnscrypt-proxy, which LS does not speak"),
        ("udp://192.0.2.1", "is a URL that LS does not know; write tls://9.9.9.9#dns.quad9.net"),
        ("://192.0.2.1", "is a URL that LS does not know"),
    ],
)  # fmt: skip
def test_a_url_of_no_resolver_says_what_to_write(text: str, said: str) -> None:
    for words in text, f"mine={text}":
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            resolver_words(words)


@given(st.text("0123456789abcdef:.[]#/=-ü\u3002 ", max_size=24), st.sampled_from(["tls://", ""]))
def test_any_text_is_a_resolver_or_one_line(text: str, before: str) -> None:
    try:
        (found,) = resolver_words(before + text)
    except argparse.ArgumentTypeError as refusal:
        assert str(refusal).isprintable()
        return
    assert (found.identity is None) is (before == "")


@given(
    st.ip_addresses(), st.booleans(), st.none() | st.integers(1, 65_535),
    st.none() | st.from_regex(r"([a-zA-Z0-9_-]{1,20}\.){0,3}[a-zA-Z][a-z]{1,9}\.?", fullmatch=True),
)  # fmt: skip
def test_what_is_shown_of_a_resolver_by_tls_can_be_typed(
    address: IPv4Address | IPv6Address, in_brackets: bool, port: int | None, name: str | None
) -> None:
    text = f"[{address}]" if in_brackets or (port and address.version == 6) else str(address)
    text = f"tls://{text}{'' if port is None else f':{port}'}{'' if name is None else f'#{name}'}"
    try:
        (found,) = resolver_words(text)
    except argparse.ArgumentTypeError:
        with pytest.raises(argparse.ArgumentTypeError):  # nor can it be asked in the clear
            resolver_words(str(address))
        return
    assert (found.host, found.port) == (str(address), port or 853)
    plain = str(address) if name is None else name.lower().removesuffix(".")
    assert found.identity == ServerIdentity(plain)
    assert resolver_words(found.where) == (found,)


@pytest.mark.parametrize("length", [253, 254])
def test_a_certificate_is_for_no_name_longer_than_dns_has(length: int) -> None:
    name = ("a" * 49 + ".") * 5 + "b" * (length - 250)
    if length == 253:
        assert resolver_words(f"tls://::1#{name}.")[0].identity == ServerIdentity(name)
        return
    with pytest.raises(argparse.ArgumentTypeError, match="bbb' is no host name"):
        resolver_words(f"tls://::1#{name}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "quad9=tls://9.9.9.9#dns.quad9.net",
            ResolverOption("9.9.9.9", 853, "quad9", identity=ServerIdentity("dns.quad9.net")),
        ),
        ("quad9=9.9.9.9", ResolverOption("9.9.9.9", 53, "quad9")),
        ("A-_9=[::1]:5354", ResolverOption("::1", 5354, "A-_9")),
        (f"{'x' * 32}=dns.example:5", ResolverOption("dns.example", 5, "x" * 32)),
        ("dns-1=9.9.9.9", ResolverOption("9.9.9.9", 53, "dns-1")),
    ],
)
def test_a_resolver_may_be_given_a_name(text: str, found: ResolverOption) -> None:
    assert resolver_words(text) == (found,)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is no name for a resolver: it has letters, digits, - and _"),
        ("9quad", "is no name for a resolver"),
        ("a.b", "is no name for a resolver"),
        ("a b", "is no name for a resolver"),
        ("b\u00fccher", "is no name for a resolver"),
        ("x" * 33, "is no name for a resolver: .* 32 at most"),
        ("TS1", "may have in logs and metrics; take another"),
        ("dns2", "may have in logs and metrics; take another"),
        ("W1", "may have in logs and metrics; take another"),
        ("Tier2", "may have in logs and metrics; take another"),
        ("lines", "may have in logs and metrics; take another"),
        ("tls-client-7", "may have in logs and metrics; take another"),
        ("client-7", "may have in logs and metrics; take another"),
    ],
)
def test_a_name_that_would_be_misread_is_refused(name: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        resolver_words(f"{name}=9.9.9.9")


def test_two_resolvers_of_one_name_are_refused() -> None:
    options = [*resolver_words("quad9=9.9.9.9"), *resolver_words("Quad9=149.112.112.112")]
    assert check_names(options).startswith("two resolvers are called 'Quad9'; give one of them an")
    assert check_names([*options[:1], *resolver_words("1.1.1.1"), *resolver_words("::1")]) == ""


# -- files of resolvers ----------------------------------------------------------------------------


def test_a_file_names_those_of_its_nameserver_lines(tmp_path: Path) -> None:
    """Lines as the C library reads them; what else there is does not matter."""
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 1.1.1.1\n;nameserver 1.1.1.2\nsearch nameserver example\noptions edns0\n"
        "nameserver\t192.0.2.1 # the first\nnameserver 2001:db8::1\r\nnameserver\n"
        "nameserver fe80::1%eth0\nnameserver 192.0.2.1\n"
    )
    assert resolver_words(str(path)) == tuple(
        ResolverOption(host, 53, file=str(path))
        for host in ("192.0.2.1", "2001:db8::1", "fe80::1%eth0")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read '{path}': no such file or directory"),
        ("", "'{path}' has no line like 'nameserver 192.0.2.1', so no resolver"),
        ("nameserver\n", "'{path}' has no line like"),
        ("nameserver dns.example\n", "'{path}' has a nameserver that is no address: 'dns.example'"),
        ("nameserver 192.0.2.1:53\n", "'{path}' has a nameserver that is no address"),
        ("nameserver 224.0.0.1\n", "'224.0.0.1' is the address of many machines"),
    ],
)
def test_a_file_without_a_resolver_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        resolver_words(str(path))
    assert str(raised.value).startswith(said.format(path=path))


def test_a_file_is_a_regular_one_without_a_name(tmp_path: Path) -> None:
    for text, said in (
        (str(tmp_path), "is a directory|not a regular file"),
        ("/dev/null", "it is not a regular file"),
        ("x=/etc/resolv.conf", "'/etc/resolv.conf' is a file; it is written without a name"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            resolver_words(text)
