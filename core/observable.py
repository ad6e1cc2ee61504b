"""Observable brains: those that a status page, or the parent of a worker, can look into.

Not here: what there is to see (`core/metrics.py`), and how a brain is run (`core/brain.py`).
"""

from typing import Protocol

from core.brain import Brain
from core.metrics import Observable


class ObservableBrain(Brain, Observable, Protocol):
    """A brain that a worker can run."""
