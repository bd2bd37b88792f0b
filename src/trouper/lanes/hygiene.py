"""All private names of trio and asyncio that the lanes need, in one place.

`tests/lanes/test_hygiene.py` checks each of them. They answer three questions: after every step, whether the handler
left the dispatcher's task as it found it; when that task is cancelled, by whom; and before a thread is blocked, whether
it runs a loop.

A daemon without an asyncio lane does not import asyncio, which is a tenth of its start. Where nobody else has imported
it there are no loops and no cancellations of it.
"""

from __future__ import annotations

import gc
import sys
from contextlib import AsyncExitStack, _AsyncGeneratorContextManager
from sys import modules
from types import MethodType
from typing import TYPE_CHECKING, Any

import trio
from trio._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER
from trio._core._run import GLOBAL_RUN_CONTEXT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

ASYNC_GENERATOR = "async_generator"
WITH_FRAMES = {
    *("coroutine", "coroutine_wrapper", "generator"),
    *(ASYNC_GENERATOR, f"{ASYNC_GENERATOR}_asend", f"{ASYNC_GENERATOR}_athrow"),
}
"""The types whose referents are what a suspended frame has."""
UNCANCEL_CLEARS = sys.version_info >= (3, 13)  # before, `uncancel` left a cancellation that was still to be delivered


def in_trio_run() -> bool:
    """As trio's own, which asks a thread for an attribute that it does not have: that takes several times as long."""
    return "runner" in GLOBAL_RUN_CONTEXT.__dict__


def trio_is_guest() -> bool:
    """Whether trio runs as a guest in another loop here."""
    return GLOBAL_RUN_CONTEXT.runner.is_guest


def asyncio_selector(loop: asyncio.AbstractEventLoop) -> object:
    """What it sleeps in; None if that is something else."""
    return getattr(loop, "_selector", None)


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The one that runs in this thread; the public function for that raises where there is none."""
    return look_for_asyncio() if asyncio_events is None else asyncio_events._get_running_loop()


def look_for_asyncio() -> asyncio.AbstractEventLoop | None:
    """The same, where none has run in this process as far as is known."""
    global asyncio_events  # noqa: PLW0603 - to ask `sys.modules` each time would take longer than the rest
    if "asyncio.runners" not in modules:  # which is imported when all is there that a loop takes to run
        return None
    asyncio_events = modules["asyncio.events"]
    return asyncio_loop()


asyncio_events: Any = None
"""`asyncio.events`, once somebody has imported it."""


def asyncio_cancelled(error: BaseException | None) -> bool:
    """Whether this is a cancellation of asyncio's."""
    return isinstance(error, getattr(modules.get("asyncio.exceptions"), "CancelledError", ()))


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


def asyncio_scope_that_fires() -> tuple[object, BaseException | None]:
    """Asked by a task's `cancel`: the timeout that is due, or the task group with a failed task, that calls it.

    Returns:
        It, and the error of the task; twice None if somebody else calls.
    """
    caller = sys._getframe(2)
    if caller.f_code.co_name not in {"_on_timeout", "_on_task_done"}:
        return None, None
    names, asyncio = caller.f_locals, modules["asyncio"]
    scope = names.get("self")
    return (scope, names.get("exc")) if isinstance(scope, (asyncio.Timeout, asyncio.TaskGroup)) else (None, None)


def has_hold_of(coro: object, scope: object) -> bool:
    """Whether a suspended coroutine has this scope open, as far as one can see.

    That is: it is in its `async with` block, or refers to it by a local variable or an exit stack, itself or in what it
    awaits.
    """
    left, seen = [coro], set[int]()
    while left:
        one: Any = left.pop()
        if isinstance(one, MethodType):  # such as the `__aexit__` that a block is left by
            one = one.__self__
        if one is scope:
            return True
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one).__name__ in WITH_FRAMES:
            left += gc.get_referents(one)
        elif isinstance(one, AsyncExitStack):
            left += [callback for _, callback in one._exit_callbacks]  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        elif isinstance(one, _AsyncGeneratorContextManager):
            left.append(one.gen)
    return False


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
