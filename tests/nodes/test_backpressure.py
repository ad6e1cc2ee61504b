"""Backpressure: which clients are not read, and when they are read again.

Not here: when a link holds clients up (`tests/nodes/test_link.py`), and what LS does with it
(`tests/nodes/test_load_balancer.py`).
"""

from core.bounds import BoundHits, Bounds
from core.effects import Pause, Resume
from core.environment import Environment
from core.protocol.asker import Asker, SessionEvent
from core.protocol.session import Session
from nodes.ls.backpressure import Backpressure

BOUNDS = Bounds(pending_per_client_max=2)


class DatagramSocket(Session):
    """A socket of datagrams: what is not read is lost."""

    __slots__ = ()
    can_wait = False


class Clients:
    """Two clients, a socket of datagrams, and who of them is read."""

    def __init__(self) -> None:
        self.hits = BoundHits()
        self.sessions: dict[str, Asker] = {}
        for made, conn in ((Session, "a"), (Session, "b"), (DatagramSocket, "udp")):
            self.sessions[conn] = made(conn, Environment(BOUNDS, self.hits), bytes)
        self.backpressure = Backpressure(self.sessions, self.hits)

    def owe(self, conn: str, count: int) -> Asker:
        self.sessions[conn].owed = count
        return self.sessions[conn]


def test_a_link_that_holds_pauses_everyone_and_resumes_them() -> None:
    clients = Clients()
    assert clients.backpressure.apply(False) == []
    assert clients.backpressure.apply(True) == [Pause("a"), Pause("b")]
    assert clients.backpressure.apply(True) == []
    newcomer = clients.sessions["c"] = Session("c", Environment(BOUNDS, clients.hits), bytes)
    assert clients.backpressure.apply(True, newcomer) == [Pause("c")]
    assert clients.backpressure.apply(True, newcomer) == []
    assert clients.backpressure.apply(False) == [Resume("a"), Resume("b"), Resume("c")]
    assert not clients.hits.get("pending_per_client_max")


def test_a_client_with_too_many_questions_is_paused_alone() -> None:
    clients = Clients()
    assert clients.backpressure.apply(False, clients.owe("a", 2)) == []
    assert clients.backpressure.apply(False, clients.owe("a", 3)) == [Pause("a")]
    assert clients.hits["pending_per_client_max"] == 1
    assert clients.backpressure.apply(False, clients.owe("b", 3)) == [Pause("b")]
    clients.owe("a", 2)
    assert clients.backpressure.apply(False) == [Resume("a")]
    assert clients.backpressure.apply(True) == [Pause("a")]
    assert clients.backpressure.apply(False) == [Resume("a")]  # b has too many all the same


def test_datagrams_are_always_read() -> None:
    clients = Clients()
    asker = clients.owe("udp", 1_000)
    assert clients.backpressure.apply(False, asker) == []
    assert Pause("udp") not in clients.backpressure.apply(True, asker)


def test_a_client_that_leaves_is_neither_paused_nor_resumed() -> None:
    clients = Clients()
    clients.sessions["a"].life.fire(SessionEvent.QUIT)
    assert clients.backpressure.apply(True) == [Pause("b")]
    clients.backpressure.forget("b")
    del clients.sessions["b"]
    assert clients.backpressure.apply(False) == []
