"""Replies: what came of one event of an upstream.

Not here: upstreams (`upstream.py`); what becomes of their replies (`exchange.py`), and of those
for which nobody waits any more (`questions.py`).
"""

from collections.abc import Sequence
from enum import Enum

from core.effects import Effect
from core.protocol.outcome import Answered, RelayedReply
from nodes.ls.outcomes import QuestionEvent

# A question, what was said of it, and the reply that said it where a resolver did.
Denial = tuple[bytes, QuestionEvent, RelayedReply | None]


class LinkChange(Enum):
    """Change of a link that an event of its upstream brought."""

    OTHER = "it stands otherwise, and nothing is to be asked because of that"
    CAME_UP = "it can be asked, and was asked nothing yet"
    HAS_ROOM = "it can be asked what waits for it"
    IS_BACK = "it had been silent, and was asked little meanwhile"


class Replies:
    """The replies that one event brought, and the change of its link, if there is one. All
    questions are folded."""

    unknown: Sequence[bytes] = ()  # questions of which its own table has no name
    denials: Sequence[Denial] = ()  # everything else that is no answer
    late = 0  # replies that nobody waits for
    has_late_data = False  # it has data, too late, of what another denied
    failure = ""  # why it has to be given up, once its replies are counted

    def __init__(
        self,
        effects: list[Effect],
        answers: Sequence[Answered] = (),
        link_change: LinkChange | None = None,
    ) -> None:
        self.effects = effects
        self.answers = answers
        self.link_change = link_change
