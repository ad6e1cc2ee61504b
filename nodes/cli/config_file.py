"""A configuration file: TOML whose keys are the words of a server's command line.

Rules. `key = value` is the word `--key value`; `key = true` is the flag alone, and `false` is as if
it were not there; a list repeats the flag; a table gives NAME=VALUE, with commas between the values
of a list; positional words are called `port` and `servers`. Each value is read by itself first, so
that an error names the file and the key. A file is read anew at each SIGHUP, so it has to be a
regular file, and short.

Not here: which words go over which (`given_words.py`).
"""

import argparse
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from core.io.system import reason
from core.regular_file import regular_file
from core.text import BYTE_ORDER_MARK
from nodes.cli.arguments import USAGE, Failure, Parser, own_port
from nodes.cli.given_words import PORT, SERVERS, Given, flags_of
from nodes.cli.server_words import table_servers
from nodes.cli.suggestions import did_you_mean

# Keys that no file has: they say which file there is, or do something else than serve.
WORDS_ONLY = {"config", "check", "print-config", "list-bounds", "help", "version"}
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # in no value
_BYTES_MAX = 1 << 20  # bytes of a file: it is read while a server serves
_INTEGER_END = 1 << 63  # integers of TOML
_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_HINTS = (  # by what TOML's reader says
    ("Invalid value", ' (text stands in "quotes")'),
    ("Expected newline", ' (text stands in "quotes")'),
    ("Cannot overwrite", " (is the key there twice?)"),
)


def read_config_file(path: str, parser: Parser) -> list[Given]:
    """Return the words that a file has for this parser. Raises Failure."""
    try:
        return list(_words(path, _read(path), parser))
    except RecursionError:
        raise Failure(f"{path}: lists and tables are nested too deep", USAGE) from None


# -- the file --------------------------------------------------------------------------------------


def _read(path: str) -> Mapping[str, Any]:
    """Return what the file says. Raises Failure."""
    data = _bytes(path).removeprefix(BYTE_ORDER_MARK)
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise Failure(f"{path}:{line}:{column}: this is not UTF-8", USAGE) from None
    except ValueError as error:
        raise Failure(_why(path, data, str(error)), USAGE) from None


def _bytes(path: str) -> bytes:
    """Return what a regular file holds. Raises Failure."""
    try:
        with regular_file(path) as fd:
            data = os.read(fd, _BYTES_MAX + 1)
    except OSError as error:
        raise Failure(f"cannot read {path}: {reason(error)}", USAGE) from None
    if len(data) > _BYTES_MAX:
        raise Failure(f"{path} has over {_BYTES_MAX} bytes; is it a configuration?", USAGE)
    return data


def _why(path: str, data: bytes, said: str) -> str:
    """Return what TOML's reader says, with file, line and column before it."""
    found = _AT.fullmatch(said)
    if not found:
        return f"{path}: {said}"
    what, line, column = found.groups()
    if line is None:
        line, column = data.count(b"\n") + 1, len(data) - data.rfind(b"\n")
    hint = next((hint for begin, hint in _HINTS if what.startswith(begin)), "")
    return f"{path}:{line}:{column}: {what[:1].lower()}{what[1:]}{hint}"


# -- its words -------------------------------------------------------------------------------------


def _words(path: str, said: Mapping[str, Any], parser: Parser) -> Iterator[Given]:
    """Yield the words of a file. Raises Failure."""
    flags = flags_of(parser)
    known = {flag.removeprefix("--"): flag for flag in flags if flag.startswith("--")}
    known |= {name: name for name in _positional(parser)}
    for key, value in said.items():
        if key in WORDS_ONLY and key in known:
            raise Failure(f"{path}: {key} is for the command line only", USAGE)
        if key not in known:
            raise Failure(f"{path}: {_no_key(key, known.keys() - WORDS_ONLY, parser)}", USAGE)
        name = known[key]
        try:
            texts = list(_texts(name, flags.get(name), value))
            _try(parser, name, flags.get(name), [text for text in texts if text is not None])
        except argparse.ArgumentTypeError as error:
            raise Failure(f"{path}: {key}: {error}", USAGE) from None
        except argparse.ArgumentError as error:
            raise Failure(f"{path}: {key}: {error.message}", USAGE) from None
        yield from (Given(name, text, path) for text in texts)


def _positional(parser: Parser) -> Iterator[str]:
    """Yield the keys of the positional words that this parser has."""
    yield PORT
    if any(not action.option_strings and action.nargs == "*" for action in parser._actions):
        yield SERVERS


def _no_key(key: str, known: set[str], parser: Parser) -> str:
    meant = did_you_mean(key, sorted(known)) or f"; {parser.prog} --help has them all"
    return f"there is no key {key!r}{meant}"


def _texts(name: str, action: argparse.Action | None, value: object) -> Iterator[str | None]:
    """Yield what stands behind the flag, each time that it is given; None: it stands alone. Raises
    ArgumentTypeError."""
    if action is not None and action.nargs == 0:
        if not isinstance(value, bool):
            raise _not("true or false", value)
        yield from [None] if value else []
    elif isinstance(value, list) and (name == SERVERS or _repeats(action)):
        yield from map(_text, value)
    elif isinstance(value, dict) and _repeats(action):
        for each, of_it in value.items():
            if isinstance(of_it, dict) and of_it:  # dots in a key make tables
                name = f"{each}.{next(iter(of_it))}"
                raise _not("a text or a number", of_it, f'; is it "{name}"? Dots need the quotes')
            texts = of_it if isinstance(of_it, list) else [of_it]
            yield _text(f"{each}={','.join(map(_text, texts))}")
    else:
        yield _text(value)


def _repeats(action: argparse.Action | None) -> bool:
    return isinstance(action, argparse._AppendAction)


def _text(value: object) -> str:
    """Return a single value as a word. Raises ArgumentTypeError."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _not("a text or a number", value)
    if isinstance(value, str) and CONTROL.search(value):  # a message with it has many lines
        raise argparse.ArgumentTypeError("a text cannot have control characters")
    if isinstance(value, int) and abs(value) >= _INTEGER_END:  # Python knows larger ones
        raise argparse.ArgumentTypeError("an integer has 64 bits")
    return str(value)


def _not(wanted: str, value: object, hint: str = "") -> argparse.ArgumentTypeError:
    kinds: dict[type, str] = {list: "a list", dict: "a table", str: "a text"}
    kinds |= {int: "a number", float: "a number", bool: "true" if value else "false"}
    kind = kinds.get(type(value), "a date")
    return argparse.ArgumentTypeError(f"give {wanted}, not {kind}{hint}")


def _try(parser: Parser, name: str, action: argparse.Action | None, texts: list[str]) -> None:
    """Read the values of a key as the parser will. Raises ArgumentTypeError, ArgumentError."""
    if action is not None:
        for text in texts:
            parser._check_value(action, parser._get_value(action, text))
    elif name == PORT:
        own_port(*texts)
    elif flags := [text for text in texts if text.startswith("-")]:  # they must not become any
        raise argparse.ArgumentTypeError(f"{flags[0]!r} is not a server")
    else:
        table_servers(texts)
