"""Transcripts: the sessions of proto.md, read and played against one program's brain.

A transcript is a list of steps in the order in which things happen. To play a program's part is
to put in what others say to it, cut into chunks in some way, on a `tests/support/stage.py`, and to
compare what it says with the steps that are its own. Order counts: an own step must have been
said by the time the transcript comes to it, and at the end nothing else must have been said.

Not here: sockets (`tests/processes/test_system.py`), and faults of the network
(`tests/sim/world.py`).
"""

import re
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count, groupby

from core.bounds import Bounds
from core.brain import Brain
from core.datagram_events import Datagrams
from core.environment import Environment
from core.io.frame_buffer import frame, split_frames
from core.operator import FlushAsked
from core.tls import ServerIdentity
from nodes.cli.cache_arguments import STALE_S
from nodes.client.client import Client
from nodes.ls.setup import OwnWordsSetup, ServerSetup
from nodes.ts.reload import Reload
from nodes.ts.table import Table
from nodes.ts.table_server import TableServer
from tests.support.balancers import load_balancer
from tests.support.dns_messages import malformed, question_of, said
from tests.support.stage import Stage

Cut = Callable[[bytes], list[bytes]]  # how one delivery is split into reads

_STEP = re.compile(r"(\w+) -> (\w+): (.*)")
_PAUSE = re.compile(r"\.\.\. ([0-9.]+) s")
_RUN = re.compile(r"\((\d+) x (.)\)")
_SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)  # addresses that nobody dials
_RESOLVERS = ((2, ("DNS1", 53)), (2, ("DNS2", 53)))
_BY_TLS = [
    ServerSetup(end[0], ((family, end),), identity=ServerIdentity("dns.example"))
    for family, end in _RESOLVERS
]
_WORDED = re.compile(r"(?:\((another ID|another question|malformed)\) )?(.*) (\S+)")
_MOVED = re.compile(r"\((TS\d+) has moved\)")
_HOSTS = ("ts1", 1), ("ts2", 1)  # their host names
_SIGNALS = frozenset(f"({name.name})" for name in signal.Signals)


@dataclass(frozen=True)
class Said:
    """`speaker` says `text` to `hearer`: a line, or something in parentheses."""

    speaker: str
    hearer: str
    text: str

    @property
    def data(self) -> bytes | None:
        """The bytes, LF included; None for what is not bytes, or is DNS."""
        if self.speaker.startswith("DNS") or self.hearer.startswith("DNS"):
            return None
        if run := _RUN.fullmatch(self.text):
            return run[2].encode() * int(run[1]) + b"\n"
        if self.text.startswith("(no LF) "):
            return self.text.removeprefix("(no LF) ").encode()
        return None if self.text.startswith("(") else self.text.encode() + b"\n"


@dataclass(frozen=True)
class Passed:
    """Time passes."""

    seconds: float


Step = Said | Passed


@dataclass(frozen=True)
class Transcript:
    """A session of the document: the programs to play it against, their flags, its steps."""

    line: int
    programs: tuple[str, ...]
    steps: tuple[Step, ...]
    flags: tuple[str, ...] = ()

    @property
    def extra_load(self) -> float | None:
        """The share for which LS hedges, if it does."""
        flag = "--max-extra-load"
        return float(self.flags[self.flags.index(flag) + 1]) if flag in self.flags else None

    @property
    def own_words(self) -> OwnWordsSetup:
        """The cache of LS, if it has one."""
        if "--cache" not in self.flags:
            return OwnWordsSetup()
        return OwnWordsSetup(int(self.flags[self.flags.index("--cache") + 1]) << 20, STALE_S)


def fenced(document: str, kind: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each fenced block of a kind: line number, the rest of its first line, its lines."""
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(document.splitlines(), 1):
        if opened is None and line.startswith(f"```{kind}"):
            opened, body = (number, line.removeprefix(f"```{kind}").strip()), []
        elif opened is not None and line == "```":
            yield *opened, body
            opened = None
        elif opened is not None:
            body.append(line)


def transcripts(document: str) -> list[Transcript]:
    """Yield all sessions of a document. Raises ValueError for a line that is no step."""
    found = []
    for number, rest, body in fenced(document, "session"):
        programs, dashes, rest = rest.partition("--")
        flags = tuple((dashes + rest).split())
        found.append(Transcript(number, tuple(programs.split()), tuple(map(_step, body)), flags))
    return found


def _step(line: str) -> Step:
    if found := _STEP.fullmatch(line):
        return Said(*found.groups())
    if found := _PAUSE.fullmatch(line):
        return Passed(float(found[1]))
    raise ValueError(f"no step of a session: {line}")


def play(
    transcript: Transcript, program: str, tables: dict[str, dict[bytes, bytes]], cut: Cut
) -> None:
    """Play one program's part. Raises AssertionError where it says something else."""
    stage = Stage(_brain(transcript, program, tables), Bounds())
    stage.begin()
    if program == "LS":  # the links are up
        for name in list(stage.dialled):
            stage.connect(name)
    elif program != "client":
        stage.accept("LS")

    def delivery(numbered: tuple[int, Step]) -> object:
        """Deliver at once the bytes that one peer says without a pause."""
        number, step = numbered
        if isinstance(step, Said) and step.hearer == program and step.data is not None:
            return step.speaker
        return number

    for _, group in groupby(enumerate(transcript.steps), delivery):
        steps = [step for _, step in group]
        first = steps[0]
        if isinstance(first, Passed):
            stage.wait(first.seconds)
        elif first.speaker == program:
            _expect(stage, first)
        elif first.hearer == program and first.data is not None:
            data = b"".join(step.data or b"" for step in steps if isinstance(step, Said))
            stage.hear(first.speaker, *cut(data))
        elif first.hearer == program:
            _happen(stage, first)
    assert not any(stage.said.values()) and not stage.written
    assert not any(stage.replies.values())


def _brain(transcript: Transcript, program: str, tables: dict[str, dict[bytes, bytes]]) -> Brain:
    if program == "LS":
        extra_load = transcript.extra_load
        if "--dns-upstream" in transcript.flags:
            numbers = count()
            return load_balancer(
                (),
                Bounds(),
                lambda: 0.0,
                extra_load=extra_load,
                resolvers=_BY_TLS if "--tls-ca" in transcript.flags else _RESOLVERS,
                trusts_data="--trust-data" in transcript.flags,
                own_words=transcript.own_words,
                private_from=transcript.flags if "--private-from" in transcript.flags else (),
                secret=lambda size: bytes(next(numbers) % 251 for _ in range(size)),
            )
        return load_balancer(_SERVERS, Bounds(), lambda: 0.0, hosts=_HOSTS, extra_load=extra_load)
    if program == "client":
        said = [step for step in transcript.steps if isinstance(step, Said)]
        asked = [s.data for s in said if (s.speaker, s.hearer) == ("client", "LS") and s.data]
        names = [line.removesuffix(b"\n") for line in asked if line != b"QUIT\n"]
        return Client(names, _SERVERS[0], "LS", Environment())
    answer_unknown = "--answer-unknown" in transcript.flags

    def read(path: str) -> Generator[bytes, None, None]:
        """Read a slice for each row of the new table. (They have one address each.)"""
        for line in tables[path].values():
            yield line.replace(b" IN\n", b"\n")

    return TableServer(
        Table(dict(tables[program])),
        Environment(),
        reload=Reload(f"{program} anew", read=read),
        answer_unknown=answer_unknown,
    )


def _happen(stage: Stage, step: Said) -> None:
    """Play something other than bytes that comes from a peer."""
    if step.text == "(end)" and step.speaker.startswith("DNS"):
        stage.end(next(conn for conn in stage.connections if conn.startswith(f"{step.speaker}.")))
    elif step.speaker.startswith("DNS"):
        _reply(stage, step)
    elif step.text == "(connect)":
        stage.accept(step.speaker)
    elif step.text == "(end)":
        stage.end(step.speaker)
    elif step.text == "(reset)":
        stage.reset(step.speaker)
    elif step.text == "(SIGHUP)":
        stage.reload()
    elif step.text == "(SIGUSR2)":
        stage.step(FlushAsked())
    elif step.text in _SIGNALS:
        stage.drain()
    elif found := _MOVED.fullmatch(step.text):
        stage.resolve(found[1], ((2, ("elsewhere", 1)),))
    else:
        raise ValueError(f"nothing that can happen: {step.text}")


def _reply(stage: Stage, step: Said) -> None:
    """Let a resolver reply to the newest query for this question."""
    worded = _WORDED.fullmatch(step.text)
    assert worded is not None
    conn, query = stage.asked[step.speaker, worded[2]]
    message = said(query, worded[3])
    if worded[1] == "another ID":
        message = bytes([message[0] ^ 1]) + message[1:]
    elif worded[1] == "another question":
        message = message.replace(b"example", b"exemple")
    elif worded[1] == "malformed":
        message = malformed(message)
    if conn in stage.framed:
        stage.hear(conn, frame(message))
    elif conn in stage.replies:
        stage.step(Datagrams(conn, [(message, None)]))


def _expect_query(stage: Stage, step: Said) -> None:
    """Check that a resolver has been asked this, or has been dialled."""
    if step.text == "(connect)":
        conn = next(conn for conn in stage.dialled if conn.startswith(f"{step.hearer}."))
        stage.connect(conn)
        return
    for conn in [*stage.replies, *stage.framed]:
        if not conn.startswith(f"{step.hearer}."):
            continue
        queries = [query for query, _ in stage.replies.get(conn, [])]
        if conn in stage.framed:
            queries = split_frames(bytes(stage.said.get(conn, b"")))
        for at, query in enumerate(queries):
            if question_of(query) == step.text:
                del queries[at]
                if conn in stage.framed:
                    stage.said[conn] = bytearray(b"".join(map(frame, queries)))
                else:
                    del stage.replies[conn][at]
                stage.asked[step.hearer, step.text] = conn, query
                return
    raise AssertionError(f"{step.hearer} is not asked {step.text}")


def _expect(stage: Stage, step: Said) -> None:
    """Check that the program has said or done this by now."""
    if step.hearer.startswith("DNS"):
        _expect_query(stage, step)
    elif step.text == "(connect)":
        assert step.hearer in stage.dialled, f"no dial to {step.hearer}"
        stage.connect(step.hearer)
    elif step.text == "(end)":
        assert stage.has_ended(step.hearer)
    else:
        output = step.hearer == "output"
        said = stage.written if output else stage.said.setdefault(step.hearer, bytearray())
        assert step.data is not None
        assert bytes(said[: len(step.data)]) == step.data
        del said[: len(step.data)]
