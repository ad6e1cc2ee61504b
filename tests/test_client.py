"""The client's brain: one line per name, in input order, whatever comes and however it is cut."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.wire import fold, is_name, split_lines
from nodes.client import LS, Client
from tests.splitting import pieces
from tests.stage import Stage

ADDRESSES = ((2, ("127.0.0.1", 1)),)


def client(*names: bytes, bounds: Bounds | None = None, progress: bool = False) -> Stage:
    bounds = bounds or Bounds()
    brain = Client(list(names), ADDRESSES, "127.0.0.1:1", bounds, progress=progress)
    stage = Stage(brain, bounds)
    stage.begin()
    return stage


def asking(*names: bytes, bounds: Bounds | None = None) -> Stage:
    stage = client(*names, bounds=bounds)
    stage.connect(LS)
    return stage


inputs = st.lists(
    st.sampled_from(
        [b"a", b"A", b"b.x", b"B.x.", b"QUIT", b"quit", b"two words", b"\xff", b"c", b"."]
    ),
    min_size=1,
    max_size=12,
)


@given(
    inputs,
    st.randoms(use_true_random=False),
    st.lists(st.integers(1, 400), max_size=9, unique=True),
)
def test_each_name_gets_its_line_in_its_place_in_any_order_and_any_split(
    names: list[bytes], chance: object, cut: list[int]
) -> None:
    legal = [name for name in names if is_name(name.removesuffix(b"."))]
    stage = client(*names)
    expected = []
    for name in names:
        if name not in legal:
            expected.append(name.replace(b"\xff", b"\\xff") + b" - ERROR BADNAME")
        elif fold(name) == b"b.x":
            expected.append(name + b" - TIMED OUT")
        else:
            expected.append(fold(name).upper() + b" 10.0.0.1 A IN")
    if legal:
        stage.connect(LS)
        asked = split_lines(stage.take(LS))
        assert asked.pop() == b"QUIT"
        assert asked == [name.lower() if name == b"QUIT" else name for name in legal]
        replies = [
            fold(n) + b" - TIMED OUT\n"
            if fold(n) == b"b.x"
            else fold(n).upper() + b" 10.0.0.1 A IN\n"
            for n in asked
        ]
        chance.shuffle(replies)  # type: ignore[attr-defined]
        data = b"".join(replies)
        stage.hear(LS, *pieces(data, sorted(at for at in cut if at < len(data))))
        assert stage.has_ended(LS)
        stage.end(LS)
    assert bytes(stage.written) == b"".join(line + b"\n" for line in expected)
    assert stage.exit_code == 0


def test_the_prefix_is_written_as_it_completes() -> None:
    stage = asking(b"a", b"b", b"c")
    stage.hear(LS, b"b 10.0.0.2 A IN\n")
    assert stage.written == b""
    stage.hear(LS, b"a 10.0.0.1 A IN\n")
    assert stage.written == b"a 10.0.0.1 A IN\nb 10.0.0.2 A IN\n"


def test_a_million_bytes_of_names_go_in_slices() -> None:
    bounds = replace(Bounds(), waiting_bytes_high=100, waiting_bytes_low=20)
    names = [b"n%03d" % n for n in range(200)]
    stage = client(*names, bounds=bounds)
    stage.held.add(LS)
    stage.connect(LS)
    assert 100 < stage.connections[LS].waiting < 110
    stage.held.clear()
    stage.settle()
    assert split_lines(stage.take(LS)) == [*names, b"QUIT"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("end", "LS ended the connection"),
        ("reset", "no connection to LS at 127.0.0.1:1: gone"),
        ("bye", "LS at 127.0.0.1:1 is going away; ask again later"),
        ("busy", "LS at 127.0.0.1:1 says BUSY"),
        ("silence", "LS at 127.0.0.1:1 has been silent for 30 s (see --patience)"),
        ("interrupt", "interrupted"),
    ],
)
def test_what_arrived_is_in_its_place_and_the_rest_is_lost(what: str, said: str) -> None:
    stage = asking(b"a", b"b", b"bad name", b"c")
    stage.hear(LS, b"b 10.0.0.2 A IN\n")
    if what == "bye":
        stage.hear(LS, b"BYE\n")
    if what == "busy":
        stage.hear(LS, b"- ERROR BUSY\n")
    if what in ("end", "bye", "busy"):
        stage.end(LS)
    elif what == "reset":
        stage.reset(LS)
    elif what == "silence":
        stage.wait(30.0)
    elif what == "interrupt":
        stage.drain()
    assert stage.written == b"a - LOST\nb 10.0.0.2 A IN\nbad name - ERROR BADNAME\nc - LOST\n"
    assert stage.exit_code == 1
    assert stage.reports[0].startswith(said)
    assert stage.reports[1].startswith("4 names: 1 answered, 0 timed out, 1 bad, 2 lost")
    assert len(stage.reports) == 2


def test_a_dial_that_fails_loses_every_name() -> None:
    stage = client(b"a", b"b")
    stage.refuse(LS)
    assert stage.written == b"a - LOST\nb - LOST\n"
    assert stage.exit_code == 1
    assert stage.reports[0] == "no connection to LS at 127.0.0.1:1: connection refused"


def test_any_byte_renews_the_patience() -> None:
    stage = asking(b"a")
    stage.wait(29.0)
    stage.hear(LS, b"a")
    stage.wait(29.0)
    assert stage.exit_code is None
    stage.hear(LS, b" 10.0.0.1 A IN\n")
    stage.end(LS)
    assert stage.exit_code == 0


def test_with_no_legal_name_nobody_is_dialled() -> None:
    stage = client(b"two words", b"\x1b[2J")
    assert stage.dialled == [] and stage.exit_code == 0
    assert stage.written == b"two words - ERROR BADNAME\n\\x1b[2J - ERROR BADNAME\n"


def test_an_answer_for_a_name_that_was_not_asked_is_not_written() -> None:
    stage = asking(b"a")
    stage.hear(LS, b"b 10.0.0.2 A IN\na 10.0.0.1 A IN\na 10.0.0.9 A IN\n")
    stage.end(LS)
    assert stage.written == b"a 10.0.0.1 A IN\n"


def test_an_interrupt_after_the_end_says_nothing_twice() -> None:
    stage = asking(b"a")
    stage.end(LS)
    stage.drain()
    assert len(stage.reports) == 2 and stage.written == b"a - LOST\n"


def test_progress_shows_on_a_terminal_when_there_is_something_to_wait_for() -> None:
    stage = client(b"a", b"b", progress=True)
    stage.connect(LS)
    stage.hear(LS, b"b 10.0.0.2 A IN\n")
    stage.wait(1.0)
    assert stage.progress[-1] == "1 of 2 names, 1 waiting"
    stage.hear(LS, b"a 10.0.0.1 A IN\n")
    assert stage.progress[-1] == ""
