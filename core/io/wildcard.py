"""A UDP socket at a wildcard address: replies leave from the address that was asked.

A client drops a reply from any other address than the one it asked (RFC 2181, section 4.1). A
socket that is bound to 0.0.0.0 or :: sends from the address that the routes prefer, so the kernel
is asked which address each datagram came to, and told which one a reply has to leave from
(IP_PKTINFO, man 7 ip; IPV6_RECVPKTINFO, RFC 3542, section 6).

Rules. Only a wildcard socket does this: it costs about 1 us for each datagram either way. A reply
to a broadcast or multicast query leaves from an address of the system's choice: those are nobody's
own. An interface is only named with a link-local address, which means nothing without one; else the
routes decide. A reply from an IPv4 address that is gone by then cannot be sent, and nobody would
take it from another. Of IPv6 the kernel would refuse what a local route makes ours (man 8
ip-route), too, if it were not told to believe us.

Python has no name for IP_PKTINFO, which is Linux's; on other systems an IPv4 wildcard socket
replies as the routes say.

Not here: who is heard, and what becomes of a datagram that cannot be sent (`core/io/datagrams.py`).
"""

import socket
import struct
import sys
from contextlib import suppress
from typing import Any

_IP_PKTINFO = 8  # of Linux
_IPV6_FREEBIND = 78  # of Linux, from 4.15 on
_PKTINFO = struct.Struct("=I4s4s")  # interface, our address (man 7 ip: ipi_spec_dst), the header's
_PKTINFO_V6 = struct.Struct("=16sI")  # the header's address, interface
_REMEMBERED_MAX = 1_024  # addresses of ours: few machines have ten

Control = tuple[tuple[int, int, bytes], ...]  # of sendmsg(): from where to send


class WildcardSocket(socket.socket):
    """Takes over a bound UDP socket. Raises OSError.

    Whence a datagram came is (numeric host of the peer, the peer's socket address, Control): whole,
    it is whither to send the reply.
    """

    def __init__(self, bound: socket.socket) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._controls: dict[bytes, Control] = {}  # by what the kernel tells with a datagram
        self._is_v6 = self.family == socket.AF_INET6
        self._room = socket.CMSG_SPACE(_PKTINFO_V6.size if self._is_v6 else _PKTINFO.size)
        try:
            if self._is_v6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                if sys.platform == "linux":
                    with suppress(OSError):  # an older kernel
                        self.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            elif sys.platform == "linux":
                self.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        except OSError:
            self.close()
            raise

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        """Receive as by any socket; for the address see above."""
        data, told, _, peer = self.recvmsg(bufsize, self._room, flags)
        about = told[0][2] if told else b""
        control = self._controls.get(about)
        if control is None:
            if len(self._controls) == _REMEMBERED_MAX:
                self._controls.clear()
            control = self._controls[about] = self._control(about)
        return data, (peer[0], peer, control)

    def sendto(self, data: Any, whither: Any, *_: object) -> int:  # noqa: ANN401
        """Send as by any socket; `whither` is what `recvfrom` returned of a datagram."""
        _, peer, control = whither
        return self.sendmsg((data,), control, 0, peer)

    def _control(self, about: bytes) -> Control:
        """Return the control message that makes a reply leave from the address this came to."""
        if not about:
            return ()
        if not self._is_v6:
            _, ours, _ = _PKTINFO.unpack(about)
            return ((socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, ours, bytes(4))),)
        ours, interface = _PKTINFO_V6.unpack(about)
        if ours[0] == 0xFF:  # multicast
            return ()
        is_link_local = ours[0] == 0xFE and ours[1] & 0xC0 == 0x80
        data = _PKTINFO_V6.pack(ours, interface if is_link_local else 0)
        return ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data),)
