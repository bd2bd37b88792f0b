"""Threads for payloads: one for each that runs, and a few idle ones are kept for the next."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from trouper.lanes.thread_lane import ThreadLane

KEPT = 8


class Hands:
    """The threads of one daemon. A payload that finds none idle gets a new one.

    Args:
        make: makes the lane of a thread, given its name.
    """

    def __init__(self, make: Callable[[str], ThreadLane]) -> None:
        self.make = make
        self.idle: deque[ThreadLane] = deque()
        self.over = False

    def lane(self) -> ThreadLane:
        """An idle thread, or a new one; from any thread. Its payload gives it back by `release`.

        Raises:
            RuntimeError: the system has no thread for it.
        """
        try:
            return self.idle.pop()
        except IndexError:
            lane = self.make("trouper payload")
            lane.launch()
            return lane

    def release(self, lane: ThreadLane) -> None:
        """In its own thread: it has nothing to do any more."""
        if self.over or len(self.idle) >= KEPT:
            lane.close()
            return
        self.idle.append(lane)
        if self.over:  # looked at last: who ends them meanwhile finds this one, or is seen here
            self.close()

    def close(self) -> list[Thread]:
        """Have the idle threads end, and those that work once they are back. Returns the idle ones."""
        self.over = True
        ending = []
        while self.idle:
            try:
                lane = self.idle.pop()
            except IndexError:
                break
            ending.append(lane.thread)
            lane.post(lane.close)
        return ending
