"""The command lines of all programs, from their parsers: what a man page and a completion need.

Not here: how they are written down (`manual.py`, `completion.py`).
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from nodes.cli.client import client_parser
from nodes.cli.demo import demo_parser
from nodes.cli.ls_arguments import ls_parser
from nodes.cli.replay import replay_parser
from nodes.cli.top import top_parser
from nodes.cli.ts import ts_parser

PARSERS = {
    "ts": ts_parser,
    "ls": ls_parser,
    "client": client_parser,
    "replay": replay_parser,
    "top": top_parser,
    "demo": demo_parser,
}
_EXIT_CODES = "Exit codes:"  # the end of each help


@dataclass(frozen=True)
class Argument:
    """A positional word (no `flags`), or a flag by all its spellings. `value`: what stands for its
    value; empty where it has none."""

    flags: tuple[str, ...]
    value: str
    about: str
    choices: tuple[str, ...]
    is_required: bool
    repeats: bool

    @property
    def is_file(self) -> bool:
        """Whether its value is the path of a file."""
        return self.value == "FILE" or self.value.endswith(".jsonl")


@dataclass(frozen=True)
class CommandLine:
    """A program's arguments, in the order in which its parser has them."""

    program: str
    about: str
    notes: str  # about values
    exit_codes: str
    arguments: tuple[Argument, ...]

    @property
    def flags(self) -> list[Argument]:
        return [argument for argument in self.arguments if argument.flags]

    @property
    def words(self) -> list[Argument]:
        """The positional words."""
        return [argument for argument in self.arguments if not argument.flags]


def command_lines() -> list[CommandLine]:
    """Read every parser."""
    return [_command_line(program, make()) for program, make in PARSERS.items()]


def _command_line(program: str, parser: argparse.ArgumentParser) -> CommandLine:
    notes, mark, exit_codes = (parser.epilog or "").partition(_EXIT_CODES)
    about = parser.description or ""
    arguments = tuple(_arguments(parser))
    return CommandLine(program, about, notes.strip(), f"{mark}{exit_codes}", arguments)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        choices = tuple(map(str, action.choices or ()))
        value = ""
        if action.nargs != 0:
            metavar = action.metavar or "|".join(choices) or action.dest.upper()
            value = metavar if isinstance(metavar, str) else " ".join(metavar)
        yield Argument(
            tuple(action.option_strings),
            value,
            formatter._expand_help(action) if action.help else "",
            choices,
            action.required and action.nargs not in ("?", "*"),
            action.nargs in ("*", "+"),
        )
