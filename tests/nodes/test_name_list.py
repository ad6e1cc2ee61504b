"""Lists of names as people write them: what is asked for, and what is said of bad lines.

Not here: lists that come while the client runs (`tests/nodes/test_client_intake.py`).
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.client.name_list import NameList, bare_name

WAYS = [
    (b"a.x", b"a.x"), (b"  a.x\t ", b"a.x"), (b"a.x # a comment", b"a.x"), (b"a.x#", b"a.x"),
    (b"a AAAA", b"a AAAA"), (b"a\tAAAA", b"a AAAA"), (b" a  \t AAAA  # b", b"a AAAA"),
    (b"a A", b"a A"), (b"two  words", b"two words"), (b"", b""), (b" \t", b""), (b"# a.x", b""),
    (b"  # a.x", b""), (b"\xff", b"\xff"), (b"a\rb", b"a\rb"), (b"a\vAAAA", b"a\vAAAA"),
    (b" AAAA", b"AAAA"), (b"a" + b" " * 600, b"a" + b" " * 600), (b"a" + b"#" * 600, b"a"),
    (b"\xef\xbb\xbfa", b"\xef\xbb\xbfa"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name"), WAYS)
def test_a_line_is_what_a_person_means_by_it(line: bytes, name: bytes) -> None:
    assert bare_name(line) == name


@given(st.lists(st.sampled_from(WAYS), max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_a_list_is_read_line_by_line_however_it_is_cut(
    ways: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    """The first line is one that lets no beginning be taken for no text. Of all lines that have a
    name, the first ten are told, as if they were bad."""
    listed = NameList("names")
    assert listed.read(b"first.example\n") == b"first.example\n"
    said, numbers = list[str](), list[int]()
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(ways)]):
        some = ways[begin:end]
        read = listed.read(b"".join(line + b"\n" for line, _ in some))
        assert read == b"".join(name + b"\n" for _, name in some if name)
        new = [number for number, (_, name) in enumerate(some, begin + 2) if name]
        said += listed.complaints(dict.fromkeys(range(len(new)), b"?"))
        numbers += new
    told = [f"names:{number}: neither a legal name nor `name AAAA`: ?" for number in numbers]
    assert said == told[:10]


def test_ten_bad_lines_of_a_list_are_told_with_their_places() -> None:
    listed = NameList("names")
    listed.read(b"# comment\n\n" + b"two words\n" * 12)
    assert listed.complaints({0: b"two words"}) == [
        "names:3: neither a legal name nor `name AAAA`: two words"
    ]
    said = listed.complaints(dict.fromkeys(range(1, 12), b"\xff" * 600))
    assert len(said) == 9
    assert said[0].startswith(r"names:4: the line has more than 512 bytes: \xff\xff")
    assert len(said[0]) < 120


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("a.x\r\nb.x\r\n".encode("utf-16"), "looks like UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08\n", "looks like a gzip file; unpack it"),
        (b"a\rb\rc\n", "ends its lines with CR alone; save it with LF"),
    ],
)
def test_a_list_that_is_no_text_is_refused_as_a_whole(data: bytes, why: str) -> None:
    """[P81]: only where it begins so."""
    listed = NameList("names")
    assert listed.read(data) == b"" and listed.refused == f"names {why}"
    listed = NameList("names")
    assert listed.read(b"a\n") == b"a\n" and listed.read(data) != b"" and listed.refused == ""


def test_a_byte_order_mark_is_dropped_at_the_beginning() -> None:
    listed = NameList("names")
    assert listed.read(b"\xef\xbb\xbfa\n") == b"a\n"
    assert listed.read(b"\xef\xbb\xbfa\n") == b"\xef\xbb\xbfa\n"
