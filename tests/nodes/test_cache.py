"""The cache of LS: what is told of what resolvers said, for how long, and when it is not told.

Rows of other caches' bugs, each as a test, and the rules of proto.md. The law of conservation is
looked at whenever something is asked, said or waited for.

Not here: TTLs in messages (`tests/nodes/test_lifetime.py`), and what goes when there is no room
(`tests/nodes/test_store.py`).
"""

from dataclasses import replace
from typing import Any

import pytest

from core.bounds import Bounds
from core.operator import FlushAsked
from core.protocol.outcome import Relayed
from nodes.dns.reply import read_reply
from nodes.ls.setup import OwnWordsSetup, ServerSetup
from tests.support.dns_messages import (
    AA,
    AD,
    BOGUS,
    CD,
    CODES,
    DO,
    RA,
    RD,
    TO_QUESTION,
    address,
    name,
    opt,
    option,
    question_of,
    record,
    reply,
    said,
    section_of,
)
from tests.support.resolver_cast import D1, D2, THERE, Cast

NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
STALE, CACHED_ERROR = option(15, b"\0\3"), option(15, b"\0\x0d")
TRIED = ". TYPE2"  # asked by LS itself, of whoever may be back
OLD, NEW = "10.0.0.1", "10.0.0.2"
X = "x.example"
B = Bounds()
LAW = ("answered", "not_found", "no_data", "failed", "timed_out", "dropped", "pending")


def soa(minimum_s: int, ttl_s: int | None = None) -> bytes:
    data = name("ns.example") + name("h.example") + bytes(16) + minimum_s.to_bytes(4)
    return record(TO_QUESTION, "SOA", data, minimum_s if ttl_s is None else ttl_s)


def says(query: bytes, text: str, ttl_s: int = 60) -> bytes:
    """Write a reply: an address, MX, NXDOMAIN or NOERROR with an SOA record, or an error."""
    if text == "MX":
        return reply(query, answers=(record(TO_QUESTION, "MX", b"\0\x0a\1m\0", ttl_s),))
    if text in ("NXDOMAIN", "NOERROR"):
        return reply(query, text, authorities=(soa(ttl_s),))
    if text in CODES or text == "BOGUS":
        return said(query, text)
    kind = "AAAA" if ":" in text else "A"
    return reply(query, answers=(record(TO_QUESTION, kind, address(text), ttl_s),), flags=RD | RA)


def ttl_of(message: bytes) -> int:
    """Return the TTL of the first record, which is one of the question's name."""
    at = 12 + len(section_of(message))
    assert message[at : at + 2] == TO_QUESTION
    return int.from_bytes(message[at + 6 : at + 10])


def as_server(number: int, addresses: tuple[Any, ...]) -> ServerSetup:
    return ServerSetup(f"DNS{number}", addresses, addresses[0][1])


class Kept(Cast):
    """LS with a cache, before two resolvers. The law holds at every step."""

    def __init__(
        self,
        count: int = 2,
        *,
        cache: int = 1 << 20,
        stale_s: float = 86_400.0,
        leaked: tuple[bytes, ...] = (),
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(count, own_words=OwnWordsSetup(cache, stale_s, leaked), **more)
        self.stage.brain = self  # type: ignore[assignment]

    @property
    def due(self) -> float:
        return self.brain.due

    def step(self, event: Any, now: float) -> Any:  # noqa: ANN401
        """Let LS take an event, and look at the law."""
        effects = self.brain.step(event, now)
        assert self.metric("asked") == sum(self.metric(end) for end in LAW)
        assert self.metric("cache_bytes") <= 1 << 20
        return effects

    def named(self, resolver: str) -> list[str]:
        """Return what this one was asked since the last time, but for what LS asks itself."""
        questions = [question_of(query) for _, query in self.asked(resolver)]
        return [question for question in questions if question != TRIED]

    def all_named(self) -> list[str]:
        return [question for resolver in (D1, D2) for question in self.named(resolver)]

    def hear(self, resolver: str, text: str, ttl_s: int = 60) -> list[tuple[str, bytes]]:
        """Let it say this to all that it was asked; return that."""
        asked = self.asked(resolver)
        for conn, query in asked:
            self.say(conn, says(query, text, ttl_s))
        return asked

    def keep(
        self,
        question: str = X,
        text: str = OLD,
        ttl_s: int = 60,
        **more: Any,  # noqa: ANN401
    ) -> None:
        """Let both say this, so that it is kept."""
        self.ask(question, **more)
        self.hear(D1, text, ttl_s)
        self.hear(D2, text, ttl_s)
        assert len(self.told()) == 1

    def keep_beside(self, text: str = OLD, question: str = X, ttl_s: int = 60) -> None:
        """Keep this where a table does not have the name."""
        name_ = question.partition(" ")[0]
        self.ask(question)
        for line in self.stage.take("TS1").splitlines():
            self.stage.hear("TS1", line + b" - NOT FOUND\n")
        self.hear(D1, text, ttl_s)
        self.hear(D2, text, ttl_s)
        assert len(self.told()) == 1, name_

    def hit(self, question: str = X, **more: Any) -> bytes:  # noqa: ANN401
        """Ask, and return what is told at once; nobody is asked for it."""
        self.all_named()
        self.ask(question, **more)
        ((message, _),) = self.told()
        assert self.all_named() == []
        return message

    def miss(self, question: str = X, **more: Any) -> None:  # noqa: ANN401
        """Ask; nothing is told, and resolvers are asked."""
        self.ask(question, **more)
        assert self.told() == []

    def answers(self) -> list[str]:
        """Return the addresses that were told since the last time, or codes."""
        found = []
        for message, _ in self.told():
            if message[3] & 15 or not int.from_bytes(message[6:8]):
                found.append(next(text for text, code in CODES.items() if code == message[3] & 15))
                continue
            at = 12 + len(section_of(message)) + 12
            found.append(".".join(map(str, message[at : at + 4])))
        return found

    def silence(self, resolver: str) -> None:
        """Let it be silent, while the other answers."""
        other = D1 if resolver == D2 else D2
        for n in range(20):
            self.ask(f"s{n}.example")
            self.answer(other, "10.0.0.9")
        self.wait(1.5)
        assert any(f"{resolver} is silent" in report for report in self.stage.reports)
        self.told()
        self.asked(resolver)

    def refuse(self, *resolvers: str) -> None:
        """Let the network say that nothing gets there."""
        self.ask("r.example")
        for _ in range(2):
            for resolver in resolvers:
                for conn in {conn for conn, _ in self.asked(resolver)}:
                    if conn in self.stage.replies:
                        self.stage.break_socket(conn)
        for resolver in resolvers:
            assert self.metric(f"{resolver}.state") == "UNREACHABLE"


def test_what_was_said_is_told_again_and_nobody_is_asked() -> None:
    kept = Kept()
    kept.keep()
    message = kept.hit(whence=THERE)
    assert message.endswith(address(OLD)) and ttl_of(message) == 60
    kept.say_lines("X.Example", X)
    assert kept.lines() == b"x.example 10.0.0.1 A IN\n" * 2
    assert kept.all_named() == []
    assert [kept.metric(key) for key in ("asked", "answered", "cached")] == [4, 4, 3]
    assert kept.metric("cache_entries") == 1 and kept.metric("cache_bytes") > 900


@pytest.mark.parametrize(
    ("text", "line"), [("NXDOMAIN", b"- NOT FOUND"), ("NOERROR", b"- NO DATA")]
)
def test_negatives_are_told_again_too(text: str, line: bytes) -> None:
    kept = Kept()
    kept.keep(text=text)
    message = kept.hit()
    assert message[3] & 15 == CODES[text] and ttl_of(message) == 60
    kept.say_lines(X)
    assert kept.lines() == b"x.example %b\n" % line
    key = "not_found" if text == "NXDOMAIN" else "no_data"
    assert kept.metric(key) == 3 and kept.metric("cached") == 2


def test_in_one_read_what_is_known_is_told_and_the_rest_asked() -> None:
    """Each is told once, and as often as it is there."""
    kept = Kept()
    kept.keep("a.example")
    kept.keep("b.example", "NXDOMAIN")
    kept.keep("c.example", "NOERROR")
    kept.all_named()
    kept.say_lines("A.example", "x.example", "B.example", "y.Example", "C.example", "a.example")
    assert sorted(kept.lines().splitlines()) == [
        b"B.example - NOT FOUND",
        b"C.example - NO DATA",
        b"a.example 10.0.0.1 A IN",
        b"a.example 10.0.0.1 A IN",
    ]
    assert kept.named(D1) == kept.named(D2) == ["x.example", "y.example"]
    assert kept.metric("pending") == 2 and kept.metric("cached") == 4


def test_without_a_cache_nothing_is_kept() -> None:
    cast = Cast()
    cast.ask(X)
    cast.answer(D1, OLD)
    cast.ask(X)
    assert len(cast.told()) == 1 and len(cast.asked(D1)) == 1
    assert not [value for value in cast.brain.metrics() if value.key.startswith("cache")]


# -- 1: a failure shadows data ---------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED", "BOGUS"])
def test_a_late_failure_does_not_shadow_data(failure: str) -> None:
    """[P96]: CoreDNS#7956."""
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, OLD)
    kept.hear(D2, failure)
    assert kept.answers() == [OLD]
    assert kept.hit().endswith(address(OLD))


@pytest.mark.parametrize("stale_s", [0.0, 86_400.0])
def test_a_failure_is_forgotten_when_there_is_data(stale_s: float) -> None:
    """[P96] [P98]: also data that comes when the failure has been told."""
    kept = Kept(stale_s=stale_s)
    kept.ask(X)
    kept.hear(D1, "SERVFAIL")
    kept.wait(B.grace_failed_s)
    assert kept.answers() == ["SERVFAIL"]
    kept.hear(D2, OLD)
    assert kept.answers() == [] and kept.metric("repaired") == 1
    assert kept.hit().endswith(address(OLD))


def test_a_failure_leaves_old_data_in_place() -> None:
    """[P96]: it is told once more when the next ones fail, and a failure is not."""
    kept = Kept()
    kept.keep(ttl_s=1)
    for _ in range(3):
        kept.wait(B.stale_again_s)
        kept.miss()
        kept.hear(D1, "SERVFAIL")
        kept.hear(D2, "REFUSED")
        assert kept.answers() == [OLD]
    assert kept.metric("failed") == 0 and kept.metric("stale") == 3


# -- 2: a failure that is kept as long as data -----------------------------------------------------


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
def test_a_failure_is_kept_for_5_s_and_says_so(failure: str) -> None:
    """numa#376 and pdns PR#4865: RFC 9520. Asking for it keeps it no longer."""
    kept = Kept()
    kept.keep(text=failure)
    for wait_s in (0.0, 2.5, 2.499):
        kept.wait(wait_s)
        message = kept.hit(edns=opt())
        assert message[3] & 15 == CODES[failure] and message.endswith(opt(CACHED_ERROR))
        kept.say_lines(X)
        assert kept.lines() == b"x.example - FAILED\n"
    kept.wait(0.001)
    kept.miss()
    assert kept.named(D1) == kept.named(D2) == [X]
    assert kept.metric("cache_entries") == 0 and kept.metric("cached") == 0


def test_a_bogus_name_is_told_with_both_errors() -> None:
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, "BOGUS")
    assert kept.answers() == ["SERVFAIL"]
    message = kept.hit(edns=opt())
    assert message[3] & 15 == SERVFAIL and message.endswith(opt(BOGUS + CACHED_ERROR))
    kept.wait(5.0)
    kept.miss()


def test_that_time_was_up_is_not_kept() -> None:
    """No server has said so."""
    kept = Kept()
    kept.ask(X)
    kept.wait(10.0)
    assert kept.answers() == ["SERVFAIL"]
    kept.all_named()
    kept.miss()
    assert kept.all_named()


@pytest.mark.parametrize("tables", [0, 1])
def test_a_failure_is_forgotten_when_a_server_is_back(tables: int) -> None:
    kept = Kept(tables=tables, refused={f"DNS2.{n}" for n in range(1, 5)})
    kept.ask(X)
    kept.hear(D1, "SERVFAIL")
    kept.stage.take("TS1")
    if tables:
        kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    assert kept.answers() == ["SERVFAIL"]
    kept.wait(2.0)
    assert kept.metric("DNS2.link") == "UP"
    kept.all_named()
    kept.miss()
    assert X in kept.named(D1) and X in kept.named(D2)


@pytest.mark.parametrize("is_one_down", [False, True])
def test_a_failure_beside_tables_keeps_itself_no_longer(is_one_down: bool) -> None:
    """However often it is told, a resolver is asked every 5 s, also where another is down."""
    kept = Kept(tables=1)
    if is_one_down:
        kept.refuse(D2)
        kept.told()
    kept.all_named()
    asked_at = []
    for second in range(20):
        kept.ask(X)
        kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
        for resolver in (D1, D2):
            for conn, query in kept.asked(resolver):
                if question_of(query) == X and not (is_one_down and resolver == D2):
                    kept.say(conn, said(query, "SERVFAIL"))
                    asked_at += [second] * (resolver == D1)
        kept.wait(1.0)
    assert asked_at == [0, 5, 10, 15]


# -- 3: old data that is told at once --------------------------------------------------------------


def test_old_data_is_not_told_before_somebody_was_asked() -> None:
    """[P97]: AdGuardHome#8596, unbound#1175, CoreDNS#4028: whoever has newer data is heard."""
    kept = Kept()
    kept.keep(ttl_s=1)
    kept.wait(1.0)
    kept.miss()
    assert kept.named(D2) == [X]
    kept.hear(D1, NEW)
    assert kept.answers() == [NEW] and kept.hit().endswith(address(NEW))
    assert kept.metric("stale") == 0


@pytest.mark.parametrize("text", ["NXDOMAIN", "NOERROR"])
def test_a_negative_is_better_than_old_data(text: str) -> None:
    """CoreDNS#3586; and once it was said, the old data is gone."""
    kept = Kept()
    kept.keep(ttl_s=1)
    kept.wait(1.0)
    kept.miss()
    kept.hear(D1, text)
    kept.hear(D2, text)
    assert kept.answers() == [text]
    assert kept.hit()[3] & 15 == CODES[text]
    kept.wait(60.0)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == ["SERVFAIL"]


@pytest.mark.parametrize("text", ["NXDOMAIN", "NOERROR"])
def test_an_old_negative_is_not_told(text: str) -> None:
    kept = Kept()
    kept.keep(text=text, ttl_s=1)
    kept.wait(1.0)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == ["SERVFAIL"]


@pytest.mark.parametrize(("stale_s", "is_told"), [(0.0, False), (100.0, True), (99.0, False)])
def test_data_is_told_no_longer_than_stale_says(stale_s: float, is_told: bool) -> None:
    kept = Kept(stale_s=stale_s)
    kept.keep(ttl_s=1)
    kept.wait(100.5)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == [OLD if is_told else "SERVFAIL"]


# -- 4: old data that is told only when all are down -----------------------------------------------


def expired(**more: Any) -> Kept:  # noqa: ANN401
    """Build LS whose data has just ended."""
    kept = Kept(**more)
    kept.keep(ttl_s=1)
    kept.wait(1.0)
    kept.all_named()
    return kept


def told_old(kept: Kept, after_s: float) -> None:
    """Check that the old data is told after so long, and not before; and that it says so."""
    if after_s:
        kept.wait(after_s - 0.001)
        assert kept.told() == []
        kept.wait(0.001)
    ((message, _),) = kept.told()
    assert message.endswith(opt(STALE)) and ttl_of(message) == 30
    assert address(OLD) in message and message[3] & 15 == NOERROR
    assert kept.metric("stale") == 1


def test_both_silent_old_data_is_told_at_1_8_s() -> None:
    """[P97]: dnsdist#15294."""
    kept = expired()
    kept.miss(edns=opt())
    told_old(kept, 1.8)


def test_both_known_to_be_silent_old_data_is_told_at_1_8_s() -> None:
    kept = Kept()
    kept.silence(D2)
    kept.keep(ttl_s=20)
    for n in range(20):
        kept.ask(f"n{n}.example")
    kept.wait(20.0)
    kept.told()
    assert any("DNS1 is silent" in report for report in kept.stage.reports)
    kept.miss(edns=opt())
    told_old(kept, 1.8)


def test_both_failed_old_data_is_told_at_once() -> None:
    kept = expired()
    kept.miss(edns=opt())
    kept.hear(D1, "SERVFAIL")
    assert kept.told() == []
    kept.hear(D2, "REFUSED")
    told_old(kept, 0.0)


def test_one_failed_and_one_known_silent_it_is_told_at_30_ms() -> None:
    kept = Kept()
    kept.silence(D2)
    kept.ask(X)
    kept.hear(D1, OLD, 1)
    kept.told()
    kept.wait(1.0)
    kept.all_named()
    kept.miss(edns=opt())
    kept.hear(D1, "SERVFAIL")
    told_old(kept, 0.03)


def test_one_failed_and_one_awaited_it_is_told_after_the_grace() -> None:
    kept = expired()
    kept.miss(edns=opt())
    kept.hear(D1, "SERVFAIL")
    told_old(kept, B.grace_failed_s)


@pytest.mark.parametrize("text", [NEW, "NXDOMAIN", "NOERROR"])
@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
def test_one_failed_the_other_is_told(failure: str, text: str) -> None:
    """[P97]: whatever it says, if that is better."""
    kept = expired()
    kept.miss()
    kept.hear(D1, failure)
    kept.wait(0.02)
    kept.hear(D2, text)
    assert kept.answers() == [text] and kept.metric("stale") == 0


def test_one_is_down_and_one_fails_old_data_is_told_at_once() -> None:
    kept = Kept()
    kept.refuse(D2)
    kept.hear(D1, "NXDOMAIN")
    kept.told()
    kept.ask(X)
    kept.hear(D1, OLD, 1)
    kept.wait(1.0)
    kept.told()
    kept.miss(edns=opt())
    kept.hear(D1, "SERVFAIL")
    told_old(kept, 0.0)


def test_both_down_old_data_is_told_at_once() -> None:
    """No server is there to be asked."""
    kept = Kept()
    kept.keep(ttl_s=1)
    kept.refuse(D1, D2)
    kept.wait(1.0)
    kept.told()
    kept.ask(X, edns=opt())
    told_old(kept, 0.0)


def test_both_go_down_old_data_is_told_at_once() -> None:
    kept = expired()
    kept.miss(edns=opt())
    for _ in range(2):
        for resolver in (D1, D2):
            for conn in {conn for conn, _ in kept.asked(resolver)}:
                if conn in kept.stage.replies:
                    kept.stage.break_socket(conn)
    told_old(kept, 0.0)


def test_a_client_with_less_patience_is_told_old_data_in_time() -> None:
    kept = expired(bounds=replace(B, dns_timeout_s=1.0))
    kept.say_lines(X)
    kept.wait(1.8)
    assert kept.lines() == b"x.example 10.0.0.1 A IN\n"


@pytest.mark.parametrize("others_change", [False, True])
def test_late_data_is_no_better_than_a_bogus_name(others_change: bool) -> None:
    """[P89]: now, or when it is asked for next; nor where another resolver is lost meanwhile."""
    kept = Kept(3)
    kept.ask(X)
    late = kept.asked(D2)
    kept.hear(D1, "BOGUS")
    assert kept.answers() == ["SERVFAIL"]
    if others_change:
        kept.refuse("DNS3")
    for conn, query in late:
        kept.say(conn, says(query, OLD))
    assert kept.metric("repaired") == 0
    assert kept.hit()[3] & 15 == SERVFAIL


def test_bogus_is_final_also_where_there_is_old_data() -> None:
    """A validator's word: the name is forged, and was when it was kept, perhaps."""
    kept = expired()
    kept.miss()
    kept.hear(D1, "BOGUS")
    assert kept.answers() == ["SERVFAIL"] and kept.metric("stale") == 0
    kept.all_named()
    kept.miss()
    assert kept.named(D1) == [X], "a failure is not told while there is old data"
    kept.hear(D2, "SERVFAIL")
    kept.wait(1.2)
    assert kept.answers() == [OLD]


# -- 5: a storm on a name that has ended -----------------------------------------------------------


def test_a_name_that_has_ended_is_asked_once_however_many_ask() -> None:
    """unbound PR#1174, AdGuardHome#8584: they join; and are told together."""
    kept = expired()
    for n in range(50):
        kept.ask(X, whence=("127.0.0.1", 5_000 + n))
    assert kept.named(D1) == kept.named(D2) == [X]
    kept.wait(1.8)
    assert kept.answers() == [OLD] * 50
    assert kept.metric("stale") == 1


def test_old_data_that_was_told_is_told_at_once_for_5_s() -> None:
    """Nobody is asked meanwhile; then once more."""
    kept = expired()
    kept.miss()
    kept.wait(1.8)
    assert kept.answers() == [OLD]
    for wait_s in (0.0, 2.5, 2.499):
        kept.wait(wait_s)
        message = kept.hit(edns=opt())
        assert message.endswith(opt(STALE)) and ttl_of(message) == 30
    assert kept.metric("stale") == 1 and kept.metric("cached") == 3
    kept.wait(0.001)
    kept.miss()
    assert kept.named(D1) == kept.named(D2) == [X]
    kept.wait(1.8)
    assert kept.answers() == [OLD] and kept.metric("stale") == 2


def test_old_data_that_was_told_ends_as_stale_says() -> None:
    """[P97]: also where it was told shortly before."""
    kept = expired(stale_s=3.0)
    kept.miss()
    kept.wait(1.8)
    assert kept.answers() == [OLD]
    kept.wait(1.199)
    kept.hit()
    kept.wait(0.001)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == ["SERVFAIL"]


def test_a_storm_on_a_failure_is_one_question_in_5_s() -> None:
    """RFC 9520, section 3.2."""
    kept = Kept()
    kept.keep(text="SERVFAIL")
    for _ in range(100):
        kept.wait(0.049)
        kept.hit()
    assert kept.metric("failed") == 101


# -- 6: the key, and the flags in it ---------------------------------------------------------------

FLAGS: list[dict[str, Any]] = [
    {},
    {"flags": RD | AD},
    {"flags": RD | CD},
    {"edns": opt(flags=DO)},
    {"flags": RD | CD, "edns": opt(flags=DO)},
]


@pytest.mark.parametrize("first", range(len(FLAGS)))
def test_a_reply_is_told_to_those_with_its_flags_only(first: int) -> None:
    """blocky#455, unbound#649: whatever CD lets pass is for nobody who wants it checked."""
    kept = Kept()
    kept.keep(**FLAGS[first])
    kept.all_named()
    for number, flags in enumerate(FLAGS):
        if number == first:
            kept.hit(**flags)
        else:
            kept.miss(**flags)
            assert len(kept.named(D1)) == 1


def test_types_are_kept_apart() -> None:
    kept = Kept()
    kept.keep()
    kept.all_named()
    kept.miss(f"{X} AAAA")
    kept.miss(f"{X} MX")
    assert kept.named(D1) == [f"{X} AAAA", f"{X} TYPE15"]
    kept.miss("y.example")


def test_edns_alone_is_no_part_of_the_key() -> None:
    kept = Kept()
    kept.keep()
    assert kept.hit(edns=opt()).endswith(opt())
    assert not kept.hit().endswith(opt())


def test_the_spelling_of_a_client_is_its_own() -> None:
    kept = Kept()
    kept.keep()
    query = kept.query("X.eXample")
    assert section_of(kept.hit("X.eXample")) == section_of(query)


@pytest.mark.parametrize("question", [f"{X} -rd", f"{X} ANY"])
def test_what_is_not_for_everybody_is_not_kept(question: str) -> None:
    """Without recursion a resolver tells what it has; to ANY, what it likes (RFC 8482)."""
    kept = Kept()
    flags = 0 if "-rd" in question else RD
    asked = X if flags == 0 else f"{X} ANY"
    for _ in range(2):
        kept.ask(asked, flags=flags)
        kept.hear(D1, OLD)
        assert kept.answers() == [OLD]
        kept.all_named()
    assert kept.metric("cache_entries") == 0
    kept.keep(f"{X} AAAA", "SERVFAIL", flags=flags)
    kept.ask(f"{X} AAAA", flags=flags)
    assert len(kept.told()) == bool(flags)


# -- 7: options of one client, told to others ------------------------------------------------------


def test_options_of_one_hop_are_not_kept() -> None:
    """ctrld#242, dnsproxy#329: a cookie breaks the next one's. Nor does the key have any."""
    kept = Kept()
    cookie, nsid, subnet = option(10, b"c" * 8), option(3, b"ns1"), option(8, b"\0\1\x18\0\1\2\3")
    kept.ask(X, edns=opt(cookie + subnet))
    conn, query = kept.query_at(D1)
    assert cookie not in query and subnet not in query
    answer = record(TO_QUESTION, "A", address(OLD))
    options = cookie + nsid + option(12, bytes(8)) + option(15, b"\0\x04")
    kept.say(conn, reply(query, answers=(answer,), additionals=(opt(options),)))
    kept.told()
    for edns in (opt(), opt(option(10, b"d" * 8)), opt(option(8, b"\0\1\x18\0\4\5\6"))):
        assert kept.hit(edns=edns).endswith(opt(option(15, b"\0\x04")))
    assert kept.hit().endswith(answer)


# -- 8: TTLs ---------------------------------------------------------------------------------------


def test_ttls_fall_by_every_second_that_has_begun() -> None:
    """[P94]: pdns#300, dnscrypt#1624; and end above 0 (pdns#7534, pdns#5603)."""
    kept = Kept()
    kept.keep(ttl_s=5)
    found = []
    for _ in range(16):
        found.append(ttl_of(kept.hit()))
        kept.wait(0.25)
    assert found == [5, *[4] * 4, *[3] * 4, *[2] * 4, *[1] * 3]
    assert ttl_of(kept.hit()) == 1
    kept.wait(0.001)
    kept.miss()
    assert kept.named(D1) == [X]


def test_ttls_of_names_told_together_fall_each_by_itself() -> None:
    kept = Kept()
    kept.keep("a.example", ttl_s=10)
    kept.wait(2.5)
    kept.keep("b.example", ttl_s=10)
    kept.wait(1.0)
    assert [ttl_of(kept.hit(f"{name_}.example")) for name_ in "abab"] == [6, 9, 6, 9]


@pytest.mark.parametrize("ttl_s", [0, 1])
def test_a_ttl_of_0_is_not_kept_and_ends_what_was(ttl_s: int) -> None:
    """In its last second a reply has ended; a second is kept for the moment in which it came."""
    kept = Kept()
    kept.keep(ttl_s=2)
    kept.wait(2.0)
    kept.keep(text=NEW, ttl_s=ttl_s)
    assert kept.metric("cache_entries") == ttl_s
    kept.wait(0.0 if ttl_s == 0 else 0.001)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == [NEW if ttl_s else "SERVFAIL"]


def test_years_later_no_ttl_has_gone_below_0() -> None:
    kept = Kept(stale_s=1e9)
    kept.keep(ttl_s=2**32 - 1)
    kept.wait(86_399.0)
    assert ttl_of(kept.hit()) == 1
    kept.stage.now += 1e8
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    ((message, _),) = kept.told()
    assert ttl_of(message) == 30


def test_flags_are_those_of_the_reply_but_for_aa() -> None:
    """dnsproxy#80: the OPT record is there. Nobody who kept it is responsible for the name."""
    kept = Kept()
    kept.ask(X, flags=RD | AD, edns=opt(flags=DO))
    conn, query = kept.query_at(D1)
    answer = record(TO_QUESTION, "A", address(OLD))
    kept.say(conn, reply(query, answers=(answer,), flags=RD | RA | AD | AA))
    kept.told()
    message = kept.hit(flags=RD | AD, edns=opt(flags=DO))
    flags = int.from_bytes(message[2:4])
    assert flags & (AA | AD | RA | RD) == AD | RA | RD
    assert message.endswith(opt(flags=DO)) and message[10:12] == b"\0\1"


# -- 9: a refresh before the end -------------------------------------------------------------------


def test_nobody_is_asked_before_the_end() -> None:
    """routedns#47: a resolver that keeps it, too, would say what is left of the same TTL."""
    kept = Kept()
    kept.keep(ttl_s=10)
    kept.all_named()
    for _ in range(90):
        kept.wait(0.1)
        kept.hit()
    assert kept.metric("DNS1.asked") == 1


# -- 10: a flood of negatives ----------------------------------------------------------------------


@pytest.mark.parametrize("flood", ["NXDOMAIN", OLD])
def test_a_flood_does_not_push_out_what_is_asked_for(flood: str) -> None:
    """dnsdist#16795: names that nobody asks for twice."""
    kept = Kept(cache=60_000)
    wanted = [f"w{n}.example" for n in range(20)]
    for name_ in wanted:
        kept.keep(name_)
    for n in range(450):
        if n % 150 == 0:
            for name_ in wanted:
                kept.hit(name_)
        kept.say_lines(wanted[0], f"f{n}.example")
        kept.hear(D1, flood)
        kept.hear(D2, flood)
        assert len(kept.lines().splitlines()) == 2
        assert kept.metric("cache_bytes") <= 60_000
    for name_ in wanted:
        kept.hit(name_)
    assert kept.metric("evicted") > 400


def test_what_is_pushed_out_is_forgotten_in_all_ways() -> None:
    """A late reply to it is of no interest any more, and there is no old data."""
    kept = Kept(cache=6_000)
    kept.ask(X)
    kept.hear(D1, "NXDOMAIN")
    kept.wait(0.2)
    assert kept.answers() == ["NXDOMAIN"]
    for n in range(12):
        kept.keep(f"n{n}.example")
        kept.asked(D1)
    assert kept.metric("evicted") > 4
    cache = kept.brain.parts.cache
    assert cache is not None and not cache.wants(X.encode())


def test_a_reply_larger_than_a_quarter_is_not_kept() -> None:
    kept = Kept(cache=6_000)
    kept.keep(X)
    kept.ask("large.example")
    for conn, query in kept.asked(D1):
        kept.say(conn, said(query, ",".join(f"10.0.0.{n}" for n in range(40))))
    assert len(kept.told()) == 1
    assert kept.metric("cache_entries") == 1


# -- 11: reloads, and a flush ----------------------------------------------------------------------


def test_a_reload_keeps_what_is_kept() -> None:
    """unbound#302."""
    kept = Kept()
    kept.keep()
    kept.stage.reload()
    kept.hit()


@pytest.mark.parametrize("tables", [0, 1])
def test_sigusr2_forgets_everything(tables: int) -> None:
    """[P99]: data, old data, negatives and failures; and what would be better than those."""
    kept = Kept(tables=tables)
    texts = {"a": OLD, "b": "NXDOMAIN", "c": "SERVFAIL", "d": "NOERROR"}
    for label, text in texts.items():
        kept.ask(f"{label}.example")
        kept.stage.hear("TS1", f"{label}.example - NOT FOUND\n".encode())
        kept.hear(D1, text, 2)
        kept.hear(D2, text, 2)
    assert kept.answers() == list(texts.values())
    kept.stage.step(FlushAsked())
    assert kept.stage.reports[-1] == "the cache is emptied; replies that were in it: 3"
    assert kept.metric("cache_entries") == kept.metric("cache_bytes") == 0
    for label in texts:
        kept.all_named()
        kept.miss(f"{label}.example")
        assert kept.named(D1) == [f"{label}.example"]
    cache = kept.brain.parts.cache
    assert cache is not None and not any(cache.wants(b"%b.example" % n.encode()) for n in texts)


def test_a_flush_while_old_data_is_held_leaves_that() -> None:
    kept = expired()
    kept.miss()
    kept.stage.step(FlushAsked())
    kept.wait(1.8)
    assert kept.answers() == [OLD]
    kept.miss()


# -- late replies, and what not everybody said -----------------------------------------------------


@pytest.mark.parametrize(
    ("first", "late", "is_better"),
    [
        ("NXDOMAIN", OLD, True),
        ("NOERROR", OLD, True),
        ("NXDOMAIN", "NOERROR", True),
        ("SERVFAIL", OLD, True),
        ("SERVFAIL", "NXDOMAIN", True),
        ("SERVFAIL", "NOERROR", True),
        ("NOERROR", "NXDOMAIN", False),
        ("NXDOMAIN", "NXDOMAIN", False),
        ("NXDOMAIN", "SERVFAIL", False),
        ("SERVFAIL", "REFUSED", False),
    ],
)
def test_a_late_reply_that_is_better_takes_its_place(
    first: str, late: str, is_better: bool
) -> None:
    """[P98]: the next one who asks is told that."""
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, first)
    kept.wait(B.grace_failed_s)
    assert kept.answers() == [first]
    kept.hear(D2, late)
    assert kept.told() == [] and kept.metric("repaired") == is_better
    message = kept.hit()
    told, expected = message[3] & 15, late if is_better else first
    assert told == CODES.get(expected, 0)
    cache = kept.brain.parts.cache
    assert cache is not None and cache.wants(X.encode()) is (expected != OLD)
    assert (address(OLD) in message) is (expected == OLD)


def test_late_data_takes_the_place_of_old_data_that_was_told() -> None:
    """[P98]"""
    kept = expired()
    kept.miss()
    kept.wait(1.8)
    assert kept.answers() == [OLD]
    kept.hear(D2, NEW)
    assert kept.hit().endswith(address(NEW)) and kept.metric("repaired") == 1


def test_a_failure_does_not_outlive_data_that_came_late() -> None:
    """When that has ended, within 5 s of the failure, somebody is asked."""
    kept = Kept(stale_s=0.0)
    kept.ask(X)
    kept.hear(D1, "SERVFAIL")
    kept.wait(B.grace_failed_s)
    kept.hear(D2, OLD, 2)
    kept.told()
    kept.hit()
    kept.wait(2.0)
    kept.miss()
    assert kept.named(D1) == [X]


@pytest.mark.parametrize("is_admitted", [True, False])
def test_a_reply_of_one_that_was_not_asked_is_not_kept(is_admitted: bool) -> None:
    """Hedging, its connection was not asked this: it does not count for clients either."""
    kept = Kept()
    kept.ask(X)
    _, query = kept.query_at(D1)
    relayed = Relayed([X.encode()], [read_reply(says(query, OLD)[2:])])
    parts = kept.brain.parts
    assert parts.cache is not None
    parts.cache.answered(parts.upstreams.by_name[D1], relayed, [is_admitted], kept.stage.now)
    assert kept.metric("cache_entries") == is_admitted


def test_late_data_beside_data_changes_nothing() -> None:
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, OLD)
    kept.hear(D2, NEW)
    assert kept.answers() == [OLD]
    assert kept.hit().endswith(address(OLD)) and kept.metric("repaired") == 0


def test_late_data_that_may_not_be_kept_counts_as_no_repair() -> None:
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, "NXDOMAIN")
    kept.wait(0.2)
    kept.hear(D2, OLD, 0)
    assert kept.metric("repaired") == 0
    kept.told()
    kept.miss()


def test_a_late_private_address_is_no_repair() -> None:
    """[P91]: it counts as REFUSED."""
    kept = Kept(private_from=(D2,))
    kept.ask(X)
    kept.hear(D1, "NXDOMAIN")
    kept.wait(0.2)
    kept.hear(D2, OLD)
    kept.told()
    assert kept.metric("repaired") == 0 and kept.hit()[3] & 15 == NXDOMAIN


@pytest.mark.parametrize(
    ("second", "kept_s"), [("NXDOMAIN", 300), ("NOERROR", 300), ("SERVFAIL", 30), ("", 30)]
)
def test_a_negative_that_not_everybody_said_is_kept_30_s(second: str, kept_s: int) -> None:
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, "NXDOMAIN", 300)
    if second:
        kept.hear(D2, second, 300)
    kept.wait(B.grace_failed_s)
    assert len(kept.told()) == 1
    age_s = 0 if second else 2  # the silent one was waited for
    assert ttl_of(kept.hit()) in range(kept_s - 2, kept_s + 1)
    kept.wait(kept_s - 3)
    kept.hit()
    kept.wait(3 - age_s + 1)
    kept.miss()


def test_a_late_negative_is_kept_30_s() -> None:
    kept = Kept()
    kept.ask(X)
    kept.hear(D1, "SERVFAIL")
    kept.wait(B.grace_failed_s)
    kept.told()
    kept.hear(D2, "NXDOMAIN", 300)
    assert ttl_of(kept.hit()) == 30


def test_a_negative_that_comes_beside_a_kept_one_is_not_agreed() -> None:
    """A table is waited for meanwhile; the better one is told, and kept for 30 s."""
    kept = Kept(tables=1)
    kept.ask(X)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    kept.hear(D1, "NXDOMAIN", 300)
    kept.wait(B.grace_failed_s)
    assert kept.answers() == ["NXDOMAIN"]
    kept.miss()
    kept.hear(D2, "NOERROR", 300)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    assert kept.answers() == ["NOERROR"]
    kept.ask(X)
    kept.wait(B.no_data_s)
    ((message, _),) = kept.told()
    assert message[3] & 15 == NOERROR and ttl_of(message) in (29, 30)


def test_a_negative_of_all_that_may_be_asked_is_everybodys() -> None:
    """A router alone is asked for names of the network."""
    router, public = ((2, ("192.168.1.1", 53)),), ((2, ("9.9.9.9", 53)),)
    servers = [as_server(1, router), as_server(2, public)]
    kept = Kept(resolvers=servers)
    kept.ask("nas.home.arpa")
    kept.hear(D1, "NXDOMAIN", 300)
    kept.told()
    assert ttl_of(kept.hit("nas.home.arpa")) == 300


# -- beside tables ---------------------------------------------------------------------------------


def beside(tables: int = 1, **more: Any) -> Kept:  # noqa: ANN401
    """Build LS beside tables, which has kept data of a name that they do not have."""
    kept = Kept(tables=tables, **more)
    kept.ask(X)
    for n in range(tables):
        kept.stage.hear(f"TS{n + 1}", f"{X} - NOT FOUND\n".encode())
        kept.stage.take(f"TS{n + 1}")
    kept.hear(D1, OLD)
    kept.told()
    kept.all_named()
    return kept


def test_a_hit_is_told_once_every_table_says_not_found() -> None:
    """[P95]: no resolver is asked."""
    kept = beside(2)
    kept.miss()
    assert kept.all_named() == []
    assert kept.stage.take("TS1") == kept.stage.take("TS2") == f"{X}\n".encode()
    kept.stage.hear("TS2", f"{X} - NOT FOUND\n".encode())
    assert kept.told() == []
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    assert kept.answers() == [OLD] and kept.metric("cached") == 1


@pytest.mark.parametrize("text", [OLD, "NXDOMAIN", "NOERROR"])
def test_a_hit_is_told_after_no_data_s_where_a_table_is_slow(text: str) -> None:
    """[P95]"""
    kept = Kept(tables=1)
    kept.keep_beside(text)
    kept.miss()
    kept.wait(B.no_data_s - 0.001)
    assert kept.told() == []
    kept.wait(0.001)
    assert kept.answers() == [text] and kept.all_named() == []


def test_a_table_that_is_down_is_not_waited_for() -> None:
    kept = beside()
    kept.stage.reset("TS1")
    kept.ask(X)
    assert kept.answers() == [OLD]


@pytest.mark.parametrize("question", [X, f"{X} AAAA", f"{X} MX"])
def test_a_tables_answer_wins_and_drops_all_of_its_name(question: str) -> None:
    """[P95]: also what is kept of other types, and with other flags."""
    kept = Kept(tables=1)
    for text, ask in ((OLD, X), ("::1", f"{X} AAAA"), ("MX", f"{X} MX"), (OLD, "y.example")):
        kept.keep_beside(text, ask)
    kept.ask(X, flags=RD | AD)
    kept.hear(D1, OLD)
    kept.told()
    assert kept.metric("cache_entries") == 5
    kept.miss()
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]
    assert kept.metric("cache_entries") == 1
    kept.stage.take("TS1")
    kept.miss(question)
    assert kept.named(D1) == [question.replace("MX", "TYPE15")]
    kept.stage.take("TS1")
    kept.miss("y.example")
    assert kept.named(D1) == []


@pytest.mark.parametrize("sample", [0.0, 1.0])
@pytest.mark.parametrize("flags", [RD, RD | AD])
def test_a_late_reply_after_a_tables_answer_is_never_kept(flags: int, sample: float) -> None:
    """[P95]: also where somebody wants to know how the race goes on."""
    kept = Kept(tables=1, sample=sample)
    kept.ask(X, flags=flags)
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]
    kept.hear(D1, OLD)
    kept.hear(D2, "NXDOMAIN")
    assert kept.metric("cache_entries") == kept.metric("repaired") == 0
    assert kept.metric("DNS1.late") == 1


@pytest.mark.parametrize("before", ["NXDOMAIN", "SERVFAIL"])
def test_nor_where_something_worse_was_kept_before(before: str) -> None:
    """[P95]: the table has the name now; a reply to an earlier question comes late."""
    kept = Kept(tables=1)
    kept.ask(X)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    kept.hear(D1, before)
    kept.wait(B.grace_failed_s)
    assert kept.answers() == [before]
    kept.ask(X)
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]
    kept.hear(D2, OLD)
    assert kept.metric("cache_entries") == 0 and kept.metric("repaired") == 0
    kept.stage.reset("TS1")
    kept.miss()
    assert kept.named(D1) == [X]


@pytest.mark.parametrize("text", ["bare FORMERR", "TC"])
def test_on_a_hit_a_late_reply_has_nobody_asked_again(text: str) -> None:
    """[P95]: neither without EDNS nor over TCP; tables are being waited for."""
    kept = Kept(tables=1)
    kept.ask(X)
    late = kept.asked(D2)
    kept.hear(D1, OLD)
    assert kept.answers() == [OLD]
    kept.ask(X)
    for conn, query in late:
        kept.say(conn, said(query, text))
    kept.wait(B.no_data_s)
    assert kept.answers() == [OLD]
    assert kept.named(D2) == [] and not kept.stage.dialled


def test_a_kept_negative_waits_for_no_resolver_that_differs() -> None:
    """[P95]: no resolver is asked for it."""
    kept = Kept(tables=1)
    kept.keep_beside("NXDOMAIN")
    kept.ask("y.example")
    kept.hear(D1, "NXDOMAIN")
    kept.wait(1.0)  # the grace of that is over
    kept.told()
    kept.ask(X)
    kept.hear(D2, OLD)
    kept.wait(B.no_data_s)
    assert kept.answers() == ["NXDOMAIN"]


def test_a_reply_that_comes_twice_leaves_a_kept_negative_alone() -> None:
    """LS says the kept one, and waits for a table; one resolver alone has said it again."""
    kept = Kept(tables=1)
    kept.ask(X)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    kept.wait(1.0)  # DNS2 is asked once more
    first, *again = kept.asked(D2)
    kept.say(first[0], says(first[1], "NXDOMAIN", 300))
    kept.hear(D1, "NXDOMAIN", 300)
    assert kept.answers() == ["NXDOMAIN"]
    kept.ask(X)
    for conn, query in again:
        kept.say(conn, says(query, "NXDOMAIN", 300))
    kept.wait(B.no_data_s)
    assert kept.answers() == ["NXDOMAIN"]
    kept.wait(60.0)
    kept.ask(X)
    kept.wait(B.no_data_s)
    ((message, _),) = kept.told()
    assert again and ttl_of(message) in range(236, 240)


def test_a_table_that_is_late_drops_what_was_kept() -> None:
    kept = Kept(tables=1)
    kept.ask(X)
    kept.hear(D1, OLD)
    assert kept.answers() == [OLD] and kept.metric("cache_entries") == 1
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.metric("cache_entries") == 0


def test_what_a_table_says_is_not_kept() -> None:
    kept = Kept(tables=1)
    kept.ask(X)
    kept.ask(X, flags=RD | AD)
    kept.ask("y.example AAAA")
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\ny.example AAAA - NO DATA\n".encode())
    kept.wait(1.0)
    assert kept.metric("cache_entries") == 0


def test_a_failure_beside_a_table_is_told_once_that_has_spoken() -> None:
    kept = Kept(tables=1)
    kept.keep_beside("SERVFAIL")
    kept.miss()
    assert kept.all_named() == []
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    assert kept.answers() == ["SERVFAIL"]
    kept.miss()
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]


@pytest.mark.parametrize("word", ["NOT FOUND", "NAMES BELOW", ""])
@pytest.mark.parametrize("are_silent", [False, True])
def test_old_data_beside_a_table_that_has_no_such_name(word: str, are_silent: bool) -> None:
    """NAMES BELOW is no word on the name itself; a table that is silent is waited for 30 ms."""
    kept = Kept(tables=1)
    kept.keep_beside(ttl_s=1)
    kept.wait(1.0)
    kept.miss(edns=opt())
    if word:
        kept.stage.hear("TS1", f"{X} - {word}\n".encode())
    if not are_silent:
        kept.hear(D1, "SERVFAIL")
        kept.hear(D2, "SERVFAIL")
    told_old(kept, 1.8 if are_silent else 0.0 if word else 0.03)


def after_a_validators_word(*, is_known: bool) -> tuple[Kept, list[tuple[str, bytes]]]:
    """Build LS that was told that a name is bogus, beside a table, and is asked for it again. Also
    return what DNS2 was asked first. `is_known`: data of it was told before."""
    kept = Kept(3, tables=1)
    kept.ask(X)
    asked = kept.asked(D2)
    if is_known:
        kept.hear("DNS3", OLD)
        kept.ask(X)
    kept.hear(D1, "BOGUS")
    assert kept.answers() == [OLD] * is_known + ["SERVFAIL"]
    kept.ask(X)
    return kept, asked


@pytest.mark.parametrize("late", [NEW, "NXDOMAIN", "NOERROR", "REFUSED"])
@pytest.mark.parametrize("is_known", [False, True])
def test_late_replies_do_not_beat_a_validators_word(late: str, is_known: bool) -> None:
    """[P89], where it is asked for again, and LS waits for a table. Data that is kept stays."""
    kept, asked = after_a_validators_word(is_known=is_known)
    for conn, query in asked:
        kept.say(conn, says(query, late))
    kept.wait(B.no_data_s)
    assert kept.answers() == [OLD if is_known else "SERVFAIL"]
    assert kept.metric("DNS2.late") == 1


def test_late_data_beside_a_table_beats_a_kept_failure() -> None:
    """No validator has said that: it is told, and kept."""
    kept = Kept(tables=1)
    kept.ask(X)
    asked = kept.asked(D2)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    kept.hear(D1, "SERVFAIL")
    kept.wait(B.grace_failed_s)
    assert kept.answers() == ["SERVFAIL"]
    kept.ask(X)
    for conn, query in asked:
        kept.say(conn, says(query, NEW))
    assert kept.answers() == [NEW] and kept.metric("cache_entries") == 1


def test_a_tables_word_counts_after_a_validators() -> None:
    kept = Kept(tables=1)
    kept.ask(X)
    kept.hear(D1, "BOGUS")
    assert kept.answers() == ["SERVFAIL"]
    kept.ask(X)
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]


@pytest.mark.parametrize("is_known", [False, True])
def test_a_second_validators_word_ends_a_question_at_once(is_known: bool) -> None:
    """[P89]: whatever is held of it, which may be what is kept."""
    kept, asked = after_a_validators_word(is_known=is_known)
    for conn, query in asked:
        kept.say(conn, says(query, "BOGUS"))
    assert kept.answers() == ["SERVFAIL"]


def test_a_tables_answer_wins_over_old_data_and_drops_it() -> None:
    kept = Kept(tables=1)
    kept.keep_beside(ttl_s=1)
    kept.wait(1.0)
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.stage.hear("TS1", f"{X} 10.0.0.7 A IN\n".encode())
    assert kept.answers() == ["10.0.0.7"]
    kept.stage.reset("TS1")
    kept.hear(D2, "SERVFAIL")
    kept.miss()
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == ["SERVFAIL"] and kept.metric("stale") == 0


def test_a_table_that_has_no_data_of_it_wins_over_old_data() -> None:
    """NO DATA of a name that it knows is told when the resolvers have failed."""
    kept = Kept(tables=1)
    kept.keep_beside(ttl_s=1)
    kept.wait(1.0)
    kept.miss()
    kept.stage.hear("TS1", f"{X} - NO DATA\n".encode())
    kept.hear(D1, "SERVFAIL")
    kept.hear(D2, "SERVFAIL")
    assert kept.answers() == ["NOERROR"]


# -- hedging ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tables", [0, 1])
def test_hedging_a_hit_asks_no_resolver(tables: int) -> None:
    kept = Kept(tables=tables, extra_load=0.05)
    kept.ask(X)
    kept.wait(0.1)
    kept.stage.hear("TS1", f"{X} - NOT FOUND\n".encode())
    kept.hear(D1, OLD)
    kept.hear(D2, OLD)
    assert kept.answers() == [OLD]
    kept.ask(X)
    kept.wait(2.0)
    assert kept.answers() == [OLD] and kept.all_named() == []


def test_hedging_old_data_waits_for_whom_was_asked() -> None:
    kept = Kept(extra_load=0.0)
    kept.ask(X)
    kept.hear(D1, OLD, 1)
    kept.hear(D2, OLD, 1)
    kept.told()
    kept.wait(1.0)
    kept.miss()
    for _ in range(2):
        kept.hear(D1, "SERVFAIL")
        kept.hear(D2, "SERVFAIL")
    assert kept.answers() == [OLD]


# -- no room ---------------------------------------------------------------------------------------


def test_over_pending_max_hits_are_told_and_misses_fail() -> None:
    kept = Kept(bounds=replace(B, pending_per_client_max=4))
    kept.keep()
    for n in range(6):
        kept.ask(f"n{n}.example")
    assert kept.answers() == ["SERVFAIL"] * 2
    kept.hit()
