"""Table files: what is a row, what is reported, and the fast way agrees with the slow one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.tables.load import RowError, Table, load, parse_row
from tests.splitting import addresses, names


def loaded(tmp_path: Path, data: bytes) -> tuple[Table, list[str]]:
    path = tmp_path / "table.txt"
    path.write_bytes(data)
    said: list[str] = []
    table = load(str(path), said.append)
    return table, [line.removeprefix(str(path)) for line in said]


PLAIN = b"a.x 10.0.0.1 A\nB.x 10.0.0.2 A\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b" ", b"\t \t"),
        PLAIN.replace(b"\n", b"  \n\n \t\n# a comment, however long " + b"x" * 2000 + b"\n"),
        PLAIN.rstrip(b"\n"),
        PLAIN.replace(b"A\n", b"A"[:1] + b" \t\n"),
        b"  a.x 10.0.0.1 A\n\tB.x. 10.0.0.2 A\n",
    ],
)
def test_e1_the_same_table_in_every_way_of_writing_it(tmp_path: Path, data: bytes) -> None:
    table, said = loaded(tmp_path, data)
    assert table.rows == {b"a.x": b"a.x 10.0.0.1 A IN\n", b"b.x": b"B.x 10.0.0.2 A IN\n"}
    assert said == [] and table.bad_rows == 0


BAD_ROWS = [
    b"a.x 10.0.0.1", b"a.x 10.0.0.1 A IN", b"a.x 10.0.0.1 AAAA", b"a.x 10.0.0.1 a",
    b"a..x 10.0.0.1 A", b"- 10.0.0.1 A", b"a.x 10.0.0.256 A", b"a.x 010.0.0.1 A", b"a.x ::1 A",
    b"a.x\xc2\xa010.0.0.1 A", b"a.x\v10.0.0.1 A", b"a\0 10.0.0.1 A", b"x" * 600,
    b"a" * 64 + b" 10.0.0.1 A", b"a.x 10.0.0.1 A # no comment here",
]  # fmt: skip


@pytest.mark.parametrize("row", BAD_ROWS)
def test_e2_a_bad_row_is_reported_with_its_place_and_skipped(tmp_path: Path, row: bytes) -> None:
    table, said = loaded(tmp_path, PLAIN + b"#\n" + row + b"\nc 10.0.0.3 A\n")
    assert set(table.rows) == {b"a.x", b"b.x", b"c"}
    assert table.bad_rows == 1
    assert len(said) == 1 and said[0].startswith(":4: ") and said[0].endswith("; skipped")


def test_e3_of_one_name_twice_the_first_row_holds_with_a_word_when_they_differ(
    tmp_path: Path,
) -> None:
    table, said = loaded(tmp_path, PLAIN + b"A.X 10.0.0.1 A\nb.x 10.0.0.9 A\n")
    assert table.rows == {b"a.x": b"a.x 10.0.0.1 A IN\n", b"b.x": b"B.x 10.0.0.2 A IN\n"}
    assert said == [":4: b.x again, with another address; 10.0.0.2 holds"]
    assert (table.duplicate_rows, table.bad_rows) == (2, 0)


def test_e7_a_hundred_megabytes_in_one_line_are_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    with path.open("wb") as file:
        file.truncate(100_000_000)
        file.seek(0, 2)
        file.write(b"\n" + PLAIN)
    said: list[str] = []
    table = load(str(path), said.append)
    assert set(table.rows) == {b"a.x", b"b.x"}
    assert said == [f"{path}:1: the row has more than 512 bytes; skipped"]


def test_places_are_right_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    rows = [b"host%06d.example 10.0.0.1 A" % n for n in range(100_000)]
    rows[70_000] = b"bad"
    table, said = loaded(tmp_path, b"\n".join(rows) + b"\n")
    assert len(table.rows) == 99_999
    assert [line.split(":")[1] for line in said] == ["70001"]


rows = st.lists(st.tuples(names, addresses), max_size=12)
odd = st.sampled_from([b"# odd\n", b"\n", b"bad row\n", b"zz.dot. 10.9.9.9 A\n"])


@given(rows, odd, st.integers(0, 12))
def test_the_fast_way_and_the_slow_way_make_the_same_table(
    tmp_path_factory: pytest.TempPathFactory,
    table_rows: list[tuple[bytes, bytes]],
    line: bytes,
    at: int,
) -> None:
    """One odd line sends a whole block the slow way: the other rows are what they were."""
    tmp_path = tmp_path_factory.mktemp("table")
    written = [b"%b %b A\n" % row for row in table_rows]
    fast, _ = loaded(tmp_path, b"".join(written))
    slow, _ = loaded(tmp_path, b"".join([*written[:at], line, *written[at:]]))
    slow.rows.pop(b"zz.dot", None)
    assert fast.rows == slow.rows
    first: dict[bytes, bytes] = {}
    for name, address in table_rows:
        first.setdefault(name.lower(), b"%b %b A IN\n" % (name, address))
    assert fast.rows == first


@given(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")))
def test_any_row_is_an_answer_or_a_row_error(row: bytes) -> None:
    try:
        answer = parse_row(row)
    except RowError as error:
        assert str(error)
    else:
        assert answer.spelling and answer.address


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        load(str(tmp_path / name), print)
