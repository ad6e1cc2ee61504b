"""Arguments: what all command lines share, their parser, types of arguments, and failures.

Rules. Every error that a person can cause is one line on standard error that says what to do, and
an exit code: 0 clean, 1 an operating error, 2 bad usage, 70 a bug of ours (with a traceback); 3 is
for the client to use. A program reads its words into one options object, checks them against each
other in one place, and hands on that object.

Not here: any program's own arguments.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from core.addresses import Address
from core.bounds import Bounds
from core.io.log_format import PRIORITY
from core.io.service_manager import leads_to_journal
from core.io.system import System, reason
from core.operator import Level
from core.version import VERSION
from nodes.cli.suggestions import VALUES_ELSEWHERE, did_you_mean, one_of

CLEAN, FAILED, USAGE, BUG = 0, 1, 2, 70
STDIN, STDOUT, STDERR = 0, 1, 2
DEFAULTS = Bounds()
EXTRA_LOAD = 0.05  # share of extra questions: servers hardly feel it, and most of the tail is gone
PORT_MAX = 65_535
_SECONDS_END = 1e6  # all spans are shorter: a slip of the keyboard is found
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*(?:e-?[0-9]+)?|\.[0-9]+)(|ms|s|m|h|%)")
_Number = TypeVar("_Number", int, float)
TIME, SHARE = "TIME", "SHARE"  # how the help calls such values
TIMES = "0.5 (in seconds), 500ms, 5s, 1m or 1h"
SHARES = "0.05 or 5%"
_FORMS = {TIME: f"TIME is like {TIMES}.", SHARE: f"SHARE is like {SHARES}."}


def called() -> str:
    """Return the words that a person types before the name of a program."""
    name = Path(sys.argv[0]).name
    return f"python3 -m {Path(sys.argv[0]).parent.name}" if name == "__main__.py" else name


class Failure(Exception):
    """An error that a person can mend. The text is the line to print."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line each, also an error in writing the help. `context`: begins
    each; it names a file that has some of the words.

    Options are spelled out: a beginning of one that is enough today would mean another, or nothing,
    once there are more.
    """

    context = ""

    def __init__(self, program: str, about: str) -> None:
        super().__init__(
            prog=f"{called()} {program}",
            description=about,
            epilog="Exit codes: 0 clean, 1 an operating error, 2 bad usage, 70 a bug.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_argument(self, *names: str, **how: Any) -> argparse.Action:  # noqa: ANN401
        """Add an argument; the help explains the form of its values, if that is a common one."""
        note = _FORMS.get(str(how.get("metavar")))
        if note is not None and note not in str(self.epilog):
            self.epilog = f"{note}\n{self.epilog}"
        return super().add_argument(*names, **how)

    def parse_intermixed_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Read words, of which each option has to be known: what stands behind one that is not
        would be read as something else. Raises Failure."""
        for word in sys.argv[1:] if args is None else args:
            if word == "--":
                break
            self._check_option(word.partition("=")[0])
        return super().parse_intermixed_args(args, namespace)

    def print_help(self, file: Any = None) -> None:  # noqa: ANN401 (as the base class has it)
        """Write the help. Raises Failure."""
        show(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Raise a Failure that names this program's --help."""
        raise Failure(f"{self.context}{message} (see {self.prog} --help)", USAGE)

    def _check_option(self, word: str) -> None:
        known = self._option_string_actions
        is_option = re.fullmatch("-[^0-9 ][^ ]*", word)  # and no negative number
        if is_option and word not in known and (word.startswith("--") or word[:2] not in known):
            spelled_out = [option for option in known if option.startswith("--")]
            self.error(f"there is no option {word!r}{did_you_mean(word, spelled_out)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        """Raise ArgumentError for a value that is none of the choices."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            meant = did_you_mean(str(value), choices, VALUES_ELSEWHERE)
            raise argparse.ArgumentError(action, f"{value!r} is not {one_of(choices)}{meant}")


class _ShowVersion(argparse.Action):
    """Show the version and exit, as `--help` shows the help."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        """Write it. Raises Failure, SystemExit."""
        show_version()
        parser.exit()


# -- types of arguments ----------------------------------------------------------------------------


def number(
    read_value: Callable[[str], _Number], least: float, most: float, description: str
) -> Callable[[str], _Number]:
    """Return a reader of numbers from `least` to `most`, which reads by `read_value` (ValueError:
    it cannot). It reports that any other text "is not `description`"."""

    def read(text: str) -> _Number:
        with suppress(ValueError):
            value = read_value(text)
            if least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"'{text}' is not {description}")

    return read


def whole(text: str) -> int:
    """Read a whole number, in digits alone. Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def in_seconds(text: str) -> float:
    """Read a time: a number of seconds, or a number with a unit behind it. Raises ValueError."""
    value, unit = _parts(text)
    if unit == "%":
        raise ValueError
    return value / 1000 if unit == "ms" else value * _SECONDS[unit]


def in_whole_seconds(text: str) -> int:
    """Read a time that is a whole number of seconds. Raises ValueError."""
    value = in_seconds(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


def as_share(text: str) -> float:
    """Read a share, as a number or in percent. Raises ValueError."""
    value, unit = _parts(text)
    if unit not in ("", "%"):
        raise ValueError
    return value / 100 if unit else value


def _parts(text: str) -> tuple[float, str]:
    """Return a number and the unit behind it. Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError
    return float(found[1]), found[2]


port_number = number(whole, 1, PORT_MAX, f"a port, 1 to {PORT_MAX}")
own_port = number(whole, 0, PORT_MAX, f"a port, 0 to {PORT_MAX}")  # 0 takes a free one
seconds = number(
    in_seconds,
    math.nextafter(0, 1),
    math.nextafter(_SECONDS_END, 0),
    f"a time above 0, up to 277 h, like {TIMES}",
)
share = number(as_share, 0, 1, f"a share from 0 to 1, like {SHARES}")


# -- parsers ---------------------------------------------------------------------------------------


def program_parser(program: str, about: str) -> Parser:
    """Return the parser of one of the programs."""
    parser = Parser(program, about)
    parser.add_argument(
        "-V",
        "--version",
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        action=_ShowVersion,
        nargs=0,
        help="show the version and exit",
    )
    parser.set_defaults(bounds=[], bound_options=set())
    return parser


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
    one_line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    say(f"{mark}photofinish: {one_line}")


def show(text: str) -> None:
    """Write lines on standard output, at once. Raises Failure; SystemExit, without a word, where
    whoever reads has seen enough (`| head`)."""
    try:
        print(text, flush=True)
    except OSError as error:
        # The rest of the buffer would be tried again at the end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(FAILED) from None
        raise Failure(f"cannot write the output: {reason(error)}") from None


def show_version() -> None:
    """Write the version on standard output. Raises Failure."""
    show(f"photofinish {VERSION}")


def resolve(system: System, host: str, port: int) -> tuple[Address, ...]:
    """Look up where a host is. Blocks. Raises Failure."""
    try:
        return system.resolve(host, port)
    except OSError as error:
        _, percent, interface = host.partition("%")
        doubt = f"is there an interface {interface!r}" if percent else "is the name spelled right"
        text = f"cannot resolve {host!r}: {reason(error)}; {doubt}?"
        raise Failure(text, USAGE) from None
