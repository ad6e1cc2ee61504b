"""Validator belief: whether one resolver is believed when it says that a name is bogus.

A validator whose clock is wrong, or whose trust anchor is old, finds every signed name bogus, and
would take all of them from everybody. A resolver of whose last 200 replies more than 5 % were bogus
is therefore not believed: its word is a SERVFAIL then, and another's answer counts. All of its
replies count for this, also those that come late. It is believed again once they are fewer.

Not here: which reply is bogus (`nodes/dns/reply.py`), and what follows (`reply_ranks.py`).
"""

from collections import deque

from core.effects import Effect
from core.operator import Level, Report

_LAST = 200  # the last ones, that are looked at
_BOGUS_MAX = 10  # of those: 5 %


class ValidatorBelief:
    """Replies of the resolver called `name`, counted: in each read first those that are bogus, by
    where they stand in it (`takes_bogus`), and then all (`heard`)."""

    __slots__ = ("_bogus", "_heard", "_is_said", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._heard = 0  # replies, up to the last read
        # The numbers of the last replies that were bogus, one more than there may be.
        self._bogus: deque[int] = deque(maxlen=_BOGUS_MAX + 1)
        self._is_said = True  # whether it is believed, as the log has it

    def takes_bogus(self, before: int) -> bool:
        """Take a bogus reply, the one behind so many of this read; return whether it is
        believed."""
        number = self._heard + before
        self._bogus.append(number)
        return self._is_believed(number + 1)

    def _is_believed(self, heard: int) -> bool:
        bogus = self._bogus
        return len(bogus) <= _BOGUS_MAX or bogus[0] < heard - _LAST

    def heard(self, count: int) -> list[Effect]:
        """Take the end of a read of so many replies; return what there is to say in the log."""
        self._heard += count
        if not self._bogus:
            return []
        is_believed = self._is_believed(self._heard)
        if is_believed is self._is_said:
            return []
        self._is_said = is_believed
        about = {"server": self._name}
        if is_believed:
            text = f"{self._name} is believed again when it says that a name is bogus (DNSSEC)"
            return [Report(text, Level.INFO, "validator_believed", about)]
        text = (
            f"{self._name} says of more than {_BOGUS_MAX} of its last {_LAST} replies that they "
            "are bogus (DNSSEC): it is not believed, and these count as SERVFAIL; is its clock "
            "right?"
        )
        return [Report(text, Level.WARNING, "validator_not_believed", about)]
