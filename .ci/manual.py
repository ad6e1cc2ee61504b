"""The man page photofinish.1: all programs on one page, made from their parsers.

It has no date, so that the same sources give the same page. Not here: how a page is shown (man 7
man).
"""

import re

from command_lines import Argument, CommandLine, command_lines

from core.version import VERSION

_HEAD = f"""\
.TH PHOTOFINISH 1 "" "photofinish {VERSION}" "User Commands"
.SH NAME
photofinish \\- ask every server, keep the first answer
"""
_ABOUT = """\
A client sends names to a load balancer (ls); it sends each name to every table server (ts), or to
resolvers by DNS, at once, and relays the first answer. Whoever is slow, dead or silent costs the
client nothing.

All programs are one command: its first word says which of them runs. To see them work, run
photofinish demo.
"""


def manual() -> str:
    """Write the page."""
    lines = command_lines()
    parts = [_HEAD, ".SH SYNOPSIS\n", ".br\n".join(f"{_synopsis(line)}\n" for line in lines)]
    parts += [".SH DESCRIPTION\n", _paragraphs(_ABOUT), ".SH PROGRAMS\n"]
    for line in lines:
        parts += [f".SS {line.program}\n", f"{_synopsis(line)}\n.PP\n", _paragraphs(line.about)]
        parts += map(_entry, line.arguments)
        parts += [f".PP\n{_text(note)}\n" for note in line.notes.splitlines()]
    parts.append(".SH EXIT STATUS\n")
    by_text: dict[str, list[str]] = {}
    for line in lines:
        by_text.setdefault(line.exit_codes, []).append(line.program)
    parts += [f".TP\n{_bold(', '.join(names))}\n{_text(text)}\n" for text, names in by_text.items()]
    return "".join(parts)


def _synopsis(line: CommandLine) -> str:
    words = [_bold(f"photofinish {line.program}")]
    words += map(_usage, line.words)
    words += [f"{_bold(flag.flags[0])} {_value(flag)}" for flag in line.flags if flag.is_required]
    return " ".join([*words, f"[{_italic('OPTION')} ...]"])


def _usage(word: Argument) -> str:
    text = f"{_value(word)} ..." if word.repeats else _value(word)
    return text if word.is_required else f"[{text}]"


def _entry(argument: Argument) -> str:
    """Write an argument and what it means."""
    if argument.flags:
        head = ", ".join(map(_bold, argument.flags))
        head = f"{head} {_value(argument)}".rstrip()
    else:
        head = _value(argument)
    return f".TP\n{head}\n{_text(argument.about)}\n"


def _value(argument: Argument) -> str:
    """Write what stands for a value; a choice by its words."""
    if argument.choices:
        return "|".join(map(_bold, argument.choices))
    return _italic(argument.value) if argument.value else ""


def _paragraphs(text: str) -> str:
    parts = re.split(r"\n\s*\n", text.strip())
    return ".PP\n".join(f"{_text(part)}\n" for part in parts)


def _text(text: str) -> str:
    """Write a paragraph: white space is as good as a blank, and nothing is a request."""
    return "\n".join(_guarded(_escaped(line)) for line in re.sub(r"\s+", " ", text).split("\n"))


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escaped(text)}\\fR"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")


def _guarded(line: str) -> str:
    """Have a line that begins as a request does be text."""
    return f"\\&{line}" if line[:1] in (".", "'") else line
