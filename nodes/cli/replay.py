"""The command line of the replay: races are read from a file, played, and reported.

Nobody is connected to, so there is no loop. The file may hold anything: nothing of it is printed
but names of servers, which are TS and a number.

Not here: what a replay is (`nodes/replay/replay.py`), and how its verdict is reached
(`nodes/replay/verdict.py`).
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.bounds import Bounds
from core.environment import Environment
from core.io.system import reason
from core.text import not_text
from nodes.cli.arguments import (
    CLEAN,
    DEFAULTS,
    EXTRA_LOAD,
    FAILED,
    SHARE,
    USAGE,
    Failure,
    Parser,
    program_parser,
    read_input,
    say,
    share,
    show,
)
from nodes.cli.bound_arguments import add_timeout, read_bounds
from nodes.cli.route_arguments import add_tier, read_asking_options
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.race_record import RecordError
from nodes.ls.server_names import table_name
from nodes.ls.setup import ServerSetup, Setup
from nodes.replay.replay import (
    DROPPED_REPLY,
    ReplayedRace,
    as_recorded,
    parse,
    replay,
    servers_of,
)
from nodes.replay.report import HEAD, LEGEND, Replayed, as_json, notes, table_row
from nodes.replay.verdict import Play, judge

_POLICIES = ("race", "single", "hedge")
_SAID_MAX = 10  # bad records that have a line of their own


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The options of the replay. `extra_load`: the share of extra questions under hedge; `tiers`:
    that of each table server, by its name in the records, where it is not the first."""

    file: str
    policies: tuple[str, ...]
    extra_load: float
    tiers: Mapping[str, int]
    has_json: bool
    bounds: Bounds


def replay_parser() -> Parser:
    """Return the parser of the words of `replay`."""
    parser = program_parser(
        "replay",
        "Replays recorded races (ls --race-sample SHARE --race-log FILE) under other policies,\n"
        "prints how each policy would have done, and which to take. No server is asked anything.\n"
        "\n"
        "The verdict goes by p99.9 from 10,000 races on, by p99 from 1,000 on, of the races that\n"
        "had a reply when recorded. It takes the cheapest policy that leaves no more unanswered\n"
        "and keeps half or more of what the fastest gains over the best single server. Where\n"
        "none gains, by 1 ms and 10 % and more than chance, it takes hedge unless that is slower.\n"
        "It never takes tiers: those are for servers whose answers are to count first.\n"
        "Times are those of servers under the load that they had when recorded.",
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
        metavar=SHARE,
        help=f"for hedge: extra questions, as a share of all (default {EXTRA_LOAD:g})",
    )
    add_tier(
        parser,
        "also replay under tiers, these table servers in tier N, which is 2 or more (may be "
        "repeated; all others are in tier 1): see ls --tier",
    )
    parser.add_argument(
        "--json",
        dest="has_json",
        action="store_true",
        help="print one line of JSON instead: all figures, and the verdict",
    )
    add_timeout(parser)
    return parser


def read_replay_options(words: Sequence[str]) -> ReplayOptions:
    """Read the options from a command line. Raises Failure."""
    parser = replay_parser()
    arguments = parser.parse_intermixed_args(words)
    policies, extra_load = tuple(arguments.policy or _POLICIES), arguments.max_extra_load
    if extra_load is not None and "hedge" not in policies:
        parser.error("--max-extra-load is for hedge, which is none of the policies to replay")
    as_of_ls = Namespace(upstreams=[], route=[], tier=arguments.tier, policy="race")
    tiers = read_asking_options(as_of_ls, parser).tiers
    return ReplayOptions(
        arguments.file,
        (*policies, *(["tiers"] if tiers else [])),
        EXTRA_LOAD if extra_load is None else extra_load,
        {name: number for number, names in tiers for name in names},
        arguments.has_json,
        read_bounds(arguments, parser),
    )


def run_replay(words: list[str]) -> int:
    """Replay recorded races; return the exit code. Raises Failure."""
    options = read_replay_options(words)
    file = _File.read(options.file)
    servers = servers_of(file.races)
    if not servers:
        raise Failure(f"no table server was up in any of the races of {file.name}")
    _check_tiers(options.tiers, servers)
    recorded = as_recorded(file.races)
    if not options.has_json:
        show(f"{HEAD}\n{table_row('as recorded', recorded)}")
    plays = []
    for play in _plays(options, file.races, servers):
        plays.append(play)
        if not options.has_json:
            show(table_row(play.label, play.outcome))
    replayed = Replayed(servers, file.dropped, file.bad, recorded, plays, judge(plays))
    if options.has_json:
        show(as_json(replayed))
    else:
        show("\n".join([LEGEND, *notes(replayed), "", *replayed.verdict.text]))
    return FAILED if file.bad else CLEAN


def _check_tiers(tiers: Mapping[str, int], servers: Sequence[str]) -> None:
    """Raise Failure where the table servers of the races do not make these tiers."""
    asked = ", ".join(servers)
    for name in tiers:
        if name not in servers:
            raise Failure(
                f"--tier: {name} was asked in none of the races; there are {asked}", USAGE
            )
    if tiers and not set(servers) - tiers.keys():
        raise Failure(f"--tier: no server is left in tier 1; there are {asked}", USAGE)


def _plays(
    options: ReplayOptions, races: Sequence[ReplayedRace], servers: Sequence[str]
) -> Iterator[Play]:
    """Play the races under each policy, and with each server alone."""

    def play(
        policy: str, names: Sequence[str], extra_load: float | None, server: str | None = None
    ) -> Play:
        nowhere = [
            ServerSetup(table_name(number), ((0, (name, 0)),))
            for number, name in enumerate(names, 1)
        ]
        tiers = {
            setup.name: options.tiers[name]
            for setup, name in zip(nowhere, names, strict=True)
            if policy == "tiers" and name in options.tiers
        }
        setup = Setup(nowhere, extra_load=extra_load, tiers=tiers)
        balancer = LoadBalancer(setup, Environment(options.bounds))
        flags = _flags(options, policy)
        return Play(policy, replay(races, names, balancer), server, flags)

    for policy in options.policies:
        if policy == "single":
            for name in servers:
                yield play(policy, [name], None, name)
        else:
            yield play(policy, servers, options.extra_load if policy == "hedge" else None)


def _flags(options: ReplayOptions, policy: str) -> tuple[str, ...]:
    """Return the flags with which `ls` does as in this replay."""
    flags = {
        "single": (),
        "race": ("--policy", "race"),
        "hedge": ("--policy", "hedge", "--max-extra-load", f"{options.extra_load:g}"),
        "tiers": tuple(word for tier in _tier_texts(options.tiers) for word in ("--tier", tier)),
    }[policy]
    timeout_s = options.bounds.timeout_s
    return flags if timeout_s == DEFAULTS.timeout_s else (*flags, "--timeout", f"{timeout_s:g}")


def _tier_texts(tiers: Mapping[str, int]) -> list[str]:
    """Write tiers as `--tier` takes them."""
    by_number: dict[int, list[str]] = {}
    for name, number in tiers.items():
        by_number.setdefault(number, []).append(name)
    return [f"{number}={','.join(names)}" for number, names in by_number.items()]


# -- the file --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _File:
    """The races of a file, in the order of their beginning. `bad`: records that are none, or cannot
    be replayed; `dropped`: races whose askers left before the reply, so that nobody knows how long
    they would have waited."""

    name: str  # to be printed
    races: list[ReplayedRace] = field(default_factory=list)
    dropped: int = 0
    bad: int = 0

    @classmethod
    def read(cls, path: str) -> "_File":
        """Read a file, and report its bad records on standard error. Raises Failure."""
        file = cls(path if path.isprintable() else ascii(path))
        for number, line in enumerate(file._lines(path), 1):
            if line:
                file._take(number, line)
        if file.bad > _SAID_MAX:
            say(f"{file.name}: {file.bad - _SAID_MAX:,} more bad records; left out")
        if not file.races:
            raise Failure(
                f"there are no races in {file.name} that can be replayed; to record some: "
                "ls --race-sample SHARE --race-log FILE"
            )
        first_at = min(race.at for race in file.races)
        races = [replace(race, at=race.at - first_at) for race in file.races]
        file.races = sorted(races, key=lambda race: race.at)
        return file

    def _lines(self, path: str) -> list[bytes]:
        try:
            data = read_input(path)
        except OSError as error:
            raise Failure(f"cannot read {self.name}: {reason(error)}") from None
        if why := not_text(data):
            raise Failure(f"{self.name} {why}")
        return data.split(b"\n")[:-1]  # a cut line is no record

    def _take(self, number: int, line: bytes) -> None:
        try:
            race = parse(line)
        except RecordError as error:
            self.bad += 1
            if self.bad <= _SAID_MAX:
                say(f"{self.name}:{number}: {error}; left out")
            return
        if race.reply == DROPPED_REPLY:
            self.dropped += 1
        else:
            self.races.append(race)
