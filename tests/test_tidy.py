"""The rules of the house, on texts that break them and on the sources; the links of documents; and
which test there is for each row of the fault matrix.

Not here: the rules (`tests/support/house_rules.py`, `tests/support/english.py`).
"""

import re
from collections.abc import Callable

import pytest

from tests.support import english
from tests.support import house_rules as house
from tests.support.documents import DOCUMENTS, place
from tests.support.house_rules import ROOT, SOURCES

# Tests and benches are written in the same English, and may be longer: a test file holds all tests
# of its part. The bounds are those of the longest today, and are there to be lowered.
TEST_SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
)
TEST_LINES_MAX = {"tests": 2_000, "bench": 550}

Rule = Callable[[str, str], list[str]]
Case = tuple[Rule, str, str]


def cases(*tables: tuple[Rule, str, list[str]]) -> list[Case]:
    """Return a rule, a path and a text of each."""
    return [(rule, path, text) for rule, path, texts in tables for text in texts]


LONG_FUNCTION = "def f():\n" + "    g()\n" * house.FUNCTION_LINES_MAX
LARGE_CLASS = "class C:\n    __slots__ = ('z',)\n" + "".join(
    f"    a{n}: int\n" for n in range(house.ATTRIBUTES_MAX)
)
MANY_METHODS = "class C:\n" + "".join(
    f"    def m{n}(self): ...\n" for n in range(house.METHODS_MAX + 1)
)
LARGE_BASE = LARGE_CLASS.replace("class C", "class _B") + "class C(_B):\n    b: int\n"
MANY_INHERITED = (
    "class _B:\n"
    + "".join(f"    def m{n}(self): f()\n" for n in range(house.METHODS_MAX))
    + "class C(_B):\n    async def own(self): ...\n"
)
CLASS_ATTRIBUTES = "class C:\n" + "".join(
    f"    a{n} = {n}\n" for n in range(house.ATTRIBUTES_MAX + 1)
)
LONG_LAMBDA = "f(lambda: [\n" + "    x,\n" * house.LAMBDA_LINES_MAX + "])"
RULES = cases(  # each with texts that break it
    (house.wrong_imports, "core/machine.py", ["from core.io.connection import Connection"]),
    (house.wrong_imports, "core/protocol/messages.py", [
        "import hypothesis", "import importlib.util", "from core.io import loop",
    ]),
    (house.wrong_imports, "core/io/loop.py", [
        "import nodes.ls.load_balancer", "from core.protocol.session import Session",
        "import core.protocol", "from core import protocol", "import select",
    ]),
    (house.wrong_imports, "core/io/system.py", [
        "import selectors", "import threading", "import _thread",
    ]),
    (house.wrong_imports, "core/io/wildcard.py", ["import time"]),
    (house.wrong_imports, "nodes/ts/table_server.py", ["import nodes.ls.load_balancer"]),
    (house.wrong_imports, "nodes/client/client.py", ["from nodes.ls.questions import Questions"]),
    (house.wrong_imports, "nodes/ls/link.py", [
        "from core.io.system import System", "from core.io import system", "import http.client",
        "from random import random", "from secrets import token_bytes", "def f():\n    import time",
    ]),
    (house.wrong_imports, "nodes/__main__.py", ["from asyncio import run"]),
    (house.wrong_imports, "nodes/cli/ls.py", ["from datetime import datetime"]),
    (house.calls_forbidden, "core/machine.py", [
        "__import__('select')", "load = __import__",
        "import builtins\nbuiltins.__import__('select')", "exec('import select')",
        "import sys\nsys.modules['select']",
    ]),
    (house.calls_forbidden, "nodes/ls/link.py", [
        "import os\nos.urandom(8)", "import os as o\no.urandom(8)",
        "from os import urandom as lots",
    ]),
    (house.calls_forbidden, "core/io/system.py", ["import select\nx = select.poll"]),
    (house.calls_forbidden, "core/io/wildcard.py", ["import os\nos.fork()"]),
    (house.async_code, "core/machine.py", ["async def f():\n    await g()"]),
    (house.dns_on_the_reading_path, "nodes/ls/questions.py", ["import nodes.dns.reply"]),
    (house.states_assigned, "nodes/ls/load_balancer.py", ["link.life.state = 1"]),
    (house.header_wrong, "core/io/loop.py", [
        '"""Too short."""\nx = 1', '"""' + "Too long.\n" * 13 + '"""\nx = 1',
    ]),
    (house.header_wrong, "core/io/acceptor.py", ['"""' + "Too long.\n" * 26 + '"""\nx = 1']),
    (house.contracts_missing, "core/io/loop.py", ["def f():\n    x = 1\n    return x"]),
    (house.words_forbidden, "core/io/loop.py", ["# TODO: later", "data.splitlines()"]),
    (house.too_long, "core/io/loop.py", [
        LONG_FUNCTION, "async " + LONG_FUNCTION, LONG_LAMBDA, "x\n" * (house.FILE_LINES_MAX + 1),
    ]),
    (house.too_long, "nodes/ls/load_balancer.py", ["x = 1\n" * 261]),
    (house.lambdas_named, "core/io/loop.py", [
        "f = lambda: 0", "class C:\n    f: F = lambda self: 0",
    ]),
    (house.too_large, "core/io/loop.py", [
        LARGE_CLASS, MANY_METHODS, LARGE_BASE, MANY_INHERITED, CLASS_ATTRIBUTES,
        MANY_METHODS.replace("def", "async def"),
    ]),
    (house.too_many_parameters, "core/io/loop.py", ["def f(a, b, c, d, /, *e, f, g, **h): ..."]),
    (house.machines_misnamed, "nodes/ls/link.py", [
        "class Tie(Label): ...", "class Pull(machine.Label): ...",
    ]),
    (house.names_twice, "nodes/ls/link.py", ["class Machine: ...", "STAY: int = 1"]),
    (house.connections_spelled, "nodes/ls/link.py", [
        "event.conn.startswith(prefix)", "name.partition('.')[0]", "self._link.name.split('.')",
        "conn[:3] == 'DNS'", "event.conn[:3]", "event.conn == 'client-1'", "f'TS{n}' != event.conn",
        "event.conn in ('TS1', 'TS2')", "event.conn == _FIRST", "'DNS' in event.conn",
        "event.conn < other", "re.match('TS', event.conn)", "_IS_TABLE.fullmatch(link.conn)",
        "str.startswith(event.conn, 'TS')", "len(self.link.conn) > 3",
        "text = event.conn\ntext.startswith('TS')", "a, b = 1, event.conn\nc = b\nc == 'TS1'",
        "if (text := event.conn): text[0]", "match event.conn:\n    case 'TS1': pass",
        "match e:\n    case Opened('TS1'): pass", "match e:\n    case Opened(x): x.isalpha()",
    ]),
    (house.counted_from_outside, "nodes/ls/table_link.py", [
        "link.answered += 1", "self._server.counts[reason] += 1",
        "link.answered = link.answered + 1", "link.answered = 1 + link.answered",
        "setattr(link, 'answered', 1)", "object.__setattr__(link, 'answered', 1)",
        "vars(link)['answered'] += 1",
    ]),
    (house.reports_nameless, "core/io/acceptor.py", [
        "Report('x')", "Report('x', Level.INFO, '', {})", "Report('x', event='Not Snake')",
        "self._engine.log.report(few, Level.WARNING)", "log.report('x')", "wire.report('x')",
    ]),
    (house.kinds_told_apart, "nodes/ls/exchange.py", [
        "isinstance(upstream, TableLink)", "isinstance(x, int | resolver_link.ResolverLink)",
        "type(self.upstream) is kind", "hasattr(upstream, 'whereabouts')",
        "getattr(self._server, 'whereabouts', None)",
        "from nodes.ls.table_link import TableLink as Table\nisinstance(x, Table)",
        "upstream.__class__.__name__", "ways[type(upstream)]", "kind is TableLink",
        "issubclass(type(upstream), kind)", "match x:\n    case TableLink(): pass",
    ]),
    (english.riddles, "nodes/ls/link.py", [
        'def f():\n    """What happens to a link."""', 'class C:\n    """The reverse."""',
        'async def f():\n    """Riddle."""',
    ]),
    (english.sentences_nameless, "nodes/ls/link.py", [
        '"""A link.\n\nOne of many."""', 'def f():\n    """Do it. So it is done."""',
        'class C:\n    """A link (LS.) Who asks, waits."""',
        '"""A list.\n\n- it\n- what is left\n"""', "# A comment: What it is.\n",
        "# A comment of two\n# lines. Whoever reads it.\n", "x = 1  # what it is for\n",
    ]),
    (english.verbs_missing, "nodes/ls/link.py", [
        'def f():\n    """The link of a name."""', 'def f():\n    """Returns the link."""',
        'def f():\n    """Waiting for a link."""',
        'class C:\n    async def f():\n        """Whether."""',
    ]),
)  # fmt: skip
ALLOWED = cases(  # texts that a rule must not forbid
    (house.dns_on_the_reading_path, "nodes/ls/dns_clients.py", ["import nodes.dns.reply"]),
    (house.too_many_parameters, "nodes/ls/link.py", ["def f(self, a, b, c, d, e, f, g): ..."]),
    (house.too_large, "core/bounds.py", [LARGE_CLASS.replace("class C", "class Bounds")]),
    (house.names_twice, "core/machine.py", ["class Machine: ..."]),
    (house.names_twice, "nodes/ls/link.py", ["S = E = _Machine = 1"]),
    (house.connections_spelled, "nodes/ls/link.py", [
        "name.removesuffix(b'.')", "self._sockets.by_conn[event.conn]",
        "event.conn == self.conn or event.conn in self._x", "f'{link.conn} is up'",
    ]),
    (house.connections_spelled, "core/bounds.py", ["field.name.endswith('_s')"]),
    (house.counted_from_outside, "nodes/ls/link.py", [
        "class C:\n    n: int\nlink.n += 1", "self._env.hits['clients_max'] += 1",
        "replies.effects += self._woken(now)", "self.n = self.n + 1",
    ]),
    (house.contracts_missing, "core/io/loop.py", [
        "class _C:\n    def step(self):\n        x = 1; y",
        "def _f():\n    def inner():\n        x = 1; y",
    ]),
    (house.wrong_imports, "core/io/writer.py", ["import select"]),
    (house.wrong_imports, "nodes/cli/ls.py", ["from __future__ import annotations"]),
    (house.calls_forbidden, "core/io/child.py", ["import os\nos.fork()"]),
    (house.calls_forbidden, "nodes/ls/link.py", ["import re, os\nre.compile(os.devnull)"]),
    (house.lambdas_named, "nodes/ls/link.py", ["f(lambda: 0)"]),
    (house.too_large, "nodes/ls/link.py", [
        MANY_INHERITED.replace("f()", "..."), CLASS_ATTRIBUTES.replace("class C", "class C(Enum)"),
    ]),
    (house.reports_nameless, "core/io/acceptor.py", [
        "Report('x', Level.INFO, 'worker_up')", "Report('x', event='ended')", "part.report(x, y)",
        "log.report(effect.text, effect.level, effect.event)",
    ]),
    (house.kinds_told_apart, "nodes/ls/table_link.py", [
        "class TableLink: ...\nisinstance(x, TableLink)",
    ]),
    (house.kinds_told_apart, "nodes/ls/exchange.py", [
        "isinstance(event, Opened)", "type(upstream).hurry is not Upstream.hurry",
    ]),
    (english.sentences_nameless, "nodes/ls/link.py", [
        "# It is not what it was, so it goes.\n", "# `one` is a name. Tell somebody.\n",
    ]),
    (english.verbs_missing, "nodes/ls/link.py", [
        '@property\ndef f():\n    """The link of a name."""', 'def f():\n    """Pass a link on."""',
    ]),
    (english.verbs_missing, "tests/nodes/test_load_balancer.py", [
        'def test_f():\n    """The link is up."""',
    ]),
    (house.privates_used, "tests/nodes/test_link.py", [
        "class C:\n    def __eq__(self, o): self._x == o._x",
    ]),
    (house.names_long, "tests/nodes/test_link.py", [f"def test_{'n' * 55}(): ..."]),
)  # fmt: skip


TEST_RULES = cases(  # of tests only
    (house.privates_used, "tests/nodes/test_link.py", ["assert link._state is None"]),
    (house.names_long, "tests/nodes/test_link.py", [f"def test_{'n' * 56}(): ..."]),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "source"), RULES + TEST_RULES)
def test_the_rule_can_say_no(rule: Rule, path: str, source: str) -> None:
    assert rule(path, source)


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED)
def test_the_rule_can_say_yes(rule: Rule, path: str, source: str) -> None:
    assert rule(path, source) == []


HOUSE_RULES = dict.fromkeys(rule for rule, _, _ in RULES)
ENGLISH_RULES = dict.fromkeys([english.sentences_nameless, english.riddles, english.verbs_missing])
RULES_OF: dict[str, dict[Rule, None]] = {
    "core": HOUSE_RULES,
    "nodes": HOUSE_RULES,
    "bench": ENGLISH_RULES,
    "tests": ENGLISH_RULES | dict.fromkeys(rule for rule, _, _ in TEST_RULES),
}


@pytest.mark.parametrize("folder", RULES_OF)
def test_the_folder_keeps_its_rules(folder: str) -> None:
    wrong = []
    for path in SOURCES + TEST_SOURCES:
        if path.startswith(f"{folder}/"):
            source = (ROOT / path).read_text()
            wrong += [(path, rule.__name__, rule(path, source)) for rule in RULES_OF[folder]]
    assert [each for each in wrong if each[2]] == []


def test_files_of_tests_and_benches_are_not_too_long() -> None:
    lines = {path: (ROOT / path).read_text().count("\n") for path in TEST_SOURCES}
    assert [p for p, count in lines.items() if count > TEST_LINES_MAX[p.split("/")[0]]] == []


def test_the_reading_path_is_there_and_short() -> None:
    lines = sum((ROOT / path).read_text().count("\n") for path in house.READING_PATH)
    assert lines <= house.READING_LINES_MAX


def test_the_reading_path_is_that_of_the_map() -> None:
    rows = re.findall(
        r"(?m)^\| \[[^]]+\]\(([^)]+)\) \| [^|]+ \|$", (ROOT / "core/README.md").read_text()
    )
    shown = [(ROOT / "core" / row).resolve().relative_to(ROOT).as_posix() for row in rows]
    assert sorted(shown) == sorted(house.READING_PATH)


def headings(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"(?ms)^```.*?^```", "", document)
    found = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken_links(path: str, document: str) -> set[str]:
    """Return what a document's links lead to that is not there: files, or headings of documents."""
    broken = set()
    for link in re.findall(r"\]\(([^)\s]+)\)", document):
        if not link.startswith("http"):
            file, _, anchor = link.partition("#")
            target = ((ROOT / path).parent / file).resolve() if file else ROOT / path
            name = target.relative_to(ROOT).as_posix()
            if not target.exists():
                broken.add(name)
            elif anchor and anchor not in headings(document if not file else target.read_text()):
                broken.add(f"{name}#{anchor}")
    return broken


def test_links_that_lead_nowhere_are_found() -> None:
    document = "# A page\n[x](#a-page) [x](#b) [x](nowhere.md) [x](proto.md#time) [x](proto.md#b)"
    assert broken_links("README.md", document) == {"README.md#b", "nowhere.md", "proto.md#b"}


def test_links_of_documents_lead_somewhere() -> None:
    broken: set[str] = set()
    for path in DOCUMENTS:
        broken |= broken_links(path.relative_to(ROOT).as_posix(), path.read_text())
    assert broken == set()


def promises_elsewhere(document: str) -> set[str]:
    """Return the links of a text to promises of proto.md, [P1](proto.md#questions), that are not in
    the section that the link leads to, nor below its headings."""
    parts = re.split(r"(?m)^(#+) (.*)\n", (ROOT / "proto.md").read_text())
    sections: dict[str, str] = {}
    open_sections: list[tuple[int, str]] = []
    for depth, heading, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        (anchor,) = headings(f"# {heading}")
        open_sections = [each for each in open_sections if each[0] < len(depth)]
        open_sections.append((len(depth), anchor))
        for _, each in open_sections:
            sections[each] = sections.get(each, "") + text
    found = re.findall(r"(\[P\d+\])\((?:\.\./)?proto\.md#([^)]+)\)", document)
    return {f"{tag} #{anchor}" for tag, anchor in found if tag not in sections.get(anchor, "")}


def test_a_promise_that_stands_elsewhere_is_found() -> None:
    links = ["[P66](proto.md#status-page)", "[P35](proto.md#resolvers)", "[P35](../proto.md#dns)"]
    assert promises_elsewhere(" ".join(links)) == {"[P35] #dns"}


def test_links_to_promises_lead_to_their_sections() -> None:
    wrong = {place(path): promises_elsewhere(path.read_text()) for path in DOCUMENTS}
    assert {name: links for name, links in wrong.items() if links} == {}


# A port from 5000 to 5099. Not figures (5,000, 0.5011, 1x5000), nor RFC 5001.
UNLUCKY_PORT = re.compile(r"(?<![\w.,])(?<!RFC )50\d\d(?!\w|[.,]\d)")
NO_TEXT = {".png", ".svg", ".json"}


def test_a_port_is_told_from_a_figure() -> None:
    ports = ["ls 5000 localhost", "[::1]:5053.", "`5080`", "5001, 5002", "= 5099"]
    figures = ["5,000", "5_000", "1x5000", "5000.8", "0.5011", "15000", "50000", "RFC 5001", "5300"]
    assert [text for text in ports + figures if UNLUCKY_PORT.search(text)] == ports


def test_no_file_names_a_port_that_macos_takes() -> None:
    """AirPlay listens at 5000 there: the first command of a newcomer would fail."""
    files = [*ROOT.glob("*"), *(ROOT / ".ci").iterdir()]
    for folder in ("core", "nodes", "tests", "bench", "examples"):
        files += (ROOT / folder).rglob("*")
    texts = [p for p in files if p.is_file() and p.suffix not in NO_TEXT | {".pyc"}]
    texts.remove(ROOT / "tests/test_tidy.py")
    assert len(texts) > 400
    assert {str(p) for p in texts if UNLUCKY_PORT.search(p.read_text())} == set()


def test_there_is_no_code_in_an_init() -> None:
    for path in SOURCES:
        if path.endswith("__init__.py"):
            assert (ROOT / path).read_text() == ""


# Which kinds of test each row of the fault matrix has: S in the simulator, L over processes of
# loopback, U of one part. C11 does not hold for this design.
MATRIX = """
A1 SL A2 SL A3 S A4 S A5 SL A6 S A7 S A8 S A9 S A10 SL A11 SL A12 S A13 S A14 US A15 SU A16 S
A17 L A18 S A19 S A20 S A21 SL A22 S A23 L A24 SL A25 S A26 S A27 UL A28 S A29 S A30 S A31 S
B1 SL B2 SL B3 US B4 SL B5 SL B6 SL B7 L B8 S B9 SL B10 S B11 L B12 L B13 S B14 S B15 L B16 S
B17 L B18 U B19 U B20 S B21 US
C1 LS C2 L C3 L C4 L C5 S C6 L C7 LS C8 S C9 L C10 S C12 S C13 L C14 S C15 S C16 S C17 L
D1 U D2 U D3 U D4 U D5 U D6 U D7 U D8 U D9 U D10 U D11 U D12 U D13 U
E1 U E2 U E3 U E4 UL E5 USL E6 USL E7 U
F1 U F2 U F3 U F4 U F5 UL F6 U F7 U F8 U F9 UL F10 L F11 U
"""
KIND = {
    "test_fault_matrix": "S",
    "test_loop": "S",
    "test_streams": "S",
    "test_dialler": "S",
    "test_signals": "S",
    "test_loopback": "L",
    "test_system": "L",
    "test_dns_loopback": "L",
    "test_hostile": "L",
    "test_resolver_loopback": "L",
}


def test_each_row_of_the_fault_matrix_has_its_tests() -> None:
    words = MATRIX.split()
    wanted = {
        (row, kind) for row, kinds in zip(words[::2], words[1::2], strict=True) for kind in kinds
    }
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"(?m)^ *def test_(\w+)", path.read_text()):
            rows = re.match(r"(?:[a-f]\d+_)*", name)
            assert rows is not None
            there |= {(row.upper(), KIND.get(path.stem, "U")) for row in rows[0].split("_") if row}
    missing = sorted(wanted - there)
    assert not missing, missing
