"""What is kept of one place of the tree, and what can be read off it.

The rest of the cell is built upon it, one layer a file: `letters`, `hooks`, `ending`, `handlers`, and `cell` itself.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from trouper.actors.steps import (
    step_held,
)
from trouper.errors import (
    Stopping,
)
from trouper.lanes.stacks import coroutine_stack, thread_stack
from trouper.reasons import KILLED, SHUTDOWN, Reason

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Hashable
    from weakref import WeakSet

    from trouper.actors.ask import Ask
    from trouper.actors.inbox import Inbox, SyncInbox
    from trouper.actors.letters import Stashing
    from trouper.actors.options import Options
    from trouper.actors.ref import Ref
    from trouper.actors.reloading import Reload
    from trouper.actors.silence import Silence
    from trouper.actors.timer import TimerHandle
    from trouper.actors.watching import Watch
    from trouper.actors.world import Boss, Spawner, World
    from trouper.lanes.lane import Activity, Timer
    from trouper.lanes.slot import Slot


DOWN, STARTING, RUNNING, DRAINING, STOPPING, CLOSED = "down", "starting", "running", "draining", "stopping", "closed"
CLOSING = "closing"  # down, and its lane was told to close it


class Life:
    """The state of one place of the tree, over all lives of the actor that stands there."""

    # What every cell has is in slots; what most never need is here as a default, and costs memory where it is set only.
    __slots__ = (
        "__dict__",
        "boss",
        "child",
        "generation",
        "handler_step",
        "instance",
        "name",
        "ref",
        "since",
        "state",
        "world",
    )

    # The boss's, in its thread: the generation told to stop, the deadline that runs, whether it was left behind.
    halted = 0
    deadline: Timer | None = None
    abandoned = False
    doomed = gone = 0
    haunted = False  # its last life was left behind, and may still touch what the next one would
    # Of one generation.
    me: Any = None  # its Context, once somebody asked for it
    activity: Activity | None = None
    message: Any = None  # what the suspended handler handles
    asked: Ask | None = None  # the request that is handled
    hook: tuple[Callable[..., Any], Callable[[Any, BaseException | None], object]] | None = None
    inbox: Inbox[Any] | SyncInbox[Any] | None = None
    reason: Reason | None = None
    tasks: set[Any] | None = None
    claims: WeakSet[Ask] | None = None  # requests that it claimed
    watches: dict[Ref[Any], Watch] | None = None  # whose end it wants to hear of
    spawner: Spawner | None = None
    timers: dict[Hashable, TimerHandle] | None = None
    silence: Silence | None = None  # what its receive timeout waits for
    stash: list[Any] | None = None
    stashing: Stashing | None = None  # the handler under way stashed its message
    reload: Reload | None = None  # the wish that it reloads, before its turn
    reloading: Reload | None = None  # its `on_reload` is under way
    busy = False  # in the user's code, in a thread of its own
    stop_wanted = False
    stop_due = False  # `on_stop` is to be called
    in_on_stop = False
    leaving = False  # it stopped itself
    ready_early = False  # it said that it is up while its `on_start` was under way
    unready = False  # it has not said yet that it is up, and is to
    report: tuple[Callable[..., object], object] | None = None  # what the boss hears in place of its end
    killed: Reason | None = None  # it was told to end at once, for this reason
    interrupted = False
    told: bool | None = False  # what it does was told to end; None: its tasks, too
    # Of the mailbox.
    refuses = False
    offers: deque[tuple[object, Slot[None]]] | None = None

    OF_ONE_GENERATION = (
        *("me", "activity", "message", "asked", "hook", "inbox", "tasks", "spawner"),
        *("timers", "silence", "stash", "stashing"),
        *("busy", "stop_wanted", "stop_due", "in_on_stop", "killed", "interrupted", "told", "leaving"),
        *("ready_early", "unready"),
    )
    WHY_IT_ENDED = "reason", "report"  # kept for as long as the cell is closed

    def __init__(self, world: World, boss: Boss, name: str, child: Any) -> None:
        self.world = world
        self.boss = boss
        self.name = name
        self.child = child
        self.generation = 0
        self.since = 0.0
        self.state = DOWN
        self.instance: Any = None
        self.handler_step: Any = step_held
        self.ref: Ref[Any] = child.ref
        self.ref.bind(self, child.choice.mailbox)

    @property
    def path(self) -> str:
        parent = self.boss.path
        return parent + self.name if parent == "/" else f"{parent}/{self.name}"

    @property
    def options(self) -> Options:
        return self.child.choice  # type: ignore[no-any-return]

    @property
    def mind(self) -> Any:
        return self

    @property
    def threaded(self) -> bool:
        return self.child.definition.flavour == "threading"  # type: ignore[no-any-return]

    @property
    def stopping(self) -> bool:
        return self.state == STOPPING

    @property
    def left_behind(self) -> bool:
        """Whether it did not end, and nobody waits for that any more: it was unkillable, or its daemon is over."""
        return self.state != CLOSED and (self.abandoned or self.world.over)

    @property
    def drains(self) -> bool:
        """Whether a graceful stop handles first what is queued."""
        return self.options.drain and self.child.definition.style != "service"

    @property
    def cut_short(self) -> bool:
        """Whether blocking calls of the runtime end now: a stop is wanted, and no queue is to be worked off.

        `on_stop` may wait, as it may in a loop, until it is killed.
        """
        if self.in_on_stop:
            return self.killed is not None
        if self.leaving and self.child.definition.style != "receive":
            return True
        if self.stop_wanted and self.reloading is not None:
            return True
        at_once = self.killed is not None or not self.drains or self.state in (STARTING, STOPPING)
        return self.stop_wanted and at_once

    @property
    def ended_by(self) -> Reason:
        """Why its last generation ended, once it is down."""
        if self.report is not None:  # it did not come up
            _, what = self.report
            return what if isinstance(what, Reason) else Reason("normal", None, what)
        return self.reason or (KILLED if self.abandoned else SHUTDOWN)

    def __repr__(self) -> str:
        return f"<{self.path} generation {self.generation}, {self.state}>"

    def let_go(self) -> None:
        """It got no place in the tree after all. One that is closed stays so: its ref knows what becomes of letters."""
        if self.generation == 0 and self.state != CLOSED:
            self.ref.cell = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]

    def stack(self) -> str:
        """Where its code is: the suspended coroutine, or else the thread it runs in."""
        activity = self.activity
        return coroutine_stack(activity.coro) if activity is not None else thread_stack(self.ref.lane.ident)

    def owns_this_thread(self) -> bool:
        return self.threaded and get_ident() == self.ref.lane.ident

    def wait_for(self, slot: Slot[Any], timeout: float | None) -> bool:
        """Block the actor's own thread until the slot is settled; a stop ends that."""
        lane = self.ref.lane
        slot.wake_by(partial(lane.bell.put, None))
        if not lane.wait(lambda: slot.done or self.cut_short, timeout):
            return False
        if not slot.done:
            slot.claim()
            raise Stopping
        return True
