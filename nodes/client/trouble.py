"""Trouble: what LS said, or did, that explains why names are lost.

LS may say BUSY and close, say BYE before everything is replied, or be no LS at all. People have to
hear that reason, rather than of the end of the connection that follows it.

Not here: when a client gives up (`nodes/client/client.py`).
"""

from core.protocol.messages import Refusal
from core.protocol.names import Word
from core.protocol.reply_batch import ReplyBatch


class Trouble:
    """The reason of an end, in words. `where` names LS for people."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._heard = ""

    def note(self, batch: ReplyBatch) -> None:
        """Keep what may explain an end that follows."""
        if batch.malformed:
            self._heard = f"the server at {self._where} does not speak this protocol"
        for reply in batch.others:
            if isinstance(reply, Refusal):
                self._heard = f"LS at {self._where} says {reply.code.name}: {reply.code.value}"
            elif reply is Word.BYE and not self._heard:  # else it follows from what was said before
                self._heard = f"LS at {self._where} is shutting down; try again later"

    def of_end(self) -> str:
        """Return why there will be no more replies: LS has ended the connection."""
        return self._heard or "LS closed the connection"

    def of_loss(self, why: str) -> str:
        """Return why there will be no more replies: the connection is gone, because of `why`."""
        return self._heard or f"no connection to LS at {self._where}: {why}"

    def of_silence(self, patience_s: float) -> str:
        """Return why there will be no more replies: the patience is over."""
        why = f"LS at {self._where} has sent no reply for {patience_s:g} s (see --patience)"
        return f"{why}; {self._heard}" if self._heard else why
