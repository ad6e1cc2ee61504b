"""Where a program starts: `python3 -m nodes ls ...`, or `photofinish.pyz ls ...`, which has a copy.

Rules. Any Python has to be able to parse this file: one that is too old is told so here, before it
imports what it cannot parse. Nothing that takes time is imported before signals are taken.

Not here: the programs by name (`nodes/cli/programs.py`).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    said = "photofinish: this is Python %d.%d; 3.11 or newer is needed"
    sys.exit(said % sys.version_info[:2])

from core.io import process

_SERVERS = ["ts"], ["ls"]  # the programs that serve

if __name__ == "__main__":
    process.open_standard_streams()
    process.catch(is_server=sys.argv[1:2] in _SERVERS)
    from nodes.cli.programs import main

    exit_code = main(sys.argv[1:])
    process.ignore()
    sys.exit(exit_code)
