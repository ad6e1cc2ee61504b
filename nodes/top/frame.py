"""Frame: what `top` shows of a server, as rows of text, from its replies to STATS. Pure.

The verdict comes first, and under it what clients have of it; then servers, workers and bounds: a
terminal that is too low loses the end. At ordinary figures a row fits into 80 columns.

Texts are those of the replies, and these are printable ASCII by their grammar
(`core/protocol/messages.py`); each is cut, so that no name pushes the figures out of sight.

Not here: how rows get onto a terminal (`nodes/top/screen.py`).
"""

from dataclasses import dataclass
from enum import Enum

from core.metrics import SPANS_S
from core.time_of_day import utc_text
from core.tls import SOON_DAYS, end_text
from nodes.top.poll import FACES, Between, Poll

_ERRORS_MAX = 0.01  # share of questions: with more, clients suffer
_GOOD = frozenset({"UP", "NEW"})  # of `nodes/ls/health.py`
_DAY_S = 86_400
_TIME_MAX_S = 4e9  # of day, s since 1970; what is beyond is no time
_NAME_LETTERS_MAX = 12
_STATE_LETTERS_MAX = 23
_ENDED = ("answered", "no_data", "not_found", "failed", "timed_out", "unknown")
_ERRORS = ("failed", "timed_out")
_RESULTS = (  # a column for each: its head, and the replies that it adds up
    ("won", ("won",)),
    ("empty", ("no_data", "names_below")),
    ("unkn.", ("not_found",)),
    ("fail", ("failed", "refused", "bogus", "truncated", "malformed")),
    ("late", ("late",)),
    ("none", ("none",)),
)


class Style(Enum):
    """The ways in which a row is shown where a terminal can."""

    PLAIN = "as it is"
    TITLE = "bold"
    HEAD = "faint"
    GOOD = "green"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of text."""

    text: str
    style: Style = Style.PLAIN


def away_frame(why: str) -> list[Row]:
    """Return what is shown without a server."""
    return [Row(f"{why}; trying again each second", Style.BAD)]


def server_frame(where: str, wall: float, minute: Between, moment: Between) -> list[Row]:
    """Return what is shown of the server at `where`, at this time of day (s since 1970).

    `minute` is the last minute, as far as it was seen, and `moment` the time since the last poll.
    """
    now = minute.now
    servers = now.with_metric("link")
    span = f"the last {minute.seconds:.0f} s" if minute.seconds else "all since its start"
    return [
        Row(f"{where}  {utc_text(wall, 1)[:10]} {utc_text(wall, 1)[11:19]}Z  {span}", Style.TITLE),
        *_verdict(now, servers, wall),
        *_clients(minute, moment),
        *_tls(minute),
        *_servers(minute, servers, wall),
        *_tiers(minute),
        *_workers(now),
        *_bounds(minute),
    ]


def _is_good(state: str) -> bool:
    """Return whether a server is good, by the word of each worker."""
    return _GOOD.issuperset(state.split("/"))


def _worst(state: str) -> str:
    """Return the words of workers to whom a server is bad; all, if there is no such worker."""
    return "/".join(word for word in state.split("/") if word not in _GOOD) or state


def _verdict(now: Poll, servers: list[str], wall: float) -> list[Row]:
    """Return whether servers are good; of each that is not, since when, and why."""
    if not servers:
        if "rows" in now.values:
            return [Row(f"a table of {now.number('rows'):,.0f} names", Style.GOOD)]
        return [Row("there is no server to ask", Style.BAD)]
    bad = [name for name in servers if not _is_good(now.text(f"{name}.state"))]
    if not bad:
        return [Row(f"{_share(len(servers), len(servers))} good", Style.GOOD)]
    rows = [Row(f"{_share(len(bad), len(servers))} bad", Style.BAD)]
    for name in bad:
        state = now.text(f"{name}.state")[:_STATE_LETTERS_MAX]
        since = _since(now.first_time(f"{name}.since"), wall)
        why = now.text(f"{name}.why").removeprefix("-/").removesuffix("/-")  # good to a worker
        text = f"  {name[:_NAME_LETTERS_MAX]} {state} since {since}: {why}"
        rows.append(Row(text, Style.BAD))
    return rows


def _share(count: int, of: int) -> str:
    return f"{count} of {of} servers {'is' if count == 1 else 'are'}"


def _clients(minute: Between, moment: Between) -> list[Row]:
    """Return what clients have of the server."""
    now = minute.now
    asked = (
        f"questions/s {minute.rate('asked'):,.0f}, now {moment.rate('asked'):,.0f}"
        if minute.seconds
        else f"questions {minute.count('asked'):,.0f}"
    )
    ended, errors = minute.count(*_ENDED), minute.count(*_ERRORS)
    share = errors / ended if ended else 0.0
    p50_s, p99_s = minute.quantiles_s((0.5, 0.99), of=FACES)
    clients = f"clients {now.number('clients'):,.0f} of {now.number('clients_max'):,.0f}"
    style = Style.BAD if share > _ERRORS_MAX else Style.PLAIN
    return [
        Row(f"errors {share * 100:.2f} %   p50 {_ms(p50_s)} ms   p99 {_ms(p99_s)} ms", style),
        Row(f"{asked}   in flight {now.number('pending'):,.0f}   {clients}"),
    ]


def _tls(minute: Between) -> list[Row]:
    """Return what becomes of TLS, if there is any."""
    now = minute.now
    if "tls_handshakes" not in now.values:
        return []
    failures = [key for key in now.values if key.startswith("tls_failed_")]
    done, failed = (_short(minute.rate(*keys)) for keys in (("tls_handshakes",), failures))
    per = "/s" if minute.seconds else ""
    text = f"TLS handshakes{per} {done}, failed {failed}"
    if "tls_days" not in now.values:
        return [Row(text)]
    days = now.number("tls_days")
    style = Style.BAD if days < SOON_DAYS else Style.PLAIN
    return [Row(f"{text}   certificate {end_text(days)}", style)]


def _servers(minute: Between, servers: list[str], wall: float) -> list[Row]:
    """Return a row for each server: its state, and its replies."""
    if not servers:
        return []
    now = minute.now
    names = [name[:_NAME_LETTERS_MAX] for name in servers]
    states = [_worst(now.text(f"{name}.state"))[:_STATE_LETTERS_MAX] for name in servers]
    name_width, state_width = max(6, *map(len, names)), max(11, *map(len, states))
    heads = "".join(f"{head:>6}" for head, _ in _RESULTS)
    per = "replies/s" if minute.seconds else "replies"
    head = f"{per:{name_width + state_width + 7}} wins{heads}  p50ms  p99ms"
    rows = [Row(""), Row(head, Style.HEAD)]
    all_won = minute.count(*(f"{name}.won" for name in servers))
    for name, shown, state in zip(servers, names, states, strict=True):
        won = minute.count(f"{name}.won")
        wins = f"{won / all_won:.0%}" if all_won else "-"
        counts = "".join(
            f"{_short(minute.rate(*(f'{name}.{key}' for key in keys))):>6}" for _, keys in _RESULTS
        )
        times = "".join(f"{_ms(t):>7}" for t in minute.quantiles_s((0.5, 0.99), of=[name]))
        since = _since(now.first_time(f"{name}.since"), wall)[:5]
        text = f"{shown:{name_width}} {state:{state_width}} {since:5}{wins:>5}{counts}{times}"
        rows.append(Row(text, Style.PLAIN if _is_good(state) else Style.BAD))
    return rows


def _tiers(minute: Between) -> list[Row]:
    """Return a row for each tier of servers, if there are any."""
    rows = []
    per = "/s" if minute.seconds else ""
    for name in minute.now.with_metric("slow"):
        asked, slow, won = (
            _short(minute.rate(f"{name}.{key}")) for key in ("asked", "slow", "won")
        )
        text = f"{name[:_NAME_LETTERS_MAX]:6} asked {asked}{per}, slow {slow}{per}, won {won}{per}"
        rows.append(Row(text))
    return [Row(""), *rows] if rows else []


def _workers(now: Poll) -> list[Row]:
    """Return a row for each worker, if there are any."""
    rows = []
    for name in now.with_metric("restarts"):
        state = now.text(f"{name}.state")[:_STATE_LETTERS_MAX]
        restarts = now.number(f"{name}.restarts")
        text = (
            f"{name[:_NAME_LETTERS_MAX]:6} {state:11}"
            f" {now.number(f'{name}.clients'):,.0f} clients, {restarts:,.0f} restarts"
        )
        is_old = now.number(f"{name}.old") > 0
        is_bad = is_old or state != "UP"
        told = ", does not report" if is_old else ""
        rows.append(Row(text + told, Style.BAD if is_bad else Style.PLAIN))
    return [Row(""), *rows] if rows else []


def _bounds(minute: Between) -> list[Row]:
    """Return bounds that took hold, if any did."""
    names = minute.now.with_metric("hits")
    hits = {name: minute.count(f"{name}.hits") for name in names}
    taken = [f"{name} {count:,.0f}" for name, count in hits.items() if count]
    return [Row(""), Row(f"bounds that took hold: {', '.join(taken)}")] if taken else []


def _since(time_s: float, wall: float) -> str:
    """Write a time of day; of another day than today, the date."""
    if not 0 < time_s < _TIME_MAX_S:
        return "-"
    text = utc_text(time_s, 1)
    return f"{text[11:19]}Z" if time_s // _DAY_S == wall // _DAY_S else text[5:10]


def _ms(seconds: float | None) -> str:
    """Write a time in ms, in five letters at most."""
    if seconds is None:
        return "-"
    if seconds >= SPANS_S[-1]:
        return f">{SPANS_S[-1] * 1000:.0f}"
    ms = seconds * 1000
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def _short(value: float) -> str:
    """Write a count or a rate in five letters at most, as far as it is below 10 ** 13."""
    for unit in ("", "k", "M", "G"):
        if value < 9_999.5:
            is_small = 0 < value < 9.95 and (unit or value != round(value))
            return f"{value:.1f}{unit}" if is_small else f"{value:.0f}{unit}"
        value /= 1_000
    return f"{value:.0f}T"
