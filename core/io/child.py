"""Child: a process that was forked from this one, and the stream that joins the two.

The stream is how each knows of the other: it ends when the other does, however that happens, so
a child never outlives its parent unheard of, nor the other way round. In the child the fork
comes back as the exception `Born`: it leaves the parent's loop, which closes everything that was
the parent's on its way out, and the child begins on a clean stack.

Not here: what a child is for (`nodes/workers/`).
"""

import os
import signal
import socket
from contextlib import suppress

from core.io.process import SIGNALS


def reap_alone() -> None:
    """Have a child that ended keep its PID until we have waited for it.

    A process may be started with SIGCHLD ignored; then the kernel waits for its children, and
    their PIDs become those of strangers (man 2 waitpid, Notes).
    """
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class Born(BaseException):
    """This process is the child of this name; `stream` leads to its parent."""

    def __init__(self, name: str, stream: socket.socket) -> None:
        super().__init__(name)
        self.name = name
        self.stream = stream


class Child(socket.socket):
    """The parent's end of the stream. A read at its end says how the child ended."""

    def __init__(self, name: str) -> None:
        """Fork. Raises OSError in the parent when that cannot be, and Born in the child.

        A signal that comes to the child before it can take it waits (`core/io/process.py`):
        the byte that it makes must not go to the parent.
        """
        reap_alone()
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            ours.close()
            theirs.close()
            raise
        if self._pid == 0:
            signal.set_wakeup_fd(-1)
            ours.close()
            raise Born(name, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        ours.setblocking(False)
        super().__init__(fileno=ours.detach())

    def recv(self, count: int, flags: int = 0) -> bytes:
        """Receive as from any stream, but raise OSError at its end: how the child ended."""
        try:
            data = super().recv(count, flags)
        except ConnectionResetError:
            data = b""
        if not data:
            raise OSError(0, self._end())
        return data

    def close(self) -> None:
        """End the child, if it still runs, and let go of the stream.

        A later child holds a copy of it, and only lets go: it may not wait for its sibling.
        """
        super().close()
        if not self._pid:
            return
        with suppress(ChildProcessError):  # not ours to wait for, or its PID is free for others
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        self._pid = 0

    def _end(self) -> str:
        """Say how the child ended. It closes its stream last, so the wait is short."""
        pid, self._pid = self._pid, 0
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            return "it ended, and somebody else was told how"
        if os.WIFSIGNALED(status):
            return f"it was ended by signal {os.WTERMSIG(status)}"
        return f"it ended with exit code {os.WEXITSTATUS(status)}"
