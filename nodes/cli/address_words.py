"""Addresses as people write them: a host and a port, or one of the two.

    localhost:5301   127.0.0.1   127.0.0.1:5301   ::1   [::1]   [::1]:5301   fe80::1%eth0

An IPv6 address needs brackets only where a port follows, and may have them anywhere.

Not here: which hosts and ports make sense (`server_addresses.py`, `listen_arguments.py`).
"""

import re

_IN_BRACKETS = re.compile(r"^\[([^]]*)\](?!:)")
_BRACKETED = re.compile(r"\[([^]]*)\](?::(.*))?")


def split_address(text: str) -> tuple[str, str | None]:
    """Return the host, and the port where there is one: both as they are written."""
    if bracketed := _BRACKETED.fullmatch(text):
        host, port = bracketed.groups()
        return host, port
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def without_brackets(text: str) -> str:
    """Return a host, or a network, to which no port belongs, without the brackets around it."""
    return _IN_BRACKETS.sub(r"\1", text)
