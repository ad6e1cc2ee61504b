"""Make dist/photofinish.pyz: the whole system in one executable file, for Python 3.11 and newer.

A zip archive after a shebang line, which Python runs (PEP 441). The same sources give the same
bytes: entries are sorted, dated 1980, readable by everyone, and stored as they are, since what a
compressor makes of them depends on its version. `zipapp` of 3.11 promises none of that.

Not here: anything to install. `core` and `nodes` are no names for a shared site-packages.
"""

import hashlib
import io
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "photofinish.pyz"
_SHEBANG = b"#!/usr/bin/env python3\n"
_FIRST = "nodes/__main__.py"  # what starts a program, wherever it lies
_PARTS = "core/**/*.py", "nodes/**/*.py", "nodes/**/*.html", "nodes/**/*.txt"


def archive() -> bytes:
    """The bytes of the file."""
    parts = {"__main__.py": (ROOT / _FIRST).read_bytes()}
    for pattern in (*_PARTS, "LICENSE", "CHANGELOG.md"):
        for path in ROOT.glob(pattern):
            parts[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    target = io.BytesIO()
    target.write(_SHEBANG)
    with zipfile.ZipFile(target, "a") as made:
        for name, data in sorted(parts.items()):
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o100644 << 16
            made.writestr(entry, data)
    return target.getvalue()


def main() -> None:
    """Write it and say what it is."""
    made = archive()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(made)
    TARGET.chmod(0o755)
    name = TARGET.relative_to(ROOT)
    print(f"{name}: {len(made):,} bytes, sha256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
