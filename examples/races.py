"""Latencies that somebody has measured, as races that `replay` can run under other policies.

    python3 examples/races.py latencies.txt > races.jsonl
    python3 -m nodes replay races.jsonl

Each line of the file is a question: how many ms each server took, in columns; `-` where it gave no
answer in 5 s. `--example` writes such a file: 10,000 questions to two servers as slow as those of
"The Tail at Scale".

The questions of a file come evenly, 100 a second, and each server has the answer to all of them.
The replay is as good as that: servers that become slower under more load are not in such a file.

Not here: races with their times, recorded by LS itself (`ls --race-log FILE`).
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.laws import three_point

_QUESTIONS = 10_000
_APART_S = 0.01
_TIMEOUT_S = 5.0
_ADDRESS = "192.0.2.1"


def example() -> None:
    """Write latencies of two servers, in ms, the same ones each time."""
    chance = random.Random(1)
    for _ in range(_QUESTIONS):
        print(" ".join(f"{three_point(chance, 0) * 1e3:.1f}" for _ in range(2)))


def race(number: int, took_ms: Sequence[str]) -> dict[str, object]:
    """Return the record of a question, as LS writes it. Raises ValueError."""
    took_s = {
        f"TS{at}": float(took) / 1e3 for at, took in enumerate(took_ms, 1) if took not in ("-", "")
    }
    if any(not 0 <= took < _TIMEOUT_S for took in took_s.values()):
        raise ValueError("a latency is below 0, or not below 5 s")
    ranked = sorted(took_s, key=lambda server: took_s[server])
    return {
        "at": round(number * _APART_S, 6),
        "question": f"q{number}.example",
        "policy": "race",
        "share": 1,
        "asked": {f"TS{at}": 0 for at in range(1, len(took_ms) + 1)},
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
    columns = 0
    try:
        lines = Path(words[0]).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {words[0]}: {error}", file=sys.stderr)
        return 1
    for number, line in enumerate(lines, 1):
        took_ms = line.split()
        columns = columns or len(took_ms)
        try:
            if not took_ms or len(took_ms) != columns:
                raise ValueError(f"it has {len(took_ms)} columns, and the first line {columns}")
            print(json.dumps(race(number, took_ms), separators=(",", ":")))
        except ValueError as error:
            print(f"{words[0]}:{number}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
