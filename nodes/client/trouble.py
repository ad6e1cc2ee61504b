"""Trouble: what LS said, or did, that explains why names are lost.

LS may say BUSY and close, say BYE before everything is replied, or be no LS at all. People have to
hear that reason, rather than of the end of the connection that follows it.

Not here: when a client gives up (`nodes/client/client.py`).
"""

from core.protocol.messages import Refusal
from core.protocol.names import Word
from core.protocol.reply_batch import ReplyBatch
from nodes.client.worksheet import Worksheet

_TABLE_SERVER = " (is it a table server?)"
_EITHER = "; it is shutting down, or a table server"


class Trouble:
    """The reason of an end, in words. `where` names LS for people. `is_bye`: BYE was said."""

    def __init__(self, where: str, patience_s: float) -> None:
        self._patience_s = patience_s
        self.is_bye = False
        self._where = where
        self._heard = ""

    def note(self, batch: ReplyBatch, sheet: Worksheet, *, has_quit: bool) -> None:
        """Keep what may explain an end that follows. `has_quit`: LS has been told QUIT.

        An LS that says BYE then has a reply to all that it took, but for the last names if it
        drains. A table server is silent about names that it does not have.
        """
        if batch.malformed:
            self._heard = f"the server at {self._where} does not speak this protocol"
        for reply in batch.others:
            if isinstance(reply, Refusal):
                self._heard = f"LS at {self._where} says {reply.code.name}: {reply.code.value}"
            elif reply is Word.BYE:
                self.is_bye = True
                if self._heard:  # it follows from what was said before
                    continue
                self._heard = f"LS at {self._where} is shutting down; try again later"
                if has_quit:
                    self._heard = f"{self._where} closed the session without an answer"
                    is_sure = sheet.is_passed_over
                    self._heard += _TABLE_SERVER if is_sure else _EITHER

    def of_end(self) -> str:
        """Return why there will be no more replies: LS has ended the connection."""
        return self._heard or "LS closed the connection"

    def of_loss(self, why: str) -> str:
        """Return why there will be no more replies: the connection is gone, because of `why`."""
        return self._heard or f"no connection to LS at {self._where}: {why}"

    def of_silence(self) -> str:
        """Return why there will be no more replies: the patience is over."""
        why = f"LS at {self._where} has sent no reply for {self._patience_s:g} s (see --patience)"
        return f"{why}; {self._heard}" if self._heard else why

    def forget(self) -> None:
        """Forget what was said on a connection that is over."""
        self.is_bye = False
        self._heard = ""
