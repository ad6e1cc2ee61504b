"""How much is in flight to a resolver, and what waits, before the real LS.

Not here: the size of the window (`tests/nodes/test_window.py`), and what is in flight under
chance (`tests/nodes/test_resolver.py`).
"""

from dataclasses import replace

from core.bounds import Bounds
from nodes.ls.resolvers.send_queue import SendQueue
from tests.support.dns_messages import question_of
from tests.support.resolver_cast import D1, Cast


def test_no_socket_is_asked_more_than_it_has_room_for() -> None:
    cast = Cast(1, bounds=replace(Bounds(), upstream_sockets=1, upstream_asked_max=5))
    for n in range(8):
        cast.ask(f"n{n}.example")
    assert len(cast.asked(D1)) == 5 and cast.hits["upstream_asked_max"] == 3
    cast.wait(6.0)  # a question without hope is forgotten
    cast.ask("x.example")
    assert [question_of(query) for _, query in cast.asked(D1)][-1] == "x.example"


def test_questions_moved_as_often_go_in_one_batch() -> None:
    queue = SendQueue(lambda question: True)
    queue.put_last([b"new"], 3.0)
    queue.put_first([b"moved"], 2.0, moves=1)
    queue.put_first([b"moved too"], 1.0, moves=1)
    assert queue.take(9) == ([b"moved too", b"moved"], 1.0, 1)
    assert queue.take(9) == ([b"new"], 3.0, 0)
