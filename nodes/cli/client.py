"""The command line of the client: names from arguments, a file or standard input.

All names are read before the loop runs, since reading blocks.

Not here: what it does (`nodes/client/client.py`).
"""

import argparse
import math
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from core.io.log import Log
from core.io.loop import Loop
from core.io.outputs import Output
from core.io.system import System, reason
from core.protocol.messages import LINE_BYTES_MAX
from core.text import not_text
from nodes.cli.arguments import (
    STDERR,
    STDIN,
    STDOUT,
    Failure,
    address_text,
    bound_in_seconds,
    bounds_of,
    port_number,
    program_parser,
    resolve,
)
from nodes.client.client import Client


def run_client(words: list[str]) -> int:
    """Be a client until every name has its line; return the exit code. Raises Failure."""
    parser = program_parser(
        "client",
        "Asks LS for names and writes one line per name, in the order of the input. Names come\n"
        "from the command line, from --names, or else from standard input, one a line. A name\n"
        "alone asks for IPv4 addresses, and `name AAAA` (one word of the shell) for IPv6.",
    )
    parser.add_argument("host", metavar="LS_HOST", help="where LS is")
    parser.add_argument("port", metavar="LS_PORT", type=port_number)
    parser.add_argument("names", nargs="*", metavar="NAME", help="to ask for")
    parser.add_argument(
        "--names", dest="file", metavar="FILE", help="read names from FILE; - is standard input"
    )
    parser.add_argument("--out", metavar="FILE", help="write to FILE, not to standard output")
    parser.add_argument(
        "--patience",
        dest="bounds",
        action="append",
        type=bound_in_seconds("patience_s"),
        metavar="S",
        help="give up when no name has had a reply for so long (default 30)",
    )
    arguments = parser.parse_intermixed_args(words)
    if arguments.names and arguments.file:
        parser.error("give names or --names FILE, not both")
    if not arguments.names and not arguments.file and os.isatty(STDIN):
        parser.error("no names: give some, or --names FILE, or pipe them in")
    system = System(is_server=False)
    names = _read_names(arguments)
    addresses = resolve(system, arguments.host, arguments.port)
    # LS may leave us unread for as long as it is busy: our own patience is what ends that.
    bounds = replace(bounds_of(arguments, parser), write_stall_s=math.inf)
    system.limit_descriptors(bounds.descriptors_max)
    on_terminal = os.isatty(STDERR)
    with ExitStack() as stack:
        output_fd = STDOUT
        if arguments.out:
            try:
                output_fd = stack.enter_context(Path(arguments.out).open("wb")).fileno()
            except OSError as error:
                raise Failure(f"cannot write {arguments.out}: {reason(error)}") from None
        sink = Output(STDERR)
        log = Log("", sink.append, None)
        reactor = Loop(
            system,
            bounds,
            log,
            sink,
            line_bytes_max=LINE_BYTES_MAX,
            output=Output(output_fd),
            on_terminal=on_terminal,
        )
        stack.callback(reactor.close)
        where = address_text((arguments.host, arguments.port))
        reactor.start(Client(names, addresses, where, bounds, progress=on_terminal))
        return reactor.run()


def _read_names(arguments: argparse.Namespace) -> list[bytes]:
    """The input's lines: CRs before LF and a byte-order mark dropped, empty ones left out."""
    if arguments.names:
        return [os.fsencode(name) for name in arguments.names if name]
    try:
        if arguments.file in (None, "-"):
            with open(STDIN, "rb", closefd=False) as file:
                data = file.read()
        else:
            data = Path(arguments.file).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {arguments.file or 'the names'}: {reason(error)}") from None
    if why := not_text(data):
        raise Failure(f"{arguments.file or 'the list of names'} {why}")
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return [line for line in data.split(b"\n") if line]
