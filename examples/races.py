"""Latencies that somebody has measured, as races that `replay` can run under other policies.

    python3 examples/races.py latencies.txt > races.jsonl
    python3 -m nodes replay races.jsonl

Each line of the file is a question: how many ms each server took, in columns, between which are
commas, semicolons, tabs or blanks, the same ones in the whole file. An empty cell, `-`, and 5 s or
more are no answer. A first line without a number is a header, and left out. `--example` writes such
a file: 10,000 questions to two servers as slow as those of "The Tail at Scale".

The questions of a file come evenly, 100 a second, and each server has the answer to all of them.
The replay is as good as that: servers that become slower under more load are not in such a file.

Not here: races with their times, recorded by LS itself (`ls --race-log FILE`).
"""

import json
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.laws import three_point

_QUESTIONS = 10_000
_APART_S = 0.01
_TIMEOUT_S = 5.0
_ADDRESS = "192.0.2.1"
_NO_ANSWER = frozenset({"", "-"})
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def example() -> None:
    """Write latencies of two servers, in ms, the same ones each time."""
    chance = random.Random(1)
    for _ in range(_QUESTIONS):
        print(" ".join(f"{three_point(chance, 0) * 1e3:.1f}" for _ in range(2)))


def cells(line: str) -> list[str]:
    """Return the columns of a line. A separator between which there may be nothing goes before
    blanks."""
    for separator in ";\t,":
        if separator in line:
            return [cell.strip() for cell in line.split(separator)]
    return line.split()


def latency_s(cell: str) -> float | None:
    """Read a latency in ms; None is no answer. Raises ValueError."""
    if cell in _NO_ANSWER:
        return None
    if not _NUMBER.fullmatch(cell):
        raise ValueError(f"{cell!r} is not a latency in ms, like 17.7")
    took_s = float(cell) / 1e3
    return took_s if took_s < _TIMEOUT_S else None


def read(lines: Sequence[str]) -> list[dict[str, object]]:
    """Return the races of these lines. Raises ValueError, which names the line."""
    races: list[dict[str, object]] = []
    columns = 0
    for number, line in enumerate(lines, 1):
        row = cells(line)
        if number == 1 and row and not any(map(_NUMBER.fullmatch, row)) and set(row) - _NO_ANSWER:
            continue  # a header
        columns = columns or len(row)
        try:
            if not row:
                raise ValueError("it is empty")
            if len(row) != columns:
                raise ValueError(f"it has {len(row)} columns, and the lines before {columns}")
            races.append(race(len(races) + 1, [latency_s(cell) for cell in row]))
        except ValueError as error:
            raise ValueError(f"{number}: {error}") from None
    if not races:
        raise ValueError(f"{len(lines)}: there is no latency up to here")
    return races


def race(number: int, all_took_s: Sequence[float | None]) -> dict[str, object]:
    """Return the record of a question, as LS writes it."""
    took_s = {f"TS{at}": took for at, took in enumerate(all_took_s, 1) if took is not None}
    ranked = sorted(took_s, key=lambda server: took_s[server])
    return {
        "at": round(number * _APART_S, 6),
        "question": f"q{number}.example",
        "policy": "race",
        "share": 1,
        "asked": {f"TS{at}": 0 for at in range(1, len(all_took_s) + 1)},
        "replies": {server: [round(took_s[server], 6), _ADDRESS] for server in ranked},
        "winner": ranked[0] if ranked else None,
        "margin": round(took_s[ranked[1]] - took_s[ranked[0]], 6) if len(ranked) > 1 else None,
        "end": "ANSWERED" if ranked else "TIMED_OUT",
        "took": round(took_s[ranked[0]], 6) if ranked else _TIMEOUT_S,
    }


def main(words: list[str]) -> int:
    """Write the races of a file; return the exit code."""
    if words == ["--example"]:
        example()
        return 0
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python3 examples/races.py latencies.txt | --example", file=sys.stderr)
        return 2
    try:
        text = Path(words[0]).read_text(encoding="utf-8-sig")  # without a byte order mark
        for one in read(text.removesuffix("\n").split("\n")):
            print(json.dumps(one, separators=(",", ":")))
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {words[0]}: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{words[0]}:{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
