"""Routes: which resolvers a name belongs to, that no other hears of it, and what LS says of names
that belong to nobody.

Not here: how routes are written (`test_route_arguments.py`), and a network with chance
(`tests/sim/`).
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from nodes.dns.special_names import SPECIAL_NAMES
from nodes.ls.local_names import LocalNames
from nodes.ls.routes import Routes
from tests.support.dns_messages import CODES, question_of, said
from tests.support.resolver_cast import D1, D2, D3, Cast

B = Bounds()
CORP = {b"corp.example": ("DNS2",), b"lan": (), b"pub.corp.example": None}
PROBE = ". TYPE2"  # LS asks this itself, to see who is back
LAW = ("answered", "not_found", "no_data", "failed", "timed_out", "dropped", "pending")


class Routed(Cast):
    """LS before DNS1, who is asked for everything, and DNS2, who is for `corp.example` alone."""

    def __init__(
        self,
        count: int = 2,
        *,
        routes: dict[bytes, tuple[str, ...] | None] | None = None,
        routed: tuple[str, ...] = ("DNS2",),
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(count, routes=routes or CORP, routed=routed, **more)

    def named(self, resolver: str) -> list[str]:
        """Return what this one was asked since the last time, but for what LS asks itself."""
        questions = [question_of(query) for _, query in self.asked(resolver)]
        return [question for question in questions if question != PROBE]

    def law_holds(self) -> bool:
        return self.metric("asked") == sum(self.metric(end) for end in LAW)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("corp.example", D2),
        ("a.b.corp.example", D2),
        ("xcorp.example", D1),
        ("example", D1),
        ("pub.corp.example", D1),
        ("a.pub.corp.example", D1),
        ("corp.example.org", D1),
    ],
)
@pytest.mark.parametrize("kind", ["", " AAAA", " MX"])
def test_a_name_goes_to_the_servers_of_its_longest_route(name: str, whose: str, kind: str) -> None:
    """[P107]"""
    routed = Routed()
    routed.ask(name + kind)
    other = D1 if whose == D2 else D2
    assert routed.named(whose) == [f"{name}{kind}".replace("MX", "TYPE15")]
    assert routed.named(other) == []


@pytest.mark.parametrize("hedges", [False, True])
def test_of_one_read_each_server_is_asked_what_is_its(hedges: bool) -> None:
    """[P107]"""
    routed = Routed(extra_load=0.05 if hedges else None, tables=1 if hedges else 0)
    routed.say_lines(
        "a.example", "a.corp.example", "b.example", "pub.corp.example", "b.corp.example"
    )
    if hedges:
        routed.wait(B.join_s)
    assert set(routed.named(D1)) == {"a.example", "b.example", "pub.corp.example"}
    assert set(routed.named(D2)) == {"a.corp.example", "b.corp.example"}


@pytest.mark.parametrize("text", ["SERVFAIL", "REFUSED"])
def test_a_route_that_fails_is_nobody_elses_turn(text: str) -> None:
    """[P108]"""
    routed = Routed()
    routed.ask("a.corp.example")
    routed.answer(D2, text)
    assert routed.codes() == [CODES[text]]
    assert routed.named(D1) == [] and routed.law_holds()


def test_a_route_that_is_down_fails_at_once() -> None:
    """[P108]: nobody else is asked (AdGuardHome issue 8606)."""
    routed = Routed()
    down(routed, D2, "r.corp.example")
    routed.ask("a.corp.example")
    assert routed.codes() == [CODES["SERVFAIL"]] and routed.named(D1) == []


def test_a_route_that_is_down_fails_nothing_else() -> None:
    """Nor is a negative of another held for less, or for more."""
    routed = Routed()
    down(routed, D2, "r.corp.example")
    routed.ask("a.example")
    assert routed.codes() == []
    routed.answer(D1, "10.0.0.1")
    assert routed.codes() == [0]


def test_a_silent_route_times_out_and_no_other_is_asked() -> None:
    """[P107] [P108]: however often it is resent."""
    routed = Routed()
    routed.ask("a.corp.example")
    routed.wait(B.dns_timeout_upstream_s)
    assert routed.codes() == [CODES["SERVFAIL"]] and routed.named(D1) == []
    assert set(routed.named(D2)) == {"a.corp.example"}


def test_others_are_not_waited_for() -> None:
    routed = Routed()
    routed.ask("a.corp.example")
    routed.answer(D2, "NXDOMAIN")
    assert routed.codes() == [CODES["NXDOMAIN"]]
    routed.ask("a.example")
    routed.answer(D1, "NXDOMAIN")
    assert routed.codes() == [CODES["NXDOMAIN"]]


def test_others_that_differ_are_not_waited_for() -> None:
    """A server that has what another denied is waited for longer, of what it is asked."""
    routed = Routed(3, routes={b"corp.example": ("DNS2", "DNS3")}, routed=("DNS2", "DNS3"))
    routed.ask("a.corp.example")
    routed.answer(D2, "NXDOMAIN")
    parts = routed.brain.parts
    parts.negatives.differed(parts.upstreams.by_name[D1], routed.stage.now)
    routed.wait(B.grace_unknown_s)
    assert routed.codes() == [CODES["NXDOMAIN"]]


@pytest.mark.parametrize("name", ["nas.home.arpa", "a.test"])
def test_where_all_are_routes_special_names_are_nobodys(name: str) -> None:
    routed = Routed(1, routes={b"corp.example": ("DNS1",)}, routed=("DNS1",))
    routed.ask(name)
    assert routed.codes() == [CODES["NXDOMAIN"]] and routed.named(D1) == []


def test_what_belongs_to_nobody_does_not_exist() -> None:
    routed = Routed()
    for question in ("lan", "nas.lan AAAA", "nas.lan MX"):
        routed.ask(question)
    assert routed.codes() == [CODES["NXDOMAIN"]] * 3
    assert routed.named(D1) == routed.named(D2) == []
    assert routed.metric("kept_here") == 3 and routed.law_holds()


def test_a_table_has_a_name_that_belongs_to_nobody() -> None:
    routed = Routed(tables=1)
    routed.ask("nas.lan")
    assert routed.codes() == []
    routed.stage.hear("TS1", b"nas.lan 10.0.0.7 A IN\n")
    assert routed.codes() == [0] and routed.named(D1) == []


def test_a_table_answers_for_names_of_a_route() -> None:
    routed = Routed(tables=1)
    routed.ask("a.corp.example")
    routed.stage.hear("TS1", b"a.corp.example 10.0.0.7 A IN\n")
    assert routed.codes() == [0]


def test_a_route_goes_over_names_that_must_not_leave() -> None:
    routes = {b"home.arpa": ("DNS2",), b"arpa": ("DNS1",), b"test": ("DNS2",)}
    routed = Routed(routes=routes)
    for name, whose in (
        ("nas.home.arpa", D2),
        ("7.1.168.192.in-addr.arpa", D1),
        ("_dns.resolver.arpa", D1),
        ("a.test", D2),
    ):
        routed.ask(name)
        assert routed.named(whose) == [name]
        assert routed.named(D1 if whose == D2 else D2) == []
    routed.ask("a.local")
    assert routed.named(D2) == []


def test_the_default_does_not_let_special_names_leave() -> None:
    routed = Routed(
        routes={b"arpa": ("DNS2",), b"home.arpa": None, b"10.in-addr.arpa": (), b"test": None},
        resolvers=[],
    )
    for name in ("a.home.arpa", "1.0.0.10.in-addr.arpa", "x.test"):
        routed.ask(name)
    assert routed.named(D2) == []
    assert CODES["NXDOMAIN"] in routed.codes()


def test_a_question_that_nobody_can_be_asked_fails_at_once() -> None:
    """The table has no words for it, and the only resolver is that of a route."""
    routed = Routed(1, tables=1, routes={b"corp.example": ("DNS1",)}, routed=("DNS1",))
    routed.ask("a!b.example")
    assert routed.codes() == [CODES["SERVFAIL"]] and routed.named(D1) == []
    routed.ask("a.example MX")
    assert routed.codes() == [] and routed.named(D1) == []
    routed.stage.hear("TS1", b"a.example - NOT FOUND\n")
    assert routed.codes() == [CODES["NXDOMAIN"]] and routed.law_holds()


def test_a_late_reply_of_a_route_counts_for_its_names_alone() -> None:
    """A server that says something of a name that it was not asked is not heard."""
    routed = Routed()
    routed.ask("a.corp.example")
    conn, query = routed.query_at(D2)
    routed.ask("a.example")
    routed.say(conn, said(query, "10.0.0.1"))
    assert routed.codes() == [0]
    routed.answer(D1, "10.0.0.2")
    assert routed.codes() == [0] and routed.law_holds()


def test_a_server_may_be_asked_for_all_and_for_its_route() -> None:
    routed = Routed(routed=())
    routed.ask("a.corp.example")
    assert (routed.named(D1), routed.named(D2)) == ([], ["a.corp.example"])
    routed.ask("a.example")
    assert routed.named(D1) == routed.named(D2) == ["a.example"]


def test_servers_of_one_route_race() -> None:
    routed = Routed(3, routes={b"corp.example": ("DNS2", "DNS3")}, routed=("DNS2", "DNS3"))
    routed.ask("a.corp.example")
    assert routed.named(D1) == [] and len(routed.asked(D2)) == 1
    routed.answer(D3, "10.0.0.1")
    assert routed.codes() == [0]


def test_a_route_goes_with_tiers() -> None:
    """Its servers are in none: they are asked at once, and the others not at all."""
    routed = Routed(3, routes={b"corp.example": ("DNS3",)}, routed=("DNS3",), tiers={"DNS2": 2})
    routed.ask("a.corp.example")
    routed.answer(D3, "SERVFAIL")
    assert routed.codes() == [CODES["SERVFAIL"]]
    assert routed.named(D1) == routed.named(D2) == []
    routed.ask("a.example")
    routed.answer(D1, "SERVFAIL")
    assert routed.named(D2) == ["a.example"] and routed.named(D3) == []


def down(routed: Routed, resolver: str, name: str) -> None:
    """Let the network say that nothing gets there."""
    routed.ask(name)
    for _ in range(3):
        for conn in {conn for conn, _ in routed.asked(resolver)}:
            if conn in routed.stage.replies:
                routed.stage.break_socket(conn)
        routed.wait(0.05)
    assert routed.metric(f"{resolver}.state") == "UNREACHABLE"
    routed.told()
    routed.named(D1)
    routed.named(D2)


# -- the parts -------------------------------------------------------------------------------------

labels = st.sampled_from([b"a", b"b", b"corp", b"home", b"arpa", b"test", b"local"])
names = st.lists(labels, min_size=1, max_size=4).map(b".".join)
tables = st.dictionaries(names, st.none() | st.integers(0, 7), max_size=8)


def ends(name: bytes) -> list[bytes]:
    """Return a name and all names above it, the longest first."""
    parts = name.split(b".")
    return [b".".join(parts[n:]) for n in range(len(parts))]


@given(table=tables, name=names, type_=st.sampled_from([b"", b" AAAA", b" TYPE15 +do"]))
def test_the_longest_name_holds(table: dict[bytes, int | None], name: bytes, type_: bytes) -> None:
    routes = Routes(table, 1, 7)
    found = [table[end] for end in ends(name) if end in table]
    belongs = found[0] if found else None
    for _ in range(2):
        assert routes[name + type_] == 7 & ~(1 if belongs is None else belongs)


@given(table=tables, name=names, leaked=st.sets(st.sampled_from(list(SPECIAL_NAMES)), max_size=3))
def test_local_names_are_the_special_ones_without_a_route(
    table: dict[bytes, int | None], name: bytes, leaked: set[bytes]
) -> None:
    found = [table[end] for end in ends(name) if end in table]
    local = LocalNames(leaked, table)[name]
    if found and found[0] is not None:
        assert (local is not None) is (found[0] == 0)
        return
    special = [
        SPECIAL_NAMES[end] for end in ends(name) if end in SPECIAL_NAMES and end not in leaked
    ]
    assert local is (special[0] if special else None)


def test_what_is_remembered_has_a_bound() -> None:
    routes, local = Routes({b"a": 2}, 1, 3), LocalNames((), {b"a": 0})
    for n in range(40_000):
        assert routes[b"%d.a" % n] == 1 and local[b"%d.a" % n] is not None
    assert len(routes) <= 16_384 and len(local) <= 16_384
