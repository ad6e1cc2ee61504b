"""Figures in the text of documents that are defaults of the programs, and names of metrics.

Each phrase is put together from the default that it tells, and has to stand in its document; where
a default changes, so does the phrase that is looked for.

Not here: figures that benches measure (`tests/test_figures.py`), and flags
(`tests/nodes/test_shown_commands.py`).
"""

import re

import pytest

from core.bounds import Bounds
from core.io.ports import usable
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.arguments import EXTRA_LOAD
from nodes.dns.codes import UDP_BYTES_MAX
from tests.support.processes import ROOT

BOUNDS = Bounds()
REDIALS = f"every {BOUNDS.redial_first_s * 1000:.0f} ms to"
PHRASES = [
    ("README.md", f"of {BOUNDS.grace_min_s:g} to {BOUNDS.grace_failed_s:g} s, in case another"),
    ("README.md", f"After {BOUNDS.unmatched_max} replies that match no query"),
    ("README.md", f"is asked over TCP for {BOUNDS.wary_s:.0f} s"),
    ("README.md", f"after {BOUNDS.timeout_s} s without one it says `TIMED OUT`"),
    ("README.md", f"at most {EXTRA_LOAD:.0%} more questions".replace("%", " %")),
    ("README.md", f"TIMED OUT after {BOUNDS.timeout_s} s for names that only it has"),
    ("README.md", f"dialling it again [...]`, {REDIALS} {BOUNDS.redial_max_s:.0f} s"),
    ("README.md", f"NO DATA`, after {BOUNDS.no_data_s * 1000:.0f} ms at most"),
    ("README.md", f"no reply to its last {BOUNDS.silent_questions} questions"),
    ("README.md", f"failures only in its last {BOUNDS.failing_replies} replies"),
    ("examples/monitoring.md", f"trying again`, {REDIALS} {BOUNDS.lookup_max_s:.0f} s"),
    ("README.md", f"exits 0 after at most {BOUNDS.drain_s(with_dns=False):.0f} s"),
    ("README.md", f"exits 0 after at most `--timeout` + {BOUNDS.drain_grace_s:.0f} s"),
    ("README.md", f"LOST after {BOUNDS.patience_s:.0f} s without a reply"),
    ("SECURITY.md", f"Above {BOUNDS.dns_per_second:,} datagrams a second of one address"),
    ("SECURITY.md", f"a reply over UDP has {UDP_BYTES_MAX:,} bytes at most"),
    ("SECURITY.md", f"Ports ({len(usable(set())):,} of them) and IDs ({2**16:,})"),
    ("SECURITY.md", f"is replaced after about {BOUNDS.upstream_socket_s:.0f} s"),
    ("SECURITY.md", f"takes nothing is left out after {BOUNDS.held_s:.0f} s"),
    (
        "proto.md",
        f"nothing that ends the question came within `timeout_s` ({BOUNDS.timeout_s:g} s)",
    ),
    ("proto.md", f"until the other side ends, for `linger_s` ({BOUNDS.linger_s:g} s) at most"),
    ("examples/exercise.md", f"TIMED OUT` after {BOUNDS.timeout_s:.0f} s"),
    ("examples/exercise.md", f"and each has its own {BOUNDS.timeout_s:.0f} s"),
    ("examples/exercise.md", f"{BOUNDS.clients_max} at once"),
    ("examples/exercise.md", f"{LINE_BYTES_MAX} bytes at most"),
]
DOCUMENTS = ["README.md", "CHANGELOG.md", "examples/monitoring.md", "examples/operations.md"]


@pytest.mark.parametrize(("document", "phrase"), PHRASES)
def test_figures_of_defaults_are_the_defaults(document: str, phrase: str) -> None:
    assert phrase in re.sub(r"\s+", " ", (ROOT / document).read_text())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_metrics_that_are_named_are_those_of_the_list(document: str) -> None:
    """In the form of STATS (`DNS1.bogus`) and of Prometheus (`photofinish_...`)."""
    text, listed = (ROOT / document).read_text(), (ROOT / "proto.md").read_text()
    listed += text[text.find("| old | new |") :].partition("\n\n")[0] if "| old |" in text else ""
    for name in re.findall(r"`((?:TS|DNS|W)1\.[a-z_]+)`", text):
        short = name.replace("DNS1.", "TS1.")
        assert f"`{name}`" in listed or f"`{short}`" in listed, name
