"""The capturing dispatcher: how one loop runs many actors without a task for each.

A task per actor costs a full round trip through the loop's scheduler per message. Here *one* task, the dispatcher,
takes ready cells from the run queue and steps their handlers' coroutines itself. A coroutine that ends at once has
cost no task switch. One that yields a trap really awaits something, and what it awaits may depend on the task it runs
in (cancel scopes, nurseries, timeouts). So the dispatcher's task is **captured**: it becomes this actor's task. It
hands the run queue to a spare dispatcher and drives the coroutine to its end, passing each trap to the loop and each
answer back. Then it parks as a spare.

What makes this sound:

- The guard (a cancel scope, or the task's own cancellation) is opened *before* the first handler is stepped, for a
handler may open scopes of its own before it first suspends, and scopes nest by task. A guard that was used is left
and a new one opened.
- After each step the task must be as clean as it was: a handler that leaves a scope, a nursery, a lock or a
cancellation behind has spoiled the task for everybody after it. Its actor crashes with `LeakedScope`, and the task is
retired.
- A captured actor goes back to the run queue; its task does not drain its mailbox, or one busy actor would keep the
lane.

The trio and the asyncio lane differ in what is below: guards, beds to sleep in, timers, tasks.
"""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any, Protocol

from trouper.errors import LeakedScope
from trouper.lanes.doorbell import Doorbell, doorbells
from trouper.lanes.lane import Lane, Spoiled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType
    from typing import Self

    from trouper.lanes.lane import Activity

SPARES = 8


class Cancelled(BaseException):
    """Internal: the activity ended because it was asked to be cancelled."""


class Guard(Protocol):
    """What a dispatcher opens around the handlers that it steps, so that one of them can be cancelled."""

    activity: Activity | None  # which the task is captured for

    @property
    def caught(self) -> bool: ...
    @property
    def used(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...
    def cancel(self) -> object: ...
    def dirty(self) -> object: ...
    def spoiled_by(self, error: BaseException | None) -> object: ...


class Ear(Protocol):
    """What the loop of a lane listens to while it sleeps: it wakes when this can be read, and has it told so.

    `falls_asleep` is called in the loop's thread before the loop waits, and `wakes` after that, whatever woke it, and
    before what it woke for is done.
    """

    def fileno(self) -> int: ...
    def falls_asleep(self) -> object: ...
    def wakes(self) -> object: ...


class Task(Protocol):
    """A background task of an actor."""

    def cancel(self) -> object: ...


@coroutine
def resume(activity: Activity) -> Generator[Any, Any, Any]:
    """Drive a suspended coroutine to its end inside its actor's context, from the task that captured it."""
    cell, trap = activity.cell, activity.trap
    send, throw, run = activity.coro.send, activity.coro.throw, cell.run
    while True:
        answer: Any = None
        error: BaseException | None = None
        try:
            answer = yield trap
        except BaseException as exc:  # noqa: BLE001 - whatever the loop throws is the coroutine's to see
            error = exc
        try:
            trap = run(send, answer) if error is None else run(throw, error)
        except StopIteration as done:
            return done.value
        finally:
            error = None  # its traceback leads back here


class LoopLane(Lane):
    """A lane whose thread runs an event loop."""

    bed: Any
    spares: list[Any]
    door: Doorbell
    ear: Ear | None = None

    def listen(self, ear: Ear) -> None:
        """In the lane: listen to this from now on; once in its life."""
        if self.ear is None and not self.over:
            self.ear = ear
            self.begin_to_listen(ear)

    def open_door(self, loop: object, otherwise: Callable[[Callable[[], object]], object]) -> Doorbell:
        """From now on other threads can wake it: the lane of this loop, or of the run with this trio token."""
        door = self.door = doorbells[loop] = Doorbell(otherwise)
        return door

    def leave_door(self, loop: object) -> None:
        """Nobody is going to be there: whom the loop still runs is woken in the loop's own way."""
        if doorbells.get(loop) is self.door:  # else another lane in the loop of a host has its own
            del doorbells[loop]
        self.door.leave()

    def end(self, loop: object) -> None:
        """The last thing in its loop: what other threads sent is buried."""
        self.over, self.parked = True, False
        self.leave_door(loop)
        self.door.close()
        self.bury_late()

    def call_from_outside(self, fn: Callable[[], object]) -> None:
        try:
            self.door.call(fn)
        except RuntimeError:  # the loop is over
            self.over = True
            self.bury_late()

    async def dispatch(self) -> None:
        """The life of one dispatcher, until the lane ends or there are spares enough."""
        while not self.over:
            activity: Activity | None = None
            value: Any = None
            error: BaseException | None = None
            guard = self.guard()
            try:
                with guard:
                    while not guard.used:
                        activity = self.turn(guard.dirty)
                        if activity is None:
                            await self.pause()
                            continue
                        self.hand_over()
                        activity.captured_by(guard.cancel)
                        value = await self.drive(activity, guard)
                        if not guard.used:
                            activity.ended(value, None)
                            activity = value = None
                            if not await self.rest():
                                return
            except BaseException as exc:  # noqa: BLE001 - the handler's failure, the lane's end, or a broken lane
                error = exc
            if self.over:
                return
            captured = activity is not None
            whole = await self.settle(activity, value, error, caught=guard.caught)
            activity = value = error = None  # a spare that sleeps must not keep the last crash alive
            if not whole or (captured and not await self.rest()):
                return

    async def drive(self, activity: Activity, guard: Guard) -> Any:
        guard.activity = activity
        try:
            value = await resume(activity)
        except BaseException as exc:
            if guard.spoiled_by(exc):
                raise Spoiled(activity.cell) from exc
            raise
        finally:
            guard.activity = None
        if guard.spoiled_by(None):
            raise Spoiled(activity.cell)
        return value

    async def settle(self, activity: Activity | None, value: Any, error: BaseException | None, *, caught: bool) -> bool:
        """After a guard was left: report what became of the activity. False: this task is spoiled and to be retired."""
        spoiled = find_spoiled(error)
        if spoiled is not None:
            if activity is None:
                self.hand_over()
            await self.repair()
            left = LeakedScope(spoiled.cell.mind.path)
            left.__cause__ = spoiled.__cause__
            if activity is not None:
                activity.ended(None, left)
            else:
                spoiled.cell.mind.leaked(left)
            return False
        if activity is not None:
            activity.ended(value, Cancelled() if caught and error is None else error)
        elif error is not None and not self.stray(error):
            self.on_broken(self, error)
        return True

    async def pause(self) -> None:
        """Between two turns: let the loop have its turn, or sleep until there is something to do."""
        if self.ready or self.incoming or self.orders:
            await self.checkpoint()
        elif self.idle():
            await self.park()

    async def park(self) -> None:
        """Sleep until there is something to do."""
        await self.doze(self.lie_down, self.get_up)

    def lie_down(self, bed: Any) -> None:
        self.bed = bed

    def get_up(self, bed: Any) -> None:
        self.parked = False

    def wake(self) -> None:
        self.parked = False
        self.rouse(self.bed)

    def hand_over(self) -> None:
        """This task is captured: another dispatcher takes the run queue."""
        while self.spares:
            if self.rouse(self.spares.pop()):
                return
        self.spawn_dispatcher()

    async def rest(self) -> bool:
        """Park as a spare; False: there are enough."""
        if len(self.spares) >= SPARES:
            return False
        try:
            await self.doze(self.spares.append, self.forget_spare)
        except BaseException as exc:
            if self.over or not self.stray(exc):
                raise
            return False
        return True

    def forget_spare(self, bed: Any) -> None:
        if bed in self.spares:
            self.spares.remove(bed)

    # -- what the flavours add ---------------------------------------------------------------------------------------
    def begin_to_listen(self, ear: Ear) -> None:
        """Have the ear told of each sleep, if this loop tells when it sleeps."""
        raise NotImplementedError

    def guard(self) -> Guard:
        raise NotImplementedError

    def spawn_dispatcher(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """End the lane, in its own thread."""
        raise NotImplementedError

    async def checkpoint(self) -> None:
        raise NotImplementedError

    async def breathe(self) -> None:
        """A real checkpoint, for a handler that used up the slice with work in place; a new slice begins after it."""
        raise NotImplementedError

    def is_here(self) -> bool:
        """Whether this code runs in the lane's loop."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def within(self, seconds: float, awaitable: Awaitable[Any]) -> tuple[bool, Any]:
        """Await it for so long at most: whether it was done in time, and its result."""
        raise NotImplementedError

    async def doze(self, keep: Callable[[Any], object], lost: Callable[[Any], object]) -> None:
        """Sleep in a bed that `keep` is told of, until it is roused; `lost` is told when the sleep is cancelled."""
        raise NotImplementedError

    def rouse(self, bed: Any) -> bool:
        """Wake who sleeps there; False if nobody does."""
        raise NotImplementedError

    async def repair(self) -> None:
        """Cancel and await what a handler left open in this task, which ends after that."""
        raise NotImplementedError

    def stray(self, error: BaseException) -> bool:
        """Whether this is a cancellation that nobody of ours asked for and that hit a dispatcher between handlers."""
        raise NotImplementedError

    def start_task(
        self,
        fn: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        ended: Callable[[Task, BaseException | None], None],
    ) -> Task:
        """Run `fn(*args)` beside the handlers; `ended` is told when it is over, with its error."""
        raise NotImplementedError


def find_spoiled(error: BaseException | None) -> Spoiled | None:
    """The loop may wrap what passes through a corrupted stack of scopes: look behind it."""
    while error is not None and not isinstance(error, Spoiled):
        error = error.__context__
    return error
