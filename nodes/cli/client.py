"""The command line of the client: names from arguments, a file or standard input.

Names of a file, or of standard input, are read in the loop, as they come.

Not here: what it does (`nodes/client/client.py`), and how a list is read
(`nodes/client/name_list.py`).
"""

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from stat import S_ISREG

from core.addresses import address_text
from core.bounds import Bounds
from core.io.input import read_lines_of
from core.io.system import System
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.address_words import without_brackets
from nodes.cli.arguments import (
    DEFAULTS,
    STDERR,
    STDIN,
    USAGE,
    Failure,
    Parser,
    port_number,
    program_parser,
    resolve,
    say,
)
from nodes.cli.bound_arguments import add_bound, read_bounds
from nodes.cli.output_file import open_file, open_output
from nodes.cli.tool_loop import make_tool_loop
from nodes.client.client import Client
from nodes.client.intake import INPUT
from nodes.client.name_list import bare_name
from nodes.client.results import LineFormat, plain_lines
from nodes.client.settings import ClientSettings

_STANDARD_INPUT = "standard input"  # as people call it


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The options of the client. Without `names` they are read from `names_file`, or from standard
    input if that is None; `list_name` is what people call it, and empty where there are `names`."""

    host: str
    port: int
    names: tuple[bytes, ...]
    names_file: str | None
    list_name: str
    output_file: str | None
    is_json: bool
    unanswered_fails: bool
    bounds: Bounds


def client_parser() -> Parser:
    """Return the parser of the words of `client`."""
    parser = program_parser(
        "client",
        "Asks LS for names and writes one line per name, in the order of the input. Names come\n"
        "from the command line, from --names, or else from standard input, one per line, and are\n"
        "answered as they come; there `#` begins a comment. A name alone asks for IPv4 addresses,\n"
        "`name AAAA` (one word of the shell) for IPv6 addresses.",
    )
    parser.epilog = f"{parser.epilog}\n3 with --fail: a name has no answer."
    parser.add_argument("host", metavar="LS_HOST", type=without_brackets, help="host of LS")
    parser.add_argument("port", metavar="LS_PORT", type=port_number, help="port of LS")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="names to ask for")
    parser.add_argument(
        "--names", dest="file", metavar="FILE", help="read names from FILE (- for standard input)"
    )
    parser.add_argument("--out", metavar="FILE", help="write to FILE instead of standard output")
    parser.add_argument(
        "--json",
        action="store_true",
        help="write an object of JSON per name: proto.md has its keys",
    )
    parser.add_argument(
        "--fail",
        action="store_true",
        help="exit with 3 if a name has no answer, whatever it has instead",
    )
    add_bound(
        parser,
        "--patience",
        "patience_s",
        f"give up after so long in which no name has had a reply (default {DEFAULTS.patience_s:g})",
    )
    return parser


def read_client_options(words: Sequence[str]) -> ClientOptions:
    """Read the options from a command line. Raises Failure."""
    parser = client_parser()
    arguments = parser.parse_intermixed_args(words)
    if arguments.names and arguments.file:
        parser.error("give names or --names FILE, not both")
    # LS may leave us unread for as long as it is busy: our own patience is what ends that.
    bounds = replace(read_bounds(arguments, parser), write_stall_s=math.inf)
    names = _bare_names(arguments.names)
    names_file = None if arguments.file == "-" else arguments.file
    return ClientOptions(
        arguments.host,
        arguments.port,
        names,
        names_file,
        "" if names else names_file or _STANDARD_INPUT,
        arguments.out,
        arguments.json,
        arguments.fail,
        bounds,
    )


def run_client(words: list[str]) -> int:
    """Be a client until every name has its line; return the exit code. Raises Failure."""
    options = read_client_options(words)
    system = System(is_server=False)
    with ExitStack() as stack:
        input_fd = _open_list(options, stack)
        addresses = resolve(system, options.host, options.port)
        output = open_output(options.output_file, input_fd, stack)
        on_terminal = os.isatty(STDERR)
        loop = make_tool_loop(system, options.bounds, output, on_terminal=on_terminal)
        stack.callback(loop.close)
        where = address_text((options.host, options.port))
        is_typed = input_fd is not None and os.isatty(input_fd)
        settings = ClientSettings(
            list_name=options.list_name,
            is_list_at_hand=input_fd is not None and S_ISREG(os.fstat(input_fd).st_mode),
            format_lines=_format_of(options),
            unanswered_fails=options.unanswered_fails,
            shows_progress=on_terminal and not is_typed,  # it would wipe what is typed
        )
        names = [*options.names]
        loop.start(Client(names, addresses, where, loop.environment, settings))
        if input_fd is not None:
            read_lines_of(loop.streams, INPUT, input_fd, LINE_BYTES_MAX)
        if is_typed:
            say("Type a name in each line; Ctrl-D ends.")
        return output.end(loop.run())


def _open_list(options: ClientOptions, stack: ExitStack) -> int | None:
    """Return the descriptor of the list of names, if there is one. Raises Failure."""
    if options.names:
        return None
    if options.names_file is None:
        return STDIN
    return open_file(stack, options.names_file, "read", os.O_RDONLY)


def _format_of(options: ClientOptions) -> LineFormat:
    if not options.is_json:
        return plain_lines
    from nodes.client.json_lines import json_lines

    return json_lines


def _bare_names(words: Sequence[str]) -> tuple[bytes, ...]:
    """Return the names of the command line. Raises Failure."""
    names = tuple(bare_name(os.fsencode(word)) for word in words)
    for number, name in enumerate(names, 1):
        if not name or b"\n" in name:
            what = "has an end of line in it" if name else "is blank"
            raise Failure(f"NAME {number} {what}", USAGE)
    return names
