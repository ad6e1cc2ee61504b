"""The completion of the command in bash, made from the parsers.

Words that a shell can know are completed: programs, flags, choices and files. Not here: how bash
completes (man 1 bash, Programmable Completion).
"""

import shlex

from command_lines import CommandLine, command_lines

from core.version import VERSION

_TEXT = """\
# Completion of photofinish {version} in bash; made from its parsers.

_photofinish() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    local program=${{COMP_WORDS[1]}}
    COMPREPLY=()
    if [[ $word == = ]]; then # --flag=
        word=
    elif [[ $before == = ]]; then # --flag=val
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W {programs} -- "$word")
        return
    fi
    case "$program $before" in
{values}
    esac
    case $program in
{flags}
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    elif [[ $program == @({readers}) ]]; then
        _photofinish_files "$word"
    fi
}}

_photofinish_files() {{
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}}

complete -F _photofinish photofinish photofinish.pyz
"""
_ABOUT_ALL = ["--help", "--version"]


def completion() -> str:
    """Write the file that bash reads."""
    lines = command_lines()
    return _TEXT.format(
        version=VERSION,
        programs=shlex.quote(" ".join([*(line.program for line in lines), *_ABOUT_ALL])),
        values="\n".join(value for line in lines for value in _values(line)),
        flags="\n".join(f"    {line.program}) words={_flags(line)} ;;" for line in lines),
        readers="|".join(line.program for line in lines if any(w.is_file for w in line.words)),
    )


def _flags(line: CommandLine) -> str:
    return shlex.quote(" ".join(flag for argument in line.flags for flag in argument.flags))


def _values(line: CommandLine) -> list[str]:
    """Write a case for each kind of value that a flag of this program may have."""
    by_way: dict[str, list[str]] = {}
    for argument in line.flags:
        if not argument.value:
            continue
        if argument.choices:
            words = shlex.quote(" ".join(argument.choices))
            way = f'mapfile -t COMPREPLY < <(compgen -W {words} -- "$word")'
        else:
            way = '_photofinish_files "$word"' if argument.is_file else ":"
        by_way.setdefault(way, []).extend(f"'{line.program} {flag}'" for flag in argument.flags)
    return [f"    {' | '.join(cases)}) {way}; return ;;" for way, cases in by_way.items()]
