"""The picture of the status page in README, from the real parts.

    python3 examples/picture.py        needs Chromium; writes examples/status.png

Two table servers that differ in one name, LS with every race sampled, and a client that asks
for some seconds, unknown names among the others, while Chromium looks at the page.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.support.chromium import MISSING, PROGRAM, browsing  # noqa: E402
from tests.support.processes import Talk, programs  # noqa: E402

_SECONDS = 8.0
_NAMES = 2_000


def main() -> int:
    """Take it; return the exit code."""
    if PROGRAM is None:
        print(MISSING, file=sys.stderr)
        return 1
    chance = random.Random(1)
    names = [f"host{number}.example" for number in range(_NAMES)]
    rows = [f"{name} 10.0.{at >> 8}.{at & 255}" for at, name in enumerate(names)]
    with tempfile.TemporaryDirectory() as name, programs(Path(name)) as run:
        _, port_1 = run.ts(run.table("ts1", *rows, "www.example 192.0.2.10"))
        _, port_2 = run.ts(run.table("ts2", *rows, "www.example 192.0.2.20"))
        ls, port = run.ls([port_1, port_2], "--race-sample", 1, "--metrics", 0)
        address = f"http://127.0.0.1:{ls.listener('status page')}/"
        with browsing(Path(name)) as browser:
            page = browser.open(address, width=1000, height=400)
            talk = Talk(port)
            end = time.monotonic() + _SECONDS
            turn = 0
            while time.monotonic() < end:
                asked = chance.sample(names, 10)
                if turn == 10:
                    asked.append("www.example")
                if turn % 100 == 0:
                    asked.append(f"unknown{turn}.example")
                turn += 1
                talk.say("".join(f"{name}\n" for name in asked).encode())
                talk.hear(10)
                page.value("0")  # its words are heard meanwhile
            page.prefers("light")
            (HERE / "status.png").write_bytes(page.picture())
            talk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
