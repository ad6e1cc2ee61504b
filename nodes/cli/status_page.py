"""The status page of a server: where it is, and how it comes before a brain.

Not here: its options (`server_arguments.py`), listening (`serving.py`), and what it serves
(`nodes/status_page`).
"""

from core.addresses import Address
from core.brain import Brain
from core.io.system import System
from core.observable import ObservableBrain
from nodes.cli.arguments import resolve
from nodes.cli.server_arguments import ServerOptions
from nodes.status_page.http import WebServer
from nodes.status_page.pages import pages
from nodes.status_page.with_status_page import WithStatusPage


def status_page_address(system: System, options: ServerOptions) -> Address | None:
    """Return where the status page is to be, if there is to be one. Raises Failure."""
    page = options.status_page
    if page is None:
        return None
    address = resolve(system, page.host, page.port)[0]
    options.check_open("--metrics-host", page.host, address)
    return address


def with_status_page(brain: ObservableBrain, options: ServerOptions, system: System) -> Brain:
    """Put the status page before a brain, if there is to be one. It is shown by the names that the
    options have, and by those of this machine."""
    page = options.status_page
    if page is None:
        return brain
    names = {page.host, *page.names, *system.own_names()}
    routes = pages(brain, system.own_process)
    return WithStatusPage(brain, WebServer(routes, options.bounds.watchers_max, names))
