"""Messages between workers and their supervisor: cut, changed, and added up.

Not here: when they tell it (`tests/nodes/test_supervisor.py`, `tests/nodes/test_worker.py`).
"""

import json
from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from core.metrics import Histogram, Metric, Value
from core.protocol.server_state import CLIENTS
from core.text import split_lines
from nodes.workers.messages import Unpacker, WorkerReport, changes, keyed, pack, sections
from nodes.workers.totals import summed

ASKED = Metric("asked", "Questions")
STATE = Metric("state", "State", is_level=True, per="ts")
TIMES = Metric("answer_seconds", "Times", per="ts")

metrics = st.sampled_from([ASKED, STATE, CLIENTS, Metric("hits", "Often", per="bound")])
values = st.builds(Value, metrics, st.integers(0, 2**40) | st.sampled_from(["UP", "DOWN"]))


@given(st.lists(values, max_size=40), st.text(max_size=2000), st.data())
def test_messages_arrive_as_sent_however_they_are_cut(
    told: list[Value], word: str, data: st.DataObject
) -> None:
    histogram = Histogram()
    histogram.add(0.003)
    sent = pack(sections(told, [(TIMES, histogram, "TS1")], {"a": word})) + pack({"do": "tell"})
    assert all(len(line) <= 512 for line in split_lines(sent))
    places = [n + 1 for n, byte in enumerate(sent) if byte == 10]
    chosen = data.draw(st.lists(st.sampled_from(places), max_size=5, unique=True).map(sorted))
    unpacker = Unpacker()
    got = []
    for start, end in zip([0, *chosen], [*chosen, len(sent)], strict=True):
        got += unpacker.take(sent[start:end]) if sent[start:end] else []
    assert got[1] == {"do": "tell"} and len(got) == 2
    back = WorkerReport()
    assert back.take(got[0]) == list(keyed(told))
    assert (back.values, back.about) == (keyed(told), {"a": word})
    (metric, heard, of) = back.histograms["TS1.answer_seconds"]
    assert (metric, heard.counts, heard.sum_s, of) == (TIMES, histogram.counts, 0.003, "TS1")


@given(st.lists(st.lists(values, max_size=9), min_size=1, max_size=9))
def test_changes_one_after_the_other_make_the_whole(tellings: list[list[Value]]) -> None:
    news, before, whole = WorkerReport(), sections([], [], {}), sections([], [], {})
    for told in tellings:
        whole = {**whole, "values": whole["values"] | keyed(told)}
        message = {name: changes(part, before[name]) for name, part in whole.items()}
        before = whole
        assert news.take(json.loads(json.dumps(message, default=astuple))) is not None
        assert news.values == whole["values"]
        assert not any(changes(part, before[name]) for name, part in whole.items())


def test_of_a_number_that_workers_share_the_least_counts() -> None:
    """A worker may not have read the certificate anew yet."""
    days = Metric("tls_days", "Days", is_level=True, is_shared=True)
    parts = [keyed([Value(days, left)]) for left in (89.5, 3.0, 89.5)]
    assert list(summed(parts).values()) == [Value(days, 3.0)]
    unpacker = Unpacker()
    (heard,) = unpacker.take(pack(sections(parts[0].values(), [], {})))
    report = WorkerReport()
    report.take(heard)
    assert report.values == parts[0]  # also after its way to the parent


def test_numbers_add_up_and_differing_words_stand_side_by_side() -> None:
    one = [Value(ASKED, 3), Value(STATE, "UP", "TS1"), Value(STATE, "UP", "TS2")]
    two = [Value(ASKED, 4), Value(STATE, "UP", "TS1"), Value(STATE, "DOWN", "TS2")]
    assert list(summed([keyed(one), keyed(two), keyed(two)]).values()) == [
        Value(ASKED, 11),
        Value(STATE, "UP", "TS1"),
        Value(STATE, "UP/DOWN", "TS2"),
    ]
