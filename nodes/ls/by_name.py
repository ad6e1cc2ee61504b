"""By name: what each question has by its name, which is what the nearest name above it has.

It is remembered for the questions that were asked lately, so that a batch costs a look-up each.

Not here: what names have (`routes.py`, `local_names.py`).
"""

from collections.abc import Mapping
from typing import TypeVar

from core.protocol.names import nearest

_QUESTIONS_MAX = 16_384  # questions of which it is remembered
_T = TypeVar("_T")


class ByName(dict[bytes, _T]):
    """A dictionary by question that fills itself. `by_name`: the values of names, and of all names
    below them; `default`: that of all other names."""

    def __init__(self, by_name: Mapping[bytes, _T], default: _T) -> None:
        super().__init__()
        self._by_name = by_name
        self._default = default

    def __missing__(self, question: bytes) -> _T:
        if len(self) == _QUESTIONS_MAX:
            self.clear()
        name = nearest(question, self._by_name)
        found = self[question] = self._default if name is None else self._by_name[name]
        return found
