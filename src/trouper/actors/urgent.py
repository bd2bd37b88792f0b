"""What goes before the messages of users: ticks of timers, notices of the runtime.

An urgent message lies in its envelope at the front of the mailbox, behind those that were urgent before it. Whether
it is still wanted is asked when its turn comes, not when it was put there: the tick of a timer that was cancelled
meanwhile, or a notice for an earlier generation, is dropped without a word. No capacity applies to it.

An envelope's class is in no mailbox type. So it falls out of the hot path where a request in its `Ask` does, and who
sends nothing urgent pays nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from trouper.actors.ask import Ask

if TYPE_CHECKING:
    from collections import deque

    from trouper.actors.cell import Cell
    from trouper.lanes.lane import Activity, Held

ENVELOPES: Final[set[type]] = {Ask}
"""The classes of what is no message itself, but has one inside."""


class Urgent:
    """A message of the runtime for one generation of an actor. `Cell.press` puts it into the mailbox, in its lane.

    Args:
        message: what the handler gets.
        cell: the actor; its generation is the one that lives now.
    """

    __slots__ = ("cell", "generation", "message")

    stepped: Activity | Held | None = None
    """What the step returns of what is not handled, but does something else when its turn comes."""

    def __init_subclass__(cls) -> None:
        ENVELOPES.add(cls)

    def __init__(self, message: object, cell: Cell) -> None:
        self.message: Any = message
        self.cell = cell
        self.generation = cell.generation

    def live(self) -> bool:
        """Whether it is still wanted."""
        return self.cell.generation == self.generation and self.cell.instance is not None

    def take(self) -> bool:
        """Its turn has come: whether it is to be handled."""
        return self.live()


ENVELOPES.add(Urgent)


def urgent_ahead(box: deque[Any]) -> int:
    """How many urgent messages lead the box. Other threads may change it meanwhile."""
    count = 0
    try:
        while isinstance(box[count], Urgent):
            count += 1
    except IndexError:
        pass
    return count


def put_in_front(box: deque[Any], items: list[Any]) -> None:
    """Put these in front of the box, in their order, behind what is urgent; in the lane."""
    ahead = []
    with suppress(IndexError):
        while isinstance(box[0], Urgent):
            ahead.append(box.popleft())
    box.extendleft(reversed([*ahead, *items]))


def pop_oldest(box: deque[Any]) -> Any:
    """Take out the message that waited longest and is not urgent; in any thread.

    Raises:
        IndexError: there is none.
    """
    ahead = []
    try:
        while isinstance(item := box.popleft(), Urgent):
            ahead.append(item)
    finally:
        box.extendleft(reversed(ahead))
    return item
