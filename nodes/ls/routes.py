"""Routes: which resolvers a question belongs to, by its name.

A route is a name, and the resolvers that are asked for it and for all that is below it: these and
no others, whatever becomes of them. Of several routes the most specific one holds, which is that of
the longest name. Resolvers that are no route's alone are asked for all names without a route.

A route to nobody has no resolvers: LS says itself that there is no such name (`own_words.py`). A
route back to the default is as if there were none.

Not here: how routes are written, networks among them (`nodes/cli/route_arguments.py`); that nobody
else is asked (`barred.py`).
"""

from collections.abc import Mapping

from core.protocol.names import nearest
from nodes.ls.server_set import ServerSet, without

_QUESTIONS_MAX = 16_384  # questions of which it is remembered where they belong


class Routes(dict[bytes, ServerSet]):
    """The resolvers that each question does not belong to, of questions that were asked lately.

    `by_name`: the resolvers that a name belongs to; None: those of all names without a route.
    `default`: these. `resolvers`: all.
    """

    def __init__(
        self, by_name: Mapping[bytes, ServerSet | None], default: ServerSet, resolvers: ServerSet
    ) -> None:
        super().__init__()
        self._default = without(resolvers, default)
        self._by_name = {
            name: self._default if servers is None else without(resolvers, servers)
            for name, servers in by_name.items()
        }

    def __missing__(self, question: bytes) -> ServerSet:
        if len(self) == _QUESTIONS_MAX:
            self.clear()
        name = nearest(question, self._by_name)
        found = self[question] = self._default if name is None else self._by_name[name]
        return found
