"""Barred: the servers that are not to be asked an open question, for whatever reason.

There are three: the question belongs to other resolvers (`routes.py`), LS has a word on it itself,
so it is *withheld* from those that could say no more (`own_words.py`), or servers of an earlier
tier have not had their turn yet (`tiers/tier_policy.py`). Those that ask a server, and those that
wait for it, go by the same answer.

Without routes, and while nothing is withheld or has a later tier, that costs three looks at what is
empty.

Not here: servers that have no words for a question (`upstream.py`, `can_be_asked`).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from operator import or_

from nodes.ls.link import Link
from nodes.ls.policy import Shares
from nodes.ls.server_set import NO_SERVERS, ServerSet, common, union


class Barred:
    """The servers that are barred from each question. `routes`: the resolvers that it does not
    belong to; None: all belong to all. `withheld` and `later` have entries of open questions."""

    def __init__(self, routes: Mapping[bytes, ServerSet] | None = None) -> None:
        self.routes = routes
        self.withheld: dict[bytes, ServerSet] = {}
        self.later: dict[bytes, ServerSet] = {}

    def from_all_tiers(self, question: bytes) -> ServerSet:
        """Return those that are barred from this whichever tier has its turn."""
        servers = self.withheld.get(question, NO_SERVERS)
        return servers if self.routes is None else servers | self.routes[question]

    def of(self, question: bytes) -> ServerSet:
        """Return those that are barred from this."""
        return self.from_all_tiers(question) | self.later.get(question, NO_SERVERS)

    def of_each(self, questions: Sequence[bytes]) -> list[ServerSet] | None:
        """Return those that are barred from each of these; None: nobody is from any."""
        found = None if self.routes is None else list(map(self.routes.__getitem__, questions))
        for some in (self.withheld, self.later):
            if some:
                more = map(some.get, questions, repeat(NO_SERVERS))
                found = list(more) if found is None else list(map(or_, found, more))
        return found

    def askable(self, link: Link, questions: list[bytes]) -> list[bytes]:
        """Return those of these that a server is not barred from: usually the same list."""
        barred = self.of_each(questions)
        if barred is None or not any(servers & link.bit for servers in barred):
            return questions
        return [one for one, bar in zip(questions, barred, strict=True) if not bar & link.bit]

    def let_pass(self, shares: Shares) -> Iterator[tuple[Link, list[bytes]]]:
        """Leave out of shares what the servers are barred from. Neighbours that are the same list
        are looked up once."""
        known: list[bytes] | None = None
        barred: list[ServerSet] | None = None
        for link, share in shares:
            if share is not known:
                known, barred = share, self.of_each(share)
                some = each = barred[0] if barred else NO_SERVERS
                if barred and barred.count(some) < len(barred):
                    kinds = set(barred)
                    some, each = union(kinds), common(kinds)
            if barred is None or not some & link.bit:
                yield link, share
            elif not each & link.bit:
                yield link, [q for q, bar in zip(share, barred, strict=True) if not bar & link.bit]

    def still_asked(
        self, link: Link, questions: Sequence[bytes], admitted: list[bool] | None
    ) -> list[bool] | None:
        """Return which of these, of those that are `admitted` (None: all), the server of a link is
        not barred from; None: all."""
        barred = self.of_each(questions)
        if barred is None or not any(servers & link.bit for servers in barred):
            return admitted
        both = zip(admitted or [True] * len(questions), barred, strict=True)
        return [is_admitted and not servers & link.bit for is_admitted, servers in both]
