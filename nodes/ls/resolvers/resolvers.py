"""Resolvers: all that the load balancer asks by DNS. They are called DNS1, DNS2, ...

Not here: one of them (`resolver_link.py`).
"""

from core.environment import Environment
from nodes.ls.link import Link
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.server_set import server_at
from nodes.ls.setup import Setup
from nodes.ls.upstream import Upstream


def make_resolvers(
    setup: Setup, env: Environment, by_conn: dict[str, Upstream], interest: QuestionInterest
) -> list[ResolverLink]:
    """Make one for each address. Each puts itself into `by_conn` by the names of the connections
    that it has, or is dialling."""
    resolvers, where = [], setup.where()
    for number, address in enumerate(setup.resolvers, 1):
        bit = server_at(len(setup.servers) + number - 1)
        name = f"DNS{number}"
        link = Link(name, (address,), env, bit, where[name])
        resolvers.append(ResolverLink(env, link, interest, by_conn, setup.grace_s))
    return resolvers
