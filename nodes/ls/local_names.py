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
from nodes.ls.by_name import ByName
from nodes.ls.server_set import NO_SERVERS, ServerSet


class LocalNames(ByName[Special | None]):
    """The special name of each question, or None. `leaked`: special names of which all are asked.
    `routes`: as those of `Routes`."""

    def __init__(self, leaked: Collection[bytes], routes: Mapping[bytes, ServerSet | None]) -> None:
        special_names = {
            name: None if name in leaked else special for name, special in SPECIAL_NAMES.items()
        }
        by_name: dict[bytes, Special | None] = dict(special_names)
        for name in SPECIAL_NAMES:
            route = nearest(name, routes)
            if route is not None and routes[route] is not None:
                del by_name[name]
        for name, servers in routes.items():
            if servers is not None:
                by_name[name] = NOBODYS if servers == NO_SERVERS else None
            else:
                special_name = nearest(name, special_names)
                by_name[name] = None if special_name is None else special_names[special_name]
        super().__init__(by_name, None)
