"""What is handed on, made in dist/: one executable file, a man page and a completion; and a wheel.

- photofinish.pyz: the whole system, for Python 3.11 and newer. A zip archive after a shebang line,
  which Python runs (PEP 441).
- photofinish.1 and photofinish.bash, made from the parsers of the programs.
- With `--wheel`, photofinish-VERSION-py3-none-any.whl for pip, pipx and uv; that takes hatchling
  (dist-requirements.txt). pyproject.toml says what is in it.

The same sources give the same bytes. Entries of the archive are sorted, dated 1980, readable by
everyone, and stored as they are, since what a compressor makes of them depends on its version;
`zipapp` of 3.11 promises none of that. The wheel is packed, so its bytes are the same with the same
zlib.

Not here: how it is started (`dist.py`), what the pages say (`manual.py`, `completion.py`).
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from completion import completion
from manual import manual

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
_SHEBANG = b"#!/usr/bin/env python3\n"
_FIRST = "nodes/__main__.py"  # what starts a program, wherever it lies
_PARTS = "core/**/*.py", "nodes/**/*.py", "nodes/**/*.html", "nodes/**/*.txt"


def pages() -> dict[str, str]:
    """Return the man page and the completion, each by its path below a prefix."""
    return {
        "share/man/man1/photofinish.1": manual(),
        "share/bash-completion/completions/photofinish": completion(),
    }


def archive() -> bytes:
    """Return the bytes of the executable file."""
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


def wheel() -> tuple[str, bytes]:
    """Return the name and the bytes of the wheel. Raises SystemExit where it cannot be made."""
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    with tempfile.TemporaryDirectory(prefix="photofinish-") as folder:
        words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"no wheel: {done.stderr.strip()}")
        (made,) = Path(folder).iterdir()
        return made.name, made.read_bytes()


def main() -> None:
    """Write all of it, and say what it is."""
    parser = argparse.ArgumentParser(description="Makes photofinish.pyz and its pages in dist/.")
    parser.add_argument("--wheel", action="store_true", help="make the wheel, too")
    arguments = parser.parse_args()
    made = {"photofinish.pyz": archive()}
    for path, text in pages().items():
        name = Path(path).name
        made[name if "." in name else f"{name}.bash"] = text.encode()
    if arguments.wheel:
        name, data = wheel()
        made[name] = data
    DIST.mkdir(exist_ok=True)
    for name, data in made.items():
        (DIST / name).write_bytes(data)
        print(f"dist/{name}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    (DIST / "photofinish.pyz").chmod(0o755)
