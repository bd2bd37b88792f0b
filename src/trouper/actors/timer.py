"""Timers: messages that an actor gets from itself, later.

A tick is urgent: it goes before the messages of users. It carries its timer, and is dropped when its turn comes if the
timer was cancelled or replaced meanwhile. A timer has at most one tick in the mailbox: what a stall made late comes
once. All timers of a generation end with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from trouper.actors.inbox import next_due
from trouper.actors.life import RUNNING, STARTING
from trouper.actors.urgent import Urgent
from trouper.errors import show

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trouper.actors.cell import Cell
    from trouper.lanes.lane import Lane, Timer


class Alarm:
    """A call in the lane of this generation, later. A thread has no timers: the control lane keeps them for it.

    Args:
        cell: the actor; this is its lane, or, where nothing runs any more, any thread.
        seconds: when.
        fn: what to call.
    """

    __slots__ = ("clock", "fn", "lane", "timer")

    def __init__(self, cell: Cell, seconds: float, fn: Callable[[], object]) -> None:
        self.fn: Callable[[], object] | None = fn
        self.timer: Timer | None = None
        self.lane = cell.ref.lane
        self.clock = clock_of(cell)
        if cell.threaded:
            self.clock.post(self.set, self.clock.now() + seconds)
        else:
            self.timer = self.lane.call_later(seconds, self.ring)

    def set(self, due: float) -> None:
        """In the control lane."""
        if self.fn is not None:
            self.timer = self.clock.call_at(due, self.lane.post, self.ring)  # in its order, however late it is by now

    def ring(self) -> None:
        fn, self.fn = self.fn, None
        if fn is not None:
            fn()

    def cancel(self) -> None:
        self.fn = None
        if self.lane is not self.clock:
            self.clock.post(self.unset)
        else:
            self.unset()

    def unset(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


def clock_of(cell: Cell) -> Lane:
    """The lane that keeps the time of this actor."""
    return cell.world.control if cell.threaded else cell.ref.lane


@final
class TimerHandle:
    """A timer of an actor, as `after` and `every` return it. `cancel` ends it."""

    __slots__ = ("_alarm", "_cell", "_due", "_every", "_key", "_lane", "_message", "_tick")

    def __init__(self, cell: Cell, seconds: float, message: object, *, repeats: bool, key: Hashable) -> None:
        self._cell = cell
        self._lane = cell.ref.lane
        self._message = message
        self._every = seconds if repeats else None
        self._tick: Tick | None = None  # the one that waits in the mailbox
        self._key = self if key is None else key
        if cell.timers is None:
            cell.timers = {}
        if (earlier := cell.timers.get(self._key)) is not None:
            earlier.stop()
        cell.timers[self._key] = self
        self._due = clock_of(cell).now() + seconds
        self._alarm = Alarm(cell, seconds, self._ring)

    def cancel(self) -> None:
        """End the timer; from any thread. In the actor's own thread, no tick comes after that, not even a queued one.

        A second call, or one for a timer that has ended, is harmless.
        """
        self._lane.do(self.stop)

    def stop(self) -> None:
        """End the timer; in the actor's lane."""
        self._alarm.cancel()
        self._tick = None
        self._forget()

    def _forget(self) -> None:
        timers = self._cell.timers
        if timers is not None and timers.get(self._key) is self:
            del timers[self._key]

    def _ring(self) -> None:
        cell = self._cell
        if self._tick is None and cell.state in (STARTING, RUNNING):
            self._tick = Tick(self._message, cell, self)
            cell.press(self._tick)
        if self._every is not None:
            now = clock_of(cell).now()
            self._due = next_due(self._due, self._every, now)
            self._alarm = Alarm(cell, self._due - now, self._ring)

    def waits(self, tick: Tick) -> bool:
        """Whether this tick is to be delivered."""
        return self._tick is tick

    def ticked(self) -> None:
        """The tick is being handled."""
        self._tick = None
        if self._every is None:
            self._forget()

    def __repr__(self) -> str:
        kind = "after" if self._every is None else "every"
        return f"<TimerHandle of {self._cell.path}: {kind} {show(self._message)}>"


@final
class Tick(Urgent):
    """The message of a timer on its way."""

    __slots__ = ("timer",)

    def __init__(self, message: object, cell: Cell, timer: TimerHandle) -> None:
        super().__init__(message, cell)
        self.timer = timer

    def live(self) -> bool:
        return self.timer.waits(self) and super().live()

    def take(self) -> bool:
        live = self.live()
        if live:
            self.timer.ticked()
        return live
