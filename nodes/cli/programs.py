"""The programs by name, and the way that their failures are reported.

Not here: their command lines (beside this file), and what they do.
"""

import traceback
from collections.abc import Callable

from core.version import VERSION
from nodes.cli.arguments import (
    BUG,
    CLEAN,
    FAILED,
    USAGE,
    Failure,
    called,
    complain,
    show,
    show_version,
)
from nodes.cli.suggestions import did_you_mean, one_of

PROGRAMS = ("ts", "ls", "client", "replay", "top", "demo")
# Names that programs which do the same have elsewhere.
_ELSEWHERE = {
    **dict.fromkeys(["serve", "lb", "proxy", "balancer", "load_balancer"], "ls"),
    **dict.fromkeys(["table", "table_server"], "ts"),
    **dict.fromkeys(["ask", "dig", "query", "lookup"], "client"),
    **dict.fromkeys(["stats", "status"], "top"),
}
_ABOUT = """\
photofinish {version}: ask every server, keep the first answer.

  {called} ts     PORT --table FILE          a table server
  {called} ls     PORT TS_HOST TS_PORT ...   the load balancer in front of table servers
  {called} client LS_HOST LS_PORT [NAME ...] a client of the load balancer
  {called} replay RACES.jsonl                recorded races, run again under other policies
  {called} top    HOST PORT                  how LS or a TS is doing, in a terminal
  {called} demo                              all of it once, on this machine (5 s)

Each has --help. For example, in four terminals, where the sources are:

  {called} ts 5301 --table examples/ts1.txt
  {called} ts 5302 --table examples/ts2.txt
  {called} ls 5300 localhost 5301 localhost 5302
  {called} client localhost 5300 rutgers.edu google.com nothinghere.com
"""


def program(name: str) -> Callable[[list[str]], int]:
    """Return what runs the program of this name. Nothing of the others is imported: they start a
    good deal faster without. Raises Failure."""
    if name == "ts":
        from nodes.cli.ts import run_ts

        return run_ts
    if name == "ls":
        from nodes.cli.ls import run_ls

        return run_ls
    if name == "client":
        from nodes.cli.client import run_client

        return run_client
    if name == "replay":
        from nodes.cli.replay import run_replay

        return run_replay
    if name == "top":
        from nodes.cli.top import run_top

        return run_top
    if name == "demo":
        from nodes.cli.demo import run_demo

        return run_demo
    meant = did_you_mean(name, PROGRAMS, _ELSEWHERE)
    raise Failure(f"there is no program {name!r}{meant} (see {called()} --help)", USAGE)


def main(words: list[str]) -> int:
    """Run the program that the first word names; return its exit code."""
    try:
        if words[:1] in (["-h"], ["--help"]):
            show(_ABOUT.format(called=called(), version=VERSION).rstrip("\n"))
            return CLEAN
        if words[:1] in (["-V"], ["--version"]):
            show_version()
            return CLEAN
        if not words:
            programs = one_of(PROGRAMS)
            raise Failure(f"say which program to run: {programs} (see {called()} --help)", USAGE)
        return program(words[0])(words[1:])
    except Failure as failure:
        complain(str(failure))
        return failure.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return FAILED
    except Exception:
        traceback.print_exc()
        return BUG
