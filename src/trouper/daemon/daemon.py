"""The daemon: its lanes, its tree, and how both come up and go down.

The control lane (a trio loop of our own, in the main thread of `run`, in a thread of its own when embedded) runs the
supervisors of the static tree, the watchdog and the signals, and no user code. All of the daemon's state belongs to
it; other threads post.
"""

from __future__ import annotations

import importlib
import logging
import os
from contextvars import copy_context
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trouper.actors.world import World
from trouper.daemon.annex import Annex
from trouper.daemon.before import Hooks
from trouper.daemon.exits import FAILED, OK, code_of
from trouper.daemon.listeners import Sockets
from trouper.daemon.loops import Lanes
from trouper.daemon.operator import Operator
from trouper.daemon.payloads import Payloads
from trouper.daemon.registry import Registry
from trouper.daemon.reload import Reloads
from trouper.daemon.services import Services, here
from trouper.daemon.watchdog import Watchdog
from trouper.errors import LaneBroken, RestartLimitExceeded, SpecError, UsageError
from trouper.events import DaemonReady, DaemonReloading, DaemonStopping, Escalated, Restarting
from trouper.lanes.slot import Slot
from trouper.lanes.thread_lane import ThreadLane
from trouper.lanes.trio_lane import TrioLane
from trouper.lanes.whose import aboard
from trouper.supervision.place import place
from trouper.supervision.snapshot import places
from trouper.supervision.spawned import Spawned
from trouper.supervision.spec import Supervisor, one_for_one
from trouper.supervision.supervisor import branch_of, refuse_kept

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from random import Random

    from trouper.actors.cell import Cell
    from trouper.daemon.before import Hook
    from trouper.events import Event as TrouperEvent
    from trouper.events import Subscription
    from trouper.lanes.asyncio_lane import AsyncioLane
    from trouper.lanes.lane import Lane
    from trouper.lanes.loop_lane import LoopLane
    from trouper.reasons import Reason
    from trouper.supervision.members import State
    from trouper.supervision.node import Elsewhere, Node
    from trouper.supervision.place import Placed
    from trouper.supervision.spec import Child

log = logging.getLogger("trouper")

T = TypeVar("T")

LANES_END = 1.0  # seconds for the loops to close after the tree has stopped


class Daemon(Operator, Registry, Payloads):
    """One running tree. Made by `run` and `open_daemon`; actors reach it as `current(self).daemon`.

    All methods may be called from every thread. Its `services` are those that it runs beside the tree.
    """

    def __init__(
        self,
        tree: Child[Any] | Supervisor | None = None,
        *,
        services: Services | None = None,
        stop_within: float = 60.0,
        stall_after: float = 5.0,
        uvloop: bool = False,
        hooks: Iterable[Hook] = (),
        clock: Callable[[], float] = monotonic,
        thread_lane: Callable[[str], ThreadLane] = ThreadLane,
        random: Random | None = None,
    ) -> None:
        for name, seconds in (("stop_within", stop_within), ("stall_after", stall_after)):
            check_seconds(name, seconds)
        if not (services is None or isinstance(services, Services)):
            raise SpecError("the daemon", "services", services, "a Services, or None")
        Operator.__init__(self)
        Registry.__init__(self)
        placed = placed_at("/", one_for_one() if tree is None else tree)
        self.generation = 1
        self.stop_within = stop_within
        self.new_loop = uvloop_factory() if uvloop else None
        self.control = TrioLane("control")
        self.control.on_broken = self.lane_broke
        self.loops = Lanes(self.open_lane)
        self.threads: dict[Thread, trio.Event] = {}
        self.idle_threads: list[Thread] = []
        self.lock = Lock()
        self.world = World(
            lane=self.loops.__getitem__,
            control=self.control,
            fatal=self.fatal,
            spawner=self.spawner,
            context=copy_context(),
            clock=clock,
            thread_lane=thread_lane,
            random=random,
        )
        Payloads.__init__(self)
        self.world.daemon = self
        self.world.watching.before = self.free
        self.services = Services() if services is None else services
        self.world.context.run(here.set, self.services)
        self.world.context.run(aboard.set, None)  # a daemon may be opened in a payload of another
        self.hooks = Hooks(self, hooks)
        self.world.first = self.hooks.first
        self.annex = Annex(self, self.services)
        self.watchdog = Watchdog(lambda: list(self.loops.values()), self.world.bus, stall_after, lambda: None)
        self.plant(placed)
        self.reloads = Reloads(self)
        self.ready: Slot[None] = Slot()
        self.over: Slot[None] = Slot()  # for the host of an embedded daemon; a slot has one waiter
        self.ended = trio.Event()
        self.began = clock()
        self.code = OK
        self.cause: BaseException | None = None
        self.stop_why: str | None = None
        self.halting = False  # what runs was told to stop
        self.said = "it did not stop in time"  # how it failed, if it did
        self.on_failed: Callable[[], object] = lambda: None
        self.on_deadline: Callable[[], object] = lambda: None
        self.announce: Callable[[TrouperEvent], object] = lambda _: None
        self.companions: list[Callable[[], Awaitable[object]]] = []  # run in the control lane, beside the watchdog
        self.sockets = Sockets(os.environ)
        self.services._taken_by(self.annex)  # the last that can fail

    # -- for users ---------------------------------------------------------------------------------------------------
    def stop(self, why: str = "asked to") -> None:
        """Stop the tree in good order; returns at once. A second call is harmless.

        Args:
            why: for the log.
        """
        self.control.post(self.begin_stop, why)

    def subscribe(
        self, listener: Callable[[Any], object], *kinds: type[TrouperEvent], under: str = "/"
    ) -> Subscription:
        """Have `listener(event)` called for events of these kinds (none given: all), in the thread of the event.

        Args:
            listener: must be quick and not block; `ref.send` is a good one.
            kinds: classes out of `trouper.events`.
            under: only those of this place of the tree and of what is below it; those that have no place, such as
                `LaneStalled` without an actor, are of `/`.

        Returns:
            A subscription to `close`.
        """
        return self.world.bus.subscribe(listener, *kinds, under=under)

    def hook(self, hook: Hook) -> None:
        """Have something done before a step of the daemon goes on, from now on.

        Args:
            hook: made by `before`.
        """
        self.hooks.add(hook)

    def unhook(self, hook: Hook) -> None:
        """Have it done no more; one that is none of the daemon's is harmless."""
        self.hooks.remove(hook)

    @property
    def worker_id(self) -> int | None:
        """Which worker process of its group this one is, from 0 on; None in a process that is none."""
        return None

    @property
    def dead_letters(self) -> int:
        """How many messages nobody handled."""
        return self.world.dead_letters

    @property
    def restarts(self) -> int:
        """How many times a supervisor has restarted something by itself."""
        return self.world.restarts

    # -- lanes -------------------------------------------------------------------------------------------------------
    def open_lane(self, flavour: str) -> LoopLane:
        """Start a lane in a thread of its own, unless somebody else just did."""
        with self.lock:
            if flavour not in self.loops:
                lane = TrioLane("trio") if flavour == "trio" else asyncio_lane()
                lane.on_broken = self.lane_broke
                started, ended = Event(), trio.Event()
                thread = Thread(
                    target=self.run_lane, args=(lane, started, ended), name=f"trouper {flavour}", daemon=True
                )
                self.threads[thread] = ended
                thread.start()
                started.wait()
                self.loops[flavour] = lane
            return self.loops[flavour]

    def run_lane(self, lane: TrioLane | AsyncioLane, started: Event, ended: trio.Event) -> None:
        """The life of a lane's own thread."""
        try:
            if isinstance(lane, TrioLane):
                trio.run(lane.main, started.set)
            else:
                lane.run(started.set, self.new_loop)
        except BaseException as exc:  # noqa: BLE001 - a lane must not end silently
            self.lane_broke(lane, exc)
        finally:
            started.set()
            self.control.post(ended.set)

    def lane_broke(self, lane: Lane, error: BaseException) -> None:
        """A lane ended by itself: nothing can run in it any more."""
        broken = LaneBroken(f"the {lane.name} lane")
        broken.__cause__ = error
        self.fatal("/", broken)

    def spawner(self, cell: Cell) -> Spawned:
        """The supervisor of what an actor spawns."""
        return Spawned(self.world, cell, SPAWNS)

    # -- coming up and going down, in the control lane ---------------------------------------------------------------
    def plant(self, placed: Placed) -> None:
        """This is the tree, of which nothing has begun yet."""
        self.root = branch_of(placed, self.world, self.control, Root(self))

    async def main(self, begun: Callable[[], object] = lambda: None) -> None:
        """Run the tree until it has ended; the control lane's own main.

        Args:
            begun: called in the control lane when it takes orders, before the first actor starts.
        """
        started = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.run_control, nursery, started)
                await started.wait()
                begun()
                self.watchdog.make_round()
                for watch in (self.watchdog.watch, *self.companions):
                    nursery.start_soon(watch)
                self.control.post(self.begin)
                await self.ended.wait()
                await self.close_lanes()
                self.control.close()
        except BaseException as error:
            log.critical("the control lane failed", exc_info=error)
            self.cause, self.code, self.said = error, self.code or FAILED, "the control lane failed"
            self.on_failed()
        finally:
            self.conclude()

    def conclude(self) -> None:
        """The last thing: nobody waits for this daemon any more."""
        self.world.over = True
        self.sockets.close()
        self.root.close(self.cause)  # what did not stop in time, too
        self.annex.close(self.cause)
        self.reloads.stop()
        self.end_calls()
        self.close_exchange()
        self.answer_the_rest()
        self.settle_late()
        self.ready.put(None)
        self.over.put(None)

    async def run_control(self, nursery: trio.Nursery, started: trio.Event) -> None:
        """Run the control lane; its end is the end of all."""
        await self.control.main(started.set)
        nursery.cancel_scope.cancel()

    async def close_lanes(self) -> None:
        """End the lanes' threads; one that hangs is left behind, it is a daemon thread."""
        for lane in self.loops.values():
            lane.post(lane.close)
        self.idle_threads = self.hands.close()
        with trio.move_on_after(LANES_END):
            for ended in self.threads.values():
                await ended.wait()

    def tell(self, event: TrouperEvent) -> None:
        """A step of the daemon itself."""
        self.announce(event)
        if self.world.bus.active:
            self.world.bus.publish(event)

    def close_exchange(self) -> None:
        """No actor of another process is reached any more."""
        if self.world.exchange is not None:
            self.world.exchange.close()

    def begin(self) -> None:
        """Boot the tree, unless a stop was asked for already."""
        if self.stop_why is None:
            self.root.begin(self.generation)

    def begin_stop(self, why: str) -> None:
        """Stop the tree, once, under the deadline for the whole of it."""
        if self.stop_why is not None:
            return
        self.stop_why = why
        log.info("stopping: %s", why)
        event = DaemonStopping(why)
        self.tell(event)
        self.reloads.stop()
        self.hooks.cut(DaemonReady, DaemonReloading, Restarting)
        self.control.call_later(self.stop_within, self.deadline_passed)
        if not self.hooks.first(event, self.halt):
            self.halt()

    def halt(self) -> None:
        """Stop what stands beside the tree, which works as ever until that is over."""
        self.halting = True
        self.annex.halt(self.halt_tree)

    def halt_tree(self) -> None:
        """Stop the tree; nothing is started any more."""
        self.world.stopping = True
        if not self.root.failing:  # else that goes on as it is: the failure came first
            self.root.ask_halt()
        if self.root.machine is None:
            self.finished()

    def deadline_passed(self) -> None:
        """The whole stop took too long."""
        if not self.ended.is_set():
            log.critical("the tree did not stop within %g s:\n%s", self.stop_within, self.stack())
            self.code = self.code or FAILED
            self.on_deadline()
            self.on_failed()
            self.ended.set()

    def fatal(self, path: str, error: BaseException) -> None:
        """A failure that no supervisor may heal; from any thread."""
        self.world.stopping = True  # at once: nobody restarts anything before the order comes
        self.control.post(self.escalate, path, error)

    def escalate(self, path: str, error: BaseException) -> None:
        """The failure is the daemon's: say it once, and stop the tree."""
        if self.cause is None:
            self.cause, self.code, self.said = error, code_of(error), told(path, error)
            self.on_failed()
            self.tell(Escalated(path, error))
            level = logging.INFO if isinstance(error, SystemExit) else logging.CRITICAL
            log.log(level, "a failure reached the root: %s", self.said, exc_info=traceback_of(error))
        self.hooks.cut(DaemonStopping)
        self.begin_stop(f"a failure of {path}")

    def tree_ended(self) -> None:
        """Nothing of the tree runs any more; if it ended by itself, what stands beside it still does."""
        if self.halting or self.annex.is_empty():
            self.annex.halt(self.finished)
        else:
            self.begin_stop("the tree has ended by itself")

    def finished(self) -> None:
        """Nothing runs any more."""
        self.root.close(self.cause)
        self.end_calls()
        self.ended.set()

    def places(self) -> Iterator[tuple[Cell | Elsewhere, State]]:
        """Iterate over the actors and their states: those of the tree, and then those beside it, in start order."""
        for branch in (self.root, *self.annex.wings.values()):
            yield from places(branch)

    def stack(self) -> str:
        """What hangs while it stops."""
        return "\n".join(filter(None, (self.annex.stack(), self.root.stack())))


class Root:
    """To whom the root supervisor reports."""

    path = "/"

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.lane = daemon.control

    def keeps(self, node: Node) -> bool:
        return True

    def hear_of_start(self, node: Node, generation: int) -> None:
        self.lane.post(self.on_started, node, generation)

    def on_started(self, node: Node, generation: int) -> None:
        daemon = self.daemon
        if not daemon.hooks.first(DaemonReady(daemon.world.clock() - daemon.began), self.announce):
            self.announce()

    def announce(self) -> None:
        """Say that the tree is up, unless it is being stopped, or has ended, meanwhile."""
        daemon = self.daemon
        if daemon.stop_why is None and daemon.root.machine is not None:
            seconds = daemon.world.clock() - daemon.began
            log.info("ready after %.3g s", seconds)
            daemon.tell(DaemonReady(seconds))
            daemon.annex.open()
        daemon.ready.put(None)
        daemon.reloads.go_on()

    def on_start_failed(self, node: Node, generation: int, reason: Reason) -> None:
        assert reason.cause is not None
        self.fail(getattr(reason.cause, "path", "/"), reason.cause)

    def on_ended(self, node: Node, generation: int, reason: Reason) -> None:
        daemon = self.daemon
        if reason.abnormal and reason.cause is not None:
            self.fail("/", reason.cause)
        else:
            if daemon.stop_why is None:
                log.info("the tree has ended by itself")
            daemon.tree_ended()

    def fail(self, path: str, error: BaseException) -> None:
        """The root has given up. It may have been asked to stop after it had begun with that: the failure stands."""
        self.daemon.escalate(path, error)
        if self.daemon.halting:
            self.daemon.tree_ended()

    def on_declined(self, node: Node, generation: int, why: str) -> None: ...
    def on_ending(self, node: Node, generation: int) -> None: ...


SPAWNS = Supervisor("one_for_one", ())


def placed_at(path: str, tree: Child[Any] | Supervisor) -> Placed:
    """Give each part of a new tree its place.

    Raises:
        SpecError: it cannot be the tree of a daemon.
    """
    placed = place(tree, path)
    refuse_kept(placed.walk())
    return placed


def told(path: str, error: BaseException) -> str:
    if isinstance(error, RestartLimitExceeded):
        return str(error)
    text = str(error)
    name = type(error).__name__
    return text if text.startswith(path) else f"{path}: {name}: {text}" if text else f"{path}: {name}"


def traceback_of(error: BaseException) -> BaseException | None:
    """What to show below the text of an error: of those that the runtime made itself, the user's error behind them."""
    while error.__traceback__ is None and error.__cause__ is not None:
        error = error.__cause__
    return None if error.__traceback__ is None else error


def check_seconds(name: str, seconds: object) -> None:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        raise SpecError("the daemon", name, seconds, "a number of seconds, more than 0; infinity is one")


def asyncio_lane() -> AsyncioLane:
    """Make one; who named the flavour has imported it."""
    from trouper.lanes.asyncio_lane import AsyncioLane  # noqa: PLC0415 - most of the others do not need it

    return AsyncioLane("asyncio")


def uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes loops of uvloop, which is an extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ModuleNotFoundError as error:
        raise UsageError("uvloop is asked for and not installed; allowed: pip install 'trouper[uvloop]'") from error
    return factory
