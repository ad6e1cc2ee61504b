"""The rules of structure in core/ and nodes/, read from the sources.

Each rule is a function from a path and its source to what is wrong with it, so that
`tests/test_tidy.py` can try it on small texts that break it, and then on the house. A rule reads
what is written, not what runs: it stops the ways by which a rule is broken by mistake or by a
short cut, not somebody who hides what he does.

Not here: English (`tests/support/english.py`).
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.support.sources import nodes_of, parsed

ROOT = Path(__file__).parents[2]
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
# Folders that each folder may import; a folder is named with what lies in it, not below it.
FOLDERS = {
    "core": {"core"},
    "core/io": {"core", "core/io"},
    "core/protocol": {"core", "core/protocol"},
    "nodes": {"core/io", "nodes/cli"},
    "nodes/cli": {"core", "core/io", "core/protocol", "nodes/*"},
    "nodes/client": {"core", "core/protocol", "nodes/client"},
    "nodes/demo": {"core", "core/protocol", "nodes/demo"},
    "nodes/dns": {"core", "core/protocol", "nodes/dns"},
    "nodes/ls": {"core", "core/protocol", "nodes/dns", "nodes/ls/*"},
    "nodes/replay": {"core", "core/protocol", "nodes/replay"},
    "nodes/status_page": {"core", "core/protocol", "nodes/status_page"},
    "nodes/top": {"core", "core/protocol", "nodes/top"},
    "nodes/ts": {"core", "core/protocol", "nodes/ts"},
    "nodes/workers": {"core", "core/protocol", "nodes/workers"},
}
EXCEPTIONS = {("nodes/replay/replay.py", "nodes.ls.race_record")}  # it reads what LS has written
PURE = {  # of core/io: bytes and numbers alone, so that a brain may use them
    *("core.io.line_buffer", "core.io.frame_buffer", "core.io.descriptors")
}
# The seam to the operating system: nobody else may wait, connect, know the time or draw lots. The
# modules that each of its files may import, and others not.
SEAM = {
    "core/io/binding.py": {"socket"},
    "core/io/child.py": {"signal", "socket"},
    "core/io/handed_over.py": {"socket"},
    "core/io/lookup.py": {"subprocess"},
    "core/time_of_day.py": {"time"},  # how a time is written
    "core/io/own_process.py": {"resource", "time"},
    "core/io/process.py": {"signal"},
    "core/io/service_manager.py": {"socket", "time"},
    "core/io/system.py": {*("random", "resource", "secrets", "select", "signal", "socket", "time")},
    "core/io/tls_contexts.py": {"ssl"},
    "core/io/tls_layer.py": {"ssl"},
    "core/io/wildcard.py": {"socket"},
    "nodes/status_page/http.py": {"http"},  # the names of its codes
    "nodes/status_page/pages.py": {"http"},
    "nodes/status_page/request.py": {"http"},
    "core/io/writer.py": {"select", "socket"},
}
OUTSIDE = set().union(*SEAM.values()) | {
    *("datetime", "uuid", "fcntl", "ctypes", "mmap", "pty", "ssl", "http", "urllib", "logging"),
    *("sqlite3", "shelve", "dbm", "ftplib", "smtplib", "xmlrpc", "webbrowser"),
}
FORBIDDEN = {  # ways to wait, to run at the same time, or to import, that are not the house's
    *("selectors", "asyncio", "threading", "socketserver", "multiprocessing", "concurrent"),
    *("queue", "sched", "contextvars", "importlib", "imp", "runpy", "code"),
}
FORBIDDEN_NAMES = {"__import__", "__builtins__", "__loader__", "exec", "eval", "compile"}
OS_CALLS = {  # of `os` and `sys`, by what they do: a process, lots, the time
    "core/io/binding.py": {"socket"},
    "core/io/child.py": {"os.fork", "os.kill", "os.waitpid"},
    "core/io/handed_over.py": {"socket"},
    "core/io/lookup.py": {"os.fork"},
    "core/io/process.py": {"os.pipe", "os._exit"},
}
OS_CALLS_OUTSIDE = re.compile(
    r"os\.(fork\w*|kill\w*|wait\w*|pipe2?|_exit|abort|exec\w+|spawn\w+|posix_spawn\w*|system|popen"
    r"|u?getrandom|urandom|times|sched_\w+|eventfd\w*|timerfd\w*|register_at_fork)"
    r"|select\.(poll|epoll|kqueue|kevent|devpoll)"  # the loop is about select.select
    r"|sys\.(modules|meta_path|path_hooks|settrace|setprofile|setswitchinterval)"
)
FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef
OWN = {"self", "cls"}
READING_LINES_MAX = 2_900  # of the whole reading path
READING_HEADER_LINES_MAX = 12
HEADER_LINES_MAX = 25
FILE_LINES_MAX = 350
LINES_MAX = {"nodes/ls/load_balancer.py": 260}  # of files that are to stay shorter
FUNCTION_LINES_MAX = 60
LAMBDA_LINES_MAX = 6  # of one expression
ATTRIBUTES_MAX = 20
METHODS_MAX = 25
TEST_NAME_LETTERS_MAX = 60
PARAMETERS_MAX = 7  # self and cls not counted
TABLES_OF_VALUES = {"Bounds"}  # as many fields as there are values, each with its reason
KNOW_KINDS = {  # files that make upstreams of a kind, or are about one kind alone
    *("nodes/ls/setup.py", "nodes/ls/host_lookups.py", "nodes/ls/resolvers/resolvers.py"),
    *("nodes/ls/resolvers/line_equivalents.py", "nodes/ls/resolvers/resolver_link.py"),
}
_MAKES_RECORD = re.compile(r"Report|(?:\w+\.)*_?(?:log|wire)\.report")
SHARED_COUNTERS = {"hits", "owed_bytes"}  # each is counted where it is known: see their classes


def imported(source: str) -> Iterator[str]:
    """Yield dotted names of all modules that a source imports, at any depth of it."""
    for found in nodes_of(source):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            assert found.module is not None and found.level == 0
            if (ROOT / found.module.replace(".", "/")).is_dir():
                yield from (f"{found.module}.{alias.name}" for alias in found.names)
            else:
                yield found.module


def folder_of(path: str) -> str:
    """Return the folder that rules of imports are about: `nodes/ls` for what lies below, too."""
    return "/".join(path.split("/")[:-1][:2])


def wrong_imports(path: str, source: str) -> list[str]:
    """Find imports that the house does not allow."""
    wrong = []
    allowed = FOLDERS[folder_of(path)]
    for module in imported(source):
        top = module.split(".")[0]
        if top in ("core", "nodes"):
            file = module.replace(".", "/")
            folder = folder_of(f"{file}/" if (ROOT / file).is_dir() else file)
            if folder in allowed or f"{folder}/*" in allowed or f"{top}/*" in allowed:
                continue
            is_pure = path.startswith("nodes/") and module in PURE
            if not is_pure and (path, module) not in EXCEPTIONS:
                wrong.append(module)
        else:
            allowed_modules = (
                sys.stdlib_module_names - FORBIDDEN - (OUTSIDE - SEAM.get(path, set()))
            )
            if top not in allowed_modules or is_private(top):
                wrong.append(module)
    return wrong


def is_private(module: str) -> bool:
    """Return whether a module is what another is made of, as `_thread` and `_socket` are."""
    return module.startswith("_") and module != "__future__"


def dotted_uses(source: str) -> Iterator[str]:
    """Yield what a source uses of modules that it imports, by whatever name, and bare names."""
    tree = parsed(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports = {alias.asname or alias.name: alias.name for alias in node.names}
            known |= {own: f"{node.module}.{name}" for own, name in imports.items()}
            yield from (f"{node.module}.{name}" for name in imports.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            top, dot, rest = ast.unparse(node).partition(".")
            yield known.get(top, top) + dot + rest


def calls_forbidden(path: str, source: str) -> list[str]:
    """Find what gets round the rules of imports, or calls the system outside its seam."""
    allowed = OS_CALLS.get(path, set())
    return [
        use
        for use in dotted_uses(source)
        if use.removeprefix("builtins.") in FORBIDDEN_NAMES
        or (use not in allowed and OS_CALLS_OUTSIDE.fullmatch(use))
    ]


def async_code(path: str, source: str) -> list[str]:
    """Find coroutines: the house has one loop of its own."""
    kinds = ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await
    return [ast.unparse(node)[:60] for node in nodes_of(source) if isinstance(node, kinds)]


def dns_on_the_reading_path(path: str, source: str) -> list[str]:
    """Find imports by which a reader of the path comes into the format of DNS messages."""
    if path not in READING_PATH:
        return []
    return [module for module in imported(source) if module.startswith("nodes.dns")]


def assigned(node: ast.AST) -> Iterator[ast.expr]:
    """Yield everything that a statement assigns to, taken out of its tuples."""
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
    """Find assignments to an attribute `state`, which only a machine makes."""
    if path == "core/machine.py":
        return []
    return [
        ast.unparse(target)
        for node in nodes_of(source)
        for target in assigned(node)
        if isinstance(target, ast.Attribute) and target.attr == "state"
    ]


def header_wrong(path: str, source: str) -> list[str]:
    """Find a header that is missing or too long, in a file that has any code."""
    if not source:
        return []
    header = ast.get_docstring(parsed(source)) or ""
    count = len(header.splitlines())
    most = READING_HEADER_LINES_MAX if path in READING_PATH else HEADER_LINES_MAX
    return [] if 3 <= count <= most else [f"{count} lines of header"]


def base_names(owner: ast.ClassDef) -> set[str]:
    """Return the bases of a class, without modules and parameters."""
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in owner.bases}


@cache
def promised_in_contracts() -> set[str]:
    """Return the methods whose promise a Protocol or a base class of the house states."""
    owners = [owner for path in SOURCES for owner in classes((ROOT / path).read_text())]
    bases = {base for owner in owners for base in base_names(owner)}
    return {
        node.name
        for owner in owners
        if owner.name in bases or "Protocol" in base_names(owner)
        for node in owner.body
        if isinstance(node, FUNCTIONS) and ast.get_docstring(node)
    }


def contracts_missing(path: str, source: str) -> list[str]:
    """Find public classes, functions and methods that do not say what they promise. A method may
    leave that to the contract that it fulfils."""
    wrong = []
    places: list[tuple[list[ast.stmt], set[str]]] = [(parsed(source).body, set())]
    places += [(owner.body, promised_in_contracts()) for owner in classes(source)]
    for body, promised in places:
        for node in body:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not ast.get_docstring(node):
                plain = isinstance(node, FUNCTIONS) and len(node.body) == 1  # says it itself
                if not (node.name.startswith("_") or plain or node.name in promised):
                    wrong.append(node.name)
    return wrong


def words_forbidden(path: str, source: str) -> list[str]:
    """Find what must not be in a source: work left open, paths of a machine, the wrong split."""
    pattern = r"TODO|FIXME|XXX|NotImplementedError|/root/|/home/|splitlines\("
    return re.findall(pattern, source)


def lines_of(node: ast.expr | ast.stmt) -> int:
    """Return how many lines a piece of source has."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def too_long(path: str, source: str) -> list[str]:
    """Find a file, or a function in it, that is longer than one idea."""
    count = source.count("\n")
    wrong = [f"{count} lines"] if count > LINES_MAX.get(path, FILE_LINES_MAX) else []
    for node in nodes_of(source):
        if isinstance(node, FUNCTIONS) and lines_of(node) > FUNCTION_LINES_MAX:
            wrong.append(f"{node.name}: {lines_of(node)} lines")
        elif isinstance(node, ast.Lambda) and lines_of(node) > LAMBDA_LINES_MAX:
            wrong.append(f"{ast.unparse(node)[:60]}: {lines_of(node)} lines")
    return wrong


def lambdas_named(path: str, source: str) -> list[str]:
    """Find functions that are written as a lambda and given a name: nothing measures them."""
    tree = parsed(source)
    bodies = [tree.body, *(owner.body for owner in classes(source))]
    return [
        ast.unparse(node)[:60]
        for body in bodies
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Lambda)
    ]


def classes(source: str) -> Iterator[ast.ClassDef]:
    """Return all classes of a source, at any depth of it."""
    return (node for node in nodes_of(source) if isinstance(node, ast.ClassDef))


def attributes(owner: ast.ClassDef) -> set[str]:
    """Return the fields, slots and class attributes, and what methods assign to `self`."""
    names: set[str] = set()
    for node in owner.body:
        if isinstance(node, FUNCTIONS):
            for target in (target for inner in ast.walk(node) for target in assigned(inner)):
                if isinstance(target, ast.Attribute) and ast.unparse(target.value) in OWN:
                    names.add(target.attr)
            continue
        for target in assigned(node):
            if isinstance(target, ast.Name) and target.id != "__slots__":
                names.add(target.id)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            slots = ast.literal_eval(node.value)
            names |= {slots} if isinstance(slots, str) else set(slots)
    return {name for name in names if not re.fullmatch(r"__\w+__", name)}


def methods(owner: ast.ClassDef) -> set[str]:
    """Return the names of a class's own methods and properties."""
    return {node.name for node in owner.body if isinstance(node, FUNCTIONS)}


@cache
def classes_of_the_house() -> dict[str, ast.ClassDef]:
    """Return the classes of core/ and nodes/ by name: a public one occurs once."""
    return {owner.name: owner for path in SOURCES for owner in classes((ROOT / path).read_text())}


def is_default(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a method does nothing: it is abstract, or returns a constant."""
    body = method.body[1:] if ast.get_docstring(method) else method.body
    if not body:
        return True
    value = getattr(body[0], "value", None)
    simple = isinstance(body[0], ast.Pass | ast.Expr | ast.Return)
    return (
        len(body) == 1
        and simple
        and not any(
            isinstance(node, ast.Name | ast.Call) for node in ast.walk(value or ast.Constant(None))
        )
    )


def is_contract(owner: ast.ClassDef) -> bool:
    """Return whether a class only says what others have to do. It keeps nothing and does nothing:
    a Protocol, or a class of abstract methods and of methods that return a constant."""
    if "Protocol" in base_names(owner):
        return True
    return all(is_default(node) for node in owner.body if isinstance(node, FUNCTIONS)) and not any(
        isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant)
        for node in owner.body
    )


def ancestry(owner: ast.ClassDef, known: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield a class, and the bases in the house from which it inherits more than a contract."""
    yield owner
    for name in base_names(owner) & known.keys():
        if known[name] is not owner and not is_contract(known[name]):
            yield from ancestry(known[name], known)


def too_large(path: str, source: str) -> list[str]:
    """Find classes with more attributes or methods than one idea has, inherited ones included.

    Methods of a contract are not counted where they are inherited, but where a class fulfils them.
    An overridden method counts once.
    """
    wrong = []
    known = {**classes_of_the_house(), **{owner.name: owner for owner in classes(source)}}
    for owner in classes(source):
        whole = list(ancestry(owner, known))
        count = len(set().union(*map(methods, whole)))
        if count > METHODS_MAX:
            wrong.append(f"{owner.name}: {count} methods")
        if owner.name in TABLES_OF_VALUES or is_enumeration(owner):
            continue
        count = len(set().union(*map(attributes, whole)))
        if count > ATTRIBUTES_MAX:
            wrong.append(f"{owner.name}: {count} attributes")
    return wrong


def is_enumeration(owner: ast.ClassDef) -> bool:
    """Return whether a class names the values of a kind, as states and codes."""
    return bool(base_names(owner) & {"Enum", "IntEnum", "Flag", "IntFlag", "Label"})


def too_many_parameters(path: str, source: str) -> list[str]:
    """Find functions with more parameters than a caller can keep apart."""
    wrong = []
    for node in nodes_of(source):
        if isinstance(node, (*FUNCTIONS, ast.Lambda)):
            given = node.args
            every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
            names = [argument.arg for argument in every if argument is not None]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > PARAMETERS_MAX:
                name = getattr(node, "name", "lambda")
                wrong.append(f"{name}: {count} parameters")
    return wrong


def machines_misnamed(path: str, source: str) -> list[str]:
    """Find states or events of a machine that are not called so."""
    return [
        owner.name
        for owner in classes(source)
        if any(ast.unparse(base).split(".")[-1] == "Label" for base in owner.bases)
        and not owner.name.endswith(("State", "Event"))
    ]


def public_names(source: str) -> set[str]:
    """Return classes, functions and constants at the top of a source; one letter is an alias."""
    names = set()
    for node in parsed(source).body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        names |= {target.id for target in assigned(node) if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_") and len(name) > 1}


@cache
def names_of_the_house() -> dict[str, set[str]]:
    """Return the public names of core/ and nodes/, each with the files that have it."""
    homes: dict[str, set[str]] = {}
    for path in SOURCES:
        for name in public_names((ROOT / path).read_text()):
            homes.setdefault(name, set()).add(path)
    return homes


def names_twice(path: str, source: str) -> list[str]:
    """Find public names that another file has, too."""
    homes = names_of_the_house()
    return sorted(name for name in public_names(source) if homes.get(name, set()) - {path})


CONNECTION = re.compile(  # names of variables and attributes that hold a connection's name
    r"(?:^|\.|(?<!by)_)conn(?:_name)?$"
    r"|(?:^|[._])(?:event|connection|stream|socket|server|upstream|link)s?(?:\[.*\])?\.name$"
)
# Names that the comparing file gave or was given.
GIVEN_NAMES = "PARENT|KEYS|INPUT|LS_LABEL|CLIENT_LABEL|_CLIENT|CONN_"
# Ways to read the spelling of a connection's name: it stands as CONN_ here, and an event or effect
# of one connection as EVENT_.
SPELLING_READ = re.compile(
    r"CONN_[.\[]"
    r"|\bin CONN_|\bmatch CONN_|case EVENT_\(f?['\"]"
    r"|CONN_ (?:==|!=|(?:not )?in) (?:f?['\"]|[(\[{][^)\]}]*['\"])|['\"][)\]}]* (?:==|!=) CONN_"
    rf"|CONN_ (?:==|!=) (?!(?:{GIVEN_NAMES})\b)_?[A-Z][A-Z_]*\b"
    rf"|(?<![\w.])(?!(?:{GIVEN_NAMES})\b)_?[A-Z][A-Z_]* (?:==|!=) CONN_"
    r"|CONN_ [<>]|[<>]=? CONN_"
    r"|\b(?:match|fullmatch|search|findall|finditer|subn?|fnmatch|fnmatchcase|startswith|endswith"
    r"|partition|split|find|len|int|ord|list|tuple|sorted|reversed|enumerate|contains|eq"
    r"|attrgetter)\((?:(?:[^()]|\([^()]*\))*, )?CONN_"
    # A name of the protocol, in bytes, may be called `name`, too.
    r"|(?<![\w.])name\.(?:(?:starts|ends)with|r?partition|r?split|r?find|r?index"
    r"|removeprefix|removesuffix)\((?!b['\"])"
)


class ConnectionNames(ast.NodeTransformer):
    """Writes CONN_ for the expressions that hold a connection's name, local aliases included."""

    def __init__(self, tree: ast.AST) -> None:
        self._aliases: set[str] = set()
        count = -1
        while count != len(self._aliases):
            count = len(self._aliases)
            for node in ast.walk(tree):
                self._take(node)

    def _take(self, node: ast.AST) -> None:
        """Take note of the local names that a statement or a pattern gives to a connection's."""
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.MatchClass) and is_of_connection(node.cls):
            keywords = zip(node.kwd_attrs, node.kwd_patterns, strict=True)
            for given in [*node.patterns[:1], *(p for key, p in keywords if key == "conn")]:
                if isinstance(given, ast.MatchAs) and given.name is not None:
                    self._aliases.add(given.name)
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs += zip(target.elts, value.elts, strict=False)
            elif isinstance(target, ast.Name) and self._holds(value):
                self._aliases.add(target.id)

    def _holds(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            is_copy = ast.unparse(node.func) in ("str", "repr", "sys.intern")
            return is_copy and any(map(self._holds, node.args))
        text = ast.unparse(node)
        is_named = isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        return text in self._aliases or (is_named and bool(CONNECTION.search(text)))

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and self._holds(node):
            return ast.Name("CONN_")
        if isinstance(node, ast.MatchClass) and is_of_connection(node.cls):
            node.cls = ast.Name("EVENT_")
        return self.generic_visit(node)


def is_of_connection(node: ast.expr) -> bool:
    """Return whether an event or effect is of one connection, whose name comes first."""
    owner = classes_of_the_house().get(ast.unparse(node).split(".")[-1])
    return owner is not None and bool(base_names(owner) & {"ConnectionEvent", "ConnectionEffect"})


def connections_spelled(path: str, source: str) -> list[str]:
    """Find where something is read from the spelling of a connection's name.

    To compare it with another name that was given is allowed; what the purpose of a connection is
    stands in its role. Names of the protocol are bytes, and not these.
    """
    tree = ast.parse(source)
    lines = ast.unparse(ConnectionNames(tree).visit(tree)).split("\n")
    return [line.strip() for line in lines if SPELLING_READ.search(line)]


@cache
def counters_of_the_house() -> set[str]:
    """Return the attributes of classes of the house that are numbers."""
    return {
        target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)
        for path in SOURCES
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        for target in assigned(node)
        if (isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in ("int", "float"))
        or (isinstance(node, ast.Assign) and is_number(node.value))
    }


def is_number(node: ast.expr) -> bool:
    """Return whether an expression is a literal number."""
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def additions(tree: ast.AST) -> Iterator[tuple[ast.stmt, ast.expr, ast.expr]]:
    """Yield what adds to a place, the place, and what is added: `x += y`, or `x = x + y`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
            yield node, node.target, node.value
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            sides = node.value.left, node.value.right
            texts = [ast.unparse(side) for side in sides]
            for target in assigned(node):
                if isinstance(node.value.op, ast.Add | ast.Sub) and ast.unparse(target) in texts:
                    yield node, target, sides[1 - texts.index(ast.unparse(target))]


def counted_from_outside(path: str, source: str) -> list[str]:
    """Find counters that a file adds to without having the class that owns them, and attributes
    that are set by their name."""
    own = {name for owner in classes(source) for name in attributes(owner)} | SHARED_COUNTERS
    tree = parsed(source)
    wrong = []
    for node, place, added in additions(tree):
        target = place.value if isinstance(place, ast.Subscript) else place
        if isinstance(target, ast.Attribute) and target.attr not in own:
            is_counter = is_number(added) or target.attr in counters_of_the_house()
            if is_counter and ast.unparse(target.value) not in OWN:
                wrong.append(ast.unparse(node))
    names = {"setattr", "delattr", "__setattr__", "__dict__", "vars"}
    return wrong + [use for use in dotted_uses(source) if use.split(".")[-1] in names]


@cache
def kinds_of_upstream() -> set[str]:
    """Return the classes that fulfil the contract `Upstream`, and what those are made of."""
    known = classes_of_the_house()
    kinds = {"Upstream"}
    count = 0
    while count != len(kinds):
        count = len(kinds)
        kinds |= {name for name, owner in known.items() if base_names(owner) & kinds}
    for name in list(kinds - {"Upstream"}):
        kinds |= base_names(known[name]) & known.keys()
    return kinds - {"Upstream"}


def kinds_told_apart(path: str, source: str) -> list[str]:
    """Find where LS asks which kind of upstream it has, outside the file of that kind: the contract
    says all that others may know. To ask whether a type overrides a method of it is allowed."""
    if not path.startswith("nodes/ls/"):
        return []
    kinds = kinds_of_upstream() - {owner.name for owner in classes(source)}
    kind = rf"(?:\w+\.)*(?:{'|'.join(sorted(kinds))})\b"
    upstream = r"(?:\w+[._])*_?(?:upstream|server|table|resolver)s?\b"
    type_of = rf"(?:type\({upstream}\)|{upstream}\.__class__)"
    compares = r"(?:is|is not|==|!=|in|not in)"
    asks = re.compile(
        rf"\bis(?:instance|subclass)\(.*\b{kind}|\bcase .*\b{kind}\("
        rf"|\b{kind} {compares} |\b{compares} (?:\(.*)?{kind}"
        rf"|{type_of}(?: {compares} |\.__(?:qual)?name__)|\b{compares} {type_of}(?!\.)"
        rf"|\[{type_of}\]|\.get\({type_of}|issubclass\({type_of}|match {type_of}"
        rf"|\b[gh](?:et|as)attr\({upstream}[,)]"
    )
    wrong = [line.strip() for line in ast.unparse(parsed(source)).split("\n") if asks.search(line)]
    if path not in KNOW_KINDS:
        wrong += [use for use in dotted_uses(source) if use.rpartition(".")[2] in kinds]
    return wrong


def events_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield each call that makes a record of the log, and the source of its event."""
    for call in nodes_of(source):
        if isinstance(call, ast.Call) and _MAKES_RECORD.fullmatch(ast.unparse(call.func)):
            event = [keyword.value for keyword in call.keywords if keyword.arg == "event"]
            event = event or call.args[2:3]
            yield ast.unparse(call), ast.unparse(event[0]) if event else ""


def reports_nameless(path: str, source: str) -> list[str]:
    """Return the records of the log that no program finds: without an `event` in snake_case."""
    known = r"'[a-z]+(?:_[a-z]+)*'|(?:\w+\.)*event"
    return [call for call, event in events_of(source) if not re.fullmatch(known, event)]


# -- of tests --------------------------------------------------------------------------------------


def names_long(path: str, source: str) -> list[str]:
    """Return the names of tests that say more than subject, condition and result."""
    return [
        node.name
        for node in nodes_of(source)
        if isinstance(node, FUNCTIONS)
        and node.name.startswith("test_")
        and len(node.name) > TEST_NAME_LETTERS_MAX
    ]


def privates_used(path: str, source: str) -> list[str]:
    """Return the private attributes that are read or set, but for those that this file defines."""
    attributes = [node for node in nodes_of(source) if isinstance(node, ast.Attribute)]
    own = {node.attr for node in attributes if is_own(node)}
    own |= {n.name for n in nodes_of(source) if isinstance(n, FUNCTIONS)}
    return [
        ast.unparse(node)
        for node in attributes
        if re.match("_[^_]", node.attr) and node.attr not in own and not is_own(node)
    ]


def is_own(node: ast.Attribute) -> bool:
    """Return whether this is an attribute of `self` or `cls`, or of a module (`os._exit`)."""
    return isinstance(node.value, ast.Name) and node.value.id in OWN | {"os", "sys"}
