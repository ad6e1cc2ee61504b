"""The documents for people who use it, as a newcomer would follow them: their commands are run, and
what stands below a command is compared with what it prints.

Each section is typed in order, in a folder that has what a checkout has. Ports are free ones, and
resolvers of the internet are played. Commands that cannot run here are in `ELSEWHERE`, with how
they are checked instead. A command whose program is not installed is left out, and the test is then
skipped, after all others have passed.

Not here: links (`tests/test_tidy.py`), figures (`tests/test_figures.py`), sessions of proto.md
(`tests/protocol/test_proto.py`), and the exercise (`tests/processes/test_exercise.py`).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodes.cli.client import client_parser
from nodes.cli.demo import demo_parser
from nodes.cli.given_words import flags_of
from nodes.cli.ls import read_ls_options
from nodes.cli.ls_arguments import ls_parser
from nodes.cli.replay import replay_parser
from nodes.cli.top import top_parser
from nodes.cli.ts import read_ts_options, ts_parser
from nodes.ts.table_file import load
from tests.support.played_resolver import played_resolver
from tests.support.processes import ROOT, Programs, free_port

pytestmark = pytest.mark.process

DOCUMENTS = ("README.md", "examples/monitoring.md", "examples/operations.md")
README_LINES_MAX = 247
PARTS = ("core", "nodes", "examples", "bench", ".ci", "Makefile", "pyproject.toml", "LICENSE",
         "README.md", "CHANGELOG.md", "proto.md", "tests/requirements.txt",
         "tests/lint-requirements.txt")  # fmt: skip
TOOLS = ("dig", "jq", "curl", "make")  # programs of others that may be missing
RESOLVERS = ("9.9.9.9", "192.168.1.1")
RESOLVED = "198.41.0.4"  # said by a played resolver
PATIENCE_S = 120.0
SERVER = re.compile(r"python3 -m nodes (ts|ls) (?!.*--(check|print-config))")
ANYTHING = "..."
AFTER = {
    "At home": "Port 53",
    "A new list": "At home",
    "A certificate": "Port 53",
}  # sections that go on where another ends


# -- blocks ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block. `section`: the heading that it stands below."""

    section: str
    kind: str
    text: str


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of a document."""
    found: list[Block] = []
    section, kind, lines = "", None, list[str]()
    for line in document.split("\n"):
        if kind is not None and line == "```":
            found.append(Block(section, kind, "\n".join(lines)))
            kind = None
        elif kind is not None:
            lines.append(line)
        elif line.startswith("```"):
            kind, lines = line[3:], []
        elif line.startswith("#"):
            section = line.lstrip("# ")
    return found


@dataclass(frozen=True)
class Typed:
    """A command, and the lines that stand below it."""

    command: str
    shown: list[str]


def typed(block: Block) -> list[Typed]:
    """Return the commands of a block. Raises ValueError where it begins with none."""
    found: list[Typed] = []
    is_cut = False
    for line in block.text.split("\n"):
        if is_cut:
            last = found.pop()
            found.append(Typed(last.command[:-1] + line.removesuffix("\\") + " ", []))
        elif line.startswith("$ "):
            found.append(Typed(line[2:], []))
        elif found:
            found[-1].shown.append(line)
        else:
            raise ValueError(f"a block of commands begins with {line!r}")
        is_cut = (line.startswith("$ ") or is_cut) and line.endswith("\\")
    return found


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Return whether a program has printed what a document shows: the same lines, but for seconds;
    `...` stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == ANYTHING:
        return any(agrees(shown[1:], printed[at:]) for at in range(len(printed) + 1))
    same = bool(printed) and _without_seconds(shown[0]) == _without_seconds(printed[0])
    return same and agrees(shown[1:], printed[1:])


def _without_seconds(line: str) -> str:
    return re.sub(r"\d+\.\d s\b", "# s", line).rstrip()


SECTIONS = [
    (document, section)
    for document in DOCUMENTS
    for section in dict.fromkeys(
        block.section for block in blocks((ROOT / document).read_text()) if block.kind == "console"
    )
]


# -- commands that cannot run here -----------------------------------------------------------------


def check_install(command: str, folder: Path) -> None:
    """Look at what is installed. `tests/processes/test_wheel.py` installs it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11" and "photofinish" in project["scripts"]


def check_make(command: str, folder: Path) -> None:
    """Ask make for what it would do: `test` would run this test, and `run-local` is run by
    `tests/processes/test_demo.py`."""
    words = shlex.split(command, comments=True)
    done = subprocess.run([*words, "--dry-run"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = {"run-local": "-m nodes demo", "test": "test-process"}.get(words[1])
    assert wanted is not None and wanted in done.stdout, command


def check_units(command: str, folder: Path) -> None:
    """Look whether units, and all that they name, are where systemd expects it, and whether each is
    given words that its program accepts. `tests/tools/test_service.py` tries the units."""
    units = re.findall(r"[\w@-]+\.(?:socket|service)", command)
    assert units or "daemon-reload" in command
    for unit in units:
        file = re.sub(r"@\w+", "@", unit)
        if not re.search("enable|restart|reload", command):
            assert (folder / "examples" / file).exists()
            continue
        lines = (folder / "etc/systemd/system" / file).read_text()
        for named in re.findall(r"(?m)^EnvironmentFile=/(.*)$", lines):
            instance = unit.removesuffix(".service").partition("@")[2]
            check_arguments((folder / named.replace("%i", instance)).read_text())
        for program in re.findall(r"(?m)^ExecStart=\S+ /(\S+)", lines):
            assert (folder / program).exists()


def check_arguments(text: str) -> None:
    """Read the words of a program that is started by a unit; a table is read, too."""
    ((program, words),) = re.findall(r"(?m)^ARGUMENTS=(ls|ts) (.*)$", text)
    if program == "ls":
        read_ls_options(["--dns", "53", *words.split()])
    else:
        load(read_ts_options(words.split()).table, pytest.fail)


def check_fetch(command: str, folder: Path) -> None:
    """Write the file: nobody has such a list here."""
    (path,) = re.findall(r"-o /(\S+) https://lists\.example/\S+$", command)
    (folder / path).write_text("ads.example\n*.tracker.example\nnew.example\n")


def check_group(command: str, folder: Path) -> None:
    assert command.split()[-1] in (folder / "examples/photofinish-certbot.sh").read_text()


def check_hook(command: str, folder: Path) -> None:
    """Look whether the hook is there. `tests/nodes/test_shown_commands.py` reads no certbot."""
    (hook,) = re.findall(r"--deploy-hook /(\S+)$", command)
    assert os.access(folder / hook, os.X_OK)


def check_addresses(command: str, folder: Path) -> None:
    """Read the words: this machine does not have the addresses."""
    read_ls_options(shlex.split(command, comments=True)[4:])


def check_port_53(command: str, folder: Path) -> None:
    """Compare it with the command of another port: nobody serves at port 53 here."""
    readme = (ROOT / "README.md").read_text()
    assert command.replace("127.0.0.1 ", "127.0.0.1 -p 5354 ", 1) in readme


def check_journal(command: str, folder: Path) -> None:
    assert re.match(r"journalctl -u photofinish@\w+ -p warning ", command)
    assert (folder / "examples/photofinish@.service").exists()


Check = Callable[[str, Path], None]
ELSEWHERE: dict[str, Check] = {  # by what such a command matches
    r"pipx install \.": check_install,
    r"make ": check_make,
    r"sudo systemctl ": check_units,
    r"sudo curl ": check_fetch,
    r"sudo groupadd ": check_group,
    r"sudo certbot ": check_hook,
    r"python3 -m nodes ls --host 192\.168\.": check_addresses,
    r"dig @127\.0\.0\.1 (?!-p)": check_port_53,
    r"journalctl ": check_journal,
}


# -- following a section ---------------------------------------------------------------------------

NC = """\
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as talk:
    talk.sendall(sys.stdin.buffer.read())
    while data := talk.recv(65536):
        sys.stdout.buffer.write(data)
"""
LOG = (
    '{"time": 1795960937.25, "node": "LS", "level": "WARNING", "event": "host_not_found",'
    ' "server": "TS2", "host": "ts2.example", "reason": "name or service not known", "text": ""}\n'
    '{"time": 1795977602.0, "node": "LS", "level": "INFO", "event": "stopped", "asked": 12,'
    ' "timed_out": 3, "text": ""}\n'
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that has what a checkout has, and beside it programs that are called by name."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.png", "*.svg")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            (folder / part).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
    (folder / "ls.log").write_text(LOG)
    (tmp_path / "bin").mkdir()
    (tmp_path / "nc.py").write_text(NC)
    python = shlex.quote(sys.executable)
    programs = {"python3": f'{python} "$@"', "sudo": '"$@"'}
    if shutil.which("nc") is None:
        programs["nc"] = f'{python} {tmp_path}/nc.py "$@"'
    for name, words in programs.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\nexec {words}\n")
        path.chmod(0o755)
    return folder


@pytest.fixture
def resolvers() -> Iterator[dict[str, str]]:
    """By address, where the resolvers of the documents are played."""
    with played_resolver(RESOLVED) as one, played_resolver(RESOLVED) as other:
        yield dict(zip(RESOLVERS, (f"127.0.0.1:{port}" for port in (one, other)), strict=True))


class Newcomer:
    """Somebody who types the commands of a section into terminals."""

    def __init__(self, run: Programs, folder: Path, resolvers: dict[str, str]) -> None:
        self._run = run
        self._folder = folder
        self._resolvers = resolvers
        self._ports: dict[str, str] = {}
        self.missing: list[str] = []  # programs

    def type(self, one: Typed) -> None:
        """Run a command. Raises AssertionError when it does not what is shown."""
        for pattern, check in ELSEWHERE.items():
            if re.match(pattern, one.command):
                check(one.command, self._folder)
                return
        tools = set(re.findall(r"(?:^|\| )(?:sudo )?([\w-]+)", one.command)) & set(TOOLS)
        if absent := [tool for tool in tools if shutil.which(tool) is None]:
            self.missing += absent
            return
        command, shown = self._here(one.command), [self._here(line) for line in one.shown]
        if SERVER.match(one.command):
            self._serve(command, shown)
        else:
            self._do(command, shown)

    def _here(self, text: str) -> str:
        """Put ports that are free, and paths and resolvers of ours, in place of those shown."""
        for port in re.findall(r"\b53\d\d\b", text):
            self._ports.setdefault(port, str(free_port()))
        text = re.sub(r"\b53\d\d\b", lambda found: self._ports[found[0]], text)
        text = re.sub(r"(?<= )/(?=(?:etc|opt|var)/)", f"{self._folder}/", text)
        for address, played in self._resolvers.items():
            text = re.sub(rf"(--dns-upstream ){re.escape(address)}\b", rf"\g<1>{played}", text)
        return text

    def _serve(self, command: str, shown: list[str]) -> None:
        words = shlex.split(command, comments=True)
        server = self._run.start(*words[3:], within=("env", "-C", str(self._folder)))
        assert server.process.stdout is not None
        assert shown, f"{command} serves, and its ready line is not shown"
        for line in shown:
            assert server.process.stdout.readline() == f"{line}\n", server.log
        if links := len(re.findall(r"\blocalhost[ :]\d", command)):
            server.logs(" is up", links)

    def _do(self, command: str, shown: list[str]) -> None:
        path = f"{self._folder.parent / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        if shown:
            printed = done.stdout.rstrip("\n").split("\n")
            assert agrees(shown, printed), "\n".join([command, *shown, "is not", *printed])


@pytest.mark.parametrize(("document", "section"), SECTIONS)
def test_commands_of_a_section_do_what_it_shows(
    document: str, section: str, run: Programs, checkout: Path, resolvers: dict[str, str]
) -> None:
    newcomer = Newcomer(run, checkout, resolvers)
    sections = [section]
    while earlier := AFTER.get(sections[0]):
        sections.insert(0, earlier)
    found = blocks((ROOT / document).read_text())
    for block in [block for each in sections for block in found if block.section == each]:
        if block.kind == "console":
            for one in typed(block):
                newcomer.type(one)
    if newcomer.missing:
        pytest.skip(f"not installed, so left out: {', '.join(newcomer.missing)}")


# -- blocks of other kinds -------------------------------------------------------------------------


def check_toml(text: str, folder: Path) -> None:
    (folder / "shown.toml").write_text(text)
    read = read_ls_options(["--config", str(folder / "shown.toml")])
    assert read.table_servers == (("ts1.example", 5301), ("ts2.example", 5301))
    assert (read.server.bounds.timeout_s, read.server.bounds.clients_max) == (2.0, 100)


def check_yaml(text: str, folder: Path) -> None:
    """Read the arguments, and look whether probes ask for a path and a port that LS serves."""
    arguments = re.findall(r'"([^"]+)"', text.partition("livenessProbe")[0])
    assert (
        arguments[0] == "ls"
        and read_ls_options(arguments[1:]).server.listen.status_page is not None
    )
    document = (ROOT / "proto.md").read_text()
    for path, port in re.findall(r"path: (\S+), port: (\d+)", text):
        assert f"`{path}`" in document and int(port) == int(_value(arguments, "--metrics"))


def _value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def check_text(text: str, folder: Path) -> None:
    """Look only at the beginning of a picture of a terminal: the test of its writer does more."""
    assert re.match(r"localhost:5300  \d{4}-|\d{4}-\d\d-\d\dT\S+Z LS photofinish ", text)


def check_promql(text: str, folder: Path) -> None:
    """Look whether the dashboard or an alert has these metrics, too."""
    known = (ROOT / "examples/grafana.json").read_text() + (
        ROOT / "examples/alerts.yml"
    ).read_text()
    for metric in re.findall(r"photofinish_\w+", text):
        assert metric in known, metric


KINDS: dict[str, Check] = {
    "toml": check_toml,
    "yaml": check_yaml,
    "text": check_text,
    "promql": check_promql,
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_block_is_of_a_kind_that_is_tested(document: str, tmp_path: Path) -> None:
    for block in blocks((ROOT / document).read_text()):
        if block.kind != "console":
            assert block.kind in KINDS, f"{block.section}: a block of kind {block.kind!r}"
            KINDS[block.kind](block.text, tmp_path)


# -- words in the text -----------------------------------------------------------------------------

OTHERS_FLAGS = {"--all-servers", "--init", "--force"}  # dnsmasq, docker, pipx
PARSERS = (ls_parser, ts_parser, client_parser, replay_parser, top_parser, demo_parser)


def inline(document: str) -> list[str]:
    """Return what stands between single backticks in a document."""
    text = re.sub(r"(?ms)^```.*?^```$", "", document)
    return re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", text)


@pytest.mark.parametrize("document", [*DOCUMENTS, "examples/sizing.md"])
def test_flags_and_programs_in_the_text_are_there(document: str) -> None:
    known = {flag for parser in PARSERS for flag in flags_of(parser())}
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for code in inline((ROOT / document).read_text()):
        is_ours = not re.match(r"python3 (bench|examples)/", code)
        for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", code) if is_ours else ():
            assert flag in known | OTHERS_FLAGS, code
        for target in re.findall(r"^make ([a-z-]+)", code):
            assert target in targets, code
        for script in re.findall(r"^python3 (\S+\.py)", code):
            assert (ROOT / script).exists(), code


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= README_LINES_MAX


# -- that it can say no ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["a 10.0.0.1 A IN"], ["a 10.0.0.2 A IN"]),
        (["a"], ["a", "b"]),
        (["a", "b"], ["a"]),
        (["a", "...", "c"], ["a", "b"]),
        (["4.4 ms"], ["4.5 ms"]),
    ],
)
def test_other_lines_than_those_shown_do_not_agree(shown: list[str], printed: list[str]) -> None:
    assert not agrees(shown, printed)


def test_lines_agree_but_for_seconds_and_what_is_left_out() -> None:
    assert agrees(["...", "b", "2 names, 5.0 s"], ["a", "a", "b", "2 names, 5.1 s"])


def test_a_command_that_fails_is_seen(run: Programs, checkout: Path) -> None:
    with pytest.raises(AssertionError, match="no option '--twice'"):
        Newcomer(run, checkout, {}).type(Typed("python3 -m nodes top localhost 5300 --twice", []))


def test_commands_go_on_in_the_next_line_and_output_follows() -> None:
    block = Block("x", "console", "$ a \\\n    b\nout\n$ c")
    assert [one.command.split() for one in typed(block)] == [["a", "b"], ["c"]]
    assert [one.shown for one in typed(block)] == [["out"], []]


def test_blocks_know_their_kind_and_section() -> None:
    document = "# A\n```console\n$ a\n```\n## B\n```\nx\n```\n"
    assert blocks(document) == [Block("A", "console", "$ a"), Block("B", "", "x")]
