"""The page for Prometheus: what a server counts, what it is, and what it asks.

Facts in words, such as addresses, are labels of series of their own (`..._info`), so that another
address is no other series of each count.

Not here: the format (`core/exposition.py`), and what is counted (`core.metrics.Observable`).
"""

from collections.abc import Callable

from core.exposition import prometheus_text
from core.metrics import Info, Metric, Observable, Value, hits_untaken
from core.protocol.server_state import DRAINING
from core.version import PYTHON, VERSION

READY = Metric("ready", "Whether clients should be sent here, as /readyz says", is_level=True)
DRAINS = Metric("draining", "Whether the server drains: it takes no more questions", is_level=True)
_BUILD = "Version of the program, of the Python that runs it, and its policy"
_SERVER = "Server that is asked: what it is, and its address"


def prometheus_page(server: Observable, process: Callable[[], list[Value]]) -> bytes:
    """Return the metrics of a server, and of the process that shows them."""
    values, entries = server.metrics(), server.page_entries()
    asked = entries.get("servers", {})
    build = {"version": VERSION, "python": PYTHON, "policy": entries.get("policy", "")}
    infos = [
        Info("build_info", _BUILD, build),
        *(
            Info(
                "server_info",
                _SERVER,
                {"server": name, "kind": about["kind"], "address": about["address"]},
            )
            for name, about in asked.items()
        ),
    ]
    why_not = server.unhealthy()
    standing = [Value(READY, int(not why_not)), Value(DRAINS, int(why_not == DRAINING))]
    return prometheus_text(
        [*process(), *standing, *values, *hits_untaken(values)],
        server.histograms(),
        {name: about["kind"] for name, about in asked.items()},
        infos,
    )
