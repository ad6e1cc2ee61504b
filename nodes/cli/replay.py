"""The command line of the replay: races are read from a file, played, and printed as a table.

Nobody is connected to, so there is no loop.

Not here: what a replay is (`nodes/replay/replay.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.addresses import Address
from core.bounds import Bounds
from core.environment import Environment
from core.io.system import reason
from core.text import not_text
from nodes.cli.arguments import (
    CLEAN,
    EXTRA_LOAD,
    FAILED,
    Failure,
    add_timeout,
    program_parser,
    read_bounds,
    read_input,
    say,
    share,
    show,
)
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.race_record import RecordError
from nodes.ls.setup import Setup
from nodes.replay.replay import (
    DROPPED_REPLY,
    HEAD,
    ReplayedRace,
    ReplayOutcome,
    as_recorded,
    parse,
    replay,
    servers_of,
    table_row,
)

_POLICIES = ("race", "single", "hedge")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of the replay. `extra_load`: the share of extra questions under hedge."""

    file: str
    policies: tuple[str, ...]
    extra_load: float
    bounds: Bounds


def read_replay_options(words: Sequence[str]) -> ReplayOptions:
    """Read the options from a command line. Raises Failure."""
    parser = program_parser(
        "replay",
        "Replays recorded races (ls --race-sample SHARE --race-log FILE) under other policies,\n"
        "and prints how each policy would have done. No server is asked anything.",
    )
    parser.add_argument("file", metavar="RACES.jsonl", help="recorded races (- for standard input)")
    parser.add_argument(
        "--policy",
        action="append",
        choices=_POLICIES,
        help="policy to replay (may be repeated; default: all); single: each table server alone",
    )
    parser.add_argument(
        "--max-extra-load",
        type=share,
        default=EXTRA_LOAD,
        metavar="SHARE",
        help="for hedge: extra questions, as a share of all (default %(default)s)",
    )
    add_timeout(parser)
    arguments = parser.parse_intermixed_args(words)
    return ReplayOptions(
        arguments.file,
        tuple(arguments.policy or _POLICIES),
        arguments.max_extra_load,
        read_bounds(arguments, parser),
    )


def run_replay(words: list[str]) -> int:
    """Replay recorded races; return the exit code. Raises Failure."""
    options = read_replay_options(words)
    races, is_whole = _read_races(options.file)
    servers = servers_of(races)
    if not servers:
        raise Failure(f"no table server was up in any of the races of {options.file}")

    def play(names: Sequence[str], extra_load: float | None) -> ReplayOutcome:
        nowhere: list[tuple[Address, ...]] = [((0, (name, 0)),) for name in names]
        setup = Setup(nowhere, extra_load=extra_load)
        balancer = LoadBalancer(setup, Environment(options.bounds))
        return replay(races, names, balancer)

    show(HEAD)
    show(table_row("as recorded", as_recorded(races)))
    for policy in options.policies:
        if policy == "single":
            for name in servers:
                show(table_row(f"single {name}", play([name], None)))
        else:
            extra_load = options.extra_load if policy == "hedge" else None
            show(table_row(policy, play(servers, extra_load)))
    return CLEAN if is_whole else FAILED


def _read_races(path: str) -> tuple[list[ReplayedRace], bool]:
    """Return the races of a file, in the order of their beginning, and whether every record was
    good; each bad one is reported on standard error. Races whose asker left before the reply are
    left out: the time that it would have waited is not known. Raises Failure."""
    races = []
    is_whole = True
    for number, line in enumerate(_read(path).split(b"\n")[:-1], 1):  # a cut line is no record
        try:
            race = parse(line) if line else None
            if race is not None and race.reply != DROPPED_REPLY:
                races.append(race)
        except RecordError as error:
            is_whole = False
            say(f"{path}:{number}: {error}; left out")
    if not races:
        raise Failure(f"there are no races in {path}")
    first_at = min(race.at for race in races)
    races = [replace(race, at=race.at - first_at) for race in races]
    return sorted(races, key=lambda race: race.at), is_whole


def _read(path: str) -> bytes:
    try:
        data = read_input(path)
    except OSError as error:
        raise Failure(f"cannot read {path}: {reason(error)}") from None
    if why := not_text(data):
        raise Failure(f"{path} {why}")
    return data
