"""Configuration files: that a file means what its words mean on a command line, which of the two
goes over the other, what is said of files that are wrong, and that what is printed is read back.

Not here: what the words mean (`tests/nodes/test_ls_arguments.py`, `test_arguments.py`).
"""

import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.arguments import USAGE, Failure, Parser
from nodes.cli.config_file import WORDS_ONLY
from nodes.cli.given_words import flags_of
from nodes.cli.ls_arguments import LsOptions, ls_parser, read_ls_options
from nodes.cli.ts import TsOptions, read_ts_options, ts_parser
from tests.conftest import Command
from tests.support.processes import ROOT

Read = Callable[[Sequence[str]], LsOptions | TsOptions]
READ: dict[str, Read] = {"ls": read_ls_options, "ts": read_ts_options}
PARSERS = {"ls": ls_parser, "ts": ts_parser}


class Key(NamedTuple):
    """A key, how a file says it in TOML, and the words of the same meaning."""

    name: str
    toml: str
    words: list[str]


def flag(name: str, toml: str, *values: str) -> Key:
    """Return a key whose words are this flag with each of these values; without values alone."""
    words = [word for value in values for word in (f"--{name}", value)]
    return Key(name, f"{name} = {toml}", words or [f"--{name}"])


BOTH = [
    Key("port", "port = 5300", ["5300"]),
    flag("host", '["127.0.0.2", "[::1]:5301"]', "127.0.0.2", "[::1]:5301"),
    flag("allow", '["10.0.0.0/8", "::1"]', "10.0.0.0/8", "::1"),
    flag("idle", "60.5", "60.5"),
    Key("bound", "[bound]\nfew_bytes = 4096\njoin_s = 0.5\nidle_s = inf", [
        "--bound", "few_bytes=4096", "--bound", "join_s=0.5", "--bound", "idle_s=inf",
    ]),
    flag("log-level", '"warning"', "warning"),
    flag("log-format", '"json"', "json"),
    flag("wire-log", "true"),
    flag("metrics", "5380", "5380"),
    flag("metrics-host", '"127.0.0.3"', "127.0.0.3"),
    flag("metrics-name", '["a.example", "b"]', "a.example", "b"),
]  # fmt: skip
LS = [
    *BOTH,
    Key("servers", 'servers = ["a.example", 5301, "b.example", "5302"]', [
        "a.example", "5301", "b.example", "5302",
    ]),
    flag("dns-upstream", '["192.0.2.1", "[::1]:5353", "tls://9.9.9.9#dns.quad9.net"]',
         "192.0.2.1", "[::1]:5353", "tls://9.9.9.9#dns.quad9.net"),
    flag("grace", "1", "1"),
    flag("timeout", "2", "2"),
    flag("trust-data", "true"),
    flag("private-from", '["DNS1,DNS2", "DNS1"]', "DNS1,DNS2", "DNS1"),
    flag("route", '["a.example,10.0.0.0/8=192.0.2.2", "lan="]',
         "a.example,10.0.0.0/8=192.0.2.2", "lan="),
    flag("cache", "16", "16"),
    flag("stale", '"1h"', "1h"),
    flag("leak", '["home.arpa", "10.in-addr.arpa"]', "home.arpa", "10.in-addr.arpa"),
    flag("policy", '"hedge"', "hedge"),
    flag("max-extra-load", "0.25", "0.25"),
    flag("race-sample", "0.5", "0.5"),
    flag("race-log", '"races \\"of\\" today.jsonl"', 'races "of" today.jsonl'),
    flag("dns", '[5353, "[::1]:53"]', "5353", "[::1]:53"),
    flag("dns-timeout", "1.5", "1.5"),
    flag("dns-ttl", "0", "0"),
    flag("tls-ca", '"ca.pem"', "ca.pem"),
    flag("dns-tls", '[853, "[::1]:8853"]', "853", "[::1]:8853"),
    flag("tls-cert", '"cert.pem"', "cert.pem"),
    flag("tls-key", '"key.pem"', "key.pem"),
    flag("workers", "2", "2"),
]  # fmt: skip
TS = [*BOTH, flag("table", '"table.txt"', "table.txt"), flag("strict", "true"),
      flag("format", '"names"', "names"), flag("block-with", '"::1,0.0.0.0"', "::1,0.0.0.0"),
      flag("answer-unknown", "true")]  # fmt: skip
ON_DEMAND = "config_file", "printed_config", "check"
KEYS = {"ls": LS, "ts": TS}
ALONE = {  # keys that contradict some of those, with the least that they need
    "ls": [
        Key("port", "port = 0", ["0"]),
        Key("servers", 'servers = ["a", "1"]', ["a", "1"]),
        flag("once", "true"),
        flag("tier", '["2=TS2", "3=TS3"]', "2=TS2", "3=TS3"),
    ],
    "ts": [Key("port", "port = 0", ["0"]), flag("table", '"t"', "t"), flag("once", "true")],
}


def keys_of(parser: Parser) -> set[str]:
    """Return the keys of all flags of a parser; of several spellings the first."""
    spellings = (action.option_strings for action in flags_of(parser).values())
    long = ([word for word in words if word.startswith("--")] for words in spellings)
    return {words[0].removeprefix("--") for words in long}


def write(path: Path, keys: Sequence[Key]) -> str:
    """Write a file of these keys; return its name. TOML has tables last."""
    keys = sorted(keys, key=lambda key: key.toml.startswith("["))
    path.write_text("".join(f"{key.toml}\n" for key in keys))
    return str(path)


def words_of(keys: Sequence[Key]) -> list[str]:
    """Return the command line of these keys."""
    return [word for key in keys for word in key.words]


def plain(options: LsOptions | TsOptions) -> LsOptions | TsOptions:
    """Return options as if no file had said them."""
    return replace(options, config=None)


def outcome(read: Read, words: Sequence[str]) -> object:
    """Return the options that these words are read as, or the failure."""
    try:
        return plain(read(words))
    except Failure as failure:
        return re.sub("^with [^ ]+: ", "", str(failure))


# -- a file means what its words mean --------------------------------------------------------------


@pytest.mark.parametrize("program", KEYS)
def test_every_flag_means_the_same_in_a_file(program: str, tmp_path: Path) -> None:
    """[P71]"""
    read = READ[program]
    for keys in KEYS[program], ALONE[program]:
        path = write(tmp_path / "file.toml", keys)
        assert plain(read(["--config", path])) == plain(read(words_of(keys)))
    tried = {key.name for key in [*KEYS[program], *ALONE[program]]}
    assert keys_of(PARSERS[program]()) - WORDS_ONLY == tried - {"port", "servers"}


@given(st.data())
def test_file_and_command_line_are_as_one_command_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """[P71]: any keys in any order in the file, some of them on the command line instead or, too;
    where the words contradict each other, the failures are the same."""
    program = data.draw(st.sampled_from(["ls", "ts"]))
    some = st.lists(st.sampled_from([*KEYS[program], *ALONE[program]]), unique_by=lambda k: k.name)
    in_file, on_line = data.draw(some), data.draw(some)
    path = write(tmp_path_factory.getbasetemp() / "any.toml", in_file)
    over = {key.name for key in on_line} - {"bound"}
    left = [key for key in in_file if key.name not in over]
    left.sort(key=lambda key: key.name == "bound")  # as in the file: of two for one bound, the last
    words = words_of(
        sorted([*left, *on_line], key=lambda k: (k.name != "port", k.name != "servers"))
    )
    if program == "ls" and not any(key.name in ("workers", "once") for key in [*left, *on_line]):
        words += ["--workers", "1"]
    line = words_of(sorted(on_line, key=lambda key: key.name != "port"))
    assert outcome(READ[program], ["--config", path, *line]) == outcome(READ[program], words)


@pytest.mark.parametrize(
    ("toml", "line", "words"),
    [
        # A flag replaces the whole list of the file.
        ('allow = ["10.0.0.0/8", "::1"]', "--allow ::/0", "--allow ::/0"),
        ("timeout = 2", "--timeout=3", "--timeout 3"),
        ("timeout = 2", "--bound timeout_s=3", "--timeout 3"),
        ('dns-upstream = ["9.9.9.9", "::1"]', "--upstream 1.1.1.1", "--dns-upstream 1.1.1.1"),
        ('[dns-upstream]\nquad9 = "9.9.9.9"', "", "--upstream quad9=9.9.9.9"),
        ('[dns-upstream]\nquad9 = "tls://9.9.9.9#dns.quad9.net"', "",
         "--upstream quad9=tls://9.9.9.9#dns.quad9.net"),
        ('dns-upstream = "::1"\n[route]\nlan = ["tls://[::2]:5#a", "tls://::3"]', "",
         "--upstream ::1 --route lan=tls://[::2]:5#a,tls://::3"),
        # A bound replaces the same bound only.
        ("[bound]\ntimeout_s = 2\njoin_s = 0.5", "--timeout 3", "--timeout 3 --bound join_s=0.5"),
        ("[bound]\ntimeout_s = 2\njoin_s = 0.5", "--bound join_s=0.7",
         "--timeout 2 --bound join_s=0.7"),
        # Positional words replace those of the same meaning.
        ("", "7", "7 a 1"),
        ("", "b 2 c 3", "5 b 2 c 3"),
        ("", "7 b 2", "7 b 2"),
        ("", "--timeout 1 7 --idle 9 b 2", "7 b 2 --timeout 1 --idle 9"),
        ("", "-- b 2", "5 b 2"),
        ("", "-- 7 b 2", "7 b 2"),
        # A flag alone that the file denies is given by the command line.
        ("wire-log = false", "--wire-log", "--wire-log"),
        ("wire-log = false", "", ""),
        ("allow = []", "", ""),
    ],
)  # fmt: skip
def test_the_command_line_goes_over_the_file(
    tmp_path: Path, toml: str, line: str, words: str
) -> None:
    path = tmp_path / "file.toml"
    path.write_text(f'port = 5\nservers = ["a", 1]\n{toml}\n')
    expected = ["--workers", "1", *words.split()]
    if not words[:1].isdigit():
        expected += ["5", "a", "1"]
    for given_words in (
        ["--config", str(path), *line.split()],
        [*line.split(), f"--config={path}"],
    ):
        if "--" not in line or given_words[0] == "--config":
            assert plain(read_ls_options(given_words)) == plain(read_ls_options(expected))


def test_a_file_makes_ls_a_parent_of_one_worker(tmp_path: Path) -> None:
    path = write(tmp_path / "file.toml", ALONE["ls"][:2])
    read = read_ls_options(["--config", path])
    assert (read.workers, read.config) == (1, path)
    assert read_ls_options(["--config", path, "--workers", "3"]).workers == 3
    assert read_ls_options(["--config", path, "--once"]).workers is None
    assert read == read_ls_options(["--config", path]), "it can be compared"


# -- files that are wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        # Keys.
        ("timout = 1", "{file}: there is no key 'timout'; did you mean timeout?"),
        ("race_log = 'x'", "{file}: there is no key 'race_log'; did you mean race-log?"),
        ('"--race-log" = "x"', "{file}: there is no key '--race-log'; did you mean race-log?"),
        ("[server]\nx = 1", "{file}: there is no key 'server'; did you mean servers?"),
        ("colour = 1", "{file}: there is no key 'colour'; python3 -m nodes ls --help has them all"),
        ("config = 'x'", "{file}: config is for the command line only"),
        ("check = true", "{file}: check is for the command line only"),
        ("help = true", "{file}: help is for the command line only"),
        # Values.
        ("timeout = 'x'", "{file}: timeout: 'x' is not a time above 0, up to 277 h, like 0.5"),
        ("timeout = [1]", "{file}: timeout: give a text or a number, not a list"),
        ("[timeout]\nx = 1", "{file}: timeout: give a text or a number, not a table"),
        ("timeout = true", "{file}: timeout: give a text or a number, not true"),
        ("timeout = 2026-11-29", "{file}: timeout: give a text or a number, not a date"),
        ("timeout = 1979-05-27T07:32:00Z", "timeout: give a text or a number, not a date"),
        (f"metrics = {1 << 64}", "{file}: metrics: an integer has 64 bits"),
        (f"metrics = 0x1{'0' * 9_999}", "{file}: metrics: an integer has 64 bits"),
        ("once = 1", "{file}: once: give true or false, not a number"),
        ("once = 'yes'", "{file}: once: give true or false, not a text"),
        ("port = 70000", "{file}: port: '70000' is not a port, 0 to 65535"),
        ("port = [1]", "{file}: port: give a text or a number, not a list"),
        ("servers = ['--once']", "{file}: servers: '--once' is not a server"),
        ("[servers]\na = 1", "{file}: servers: give a text or a number, not a table"),
        ("allow = ['10.0.0.0/8', '10.0.0.1/8']", "{file}: allow: 10.0.0.1/8 has host bits set"),
        ("allow = [['::1']]", "{file}: allow: give a text or a number, not a list"),
        ("policy = 'hedg'", "{file}: policy: 'hedg' is not race or hedge; did you mean hedge?"),
        ("race-log = \"a\\u0000\"", "{file}: race-log: a text cannot have control characters"),
        ("[bound]\nx = 1", "{file}: bound: there is no bound 'x'"),
        ("[bound]\njoin_s = 'a'", "{file}: bound: join_s: 'a' is not a time"),
        ("[route]\ncorp.example = 'DNS1'", "{file}: route: give a text or a number, not a table; "
         'is it "corp.example"? Dots need the quotes'),
        ("[route]\na = {}", "{file}: route: give a text or a number, not a table"),
        ("bound = true", "{file}: bound: give a text or a number, not true"),
        # Contradictions.
        ("grace = 1", "with {file}: --grace is for the answers of resolvers; there is no "),
        ("servers = ['a']", "{file}: servers: 'a' has no port; write it like a:5301"),
        # Names and hosts.
        ("dns-upstream = '::1'\nroute = 'a=x'", "with {file}: --route: no resolver is called 'x'"),
        ("dns-upstream = '::1'\ntier = '2=x'", "with {file}: --tier: no server is called 'x'"),
        ("[tier]\n2 = 'TS1'", "with {file}: --tier: no server is left in tier 1"),
        ("dns-upstream = '::1'\nprivate-from = 'x'", "with {file}: --private-from: no resolver is"),
        ("servers = ['a..b:1']", "with {file}: 'a..b' is not a host name"),
        # TOML.
        ("host = 0.0.0.0", "{file}:1:11: expected newline or end of document after a statement"),
        ("once = true\n\nhost = localhost", '{file}:3:8: invalid value (text stands in "quotes")'),
        ("host = 'a'\nhost = 'b'", "{file}:2:11: cannot overwrite a value (is the key "),
        ("a = 'x", "{file}:1:7: expected "),
        (f"port = [{'9' * 4_000}, 0x{'9' * 9_000}]", "{file}: port: give a text or a number, not"),
        (f"a = {'9' * 9_999}", "{file}: "),
        (f"a = {'[' * 9_999}", "{file}: lists and tables are nested too deep"),
        (b"host = '\xff'", "{file}:1:9: this is not UTF-8"),
        (b"\n\nx\xff", "{file}:3:2: this is not UTF-8"),
        (b"#" * ((1 << 20) + 1), "{file} has over 1048576 bytes; is it a configuration?"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_one_line(
    command: Command, tmp_path: Path, toml: str | bytes, said: str
) -> None:
    """[P72]"""
    path = tmp_path / "ls.toml"
    path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    words = [] if b"port" in path.read_bytes() else ["0"]
    if b"servers" not in path.read_bytes():
        words += ["a", "1"]
    code, out, log = command("ls", "--config", str(path), *words)
    assert (code, out, log.count("\n")) == (USAGE, "", 1), log
    assert log.startswith("photofinish: ") and said.format(file=path) in log, log


SCRAPS = st.sampled_from([
    *(key.name for key in [*LS, *TS]), *"=[]{}#.,-'\"\n\r\t ", "[[", '"""', "\\u0000", "\\n",
    "1979-05-27", "07:32:00", "::1", "1e400", "-1", "nan", "inf", "true", "false", "5%", "1h",
])  # fmt: skip


@given(
    st.sampled_from(sorted(READ)),
    st.one_of(
        st.binary(max_size=40),
        st.lists(SCRAPS, max_size=30).map(lambda scraps: "".join(scraps).encode()),
        st.lists(st.tuples(SCRAPS, SCRAPS, SCRAPS), max_size=4).map(
            lambda rows: "\n".join(f"{a} = [{b}, {c}]" for a, b, c in rows).encode()
        ),
    ),
)
def test_any_file_is_read_or_refused_with_one_line(
    tmp_path_factory: pytest.TempPathFactory, program: str, data: bytes
) -> None:
    """[P72]"""
    path = tmp_path_factory.getbasetemp() / "scraps.toml"
    path.write_bytes(data)
    try:
        READ[program](["--config", str(path)])
    except Failure as failure:
        assert "\n" not in str(failure) and "\r" not in str(failure)
        assert failure.exit_code == USAGE


def test_a_file_that_cannot_be_read_is_one_line(command: Command, tmp_path: Path) -> None:
    """[P72]: a pipe without a writer holds up nobody."""
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("none", "no such file or directory"),
        ("pipe", "it is not a regular file"),
        (".", "it is not a regular file"),
        ("/dev/null", "it is not a regular file"),
    ):
        path = tmp_path / name
        code, out, log = command("ts", "--config", str(path))
        assert (code, out, log) == (USAGE, "", f"photofinish: cannot read {path}: {why}\n")


def test_help_needs_no_file(command: Command) -> None:
    code, out, _ = command("ls", "--config", "none", "--help")
    assert code == 0 and "--print-config" in out


def test_two_files_are_refused(command: Command) -> None:
    code, _, log = command("ls", "--config", "a", "--config=b")
    assert (code, log) == (2, "photofinish: --config is given 2 times; one file is enough\n")


def test_a_mistake_of_the_command_line_is_not_the_files(command: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "file.toml", [])
    for words, said in (
        (["--timeout", "x"], "argument --timeout: 'x' is not a time"),
        (["0", "a", "1", "--race-log"], "argument --race-log: expected one argument"),
        (["--config"], "argument --config: expected one argument"),
    ):
        code, _, log = command("ls", "--config", path, *words)
        assert code == USAGE and log.startswith(f"photofinish: {said}"), log


def test_a_file_is_read_as_other_systems_write_it(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xef\xbb\xbfport = 5\r\ntable = 't'\r\n")
    assert read_ts_options(["--config", str(path)]).table == "t"


# -- printed, and read back ------------------------------------------------------------------------


def printed(command: Command, *words: str) -> str:
    """Return the configuration that a program prints for these words."""
    code, out, log = command(*words, "--print-config")
    assert (code, log) == (0, "")
    return out


@pytest.mark.parametrize("program", KEYS)
def test_a_printed_configuration_is_read_back(
    command: Command, tmp_path: Path, program: str
) -> None:
    """[P74]"""
    path = tmp_path / "printed.toml"
    least = ALONE[program][:2]
    for keys in KEYS[program], ALONE[program], least, [*least, *KEYS[program][1:]]:
        words = words_of({key.name: key for key in keys}.values())
        path.write_text(printed(command, program, *words))
        back = plain(READ[program](["--config", str(path)]))
        options = plain(READ[program](words))
        if isinstance(options, LsOptions) and not options.server.once:
            options = plain(READ[program]([*words, "--workers", str(options.workers or 1)]))
        assert back == options
        again = printed(command, program, "--config", str(path))
        keys_again = re.sub(" +# .*", "", again).replace("\nworkers = 1\n", "\n# workers\n")
        assert keys_again == re.sub(" +# .*", "", path.read_text())


def test_a_printed_value_says_where_it_comes_from(command: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "file.toml", [*ALONE["ls"][:2], flag("timeout", "2", "2")])
    words = ["--config", path, "--idle", "7", "--bound", "timeout_s=3", "--bound", "few_bytes=9"]
    out = printed(command, "ls", *words, "--dns-upstream", "192.0.2.1", "--dns", "0")
    for line in (
        f"port = 0  # {path}", f'servers = ["a", 1]  # {path}', "timeout_s = 3.0  # command line",
        'host = ["127.0.0.1"]  # default', "idle = 7.0  # command line", "# workers",
        "dns-timeout = 4.5  # default", "[bound]", "few_bytes = 9  # command line", "# grace",
    ):  # fmt: skip
        assert line in out.splitlines() or line == "# workers", line
    assert "workers = 1  # default" in out and "\ntimeout = " not in out


def test_odd_words_are_printed_so_that_they_read_back(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "printed.toml"
    for table in ("1", "01", "1.50", "1e5", "+1", "inf", "true", 'a"b', "a\\b", "ü#", "\xa0"):
        path.write_text(printed(command, "ts", "5", "--table", table))
        assert read_ts_options(["--config", str(path)]).table == table
    for table, why in (b"\xff", "is not UTF-8"), (b"\n", "has control characters"):
        code, out, log = command("ts", "5", "--table", os.fsdecode(table), "--print-config")
        assert (code, out) == (1, "") and log.endswith(f"' {why}: no file can say it\n")


def test_a_host_of_a_file_that_is_not_known_names_the_file(
    command: Command, tmp_path: Path
) -> None:
    """[P72]"""
    path = tmp_path / "file.toml"
    path.write_text("port = 0\nservers = ['nohost.invalid:1']\n")
    code, _, log = command("ls", "--config", str(path), "--check")
    assert code == USAGE and f"photofinish: with {path}: cannot resolve 'nohost.invalid'" in log


def test_a_list_of_nobody_is_a_route_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text('dns-upstream = "192.0.2.1"\n[route]\nlan = []\n')
    (route,) = read_ls_options(["0", "--config", str(path)]).asking.routes
    assert route.text == "lan=" and route.resolvers == ()


def test_a_long_list_is_read_without_its_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`argparse` looks at all options before each."""
    path = tmp_path / "file.toml"
    path.write_text("port = 0\nservers = ['a:1']\nallow = ['::1', '127.0.0.1']\nidle = 7\n")
    parsed: list[Sequence[str] | None] = []
    read = Parser.parse_intermixed_args

    def note(
        parser: Parser, args: Sequence[str] | None = None, namespace: None = None
    ) -> Namespace:
        parsed.append(args)
        return read(parser, args, namespace)

    monkeypatch.setattr(Parser, "parse_intermixed_args", note)
    options = read_ls_options(["--config", str(path)])
    assert len(options.server.allow) == 2 and options.server.bounds.idle_s == 7
    assert parsed == [["0", "a:1", "--idle=7", f"--config={path}"]]


# -- the document ----------------------------------------------------------------------------------


def section() -> str:
    """Return what the document says of configuration files."""
    text = (ROOT / "proto.md").read_text()
    return text.partition("\n### Configuration\n")[2].partition("\n### ")[0]


def test_the_rows_of_the_document_hold(tmp_path: Path) -> None:
    rows = re.findall(r"(?m)^\| (`.+`) \| (`.*`|none) \|$", section())
    assert len(rows) >= 9
    path = tmp_path / "row.toml"
    for toml, words in rows:
        path.write_text("\n".join(re.findall("`([^`]+)`", toml)))
        said = path.read_text()
        more = [] if said.startswith("port") else ["0"]
        more += [] if said.startswith("servers") else ["localhost:1"]
        more += ["--workers", "1"] if "workers" not in said else []
        line = " ".join(re.findall("`([^`]+)`", words)).split()
        expected = [*line, *more] if said.startswith("port") else [*more, *line]
        read = plain(read_ls_options(["--config", str(path), *more]))
        assert read == plain(read_ls_options(expected)), toml


def test_the_table_of_keys_is_that_of_the_parsers() -> None:
    rows: list[Any] = re.findall(r"(?m)^\| `([a-z-]+)` \| (LS, TS|LS|TS) \| ", section())
    for program, parser in PARSERS.items():
        expected = (
            (keys_of(parser()) - WORDS_ONLY)
            | {"port"}
            | ({"servers"} if program == "ls" else set())
        )
        assert {key for key, of in rows if program.upper() in of} == expected


# -- the start -------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_start_without_a_file_imports_nothing_for_it() -> None:
    code = (
        "import sys\n"
        "from nodes.cli.ls import read_ls_options\n"
        "from nodes.cli.ts import read_ts_options\n"
        "read_ls_options(['0', 'localhost', '1'])\n"
        "read_ts_options(['0', '--table', 'x'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    unwanted = {"tomllib", "difflib", *(f"nodes.cli.{name}" for name in ON_DEMAND)}
    assert unwanted & set(done.stdout.split()) == set()
