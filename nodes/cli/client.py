"""The command line of the client: names from arguments, a file or standard input.

All names are read before the loop runs, since reading blocks.

Not here: what it does (`nodes/client/client.py`).
"""

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from core.addresses import address_text
from core.bounds import Bounds
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System, reason
from core.protocol.names import LINE_BYTES_MAX
from core.text import BYTE_ORDER_MARK, not_text
from nodes.cli.arguments import (
    DEFAULTS,
    STDERR,
    STDIN,
    STDOUT,
    Failure,
    Parser,
    port_number,
    program_parser,
    read_input,
    resolve,
)
from nodes.cli.bound_arguments import add_bound, read_bounds
from nodes.client.client import Client


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The options of the client. Without `names` they are read from `names_file`, or from standard
    input."""

    host: str
    port: int
    names: tuple[str, ...]
    names_file: str | None
    output_file: str | None
    bounds: Bounds


def client_parser() -> Parser:
    """Return the parser of the words of `client`."""
    parser = program_parser(
        "client",
        "Asks LS for names and writes one line per name, in the order of the input. Names come\n"
        "from the command line, from --names, or else from standard input, one per line. A name\n"
        "alone asks for IPv4 addresses, `name AAAA` (one word of the shell) for IPv6 addresses.",
    )
    parser.add_argument("host", metavar="LS_HOST", help="host of LS")
    parser.add_argument("port", metavar="LS_PORT", type=port_number, help="port of LS")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="names to ask for")
    parser.add_argument(
        "--names", dest="file", metavar="FILE", help="read names from FILE (- for standard input)"
    )
    parser.add_argument("--out", metavar="FILE", help="write to FILE instead of standard output")
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
    if not arguments.names and not arguments.file and os.isatty(STDIN):
        parser.error("no names: give some as arguments, in a file (--names FILE), or in a pipe")
    # LS may leave us unread for as long as it is busy: our own patience is what ends that.
    bounds = replace(read_bounds(arguments, parser), write_stall_s=math.inf)
    return ClientOptions(
        arguments.host,
        arguments.port,
        tuple(arguments.names),
        arguments.file,
        arguments.out,
        bounds,
    )


def run_client(words: list[str]) -> int:
    """Be a client until every name has its line; return the exit code. Raises Failure."""
    options = read_client_options(words)
    system = System(is_server=False)
    names = _read_names(options)
    addresses = resolve(system, options.host, options.port)
    bounds = options.bounds
    system.limit_descriptors(bounds.descriptors_max)
    on_terminal = os.isatty(STDERR)
    with ExitStack() as stack:
        output_fd = STDOUT
        if options.output_file:
            try:
                output_fd = stack.enter_context(Path(options.output_file).open("wb")).fileno()
            except OSError as error:
                raise Failure(f"cannot write {options.output_file}: {reason(error)}") from None
        log_output = Output(STDERR)
        log = Log("", log_output.append, log_format=bare_line)
        loop = Loop(
            system,
            bounds,
            log,
            Destinations(log_output, own=Output(output_fd), on_terminal=on_terminal),
            line_bytes_max=LINE_BYTES_MAX,
        )
        stack.callback(loop.close)
        where = address_text((options.host, options.port))
        loop.start(Client(names, addresses, where, loop.environment, progress=on_terminal))
        return loop.run()


def _read_names(options: ClientOptions) -> list[bytes]:
    """Read the names: without CRs before LF, a byte-order mark and empty lines. Raises Failure."""
    if options.names:
        return [os.fsencode(name) for name in options.names if name]
    path = options.names_file
    try:
        data = read_input("-" if path is None else path)
    except OSError as error:
        raise Failure(f"cannot read {path or 'the names'}: {reason(error)}") from None
    if why := not_text(data):
        raise Failure(f"{path or 'the list of names'} {why}")
    data = data.removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n")
    return [line for line in data.split(b"\n") if line]
