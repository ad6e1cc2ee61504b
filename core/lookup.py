"""Lookup: a host name resolved by a child process, so that the loop never waits for a resolver.

`getaddrinfo` blocks, for half a minute when a resolver is away, and there is no other call. The
child runs it and writes what it found into a pipe; the loop reads the pipe when it is readable.

Not here: when to look up, and what becomes of the addresses.
"""

import json
import os
import subprocess
import sys

from core.node import Address

_CHILD = """\
import json, signal, socket, sys
signal.alarm(int(sys.argv[3]))
found = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_STREAM)
print(json.dumps([(family, address) for family, _, _, _, address in found]))
"""


_CHILD_S = 20  # then it ends itself: a resolver that hangs must not pile up children


class Lookup:
    """One lookup under way. Read it when its descriptor is readable; then close it."""

    def __init__(self, host: str, port: int) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-c", _CHILD, host, str(port), str(_CHILD_S)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for us
        )
        self._text = b""

    def fileno(self) -> int:
        """The pipe from the child."""
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def read(self) -> tuple[Address, ...] | None:
        """Read what is there; return the addresses once that is all. None of them: it failed."""
        data = os.read(self.fileno(), 65536)
        if data:
            self._text += data
            return None
        try:
            found = [(family, tuple(address)) for family, address in json.loads(self._text)]
        except ValueError:
            return ()
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        """End the child, if it still runs, and let go of the pipe."""
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._child.kill()
        self._child.wait()
