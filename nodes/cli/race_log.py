"""The race log: the file that sampled races are appended to.

It may be renamed while LS runs; after a reload LS goes on with the file that is at its path then.

Not here: what is written to it (`nodes/ls/race_record.py`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from core.io.outputs import Output
from core.io.system import reason
from nodes.cli.arguments import Failure
from nodes.cli.serving import LOG_BYTES_MAX


@contextmanager
def race_log(path: str | None) -> Iterator[Output | None]:
    """Open the log at this path, if there is one, until the context ends. Raises Failure."""
    if not path:
        yield None
        return
    try:
        fd = _open(path)
    except OSError as error:
        raise Failure(f"cannot write {path}: {reason(error)}") from None
    try:
        yield Output(fd, LOG_BYTES_MAX, path, partial(_reopen, path, fd))
    finally:
        os.close(fd)


def _open(path: str) -> int:
    """Open a file to append to. A pipe may have no reader yet. Raises OSError."""
    flags = os.O_RDWR if Path(path).is_fifo() else os.O_WRONLY
    return os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _reopen(path: str, fd: int) -> bool:
    """Make the descriptor lead to the file that is at the path now; return whether it is another
    file. Raises OSError."""
    with suppress(FileNotFoundError):
        if os.path.samestat(Path(path).stat(), os.fstat(fd)):
            return False
    new_fd = _open(path)
    os.dup2(new_fd, fd, inheritable=False)
    os.close(new_fd)
    return True
