"""Sources, parsed once for all rules that look at them one after another.

Not here: the rules (`tests/support/house_rules.py`, `tests/support/english.py`).
"""

import ast
from functools import lru_cache


@lru_cache(maxsize=2)  # a file at a time: all trees together would slow the garbage collector down
def parsed(source: str) -> ast.Module:
    """Return the tree of a source; nobody changes it."""
    return ast.parse(source)


@lru_cache(maxsize=2)
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a source."""
    return tuple(ast.walk(parsed(source)))
