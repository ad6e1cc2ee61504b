"""Plant one bug: swap a snippet of code for another inside a function that is found by its name.

A place is the dotted name of a function, class or constant of core/ or nodes/, as short as it is
clear: `Acceptor._accept`, or `places.largest` where two files have a `largest`. It is looked for in
every file, so a bug survives when its function moves to another one. A snippet is compared token
by token, without comments and line breaks inside brackets, so it survives another layout, too. It
must stand in its place exactly once.

Not here: the bugs (tests/planted.toml), and the tests that find them (tests/mutants.py).
"""

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_CLOSING = (")", "]", "}")


@dataclass(frozen=True, slots=True)
class Place:
    """The lines of `path` (from `start` to before `end`, counted from 0) that define `name`."""

    path: Path
    name: str
    start: int
    end: int


def places(root: Path) -> list[Place]:
    """Return every function, class and constant of core/ and nodes/."""
    return [
        place
        for folder in ("core", "nodes")
        for path in sorted((root / folder).rglob("*.py"))
        for place in _places(path, ast.parse(path.read_text()).body, path.stem)
    ]


def find(known: list[Place], name: str) -> Place:
    """Return the one place with this name. Raises LookupError when there is none, or several."""
    found = [place for place in known if f".{place.name}".endswith(f".{name}")]
    if len(found) != 1:
        raise LookupError(f"{name}: {len(found)} places have this name in core/ and nodes/")
    return found[0]


def planted(place: Place, old: str, new: str) -> str:
    """Return the source of the place's file with `new` instead of `old`.

    Raises LookupError when `old` does not stand in the place exactly once.
    """
    lines = place.path.read_text().splitlines(keepends=True)
    here = _tokens("".join(lines[place.start : place.end]))
    wanted = [token.string.strip() for token in _tokens(old)]
    while wanted and not wanted[-1]:
        wanted.pop()
    essences = [token.string.strip() for token in here]
    found = [
        at for at in range(len(here) - len(wanted) + 1) if essences[at : at + len(wanted)] == wanted
    ]
    if len(found) != 1:
        raise LookupError(f"{place.name}: {old!r} stands {len(found)} times in it")
    (row, column), (last_row, last_column) = (
        here[found[0]].start,
        here[found[0] + len(wanted) - 1].end,
    )
    first, last = place.start + row - 1, place.start + last_row - 1
    indent = " " * (len(lines[first]) - len(lines[first].lstrip()))
    text = new.replace("\n", "\n" + indent)
    return "".join(
        [*lines[:first], lines[first][:column], text, lines[last][last_column:], *lines[last + 1 :]]
    )


def _places(path: Path, body: list[ast.stmt], prefix: str) -> Iterator[Place]:
    for node in body:
        start = node.lineno
        if isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign):
            names = [node.target.id] if isinstance(node.target, ast.Name) else []
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
            start = min([start, *(each.lineno for each in node.decorator_list)])
        else:
            continue
        for name in names:
            yield Place(path, f"{prefix}.{name}", start - 1, node.end_lineno or start)
        if isinstance(node, ast.ClassDef):
            yield from _places(path, node.body, f"{prefix}.{node.name}")


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    """Return the tokens that matter: without layout and commas before a bracket closes."""
    lines = iter(text.splitlines(keepends=True))
    tokens: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(lambda: next(lines, "")):
            if token.type in _LAYOUT:
                continue
            if token.string in _CLOSING and tokens and tokens[-1].string == ",":
                tokens.pop()
            tokens.append(token)
    except (tokenize.TokenError, IndentationError):
        pass  # A snippet may open a bracket or a block that it does not close.
    return tokens
