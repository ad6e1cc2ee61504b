"""The document of the exercise, examples/exercise.md: its commands, played at ports that are free
here, write what it shows; they are those of its table; and the files to read are in their order.

Not here: that its links lead somewhere (`tests/test_tidy.py`).
"""

import re
from pathlib import Path

import pytest

from tests.support.house_rules import READING_PATH
from tests.support.processes import ROOT, Programs, exchange, free_port

pytestmark = pytest.mark.process

DOCUMENT = (ROOT / "examples" / "exercise.md").read_text()
COMMAND = re.compile(r"`python3 -m nodes (.+?)`")
TYPED = re.compile(r"printf '(.*)' \| nc localhost (\d+)")
LISTENER, TIME_S = re.compile(r":\d+$"), re.compile(r"\d\.\d s$")
SERVERS = ("ts", "ls")


def played_blocks() -> list[tuple[str, str]]:
    """Return each command that the document shows being typed, and what is shown to follow."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```$", DOCUMENT)
    return re.findall(r"(?m)^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(blocks))


class Terminal:
    """Somebody who types commands. Servers go on running; table servers are silent for 0.3 s, not
    5 s, before LS says TIMED OUT."""

    def __init__(self, run: Programs) -> None:
        self._run = run
        self._folder: Path = run.folder
        self._ports: dict[str, str] = {}

    def type(self, command: str) -> str:
        """Type a command; return what it writes, with the ports and times of the document."""
        if found := TYPED.fullmatch(command):
            data = found[1].encode().replace(rb"\n", b"\n")
            return b"".join(exchange(int(self._port(found[2])), [data])).decode()
        program, *words = command.split()
        if program == "cat":
            return (self._folder / words[0]).read_text()
        assert [program, *words[:2]] == ["python3", "-m", "nodes"]
        name, *words = words[2:]
        if name not in SERVERS:
            return self._ask(name, *words)
        own, *others = words
        more = ("--timeout", 0.3) if name == "ls" else ()
        server = self._run.start(name, self._port(own), *map(self._port, others), *more)
        ready = f"{name} ready on 127.0.0.1:{server.port()}\n"
        if name == "ls":
            server.logs(" is up", 2)
        return LISTENER.sub(f":{own}", ready)

    def _ask(self, *words: str) -> str:
        words = tuple(str(self._folder / word) if "RESOLVED" in word else word for word in words)
        code, out, log = self._run.run(*map(self._port, words))
        assert code == 0
        return out + TIME_S.sub("5.0 s", log)

    def _port(self, word: str) -> str:
        if re.fullmatch(r"53\d\d", word):
            return self._ports.setdefault(word, str(free_port()))
        return word


def test_what_is_typed_writes_what_is_shown(run: Programs) -> None:
    terminal = Terminal(run)
    blocks = played_blocks()
    assert len(blocks) >= 6
    assert [(command, terminal.type(command)) for command, _ in blocks] == blocks


def test_the_commands_of_the_table_are_those_that_are_played() -> None:
    played = {command for command, _ in played_blocks()}
    table = {f"python3 -m nodes {words}" for words in COMMAND.findall(DOCUMENT)}
    assert table - played == {"python3 -m nodes demo"}


def test_five_files_to_read_are_in_the_order_of_the_map() -> None:
    rows = re.findall(r"(?m)^\| \[([^]]+)\]\(\.\./\1\) \|", DOCUMENT)
    core_map = (ROOT / "core" / "README.md").read_text()
    places = [core_map.index(f"| [{row.removeprefix('core/')}](") for row in rows]
    assert len(rows) == 5 and set(rows) <= set(READING_PATH) and places == sorted(places)
