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

from nodes.ls.by_name import ByName
from nodes.ls.server_set import ServerSet, without


class Routes(ByName[ServerSet]):
    """The resolvers that each question does not belong to.

    `by_name`: the resolvers that a name belongs to; None: those of all names without a route.
    `default`: these. `resolvers`: all.
    """

    def __init__(
        self, by_name: Mapping[bytes, ServerSet | None], default: ServerSet, resolvers: ServerSet
    ) -> None:
        others = without(resolvers, default)
        barred = {
            name: others if servers is None else without(resolvers, servers)
            for name, servers in by_name.items()
        }
        super().__init__(barred, others)
