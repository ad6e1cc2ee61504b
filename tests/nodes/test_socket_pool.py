"""The sockets to a resolver: replaced one by one, and closed when all is replied.

Not here: sockets under chance (`tests/nodes/test_resolver.py`).
"""

from core.datagram_events import Datagrams, DialDatagrams, SendTo
from core.effects import Effect
from core.events import Closed, Event, Opened
from tests.support.dns_messages import said
from tests.support.resolver_cast import D1, HERE, UDP, Cast


def test_sockets_are_replaced_and_closed_once_all_is_replied() -> None:
    cast = Cast(1)
    first = cast.sockets(D1)
    assert len(first) == cast.bounds.upstream_sockets
    held: dict[str, bytes] = {}
    for n in range(300):
        cast.ask(f"n{n}.example")
        for conn, query in cast.asked(D1):
            if conn in held:
                cast.say(conn, said(query, "10.0.0.1"))
            else:
                held[conn] = query  # not replied to at once
        cast.wait(0.1)
        assert len(cast.sockets(D1)) <= 3 * cast.bounds.upstream_sockets
        for by, waiting in list(held.items()):
            if n % 20 == 19:
                cast.say(by, said(waiting, "10.0.0.1"))
                del held[by]
    assert not set(first) & set(cast.sockets(D1))
    assert cast.metric("timed_out") + cast.metric("answered") == 300


def test_a_closing_socket_leaves_another_s_successor_alone() -> None:
    """The closing of one that has been replaced says nothing about who comes next."""
    cast = Cast(1)
    sockets = cast.resolver(D1).sockets
    most = cast.bounds.upstream_sockets
    first, second = sockets.open[:2]
    first.replace_at = second.replace_at = cast.stage.now
    cast.chance.draw = lambda size: bytes(size)  # the first of those that are open

    def turn(event: Event) -> list[Effect]:
        return cast.brain.step(event, cast.stage.now)

    (dial, sent) = turn(Datagrams(UDP, [(cast.query("x.example"), HERE)]))
    assert isinstance(dial, DialDatagrams) and isinstance(sent, SendTo)
    turn(Opened(dial.conn))
    ((query, _),) = sent.datagrams
    turn(Datagrams(sent.conn, [(said(query, "10.0.0.1"), None)]))  # and it is closed
    (dial, _) = turn(Datagrams(UDP, [(cast.query("y.example"), HERE)]))
    assert isinstance(dial, DialDatagrams)
    turn(Closed(sent.conn, ""))
    turn(Opened(dial.conn))
    assert len(sockets.open) == most and second not in sockets.open
