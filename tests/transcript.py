"""Transcripts: the sessions of proto.md, read and played against one program's brain.

A transcript is a list of steps in the order in which things happen. To play a program's part is
to put in what others say to it, through real `Connection`s and cut into chunks in some way, and
to compare what it says with the steps that are its own. Order counts: an own step must have been
said by the time the transcript comes to it, and at the end nothing else must have been said.

Not here: sockets (`tests/test_system.py`), and faults of the network (`tests/sim.py`).
"""

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from core.bounds import Bounds
from core.conn import Connection, Stream
from core.node import (
    Abort,
    Brain,
    Close,
    Closed,
    Dial,
    DrainAsked,
    Effect,
    Ended,
    Event,
    Lines,
    Opened,
    Send,
    Woken,
    Write,
)
from nodes.client import Client
from nodes.ls import LoadBalancer
from nodes.ts import TableServer

Cut = Callable[[bytes], list[bytes]]  # how one delivery is split into reads

_STEP = re.compile(r"(\w+) -> (\w+): (.*)")
_PAUSE = re.compile(r"\.\.\. ([0-9.]+) s")
_RUN = re.compile(r"\((\d+) x (.)\)")
_ENDED = frozenset({Stream.LINGERING, Stream.PARTING, Stream.CLOSED})
_SERVERS = ((2, ("TS1", 1)),), ((2, ("TS2", 1)),)  # addresses that nobody dials
_SIGNALS = frozenset(f"({name.name})" for name in signal.Signals)


@dataclass(frozen=True)
class Said:
    """`speaker` says `text` to `hearer`: a line, or something in parentheses."""

    speaker: str
    hearer: str
    text: str

    @property
    def data(self) -> bytes | None:
        """The bytes, LF included; None for what is not bytes."""
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
    """One session of the document: the programs to play it against, and its steps."""

    line: int
    programs: tuple[str, ...]
    steps: tuple[Step, ...]


def fenced(document: str, kind: str) -> Iterator[tuple[int, str, list[str]]]:
    """Each fenced block of a kind: line number, the rest of its first line, its lines."""
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
    """All sessions of a document. Raises ValueError for a line that is no step."""
    return [
        Transcript(number, tuple(rest.split()), tuple(map(_step, body)))
        for number, rest, body in fenced(document, "session")
    ]


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
    stage = _Stage(program, _brain(transcript, program, tables), cut)

    def delivery(step: Step) -> object:
        """Bytes that one peer says without a pause come in one delivery."""
        if isinstance(step, Said) and step.hearer == program and step.data is not None:
            return step.speaker
        return step

    stage.begin()
    for _, group in groupby(transcript.steps, delivery):
        stage.take(list(group))
    stage.expect_silence()


def _brain(transcript: Transcript, program: str, tables: dict[str, dict[bytes, bytes]]) -> Brain:
    if program == "LS":
        return LoadBalancer(_SERVERS, Bounds(), lambda: 0.0)
    if program == "client":
        said = [step for step in transcript.steps if isinstance(step, Said)]
        names = [
            step.text.encode() for step in said if step.speaker == "client" and step.hearer == "LS"
        ]
        asked = [name for name in names if not name.startswith(b"(") and name != b"QUIT"]
        return Client(asked, _SERVERS[0], "LS", Bounds())
    return TableServer(tables[program], Bounds())


class _Stage:
    """One brain among connections that lead to nobody, and a clock that we turn."""

    def __init__(self, program: str, brain: Brain, cut: Cut) -> None:
        self.program = program
        self.brain = brain
        self.cut = cut
        self.now = 100.0
        self.dials: list[str] = []
        self.connections: dict[str, Connection] = {}
        self.said: dict[str, bytearray] = {}  # by hearer; not yet expected by a step

    def begin(self) -> None:
        """Start the brain; the links are up."""
        self.step(Woken())
        if self.program == "LS":
            for name in list(self.dials):
                self.connect(name)
        elif self.program != "client":
            self.happen(Said("LS", self.program, "(connect)"))

    def take(self, steps: list[Step]) -> None:
        """Steps that belong together: the bytes of one peer, or one step of any other kind."""
        first = steps[0]
        if isinstance(first, Passed):
            self.wait(first.seconds)
        elif first.speaker == self.program:
            for step in steps:
                assert isinstance(step, Said)
                self.expect(step)
        elif first.hearer == self.program:
            data = [step.data for step in steps if isinstance(step, Said)]
            if first.data is None:
                self.happen(first)
            else:
                self.hear(first.speaker, b"".join(piece for piece in data if piece is not None))

    # -- what others do ----------------------------------------------------------------------------

    def hear(self, speaker: str, data: bytes) -> None:
        connection = self.connections[speaker]
        for chunk in self.cut(data):
            if connection.is_heard:
                self.step(Lines(speaker, connection.receive(chunk)))

    def happen(self, step: Said) -> None:
        speaker, text = step.speaker, step.text
        if text == "(connect)":
            self.connections[speaker] = Connection(speaker, accepted=True, bounds=Bounds())
            self.step(Opened(speaker))
        elif text == "(end)":
            connection = self.connections[speaker]
            heard = connection.is_heard
            unfinished = connection.receive_eof()
            if heard:
                self.step(Ended(speaker, unfinished))
            self.reap()
        elif text == "(reset)":
            self.connections[speaker].lost()
            self.reap()
        elif text in _SIGNALS:
            self.step(DrainAsked())
        else:
            raise ValueError(f"nothing that can happen: {text}")

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.brain.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.step(Woken())
        self.now = until

    # -- what the brain does -----------------------------------------------------------------------

    def step(self, event: Event) -> None:
        for effect in self.brain.step(event, self.now):
            self.perform(effect)
        self.reap()

    def perform(self, effect: Effect) -> None:
        match effect:
            case Send(hearer, data):
                connection = self.connections[hearer]
                connection.send(data)
                self.said.setdefault(hearer, bytearray()).extend(connection.unsent())
                connection.sent(connection.waiting)
            case Write(data):
                self.said.setdefault("output", bytearray()).extend(data)
            case Dial(hearer):
                self.dials.append(hearer)
            case Close(hearer):
                self.connections[hearer].close()
            case Abort(hearer):
                self.connections[hearer].lost()

    def reap(self) -> None:
        for name, connection in list(self.connections.items()):
            if connection.is_closed and not self.said.get(name):
                del self.connections[name]
                self.step(Closed(name, "gone"))

    def connect(self, hearer: str) -> None:
        self.dials.remove(hearer)
        connection = Connection(hearer, accepted=False, bounds=Bounds())
        connection.connected()
        self.connections[hearer] = connection
        self.step(Opened(hearer))

    # -- what the brain was to do ------------------------------------------------------------------

    def expect(self, step: Said) -> None:
        if step.text == "(connect)":
            assert step.hearer in self.dials, f"no dial to {step.hearer}"
            self.connect(step.hearer)
        elif step.text == "(end)":
            connection = self.connections.get(step.hearer)
            assert connection is None or connection.life.state in _ENDED
        else:
            said = self.said.setdefault(step.hearer, bytearray())
            assert step.data is not None
            assert bytes(said[: len(step.data)]) == step.data
            del said[: len(step.data)]
            self.reap()

    def expect_silence(self) -> None:
        assert not any(self.said.values())
