"""Wildcards: `*.example.com` answers for the names below example.com that do not exist (RFC 4592).

A name exists if it has a row of any type, or if one is below it; a wildcard is such a row. The
nearest name above a question that exists is its *closest encloser*, and only the wildcard directly
below that one is asked for: `*.example.com` says nothing of `a.b.example.com` where
`b.example.com` exists, and nothing of `example.com` itself.

Not here: what a table makes of it (`nodes/ts/table.py`).
"""

from collections.abc import Container

from core.protocol.names import is_name, name_of, other_type, question_of, type_of

WILDCARD = b"*."


def is_name_of_row(spelling: bytes) -> bool:
    """Return whether this is a legal name, or `*.` before one, its trailing dot already dropped."""
    return is_name(spelling) or (spelling.startswith(WILDCARD) and is_name(b"x" + spelling[1:]))


def wildcard_of(question: bytes, rows: Container[bytes], above: Container[bytes]) -> bytes:
    """Return the wildcard of this type that a table may have for a name that does not exist. All
    are folded; `above` has the names above those of `rows`."""
    type = type_of(question)
    encloser = name_of(question)
    while encloser:
        encloser = encloser.partition(b".")[2]
        of_type = question_of(encloser, type)
        if encloser in above or of_type in rows or other_type(of_type) in rows:
            break
    return question_of(WILDCARD + encloser, type)
