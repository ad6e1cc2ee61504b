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

from core.text import not_text
from nodes.ts import table_file as module
from nodes.ts.table import Format, Table
from nodes.ts.table_file import BLOCK_BYTES, Loading, NoTableError, TableForm, load
from tests.support.splitting import addresses, addresses_v6, name_of, names

PLAIN = b"a.x 10.0.0.1 A\nB.x 10.0.0.2 A\n"


def loaded(tmp_path: Path, data: bytes, format: Format | None = None) -> tuple[Table, list[str]]:
    path = tmp_path / "table.txt"
    path.write_bytes(data)
    said: list[str] = []
    table = load(str(path), said.append, TableForm(format))
    return table, [line.removeprefix(str(path)) for line in said]


# -- row by row ------------------------------------------------------------------------------------


BAD_ROWS = [
    (b"d.x 10.0.0.1", "3 fields"), (b"d.x 10.0.0.1 # A", "3 fields"), (b"d.x", "has 1"),
    (b"10.0.0.1 # d.x", "an address and no name"), (b"::1 d.x e..x", "the name e..x is not legal"),
    (b"10.0.0.1 d.x A", "A is a type"), (b"::1 d.x AAAA", "AAAA is a type"),
    (b"10.0.0.1 10.0.0.2", "10.0.0.2 is an address"), (b"::1 d.x 10.0.0.2", "is an address"),
    (b"fe80::1%lo0 d.x", "3 fields"), (b"10.0.0.1 \xff", r"the name \xff is not legal"),
    (b"d.x\v10.0.0.1 A", "3 fields"), (b"d.x\xc2\xa010.0.0.1 A", "3 fields"),
    (b"d.x 10.0.0.1 AAAA", "IPv6 address"), (b"d.x ::1,::2 AAAA", "IPv6 address"),
    (b"d.x ::1 A", "IPv4 address"), (b"d.x 10.0.0.1. A", "IPv4 address"),
    (b"d.x 10.0.0.1 a", "type"), (b"d.x ::1 MX", "type"),
    (b"d.x.. 10.0.0.1 A", "name"), (b"- 10.0.0.1 A", "name"), (b"10.0.0.1 -", "name"),
    (b"x" * 600, "more than 512"), (b"::1 d.x" + b" " * 600, "more than 512"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "why"), BAD_ROWS)
def test_e2_a_bad_row_is_reported_with_its_place_and_skipped(
    tmp_path: Path, row: bytes, why: str
) -> None:
    """Also where it alone keeps a block from being taken at one stroke. [P85]"""
    for before, place in ((PLAIN, ":3: "), (PLAIN + b"#\n", ":4: ")):
        table, said = loaded(tmp_path, before + row + b"\nc 10.0.0.3 A\n")
        assert set(table.rows) == {b"a.x", b"b.x", b"c"}
        assert (table.bad_rows, table.duplicate_rows) == (1, 0)
        assert len(said) == 1 and said[0].startswith(place) and said[0].endswith("; skipped")
        assert why in said[0]


HOSTS = b"""# Static table lookup for hostnames.
127.0.0.1   localhost localhost.localdomain	# loopback
::1\tlocalhost ip6-localhost

  10.0.0.7 www.a.x. WWW.B.x a.x   # indented
a.x 10.0.0.8 A # of the other kind
10.0.0.1 10.0.0.2 A
"""


def test_rows_of_a_hosts_file_are_read_among_others(tmp_path: Path) -> None:
    table, said = loaded(tmp_path, HOSTS)
    assert said == [] and table.is_mixed
    assert b"".join(table.rows.values()) == (
        b"localhost 127.0.0.1 A IN\nlocalhost.localdomain 127.0.0.1 A IN\n"
        b"localhost ::1 AAAA IN\nip6-localhost ::1 AAAA IN\n"
        b"www.a.x 10.0.0.7 A IN\nWWW.B.x 10.0.0.7 A IN\na.x 10.0.0.7,10.0.0.8 A IN\n"
        b"10.0.0.1 10.0.0.2 A IN\n"
    )


# -- bytes that are no text ------------------------------------------------------------------------

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
TEXTS = ["a.x 10.0.0.1 A\r\n", "a", "# \u043f\u0440\u0438\u0432\u0435\u0442\na.x 10.0.0.1 A\n" * 30]
NO_TEXTS = [
    *(
        (text.encode(code), f"looks like {code[:6].upper()}; save it as UTF-8")
        for text in TEXTS
        for code in WIDE
    ),
    (gzip.compress(PLAIN), "looks like a gzip file; unpack it"),
    (lzma.compress(PLAIN), "looks like an xz file; unpack it"),
    (b"PK\3\4\x14\0", "looks like a zip file; unpack it"),
    (b"\x7fELF\2\1\1" + bytes(9) + b"8\0\r\0", "is no text file"),
    (Random(0).randbytes(600), "is no text file"),
    (bytes(5_000), "is full of NUL bytes, as after a crash; write it again"),
    (b"# c\ra 1.2.3.4 A\r", "ends its lines with CR alone; save it with LF"),
    (b"a 1.2.3.4 A\r" * 99, "ends its lines with CR alone; save it with LF"),
]


@pytest.mark.parametrize(("data", "why"), NO_TEXTS)
def test_a_file_that_is_no_text_is_said_to_be(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(NoTableError) as caught:
        loaded(tmp_path, data)
    assert str(caught.value) == why


@pytest.mark.parametrize("length", range(505, 516))
def test_a_crlf_behind_a_long_first_line_is_no_cr_alone(tmp_path: Path, length: int) -> None:
    table, said = loaded(tmp_path, b"#" * length + b"\r\na 1.2.3.4 A\r\n")
    assert list(table.rows) == [b"a"] and said == []


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


# -- the fast way and the slow one -----------------------------------------------------------------


def is_address(text: bytes, version: int = 4) -> bool:
    try:
        return ipaddress.ip_address(text.decode("latin-1")).version == version and b"%" not in text
    except ValueError:
        return False


def kind_of(text: bytes) -> bytes:
    """Return the type of an address; nothing where it is none."""
    return b"A" if is_address(text) else b"AAAA" if is_address(text, 6) else b""


def is_legal(name: bytes) -> bool:
    name = name.removesuffix(b".")
    labels = re.compile(rb"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
    return len(name) <= 253 and name.strip(b"-") != b"" and bool(labels.fullmatch(name))


@dataclass
class Reference:
    """A table read row by row, and the numbers of its bad rows and of addresses left out."""

    sets: dict[tuple[bytes, bytes], tuple[bytes, list[bytes]]] = field(default_factory=dict)
    bad: list[int] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)
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
        text, _, _ = line.partition(b"#")
        fields = [field for field in text.replace(b"\t", b" ").split(b" ") if field]
        kinds = [kind_of(field) for field in fields]
        if len(text) > 512:
            self.bad.append(number)
        elif len(fields) == 3 and fields[2] in (b"A", b"AAAA") and kinds[1]:
            if kinds[1] != fields[2] or not is_legal(fields[0]):
                self.bad.append(number)
            else:
                self.add(number, fields[0], fields[1], fields[2])
        elif len(fields) > 1 and kinds[0]:
            if any(kinds[1:]) or not all(is_legal(name) and name not in (b"A", b"AAAA")
                                         for name in fields[1:]):  # fmt: skip
                self.bad.append(number)
            else:
                for name in fields[1:]:
                    self.add(number, name, fields[0], kinds[0])
        elif fields:
            self.bad.append(number)

    def add(self, number: int, name: bytes, address: bytes, kind: bytes) -> None:
        name = name.removesuffix(b".")
        spelling, held = self.sets.setdefault((name.lower(), kind), (name, []))
        there = [ipaddress.ip_address(address.decode()) for address in held]
        if ipaddress.ip_address(address.decode()) in there:
            self.duplicates += 1
        elif len(b" ".join([spelling, b",".join([*held, address]), kind, b"IN"])) > 512:
            self.left_out.append(
                (
                    number,
                    f"the addresses of {spelling.decode()} do not fit into a line of 512 bytes; "
                    f"{address.decode()} is left out",
                )
            )
        else:
            held.append(address)


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
hosts_rows = st.tuples(
    st.one_of(addresses, addresses_v6, st.sampled_from([b"10.0.0.1", b"0::1"])),
    st.lists(some_names, min_size=1, max_size=4),
    st.sampled_from([b"%b %b", b" %b\t%b ", b"%b  %b # aliases", b"%b %b\r"]),
).map(lambda row: row[2] % (row[0], b" ".join(row[1])))
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
        b"zz. 10.9.9.9 A", b"# gr\xfcn", b" # odd", b"a.x 10.9.9.9 A # odd", b"a.x 10.9.9.9 A#",
        b"10.9.9.9 10.9.9.8 A", b"10.9.9.9 10.9.9.8", b"10.9.9.9 a.x A", b"10.9.9.9", b"a#" * 300,
        b"::1 ::2 AAAA", b"::1 10.0.0.1 AAAA", b"10.9.9.9 " + b"a.x " * 125 + b"#" * 600,
        b"  indented 10.9.9.9 A", b"\tindented 10.9.9.9 A", b"a.x 10.9.9.9 A",
        b"\rlone 10.9.9.9 A", b"\xff 10.9.9.9 A",
        b"n 10.9.9.9 A" + b" " * 500, b"n 10.9.9.9 A" + b" " * 500 + b"\r", b"\r\r",
    ]
)  # fmt: skip
files = st.builds(
    lambda mark, rows, end: mark + b"\n".join(rows) + end,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.one_of(
        st.lists(good_rows, max_size=12),
        st.lists(st.one_of(good_rows, odd_rows, hosts_rows), max_size=12),
        st.lists(st.one_of(wide_rows, wide_rows, wide_rows, good_rows), max_size=40),
    ),
    st.sampled_from([b"", b"\n", b"\n\n"]),
)


def above(questions: Iterable[bytes]) -> set[bytes]:
    """Return every name that is above these."""
    found = set()
    for question in questions:
        labels = question.removesuffix(b" AAAA").split(b".")
        found |= {b".".join(labels[at:]) for at in range(1, len(labels))}
    return found


def check_as_read_row_by_row(tmp_path: Path, data: bytes, block_bytes: int) -> None:
    reference = Reference().read(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes)
        table, said = loaded(tmp_path, data, Format.ROWS)
    assert table.rows == reference.rows
    assert table.above == above(table.rows) == Table(table.rows).above
    assert table.is_mixed is Table(table.rows).is_mixed
    assert table.bad_rows == len(reference.bad)
    assert table.duplicate_rows == reference.duplicates
    assert table.left_out_rows == len(reference.left_out)
    assert [int(text.split(":")[1]) for text in said] == sorted(
        [*reference.bad, *(number for number, _ in reference.left_out)]
    )
    for number, text in reference.left_out:
        assert f":{number}: {text}" in said


@given(files, st.one_of(st.integers(4, 64), st.just(BLOCK_BYTES)))
def test_e1_any_file_in_any_blocks_is_as_read_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block_bytes: int
) -> None:
    check_as_read_row_by_row(tmp_path_factory.getbasetemp(), data, block_bytes)


WAYS_OF_ONE = b"2001:db8::1", b"2001:DB8::1", b"2001:db8:0:0:0:0:0:1", b"2001:db8::0.0.0.1"
LONG = [b"fe80:%04x:1111:2222:3333:4444:5555:6666" % n for n in range(7)]
LONGEST = b"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
FILES = {
    "nothing": b"",
    "a line end": b"\r\n",
    "a mark that is not at the beginning": PLAIN + b"\xef\xbb\xbfc 10.0.0.3 A\n",
    "sets": PLAIN
    + b"A.X. 10.0.0.1 A\nb.x 10.0.0.9 A\na.X ::2 AAAA\nB.X 10.0.0.1 A\nA.X ::1 AAAA\n",
    "IPv6 before IPv4": b"a.x ::1 AAAA\nb.x 10.0.0.1 A\n",
    "one address": b"".join(b"a.x %b AAAA\n" % way for way in WAYS_OF_ONE),
    "too many": b"".join(b"many.x 10.0.0.%d A\n" % n for n in range(100, 200)) + PLAIN,
    # Six long ones leave 11 bytes of the line.
    "short ones behind long ones": b"".join(
        b"%b %b AAAA\n" % (name_of(253), address)
        for address in (*LONG, b"::1", b"0::1", LONG[6], b"::2", b"::3", b"::", b"::4")
    ),
    "a row that never ends": b"x" * 3 * BLOCK_BYTES + b"\n" + PLAIN,
    # Padding counts.
    **{f"a row of {n + 14} bytes": b"over 10.0.0.1" + b" " * n + b"A" for n in (498, 499)},
    **{
        f"a name of {length} bytes before {blanks} blanks": b"".join(
            text + b" " * count
            for text, count in zip((name_of(length), LONGEST, b"AAAA"), blanks, strict=True)
        )
        for length in (253, 254)
        for blanks in ((1, 1, 0), (62, 62, 62), (63, 1, 0), (1, 63, 0), (1, 1, 63))
    },
    **{
        f"{length} bytes with blanks in all places": name_of(253)
        + b" " * 69 + b"ffff:" * 7 + b"ffff" + b"\t" * 69 + b"AAAA" + b" " * (length - 434)
        for length in (512, 513)
    },
}  # fmt: skip


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_e3_e7_sets_and_long_rows_are_as_read_row_by_row(tmp_path: Path, data: bytes) -> None:
    """By themselves, where they may be taken at one stroke, and behind an odd line."""
    for odd in (b"", b"# odd\n"):
        check_as_read_row_by_row(tmp_path, odd + data, BLOCK_BYTES)


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
