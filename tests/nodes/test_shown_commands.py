"""Command lines that documents and examples show: each is accepted by its program's parser, and
each flag that is named in a document is one of the program that it is named with.

Not here: what the commands write (`tests/processes/test_readme.py` for README and the pages that it
leads to, `tests/processes/test_exercise.py`).
"""

import re
from collections.abc import Callable, Sequence

import pytest

from nodes.cli.arguments import Parser
from nodes.cli.client import client_parser, read_client_options
from nodes.cli.demo import demo_parser, read_demo_options
from nodes.cli.given_words import flags_of
from nodes.cli.ls_arguments import ls_parser, read_ls_options
from nodes.cli.replay import read_replay_options, replay_parser
from nodes.cli.top import read_top_options, top_parser
from nodes.cli.ts import read_ts_options, ts_parser
from tests.support.documents import (
    DOCUMENTS,
    EXAMPLES,
    PROGRAMS,
    ROOT,
    code_spans,
    place,
    shown_commands,
)  # fmt: skip

Reader = Callable[[Sequence[str]], object]
READERS: dict[str, tuple[Reader, Callable[[], Parser]]] = {
    "ts": (read_ts_options, ts_parser),
    "ls": (read_ls_options, ls_parser),
    "client": (read_client_options, client_parser),
    "replay": (read_replay_options, replay_parser),
    "top": (read_top_options, top_parser),
    "demo": (read_demo_options, demo_parser),
}
FLAGS = {program: set(flags_of(parser())) for program, (_, parser) in READERS.items()}
# Words that stand for one's own, and such as a parser takes.
STANDS_FOR = {"HOST": "localhost", "PORT": "5300", "NAME": "a.example", "FILE": "x.txt"}
OTHERS_FLAGS = {
    *("--all-servers", "--local", "--init", "--force"),  # of dnsmasq, dnsperf, docker and pipx
    *("--json", "--before", "--calls", "--keep", "--kinds", "--lookups"),  # of bench/
    *("--only", "--parts", "--questions", "--results", "--rounds"),  # the same
    "--time",  # a beginning that is refused
}
PLACES = [*DOCUMENTS, *EXAMPLES]
COMMANDS = [
    pytest.param(words, id=f"{place(path)}: {' '.join(words)}"[:70])
    for path in PLACES
    for words in shown_commands(path.read_text())
    if words[0] in PROGRAMS and len(words) > 1
]


def own(word: str) -> str:
    """Return a word with which a parser can go on."""
    if re.fullmatch(r"\S+\.toml", word):
        return str(ROOT / "examples" / "photofinish.toml")
    return STANDS_FOR.get(word, word)


def flags_unknown(text: str) -> list[str]:
    """Return the code spans of a text that name a flag that is not there, or is another's."""
    wrong = []
    for code in code_spans(text):
        named = re.findall(r"(?<!\S)--[a-z][a-z-]*", code)
        begin = re.match(rf"(?:python3 -m nodes |photofinish )?({'|'.join(PROGRAMS)}) ", code)
        known = FLAGS[begin[1]] if begin else set().union(*FLAGS.values()) | OTHERS_FLAGS
        if set(named) - known:
            wrong.append(code)
    return wrong


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_that_is_shown_is_accepted(words: list[str]) -> None:
    program, *rest = words
    try:
        READERS[program][0]([own(word) for word in rest])
    except SystemExit as ended:  # of those that only show something
        assert ended.code == 0


def test_commands_are_found_where_they_are_shown() -> None:
    text = (
        "$ python3 -m nodes ls 1 \\\n    a 2\n#   photofinish top a 1     see\n"
        "#   ARGUMENTS=ts 5 --x y\nUse `photofinish demo`, `ls 3`.\n"
    )
    assert shown_commands(text) == [
        ["ls", "1", "a", "2"], ["top", "a", "1"], ["ts", "5", "--x", "y"], ["demo"]
    ]  # fmt: skip
    assert len(COMMANDS) >= 15


def test_a_flag_of_another_program_is_found() -> None:
    text = "`--grace S` `ls --strict` `ts 1 --strict`\n```\n`--none`\n```\n`--nun`"
    assert flags_unknown(text) == ["ls --strict", "--nun"]


def test_programs_that_are_shown_are_there() -> None:
    first = {words[0] for path in PLACES for words in shown_commands(path.read_text())}
    assert first - set(PROGRAMS) - {"--version", "--help"} == set()


def test_flags_that_documents_name_are_there() -> None:
    wrong = {place(path): flags_unknown(path.read_text()) for path in DOCUMENTS}
    assert {name: codes for name, codes in wrong.items() if codes} == {}


def test_scripts_that_documents_show_are_there() -> None:
    for path in DOCUMENTS:
        for script, words in re.findall(
            r"(?m)(?:^ *(?:\$ )?|`)python3 ((?:bench|examples|\.ci)/\S+\.py)([^`#\n]*)",
            path.read_text(),
        ):
            assert (ROOT / script).exists(), script
            sources = "".join(p.read_text() for p in (ROOT / script).parent.glob("*.py"))
            for flag in re.findall(r"(?<!\S)--[a-z-]+", words):
                assert f'"{flag}"' in sources or flag == "--help", (script, flag)
