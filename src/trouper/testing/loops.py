"""Event loops that are stepped by hand, in the thread of the test, each in its own turn.

The lanes of a daemon stay what they are: each has its own loop, and only in a step of it is the thread the lane's. So
what one lane does to another goes through `incoming` and `orders`, as between threads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack

import trio

from trouper.errors import show
from trouper.testing import privates
from trouper.testing.leaks import below, task_name
from trouper.testing.time import SLICE, RunClock, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Executor
    from random import Random

    from outcome import Outcome

    from trouper.lanes.asyncio_lane import AsyncioLane
    from trouper.lanes.trio_lane import TrioLane
    from trouper.testing.time import VirtualTime

TRIO_OWN = {
    "Runner.init",
    "EntryQueue.task",
    "TrioLoop.start.<locals>.begun",
    "TrioLane.keep_time",
    "TrioLane.dispatch_protected",
}
MANY = 1000  # steps in which a loop that closes comes to its end
left_behind: list[TrioLoop] = []
ASYNCIO_OWN = {"LoopLane.dispatch"}

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TrioLoop(trio.abc.Instrument):
    """One trio run, in guest mode: its host is whoever calls `step`.

    Args:
        lane: the lane whose `main` runs in it.
        time: what its clock shows.
        random: decides what trio and the lane leave to chance.
    """

    def __init__(self, lane: TrioLane, time: VirtualTime, random: Random) -> None:
        self.lane = lane
        lane.stopwatch, lane._slice = Stopwatch(random), SLICE
        self.clock = RunClock(time)
        self.context = privates.RunContext(random)
        self.ticks: deque[Callable[[], object]] = deque()
        self.outcome: Outcome[Any] | None = None
        self.limiter: trio.CapacityLimiter | None = None
        self.root: trio.lowlevel.Task | None = None
        self.moved = False

    def start(self, main: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Have it run `main(*args)`."""

        async def begun() -> None:
            self.root = trio.lowlevel.current_root_task()
            self.limiter = trio.to_thread.current_default_thread_limiter()
            await main(*args)

        with self.entered():
            trio.lowlevel.start_guest_run(
                begun,
                run_sync_soon_threadsafe=self.ticks.append,
                done_callback=self.ended,
                host_uses_signal_set_wakeup_fd=True,
                clock=self.clock,
                instruments=[self],
            )

    @contextmanager
    def entered(self) -> Iterator[None]:
        with self.context.entered():
            self.lane.ident = get_ident()
            try:
                yield
            finally:
                self.lane.ident = 0

    def step(self) -> bool:
        """Run what can run now, each task once. False: there was nothing."""
        if self.over:
            return False
        self.moved, self.clock.due = False, None
        with self.entered():
            self.ticks.popleft()()
            if not self.moved and not self.over:  # a tick handles what the one before it found in the sockets
                self.ticks.popleft()()
        return self.moved or self.over

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.moved = True

    def ended(self, outcome: Outcome[Any]) -> None:
        self.outcome = outcome

    @property
    def over(self) -> bool:
        return self.outcome is not None

    def tasks_left(self) -> list[str]:
        """The tasks that are not the lane's own."""
        tasks = () if self.over or self.root is None else below(self.root)
        return [task.name for task in tasks if task_name(task) not in TRIO_OWN]

    def timers_left(self) -> list[str]:
        """What is still to be called in the lane."""
        return [] if self.over else [show(timer.fn) for timer in self.lane.timers.waiting()]

    def close(self) -> None:
        """A run that does not end is left behind, and kept: trio complains of one that is thrown away."""
        if not self.over:
            left_behind.append(self)

    @property
    def due(self) -> float:
        """When it has something to do again; asked when all its tasks wait."""
        return inf if self.over or self.clock.due is None else self.clock.due

    @property
    def holds_time(self) -> bool:
        """Whether it waits for one of its worker threads, which work in real time."""
        return not self.over and self.limiter is not None and self.limiter.borrowed_tokens > 0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time, which knows how many calls of it run in other threads."""

    def __init__(self, time: VirtualTime) -> None:
        self.virtual = time
        self.outside = 0
        super().__init__()

    def time(self) -> float:
        return self.virtual.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.outside += 1
        future.add_done_callback(self.come_back)
        return future

    def come_back(self, _: asyncio.Future[Any]) -> None:
        self.outside -= 1


class AsyncioLoop:
    """One asyncio loop, run once in each step.

    Args:
        lane: the lane whose `main` runs in it.
        time: what its clock shows.
        random: decides what the lane leaves to chance.
    """

    def __init__(self, lane: AsyncioLane, time: VirtualTime, random: Random) -> None:
        self.lane = lane
        lane.stopwatch, lane._slice = Stopwatch(random), SLICE
        self.loop = VirtualLoop(time)
        self.main: asyncio.Task[Any] | None = None

    def start(self, main: Callable[..., Any], *args: Any) -> None:
        """Have it run `main(*args)`."""
        self.main = self.loop.create_task(main(*args))

    @contextmanager
    def entered(self) -> Iterator[None]:
        with privates.no_loop():
            self.lane.ident = get_ident()
            try:
                yield
            finally:
                self.lane.ident = 0

    def step(self) -> bool:
        """Run what can run now, once. False: there was nothing."""
        if self.loop.is_closed() or not privates.asyncio_has_work(self.loop):
            return False
        with self.entered():
            self.loop.stop()
            self.loop.run_forever()
        return True

    def close(self) -> None:
        """Cancel what is left and close the loop, as `asyncio.run` does; what does not end is left behind."""
        if self.over and self.main is not None and not self.main.cancelled():
            self.main.exception()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.finish()
        generators = self.loop.create_task(self.loop.shutdown_asyncgens())
        self.finish()
        generators.cancel()
        with self.entered():
            self.loop.close()

    def finish(self) -> None:
        """Run what can run, but not for ever."""
        for _ in range(MANY):
            if not self.step():
                return

    def tasks_left(self) -> list[str]:
        """The tasks that are not the lane's own."""
        tasks = [task for task in asyncio.all_tasks(self.loop) if task is not self.main]
        return [name for task in tasks if (name := task_name(task)) not in ASYNCIO_OWN]

    def timers_left(self) -> list[str]:
        """What is still to be called in the loop."""
        return [show(timer) for timer in privates.asyncio_timers(self.loop)]

    @property
    def over(self) -> bool:
        return self.main is None or self.main.done()

    @property
    def due(self) -> float:
        """When it has something to do again."""
        return inf if self.loop.is_closed() else privates.asyncio_due(self.loop)

    @property
    def holds_time(self) -> bool:
        """Whether it waits for calls in other threads, which work in real time."""
        return self.loop.outside > 0
