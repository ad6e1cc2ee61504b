"""The scenario of the demo: two tables, the names that are asked, and what the client has to write.

Each is a file beside this one, in a wheel and in a zip archive, too. README's session uses the same
tables, by their links in examples/.

Not here: who plays it (`demo.py`).
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """`tables`: the file of each table server, by the server's name. `expected`: the lines that
    the client writes."""

    tables: Mapping[str, bytes]
    names: tuple[str, ...]
    expected: tuple[str, ...]

    @classmethod
    def read(cls) -> "Scenario":
        """Read the files."""
        tables = {"TS1": _file("ts1.txt"), "TS2": _file("ts2.txt")}
        names, expected = _file("names.txt").decode(), _file("expected.txt").decode()
        return cls(tables, tuple(names.split()), tuple(expected.rstrip("\n").split("\n")))


def _file(name: str) -> bytes:
    data = pkgutil.get_data(__name__, name)
    assert data is not None
    return data
