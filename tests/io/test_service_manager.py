"""The service manager: whether its journal reads a descriptor.

Not here: what it is told (`tests/processes/test_system.py`).
"""

import os
from collections.abc import Iterator

import pytest

from core.io.service_manager import leads_to_journal


@pytest.fixture
def pipe() -> Iterator[tuple[int, str]]:
    """A descriptor, and what $JOURNAL_STREAM is where that leads to the journal."""
    reader, writer = os.pipe()
    found = os.fstat(writer)
    yield writer, f"{found.st_dev}:{found.st_ino}"
    os.close(reader)
    os.close(writer)


def test_the_journal_is_the_file_that_it_names(
    pipe: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fd, name = pipe
    monkeypatch.setenv("JOURNAL_STREAM", name)
    assert leads_to_journal(fd)


@pytest.mark.parametrize("given", [None, "", ":", "1", "0:0", "x:y", "{}0", "1{}"])
def test_another_file_is_no_journal(
    pipe: tuple[int, str], monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """As where a shell of the service has redirected it."""
    fd, name = pipe
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if given is not None:
        monkeypatch.setenv("JOURNAL_STREAM", given.format(name))
    assert not leads_to_journal(fd)


def test_a_closed_descriptor_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert not leads_to_journal(1_000_000)
