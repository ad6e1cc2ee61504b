"""The loop of a program that a person runs, in place of a server: the client, `top` and the demo.

Its log is bare lines on standard error, of which none is dropped.

Not here: the loop of a server (`serving.py`).
"""

from core.bounds import Bounds
from core.io.log import Log
from core.io.log_format import bare_line
from core.io.loop import Loop
from core.io.outputs import Destinations, Output
from core.io.system import System
from core.protocol.names import LINE_BYTES_MAX
from nodes.cli.arguments import STDERR


def make_tool_loop(
    system: System,
    bounds: Bounds,
    output: Output,
    *,
    line_bytes_max: int = LINE_BYTES_MAX,
    on_terminal: bool = False,
) -> Loop:
    """Make the loop, and limit the descriptors of this process. `on_terminal`: standard error is
    one, so progress may be shown there."""
    system.limit_descriptors(bounds.descriptors_max)
    log_output = Output(STDERR)
    return Loop(
        system,
        bounds,
        Log("", log_output.append, log_format=bare_line),
        Destinations(log_output, own=output, on_terminal=on_terminal),
        line_bytes_max=line_bytes_max,
    )
