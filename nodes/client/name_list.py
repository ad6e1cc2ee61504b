"""Name list: names as people write them in a file, a pipe or at a terminal, one in each line.

Blanks (spaces and tabs) around a name do not count, nor do several of them before a type; `#`
begins a comment, which ends with the line; lines in which nothing is left are skipped. A byte-order
mark is dropped. A list whose beginning is no text is refused as a whole. A line that is no name has
its line in the output, and the first few of them are told with their places in the list, too.

Not here: which names are legal (`nodes/client/worksheet.py`), and how lines are read
(`core/io/input.py`).
"""

from collections.abc import Sequence

from core.protocol.names import LINE_BYTES_MAX
from core.text import BYTE_ORDER_MARK, not_text, printable, split_lines

_TOLD_MAX = 10  # bad lines of one list: whoever takes the wrong file need not see all
_SHOWN_LETTERS = 60  # of a bad line


class NameList:
    """A list that comes in chunks of whole lines; `called` is what people call it. `refused` is the
    reason to refuse it, and empty while there is none."""

    def __init__(self, called: str) -> None:
        self.refused = ""
        self._called = called
        self._count = 0  # lines by now
        self._told = 0
        self._numbers: Sequence[int] = ()  # of the lines from which the last names came

    def read(self, data: bytes) -> bytes:
        """Return the names of the next lines, bare, each ended by LF."""
        if not self._count:
            if why := not_text(data.removesuffix(b"\n")):
                self.refused = f"{self._called} {why}"
                return b""
            data = data.removeprefix(BYTE_ORDER_MARK)
        first = self._count + 1
        self._count += data.count(b"\n")
        if _is_bare(data):
            self._numbers = range(first, self._count + 1)
            return data
        bare = {number: bare_name(line) for number, line in enumerate(split_lines(data), first)}
        names = {number: name for number, name in bare.items() if name}
        self._numbers = [*names]
        return b"".join(name + b"\n" for name in names.values())

    def complaints(self, bad: dict[int, bytes]) -> list[str]:
        """Tell of bad names, by their places among those that were read last, in one line each."""
        told = [*bad.items()][: _TOLD_MAX - self._told]
        self._told += len(told)
        return [f"{self._called}:{self._numbers[place]}: {_why(name)}" for place, name in told]


def bare_name(line: bytes) -> bytes:
    """Return what a person means by a line or a word: no comment, no blank too many."""
    text = line.partition(b"#")[0].replace(b"\t", b" ")
    if len(text) > LINE_BYTES_MAX:  # the line is cut, and its rest may be anything
        return text
    return b" ".join(filter(None, text.split(b" "))) if b" " in text else text


def _is_bare(data: bytes) -> bool:
    """Return whether lines are bare already, but for some that are no names in any case."""
    if b"#" in data or b"\t" in data or b"\n\n" in data or data[:1] in b"\n ":
        return False
    return b" " not in data or (data.count(b" ") == data.count(b" AAAA\n") and b"\n " not in data)


def _why(name: bytes) -> str:
    shown = printable(name).decode()
    if len(shown) > _SHOWN_LETTERS:
        shown = f"{shown[:_SHOWN_LETTERS]}..."
    if len(name) > LINE_BYTES_MAX:
        return f"the line has more than {LINE_BYTES_MAX} bytes: {shown}"
    return f"neither a legal name nor `name AAAA`: {shown}"
