"""Make what is handed on, in dist/. Any Python has to be able to parse this file;
`nodes/__main__.py` tells one that is too old.

Not here: what is made, and how (`distribution.py`).
"""

import os
import sys

sys.path.insert(1, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120

import nodes.__main__  # noqa: F401

if __name__ == "__main__":
    from distribution import main

    main()
