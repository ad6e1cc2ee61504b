"""The documents of the project, and the commands that they and the examples show.

Not here: what is wrong with them (`tests/test_tidy.py`, `tests/test_makefile.py`,
`tests/nodes/test_shown_commands.py`).
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for place in ("", "core/", "bench/", "examples/") for path in ROOT.glob(f"{place}*.md")
)
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").iterdir()
    if path.suffix not in (".md", ".png", ".py", ".txt", ".json")
)
PROGRAMS = ("ts", "ls", "client", "replay", "top", "demo")
_START = r"(?:python3 -m nodes|photofinish|\./photofinish\.pyz)"
# In a line of its own, perhaps behind a prompt or in a comment, up to the shell's own or a remark.
_LINE = re.compile(rf"(?m)^(?:#? +|\$ )?{_START} (.*?)(?:(?:  | [>|&]).*)?$")
_UNIT = re.compile(r"(?m)^#? *ARGUMENTS=(.*)$")
_CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


def place(document: Path) -> str:
    """Return where a document is, which tells it from others of the same name."""
    return document.relative_to(ROOT).as_posix()


def shown_commands(text: str) -> list[list[str]]:
    """Return the words of each command line of ours that a text shows, without how it is started:
    in lines of their own, in ARGUMENTS= of units, and in backticks."""
    text = re.sub(r" *\\\n *", " ", text)
    codes = [code for code in _CODE.findall(text) if re.match(rf"{_START} ", code)]
    begun = [re.sub(rf"^{_START} ", "", code) for code in codes]
    lines = [*_LINE.findall(text), *_UNIT.findall(text), *begun]
    return [line.split() for line in lines]


def code_spans(text: str) -> list[str]:
    """Return what stands in backticks in a text, outside of blocks."""
    return _CODE.findall(re.sub(r"(?ms)^ *```.*?^ *```$", "", text))
