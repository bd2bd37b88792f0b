"""The threading lane: a thread for each life of an actor, woken by a bell.

It is a lane with one cell. Its run queue and its marks are those of all lanes; it parks in a `SimpleQueue`, the
cheapest bell that a thread has (a `Condition` costs 25 times as much).

Nothing can force a thread. Its actor is asked to stop, and the blocking calls of the runtime see that; whatever else
blocks is the business of the actor's `interrupt`.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread, get_ident
from typing import TYPE_CHECKING, Protocol

from trouper.lanes.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable


def clean() -> bool:
    """Nothing that a handler does to its own thread touches another actor."""
    return False


class Bell(Protocol):
    """What a thread sleeps by: a `SimpleQueue`, or what behaves like one."""

    def put(self, item: None, /) -> None: ...
    def get(self, *, timeout: float | None = None) -> None: ...


class ThreadLane(Lane):
    """The lane of one life of a threading actor. `launch` starts its thread, `close` ends it."""

    flavour = "threading"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.bell: Bell = SimpleQueue()
        self.thread = Thread(target=self.main, name=name, daemon=True)
        self.waits_in_runtime = False

    def launch(self) -> None:
        """Start the thread; once."""
        self.thread.start()

    def aside(self, fn: Callable[[], object], name: str) -> None:
        """Call `fn` in a thread of its own, beside this one."""
        Thread(target=fn, name=name, daemon=True).start()

    def main(self) -> None:
        self.ident = get_ident()
        try:
            while not self.over:
                self.turn(clean)
                if not self.over and self.idle():
                    self.bell.get()
                    self.parked = False
        except BaseException as exc:  # noqa: BLE001 - a bug of ours: the daemon must hear of it
            self.on_broken(self, exc)
        finally:
            self.over = True
            self.bury_late()

    def admit(self) -> None:
        """As in every lane; but once it is over, the next life of its actor may be under way in another thread."""
        while self.orders and not self.over:
            order, args = self.orders.popleft()
            order(*args)
        if not self.over:
            super().admit()

    def close(self) -> None:
        """End the thread once it is back here: the next life of its actor has another, and nothing is stepped in it."""
        self.over = True
        self.ready.clear()

    def wake(self) -> None:
        self.parked = False

    def wake_from_outside(self) -> None:
        self.bell.put(None)

    def wait(self, until: Callable[[], object], timeout: float | None = None) -> bool:
        """Block in the lane's own thread until `until()` is true, handling orders meanwhile.

        Args:
            until: looked at whenever the bell rings.
            timeout: seconds; None is for ever.

        Returns:
            Whether it became true in time.
        """
        deadline = None if timeout is None or timeout > TIMEOUT_MAX else self.now() + timeout
        self.waits_in_runtime = True
        try:
            while True:
                self.admit()
                if until():
                    return True
                left = None if deadline is None else deadline - self.now()
                if left is not None and left <= 0:
                    return False
                self.parked = True
                if not (self.incoming or self.orders or until()):
                    with suppress(Empty):
                        self.bell.get(timeout=left)
                self.parked = False
        finally:
            self.waits_in_runtime = False
