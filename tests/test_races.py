"""Latencies that somebody has measured, as `examples/races.py` reads them.

Not here: what the replay makes of them (`tests/nodes/test_replay.py`), and the example's figures
(`tests/processes/test_readme.py`).
"""

import json
from pathlib import Path

import pytest

from examples.races import main, read
from tests.conftest import Command

NONE = None
Rows = list[list[float | None]]


def told(rows: Rows) -> list[dict[str, object]]:
    """Return what records say of these latencies in s: who replied when, and the winner."""
    records: list[dict[str, object]] = []
    for row in rows:
        took = {f"TS{at}": s for at, s in enumerate(row, 1) if s is not None}
        best = min(took, key=lambda name: took[name]) if took else None
        records.append({"asked": len(row), "took": took, "winner": best})
    return records


def written(
    text: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, object]]:
    """Return what the races say that are written of a file."""
    (folder / "a.csv").write_bytes(text)
    assert main([str(folder / "a.csv")]) == 0
    return [
        {
            "asked": len(one["asked"]),
            "took": {name: reply[0] for name, reply in one["replies"].items()},
            "winner": one["winner"],
        }
        for one in map(json.loads, capsys.readouterr().out.splitlines())
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b"17.7 5.3\n2 -\n", [[0.0177, 0.0053], [0.002, NONE]]),
        (b"  17.7   5.3", [[0.0177, 0.0053]]),
        (b"17.7,5.3\n,.5\n", [[0.0177, 0.0053], [NONE, 0.0005]]),
        (b"17.7;5.3\n3;\n", [[0.0177, 0.0053], [0.003, NONE]]),
        (b"17.7\t5.3\n\t-\n", [[0.0177, 0.0053], [NONE, NONE]]),
        (b"17.7, 5.3\r\n2, 1\r\n", [[0.0177, 0.0053], [0.002, 0.001]]),
        (b"\xef\xbb\xbf17.7,5.3\n", [[0.0177, 0.0053]]),
        (b"\xef\xbb\xbfour 1,9.9.9.9\r\n3,4\r\n", [[0.003, 0.004]]),
        (b"TS1 (ms)\tTS2\n3\t4\n", [[0.003, 0.004]]),
        (b"4999.9 5e3\n1e9 0\n", [[4.9999, NONE], [NONE, 0.0]]),
        (b"-,3\n4,5\n", [[NONE, 0.003], [0.004, 0.005]]),
        (b"-,-\n", [[NONE, NONE]]),
        (b"7\n", [[0.007]]),
    ],
)
def test_a_form_of_latencies_is_read(
    text: bytes, rows: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert written(text, tmp_path, capsys) == told(rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1,2\n3\n", "2: it has 1 columns, and the lines before 2"),
        (b"TS1,TS2\n1,2\n1,2,3\n", "3: it has 3 columns, and the lines before 2"),
        (b"1,2\nTS1,TS2\n", "2: 'TS1' is not a latency in ms, like 17.7"),
        (b"1,TS2\n", "1: 'TS2' is not a latency in ms, like 17.7"),
        (b"1 -2\n", "1: '-2' is not a latency in ms, like 17.7"),
        (b"1 nan\n", "1: 'nan' is not a latency in ms, like 17.7"),
        (b"17,7;5,3\n", "1: there is no latency up to here"),
        (b"1;2\n17,7;5\n", "2: '17,7' is not a latency in ms, like 17.7"),
        (b"1 2\n\n3 4\n", "2: it is empty"),
        (b"TS1 TS2\n", "1: there is no latency up to here"),
        (b"", "1: it is empty"),
    ],
)
def test_what_is_no_latency_is_one_line_with_its_number(
    text: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    assert main([str(tmp_path / "a.csv")]) == 1
    assert capsys.readouterr() == ("", f"{tmp_path}/a.csv:{said}\n")


def test_races_of_latencies_are_replayed(command: Command, tmp_path: Path) -> None:
    races = read(["one;two", "2;4", ";6", "8;9000"])
    (tmp_path / "races.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in races))
    code, out, log = command("replay", str(tmp_path / "races.jsonl"), "--json")
    recorded = json.loads(out)["as_recorded"]
    assert (code, log, recorded["questions"], recorded["timed_out"]) == (0, "", 3, 0)
