"""The rules of the house, read from the sources: who imports what, and what stands where.

Each rule is a function from a source text to what is wrong with it, so that it is tested twice:
on a small text that breaks it, and on the project.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("core", "nodes")
    for path in (ROOT / folder).rglob("*.py")
)
# What each folder may import; a folder is named with what lies in it, not below it.
FOLDERS = {
    "core": {"core"},
    "core/io": {"core", "core/io"},
    "core/protocol": {"core", "core/protocol"},
    "nodes": {"core/io", "nodes/cli"},
    "nodes/cli": {"core", "core/io", "core/protocol", "nodes/*"},
    "nodes/client": {"core", "core/io", "core/protocol", "nodes/client"},
    "nodes/dns": {"core", "core/io", "core/protocol", "nodes/dns"},
    "nodes/ls": {"core", "core/io", "core/protocol", "nodes/dns", "nodes/ls/*"},
    "nodes/replay": {"core", "core/io", "core/protocol", "nodes/replay"},
    "nodes/status_page": {"core", "core/io", "core/protocol", "nodes/status_page"},
    "nodes/ts": {"core", "core/io", "core/protocol", "nodes/ts"},
    "nodes/workers": {"core", "core/io", "core/protocol", "nodes/workers"},
}
# The seam to the operating system: nobody else may wait, connect, know the time or draw lots.
OUTSIDE = {"select", "socket", "time", "random", "signal", "resource", "subprocess", "secrets"}
SEAM = {
    f"core/io/{name}.py" for name in ("system", "lookup", "child", "process", "wildcard", "writer")
}
FORBIDDEN = {"selectors", "asyncio", "threading", "socketserver", "multiprocessing", "concurrent"}


def imported(source: str) -> Iterator[str]:
    """Dotted names of all modules that a source imports, at any depth of it."""
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.module is not None and found.level == 0
            if (ROOT / found.module.replace(".", "/")).is_dir():
                yield from (f"{found.module}.{alias.name}" for alias in found.names)
            else:
                yield found.module


def folder_of(path: str) -> str:
    """The folder that rules of imports are about: `nodes/ls` for all that lies below it, too."""
    return "/".join(path.split("/")[:-1][:2])


def wrong_imports(path: str, source: str) -> list[str]:
    """Imports that the house does not allow."""
    wrong = []
    allowed = FOLDERS[folder_of(path)]
    for module in imported(source):
        top = module.split(".")[0]
        if top in ("core", "nodes"):
            folder = folder_of(module.replace(".", "/"))
            if folder in allowed or f"{folder}/*" in allowed or f"{top}/*" in allowed:
                continue
            wrong.append(module)
        elif top in FORBIDDEN or top not in sys.stdlib_module_names - (
            OUTSIDE if path not in SEAM else set()
        ):
            wrong.append(module)
    return wrong


def states_assigned(path: str, source: str) -> list[str]:
    """Assignments to an attribute `state`, which only a machine makes."""
    if path == "core/machine.py":
        return []
    targets: list[ast.expr] = []
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.Assign):
            targets += found.targets
        elif isinstance(found, ast.AugAssign | ast.AnnAssign):
            targets.append(found.target)
    return [ast.unparse(t) for t in targets if isinstance(t, ast.Attribute) and t.attr == "state"]


def header_missing(path: str, source: str) -> list[str]:
    """A header of 3 to 25 lines, in every file that has any code."""
    if not source:
        return []
    header = ast.get_docstring(ast.parse(source)) or ""
    count = len(header.splitlines())
    return [] if 3 <= count <= 25 else [f"{count} lines of header"]


def contracts_missing(path: str, source: str) -> list[str]:
    """Public classes, functions and methods that do not say what they promise."""
    wrong = []
    for found in ast.walk(ast.parse(source)):
        if isinstance(found, ast.ClassDef | ast.FunctionDef) and not ast.get_docstring(found):
            plain = isinstance(found, ast.FunctionDef) and len(found.body) == 1  # says it itself
            if not found.name.startswith("_") and not plain and found.name not in INNER:
                wrong.append(found.name)
    return wrong


INNER = {
    "admit",
    "build",
    "balancer",
    "open_records",
    "say",
    "error",
    "play",
    "health",
}  # functions inside functions, and an override


def words_forbidden(path: str, source: str) -> list[str]:
    """What must not be in a source: work left open, paths of a machine, the wrong split."""
    pattern = r"TODO|FIXME|XXX|NotImplementedError|/root/|/home/|splitlines\("
    return re.findall(pattern, source)


Rule = Callable[[str, str], list[str]]
RULES: list[tuple[Rule, str, str]] = [  # each with a text that breaks it
    (wrong_imports, "core/io/connection.py", "import nodes.ls.load_balancer"),
    (wrong_imports, "core/machine.py", "from core.io.connection import Connection"),
    (wrong_imports, "core/io/connection.py", "from core.protocol.session import Session"),
    (wrong_imports, "core/protocol/session.py", "from core.io import loop"),
    (wrong_imports, "nodes/ts/table_server.py", "from nodes.ls.load_balancer import LoadBalancer"),
    (wrong_imports, "nodes/client/client.py", "from nodes.ls.questions import Questions"),
    (wrong_imports, "nodes/ls/load_balancer.py", "def f():\n    import time"),
    (wrong_imports, "core/io/loop.py", "import select"),
    (wrong_imports, "core/io/system.py", "import selectors"),
    (wrong_imports, "nodes/__main__.py", "from asyncio import run"),
    (wrong_imports, "core/protocol/messages.py", "import hypothesis"),
    (states_assigned, "nodes/ls/load_balancer.py", "link.life.state = 1"),
    (header_missing, "core/io/connection.py", '"""Too short."""\nx = 1'),
    (contracts_missing, "core/io/connection.py", "def f():\n    x = 1\n    return x"),
    (words_forbidden, "core/io/connection.py", "# TODO: later"),
    (words_forbidden, "core/io/connection.py", "data.splitlines()"),
]


@pytest.mark.parametrize(("rule", "path", "source"), RULES)
def test_the_rule_can_say_no(rule: Rule, path: str, source: str) -> None:
    assert rule(path, source)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES))
@pytest.mark.parametrize("path", SOURCES)
def test_the_house_keeps_the_rule(path: str, rule: Rule) -> None:
    assert rule(path, (ROOT / path).read_text()) == []


def test_there_is_no_code_in_an_init() -> None:
    for path in SOURCES:
        if path.endswith("__init__.py"):
            assert (ROOT / path).read_text() == ""


# Which kinds of test each row of the fault matrix has: S in the simulator, L over processes of
# loopback, U of one part. C11 does not hold for this design.
MATRIX = """
A1 SL A2 SL A3 S A4 S A5 SL A6 S A7 S A8 S A9 SL A10 SL A11 SL A12 S A13 SL A14 US A15 SU A16 SL
A17 L A18 SL A19 SL A20 S A21 SL A22 LS A23 L A24 SL A25 S A26 S A27 UL A28 S A29 S A30 S A31 S
B1 SL B2 SL B3 US B4 SL B5 SL B6 SL B7 L B8 S B9 SL B10 S B11 L B12 L B13 SL B14 S B15 L B16 S
B17 L B18 U B19 UL B20 S B21 US
C1 LS C2 L C3 L C4 L C5 S C6 L C7 LS C8 S C9 L C10 S C12 S C13 L C14 S C15 S C16 S C17 L
D1 UL D2 UL D3 UL D4 UL D5 UL D6 UL D7 UL D8 U D9 UL D10 UL D11 UL D12 UL D13 UL
E1 U E2 U E3 U E4 UL E5 USL E6 USL E7 U
F1 UL F2 UL F3 UL F4 UL F5 UL F6 U F7 UL F8 UL F9 UL F10 L F11 UL
"""
KIND = {
    "test_matrix": "S",
    "test_turn": "S",
    "test_loopback": "L",
    "test_system": "L",
    "test_dns_loopback": "L",
    "test_resolver_loopback": "L",
}


def test_each_row_of_the_fault_matrix_has_its_tests() -> None:
    words = MATRIX.split()
    wanted = {
        (row, kind) for row, kinds in zip(words[::2], words[1::2], strict=True) for kind in kinds
    }
    there = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for name in re.findall(r"(?m)^ *def test_(\w+)", path.read_text()):
            rows = re.match(r"(?:[a-f]\d+_)*", name)
            assert rows is not None
            there |= {(row.upper(), KIND.get(path.stem, "U")) for row in rows[0].split("_") if row}
    missing = sorted(wanted - there)
    assert not missing, missing
