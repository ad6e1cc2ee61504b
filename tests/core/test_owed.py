"""core/owed.py: what is owed adds up, the marks have hysteresis; and connections and LS tell it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.bounds import BoundHits, Bounds
from core.environment import Environment
from core.io.connection import Connection
from core.io.frame_buffer import FrameBuffer
from core.owed import Owed
from tests.support.loops import promise

BOUNDS = replace(
    Bounds(), owed_all_bytes_high=100, owed_all_bytes_low=60, few_bytes=10, owed_bytes_low=1
)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("promise"), st.integers(0, 3), st.integers(0, 80)),
        st.tuples(st.just("send"), st.integers(0, 3), st.integers(1, 80)),
        st.tuples(st.just("sent"), st.integers(0, 3), st.integers(1, 80)),
        st.tuples(st.just("lost"), st.integers(0, 3), st.just(0)),
    )
)


ENV = Environment(BOUNDS)


@given(moves)
def test_what_is_owed_adds_up_and_is_short_between_its_marks(
    moves: list[tuple[str, int, int]],
) -> None:
    hits = BoundHits()
    owed = Owed(BOUNDS, hits)
    promised: dict[str, int] = {}
    connections = [Connection(ENV, f"c{n}", True, FrameBuffer(), owed) for n in range(4)]
    was_short, times = False, 0
    for what, who, count in moves:
        connection = connections[who]
        if what == "promise":
            promise(owed, connection.name, count)
            promised[connection.name] = count
        elif what == "send":
            connection.send(bytes(count))
        elif what == "sent" and connection.waiting:
            connection.flush(len, count)
        elif what == "lost":
            connection.lost()
            connections[who] = Connection(ENV, connection.name, True, FrameBuffer(), owed)
        total = sum(c.waiting for c in connections) + sum(promised.values())
        assert owed.owed_bytes == total
        is_short = total >= 60 if was_short else total > 100
        times += is_short and not was_short
        assert owed.is_short() is is_short and hits["owed_all_bytes_high"] == times
        was_short = is_short
        for each in connections:
            own = each.waiting + promised.get(each.name, 0)
            assert owed.is_few(each.name, each.waiting) is (own < 10)


def test_what_waits_for_a_link_is_not_owed_to_a_client() -> None:
    owed = Owed(BOUNDS, BoundHits())
    link = Connection(ENV, "TS1", False, FrameBuffer())
    link.connected()
    link.send(b"x" * 1000)
    assert owed.owed_bytes == 0 and not owed.is_short()
