"""Watching: an actor hears, once, that another has ended for good. OTP's monitors, Akka's death watch.

A *watch* is the wish of one generation of one actor (the watcher) to hear of the end of another (the watched). It is
written down twice: in the `watches` of the watcher's cell for as long as the wish holds, and in the `watched` of the
world until the watched actor ends. Both are touched under one lock; actors that nobody watches have no entry anywhere.

**Exactly once.** Whoever takes the watches of an actor out of `watched` tells the watchers. Taking is done under the
lock, so no watch is told twice. The watched actor is marked closed *before* `ended` looks for its watches; a watcher
is written down *before* it looks whether the watched is closed. So one of them sees the other, and no watch is told
never.

**Not once it does not hold.** A notice that waits in the mailbox is delivered if its own watch still stands in the
`watches` of the watcher then. `unwatch` takes it out; the end of a generation takes out all. What does not hold is
dropped, and is no dead letter.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, final

from trouper.actors.life import CLOSED
from trouper.actors.ref import Ref
from trouper.actors.urgent import Urgent
from trouper.messages import Message
from trouper.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.cell import Cell
    from trouper.actors.life import Life


class Terminated(Message):
    """The notice to who watched an actor: it has ended for good. It comes before the messages that wait.

    Args:
        ref: the actor that was watched.
        reason: why its last generation ended: its crash, for instance, after which nobody restarted it; `normal` with
            what it said, for one that declined to run.
    """

    ref: Ref[Any]
    reason: Reason


@final
class Watch(Urgent):
    """The living generation of `cell` wants to hear of the end of `ref`; and, once that came, the notice of it."""

    __slots__ = ("ref",)

    def __init__(self, cell: Cell, ref: Ref[Any]) -> None:
        super().__init__(None, cell)
        self.ref = ref

    def live(self) -> bool:
        """Whether the wish still holds."""
        return self.cell.watches is not None and self.cell.watches.get(self.ref) is self

    def take(self) -> bool:
        """The notice is about to be handled: whether the wish still holds. It is fulfilled then."""
        with self.cell.world.watching.lock:
            if holds := self.live():
                del self.cell.watches[self.ref]  # type: ignore[union-attr]  # pyright: ignore[reportOptionalSubscript]
            return holds


class Watching:
    """Who watches whom in one daemon. Any thread may call."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.watched: dict[Ref[Any], dict[Life, Watch]] = {}
        self.before: Callable[[Ref[Any]], object] = lambda _: None  # what is done before anybody is told

    def watch(self, alive: Callable[[], Cell], ref: Ref[Any]) -> None:
        """Have the cell that `alive()` returns (or raises) told of the end of `ref`; now, if that is dead already."""
        with self.lock:
            cell = alive()
            if cell.watches is None:
                cell.watches = {}
            if ref in cell.watches:
                return
            watch = cell.watches[ref] = Watch(cell, ref)
            self.watched.setdefault(ref, {})[cell] = watch
        if (reason := why_closed(ref)) is not None:
            self.tell(ref, reason)
        else:
            ref.watch_begun()

    def unwatch(self, cell: Life, ref: Ref[Any]) -> None:
        """It does not want to hear of that any more."""
        with self.lock:
            if cell.watches is not None and cell.watches.pop(ref, None) is not None:
                self.take_out(cell, ref)

    def unwatch_all(self, cell: Life) -> None:
        """The watcher's generation is over (and marked so)."""
        with self.lock:
            watches, cell.watches = cell.watches, None
            for ref in watches or ():
                self.take_out(cell, ref)

    def take_out(self, cell: Life, ref: Ref[Any]) -> None:
        """Under the lock: nobody is to be told, unless that is under way."""
        watchers = self.watched.get(ref)
        if watchers is not None:
            watchers.pop(cell, None)
            if not watchers:
                del self.watched[ref]

    def ended(self, cell: Life) -> None:
        """It ended for good, and is marked closed."""
        self.before(cell.ref)
        if cell.ref in self.watched:
            self.tell(cell.ref, cell.ended_by)

    def tell(self, ref: Ref[Any], reason: Reason) -> None:
        """Tell its watchers. Not under the lock: to wake another lane may call a listener of the user's."""
        self.before(ref)
        with self.lock:
            watchers = self.watched.pop(ref, {})
        notice = Terminated(ref, reason)
        for watch in watchers.values():
            watch.message = notice
            watch.cell.ref.lane.do(watch.cell.press, watch)


def why_closed(ref: Ref[Any]) -> Reason | None:
    """Why it ended for good; None: it did not. In any thread: the reason is forgotten only once it is not closed."""
    cell = ref.cell
    if cell is None:
        return None
    generation, reason = cell.generation, cell.ended_by
    return reason if cell.state == CLOSED and cell.generation == generation else None
