"""Screen: rows as bytes for an output: with escapes for a terminal, or plain.

On a terminal a frame fills the screen, neither more nor less, and overwrites the one before: every
row is wiped before it is written, and none is longer than the screen is wide, so nothing scrolls
and nothing flickers. The few escapes are those that every terminal of the last forty years knows
(ECMA-48), and are written only where standard output is a terminal that has a name.

Not here: what is shown (`nodes/top/frame.py`), and the terminal itself (`nodes/cli/terminal.py`).
"""

from collections.abc import Sequence

from nodes.top.frame import Row, Style

_HOME, _WIPE_ROW, _RESET = "\x1b[H", "\x1b[K", "\x1b[0m"
_BEGIN = {
    Style.PLAIN: "",
    Style.TITLE: "\x1b[1m",
    Style.HEAD: "\x1b[2m",
    Style.GOOD: "\x1b[32m",
    Style.BAD: "\x1b[31m",
}


def plain(rows: Sequence[Row]) -> bytes:
    """Write rows as lines, and an empty line after them."""
    return "".join(f"{row.text.rstrip()}\n" for row in [*rows, Row("")]).encode()


def fitted(rows: Sequence[Row], columns: int, lines: int) -> list[Row]:
    """Return exactly as many rows as there are lines, none longer than the columns."""
    shown = list(rows[:lines])
    if len(rows) > lines > 0:
        shown[-1] = Row(f"... and {len(rows) - lines + 1} more rows", Style.HEAD)
    shown += [Row("")] * (lines - len(shown))
    return [Row(row.text[:columns], row.style) for row in shown]


def painted(rows: Sequence[Row], columns: int, lines: int) -> bytes:
    """Write rows over all that a terminal of this size shows."""
    texts = []
    for row in fitted(rows, columns, lines):
        begin = _BEGIN[row.style]
        texts.append(f"{_WIPE_ROW}{begin}{row.text}{_RESET if begin else ''}")
    return (_HOME + "\r\n".join(texts)).encode()
