"""proto.md and the programs say the same: limits, errors, messages, machines, sessions, tags.

The document rules. Nothing in it is generated from the code; everything in it that can be
compared is compared here, in both directions, so neither side can have what the other lacks.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from pathlib import Path
from socket import AF_INET

import pytest

from core.bounds import COUNTED, BoundHits, Bounds
from core.environment import Environment
from core.events import Role
from core.io.outputs import Destinations, Output
from core.io.stream_state import STREAM
from core.io.tls_contexts import TlsContexts
from core.machine import Stay
from core.protocol import messages, names
from core.protocol.asker import SESSION
from core.protocol.server_state import SERVER
from core.tls import CertificateFacts, TlsKeys
from nodes.cli.serving import DNS_TLS_STREAMS
from nodes.client.client_state import CLIENT
from nodes.ls.dns_front_end import DnsFrontEnd
from nodes.ls.health import SERVER_HEALTH
from nodes.ls.hedging.asking import ASKING
from nodes.ls.link_state import LINK
from nodes.ls.outcomes import QUESTION
from nodes.ls.resolvers.sockets import SOCKET
from nodes.ls.setup import OwnWordsSetup
from nodes.ls.tiers.tier_turn import TIER
from nodes.top.top_state import TOP
from nodes.ts.reload import RELOAD, Reload
from nodes.ts.table import Table
from nodes.ts.table_file import Loading
from nodes.ts.table_server import TableServer
from nodes.workers.slot import SLOT
from nodes.workers.supervisor import Supervisor
from tests.support import house_rules as house
from tests.support.balancers import load_balancer
from tests.support.loops import QuietSystem, listen_at, real_loop, take_datagrams_at
from tests.support.splitting import pieces
from tests.support.transcript import Said, Transcript, fenced, play, transcripts

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "proto.md").read_text()
SESSIONS = transcripts(DOCUMENT)
MACHINES: dict[str, Mapping[Enum, Mapping[Enum, Enum]]] = {
    "A connection": STREAM,
    "A session": SESSION,
    "A server": SERVER,
    "A question": QUESTION,
    "An asking": ASKING,
    "Tiers of a question": TIER,
    "A link": LINK,
    "The health of a server": SERVER_HEALTH,
    "A socket to a resolver": SOCKET,
    "A worker": SLOT,
    "A reload": RELOAD,
    "The client": CLIENT,
    "Top": TOP,
}  # type: ignore[dict-item]


def rows(heading: str) -> list[list[str]]:
    """Return the rows of every table of a section, without the heads, backticks taken off."""
    section = re.split(r"(?m)^#+ ", DOCUMENT.split(f"# {heading}\n", 1)[1])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    table = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    heads = {at - 1 for at, row in enumerate(table) if set(row[0]) == {"-"}}
    return [row for at, row in enumerate(table) if at not in heads and at - 1 not in heads]


def test_no_line_is_longer_than_a_screen_is_wide() -> None:
    assert [line for line in DOCUMENT.splitlines() if len(line) > 120] == []


# -- limits, errors, messages ----------------------------------------------------------------------


def test_the_limits_of_the_grammar_are_the_constants() -> None:
    said = {row[0]: int(row[1]) for row in rows("Limits")}
    assert said == {name: getattr(names, name) for name in dir(names) if name.endswith("_MAX")}


def test_the_bounds_are_the_defaults() -> None:
    said = {row[0]: row[1] for row in rows("Bounds") if row[0].islower()}
    bounds = {field.name: getattr(Bounds(), field.name) for field in fields(Bounds)}
    assert list(said) and set(said) == set(bounds)
    for name, value in bounds.items():
        assert said[name] == ("none" if value == float("inf") else str(value)), name


def test_the_bounds_said_to_be_counted_are_counted() -> None:
    said = {row[0] for row in rows("Bounds") if row[0].islower() and row[3]}
    sources = "".join(
        path.read_text() for room in ("core", "nodes") for path in (ROOT / room).rglob("*.py")
    )
    in_words = r'hits\[\s*"(\w+)"(?: if [\w. =]+ else "(\w+)")?'
    pending = r'|pending_bound = "(\w+)"(?: if \w+ else "(\w+)")?'
    services = r'|Role\.\w+,\s+"(\w+_max)"|idles(?:: str )?\s?=\s?"(\w+)"'
    services += r'|accepts(?:: str )?\s?=\s?"(\w+)"'
    pattern = in_words + pending + services + r'|_s\)?, "(\w+_s)", "'
    counted = re.findall(pattern, sources)
    assert said == {name for names in counted for name in names if name} == set(COUNTED)


def test_the_errors_are_the_enum() -> None:
    assert dict(rows("Errors")) == {error.name: error.value for error in names.Error}


@pytest.mark.parametrize("row", rows("Requests"), ids=lambda row: row[0])
def test_each_example_of_a_request_is_one(row: list[str]) -> None:
    line = row[1].encode()
    message = messages.parse_request(line)
    assert messages.format_message(message) == line
    kind = message.name if isinstance(message, names.Command) else "question"
    assert kind == row[0]


def test_each_example_of_a_reply_is_one_and_each_kind_has_one() -> None:
    negatives = {negative.value.decode().lower() for negative in names.Negative}
    kinds: dict[str, type] = {
        "answer": messages.Answer,
        **dict.fromkeys(negatives, messages.NoAnswer),
        "error": messages.Refusal,
        "bye": names.Word,
        "pong": names.Word,
        "stat": messages.Stat,
        "end": names.Word,
    }
    assert {row[0] for row in rows("Replies")} == set(kinds)
    for kind, example, *_ in rows("Replies"):
        message = messages.parse_reply(example.encode())
        assert type(message) is kinds[kind]
        assert not isinstance(message, names.Word) or message.name.lower() == kind
        assert messages.format_message(message) == example.encode()


def test_the_reserved_words_are_the_commands() -> None:
    said = re.search(r"^(.*), in exactly this spelling, are commands", DOCUMENT, re.M)
    assert said is not None
    assert set(re.findall(r"`(\w+)`", said[1])) == {c.name for c in names.Command}


# -- metrics ---------------------------------------------------------------------------------------


def generic(key: str) -> str:
    """Return the general name: `TS1.won` stands for every TS's, `tier1.won` for every tier's,
    `W1.clients` for every worker's, `NAME.hits` for every bound's."""
    of, dot, name = key.rpartition(".")
    kind = next((kind for kind in ("TS", "DNS", "W", "tier") if of.startswith(kind)), "")
    return f"{kind + '1' if kind else 'NAME'}.{name}" if dot else key


class _Unread(TlsContexts):
    """Contexts of a certificate that nobody has read."""

    def certificate(self, keys: TlsKeys) -> CertificateFacts:
        return CertificateFacts((), 0.0)


def test_the_metrics_are_those_that_the_servers_count() -> None:
    """With everything on, so that everything is there."""
    system = QuietSystem()
    system.tls = _Unread()
    loop = real_loop(to=Destinations(Output(2), records=Output(2)), system=system)
    take_datagrams_at(loop, (AF_INET, ("127.0.0.1", 0)), Role.DNS)
    by_tls = replace(DNS_TLS_STREAMS, keys=TlsKeys("", ""))
    listen_at(loop, (AF_INET, ("127.0.0.1", 0)), by_tls)
    hits = BoundHits({"clients_max": 1})
    servers = {
        "LS": load_balancer(
            [(), ()],
            Bounds(),
            float,
            extra_load=0.05,
            sample=1,
            dns=DnsFrontEnd(Environment(hits=hits), 60),
            resolvers=[(AF_INET, ("127.0.0.1", 53))],
            own_words=OwnWordsSetup(cache_bytes=1),
            loop=loop.metrics,
            hits=hits,
        ),
        "TS": TableServer(Table(), Environment(hits=hits), reload=Reload(""), loop=loop.metrics),
    }
    counted: dict[str, set[tuple[str, str]]] = {
        kind: {(generic(value.key), value.metric.about) for value in brain.metrics()}
        for kind, brain in servers.items()
    }
    # A resolver has all that a TS has; it stands there once.
    as_dns = {(key.replace("TS1.", "DNS1."), about) for key, about in counted["LS"] if "TS1" in key}
    assert as_dns - counted["LS"] == set()
    counted["LS"] -= as_dns
    others = [
        Supervisor(Environment(), 2, b""),
        load_balancer([(), ()], tiers={"TS2": 2}),  # which no hedging goes with
    ]
    for brain in others:
        counted["LS"] |= {(generic(value.key), value.metric.about) for value in brain.metrics()}
    loop.close()
    of_ls = ("records_dropped", "datagrams_dropped", "datagrams_overflowed", "tls_")
    counted["TS"] = {(key, about) for key, about in counted["TS"] if not key.startswith(of_ls)}
    said = {
        kind: {(row[0], row[2]) for row in rows("Metrics") if kind in row[1].split(", ")}
        for kind in servers
    }
    assert said == counted


def test_the_events_of_the_log_are_those_that_are_reported() -> None:
    """The logs of the client, `top` and the demo are their text alone."""
    reported: set[str] = set()
    for path in house.SOURCES:
        if not path.startswith(("nodes/client/", "nodes/demo/", "nodes/top/")):
            source = (ROOT / path).read_text()
            reported |= {event.strip("'") for _, event in house.events_of(source) if "'" in event}
    of_the_wire = {"line_received", "line_sent", "state_changed"}
    assert {row[0] for row in rows("Log")} == reported | of_the_wire


# -- state machines --------------------------------------------------------------------------------


def test_every_diagram_is_of_a_machine_and_every_machine_has_one() -> None:
    section = DOCUMENT.split("\n## State machines\n")[1].split("\n## ")[0]
    assert re.findall(r"(?m)^### (.*)$", section) == list(MACHINES)


@pytest.mark.parametrize("heading", MACHINES)
def test_the_diagram_is_the_table(heading: str) -> None:
    table = MACHINES[heading]
    _, _, body = next(fenced(DOCUMENT.split(f"### {heading}\n")[1], "mermaid"))
    edges = {tuple(re.split(" --> | : ", line.strip())) for line in body if "-->" in line}
    drawn = {edge for edge in edges if edge[0] != "[*]"}
    assert drawn == {
        (state.name, following.name, event.name)
        for state, row in table.items()
        for event, following in row.items()
        if not isinstance(following, Stay)
    }
    glosses = dict(
        line.strip().split(" : ") for line in body if " : " in line and "-->" not in line
    )
    assert glosses == {state.name: state.value for state in table}
    assert {edge[1] for edge in edges if edge[0] == "[*]"} <= set(glosses)


# -- sessions --------------------------------------------------------------------------------------


def rows_of(body: list[str]) -> dict[bytes, bytes]:
    loading = Loading("", print)
    loading.take("\n".join(body).encode())
    return loading.end().rows


TABLES = {program: rows_of(body) for _, program, body in fenced(DOCUMENT, "table")}


def whole(data: bytes) -> list[bytes]:
    return [data]


def own_lines(transcript: Transcript, program: str) -> list[int]:
    """Return the places of the steps in which the program says a line."""
    return [
        at
        for at, step in enumerate(transcript.steps)
        if isinstance(step, Said) and step.speaker == program and step.data is not None
    ]


def parts(says_something: bool = False) -> list[object]:
    return [
        pytest.param(transcript, program, id=f"line {transcript.line}-{program}")
        for transcript in SESSIONS
        for program in transcript.programs
        if own_lines(transcript, program) or not says_something
    ]


def test_the_tables_of_the_sessions_are_the_examples() -> None:
    for _, program, body in fenced(DOCUMENT, "table"):
        if program.endswith(" anew"):
            continue
        example = (ROOT / "examples" / f"{program.lower()}.txt").read_text().splitlines()
        assert body == [row for row in example if not row.startswith("#")]


def test_every_program_has_a_session() -> None:
    assert {program for session in SESSIONS for program in session.programs} == {
        "LS", "TS1", "TS2", "client",
    }  # fmt: skip


@pytest.mark.parametrize(("transcript", "program"), parts())
def test_the_session_is_played_however_it_is_cut(transcript: Transcript, program: str) -> None:
    """[P2] [P7] [P9] [P12] [P13] [P15] [P16] [P19] [P115] [P116]: whole, by byte, in two."""
    play(transcript, program, TABLES, whole)
    play(transcript, program, TABLES, lambda data: [data[at : at + 1] for at in range(len(data))])
    lengths = [len(s.data or b"") for s in transcript.steps if isinstance(s, Said)]
    for place in range(1, min(sum(lengths), 200) + 1):
        play(transcript, program, TABLES, lambda data, at=place: pieces(data, [at]))  # type: ignore[misc]


@pytest.mark.parametrize(("transcript", "program"), parts(says_something=True))
def test_a_session_that_was_changed_fails(transcript: Transcript, program: str) -> None:
    """The player can say no: leave out, or change, one thing that the program says."""
    at = own_lines(transcript, program)[-1]
    without = transcript.steps[:at] + transcript.steps[at + 1 :]
    with pytest.raises(AssertionError):
        play(replace(transcript, steps=without), program, TABLES, whole)


# -- tags ------------------------------------------------------------------------------------------


def cited() -> set[str]:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    return {tag for source in sources for tag in re.findall(r"\[(P\d+)\]", source)}


TEXT, _, LIST = DOCUMENT.split("\n## ", 1)[1].partition("\n## Promises\n")


def places_of_tags() -> dict[str, str]:
    """Return the anchor of the section that each tag stands in; a tag stands there once."""
    found: dict[str, str] = {}
    anchor = ""
    for line in re.sub(r"(?ms)^```.*?^```", "", TEXT).splitlines():
        if heading := re.fullmatch(r"#+ (.*)", line):
            anchor = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
        for tag in re.findall(r"\[(P\d+)\]", line):
            assert tag not in found, tag
            found[tag] = anchor
    return found


def test_every_tag_is_cited_by_a_test_and_every_cited_tag_exists() -> None:
    assert set(places_of_tags()) == cited()


def test_the_promises_are_listed_in_order_with_their_sections() -> None:
    listed = re.findall(r"(?m)^\| \[(P\d+)\]\(#([\w-]+)\) \| \S.* \|$", LIST)
    places = places_of_tags()
    assert [tag for tag, _ in listed] == [f"P{n + 1}" for n in range(len(places))]
    assert dict(listed) == places
    assert len(re.findall(r"P\d", LIST)) == len(listed)


def test_every_must_carries_a_tag() -> None:
    paragraphs = re.split(r"\n\n|\n(?=- |\|)", TEXT)
    for paragraph in paragraphs:
        assert len(re.findall(r"\bMUST\b", paragraph)) == len(re.findall(r"\[P\d+\]", paragraph)), (
            paragraph
        )
