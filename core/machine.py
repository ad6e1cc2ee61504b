"""State machines as literal tables of Enums: `{state: {event: next state}}`.

Rules. A table names every state, also those with no way out. The value of a state is its gloss, one
sentence, and `proto.md` prints it. Every event that a peer can cause has a cell; an absent cell is
a mistake of ours and crashes. `STAY` says that an event may repeat and changes nothing (it is not
drawn). A condition that matters is an event with a name: a table has no guards and no actions, and
the caller acts on the state that `fire` returns.

Not here: the tables themselves. Each stands in the file of its owner, or in
`*_state.py` beside it.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar


class Label(Enum):
    """A state or an event. Hashed by identity, in C; Enum's own hash is a call in Python.

    To read a member from its class takes 70 ns in Python 3.11, three times as long as a name of the
    module: a file that does so in each turn binds it once (`_OPEN = StreamState.OPEN`).
    """

    __hash__ = object.__hash__


StateT = TypeVar("StateT", bound=Label)
EventT = TypeVar("EventT", bound=Label)


class Stay(Enum):
    """The value of a cell that leads to no other state."""

    STAY = "the event may come here, and changes nothing"


STAY = Stay.STAY

Transitions = Mapping[StateT, Mapping[EventT, StateT | Stay]]
Watch = Callable[[str, Label, Label], None]


class IllegalTransition(AssertionError):
    """An event came in a state that has no cell for it: our bug, never a peer's."""


class Machine(Generic[StateT, EventT]):
    """A machine that runs: a table, a state, and a name for the log. `watch(name, old, new)` is
    called after each change of state, or never when it is None."""

    __slots__ = ("_table", "_watch", "name", "state")

    def __init__(
        self,
        table: Transitions[StateT, EventT],
        start: StateT,
        name: str,
        watch: Watch | None = None,
    ) -> None:
        self._table = table
        self._watch = watch
        self.name = name
        self.state = start

    def fire(self, event: EventT) -> StateT:
        """Take the event and return the state that follows. Raises IllegalTransition."""
        old = self.state
        new = self._table[old].get(event)
        if new is None:
            raise IllegalTransition(f"{self.name}: {event.name} in {old.name}")
        if isinstance(new, Stay):
            return old
        self.state = new
        if self._watch is not None:
            self._watch(self.name, old, new)
        return new
