"""The asyncio lane: guards are the dispatcher task's own cancellation, beds are futures."""

from __future__ import annotations

import asyncio
import logging
import selectors
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from trouper.errors import LeakedScope
from trouper.lanes import hygiene
from trouper.lanes.loop_lane import LoopLane
from trouper.lanes.whose import NOBODY, owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from trouper.lanes.lane import Activity
    from trouper.lanes.loop_lane import Ear, Task

log = logging.getLogger("trouper")


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "the lane's code runs in tasks"
    return task


def uncancel(task: asyncio.Task[Any]) -> None:
    while task.cancelling():
        task.uncancel()


class DispatcherTask(asyncio.Task[None]):
    """The task of a dispatcher, in which one handler after the other runs.

    A timeout or task group of asyncio cancels the task that it was opened in, whoever is in there by then. One that a
    handler has left open must hit nobody else. Whose it is its context says: that of who opened it, or touched it last.
    """

    guard: AsyncioGuard | None = None

    def cancel(self, msg: object = None) -> bool:
        scope, error = hygiene.asyncio_scope_that_fires()
        if scope is None or self.is_for(scope):
            return super().cancel(msg)
        errand, cell, _ = owner()
        why = f"a {type(scope).__name__} that was left open has come to its end; close it in the call that opens it"
        if cell is None:
            log.error("%s: %s", errand if isinstance(errand, str) else "something", why, exc_info=error)
        else:
            left = LeakedScope(cell.path, why)
            left.__cause__ = error
            cell.left_open(left)
        return False

    def is_for(self, scope: object) -> bool:
        """Whether it can be one of the handler that is in this task now."""
        dispatcher: Any = self.get_coro()
        if dispatcher.cr_running:  # it is called by the handler itself
            return True
        activity = None if self.guard is None else self.guard.activity
        if activity is None:
            return False
        whose = owner()
        return whose in (NOBODY, activity.cell.run(owner)) or hygiene.has_hold_of(activity.coro, scope)


class AsyncioGuard:
    """The cancellation of the dispatcher's task, taken back when the guard is left."""

    activity: Activity | None = None

    def __init__(self) -> None:
        task = self._task = cast("DispatcherTask", own_task())
        task.guard = self
        self.dirty = hygiene.asyncio_watch(self._task)
        self.used = self.caught = False

    def cancel(self) -> None:
        self.used = True
        self._task.cancel()

    def spoiled_by(self, error: BaseException | None) -> object:
        """Whether an activity left a cancellation that is still to come; one that did come is used up and taken back.

        Some stay counted though all was in order: a `TaskGroup` whose task failed forgets one before Python 3.13.
        """
        if self.used:
            return False
        spoiled = hygiene.asyncio_cancel_to_come(self._task)
        if not spoiled:
            uncancel(self._task)
        return spoiled

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        uncancel(self._task)
        self._task.guard = None
        self.caught = self.used and isinstance(error, asyncio.CancelledError)
        return self.caught


class Poll(selectors.DefaultSelector):
    """What a loop sleeps in, once its lane listens: it tells an ear of each sleep."""

    ear: Ear

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ear = self.ear
        if timeout is None or timeout > 0:
            ear.falls_asleep()
        try:
            found = super().select(timeout)
        finally:
            ear.wakes()
        return [one for one in found if one[0].data is not ear]


def tell_of_sleeps(selector: object, ear: Ear) -> None:
    """Make a `Poll` of the selector of a loop, if that is asyncio's own."""
    if type(selector) is selectors.DefaultSelector:
        poll: Any = selector
        poll.register(ear, selectors.EVENT_READ, ear)
        poll.ear = ear
        poll.__class__ = Poll


class AsyncioLane(LoopLane):
    """All asyncio code of a daemon. `main` is what its loop runs."""

    flavour = "asyncio"

    def run(self, started: Callable[[], object], factory: Callable[[], asyncio.AbstractEventLoop] | None) -> None:
        """Run `main` in a loop of its own, in this thread."""
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self.main(started))

    async def main(self, started: Callable[[], object]) -> None:
        """Run until `close`. `started` is called when orders and messages are handled."""
        self.ident = get_ident()
        self.loop = asyncio.get_running_loop()
        self.spares = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.closing = asyncio.Event()
        door = self.open_door(self.loop, self.loop.call_soon_threadsafe)
        try:
            try:
                self.loop.add_reader(door.fd, door.answer)
            except NotImplementedError:  # by the loop of a host
                door.leave()
            self.spawn_dispatcher()
            started()
            await self.until_closed()
        finally:
            self.over = True  # before the tasks are cancelled: a dispatcher ignores stray cancellations until then
            try:
                for task in list(self.tasks):
                    task.cancel()
                if self.tasks:
                    await asyncio.wait(self.tasks, timeout=1)
            finally:
                if not door.closed:
                    self.loop.remove_reader(door.fd)
                self.end(self.loop)

    def begin_to_listen(self, ear: Ear) -> None:
        tell_of_sleeps(hygiene.asyncio_selector(self.loop), ear)

    async def until_closed(self) -> None:
        await self.closing.wait()

    def close(self) -> None:
        """End the lane, in its own thread."""
        self.closing.set()

    def now(self) -> float:
        return self.loop.time()

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.post, fn, *args)

    def call_at(self, when: float, fn: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        return self.loop.call_at(when, self.post, fn, *args)

    def keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # -- the dispatcher's needs --------------------------------------------------------------------------------------
    def guard(self) -> AsyncioGuard:
        return AsyncioGuard()

    def spawn_dispatcher(self) -> None:
        self.keep(DispatcherTask(self.dispatch(), loop=self.loop))

    async def checkpoint(self) -> None:
        await asyncio.sleep(0)

    async def breathe(self) -> None:
        await asyncio.sleep(0)
        self.begin_slice()

    def is_here(self) -> bool:
        return asyncio._get_running_loop() is self.loop

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def within(self, seconds: float, awaitable: Awaitable[Any]) -> tuple[bool, Any]:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return True, await awaitable
        except TimeoutError:
            if not limit.expired():
                raise
            return False, None

    async def doze(self, keep: Callable[[Any], object], lost: Callable[[Any], object]) -> None:
        bed = self.loop.create_future()
        keep(bed)
        try:
            await bed
        except asyncio.CancelledError:
            if bed.cancelled() or self.over:
                lost(bed)
                raise
            uncancel(own_task())  # roused at the same time: who roused us counts on it

    def rouse(self, bed: asyncio.Future[None]) -> bool:
        if bed.done():
            return False
        bed.set_result(None)
        return True

    async def repair(self) -> None:
        """A task group or timeout left open is cut off from the loop with the task that ends."""

    def stray(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError)

    # -- tasks -------------------------------------------------------------------------------------------------------
    def start_task(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        ended: Callable[[Task, BaseException | None], None],
    ) -> asyncio.Task[Any]:
        return self.keep(self.loop.create_task(self.run_task(fn, args, ended)))

    async def run_task(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        ended: Callable[[Task, BaseException | None], None],
    ) -> None:
        error: BaseException | None = None
        try:
            await fn(*args)
        except BaseException as exc:  # noqa: BLE001 - reported to the task's actor
            error = exc
        if not self.over:
            ended(own_task(), error)
