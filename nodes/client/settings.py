"""Settings: what the command line says of how a client does its work, beside names and LS.

Not here: the command line (`nodes/cli/client.py`).
"""

from dataclasses import dataclass

from nodes.client.results import LineFormat, plain_lines


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The manner of a client. `list_name`: what people call the list from which more names come;
    empty where none come. `is_list_at_hand`: it is read to its end without waiting for anybody.
    `unanswered_fails`: a name without an answer makes the exit code 3.
    `shows_progress`: somebody watches a terminal.
    """

    list_name: str = ""
    is_list_at_hand: bool = False
    format_lines: LineFormat = plain_lines
    unanswered_fails: bool = False
    shows_progress: bool = False
