"""Lookup: a host name looked up by a child process, so that the loop never waits.

`getaddrinfo` blocks, for half a minute when the host's name service does not reply, and there is no
other call. The child runs it and writes what it found into a pipe; the loop reads the pipe when it
is readable.

A child costs some 20 ms of a processor, so few run at a time, and the loop starts one in a turn;
the others wait (`Lookups`). The size of the parent does not matter: `subprocess` does not copy it
(vfork, 0.3 ms with 500 MB; `os.fork` 9 ms).

Not here: when to look up, and what becomes of the addresses.
"""

import ast
import os
import subprocess
import sys

from core.addresses import Address
from core.io.child import reap_alone

_CHILD = """\
import _signal, _socket, sys
_signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGALRM])
_signal.alarm(int(sys.argv[3]))
try:
    found = _socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), 0, _socket.SOCK_STREAM)
    print([(int(family), address) for family, _, _, _, address in found])
except (OSError, UnicodeError) as error:
    print(repr(getattr(error, "strerror", None) or str(error)))
"""


# A child ends itself after so long: a name service that hangs must not pile up children.
_CHILD_S = 20


class Lookup:
    """A lookup under way. Read it when its descriptor is readable; then close it."""

    def __init__(self, host: str, port: int) -> None:
        """Start it. Raises OSError when there can be none."""
        reap_alone()
        self.why = "no reply"  # why it found nothing, if so
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CHILD, host, str(port), str(_CHILD_S)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for us
        )
        self._text = b""

    def fileno(self) -> int:
        """Return the descriptor of the pipe from the child."""
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def read(self) -> tuple[Address, ...] | None:
        """Read what is there; return the addresses once that is all. None of them: it failed."""
        data = os.read(self.fileno(), 65536)
        if data:
            self._text += data
            return None
        try:
            found = ast.literal_eval(self._text.decode())
        except (ValueError, SyntaxError):  # it was ended
            return ()
        if isinstance(found, str):
            self.why = found.lower()
            return ()
        return tuple(dict.fromkeys(found))

    def close(self) -> None:
        """End the child, if it still runs, and let go of the pipe."""
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._child.kill()
        self._child.wait()


class Lookups:
    """The lookups of one loop: for whom each is, those under way and those that wait for another to
    end. There is one for each name at a time; `running_max` are under way at once."""

    def __init__(self, running_max: int) -> None:
        self.waiting: dict[str, tuple[str, int]] = {}  # host and port, by for whom
        self._running_max = running_max
        self._running: dict[int, tuple[str, Lookup]] = {}  # by descriptor

    @property
    def fds(self) -> list[int]:
        """The descriptors to read."""
        return list(self._running)

    def __contains__(self, fd: int) -> bool:
        return fd in self._running

    def want(self, name: str, host: str, port: int) -> None:
        """Have a host looked up, unless that is under way already."""
        if all(name != running for running, _ in self._running.values()):
            self.waiting[name] = (host, port)

    @property
    def may_start(self) -> bool:
        """Whether there is a lookup to be started now."""
        return bool(self.waiting) and len(self._running) < self._running_max

    def next(self) -> tuple[str, str, int]:
        """Take the one that has waited longest."""
        name = next(iter(self.waiting))
        return name, *self.waiting.pop(name)

    def started(self, name: str, lookup: Lookup) -> None:
        """Take note that a lookup is under way."""
        self._running[lookup.fileno()] = (name, lookup)

    def at(self, fd: int) -> tuple[str, Lookup]:
        """Return the lookup with this descriptor, after the name that it is for."""
        return self._running[fd]

    def done(self, fd: int) -> None:
        """Forget a lookup that is over. The caller closes it."""
        del self._running[fd]

    def give_up(self) -> list[Lookup]:
        """Forget all; return those that have to be closed."""
        running = [lookup for _, lookup in self._running.values()]
        self._running.clear()
        self.waiting.clear()
        return running
