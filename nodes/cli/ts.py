"""The command line of the table server.

Reads its table before the loop runs, since that takes a while.

Not here: what it does (`nodes/ts/table_server.py`).
"""

from core.brain import Brain
from core.environment import Environment
from core.io.loop import Loop
from core.io.system import System, reason
from nodes.cli.arguments import Failure, bounds_of, program_parser, say
from nodes.cli.serving import own_address, serve, server_arguments
from nodes.ts.reload import EMPTY, Reload
from nodes.ts.table_file import NoTableError, check, load
from nodes.ts.table_server import TableServer


def run_ts(words: list[str]) -> int:
    """Be a table server until it stops; return the exit code. Raises Failure."""
    parser = program_parser(
        "ts",
        "A table server: answers the names that its table has, and is silent about others.\n"
        "A table has rows `name address type`, fields apart by spaces or tabs, where the type is\n"
        "A or AAAA; several rows for one name and type are one set; `#` comments.",
    )
    server_arguments(parser)
    parser.add_argument("--table", required=True, metavar="FILE", help="the rows to serve")
    parser.add_argument("--strict", action="store_true", help="refuse a table with a bad row")
    parser.add_argument(
        "--answer-unknown",
        action="store_true",
        help="say NOT FOUND of a name that the table does not have (default: say nothing)",
    )
    arguments = parser.parse_intermixed_args(words)
    bounds = bounds_of(arguments, parser)
    system = System()

    began = system.now()
    try:
        table = load(arguments.table, say)
        check(table)
    except OSError as error:
        raise Failure(f"cannot read the table {arguments.table}: {reason(error)}") from None
    except NoTableError as error:
        raise Failure(f"{arguments.table} {error}") from None
    if table.bad_rows and arguments.strict:
        raise Failure(f"{arguments.table} has {table.bad_rows} bad rows, and --strict wants none")
    say(f"{arguments.table}: {len(table.rows)} rows in {system.now() - began:.1f} s")
    if not table.rows:
        say(f"{arguments.table} {EMPTY}")

    def build(reactor: Loop) -> Brain:
        return TableServer(
            table,
            Environment(bounds, reactor.hits, reactor.watch),
            reload=Reload(arguments.table, strict=arguments.strict, watch=reactor.watch),
            answer_unknown=arguments.answer_unknown,
            loop=reactor.metrics,
            once=arguments.once,
        )

    return serve("ts", own_address(system, arguments), arguments, bounds, system, build)
