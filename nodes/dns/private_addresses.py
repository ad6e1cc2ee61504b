"""Private addresses in replies of resolvers, which only a local network can mean (DNS rebinding).

A page of a stranger may let its own name lead to an address of the visitor's network, and read with
the visitor's browser what is served there. Private are the networks below, and IPv4 addresses of
them that are written as IPv6 (::ffff:10.0.0.1).

All A and AAAA records of the answer section count, whatever they are records of: a client gets all
of them. A reply is walked through when somebody asks, since most LSs never do. Not here: whose
replies may not have any (`nodes/ls/resolvers/reply_ranks.py`).
"""

from ipaddress import IPv4Address, IPv6Address, ip_network

from nodes.dns.codes import ExtendedError, Flag, Rcode, RdataType, extended_error
from nodes.dns.records import places
from nodes.dns.reply import DnsReply

PRIVATE = (
    "0.0.0.0/8",  # this host, on this network (RFC 1122, section 3.2.1.3)
    "10.0.0.0/8",  # RFC 1918
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local (RFC 3927)
    "172.16.0.0/12",  # RFC 1918
    "192.168.0.0/16",  # RFC 1918
    "::/128",  # unspecified
    "::1/128",  # loopback
    "fc00::/7",  # unique local (RFC 4193)
    "fe80::/10",  # link-local
)
_NETWORKS = [
    (len(network.network_address.packed), int(network.network_address), int(network.netmask))
    for network in map(ip_network, PRIVATE)
]
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address that is written as IPv6
_MAKE: dict[tuple[int, int], type[IPv4Address] | type[IPv6Address]] = {
    (RdataType.A, 4): IPv4Address,
    (RdataType.AAAA, 16): IPv6Address,
}
_IS_BLOCKED = extended_error(ExtendedError.BLOCKED)
_KEPT_FLAGS = Flag.QR | Flag.RA | Flag.RD | Flag.CD


def private_address(reply: DnsReply) -> IPv4Address | IPv6Address | None:
    """Return the first private address of the answer section of a whole reply; None for none."""
    body = reply.body
    for rdtype, _, at, size in places(body, reply.counts[0]):
        make = _MAKE.get((rdtype, size))
        if make is not None and is_private(body[at : at + size]):
            return make(body[at : at + size])
    return None


def is_private(packed: bytes) -> bool:
    """Return whether an address, as it travels, is of a private network."""
    if packed.startswith(_MAPPED):
        packed = packed[len(_MAPPED) :]
    number, size = int.from_bytes(packed), len(packed)
    return any(
        size == network_size and number & mask == network
        for network_size, network, mask in _NETWORKS
    )


def blocked(reply: DnsReply) -> DnsReply:
    """Return what is relayed in place of a reply with a private address, if nothing better is:
    SERVFAIL, and why (RFC 8914, section 4.16)."""
    flags = reply.flags & _KEPT_FLAGS | Rcode.SERVFAIL
    instead = DnsReply(reply.section, flags, is_cut=False)
    instead.options = _IS_BLOCKED
    return instead
