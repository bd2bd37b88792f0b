"""The trio lane: guards are cancel scopes, beds are tasks.

One dispatcher that has nothing to do sleeps at the door, where other threads ring, and goes on when they do: to wake a
second task for that would take another pass of the loop, which costs more than all the rest. Others sleep as spares.
What wakes the lane from within rouses a spare; only where there is none it rings, too, which takes system calls.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import (
    Abort,
    cancel_shielded_checkpoint,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
)

from trouper.lanes import hygiene
from trouper.lanes.loop_lane import LoopLane
from trouper.lanes.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from trouper.lanes.lane import Activity
    from trouper.lanes.loop_lane import Ear, Task
    from trouper.lanes.timers import HeapTimer


class TrioGuard:
    """A cancel scope, and how the task looked inside it."""

    activity: Activity | None = None

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self.cancel = self._scope.cancel

    def __enter__(self) -> Self:
        self._scope.__enter__()
        self.dirty = hygiene.trio_watch(current_task())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    def spoiled_by(self, error: BaseException | None) -> object:
        """Whether an activity left something open, however it ended."""
        return self.dirty()

    @property
    def used(self) -> bool:
        return self._scope.cancel_called

    @property
    def caught(self) -> bool:
        return self._scope.cancelled_caught


class Sleep(trio.abc.Instrument):
    """Tells an ear of each sleep of the loop."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self.ear.falls_asleep()

    def after_io_wait(self, timeout: float) -> None:
        self.ear.wakes()


class TrioLane(LoopLane):
    """All trio code of a daemon. `main` is what its loop runs; the control lane is one of these, too."""

    flavour = "trio"
    attended = False  # somebody sleeps at the door

    async def main(self, started: Callable[[], object]) -> None:
        """Run until `close`. `started` is called when orders and messages are handled."""
        self.ident = get_ident()
        self.token = trio.lowlevel.current_trio_token()
        self.now = trio.lowlevel.current_clock().current_time  # type: ignore[method-assign]  # quicker than trio.current_time
        self.spares = []
        self.timers = Timers()
        self.alarm = trio.CancelScope()
        self.closing = trio.Event()
        self.open_door(self.token, self.token.run_sync_soon)
        try:
            async with trio.open_nursery() as self.nursery:
                self.nursery.start_soon(self.keep_time)
                for _ in ("at the door", "a spare"):
                    self.spawn_dispatcher()
                started()
                try:
                    await self.closing.wait()
                finally:
                    self.over = True  # before the dispatchers are cancelled: they ignore stray cancellations until then
                    self.leave_door(self.token)  # a handler that shields itself may outlive them
                self.nursery.cancel_scope.cancel()
        finally:
            self.end(self.token)

    def close(self) -> None:
        """End the lane, in its own thread."""
        self.closing.set()

    def begin_to_listen(self, ear: Ear) -> None:
        if not hygiene.trio_is_guest():  # of whose host nobody knows whether it sleeps
            self.nursery.start_soon(self.lend_ear, ear)

    async def lend_ear(self, ear: Ear) -> None:
        sleep = Sleep(ear)
        trio.lowlevel.add_instrument(sleep)
        try:
            while True:
                await wait_readable(ear)  # wakes the loop, and with it the ear: there is nothing to do here
        finally:
            with suppress(KeyError):  # trio has taken it out after an error
                trio.lowlevel.remove_instrument(sleep)

    # -- timers ------------------------------------------------------------------------------------------------------
    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> HeapTimer:
        return self.call_at(trio.current_time() + seconds, fn, *args)

    def call_at(self, when: float, fn: Callable[..., object], *args: Any) -> HeapTimer:
        timer = self.timers.add(when, fn, *args)
        self.alarm.deadline = min(self.alarm.deadline, timer.when)
        return timer

    async def keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.timers.next()) as self.alarm:
                await trio.sleep(inf)
            for timer in self.timers.due(trio.current_time()):
                if timer.fn is not None:
                    self.post(timer.fn, *timer.args)

    # -- the dispatcher's needs --------------------------------------------------------------------------------------
    def guard(self) -> TrioGuard:
        return TrioGuard()

    def spawn_dispatcher(self) -> None:
        self.nursery.start_soon(self.dispatch_protected, name=f"trouper {self.name}")

    @enable_ki_protection
    async def dispatch_protected(self) -> None:
        await self.dispatch()

    async def checkpoint(self) -> None:
        if self.door.rung:  # and perhaps nobody is there: all are busy
            self.door.answer()
        await cancel_shielded_checkpoint()

    async def park(self) -> None:
        if self.attended:
            await self.doze(self.spares.append, self.up_again)
            return
        door, parked = self.door, False
        self.attended = True
        try:
            while not parked:  # else somebody else goes on already
                await wait_readable(door.fd)
                parked, self.parked = self.parked, False
                door.answer()
        finally:
            self.attended = self.parked = False

    def up_again(self, bed: trio.lowlevel.Task) -> None:
        """A spare goes on that nobody has roused."""
        self.forget_spare(bed)
        self.parked = False

    def wake(self) -> None:
        if self.spares:
            self.parked = False
            self.rouse(self.spares.pop())
        else:
            self.door.ring()  # who sleeps there goes on, for it finds the lane parked

    async def breathe(self) -> None:
        await trio.lowlevel.checkpoint()
        self.begin_slice()

    def is_here(self) -> bool:
        return trio.lowlevel.in_trio_run() and get_ident() == self.ident

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def within(self, seconds: float, awaitable: Awaitable[Any]) -> tuple[bool, Any]:
        with trio.move_on_after(seconds):
            return True, await awaitable
        return False, None

    async def doze(self, keep: Callable[[Any], object], lost: Callable[[Any], object]) -> None:
        task = current_task()

        def abort(_: object) -> Abort:
            lost(task)
            return Abort.SUCCEEDED

        keep(task)
        await wait_task_rescheduled(abort)

    def rouse(self, bed: trio.lowlevel.Task) -> bool:
        reschedule(bed)
        return True

    async def repair(self) -> None:
        await hygiene.trio_repair(current_task())

    def stray(self, error: BaseException) -> bool:
        return isinstance(error, trio.Cancelled)

    # -- tasks -------------------------------------------------------------------------------------------------------
    def start_task(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        ended: Callable[[Task, BaseException | None], None],
    ) -> trio.CancelScope:
        scope = trio.CancelScope()
        self.nursery.start_soon(self.run_task, scope, fn, args, ended)
        return scope

    @enable_ki_protection
    async def run_task(
        self,
        scope: trio.CancelScope,
        fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        ended: Callable[[Task, BaseException | None], None],
    ) -> None:
        error: BaseException | None = None
        try:
            with scope:
                await fn(*args)
        except BaseException as exc:  # noqa: BLE001 - reported to the task's actor
            error = exc
        if not self.over:
            ended(scope, error)
