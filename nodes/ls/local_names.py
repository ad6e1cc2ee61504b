"""Local names: those of which LS knows itself what there is to say, since nobody is asked for them,
or nobody out in the world.

These are the special names, but for those that are leaked, and the names that have a route to
nobody. A route goes over the special names that it leads to: all that are its name, or below. As
among routes the longest name counts that a question is about, or is below.

Not here: what is special about a name (`nodes/dns/special_names.py`), and what is said
(`own_words.py`).
"""

from collections.abc import Collection, Mapping

from core.protocol.names import nearest
from nodes.dns.special_names import NOBODYS, SPECIAL_NAMES, Special
from nodes.ls.server_set import NO_SERVERS, ServerSet

_QUESTIONS_MAX = 16_384  # questions of which it is remembered whether their names are local


class LocalNames(dict[bytes, Special | None]):
    """The special name, or None, of each question that was asked lately. `leaked`: special names
    of which all are asked. `routes`: as those of `Routes`."""

    def __init__(self, leaked: Collection[bytes], routes: Mapping[bytes, ServerSet | None]) -> None:
        super().__init__()
        self._by_name: dict[bytes, Special | None] = {}
        for name, special in SPECIAL_NAMES.items():
            self._by_name[name] = None if name in leaked else special
        special_names = dict(self._by_name)
        for name in SPECIAL_NAMES:
            route = nearest(name, routes)
            if route is not None and routes[route] is not None:
                del self._by_name[name]
        for name, servers in routes.items():
            if servers is not None:
                self._by_name[name] = NOBODYS if servers == NO_SERVERS else None
            elif (special_name := nearest(name, special_names)) is not None:
                self._by_name[name] = special_names[special_name]
            else:
                self._by_name[name] = None

    def __missing__(self, question: bytes) -> Special | None:
        if len(self) == _QUESTIONS_MAX:
            self.clear()
        name = nearest(question, self._by_name)
        found = self[question] = None if name is None else self._by_name[name]
        return found
