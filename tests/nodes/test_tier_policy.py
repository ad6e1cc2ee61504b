"""Tiers: who is asked first, when the next ones are, and what ends a question before they are.

Table servers TS1, TS2, ... and resolvers DNS1 to DNS3, played by hand (`resolver_cast.py`).

Not here: a network with chance (`tests/sim/`), and how tiers are written
(`test_ls_arguments.py`).
"""

import math
from typing import Any

import pytest

from core.bounds import Bounds
from core.events import Woken
from nodes.ls.setup import OwnWordsSetup
from nodes.ls.tiers.tier_policy import TierPolicy
from tests.support.dns_messages import AD, CODES, RD, TO_QUESTION, record, reply, said
from tests.support.resolver_cast import D1, D2, D3, Cast

X = "x.example"
KEEPS = OwnWordsSetup(1 << 20, 86_400.0)
B = Bounds()
LAW = ("answered", "not_found", "no_data", "failed", "timed_out", "dropped", "pending")


class Tiered(Cast):
    """LS whose servers are in tiers. Its resolvers are in the second, if nothing else is said."""

    def __init__(
        self,
        count: int = 2,
        *,
        tables: int = 1,
        tiers: dict[str, int] | None = None,
        **more: Any,  # noqa: ANN401
    ) -> None:
        if tiers is None:
            tiers = {f"DNS{n + 1}": 2 for n in range(count)}
        super().__init__(count, tables=tables, tiers=tiers, **more)

    def table_says(self, *words: str, table: str = "TS1") -> None:
        """Let a table say this of all names that it was asked."""
        asked = self.stage.take(table).decode().split("\n")[:-1]
        for line, word in zip(asked, words, strict=True):
            self.stage.hear(table, f"{line} {word}\n".encode())

    def nobody_asked(self, *resolvers: str) -> bool:
        return all(self.asked(resolver) == [] for resolver in resolvers)

    def law_holds(self) -> bool:
        return self.metric("asked") == sum(self.metric(end) for end in LAW)


NOT_FOUND, NO_DATA = "- NOT FOUND", "- NO DATA"


def test_what_the_first_tier_answers_nobody_else_is_asked() -> None:
    """[P104]"""
    tiered = Tiered()
    tiered.ask(X)
    tiered.table_says("10.0.0.7 A IN")
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2)
    tiered.wait(B.tier_s + 1)
    assert tiered.nobody_asked(D1, D2) and tiered.law_holds()


def test_a_tables_not_found_moves_on_at_once() -> None:
    """[P105]"""
    tiered = Tiered()
    tiered.ask(X)
    assert tiered.nobody_asked(D1, D2)
    tiered.table_says(NOT_FOUND)
    assert len(tiered.asked(D1)) == 1
    tiered.answer(D2, "10.0.0.1")
    assert tiered.codes() == [0] and tiered.law_holds()


def test_all_tables_have_to_say_not_found() -> None:
    tiered = Tiered(tables=2)
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    assert tiered.nobody_asked(D1, D2)
    tiered.table_says(NOT_FOUND, table="TS2")
    assert len(tiered.asked(D1)) == len(tiered.asked(D2)) == 1


def test_a_tables_no_data_ends_it() -> None:
    """[P104]: addresses of the other type of a table's name must not come from outside."""
    tiered = Tiered()
    tiered.ask(f"{X} AAAA")
    tiered.table_says(NO_DATA)
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2)
    tiered.wait(5.0)
    assert tiered.nobody_asked(D1, D2) and tiered.law_holds()


def test_another_type_of_a_tables_name_ends_it() -> None:
    tiered = Tiered()
    tiered.ask(f"{X} MX")
    tiered.table_says("10.0.0.7 A IN")
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2)


def test_a_name_that_is_only_above_others_is_not_the_tables() -> None:
    tiered = Tiered()
    tiered.ask(X)
    tiered.table_says("- NAMES BELOW")
    assert len(tiered.asked(D1)) == 1


def test_a_silent_tier_has_its_time() -> None:
    """[P105]"""
    tiered = Tiered()
    tiered.ask(X)
    tiered.wait(B.tier_s - 0.001)
    assert tiered.nobody_asked(D1, D2)
    tiered.wait(0.001)
    assert len(tiered.asked(D1)) == len(tiered.asked(D2)) == 1
    assert tiered.metric("tier1.slow") == 1 and tiered.metric("tier2.asked") == 1


def test_what_comes_late_of_an_earlier_tier_counts() -> None:
    tiered = Tiered()
    tiered.ask(X)
    tiered.wait(B.tier_s)
    assert len(tiered.asked(D1)) == 1
    tiered.table_says("10.0.0.7 A IN")
    assert tiered.codes() == [0] and tiered.metric("tier1.won") == 1


def test_a_tier_that_is_down_is_passed_over() -> None:
    tiered = Tiered()
    tiered.stage.reset("TS1")
    tiered.ask(X)
    assert len(tiered.asked(D1)) == 1


def test_a_tier_that_goes_down_is_passed_over() -> None:
    tiered = Tiered()
    tiered.ask(X)
    assert tiered.nobody_asked(D1)
    tiered.stage.reset("TS1")
    assert len(tiered.asked(D1)) == 1
    tiered.answer(D2, "10.0.0.1")
    assert tiered.codes() == [0] and tiered.law_holds()


def test_a_table_that_is_dialled_first_is_waited_for() -> None:
    """[P105]: what it blocks is asked of nobody else while LS starts."""
    tiered = Tiered(tables=2, tables_are_up=False)
    tiered.ask(X)
    tiered.stage.connect("TS2")
    tiered.table_says(NOT_FOUND, table="TS2")
    tiered.stage.connect("TS1")
    assert tiered.nobody_asked(D1, D2)
    tiered.table_says("0.0.0.0 A IN")
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2) and tiered.law_holds()


def test_a_later_tier_that_is_there_first_waits() -> None:
    tiered = Tiered(0, tables=2, tiers={"TS2": 2}, tables_are_up=False)
    tiered.ask(X)
    tiered.stage.connect("TS2")
    assert tiered.stage.take("TS2") == b""
    tiered.stage.refuse("TS1")
    assert tiered.stage.take("TS2") == f"{X}\n".encode()


@pytest.mark.parametrize("other", ["NOT FOUND", "refused"])
def test_a_first_dial_that_fails_moves_on_at_once(other: str) -> None:
    tiered = Tiered(tables=2, tables_are_up=False)
    tiered.ask(X)
    if other == "refused":
        tiered.stage.refuse("TS2")
    else:
        tiered.stage.connect("TS2")
        tiered.table_says(NOT_FOUND, table="TS2")
    assert tiered.nobody_asked(D1, D2)
    tiered.stage.refuse("TS1")
    assert len(tiered.asked(D1)) == len(tiered.asked(D2)) == 1
    tiered.ask("later.example")
    assert tiered.nobody_asked(D1, D2) is (other == "NOT FOUND")


def test_a_first_dial_has_the_time_of_its_tier() -> None:
    tiered = Tiered(tables_are_up=False)
    tiered.ask(X)
    tiered.wait(B.tier_s - 0.001)
    assert tiered.nobody_asked(D1, D2)
    tiered.wait(0.001)
    assert len(tiered.asked(D1)) == len(tiered.asked(D2)) == 1


RESOLVERS = {"DNS2": 2, "DNS3": 3}


@pytest.mark.parametrize("text", ["SERVFAIL", "REFUSED"])
def test_a_failure_moves_on_at_once(text: str) -> None:
    """[P105] [P106]"""
    tiered = Tiered(3, tables=0, tiers=RESOLVERS)
    tiered.ask(X)
    assert tiered.nobody_asked(D2, D3)
    tiered.answer(D1, text)
    assert tiered.nobody_asked(D3)
    tiered.answer(D2, text)
    assert tiered.codes() == []
    tiered.answer(D3, text)
    assert tiered.codes() == [CODES[text]] and tiered.law_holds()


def test_a_failure_of_one_waits_for_its_tier() -> None:
    tiered = Tiered(3, tables=0, tiers={"DNS3": 2})
    tiered.ask(X)
    tiered.answer(D1, "SERVFAIL")
    assert tiered.nobody_asked(D3)
    tiered.answer(D2, "10.0.0.1")
    assert tiered.codes() == [0] and tiered.nobody_asked(D3)


def test_a_failure_is_not_told_while_the_next_tier_has_its_time() -> None:
    """[P106]"""
    tiered = Tiered(3, tables=0, tiers={"DNS3": 2})
    tiered.ask(X)
    tiered.answer(D1, "SERVFAIL")
    tiered.wait(B.tier_s)
    assert len(tiered.asked(D3)) == 1 and tiered.codes() == []
    tiered.wait(B.grace_failed_s - B.tier_s + 0.1)
    assert tiered.codes() == []
    for conn, query in tiered.asked(D3):
        tiered.say(conn, said(query, "10.0.0.1"))
    assert tiered.codes() == [0] and tiered.law_holds()


@pytest.mark.parametrize(("text", "code"), [("NXDOMAIN", 3), ("NOERROR", 0)])
def test_a_resolvers_negative_ends_it(text: str, code: int) -> None:
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2})
    tiered.ask(X)
    tiered.answer(D1, text)
    assert tiered.codes() == [code] and tiered.nobody_asked(D2)


def test_a_negative_is_not_overtaken_by_the_next_tier() -> None:
    """The time of the tier is over meanwhile."""
    tiered = Tiered(3, tables=0, tiers={"DNS3": 2}, grace_s=2.0)
    tiered.ask(X)
    tiered.wait(B.tier_s - 0.01)
    tiered.answer(D1, "NXDOMAIN")
    tiered.wait(0.05)
    assert tiered.nobody_asked(D3)
    tiered.wait(2.0)
    assert tiered.codes() == [3] and tiered.nobody_asked(D3)


def test_a_bogus_name_ends_it() -> None:
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2})
    tiered.ask(X)
    for conn, query in tiered.asked(D1):
        tiered.say(conn, said(query, "BOGUS"))
    assert tiered.codes() == [CODES["SERVFAIL"]] and tiered.nobody_asked(D2)


def test_all_tiers_down_is_a_failure_at_once() -> None:
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2})
    refuse(tiered, D1, D2)
    tiered.told()
    tiered.ask(X)
    assert tiered.codes() == [CODES["SERVFAIL"]]


def test_a_later_tier_that_is_down_fails_what_tables_do_not_have() -> None:
    """That is no NOT FOUND: whoever is down might have it."""
    tiered = Tiered(1)
    refuse(tiered, D1)
    tiered.told()
    tiered.stage.take("TS1")
    tiered.ask(X)
    assert tiered.codes() == []
    tiered.table_says(NOT_FOUND)
    assert tiered.codes() == [CODES["SERVFAIL"]] and tiered.law_holds()


def refuse(cast: Tiered, *resolvers: str) -> None:
    """Let the network say that nothing gets there."""
    cast.ask("r.example")
    cast.stage.take("TS1") if "TS1" in cast.stage.replies else b""
    for _ in range(2):
        cast.wait(B.tier_s)
        for resolver in resolvers:
            for conn in {conn for conn, _ in cast.asked(resolver)}:
                if conn in cast.stage.replies:
                    cast.stage.break_socket(conn)
    for resolver in resolvers:
        assert cast.metric(f"{resolver}.state") == "UNREACHABLE"


def test_a_question_that_is_joined_is_where_it_was() -> None:
    tiered = Tiered()
    tiered.ask(X)
    tiered.wait(B.tier_s)
    assert len(tiered.asked(D1)) == 1
    tiered.wait(B.join_s)
    tiered.stage.take("TS1")
    tiered.asked(D1)
    tiered.ask(X)
    assert tiered.stage.take("TS1") == f"{X}\n".encode()
    assert tiered.metric("tier1.asked") == tiered.metric("tier2.asked") == 1


def test_a_late_reply_to_an_earlier_asking_overtakes_no_table() -> None:
    """The table has got the name since."""
    tiered = Tiered(1)
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    first = tiered.asked(D1)
    tiered.wait(4.6)
    assert tiered.codes() == [CODES["SERVFAIL"]]
    tiered.ask(X)
    for conn, query in first:
        tiered.say(conn, said(query, "10.6.6.6"))
    assert tiered.codes() == []
    tiered.table_says("0.0.0.0 A IN")
    assert tiered.codes() == [0]


def test_a_failure_beside_a_silent_table_waits_for_its_tier() -> None:
    """[P105]: the table may have the name, and is only slow."""
    tiered = Tiered(tiers={"DNS2": 2}, grace_s=0.05)
    tiered.ask(X)
    tiered.answer(D1, "SERVFAIL")
    tiered.wait(B.tier_s - 0.01)
    assert tiered.nobody_asked(D2) and tiered.codes() == []
    tiered.wait(0.01)
    tiered.answer(D2, "10.0.0.1")
    assert tiered.codes() == [0] and tiered.law_holds()


def test_a_tables_not_found_tells_no_old_data() -> None:
    """[P97]: no resolver has failed."""
    tiered = Tiered(tiers={"DNS2": 2}, own_words=OwnWordsSetup(1 << 20, 86_400.0))
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    tiered.answer(D1, "10.0.0.1")
    tiered.wait(61.0)
    tiered.told()
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    tiered.wait(B.stale_after_s - 0.01)
    assert tiered.asked(D2) and tiered.codes() == []
    tiered.wait(0.02)
    assert tiered.codes() == [0] and tiered.law_holds()


@pytest.mark.parametrize("tables", [0, 1])
def test_a_word_of_its_own_ends_it(tables: int) -> None:
    tiered = Tiered(tables=tables)
    for name in ("a.test", "localhost"):
        tiered.ask(name)
    tiered.wait(B.tier_s)
    tiered.wait(B.no_data_s)
    assert tiered.codes() == [CODES["NXDOMAIN"], 0] and tiered.nobody_asked(D1, D2)
    assert not tiered.brain.parts.upstreams.barred.later and tiered.law_holds()


def test_a_table_of_any_tier_has_a_name_that_belongs_to_nobody() -> None:
    """[P93] [P110]"""
    tiers = {"TS2": 2, "DNS1": 2, "TS3": 3}
    tiered = Tiered(1, tables=3, tiers=tiers, routes={b"lan": ()})
    for table, before in (("TS1", ()), ("TS2", ("TS1",)), ("TS3", ("TS1", "TS2"))):
        tiered.ask("nas.lan")
        for one in before:
            tiered.table_says(NOT_FOUND, table=one)
        assert tiered.codes() == []
        tiered.table_says("10.0.0.7 A IN", table=table)
        assert tiered.codes() == [0] and tiered.nobody_asked(D1)
    tiered.ask("nas.lan")
    for table in ("TS1", "TS2", "TS3"):
        assert tiered.codes() == []
        tiered.table_says(NOT_FOUND, table=table)
    assert tiered.codes() == [CODES["NXDOMAIN"]] and tiered.law_holds()


def test_a_slow_table_has_a_name_that_belongs_to_nobody() -> None:
    """[P93]: in tiers it has the time of its tier, and no less."""
    tiered = Tiered(routes={b"lan": ()})
    tiered.ask("nas.lan")
    tiered.wait(B.tier_s - 0.001)
    assert tiered.codes() == []
    tiered.table_says("10.0.0.7 A IN")
    assert tiered.codes() == [0]


@pytest.mark.parametrize(
    ("question", "line", "code"),
    [
        (X, f"{X} - NO DATA", 0),
        (X, f"{X} - BLOCKED", CODES["NXDOMAIN"]),
        (f"{X} AAAA", f"{X} AAAA - NO DATA", 0),
        (f"{X} AAAA", f"{X} AAAA - BLOCKED", CODES["NXDOMAIN"]),
        (f"{X} MX", f"{X} 10.0.0.7 A IN", 0),
        (f"{X} MX", f"{X} - BLOCKED", CODES["NXDOMAIN"]),
    ],
)
def test_a_table_that_has_got_a_name_hides_what_is_kept(
    question: str, line: str, code: int
) -> None:
    """[P104] [P110]: however long it takes within its time, and however often it is asked."""
    tiered = Tiered(own_words=KEEPS)
    tiered.ask(question)
    tiered.table_says(NOT_FOUND)
    records = {X: b"\x0a\0\0\x01", f"{X} AAAA": bytes(16), f"{X} MX": b"\0\x0a\1m\0"}
    kind = question.partition(" ")[2] or "A"
    for conn, query in tiered.asked(D1):
        data = record(TO_QUESTION, kind, records[question], 300)
        tiered.say(conn, reply(query, answers=(data,)))
    tiered.asked(D2)
    assert tiered.codes() == [0] and tiered.metric("cache_entries") == 1
    for _ in range(2):
        tiered.ask(question)
        tiered.wait(B.tier_s - 0.01)
        tiered.stage.hear("TS1", f"{line}\n".encode())
        ((message, _),) = tiered.told()
        assert (message[3] & 15, message[6:8]) == (code, b"\0\0")
        assert tiered.nobody_asked(D1, D2)


def test_a_table_that_is_silent_for_long_is_passed_over() -> None:
    """Until something comes from it again."""
    tiered = Tiered()
    for n in range(20):
        tiered.ask(f"n{n}.example")
        tiered.wait(B.tier_s)
        tiered.answer(D1, *["10.0.0.1"] * len(tiered.brain.parts.upstreams.all[:1]))
        tiered.asked(D2)
        tiered.told()
    assert tiered.metric("TS1.state") == "SILENT"
    tiered.ask(X)
    assert len(tiered.asked(D1)) == 1
    tiered.stage.hear("TS1", b"PONG\n")
    assert tiered.metric("TS1.state") == "UP"
    tiered.told()
    tiered.ask("y.example")
    assert tiered.nobody_asked(D1)


def test_a_resolver_of_routes_takes_the_place_of_resolvers() -> None:
    """[P104]: what a table has, or blocks, is not asked of it, either."""
    routes = {b"corp.example": ("DNS2",)}
    tiered = Tiered(2, tiers={"DNS1": 2}, routes=routes, routed=("DNS2",))
    tiered.ask("ads.corp.example MX")
    assert tiered.nobody_asked(D1, D2)
    tiered.table_says("0.0.0.0 A IN")
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2)
    tiered.ask("a.corp.example")
    tiered.table_says(NOT_FOUND)
    assert tiered.nobody_asked(D1)
    tiered.answer(D2, "10.0.0.1")
    assert tiered.codes() == [0] and tiered.metric("tier2.won") == 1


def test_a_late_answer_beside_another_is_late() -> None:
    tiered = Tiered()
    tiered.say_lines("a.example", "b.example")
    tiered.stage.hear("TS1", b"a.example 10.0.0.7 A IN\n")
    tiered.stage.hear("TS1", b"a.example 10.0.0.7 A IN\nb.example 10.0.0.8 A IN\n")
    assert tiered.lines() == b"a.example 10.0.0.7 A IN\nb.example 10.0.0.8 A IN\n"
    assert tiered.metric("late") == 1 and tiered.law_holds()


def say_late_data(tiered: Tiered) -> None:
    """Let DNS1 fail, and the time be up. When it is asked again, let DNS2 say data to the first
    asking."""
    first = tiered.asked(D2)
    tiered.answer(D1, "SERVFAIL")
    tiered.wait(4.5)
    assert tiered.codes() == [CODES["SERVFAIL"]]
    tiered.ask(X)
    conn, query = first[0]
    tiered.say(conn, said(query, "10.0.0.1"))


def test_late_data_beats_a_failure_that_is_kept() -> None:
    """As without tiers: resolvers are not asked beside it, and may have been before."""
    own_words = OwnWordsSetup(1 << 20)
    tiered = Tiered(tables=2, tiers={"TS2": 2}, own_words=own_words)
    tiered.ask(X)
    say_late_data(tiered)
    assert tiered.codes() == [0] and tiered.law_holds()


def test_late_data_of_a_later_tier_beats_no_table() -> None:
    """Nor where a failure is kept, so that no resolver is asked beside the table."""
    tiered = Tiered(own_words=OwnWordsSetup(1 << 20))
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    say_late_data(tiered)
    assert tiered.codes() == []
    tiered.table_says("0.0.0.0 A IN")
    assert tiered.codes() == [0] and tiered.metric("tier1.won") == 1 and tiered.law_holds()


def test_what_an_earlier_asking_asked_is_not_asked_again() -> None:
    """[P104]: a socket breaks while the table has its turn once more."""
    tiered = Tiered(1)
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    first = tiered.asked(D1)
    tiered.wait(4.6)
    tiered.asked(D1)
    tiered.ask(X)
    for conn, _ in first:
        tiered.stage.break_socket(conn)
    tiered.wait(B.tier_s - 0.01)
    assert tiered.nobody_asked(D1)
    tiered.wait(0.01)
    assert len(tiered.asked(D1)) == 1


def test_a_batch_parts_where_a_table_has_some_of_it() -> None:
    tiered = Tiered()
    tiered.say_lines("a.example", "b.example", "c.example")
    tiered.table_says(NOT_FOUND, "10.0.0.7 A IN", NOT_FOUND)
    assert len(tiered.asked(D1)) == 2
    assert tiered.lines() == b"b.example 10.0.0.7 A IN\n"
    tiered.answer(D2, "10.0.0.1", "10.0.0.2")
    assert len(tiered.lines().splitlines()) == 2 and tiered.law_holds()
    assert tiered.metric("tier1.asked") == 3 and tiered.metric("tier2.asked") == 2


def test_a_server_that_comes_up_is_not_asked_before_its_turn() -> None:
    tiered = Tiered(0, tables=2, tiers={"TS2": 2})
    tiered.stage.reset("TS2")
    tiered.ask(X)
    tiered.wait(0.1)
    tiered.stage.connect("TS2")
    assert tiered.stage.take("TS2") == b""
    tiered.table_says(NOT_FOUND)
    assert tiered.stage.take("TS2") == f"{X}\n".encode()


def test_what_ls_knows_itself_ends_before_anybody_is_asked() -> None:
    """A name that belongs to nobody, and a failure that is kept, where no table is there."""
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2}, routes={b"lan": ()}, own_words=KEEPS)
    tiered.ask("nas.lan")
    assert tiered.codes() == [CODES["NXDOMAIN"]]
    tiered.ask(X)
    for resolver in (D1, D2):
        tiered.answer(resolver, "SERVFAIL")
    tiered.told()
    tiered.ask(X)
    assert tiered.codes() == [CODES["SERVFAIL"]] and tiered.nobody_asked(D1, D2)
    assert tiered.law_holds()


def test_a_hit_is_held_for_tables_of_all_tiers_that_are_there() -> None:
    """Nobody else is asked: the tables of tier 1 do not have the name."""
    tiered = Tiered(own_words=KEEPS)
    tiered.ask(X)
    tiered.table_says(NOT_FOUND)
    tiered.answer(D1, "10.0.0.1")
    tiered.asked(D2)
    tiered.told()
    tiered.ask(X)
    assert tiered.codes() == []
    tiered.table_says(NOT_FOUND)
    assert tiered.codes() == [0] and tiered.nobody_asked(D1, D2)


def test_old_data_is_told_once_all_tiers_have_failed() -> None:
    """[P106]"""
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2}, own_words=KEEPS)
    tiered.ask(X)
    tiered.answer(D1, "10.0.0.1")
    tiered.told()
    tiered.wait(3_601.0)
    tiered.ask(X)
    tiered.answer(D1, "SERVFAIL")
    assert tiered.codes() == []
    tiered.answer(D2, "SERVFAIL")
    assert tiered.codes() == [0] and tiered.metric("stale") == 1


def test_old_data_is_told_when_two_tiers_are_silent() -> None:
    tiered = Tiered(2, tables=0, tiers={"DNS2": 2}, own_words=KEEPS)
    tiered.ask(X)
    tiered.answer(D1, "10.0.0.1")
    tiered.told()
    tiered.wait(3_601.0)
    tiered.ask(X)
    tiered.wait(B.tier_s)
    assert len(tiered.asked(D2)) == 1 and tiered.codes() == []
    tiered.wait(B.stale_after_s - B.tier_s - 0.001)
    assert tiered.codes() == []
    tiered.wait(0.001)
    assert tiered.codes() == [0] and tiered.metric("stale") == 1


def test_tables_without_words_for_a_question_are_passed_over() -> None:
    tiered = Tiered()
    tiered.ask("a!b.example")
    assert len(tiered.asked(D1)) == 1 and tiered.stage.take("TS1") == b""


def test_tiers_that_are_passed_over_are_counted() -> None:
    tiered = Tiered()
    tiered.stage.reset("TS1")
    tiered.ask(X)
    assert tiered.metric("tier1.asked") == tiered.metric("tier2.asked") == 1


FEW = Bounds(waiting_bytes_high=64, waiting_bytes_low=16, held_s=0.2)


def stalled() -> Tiered:
    """Build LS before a second tier that takes nothing, and is held up for no more. Asked are `a`
    to `i`, which have gone on to it, and `passed`, which has not."""
    tiered = Tiered(0, tables=2, tiers={"TS2": 2}, bounds=FEW)
    tiered.stage.held.add("TS2")
    tiered.ask("passed.example")
    tiered.stage.take("TS1")
    for letter in "abcdefghi":
        tiered.ask(f"{letter}.example")
    tiered.table_says(*[NOT_FOUND] * 9)
    tiered.wait(FEW.held_s)
    assert tiered.metric("TS2.link") == "STALLED"
    return tiered


def freed(tiered: Tiered) -> list[bytes]:
    """Let the second tier take what waits; return what else it is asked then."""
    tiered.stage.held.clear()
    tiered.stage.flush("TS2")
    tiered.stage.settle()
    return [line for line in tiered.stage.take("TS2").split() if len(line) > len("a.example")]


def test_what_goes_on_to_a_link_that_stalls_is_asked_once() -> None:
    """Also what it was passed over with, and what was asked since."""
    tiered = stalled()
    tiered.ask("after.example")
    tiered.stage.hear("TS1", b"passed.example - NOT FOUND\nafter.example - NOT FOUND\n")
    assert sorted(freed(tiered)) == [b"after.example", b"passed.example"]


def test_what_nobody_waits_for_any_more_goes_on_to_nobody() -> None:
    tiered = stalled()
    tiered.stage.hear("TS1", b"passed.example - NOT FOUND\n")
    tiered.stage.hear("TS1", b"passed.example 10.0.0.1 A IN\n")
    assert freed(tiered) == []


def test_a_link_that_is_new_is_asked_once_what_went_on() -> None:
    tiered = stalled()
    tiered.stage.hear("TS1", b"passed.example - NOT FOUND\n")
    tiered.stage.held.clear()
    tiered.stage.reset("TS2")
    tiered.stage.take("TS2")
    tiered.wait(0.5)
    tiered.stage.connect("TS2")
    assert tiered.stage.take("TS2").split().count(b"passed.example") == 1


def test_nothing_is_left_when_all_is_told() -> None:
    tiered = Tiered()
    tiered.say_lines("a.example", "b.example", "c.example")
    tiered.table_says(NOT_FOUND, "10.0.0.7 A IN", NOT_FOUND)
    tiered.answer(D1, "10.0.0.1", "10.0.0.1")
    assert not tiered.brain.parts.upstreams.barred.later
    assert tiered.brain.parts.policy.due == math.inf  # type: ignore[attr-defined]
    tiered.say_lines("d.example")
    tiered.table_says("10.0.0.7 A IN")
    assert tiered.brain.parts.policy.due == math.inf  # type: ignore[attr-defined]
    tiered.ask(X)
    tiered.ask("y.example", flags=RD | AD)
    assert len(tiered.brain.parts.upstreams.barred.later) == 2
    tiered.table_says(NOT_FOUND, NOT_FOUND)
    tiered.answer(D1, "10.0.0.1", "10.0.0.1")
    assert not tiered.brain.parts.upstreams.barred.later
    assert tiered.brain.parts.negatives.is_empty
    policy = tiered.brain.parts.policy
    assert isinstance(policy, TierPolicy) and policy.is_empty


def test_when_ls_wakes_late_what_it_knows_is_told() -> None:
    """All is due at once: the time of a tier, and that of the client."""
    tiered = Tiered()
    tiered.ask("a.test")
    tiered.stage.now += 60.0
    tiered.stage.step(Woken())
    assert tiered.codes() == [CODES["NXDOMAIN"]] and tiered.law_holds()


def test_without_tiers_a_silent_table_is_waited_for() -> None:
    tiered = Tiered(1, tiers={})
    for n in range(20):
        tiered.ask(f"n{n}.example")
        tiered.wait(0.5)
        tiered.answer(D1, "10.0.0.1")
    assert tiered.metric("TS1.state") == "SILENT"
    tiered.told()
    tiered.ask(X)
    tiered.answer(D1, "NXDOMAIN")
    tiered.wait(B.no_data_s - 0.001)
    assert tiered.codes() == []
    tiered.wait(0.001)
    assert tiered.codes() == [CODES["NXDOMAIN"]]


def test_what_no_table_of_any_tier_has_is_not_found() -> None:
    tiered = Tiered(0, tables=2, tiers={"TS2": 2})
    tiered.say_lines(X)
    tiered.table_says(NOT_FOUND)
    assert tiered.lines() == b""
    tiered.table_says(NOT_FOUND, table="TS2")
    assert tiered.lines() == f"{X} - NOT FOUND\n".encode() and tiered.law_holds()


def test_a_client_that_waits_no_longer_is_told_what_ls_knows() -> None:
    """Tables of later tiers have not had their time."""
    tiers = {"TS2": 2, "TS3": 3, "DNS1": 3}
    bounds = Bounds(dns_timeout_s=0.8)
    tiered = Tiered(1, tables=3, tiers=tiers, routes={b"lan": ()}, bounds=bounds)
    tiered.ask("nas.lan")
    tiered.wait(0.799)
    assert tiered.codes() == []
    tiered.wait(0.001)
    assert tiered.codes() == [CODES["NXDOMAIN"]] and tiered.law_holds()


def test_a_late_negative_is_not_heard_while_what_is_kept_waits() -> None:
    """A resolver said data, and says NXDOMAIN now, to the same question that it was asked twice."""
    tiered = Tiered(2, tiers={"DNS2": 2}, own_words=KEEPS)
    tiered.ask(X)
    tiered.wait(1.0)  # DNS1 is asked once more
    first, *again = tiered.asked(D1)
    tiered.say(first[0], said(first[1], "10.0.0.1"))
    assert again and tiered.codes() == [0]
    tiered.stage.take("TS1")
    tiered.ask(X)
    for conn, query in again:
        tiered.say(conn, said(query, "NXDOMAIN"))
    tiered.table_says(NOT_FOUND)
    assert tiered.codes() == [0] and tiered.law_holds()


def test_late_data_beside_a_failure_that_is_kept_is_told() -> None:
    """The tier of the resolver has its turn; LS only does not ask it again."""
    tiered = Tiered(1, tables=2, tiers={"TS2": 2, "DNS1": 2}, own_words=KEEPS)
    tiered.ask(X)
    tiered.table_says(NOT_FOUND, table="TS1")
    tiered.table_says(NOT_FOUND, table="TS2")
    tiered.wait(1.2)  # it is asked once more
    *late, (conn, query) = tiered.asked(D1)
    tiered.say(conn, said(query, "SERVFAIL"))
    assert late and tiered.codes() == [CODES["SERVFAIL"]]
    tiered.stage.take("TS1")
    tiered.ask(X)
    tiered.table_says(NOT_FOUND, table="TS1")
    assert tiered.codes() == []
    for conn, query in late:
        tiered.say(conn, said(query, "10.0.0.1"))
    assert tiered.codes() == [0] and tiered.law_holds()
