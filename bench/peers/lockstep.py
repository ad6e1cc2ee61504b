"""Peer: the original system's way: one client at a time, and one question at a time.

Each question is sent to every table server, the first answer is relayed, and only then is the
next question read: `lockstep.py PORT TS_HOST TS_PORT ...`.
It keeps: the first answer wins (and, unlike its ancestor, one that is late is dropped), 5.0 s for
each question, QUIT and BYE.
It leaves out: everything else. A second client waits until the first has gone.
"""

import select
import socket
import sys
import time

TIMEOUT_S = 5.0


def ask(name: bytes, servers: dict[socket.socket, bytearray]) -> bytes:
    """Ask all servers; return the first answer, or TIMED OUT."""
    for server in servers:
        server.sendall(name.lower() + b"\n")
    due = time.monotonic() + TIMEOUT_S
    while True:
        readable, _, _ = select.select(list(servers), [], [], max(0, due - time.monotonic()))
        if not readable:
            return name + b" - TIMED OUT\n"
        for server in readable:
            data = server.recv(65536)
            if not data:
                del servers[server]
                continue
            servers[server] += data
            *lines, rest = bytes(servers[server]).split(b"\n")
            servers[server] = bytearray(rest)
            for line in lines:
                if line.split(b" ")[0].lower() == name.lower():
                    return line + b"\n"


def main(port: str, *words: str) -> None:
    servers: dict[socket.socket, bytearray] = {}
    for host, server_port in zip(words[::2], words[1::2], strict=True):
        try:
            server = socket.create_connection((host, int(server_port)))
        except OSError:
            continue
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        servers[server] = bytearray()
    listener = socket.create_server(("127.0.0.1", int(port)))
    print(f"ready on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in client.makefile("rb"):
            name = line.rstrip(b"\r\n")
            if name == b"QUIT":
                client.sendall(b"BYE\n")
                break
            client.sendall(ask(name, servers))
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
