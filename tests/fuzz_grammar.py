"""Lines of proto.md's grammar, and lines that are nearly so, through the parsers.

    python3 -m tests.fuzz_grammar --lines 100000 --seed 1

For each line the grammar and the parsers have to agree on what it is. Exit code 1 when they do not;
the seed plays it again. Not here: how lines are drawn and compared (`tests/support/grammar.py`).
"""

import argparse
import sys
from random import Random

from tests.support.grammar import SIDES, Comparison, Judge, compare_drawn

_SHOWN_MAX = 10  # differences


def main() -> int:
    parser = argparse.ArgumentParser(description="Send lines of the grammar through the parsers.")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chance, comparison = Random(arguments.seed), Comparison(Judge())
    lines = 0
    while lines < arguments.lines:
        lines += compare_drawn(comparison, chance.choice([*SIDES]), chance)
    for kind, count in sorted((comparison.kinds + comparison.chunks).items()):
        print(f"{count:9,}  {kind}")
    for difference in comparison.differences[:_SHOWN_MAX]:
        print(difference)
    print(f"{lines:,} lines, {len(comparison.differences):,} differences")
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
