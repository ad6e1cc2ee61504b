"""Table files: what is a row, what is reported, and the fast way agrees with the slow one.

A block of ordinary rows is taken at one stroke, any other row by row. The reference here reads
row by row always, in its own words and with `ipaddress`; blocks are made small, so that they are
cut at every byte, and rows of all kinds stand on both sides of every cut.

Not here: `--strict` and what a person is told (`tests/processes/test_system.py`).
"""

import gzip
import ipaddress
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.protocol.messages import Answer, parse_reply
from core.protocol.names import fold
from core.text import not_text
from nodes.ts import table_file as module
from nodes.ts.table_file import (
    BLOCK_BYTES,
    Loading,
    NoTableError,
    RowError,
    Table,
    load,
    parse_row,
)
from tests.support.splitting import addresses, addresses_v6, name_of, names

PLAIN = b"a.x 10.0.0.1 A\nB.x 10.0.0.2 A\n"


def loaded(tmp_path: Path, data: bytes) -> tuple[Table, list[str]]:
    path = tmp_path / "table.txt"
    path.write_bytes(data)
    said: list[str] = []
    table = load(str(path), said.append)
    return table, [line.removeprefix(str(path)) for line in said]


# -- row by row ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        b"\xef\xbb\xbf" + PLAIN,
        b"\xef\xbb\xbf" + PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b" ", b"\t \t"),
        PLAIN.replace(b" ", b"  "),
        PLAIN.replace(b"A\n", b"A \n"),
        PLAIN.replace(b" ", b"\t", 2).replace(b" 10", b"   10"),
        PLAIN.replace(b"\n", b"  \n\n \t\n# a comment, however long " + b"x" * 2000 + b"\n"),
        PLAIN.rstrip(b"\n"),
        PLAIN.rstrip(b"\n") + b"\r",
        PLAIN.replace(b"A\n", b"A \t\n"),
        b"  a.x 10.0.0.1 A\n\tB.x. 10.0.0.2 A\n",
        b"#\n#\xff\0\r#\n" + PLAIN + b"#",
    ],
)
def test_e1_the_same_table_in_every_way_of_writing_it(tmp_path: Path, data: bytes) -> None:
    table, said = loaded(tmp_path, data)
    assert table.rows == {b"a.x": b"a.x 10.0.0.1 A IN\n", b"b.x": b"B.x 10.0.0.2 A IN\n"}
    assert said == [] and table.bad_rows == table.duplicate_rows == 0


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"# x", b"\r\n"])
def test_e1_a_file_without_rows_is_an_empty_table(tmp_path: Path, data: bytes) -> None:
    table, said = loaded(tmp_path, data)
    assert table.rows == {} and said == []


def test_e1_a_mark_is_dropped_at_the_beginning_only(tmp_path: Path) -> None:
    table, said = loaded(tmp_path, b"\xef\xbb\xbf" + PLAIN + b"\xef\xbb\xbfc 10.0.0.3 A\n")
    assert set(table.rows) == {b"a.x", b"b.x"}
    assert said == [":3: the name is not legal; skipped"]


BAD_ROWS = [
    (b"a.x 10.0.0.1", "3 fields"), (b"a.x 10.0.0.1 A IN", "3 fields"), (b"a.x", "3 fields"),
    (b"a.x 10.0.0.1 AAAA", "IPv6 address"), (b"a.x 10.0.0.1 a", "type"),
    (b"a.x ::1 aaaa", "type"), (b"a.x ::1 MX", "type"), (b"a.x fe80::1%eth0 AAAA", "IPv6 address"),
    (b"a.x ::1,::2 AAAA", "IPv6 address"), (b"a.x 10.0.0.1,10.0.0.2 A", "IPv4 address"),
    (b"a..x 10.0.0.1 A", "name"),
    (b"- 10.0.0.1 A", "name"), (b". 10.0.0.1 A", "name"), (b"a.x.. 10.0.0.1 A", "name"),
    (b"a.x 10.0.0.256 A", "address"), (b"a.x 010.0.0.1 A", "address"), (b"a.x ::1 A", "address"),
    (b"a.x 10.0.0 A", "address"), (b"a.x 10.0.0.1. A", "address"), (b"a.x 10.0.0.1\r A", "address"),
    (b"a.x\xc2\xa010.0.0.1 A", "3 fields"), (b"a.x\v10.0.0.1 A", "3 fields"),
    (b"a\x85x 10.0.0.1 A", "name"), (b"a\0 10.0.0.1 A", "name"), (b"x" * 600, "more than 512"),
    (b"a" * 64 + b" 10.0.0.1 A", "name"), (b".".join([b"a" * 63] * 4) + b" 10.0.0.1 A", "name"),
    (b"a.x 10.0.0.1 A # no comment here", "3 fields"), (b" # nor here", "name"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "why"), BAD_ROWS)
def test_e2_a_bad_row_is_reported_with_its_place_and_skipped(
    tmp_path: Path, row: bytes, why: str
) -> None:
    table, said = loaded(tmp_path, PLAIN + b"#\n" + row + b"\nc 10.0.0.3 A\n")
    assert set(table.rows) == {b"a.x", b"b.x", b"c"}
    assert (table.bad_rows, table.duplicate_rows) == (1, 0)
    assert len(said) == 1 and said[0].startswith(":4: ") and said[0].endswith("; skipped")
    assert why in said[0]


def test_e3_rows_of_one_name_are_a_set_in_their_order(
    tmp_path: Path,
) -> None:
    more = b"A.X. 10.0.0.1 A\nb.x 10.0.0.9 A\na.X ::2 AAAA\nB.X 10.0.0.1 A\nA.X ::1 AAAA\n"
    table, said = loaded(tmp_path, PLAIN + more)
    assert table.rows == {
        b"a.x": b"a.x 10.0.0.1 A IN\n",
        b"b.x": b"B.x 10.0.0.2,10.0.0.9,10.0.0.1 A IN\n",
        b"a.x AAAA": b"a.X ::2,::1 AAAA IN\n",
    }
    assert said == [] and (table.duplicate_rows, table.bad_rows) == (1, 0)


def test_e3_one_address_in_several_notations_is_one(tmp_path: Path) -> None:
    ways = b"2001:db8::1", b"2001:DB8::1", b"2001:db8:0:0:0:0:0:1", b"2001:db8::0.0.0.1"
    table, said = loaded(tmp_path, b"".join(b"a.x %b AAAA\n" % way for way in ways))
    assert table.rows == {b"a.x AAAA": b"a.x 2001:db8::1 AAAA IN\n"}
    assert said == [] and table.duplicate_rows == 3


def test_of_a_set_too_long_for_a_line_what_fits_is_served(tmp_path: Path) -> None:
    rows = [b"many.example 10.0.0.%d A" % n for n in range(100, 200)]
    table, said = loaded(tmp_path, b"\n".join(rows) + b"\nb.x 10.0.0.2 A")
    line = table.rows[b"many.example"].removesuffix(b"\n")
    served = line.split(b" ")[1].split(b",")
    assert served == [row.split(b" ")[1] for row in rows[: len(served)]]
    assert len(line) <= 512 < len(line) + len(b",10.0.0.100")
    assert len(said) == table.left_out_rows == 100 - len(served) and table.bad_rows == 0
    assert said[0] == (
        f":{len(served) + 1}: the addresses of many.example do not fit into a line of 512 bytes; "
        f"10.0.0.{100 + len(served)} is left out"
    )
    assert table.rows[b"b.x"] == b"b.x 10.0.0.2 A IN\n"


def test_an_address_that_fits_is_served_after_some_that_did_not(tmp_path: Path) -> None:
    """Six long ones leave 11 bytes of the line. A row that was left out is so each time it
    comes."""
    first, name = name_of(253).title(), name_of(253)
    long = [b"fe80:%04x:1111:2222:3333:4444:5555:6666" % n for n in range(7)]
    more = [long[6], b"::1", b"0::1", long[6], b"::2", b"::3", b"::", b"::4"]
    rows = [b"%b 10.0.0.1 A" % name]
    rows += [b"%b %b AAAA" % (first if n == 0 else name, a) for n, a in enumerate(long[:6] + more)]
    table, said = loaded(tmp_path, b"\n".join(rows))
    served = [*long[:6], b"::1", b"::2", b"::"]
    line = b"%b %b AAAA IN\n" % (first, b",".join(served))
    assert len(line) == 513
    assert table.rows == {name: name + b" 10.0.0.1 A IN\n", name + b" AAAA": line}
    assert said == [
        f":{row}: the addresses of {first.decode()} do not fit into a line of 512 bytes; "
        f"{address.decode()} is left out"
        for row, address in ((8, long[6]), (11, long[6]), (13, b"::3"), (15, b"::4"))
    ]
    assert (table.left_out_rows, table.duplicate_rows, table.bad_rows) == (4, 1, 0)


def test_e3_also_when_the_first_one_stands_in_an_earlier_block(tmp_path: Path) -> None:
    many = b"".join(b"host%06d.example 10.0.0.1 A\n" % n for n in range(50_000))
    assert len(many) > BLOCK_BYTES
    table, said = loaded(tmp_path, PLAIN + many + b"b.X 10.0.0.9 A\n")
    assert table.rows[b"b.x"] == b"B.x 10.0.0.2,10.0.0.9 A IN\n"
    assert said == []


def test_e7_a_hundred_megabytes_in_one_line_are_one_bad_row(tmp_path: Path) -> None:
    """A sparse file: most of it is never written."""
    path = tmp_path / "table.txt"
    with path.open("wb") as file:
        file.write(b"x" * 1000)
        file.truncate(100_000_000)
        file.seek(0, 2)
        file.write(b"\n" + PLAIN)
    said: list[str] = []
    table = load(str(path), said.append)
    assert set(table.rows) == {b"a.x", b"b.x"}
    assert said == [f"{path}:1: the row has more than 512 bytes; skipped"]


# -- bytes that are no text ------------------------------------------------------------------------

UTF_16 = ["utf-16", "utf-16-le", "utf-16-be"]
UTF_32 = ["utf-32", "utf-32-le", "utf-32-be"]
TEXTS = ["a.x 10.0.0.1 A\r\n", "a", "# \u043f\u0440\u0438\u0432\u0435\u0442\na.x 10.0.0.1 A\n" * 30]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", [*UTF_16, *UTF_32])
def test_a_table_in_another_encoding_is_said_to_be(
    tmp_path: Path, encoding: str, text: str
) -> None:
    with pytest.raises(NoTableError) as caught:
        loaded(tmp_path, text.encode(encoding))
    assert str(caught.value) == f"looks like {encoding[:6].upper()}; save it as UTF-8"


PACKED = {"gzip": gzip.compress(PLAIN), "xz": lzma.compress(PLAIN), "zip": b"PK\3\4\x14\0"}
BINARY = {"program": b"\x7fELF\2\1\1" + bytes(9) + b"8\0\r\0", "noise": Random(0).randbytes(600)}


@pytest.mark.parametrize(("name", "data"), PACKED.items())
def test_a_packed_table_is_said_to_be(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(NoTableError, match=f"looks like an? {name} file; unpack it"):
        loaded(tmp_path, data)


@pytest.mark.parametrize("data", BINARY.values(), ids=BINARY)
def test_a_binary_file_is_said_to_be_no_text(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(NoTableError, match="is no text file"):
        loaded(tmp_path, data)


@pytest.mark.parametrize("data", [b"# c\ra 1.2.3.4 A\r", b"a 1.2.3.4 A\r" * 99, b"c\ra\r"])
def test_lines_that_end_with_cr_alone_are_said_to(tmp_path: Path, data: bytes) -> None:
    """A first row that begins with a comment would be a comment, whole: a table without rows."""
    with pytest.raises(NoTableError, match="ends its lines with CR alone; save it with LF"):
        loaded(tmp_path, data)


@pytest.mark.parametrize("length", range(505, 516))
def test_a_crlf_behind_a_long_first_line_is_no_cr_alone(tmp_path: Path, length: int) -> None:
    table, said = loaded(tmp_path, b"#" * length + b"\r\na 1.2.3.4 A\r\n")
    assert list(table.rows) == [b"a"] and said == []


def test_a_table_in_an_older_encoding_of_8_bits_is_read(tmp_path: Path) -> None:
    table, said = loaded(tmp_path, "# gr\u00fcn\n".encode("latin-1") * 50 + PLAIN)
    assert len(table.rows) == 2 and said == []


@given(st.binary(max_size=700), st.integers(1, 40))
def test_a_file_is_judged_however_it_is_cut(data: bytes, size: int) -> None:
    said = []
    for step in (size, max(1, len(data))):
        loading = Loading("table", lambda text: None)
        try:
            for at in range(0, len(data), step):
                loading.take(data[at : at + step])
            said.append(str(loading.end().rows))
        except NoTableError as error:
            said.append(str(error))
    assert said[0] == said[1] == (not_text(data) or said[0])


# -- addresses -------------------------------------------------------------------------------------


def is_address(text: bytes, version: int = 4) -> bool:
    try:
        return ipaddress.ip_address(text.decode("latin-1")).version == version and b"%" not in text
    except ValueError:
        return False


def is_taken(address: bytes) -> bool:
    try:
        return parse_row(b"a.x " + address + b" A").addresses == address
    except RowError:
        return False


octets = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(
        ["00", "01", "007", "0255", "-1", "+1", "1_0", "", " ", "1e1", "0x1", "a", "²"]
    ),
)
near_addresses = st.one_of(
    st.lists(octets, min_size=3, max_size=5).map(".".join),
    st.text("0123456789.", max_size=16),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=4).map(str),
).map(lambda text: text.encode("latin-1"))


@given(near_addresses.filter(lambda text: text and not re.search(rb"\s", text)))
def test_the_pattern_of_addresses_agrees_with_ipaddress(text: bytes) -> None:
    assert is_taken(text) is is_address(text)


def test_every_octet_in_every_place_agrees_with_ipaddress() -> None:
    for place in range(4):
        for number in range(1000):
            for octet in (b"%d" % number, b"0%d" % number):
                fields = [b"10"] * 4
                fields[place] = octet
                text = b".".join(fields)
                assert is_taken(text) is is_address(text)


# -- the fast way and the slow one -----------------------------------------------------------------


@dataclass
class Reference:
    """A table read row by row, and the numbers of the rows that something was said about."""

    sets: dict[tuple[bytes, bytes], tuple[bytes, list[bytes]]] = field(default_factory=dict)
    bad: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    duplicates: int = 0

    @property
    def rows(self) -> dict[bytes, bytes]:
        return {
            name + b" AAAA" * (kind == b"AAAA"): b"%b %b %b IN\n"
            % (spelling, b",".join(addresses), kind)
            for (name, kind), (spelling, addresses) in self.sets.items()
        }

    def read(self, data: bytes) -> "Reference":
        data = data.removeprefix(b"\xef\xbb\xbf")
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, 1):
            self.take(number, line.removesuffix(b"\r"))
        return self

    def take(self, number: int, line: bytes) -> None:
        fields = line.replace(b"\t", b" ").split(b" ")
        fields = [text for text in fields if text]
        if not fields or line[:1] == b"#":
            return
        name = fields[0].removesuffix(b".")
        labels = re.compile(rb"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
        if (
            len(line) > 512
            or len(fields) != 3
            or fields[2] not in (b"A", b"AAAA")
            or not is_address(fields[1], 4 if fields[2] == b"A" else 6)
            or not labels.fullmatch(name)
            or len(name) > 253
            or not name.strip(b"-")
        ):
            self.bad.append(number)
            return
        spelling, held = self.sets.setdefault((name.lower(), fields[2]), (name, []))
        there = [ipaddress.ip_address(address.decode()) for address in held]
        if ipaddress.ip_address(fields[1].decode()) in there:
            self.duplicates += 1
        elif len(b" ".join([spelling, b",".join([*held, fields[1]]), fields[2], b"IN"])) > 512:
            self.left_out.append(number)
        else:
            held.append(fields[1])


some_names = st.one_of(names, st.sampled_from([b"a.x", b"A.X", b"QUIT", b"-.a"]))
good_rows = st.one_of(
    st.tuples(
        some_names,
        st.one_of(addresses, st.just(b"10.0.0.1")),
        st.sampled_from([b"%b %b A", b"%b\t%b  A", b"%b %b\tA ", b"%b %b A\r"]),
    ),
    st.tuples(
        some_names,
        st.one_of(addresses_v6, st.sampled_from([b"::1", b"0::1", b"0:0:0::1"])),
        st.sampled_from([b"%b %b AAAA", b"%b\t%b  AAAA ", b"%b %b AAAA\r"]),
    ),
).map(lambda row: row[2] % row[:2])
# Few addresses of such a name fit into a line.
wide_rows = st.one_of(
    st.builds(
        lambda name, address: b"%b %b AAAA" % (name, address),
        st.sampled_from([name_of(253), name_of(253).upper() + b".", name_of(200)]),
        st.ip_addresses(v=6).map(lambda address: address.exploded.encode()),
    ),
    st.builds(
        lambda number: b"%b 255.255.255.%d A" % (name_of(253), number), st.integers(100, 140)
    ),
)
odd_rows = st.sampled_from(
    [
        b"", b" ", b"\r", b"# odd", b"#" * 700, b" " * 700, b"bad row", b"x" * 700,
        b"zz. 10.9.9.9 A",
        b"  indented 10.9.9.9 A", b"a.x 10.9.9.9 A", b"\rlone 10.9.9.9 A", b"\xff 10.9.9.9 A",
        b"n 10.9.9.9 A" + b" " * 500, b"n 10.9.9.9 A" + b" " * 500 + b"\r", b"\r\r",
    ]
)  # fmt: skip
files = st.builds(
    lambda mark, rows, end: mark + b"\n".join(rows) + end,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.one_of(
        st.lists(good_rows, max_size=12),
        st.lists(st.one_of(good_rows, odd_rows), max_size=12),
        st.lists(st.one_of(wide_rows, wide_rows, wide_rows, good_rows), max_size=40),
    ),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


def loaded_in_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block_bytes: int
) -> tuple[Table, list[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes)
        return loaded(tmp_path_factory.getbasetemp(), data)


@given(files, st.one_of(st.integers(4, 64), st.just(BLOCK_BYTES)))
def test_any_file_in_any_blocks_is_as_read_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block_bytes: int
) -> None:
    reference = Reference().read(data)
    table, said = loaded_in_blocks(tmp_path_factory, data, block_bytes)
    assert table.rows == reference.rows
    assert table.bad_rows == len(reference.bad)
    assert table.duplicate_rows == reference.duplicates
    assert table.left_out_rows == len(reference.left_out)
    places = [(int(text.split(":")[1]), text.endswith(" left out")) for text in said]
    assert places == sorted(
        [*((n, False) for n in reference.bad), *((n, True) for n in reference.left_out)]
    )
    for question, line in table.rows.items():
        answer = parse_reply(line.removesuffix(b"\n"))
        assert isinstance(answer, Answer) and fold(answer.spelling, answer.type) == question
    assert table.above == above(table.rows)


def above(questions: Iterable[bytes]) -> set[bytes]:
    """Yield every name that is above these, in turn."""
    found = set()
    for question in questions:
        labels = question.removesuffix(b" AAAA").split(b".")
        found |= {b".".join(labels[at:]) for at in range(1, len(labels))}
    return found


@given(st.lists(st.tuples(st.sampled_from(b"ab.ba.c.d.x.yy.a.b".split(b".")) | names, names)))
def test_a_table_knows_all_names_above_its_rows(pairs: list[tuple[bytes, bytes]]) -> None:
    """However many levels of them are new at once."""
    every = [(b"%b.%b" % pair)[-200:].lstrip(b".").lower() for pair in pairs]
    table = Table({})
    for name in every:
        table.add_above([name])
    at_once = Table(dict.fromkeys(every, b""))
    assert table.above == at_once.above == above(every)


def test_what_is_above_a_table_is_let_go_with_it_by_and_by() -> None:
    table = Table({b"%d.x%d.y" % (n, n): b"" for n in range(50)})
    assert len(table.above) == 51
    steps = 1
    while not table.free(30):
        steps += 1
    assert steps == 4 and not table.rows and not table.above


def test_a_block_that_almost_matches_is_not_slow() -> None:
    """Blanks, addresses and whole rows again and again: quadratic would not end."""
    blanks = b" " * 62
    row = b"x" + blanks + b"1:1:1:1:1:1:1::" + blanks + b"AAAA" + blanks + b"\n"
    for almost in (
        row * 20_000 + b"x 1:1:1:1:1:1:1:1:1 AAAA\n", row * 20_000 + b"x 1.2.3.4 AAAA\n",
        b"x" + b" \t" * 1_000_000 + b"::1 AAAA\n", b"x " + b"1:" * 1_000_000 + b" AAAA\n",
        b"x " + b"::" * 1_000_000, b"x." * 1_000_000, b"-" * 2_000_000 + b" ::1 AAAA\n",
    ):  # fmt: skip
        loading = Loading("table", lambda text: None)
        loading.take(almost)
        assert loading.end().bad_rows == 1


@given(st.lists(st.tuples(names, addresses), max_size=12), odd_rows, st.integers(0, 12))
def test_one_odd_line_more_leaves_all_other_rows_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    table_rows: list[tuple[bytes, bytes]],
    line: bytes,
    at: int,
) -> None:
    written = [b"%b %b A\n" % row for row in table_rows]
    tmp_path = tmp_path_factory.getbasetemp()
    fast, _ = loaded(tmp_path, b"".join(written))
    slow, _ = loaded(tmp_path, b"".join([*written[:at], line + b"\n", *written[at:]]))
    for name, row in Reference().read(line).rows.items():
        assert row.split(b" ")[1] in slow.rows[name]
        if name in fast.rows:
            slow.rows[name] = fast.rows[name]
        else:
            del slow.rows[name]
    assert fast.rows == slow.rows


@pytest.mark.parametrize("odd", [b"", b"# one odd line\n"])
def test_a_row_over_512_bytes_is_bad_among_any_others(tmp_path: Path, odd: bytes) -> None:
    """Padding counts: 512 bytes are the limit of a row, in a block of any kind."""
    fits = b"fits 10.0.0.1" + b" " * 498 + b"A\n"
    over = b"over 10.0.0.1" + b" " * 499 + b"A\n"
    assert (len(fits), len(over)) == (513, 514)
    table, said = loaded(tmp_path, odd + fits + over)
    assert set(table.rows) == {b"fits"}
    assert said == [f":{2 + odd.count(b'#')}: the row has more than 512 bytes; skipped"]


@pytest.mark.parametrize("odd", [b"", b"# one odd line\n"])
@pytest.mark.parametrize("blanks", [(1, 1, 0), (62, 62, 62), (63, 1, 0), (1, 63, 0), (1, 1, 63)])
@pytest.mark.parametrize("length", [252, 253, 254, 255])
def test_a_name_too_long_is_bad_among_any_blanks(
    tmp_path: Path, length: int, blanks: tuple[int, int, int], odd: bytes
) -> None:
    """Of what is taken at one stroke only the name and the blanks are counted."""
    address = b"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
    fields = name_of(length), address, b"AAAA"
    row = b"".join(text + b" " * count for text, count in zip(fields, blanks, strict=True))
    table, said = loaded(tmp_path, odd + row + b"\n")
    assert len(table.rows) == (length <= 253)
    assert len(said) == table.bad_rows == (length > 253)


@pytest.mark.parametrize("odd", [b"", b"# one odd line\n"])
@pytest.mark.parametrize("length", [512, 513, 514])
def test_blanks_in_all_places_of_a_row_count_together(
    tmp_path: Path, length: int, odd: bytes
) -> None:
    row = name_of(253) + b" " * 69 + b"ffff:" * 7 + b"ffff" + b"\t" * 69 + b"AAAA" + b" " * 78
    row = row[:-4] + b" " * (length - len(row) + 4)
    assert len(row) == length
    table, said = loaded(tmp_path, odd + row + b"\n")
    assert len(table.rows) == (length <= 512)
    assert len(said) == table.bad_rows == (length > 512)


def test_places_are_right_in_a_file_of_many_blocks(tmp_path: Path) -> None:
    """An odd row stands at the beginning, around the middle, and at the very end of 4 MB; CRLFs in
    it."""
    rows = [b"host%06d.example 10.0.0.1 A" % n for n in range(130_000)]
    bad = [0, 35_000, 70_000, 70_001, 100_000, 129_999]
    for number in bad:
        rows[number] = b"bad"
    rows[50_000] += b"\r"
    rows[90_000] = b"x" * 3 * BLOCK_BYTES
    table, said = loaded(tmp_path, b"\n".join(rows))
    assert len(table.rows) == 130_000 - len(bad) - 1
    assert [int(line.split(":")[1]) - 1 for line in said] == sorted([*bad, 90_000])


@given(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")))
def test_any_row_is_an_answer_or_a_row_error(row: bytes) -> None:
    try:
        answer = parse_row(row)
    except RowError as error:
        assert str(error)
    else:
        assert row.replace(b"\t", b" ").split()[:2] in (
            [answer.spelling, answer.addresses],
            [answer.spelling + b".", answer.addresses],
        )


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        load(str(tmp_path / name), print)
