"""Whose code a context is for.

Context variables tell it; the tasks and timers that code starts have copies, and so tell whose they are, also when that
is long over. The life of an actor has a variable of its own: what outlives its actor still says which life it is of.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

handling: ContextVar[Any] = ContextVar("trouper.handling")
"""The cell whose handler runs in this context."""
beside: ContextVar[Any] = ContextVar("trouper.beside")
"""The cell beside whose handlers this context runs."""
life: ContextVar[int] = ContextVar("trouper.generation")
"""The generation that this context belongs to."""
aboard: ContextVar[Any] = ContextVar("trouper.aboard")
"""The path of the errand whose payload runs in this context, or something that stands for it."""

Owner = tuple[Any, Any, int]
NOBODY: Owner = None, None, 0


def owner() -> Owner:
    """Return the errand, or the actor and its life, that this context is for; else `NOBODY`."""
    errand = aboard.get(None)
    if errand is not None:
        return errand, None, 0
    cell = handling.get(None) or beside.get(None)
    return NOBODY if cell is None else (None, cell, life.get())
