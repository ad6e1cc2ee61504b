"""Parts: what a load balancer is put together from, in the order in which it tells them.

A further part is a file, and an entry here.

Not here: what the load balancer does with them (`load_balancer.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.environment import Environment
from core.owed import Owed
from nodes.ls.hedging.fitness import HedgingFitness
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.negatives import HeldNegatives
from nodes.ls.observer import Observer, Timed
from nodes.ls.policy import Policy
from nodes.ls.questions import Questions
from nodes.ls.race_policy import RacePolicy
from nodes.ls.race_samples import RaceSamples
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolver_link import ResolverLink
from nodes.ls.resolvers.resolvers import make_resolvers
from nodes.ls.setup import Setup, table_links
from nodes.ls.table_link import TableLink
from nodes.ls.upstream import Upstream
from nodes.ls.upstreams import Upstreams


@dataclass(slots=True)
class Parts:
    """The parts of one load balancer. `is_wanted(question)`: whether a reply to it is of interest,
    to clients or to samples. `observers` are told of a happening in this order, and
    `timed` are woken in this order."""

    questions: Questions
    upstreams: Upstreams
    table_links: list[TableLink]
    resolvers: list[ResolverLink]
    negatives: HeldNegatives
    policy: Policy
    hedging: HedgePolicy | None
    samples: RaceSamples | None
    equivalents: LineEquivalents | None
    is_wanted: Callable[[bytes], bool]
    observers: list[Observer]
    timed: list[Timed]


def make_parts(setup: Setup, env: Environment, owed: Owed) -> Parts:
    """Make them all."""
    bounds = env.bounds
    questions = Questions(bounds, owed)
    by_conn: dict[str, Upstream] = {}
    samples = _samples(setup, env)

    def is_wanted(question: bytes) -> bool:
        """A reply to it is of interest: somebody waits for it, or its race is watched."""
        return questions.is_open(question) or (samples is not None and samples.watches(question))

    both = bool(setup.servers and setup.resolvers)
    equivalents = LineEquivalents() if both else None
    tables = table_links(setup, env, equivalents, is_wanted)
    by_conn |= {table.link.conn: table for table in tables}
    interest = QuestionInterest(
        is_wanted,
        lambda question: negatives.is_held(question),
        lambda question: negatives.was_told(question),
        lambda link, questions: policy.admits(link, questions),
    )
    resolvers = make_resolvers(setup, env, by_conn, interest)
    upstreams = Upstreams([*tables, *resolvers], by_conn)
    negatives = HeldNegatives(questions, upstreams)
    hedging = None
    policy: Policy
    if setup.extra_load is None:
        policy = RacePolicy(upstreams.links, questions, bounds.waiting_bytes_high)
    else:
        limits = upstreams.limits if both else None
        policy = hedging = HedgePolicy(env, upstreams.links, setup.extra_load, limits)
    observers: list[Observer] = []
    timed: list[Timed] = [negatives, upstreams, questions]
    if samples is not None:
        observers.append(samples)
        timed.append(samples)
    if hedging is not None:
        observers.append(HedgingFitness(questions, negatives))
        timed.append(hedging)
    observers.append(negatives)
    if equivalents is not None:
        observers.append(equivalents)
    observers.append(policy)
    return Parts(
        questions=questions,
        upstreams=upstreams,
        table_links=tables,
        resolvers=resolvers,
        negatives=negatives,
        policy=policy,
        hedging=hedging,
        samples=samples,
        equivalents=equivalents,
        is_wanted=is_wanted,
        observers=observers,
        timed=timed,
    )


def _samples(setup: Setup, env: Environment) -> RaceSamples | None:
    if not setup.sample:
        return None
    names = [f"TS{number}" for number in range(1, len(setup.servers) + 1)]
    names += [f"DNS{number}" for number in range(1, len(setup.resolvers) + 1)]
    policy = "race" if setup.extra_load is None else "hedge"
    return RaceSamples(env, names, setup.sample, policy)
