"""A resolver over UDP that says always the same, for tests and pictures of the status page.

Not here: resolvers as programs (`tests/tools/test_resolver_tools.py`), and those without sockets
(`tests/support/resolver_cast.py`).
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.dns_messages import said


@contextmanager
def played_resolver(text: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Play a resolver that says this to everything (see `said`); yield its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as played:
        played.bind((host, port))
        thread = threading.Thread(target=_play, args=(played, text), daemon=True)
        thread.start()
        yield played.getsockname()[1]
        with suppress(OSError):
            played.shutdown(socket.SHUT_RDWR)  # wakes the thread
        thread.join()


def _play(played: socket.socket, text: str) -> None:
    while True:
        try:
            query, asker = played.recvfrom(4096)
            if not query:
                return
            played.sendto(said(query, text), asker)
        except OSError:
            return
