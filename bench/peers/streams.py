"""Peer: the load balancer as one writes it with asyncio streams, a task for each question.

The same command line and protocol as ours: `streams.py [--uvloop] PORT TS_HOST TS_PORT ...`.
It keeps: the first answer wins, one reply per question, equal names sent once, 5.0 s for
each question, QUIT and BYE, a table server that is not there.
It leaves out: checking of names and answers, every bound, redialling, draining, counters, logs.
"""

import asyncio
import sys

TIMEOUT_S = 5.0


class Balancer:
    def __init__(self) -> None:
        self.servers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.pending: dict[bytes, asyncio.Future[bytes]] = {}
        self.waiters: dict[bytes, int] = {}

    async def link(self, host: str, port: int) -> None:
        """Dial a table server and credit its answers, by name."""
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            return
        self.servers.append(writer)
        self.tasks.append(asyncio.create_task(self.answers(reader)))

    async def answers(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            waiting = self.pending.pop(line.split(b" ", 1)[0].lower(), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(line)

    async def reply(self, spelling: bytes, writer: asyncio.StreamWriter) -> None:
        name = spelling.lower()
        self.waiters[name] = self.waiters.get(name, 0) + 1
        waiting = self.pending.get(name)
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self.pending[name] = waiting
            for server in self.servers:
                server.write(name + b"\n")
        try:
            line = await asyncio.wait_for(asyncio.shield(waiting), TIMEOUT_S)
        except TimeoutError:
            line = spelling + b" - TIMED OUT\n"
        self.waiters[name] -= 1
        if not self.waiters[name]:
            del self.waiters[name]
            if self.pending.get(name) is waiting:
                del self.pending[name]
        writer.write(line)
        await writer.drain()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            spelling = line.rstrip(b"\r\n")
            if spelling == b"QUIT":
                break
            task = asyncio.create_task(self.reply(spelling, writer))
            replies.add(task)
            task.add_done_callback(replies.discard)
        await asyncio.gather(*replies)
        writer.write(b"BYE\n")
        writer.close()


async def main(port: str, *servers: str) -> None:
    balancer = Balancer()
    for host, server_port in zip(servers[::2], servers[1::2], strict=True):
        await balancer.link(host, int(server_port))
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", int(port), backlog=1024)
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
