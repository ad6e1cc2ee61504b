"""The service manager that has started this program, if one has (systemd, or what speaks like it).

It is told how the program stands, and that the loop still turns if it watches that. It may keep
what the program says in its journal.

Not here: when it is told (`core/io/signals.py`), and sockets that it has opened
(`core/io/handed_over.py`).
"""

import math
import os
import socket
import time
from contextlib import suppress

from core.operator import Standing


def watchdog_s() -> float:
    """Return within how many seconds it wants to hear that the loop still turns; infinite when it
    does not (man 3 sd_watchdog_enabled)."""
    given = os.environ.get("WATCHDOG_USEC", "")
    whose = os.environ.get("WATCHDOG_PID", "") or str(os.getpid())
    wants = os.environ.get("NOTIFY_SOCKET") and whose == str(os.getpid())
    if not (wants and given.isascii() and given.isdigit() and int(given)):
        return math.inf
    return int(given) / 1e6


def notify(standing: Standing) -> None:
    """Tell it how the program stands (man 3 sd_notify)."""
    _notify(f"{standing.name}=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\n")


def notify_alive() -> None:
    """Tell it that the loop still turns."""
    _notify("WATCHDOG=1\n")


def leads_to_journal(fd: int) -> bool:
    """Return whether this descriptor leads to its journal (man 5 systemd.exec, $JOURNAL_STREAM)."""
    given = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return given == f"{found.st_dev}:{found.st_ino}"


def _notify(text: str) -> None:
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
        teller.setblocking(False)
        # "@" stands for the NUL byte of an address that is in no file system (man 7 unix).
        teller.sendto(text.encode(), f"\0{where[1:]}" if where[0] == "@" else where)
