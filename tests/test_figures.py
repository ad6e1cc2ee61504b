"""Figures in documents are those of the pages that benches write (bench/*.md).

Not here: whether a page is right (its bench writes it), and commands of documents
(`tests/processes/test_readme.py`).
"""

import re
from collections.abc import Iterator

import pytest

from tests.support.processes import ROOT


def tables(document: str) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield each table: the text since the heading above it, its columns, its rows."""
    for part in re.split(r"(?m)^#+ ", document):
        for found in re.finditer(r"(?m)^\|.*\|\n\|[-:| ]+\|\n(?:\|.*\|\n)+", part):
            head, _, *rows = (
                [cell.strip() for cell in row.strip("|").split("|")]
                for row in found[0].rstrip("\n").split("\n")
            )
            yield part[: found.start()], head, rows


def figure(page: str, where: str, row: str, column: str) -> str:
    """Return a figure of a page of the bench: that of a row whose cells begin like this, in
    the column of this name, of the first such table below a heading. Raises AssertionError."""
    for text, head, rows in tables((ROOT / page).read_text()):
        if text.startswith(where):
            for cells in rows:
                if column in head and " | ".join(cells).startswith(row):
                    return cells[head.index(column)]
    raise AssertionError(f"{page} has no {column!r} of {row!r} below {where!r}")


FAILS, DEAD = "One fails fast", "One is dead"
SYSTEMS = {"photofinish": "ours", "dnsmasq --all-servers": "dnsmasq --all-servers"}
RESOLVER_FIGURES = {  # by column of README: heading, end of the row's name, column
    "one fails: good replies": (FAILS, "", "good"),
    "their p99 ms": (FAILS, "", "p99 ms"),
    "one is dead: data p99 ms": (DEAD, ", both", "p99 ms"),
    "NXDOMAIN p50 ms": (DEAD, ", both", "NXDOMAIN p50 ms"),
    "slowest ms": (DEAD, ", both", "slowest ms"),
}


def readme_table(page: str) -> tuple[list[str], list[list[str]]]:
    """Return the table of README that stands behind a link to this page."""
    for text, head, rows in tables((ROOT / "README.md").read_text()):
        links = re.findall(r"\]\((bench/[^)]+\.md)\)", text)
        if links and links[-1] == page:
            return head, rows
    raise AssertionError(f"README has no table of {page}")


def test_figures_of_resolvers_are_those_of_their_page() -> None:
    (_, *columns), rows = readme_table("bench/RESOLVERS.md")
    assert len(rows) == 4
    for system, *shown in rows:
        expected = []
        for column in columns:
            where, end, name = RESOLVER_FIGURES[column]
            row = f"{SYSTEMS.get(system, system)}{end} | "
            expected.append(figure("bench/RESOLVERS.md", where, row, name))
        assert shown == ["" if text == "nan" else text for text in expected], system


def test_figures_of_the_tail_are_those_of_its_page() -> None:
    (_, *columns), rows = readme_table("bench/TAIL.md")
    assert [policy for policy, *_ in rows] == ["single", "race", "hedge"]
    for policy, *shown in rows:
        row = f"three-point | {policy} | "
        assert shown == [figure("bench/TAIL.md", "The tail", row, name) for name in columns]


TIMES = " \N{MULTIPLICATION SIGN} "
BENCH_ROWS = {"1x5,000": "1x5000", "1x100 beside 900 idle": "900 idle + 1x100"}
BENCH_SYSTEMS = {
    "ours": "ours",
    "asyncio streams": "streams",
    "uvloop streams": "uvloop",
    "asyncio, batched by hand": "batched",
    "uvloop, batched by hand": "uvbatched",
    "relay in C": "relay",
}


def test_figures_of_the_bench_are_those_of_its_page_rounded() -> None:
    document = (ROOT / "bench/README.md").read_text().replace(TIMES, "x")
    ((_, (_, *systems), rows),) = (
        table for table in tables(document) if table[0].startswith("What the figures say\n")
    )
    for load, *shown in rows:
        expected = []
        for system in systems:
            row = f"{BENCH_ROWS.get(load, load)} | {BENCH_SYSTEMS[system]} | "
            rate = figure("bench/RESULTS.md", "Results", row, "lookups/s")
            thousands = float(rate.replace(",", "")) / 1000
            expected.append(f"{thousands:.1f}" if thousands < 10 else f"{thousands:,.0f}")
        assert shown == expected, load


BUSY = r"less than ([\d.]+) of the time"
RATIO = r"\| {} \| {}[^|]* \|(?: [\d,]+ \|){{3}} ([\d.]+)"  # in flight, and a balancer
TEXTS = (  # of a document, the same of the page that it is from
    ("README.md", BUSY, "bench/TAIL.md", r"a load of ([\d.]+)\n"),
    ("README.md", r"([\d.]+) to [\d.]+ times the queries of smartdns", "bench/RESOLVERS.md",
     RATIO.format(20, "smartdns")),
    ("README.md", r"to ([\d.]+) times the queries of smartdns", "bench/RESOLVERS.md",
     RATIO.format(100, "smartdns")),
    ("README.md", r"([\d.]+) to [\d.]+ of dnsmasq", "bench/RESOLVERS.md",
     RATIO.format(20, "dnsmasq")),
    ("README.md", r"to ([\d.]+) of dnsmasq", "bench/RESOLVERS.md", RATIO.format(100, "dnsmasq")),
    ("README.md", r"costs ([\d.]+) \(20 in flight\)", "bench/RESOLVERS.md",
     r"to ours without ([\d.]+) at 20"),
    ("README.md", r"in flight\) and ([\d.]+) \(100\)", "bench/RESOLVERS.md",
     r"to ours without .*, ([\d.]+) at 100 .*;"),
    ("README.md", r"without it: ([\d.]+) and", "bench/RESOLVERS.md",
     r"to unbound's ([\d.]+) at 20"),
    ("README.md", r"without it: [\d.]+ and ([\d.]+) times a hit of unbound", "bench/RESOLVERS.md",
     r"to unbound's .*, ([\d.]+) at 100"),
    ("bench/README.md", BUSY, "bench/TAIL.md", r"a load of ([\d.]+)\n"),
    ("examples/sizing.md", r"([\d.]+) times as much at 50x100", "bench/WORKERS.md",
     r"50x100 \| --workers 2 \| [\d,]+ \| [\d.]+ \| ([\d.]+)"),
    ("examples/sizing.md", r"([\d.]+) times at 10x20", "bench/WORKERS.md",
     r"10x20 \| --workers 2 \| [\d,]+ \| [\d.]+ \| ([\d.]+)"),
    ("examples/sizing.md", r"cores served ([\d.]+) and", "bench/WORKERS.md",
     r"50x100: .*: ([\d.]+) times one process"),
    ("examples/sizing.md", r"cores served [\d.]+ and ([\d.]+)", "bench/WORKERS.md",
     r"10x20: .*: ([\d.]+) times one process"),
    ("examples/sizing.md", r"([\d.]+) with 100 and", "bench/RESULTS.md", r"\| 100 \| ([\d.]+) \|"),
    ("examples/sizing.md", r"([\d.]+) with 10 \(", "bench/RESULTS.md", r"\| 10 \| ([\d.]+) \|"),
)  # fmt: skip


@pytest.mark.parametrize(("document", "ours", "page", "theirs"), TEXTS)
def test_figures_in_the_text_are_those_of_a_page(
    document: str, ours: str, page: str, theirs: str
) -> None:
    text = re.sub(r"\s+", " ", (ROOT / document).read_text()).replace(TIMES, "x")
    found = re.search(theirs, (ROOT / page).read_text())
    assert found is not None
    assert re.findall(ours, text) == [found[1]]


@pytest.mark.parametrize("document", ["bench/README.md", "examples/sizing.md"])
def test_the_span_of_the_cost_is_that_of_its_page(document: str) -> None:
    page = (ROOT / "bench/RESULTS.md").read_text()
    large = re.findall(
        r"\| 1(?:0{0,2},000){1,2} \| ([\d.]+) \|", page.partition("| connections")[0]
    )
    span = f"{min(large, key=float)} to {max(large, key=float)} µs"
    assert len(large) >= 1 and span in (ROOT / document).read_text()
