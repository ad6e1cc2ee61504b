"""An account of what LS was told, by whom and when, and of what it may therefore tell.

It is kept from the outside: from what resolvers say, from what LS reads and sends, and when. Each
check has the tag under which the header of `tests/sim/cache_story.py` lists it.

By this account LS *knows* of a question what it surely keeps: data that it has told, whose time is
not over. Where room is short, or a table has dropped a name, nothing is sure.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.sim.cache_cast import (
    DISPUTED_S,
    Saying,
    TimedResolver,
    Told,
    named,
)
from tests.sim.invariants import hold

if TYPE_CHECKING:
    from tests.sim.cache_story import CacheStory

SERVFAIL = 2
STALE, BOGUS, CACHED = 3, 6, 13  # extended errors
STALE_TTL_S = 30
_EDGE_S = 1e-6  # times that differ by less are equal
SLACK_S = 0.05  # of a turn, and of what LS does at its end
_NUMBERS_MOST = 65_000


@dataclass
class Course:
    """The course of a question: all that has been asked and said of it."""

    waiting: list[float] = field(default_factory=list)  # when each was asked that is not replied to
    open_since: float = -math.inf
    ended: str = ""  # how it ended last
    replies: list[Saying] = field(default_factory=list)  # read since it was opened
    told_at: float = -math.inf  # when somebody was told last
    known: Saying | None = None  # data that LS surely keeps
    known_at: float = math.inf  # when it told that
    newest: float = -math.inf  # when LS read the newest that it has told
    stale_at: float = -math.inf  # when stale data was told, and not again
    failed_at: float = -math.inf  # when a failure was told, and not again
    bogus_at: float = -math.inf
    is_asked_since: bool = False  # any resolver was, since a validator's word ended it
    bogus_read_at: float = -math.inf  # also late
    asked: dict[str, float] = field(default_factory=dict)  # whom first by UDP, since it was opened
    tabled_at: float = -math.inf  # when LS read a table's answer, while it was open
    sent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def begin_turn(self, now: float) -> None:
        """Find out at the first event of a turn, or later, whether the question was asked again in
        the turn in which it ended: whoever waits for it has then not joined those who were told."""
        if self.told_at < now and self.waiting and min(self.waiting) == self.told_at:
            self.open_at(self.told_at)

    def open_at(self, now: float) -> None:
        """Take note that it is asked, and was not open."""
        self.open_since, self.tabled_at = now, -math.inf
        self.replies = [saying for saying in self.replies if saying.read_at >= now]
        self.asked = {name: at for name, at in self.asked.items() if at >= now}


class Account:
    """The account of one story."""

    def __init__(self, story: "CacheStory") -> None:
        self.story = story
        self.world = story.world
        self.sayings: dict[int, Saying] = {}
        self.on_its_way: dict[tuple[str, int, bytes], Saying] = {}
        self.sent_at: dict[tuple[str, int, bytes], float] = {}
        self.courses: defaultdict[str, Course] = defaultdict(Course)
        # When an answer of a table dropped what was kept, by name; and the names of all answers.
        self.dropped: defaultdict[str, list[float]] = defaultdict(list)
        self.tabled: set[str] = set()
        self.flushed_at = -math.inf
        self.replied = 0
        self.read = 0

    def next_number(self) -> int:
        number = len(self.sayings) + 1
        assert number < _NUMBERS_MOST
        return number

    def course_of(self, question: str) -> Course:
        course = self.courses[question]
        course.begin_turn(self.world.t)
        return course

    # -- queries of LS -----------------------------------------------------------------------------

    def asked(self, resolver: TimedResolver, question: str) -> None:
        """Take a question that a resolver is asked."""
        seen = f"{question} reaches {resolver.name}, at {resolver.host.address}"
        hold(resolver in self.story.resolvers_for(question), "P92", seen)

    def sent(self, resolver: TimedResolver, question: str) -> None:
        """Take a query that LS sends."""
        course, now, story = self.course_of(question), self.world.t, self.story
        course.is_asked_since = True
        course.asked.setdefault(resolver.name, now)
        if story.shape.is_sampled:
            return
        fresh = self.fresh(question, now)
        is_asked = fresh is not None and course.known_at < now - _EDGE_S
        is_asked = is_asked and not resolver.was_down(now - 3.0)  # else that is a probe
        hold(not is_asked, "P95", f"{question} is asked, and known: {fresh}")
        if not story.is_calm:
            return
        times = course.sent[resolver.name]
        times.append(now)
        since = max(now - story.bounds.join_s, course.open_since - _EDGE_S)
        times[:] = [at for at in times if at > since]
        most = 2 * (1 + story.bounds.resends_max)  # also when it had been silent, and is back
        hold(len(times) <= most, "one asking", f"{question} is sent {len(times)} times")

    # -- replies that LS reads ---------------------------------------------------------------------

    def read_query(self, question: str) -> Saying | None:
        """Take a question that LS reads; return what it surely knows of it."""
        course, now = self.course_of(question), self.world.t
        self.read += 1
        if not course.waiting or course.tabled_at == now:  # in this turn a table has ended it
            course.open_at(now)
        course.waiting.append(now)
        return self.fresh(question, now)

    def read_reply(self, saying: Saying) -> None:
        """Take a reply that LS reads."""
        course, now = self.course_of(saying.question), self.world.t
        saying.read_at = now
        saying.lasts_s = min(saying.capped(), default=0)
        saying.was_open = bool(course.waiting) and course.tabled_at == -math.inf
        if saying.was_open and not self.counts(saying.by, saying.question):
            saying.was_open = False
            saying.why_never = "it came before its turn"
        if not saying.was_open and not saying.is_data:
            saying.lasts_s = min(saying.lasts_s, DISPUTED_S)
        hopeless_s = self.story.bounds.join_s + self.story.bounds.longest_s
        if now - saying.asked_at > hopeless_s and not self.story.was_disturbed:
            saying.why_never = "nobody waited for it any more"
            return
        course.replies.append(saying)
        if saying.what == "BOGUS":
            course.bogus_read_at = now
        if saying.what == "BOGUS" and saying.was_open and self.story.races:
            course.bogus_at = now  # hedging, it may be of an earlier asking
            course.is_asked_since = False
        elif saying.is_data and saying.asked_at <= course.bogus_at and self.is_ended(course):
            saying.why_never = f"it was bogus at {course.bogus_at:.3f}"
        is_late = not saying.was_open and not saying.why_never
        if is_late and course.ended in ("data", "table"):
            saying.why_never = f"it came late: {course.ended} was told"
        if course.waiting and course.tabled_at > -math.inf:
            saying.why_never = "it came late: a table answers"
        is_kept = not course.waiting and course.ended == "stale" and self.story.races
        if saying.is_data and is_kept and course.open_since > self.flushed_at:
            course.known, course.known_at = saying, now  # better than what was told
            course.ended = "late data"  # with a TTL of 0 nothing is left that any could better
        if saying.is_failure or (saying.is_data and saying.lasts_s):
            return
        if self.fresh(saying.question, now) is None:
            course.known = None  # this may be kept instead

    def counts(self, server: str, question: str) -> bool:
        """Return whether what a server says of an open question counts."""
        return True

    def is_ended(self, course: Course) -> bool:
        """Return whether a validator's word has ended the last that resolvers were asked."""
        return course.bogus_at > course.open_since or not course.is_asked_since

    def read_table(self, line: str, table: str, *, is_answer: bool) -> None:
        """Take an answer of a table that LS reads."""
        if not is_answer:
            return
        self.tabled.add(named(line))
        if not self.story.races:
            return  # it need not have been asked for any of these
        for question, course in self.courses.items():
            is_about = course.waiting and line_of(question) == line
            if is_about and self.counts(table, question):
                self.dropped[named(line)].append(self.world.t)
                course.tabled_at = self.world.t
                course.ended = "table"

    def flushed(self) -> None:
        self.flushed_at = self.world.t

    # -- knowledge of LS ---------------------------------------------------------------------------

    def is_lost(self, saying: Saying) -> bool:
        """Return whether LS was to forget it before its question was asked."""
        kept_at, since = saying.kept_at, self.courses[saying.question].open_since
        lost = [*self.dropped[named(saying.question)], self.flushed_at]
        return any(kept_at < at < since for at in lost)

    def surely_kept(self, question: str) -> Saying | None:
        """Return the data of a question that LS surely keeps, whatever its age."""
        known = self.courses[question].known
        if known is None or not self.story.has_room or named(question) in self.tabled:
            return None
        return None if known.read_at <= self.flushed_at else known

    def fresh(self, question: str, now: float) -> Saying | None:
        """Return the data of a question that LS surely knows, and that holds."""
        known = self.surely_kept(question)
        holds = known is not None and now - known.read_at <= known.lasts_s - 1 - _EDGE_S
        return known if holds else None

    # -- replies of LS -----------------------------------------------------------------------------

    def judge(self, question: str, told: Told, asked_at: float, expected: Saying | None) -> None:
        """Judge a reply to a question that LS read at this time."""
        course = self.course_of(question)
        self.replied += 1
        self.judge_word(question, course)
        hold(len(told.numbers) <= 1, "exact question", f"{told.numbers} in one reply")
        end = ""
        if expected is not None and not (
            self.story.shape.moves and self.story.scope_of(question) == "network"
        ):
            self.judge_hit(question, told, asked_at, expected)
        if told.numbers:
            (number,) = told.numbers
            end = self.judge_saying(question, self.sayings[number], told)
        elif told.addresses:
            end = self.judge_own(question, told)
        elif told.code in (0, 3):
            end = "negative"
            is_own = self.story.scope_of(question) != "all" or bool(self.story.watches)
            is_right = told.is_line or is_own
            hold(is_right, "exact question", f"whose is {told}?")
            self.may_be_released(course)
        else:
            end = self.judge_failure(question, told)
        self.judge_special(question, told, asked_at)
        course.waiting.remove(asked_at)
        course.told_at = self.world.t
        if end != "table" or course.ended != "table":
            course.ended = end

    def judge_word(self, question: str, course: Course) -> None:
        """Check that no validator's word came before this turn: that would have ended it."""
        now, since = self.world.t, course.open_since
        for one in course.replies:
            is_over = one.what == "BOGUS" and one.was_open and since < one.read_at < now
            is_over = is_over and self.story.races and not self.story.shape.moves
            is_over = is_over and not self.may_wait(one)
            hold(not is_over, "P89", f"{question} at {now:.3f}, open since {since:.3f}: {one}")

    def judge_hit(self, question: str, told: Told, asked_at: float, expected: Saying) -> None:
        """Judge a reply to a question of which LS knew fresh data when it read it."""
        course, now = self.courses[question], self.world.t
        sayings = [self.sayings[number] for number in told.numbers]
        seen = f"{question}: {told}, though {expected} is known since {expected.read_at:.3f}"
        if self.story.watches and self.is_word_of_validator(course, told):
            self.world.saw("a validator's word ends what is known")
            return
        if self.is_word_of_table(question, told):
            self.world.saw("a table's word ends what is known")
            return
        is_data = bool(told.addresses) and not sayings
        is_data = is_data or any(
            one.is_data and one.read_at >= expected.read_at - _EDGE_S for one in sayings
        )
        hold(is_data, "P96", seen)
        most_s = SLACK_S + self.story.tiers_s if self.story.watches else _EDGE_S
        hold(now - asked_at <= most_s or bool(self.story.was_disturbed), "P95", f"late: {seen}")
        self.world.saw("a kept reply is told")
        if self.story.watches:
            self.world.saw("a kept reply is told beside tables")

    def may_wait(self, bogus: Saying) -> bool:
        """Return whether a validator's word may be late, since what LS knows waits for its turn."""
        return False

    def is_word_of_table(self, question: str, told: Told) -> bool:
        """Return whether this is what a table has said that is no answer, and goes over what is
        known: never, where nobody is asked after others."""
        return False

    def is_word_of_validator(self, course: Course, told: Told) -> bool:
        """Return whether this is what a validator has said in this turn: no failure that is kept.
        Of fresh data it may be told while LS waits for tables; else that is told at once."""
        now, errors = self.world.t, {BOGUS} if told.has_edns else set()
        is_said = any(
            one.what == "BOGUS" and one.was_open and one.read_at == now for one in course.replies
        )
        return is_said and told.code == SERVFAIL and told.errors == errors

    def judge_saying(self, question: str, saying: Saying, told: Told) -> str:
        """Judge what a resolver has said that is told; return what it is."""
        course, now = self.courses[question], self.world.t
        seen = f"{question} at {now:.3f}, open since {course.open_since:.3f}: {saying} as {told}"
        hold(saying.question == question, "exact question", seen)
        hold(saying.read_at <= now, "exact question", f"nobody said it yet: {seen}")
        hold(not saying.why_never, saying_tag(saying), seen)
        end = "data" if saying.is_data else "negative"
        is_new = saying.read_at >= course.open_since
        if is_new and not told.errors and (told.is_line or told.ttls == saying.ttls):
            self.judge_newer(course, saying, seen)
            if saying.is_data:
                saying.kept_at = min(saying.kept_at, saying.read_at)
            else:
                self.release(course, saying)
            if saying.is_data and saying.lasts_s and not question.endswith("-rd"):
                course.known, course.known_at = saying, now
            else:
                course.known = None
            return end
        if saying.kept_at == math.inf:
            saying.kept_at = saying.read_at
        age_s = now - saying.read_at
        hold(self.story.cache_bytes, "P94", f"no cache, and it is kept: {seen}")
        hold(saying.lasts_s, "P94", f"it may not be kept: {seen}")
        hold(not question.endswith("-rd"), "P94", f"it may not be kept: {seen}")
        hold(not self.is_lost(saying), "P99" if self.flushed_at > 0 else "P95", seen)
        hold(course.tabled_at == -math.inf, "P95", f"a table has answered: {seen}")
        first_s = course.open_since - saying.read_at if self.story.watches else age_s
        if first_s > saying.lasts_s - 1 + _EDGE_S and (saying.is_data or told.is_line):
            self.judge_stale(question, saying, told, seen)
            return "stale"
        self.judge_newer(course, saying, seen)
        if not told.is_line:
            self.judge_ttls(saying, told, first_s, age_s, seen)
        self.world.saw("a reply is told from the cache")
        if not saying.was_open:
            self.world.saw("a late reply has taken the place of a worse one")
        return end

    def judge_newer(self, course: Course, saying: Saying, seen: str) -> None:
        hold(saying.read_at >= course.newest, "no way back", seen)
        course.newest = saying.read_at

    def judge_ttls(
        self, saying: Saying, told: Told, first_s: float, age_s: float, seen: str
    ) -> None:
        """Judge the TTLs of what was kept and holds. `first_s`: how old it was when it was asked
        for; tables had a moment to answer since."""
        hold(not told.errors & {STALE, CACHED}, "P97", f"it is not stale: {seen}")
        ages = range(math.ceil(first_s - _EDGE_S), math.ceil(age_s + _EDGE_S) + 1)
        right = [[ttl - age for ttl in saying.capped()] for age in ages]
        if not saying.is_data:
            lasts = {saying.lasts_s, min(saying.lasts_s, DISPUTED_S)}
            right = [[least - age] * len(saying.ttls) for age in ages for least in lasts]
        hold(told.ttls in right, "P94", f"not {right}: {seen}")
        hold(min(told.ttls) >= 1, "P94", f"a TTL of 0: {seen}")

    def judge_stale(self, question: str, saying: Saying, told: Told, seen: str) -> None:
        """Judge data that is told past its time."""
        course, now, story = self.courses[question], self.world.t, self.story
        hold(saying.is_data, "P97", f"no data, and stale: {seen}")
        if not told.is_line:
            hold(set(told.ttls) == {STALE_TTL_S}, "P97", f"stale, not with 30 s: {seen}")
            hold(told.errors == {STALE} or not told.has_edns, "P97", f"it does not say so: {seen}")
        since = course.open_since
        over_s = since - saying.read_at - saying.lasts_s
        hold(over_s <= story.stale_s + _EDGE_S, "P97", f"over for {over_s:.3f} s: {seen}")
        # It is told to all who ask within a time: tables, which are asked, too, may reply after it.
        is_again = 0.0 <= since - course.stale_at <= story.bounds.stale_again_s + _EDGE_S
        is_again = is_again and now - since <= (
            SLACK_S + story.tiers_s if story.watches else _EDGE_S
        )
        self.world.saw("stale data is told" + " again" * is_again)
        if is_again:
            return
        course.stale_at = now
        for one in course.replies:
            is_better = one.was_open and not one.is_failure and since <= one.read_at <= now
            is_better = is_better and (story.races or self.is_asked(course, one))
            hold(not is_better or story.has_lost_streams, "P97", f"{one} is better: {seen}")
        failed = self.failures(course, since)
        awaited = [one.name for one in story.resolvers_for(question)]
        waited_s = now - since
        is_right = (
            set(awaited) <= failed.keys()
            or (failed and now - min(failed.values()) >= story.bounds.stale_hold_s - _EDGE_S)
            or waited_s >= story.bounds.stale_after_s - _EDGE_S
        )
        hold(is_right, "P97", f"after {waited_s:.3f} s, {failed} of {awaited} failed: {seen}")
        most_s = story.bounds.stale_after_s + story.tiers_s + SLACK_S
        hold(waited_s <= most_s or story.was_disturbed, "P97", f"late, {waited_s:.3f} s: {seen}")

    def is_asked(self, course: Course, saying: Saying) -> bool:
        """Return whether, hedging, its resolver was asked since the question was opened: else it
        belongs to an earlier asking, of which a new stream has asked once more."""
        asked_at = course.asked.get(saying.by, math.inf)
        return asked_at <= saying.read_at and saying.asked_at >= course.open_since

    def failures(self, course: Course, since: float) -> dict[str, float]:
        """Return which resolvers have failed since then, or were down, and when they did first."""
        failed: dict[str, float] = {}
        for one in course.replies:
            if one.is_failure and one.read_at >= since:
                failed.setdefault(one.by, one.read_at)
        for resolver in self.story.resolvers:
            if resolver.was_down(since - 3.0):
                failed[resolver.name] = -math.inf
        return failed

    def judge_own(self, question: str, told: Told) -> str:
        """Judge addresses that no resolver has said."""
        loopback = {b"\x7f\0\0\1", bytes(15) + b"\1"}
        if told.addresses <= loopback and named(question) in ("localhost", "www.localhost"):
            return "own"
        line = line_of(question)
        is_of_table = line is not None and self.story.has_row(line, told.addresses)
        hold(is_of_table, "P93", f"{question}: nobody has {told}")
        return "table"

    def judge_failure(self, question: str, told: Told) -> str:
        course, now, story = self.courses[question], self.world.t, self.story
        bogus = any(
            one.what == "BOGUS" and one.read_at >= course.open_since for one in course.replies
        )
        since_bogus_s = now - course.bogus_read_at
        is_bogus = bogus or since_bogus_s <= story.bounds.failure_kept_s + _EDGE_S
        known = self.surely_kept(question)
        if known is not None and story.stale_s and not self.is_word_of_validator(course, told):
            over_s = course.open_since - known.read_at - known.lasts_s
            seen = f"{question} at {now:.3f}: {told}, though LS has {known}"
            hold(over_s > story.stale_s - _EDGE_S, "P96", seen)
        if CACHED in told.errors:
            self.world.saw("a failure is told from the cache")
            last = max(course.failed_at, course.bogus_read_at)
            most_s = story.bounds.failure_kept_s + SLACK_S
            if story.watches:  # it is held for them, as a failure that somebody says
                most_s += story.bounds.grace_failed_s + story.tiers_s
            is_kept = now - last <= most_s
            hold(is_kept, "P96", f"{question}: a failure of {last:.3f} is told at {now:.3f}")
        elif told.has_edns or now > course.open_since or self.failures(course, now):
            course.failed_at = now
        return "bogus" if is_bogus else "failure"

    def judge_special(self, question: str, told: Told, asked_at: float) -> None:
        """Judge what is told of a special name that no resolver may be asked for."""
        story = self.story
        found = story.scope_of(question)
        if found == "all":
            return
        if found == "network" and (story.shape.moves or story.resolvers_for(question)):
            return
        self.world.saw("a special name is asked for")
        is_tabled = bool(told.addresses)
        right = story.own_code(question)
        is_right = is_tabled or told.code == right or bool(story.watches)
        hold(is_right and told.code in (0, 3), "P93", f"{question}: {told}")
        took_s = self.world.t - asked_at
        most_s = SLACK_S + story.tiers_s if story.watches else _EDGE_S
        hold(took_s <= most_s or story.was_disturbed, "P93", f"{question} after {took_s:.3f} s")

    def may_be_released(self, course: Course) -> None:
        """Take note that one of the negatives that were said may have been released: to lines, it
        does not show which."""
        for one in course.replies:
            if one.what in ("NXDOMAIN", "NOERROR"):
                self.release(course, one)

    def asked_of(self, question: str) -> set[str]:
        """Return the resolvers that were to be asked an open question."""
        return {one.name for one in self.story.resolvers_for(question)}

    def release(self, course: Course, saying: Saying) -> None:
        """Take note that a negative is told: it is kept, for long if every resolver has said so."""
        if saying.kept_at < math.inf:
            return
        saying.kept_at = self.world.t
        deniers = {one.by for one in course.replies if one.what in ("NXDOMAIN", "NOERROR")}
        if not self.asked_of(saying.question) <= deniers:
            saying.lasts_s = min(saying.lasts_s, DISPUTED_S)


def saying_tag(saying: Saying) -> str:
    tags = {"bogus": "P89", "table": "P95", "turn": "P104"}
    return next((tag for word, tag in tags.items() if word in saying.why_never), "P98")


def line_of(question: str) -> str | None:
    """Return the line that a table is asked for a question about addresses."""
    asked, _, rest = question.partition(" ")
    if rest.startswith(("TYPE28", "AAAA")):
        return f"{asked} AAAA"
    return asked if not rest or rest.startswith("TYPE1 ") or rest == "TYPE1" else None
