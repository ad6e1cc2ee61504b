"""The programs by name, run in this process: their help, mistakes in their words, and exit codes.

Not here: numbers and options by themselves (`tests/nodes/test_arguments.py`), and what a program
that runs does (`tests/processes/test_system.py`).
"""

import runpy
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.io import process
from core.version import VERSION
from nodes.cli.arguments import Failure, called
from nodes.cli.programs import PROGRAMS
from tests.conftest import Command
from tests.support.certificates import authority, openssl
from tests.support.processes import ROOT

TABLE = "rutgers.edu 172.34.4.6 A\n"
DNS = "--dns-upstream"
OWN = "this load balancer's own"
WILD = ["--host", "0.0.0.0", "--allow", "127.0.0.0/8"]


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


# -- mistakes --------------------------------------------------------------------------------------

ALONE = ["ls", "0", "127.0.0.1", "1"]
BOUND = [*ALONE, "--bound"]
TS = ["ts", "0", "--table", "{table}"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which program to run"),
        (["tsx"], "there is no program 'tsx'"),
        (["ts", "0"], "required: --table"),
        (["ts", "0", "--table", "{table}", "--allow", "10.0.0.1/8"], "has host bits set"),
        (["ts", "0", "--table", "{table}", "--host", "0.0.0.0"], "say with --allow CIDR"),
        (["ls", "0", "a..b", "1"], "'a..b' is not a host name"),
        (["ls", "0", "x" * 64, "1"], "xxx' is not a host name"),
        (["ls", "0", "127.0.0.1"], "'127.0.0.1' has no port"),
        (["ls", "0"], "no server to ask: name a table server (TS_HOST TS_PORT) or a --dns-upst"),
        (["ls", "0", "127.0.0.1", "0"], "'0' is not a port"),
        (["ls", "1_0", "127.0.0.1", "1"], "'1_0' has no port"),
        ([*ALONE, "--timeout", "0"], "'0' is not a time above 0"),
        ([*ALONE, "--idle", "4"], "--idle must be longer"),
        ([*ALONE, "--idle", "7", "--timeout", "7"], "--idle must be longer"),
        ([*ALONE, "--race-log", "{table}"], "--race-log has nothing to write without --race-sampl"),
        ([*ALONE, "--metrics", "0", "--metrics-host", "0.0.0.0"], "0.0.0.0:0 is open to other"),
        ([*ALONE, "--metrics-host", "0.0.0.0"], "--metrics-host is for the status page; there is"),
        ([*ALONE, "--metrics-name", "a"], "--metrics-name is for the status page; there is no --m"),
        (
            [*TS, "--metrics", "0", "--metrics-host", "0.0.0.0"],
            "0.0.0.0:0 is open to other",
        ),
        ([*TS, "--metrics-host", "::1"], "--metrics-host is for the status page; there is no --me"),
        # Bounds.
        ([*BOUND, "x=1"], "there is no bound 'x'; --list-bounds shows all"),
        ([*BOUND, "read_bytes"], "read_bytes: '' is not a whole number"),
        ([*BOUND, "join_s=a"], "join_s: 'a' is not a time, like 0.5 (in seconds), 500ms, 5s, 1m"),
        ([*BOUND, "join_s=1e-9"], "join_s must be from 0.001"),
        ([*BOUND, "join_s=nan"], "join_s: 'nan' is not a time"),
        ([*BOUND, "sleep_s=inf"], "sleep_s cannot be more"),
        ([*BOUND, f"backlog_max={1 << 31}"], "backlog_max must"),
        ([*BOUND, "read_bytes=0"], "read_bytes must be from 1 to"),
        ([*BOUND, "read_bytes=99999999"], "read_bytes cannot"),
        ([*BOUND, "upstream_asked_max=65536"], "upstream_asked_max cannot be more than 32768"),
        (["ts", "0", "--table", "{table}", "--bound", "few_read_bytes=99999999"], "cannot be more"),
        (["ts", "0", "--table", "{table}", "--bound", "descriptors_max=1025"], "than 1024"),
        # The client.
        (["client", "127.0.0.1"], "required: LS_PORT"),
        (["client", "127.0.0.1", "1", "a", "--names", "f"], "not both"),
        (["client", "127.0.0.1", "1", "a", ""], "NAME 2 is blank"),
        (["client", "127.0.0.1", "1", " \t", "b"], "NAME 1 is blank"),
        (["client", "127.0.0.1", "1", "a\nb"], "NAME 1 has an end of line in it"),
        (["top", "127.0.0.1"], "required: PORT"),
        (["top", "a..b", "1"], "cannot resolve 'a..b'"),
        # DNS.
        (["ls", "0", DNS, "a..b"], "'a..b' is neither an address nor a host name; write it like"),
        (["ls", "0", DNS, "a=::1", DNS, "A=127.0.0.1"], "two resolvers are called 'A'; give one"),
        (["ls", "0", DNS, "127.0.0.1", DNS, "127.0.0.1:53"], "given twice"),
        (["ls", "0", DNS, "127.0.0.1", "--grace", "-1"], "'-1' is not a time up to 60 s"),
        (["ls", "0", DNS, "127.0.0.1", "--grace", "nan"], "'nan' is not a time up to 60 s"),
        ([*ALONE, "--grace", "1"], "there is no --dns-upstream"),
        ([*ALONE, "--dns", "0", "--once"], "--once serves one session of lines; leave out --dns"),
        ([*ALONE, "--dns", "70000"], "'70000' is not a port"),
        ([*ALONE, "--dns", "53", "--dns-ttl", "-1"], "'-1' is not a time of whole seconds"),
        ([*ALONE, "--dns", "53", "--dns-timeout", "0"], "'0' is not a time above 0"),
    ],
)
def test_a_mistake_in_the_words_is_one_line(
    command: Command, taken: str, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "table").write_text(TABLE)
    words = [word.format(port=taken, table=tmp_path / "table") for word in words]
    code, out, log = command(*words)
    *_, last = lines = log.splitlines()
    assert (code, out) == (2, "") and said in last, log
    assert [" rows in " in line for line in lines] == [True] * (len(lines) - 1) + [False]


@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["alone", "workers"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0.0.0.0", "{port}"], f"is {OWN} address"),
        (["localhost", "{port}"], "127.0.0.1:{port}, given as a table server, is this load"),
        (["127.0.0.1", "1", "127.0.0.2", "{port}", *WILD], "127.0.0.2:{port}, given as a table"),
        (["127.0.0.1", "5", "--metrics", "5"], f"given as a table server, is {OWN} --metrics"),
        (["127.0.0.2", "5", "--dns", "5", *WILD], f"given as a table server, is {OWN} --dns"),
        ([DNS, "127.0.0.1:5", "--dns", "5"], f"given as a --dns-upstream, is {OWN} --dns"),
        ([DNS, "127.0.0.2:5", "--dns", "5", *WILD], f"given as a --dns-upstream, is {OWN} --dns"),
    ],
)
def test_ls_that_would_ask_itself_is_refused(
    command: Command, taken: str, words: list[str], said: str, more: list[str]
) -> None:
    """[P54]"""
    words = [word.format(port=taken) for word in words]
    code, out, log = command("ls", taken, *words, *more)
    assert (code, out, log.count("\n")) == (2, "", 1) and said.format(port=taken) in log


@openssl
@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["alone", "workers"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([DNS, "tls://127.0.0.1:5"], "127.0.0.1:5, given as a --dns-upstream"),
        ([DNS, "tls://127.0.0.2:5#a.example", *WILD], "127.0.0.2:5, given as a --dns-upstream"),
        ([DNS, "192.0.2.1", "--route", "a=tls://127.0.0.1:5"], "127.0.0.1:5, given as a --dns-up"),
        ([DNS, "127.0.0.1:5"], "127.0.0.1:5, given as a --dns-upstream"),
        (["127.0.0.1", "5"], "127.0.0.1:5, given as a table server"),
    ],
)
def test_ls_that_would_ask_itself_by_tls_is_refused(
    command: Command, words: list[str], said: str, more: list[str]
) -> None:
    """[P54]"""
    keys = authority().issue("a.example")
    words = [*words, "--dns-tls", "5", "--tls-cert", keys.certificate, "--tls-key", keys.key]
    code, out, log = command("ls", "0", *words, *more)
    assert (code, out, log.count("\n")) == (2, "", 1)
    assert f"{said}" in log and f"is {OWN} --dns-tls address" in log


@openssl
def test_files_of_tls_are_read_before_ls_serves(command: Command) -> None:
    keys = authority().issue("a.example")
    for words, said in (
        ([*ALONE, "--dns-tls", "0", "--tls-cert", "/none", "--tls-key", keys.key], "-cert /none: "),
        (["ls", "0", DNS, "tls://192.0.2.1", "--tls-ca", "/none"], "cannot read --tls-ca /none: "),
    ):
        for more in [], ["--workers", "1"]:
            code, out, log = command(*words, *more)
            assert (code, out, log.count("\n")) == (1, "", 1) and said in log


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ts {port} --table {folder}/table", "cannot listen on 127.0.0.1:{port}: address already"),
        ("ls 0 127.0.0.1 1 --metrics {port}", "cannot listen on 127.0.0.1:{port}: address already"),
        ("ls 0 127.0.0.1 1 --dns {port}", "cannot listen on 127.0.0.1:{port}: address already"),
        (
            "ls 0 127.0.0.1 1 --host 192.0.2.1 --allow 0.0.0.0/0",
            "cannot listen on 192.0.2.1:0: 192.0.2.1 is not an address of this machine",
        ),
        ("ts 0 --table {folder}/none", "cannot read the table {folder}/none: no such file"),
        ("ts 0 --table {folder}", "is a directory"),
        ("ts 0 --table {folder}/bad", "{folder}/bad has no good row"),
        ("ts 0 --table {folder}/mixed --strict", "has 1 bad rows, and --strict wants none"),
        ("ls 0 127.0.0.1 1 --race-sample 1 --race-log {folder}", "is a directory"),
        ("client 127.0.0.1 1 --names {folder}/none", "no such file"),
        ("client 127.0.0.1 1 a --out {folder}", "cannot write"),
        ("replay {folder}/none", "{folder}/none: no such file"),
        ("replay {folder}/empty", "there are no races in {folder}/empty"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    command: Command, taken: str, tmp_path: Path, words: str, said: str
) -> None:
    for name, text in (
        ("table", TABLE), ("bad", "bad row\nworse still\n"), ("mixed", f"{TABLE}bad row\n"),
        ("empty", ""),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    places = {"port": taken, "folder": str(tmp_path)}
    code, out, log = command(*words.format(**places).split())
    *before, last = log.splitlines()
    assert (code, out) == (1, "") and last.startswith("photofinish: "), log
    assert said.format(**places) in last, log
    assert all(" rows in " in line or "a row has 3 fields" in line for line in before), log


def test_a_file_that_is_no_text_is_refused(command: Command, tmp_path: Path) -> None:
    """A table. (Of names `tests/nodes/test_name_list.py` tells.)"""
    file = tmp_path / "file"
    file.write_bytes(TABLE.encode("utf-16"))
    said = f"photofinish: {file} looks like UTF-16; save it as UTF-8\n"
    assert command("ts", "0", "--table", str(file)) == (1, "", said)


# -- the client's names and the table --------------------------------------------------------------


def test_the_client_asks_for_each_name_that_it_is_given(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def build(names: list[bytes], *rest: object, **more: object) -> None:
        asked.extend(names)
        raise Failure("this is enough")

    monkeypatch.setattr("nodes.cli.client.Client", build)
    words = ["a", " b\tAAAA ", "c # comment", "--json", "--fail"]
    assert command("client", "127.0.0.1", "1", *words) == (1, "", "photofinish: this is enough\n")
    assert asked == [b"a", b"b AAAA", b"c"]


def test_a_table_without_rows_is_warned_of(command: Command, taken: str, tmp_path: Path) -> None:
    (tmp_path / "table").write_text("# nobody\n")
    _, _, log = command("ts", taken, "--table", str(tmp_path / "table"))
    warning = f" TS WARNING {tmp_path}/table has no rows: every name is unknown"
    assert log.splitlines()[1].endswith(warning)


WAYS_IN = [[], *([name] for name in PROGRAMS)]


@pytest.mark.parametrize("program", WAYS_IN)
def test_help_says_what_there_is(command: Command, program: list[str]) -> None:
    code, out, log = command(*program, "--help")
    assert (code, log) == (0, "")
    assert len(out.splitlines()) > 8
    assert " ".join(["python3 -m nodes", *program]) in out


@pytest.mark.parametrize("flag", ["--version", "-V"])
@pytest.mark.parametrize("program", WAYS_IN)
def test_each_program_says_its_version(command: Command, program: list[str], flag: str) -> None:
    assert command(*program, flag) == (0, f"photofinish {VERSION}\n", "")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/x/nodes/__main__.py", "python3 -m nodes"),
        ("/x/site-packages/photofinish/__main__.py", "python3 -m photofinish"),
        ("/x/bin/photofinish", "photofinish"),
        ("./photofinish.pyz", "photofinish.pyz"),
    ],
)
def test_it_is_called_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", [path, "ls"])
    assert called() == said


# -- bugs and interrupts --------------------------------------------------------------------------


def test_a_bug_is_a_traceback_and_exit_code_70(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.cli.replay.run_replay", lambda words: words[99])
    code, out, log = command("replay", "x")
    assert (code, out) == (70, "")
    assert log.startswith("Traceback (most recent call last):\n")
    assert log.endswith("IndexError: list index out of range\n")


def test_ctrl_c_before_signals_are_taken_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("nodes.cli.replay.run_replay", interrupted)
    assert command("replay", "x") == (1, "", "photofinish: interrupted\n")


# -- the first file --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "is_server"), [(["ts", "5"], True), (["ls"], True), (["client"], False), ([], False)]
)
def test_signals_are_taken_before_all_else_and_let_go_after(
    monkeypatch: pytest.MonkeyPatch, words: list[str], is_server: bool
) -> None:
    order: list[object] = []

    def main(words: list[str]) -> int:
        order.append(words)
        return 7

    monkeypatch.setattr(process, "open_standard_streams", lambda: order.append("open"))
    monkeypatch.setattr(process, "catch", lambda *, is_server: order.append(is_server))
    monkeypatch.setattr(process, "ignore", lambda: order.append("ignore"))
    monkeypatch.setattr("nodes.cli.programs.main", main)
    monkeypatch.setattr(sys, "argv", ["nodes/__main__.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "nodes" / "__main__.py"), run_name="__main__")
    assert end.value.code == 7 and order == ["open", is_server, words, "ignore"]


def test_a_python_that_is_too_old_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 99))
    with pytest.raises(SystemExit, match=r"^photofinish: this is Python 3\.10; 3\.11 or newer"):
        runpy.run_path(str(ROOT / "nodes" / "__main__.py"), run_name="__main__")
