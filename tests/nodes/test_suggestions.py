"""Suggestions: which of the known words is offered for one that there is not.

Not here: the lines in which they stand (`tests/nodes/test_words.py`).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.given_words import flags_of
from nodes.cli.ls_arguments import ls_parser
from nodes.cli.suggestions import ELSEWHERE, did_you_mean, one_of
from nodes.cli.ts import ts_parser

OPTIONS = [
    *("--host", "--metrics", "--metrics-host", "--metrics-name", "--timeout", "--dns-timeout"),
    *("--max-extra-load", "--race-log", "--race-sample", "--dns-upstream", "--idle"),
    *("--dns-tls", "--tls-cert", "--tls-key", "--tls-ca"),
]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--tiemout", "--timeout"),
        ("-timeout", "--timeout"),
        ("--Time_Out", "--timeout"),
        ("--max", "--max-extra-load"),
        ("--race", "--race-log or --race-sample"),
        ("--metrics", "--metrics, --metrics-host or --metrics-name"),
        ("--dns-up", "--dns-upstream"),
        ("--forward", "--dns-upstream"),
        ("--listen-address", "--host"),
        ("--http", "--metrics"),
        ("--tls-cert-bundle", "--tls-ca"),
        ("--tls-port", "--dns-tls"),
        ("--acl", ""),  # there is no --allow among these
        ("--banana", ""),
        ("-x", ""),
        ("--", ""),
        ("", ""),
    ],
)
def test_the_nearest_words_are_offered(word: str, meant: str) -> None:
    assert did_you_mean(word, OPTIONS) == (f"; did you mean {meant}?" if meant else "")


def test_more_than_a_few_beginnings_are_not_all_offered() -> None:
    known = ["grace_min_s", "grace_max_s", "grace_unknown_s", "grace_failed_s"]
    said = did_you_mean("grace", known)
    assert said in [f"; did you mean {name}?" for name in known]


@given(st.text(max_size=12))
def test_only_what_is_known_is_offered(word: str) -> None:
    said = did_you_mean(word, OPTIONS)
    names = said.removeprefix("; did you mean ").removesuffix("?").replace(" or ", ", ").split(", ")
    assert said == "" or set(names) <= set(OPTIONS)


def test_a_choice_is_written_as_people_do() -> None:
    assert [one_of(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a", "a or b", "a, b or c",
    ]  # fmt: skip


def test_flags_of_others_are_no_flags_of_ours() -> None:
    """Else the suggestion would never be made; and what they are here are flags."""
    known = {*flags_of(ls_parser()), *flags_of(ts_parser())}
    assert not [word for word in ELSEWHERE if f"--{word.replace('_', '-')}" in known]
    assert not set(ELSEWHERE.values()) - known
