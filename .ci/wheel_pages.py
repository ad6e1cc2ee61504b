"""A hook of the wheel's build: puts the man page and the completion into it, made on the way.

On a Python that is too old there are none: the wheel is not for it, and pip says so in a line.

Not here: what they say (`manual.py`, `completion.py`), and the rest of the wheel (pyproject.toml).
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelPages(BuildHookInterface):
    """The pages, in a folder that lives as long as the build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make them."""
        self._folder = tempfile.TemporaryDirectory(prefix="photofinish-")
        sys.path[:0] = [self.root, str(Path(self.root) / ".ci")]
        try:
            import nodes.__main__  # noqa: F401
        except SystemExit as told:
            self.app.display_warning(str(told))
            return
        from distribution import pages

        for number, (path, text) in enumerate(pages().items()):
            file = Path(self._folder.name) / str(number)
            file.write_text(text)
            file.chmod(0o644)
            build_data["shared_data"][str(file)] = path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was made for the wheel."""
        self._folder.cleanup()
