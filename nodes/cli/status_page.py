"""The status page of a server: where it is, and how it comes before a brain.

Not here: its options (`server_arguments.py`), listening (`listening.py`), and what it serves
(`nodes/status_page`).
"""

from collections.abc import Mapping

from core.brain import Brain
from core.io.system import System
from core.observable import ObservableBrain
from core.version import VERSION
from nodes.cli.server_arguments import ServerOptions
from nodes.status_page.status_page import StatusPage
from nodes.status_page.with_status_page import WithStatusPage


def with_status_page(
    brain: ObservableBrain,
    options: ServerOptions,
    system: System,
    listeners: Mapping[str, str],
) -> Brain:
    """Put the status page before a brain, if there is one. It is shown by the names that the
    options have, and by those of this machine. `listeners`: where the server listens, by
    protocol."""
    if "status_page" not in listeners:
        return brain
    page = options.listen.status_page
    names = () if page is None else (page.host, *page.names)
    return WithStatusPage(
        brain,
        StatusPage(
            brain,
            watchers_max=options.bounds.watchers_max,
            names={*names, *system.own_names()},
            wall=system.wall,
            process=system.own_process,
            about={"version": VERSION, "listeners": listeners},
        ),
    )
