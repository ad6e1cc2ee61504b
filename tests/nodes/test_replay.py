"""Replay: what is read as a record, and what comes of records under each policy.

Records come from a real load balancer that samples every race, among table servers of the test:
each has a delay and something to say for every question. Played again under race they must come
to the times that were recorded.

Not here: how records are made in detail (`tests/nodes/test_race_samples.py`), and the verdict
(`tests/nodes/test_verdict.py`).
"""

import gzip
import heapq
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.effects import Effect, Send
from core.events import Event, Received, Woken
from core.operator import Record
from core.protocol.names import Type
from core.text import split_lines
from nodes.cli import replay as command
from nodes.cli.programs import main
from nodes.ls.load_balancer import LoadBalancer
from nodes.ls.race_record import RecordError
from nodes.replay.replay import (
    ReplayedRace,
    ReplayOutcome,
    as_recorded,
    parse,
    replay,
    servers_of,
)
from nodes.replay.report import HEAD, table_row
from tests.support.balancers import addresses_of, load_balancer
from tests.support.stage import Stage

BOUNDS = Bounds()
RECORD: dict[str, Any] = {
    "at": 0.0, "question": "x", "policy": "race", "share": 1.0,
    "asked": {"TS1": 0.0, "TS2": 0.0},
    "replies": {"TS1": [0.1, "10.0.0.1"], "TS2": [0.2, "10.0.0.1"]},
    "winner": "TS1", "margin": 0.1, "end": "ANSWERED", "took": 0.1,
}  # fmt: skip


def line(**changes: Any) -> bytes:  # noqa: ANN401
    """Write a record, as a line."""
    return json.dumps({**RECORD, **changes}).encode()


def balancer(
    servers: int,
    extra_load: float | None = None,
    bounds: Bounds = BOUNDS,
    tiers: dict[str, int] | None = None,
) -> LoadBalancer:
    words = {"extra_load": extra_load, "tiers": tiers or {}}
    return load_balancer(addresses_of(servers), bounds, lambda: 0.0, **words)


# -- reading ---------------------------------------------------------------------------------------


def test_a_record_is_read() -> None:
    asked = {"TS1": 0.0, "TS2": 0.05}
    replies = {"TS1": [0.1, "::1,2001:db8::1"], "TS2": [0.2, "::2"]}
    record = line(at=4.0, share=0.25, question="x AAAA", asked=asked, replies=replies)
    assert parse(record) == ReplayedRace(
        1.0, Type.AAAA, 0.1, "::1,2001:db8::1", asked,
        {"TS1": (0.1, "::1,2001:db8::1"), "TS2": (pytest.approx(0.15), "::2")},
    )  # fmt: skip


@pytest.mark.parametrize("end", ["TIMED_OUT", "NOT_FOUND", "NO_DATA"])
def test_what_was_said_without_a_winner_is_how_it_ended(end: str) -> None:
    race = parse(line(winner=None, margin=None, end=end, replies={}))
    assert race.reply == end.replace("_", " ")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"policy": "hedge"}, r"recorded under hedge.*--policy race"),
        ({"policy": "tiers"}, r"recorded under tiers.*record without --tier.*replay with --tier"),
        ({"policy": "tiers", "asked": {"TS1": 0.0, "DNS1": 0.5}}, "recorded under tiers"),
        (
            {"asked": {"TS1": 0.0, "DNS1": 0.0}},
            r"run by resolvers.*every policy.*table servers alone",
        ),
    ],
    ids=["hedge", "tiers", "tiers of resolvers", "resolvers"],
)
def test_a_record_of_another_kind_is_refused_with_the_reason(
    changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(RecordError, match=why) as caught:
        parse(line(**changes))
    assert "\n" not in str(caught.value)


BAD = {
    **{
        f"no {missing}": {key: value for key, value in RECORD.items() if key != missing}
        for missing in RECORD
        if missing != "margin"
    },
    **{
        repr(changes)[:60]: {**RECORD, **changes}
        for changes in (
            {"at": "soon"}, {"at": None}, {"share": []}, {"took": None}, {"took": {}},
            {"asked": []}, {"asked": {"TS1": "x"}}, {"asked": {"TS1": 0.0}}, {"asked": None},
            {"replies": []}, {"replies": {"TS1": 3}}, {"replies": {"TS1": [1]}},
            {"replies": {"TS1": [1, "10.0.0.1", 2]}}, {"replies": {"TS3": [1, "10.0.0.1"]}},
            {"winner": "TS3"}, {"winner": []}, {"winner": {}},
            {"at": 10**400}, {"at": 1e300}, {"at": float("nan")},
            {"share": float("inf")}, {"share": 2}, {"took": float("-inf")},
            {"replies": {"TS1": [0.1, "\ud800"]}}, {"end": "ANSWERED", "winner": None},
            {"replies": {"TS1": [0.1, "10.0.0.1\nr0 10.0.0.2"]}},
            {"replies": {"TS1": [0.1, "NOT FOUND"]}}, {"policy": "\x1b[2J"},
        )
    },
    "a reply before it was asked": {
        **RECORD, "replies": {"TS1": [-1.0, "10.0.0.1"]}, "asked": {"TS1": 0.0},
    },
    "an address of 600 digits": {**RECORD, "replies": {"TS1": [0.1, "1" * 600]}},
    "too many addresses": {**RECORD, "replies": {"TS1": [0.1, ",".join(["10.0.0.1"] * 60)]}},
    "an address of another type": {**RECORD, "question": "x AAAA"},
    "too deep": b"[" * 100_000,
    "a name that is no UTF-8": line().replace(b"TS1", b"TS\xff1"),
    "half a character": line().replace(b"TS1", b"\xed\xa0\x80"),
    "half a character, escaped": line().replace(b"TS1", b"\\ud800"),
    "an escape in a name": line().replace(b"TS1", b"\\u001b[2J"),
}  # fmt: skip


@pytest.mark.parametrize("record", BAD.values(), ids=BAD)
def test_what_is_no_record_of_a_race_is_refused(record: Any) -> None:  # noqa: ANN401
    with pytest.raises(RecordError, match="no record of a race") as caught:
        parse(record if isinstance(record, bytes) else json.dumps(record).encode())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"[1]", "race"),
        (line()[:50], "race: it is no JSON"),
        (line(share=2), "race: its 'share' is missing, or is not as LS writes it"),
        (line(asked={"TS1\x1b[2J": 0}), "race: its 'asked' is missing, or is not as LS writes it"),
        (line(took=None), "race: its 'took' is missing, or is not as LS writes it"),
        (line(winner="TS2", replies={}), "race: its fields contradict each other"),
    ],
    ids=["no object", "cut", "wrong", "escape", "null", "contradiction"],
)
def test_a_refusal_says_what_is_wrong_with_the_record(record: bytes, why: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse(record)
    assert str(caught.value) == f"it is no record of a {why}"


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(), st.text(max_size=5)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["TS1", *RECORD]), st.text(max_size=3)), inner),
    ),
    max_leaves=8,
)  # fmt: skip

odd_bytes = st.one_of(
    st.binary(max_size=60),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.integers(0, len(line())).map(lambda at: line()[:at]),
    st.tuples(st.integers(0, len(line()) - 1), st.integers(0, 255)).map(
        lambda change: line()[: change[0]] + bytes([change[1]]) + line()[change[0] + 1 :]
    ),
)
# Of fields that are nearly right, some get through to be played.
times = st.one_of(st.floats(0, 9), st.sampled_from([0, 1e9, 1e300, -1, True, None, "1", 10**400]))
near_names = st.sampled_from(["TS1", "TS2", "TS9", "TS0", "DNS1", "ts1", "TS\x1b", "\ud800", ""])
near_replies = st.one_of(
    st.sampled_from(
        [
            "NOT FOUND",
            "NO DATA",
            "BLOCKED",
            "NAMES BELOW",
            "TIMED OUT",
            "10.0.0.1",
            "::1",
            "1.2.3.4,10.0.0.1",
        ]
    ),
    st.text("0123456789.:,aF", max_size=12),
    st.integers(1, 80).map(lambda count: ",".join(["10.0.0.1"] * count)),
    json_values,
)
near_records = st.fixed_dictionaries(
    {},
    optional={
        "at": times, "took": times, "share": times, "margin": times,
        "question": st.sampled_from(["x", "x AAAA", "\x1b", 7]),
        "policy": st.sampled_from(["race", "hedge", "tiers", "\x1b[2J", None]),
        "end": st.sampled_from(["ANSWERED", "NOT_FOUND", "NO_DATA", "TIMED_OUT", "DROPPED", "x"]),
        "winner": st.one_of(st.none(), near_names),
        "asked": st.dictionaries(near_names, times, max_size=3),
        "replies": st.dictionaries(near_names, st.tuples(times, near_replies), max_size=3),
    },
).map(lambda changes: line(**changes))  # fmt: skip


@given(st.lists(st.one_of(near_records, near_records, odd_bytes), max_size=4))
def test_any_file_is_replayed_as_far_as_it_is_good(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
) -> None:
    """A record that gets through can be played and printed: no traceback, no escape."""
    path = tmp_path_factory.getbasetemp() / "races.jsonl"
    path.write_bytes(b"".join(record + b"\n" for record in [line(), *records]))
    said, shown = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "say", said.append)
        patch.setattr(command, "show", shown.append)
        code = main(["replay", str(path)])
    assert code == (1 if said else 0) and len(shown) >= 5
    assert all(text.replace("\n", "").isprintable() for text in said + shown)


@given(st.sets(st.integers(1, 300), max_size=12))
def test_servers_are_listed_by_their_numbers(numbers: set[int]) -> None:
    races = [parse(line(asked={"TS1": 0, "TS2": 0, f"TS{n}": 0})) for n in numbers]
    wanted = sorted({1, 2, *numbers}) if numbers else []
    assert servers_of(races) == [f"TS{n}" for n in wanted]


# -- results ---------------------------------------------------------------------------------------


def test_figures_are_those_of_the_ranks() -> None:
    outcome = ReplayOutcome([n / 1000 for n in range(1000, 0, -1)])
    assert outcome.quantiles_s() == [0.501, 0.991, 1.0]
    assert ReplayOutcome([0.25]).quantiles_s() == [0.25] * 3


def test_a_row_has_a_column_for_each_heading() -> None:
    times = [0.1, 0.2, 0.3, 0.4]
    row = table_row("race", ReplayOutcome(times, sent=6, timed_out=1, unanswered=3, changed=2))
    assert row.split() == ["race", "4", "300.0", "400.0", "400.0", "50.00", "1", "3", "2"]
    assert len(row) == len(HEAD)


def two(*ways: tuple[float | None, float | None]) -> list[ReplayedRace]:
    """Write races, a second apart, that two TSs answer after so long, or never."""
    races = []
    for number, way in enumerate(ways):
        replies = {f"TS{n}": (s, "10.0.0.1") for n, s in enumerate(way, 1) if s is not None}
        said = "10.0.0.1" if replies else "TIMED OUT"
        took_s = min((s for s, _ in replies.values()), default=5.0)
        races.append(ReplayedRace(number, Type.A, took_s, said, {"TS1": 0.0, "TS2": 0.0}, replies))
    return races


WAYS = two((0.1, 0.2), (0.3, 0.1), (None, 0.4), (0.2, None), (None, None))


def close(outcome: ReplayOutcome, took_s: list[float]) -> bool:
    return sorted(outcome.took_s) == pytest.approx(sorted(took_s))


@pytest.mark.parametrize(
    ("servers", "took_s", "counts"),
    [
        (["TS1", "TS2"], [0.1, 0.1, 0.4, 0.2, 5.0], (10, 1, 0, 0)),
        (["TS1"], [0.1, 0.3, 5.0, 0.2, 5.0], (5, 2, 1, 1)),
        (["TS2"], [0.2, 0.1, 0.4, 5.0, 5.0], (5, 2, 1, 1)),
    ],
)
def test_what_those_that_are_asked_have_not_times_out(
    servers: list[str], took_s: list[float], counts: tuple[int, int, int, int]
) -> None:
    """Of the last race nobody had a reply when it was recorded."""
    outcome = replay(WAYS, servers, balancer(len(servers)))
    assert close(outcome, took_s)
    assert sorted(outcome.replied_s) == pytest.approx(sorted(took_s[:-1]))
    assert as_recorded(WAYS).replied_s == [race.took_s for race in WAYS[:-1]]
    counted = outcome.sent, outcome.timed_out, outcome.unanswered, outcome.changed
    assert counted == counts


@pytest.mark.parametrize(
    ("first", "took_s", "sent"),
    [
        ((0.1, "10.0.0.1"), 0.1, 1),
        ((0.1, "NOT FOUND"), 0.4, 2),
        ((0.1, "NO DATA"), 0.1, 1),
        ((0.1, "BLOCKED"), 0.1, 1),
        ((0.7, "10.0.0.1"), 0.7, 2),
        (None, BOUNDS.tier_s + 0.3, 2),
    ],
    ids=["answer", "not found", "no data", "blocked", "late", "silent"],
)
def test_of_tiers_the_second_is_asked_in_its_turn(
    first: tuple[float, str] | None, took_s: float, sent: int
) -> None:
    """As `ls --tier` does it, by the replies that were recorded."""
    replies = {"TS2": (0.3, "10.0.0.2")} | ({"TS1": first} if first else {})
    race = ReplayedRace(0.0, Type.A, 0.3, "10.0.0.2", {"TS1": 0.0, "TS2": 0.0}, replies)
    outcome = replay([race], ["TS1", "TS2"], balancer(2, tiers={"TS2": 2}))
    assert (close(outcome, [took_s]), outcome.sent) == (True, sent), outcome.took_s


@pytest.mark.parametrize(
    ("recorded", "said", "unanswered"),
    [("10.0.0.1", "NOT FOUND", 1), ("10.0.0.1", "NO DATA", 1), ("10.0.0.1", "10.0.0.2", 0),
     ("NO DATA", "NOT FOUND", 0), ("TIMED OUT", "NOT FOUND", 0), ("NOT FOUND", "10.0.0.1", 0)],
)  # fmt: skip
def test_an_answer_that_becomes_a_negative_is_unanswered(
    recorded: str, said: str, unanswered: int
) -> None:
    race = ReplayedRace(0.0, Type.A, 0.1, recorded, {"TS1": 0.0}, {"TS1": (0.2, said)})
    outcome = replay([race], ["TS1"], balancer(1))
    assert (outcome.unanswered, outcome.changed) == (unanswered, 1)


@pytest.mark.parametrize("what", ["NOT FOUND", "NO DATA"])
def test_what_nobody_has_is_said_again(what: str) -> None:
    replies = {"TS1": (0.1, what), "TS2": (0.15, what)}
    for address_type in Type:
        race = ReplayedRace(0.0, address_type, 0.15, what, {"TS1": 0.0, "TS2": 0.0}, replies)
        outcome = replay([race], ["TS1", "TS2"], balancer(2))
        assert (outcome.timed_out, outcome.changed) == (0, 0)


def test_an_answer_is_changed_when_its_set_is_another() -> None:
    def outcome(first: str, said: str) -> ReplayOutcome:
        replies = {"TS1": (0.1, first), "TS2": (0.2, "10.0.0.3")}
        race = ReplayedRace(0.0, Type.A, 0.1, said, {"TS1": 0.0, "TS2": 0.0}, replies)
        return replay([race], ["TS1", "TS2"], balancer(2))

    assert outcome("10.0.0.1,10.0.0.2", "10.0.0.2,10.0.0.1").changed == 0
    assert outcome("10.0.0.1", "10.0.0.3").changed == 1
    assert outcome("10.0.0.1", "TIMED OUT").changed == 1


def test_a_ts_that_came_up_later_is_not_asked_sooner() -> None:
    """Its time runs from when its link came up, which is recorded as a span since the question."""
    for at in (0.0, 10.0):
        race = ReplayedRace(at, Type.A, 0.7, "10.0.0.1", {"TS1": 0.5}, {"TS1": (0.2, "10.0.0.1")})
        assert close(replay([race], ["TS1"], balancer(1)), [0.7])


def test_a_reply_at_the_very_end_of_its_time_is_in_time() -> None:
    assert replay(two((BOUNDS.timeout_s, None)), ["TS1", "TS2"], balancer(2)).timed_out == 0


def test_events_of_one_moment_are_played_in_their_order() -> None:
    """Of two races that begin together, and are replied to together, the first is the first."""
    races = [replace(race, at=0.0) for race in two((0.1, None), (0.1, None), (0.1, None))]
    asked: list[bytes] = []
    brain = balancer(1)
    step = brain.step

    def watched(event: Event, now: float) -> list[Effect]:
        asked.extend(split_lines(event.data) if isinstance(event, Received) else [])
        return step(event, now)

    brain.step = watched  # type: ignore[method-assign]
    replay(races, ["TS1"], brain)
    assert [line.partition(b" ")[0] for line in asked] == [b"r0", b"r1", b"r2"] * 2


# -- the command -----------------------------------------------------------------------------------

Play = Callable[..., tuple[int, str, str]]


@pytest.fixture
def play(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Play:
    """A function that replays a file of these bytes; it returns exit code, output and log, in which
    the file is called FILE."""
    path = tmp_path / "races.jsonl"

    def played(data: bytes, *words: str) -> tuple[int, str, str]:
        path.write_bytes(data)
        code = main(["replay", *words, str(path)])
        out, err = capfd.readouterr()
        return code, out, err.replace(str(path), "FILE")

    return played


def test_the_command_plays_each_policy_that_is_asked_for(play: Play) -> None:
    """In the order of time, whatever the order of records."""
    records = [line(at=n / 8) + b"\n" for n in range(20)]
    data = b"".join(records)
    code, out, _ = play(data)
    assert play(b"".join(records[::-1])) == (0, out, "")
    head, *rows = out.partition("\nextra: ")[0].splitlines()
    assert code == 0 and head == HEAD
    assert [row[:14].rstrip() for row in rows] == [
        "as recorded", "race", "single TS1", "single TS2", "hedge"
    ]  # fmt: skip
    assert rows[0][14:] == rows[1][14:]
    extra = [float(row.split()[-4]) for row in rows]
    assert extra[:-1] == [100.0, 100.0, 0.0, 0.0] and 0 <= extra[-1] <= 10
    code, out, _ = play(data, "--policy", "single", "--policy", "race")
    rows = out.partition("\nextra: ")[0].splitlines()[2:]
    assert code == 0
    assert [row[:14].rstrip() for row in rows] == ["single TS1", "single TS2", "race"]


def test_tiers_are_one_more_policy_of_the_records_names(play: Play) -> None:
    """Also where a number is missing, so that the replay calls the servers otherwise."""
    asked = {"TS2": 0.0, "TS3": 0.0, "TS5": 0.0}
    replies = {"TS2": [0.1, "NOT FOUND"], "TS3": [0.2, "10.0.0.1"], "TS5": [0.1, "10.0.0.5"]}
    record = line(asked=asked, replies=replies, winner="TS5") + b"\n"
    code, out, _ = play(record, "--tier", "3=TS5", "--tier", "2=TS3", "--json")
    made = json.loads(out)["policies"]
    assert code == 0 and list(made)[-1] == "tiers"
    tiers = made.pop("tiers")
    assert made == json.loads(play(record, "--json")[1])["policies"], "the others are the same"
    assert tiers["flags"] == ["--tier", "2=TS3", "--tier", "3=TS5"]
    assert (tiers["p50_s"], tiers["extra"], tiers["changed"]) == (0.3, 1.0, 1)
    code, out, _ = play(record, "--policy", "race", "--tier", "2=TS5,TS3")
    rows = out.partition("\nextra: ")[0].splitlines()[2:]
    assert (code, [row[:14].rstrip() for row in rows]) == (0, ["race", "tiers"])


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        ("2=TS3", "TS3 was asked in none of the races; there are TS1, TS2"),
        ("2=TS1,TS2", "no server is left in tier 1; there are TS1, TS2"),
    ],
)
def test_tiers_of_other_servers_are_refused(tier: str, said: str, play: Play) -> None:
    code, out, err = play(line() + b"\n", "--tier", tier)
    assert (code, out, err) == (2, "", f"photofinish: --tier: {said}\n")


def slow_at_times(count: int) -> bytes:
    """Write records, 10 ms apart, in which each TS is slow in one race of fifty."""
    records = []
    for n in range(count):
        waits = {"TS1": 0.2 if n % 50 == 0 else 0.005, "TS2": 0.2 if n % 50 == 25 else 0.006}
        replies = {server: [wait_s, "10.0.0.1"] for server, wait_s in waits.items()}
        winner = min(waits, key=waits.__getitem__)
        records.append(line(at=n / 100, replies=replies, winner=winner, took=waits[winner]))
    return b"\n".join([*records, b""])


def test_the_verdict_ends_the_output_with_the_flags_to_use(play: Play) -> None:
    data = slow_at_times(1_000)
    words = ("--max-extra-load", "0.2", "--timeout", "4")
    code, out, err = play(data, *words)
    flags = "--policy hedge --max-extra-load 0.2 --timeout 4"
    said = out.partition("\n\n")[2].splitlines()
    assert (code, err) == (0, "") and said[0] == "On these races, by p99:"
    assert said[4] == f"Take hedge: ls ... {flags}"
    code, out, err = play(data, *words, "--json")
    assert (code, err, out.count("\n")) == (0, "", 1)
    made = json.loads(out)
    assert made["servers"] == ["TS1", "TS2"]
    assert (made["verdict"]["text"], made["verdict"]["flags"]) == (said, flags.split())
    assert made["policies"]["race"]["flags"] == ["--policy", "race", "--timeout", "4"]
    assert made["policies"]["single TS1"]["flags"] == ["--timeout", "4"]
    assert (
        made["policies"]["single TS1"]["p99_s"] == made["verdict"]["times_s"]["single TS1"] == 0.2
    )
    assert made["as_recorded"]["questions"] == made["policies"]["hedge"]["questions"] == 1_000


def test_a_log_of_one_server_or_of_few_races_has_no_verdict(play: Play) -> None:
    alone = line(asked={"TS1": 0.0}, replies={"TS1": [0.1, "10.0.0.1"]}, margin=None) + b"\n"
    for data, why in (
        (alone, "No verdict: TS1 is the only server, whatever the policy.\n"),
        (line() + b"\n", "No verdict: 1 race had a reply, and 1,000 are needed.\n"),
    ):
        code, out, _ = play(data)
        assert code == 0 and out.endswith(f"\n\n{why}")


def test_a_line_that_was_cut_and_a_dropped_race_are_left_out(play: Play) -> None:
    dropped = line(winner=None, margin=None, end="DROPPED", took=0.01)
    code, out, err = play(b"\n".join([line(), dropped, line(at=1.0), line()[:99]]))
    assert (code, err) == (0, "") and out.splitlines()[1].split()[2] == "2"
    assert "askers left before the reply: 1\n" in out
    assert json.loads(play(dropped + b"\n" + line() + b"\n", "--json")[1])["dropped"] == 1


def test_a_replay_waits_as_long_as_it_is_told(play: Play) -> None:
    silent = line(replies={}, winner=None, margin=None, end="TIMED_OUT", took=5.0) + b"\n"
    for words, longest in (((), "5000.0"), (("--timeout", "0.5"), "500.0")):
        code, out, _ = play(silent, "--policy", "race", *words)
        assert code == 0 and out.splitlines()[2].split()[2] == longest
        assert "timed out when recorded: 1\n" in out


NO_RACES = (
    "photofinish: there are no races in FILE that can be replayed; to record some: "
    "ls --race-sample SHARE --race-log FILE\n"
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", NO_RACES),
        (b"\n\n", NO_RACES),
        (b"x\n", "FILE:1: it is no record of a race: it is no JSON; left out\n" + NO_RACES),
        (line(policy="hedge") + b"\n", "FILE:1: it was recorded under hedge"),
        (b'{"at":1}\n'.decode().encode("utf-16"), "FILE looks like UTF-16; save it as UTF-8\n"),
        (gzip.compress(b'{"at":1}\n' * 99), "FILE looks like a gzip file; unpack it\n"),
        (b'{"at":1}\r' * 99, "FILE ends its lines with CR alone; save it with LF\n"),
    ],
    ids=["empty", "blank", "no record", "hedge", "UTF-16", "gzip", "CR"],
)
def test_a_file_without_a_race_is_refused_with_the_reason(
    data: bytes, said: str, play: Play
) -> None:
    """In a line for each bad record, and in one line where the file is no text."""
    code, out, err = play(data)
    assert (code, out) == (1, "") and err.removeprefix("photofinish: ").startswith(
        said.removeprefix("photofinish: ")
    )
    assert err.count("\n") == (2 if "FILE:1" in said else 1)
    assert NO_RACES in err or "FILE:1" not in err


def test_a_bad_record_is_one_line_and_the_good_ones_are_played(play: Play) -> None:
    code, out, err = play(b"\n".join([line(), line(policy="\x1b[2J"), line(at=1.0), b""]))
    why = "it is no record of a race: its 'policy' is missing, or is not as LS writes it"
    assert (code, err) == (1, f"FILE:2: {why}; left out\n")
    head, first, *rest = out.partition("\nextra: ")[0].splitlines()
    assert head == HEAD and first.split()[:3] == ["as", "recorded", "2"] and len(rest) == 4
    code, out, again = play(b"\n".join([line(), line(policy="\x1b[2J"), b""]), "--json")
    assert (code, again) == (1, err) and json.loads(out)["bad_records"] == 1


@pytest.mark.parametrize(("bad", "rest"), [(10, 0), (11, 1), (1_500, 1_490)])
def test_bad_records_beyond_ten_are_counted(bad: int, rest: int, play: Play) -> None:
    code, _, err = play(b"x\n" * bad + line() + b"\n", "--policy", "race")
    said = err.splitlines()
    assert code == 1
    assert [text.split(":")[1] for text in said[:10]] == [str(n) for n in range(1, 11)]
    assert said[10:] == ([f"FILE: {rest:,} more bad records; left out"] if rest else [])


def test_a_file_whose_name_has_an_escape_is_named_without_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "races\x1b[2J"
    assert main(["replay", str(path)]) == 1
    path.write_bytes(b"x\n")
    assert main(["replay", str(path)]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("races\\x1b[2J") == 3 and err.replace("\n", "").isprintable()


def test_records_of_a_time_without_any_ts_are_refused(play: Play) -> None:
    record = line(asked={}, replies={}, winner=None, margin=None, end="TIMED_OUT", took=5.0)
    code, out, err = play(record + b"\n")
    assert (code, out) == (1, "")
    assert err == "photofinish: no table server was up in any of the races of FILE\n"


# -- records of a real run -------------------------------------------------------------------------

delays_s = st.one_of(st.none(), st.integers(1, 5_100_000).map(lambda us: us / 1e6))
quick_s = st.integers(1_000, 60_000).map(lambda us: us / 1e6)
DENIALS = b"NOT FOUND", b"NO DATA", b"NAMES BELOW", b"BLOCKED"


@dataclass
class Script:
    """The script of a run: what is asked when, and each TS's delay for it and what it says."""

    asked: list[tuple[float, bytes]]  # s since the one before; the name
    ways: dict[bytes, list[tuple[float | None, bytes]]]  # by name: of each TS


@st.composite
def scripts(draw: st.DrawFn, delays: st.SearchStrategy[float | None], denies: bool) -> Script:
    """No name is asked twice within the time of a race: then it would be another race's."""
    asked, ways = [], {}
    for number in range(draw(st.integers(1, 12))):
        name = b"n%d" % number if draw(st.booleans()) else b"n%d AAAA" % number
        asked.append((draw(st.integers(0, 400_000)) / 1e6, name))
        sets = [b"10.0.0.1", b"10.0.0.1,10.0.0.2"] if b" " not in name else [b"::1", b"::2"]
        says = sets + (list(DENIALS) if denies else [])
        way = []
        for _ in range(2):
            way.append((draw(delays), draw(st.sampled_from(says))))
        ways[name] = way
    return Script(asked, ways)


class RecordedStage(Stage):
    """A stage that keeps the records, and on which TSs follow a script."""

    def __init__(self, script: Script, bounds: Bounds) -> None:
        addresses = [((2, (f"TS{n}", 1)),) for n in (1, 2)]
        brain = load_balancer(addresses, bounds, lambda: 0.0, sample=1.0)
        super().__init__(brain, bounds)
        self.script = script
        self.records: list[bytes] = []
        self.coming: list[tuple[float, int, str, bytes]] = []
        self.number = count()

    def perform(self, effect: Effect) -> None:
        match effect:
            case Record(data):
                self.records += split_lines(data)
            case Send(conn, data) if conn.startswith("TS"):
                for question in split_lines(data):
                    delay_s, what = self.script.ways[question][int(conn[2:]) - 1]
                    if delay_s is not None:
                        self.later(self.now + delay_s, conn, reply(question, what))
        super().perform(effect)

    def later(self, when: float, conn: str, data: bytes) -> None:
        heapq.heappush(self.coming, (when, next(self.number), conn, data))

    def run(self) -> dict[bytes, tuple[float, bytes]]:
        """Play the script; by name when its reply came and what it was."""
        self.begin()
        self.connect("TS1")
        self.connect("TS2")
        self.accept("a")
        at, asked_at, got = self.now, {}, {}
        for gap_s, name in self.script.asked:
            at += gap_s
            asked_at[name] = at
            self.later(at, "a", name + b"\n")
        while self.coming or self.brain.due < math.inf:
            due = self.brain.due
            if self.coming and self.coming[0][0] <= due:
                self.now, _, conn, data = heapq.heappop(self.coming)
                self.hear(conn, data)
            else:
                self.now = due
                self.step(Woken())
            for said in split_lines(self.take("a")):
                name = said.split(b" ")[0] + (b" AAAA" if b" AAAA" in said else b"")
                got[name] = (self.now - asked_at[name], said)
        return got


def reply(question: bytes, what: bytes) -> bytes:
    name, _, kind = question.partition(b" ")
    if what in DENIALS:
        return question + b" - " + what + b"\n"
    return b"%b %b %b IN\n" % (name, what, kind or b"A")


def recorded(script: Script) -> tuple[list[ReplayedRace], dict[bytes, tuple[float, bytes]]]:
    """Return the records of a run, in the order of asking, and what the client got."""
    stage = RecordedStage(script, BOUNDS)
    got = stage.run()
    assert len(stage.records) == len(script.asked) == len(got)
    return sorted(map(parse, stage.records), key=lambda race: race.at), got


def are_apart(script: Script) -> bool:
    """Return whether no two things happen so close that a rounded time may change their order."""
    for way in script.ways.values():
        times = [delay_s for delay_s, _ in way if delay_s is not None]
        times += [BOUNDS.timeout_s, *(delay_s + BOUNDS.no_data_s for delay_s in times)]
        if any(abs(a - b) < 1e-5 for i, a in enumerate(times) for b in times[:i]):
            return False
    return True


@given(st.one_of(scripts(delays_s, denies=False), scripts(quick_s, denies=True)))
def test_a_run_replayed_under_race_takes_as_long_as_it_took(script: Script) -> None:
    """Each of its questions, to the last millionth; and nothing is answered otherwise."""
    assume(are_apart(script))
    races, got = recorded(script)
    outcome = replay(races, ["TS1", "TS2"], balancer(2))
    assert sorted(outcome.took_s) == pytest.approx(sorted(s for s, _ in got.values()), abs=1e-5)
    assert sorted(outcome.took_s) == pytest.approx(sorted(r.took_s for r in races), abs=3e-6)
    timed_out = sum(said.endswith(b"TIMED OUT") for _, said in got.values())
    assert (outcome.sent, outcome.timed_out, outcome.changed) == (2 * len(races), timed_out, 0)
    before = as_recorded(races)
    assert (before.sent, before.timed_out) == (outcome.sent, outcome.timed_out)
    assert outcome.quantiles_s() == pytest.approx(before.quantiles_s(), abs=3e-6)


@given(scripts(delays_s, denies=True), st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_hedge_answers_whatever_somebody_answered_in_time(
    script: Script, extra_load: float
) -> None:
    """No later than a second after it would have been: then everyone is asked."""
    assume(are_apart(script))
    races, _ = recorded(script)
    outcome = replay(races, ["TS1", "TS2"], balancer(2, extra_load))
    assert len(outcome.took_s) == len(races)
    assert len(races) <= outcome.sent <= 2 * len(races)
    hopeless = sum(
        all(delay_s is None or delay_s > 3.9 or what in DENIALS for delay_s, what in way)
        for way in script.ways.values()
    )
    assert outcome.timed_out <= hopeless


def test_a_dropped_race_is_no_changed_answer() -> None:
    """A race that was dropped says nothing about what a policy would have changed."""
    replies = {"TS1": [0.2, "10.0.0.1"], "TS2": [0.3, "10.0.0.1"]}
    race = parse(line(replies=replies, winner=None, margin=None, end="DROPPED", took=0.01))
    assert replay([race], ["TS1", "TS2"], balancer(2)).changed == 0


def test_hedge_loses_nothing_when_more_than_a_slice_is_asked() -> None:
    """Nobody tells the load balancer that its TS is relieved."""
    bounds = replace(BOUNDS, waiting_bytes_high=100, waiting_bytes_low=50)
    races = [replace(race, at=0.0) for race in two(*[(None, 0.1)] * 100)]
    outcome = replay(races, ["TS1", "TS2"], balancer(2, 0.05, bounds))
    assert outcome.timed_out == 0
