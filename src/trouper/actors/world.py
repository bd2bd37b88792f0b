"""What the actors of one daemon share. Each running daemon has one `World`, and nothing is shared between two."""

from __future__ import annotations

import logging
from collections import Counter
from random import Random
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Protocol

from trouper.actors.ask import Ask
from trouper.actors.speaker import ABOUT
from trouper.actors.watching import Watching
from trouper.errors import show
from trouper.events import Bus, DeadLetter, MailboxOverflow
from trouper.lanes.thread_lane import ThreadLane
from trouper.lanes.whose import life

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from trouper.actors.cell import Cell
    from trouper.actors.ref import Ref
    from trouper.daemon import Daemon
    from trouper.events import Event
    from trouper.lanes.lane import Lane
    from trouper.reasons import Reason

log = logging.getLogger("trouper")

MANY = 1000  # actors whose records are held back, before those whose time is over are forgotten
LOG_EVERY = 5.0  # seconds between two log records of the same kind about one actor


class Boss(Protocol):
    """Who starts and stops an actor and hears what becomes of it, in the thread of its `lane`.

    `hear_of_start` is called in the actor's lane; the others are posted.
    """

    @property
    def lane(self) -> Lane: ...
    @property
    def path(self) -> str: ...
    def keeps(self, node: Any) -> bool: ...
    def hear_of_start(self, node: Any, generation: int) -> None: ...
    def on_declined(self, node: Any, generation: int, why: str) -> None: ...
    def on_start_failed(self, node: Any, generation: int, reason: Reason) -> None: ...
    def on_ending(self, node: Any, generation: int) -> None: ...
    def on_ended(self, node: Any, generation: int, reason: Reason) -> None: ...


class Spawner(Protocol):
    """Who supervises the children that an actor spawned."""

    def spawn(self, child: Any) -> Ref[Any]: ...
    def stop_child(self, ref: Ref[Any]) -> bool: ...
    def halt(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class World:
    """The surroundings of the actors of one daemon.

    Args:
        lane: gives the lane of a flavour, started if it does not run yet.
        fatal: hears of failures that no supervisor may heal, with the path; from any thread.
        spawner: makes the supervisor of what an actor spawns.
        context: the context variables that actors start with.
        clock: seconds, the same in all lanes, whose own clocks differ; for uptimes and the rate limit of log records.
        thread_lane: makes the lane for one life of a threading actor, given its path.
        random: for all that the runtime leaves to chance, such as the jitter of delays.
    """

    def __init__(
        self,
        *,
        lane: Callable[[str], Lane],
        control: Lane,
        fatal: Callable[[str, BaseException], None],
        spawner: Callable[[Cell], Spawner],
        context: Context,
        clock: Callable[[], float],
        thread_lane: Callable[[str], ThreadLane] = ThreadLane,
        random: Random | None = None,
    ) -> None:
        self.lane = lane
        self.control = control
        self.fatal = fatal
        self.spawner = spawner
        self.context = context
        context.run(life.set, 1)  # most lives are the first; the others set their own
        self.clock = clock
        self.thread_lane = thread_lane
        self.random = random or Random()
        self.bus = Bus()
        self.watching = Watching()
        self.first: Callable[[Event, Callable[[], object]], bool] = lambda *_: False  # the hooks before an event
        self.daemon: Daemon | None = None
        self.exchange: Any = None  # by which actors of other processes are reached, once there are any
        self.stopping = False  # nothing is started any more
        self.over = False
        self.dead_letters = self.restarts = 0
        self.degraded: dict[str, float] = {}  # what is down and tried for ever, and since when
        self.publishing: set[int] = set()  # threads in which a dead letter is being told
        self.counting = Lock()  # any thread may find a letter dead, and any lane restart something
        self.quiet_until: dict[tuple[str, str], float] = {}
        self.suppressed: Counter[tuple[str, str]] = Counter()
        self.many = MANY

    def dead(self, ref: Ref[Any], item: object, why: str) -> None:
        """Nobody will handle this message. Its asker, if it has one, was or will be told by the caller."""
        message = item.request if isinstance(item, Ask) else item
        with self.counting:
            self.dead_letters += 1
        self.report(logging.WARNING, ref, "dead letter", f"{why}: {show(message)}")
        if self.bus.active and (here := get_ident()) not in self.publishing:
            self.publishing.add(here)  # a listener that sends to a stopped actor must not hear of that for ever
            try:
                self.bus.publish(DeadLetter(ref.path or repr(ref), message, why))
            finally:
                self.publishing.discard(here)

    def restarted(self) -> None:
        """A supervisor restarts something by itself."""
        with self.counting:
            self.restarts += 1

    def overflowed(self, ref: Ref[Any], item: object) -> None:
        """The mailbox was full and this message was dropped."""
        if self.bus.active:
            self.bus.publish(MailboxOverflow(ref.path or repr(ref), ref.bound, ref.mailbox.overflow))
        self.dead(ref, item, "mailbox full")

    def report(self, level: int, ref: Ref[Any], kind: str, text: str) -> None:
        """Log, at most once in a while for one actor and kind; what was left out is counted in the next record."""
        path = ref.path or repr(ref)
        key, now = (path, kind), self.clock()
        if now < self.quiet_until.get(key, 0.0):
            self.suppressed[key] += 1
            return
        if len(self.quiet_until) >= self.many:
            self.forget_quiet(now)
            self.many = max(MANY, 2 * len(self.quiet_until))  # a look at all of them, and not once for each new one
        self.quiet_until[key] = now + LOG_EVERY
        more = f" ({left} more since the last such record)" if (left := self.suppressed.pop(key, 0)) else ""
        about = {"path": path, "generation": getattr(ref.cell, "generation", 0), "lane": ref.definition.flavour}
        log.log(level, "%s: %s: %s%s", path, kind, text, more, extra={ABOUT: about})

    def forget_quiet(self, now: float) -> None:
        """Let go of those whose time is over, and say how much was held back."""
        for key in [key for key, until in self.quiet_until.copy().items() if until <= now]:
            self.quiet_until.pop(key, None)
            if left := self.suppressed.pop(key, 0):
                log.warning("%s: %s: %d more", *key, left)
