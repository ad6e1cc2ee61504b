"""Bounds on the command line: the list of all, and values as they are read.

Not here: what a bound does (the tests of its part), and proto.md's table as such
(`tests/protocol/test_proto.py`).
"""

import argparse
import math

import pytest

from core.bounds import Bounds, reasons
from nodes.cli.bound_arguments import bound_and_value, bounds_listed
from nodes.cli.ls_arguments import read_ls_options
from tests.conftest import Command
from tests.protocol.test_proto import rows

LS = ["0", "127.0.0.1", "1"]


@pytest.mark.parametrize("program", ["ls", "ts"])
def test_the_list_of_bounds_is_printed_by_the_word_alone(command: Command, program: str) -> None:
    assert command(program, "--list-bounds") == (0, f"{bounds_listed()}\n", "")


def test_the_list_has_each_bound_of_the_document_on_a_line() -> None:
    listed = [line.split(maxsplit=2) for line in bounds_listed().split("\n")]
    in_document = [row[:2] for row in rows("Bounds") if row[0].islower()]
    assert sorted(row[:2] for row in listed) == sorted(in_document)


def test_each_bound_has_a_reason_of_its_own() -> None:
    texts = [reason for _, _, reason in reasons()]
    assert len(set(texts)) == len(texts)
    assert [text for text in texts if not text.isprintable() or "the same" in text] == []


def test_each_line_of_the_list_can_be_given_back() -> None:
    words = []
    for line in bounds_listed().split("\n"):
        name, value, _ = line.split(maxsplit=2)
        words += ["--bound", f"{name}={value}"]
    assert read_ls_options([*LS, *words]).server.bounds == Bounds()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("resolvers_max", "dns_clients_max"),
        ("pending_max", "owed_all_bytes_high, in bytes"),
        ("pending_few", "few_bytes, in bytes"),
    ],
)
def test_a_bound_of_an_old_version_leads_to_the_new_one(old: str, new: str) -> None:
    """Not to one that happens to be spelled nearly so."""
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        bound_and_value(f"{old}=3")
    said = f"there is no bound '{old}'; since 1.0.0 it is {new}; --list-bounds shows all"
    assert str(refused.value) == said
    assert not hasattr(Bounds(), old) and hasattr(Bounds(), new.partition(",")[0])


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--bound", "join_s=500ms"], "join_s", 0.5),
        (["--bound", "split_view_s=10m"], "split_view_s", 600.0),
        (["--bound", "idle_s=none"], "idle_s", math.inf),
        (["--bound", "idle_s=inf"], "idle_s", math.inf),
        (["--idle", "1h"], "idle_s", 3600.0),
        (["--timeout", "2", "--bound", "timeout_s=3s"], "timeout_s", 3.0),
        (["--bound", "timeout_s=3", "--timeout", "2s"], "timeout_s", 2.0),
        (["--bound", "hedge_tokens_max=7"], "hedge_tokens_max", 7),
    ],
)
def test_a_bound_has_the_last_value_that_was_given(
    words: list[str], name: str, value: float
) -> None:
    assert getattr(read_ls_options([*LS, *words]).server.bounds, name) == value
