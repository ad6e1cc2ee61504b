"""The configuration as it takes effect, as a file that `--config` takes.

Each key says where its value comes from: a file, the command line, or a default. A bound is printed
where it was given, even with its default: that of `dns_timeout_s` depends on who is asked.

Not here: how a file is read (`config_file.py`).
"""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping

from core.version import VERSION
from nodes.cli.arguments import Failure, Parser
from nodes.cli.bound_arguments import SetBound
from nodes.cli.config_file import CONTROL, WORDS_ONLY
from nodes.cli.given_words import BOUND_FLAG, PORT, SERVERS, Given

_DEFAULT = "default"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}|(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,6}[1-9])")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Effective = Mapping[str, object]  # values that hold by default, by key; None: nothing holds


def config_text(parser: Parser, arguments: argparse.Namespace, effective: Effective) -> str:
    """Return a file that has the same meaning as these arguments. `effective`: the defaults that
    the parser does not have. Raises Failure."""
    given: list[Given] = arguments.given
    bounds = dict(arguments.bounds)
    lines = [
        f"# {parser.prog} of photofinish {VERSION}, as it takes effect. What is commented out is",
        "# not in use. Each key is a flag: --help says what it means, --list-bounds what is below",
        "# [bound].",
        "",
    ]
    for name in PORT, SERVERS:
        values = [each for each in given if each.name == name]
        if values:
            texts = [each.value for each in values]
            lines.append(_line(name, texts if name == SERVERS else texts[0], _origins(values)))
    for action in _keys(parser):
        flags = [each for each in given if each.name in action.option_strings]
        key = _key(action)
        if isinstance(action, SetBound) and (bound := str(action.const)) in bounds:
            last = _setter(given, bound, action)
            if last.name != BOUND_FLAG:  # else it stands below [bound], which is read last
                lines.append(_line(key, bounds.pop(bound), _origins([last])))
            continue
        if flags:
            lines.append(_line(key, _value(action, flags), _origins(flags)))
        elif (value := effective.get(key, _default(action))) is not None:
            lines.append(_line(key, value, _DEFAULT))
        else:
            lines.append(f"# {key}")
    return "\n".join([*lines, *_bounds(bounds, given)])


def _keys(parser: Parser) -> Iterator[argparse.Action]:
    """Yield the actions of all flags that a file may have, but `--bound`."""
    for action in parser._actions:
        if action.option_strings and _key(action) not in WORDS_ONLY | {"bound"}:
            yield action


def _key(action: argparse.Action) -> str:
    """Return the key of a flag: of several spellings the first that is long."""
    return next(flag[2:] for flag in action.option_strings if flag.startswith("--"))


def _default(action: argparse.Action) -> object:
    """Return the default of a flag that has one which a file can say, else None."""
    return action.default if isinstance(action.default, str | int | float) else None


def _value(action: argparse.Action, flags: list[Given]) -> object:
    """Return the value of a flag as TOML has it."""
    if action.nargs == 0:
        return True
    texts = [each.value for each in flags]
    return texts if isinstance(action, argparse._AppendAction) else texts[-1]


def _bounds(bounds: Mapping[str, float], given: Iterable[Given]) -> Iterator[str]:
    """Yield the lines of the bounds that have no flag of their own here."""
    if bounds:
        yield from ("", "[bound]")
    for name, value in bounds.items():
        yield _line(name, value, _origins([_setter(given, name)]))


def _setter(given: Iterable[Given], bound: str, action: argparse.Action | None = None) -> Given:
    """Return what set a bound last: `--bound`, or the flag of this action."""
    flags = () if action is None else action.option_strings
    return [
        each
        for each in given
        if each.name in flags
        or (each.name == BOUND_FLAG and str(each.value).startswith(f"{bound}="))
    ][-1]


# -- TOML ------------------------------------------------------------------------------------------


def _line(key: str, value: object, origin: str) -> str:
    return f"{key} = {_toml(value)}  # {origin}"


def _origins(given: Iterable[Given]) -> str:
    """Return where these were given, in a comment. A path may hold anything."""
    return json.dumps(", ".join(dict.fromkeys(each.origin for each in given)))[1:-1]


def _toml(value: object) -> str:
    """Return a value in TOML. Raises Failure for a text that TOML cannot hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int | float) or _NUMBER.fullmatch(str(value)):
        return str(value)
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Failure(f"{text!r} is not UTF-8: no file can say it") from None
    if CONTROL.search(text):
        raise Failure(f"{text!r} has control characters: no file can say it")
    return json.dumps(text, ensure_ascii=False)
