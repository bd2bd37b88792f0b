"""Whose code a context is for.

Context variables tell it; the tasks and timers that code starts have copies, and so tell whose they are, also when that
is long over. The life of an actor has a variable of its own: what outlives its actor still says which life it is of.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

handling: ContextVar[Any] = ContextVar("trouper.handling")
"""The cell whose handler runs in this context."""
life: ContextVar[int] = ContextVar("trouper.generation")
"""The generation that this context belongs to."""
aboard: ContextVar[Any] = ContextVar("trouper.aboard")
"""The errand whose payload runs in this context, which may be a copy of an actor's."""


def owner() -> tuple[Any, int, Any]:
    """Return the actor, its life and the errand; two contexts in which they are the same are of one owner."""
    return handling.get(None), life.get(0), aboard.get(None)
