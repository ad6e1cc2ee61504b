"""The words about what LS says itself: `--cache`, `--stale` and `--leak`.

Not here: the other words of LS (`tests/nodes/test_arguments.py`).
"""

import re

import pytest

from nodes.cli.arguments import USAGE, Failure
from nodes.cli.ls_arguments import read_ls_options
from nodes.dns.special_names import SPECIAL_NAMES
from nodes.ls.setup import OwnWordsSetup

TS = ["localhost", "5301"]
RESOLVER = ["--dns-upstream", "192.0.2.1"]
MIB, DAY_S = 1 << 20, 86_400


def read(*words: str) -> OwnWordsSetup:
    """Return what LS makes of these, before a resolver."""
    return read_ls_options(["0", *RESOLVER, *words]).own_words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], OwnWordsSetup(0, 0.0, ())),
        (["--cache", "0"], OwnWordsSetup(0, 0.0, ())),
        (["--cache", "1"], OwnWordsSetup(MIB, DAY_S, ())),
        (["--cache", "65536"], OwnWordsSetup(65_536 * MIB, DAY_S, ())),
        (["--cache", "32", "--stale", "0"], OwnWordsSetup(32 * MIB, 0.0, ())),
        (["--cache", "32", "--stale", "1h"], OwnWordsSetup(32 * MIB, 3_600.0, ())),
        (["--cache", "32", "--stale", "500ms"], OwnWordsSetup(32 * MIB, 0.5, ())),
        (["--cache", "32", "--stale", "604800"], OwnWordsSetup(32 * MIB, 7.0 * DAY_S, ())),
        (["--cache", "32", "--stale", "168h"], OwnWordsSetup(32 * MIB, 7.0 * DAY_S, ())),
        (["--leak", "home.arpa"], OwnWordsSetup(0, 0.0, (b"home.arpa",))),
        (["--leak", "Home.ARPA."], OwnWordsSetup(0, 0.0, (b"home.arpa",))),
        (
            ["--leak", "test", "--leak", "local", "--leak", "test"],
            OwnWordsSetup(0, 0.0, (b"local", b"test")),
        ),
    ],
)
def test_what_is_kept_and_leaked_is_as_the_words_say(
    words: list[str], expected: OwnWordsSetup
) -> None:
    assert read(*words) == expected


@pytest.mark.parametrize(("workers", "share"), [(1, 32 * MIB), (4, 8 * MIB), (128, MIB // 4)])
def test_workers_share_the_memory_of_the_cache(workers: int, share: int) -> None:
    assert read("--cache", "32", "--workers", str(workers)).cache_bytes == share


def test_a_cache_that_is_switched_off_leaves_stale_as_it_is() -> None:
    """A file with both may be overruled by --cache 0."""
    assert read("--stale", "60", "--cache", "0") == OwnWordsSetup()


@pytest.mark.parametrize("name", SPECIAL_NAMES)
def test_every_special_name_can_be_leaked(name: bytes) -> None:
    assert read("--leak", name.decode()).leaked == (name,)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([*RESOLVER, "--stale", "1h"], "--stale is for what --cache keeps; there is no --cache"),
        (["--cache", "1"], "--cache keeps what resolvers say; there is no --dns-upstream"),
        (["--leak", "test"], "--leak is for resolvers; there is no --dns-upstream"),
        ([*RESOLVER, "--cache", "65537"], "'65537' is not a number of MiB, 0 to 65536"),
        ([*RESOLVER, "--cache", "-1"], "'-1' is not a number of MiB, 0 to 65536"),
        ([*RESOLVER, "--cache", "1.5"], "'1.5' is not a number of MiB, 0 to 65536"),
        ([*RESOLVER, "--cache", "32M"], "'32M' is not a number of MiB, 0 to 65536"),
        (
            [*RESOLVER, "--cache", "1", "--stale", "604801"],
            "'604801' is not a time up to a week, like 0, 1h or 86400",
        ),
        (
            [*RESOLVER, "--cache", "1", "--stale", "1d"],
            "'1d' is not a time up to a week, like 0, 1h or 86400",
        ),
        (
            [*RESOLVER, "--leak", "home.arp"],
            "'home.arp' is no special name; did you mean home.arpa?",
        ),
        ([*RESOLVER, "--leak", "locl"], "'locl' is no special name; did you mean local?"),
        (
            [*RESOLVER, "--leak", "example.com"],
            "'example.com' is no special name; see proto.md, \"Names that must not leave\"",
        ),
        ([*RESOLVER, "--leak", "nas.home.arpa"], "'nas.home.arpa' is no special name"),
        ([*RESOLVER, "--leak", ""], "'' is no special name"),
        ([*RESOLVER, "--leak", "\N{LATIN SMALL LETTER E WITH ACUTE}"], "'é' is no special name"),
    ],
)
def test_words_that_ask_for_nothing_are_bad_usage(words: list[str], why: str) -> None:
    with pytest.raises(Failure, match=re.escape(why)) as raised:
        read_ls_options(["0", *(TS if RESOLVER[0] not in words else []), *words])
    assert raised.value.exit_code == USAGE


def test_beside_table_servers_there_is_a_cache_too() -> None:
    assert read_ls_options(["0", *TS, *RESOLVER, "--cache", "2"]).own_words.cache_bytes == 2 * MIB
