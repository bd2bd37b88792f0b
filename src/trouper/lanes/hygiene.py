"""All private names of trio and asyncio that the lanes need, in one place.

`tests/lanes/test_hygiene.py` checks each of them. They answer two questions: after every step, whether the handler left
the dispatcher's task as it found it; and before a thread is blocked, whether it runs trio.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import trio
from trio._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER
from trio._core._run import GLOBAL_RUN_CONTEXT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

UNCANCEL_CLEARS = sys.version_info >= (3, 13)  # before, `uncancel` left a cancellation that was still to be delivered


def in_trio_run() -> bool:
    """As trio's own, which asks a thread for an attribute that it does not have: that takes several times as long."""
    return "runner" in GLOBAL_RUN_CONTEXT.__dict__


def trio_is_guest() -> bool:
    """Whether trio runs as a guest in another loop here."""
    return GLOBAL_RUN_CONTEXT.runner.is_guest


def trio_watch(task: trio.lowlevel.Task) -> Callable[[], bool]:
    """Whether `task` has, since now, opened a scope or nursery (its cancel status says so) or holds a lock."""
    any_task: Any = task
    status, holders = any_task._cancel_status, GLOBAL_PARKING_LOT_BREAKER

    def dirty() -> bool:
        return any_task._cancel_status is not status or task in holders

    return dirty


async def trio_repair(task: trio.lowlevel.Task) -> None:
    """Cancel and await the nurseries that were left open; the task's end then breaks the locks that it holds."""
    for nursery in reversed(task.child_nurseries):
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await nursery._nested_child_finished(None)


def asyncio_cancel_to_come(task: asyncio.Task[Any]) -> bool:
    """Whether `task` was cancelled, and has not seen it yet."""
    any_task: Any = task
    return any_task._must_cancel  # type: ignore[no-any-return]


def asyncio_watch(task: asyncio.Task[Any]) -> Callable[[], object]:
    """Whether `task` has been cancelled since it last suspended, or is about to be."""
    if UNCANCEL_CLEARS:
        return task.cancelling
    any_task: Any = task
    cancelling = task.cancelling
    return lambda: cancelling() or any_task._must_cancel
