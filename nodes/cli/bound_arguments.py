"""Bounds on the command line: `--bound NAME=VALUE`, flags that set one bound, and a list of all.

Not here: the bounds themselves, with their reasons (`core/bounds.py`).
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.bounds import Bounds, reasons
from nodes.cli.arguments import DEFAULTS, TIME, TIMES, Parser, in_seconds, seconds, show, whole
from nodes.cli.suggestions import did_you_mean

_NEVER = "none"  # a time that never comes
# Names that bounds of 0.9.0 have since 1.0.0, or bounds in bytes in their place.
_RENAMED = {
    "pending_few": "few_bytes, in bytes",
    "pending_max": "owed_all_bytes_high, in bytes",
    "resolvers_max": "dns_clients_max",
}


class SetBound(argparse.Action):
    """An option that sets the bound `const`. Of several for one bound, the last holds."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 (as the base class has it)
        option_string: str | None = None,
    ) -> None:
        """Note a bound and its value, behind those that have been read, and the option."""
        namespace.bounds = [*namespace.bounds, values]
        namespace.bound_options = {*namespace.bound_options, option_string}


class _ListBounds(argparse.Action):
    """An option that prints all bounds and ends the program."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 (as the base class has it)
        option_string: str | None = None,
    ) -> None:
        """Print them. Raises Failure."""
        show(bounds_listed())
        parser.exit()


def bounds_listed() -> str:
    """Return all bounds, one a line: name, default, and the reason for it."""
    rows = [(name, _text(default), reason) for name, default, reason in reasons()]
    wide, narrow = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:{wide}}  {text:>{narrow}}  {why}" for name, text, why in rows)


def _text(value: float) -> str:
    return _NEVER if value == math.inf else str(value)


# -- types of arguments ----------------------------------------------------------------------------


def bound_and_value(text: str) -> tuple[str, float]:
    """Read NAME=VALUE: a field of Bounds and its value, with a unit if it is a time."""
    name, _, value = text.partition("=")
    defaults = {name: default for name, default, _ in reasons()}
    if name not in defaults:
        renamed = f"; since 1.0.0 it is {_RENAMED[name]};" if name in _RENAMED else ""
        meant = renamed or did_you_mean(name, defaults)
        raise argparse.ArgumentTypeError(
            f"there is no bound '{name}'{meant or ';'} --list-bounds shows all"
        )
    is_time = isinstance(defaults[name], float)
    try:
        return name, _time(value) if is_time else whole(value)
    except ValueError:
        kind = f"a time, like {TIMES}" if is_time else "a whole number"
        raise argparse.ArgumentTypeError(f"{name}: '{value}' is not {kind}") from None


def _time(text: str) -> float:
    return math.inf if text in (_NEVER, "inf") else in_seconds(text)


def bound_in_seconds(name: str) -> Callable[[str], tuple[str, float]]:
    """Return a reader for an option that sets one bound."""
    return lambda text: (name, seconds(text))


# -- options ---------------------------------------------------------------------------------------


def add_bounds(parser: Parser) -> None:
    """Add `--bound` and `--list-bounds`."""
    parser.add_argument(
        "--bound",
        dest="bounds",
        action="append",
        type=bound_and_value,
        metavar="NAME=VALUE",
        help="override an internal limit (may be repeated)",
    )
    parser.add_argument(
        "--list-bounds",
        action=_ListBounds,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="print these limits, with defaults and the reasons for them, and exit",
    )


def add_bound(parser: Parser, option: str, bound: str, about: str) -> None:
    """Add an option that sets one bound, in seconds."""
    parser.add_argument(
        option,
        dest="bounds",
        action=SetBound,
        const=bound,
        type=bound_in_seconds(bound),
        metavar=TIME,
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
