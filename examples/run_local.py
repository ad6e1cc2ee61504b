"""Runs the whole system once on this machine: two TSs, LS and the client, each a process.

Shows the wire log of the three servers merged by time, so that the race can be followed, and
then what the client wrote. Every process ends by itself, because with `--once` the client's QUIT
ends the whole chain; if something goes wrong, all are ended before this program is.
"""

import argparse
import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
_READY = re.compile(r"ready on .*:(\d+)$")
_MERGE_S = 0.1  # records of different processes are put in order within this time
UNSTAMPED = 0.0  # what a program says outside its log
_END_S = 15.0  # for everything; it takes a little over 5 s

Record = tuple[float, str, str]  # time in s, who, what


def start(label: str, words: list[str], records: "queue.Queue[Record]") -> subprocess.Popen[str]:
    """Start one program; its log goes to `records`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nodes", *words],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{"):
                record = json.loads(line)
                records.put((record["time"], label, record["text"]))
            else:
                records.put((UNSTAMPED, label, line.rstrip("\n")))

    threading.Thread(target=read, daemon=True).start()
    return process


def port_of(process: subprocess.Popen[str]) -> str:
    """The port in a server's ready line. Raises SystemExit when it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline().rstrip()
    if found := _READY.search(line):
        return found[1]
    raise SystemExit("a server did not start; see above")


def show(records: "queue.Queue[Record]", began: list[float]) -> None:
    """Print what has come in, in order of time."""
    batch: list[Record] = []
    while not records.empty():
        batch.append(records.get())
    for stamp, label, text in sorted(batch, key=lambda record: record[0]):
        if stamp == UNSTAMPED:
            print(f"           {label:6} {text}", flush=True)
            continue
        if not began:
            began.append(stamp)
        print(f"  {stamp - began[0]:7.4f}  {label:6} {text}", flush=True)


def main() -> int:
    """Run it; return 0 when every process ended well and the output is what was expected."""
    parser = argparse.ArgumentParser(description="Runs two TSs, LS and the client once.")
    parser.add_argument("--expect", type=Path, metavar="FILE", help="compare the client's output")
    arguments = parser.parse_args()
    records: queue.Queue[Record] = queue.Queue()
    processes: dict[str, subprocess.Popen[str]] = {}
    began: list[float] = []
    common = ["--once", "--wire-log", "--log-format", "json"]
    try:
        for label in ("TS1", "TS2"):
            table = str(HERE / f"{label.lower()}.txt")
            processes[label] = start(label, ["ts", "0", "--table", table, *common], records)
        servers = [
            word for label in ("TS1", "TS2") for word in ("localhost", port_of(processes[label]))
        ]
        processes["LS"] = start("LS", ["ls", "0", *servers, *common], records)
        port = port_of(processes["LS"])
        names = str(HERE / "names.txt")
        print("\nWhat the servers received (>), sent (<) and became (=); seconds, who, what:\n")
        client = start("client", ["client", "localhost", port, "--names", names], records)
        processes["client"] = client
        end = time.monotonic() + _END_S
        while any(process.poll() is None for process in processes.values()):
            time.sleep(_MERGE_S)
            show(records, began)
            if time.monotonic() > end:
                print(f"not finished after {_END_S:g} s", file=sys.stderr)
                return 1
        time.sleep(_MERGE_S)
        show(records, began)
        assert client.stdout is not None
        output = client.stdout.read()
        print(f"\nWhat the client wrote:\n\n{output}")
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    failed = [f"{label} exited {p.returncode}" for label, p in processes.items() if p.returncode]
    if arguments.expect and output != arguments.expect.read_text():
        failed.append(f"the output is not that of {arguments.expect}")
    if failed:
        print("; ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through `finally`: leave nobody behind
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(1)
