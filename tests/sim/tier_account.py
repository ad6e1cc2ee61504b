"""An account of whose turn it was: which servers may be asked a question by its routes and tiers,
and from when on.

It is kept from the outside, as the account that it extends (`tests/sim/cache_account.py`): from
what LS reads of servers, what it sends to them, how its links stand, and the time. A server of an
earlier tier is *out* when it has said nothing about the name, or may be down, or silent. Of a
question a tier is *reached* when LS was right to ask a server of it.

Not here: which routes and tiers a story has (`tests/sim/tier_story.py`).
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.protocol.names import Negative
from tests.sim.cache_account import Account
from tests.sim.cache_cast import Saying, TimedResolver, Told, named
from tests.sim.invariants import hold

if TYPE_CHECKING:
    from tests.sim.tier_story import TierStory

ROOT = ". TYPE2"  # LS asks this itself, to see who is back
SLACK_S = 0.1  # of turns between what is due and its being done
_EDGE_S = 1e-6
_WEAK = (Negative.NOT_FOUND, Negative.NAMES_BELOW)
_STRONG = (Negative.NO_DATA, Negative.BLOCKED)


@dataclass(eq=False)
class Turns:
    """The turns of a question that is open `since`. `reached`: the last tier whose turn it was,
    counted from 0, and `at`: since when. `weak` and `strong`: when each server said nothing about
    the name, and something."""

    question: str
    since: float
    reached: int
    at: float
    weak: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)  # those whose word surely counts as no word
    strong: dict[str, float] = field(default_factory=dict)
    asked_at: float = -math.inf  # when it was asked last, and did not join
    is_first: bool = True  # it has never been open before
    may_have_joined: bool = False  # the one before, which then is the same
    before: float = -math.inf  # since when it was the turn of the tier that was asked before


class Standing:
    """How a server stands, as LS may have it."""

    def __init__(self) -> None:
        self.is_live = False
        self.was_down_at = math.inf  # when it was so last; infinite: it still is
        self._unanswered = 0
        self._since = math.inf  # when the first of these was sent
        self._was_silent_at = -math.inf

    def linked(self, is_live: bool, now: float) -> None:
        if is_live != self.is_live:
            self.was_down_at = now if is_live else math.inf
        self.is_live = is_live

    def asked(self, now: float) -> None:
        self._unanswered += 1
        self._since = min(self._since, now)

    def heard(self, questions: int, silent_s: float, now: float) -> None:
        if self.may_be_silent(questions, silent_s, now, now):
            self._was_silent_at = now
        self._unanswered, self._since = 0, math.inf

    def may_be_silent(self, questions: int, silent_s: float, since: float, now: float) -> bool:
        """Return whether it may have been silent at some time since then."""
        is_so = self._unanswered >= questions and now - self._since >= silent_s - _EDGE_S
        return is_so or self._was_silent_at >= since


class TierAccount(Account):
    """The account of one story with routes and tiers."""

    story: "TierStory"

    def __init__(self, story: "TierStory") -> None:
        super().__init__(story)
        self.turns: dict[str, Turns] = {}
        self.standings: defaultdict[str, Standing] = defaultdict(Standing)
        self.by_line: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.weak_ends: list[tuple[Turns, bool, str]] = []
        self.data_read: list[tuple[Turns, Saying]] = []
        self.failing: list[Turns] = []
        self.kept_until: defaultdict[str, float] = defaultdict(lambda: -math.inf)

    # -- servers that may be asked -----------------------------------------------------------------

    def turns_of(self, question: str) -> Turns:
        """Return the turns of an open question."""
        course = self.course_of(question)
        turns = self.turns.get(question)
        if turns is None or turns.since != course.open_since:
            now, before = course.open_since, turns
            turns = self.turns[question] = Turns(question, now, 0, now, asked_at=now)
            turns.is_first = before is None
            if before is not None and course.told_at == now:
                # Time was up in the turn in which it was asked again: then it has joined.
                turns.reached, turns.at, turns.weak = before.reached, before.at, before.weak
                turns.may_have_joined = True
            turns.before = turns.at
            self.by_line[table_line(question)][question] = None
            self.verify_soon(turns)
        return turns

    def able(self, question: str) -> list[str]:
        """Return the servers that may be asked this, whichever tier has its turn."""
        resolvers = [one.name for one in self.story.resolvers_for(question)]
        return [*self.story.tables, *resolvers]

    def is_out(self, server: str, turns: Turns) -> bool:
        """Return whether nothing need be hoped for from a server of which LS waits for its word."""
        is_withheld = server not in self.story.tables and self.may_be_kept(turns)
        return server in turns.weak or is_withheld or self.may_be_away(server, turns.since)

    def may_be_kept(self, turns: Turns) -> bool:
        """Return whether LS may have had a word on a question itself that is enough."""
        return self.story.cache_bytes > 0 and self.kept_until[turns.question] >= turns.since

    def may_be_away(self, server: str, since: float) -> bool:
        """Return whether LS may have taken it to be down, or silent, since then."""
        standing, bounds, now = self.standings[server], self.story.bounds, self.world.t
        if not standing.is_live or standing.was_down_at >= since:
            return True
        resolver = next((one for one in self.story.resolvers if one.name == server), None)
        is_silent = standing.may_be_silent(bounds.silent_questions, bounds.silent_s, since, now)
        return is_silent or (resolver is not None and resolver.was_down(since))

    def counts(self, server: str, question: str) -> bool:
        turns = self.turns_of(question)
        if (
            self.may_be_kept(turns)
            and self.world.t >= turns.at + self.story.bounds.tier_s - _EDGE_S
        ):
            return True  # the turn may be that of LS itself, which comes last
        tier = self.story.tier_of(server)
        # A server that was asked already, for an earlier asking, is not seen to be asked.
        return tier <= turns.reached or self.world.t >= self.decided(tier, turns)

    def decided(self, tier: int, turns: Turns) -> float:
        """Return when this tier has its turn if those before have had all of their time."""
        return turns.since + tier * self.story.bounds.tier_s - _EDGE_S

    def asked_of(self, question: str) -> set[str]:
        turns = self.turns_of(question)
        return {
            name for name in super().asked_of(question) if self.story.tier_of(name) <= turns.reached
        }

    # -- questions of LS ---------------------------------------------------------------------------

    def asked(self, resolver: TimedResolver, question: str) -> None:
        """Take a question that a resolver is asked. [P107] [P92]"""
        self.standings[resolver.name].asked(self.world.t)
        if question == ROOT:
            return
        belongs = self.story.route_of(question)
        tag = "P92" if belongs is None and resolver.name not in self.story.shape.routed else "P107"
        seen = f"{question} reaches {resolver.name}, at {resolver.host.address}: {belongs}"
        hold(resolver in self.story.resolvers_for(question), tag, seen)
        if belongs is not None:
            self.world.saw("a name of a route is asked for")

    def sent(self, resolver: TimedResolver, question: str) -> None:
        super().sent(resolver, question)
        self.standings[resolver.name].asked(self.world.t)
        if question == ROOT or not self.courses[question].waiting:
            return
        turns = self.turns_of(question)
        # A resolver that is down is asked its last question, maybe of long ago.
        if turns.is_first or self.standings[resolver.name].is_live:
            why = self.why_not(resolver.name, turns)
            hold(not why, "P104", f"{resolver.name} is asked for {question}: {why} {turns}")
            self.reach(resolver.name, turns)

    def sent_line(self, table: str, line: str) -> None:
        """Take a line that a table is asked: for one of the questions that it stands for."""
        self.standings[table].asked(self.world.t)
        asked = [one for one in self.by_line[line] if self.courses[one].waiting]
        reasons = []
        for question in asked:
            turns = self.turns_of(question)
            why = self.why_not(table, turns)
            if why:
                reasons.append(why)
            elif len(asked) == 1 or not self.story.is_barred(table, question):
                self.reach(table, turns)
        hold(not asked or len(reasons) < len(asked), "P104", f"{table}: {line}: {reasons}")

    def why_not(self, server: str, turns: Turns) -> str:
        """Return why a server must not be asked this now; empty, if it may."""
        story, now, tier = self.story, self.world.t, self.story.tier_of(server)
        if tier <= turns.reached:
            return ""
        # A query that waits for a socket goes later than it was decided, which was by then.
        decided = self.decided(tier, turns)
        for other, at in turns.strong.items():
            if story.tier_of(other) < tier and at < min(now, decided):
                return f"{other} has said so at {at:.3f}"
        hoped = [
            one
            for one in self.able(turns.question)
            if story.tier_of(one) < tier and not self.is_out(one, turns)
        ]
        if not hoped:
            return ""
        if any(story.tier_of(one) > turns.reached for one in hoped):
            return f"{hoped} were not asked"
        # A tier of which nobody is hoped for is asked together with the next one.
        since = turns.before if turns.at == now else turns.at
        is_over = now >= min(since + story.bounds.tier_s - _EDGE_S, decided)
        return "" if is_over else f"{hoped} are hoped for since {turns.at:.3f}, at {now:.3f}"

    def reach(self, server: str, turns: Turns) -> None:
        """Take note that a server was asked."""
        tier, now = self.story.tier_of(server), self.world.t
        if tier <= turns.reached:
            return
        is_over = now >= turns.at + self.story.bounds.tier_s - _EDGE_S
        self.world.saw("the time of a tier is over" if is_over else "a tier has nothing to say")
        turns.before = turns.before if turns.at == now else turns.at
        turns.reached, turns.at = tier, now
        for saying in self.courses[turns.question].replies:
            if saying.read_at == now and "turn" in saying.why_never:
                saying.why_never, saying.was_open = "", True  # it was read in this turn of LS's
        self.verify_soon(turns)

    def verify_soon(self, turns: Turns) -> None:
        """Look whether the next tier is asked when the time of this one is over. [P105]"""
        reached, at = turns.reached, turns.at
        due = at + self.story.bounds.tier_s + SLACK_S

        def verify() -> None:
            course = self.courses[turns.question]
            is_open = course.waiting and course.open_since == turns.since
            if is_open and any(self.story.tier_of(one) < reached + 1 for one in turns.strong):
                self.world.saw("a negative is held when the time of its tier is over")
            if turns.reached == reached and turns.at == at and not turns.strong:
                self.check_next(turns, f"the time of a tier is over since {due - SLACK_S:.3f}")

        self.world.at(max(due, self.world.t), verify)

    def check_next(self, turns: Turns, why: str) -> None:
        """Check that no tier waits whose turn it is, while its question is open."""
        story, course = self.story, self.courses[turns.question]
        is_open = course.waiting and course.open_since == turns.since
        if not is_open or story.was_disturbed or self.turns[turns.question] is not turns:
            return
        if story.ls.loop is None or self.may_be_kept(turns) or turns.may_have_joined:
            return
        if story.scope_of(turns.question) != "all":
            return  # LS has a word itself
        able = [one for one in self.able(turns.question) if story.tier_of(one) > turns.reached]
        number = min(map(story.tier_of, able), default=0)
        of_next = [one for one in able if story.tier_of(one) == number]
        if not any(self.may_be_away(one, turns.since) for one in of_next):
            hold(not of_next, "P105", f"{of_next} were not asked: {why}: {turns}")

    def unreached(self, turns: Turns) -> list[str]:
        """Return the servers that were well all the while, and of tiers whose turn was not."""
        return [
            one
            for one in self.able(turns.question)
            if self.story.tier_of(one) > turns.reached and not self.may_be_away(one, turns.since)
        ]

    # -- replies that LS reads ---------------------------------------------------------------------

    def linked(self, server: str, is_live: bool) -> None:
        """Take how a link stands."""
        is_news = is_live and not self.standings[server].is_live
        self.standings[server].linked(is_live, self.world.t)
        for turns in self.turns.values() if not is_live else ():
            turns.failed.discard(server)  # its words go with its connection
        for turns in self.turns.values() if is_news else ():
            is_open = self.courses[turns.question].waiting
            if is_open and self.story.tier_of(server) > turns.reached:
                self.world.saw("a link comes up whose turn it is not")

    def read_query(self, question: str) -> Saying | None:
        now, course = self.world.t, self.course_of(question)
        was_open = bool(course.waiting)
        known = super().read_query(question)
        turns = self.turns_of(question)
        if was_open and now - turns.asked_at >= self.story.bounds.join_s - _EDGE_S:
            turns.asked_at = now
            turns.failed.clear()  # negatives of tables are forgotten
            if turns.reached:
                self.world.saw("a question is asked again in a later tier")
        return known

    def read_reply(self, saying: Saying) -> None:
        bounds, now = self.story.bounds, self.world.t
        self.standings[saying.by].heard(bounds.silent_questions, bounds.silent_s, now)
        course = self.course_of(saying.question)
        turns = self.turns_of(saying.question)
        super().read_reply(saying)
        is_failure = saying.is_failure
        lasts_s = self.story.failed_s if is_failure else min(saying.capped(), default=0)
        until = max(self.kept_until[saying.question], now + lasts_s)
        self.kept_until[saying.question] = until
        if not course.waiting or "nobody waited" in saying.why_never:
            return
        if "turn" in saying.why_never:
            self.world.saw("a reply comes before its turn")
        if not saying.was_open or course.tabled_at > -math.inf:
            return
        if saying.is_failure and saying.what != "BOGUS":
            turns.weak.setdefault(saying.by, now)
            if saying.what in ("SERVFAIL", "REFUSED") and saying.asked_at >= turns.since:
                turns.failed.add(saying.by)
                self.failing.append(turns)
            return
        if self.story.tier_of(saying.by) < turns.reached:
            self.world.saw("an earlier tier says something late")
        if saying.asked_at < turns.since and self.may_be_kept(turns):
            return  # LS has a word on it, which waits
        turns.strong.setdefault(saying.by, now)
        is_of_this = saying.asked_at >= turns.since and self.story.races
        if saying.is_data and is_of_this and not self.is_bogus(saying):
            self.data_read.append((turns, saying))

    def is_bogus(self, saying: Saying) -> bool:
        """Return whether a validator's word may be kept of its question."""
        at = self.courses[saying.question].bogus_read_at
        return self.world.t - at <= self.story.bounds.failure_kept_s + self.story.tiers_s

    def read_word(self, table: str, line: str, why: Negative | None) -> None:
        """Take what a table says of a line: None is an answer."""
        bounds, now = self.story.bounds, self.world.t
        self.standings[table].heard(bounds.silent_questions, bounds.silent_s, now)
        for question in self.by_line[line]:
            if not self.courses[question].waiting or not self.counts(table, question):
                continue
            turns = self.turns_of(question)
            if why in _WEAK:
                turns.weak.setdefault(table, now)
                turns.failed.add(table)
                self.failing.append(turns)
            elif why is None or why in _STRONG:
                turns.strong.setdefault(table, now)

    # -- replies of LS -----------------------------------------------------------------------------

    def judge(self, question: str, told: Told, asked_at: float, expected: Saying | None) -> None:
        turns, now = self.turns_of(question), self.world.t
        course, story = self.courses[question], self.story
        was_kept = self.may_be_kept(turns)
        super().judge(question, told, asked_at, expected)
        seen = f"{question} at {now:.3f}, asked at {asked_at:.3f}: {told}, {turns}"
        is_failure = not told.numbers and not told.addresses and told.code not in (0, 3)
        if is_failure and course.ended == "failure":
            self.weak_ends.append((turns, was_kept, seen))
            timeout_s = story.bounds.timeout_s if told.is_line else story.bounds.dns_timeout_s
            if now - asked_at >= timeout_s - _EDGE_S:
                self.judge_timeout(turns, asked_at, timeout_s, seen)
            if story.route_of(question):
                self.world.saw("a route fails")
        elif course.ended == "stale" and course.stale_at == now:
            self.weak_ends.append((turns, was_kept, seen))
        if course.ended in ("stale", "failure"):
            self.kept_until[question] = max(self.kept_until[question], now + story.failed_s)
        is_denied = told.code == 3 and not told.numbers and story.scope_of(question) == "all"
        if is_denied and not turns.strong and not was_kept:
            self.world.saw("no table has a name")
            self.weak_ends.append((turns, was_kept, seen))
        by = {self.sayings[number].by for number in told.numbers}
        if any(story.tier_of(name) for name in by):
            self.world.saw("what a later tier has said is told")
        if turns.reached and course.ended == "table":
            self.world.saw("a table answers when a later tier is asked, too")
        if story.route_of(question) == ():
            self.world.saw("a name belongs to nobody")

    def may_wait(self, bogus: Saying) -> bool:
        turns = self.turns_of(bogus.question)
        return bool(self.story.shape.tiers) and self.may_be_kept(turns)

    def is_word_of_table(self, question: str, told: Told) -> bool:
        is_negative = told.code in (0, 3) and not told.numbers and not told.addresses
        said = set(self.story.tables) & self.turns_of(question).strong.keys()
        return bool(self.story.shape.tiers and is_negative and said)

    def judge_timeout(self, turns: Turns, asked_at: float, timeout_s: float, seen: str) -> None:
        """Judge that the time of a question was up. In a race somebody would have answered whom
        everything went well with, and who is quick."""
        story = self.story
        self.world.saw("the time of a question is up")
        if not story.is_calm or story.was_disturbed:
            return
        for name in self.able(turns.question):
            if self.may_be_away(name, asked_at - 2.0):
                continue
            hold(not story.would_answer(name, turns.question, asked_at), "P105", f"{name}: {seen}")

    def after_step(self) -> None:
        """Check what was due in the turn that is over."""
        for turns, was_kept, seen in self.weak_ends:
            left = self.unreached(turns)
            if was_kept:
                left = [name for name in left if name in self.story.tables]
            hold(not left or self.story.was_disturbed, "P106", f"{left} were not asked: {seen}")
        for turns, saying in self.data_read:
            course = self.courses[turns.question]
            is_open = course.waiting and course.open_since == turns.since
            is_open = is_open and course.told_at < saying.read_at
            hold(not is_open, "P33", f"data is not told: {saying}: {turns}")
        for turns in self.failing:
            able = [
                one for one in self.able(turns.question) if self.story.tier_of(one) <= turns.reached
            ]
            if turns.failed.issuperset(able) and not turns.strong:
                self.check_next(turns, "all have said that they cannot say")
        self.weak_ends.clear()
        self.data_read.clear()
        self.failing.clear()


def table_line(question: str) -> str:
    """Return the line that a table is asked for a question: that of its name, if no other comes
    near."""
    asked, _, rest = question.partition(" ")
    return f"{asked} AAAA" if rest.startswith(("TYPE28", "AAAA")) else named(question)
