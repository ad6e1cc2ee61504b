"""The command line of `top`: a server's figures in a terminal, or as plain text.

Not here: what it does (`nodes/top/top.py`), and the terminal (`nodes/cli/terminal.py`).
"""

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from core.addresses import address_text
from core.bounds import Bounds
from core.io.outputs import Output
from core.io.system import System
from nodes.cli.address_words import without_brackets
from nodes.cli.arguments import (
    STDIN,
    STDOUT,
    Parser,
    port_number,
    program_parser,
    resolve,
)
from nodes.cli.terminal import can_draw, size_of, taken
from nodes.cli.tool_loop import make_tool_loop
from nodes.top.frame import Row
from nodes.top.screen import painted, plain
from nodes.top.top import KEYS, Top

_SCREEN_BYTES_MAX = 1 << 18  # for a terminal that is held (Ctrl-S): what does not fit is not shown


@dataclass(frozen=True, slots=True)
class TopOptions:
    """The options of `top`."""

    host: str
    port: int
    once: bool


def top_parser() -> Parser:
    """Return the parser of the words of `top`."""
    parser = program_parser(
        "top",
        "Shows what LS (or a TS) tells of itself by STATS, anew each second: which servers are\n"
        "bad, since when and why, how many questions end in errors, how long clients wait, and\n"
        "how each server replies. Figures are of the last 60 s. q or Ctrl-C ends it.\n\n"
        "Without a terminal, or where TERM is dumb or not set, frames are plain text, one after\n"
        "the other.",
    )
    parser.add_argument("host", metavar="HOST", type=without_brackets, help="host of the server")
    parser.add_argument("port", metavar="PORT", type=port_number, help="its port")
    parser.add_argument(
        "--once", action="store_true", help="show totals since its start, as plain text, and end"
    )
    return parser


def read_top_options(words: Sequence[str]) -> TopOptions:
    """Read the options from a command line. Raises Failure."""
    parser = top_parser()
    arguments = parser.parse_intermixed_args(words)
    return TopOptions(arguments.host, arguments.port, arguments.once)


def run_top(words: list[str]) -> int:
    """Show a server until somebody ends it; return the exit code. Raises Failure."""
    options = read_top_options(words)
    system = System(is_server=False)
    addresses = resolve(system, options.host, options.port)
    where = address_text((options.host, options.port))
    draws = not options.once and can_draw(STDOUT, os.environ.get("TERM", ""))
    output = Output(STDOUT, _SCREEN_BYTES_MAX if draws else math.inf)
    loop = make_tool_loop(system, Bounds(), output)
    paint = _paint_on_terminal if draws else plain
    env = loop.environment
    brain = Top(addresses, where, env, paint, is_redrawn=draws, once=options.once)
    with ExitStack() as stack:
        stack.callback(loop.close)
        loop.start(brain)  # signals wait for the loop from here on, so none leaves the terminal odd
        keys = stack.enter_context(taken(STDIN, STDOUT)) if draws else None
        if keys is not None:
            loop.adopt(KEYS, keys)
        return loop.run()


def _paint_on_terminal(rows: Sequence[Row]) -> bytes:
    """Draw on the screen as large as it is now."""
    columns, lines = size_of(STDOUT)
    return painted(rows, columns, lines)
