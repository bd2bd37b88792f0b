"""Threads that take turns: one runs when given the turn, and gives it back where it blocks in a call of the runtime.

A threading actor keeps its own thread. Its bell, which is all that the runtime blocks it by, tells the kit that it
sleeps and until when. While it runs user code, nobody else runs and no time passes. If that code blocks in a call that
is not the runtime's, the kit waits for it in real time, with patience that ends.
"""

from __future__ import annotations

from collections import deque
from math import inf
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from trouper.lanes.slot import waiting
from trouper.lanes.stacks import thread_stack
from trouper.lanes.thread_lane import ThreadLane
from trouper.testing.errors import TrialStuck
from trouper.testing.time import SLICE, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from trouper.lanes.slot import Slot
    from trouper.testing.time import VirtualTime

READY, RUNNING, ASLEEP, OVER = "ready", "running", "asleep", "over"
GRACE = 0.1  # real seconds until a thread that may block is taken to be blocking


class Worker:
    """One thread, and the bell that it sleeps by.

    Args:
        name: of the thread; of an actor's thread it is the path.
        fn: what it runs.
        time: what its timeouts are measured by.
        patience: real seconds that it may run without a call of the runtime.
        may_block: whether it may block elsewhere: then time goes on without it after a short while.
    """

    def __init__(
        self, name: str, fn: Callable[[], object], time: VirtualTime, patience: float, *, may_block: bool
    ) -> None:
        self.name, self.fn, self.time = name, fn, time
        self.patience, self.may_block = patience, may_block
        self.thread = Thread(target=self.main, name=name, daemon=True)
        self.turn: SimpleQueue[None] = SimpleQueue()
        self.back: SimpleQueue[None] = SimpleQueue()
        self.rings: deque[None] = deque()
        self.changing = Lock()
        self.state = READY
        self.wakes = inf
        self.since = 0.0

    # -- in its own thread -------------------------------------------------------------------------------------------
    def main(self) -> None:
        self.turn.get()
        waiting.instead = self.wait
        try:
            self.fn()
        finally:
            self.state = OVER
            self.back.put(None)

    def get(self, *, timeout: float | None = None) -> None:
        """Sleep until the bell rings, or the time is over (`Empty`)."""
        with self.changing:
            asleep = not self.rings
            if asleep:
                self.wakes = inf if timeout is None else self.time.now + timeout
                self.state = ASLEEP
        if asleep:
            self.back.put(None)
            self.turn.get()
        try:
            self.rings.popleft()
        except IndexError:
            raise Empty from None

    def wait(self, slot: Slot[Any], timeout: float | None) -> bool:
        """Wait for a slot; for the calls that do not know whose thread this is."""
        ends = inf if timeout is None else self.time.now + timeout
        slot.wake_by(self.put)
        while not slot.done and self.time.now < ends:
            try:
                self.get(timeout=ends - self.time.now)
            except Empty:
                break
        return slot.done

    # -- from any thread ---------------------------------------------------------------------------------------------
    def put(self, _: None = None) -> None:
        """Ring the bell."""
        with self.changing:
            self.rings.append(None)

    # -- in the thread of the test -----------------------------------------------------------------------------------
    @property
    def runnable(self) -> bool:
        state = self.state
        return state == READY or (state == ASLEEP and bool(self.rings or self.wakes <= self.time.now))

    @property
    def due(self) -> float:
        return self.wakes if self.state == ASLEEP else inf

    @property
    def holds_time(self) -> bool:
        """Whether it runs, and is not known to block."""
        return self.state == RUNNING and not (self.may_block and monotonic() - self.since > GRACE)

    def step(self) -> bool:
        """Give it the turn until it sleeps or ends. It is done something with: True.

        Raises:
            TrialStuck: it does neither.
        """
        began = self.state != READY
        with self.changing:
            self.state = RUNNING
        while not self.back.empty():
            self.back.get()  # it came back when nobody waited for it
        self.since = monotonic()
        if not began:
            self.thread.start()
        self.turn.put(None)
        try:
            self.back.get(timeout=GRACE if self.may_block else self.patience)
        except Empty:
            if not self.may_block:
                self.may_block = True  # from now on: the trial is to end, even so
                raise TrialStuck(
                    f"the thread of {self.name} has been running for {self.patience:g} s without a call of the runtime;"
                    f" virtual time waits for it. Allowed: calls that come back soon, or, for a thread that blocks by"
                    f" its nature, Trial(may_block=[{self.name!r}]):\n{thread_stack(self.thread.ident or 0)}"
                ) from None
        return True


class TurnLane(ThreadLane):
    """The lane of one life of a threading actor, in virtual time."""

    def __init__(self, name: str, threads: Threads) -> None:
        super().__init__(name)
        self.threads = threads
        self.worker = threads.worker(name, self.main)
        self.bell, self.thread = self.worker, self.worker.thread
        self.now = threads.time  # type: ignore[method-assign]
        self.stopwatch, self._slice = Stopwatch(threads.random), SLICE

    def launch(self) -> None:
        self.threads.workers.append(self.worker)

    def aside(self, fn: Callable[[], object], name: str) -> None:
        self.worker.since = monotonic()  # it is to be let go of what blocks it
        self.threads.workers.append(self.threads.worker(name, fn))


class Threads:
    """All threads of a trial; called with a path it makes the lane of a threading actor."""

    def __init__(self, time: VirtualTime, random: Random, patience: float, may_block: frozenset[str]) -> None:
        self.time, self.random, self.patience, self.may_block = time, random, patience, may_block
        self.workers: list[Worker] = []

    def __call__(self, path: str) -> TurnLane:
        return TurnLane(path, self)

    def worker(self, name: str, fn: Callable[[], object]) -> Worker:
        return Worker(name, fn, self.time, self.patience, may_block=name in self.may_block)

    def bury(self) -> None:
        """Forget those that are over."""
        self.workers = [worker for worker in self.workers if worker.state != OVER]
