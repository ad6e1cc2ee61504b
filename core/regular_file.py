"""Regular files, opened so that nobody waits: a pipe or a device in the place of one is an error.

Not here: what is read, and how much of it (`nodes/ts/reload.py`, `nodes/cli/config_file.py`,
`nodes/cli/resolver_file.py`).
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def regular_file(path: str) -> Iterator[int]:
    """Open a file to be read, and close it in the end; give its descriptor. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        yield fd
    finally:
        os.close(fd)
