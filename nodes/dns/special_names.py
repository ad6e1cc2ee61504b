"""Special names: those that a resolver out in the world must not be asked for (RFC 6761; RFC 6303).

Some are nobody's: LS knows all that there is to say of them. `resolver.arpa` is how a DNS client
finds the encrypted service of whom it asks, and that would lead it past LS (RFC 9462, section 6.4).
The rest belongs to a network: a router may know `nas.home.arpa`, or which host has 192.168.1.7. A
server in the world does not, and learns what is being looked for.

A name counts with all that is below it.

Not here: which special name a question is about, by the options of LS (`nodes/ls/local_names.py`).
"""

from dataclasses import dataclass
from enum import Enum

from core.protocol.names import Type, type_of
from nodes.dns.codes import Rcode
from nodes.dns.question import TableAnswer, is_beyond_tables, line_of
from nodes.dns.reply import DnsReply, ReplyResult


class Scope(Enum):
    """Resolvers that may be asked for a special name."""

    NOBODY = "it means the same everywhere"
    NETWORK = "it means something within a network"


@dataclass(frozen=True, slots=True)
class Special:
    """A special name: who may be asked for it, and what is said where nobody is. `is_here`: it has
    the addresses of this machine."""

    scope: Scope
    result: ReplyResult = ReplyResult.NOT_FOUND
    is_here: bool = False


NOBODYS = Special(Scope.NOBODY)
_NETWORKS = Special(Scope.NETWORK)
_LOOPBACK = {Type.A: TableAnswer(b"127.0.0.1"), Type.AAAA: TableAnswer(b"::1")}

SPECIAL_NAMES: dict[bytes, Special] = {
    b"resolver.arpa": Special(Scope.NOBODY, ReplyResult.NO_DATA),  # RFC 9462, section 6.4
    b"localhost": Special(Scope.NOBODY, ReplyResult.NO_DATA, is_here=True),  # RFC 6761, section 6.3
    b"invalid": NOBODYS,  # RFC 6761, section 6.4
    b"test": NOBODYS,  # RFC 6761, section 6.2
    b"onion": NOBODYS,  # RFC 7686
    b"local": _NETWORKS,  # RFC 6762
    b"home.arpa": _NETWORKS,  # RFC 8375
    b"internal": _NETWORKS,  # ICANN, 2024
}
_REVERSE = (  # RFC 6303, section 4; RFC 7793 (100.64.0.0/10)
    "0 10 127 254.169 168.192 255.255.255.255 2.0.192 100.51.198 113.0.203",
    " ".join(f"{part}.172" for part in range(16, 32)),
    " ".join(f"{part}.100" for part in range(64, 128)),
)
SPECIAL_NAMES |= {
    f"{network}.in-addr.arpa".encode(): _NETWORKS for row in _REVERSE for network in row.split()
}
_REVERSE_IPV6 = (  # RFC 6303, section 4
    "0." * 32,  # unspecified
    "1." + "0." * 31,  # loopback
    *("c.f.", "d.f."),  # unique local
    *("8.e.f.", "9.e.f.", "a.e.f.", "b.e.f."),  # link-local
    "8.b.d.0.1.0.0.2.",  # documentation
)
SPECIAL_NAMES |= {f"{network}ip6.arpa".encode(): _NETWORKS for network in _REVERSE_IPV6}


def own_reply(question: bytes, special: Special) -> tuple[ReplyResult, DnsReply | TableAnswer]:
    """Return what LS says itself to a question about such a name, and what that is."""
    line = line_of(question)
    if special.is_here and line is not None and not is_beyond_tables(question):
        return ReplyResult.DATA, _LOOPBACK[type_of(line)]
    result = special.result
    rcode = Rcode.NXDOMAIN if result is ReplyResult.NOT_FOUND else Rcode.NOERROR
    reply = DnsReply(b"", rcode, is_cut=False)
    reply.result = result
    return result, reply
