"""A value that comes once, from any thread, and is waited for in trio, in asyncio or in a thread."""

from __future__ import annotations

from _thread import allocate_lock
from threading import TIMEOUT_MAX, local
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from trouper.lanes.doorbell import doorbells
from trouper.lanes.hygiene import asyncio_loop, in_trio_run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")


def in_asyncio() -> bool:
    return asyncio_loop() is not None


def in_event_loop() -> bool:
    """Whether blocking this thread would block an event loop."""
    return asyncio_loop() is not None or in_trio_run()


class Waiting(local):
    """How a thread waits for a slot, if not by itself: a test lets the world go on meanwhile."""

    instead: Callable[[Slot[Any], float | None], bool] | None = None


waiting = Waiting()


class Slot(Generic[T]):
    """One result. The first `put` or `fail` wins; the others are told that they came too late.

    The taker publishes its wake-up *before* it looks whether the result is there; the giver stores the result
    *before* it looks for a wake-up. So one of them sees the other.
    """

    __slots__ = ("__weakref__", "_error", "_first", "_value", "_wake", "done")

    def __init__(self) -> None:
        self._first = [None]
        self._value: Any = None
        self._error: BaseException | None = None
        self._wake: Callable[[], object] | None = None
        self.done = False

    def put(self, value: T) -> bool:
        """Give the result; False if there was one already."""
        return self.claim() and self.settle(value, None)

    def fail(self, error: BaseException) -> bool:
        """Give an error, which the waiter raises; False if there was a result already."""
        return self.claim() and self.settle(None, error)

    def claim(self) -> bool:
        """Become the one who gives the result. Atomic: one caller, of any thread, gets True, and must `settle` then."""
        try:
            self._first.pop()
        except IndexError:
            return False
        return True

    def give_up(self) -> bool:
        """Have no result come any more. False: it is there, also if its giver was just about to settle it."""
        if self.claim():
            return True
        if not self.done:  # claimed in another thread, which settles it in a moment
            self.wait_sync()
        return False

    def settle(self, value: Any, error: BaseException | None) -> bool:
        """Give the claimed result and wake who waits for it."""
        self._value, self._error, self.done = value, error, True
        if (wake := self._wake) is not None:
            wake()
        return True

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Have `wake` called when the result is there; look at `done` after this call."""
        self._wake = wake

    def take(self) -> T:
        """The result that is there, or its error raised."""
        error = self._error
        if error is not None:
            self._error = None
            try:
                raise error
            finally:
                del error
        return self._value  # type: ignore[no-any-return]

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds (None: for ever) in the running trio or asyncio task. False: it timed out."""
        if self.done:
            return True
        loop = asyncio_loop()
        await (self._wait_trio(timeout) if loop is None else self._wait_asyncio(loop, timeout))
        self._wake = None
        return self.done

    async def _wait_trio(self, timeout: float | None) -> None:
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        door, asleep = doorbells.get(token), True

        def rouse() -> None:
            nonlocal asleep
            if asleep:
                asleep = False
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            nonlocal asleep
            asleep = False
            return trio.lowlevel.Abort.SUCCEEDED

        def wake() -> None:
            if trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is token:
                rouse()
            else:
                rouse_from_outside(token.run_sync_soon if door is None else door.call, rouse)

        self._wake = wake
        if self.done:
            asleep = False  # or the call that is under way would wake what this task sleeps in later
            return
        if timeout is None:
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            with trio.move_on_after(timeout):
                await trio.lowlevel.wait_task_rescheduled(abort)

    async def _wait_asyncio(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        door = doorbells.get(loop)
        bed: asyncio.Future[None] = loop.create_future()

        def rouse() -> None:
            if not bed.done():
                bed.set_result(None)

        def wake() -> None:
            if asyncio_loop() is loop:
                rouse()
            else:
                rouse_from_outside(loop.call_soon_threadsafe if door is None else door.call, rouse)

        self._wake = wake
        if self.done:
            return
        timer = None if timeout is None else loop.call_later(timeout, rouse)
        try:
            await bed
        finally:
            if timer is not None:
                timer.cancel()

    def wait_sync(self, timeout: float | None = None, *, first: Callable[[], object] | None = None) -> bool:
        """Block this thread at most `timeout` seconds (None: for ever). False: it timed out.

        `first` is called when all is prepared: what it asks for another thread can do at once, as this one gives way.
        """
        if waiting.instead is not None:
            if first is not None:
                first()
            return waiting.instead(self, timeout)
        bell = allocate_lock()
        bell.acquire()
        self._wake = bell.release
        if first is not None:
            first()
        if not self.done:
            bell.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX))  # which takes no infinity
        self._wake = None
        return self.done


def when_done(slot: Slot[Any], fn: Callable[[], object]) -> None:
    """Have `fn` called once there is a result, in the thread that gives it; at times twice."""
    slot.wake_by(fn)
    if slot.done:
        fn()


def rouse_from_outside(call: Callable[[Callable[[], None]], object], rouse: Callable[[], None]) -> None:
    try:
        call(rouse)
    except RuntimeError:
        """The loop is over (trio's RunFinishedError is a RuntimeError), and with it whoever waited."""
