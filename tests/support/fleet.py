"""Many clients that ask all the while, check each reply, and ask again what they got none to.

A client has session after session: it asks a batch of known names, waits for all replies, asks
the next, and leaves with QUIT, at times in one write with its last batch. A session that is over
before all replies came (a BYE that was not asked for, an end, a reset) is followed by another one
that asks for the rest. A reply is right when it is the table's line for a name that this session
has asked for and got no reply to yet; all others are kept in `wrong`.

All clients are in one thread, so that the test can do something to the servers meanwhile. Their
questions come from a seed; what the servers make of them does not.

Not here: who answers, and what is done to them (`tests/tools/test_haproxy.py`).
"""

import random
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.support.processes import PATIENCE_S

PACE_S = 0.01  # between two turns: the cores are for the servers
BATCH_MAX = 10
BATCHES_MAX = 30  # in one session


class Fleet:
    """Clients of one port. `answers`: the right line for each name.

    With `asks_again=False` they do as a careless client does: what got no reply is lost.
    """

    def __init__(
        self, port: int, answers: dict[bytes, bytes], count: int, asks_again: bool = True
    ) -> None:
        self.port = port
        self.answers = answers
        self.names = list(answers)
        self.asks_again = asks_again
        self.asked = 0  # questions; asked again they are still the same
        self.replied = 0
        self.again = 0  # questions that were asked again
        self.lost = 0
        self.wrong: list[bytes] = []
        self.ends: Counter[str] = Counter()  # sessions, by how they ended
        self.is_stopping = False
        self._is_abandoned = False
        self._askers = [Asker(self, random.Random(seed)) for seed in range(count)]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask while this lasts, and then until each question has its reply."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self._run)
            try:
                yield
                self.is_stopping = True
                done.result(PATIENCE_S)
            finally:
                self._is_abandoned = True

    def account(self) -> str:
        """Sum up in one line what there was."""
        ends = ", ".join(f"{how} {count}" for how, count in sorted(self.ends.items()))
        return (
            f"asked {self.asked}, replied {self.replied}, asked again {self.again}, "
            f"lost {self.lost}, wrong {len(self.wrong)}; sessions by their end: {ends}"
        )

    def _run(self) -> None:
        there = {asker.connect(): asker for asker in self._askers}
        try:
            while there and not self._is_abandoned:
                writing = [stream for stream, asker in there.items() if asker.unsent]
                readable, writable, _ = select.select(there, writing, [], PATIENCE_S)
                assert readable or writable, "nothing moves any more"
                for stream in writable:
                    there[stream].send()
                for stream in readable:
                    asker = there[stream]
                    if not asker.receive():
                        del there[stream]
                        if asker.wanted or not self.is_stopping:
                            there[asker.connect()] = asker
                time.sleep(PACE_S)
        finally:
            for stream in there:
                stream.close()


class Asker:
    """A client: the session that it has now, and what it still has to ask."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self.wanted: list[bytes] = []  # asked in vain before
        self.unsent = b""
        self._fleet = fleet
        self._chance = chance
        self._stream: socket.socket
        self._heard = b""
        self._owed: Counter[bytes] = Counter()  # asked in this session, without a reply
        self._batches = 0  # that this session may still ask
        self._has_quit = False
        self._bye = False

    def connect(self) -> socket.socket:
        """Begin a session, and ask."""
        self._stream = socket.create_connection(("127.0.0.1", self._fleet.port), PATIENCE_S)
        self._stream.setblocking(False)
        self.unsent = self._heard = b""
        self._owed.clear()
        self._batches = self._chance.randint(1, BATCHES_MAX)
        self._has_quit = self._bye = False
        self._ask()
        return self._stream

    def send(self) -> None:
        try:
            self.unsent = self.unsent[self._stream.send(self.unsent) :]
        except OSError:  # reading will tell how it ended, after what came before
            self.unsent = b""

    def receive(self) -> bool:
        """Read once; return whether the session goes on."""
        try:
            data = self._stream.recv(1 << 16)
        except OSError:
            self._over("reset")
            return False
        if not data:
            self._over("end" if not self._bye else "QUIT" if self._has_quit else "BYE")
            return False
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._hear(line)
        if not self._owed and not self._has_quit and not self._bye:
            self._ask()
        return True

    def _ask(self) -> None:
        """Ask what is wanted, or something new; or leave."""
        fleet = self._fleet
        leaves = self._batches == 0 or (fleet.is_stopping and not self.wanted)
        names = self.wanted
        if not names and not leaves:
            names = self._chance.choices(fleet.names, k=self._chance.randint(1, BATCH_MAX))
            fleet.asked += len(names)
        self.wanted = []
        self._owed.update(names)
        self._batches -= 1
        self._has_quit = leaves or self._chance.random() < 1 / BATCHES_MAX
        self.unsent = b"".join(name + b"\n" for name in names) + b"QUIT\n" * self._has_quit

    def _hear(self, line: bytes) -> None:
        if line == b"BYE" and not self._bye:
            self._bye = True
            return
        name = line.split(b" ", 1)[0].lower()
        if self._bye or not self._owed[name] or self._fleet.answers[name] != line:
            self._fleet.wrong.append(line)
            return
        self._fleet.replied += 1
        self._owed[name] -= 1
        if not self._owed[name]:
            del self._owed[name]

    def _over(self, how: str) -> None:
        """End the session. Questions that it is owed will be asked again."""
        self._stream.close()
        self._fleet.ends[how] += 1
        in_vain = list(self._owed.elements())
        self._owed.clear()
        if self._fleet.asks_again:
            self.wanted = in_vain
            self._fleet.again += len(in_vain)
        else:
            self._fleet.lost += len(in_vain)
