"""The words of a server: a configuration file's, and over them those of its command line.

Rules. The file becomes words too, and one parser reads both: a file can say what flags can, and
nothing else. A flag of the command line replaces all that the file says with it, but --bound, which
replaces what the file says of the same bound. Positional words of the command line replace the
file's of the same meaning: a first word of digits is the port, and the others are servers.

Not here: how a file says its words (`config_file.py`), and how words become a file
(`printed_config.py`).
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from nodes.cli.arguments import USAGE, Failure, Parser, show

COMMAND_LINE = "command line"  # the origin of words that no file says
PORT, SERVERS = "port", "servers"  # how a file calls positional words
BOUND_FLAG = "--bound"  # the flag that sets one of many
_CONFIG, _PRINT = "--config", "--print-config"


@dataclass(frozen=True, slots=True)
class Given:
    """A flag with its value (None: the flag alone), or a positional word, and where it was given.
    `name`: the flag as it was spelled, or PORT or SERVERS."""

    name: str
    value: str | None
    origin: str = COMMAND_LINE

    def word(self) -> str:
        """Return it as a parser reads it."""
        if not self.name.startswith("-"):
            return self.value or ""
        return self.name if self.value is None else f"{self.name}={self.value}"


def add_configuration_arguments(parser: Parser) -> None:
    """Add the arguments about a configuration file."""
    parser.add_argument(
        _CONFIG,
        metavar="FILE",
        help="read words from FILE, too, in TOML: `key = value` is --key value. Flags of the "
        "command line go over it",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check all that can be checked without listening, say in one line whether it is good, "
        "and exit",
    )
    parser.add_argument(
        _PRINT,
        action="store_true",
        help="print the configuration as it takes effect, as --config takes it, and exit",
    )


def parse_given(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Read words with this parser, and those of the configuration file that they name. `given` of
    the result: all of them, where they have a file or are to be printed. Raises Failure."""
    if not any(word.startswith((_CONFIG, _PRINT)) for word in words):
        return parser.parse_intermixed_args(words)
    flags = flags_of(parser)
    given = list(_walk(words, flags))
    if any(_acts_at_once(flags.get(each.name)) for each in given):
        return parser.parse_intermixed_args(words)
    paths = [each.value for each in given if each.name == _CONFIG and each.value is not None]
    if len(paths) > 1:
        raise Failure(f"--config is given {len(paths)} times; one file is enough", USAGE)
    if paths:
        from nodes.cli.config_file import read_config_file

        given = _merge(read_config_file(paths[0], parser), given, flags)
    given.sort(key=_place)
    words = [each.word() for each in given if not _is_of_list(each, flags)]
    parser.set_defaults(**_lists(parser, given, flags))
    arguments = parser.parse_intermixed_args(words)
    arguments.given = given
    if paths:  # a contradiction from here on may stand in the file
        parser.context = _with(paths[0])
    return arguments


@contextmanager
def failures_name(path: str | None) -> Iterator[None]:
    """Name the configuration file at this path, if there is one, in each Failure from here on."""
    try:
        yield
    except Failure as failure:
        if path is None:
            raise
        raise Failure(f"{_with(path)}{failure}", failure.exit_code) from None


def _with(path: str) -> str:
    return f"with {path}: "


def print_configuration(
    parser: Parser, arguments: argparse.Namespace, defaults: Mapping[str, object]
) -> NoReturn:
    """Print what these arguments mean, as a file, and exit. `defaults`: those that the parser does
    not have, by key. Raises Failure."""
    from nodes.cli.printed_config import config_text

    show(config_text(parser, arguments, defaults))
    parser.exit()


def flags_of(parser: Parser) -> Mapping[str, argparse.Action]:
    """Return what each flag of this parser does, by all its spellings."""
    return {flag: action for action in parser._actions for flag in action.option_strings}


def _acts_at_once(action: argparse.Action | None) -> bool:
    """Return whether a flag is like --help: nothing else is looked at."""
    return action is not None and action.nargs == 0 and action.const is None


def _walk(words: Sequence[str], flags: Mapping[str, argparse.Action]) -> Iterator[Given]:
    """Yield the words of a command line, as `argparse` takes them apart."""
    rest = iter(words)
    is_first, has_flags = True, True
    for word in rest:
        name, equals, value = word.partition("=")
        if has_flags and word == "--":
            has_flags = False
        elif not (has_flags and word.startswith("-")):
            is_port = is_first and word.isascii() and word.isdigit()
            yield Given(PORT if is_port else SERVERS, word)
            is_first = False
        elif equals:
            yield Given(name, value)
        elif name not in flags or flags[name].nargs == 0:
            yield Given(name, None)
        else:
            yield Given(name, next(rest, None))


def _merge(
    file: Sequence[Given], line: Sequence[Given], flags: Mapping[str, argparse.Action]
) -> list[Given]:
    """Return the words of a file that those of the command line do not replace, and these."""
    replaced = {flags.get(each.name, each.name) for each in line if each.name != BOUND_FLAG}
    return [*(each for each in file if flags.get(each.name, each.name) not in replaced), *line]


def _is_of_list(given: Given, flags: Mapping[str, argparse.Action]) -> bool:
    """Return whether this is a file's value of a flag that may be repeated, which the command line
    then does not have."""
    repeats = isinstance(flags.get(given.name), argparse._AppendAction)
    return repeats and given.origin != COMMAND_LINE and given.name != BOUND_FLAG


def _lists(
    parser: Parser, given: Sequence[Given], flags: Mapping[str, argparse.Action]
) -> dict[str, list[object]]:
    """Return what a file's lists come to. The parser would take a time that grows with the square
    of their lengths. Raises Failure."""
    lists: dict[str, list[object]] = {}
    for each in [each for each in given if _is_of_list(each, flags)]:
        action = flags[each.name]
        try:
            value = parser._get_value(action, each.value or "")
        except argparse.ArgumentError as error:  # a file that it names is another one by now
            parser.error(str(error))
        lists.setdefault(action.dest, []).append(value)
    return lists


def _place(given: Given) -> int:
    """Return the place of a word among others: a flag that lacks its value must find none."""
    return (PORT, SERVERS).index(given.name) if given.name in (PORT, SERVERS) else 2
