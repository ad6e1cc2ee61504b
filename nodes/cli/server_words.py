"""The servers that LS is to ask, as people write them, read into hosts and ports.

Table servers stand behind PORT, each as one word or as two: `localhost:5301`, `localhost 5301`. A
resolver is the value of a flag: `9.9.9.9`, `[::1]:5354`, `dns.example:53`, `quad9=9.9.9.9`; or a
file like /etc/resolv.conf, which names several. A URL means that it is asked by TLS: it has an
address, and the name that the certificate is for: `tls://9.9.9.9#dns.quad9.net`.

Not here: a host and a port in one word (`address_words.py`), where a host is (`host_names.py`), and
servers that cannot be asked for what this machine is (`server_addresses.py`).
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.addresses import address_text
from core.io.system import reason
from core.protocol.names import NAME_BYTES_MAX
from core.tls import ServerIdentity
from nodes.cli.address_words import split_address
from nodes.cli.arguments import USAGE, Failure, own_port, port_number
from nodes.cli.resolver_file import DNS_PORT, read_nameservers
from nodes.ls.server_names import LEGAL_NAME, is_taken
from nodes.ls.setup import where_text

HostPort = tuple[str, int]

_BROADCAST = ipaddress.ip_address("255.255.255.255")
# Of a host, in the letters of a name service. A text that ends in digits is an address with a slip.
_HOST = re.compile(r"(?:[a-z0-9_-]+\.)*(?!\d+\.?$)[a-z0-9_-]+\.?", re.IGNORECASE)
_WRITE_IT_LIKE = "write it like 127.0.0.1:5354, [::1]:5354 or dns.example:53"
_TLS_PORT = 853  # of DNS over TLS (RFC 7858, section 3.1)
_TLS_LIKE = "tls://9.9.9.9#dns.quad9.net"
_TLS = "tls"
_OTHER_KINDS = {  # by the scheme of a URL
    "https": "DNS over HTTPS",
    "h3": "DNS over HTTPS",
    "quic": "DNS over QUIC",
    "doq": "DNS over QUIC",
    "sdns": "a stamp of dnscrypt-proxy",
}


@dataclass(frozen=True, slots=True)
class ResolverOption:
    """A resolver to ask. `name`: the name that it was given, if any; `file`: the file that names
    it, if one does; `identity`: whom its certificate has to be for; None: it is asked in the
    clear."""

    host: str
    port: int
    name: str = ""
    file: str = ""
    identity: ServerIdentity | None = None

    @property
    def where(self) -> str:
        """Return where it is, for people."""
        return where_text((self.host, self.port), self.identity)


# -- table servers ---------------------------------------------------------------------------------


def split_positionals(words: Sequence[str]) -> tuple[int | None, tuple[HostPort, ...]]:
    """Return PORT, which is a first word of digits, if there is one, and the table servers that the
    other words name. Raises argparse.ArgumentTypeError."""
    if words and _is_digits(words[0]):
        return own_port(words[0]), table_servers(words[1:])
    return None, table_servers(words)


def table_servers(words: Sequence[str]) -> tuple[HostPort, ...]:
    """Return the table servers that these words name. Raises argparse.ArgumentTypeError."""
    servers: list[HostPort] = []
    known: set[HostPort] = set()
    left = list(reversed(words))
    while left:
        word = left.pop()
        if _is_digits(word):
            raise argparse.ArgumentTypeError(
                f"'{word}' is a port without a host; write it like localhost:{word}"
            )
        host, port = split_address(word)
        if port is None and left and _is_digits(left[-1]):
            port = left.pop()
        if not port:
            in_brackets = f"[{host}]" if ":" in host else host
            raise argparse.ArgumentTypeError(
                f"'{word}' has no port; write it like {in_brackets or 'localhost'}:5301"
            )
        server = host, port_number(port)
        if (plain := (host.lower().removesuffix("."), server[1])) in known:
            raise argparse.ArgumentTypeError(
                f"the table server {address_text(server)} is given twice; once is enough"
            )
        known.add(plain)
        servers.append(server)
    return tuple(servers)


def _is_digits(word: str) -> bool:
    return word.isascii() and word.isdigit()


# -- resolvers -------------------------------------------------------------------------------------


def resolver_words(text: str) -> tuple[ResolverOption, ...]:
    """Return the resolvers that one value of the flag names: several where it is a file. Raises
    argparse.ArgumentTypeError."""
    name, equals, where = text.partition("=")
    if names_file(text):
        if equals and "/" not in name:
            raise argparse.ArgumentTypeError(f"'{where}' is a file; it is written without a name")
        return _resolvers_of(text)
    if not equals or is_url(name):  # in a URL it has another meaning
        return (_resolver_at(text),)
    _check_name(name)
    return (replace(_resolver_at(where), name=name),)


def names_file(text: str) -> bool:
    """Return whether one value of the flag is a file that names resolvers."""
    return "/" in text and not is_url(text)


def is_url(text: str) -> bool:
    """Return whether one value of the flag, or a part of it, has a URL."""
    return "://" in text


def check_alike(one: ResolverOption, other: ResolverOption) -> None:
    """Check that two ways to write where one resolver is agree whether it is asked by TLS, and whom
    it has to be then. Raises Failure."""
    if one.identity != other.identity:
        raise Failure(
            f"{one.where} and {other.where} are one resolver, and say differently how it is asked; "
            "write both alike",
            USAGE,
        )


def check_names(resolvers: Sequence[ResolverOption]) -> str:
    """Return what is wrong with the names of all resolvers together; empty if nothing is."""
    known: dict[str, str] = {}
    for name in filter(None, (resolver.name for resolver in resolvers)):
        if name.lower() in known:
            return f"two resolvers are called {name!r}; give one of them another name"
        known[name.lower()] = name
    return ""


def _check_name(name: str) -> None:
    if not LEGAL_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"'{name}' is no name for a resolver: it has letters, digits, - and _, a letter first, "
            "32 at most"
        )
    if is_taken(name):
        raise argparse.ArgumentTypeError(
            f"'{name}' is a name that something else may have in logs and metrics; take another"
        )


def _resolvers_of(path: str) -> tuple[ResolverOption, ...]:
    try:
        addresses = read_nameservers(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read '{path}': {reason(error)}") from None
    if not addresses:
        raise argparse.ArgumentTypeError(
            f"'{path}' has no line like 'nameserver 192.0.2.1', so no resolver"
        )
    found = []
    for address in addresses:
        try:
            found.append(ResolverOption(address, DNS_PORT, file=path))
            _check_address(address, ipaddress.ip_address(address))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"'{path}' has a nameserver that is no address: '{address}'"
            ) from None
    return tuple(found)


def _resolver_at(text: str) -> ResolverOption:
    """Read where one resolver is: 127.0.0.1, 127.0.0.1:5354, ::1, [::1]:5354, fe80::1%eth0, or a
    host name in place of the address; or a URL."""
    if is_url(text):
        return _resolver_by_url(text)
    host, port = split_address(text)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if not _is_host_name(host):
            raise argparse.ArgumentTypeError(
                f"'{text}' is neither an address nor a host name; {_WRITE_IT_LIKE}"
            ) from None
    else:
        _check_address(text, address)
    return ResolverOption(host, DNS_PORT if port is None else port_number(port))


def _resolver_by_url(text: str) -> ResolverOption:
    """Read where a resolver is that is asked by TLS: tls://192.0.2.1, tls://[2001:db8::1]:853, each
    with #dns.example behind it where its certificate is not for the address."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() != _TLS:
        kind = _OTHER_KINDS.get(scheme.lower())
        what = f"is {kind}, which LS does not speak" if kind else "is a URL that LS does not know"
        raise argparse.ArgumentTypeError(
            f"'{text}' {what}; write {_TLS_LIKE} for DNS over TLS, or 9.9.9.9 for plain DNS"
        )
    where, sign, name = rest.partition("#")
    host, port = split_address(where)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if _is_host_name(host):
            raise argparse.ArgumentTypeError(
                f"'{text}' has no address, and to look one up would trust whoever says it; write "
                f"the address of {host} in its place and #{host} behind it, like {_TLS_LIKE}"
            ) from None
        raise argparse.ArgumentTypeError(
            f"'{text}' has no address behind tls://; write it like {_TLS_LIKE} or "
            f"tls://[2620:fe::fe]:{_TLS_PORT}#dns.quad9.net"
        ) from None
    _check_address(host, address)
    known_as = _certificate_name(text, name) if sign else str(address).partition("%")[0]
    at_port = _TLS_PORT if port is None else port_number(port)
    return ResolverOption(str(address), at_port, identity=ServerIdentity(known_as))


def _certificate_name(text: str, name: str) -> str:
    """Return the name that a certificate has to be for, as certificates have it (IDNA)."""
    if not _is_host_name(name):
        what = f"'{name}' is no host name" if name else f"'{text}' has no host name behind its #"
        raise argparse.ArgumentTypeError(
            f"{what}; write the one that the certificate is for, like {_TLS_LIKE}, or leave out "
            "the # where it is for the address"
        )
    return name.encode("idna").decode("ascii").lower().removesuffix(".")


def _is_host_name(host: str) -> bool:
    try:
        spelled = host.encode("idna").decode("ascii").removesuffix(".")
    except UnicodeError:
        return False
    return _HOST.fullmatch(spelled) is not None and len(spelled) <= NAME_BYTES_MAX


def _check_address(text: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Raise argparse.ArgumentTypeError where nobody can be asked at this address."""
    if trouble := _trouble(address):
        raise argparse.ArgumentTypeError(f"'{text}' {trouble}")


def _trouble(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return why nobody can be asked at this address, and what to write instead; empty if a server
    can."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return f"is an IPv4 address; write it as {mapped}"
    if address.is_unspecified:
        here = "127.0.0.1" if address.version == 4 else "::1"
        return f"stands for every address of this machine; write {here}"
    if address.is_multicast or address == _BROADCAST:
        return "is the address of many machines; write that of one resolver"
    if address.version == 6 and address.is_link_local and address.scope_id is None:
        return f"needs the interface that it is at; write it like {address}%eth0"
    return ""
