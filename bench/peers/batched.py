"""Peer: the load balancer with asyncio protocols and batches written by hand.

The best of asyncio, or of uvloop, by an engineer who takes all lines of one read together:
`batched.py [--uvloop] PORT TS_HOST TS_PORT ...`, the same protocol as ours.
It keeps: the first answer wins, one reply per question, equal names sent once, 5.0 s for
each batch of questions, QUIT and BYE, a table server that is not there.
It leaves out: checking of names and answers, every bound (a reader that is slow costs memory
without end), redialling, draining, counters, logs.
"""

import asyncio
import sys
from collections import deque

TIMEOUT_S = 5.0


class Batch:
    """Questions of one read; `owed` is how many have no reply yet."""

    __slots__ = ("asker", "due", "owed", "spellings")

    def __init__(self, asker: "Asker", due: float, spellings: list[bytes]) -> None:
        self.asker = asker
        self.due = due
        self.spellings = spellings
        self.owed = len(spellings)


class Balancer:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.servers: list[asyncio.WriteTransport] = []
        self.pending: dict[bytes, Batch | list[Batch]] = {}
        self.batches: deque[Batch] = deque()

    def ask(self, asker: "Asker", spellings: list[bytes]) -> None:
        names = [spelling.lower() for spelling in spellings]
        batch = Batch(asker, self.loop.time() + TIMEOUT_S, spellings)
        pending = self.pending
        if pending.keys().isdisjoint(names) and len(set(names)) == len(names):
            pending.update(dict.fromkeys(names, batch))
            to_ask = names
        else:
            to_ask = []
            for name in names:
                waiting = pending.get(name)
                if waiting is None:
                    pending[name] = batch
                    to_ask.append(name)
                elif isinstance(waiting, list):
                    waiting.append(batch)
                else:
                    pending[name] = [waiting, batch]
        asker.owed += len(names)
        if not self.batches:
            self.loop.call_later(TIMEOUT_S, self.expire)
        self.batches.append(batch)
        if to_ask:
            lines = b"\n".join(to_ask) + b"\n"
            for server in self.servers:
                server.write(lines)

    def answer(self, lines: list[bytes]) -> None:
        replies: dict[Asker, list[bytes]] = {}
        pop = self.pending.pop
        for line in lines:
            waiting = pop(line.split(b" ", 1)[0].lower(), None)
            if waiting is None:
                continue
            for batch in waiting if isinstance(waiting, list) else (waiting,):
                batch.owed -= 1
                if batch.asker in replies:
                    replies[batch.asker].append(line)
                else:
                    replies[batch.asker] = [line]
        for asker, mine in replies.items():
            asker.reply(mine)
        while len(self.batches) > 1 and not self.batches[0].owed:  # the last one keeps the timer
            self.batches.popleft()

    def expire(self) -> None:
        now = self.loop.time()
        while self.batches and (not self.batches[0].owed or self.batches[0].due <= now):
            batch = self.batches.popleft()
            lines = []
            for spelling in batch.spellings if batch.owed else ():
                name = spelling.lower()
                waiting = self.pending.get(name)
                if waiting is batch or waiting == [batch]:
                    del self.pending[name]
                elif isinstance(waiting, list) and batch in waiting:
                    waiting.remove(batch)
                else:
                    continue
                lines.append(spelling + b" - TIMED OUT")
            if lines:
                batch.asker.reply(lines)
        if self.batches:
            self.loop.call_at(self.batches[0].due, self.expire)


class Lines(asyncio.Protocol):
    """Whole lines out of reads."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if lines:
            self.lines(lines)

    def lines(self, lines: list[bytes]) -> None:
        raise NotImplementedError


class Link(Lines):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.balancer.servers.append(transport)  # type: ignore[arg-type]

    def lines(self, lines: list[bytes]) -> None:
        self.balancer.answer(lines)


class Asker(Lines):
    owed = 0
    leaving = False
    transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def lines(self, lines: list[bytes]) -> None:
        if b"QUIT" in lines:
            del lines[lines.index(b"QUIT") :]
            self.leaving = True
        if lines:
            self.balancer.ask(self, lines)
        self.leave_maybe()

    def reply(self, lines: list[bytes]) -> None:
        self.transport.write(b"\n".join(lines) + b"\n")
        self.owed -= len(lines)
        self.leave_maybe()

    def leave_maybe(self) -> None:
        if self.leaving and not self.owed:
            self.transport.write(b"BYE\n")
            self.transport.close()


async def main(port: str, *servers: str) -> None:
    loop = asyncio.get_running_loop()
    balancer = Balancer(loop)
    for host, server_port in zip(servers[::2], servers[1::2], strict=True):
        try:
            await loop.create_connection(lambda: Link(balancer), host, int(server_port))
        except OSError:
            continue
    server = await loop.create_server(lambda: Asker(balancer), "127.0.0.1", int(port), backlog=1024)
    host, listening = server.sockets[0].getsockname()
    print(f"ready on {host}:{listening}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    words = sys.argv[1:]
    if "--uvloop" in words:
        words.remove("--uvloop")
        import uvloop

        uvloop.run(main(*words))
    else:
        asyncio.run(main(*words))
