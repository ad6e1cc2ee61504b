"""The servers that LS is told to ask: how their words are read.

Not here: addresses that are LS itself (`tests/nodes/test_server_addresses.py`).
"""

import argparse

import pytest

from nodes.cli.server_words import split_positionals

T1, T2 = ("localhost", 5001), ("localhost", 5002)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", (None, ())),
        ("5000", (5000, ())),
        ("0 localhost 5001 localhost 5002", (0, (T1, T2))),
        ("5000 localhost:5001 localhost:5002", (5000, (T1, T2))),
        ("5000 localhost:5001 localhost 5002", (5000, (T1, T2))),
        ("5000 localhost 5001 localhost:5002", (5000, (T1, T2))),
        ("localhost:5001 localhost 5002", (None, (T1, T2))),
        ("[::1]:5001 ::1 5002 [::1] 5003", (None, (("::1", 5001), ("::1", 5002), ("::1", 5003)))),
        ("5000 fe80::1%eth0 5001", (5000, (("fe80::1%eth0", 5001),))),
    ],
)
def test_servers_are_read_as_one_word_or_two(words: str, found: object) -> None:
    assert split_positionals(words.split()) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("5000 localhost", "'localhost' has no port; write it like localhost:5001"),
        ("5000 localhost localhost 5001", "'localhost' has no port; write it like localhost:5001"),
        ("5000 localhost:", "'localhost:' has no port; write it like localhost:5001"),
        ("5000 ::1", r"'::1' has no port; write it like \[::1\]:5001"),
        ("5000 ::1:5001", r"'::1:5001' has no port; write it like \[::1:5001\]:5001"),
        ("5000 [::1] x", r"'\[::1\]' has no port; write it like \[::1\]:5001"),
        ("5000 5001", "'5001' is a port without a host; write it like localhost:5001"),
        ("localhost:5001 5000", "'5000' is a port without a host; write it like localhost:5000"),
        ("5000 localhost:x", "'x' is not a port, 1 to 65535"),
        ("5000 localhost 0", "'0' is not a port, 1 to 65535"),
        ("70000 localhost 1", "'70000' is not a port, 0 to 65535"),
        ("1_0 localhost 1", "'1_0' has no port"),
    ],
)
def test_words_that_are_no_server_say_what_to_write(words: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{said}"):
        split_positionals(words.split())
