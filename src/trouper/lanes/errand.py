"""An errand: one run of a payload in a lane.

A payload is a function or a coroutine function with its arguments. In a loop it is stepped by the dispatcher, as the
handler of an actor is: what never suspends costs no task, what does captures one, and what leaves the task unclean is
found out. So for the lane an errand is a cell, one without a box, that is stepped once.
"""

from __future__ import annotations

from functools import partial
from inspect import isawaitable
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from trouper.errors import UsageError, show
from trouper.lanes.lane import HELD, Activity
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.whose import aboard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextvars import Context

    from trouper.errors import LeakedScope
    from trouper.lanes.lane import Held, Lane

    Then = Callable[["Errand", Any, BaseException | None], object]


def step_errand(cell: Errand, batch: int) -> Activity | Held:
    """Run the payload."""
    aboard.set(cell.known_as or object())
    if cell.asked:
        return cell.came(None, Cancelled())
    try:
        result = cell.payload(*cell.args)
    except BaseException as exc:  # noqa: BLE001 - for who waits for it
        return cell.came(None, exc)
    in_thread = cell.in_thread
    if type(result) is CoroutineType:
        if not in_thread:
            return cell.take_up(result)
        result.close()
        return cell.came(None, no_loop(cell.path))
    if in_thread or result is None or not isawaitable(result):
        return cell.came(result, None)
    return cell.take_up(awaited(result))


class Errand:
    """One run of a payload. `go` starts it, once.

    Args:
        path: what it is called in logs and errors; None for the name of its payload.
        payload: what to call; what it returns is awaited, if it can be.
        args: its arguments.
        context: the context variables that it runs with; nothing else may run in them.
        then: told, in the lane's thread, when it is over: the errand, the value, and the error in place of one; that is
            `Cancelled` if it was cancelled, or never begun.
    """

    __slots__ = (
        "activity",
        "args",
        "asked",
        "known_as",
        "lane",
        "payload",
        "queued",
        "run",
        "then",
    )

    step: Any = staticmethod(step_errand)
    box: Any = ()
    message = None  # for who looks for what a cell handles

    def __init__(
        self, path: str | None, payload: Callable[..., Any], args: tuple[Any, ...], context: Context, then: Then
    ) -> None:
        self.known_as = path  # one by one: a tuple on the way costs as much as all of them
        self.payload = payload
        self.args = args
        self.then = then
        self.run = context.run
        self.queued = False
        self.asked = False
        self.lane: Lane | None = None
        self.activity: Activity | None = None

    # -- from any thread ---------------------------------------------------------------------------------------------
    def go(self, lane: Lane) -> None:
        """Have it run in this lane."""
        self.lane = lane
        if get_ident() == lane.ident:
            self.queued = True
            lane.enqueue(self)
        else:
            lane.foreign(self)

    def cancel(self) -> None:
        """Cancel it, or do not begin it at all; a thread that runs it cannot be forced."""
        self.asked = True
        if self.lane is not None:
            self.lane.post(self.cut_off)

    def bury(self) -> None:
        """Its lane is over, and it never began."""
        self.tell(None, Cancelled())

    # -- in the lane -------------------------------------------------------------------------------------------------
    @property
    def mind(self) -> Errand:
        return self

    cell = mind

    @property
    def path(self) -> str:
        return self.known_as or payload_name(self.payload)

    @property
    def in_thread(self) -> bool:
        return self.lane is not None and self.lane.flavour == "threading"

    def cut_off(self) -> None:
        if self.activity is not None:
            self.activity.cancel()

    def take_up(self, coro: Coroutine[Any, Any, Any]) -> Activity | Held:
        """Step the payload's coroutine as far as it goes by itself."""
        try:
            trap = coro.send(None)
        except StopIteration as done:
            return self.came(done.value, None)
        except BaseException as exc:  # noqa: BLE001 - for who waits for it
            return self.came(None, exc)
        activity = self.activity = Activity(self, coro, self.tell)
        activity.trap = trap
        return activity

    def came(self, value: Any, error: BaseException | None) -> Held:
        """Tell what came of it; but if the task is not clean any more, the lane finds that, and calls `leaked`."""
        if self.lane is None or not self.lane.dirty():
            self.tell(value, error)
        return HELD

    def leaked(self, error: LeakedScope) -> None:
        """It left its task unclean."""
        self.tell(None, error)

    def tell(self, value: Any, error: BaseException | None) -> None:
        self.activity = None
        self.then(self, value, error)


def payload_name(payload: Any) -> str:
    """What a payload is called in errors and logs."""
    while isinstance(payload, partial):
        payload = payload.func
    name, module = getattr(payload, "__qualname__", None), getattr(payload, "__module__", None)
    if not isinstance(name, str):
        return show(payload, 80)
    return f"{module}.{name}" if isinstance(module, str) else name  # a method of a built-in type has none


def no_loop(payload: str) -> UsageError:
    return UsageError(
        f"given the coroutine function {payload} in the flavour threading, which has no loop;"
        f" allowed: a plain function there, or the flavour trio or asyncio"
    )


async def awaited(result: Awaitable[Any]) -> Any:
    return await result
