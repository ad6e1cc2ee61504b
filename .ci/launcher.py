"""Start photofinish where it is installed: the command, or `python3 -m photofinish`. Any Python has
to be able to parse this file; `nodes/__main__.py` tells one that is too old.
"""

import os
import runpy
import sys


def main():  # noqa: ANN201
    """Run a program, as `python3 -m nodes` does in a checkout."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    runpy.run_module("nodes.__main__", run_name="__main__")


if __name__ == "__main__":
    main()
