"""Where a program starts: `python3 -m nodes ls ...`, or, as a copy in it, `photofinish.pyz ls ...`.

Read by any Python, so that one that is too old is told so before it meets what it cannot parse;
and what takes time is imported once signals are taken.

Not here: the programs by name (`nodes/command/programs.py`).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    said = "photofinish: this is Python %d.%d; 3.11 or newer is needed"
    sys.exit(said % sys.version_info[:2])

from core import process

if __name__ == "__main__":
    process.open_standard_streams()
    process.catch("".join(sys.argv[1:2]))
    from nodes.command.programs import main

    exit_code = main(sys.argv[1:])
    process.ignore()
    sys.exit(exit_code)
