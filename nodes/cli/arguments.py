"""What all command lines share: their parser, the types of their arguments, and their failures.

Rules. Whatever a person can get wrong is one line on standard error that says what to do, and an
exit code: 0 clean, 1 an operating error, 2 bad usage, 70 a bug of ours (with a traceback).

Not here: any program's own arguments.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from core.addresses import Address
from core.bounds import Bounds
from core.io.system import System, reason

CLEAN, FAILED, USAGE, BUG = 0, 1, 2, 70
STDIN, STDOUT, STDERR = 0, 1, 2
DEFAULTS = Bounds()
EXTRA_LOAD = 0.05  # hardly felt by the servers, and most of the tail is gone


def called() -> str:
    """What a person types before the name of one of the programs."""
    name = Path(sys.argv[0]).name
    return "python3 -m nodes" if name == "__main__.py" else name


class Failure(Exception):
    """An error that a person can mend. The text is the line to print."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line, also one of writing the help."""

    def print_help(self, file: Any = None) -> None:  # noqa: ANN401 (as the base class has it)
        show(self.format_help().rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see {self.prog} --help)", USAGE)


def _number(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, {least} to 65535")
    return int(text)


def port_number(text: str) -> int:
    """A port to connect to."""
    return _number(text, 1)


def own_port(text: str) -> int:
    """A port to listen on; 0 takes a free one."""
    return _number(text, 0)


def seconds(text: str) -> float:
    """A span of time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def share(text: str) -> float:
    """A part of a whole."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share, 0 to 1 (0.05 is 5 %)")
    return value


def bound_and_value(text: str) -> tuple[str, float]:
    """One field of Bounds and its value."""
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
    """For a flag that sets one bound."""
    return lambda text: (name, seconds(text))


def bounds_of(arguments: argparse.Namespace, parser: Parser) -> Bounds:
    """The bounds that the flags ask for; of several for one, the last."""
    try:
        return replace(DEFAULTS, **dict(arguments.bounds))
    except ValueError as error:
        parser.error(str(error))


def timeout_argument(parser: Parser) -> None:
    """Add `--timeout`."""
    parser.add_argument(
        "--timeout",
        dest="bounds",
        action="append",
        type=bound_in_seconds("timeout_s"),
        metavar="S",
        help="how long a question may wait for its answer (default 5.0)",
    )


def program_parser(program: str, about: str) -> Parser:
    """The parser of one of the programs."""
    parser = Parser(
        prog=f"{called()} {program}",
        description=about,
        epilog="Exit codes: 0 clean, 1 an operating error, 2 bad usage, 70 a bug.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(bounds=[])
    return parser


def say(text: str) -> None:
    """One line on standard error, as far as that takes it. Not `print`: there may be no stderr."""
    with suppress(OSError):
        os.write(STDERR, f"{text}\n".encode(errors="backslashreplace"))


def show(text: str) -> None:
    """Lines on standard output, at once. Raises Failure."""
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left in the buffer would be tried again at the end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        raise Failure(f"cannot write the output: {reason(error)}") from None


def resolve(system: System, host: str, port: int) -> tuple[Address, ...]:
    """Where a host is. Blocks. Raises Failure."""
    try:
        return system.resolve(host, port)
    except OSError as error:
        _, percent, interface = host.partition("%")
        doubt = f"is there an interface {interface!r}" if percent else "is the name spelled right"
        text = f"cannot resolve {host!r}: {reason(error)}; {doubt}?"
        raise Failure(text, USAGE) from None


def address_text(socket_address: Sequence[object]) -> str:
    """An address as people write it: 127.0.0.1:5001, [::1]:5001."""
    host, port = socket_address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
