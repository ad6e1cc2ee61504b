"""JSON lines: what became of each name as an object, for programs.

`name` is the name as it was asked, `type` the type of address (null for what is no name), `result`
the word of the summary with `_` for a blank, `addresses` those of an answer.

Not here: the same as text (`nodes/client/results.py`).
"""

import json
from collections.abc import Sequence

from core.protocol.names import name_of, type_of
from core.text import printable
from nodes.client.results import BAD_END, LOST_END, NEGATIVE_RESULTS, NameResult

_NEGATIVES = {b" - " + why.value: result for why, result in NEGATIVE_RESULTS.items()}
_BY_END = _NEGATIVES | {BAD_END: NameResult.BAD, LOST_END: NameResult.LOST}


def json_lines(names: Sequence[bytes], lines: Sequence[bytes]) -> bytes:
    """Write an object for each of these names, each ended by LF."""
    return "".join(map(_object, names, lines)).encode()


def _object(name: bytes, line: bytes) -> str:
    result, addresses = _result(line), list[str]()
    if result is NameResult.ANSWERED:
        addresses = line.split(b" ")[1].decode().split(",")
    is_name = result is not NameResult.BAD
    values = {
        "name": (name_of(name) if is_name else printable(name)).decode(),
        "type": type_of(name).value.decode() if is_name else None,
        "result": result.name.lower(),
        "addresses": addresses,
    }
    return f"{json.dumps(values)}\n"


def _result(line: bytes) -> NameResult:
    """Return the result that a line tells by its end."""
    ends = (result for end, result in _BY_END.items() if line.endswith(end))
    return next(ends, NameResult.ANSWERED)
