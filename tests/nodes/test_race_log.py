"""The race log as a file: what is at its path after a reload.

Not here: records that wait for it (`tests/io/test_outputs.py`), and LS with one
(`tests/processes/test_outputs.py`).
"""

import os
from pathlib import Path

import pytest

from core.io.outputs import Output
from nodes.cli.race_log import race_log
from tests.support.counting import open_descriptors


def is_another(output: Output | None) -> bool:
    """Open it anew; return whether it is another file."""
    assert output is not None and output.reopen is not None
    return output.reopen()


def test_a_race_log_goes_on_with_the_file_at_its_path(tmp_path: Path) -> None:
    """[P65]"""
    path, old = tmp_path / "races", tmp_path / "races.1"
    with race_log(str(path)) as output:
        assert output is not None and not is_another(output)
        os.write(output.fd, b"1")
        path.rename(old)
        path.mkdir()
        with pytest.raises(IsADirectoryError):
            is_another(output)
        os.write(output.fd, b"2")
        path.rmdir()
        assert is_another(output)
        os.write(output.fd, b"3")
        assert (old.read_bytes(), path.read_bytes()) == (b"12", b"3")
        assert not os.get_inheritable(output.fd)


def test_a_race_log_that_is_a_pipe_keeps_what_waits_in_it(tmp_path: Path) -> None:
    path, old = tmp_path / "races", tmp_path / "races.1"
    os.mkfifo(path)
    with race_log(str(path)) as output:
        assert output is not None
        os.write(output.fd, b"1")
        assert not is_another(output)
        path.rename(old)
        os.mkfifo(path)
        reader = os.open(old, os.O_RDONLY | os.O_NONBLOCK)
        assert is_another(output)
        assert os.read(reader, 10) == b"1"
        assert os.read(reader, 10) == b"", "nobody holds the old one any more"
        os.close(reader)


def test_a_file_that_is_opened_anew_takes_no_descriptor_more(tmp_path: Path) -> None:
    before = open_descriptors()
    with race_log(str(tmp_path / "races")) as output:
        assert output is not None and output.reopen is not None
        during = open_descriptors()
        (tmp_path / "races").rename(tmp_path / "old")
        assert output.reopen() and not output.reopen()
        assert open_descriptors() == during
    assert open_descriptors() == before
