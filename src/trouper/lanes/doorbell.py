"""How another thread has something called in the loop of a lane, and wakes it for that.

Both loops have a way of their own, `run_sync_soon` and `call_soon_threadsafe`, for all callers and systems. This one
costs less, most of all in trio (`benchmarks/wake.py`): a counter of the kernel (an eventfd, or a pipe where there is
none) that the loop watches, and that is written to once for however many calls.

**No ring is lost**: a caller appends its call, *then* looks whether the bell was rung; the loop forgets that it was
*before* it looks for calls. In the same way the bell is `closed` *before* it is answered a last time.

**No ring goes astray**: who writes holds the lock, and so does who closes. Else the number of the descriptor could be
another file's by then. A signal handler may ring while its own thread does: the lock is one that allows that.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = (1).to_bytes(8, "little")
CLOSED = -1  # in the place of a descriptor


class Doorbell:
    """That of one loop. The loop waits until `fd` can be read, and calls `answer` then.

    Args:
        otherwise: the loop's own way, once nobody answers the bell any more.
    """

    __slots__ = ("_end", "_lock", "calls", "closed", "fd", "otherwise", "rung")

    def __init__(self, otherwise: Callable[[Callable[[], object]], object]) -> None:
        self.calls: deque[Callable[[], object]] = deque()
        self.rung = self.closed = False
        self.otherwise = otherwise
        self.fd, self._end = open_counter()
        self._lock = RLock()

    def call(self, fn: Callable[[], object]) -> None:
        """From any thread: have `fn()` called in the loop, soon.

        Raises:
            RuntimeError: the loop is over.
        """
        self.calls.append(fn)
        self.ring()
        if self.closed:
            self.otherwise(self.answer)

    def ring(self) -> None:
        """From any thread: wake the loop."""
        if not self.rung:
            self.rung = True
            with self._lock, suppress(BlockingIOError):  # so often rung that it cannot be missed
                if not self.closed:
                    os.write(self._end, ONE)

    def answer(self) -> None:
        """In the loop: do what was asked for."""
        if not self.closed:
            with suppress(BlockingIOError):
                os.read(self.fd, 8)
        self.rung = False
        calls = self.calls
        while calls:
            calls.popleft()()

    def leave(self) -> None:
        """In the loop, which goes on perhaps: nobody is going to answer the bell any more."""
        self.closed = True
        self.answer()

    def close(self) -> None:
        """In the loop: nobody watches it any more."""
        self.leave()
        with self._lock:
            open_ones = {self.fd, self._end} - {CLOSED}
            self.fd = self._end = CLOSED
            for fd in open_ones:
                os.close(fd)


def open_counter() -> tuple[int, int]:
    """What is read and what is written to; neither blocks."""
    if hasattr(os, "eventfd"):
        counter = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return counter, counter
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


doorbells: dict[Any, Doorbell] = {}
"""Those of the loops that have one, by trio token or asyncio loop."""
