"""Hooks and `run`: how a piece of the user's code is begun, and what it means when it raises."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trouper.actors.ask import STASHED
from trouper.actors.letters import Letters
from trouper.actors.speaker import step_aside
from trouper.actors.steps import (
    step_held,
    step_hook,
)
from trouper.errors import (
    ReplyDropped,
    Shutdown,
    Stopping,
    StrayCancellation,
)
from trouper.lanes.hygiene import asyncio_cancelled
from trouper.lanes.lane import HELD, Activity
from trouper.lanes.loop_lane import Cancelled
from trouper.reasons import SHUTDOWN, Reason, crashed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from trouper.actors.reloading import Reload
    from trouper.lanes.lane import Held


hooked: ContextVar[Reload | None] = ContextVar("trouper.hooked", default=None)
"""The reload whose `on_reload` runs in this context, beside a `run`."""


class Hooks(Letters):
    """The cell and its hooks."""

    __slots__ = ()

    def perform(self, hook: Callable[..., Any], then: Callable[[Any, BaseException | None], object]) -> None:
        """Have this hook run as the actor's next step."""
        self.hook = (hook, then)
        self.ref.step = step_hook
        self.ref.lane.enqueue(self.ref)

    def begin_hook(self) -> Activity | Held | None:
        due, self.hook = self.hook, None
        self.ref.step = step_held
        if due is None:
            return HELD
        hook, then = due
        if self.threaded:
            self.call_hook(hook, then)
            return HELD
        self.busy = True
        try:
            result = hook()
            trap = result.send(None)
        except StopIteration as done:
            self.busy = False
            then(done.value, None)
        except BaseException as exc:  # noqa: BLE001 - judged by who comes then
            self.busy = False
            then(None, exc)
        else:
            self.busy = False
            return self.suspend(result, trap, partial(self.hook_ended, then))
        return HELD

    def call_hook(self, hook: Callable[..., Any], then: Callable[[Any, BaseException | None], object]) -> None:
        """In the actor's own thread."""
        result, error = None, None
        self.busy = True
        try:
            result = hook()
        except BaseException as exc:  # noqa: BLE001 - judged by who comes then
            error = exc
        self.busy = False
        then(result, error)

    def suspend(
        self, coro: Coroutine[Any, Any, Any], trap: Any, then: Callable[[Any, BaseException | None], None]
    ) -> Activity:
        activity = self.activity = Activity(self.ref, coro, then)
        activity.trap = trap
        if self.killed:
            activity.cancel()
        return activity

    def hook_ended(
        self, then: Callable[[Any, BaseException | None], object], value: Any, error: BaseException | None
    ) -> None:
        self.activity = None
        then(value, error)

    def drop_asked(self) -> None:
        """A `run` is through with the message that it took; if that is a request, it must have claimed it."""
        self.message = None
        ask, self.asked = self.asked, None
        if ask is not None and ask.claimed is STASHED:
            ask.claimed = False
        elif ask is not None and not ask.claimed:
            ask.fail(ReplyDropped(ask.request, "its actor took it and went on without `reply_to`"))

    def wake_inbox(self) -> None:
        if self.inbox is not None:
            self.inbox.wake()

    def judge(self, error: BaseException) -> Reason:
        """What an exception that ended the user's code means; those that no supervisor may heal go to the root."""
        if isinstance(error, Shutdown):
            return Reason("shutdown", None, error.why)
        if isinstance(error, Stopping):
            return SHUTDOWN
        if isinstance(error, Cancelled):
            return self.killed or SHUTDOWN
        if isinstance(error, BaseExceptionGroup) and error.subgroup(Stopping) and not error.split(is_orderly)[1]:
            return SHUTDOWN  # raised in a nursery
        if is_orderly(error):
            stray = StrayCancellation(self.path)
            stray.__cause__ = error
            return crashed(stray)
        if beyond_healing(error):
            self.world.fatal(self.path, error)
        return crashed(error)


async def in_background(fn: Callable[..., Awaitable[object]], *args: Any) -> None:
    """A background task may ask its own actor: no handler waits for it."""
    step_aside()
    hooked.set(None)
    await fn(*args)


def is_orderly(error: BaseException) -> bool:
    """Whether an end that was asked for may raise it."""
    return isinstance(error, Stopping | trio.Cancelled) or asyncio_cancelled(error)


def beyond_healing(error: BaseException) -> bool:
    """Whether it is, or has inside, what goes to the root: KeyboardInterrupt, SystemExit, MemoryError and so on."""
    if isinstance(error, BaseExceptionGroup):
        return any(beyond_healing(inner) for inner in error.exceptions)
    if is_orderly(error):
        return False
    return isinstance(error, MemoryError) or not isinstance(error, Exception)
