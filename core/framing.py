"""Framing: how the messages of a stream are told apart.

A brain says it of each stream that it dials (`Dial`), and a listener of those that it accepts
(`Service`).

Not here: the buffers that take a stream apart (`core/io/framer.py`), and what a message says.
"""

from enum import Enum


class Framing(Enum):
    """The ways in which a stream may be divided into messages."""

    LINES = "each message ends with an LF"
    LENGTH_PREFIXED = "each message comes after its length, in two bytes"
