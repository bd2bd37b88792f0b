"""Where code hangs: the stacks of threads and of suspended coroutines, as text."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


def frame_of(ident: int) -> FrameType | None:
    """The innermost frame that a thread is in."""
    return sys._current_frames().get(ident)


def thread_stack(ident: int) -> str:
    """The stack of a thread, the innermost call last."""
    frame = frame_of(ident)
    return "(its thread has ended)" if frame is None else "".join(traceback.format_stack(frame))


def coroutine_stack(coro: Any) -> str:
    """The stack of a suspended coroutine: what it awaits, and what that awaits, the innermost last."""
    lines: list[str] = []
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None) or getattr(coro, "ag_frame", None)
        if frame is not None:
            lines += traceback.format_list(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
        inner = next(
            (getattr(coro, name) for name in ("cr_await", "gi_yieldfrom", "ag_await") if hasattr(coro, name)), None
        )
        if inner is None and frame is None:
            lines.append(f"  awaiting {coro!r}\n")
        coro = inner
    return "".join(lines) or "(it has ended)"


def local_in_stack(ident: int, names: frozenset[Any]) -> dict[str, Any] | None:
    """The local variables of the innermost frame of a thread whose code is one of `names`."""
    frame = frame_of(ident)
    while frame is not None:
        if frame.f_code in names:
            return frame.f_locals
        frame = frame.f_back
    return None
