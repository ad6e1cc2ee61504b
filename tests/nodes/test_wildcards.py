"""Wildcards of tables: `*.x` answers below x for names that do not exist, as RFC 4592 says.

The model here knows nothing but labels: which names exist, and which of them is nearest.

Not here: rows that are no good (`tests/nodes/test_table_file.py`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.environment import Environment
from core.text import split_lines
from nodes.ts.table_file import Loading
from nodes.ts.table_server import TableServer
from tests.support.stage import Stage

Labels = tuple[bytes, ...]
ADDRESS = {b"A": b"10.0.0.1", b"AAAA": b"::1"}
TABLE = b"""*.example 10.0.0.1 A
10.0.0.2 *.example
*.Example ::1 AAAA
b.example 10.0.0.3 A
x.c.example 10.0.0.4 A
*.d.example ::2 AAAA
"""


def asked_of(data: bytes, *lines: bytes, answer_unknown: bool = False) -> list[bytes]:
    """Return the replies of a table server that has read these rows."""
    loading = Loading("table", lambda text: pytest.fail(text))
    loading.take(data)
    server = TableServer(loading.end(), Environment(), answer_unknown=answer_unknown)
    stage = Stage.begun(server, clients=("a",))
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    return split_lines(stage.take("a"))


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("New.Example", "New.Example 10.0.0.1,10.0.0.2 A IN"),
        ("any.Depth.example AAAA", "any.Depth.example ::1 AAAA IN"),
        ("B.example", "b.example 10.0.0.3 A IN"),  # exact first, in the row's spelling
        ("b.example AAAA", "b.example AAAA - NO DATA"),  # it exists
        ("a.b.example AAAA", ""),
        ("a.b.example", ""),  # its closest encloser has no wildcard
        ("c.example", "c.example - NAMES BELOW"),  # an empty non-terminal
        ("y.c.example", ""),
        ("example", "example - NAMES BELOW"),  # no wildcard covers its own parent
        ("d.example AAAA", "d.example AAAA - NAMES BELOW"),
        ("y.d.example AAAA", "y.d.example ::2 AAAA IN"),
        ("Y.d.example", "Y.d.example - NO DATA"),  # the nearest wildcard counts alone
        ("other", ""),
    ],
)
def test_a_wildcard_answers_what_does_not_exist_below_it(question: str, reply: str) -> None:
    """[P100] [P101]"""
    assert asked_of(TABLE, question.encode()) == [reply.encode()] * bool(reply)
    unknown = [(reply or f"{question} - NOT FOUND").encode()]
    assert asked_of(TABLE, question.encode(), answer_unknown=True) == unknown


@pytest.mark.parametrize("odd", [b"", b"# odd\n"])
def test_a_table_of_one_type_has_wildcards_too(odd: bytes) -> None:
    """By itself, where all that is said of others is silence."""
    assert asked_of(odd + b"*.x 10.0.0.1 A\n", b"nobody\na.x") == [b"a.x 10.0.0.1 A IN"]


def test_a_wildcard_is_no_name_that_can_be_asked() -> None:
    assert asked_of(TABLE, b"*.example", b"*") == [b"- ERROR BADNAME"] * 2


labels = st.sampled_from([b"a", b"b", b"c"])
some_names = st.lists(labels, min_size=1, max_size=3).map(tuple)
kinds = st.sampled_from([*ADDRESS])


def exists(name: Labels, rows: set[tuple[Labels, bytes]]) -> bool:
    return any(owner[-len(name) :] == name for owner, _ in rows)


def by_rfc_4592(name: Labels, kind: bytes, rows: set[tuple[Labels, bytes]]) -> bytes:
    """Return what is to be said of a name: an address, a negative, or nothing."""
    enclosers = (name[at:] for at in range(1, len(name)))
    encloser = next((above for above in enclosers if exists(above, rows)), None)
    source = name if exists(name, rows) else None if encloser is None else (b"*", *encloser)
    if source is None:
        return b""
    if (source, kind) in rows:
        return ADDRESS[kind]
    if any(owner == source for owner, _ in rows):
        return b"NO DATA"
    return b"NAMES BELOW" if source == name else b""


@given(
    st.sets(st.tuples(st.one_of(some_names, some_names.map(lambda n: (b"*", *n))), kinds)),
    st.lists(st.tuples(st.lists(labels, min_size=1, max_size=5).map(tuple), kinds), max_size=9),
    st.booleans(),
)
def test_any_table_with_wildcards_replies_as_rfc_4592_says(
    rows: set[tuple[Labels, bytes]], asked: list[tuple[Labels, bytes]], is_odd: bool
) -> None:
    """[P100] [P101]: read at one stroke, and row by row."""
    data = b"# odd\n" * is_odd
    data += b"".join(b"%b %b %b\n" % (b".".join(n), ADDRESS[kind], kind) for n, kind in rows)
    expected = []
    for name, kind in asked:
        said, spelled = by_rfc_4592(name, kind, rows), b".".join(name).title()
        typed = spelled + b" AAAA" * (kind == b"AAAA")
        if said == ADDRESS[kind]:
            # The spelling is that of a row where there is one.
            own = b".".join(name) if (name, kind) in rows else spelled
            expected.append(b"%b %b %b IN" % (own, said, kind))
        else:
            expected.append(typed + b" - " + (said or b"NOT FOUND"))
    questions = [b".".join(name).title() + b" AAAA" * (kind == b"AAAA") for name, kind in asked]
    assert asked_of(data, *questions, answer_unknown=True) == expected
