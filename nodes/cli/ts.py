"""The command line of the table server.

Reads its table before the loop runs, since that takes a while.

Not here: what it does (`nodes/ts/table_server.py`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from core.environment import Environment
from core.io.log import Log
from core.io.loop import Loop
from core.io.system import System, reason
from core.operator import Level
from core.protocol.names import Type
from nodes.cli.arguments import Failure, Parser, own_port, program_parser
from nodes.cli.bound_arguments import read_bounds
from nodes.cli.given_words import (
    add_configuration_arguments,
    parse_given,
    print_configuration,
)
from nodes.cli.introduction import Introduction
from nodes.cli.listen_arguments import DEFAULTS_TO_LISTEN
from nodes.cli.server_arguments import (
    ServerOptions,
    add_server_arguments,
    add_status_page_arguments,
    read_server_options,
)
from nodes.cli.serving import ServerPlan, find_listening, make_log, serve
from nodes.ts.block_list import BLOCK_WITH, BlockWith
from nodes.ts.reload import EMPTY, Reload
from nodes.ts.rows import type_of_address
from nodes.ts.table import Format, Table
from nodes.ts.table_file import NoTableError, TableForm, check, load
from nodes.ts.table_server import TableServer


@dataclass(frozen=True, slots=True)
class TsOptions:
    """The options of a table server."""

    server: ServerOptions
    table: str
    form: TableForm
    strict: bool
    answer_unknown: bool
    config: str | None
    check: bool


_NXDOMAIN = "NXDOMAIN"
_BLOCK_WITH = b",".join(BLOCK_WITH.addresses.values()).decode("ascii")


def ts_parser() -> Parser:
    """Return the parser of the words of `ts`."""
    parser = program_parser(
        "ts",
        "A table server: answers the names that its table has, and is silent about others.\n"
        "A table is a file of rows `name address type`, with spaces or tabs between the fields,\n"
        "where the type is A or AAAA, or of rows `address name ...` as in /etc/hosts. Rows of the\n"
        "same name and type make one set; `*.example.com` stands for names below example.com that\n"
        "do not exist. A file whose first good row is a name alone is a list of names to block,\n"
        "each with all names below it. `#` begins a comment.",
    )
    parser.add_argument(
        "port",
        nargs="?",
        type=own_port,
        metavar="PORT",
        help="port to listen on; 0 takes a free one",
    )
    add_server_arguments(parser)
    parser.add_argument("--table", required=True, metavar="FILE", help="table to serve")
    parser.add_argument(
        "--format",
        choices=[format.value for format in Format],
        help="what the table has: rows, or names alone, a list of names to block (default: what "
        "its first good row is)",
    )
    parser.add_argument(
        "--block-with",
        type=_block_with,
        metavar=f"ADDR[,ADDR...]|{_NXDOMAIN}",
        help="what to say of the names of a list, and of names below them: these addresses, each "
        f"to questions of its type, or, with {_NXDOMAIN}, that there is no such name (default "
        f"{_BLOCK_WITH}); implies --format names",
    )
    parser.add_argument("--strict", action="store_true", help="refuse a table that has a bad row")
    parser.add_argument(
        "--answer-unknown",
        action="store_true",
        help="answer NOT FOUND for a name that the table does not have (default: stay silent)",
    )
    add_status_page_arguments(parser)
    add_configuration_arguments(parser)
    return parser


def read_ts_options(words: Sequence[str]) -> TsOptions:
    """Read the options from a command line. Raises Failure."""
    parser = ts_parser()
    arguments = parse_given(parser, words)
    bounds = read_bounds(arguments, parser)
    server = read_server_options(arguments, arguments.port, bounds, parser)
    if arguments.print_config:
        print_configuration(parser, arguments, DEFAULTS_TO_LISTEN)
    return TsOptions(
        server,
        arguments.table,
        _read_form(arguments, parser),
        arguments.strict,
        arguments.answer_unknown,
        arguments.config,
        arguments.check,
    )


def _read_form(arguments: argparse.Namespace, parser: Parser) -> TableForm:
    """Return how the table is to be read. Raises Failure."""
    format = None if arguments.format is None else Format(arguments.format)
    if arguments.block_with is None:
        return TableForm(format)
    if format is Format.ROWS:
        parser.error("--block-with is for a list of names; rows say themselves what they mean")
    return TableForm(Format.NAMES, arguments.block_with)


def _block_with(text: str) -> BlockWith:
    """Read what is said of names that are blocked."""
    if text.upper() == _NXDOMAIN:
        return BlockWith({})
    addresses: dict[Type, list[bytes]] = {}
    for each in text.split(","):
        address = each.encode("utf-8", "surrogateescape")
        type = type_of_address(address)
        if type is None:
            raise argparse.ArgumentTypeError(
                f"'{each}' is no address; write it like {_BLOCK_WITH}, or {_NXDOMAIN}"
            )
        addresses.setdefault(type, []).append(address)
    try:
        return BlockWith({type: b",".join(each) for type, each in addresses.items()})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_ts(words: list[str]) -> int:
    """Be a table server until it stops; return the exit code. Raises Failure."""
    options = read_ts_options(words)
    system = System()
    if options.check:
        return _check(options, system)
    listening = find_listening(system, options.server, ("lines", "metrics"))
    table = _load(options, make_log("TS", options.server, system), system)

    def build(loop: Loop) -> TableServer:
        return TableServer(
            table,
            Environment(options.server.bounds, loop.hits, loop.watch),
            reload=Reload(
                options.table, form=options.form, strict=options.strict, watch=loop.watch
            ),
            answer_unknown=options.answer_unknown,
            loop=loop.metrics,
            once=options.server.once,
        )

    path = options.table
    introduction = Introduction(f"table {path}", about={"table": path})
    return serve(ServerPlan("ts", options.server, listening, introduction), system, build)


def _check(options: TsOptions, system: System) -> int:
    """Check what can be checked without listening; return the exit code. Raises Failure."""
    from nodes.cli.check import check_here, checked

    def look() -> str:
        listening = find_listening(system, options.server, ("lines", "metrics"))
        for address in listening.all():
            check_here(system, address)
        table = _load(options, make_log("TS", options.server, system, lambda record: None), system)
        found = f"table {options.table}, {table.size} {table.format.value}"
        if not table.bad_rows:
            return found
        return f"{found}, {table.bad_rows} bad ones left out, the first is {table.first_bad_row}"

    return checked(look)


def _load(options: TsOptions, log: Log, system: System) -> Table:
    """Read the table, and say how large it is. Raises Failure."""
    path = options.table
    about = {"table": path}

    def report_bad_row(text: str) -> None:
        log.report(text, Level.WARNING, "bad_row", about)

    began = system.now()
    try:
        table = load(path, report_bad_row, options.form)
        check(table)
    except OSError as error:
        raise Failure(f"cannot read the table {path}: {reason(error)}") from None
    except NoTableError as error:
        raise Failure(f"{path} {error}") from None
    if table.bad_rows and options.strict:
        bad = f"{table.bad_rows} bad rows, and --strict wants none; {table.first_bad_row}"
        raise Failure(f"{path} has {bad}")
    seconds, rows = system.now() - began, table.size
    facts = {**about, "rows": rows, "seconds": round(seconds, 3), "bad_rows": table.bad_rows}
    log.report(
        f"{path}: {rows} {table.format.value} in {seconds:.1f} s", Level.INFO, "table_loaded", facts
    )
    if not table.size:
        log.report(f"{path} {EMPTY}", Level.WARNING, "table_empty", about)
    return table
