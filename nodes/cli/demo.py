"""The command line of the demo, and what becomes of the processes that it forks.

A forked process leaves the demo's loop, takes the stream to the demo for its output, and runs one
of the programs as if it had been called so. A table comes by its standard input, from memory:
nothing is written, wherever the demo is run.

Not here: which programs run when, and what is shown (`nodes/demo/demo.py`).
"""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from core.bounds import PIPE_BYTES, Bounds
from core.io import process
from core.io.child import Born
from core.io.outputs import Output
from core.io.system import System
from nodes.cli.arguments import STDERR, STDIN, STDOUT, Parser, program_parser
from nodes.cli.programs import main
from nodes.cli.tool_loop import make_tool_loop
from nodes.demo.demo import Demo
from nodes.demo.records import CLIENT_LABEL
from nodes.demo.scenario import Scenario

_OF_MANAGER = "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"  # a service manager's, for us


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of the demo."""

    is_whole: bool


def demo_parser() -> Parser:
    """Return the parser of the words of `demo`."""
    parser = program_parser(
        "demo",
        "Runs the whole system once, on free ports of this machine: two table servers, LS and a\n"
        "client that asks for five names. Shows what the client gets, and how the race for a name\n"
        "went. Takes 5 s, since one of the names is known to nobody, and leaves nothing behind.\n"
        "The exit code is 1 if the client does not get what it should.",
    )
    parser.add_argument(
        "--wire",
        dest="is_whole",
        action="store_true",
        help="show all that the servers receive and send, and each change of a state",
    )
    return parser


def read_demo_options(words: Sequence[str]) -> DemoOptions:
    """Read the options from a command line. Raises Failure."""
    return DemoOptions(demo_parser().parse_args(words).is_whole)


def run_demo(words: list[str]) -> int:
    """Run the whole system once; return the exit code. Raises Failure."""
    options = read_demo_options(words)
    scenario = Scenario.read()
    demo = Demo(scenario, is_whole=options.is_whole)
    try:
        return _play(demo)
    except Born as born:
        _take_streams(born, scenario.tables.get(born.name, b""))
        process.catch(is_server=born.name != CLIENT_LABEL)
        return main(demo.words(born.name))


def _play(demo: Demo) -> int:
    """Run the demo to its end; return the exit code. Raises Born in each process that it forks."""
    system, output = System(is_server=False), Output(STDOUT)
    with closing(make_tool_loop(system, Bounds(), output, line_bytes_max=PIPE_BYTES)) as loop:
        loop.start(demo)
        return loop.run()


def _take_streams(born: Born, given: bytes) -> None:
    """Make `given` the standard input of this process, and its stream the output. A Ctrl-C is for
    the demo, and so is what a service manager has put into the environment."""
    os.setsid()
    table = os.memfd_create("table")
    os.write(table, given)
    os.lseek(table, 0, os.SEEK_SET)
    os.dup2(table, STDIN)
    os.close(table)
    for fd in (STDOUT, STDERR):
        os.dup2(born.stream.fileno(), fd)
    born.stream.close()
    for name in _OF_MANAGER:
        os.environ.pop(name, None)
