"""Threads that read the wire while they wait: for an answer, for messages of their own, or as a loop does for anything.

A switch of threads costs about as much as the way through the socket. So a thread that would sleep anyway borrows the
wire, if nobody has, and sleeps in the sockets; what comes for others it hands on. What it waits for may come from
elsewhere, too: it sleeps on a number that others ring, and a loop on all that it has.

To sleep and be woken can cost more than the answer takes (`benchmarks/processes.py` shows both). So before it sleeps a
thread stays awake for a moment, if that was of use lately: its `Vigil`.
"""

from __future__ import annotations

import os
from functools import partial
from queue import SimpleQueue
from select import EPOLLIN, POLLIN, epoll, poll
from threading import get_ident, local
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from trouper.lanes.thread_lane import ThreadLane

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.lanes.loop_lane import LoopLane
    from trouper.lanes.slot import Slot
    from trouper.workers.link import Wire


T = TypeVar("T")

AWAKE: Final = 1e-4  # seconds: what an answer takes from a process that has to be woken for it
SHY: Final = 64  # sleeps without a vigil, after one that was in vain


class Vigil:
    """Whether one thread stays awake for a moment before it sleeps.

    It does as long as something comes meanwhile. A vigil in vain is followed by many sleeps without one, which bounds
    what is wasted to `AWAKE / SHY` for each: less than the sleep itself costs.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0  # sleeps until the next

    def look(self, find: Callable[[], T]) -> T | None:
        """Return what `find()` finds meanwhile; None: sleep."""
        if self.left:
            self.left -= 1
            return None
        until = monotonic() + AWAKE
        while monotonic() < until:
            if found := find():
                return found
        self.left = SHY
        return None


class Sleeper:
    """One thread that has borrowed the wire; made in that thread."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.ident = get_ident()
        self.poll = poll()
        self.poll.register(self.bell, POLLIN)
        self.poll.register(wire.sockets.fileno(), POLLIN)
        self.vigil, self.peep = Vigil(), partial(self.poll.poll, 0)

    def __del__(self) -> None:
        os.close(self.bell)

    def ring(self) -> None:
        """Wake it; what it finds by itself needs no bell."""
        if get_ident() != self.ident:
            os.eventfd_write(self.bell, 1)

    def sleep(self, until: Callable[[], object], timeout: float | None) -> bool:
        """Read until `until()` is true; False: it did not become so within so many seconds."""
        deadline = None if timeout is None else monotonic() + timeout
        while not until():
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            self.once(left)
        return True

    def once(self, timeout: float | None) -> None:
        """Sleep until something comes, and read it."""
        found = self.vigil.look(self.peep)
        for fd, _ in found or self.poll.poll(None if timeout is None else timeout * 1000 + 1):
            if fd == self.bell:
                os.eventfd_read(fd)
            else:
                self.wire.read()


class Sleepers(local):
    """That of each thread, and of each wire that it waited at."""

    def __init__(self) -> None:
        self.by_wire: dict[Wire, Sleeper] = {}


SLEEPERS = Sleepers()


def wait_reading(wire: Wire, slot: Slot[Any], timeout: float | None) -> bool:
    """Wait for a slot, in a thread that has borrowed the wire, and read meanwhile; False: it is not settled in time."""
    sleepers = SLEEPERS.by_wire
    sleeper = sleepers.get(wire)
    if sleeper is None:
        sleepers.clear()  # a thread that goes on to another daemon keeps nothing of the last one
        sleeper = sleepers[wire] = Sleeper(wire)
    slot.wake_by(sleeper.ring)
    return sleeper.sleep(lambda: slot.done, timeout)


class WireBell:
    """The bell of a threading actor that reads the wire while it has nothing to do.

    If what it read was for others, it gives the wire back: whoever has got something reads on when it is idle again.
    """

    def __init__(self, lane: ThreadLane, wire: Wire) -> None:
        self.lane = lane
        self.wire = wire
        self.queue: SimpleQueue[None] = SimpleQueue()
        self.sleeper: Sleeper | None = None
        self.reads = False

    def put(self, item: None, /) -> None:
        self.queue.put(None)
        if self.reads and self.sleeper is not None:
            self.sleeper.ring()

    def get(self, *, timeout: float | None = None) -> None:
        began = monotonic()
        if self.queue.empty() and self.wire.lend():
            self.read(timeout)
            if not self.lane.parked:
                return
            timeout = None if timeout is None else max(0.0, timeout - monotonic() + began)
        self.queue.get(timeout=timeout)

    def read(self, timeout: float | None) -> None:
        """Wait once in the sockets."""
        try:
            if self.sleeper is None:
                self.sleeper = Sleeper(self.wire)
            self.reads = True  # before the last look
            if self.queue.empty():
                self.sleeper.once(timeout)
        finally:
            self.reads = False
            self.wire.back()


class WiredLane(ThreadLane):
    """The lane of a threading actor in a process that has links to others."""

    def __init__(self, name: str, wire: Wire) -> None:
        super().__init__(name)
        self.bell = WireBell(self, wire)


class Gate:
    """The ear of a loop that reads the wire while it sleeps, if it was the last that something came for.

    It is among what the loop waits for: open while the loop has borrowed the wire, and after that until the next sleep
    for which it has not. The loop never waits for another thread that reads: what that leaves comes with the next poll.

    Args:
        wire: what is read.
        lane: that of the loop.
    """

    def __init__(self, wire: Wire, lane: LoopLane) -> None:
        self.wire, self.lane, self.vigil = wire, lane, Vigil()
        self.sockets = epoll()
        self.sockets.register(wire.sockets.fileno(), 0)
        self.borrowed = self.open = False

    def fileno(self) -> int:
        return self.sockets.fileno()

    def falls_asleep(self) -> None:
        """Borrow the wire, unless somebody has, or reads it, or it is not for us."""
        wire = self.wire
        if not self.borrowed:
            self.borrowed = wire.addressee is self.lane and not wire.reading.locked() and wire.lend()
        self.set_open(self.borrowed)
        if self.borrowed:
            self.vigil.look(self.stirs)

    def stirs(self) -> bool:
        """Whether there is something to do: of the wire, or of other threads."""
        return self.lane.door.rung or bool(self.wire.sockets.poll(0))

    def wakes(self) -> None:
        """Take what has come, then give the wire back: what the loop does next may take long."""
        if self.borrowed:
            try:
                self.wire.read(wait=False)
            except BaseException:
                self.set_open(False)  # for nobody may ask a second time
                raise
            finally:
                self.borrowed = False
                self.wire.back()

    def set_open(self, wanted: bool) -> None:  # noqa: FBT001 - what it is set to
        if self.open is not wanted:
            self.open = wanted
            self.sockets.modify(self.wire.sockets.fileno(), EPOLLIN if wanted else 0)
