"""Top: what it shows of replies to STATS, and its brain, which asks for them.

Not here: a real terminal (`tests/nodes/test_terminal.py`, `tests/processes/test_top.py`).
"""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.protocol.names import Command
from nodes.top.frame import Row, Style, server_frame
from nodes.top.poll import Between, Poll
from nodes.top.screen import fitted, painted, plain
from nodes.top.top import KEYS, WATCHED, Top
from tests.support.stage import Stage

WALL = 1_795_953_999.0
WHERE = "localhost:5300"
SERVER = (
    "asked won no_data names_below not_found refused failed bogus truncated malformed late none"
)
ASK = Command.STATS.value + b"\n"


def server(name: str, state: str = "UP", why: str = "-", **counts: object) -> dict[str, str]:
    """Return what STATS tells of a server."""
    told = dict.fromkeys(SERVER.split(), "0") | {key: str(count) for key, count in counts.items()}
    told |= {"state": state, "since": str(WALL - 55), "why": why, "link": "UP"}
    return {f"{name}.{key}": value for key, value in told.items()}


def told(**values: object) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def shown(
    now: dict[str, str], before: dict[str, str] | None = None, seconds: float = 60.0
) -> list[Row]:
    """Return the frame of two replies, or of one."""
    poll = Poll(100.0 + seconds, now)
    minute = Between(poll, None if before is None else Poll(100.0, before))
    return server_frame(WHERE, WALL, minute, minute)


def text(rows: Sequence[Row]) -> str:
    return "\n".join(row.text.rstrip() for row in rows)


# -- frames ----------------------------------------------------------------------------------------

MINUTE_AGO = {
    **told(asked=1_000, answered=900, failed=50, timed_out=50),
    **server("TS1", won=800),
    **server("DNS1", won=100),
    "lines.answered_seconds.141": "900",
    "timeout_s.hits": "50",
}
NOW = {
    **told(asked=13_000, answered=12_780, failed=50, timed_out=170, pending=12),
    **told(clients=3, clients_max=992),
    **server("TS1", won=9_980, none=30, not_found=600, no_data=30, names_below=30),
    **server("DNS1", "FAILING", "failures only in its last 212 replies", won=2_800, failed=600),
    "lines.answered_seconds.141": "11900",
    "dns.timed_out_seconds.inf": "1000",
    "TS1.answer_seconds.141": "100",
    "TS1.answer_seconds.200": "100",
    "W1.state": "UP",
    "W1.clients": "3",
    "W1.restarts": "0",
    "W1.old": "0",
    "W2.state": "STARTING",
    "W2.clients": "0",
    "W2.restarts": "4",
    "W2.old": "1",
    "timeout_s.hits": "170",
    "clients_max.hits": "0",
}
FRAME = """\
localhost:5300  2026-11-29 12:06:39Z  the last 60 s
1 of 2 servers is bad
  DNS1 FAILING since 12:05:44Z: failures only in its last 212 replies
errors 1.00 %   p50 0.12 ms   p99 >9270 ms
questions/s 200, now 200   in flight 12   clients 3 of 992

replies/s                wins   won empty unkn.  fail  late  none  p50ms  p99ms
TS1    UP          12:05  77%   153     1    10     0     0   0.5   0.14   0.20
DNS1   FAILING     12:05  23%    45     0     0    10     0     0      -      -

W1     UP          3 clients, 0 restarts
W2     STARTING    0 clients, 4 restarts, does not report

bounds that took hold: timeout_s 120"""


def test_a_frame_is_of_what_happened_between_two_replies() -> None:
    rows = shown(NOW, MINUTE_AGO)
    assert text(rows) == FRAME
    bad = [row.text.split()[0] for row in rows if row.style is Style.BAD]
    assert bad == ["1", "DNS1", "DNS1", "W2"]  # errors: of the minute exactly 1 %, of all 1.7


def test_a_frame_has_a_row_for_each_tier() -> None:
    before = {**MINUTE_AGO, "tier1.asked": "0", "tier1.slow": "0", "tier1.won": "0"}
    tiers = {"tier1.asked": "12000", "tier1.slow": "6", "tier1.won": "600"}
    tiers |= {"tier2.asked": "11400", "tier2.slow": "0", "tier2.won": "10920"}
    rows = ["tier1  asked 200/s, slow 0.1/s, won 10/s", "tier2  asked 190/s, slow 0/s, won 182/s"]
    assert text(shown({**NOW, **tiers}, before)).split("\n")[9:13] == ["", *rows, ""]
    assert "tier2  asked 11k, slow 0, won 11k" in text(shown({**NOW, **tiers}))


@pytest.mark.parametrize(
    ("days", "said", "style"),
    [
        (None, "", Style.PLAIN),
        ("83.6", "   certificate ends in 84 days", Style.PLAIN),
        ("13.9", "   certificate ends in 14 days", Style.BAD),
        ("-2.0", "   certificate has ended", Style.BAD),
    ],
)
def test_a_frame_has_a_row_for_tls(days: str | None, said: str, style: Style) -> None:
    tls = {"tls_handshakes": "120", "tls_failed_expired": "5", "tls_failed_refused": "1"}
    tls |= {} if days is None else {"tls_days": days}
    before = {**MINUTE_AGO, **dict.fromkeys(tls, "0")}
    row = Row(f"TLS handshakes/s 2, failed 0.1{said}", style)
    assert shown({**NOW, **tls}, before)[5] == row and len(row.text) <= 80
    assert f"TLS handshakes 120, failed 6{said}" in text(shown({**NOW, **tls}))


def test_a_frame_fits_into_80_columns_and_24_lines() -> None:
    rows = shown(NOW, MINUTE_AGO)
    assert len(rows) <= 24 and max(len(row.text) for row in rows) <= 80
    assert [row.text for row in fitted(rows, 80, 24)][: len(rows)] == [r.text[:80] for r in rows]


def test_one_reply_makes_a_frame_of_totals() -> None:
    rows = text(shown(NOW))
    assert "all since its start" in rows and "errors 1.69 %" in rows
    assert "questions 13,000   in flight 12" in rows and "replies  " in rows
    assert "TS1    UP          12:05  78%  9980    60   600     0     0    30" in rows


@pytest.mark.parametrize(
    ("answered", "failed", "style"), [(98, 2, Style.BAD), (99, 1, Style.PLAIN), (0, 0, Style.PLAIN)]
)
def test_a_share_of_errors_above_a_hundredth_is_red(
    answered: int, failed: int, style: Style
) -> None:
    before = told(answered=1_000, failed=1_000)  # a share of a half
    now = told(answered=1_000 + answered, failed=1_000 + failed)
    (row,) = (row for row in shown(now, before) if row.text.startswith("errors"))
    assert row.style is style


@pytest.mark.parametrize(
    ("values", "verdict", "style"),
    [
        ({}, "there is no server to ask", Style.BAD),
        (told(rows=1_200), "a table of 1,200 names", Style.GOOD),
        (server("TS1"), "1 of 1 servers is good", Style.GOOD),
        (server("TS1", "NEW") | server("TS2", "UP/NEW"), "2 of 2 servers are good", Style.GOOD),
        (server("TS1", "UP/SILENT"), "1 of 1 servers is bad", Style.BAD),
        (server("A", "DOWN") | server("B", "SILENT"), "2 of 2 servers are bad", Style.BAD),
    ],
)
def test_the_verdict_names_what_is_bad(values: dict[str, str], verdict: str, style: Style) -> None:
    assert shown(values)[1] == Row(verdict, style)


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (str(WALL), "12:06:39Z"), (f"{WALL}/{WALL - 10}/0.0", "12:06:29Z"),
        (str(WALL - 86_400), "11-28"), ("0.0", "-"), ("nan", "-"), ("1e99", "-"), ("x", "-"),
    ],
)  # fmt: skip
def test_a_bad_server_is_bad_since_a_time_of_day(since: str, said: str) -> None:
    values = server("TS1", "DOWN", "gone") | {"TS1.since": since}
    assert shown(values)[2].text == f"  TS1 DOWN since {said}: gone"


def test_a_server_that_is_bad_to_one_worker_is_bad() -> None:
    """Workers' words stand side by side; the table has the bad ones only."""
    rows = shown(server("DNS1", "NEW/UNREACHABLE", "-/input/output error"))
    assert rows[2].text == "  DNS1 NEW/UNREACHABLE since 12:05:44Z: input/output error"
    assert rows[-1].text.startswith("DNS1   UNREACHABLE 12:05") and rows[-1].style is Style.BAD


def test_a_counter_that_has_fallen_has_not_moved() -> None:
    rows = text(shown(told(asked=5, answered=5), told(asked=9, answered=9)))
    assert "questions/s 0, now 0" in rows and "errors 0.00 %" in rows


@pytest.mark.parametrize("value", ["nan", "-inf", "1e999", "-", "1/2"])
def test_a_value_that_is_no_number_counts_as_0(value: str) -> None:
    assert "questions 0 " in text(shown(told(asked=value)))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0"), (7, "7"), (9_999, "9999"), (10_000, "10k"), (1_234_567, "1235k"),
        (12_345_678, "12M"), (2**62, "1000T"),
    ],
)  # fmt: skip
def test_a_large_count_stays_in_its_column(count: int, said: str) -> None:
    row = next(row for row in shown(server("TS1", late=count)) if row.text.startswith("TS1"))
    assert row.text.split()[8] == said and len(row.text) == 79


WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=300)
NUMBERS = st.one_of(st.integers(-5, 2**70), st.floats()).map(str)
KEYS_OF_STATS = st.one_of(st.sampled_from(sorted(NOW)), st.from_regex(r"\A[A-Za-z0-9_.]{1,200}\Z"))
REPLIES = st.dictionaries(KEYS_OF_STATS, st.one_of(NUMBERS, WORDS), max_size=40)


@given(REPLIES, REPLIES, st.integers(1, 200), st.integers(1, 60), st.floats(0, 61))
def test_any_replies_make_a_frame_that_fits(
    now: dict[str, str], before: dict[str, str], columns: int, lines: int, seconds: float
) -> None:
    rows = shown(NOW | now, MINUTE_AGO | before, seconds)
    drawn = painted(rows, columns, lines).decode()
    bare = re.sub(r"\x1b\[(?:H|K|\d*m)", "", drawn).split("\r\n")
    assert len(bare) == lines and max(map(len, bare)) <= columns
    assert "".join(bare).isprintable() and plain(rows).decode().replace("\n", "").isprintable()


def test_a_frame_that_is_too_high_says_how_much_is_missing() -> None:
    rows = [Row(str(n)) for n in range(10)]
    assert [row.text for row in fitted(rows, 40, 3)] == ["0", "1", "... and 8 more rows"]


# -- the brain -------------------------------------------------------------------------------------


def reply(values: dict[str, str]) -> bytes:
    return "".join(f"STAT {key} {value}\n" for key, value in values.items()).encode() + b"END\n"


def watching(*, is_redrawn: bool = False, once: bool = False) -> Stage:
    """Begin a brain whose frames are plain, and connect it."""
    env = Environment(Bounds(), wall=lambda: WALL)
    addresses = ((2, ("127.0.0.1", 1)),)
    brain = Top(addresses, WHERE, env, plain, is_redrawn=is_redrawn, once=once)
    stage = Stage.begun(brain)
    if not once:
        stage.accept(KEYS)
    return stage


def said(stage: Stage) -> str:
    """Return what was written since the last time."""
    text = stage.written.decode()
    stage.written.clear()
    return text


def polled(stage: Stage, values: dict[str, str]) -> str:
    """Reply to the STATS that was asked; return what that shows, and wait for the next."""
    assert stage.take(WATCHED) == ASK
    stage.hear(WATCHED, reply(values))
    stage.wait(1)
    return said(stage)


def test_it_asks_once_a_second_and_shows_each_reply() -> None:
    stage = watching()
    stage.connect(WATCHED)
    assert "questions 5 " in polled(stage, told(asked=5))
    assert "questions/s 10, now 10" in polled(stage, told(asked=15))
    assert "questions/s 15, now 20" in polled(stage, told(asked=35))


def test_a_metric_that_is_not_known_is_skipped() -> None:
    """[P88]: a newer server may have others, of the whole and of its servers."""
    stage = watching()
    stage.connect(WATCHED)
    newer = {"brand_new": "1", "TS1.brand-new": "NEVER SEEN", "my-dns.brand.new": "-"}
    assert "questions 5 " in polled(stage, newer | told(asked=5) | server("TS1"))


def test_its_figures_are_of_the_last_minute() -> None:
    stage = watching()
    stage.connect(WATCHED)
    polled(stage, told(answered=0, failed=0))
    assert "errors 100.00 %" in polled(stage, told(answered=0, failed=50))
    for second in range(1, 60):
        assert " s\n" in polled(stage, told(answered=second, failed=50))
    shows = polled(stage, told(answered=60, failed=50))
    assert "the last 60 s" in shows and "errors 0.00 %" in shows


def test_a_reply_may_come_in_pieces_and_late() -> None:
    stage = watching()
    stage.connect(WATCHED)
    stage.wait(4)
    assert stage.take(WATCHED) == ASK
    for byte in reply(told(asked=5)):
        stage.hear(WATCHED, bytes([byte]))
    assert "questions 5 " in said(stage)


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (b"- ERROR BUSY\nBYE\n", "BUSY: the server has as many clients as it can take"),
        (b"BYE\n", "it is shutting down, or needs our place"),
        (b"", "it closed the connection"),
    ],
)
def test_it_says_why_the_server_is_away_and_comes_back(heard: bytes, why: str) -> None:
    stage = watching()
    stage.connect(WATCHED)
    polled(stage, told(asked=5))
    stage.hear(WATCHED, heard)
    stage.end(WATCHED)
    assert f"no figures from {WHERE}: {why}" in said(stage) and stage.dialled == []
    stage.wait(1)
    stage.refuse(WATCHED)
    assert "connection refused; trying again each second" in said(stage)
    stage.wait(1)
    stage.refuse(WATCHED)
    assert said(stage) == ""  # the same line again
    stage.wait(1)
    stage.take(WATCHED)
    stage.connect(WATCHED)
    assert "all since its start" in polled(stage, told(asked=5))


def test_a_line_that_is_redrawn_is_said_each_second() -> None:
    stage = watching(is_redrawn=True)
    for _ in range(3):
        stage.refuse(WATCHED)
        assert "connection refused" in said(stage)
        stage.wait(1)


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (b"", "no reply for 5 s; if it is the port of --metrics, try PORT"),
        (
            b"HTTP/1.1 400 Bad Request\n",
            "it does not speak this protocol; if it is the port of --metrics, try PORT",
        ),
        (b"STAT x \x1b[2J\n", "it does not speak this protocol"),
        (b"".join(b"STAT a%d 1\n" % n for n in range(50_001)), "it does not speak this protocol"),
    ],
    ids=["silent", "http", "escape", "endless"],
)
def test_a_server_of_no_use_is_left_and_dialled_again(heard: bytes, why: str) -> None:
    stage = watching()
    stage.connect(WATCHED)
    stage.hear(WATCHED, heard)
    stage.wait(5)
    assert f"no figures from {WHERE}: {why}" in said(stage)
    stage.wait(1)
    assert stage.dialled == [WATCHED]


def test_stats_that_is_refused_is_asked_again_a_second_later() -> None:
    stage = watching()
    stage.connect(WATCHED)
    stage.hear(WATCHED, b"- ERROR TOOMANY\n")
    stage.take(WATCHED)
    stage.wait(0.9)
    assert (stage.take(WATCHED), said(stage)) == (b"", "")
    stage.wait(0.1)
    assert "questions 5 " in polled(stage, told(asked=5))


@pytest.mark.parametrize("how", ["q", "Q", "keys end", "signal", "hangup"])
@pytest.mark.parametrize("state", ["dialling", "asked", "resting", "away"])
def test_somebody_ends_it_whatever_it_does(how: str, state: str) -> None:
    stage = watching()
    if state == "away":
        stage.refuse(WATCHED)
    elif state != "dialling":
        stage.connect(WATCHED)
        if state == "resting":
            stage.hear(WATCHED, reply({}))
    stage.hear(KEYS, b"x\n\x1b\n")
    assert stage.exit_code is None
    if how == "signal":
        stage.drain()
    elif how == "hangup":
        stage.reload()
    elif how == "keys end":
        stage.end(KEYS)
    else:
        stage.hear(KEYS, f"x\n{how}\n".encode())
    assert (stage.exit_code, stage.reports) == (0, [])


def test_one_frame_is_shown_and_that_is_all() -> None:
    stage = watching(once=True)
    stage.connect(WATCHED)
    stage.hear(WATCHED, reply(told(asked=5)))
    assert "all since its start" in said(stage) and stage.exit_code == 0


@pytest.mark.parametrize("how", ["refused", "silent", "signal"])
def test_one_frame_that_cannot_be_had_is_a_failure(how: str) -> None:
    stage = watching(once=True)
    if how == "refused":
        stage.refuse(WATCHED)
    else:
        stage.connect(WATCHED)
        if how == "silent":
            stage.wait(5)
        else:
            stage.drain()
    assert stage.exit_code == 1 and len(stage.reports) == 1 and said(stage) == ""
