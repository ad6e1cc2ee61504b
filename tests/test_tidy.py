"""The rules of the house, read from the sources: who imports what, and what stands where.

Each rule is a function from a path and its source to what is wrong with it, so that it is tested
twice: on a small text that breaks it, and on the project.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("core", "nodes")
    for path in (ROOT / folder).rglob("*.py")
)
# The files that one reads to know how the house works; core/README.md says what each teaches.
READING_PATH = [
    f"{folder}/{name}.py"
    for folder, names in {
        "core": "machine brain events effects",
        "core/protocol": "messages batches session server",
        "core/io": "loop streams connection line_buffer",
        "nodes/ts": "table_server",
        "nodes/client": "client",
        "nodes/ls": "load_balancer questions outcomes upstream link table_link policy race_policy",
    }.items()
    for name in names.split()
]
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
EXCEPTIONS = {("nodes/replay/replay.py", "nodes.ls.race_record")}  # it reads what LS has written
# The seam to the operating system: nobody else may wait, connect, know the time or draw lots.
OUTSIDE = {"select", "socket", "time", "random", "signal", "resource", "subprocess", "secrets"}
SEAM = {
    f"core/io/{name}.py"
    for name in ["system", "lookup", "child", "process", "wildcard", "writer", "service_manager"]
}
READING_LINES_MAX = 2_900  # of the whole reading path
READING_HEADER_LINES_MAX = 12
HEADER_LINES_MAX = 25
FILE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60
ATTRIBUTES_MAX = 20
METHODS_MAX = 25
PARAMETERS_MAX = 7  # self and cls not counted
TABLES_OF_VALUES = {"Bounds"}  # as many fields as there are values, each with its reason
SHARED_COUNTERS = {"hits"}  # a bound is counted by whoever keeps it
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
            file = module.replace(".", "/")
            folder = folder_of(f"{file}/" if (ROOT / file).is_dir() else file)
            if folder in allowed or f"{folder}/*" in allowed or f"{top}/*" in allowed:
                continue
            if (path, module) not in EXCEPTIONS:
                wrong.append(module)
        elif top in FORBIDDEN or top not in sys.stdlib_module_names - (
            OUTSIDE if path not in SEAM else set()
        ):
            wrong.append(module)
    return wrong


def dns_on_the_reading_path(path: str, source: str) -> list[str]:
    """Imports by which somebody who reads the path comes into the format of DNS messages."""
    if path not in READING_PATH:
        return []
    return [module for module in imported(source) if module.startswith("nodes.dns")]


def assigned(node: ast.AST) -> Iterator[ast.expr]:
    """Everything that one statement assigns to, taken out of its tuples."""
    if isinstance(node, ast.Assign):
        targets = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    else:
        targets = []
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        else:
            yield target


def states_assigned(path: str, source: str) -> list[str]:
    """Assignments to an attribute `state`, which only a machine makes."""
    if path == "core/machine.py":
        return []
    return [
        ast.unparse(target)
        for node in ast.walk(ast.parse(source))
        for target in assigned(node)
        if isinstance(target, ast.Attribute) and target.attr == "state"
    ]


def header_wrong(path: str, source: str) -> list[str]:
    """A header that is missing or too long, in a file that has any code."""
    if not source:
        return []
    header = ast.get_docstring(ast.parse(source)) or ""
    count = len(header.splitlines())
    most = READING_HEADER_LINES_MAX if path in READING_PATH else HEADER_LINES_MAX
    return [] if 3 <= count <= most else [f"{count} lines of header"]


def base_names(owner: ast.ClassDef) -> set[str]:
    """The bases of a class, without modules and parameters."""
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in owner.bases}


@cache
def promised_in_contracts() -> set[str]:
    """Methods that a Protocol, or a base class, of the house says what they promise."""
    owners = [owner for path in SOURCES for owner in classes((ROOT / path).read_text())]
    bases = {base for owner in owners for base in base_names(owner)}
    return {
        node.name
        for owner in owners
        if owner.name in bases or "Protocol" in base_names(owner)
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
    }


def contracts_missing(path: str, source: str) -> list[str]:
    """Public classes, functions and methods that do not say what they promise. A method may leave
    that to the contract that it fulfils."""
    wrong = []
    places: list[tuple[list[ast.stmt], set[str]]] = [(ast.parse(source).body, set())]
    places += [(owner.body, promised_in_contracts()) for owner in classes(source)]
    for body, promised in places:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not ast.get_docstring(node):
                plain = isinstance(node, ast.FunctionDef) and len(node.body) == 1  # says it itself
                if not (node.name.startswith("_") or plain or node.name in promised):
                    wrong.append(node.name)
    return wrong


def words_forbidden(path: str, source: str) -> list[str]:
    """What must not be in a source: work left open, paths of a machine, the wrong split."""
    pattern = r"TODO|FIXME|XXX|NotImplementedError|/root/|/home/|splitlines\("
    return re.findall(pattern, source)


def too_long(path: str, source: str) -> list[str]:
    """A file, or a function in it, that is longer than one idea."""
    count = source.count("\n")
    wrong = [f"{count} lines"] if count > FILE_LINES_MAX else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            count = node.end_lineno - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                wrong.append(f"{node.name}: {count} lines")
    return wrong


def classes(source: str) -> Iterator[ast.ClassDef]:
    """All classes of a source, at any depth of it."""
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef))


def attributes(owner: ast.ClassDef) -> set[str]:
    """The fields and slots of a class, and whatever its methods assign to `self`."""
    names: set[str] = set()
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            slots = ast.literal_eval(node.value)
            names |= {slots} if isinstance(slots, str) else set(slots)
        elif isinstance(node, ast.FunctionDef):
            for target in (target for inner in ast.walk(node) for target in assigned(inner)):
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                    names.add(target.attr)
    return names


def too_large(path: str, source: str) -> list[str]:
    """A class with more attributes or methods than one idea has."""
    wrong = []
    for owner in classes(source):
        methods = sum(isinstance(node, ast.FunctionDef) for node in owner.body)
        if methods > METHODS_MAX:
            wrong.append(f"{owner.name}: {methods} methods")
        count = len(attributes(owner))
        if count > ATTRIBUTES_MAX and owner.name not in TABLES_OF_VALUES:
            wrong.append(f"{owner.name}: {count} attributes")
    return wrong


def too_many_parameters(path: str, source: str) -> list[str]:
    """A function with more parameters than a caller can keep apart."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
            names = [argument.arg for argument in every if argument is not None]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > PARAMETERS_MAX:
                wrong.append(f"{node.name}: {count} parameters")
    return wrong


def machines_misnamed(path: str, source: str) -> list[str]:
    """States or events of a machine that are not called so."""
    return [
        owner.name
        for owner in classes(source)
        if any(ast.unparse(base).split(".")[-1] == "Label" for base in owner.bases)
        and not owner.name.endswith(("State", "Event"))
    ]


def public_names(source: str) -> set[str]:
    """Classes, functions and constants at the top of a source; one letter is an alias."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        names |= {target.id for target in assigned(node) if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_") and len(name) > 1}


@cache
def names_of_the_house() -> dict[str, set[str]]:
    """Public names of core/ and nodes/, each with the files that have it."""
    homes: dict[str, set[str]] = {}
    for path in SOURCES:
        for name in public_names((ROOT / path).read_text()):
            homes.setdefault(name, set()).add(path)
    return homes


def names_twice(path: str, source: str) -> list[str]:
    """Public names that another file has, too."""
    homes = names_of_the_house()
    return sorted(name for name in public_names(source) if homes.get(name, set()) - {path})


TAKES_APART = {  # methods by which a text's spelling is read
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit"),
    *("find", "index", "removeprefix", "removesuffix"),
}
CONNECTION = re.compile(  # what a variable or attribute is called that holds a connection's name
    r"^name$|(?:^|[._])conn(?:_name)?$"
    r"|(?:^|[._])(?:event|connection|stream|socket|server|upstream|link)s?(?:\[.*\])?\.name$"
)


def connections_spelled(path: str, source: str) -> list[str]:
    """Names of connections whose spelling is read. Names of the protocol are bytes, not these."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        text = ""
        if isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Slice | ast.Constant):  # else a dictionary is looked up
                text = ast.unparse(node.value).removeprefix("name")  # mostly a name that is asked
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            given = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if node.func.attr in TAKES_APART and not any(isinstance(v, bytes) for v in given):
                text = ast.unparse(node.func.value)
        if CONNECTION.search(text):
            wrong.append(ast.unparse(node))
    return wrong


@cache
def counters_of_the_house() -> set[str]:
    """Attributes of classes of the house that are numbers."""
    return {
        target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)
        for path in SOURCES
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        for target in assigned(node)
        if (isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in ("int", "float"))
        or (isinstance(node, ast.Assign) and is_number(node.value))
    }


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def counted_from_outside(path: str, source: str) -> list[str]:
    """Counters that a file adds to without having the class that owns them."""
    own = {name for owner in classes(source) for name in attributes(owner)} | SHARED_COUNTERS
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
            target = node.target.value if isinstance(node.target, ast.Subscript) else node.target
            if isinstance(target, ast.Attribute) and target.attr not in own:
                is_counter = is_number(node.value) or target.attr in counters_of_the_house()
                if is_counter and ast.unparse(target.value) not in ("self", "cls"):
                    wrong.append(ast.unparse(node))
    return wrong


NAMELESS = {  # words with which a sentence begins that has not named what it is about
    *("who", "whom", "whose", "whoever", "what", "whatever", "whence", "whither"),
    *("one", "so", "it", "they", "there", "those"),
}


def riddles(path: str, source: str) -> list[str]:
    """First lines of docstrings that do not say what they are about."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            words = re.findall(r"[\w'-]+", first.lower())
            if first and (len(words) < 2 or words[0] in NAMELESS or words[1:] == ["reverse"]):
                wrong.append(first)
    return wrong


Rule = Callable[[str, str], list[str]]
LONG_FUNCTION = "def f():\n" + "    g()\n" * FUNCTION_LINES_MAX
LARGE_CLASS = "class C:\n    __slots__ = ('z',)\n" + "".join(
    f"    a{n}: int\n" for n in range(ATTRIBUTES_MAX)
)
MANY_METHODS = "class C:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(METHODS_MAX + 1))
RULES: list[tuple[Rule, str, str]] = [  # each with a text that breaks it
    (wrong_imports, "core/io/connection.py", "import nodes.ls.load_balancer"),
    (wrong_imports, "core/machine.py", "from core.io.connection import Connection"),
    (wrong_imports, "core/io/connection.py", "from core.protocol.session import Session"),
    (wrong_imports, "core/protocol/session.py", "from core.io import loop"),
    (wrong_imports, "nodes/ts/table_server.py", "from nodes.ls.load_balancer import LoadBalancer"),
    (wrong_imports, "nodes/client/client.py", "from nodes.ls.questions import Questions"),
    (wrong_imports, "nodes/ls/load_balancer.py", "def f():\n    import time"),
    (wrong_imports, "core/io/loop.py", "import select"),
    (wrong_imports, "core/io/loop.py", "import core.protocol"),
    (wrong_imports, "core/io/loop.py", "from core import protocol"),
    (wrong_imports, "core/io/system.py", "import selectors"),
    (wrong_imports, "nodes/__main__.py", "from asyncio import run"),
    (wrong_imports, "core/protocol/messages.py", "import hypothesis"),
    (dns_on_the_reading_path, "nodes/ls/questions.py", "from nodes.dns.reply import DnsReply"),
    (states_assigned, "nodes/ls/load_balancer.py", "link.life.state = 1"),
    (header_wrong, "core/io/connection.py", '"""Too short."""\nx = 1'),
    (header_wrong, "core/io/connection.py", '"""' + "Too long.\n" * 13 + '"""\nx = 1'),
    (header_wrong, "core/io/acceptor.py", '"""' + "Too long.\n" * 26 + '"""\nx = 1'),
    (contracts_missing, "core/io/connection.py", "def f():\n    x = 1\n    return x"),
    (words_forbidden, "core/io/connection.py", "# TODO: later"),
    (words_forbidden, "core/io/connection.py", "data.splitlines()"),
    (too_long, "core/io/connection.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (too_long, "core/io/connection.py", LONG_FUNCTION),
    (too_large, "core/io/connection.py", LARGE_CLASS),
    (too_large, "core/io/connection.py", MANY_METHODS),
    (too_many_parameters, "core/io/connection.py", "def f(a, b, c, d, /, *e, f, g, **h): ..."),
    (machines_misnamed, "nodes/ls/link.py", "class Tie(Label): ..."),
    (machines_misnamed, "nodes/ls/link.py", "class Pull(machine.Label): ..."),
    (names_twice, "nodes/ls/link.py", "class Machine: ..."),
    (names_twice, "nodes/ls/link.py", "STAY: int = 1"),
    (connections_spelled, "nodes/ls/link.py", "event.conn.startswith(prefix)"),
    (connections_spelled, "nodes/ls/link.py", "name.partition('.')[0]"),
    (connections_spelled, "nodes/ls/link.py", "self._link.name.split('.')"),
    (connections_spelled, "nodes/ls/link.py", "conn[:3] == 'DNS'"),
    (counted_from_outside, "nodes/ls/table_link.py", "link.answered += 1"),
    (counted_from_outside, "nodes/ls/table_link.py", "self._server.counts[reason] += 1"),
    (riddles, "nodes/ls/link.py", 'def f():\n    """What happens to a link."""'),
    (riddles, "nodes/ls/link.py", 'class C:\n    """The reverse."""'),
]
ALLOWED: list[tuple[Rule, str, str]] = [  # what a rule must not forbid
    (dns_on_the_reading_path, "nodes/ls/dns_clients.py", "from nodes.dns.reply import DnsReply"),
    (too_many_parameters, "nodes/ls/link.py", "def f(self, a, b, c, d, e, f, g): ..."),
    (too_large, "core/bounds.py", LARGE_CLASS.replace("class C", "class Bounds")),
    (names_twice, "core/machine.py", "class Machine: ..."),
    (names_twice, "nodes/ls/link.py", "S = E = _Machine = 1"),
    (connections_spelled, "nodes/ls/link.py", "name.removesuffix(b'.')"),
    (connections_spelled, "core/bounds.py", "field.name.endswith('_s')"),
    (counted_from_outside, "nodes/ls/link.py", "class C:\n    n: int\nlink.n += 1"),
    (counted_from_outside, "nodes/ls/link.py", "self._env.hits['clients_max'] += 1"),
    (counted_from_outside, "nodes/ls/link.py", "replies.effects += self._woken(now)"),
    (connections_spelled, "nodes/ls/link.py", "self._sockets.by_conn[event.conn]"),
    (contracts_missing, "core/io/loop.py", "class _C:\n    def step(self):\n        x = 1; y"),
    (contracts_missing, "core/io/loop.py", "def _f():\n    def inner():\n        x = 1; y"),
]


@pytest.mark.parametrize(("rule", "path", "source"), RULES)
def test_the_rule_can_say_no(rule: Rule, path: str, source: str) -> None:
    assert rule(path, source)


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED)
def test_the_rule_can_say_yes(rule: Rule, path: str, source: str) -> None:
    assert rule(path, source) == []


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES))
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    wrong = {path: found for path in SOURCES if (found := rule(path, (ROOT / path).read_text()))}
    assert wrong == {}


def test_the_reading_path_is_there_and_short() -> None:
    lines = sum((ROOT / path).read_text().count("\n") for path in READING_PATH)
    assert lines <= READING_LINES_MAX


def test_the_reading_path_is_that_of_the_map() -> None:
    rows = re.findall(
        r"(?m)^\| \[[^]]+\]\(([^)]+)\) \| [^|]+ \|$", (ROOT / "core/README.md").read_text()
    )
    shown = [(ROOT / "core" / row).resolve().relative_to(ROOT).as_posix() for row in rows]
    assert sorted(shown) == sorted(READING_PATH)


def headings(document: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"(?ms)^```.*?^```", "", document)
    found = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken_links(path: str, document: str) -> set[str]:
    """What a document's links lead to that is not there: files, or headings of documents."""
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
    documents = [*ROOT.glob("*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("bench/*.md")]
    broken: set[str] = set()
    for path in documents:
        broken |= broken_links(path.relative_to(ROOT).as_posix(), path.read_text())
    assert broken == set()


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
