"""The version of photofinish, and of the Python that runs it. CHANGELOG.md says what each version
has brought.

Not here: who shows it.
"""

import sys

VERSION = "1.0.0"
PYTHON = ".".join(map(str, sys.version_info[:3]))
