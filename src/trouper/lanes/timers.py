"""Calls that are due later, as a heap. It knows no clock: who keeps it says what time it is."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FEW = 64


class HeapTimer:
    """One call in a `Timers`; `cancel` forgets what it would have called."""

    __slots__ = ("_owner", "args", "fn", "order", "when")

    def __init__(
        self, when: float, order: int, fn: Callable[..., object], args: tuple[Any, ...], owner: Timers | None = None
    ) -> None:
        self._owner = owner
        self.when = when
        self.order = order
        self.fn: Callable[..., object] | None = fn
        self.args: tuple[Any, ...] = args

    def __lt__(self, other: HeapTimer) -> bool:
        return (self.when, self.order) < (other.when, other.order)

    def cancel(self) -> None:
        """Do not call it; a second time is harmless."""
        if self.fn is not None:
            self.fn, self.args = None, ()
            if self._owner is not None:
                self._owner.one_cancelled()


class Timers:
    """Timers in the order in which they are due; those due at once, in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[HeapTimer] = []
        self._cancelled = 0  # of those in the heap, or a few more
        self._order = count()

    def add(self, when: float, fn: Callable[..., object], *args: Any) -> HeapTimer:
        timer = HeapTimer(when, next(self._order), fn, args, self)
        heappush(self._heap, timer)
        return timer

    def next(self) -> float:
        """When the first is due, or infinity."""
        heap = self._heap
        while heap and heap[0].fn is None:
            heappop(heap)
        return heap[0].when if heap else inf

    def waiting(self) -> list[HeapTimer]:
        """Those that are to come, in no order."""
        return [timer for timer in self._heap if timer.fn is not None]

    def one_cancelled(self) -> None:
        """Cancelled timers leave the heap when they outnumber the others, not only when they would have been due."""
        self._cancelled += 1
        if self._cancelled > FEW and self._cancelled > len(self._heap) // 2:
            self._heap = self.waiting()
            self._cancelled = 0
            heapify(self._heap)

    def due(self, now: float) -> Iterator[HeapTimer]:
        """Take out all that are due at `now`; a timer that one of them cancels does not come."""
        while self.next() <= now:
            yield heappop(self._heap)
