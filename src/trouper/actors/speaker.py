"""Who speaks: the actor whose code runs here, as log records want to know.

Context variables tell it, also where a handler was suspended for a while, in the tasks that it started, and in
`to_thread`. The generation has a variable of its own: a thread that outlives its actor still says which life it is of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trouper.lanes.whose import beside, handling, life

if TYPE_CHECKING:
    from trouper.actors.cell import Cell

ABOUT = "trouper_actor"
"""The attribute of a log record that is about an actor: a dict of what `Speaker` has."""


class Speaker(NamedTuple):
    """Where some code belongs."""

    path: str
    generation: int
    lane: str


def enter_beside(cell: Cell) -> None:
    """This context, which was nobody's, is that of code beside the handlers."""
    beside.set(cell)
    life.set(cell.generation)


def step_aside() -> None:
    """This context is a copy of that of the handlers, for code beside them, which may ask its own actor."""
    beside.set(whose())
    handling.set(None)


def whose() -> Cell | None:
    """The cell whose code runs here."""
    cell: Cell | None = handling.get(None) or beside.get(None)
    return cell


def speaker() -> Speaker | None:
    """Whose code runs here; None if it is no actor's."""
    cell = whose()
    return None if cell is None else Speaker(cell.path, life.get(), cell.child.definition.flavour)
