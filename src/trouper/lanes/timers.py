"""Calls that are due later, as a heap. It knows no clock: who keeps it says what time it is."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class HeapTimer:
    """One call in a `Timers`; `cancel` forgets what it would have called."""

    __slots__ = ("args", "fn", "order", "when")

    def __init__(self, when: float, order: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when = when
        self.order = order
        self.fn: Callable[..., object] | None = fn
        self.args: tuple[Any, ...] = args

    def __lt__(self, other: HeapTimer) -> bool:
        return (self.when, self.order) < (other.when, other.order)

    def cancel(self) -> None:
        self.fn, self.args = None, ()


class Timers:
    """Timers in the order in which they are due; those due at once, in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[HeapTimer] = []
        self._order = count()

    def add(self, when: float, fn: Callable[..., object], *args: Any) -> HeapTimer:
        timer = HeapTimer(when, next(self._order), fn, args)
        heappush(self._heap, timer)
        return timer

    def next(self) -> float:
        """When the first is due, or infinity."""
        heap = self._heap
        while heap and heap[0].fn is None:
            heappop(heap)
        return heap[0].when if heap else inf

    def due(self, now: float) -> Iterator[HeapTimer]:
        """Take out all that are due at `now`; a timer that one of them cancels does not come."""
        while self.next() <= now:
            yield heappop(self._heap)
