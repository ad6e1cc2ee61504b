"""The arguments about what LS says itself: of names that must not leave, and of what it keeps.

Not here: the other options of LS (`ls_arguments.py`), and what LS makes of these
(`nodes/ls/own_words.py`).
"""

import argparse

from nodes.cli.arguments import TIME, Parser, in_seconds, number, whole
from nodes.cli.suggestions import did_you_mean
from nodes.dns.special_names import SPECIAL_NAMES
from nodes.ls.setup import OwnWordsSetup

STALE_S = 86_400  # a day (RFC 8767, section 5: one to three)
_STALE_MAX_S = 7 * STALE_S
_MIB = 1024 * 1024
_CACHE_MIB_MAX = 65_536

_cache = number(whole, 0, _CACHE_MIB_MAX, f"a number of MiB, 0 to {_CACHE_MIB_MAX}")
_stale = number(in_seconds, 0, _STALE_MAX_S, "a time up to a week, like 0, 1h or 86400")


def add_cache_arguments(parser: Parser) -> None:
    """Add the arguments to the parser of LS."""
    parser.add_argument(
        "--cache",
        type=_cache,
        metavar="MIB",
        help="keep what resolvers say, for as long as they say that it holds, in so many MiB; each "
        "is some 1,000 replies (default 0: keep nothing)",
    )
    parser.add_argument(
        "--stale",
        type=_stale,
        metavar=TIME,
        help="with --cache: time after its end for which an answer is told when every resolver "
        f"fails, or is silent for 1.8 s (default {STALE_S}, a day; 0: never)",
    )
    parser.add_argument(
        "--leak",
        action="append",
        default=[],
        type=_special,
        metavar="NAME",
        help="ask resolvers for this special name, too, and what is below it, such as home.arpa or "
        "168.192.in-addr.arpa (may be repeated)",
    )


def read_cache_options(arguments: argparse.Namespace, parser: Parser) -> OwnWordsSetup:
    """Return what the arguments ask for. Raises Failure."""
    if arguments.cache and not arguments.have_resolvers:
        parser.error("--cache keeps what resolvers say; there is no --dns-upstream")
    if arguments.leak and not arguments.have_resolvers:
        parser.error("--leak is for resolvers; there is no --dns-upstream")
    if arguments.stale is not None and arguments.cache is None:
        parser.error("--stale is for what --cache keeps; there is no --cache")
    cache_bytes = (arguments.cache or 0) * _MIB // (arguments.workers or 1)
    stale_s = STALE_S if arguments.stale is None else arguments.stale
    leaked = tuple(sorted(set(arguments.leak)))
    return OwnWordsSetup(cache_bytes, stale_s if cache_bytes else 0.0, leaked)


def _special(text: str) -> bytes:
    name = text.lower().removesuffix(".").encode("utf-8")
    if name not in SPECIAL_NAMES:
        names = [each.decode() for each in SPECIAL_NAMES]
        meant = did_you_mean(text, names) or '; see proto.md, "Names that must not leave"'
        raise argparse.ArgumentTypeError(f"{text!r} is no special name{meant}")
    return name
