"""A resolver that is asked by TLS: its streams, what waits for them, and how its link stands.

Not here: the handshake (`tests/io/test_secure_streams.py`), and what all resolvers have in common
(`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace
from typing import Any

import pytest

from core.bounds import Bounds
from core.events import Backlogged, Ended, Received
from core.io.frame_buffer import frame, split_frames
from nodes.ls.health import HealthState
from nodes.ls.link_state import LinkState
from nodes.ls.resolvers.secure_resolver import SecureResolver
from nodes.ls.resolvers.tries import TRY
from tests.support.dns_messages import CODES, has_opt, question_of, said
from tests.support.resolver_cast import (
    CLIENT,
    D1,
    D2,
    HERE,
    IDENTITY,
    THERE,
    Cast,
    by_tls,
    flood,
)

AWAY_S, JOIN_S = Bounds().away_s, Bounds().join_s
FAILED = CODES["SERVFAIL"]


def cast_by_tls(count: int = 1, *, is_up: bool = True, **bounds: float) -> Cast:
    """Build LS with so many resolvers by TLS; each has a stream, if they are up."""
    some: Any = bounds
    cast = Cast(resolvers=[by_tls(n + 1) for n in range(count)], bounds=replace(Bounds(), **some))
    for name in (D1, D2)[:count] if is_up else ():
        cast.stage.connect(cast.dialled(name))
    return cast


def link_of(cast: Cast, name: str = D1) -> Any:  # noqa: ANN401
    return cast.brain.parts.upstreams.by_name[name].link


def streams(cast: Cast, name: str = D1) -> list[str]:
    """Return the streams to it that are there."""
    return [conn for conn in cast.stage.connections if conn.startswith(f"{name}.")]


def asks(cast: Cast, *names: str, whence: tuple[str, int] = HERE) -> list[str]:
    """Ask these; return what the resolver is asked."""
    for each in names:
        cast.ask(each, whence=whence)
    return [question_of(query) for _, query in cast.asked(D1)]


def replied(cast: Cast, *names: str) -> None:
    """Let it be asked these, and reply."""
    for each in names:
        cast.ask(each)
        cast.answer(D1, "10.0.0.1")
    assert cast.codes() == [0] * len(names)


# -- asking ----------------------------------------------------------------------------------------


def test_all_is_asked_at_once_by_one_stream() -> None:
    """In messages that are alike in size, and to the server that was named."""
    cast = cast_by_tls()
    assert cast.stage.identities == {f"{D1}.0": IDENTITY} and not cast.sockets(D1)
    flood(cast, 300)
    asked = cast.asked(D1)
    assert len(asked) == 300 and {conn for conn, _ in asked} == {f"{D1}.0"}
    assert {len(query) for _, query in asked} == {128}
    cast.ask("x.example")
    (conn, query) = cast.query_at(D1)
    assert conn == f"{D1}.0" and not cast.stage.dialled and len(query) == 128
    cast.say(conn, *[said(query, "10.0.0.1") for _, query in [*asked, (conn, query)]])
    assert cast.codes() == [0] * 301 and cast.metric("DNS1.streamed") == 301
    assert (cast.metric("DNS1.resent"), cast.metric("DNS1.waiting")) == (0, 0)


def test_a_slow_reply_holds_up_nobody() -> None:
    """Nor does one that never comes, also after a stream that has ended with questions left."""
    cast = cast_by_tls()
    replied(cast, "a.example", "b.example")
    assert asks(cast, "left.example") == ["left.example"]
    cast.stage.end(streams(cast)[0])
    cast.stage.connect(cast.dialled(D1))
    assert [question_of(query) for _, query in cast.asked(D1)] == ["left.example"]
    replied(cast, *(f"n{n}.example" for n in range(40)))
    assert asks(cast, *(f"m{n}.example" for n in range(30))) == [f"m{n}.example" for n in range(30)]


def test_a_first_question_waits_for_the_first_dial() -> None:
    """Nothing bad is known of it yet. If that fails, so does the question."""
    for is_there in (True, False):
        cast = cast_by_tls(is_up=False)
        assert asks(cast, "x.example") == [] and cast.told() == []
        if is_there:
            cast.stage.connect(cast.dialled(D1))
            cast.answer(D1, "10.0.0.1")
            assert cast.codes() == [0]
        else:
            cast.stage.refuse(cast.dialled(D1), "its certificate has expired")
            assert cast.codes() == [FAILED]


def test_a_resolver_that_is_down_is_not_waited_for() -> None:
    cast = cast_by_tls(is_up=False)
    cast.stage.refuse(cast.dialled(D1), "its certificate has expired")
    assert asks(cast, "x.example") == [] and cast.codes() == [FAILED]
    assert link_of(cast).health.text() == "DNS1 DOWN (its certificate has expired)"
    cast.wait(1.0)
    assert cast.dialled(D1) and asks(cast, "y.example") == [] and cast.codes() == [FAILED]


# -- the next stream -------------------------------------------------------------------------------


def test_a_stream_that_was_asked_lately_is_followed_at_once() -> None:
    cast = cast_by_tls()
    replied(cast, "x.example")
    cast.wait(AWAY_S - 1.0)
    cast.stage.end(streams(cast)[0])
    assert cast.stage.dialled == [f"{D1}.0"] and link_of(cast).life.state is LinkState.UP


def test_a_stream_that_was_not_is_followed_by_a_question() -> None:
    """The question waits for the handshake, and is not lost."""
    cast = cast_by_tls()
    replied(cast, "x.example")
    cast.wait(AWAY_S + 1.0)
    cast.stage.end(streams(cast)[0])
    cast.wait(1_000.0)
    assert not cast.stage.dialled and link_of(cast).life.state is LinkState.UP
    assert asks(cast, "y.example", "z.example") == [] and cast.metric("DNS1.waiting") == 2
    cast.stage.connect(cast.dialled(D1))
    cast.answer(D1, "10.0.0.1", "10.0.0.2")
    assert cast.codes() == [0, 0] and cast.metric("DNS1.waiting") == 0
    assert cast.stage.warnings == []


def test_a_stream_that_brought_nothing_is_not_followed_at_once() -> None:
    """Nothing was asked by it, so nobody misses it."""
    cast = cast_by_tls()
    cast.wait(10.0)
    cast.stage.end(streams(cast)[0])
    assert not cast.stage.dialled and link_of(cast).life.state is LinkState.UP


@pytest.mark.parametrize("how", ["end", "reset", "backlog"])
def test_questions_of_a_stream_that_ends_go_by_the_next_one(how: str) -> None:
    cast = cast_by_tls()
    (conn,) = streams(cast)
    assert asks(cast, "a.example", "x.example") == ["a.example", "x.example"]
    cast.ask("b.example")
    cast.answer(D1, "10.0.0.1")
    if how == "end":
        cast.stage.end(conn)
    elif how == "reset":
        cast.stage.reset(conn)
    else:
        cast.stage.step(Backlogged(conn))
    assert streams(cast) == [] and cast.stage.dialled == [conn]
    cast.stage.connect(conn)
    asked = [question_of(query) for _, query in cast.asked(D1)]
    assert asked == ["a.example"] and cast.metric("DNS1.resent") == 1
    assert cast.metric("DNS1.waiting") == 1 and cast.codes() == [0]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_question_that_ends_the_streams_has_failed(is_first: bool) -> None:
    """The others are replied to, and it does not count as a way that is of no use."""
    cast = cast_by_tls(resends_max=2)
    cast.ask("killer.example")
    for name in ("good.example", "fine.example"):
        cast.ask(name, whence=THERE)
    told: list[tuple[tuple[str, int], int]] = []
    for n in range(20):
        told += [(whence, message[3] & 15) for message, whence in cast.told()]
        if len(told) >= 8:
            break
        cast.ask(f"n{n}.example", whence=THERE)
        asked = cast.asked(D1)
        while asked:
            conn, query = asked.pop(0 if is_first else -1)
            if question_of(query) == "killer.example":
                cast.stage.end(conn)
                cast.asked(D1)
                cast.stage.connect(cast.dialled(D1))
                break
            cast.say(conn, said(query, "10.0.0.1"))
            asked += cast.asked(D1)
    assert told.count((HERE, FAILED)) == 1 and told.count((THERE, 0)) == len(told) - 1 >= 7
    assert link_of(cast).life.state is LinkState.UP and cast.stage.warnings == []


def test_a_stream_that_ends_early_is_followed_with_care() -> None:
    """As many at once as it has replied to, and more and more from there."""
    cast = cast_by_tls()
    flood(cast, 60)
    first = cast.asked(D1)
    cast.say(first[0][0], *[said(query, "10.0.0.1") for _, query in first[:2]])
    cast.stage.end(first[0][0])
    cast.stage.connect(cast.dialled(D1))
    sizes = []
    while asked := cast.asked(D1):
        sizes.append(len(asked))
        cast.say(asked[0][0], *[said(query, "10.0.0.1") for _, query in asked])
    assert sizes[0] == 2 and sizes == sorted(sizes[:-1]) + sizes[-1:] and sum(sizes) == 58
    assert len(sizes) <= 6 and cast.codes() == [0] * 60


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_server_of_few_replies_a_stream_loses_none(most: int) -> None:
    """However many are asked at once: what a stream left comes first on the next one."""
    cast = cast_by_tls(resends_max=2)
    flood(cast, 50)
    for _ in range(50):
        count, asked = 0, cast.asked(D1)
        while asked and count < most:
            conn, query = asked.pop(0)
            cast.say(conn, said(query, "10.0.0.1"))
            asked += cast.asked(D1)
            count += 1
        for conn in streams(cast):
            cast.stage.end(conn)
        for conn in list(cast.stage.dialled):
            cast.asked(D1)
            cast.stage.connect(conn)
    assert cast.codes() == [0] * 50 and cast.stage.warnings == []


def test_streams_without_a_reply_are_of_no_use() -> None:
    """The first may be bad luck, the second is not."""
    cast = cast_by_tls()
    cast.ask("x.example")
    for _ in range(2):
        assert link_of(cast).life.state is LinkState.UP and cast.told() == []
        cast.stage.end(streams(cast)[0])
        if cast.stage.dialled:
            cast.stage.connect(cast.dialled(D1))
    assert cast.codes() == [FAILED] and link_of(cast).life.state is LinkState.DOWN
    assert link_of(cast).health.text() == "DNS1 DOWN (its streams end without a reply)"
    cast.wait(Bounds().redial_first_s)
    assert cast.dialled(D1)


def test_streams_that_end_at_once_are_of_no_use_either() -> None:
    """Though nothing was asked by them."""
    cast = cast_by_tls()
    cast.stage.end(streams(cast)[0])
    cast.ask("x.example")
    cast.stage.connect(cast.dialled(D1))
    cast.asked(D1)
    cast.stage.end(streams(cast)[0])
    assert cast.codes() == [FAILED] and link_of(cast).life.state is LinkState.DOWN


def test_a_dial_that_fails_is_made_again_after_longer_and_longer() -> None:
    cast = cast_by_tls(is_up=False)
    waits = []
    for _ in range(7):
        cast.stage.refuse(cast.dialled(D1), "no answer to the TLS handshake")
        waited = 0.0
        while not cast.stage.dialled:
            cast.wait(0.01)
            waited += 0.01
        waits.append(waited)
    assert waits == sorted(waits) and waits[0] < 0.1 and 0.4 < waits[-1] <= 1.01
    assert cast.stage.warnings == [
        "DNS1 is down (no answer to the TLS handshake); dialling it again"
        " [tls://192.0.2.1:853#dns.example]"
    ]
    cast.stage.connect(cast.dialled(D1))
    replied(cast, "x.example")
    assert link_of(cast).life.state is LinkState.UP


# -- silence ---------------------------------------------------------------------------------------


def test_a_silent_stream_gets_a_second_one_beside_it() -> None:
    """Replies by the first still count, and it is closed with the last of them."""
    cast = cast_by_tls()
    cast.ask("x.example")
    cast.ask("y.example")
    first = cast.asked(D1)
    cast.wait(JOIN_S - 0.01)
    assert not cast.stage.dialled
    cast.wait(0.02)
    second = cast.dialled(D1)
    cast.stage.connect(second)
    again = cast.asked(D1)
    assert [question_of(query) for _, query in again] == ["x.example", "y.example"]
    assert {conn for conn, _ in again} == {second} and cast.told() == []
    cast.say(first[0][0], said(first[0][1], "10.0.0.1"))
    assert cast.codes() == [0] and len(streams(cast)) == 2
    cast.say(second, said(again[1][1], "10.0.0.1"))
    assert cast.codes() == [0]
    cast.say(first[0][0], said(first[1][1], "10.0.0.1"))
    assert cast.told() == [] and cast.stage.has_ended(first[0][0])
    assert asks(cast, "z.example") == ["z.example"] and streams(cast)[-1] == second


def test_a_stream_that_says_something_is_not_silent() -> None:
    """A slow reply is worth waiting for then."""
    cast = cast_by_tls()
    cast.ask("slow.example")
    (_, query), waited = cast.query_at(D1), 0.0
    while waited < 1.5:
        replied(cast, f"n{waited}.example")
        cast.wait(0.4)
        waited += 0.4
    assert not cast.stage.dialled and len(streams(cast)) == 1
    cast.say(streams(cast)[0], said(query, "10.0.0.1"))
    assert cast.codes() == [0]


def test_after_a_silence_each_question_has_a_record_of_its_own() -> None:
    """A server may see only the first question of a record (dnsdist 1.7), and reply to that."""
    cast = cast_by_tls()
    resolver: Any = cast.resolver(D1)
    several = [b"a.example A", b"b.example A", b"c.example A"]
    (together,) = resolver.streams.ask(several, cast.stage.now)
    first, *_ = split_frames(together.data)
    cast.say(together.conn, said(first, "10.0.0.1"))
    resolver.link.health.good()
    cast.wait(JOIN_S + 0.1)
    cast.stage.connect(cast.dialled(D1))
    apart = resolver.streams.ask(several, cast.stage.now)
    assert [len(split_frames(sent.data)) for sent in apart] == [1, 1, 1]
    assert together.conn not in {sent.conn for sent in apart}


def test_a_stream_that_falls_silent_later_is_seen_as_well() -> None:
    """When the question comes of that age it has just spoken, and then replies to a younger one."""
    cast = cast_by_tls(dns_timeout_s=4.5)
    cast.ask("slow.example")
    (conn, slow) = cast.query_at(D1)
    cast.wait(0.3)
    cast.ask("quick.example")
    (_, quick) = cast.query_at(D1)
    cast.wait(0.6)
    cast.say(conn, bytes([slow[0] ^ 1]) + slow[1:])
    cast.wait(0.45)
    cast.say(conn, said(quick, "10.0.0.1"))
    cast.wait(0.45)
    assert not cast.stage.dialled
    cast.wait(0.1)
    cast.stage.connect(cast.dialled(D1))
    assert [question_of(again) for _, again in cast.asked(D1)] == ["slow.example"]


def test_there_is_never_a_third_stream() -> None:
    """The second is asked on, though it is silent, too."""
    cast = cast_by_tls(silent_questions=1_000)
    for n in range(30):
        assert f"n{n}.example" in asks(cast, f"n{n}.example")
        cast.wait(0.25)
        for conn in list(cast.stage.dialled):
            cast.stage.connect(conn)
        assert len(streams(cast)) <= 2
    assert cast.stage.identities == {f"{D1}.0": IDENTITY, f"{D1}.00": IDENTITY}


def test_a_stream_is_asked_on_where_no_second_one_can_be_had() -> None:
    """A server may allow a client one connection, and be slow."""
    cast = cast_by_tls(dns_timeout_s=4.5)
    cast.ask("x.example")
    (conn, query) = cast.query_at(D1)
    cast.wait(JOIN_S + 0.1)
    cast.ask("y.example")
    assert cast.asked(D1) == []
    cast.stage.refuse(cast.dialled(D1), "connection refused")
    assert cast.codes() == [] and streams(cast) == [conn]
    assert asks(cast, "z.example") == ["y.example", "z.example"]
    cast.wait(JOIN_S - 0.1)
    assert not cast.stage.dialled
    cast.wait(0.2)
    cast.stage.refuse(cast.dialled(D1), "connection refused")
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0] and link_of(cast).life.state is LinkState.UP


def test_a_second_stream_that_is_silent_has_a_third() -> None:
    """A firewall may forget one after the other."""
    cast = cast_by_tls()
    for n in range(4):
        cast.ask(f"n{n}.example")
        cast.wait(JOIN_S + 0.1)
        cast.asked(D1)
        cast.stage.connect(cast.dialled(D1))
        assert [question_of(query) for _, query in cast.asked(D1)] == [f"n{n}.example"]
        assert len(streams(cast)) == 2


def test_a_silent_resolver_is_asked_little_until_it_is_back() -> None:
    cast = cast_by_tls()
    flood(cast, 20)
    cast.wait(3.0)
    for conn in list(cast.stage.dialled):
        cast.stage.connect(conn)
    assert link_of(cast).health.life.state is HealthState.SILENT
    cast.asked(D1)
    cast.told()
    for n in range(30):
        cast.ask(f"n{n}.example")
        cast.wait(0.01)
    asked = [question_of(query) for _, query in cast.asked(D1)]
    assert 2 <= len(asked) <= 5 and TRY.decode().partition(" ")[0] not in asked[1:-1]
    cast.ask("back.example")
    conn = streams(cast)[-1]
    cast.wait(1.5)
    tried = cast.asked(D1)
    assert tried
    for another in list(cast.stage.dialled):
        cast.stage.connect(another)
    cast.say(tried[-1][0], said(tried[-1][1], "NOERROR"))
    assert link_of(cast).health.life.state is HealthState.UP and conn in streams(cast)
    cast.asked(D1)
    assert asks(cast, "a.example", "b.example") == ["a.example", "b.example"]


def test_a_resolver_that_is_silent_without_a_stream_is_tried() -> None:
    """Within a few tries, since each has to have a stream first."""
    cast = cast_by_tls()
    flood(cast, 20)
    cast.wait(3.0)
    for conn in list(cast.stage.dialled):
        cast.stage.connect(conn)
    assert link_of(cast).health.life.state is HealthState.SILENT
    cast.wait(30.0)  # nobody asks any more, and all is given up
    for conn in streams(cast):
        cast.stage.end(conn)
    for conn in list(cast.stage.dialled):
        cast.stage.connect(conn)
    cast.asked(D1)
    cast.wait(1.1)
    for conn in list(cast.stage.dialled):
        cast.stage.connect(conn)
    cast.wait(1.1)
    tried = cast.asked(D1)
    assert tried and {question_of(query) for _, query in tried} == {". TYPE2"}
    cast.say(tried[-1][0], said(tried[-1][1], "NOERROR"))
    assert link_of(cast).health.life.state is HealthState.UP


def test_a_question_that_is_given_up_makes_room() -> None:
    """Here the stream may have no other, so that others wait for their turn."""
    cast = cast_by_tls()
    replied(cast, "x.example")
    assert asks(cast, "lost.example") == ["lost.example"]
    cast.stage.end(streams(cast)[0])
    cast.stage.connect(cast.dialled(D1))
    (conn, query) = cast.query_at(D1)
    left_s = JOIN_S + cast.bounds.longest_s
    while left_s > 0.5:
        cast.wait(0.4)
        left_s -= 0.4
        cast.say(conn, bytes([query[0] ^ 1]) + query[1:])  # it is not silent
    assert asks(cast, "late.example") == [] and cast.metric("DNS1.waiting") == 1
    cast.wait(left_s + 0.01)
    assert [question_of(query) for _, query in cast.asked(D1)] == ["late.example"]


# -- replies ---------------------------------------------------------------------------------------


def test_a_query_that_is_not_understood_goes_without_edns() -> None:
    """By the same stream."""
    cast = cast_by_tls()
    cast.ask("x.example")
    (conn, query) = cast.query_at(D1)
    assert has_opt(query)
    cast.say(conn, said(query, "bare FORMERR"))
    (again, plain) = cast.query_at(D1)
    assert again == conn and not has_opt(plain) and question_of(plain) == "x.example"
    cast.say(conn, said(plain, "10.0.0.1"))
    assert cast.codes() == [0] and not cast.stage.dialled


def test_a_reply_that_is_cut_by_a_stream_is_a_failure() -> None:
    cast = cast_by_tls()
    cast.ask("x.example")
    cast.answer(D1, "TC")
    assert cast.codes() == [FAILED] and not cast.stage.dialled and not cast.sockets(D1)


def test_what_matches_nothing_is_counted_and_asked_for_nowhere() -> None:
    """Nobody can guess by TLS, so nobody is suspected."""
    cast = cast_by_tls()
    cast.ask("x.example")
    (conn, query) = cast.query_at(D1)
    others = [bytes([query[0], query[1] ^ n]) + said(query, "10.6.6.6")[2:] for n in range(1, 65)]
    cast.say(conn, *others)
    assert cast.metric("DNS1.unmatched") == 64 and cast.told() == [] and not cast.stage.dialled
    cast.say(conn, said(query, "10.0.0.1"))
    assert cast.codes() == [0]


def test_a_reply_and_the_end_in_one_read_are_both_heard() -> None:
    """Also where that reply was the last of a stream that retires."""
    cast = cast_by_tls()
    cast.ask("x.example")
    (first, query) = cast.query_at(D1)
    cast.wait(JOIN_S + 0.1)
    cast.stage.connect(cast.dialled(D1))
    cast.stage.step(Received(first, frame(said(query, "10.0.0.1"))))
    assert cast.codes() == [0] and len(cast.asked(D1)) == 1
    assert link_of(cast).life.state is LinkState.UP
    assert len(streams(cast)) == 1 and first not in streams(cast)
    cast.stage.step(Ended(streams(cast)[0], False))
    assert cast.stage.dialled == [first] or not cast.stage.dialled


# -- two of them -----------------------------------------------------------------------------------


def test_another_resolver_answers_while_one_is_down() -> None:
    cast = cast_by_tls(2, is_up=False)
    cast.stage.refuse(cast.dialled(D1), "its certificate has expired")
    cast.stage.connect(cast.dialled(D2))
    cast.ask("x.example")
    assert cast.asked(D1) == []
    cast.answer(D2, "10.0.0.1")
    assert cast.codes() == [0]


# -- the end ---------------------------------------------------------------------------------------


def test_a_drain_ends_at_once_without_a_stream() -> None:
    cast = cast_by_tls()
    cast.wait(60.0)
    cast.stage.end(streams(cast)[0])
    assert streams(cast) == [] and not cast.stage.dialled
    cast.stage.end(CLIENT)
    cast.stage.drain()
    cast.wait(0.01)
    assert cast.stage.exit_code == 0 and link_of(cast).life.state is LinkState.DOWN


@pytest.mark.parametrize("when", ["up", "dialling", "dialling again", "two"])
def test_a_drain_ends_with_its_streams(when: str) -> None:
    cast = cast_by_tls(is_up=when != "dialling")
    if when == "two":
        cast.ask("x.example")
        cast.wait(JOIN_S + 0.1)
        cast.stage.connect(cast.dialled(D1))
        cast.answer(D1, "10.0.0.1", "10.0.0.1")
    elif when == "dialling again":
        replied(cast, "x.example")
        cast.stage.end(streams(cast)[0])
    cast.stage.end(CLIENT)
    cast.stage.drain()
    cast.wait(0.1)
    assert cast.stage.exit_code == 0 and streams(cast) == [] and not cast.stage.dialled
    assert link_of(cast).life.state is LinkState.DOWN


def test_it_is_a_secure_resolver_that_is_asked() -> None:
    cast = cast_by_tls()
    assert type(cast.resolver(D1)) is SecureResolver
