"""Reloading a TS's table: when it is read, what is taken, and what is served meanwhile.

`Versions` is a file that a test writes and a reload reads, a slice a turn; real files are read in
a folder of the test. Time is the test's: nothing here waits.

Not here: what a row is (`tests/nodes/test_table_file.py`), a reload beside what else may happen in
a network (`tests/sim/test_fault_matrix.py`, `tests/sim/stories.py`), signals
(`tests/processes/test_loopback.py`), and how long a turn takes (`tests/soak.py`).
"""

import gc
import math
import os
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.effects import Effect
from core.environment import Environment
from core.events import Woken
from core.machine import STAY
from core.operator import Notify, Report, Standing
from core.text import split_lines
from nodes.ts import reload as module
from nodes.ts.reload import RELOAD, Reload, ReloadState, slices
from nodes.ts.table import Table
from nodes.ts.table_file import NoTableError, check, load
from nodes.ts.table_server import TableServer
from tests.nodes.test_table_file import files
from tests.support.splitting import pieces
from tests.support.stage import Stage

OLD = {b"a": b"a 10.0.0.1 A IN\n", b"b": b"b 10.0.0.1 A IN\n"}
NEW = b"a 10.0.0.2 A\nb 10.0.0.2 A\nc 10.0.0.2 A\n"
NEW_ROWS = {name: b"%b 10.0.0.2 A IN\n" % name for name in (b"a", b"b", b"c")}
RELOADING, READY = Standing.RELOADING, Standing.READY
PATIENCE_S = 20.0


class Versions:
    """A file whose content changes; a reload reads what it was when it was opened. An unreadable
    file begins as a good one does."""

    def __init__(self, content: bytes | OSError = NEW, slice_bytes: int = 8) -> None:
        self.content = content
        self.slice_bytes = slice_bytes
        self.opened: list[bytes | OSError] = []
        self.left_open = 0

    def read(self, path: str) -> Generator[bytes, None, None]:
        content = self.content
        self.opened.append(content)
        if isinstance(content, OSError):
            yield NEW[: self.slice_bytes]
            raise content
        self.left_open += 1
        try:
            for at in range(0, len(content), self.slice_bytes):
                yield content[at : at + self.slice_bytes]
        finally:
            self.left_open -= 1


class Server:
    """A reload without its TS: the table that is served, and what was said."""

    def __init__(
        self,
        read: Callable[[str], Generator[bytes, None, None]] = slices,
        path: str = "table",
        *,
        strict: bool = False,
    ) -> None:
        self.moves: list[str] = []
        self.reload = Reload(path, strict=strict, read=read, watch=self.saw)
        self.table = Table(dict(OLD))
        self.said: list[Effect] = []
        self.now = 0.0

    def saw(self, name: str, old: object, new: ReloadState) -> None:
        assert name == "reload"
        self.moves.append(new.name)

    def ask(self) -> None:
        self.said += self.reload.ask(self.now)

    def turn(self, count: int = 1) -> None:
        for _ in range(count):
            self.table, effects = self.reload.turn(self.table, self.now)
            self.said += effects

    def finish(self) -> None:
        while self.reload.is_busy:
            self.turn()

    def ask_and_finish(self) -> None:
        self.ask()
        self.finish()

    def tell(self) -> list[str]:
        """Return the reports since the last time."""
        reports = [effect.text for effect in self.said if isinstance(effect, Report)]
        self.said = [effect for effect in self.said if not isinstance(effect, Report)]
        return reports

    @property
    def standings(self) -> list[Standing]:
        return [effect.standing for effect in self.said if isinstance(effect, Notify)]

    @property
    def counts(self) -> tuple[int, int]:
        """The metrics: how many reloads were taken, and refused."""
        metrics = {value.metric.name: int(value.value) for value in self.reload.metrics()}
        return metrics["reloads"], metrics["reloads_refused"]


# -- when it is read -------------------------------------------------------------------------------


def test_a_reload_says_how_long_it_took() -> None:
    server = Server(Versions().read)
    for began, took_s in ((10.0, 1.5), (20.0, 0.5)):
        server.now = began
        server.ask()
        server.now += took_s
        server.finish()
        assert server.tell() == [f"table reloaded: 3 rows in {took_s} s"]


contents = st.one_of(
    st.integers(1, 200).map(
        lambda n: b"# \n" * (n % 3) + b"a 10.0.0.%d A\nb 10.0.0.%d A\n" % (n, n)
    ),
    st.sampled_from([b"", b"# nothing", b"\xff\n" * 3, OSError(2, "No such file")]),
)


@given(
    st.lists(st.one_of(contents, st.integers(1, 12)), max_size=20),
    st.integers(1, 40),
    st.booleans(),
)
def test_the_last_good_table_is_served_whatever_the_story(
    story: list[bytes | OSError | int], slice_bytes: int, strict: bool
) -> None:
    """[P25] [P26]: a content is written and asked for, or turns pass."""
    file = Versions(slice_bytes=slice_bytes)
    server = Server(file.read, strict=strict)

    def look() -> None:
        """Check that what is served is, whole, the last good one that has been judged, or the first
        table."""
        assert server.table.rows == after(file.opened[: sum(server.counts)])[-1]
        if server.standings[-1:] == [READY]:
            assert file.opened[-1] is file.content

    for step in [*story, 1_000]:
        if isinstance(step, int):
            for _ in range(step):
                if server.reload.is_busy:
                    server.turn()
                    look()
        else:
            file.content = step
            server.ask()
            look()
    asked = len(story) - sum(isinstance(step, int) for step in story)
    assert not server.reload.is_busy and file.left_open == 0
    assert server.standings.count(RELOADING) == asked >= len(file.opened)
    assert server.standings[-1:] == [READY] * bool(asked)
    assert sum(server.counts) == len(file.opened)
    served = after(file.opened)
    assert server.counts[0] == len({id(rows) for rows in served}) - 1


def after(contents: list[bytes | OSError]) -> list[dict[bytes, bytes]]:
    """Return what is served at first, and after each; the same object where one is to be
    refused."""
    served = [OLD]
    for content in contents:
        if isinstance(content, OSError) or b"\xff" in content or (not content and served[-1]):
            served.append(served[-1])
            continue
        rows = [line.split(b" ") for line in content.split(b"\n") if line.endswith(b" A")]
        served.append({row[0]: b"%b %b A IN\n" % (row[0], row[1]) for row in rows})
    return served


def test_each_arrow_of_the_machine_is_walked_by_a_story() -> None:
    """Each arrow of the machine is walked by some story of asks and turns."""
    walked = set()
    for content in (NEW, b""):
        for asks in range(1 << 6):
            server = Server(Versions(content, slice_bytes=20).read)
            for bit in range(6):
                before = server.reload.life.state
                if asks >> bit & 1:
                    server.ask()
                elif server.reload.is_busy:
                    server.turn()
                walked.add((before, server.reload.life.state))
    drawn = {
        (state, following)
        for state, row in RELOAD.items()
        for following in row.values()
        if following is not STAY
    }
    assert drawn <= walked


# -- tables that are taken -------------------------------------------------------------------------


@contextmanager
def promptly() -> Iterator[None]:
    """Fail if anything waits for somebody inside, for example for a writer of a pipe."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def descriptors() -> set[str]:
    return {path.name for path in Path("/dev/fd").iterdir()}


def asked_of(path: Path, *, strict: bool = False) -> Server:
    """Reload this file, to its end; check that it leaves nothing open, and never waits."""
    before = descriptors()
    server = Server(path=str(path), strict=strict)
    with promptly():
        server.ask_and_finish()
    assert descriptors() == before
    return server


def refused(server: Server, path: Path, why: str) -> None:
    """Check that the old table stays in use, and one line says why. [P26]"""
    said = server.tell()
    assert said[-1] == f"{path} is refused: {why}; the old table stays in use"
    assert server.table.rows == OLD and server.counts == (0, 1)
    assert server.standings == [RELOADING, READY]
    assert server.moves == ["READING", "RETIRING", "STEADY"]


def test_e6_a_file_without_a_good_row_is_refused(tmp_path: Path) -> None:
    """[P26] [P64]: before, or after, all of it is read."""
    path = tmp_path / "table"
    empty = "it is empty, as if it were being written; write a comment into it if that is meant"
    for content, why in (
        (b"", empty),
        (NEW.decode().encode("utf-16"), "it looks like UTF-16; save it as UTF-8"),
        (b"#\n" + b"x" * 99_999, "it has no good row; row 2: the row has more than 512 bytes"),
    ):
        path.write_bytes(content)
        refused(asked_of(path), path, why)


@pytest.mark.parametrize("content", [b"\n# nothing\n\r\n", b"\xef\xbb\xbf", b"#", b"\n"])
def test_a_file_without_rows_empties_a_table_with_a_warning(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table"
    path.write_bytes(content)
    server = asked_of(path)
    assert server.table.rows == {} and server.counts == (1, 0)
    assert server.tell() == [
        f"{path} reloaded: 0 rows in 0.0 s",
        f"{path} has no rows: every name is unknown",
    ]


def test_e6_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """[P26]: opening a pipe without a writer might wait for good; the other one keeps all."""
    not_regular = "it is not a regular file"
    pipe, listener, loop = tmp_path / "pipe", tmp_path / "socket", tmp_path / "loop"
    written = tmp_path / "written"
    os.mkfifo(pipe)
    os.mkfifo(written)
    fd = os.open(written, os.O_RDWR | os.O_NONBLOCK)
    os.write(fd, NEW)
    loop.symlink_to(loop)
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(str(listener))
        for path, why in (
            (tmp_path / "missing", "no such file or directory"),
            (tmp_path / "missing" / "table", "no such file or directory"),
            (listener / "table", "not a directory"),
            (tmp_path, not_regular),
            (pipe, not_regular),
            (written, not_regular),
            (Path("/dev/null"), not_regular),
            (Path("/dev/zero"), not_regular),
            (listener, "no such device or address"),
            (loop, "too many levels of symbolic links"),
        ):
            refused(asked_of(path), path, why)
    assert os.read(fd, 1000) == NEW
    os.close(fd)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(NEW)
    (tmp_path / "table").symlink_to("real")
    assert asked_of(tmp_path / "table").table.rows == NEW_ROWS


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"d 10.0.0.2 A\n")


def written_over(path: Path) -> None:
    path.write_bytes(NEW.replace(b".2", b".3"))
    os.utime(path, ns=(1, 1))


def renamed_over(path: Path) -> None:
    (path.parent / "next").write_bytes(b"z 10.0.0.9 A\n")
    (path.parent / "next").rename(path)


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize(
    ("change", "is_taken"),
    [(grown, False), (written_over, False), (renamed_over, True), (Path.unlink, True)],
)
def test_e6_a_file_that_changes_is_refused_a_replaced_one_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    is_taken: bool,
    after: int,
) -> None:
    """[P26]: slices are made small, so that it is open after the first turn."""
    monkeypatch.setattr(module, "SLICE_BYTES", 16)
    path = tmp_path / "table"
    path.write_bytes(NEW)
    server = Server(path=str(path))
    server.ask()
    server.turn(1 + after)
    change(path)
    server.finish()
    if is_taken:
        assert server.table.rows == NEW_ROWS and server.counts == (1, 0)
    else:
        why = "it changed while it was read; rename a whole one into place"
        refused(server, path, why)


MIXED_FILE = b"""a 10.0.0.2 A
bad row
b 10.0.0.2 A
b 10.0.0.300 A
"""


def test_e2_bad_rows_are_told_and_the_rest_is_served(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(MIXED_FILE)
    at_the_start: list[str] = []
    table = load(str(path), at_the_start.append)
    server = asked_of(path)
    assert server.table.rows == table.rows and len(table.rows) == 2
    kinds = [effect.kind for effect in server.said if isinstance(effect, Report)]
    assert kinds == ["a bad row", "a bad row", ""], "the log shows a few of a kind"
    *bad, taken = server.tell()
    assert bad == at_the_start and len(bad) == 2 and bad[0].startswith(f"{path}:2: ")
    assert taken == f"{path} reloaded: 2 rows in 0.0 s, 2 bad rows left out"


def test_e2_strict_refuses_a_table_for_one_bad_row_and_names_it(tmp_path: Path) -> None:
    """[P26]: an address that does not fit into a line makes no bad row, but is told as well. Once
    the row is mended nothing more is said of it."""
    path = tmp_path / "table"
    rows = b"".join(b"many 10.0.0.%d A\n" % n for n in range(100, 200))
    path.write_bytes(rows)
    server = asked_of(path, strict=True)
    assert server.counts == (1, 0) and server.table.left_out_rows > 0
    assert all("is left out" in text for text in server.tell()[:-1])
    path.write_bytes(rows + MIXED_FILE)
    server = asked_of(path, strict=True)
    why = "row 102: a row has 3 fields, `name address type`, or is `address name ...` as in "
    why += "/etc/hosts; this one has 2"
    said = server.tell()
    assert len(said) == 1
    server.said.insert(0, Report(said[0]))
    refused(server, path, f"it has a bad row, and --strict wants none; {why}")
    path.write_bytes(NEW)
    server.ask_and_finish()
    (taken,) = server.tell()
    assert taken.startswith(f"{path} reloaded: ")


@given(files, st.lists(st.integers(1, 600), max_size=20, unique=True), st.integers(1, 50))
def test_a_table_read_in_any_slices_is_the_one_that_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: list[int], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "table"
    path.write_bytes(data)
    at_the_start: list[str] = []
    table = Table()
    is_refused = not data
    try:
        table = load(str(path), at_the_start.append)
        check(table)
    except NoTableError:
        is_refused = True

    def cut_anywhere(path: str) -> Generator[bytes, None, None]:
        yield from pieces(data, sorted(at for at in cut if at < len(data)))

    for read in (cut_anywhere, Versions(data, size).read):
        server = Server(read, str(path))
        server.ask_and_finish()
        assert server.table.rows == (OLD if is_refused else table.rows)
        said = server.tell()
        assert said[: len(at_the_start)] == at_the_start
        assert len(said) == len(at_the_start) + (1 if is_refused or table.size else 2)
        if not is_refused:
            assert vars(server.table) == vars(table)


# -- rows that are kept ----------------------------------------------------------------------------


MANY = [b"Host%d 10.0.%d.%d A\n" % (n, n >> 8, n & 255) for n in range(20_000)]
SETS = [b"%b 2001:db8::%x AAAA\n" % (name, n) for name in (b"Y", b"z") for n in range(40)]
NEW_ONES = [b"new%d 10.0.0.1 A\n" % n for n in range(10_000)]
CHANGED = [row.replace(b" 10.", b" 11.") if n % 3 else row for n, row in enumerate(MANY)]


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [
        (MANY, MANY, 0),
        (SETS, SETS, 0),
        (SETS, SETS[1:], 0),
        ([b"# odd\n", *MANY[:2_000]], [b"# even\n", *MANY[:2_000]], 0),
        (MANY, MANY[3_000:9_000] + MANY[9_001:], 0),
        (MANY, MANY[:9_000] + NEW_ONES + MANY[9_000:], 0),
        (MANY, MANY[6_000:], 6_000),
        (MANY, CHANGED, 0),
    ],
    ids=["equal", "sets", "other sets", "row by row", "fewer", "new", "a long gap", "changed"],
)
def test_rows_that_stay_are_kept_and_not_made_anew(
    tmp_path: Path, before: list[bytes], after: list[bytes], first: int
) -> None:
    """From the `first` on: a gap that is longer than what is looked ahead is caught up with."""
    path = tmp_path / "table"
    path.write_bytes(b"".join(before))
    server = Server(path=str(path))
    server.table = load(str(path), print)
    old = {question: (question, line) for question, line in server.table.rows.items()}
    path.write_bytes(b"".join(after))
    server.ask_and_finish()
    assert server.table.rows == load(str(path), print).rows
    kept = [(*old[q], q, line) for q, line in [*server.table.rows.items()][first:] if q in old]
    assert kept
    for old_question, old_line, question, line in kept:
        assert question is old_question and (line is old_line or line != old_line)


def test_an_old_table_is_not_held_by_the_new_one() -> None:
    class Rows(dict[bytes, bytes]):
        """Rows that can be looked for when they are gone."""

    server = Server(Versions().read)
    server.table = Table(Rows(OLD))
    old = weakref.ref(server.table.rows)
    server.ask_and_finish()
    assert server.counts == (1, 0) and old() is None


def is_only_large_table(served: Table) -> bool:
    """Return whether no other table has room for many rows, be it empty; an empty dict has it."""
    gc.collect()
    tables = [thing for thing in gc.get_objects() if isinstance(thing, Table)]
    large = [t for t in tables if sys.getsizeof(t.rows) + sys.getsizeof(t.above) > 1_000_000]
    return len(large) == 1 and large[0] is served


def test_e4_no_turn_does_more_than_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is let go leaves no room. By count: a test cannot say how long it takes."""
    count, most = 60_000, 0
    path = tmp_path / "table"
    path.write_bytes(b"".join(b"host%d.x%d 10.0.0.2 A\n" % (n, n) for n in range(count)))
    server = Server(path=str(path))
    old = {b"old%d.y%d" % (n, n): b"old%d.y%d 10.0.0.1 A IN\n" % (n, n) for n in range(count)}
    server.table = Table(old)
    above = server.table.above
    assert len(above) == count
    real_read, sizes = os.read, []

    def read(fd: int, size: int) -> bytes:
        data = real_read(fd, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(module.os, "read", read)
    server.ask()
    while server.reload.is_busy:
        before, reads = len(old) + len(above), len(sizes)
        server.turn()
        most = max(most, before - len(old) - len(above))
        assert len(sizes) <= reads + 1
    assert max(sizes) == module.SLICE_BYTES and sum(sizes) == path.stat().st_size
    assert len(server.table.rows) == count and not old and not above
    assert len(server.table.above) == count
    assert 0 < most <= count // 3
    assert is_only_large_table(server.table)
    path.write_bytes(path.read_bytes() + b"a" * 600)
    os.utime(path)
    strict = Server(path=str(path), strict=True)
    strict.ask()
    turns = 0
    while strict.reload.is_busy:
        strict.turn()
        turns += strict.reload.life.state is ReloadState.RETIRING
    assert turns > 3, "what is refused is let go in slices, too"
    assert strict.counts == (0, 1) and is_only_large_table(server.table)


# -- a TS that reloads -----------------------------------------------------------------------------


def serving(file: Versions) -> Stage:
    """Start a TS with one asker."""
    reload = Reload("table", read=file.read)
    return Stage.begun(TableServer(Table(dict(OLD)), Environment(), reload=reload), clients=("a",))


def said(stage: Stage, *lines: bytes) -> list[bytes]:
    stage.hear("a", b"".join(line + b"\n" for line in lines))
    return split_lines(stage.take("a"))


def test_e5_a_ts_answers_from_the_old_table_then_the_new_one() -> None:
    """[P20] [P25]: that it has IPv6 matters to questions without a type, too."""
    stage = serving(Versions(NEW + b"six 2001:db8::2 AAAA\n"))
    stage.reload()
    heard = []
    while stage.brain.due < math.inf:
        heard.append(said(stage, b"a", b"b", b"c", b"Six"))
        stage.step(Woken())
    old = [b"a 10.0.0.1 A IN", b"b 10.0.0.1 A IN"]
    new = [b"a 10.0.0.2 A IN", b"b 10.0.0.2 A IN", b"c 10.0.0.2 A IN", b"Six - NO DATA"]
    assert heard == [old] * heard.count(old) + [new] * heard.count(new)
    assert old in heard and new in heard
    assert stage.reports == ["table reloaded: 4 rows in 0.0 s"]
    assert stage.standings == [RELOADING, READY]
    stats = said(stage, b"STATS")
    assert {b"STAT reloads 1", b"STAT reloads_refused 0", b"STAT rows 4"} < set(stats)


def test_a_ts_without_a_file_has_nothing_to_reload() -> None:
    stage = Stage.begun(TableServer(Table(OLD), Environment()))
    stage.reload()
    assert stage.brain.due == math.inf and stage.standings == []


@pytest.mark.parametrize("turns", range(12))
def test_a_reload_keeps_no_drain_and_a_drain_begins_no_reload(turns: int) -> None:
    file = Versions()
    stage = serving(file)
    stage.reload()
    for _ in range(turns):
        stage.step(Woken())
    stage.hear("a", b"a\n")
    stage.drain()
    answer = b"a 10.0.0.%d A IN\n" % (2 if file.left_open == 0 and file.opened else 1)
    assert stage.take("a") == answer + b"BYE\n"
    stage.reload()
    stage.wait(0.0)
    assert stage.standings.count(RELOADING) == 1 and len(file.opened) == 1
    assert stage.exit_code is None
    stage.end("a")
    assert stage.exit_code == 0


def test_a_drain_ends_in_time_in_the_midst_of_a_reload() -> None:
    stage = serving(Versions(b"a 10.0.0.2 A\n" * 100, slice_bytes=1))
    stage.reload()
    stage.drain()
    stage.now += 5.9
    stage.step(Woken())
    assert stage.exit_code is None
    stage.now += 0.2
    stage.step(Woken())
    assert stage.exit_code == 0 and stage.standings == [RELOADING, Standing.STOPPING]
