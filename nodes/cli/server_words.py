"""The servers that LS is to ask, as people write them, read into hosts and ports.

Table servers stand behind PORT, each as one word or as two: `localhost:5001`, `localhost 5001`. A
resolver is the value of a flag: `9.9.9.9`, `[::1]:5053`, `dns.example:53`, `quad9=9.9.9.9`; or a
file like /etc/resolv.conf, which names several.

Not here: a host and a port in one word (`address_words.py`), where a host is (`host_names.py`), and
servers that cannot be asked for what this machine is (`server_addresses.py`).
"""

import argparse
from collections.abc import Sequence

from core.addresses import address_text
from nodes.cli.address_words import split_address
from nodes.cli.arguments import own_port, port_number

HostPort = tuple[str, int]


def split_positionals(words: Sequence[str]) -> tuple[int | None, tuple[HostPort, ...]]:
    """Return PORT, which is a first word of digits, if there is one, and the table servers that the
    other words name. Raises argparse.ArgumentTypeError."""
    if words and _is_digits(words[0]):
        return own_port(words[0]), table_servers(words[1:])
    return None, table_servers(words)


def table_servers(words: Sequence[str]) -> tuple[HostPort, ...]:
    """Return the table servers that these words name. Raises argparse.ArgumentTypeError."""
    servers: list[HostPort] = []
    known: set[HostPort] = set()
    left = list(reversed(words))
    while left:
        word = left.pop()
        if _is_digits(word):
            raise argparse.ArgumentTypeError(
                f"'{word}' is a port without a host; write it like localhost:{word}"
            )
        host, port = split_address(word)
        if port is None and left and _is_digits(left[-1]):
            port = left.pop()
        if not port:
            in_brackets = f"[{host}]" if ":" in host else host
            raise argparse.ArgumentTypeError(
                f"'{word}' has no port; write it like {in_brackets or 'localhost'}:5001"
            )
        server = host, port_number(port)
        if (plain := (host.lower().removesuffix("."), server[1])) in known:
            raise argparse.ArgumentTypeError(
                f"the table server {address_text(server)} is given twice; once is enough"
            )
        known.add(plain)
        servers.append(server)
    return tuple(servers)


def _is_digits(word: str) -> bool:
    return word.isascii() and word.isdigit()
