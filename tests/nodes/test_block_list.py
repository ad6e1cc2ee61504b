"""Lists of names that a table server blocks: which file is one, what it covers, what is said.

A list is read row by row by the model here, and looked up by the ends of names.

Not here: when a table is read again (`tests/nodes/test_reload.py`).
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.operator import Report
from core.protocol.names import Type
from core.text import split_lines
from nodes.cli.ts import read_ts_options
from nodes.ts import table_file as module
from nodes.ts.block_list import BlockList, BlockWith
from nodes.ts.reload import SLICE_BYTES, Reload
from nodes.ts.table import Format, Table
from nodes.ts.table_file import ANY_FORM, Loading, NoTableError, TableForm, check, load
from nodes.ts.table_server import TableServer
from tests.nodes.test_table_file import is_address, is_legal
from tests.support.balancers import addresses_of, load_balancer
from tests.support.splitting import names, pieces
from tests.support.stage import Stage

NAMES = Format.NAMES
BOTH = BlockWith({Type.A: b"0.0.0.0", Type.AAAA: b"::"})
ONE = BlockWith({Type.A: b"10.0.0.1,10.0.0.2"})
NONE = BlockWith({})


def read(data: bytes, form: TableForm = ANY_FORM) -> tuple[Table, list[str]]:
    said: list[str] = []
    loading = Loading("list", said.append, form)
    loading.take(data)
    return loading.end(), said


def asked_of(table: Table, *lines: bytes, answer_unknown: bool = False) -> list[bytes]:
    stage = Stage.begun(
        TableServer(table, Environment(), answer_unknown=answer_unknown), clients=("a",)
    )
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    return split_lines(stage.take("a"))


# -- which file is a list --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "size", "bad"),
    [
        (b"ads.example\n", 1, 0), (b"# a list\n\n  *.Ads.example. # one\nads.EXAMPLE\n", 1, 0),
        (b"10.0.0.1\nbad row\nads.example\n*.x\nads.example 10.0.0.1 A\n", 2, 3),
        (b"x.y\n10.0.0.1 ads.example\n*.10.0.0.1\n*\n*.\n-\n*.*.x\n" + b"y" * 600 + b"\n", 1, 7),
        (b"\xef\xbb\xbfA\r\nAAAA\r\na.b\r\n", 3, 0), (b"zip\nbad row\n\nx.\n*.a.b\nmov\n", 4, 1),
    ],
)  # fmt: skip
def test_a_file_whose_first_good_row_is_a_name_is_a_list(data: bytes, size: int, bad: int) -> None:
    table, said = read(data)
    assert isinstance(table, BlockList)
    assert (table.size, table.bad_rows, len(said)) == (size, bad, bad)
    assert all(text.endswith("; skipped") for text in said)


def test_rows_before_the_first_good_one_are_numbered_on() -> None:
    table, said = read(b"bad row\n# c\nads.example\n10.0.0.1\n")
    assert table.size == 1 and [text.split(":")[1] for text in said] == ["1", "4"]
    assert said[0] == f"list:{table.first_bad_row.removeprefix('row ')}; skipped"


@pytest.mark.parametrize("data", [b"x 10.0.0.1 A\nads.example\n", b"10.0.0.1 x\nads.example\n"])
def test_a_name_alone_is_a_bad_row_among_rows(data: bytes) -> None:
    table, said = read(data)
    assert set(table.rows) == {b"x"} and table.bad_rows == 1 and ":2: " in said[0]


@pytest.mark.parametrize(
    ("data", "rows", "bad"),
    [
        (b"Forbidden\n", 0, 1), (b"# an error\nForbidden.\n\n*.x\nnot found", 0, 3),
        (b"localhost\nx 10.0.0.1 A\nads.example\n", 1, 2),
    ],
)  # fmt: skip
def test_a_name_without_a_dot_makes_no_list(data: bytes, rows: int, bad: int) -> None:
    """[P109]"""
    table, said = read(data)
    assert table.format is Format.ROWS
    assert (table.size, table.bad_rows, len(said)) == (rows, bad, bad)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
@pytest.mark.parametrize(("words", "is_taken"), [(100, True), (2_000, False)])
def test_names_before_one_with_a_dot_are_held_up_to_a_bound(
    words: int, is_taken: bool, chunk: int
) -> None:
    """In any chunks; a header takes no room."""
    header, zone = b"# header\n" * 1_000, b"".join(b"tld%04d\n" % n for n in range(words))
    data = header + zone + b"a.b\n"
    loading = Loading("list", lambda text: None)
    for piece in pieces(data, list(range(chunk, len(data), chunk))):
        loading.take(piece)
    table = loading.end()
    assert isinstance(table, BlockList) and (table.bad_rows == 0) is is_taken
    assert table.size + table.bad_rows == words + 1
    assert is_taken or table.bad_rows == 1_539, "whole rows of 8 bytes, until 4 KiB are full"


@pytest.mark.parametrize("format", Format)
def test_a_format_that_is_given_counts_more_than_a_look(format: Format) -> None:
    for data in (b"ads.example\nx 10.0.0.1 A\n", b"x 10.0.0.1 A\nads.example\n"):
        table, said = read(data, TableForm(format))
        assert isinstance(table, BlockList) is (format is NAMES)
        assert (table.size, table.bad_rows, len(said)) == (1, 1, 1)


@pytest.mark.parametrize("format", [None, *Format])
def test_a_file_without_rows_is_empty_in_any_format(format: Format | None) -> None:
    for data in (b"", b"\n", b"# nothing\n"):
        table, said = read(data, TableForm(format))
        assert (table.size, table.bad_rows, said) == (0, 0, [])
        assert asked_of(table, b"x", b"x AAAA") == []


# -- replies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("with_", "four", "six"),
    [
        (BOTH, "0.0.0.0 A IN", ":: AAAA IN"), (ONE, "10.0.0.1,10.0.0.2 A IN", "AAAA - NO DATA"),
        (BlockWith({Type.AAAA: b"::1"}), "- NO DATA", "::1 AAAA IN"),
        (NONE, "- BLOCKED", "AAAA - BLOCKED"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["ads.example", "Ads.Example", "Track.ADS.example", "a.b.ads.example"]
)
def test_a_list_covers_its_names_and_those_below(
    name: str, with_: BlockWith, four: str, six: str
) -> None:
    """[P102]"""
    table, _ = read(b"ads.example\n", TableForm(NAMES, with_))
    replies = asked_of(table, name.encode(), f"{name}. AAAA".encode())
    assert replies == [f"{name} {four}".encode(), f"{name} {six}".encode()]


def test_a_list_says_nothing_of_other_names() -> None:
    """[P102]: above, beside, and of those that end with the same letters."""
    table, _ = read(b"ads.example\n")
    others = b"example", b"bads.example", b"ads.example.com", b"x", b"ads"
    assert asked_of(table, *others) == []
    assert asked_of(table, *others, answer_unknown=True) == [b"%b - NOT FOUND" % n for n in others]


@pytest.mark.parametrize(("with_", "said"), [(BOTH, (3, 0)), (ONE, (2, 1)), (NONE, (0, 0))])
def test_questions_that_a_list_decides_are_counted(with_: BlockWith, said: tuple[int, int]) -> None:
    table, _ = read(b"ads.example\nx\n", TableForm(NAMES, with_))
    server = TableServer(table, Environment())
    stage = Stage.begun(server, clients=("a",))
    stage.hear("a", b"a.x\nx\nx AAAA\ny\ny AAAA\n")
    count = {value.key: int(value.value) for value in server.answers.metrics()}
    assert (count["asked"], count["blocked"], count["unknown"], count["rows"]) == (5, 3, 2, 2)
    assert (count["answered"], count["no_data"]) == said


def test_blocked_is_held_for_others_and_told_as_not_found() -> None:
    """[P103]"""
    bounds = Bounds()
    stage = Stage.begun(load_balancer(addresses_of(2), bounds), bounds)
    for link in ("TS1", "TS2"):
        stage.connect(link)
    stage.accept("a")
    stage.hear("a", b"Ads.example\nx.example\n")
    stage.hear("TS1", b"ads.example - BLOCKED\nx.example - BLOCKED\n")
    stage.hear("TS2", b"x.example 10.0.0.1 A IN\n")
    assert stage.take("a") == b"x.example 10.0.0.1 A IN\n"
    stage.wait(bounds.no_data_s)
    assert stage.take("a") == b"Ads.example - NOT FOUND\n"


def names_of(table: BlockList) -> dict[bytes, bytes]:
    return {name: value for names in table.groups for name, value in names.items()}


# -- read again ------------------------------------------------------------------------------------


def reloaded(path: Path, served: Table, form: TableForm = ANY_FORM) -> tuple[Table, list[str]]:
    """Read a file again to its end; return the table that is served then, and what was said."""
    reload = Reload(str(path), form=form)
    said = reload.ask(0.0)
    while reload.is_busy:
        served, effects = reload.turn(served, 0.0)
        said += effects
    return served, [effect.text for effect in said if isinstance(effect, Report)]


def test_a_list_that_is_read_again_reuses_its_names(tmp_path: Path) -> None:
    """In any order; and the old list is let go."""
    path = tmp_path / "names.txt"
    names = [b"name%d.example" % n for n in range(3_000)]
    path.write_bytes(b"\n".join(names))
    old = load(str(path), pytest.fail)
    assert isinstance(old, BlockList)
    held = names_of(old)
    path.write_bytes(b"# new\n" + b"\n".join([b"new.example", *names[:0:-1]]).upper())
    new, said = reloaded(path, old)
    assert isinstance(new, BlockList) and new.size == 3_000 and old.size == 0
    assert said == [f"{path} reloaded: 3000 names in 0.0 s"]
    for name, value in names_of(new).items():
        assert name == b"new.example" or (name is held[name] and value is name)


def test_a_list_is_let_go_in_slices() -> None:
    table, _ = read(b"".join(b"%d.x\n" % n for n in range(250)))
    assert [table.free(100) for _ in range(3)] == [False, False, True] and table.size == 0


@pytest.mark.parametrize("form", [ANY_FORM, TableForm(Format.ROWS), TableForm(NAMES)])
def test_a_table_that_has_entries_keeps_its_format(tmp_path: Path, form: TableForm) -> None:
    """[P109]: one without any may become either, as far as its format is not given."""
    path = tmp_path / "table.txt"
    files = {Format.ROWS: b"x.y 10.0.0.1 A\n", NAMES: b"x.y\n"}
    for now in (format for format in Format if form.format in (None, format)):
        path.write_bytes(files[now])
        table, _ = reloaded(path, Table(), form)
        assert table.format is now and table.size == 1
        for format, data in files.items():
            path.write_bytes(data + b"y z\n" * (format is now))
            table, said = reloaded(path, table, form)
            assert table.format is now and table.size == 1
            assert ("it has no good row" in said[-1]) is (format is not now)


def test_rules_that_are_no_list_are_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"! Rules\n" + b"".join(b"||a%d.example^\n" % n for n in range(60)))
    why = "it has no good row; row 1: a row of a list is one name; this one has 2 fields"
    for number in range(2):
        path.write_bytes(path.read_bytes()[8 * number :])
        old, _ = read(b"ads.example\n")
        table, said = reloaded(path, old)
        assert table is old and said[-1] == f"{path} is refused: {why}; the old table stays in use"
        why = "it has no good row; row 1: the name ||a0.example^ is not legal"


@pytest.mark.parametrize("data", [b"Forbidden\n", b"<html>\n*.Forbidden.\n# a.b\n</html>\n"])
def test_words_without_a_dot_replace_no_list(tmp_path: Path, data: bytes) -> None:
    """[P109]: and begin none, also where the format is given; beside a name they are names."""
    path = tmp_path / "names.txt"
    path.write_bytes(data)
    for form in (ANY_FORM, TableForm(NAMES)):
        old, _ = read(b"ads.example\nzip\n", form)
        table, said = reloaded(path, old, form)
        assert table is old and table.size == 2
        assert said[-1].startswith(f"{path} is refused: it has no name with a dot, as if it were ")
        with pytest.raises(NoTableError):
            check(load(str(path), said.append, form))
    gap = b"\n" * 3 * SLICE_BYTES
    for more in (b"none.invalid\n", gap + b"none.invalid\n" + gap):
        for content in (data + more, more + data):
            path.write_bytes(content)
            table, said = reloaded(path, read(b"ads.example\n")[0])
            assert isinstance(table, BlockList)
            assert set(names_of(table)) == {b"forbidden", b"none.invalid"}, said


# -- the command line ------------------------------------------------------------------------------


def test_block_with_is_read_from_the_command_line() -> None:
    words = ["--table", "ads.txt", "0"]
    assert read_ts_options(words).form == TableForm()
    assert read_ts_options([*words, "--format", "rows"]).form == TableForm(Format.ROWS)
    for text, meant in (
        ("0.0.0.0,::", BOTH), ("10.0.0.1,10.0.0.2", ONE), ("NXDOMAIN", NONE), ("NxDomain", NONE),
        ("10.0.0.1,::1,10.0.0.2", BlockWith({Type.A: b"10.0.0.1,10.0.0.2", Type.AAAA: b"::1"})),
    ):  # fmt: skip
        assert read_ts_options([*words, "--block-with", text]).form == TableForm(NAMES, meant)


# -- any list --------------------------------------------------------------------------------------

few = st.sampled_from([b"a", b"B", b"a.b", b"b.a", b"c.a.b", b"A.B.c", b"10.0.0.1", b"-", b"-.a"])
rows = st.one_of(
    st.tuples(
        st.sampled_from([b"", b"", b"*."]),
        st.one_of(few, few, names),
        st.sampled_from([b"", b"", b"", b".", b" ", b"\t# c", b"\r"]),
    ).map(b"".join),
    st.sampled_from([b"", b"#", b"# c.a", b"#" * 600, b" a", b"a b", b"a 1.2.3.4 A", b"::1", b"*.",
                     b"**.a", b"a..b", b"\xff", b"x" * 600, b"*.*.a", b"a\rb"]),
)  # fmt: skip
lists = st.one_of(st.lists(few), st.lists(rows)).map(lambda rows: b"\n".join(rows))


def names_in(data: bytes) -> tuple[set[bytes], int, int]:
    """Return the names of a list, how many come again, and how many rows are bad."""
    found, again, bad = set[bytes](), 0, 0
    for row in data.split(b"\n"):
        text = row.removesuffix(b"\r").split(b"#")[0]
        fields = text.replace(b"\t", b" ").split(b" ")
        fields = [field for field in fields if field]
        name = fields[0].removesuffix(b".").removeprefix(b"*.").lower() if fields else b""
        if len(text) <= 512 and not fields:
            continue
        if len(text) > 512 or len(fields) > 1 or not is_legal(name) or is_address(name):
            bad += 1
        elif name in found:
            again += 1
        else:
            found.add(name)
    return found, again, bad


@given(
    lists,
    st.lists(st.tuples(few.filter(is_legal), st.sampled_from([bytes.upper, bytes.lower]))),
    st.one_of(st.integers(3, 64), st.just(1 << 20)),
)
def test_any_list_in_any_blocks_is_as_read_row_by_row(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    asked: list[tuple[bytes, Callable[[bytes], bytes]]],
    block_bytes: int,
) -> None:
    """[P102]"""
    path = tmp_path_factory.getbasetemp() / "names.txt"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes)
        try:
            table = load(str(path), lambda text: None, TableForm(NAMES))
        except module.NoTableError:
            return
    held, again, bad = names_in(data)
    assert isinstance(table, BlockList) and names_of(table) == {name: name for name in held}
    assert (table.duplicate_rows, table.bad_rows) == (again, bad)
    expected = []
    for name, spell in asked:
        ends = {name.lower()} | {name.lower()[at + 1 :] for at, c in enumerate(name) if c == 46}
        expected += [spell(name) + b" 0.0.0.0 A IN"] * bool(ends & held)
    assert asked_of(table, *(spell(name) for name, spell in asked)) == expected


def test_a_list_of_plain_names_is_taken_at_one_stroke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(b"# header\n\n" + b"".join(b"*.a%d.x\nB%d\n" % (n, n) for n in range(999)))
    monkeypatch.setattr("nodes.ts.block_list.parse_name", lambda row: pytest.fail(row.decode()))
    table = load(str(path), pytest.fail)
    assert table.size == 2 * 999


def test_a_list_that_almost_matches_is_not_slow() -> None:
    for almost in (b"x." * 1_000_000, b"a.b\n" * 200_000 + b"?\n", b"-" * 2_000_000 + b"\n",
                   b"*.a\n" * 200_000 + b"*.\n"):  # fmt: skip
        table, said = read(almost, TableForm(NAMES))
        assert table.bad_rows == 1 and len(said) == 1
