"""Arguments: what all command lines share, their parser, types of arguments, and failures.

Rules. Every error that a person can cause is one line on standard error that says what to do, and
an exit code: 0 clean, 1 an operating error, 2 bad usage, 70 a bug of ours (with a traceback). A
program reads its words into one options object, checks them against each other in one place, and
hands on that object.

Not here: any program's own arguments.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from core.addresses import Address
from core.bounds import Bounds
from core.io.log_format import PRIORITY
from core.io.service_manager import leads_to_journal
from core.io.system import System, reason
from core.operator import Level

CLEAN, FAILED, USAGE, BUG = 0, 1, 2, 70
STDIN, STDOUT, STDERR = 0, 1, 2
DEFAULTS = Bounds()
EXTRA_LOAD = 0.05  # share of extra questions: servers hardly feel it, and most of the tail is gone
PORT_MAX = 65_535
_SECONDS_END = 1e6  # all spans are shorter: a slip of the keyboard is found
_Number = TypeVar("_Number", int, float)


def called() -> str:
    """Return the words that a person types before the name of a program."""
    name = Path(sys.argv[0]).name
    return "python3 -m nodes" if name == "__main__.py" else name


class Failure(Exception):
    """An error that a person can mend. The text is the line to print."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class SetBound(argparse.Action):
    """An option that sets the bound `const`. Of several for one bound, the last holds."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 (as the base class has it)
        option_string: str | None = None,
    ) -> None:
        """Note a bound and its value, behind those that have been read."""
        namespace.bounds = [*namespace.bounds, values]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each, also an error in writing the help. `context`: begins
    each; it names a file that has some of the words."""

    context = ""

    def print_help(self, file: Any = None) -> None:  # noqa: ANN401 (as the base class has it)
        """Write the help. Raises Failure."""
        show(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise a Failure that names this program's --help."""
        raise Failure(f"{self.context}{message} (see {self.prog} --help)", USAGE)


# -- types of arguments ----------------------------------------------------------------------------


def number(
    kind: type[_Number], least: float, most: float, description: str
) -> Callable[[str], _Number]:
    """Return a reader of numbers from `least` to `most`. It reports that any other text "is not
    `description`"."""

    def read(text: str) -> _Number:
        try:
            if kind is float or (text.isascii() and text.isdigit()):
                value = kind(text)
                if least <= value <= most:
                    return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"'{text}' is not {description}")

    return read


port_number = number(int, 1, PORT_MAX, f"a port, 1 to {PORT_MAX}")
own_port = number(int, 0, PORT_MAX, f"a port, 0 to {PORT_MAX}")  # 0 takes a free one
seconds = number(
    float, math.nextafter(0, 1), math.nextafter(_SECONDS_END, 0), "a number of seconds above 0"
)
share = number(float, 0, 1, "a share, 0 to 1 (0.05 is 5 %)")


def bound_and_value(text: str) -> tuple[str, float]:
    """Read NAME=VALUE: a field of Bounds and its value."""
    name, _, value = text.partition("=")
    kinds = {field.name: type(getattr(DEFAULTS, field.name)) for field in fields(Bounds)}
    if name not in kinds:
        raise argparse.ArgumentTypeError(
            f"there is no bound '{name}'; there are {', '.join(kinds)}"
        )
    try:
        return name, kinds[name](value)
    except ValueError:
        kind = "a number" if kinds[name] is float else "a whole number"
        raise argparse.ArgumentTypeError(f"{name} is {kind}, not '{value}'") from None


def bound_in_seconds(name: str) -> Callable[[str], tuple[str, float]]:
    """Return a reader for an option that sets one bound."""
    return lambda text: (name, seconds(text))


# -- parsers ---------------------------------------------------------------------------------------


def program_parser(program: str, about: str) -> Parser:
    """Return the parser of one of the programs."""
    parser = Parser(
        prog=f"{called()} {program}",
        description=about,
        epilog="Exit codes: 0 clean, 1 an operating error, 2 bad usage, 70 a bug.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(bounds=[])
    return parser


def add_bound(parser: Parser, option: str, bound: str, about: str) -> None:
    """Add an option that sets one bound, in seconds."""
    parser.add_argument(
        option,
        dest="bounds",
        action=SetBound,
        const=bound,
        type=bound_in_seconds(bound),
        metavar="S",
        help=about,
    )


def add_timeout(parser: Parser) -> None:
    """Add `--timeout`."""
    about = f"time that a question may wait for its answer (default {DEFAULTS.timeout_s})"
    add_bound(parser, "--timeout", "timeout_s", about)


def read_bounds(arguments: argparse.Namespace, parser: Parser) -> Bounds:
    """Return the bounds that the options ask for; of several for one bound, the last. Raises
    Failure."""
    try:
        return replace(DEFAULTS, **dict(arguments.bounds))
    except ValueError as error:
        parser.error(str(error))


# -- output and addresses --------------------------------------------------------------------------


def read_input(path: str) -> bytes:
    """Return all that a file holds, or standard input where the path is `-`. Raises OSError."""
    if path != "-":
        return Path(path).read_bytes()
    with open(STDIN, "rb", closefd=False) as file:
        return file.read()


def say(text: str) -> None:
    """Write a line on standard error, as far as that takes it. `print` would fail without a
    stderr."""
    with suppress(OSError):
        os.write(STDERR, f"{text}\n".encode(errors="backslashreplace"))


def complain(text: str) -> None:
    """Say why the program ends; where systemd's journal reads that, as an error."""
    mark = PRIORITY[Level.ERROR] if leads_to_journal(STDERR) else ""
    say(f"{mark}photofinish: {text}")


def show(text: str) -> None:
    """Write lines on standard output, at once. Raises Failure."""
    try:
        print(text, flush=True)
    except OSError as error:
        # The rest of the buffer would be tried again at the end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        raise Failure(f"cannot write the output: {reason(error)}") from None


def resolve(system: System, host: str, port: int) -> tuple[Address, ...]:
    """Look up where a host is. Blocks. Raises Failure."""
    try:
        return system.resolve(host, port)
    except OSError as error:
        _, percent, interface = host.partition("%")
        doubt = f"is there an interface {interface!r}" if percent else "is the name spelled right"
        text = f"cannot resolve {host!r}: {reason(error)}; {doubt}?"
        raise Failure(text, USAGE) from None
