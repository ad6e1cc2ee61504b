"""The commands of examples/exercise.md, at ports that are free here."""

import re

import pytest

from tests.processes.test_system import REPLIES
from tests.support.processes import ROOT, Programs, free_port

pytestmark = pytest.mark.process

COMMAND = re.compile(r"`python3 -m nodes (.+?)`")


def test_the_commands_of_the_exercise_give_its_lines(run: Programs) -> None:
    document = (ROOT / "examples" / "exercise.md").read_text()
    resolved = run.folder / "RESOLVED.txt"
    for port in set(re.findall(r"\b53\d\d\b", document)):
        document = document.replace(port, str(free_port()))
    commands = COMMAND.findall(document.replace("RESOLVED.txt", str(resolved)))
    ts1, ts2, ls, client = (
        words.split() for words in commands if words.split()[0] in ("ts", "ls", "client")
    )
    for words in (ts1, ts2):
        run.start(*words).port()
    balancer = run.start(*ls, "--timeout", 0.3)
    balancer.port()
    balancer.logs(" is up", 2)
    code, out, _ = run.run(*client)
    assert (code, out) == (0, "") and resolved.read_text() == REPLIES
