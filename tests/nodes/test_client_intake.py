"""Names that come while the client runs: asked at once, and no faster than they are worked off.

Not here: names that are there from the start (`tests/nodes/test_client.py`), how people write them
(`tests/nodes/test_name_list.py`), descriptors (`tests/io/test_input.py`).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.events import Backlogged, Relieved
from core.io.outputs import OWN_OUTPUT
from nodes.client.client import LS, Client
from nodes.client.intake import INPUT
from nodes.client.json_lines import json_lines
from nodes.client.settings import ClientSettings
from tests.nodes.test_client import ADDRESSES, BAD, GOOD, Model, asked_as, replies_to
from tests.support.stage import Stage

LISTED = ClientSettings(list_name="names.txt")


def listed(*lines: bytes, bounds: Bounds | None = None, settings: ClientSettings = LISTED) -> Stage:
    """Return a client that has read these lines of its list, and may read more."""
    bounds = bounds or Bounds()
    client = Client([], ADDRESSES, "127.0.0.1:1", Environment(bounds), settings)
    stage = Stage.begun(client, bounds)
    stage.adopt(INPUT)
    for line in lines:
        stage.hear(INPUT, line + b"\n")
    return stage


def test_each_line_is_asked_and_answered_as_it_comes() -> None:
    """[P82]"""
    stage = listed()
    assert stage.dialled == [], "nobody is asked for nothing"
    stage.hear(INPUT, b"# names\n\n a")
    assert stage.dialled == []
    stage.hear(INPUT, b" \n")
    stage.connect(LS)
    assert stage.take(LS) == b"a\n"
    stage.hear(LS, b"a 10.0.0.1 A IN\n")
    assert stage.written == b"a 10.0.0.1 A IN\n"
    stage.hear(INPUT, b"two words\nb\nc\n")
    assert stage.take(LS) == b"b\nc\n"
    stage.hear(LS, b"c - TIMED OUT\n")
    stage.end(INPUT)
    assert stage.take(LS) == b"QUIT\n"
    stage.hear(LS, b"b - NOT FOUND\n")
    assert stage.written == (
        b"a 10.0.0.1 A IN\ntwo words - ERROR BADNAME\nb - NOT FOUND\nc - TIMED OUT\n"
    )
    stage.hear(LS, b"BYE\n")
    stage.end(LS)
    assert stage.exit_code == 0
    assert stage.reports[0] == "names.txt:4: neither a legal name nor `name AAAA`: two words"
    assert stage.reports[1].startswith("4 names: 1 answered, 1 not found, 1 timed out, 1 bad")


def test_a_list_may_end_before_ls_is_there() -> None:
    stage = listed(b"a")
    stage.end(INPUT)
    stage.connect(LS)
    assert stage.take(LS) == b"a\nQUIT\n"


def test_a_list_without_names_needs_no_ls() -> None:
    stage = listed(b"# nothing", b"two words")
    assert stage.written == b"two words - ERROR BADNAME\n"
    stage.end(INPUT)
    assert (stage.dialled, stage.exit_code) == ([], 0)
    assert stage.reports[-1].startswith("1 name: ")


# -- against a model -------------------------------------------------------------------------------


ODD = [name for name in BAD if not set(b" \t").intersection(name)]  # the same when they are bare


@given(
    st.lists(st.sampled_from([*GOOD, *GOOD, *ODD]), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
    st.integers(1, 8),
)  # fmt: skip
def test_names_and_replies_that_alternate_keep_the_order(
    names: list[bytes], chance: Random, held: int
) -> None:
    """Also where lines that were written have been forgotten, and while the list is paused."""
    stage = listed(b"first.example", bounds=replace(Bounds(), names_held_max=held))
    stage.connect(LS)
    stage.hear(LS, b"first.example - TIMED OUT\n")
    stage.written.clear()
    model, to_come, replies = Model([]), [*names], list[bytes]()
    while to_come or replies:
        if to_come and INPUT not in stage.paused and chance.random() < 0.6:
            some = [to_come.pop(0) for _ in range(min(len(to_come), chance.randint(1, 5)))]
            stage.take(LS)
            stage.hear(INPUT, b"".join(name + b"\n" for name in some))
            asked = b"".join(asked_as(name) + b"\n" for name in some if name not in BAD)
            assert stage.take(LS) == asked
            new = Model(some)
            model.names += some
            model.lines += new.lines
            replies += replies_to(some, chance)
            chance.shuffle(replies)
        elif replies:
            some = [replies.pop() for _ in range(chance.randint(1, len(replies)))]
            stage.hear(LS, b"".join(reply + b"\n" for reply in some))
            for reply in some:
                model.hear(reply)
        assert bytes(stage.written) == model.written
        unwritten = len(model.names) - model.written.count(b"\n")
        assert (INPUT in stage.paused) == (unwritten >= held)
    stage.end(INPUT)
    assert not model.waits and stage.has_ended(LS)


def test_names_that_wait_already_wait_on_when_they_come_again() -> None:
    stage = listed(b"a", b"A", b"b", b"a")
    stage.connect(LS)
    stage.hear(LS, b"a 10.0.0.1 A IN\na - NOT FOUND\nb - NOT FOUND\na - TIMED OUT\n")
    assert stage.written == b"a 10.0.0.1 A IN\nA - NOT FOUND\nb - NOT FOUND\na - TIMED OUT\n"


# -- patience, and LS that leaves ------------------------------------------------------------------


def test_patience_does_not_count_while_nobody_asks() -> None:
    """[P63]: nor does what came before count for the next name."""
    stage = listed(b"a")
    stage.connect(LS)
    stage.wait(29.0)
    stage.hear(LS, b"a - TIMED OUT\n")
    stage.wait(1_000.0)
    stage.hear(INPUT, b"b\n")
    stage.wait(20.0)
    stage.hear(INPUT, b"c\n")
    stage.wait(9.99)
    assert stage.exit_code is None
    stage.wait(0.01)
    assert stage.exit_code == 1
    assert stage.written == b"a - TIMED OUT\nb - LOST\nc - LOST\n"


def _says_bye(stage: Stage) -> None:
    stage.hear(LS, b"BYE\n")


LEAVES: dict[str, Callable[[Stage], None]] = {
    "bye": _says_bye,
    "end": lambda stage: stage.end(LS),
    "reset": lambda stage: stage.reset(LS),
}


@pytest.mark.parametrize("way", LEAVES)
def test_an_ls_that_left_and_owed_nothing_is_dialled_again(way: str) -> None:
    stage = listed(b"a")
    stage.connect(LS)
    stage.hear(LS, b"junk\n" * 15 + b"a - TIMED OUT\n" + b"junk\n" * 15)
    LEAVES[way](stage)
    assert LS not in stage.connections and stage.exit_code is None and stage.dialled == []
    stage.hear(INPUT, b"b\n")
    stage.connect(LS)
    stage.hear(LS, b"junk\n")
    assert stage.exit_code is None
    stage.hear(LS, b"b 10.0.0.2 A IN\n")
    LEAVES[way](stage)
    stage.end(INPUT)
    assert stage.exit_code == 0 and stage.written == b"a - TIMED OUT\nb 10.0.0.2 A IN\n"
    assert len(stage.reports) == 1


@pytest.mark.parametrize("way", LEAVES)
def test_an_ls_that_leaves_and_owes_ends_the_client(way: str) -> None:
    stage = listed(b"a", b"b")
    stage.connect(LS)
    stage.hear(LS, b"b - TIMED OUT\n")
    LEAVES[way](stage)
    if LS in stage.connections:
        stage.end(LS)
    assert stage.exit_code == 1 and stage.written == b"a - LOST\nb - TIMED OUT\n"
    if way == "bye":
        assert stage.reports[0] == "LS at 127.0.0.1:1 is shutting down; try again later"
    stage.hear(INPUT, b"c\n")
    stage.end(INPUT)
    assert stage.written.count(b"\n") == 2 and stage.dialled == []


def test_an_interruption_ends_a_client_that_waits_for_names() -> None:
    for lines in ((), (b"a",)):
        stage = listed(*lines)
        if lines:
            stage.connect(LS)
            stage.hear(LS, b"a - TIMED OUT\n")
            stage.reset(LS)
        stage.drain()
        assert stage.exit_code == 1 and stage.reports[0] == "interrupted"


def test_progress_is_wiped_whenever_nothing_is_owed() -> None:
    stage = listed(b"a", settings=replace(LISTED, shows_progress=True))
    stage.connect(LS)
    stage.wait(0.5)
    assert stage.progress == ["0 of 1 names, 1 waiting"]
    stage.hear(LS, b"a - TIMED OUT\n")
    stage.wait(10.0)
    assert stage.progress[1:] == [""]
    stage.hear(INPUT, b"b\n")
    stage.wait(0.5)
    assert stage.progress[2:] == ["1 of 2 names, 1 waiting"]


# -- no faster than they are worked off -----------------------------------------------------------


def test_the_list_is_not_read_while_ls_takes_nothing() -> None:
    """[P83]"""
    high = replace(Bounds(), waiting_bytes_high=100, waiting_bytes_low=50)
    stage = listed(b"a", bounds=high)
    assert INPUT in stage.paused, "LS is still dialled"
    stage.held.add(LS)
    stage.connect(LS)
    assert INPUT not in stage.paused
    stage.hear(INPUT, b"".join(b"name%d.example\n" % n for n in range(8)))
    assert INPUT in stage.paused
    stage.flush(LS)
    stage.settle()
    assert INPUT not in stage.paused


def test_the_list_is_not_read_while_nobody_reads_the_output() -> None:
    """[P83]: whatever becomes of LS meanwhile."""
    stage = listed(b"a")
    stage.connect(LS)
    stage.step(Backlogged(OWN_OUTPUT))
    assert INPUT in stage.paused
    stage.hear(LS, b"a - TIMED OUT\n")
    stage.end(LS)
    assert INPUT in stage.paused
    stage.step(Relieved(OWN_OUTPUT))
    assert INPUT not in stage.paused


def test_the_list_is_not_read_while_too_many_names_are_held() -> None:
    """[P83]: names behind one that waits are held, also those that have their replies."""
    stage = listed(b"slow", b"a", b"b", bounds=replace(Bounds(), names_held_max=3))
    stage.connect(LS)
    assert INPUT in stage.paused
    stage.hear(LS, b"a - TIMED OUT\nb - TIMED OUT\n")
    assert INPUT in stage.paused
    stage.hear(LS, b"slow - TIMED OUT\n")
    assert INPUT not in stage.paused
    stage.hear(INPUT, b"c\n")
    stage.hear(LS, b"c - TIMED OUT\n")
    stage.end(INPUT)
    assert stage.has_ended(LS)


# -- lists that cannot be read ---------------------------------------------------------------------


def test_a_list_that_is_no_text_ends_the_client_with_one_line() -> None:
    """[P81]"""
    stage = listed()
    stage.hear(INPUT, "a.x\nb.x\n".encode("utf-16-le"))
    assert stage.reports == ["names.txt looks like UTF-16; save it as UTF-8"]
    assert (stage.exit_code, stage.dialled, stage.written) == (1, [], b"")


def test_a_list_that_cannot_be_read_on_loses_what_is_owed() -> None:
    stage = listed(b"a")
    stage.connect(LS)
    stage.reset(INPUT)
    assert stage.exit_code == 1 and stage.written == b"a - LOST\n"
    assert stage.reports[0] == "cannot read names.txt: gone"


@pytest.mark.parametrize("way", ["refused", "reset", "interrupted", "silent"])
def test_the_rest_of_a_list_at_hand_is_lost_with_the_others(way: str) -> None:
    """However far it has been read; the summary comes last."""
    small = replace(Bounds(), waiting_bytes_high=10, waiting_bytes_low=1)
    stage = listed(b"a", b"b.example", bounds=small, settings=replace(LISTED, is_list_at_hand=True))
    if way == "refused":
        stage.refuse(LS)
    else:
        stage.held.add(LS)
        stage.connect(LS)
        assert INPUT in stage.paused
        if way == "reset":
            stage.reset(LS)
        elif way == "silent":
            stage.wait(30.0)
        else:
            stage.drain()
    assert INPUT not in stage.paused and stage.exit_code is None
    assert len(stage.reports) == 1
    stage.hear(INPUT, b"c # x\ntwo words\n")
    stage.drain()
    stage.hear(INPUT, b"d\n")
    stage.end(INPUT)
    assert stage.written == (
        b"a - LOST\nb.example - LOST\nc - LOST\ntwo words - ERROR BADNAME\nd - LOST\n"
    )
    assert stage.exit_code == 1
    assert stage.reports[-1].startswith("5 names: 0 answered, 0 timed out, 1 bad, 4 lost")


def test_a_list_at_hand_that_breaks_off_ends_a_lost_client() -> None:
    stage = listed(b"a", settings=replace(LISTED, is_list_at_hand=True))
    stage.refuse(LS)
    assert stage.exit_code is None
    stage.reset(INPUT)
    assert stage.exit_code == 1


# -- results ---------------------------------------------------------------------------------------

REPLIES = {
    "answered": b"a 10.0.0.1,10.0.0.2 A IN",
    "timed_out": b"a - TIMED OUT",
    "not_found": b"a - NOT FOUND",
    "no_data": b"a - NO DATA",
    "failed": b"a - FAILED",
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("result", [*REPLIES, "bad", "lost"])
def test_fail_makes_the_exit_code_3_where_a_name_has_no_answer(result: str, fails: bool) -> None:
    """[P84]: a name that is lost makes it 1 in any case."""
    stage = listed(b"b", settings=replace(LISTED, unanswered_fails=fails))
    stage.connect(LS)
    stage.hear(LS, b"b 10.0.0.9 A IN\n")
    stage.hear(INPUT, b"two words\n" if result == "bad" else b"a\n")
    if result in REPLIES:
        stage.hear(LS, REPLIES[result] + b"\n")
    stage.end(INPUT)
    stage.end(LS)
    unanswered = {"answered": 0, "lost": 1}.get(result, 3 if fails else 0)
    assert stage.exit_code == unanswered


def test_json_has_an_object_for_each_name_in_its_order() -> None:
    names = [b"A.", b"a AAAA", b"two \xff", *[b"a"] * 4, b"B AAAA"]
    lines = [
        REPLIES["answered"], b"a 2001:db8::7 AAAA IN", rb"two \xff - ERROR BADNAME",
        *(REPLIES[result] for result in ("timed_out", "not_found", "no_data", "failed")),
        b"B AAAA - LOST",
    ]  # fmt: skip
    got = [json.loads(line) for line in json_lines(names, lines).splitlines()]
    assert [[*each] for each in got] == [["name", "type", "result", "addresses"]] * len(names)
    assert [[*each.values()] for each in got] == [
        ["A.", "A", "answered", ["10.0.0.1", "10.0.0.2"]],
        ["a", "AAAA", "answered", ["2001:db8::7"]],
        [r"two \xff", None, "bad", []],
        ["a", "A", "timed_out", []],
        ["a", "A", "not_found", []],
        ["a", "A", "no_data", []],
        ["a", "A", "failed", []],
        ["B", "AAAA", "lost", []],
    ]
