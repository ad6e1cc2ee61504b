"""Sessions and servers, seen through the table server, which adds nothing to them."""

import pytest
from hypothesis import given

from core.bounds import Bounds
from core.wire import split_lines
from nodes.ts import TableServer
from tests.splitting import cut_streams
from tests.stage import Stage

ROWS = {b"rutgers.edu": b"Rutgers.EDU 172.34.4.6 A IN\n", b"quit": b"quit 10.0.0.1 A IN\n"}


def serving(once: bool = False) -> Stage:
    stage = Stage(TableServer(ROWS, Bounds(), once=once), Bounds())
    stage.begin()
    return stage


def talking() -> Stage:
    stage = serving()
    stage.accept("a")
    return stage


def test_an_answer_comes_in_the_tables_spelling_and_unknown_names_in_silence() -> None:
    stage = talking()
    stage.hear("a", b"RUTGERS.edu.\nnothinghere.com\nQUIT.\n")
    assert stage.take("a") == b"Rutgers.EDU 172.34.4.6 A IN\nquit 10.0.0.1 A IN\n"


@given(cut_streams)
def test_any_bytes_in_any_split_get_the_same_replies_and_break_nothing(
    case: tuple[bytes, list[bytes]],
) -> None:
    data, chunks = case
    said = []
    for way in ([data] if data else [], chunks):
        stage = talking()
        stage.hear("a", *way)
        if "a" in stage.connections:
            stage.end("a")
        said.append(stage.take("a"))
    assert said[0] == said[1]


def test_empty_lines_are_no_errors_and_no_questions() -> None:
    """B18"""
    stage = talking()
    stage.hear("a", b"\n\r\n\nrutgers.edu\n\n")
    assert stage.take("a") == ROWS[b"rutgers.edu"]


def test_what_follows_quit_is_dropped() -> None:
    """B2"""
    stage = talking()
    stage.hear("a", b"rutgers.edu\nQUIT\nrutgers.edu\ntwo words\n", b"rutgers.edu\n")
    assert stage.take("a") == ROWS[b"rutgers.edu"] + b"BYE\n"
    assert stage.has_ended("a")


def test_the_end_of_input_gets_no_bye_and_a_cut_name_is_not_asked() -> None:
    """B4, B21"""
    stage = talking()
    stage.hear("a", b"rutgers.edu\nrutgers.edu")
    stage.end("a")
    assert stage.take("a") == ROWS[b"rutgers.edu"] + b"- ERROR UNFINISHED\n"
    assert "a" not in stage.connections


@pytest.mark.parametrize(
    "hello", [b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20, b"\x16\x03\n" * 40]
)
def test_another_protocol_is_told_sixteen_times_and_then_the_session_ends(hello: bytes) -> None:
    """B19"""
    stage = talking()
    stage.hear("a", hello)
    assert split_lines(stage.take("a")) == [b"- ERROR BADNAME"] * 16 + [b"BYE"]
    assert stage.has_ended("a")


def test_a_command_that_is_not_built_is_unknown() -> None:
    stage = talking()
    stage.hear("a", b"PING\nSTATS\n")
    assert stage.take("a") == b"- ERROR UNKNOWN\n" * 2


def test_a_drain_says_bye_to_all_and_stops_when_they_are_gone() -> None:
    stage = talking()
    stage.accept("b")
    stage.drain()
    assert not stage.listening
    for conn in ("a", "b"):
        assert stage.take(conn) == b"BYE\n"
        assert stage.exit_code is None
        stage.end(conn)
    assert stage.exit_code == 0


def test_a_drain_without_anyone_stops_at_once() -> None:
    stage = serving()
    stage.drain()
    assert stage.exit_code == 0


def test_one_who_is_accepted_while_the_server_drains_is_told_bye() -> None:
    stage = talking()
    stage.held.add("a")
    stage.drain()
    stage.accept("late")
    assert stage.take("late") == b"BYE\n"


def test_a_drain_that_takes_too_long_ends_all_the_same() -> None:
    stage = talking()
    stage.drain()
    stage.wait(5.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 0
    assert stage.reports == ["the drain took too long: 1 clients cut off"]


def test_once_a_connection_that_says_nothing_is_not_the_session() -> None:
    stage = serving(once=True)
    stage.accept("probe")
    stage.end("probe")
    stage.accept("a")
    assert stage.listening and stage.exit_code is None
    stage.hear("a", b"rutgers.edu\n")
    assert not stage.listening
    stage.hear("a", b"QUIT\n")
    stage.end("a")
    assert stage.exit_code == 0


def test_once_half_a_line_makes_the_session_and_its_end_ends_the_server() -> None:
    stage = serving(once=True)
    stage.accept("a")
    stage.accept("b")
    stage.hear("a", b"rutg")
    stage.hear("b", b"rutgers.edu\n")
    assert stage.listening
    stage.end("a")
    assert stage.take("b") == ROWS[b"rutgers.edu"] + b"BYE\n"
    stage.end("b")
    assert stage.exit_code == 0
