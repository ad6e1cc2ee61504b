"""The output of the client: standard output, or a file that keeps what it has until there is more.

A file is emptied when its first line is written, or where the client ends well without a line: one
that refuses its list, or dies before, leaves the file as it was. The list itself is no output.

Not here: how an output is written (`core/io/outputs.py`).
"""

import os
from contextlib import ExitStack
from stat import S_ISREG

from core.io.outputs import Output
from core.io.system import reason
from nodes.cli.arguments import STDOUT, USAGE, Failure


class OutputFile(Output):
    """An output. `to_empty`: it is a file, and still has what it had before."""

    __slots__ = ("to_empty",)

    def __init__(self, fd: int, *, to_empty: bool) -> None:
        super().__init__(fd)
        self.to_empty = to_empty

    def append(self, record: bytes) -> None:
        """Keep a record until it is written, in a file that has no other."""
        self._empty()
        super().append(record)

    def end(self, exit_code: int) -> int:
        """Take the end of the program: one that ends well has written all. Return the code."""
        if not exit_code:
            self._empty()
        return exit_code

    def _empty(self) -> None:
        if self.to_empty:
            os.ftruncate(self.fd, 0)
            self.to_empty = False


def open_output(path: str | None, input_fd: int | None, stack: ExitStack) -> OutputFile:
    """Return the output: a file, or without `path` standard output. Raises Failure."""
    fd = STDOUT if path is None else open_file(stack, path, "write", os.O_WRONLY | os.O_CREAT)
    about = os.fstat(fd)
    is_file = S_ISREG(about.st_mode)
    if is_file and input_fd is not None and os.path.samestat(about, os.fstat(input_fd)):
        called = "standard output" if path is None else path
        raise Failure(f"{called} is both the list of names and the output", USAGE)
    return OutputFile(fd, to_empty=is_file and path is not None)


def open_file(stack: ExitStack, path: str, verb: str, flags: int) -> int:
    """Return the descriptor of a file, which the stack closes. Raises Failure."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise Failure(f"cannot {verb} {path}: {reason(error)}") from None
    stack.callback(os.close, fd)
    return fd
