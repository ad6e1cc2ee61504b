"""The command lines: read arguments and files, build a node, run it.

Rules. Whatever a person can get wrong is one line on standard error that says what to do, and an
exit code: 0 clean, 1 an operating error, 2 bad usage, 70 a bug of ours (with a traceback).
Resolving names and reading files happen here, before the loop runs, since both block.

Not here: any behaviour of a node.
"""

import argparse
import ipaddress
import math
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import NoReturn

from core import node
from core.bounds import Bounds
from core.listener import everybody
from core.log import Log
from core.node import Address, Brain, Level
from core.reactor import Reactor
from core.sink import Sink
from core.system import System, reason
from nodes.client import Client
from nodes.ls import LoadBalancer
from nodes.replay import (
    DROPPED,
    HEAD,
    Outcome,
    Race,
    RecordError,
    as_recorded,
    parse,
    replay,
    servers_of,
    shown,
)
from nodes.status.http import WebServer
from nodes.status.pages import pages
from nodes.status.watched import Watched
from nodes.tables.load import load
from nodes.ts import TableServer

CLEAN, FAILED, USAGE, BUG = 0, 1, 2, 70
STDIN, STDOUT, STDERR = 0, 1, 2
DEFAULTS = Bounds()
_LOG_BYTES_MAX = 1024 * 1024  # what waits for a slow reader of the log before records are dropped
_EXTRA_LOAD = 0.05  # hardly felt by the servers, and most of the tail is gone
_ABOUT = """\
photofinish: ask every server, keep the first answer.

  python3 -m nodes ts     PORT --table FILE          a table server
  python3 -m nodes ls     PORT TS_HOST TS_PORT ...   the load balancer in front of table servers
  python3 -m nodes client LS_HOST LS_PORT [NAME ...] asks the load balancer
  python3 -m nodes replay RACES.jsonl                recorded races under other policies

Each has --help. For example, in four terminals:

  python3 -m nodes ts 5001 --table examples/ts1.txt
  python3 -m nodes ts 5002 --table examples/ts2.txt
  python3 -m nodes ls 5000 localhost 5001 localhost 5002
  python3 -m nodes client localhost 5000 rutgers.edu google.com nothinghere.com
"""


class Failure(Exception):
    """An error that a person can mend. The text is the line to print."""

    def __init__(self, text: str, exit_code: int = FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line."""

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see {self.prog} --help)", USAGE)


# -- arguments -------------------------------------------------------------------------------------


def _number(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, {least} to 65535")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 1)


def _own_port(text: str) -> int:
    return _number(text, 0)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share, 0 to 1 (0.05 is 5 %)")
    return value


def _bound(text: str) -> tuple[str, float]:
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


def _bound_in_seconds(name: str) -> Callable[[str], tuple[str, float]]:
    """For a flag that sets one bound."""
    return lambda text: (name, _seconds(text))


def _bounds(arguments: argparse.Namespace, parser: Parser) -> Bounds:
    """The bounds that the flags ask for; of several for one, the last."""
    try:
        return replace(DEFAULTS, **dict(arguments.bounds))
    except ValueError as error:
        parser.error(str(error))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.0.0.0/8 or ::/0") from None


def _server_arguments(parser: Parser) -> None:
    parser.add_argument("port", metavar="PORT", type=_own_port, help="to listen on; 0: a free one")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDR", help="to listen at (default %(default)s)"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_network,
        metavar="CIDR",
        help="let these addresses connect, and no others (may be repeated); needed when --host "
        "is not a loopback address. Everyone: --allow 0.0.0.0/0 --allow ::/0",
    )
    parser.add_argument(
        "--idle",
        dest="bounds",
        action="append",
        type=_bound_in_seconds("idle_s"),
        metavar="S",
        help="close a connection on which nothing has come or gone for so long (default: never)",
    )
    parser.add_argument(
        "--bound",
        dest="bounds",
        action="append",
        type=_bound,
        metavar="NAME=VALUE",
        help="another bound than the default (may be repeated); proto.md lists them, with reasons",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="serve one session, the first connection that sends a byte, and exit when it ends",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.name.lower() for level in Level],
        default=Level.INFO.name.lower(),
        help="log what is at least so important (default %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="(default %(default)s)"
    )
    parser.add_argument(
        "--wire-log",
        action="store_true",
        help="log every line received (>) and sent (<) and every change of state (=)",
    )


def _timeout_argument(parser: Parser) -> None:
    parser.add_argument(
        "--timeout",
        dest="bounds",
        action="append",
        type=_bound_in_seconds("timeout_s"),
        metavar="S",
        help="how long a question may wait for its answer (default 5.0)",
    )


def _parser(program: str, about: str) -> Parser:
    parser = Parser(
        prog=f"python3 -m nodes {program}",
        description=about,
        epilog="Exit codes: 0 clean, 1 an operating error, 2 bad usage, 70 a bug.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(bounds=[])
    return parser


# -- what all programs need ------------------------------------------------------------------------


def _say(text: str) -> None:
    """One line on standard error, as far as that takes it. Not `print`: there may be no stderr."""
    with suppress(OSError):
        os.write(STDERR, f"{text}\n".encode(errors="backslashreplace"))


def _resolve(system: System, host: str, port: int) -> tuple[Address, ...]:
    try:
        return system.resolve(host, port)
    except OSError as error:
        text = f"cannot resolve {host!r}: {reason(error)}; is the name spelled right?"
        raise Failure(text, USAGE) from None


def _shown(socket_address: Sequence[object]) -> str:
    """An address as people write it: 127.0.0.1:5001, [::1]:5001."""
    host, port = socket_address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _gate(allow: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> Callable[[str], bool]:
    """Who may connect, by the address that accept returned."""
    if not allow:
        return everybody

    def admit(host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        return any(address in network for network in allow)

    return admit


def _check_open(host: str, address: Address, arguments: argparse.Namespace, flag: str) -> None:
    """Nobody opens a server to other machines by mistake. Raises Failure."""
    loopback = ipaddress.ip_address(address[1][0].partition("%")[0]).is_loopback
    if not arguments.allow and not loopback:
        raise Failure(
            f"{flag} {host} is open to other machines: say with --allow CIDR who may connect "
            "(everyone: --allow 0.0.0.0/0 --allow ::/0)",
            USAGE,
        )


def _serve(
    name: str,
    arguments: argparse.Namespace,
    bounds: Bounds,
    system: System,
    build: Callable[[Reactor], Brain],
    avoid: Sequence[Address] = (),
    watchers: Address | None = None,
    records: Sink | None = None,
) -> int:
    """Listen, say so, and run the server's brain to its end.

    `avoid` are addresses of others: a server that is its own table server would ask itself.
    `watchers`: where its status page is to be.
    """
    addresses = _resolve(system, arguments.host, arguments.port)
    _check_open(arguments.host, addresses[0], arguments, "--host")
    if addresses[0] in avoid:
        raise Failure(f"{_shown(addresses[0][1])} is to be a table server and LS itself", USAGE)
    sink = Sink(STDERR, _LOG_BYTES_MAX)
    log = Log(
        name.upper(),
        sink.append,
        system.wall,
        system.now,
        least=Level[arguments.log_level.upper()],
        as_json=arguments.log_format == "json",
    )
    system.limit_descriptors(bounds.descriptors_max)
    reactor = Reactor(system, bounds, log, sink, wire_log=arguments.wire_log, records=records)
    with ExitStack() as stack:
        stack.callback(reactor.close)
        listening = _listen(reactor, addresses[0], arguments)
        if watchers is not None:
            watched = _listen(reactor, watchers, arguments, node.WATCHER)
            _say(f"status page on http://{_shown(watched)}/")
        try:
            reactor.start(build(reactor))
            os.write(STDOUT, f"{name} ready on {_shown(listening)}\n".encode())
        except OSError as error:
            raise Failure(f"cannot start: {reason(error)}") from None
        return reactor.run()


def _listen(
    reactor: Reactor, address: Address, arguments: argparse.Namespace, name: str = node.CLIENT
) -> Sequence[object]:
    try:
        return reactor.listen(address, _gate(arguments.allow), name)
    except OSError as error:
        where = _shown(address[1])
        raise Failure(f"cannot listen on {where}: {reason(error)}; try another port") from None


# -- the programs ----------------------------------------------------------------------------------


def run_ts(words: list[str]) -> int:
    """Be a table server until it stops; return the exit code. Raises Failure."""
    parser = _parser(
        "ts",
        "A table server: answers the names that its table has, and is silent about others.\n"
        "A table has rows `name address type`, fields apart by spaces or tabs, where the type is\n"
        "A or AAAA; several rows for one name and type are one set; `#` comments.",
    )
    _server_arguments(parser)
    parser.add_argument("--table", required=True, metavar="FILE", help="the rows to serve")
    parser.add_argument("--strict", action="store_true", help="refuse a table with a bad row")
    parser.add_argument(
        "--answer-unknown",
        action="store_true",
        help="say NOT FOUND of a name that the table does not have (default: say nothing)",
    )
    arguments = parser.parse_intermixed_args(words)
    bounds = _bounds(arguments, parser)
    system = System()

    began = system.now()
    try:
        table = load(arguments.table, _say)
    except OSError as error:
        raise Failure(f"cannot read the table {arguments.table}: {reason(error)}") from None
    if table.bad_rows and arguments.strict:
        raise Failure(f"{arguments.table} has {table.bad_rows} bad rows, and --strict wants none")
    _say(f"{arguments.table}: {len(table.rows)} rows in {system.now() - began:.1f} s")

    def build(reactor: Reactor) -> Brain:
        return TableServer(
            table.rows,
            bounds,
            answer_unknown=arguments.answer_unknown,
            loop=reactor.figures,
            once=arguments.once,
            hits=reactor.hits,
            watch=reactor.watch,
        )

    return _serve("ts", arguments, bounds, system, build)


def run_ls(words: list[str]) -> int:
    """Be the load balancer until it stops; return the exit code. Raises Failure."""
    parser = _parser(
        "ls",
        "The load balancer: asks every table server and relays the first answer; when none came\n"
        "in time it says `name - TIMED OUT`. A table server that is not there yet, or\n"
        "goes away, is dialled until it comes.",
    )
    _server_arguments(parser)
    parser.add_argument(
        "servers", nargs="+", metavar="TS_HOST TS_PORT", help="one or more table servers, in pairs"
    )
    _timeout_argument(parser)
    parser.add_argument(
        "--policy",
        choices=("race", "hedge"),
        default="race",
        help="race: ask every table server at once (the default; right for different tables). "
        "hedge: ask the fastest, and the next one only when that takes long (right for equal "
        "tables that are served with --answer-unknown)",
    )
    parser.add_argument(
        "--max-extra-load",
        type=_share,
        metavar="SHARE",
        help="of --policy hedge: how many more questions it may ask for speed, as a share of all "
        f"(default {_EXTRA_LOAD:g})",
    )
    parser.add_argument(
        "--race-sample",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="watch so many of the races to their end, losers included, for the figures of each "
        "table server and to see whether they agree; 0.01 costs little (default 0)",
    )
    parser.add_argument(
        "--race-log", metavar="FILE", help="append each sampled race to FILE, a line of JSON each"
    )
    parser.add_argument(
        "--metrics",
        type=_own_port,
        metavar="PORT",
        help="serve /metrics (Prometheus), /healthz and a status page at / here",
    )
    parser.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="ADDR",
        help="where (default %(default)s); who may come is --allow's to say",
    )
    arguments = parser.parse_intermixed_args(words)
    if arguments.max_extra_load is not None and arguments.policy != "hedge":
        parser.error("--max-extra-load is for --policy hedge; race asks everyone in any case")
    extra_load = None
    if arguments.policy == "hedge":
        given = arguments.max_extra_load
        extra_load = _EXTRA_LOAD if given is None else given
    hosts, ports = arguments.servers[::2], arguments.servers[1::2]
    if len(hosts) != len(ports):
        parser.error(f"a table server is a host and a port; {hosts[-1]!r} has no port")
    try:
        numbers = [_port(port) for port in ports]
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    bounds = _bounds(arguments, parser)
    if bounds.idle_s <= bounds.timeout_s:
        parser.error("--idle has to be longer than --timeout: waiting for a reply is not idling")
    system = System()
    servers = [_resolve(system, host, port) for host, port in zip(hosts, numbers, strict=True)]

    watchers = None
    if arguments.metrics is not None:
        watchers = _resolve(system, arguments.metrics_host, arguments.metrics)[0]
        _check_open(arguments.metrics_host, watchers, arguments, "--metrics-host")
    if arguments.race_log and not arguments.race_sample:
        parser.error("--race-log has nothing to write without --race-sample, for example 0.01")

    def build(reactor: Reactor) -> Brain:
        balancer = LoadBalancer(
            servers,
            bounds,
            system.random,
            hosts=list(zip(hosts, numbers, strict=True)),
            extra_load=extra_load,
            sample=arguments.race_sample,
            loop=reactor.figures,
            once=arguments.once,
            hits=reactor.hits,
            watch=reactor.watch,
        )
        if watchers is None:
            return balancer
        return Watched(balancer, WebServer(pages(balancer), bounds.watchers_max))

    every = [address for addresses in servers for address in addresses]
    with ExitStack() as stack:
        records = None
        if arguments.race_log:
            records = Sink(
                _open_records(arguments.race_log, stack), _LOG_BYTES_MAX, arguments.race_log
            )
        return _serve(
            "ls", arguments, bounds, system, build, avoid=every, watchers=watchers, records=records
        )


def _open_records(path: str, stack: ExitStack) -> int:
    """Open a file to append to. A pipe without a reader is one, too: it may get one."""
    flags = os.O_RDWR if Path(path).is_fifo() else os.O_WRONLY
    try:
        fd = os.open(path, flags | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Failure(f"cannot write {path}: {reason(error)}") from None
    stack.callback(os.close, fd)
    return fd


def run_client(words: list[str]) -> int:
    """Be a client until every name has its line; return the exit code. Raises Failure."""
    parser = _parser(
        "client",
        "Asks LS for names and writes one line per name, in the order of the input. Names come\n"
        "from the command line, from --names, or else from standard input, one a line. A name\n"
        "alone asks for IPv4 addresses, and `name AAAA` (one word of the shell) for IPv6.",
    )
    parser.add_argument("host", metavar="LS_HOST", help="where LS is")
    parser.add_argument("port", metavar="LS_PORT", type=_port)
    parser.add_argument("names", nargs="*", metavar="NAME", help="to ask for")
    parser.add_argument(
        "--names", dest="file", metavar="FILE", help="read names from FILE; - is standard input"
    )
    parser.add_argument("--out", metavar="FILE", help="write to FILE, not to standard output")
    parser.add_argument(
        "--patience",
        dest="bounds",
        action="append",
        type=_bound_in_seconds("patience_s"),
        metavar="S",
        help="give up when LS says nothing for so long (default 30)",
    )
    arguments = parser.parse_intermixed_args(words)
    if arguments.names and arguments.file:
        parser.error("give names or --names FILE, not both")
    if not arguments.names and not arguments.file and os.isatty(STDIN):
        parser.error("no names: give some, or --names FILE, or pipe them in")
    system = System()
    names = _read_names(arguments)
    addresses = _resolve(system, arguments.host, arguments.port)
    # LS may leave us unread for as long as it is busy: our own patience is what ends that.
    bounds = replace(_bounds(arguments, parser), write_stall_s=math.inf)
    system.limit_descriptors(bounds.descriptors_max)
    on_terminal = os.isatty(STDERR)
    with ExitStack() as stack:
        output_fd = STDOUT
        if arguments.out:
            try:
                output_fd = stack.enter_context(Path(arguments.out).open("wb")).fileno()
            except OSError as error:
                raise Failure(f"cannot write {arguments.out}: {reason(error)}") from None
        sink = Sink(STDERR)
        log = Log("", sink.append, None)
        reactor = Reactor(
            system, bounds, log, sink, output=Sink(output_fd), on_terminal=on_terminal
        )
        stack.callback(reactor.close)
        where = _shown((arguments.host, arguments.port))
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
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    return [line for line in data.split(b"\n") if line]


def run_replay(words: list[str]) -> int:
    """Replay recorded races; return the exit code. Raises Failure."""
    parser = _parser(
        "replay",
        "Runs the races of a record (ls --race-sample SHARE --race-log FILE) again under other\n"
        "policies, and prints what each would have made of them. Nobody is asked anything.",
    )
    parser.add_argument("file", metavar="RACES.jsonl", help="the record; - is standard input")
    parser.add_argument(
        "--policy",
        action="append",
        choices=("race", "single", "hedge"),
        help="to play (may be repeated; default: all). single: one table server alone, each",
    )
    parser.add_argument(
        "--max-extra-load",
        type=_share,
        default=_EXTRA_LOAD,
        metavar="SHARE",
        help="of hedge (default %(default)s)",
    )
    _timeout_argument(parser)
    arguments = parser.parse_intermixed_args(words)
    bounds = _bounds(arguments, parser)
    races = _read_races(arguments.file)
    servers = servers_of(races)
    if not servers:
        raise Failure(f"in none of the races of {arguments.file} was a table server there")

    def play(names: Sequence[str], extra_load: float | None) -> Outcome:
        nobody: list[tuple[Address, ...]] = [((0, (name, 0)),) for name in names]
        balancer = LoadBalancer(nobody, bounds, lambda: 0.0, extra_load=extra_load)
        return replay(races, names, balancer)

    print(HEAD)
    print(shown("as recorded", as_recorded(races)))
    for policy in arguments.policy or ["race", "single", "hedge"]:
        if policy == "single":
            for name in servers:
                print(shown(f"single {name}", play([name], None)), flush=True)
        else:
            extra_load = arguments.max_extra_load if policy == "hedge" else None
            print(shown(policy, play(servers, extra_load)), flush=True)
    return CLEAN


def _read_races(path: str) -> list[Race]:
    """The races of a file, in the order of their beginning. Those whose asker left before the reply
    are left out: how long it would have waited is not known."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {path}: {reason(error)}") from None
    races = []
    for number, line in enumerate(data.split(b"\n")[:-1], 1):  # an unfinished one is none
        try:
            race = parse(line) if line else None
            if race is not None and race.said != DROPPED:
                races.append(race)
        except RecordError as bad:
            raise Failure(f"{path}:{number}: {bad}") from None
    if not races:
        raise Failure(f"there is no race in {path}")
    return sorted(races, key=lambda race: race.at)


PROGRAMS = {"ts": run_ts, "ls": run_ls, "client": run_client, "replay": run_replay}


def _open_standard_streams() -> None:
    """A closed standard stream becomes /dev/null; else the next socket would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def main(words: list[str]) -> int:
    """Run the program that the first word names; return its exit code."""
    _open_standard_streams()
    if words[:1] in (["-h"], ["--help"]):
        print(_ABOUT, end="")
        return CLEAN
    try:
        if not words or words[0] not in PROGRAMS:
            said = f"there is no program {words[0]!r}" if words else "say which program to run"
            raise Failure(f"{said}: ts, ls, client or replay (see python3 -m nodes --help)", USAGE)
        return PROGRAMS[words[0]](words[1:])
    except Failure as failure:
        _say(f"photofinish: {failure}")
        return failure.exit_code
    except KeyboardInterrupt:
        _say("photofinish: interrupted")
        return FAILED
    except BrokenPipeError:  # who reads our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return FAILED
    except Exception:
        traceback.print_exc()
        return BUG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
