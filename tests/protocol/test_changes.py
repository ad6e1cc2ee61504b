"""How the protocol may change: what proto.md says of older peers is what those of today do.

Its sessions show one of each; here are others like them. Not here: a reader of metrics
(`tests/nodes/test_top.py`), and how many errors in a row are too many
(`tests/protocol/test_error_streak.py`).
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bounds import Bounds
from core.environment import Environment
from core.protocol.messages import ProtocolError, Question, parse_reply, parse_request
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.balancers import load_balancer
from tests.support.splitting import cuts
from tests.support.stage import Stage
from tests.support.transcript import play, transcripts

DOCUMENT = (Path(__file__).parents[2] / "proto.md").read_text()
SECTION = DOCUMENT.split("### How this protocol may change\n")[1].split("\n## ")[0]
NO_REPLIES = [
    "x.example - MOVED",
    "x.example AAAA - TIMED",
    "x.example MX - NO DATA",
    "x.example 10.0.0.1 A IN 60",
    "x.example 10.0.0.1 A CH",
    "- ERROR NEWCODE",
    "- HELLO 2",
    "HELLO",
    "STAT x",
]


def example(kind: str) -> bytes:
    """Return an example of the section."""
    found = re.search(rf"{kind}`([^`]*)`", SECTION)
    assert found is not None
    return found[1].encode()


def test_the_example_of_a_new_request_is_no_request_today() -> None:
    with pytest.raises(ProtocolError):
        parse_request(example("such as "))
    word = example("word\\s+alone: ")
    assert parse_request(word) == Question(word)


def served(program: str) -> Stage:
    """Begin a server, with a client that is connected."""
    env = Environment()
    brain = load_balancer((), Bounds(), float) if program == "LS" else TableServer(Table(), env)
    stage = Stage.begun(brain)
    stage.accept("client")
    return stage


TOO_LONG = b"a" * 600
LINES = [b"PING", b"STATS", b"WATCH x.example", b"x MX", b"", TOO_LONG]
PROBES = st.lists(st.sampled_from(LINES), min_size=1, max_size=15).map(b"\n".join)


@pytest.mark.parametrize("program", ["LS", "TS"])
@given(probes=PROBES.map(lambda said: said + b"\n").flatmap(cuts))
def test_errors_and_pongs_come_in_the_order_of_lines(program: str, probes: list[bytes]) -> None:
    """[P86]"""
    stage = served(program)
    stage.hear("client", *probes)
    said = re.sub(rb"(STAT .*\n)+END", b"STATS", stage.take("client"))
    replies = {b"PING": b"PONG", b"STATS": b"STATS"}
    lines = filter(None, b"".join(probes).split(b"\n"))
    errors = {False: b"- ERROR BADNAME", True: b"- ERROR TOOLONG"}
    expected = [replies.get(line, errors[len(line) > 512]) for line in lines]
    assert said.split(b"\n")[:-1] == expected


@pytest.mark.parametrize("line", NO_REPLIES)
def test_a_line_that_is_no_reply_is_skipped(line: str) -> None:
    """[P87]: fifteen of them, by LS and by the client."""
    with pytest.raises(ProtocolError):
        parse_reply(line.encode())
    many = "\n".join([f"TS1 -> LS: {line}\nLS -> client: {line}"] * 15)
    heard_by_ls = re.sub(r"(?m)^LS -> client.*\n", "", many + "\n")
    heard_by_client = re.sub(r"(?m)^TS1 -> LS.*\n", "", many + "\n")
    text = f"""```session
client -> LS: (connect)
client -> LS: x.example
LS -> TS1: x.example
LS -> TS2: x.example
{heard_by_ls}TS1 -> LS: x.example 10.0.0.1 A IN
LS -> client: x.example 10.0.0.1 A IN
```
```session
client -> LS: (connect)
client -> LS: x.example
client -> LS: QUIT
{heard_by_client}LS -> client: x.example 10.0.0.1 A IN
client -> output: x.example 10.0.0.1 A IN
LS -> client: BYE
client -> LS: (end)
```"""
    of_ls, of_client = transcripts(text)
    play(of_ls, "LS", {}, lambda data: [data])
    play(of_client, "client", {}, lambda data: [data])
