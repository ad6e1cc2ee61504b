"""Parts: what a load balancer is put together from, in the order in which it tells them.

A further part is a file, and an entry here.

Not here: what the load balancer does with them (`load_balancer.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.environment import Environment
from core.owed import Owed
from nodes.ls.barred import Barred
from nodes.ls.cache.cache import Cache
from nodes.ls.hedging.fitness import HedgingFitness
from nodes.ls.hedging.hedge_policy import HedgePolicy
from nodes.ls.host_lookups import HostLookups
from nodes.ls.local_names import LocalNames
from nodes.ls.monitored import Monitored
from nodes.ls.negatives import HeldNegatives
from nodes.ls.observer import Observer, Timed
from nodes.ls.own_words import OwnWords
from nodes.ls.policy import Policy
from nodes.ls.question_metrics import QuestionMetrics
from nodes.ls.questions import Questions
from nodes.ls.race_policy import RacePolicy
from nodes.ls.race_samples import RaceSamples
from nodes.ls.resolvers.line_equivalents import LineEquivalents
from nodes.ls.resolvers.reply_matcher import QuestionInterest
from nodes.ls.resolvers.resolvers import make_resolvers
from nodes.ls.routes import Routes
from nodes.ls.server_set import ServerSet, server_at
from nodes.ls.setup import Setup, table_links
from nodes.ls.tiers.own_turn import OwnTurn
from nodes.ls.tiers.tier_policy import TierPolicy
from nodes.ls.upstream import Upstream
from nodes.ls.upstreams import Upstreams
from nodes.ls.waits import Waits

_PartT = TypeVar("_PartT")


@dataclass(slots=True)
class Parts:
    """The parts of one load balancer: by name, those that others need by name; and by contract, in
    the order in which they are told of a happening, woken, and shown."""

    questions: Questions
    upstreams: Upstreams
    negatives: HeldNegatives
    own_words: OwnWords | None  # where there are resolvers
    cache: Cache | None
    policy: Policy
    lookups: HostLookups
    observers: tuple[Observer, ...]
    timed: tuple[Timed, ...]
    monitored: tuple[Monitored, ...]


def make_parts(
    setup: Setup, env: Environment, owed: Owed, service: Monitored, faces: Sequence[str]
) -> Parts:
    """Make all parts. `service`: the metrics of what serves the clients, through these faces."""
    bounds = env.bounds
    waits = Waits(faces)
    questions = Questions(bounds, owed, waits)
    samples = own_words = cache = None

    def is_wanted(question: bytes) -> bool:
        """Return whether somebody waits for a reply to it, or its race is watched."""
        return (
            questions.is_open(question)
            or (cache is not None and cache.wants(question))
            or (samples is not None and samples.watches(question))
        )

    equivalents = LineEquivalents() if setup.servers and setup.resolvers else None
    interest = QuestionInterest(
        is_wanted,
        lambda question: negatives.is_held(question),
        lambda question: negatives.early.was_told(question),
        lambda link, asked: upstreams.barred.still_asked(link, asked, policy.admits(link, asked)),
    )
    tables = table_links(setup, env, equivalents, is_wanted)
    by_conn: dict[str, Upstream] = {table.link.conn: table for table in tables}
    routes = setup.routes_to()
    servers = [*tables, *make_resolvers(setup, env, by_conn, interest)]
    upstreams = _make_upstreams(setup, servers, by_conn, routes)
    own_turn = _make_own_turn(setup, upstreams)
    negatives = HeldNegatives(questions, upstreams, bounds)
    if setup.resolvers and setup.own_words.cache_bytes:
        cache = Cache(setup.own_words, bounds, upstreams, questions.is_open)
    if setup.resolvers:
        local_names = LocalNames(setup.own_words.leaked, routes)
        own_words = OwnWords(
            upstreams, cache, local_names, setup.default_resolvers, questions.all_open, own_turn
        )
    policy, fitness = _make_policy(setup, env, upstreams, questions, negatives, own_turn)
    if setup.sample:
        samples = RaceSamples(env, upstreams.all, setup.sample, policy.name)
    observers = _present(
        samples, fitness, cache, negatives, negatives.early, equivalents, policy, own_words
    )
    questions.tell(observers)
    tiers, hedging = _as(policy, TierPolicy), _as(policy, HedgePolicy)
    negatives.tell(observers, None if tiers is None else tiers.next_tier)
    of_clients = _present(QuestionMetrics(questions), hedging, tiers, service)
    return Parts(
        questions=questions,
        upstreams=upstreams,
        negatives=negatives,
        own_words=own_words,
        cache=cache,
        policy=policy,
        lookups=HostLookups(upstreams.all),
        observers=observers,
        timed=_present(tiers, negatives.schedule, *upstreams.all, questions, samples, hedging),
        monitored=_present(*of_clients, upstreams, own_words, cache, samples, waits),
    )


def _make_upstreams(
    setup: Setup,
    servers: Sequence[Upstream],
    by_conn: dict[str, Upstream],
    routes: dict[bytes, ServerSet | None],
) -> Upstreams:
    """Make all servers one part, with the routes by their names, if there are any."""
    resolvers = setup.servers_in([server.name for server in setup.resolvers])
    barred = Barred(Routes(routes, setup.default_resolvers, resolvers) if routes else None)
    return Upstreams(servers, by_conn, barred, are_in_tiers=bool(setup.tiers))


def _make_own_turn(setup: Setup, upstreams: Upstreams) -> OwnTurn | None:
    """Make the turn of LS itself, where servers are in tiers."""
    if not setup.tiers:
        return None
    return OwnTurn(server_at(len(upstreams.all)), upstreams.barred.later)


def _make_policy(
    setup: Setup,
    env: Environment,
    upstreams: Upstreams,
    questions: Questions,
    negatives: HeldNegatives,
    own_turn: OwnTurn | None,
) -> tuple[Policy, HedgingFitness | None]:
    """Make the policy; also return what sees whether hedging is fit for these servers."""
    if setup.extra_load is not None:
        limits = upstreams.limits if setup.resolvers else None
        hedging = HedgePolicy(env, upstreams.links, setup.extra_load, limits)
        return hedging, HedgingFitness(questions, negatives)
    if own_turn is not None:
        tiers = setup.servers_by_tier()
        return TierPolicy(upstreams, questions, env.bounds, tiers, own_turn, negatives), None
    return RacePolicy(upstreams.links, questions, env.bounds.waiting_bytes_high), None


def _as(policy: Policy, kind: type[_PartT]) -> _PartT | None:
    """Return a policy if it is of this kind."""
    return policy if isinstance(policy, kind) else None


def _present(*parts: _PartT | None) -> tuple[_PartT, ...]:
    """Return these in their order, without those that this load balancer has not."""
    return tuple(part for part in parts if part is not None)
