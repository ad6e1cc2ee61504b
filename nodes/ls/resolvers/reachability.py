"""Reachability: whether the network says that nothing gets to one resolver.

The network says so of one socket of datagrams, which is gone then (`core/io/datagrams.py`): nobody
listens at the resolver's port, a firewall forbids it, there is no way, or our own address has
changed. Which of these it is makes no difference:

- All sockets to the resolver are replaced, and what was asked by them is asked again by new ones,
  which have the address that we have now. A single error is no proof that the resolver is not
  there: it may be about one datagram of many, or forged. A question that has been asked again so
  `resends_max` times, since its sockets break each time, fails: something refuses just that one.
- When a socket breaks again and nothing has come from the resolver by UDP meanwhile, it is
  *refused*: it is DOWN, and what was asked of it fails. It is dialled again after `probe_s`, and
  then asked the question that it was asked last, each `probe_s`. (ICMP is rate limited, RFC 1812,
  section 4.3.2.8, so not each of these makes an error.) It is UP when something comes.

An ICMP error quotes what it is about, and Linux compares addresses and ports, so a forger has to
guess our port; then we have other ports, and what was asked is asked again. To have questions fail,
one of those has to be guessed as well, before the resolver's next reply; and until it replies to
the next probe it is DOWN. Nobody is told anything false.

Not here: what is asked again (`nodes/ls/resolvers/socket_replacement.py`), and how the resolver
stands (`nodes/ls/link.py`).
"""

import math


class Reachability:
    """Whether something gets to one resolver: yes, in doubt, or refused."""

    def __init__(self, probe_s: float) -> None:
        self._probe_s = probe_s
        self._probed_at = -math.inf
        self.in_doubt = False  # a socket has broken, and nothing has come since
        self.is_refused = False  # another socket has broken as well
        self.question = b""  # that a refused resolver is asked, to see whether it is back

    def broke(self) -> bool:
        """Record that a socket has broken; return whether another one had before."""
        self.is_refused = self.in_doubt and bool(self.question)
        was_in_doubt, self.in_doubt = self.in_doubt, True
        return was_in_doubt

    def heard(self) -> bool:
        """Record that something has come; return whether it was refused."""
        was_refused, self.is_refused = self.is_refused, False
        self.in_doubt = False
        return was_refused

    def start_over(self) -> None:
        """Know nothing: it is elsewhere now."""
        self.in_doubt = self.is_refused = False
        self.question = b""

    def due(self) -> float:
        """Return when to ask whether it is back; infinite for never."""
        return self._probed_at + self._probe_s if self.is_refused else math.inf

    def probed(self, now: float) -> None:
        """Record that it is asked whether it is back."""
        self._probed_at = now
