"""Resolvers: all that the load balancer asks by DNS.

Not here: one of them (`resolver_link.py`).
"""

from core.environment import Environment
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.reply_ranks import ReplyRanks
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.setup import Setup
from nodes.ls.upstream import Upstream


def make_resolvers(
    setup: Setup, env: Environment, by_conn: dict[str, Upstream], interest: QuestionInterest
) -> list[ResolverLink]:
    """Make all. Each puts itself into `by_conn` by the names of the connections that it has, or is
    dialling."""
    resolvers: list[ResolverLink] = []
    for number, server in enumerate(setup.resolvers, len(setup.servers)):
        link = server.link(env, number)
        bars_private = server.name in setup.private_from
        ranks = ReplyRanks(server.name, trusts_data=setup.trusts_data, bars_private=bars_private)
        one = ResolverLink(env, link, interest, by_conn, setup.grace_s, server.host, ranks)
        resolvers.append(one)
    return resolvers
