"""A trial: a whole daemon in the thread of a test, in virtual time."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from random import Random
from threading import get_ident
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import trio

from trouper.actors.cell import Cell
from trouper.daemon.daemon import Daemon
from trouper.daemon.exits import OK
from trouper.daemon.services import here
from trouper.errors import DaemonFailed, UsageError
from trouper.events import ActorEnded, ActorStarted, Escalated, HandlerFailed, Restarting
from trouper.lanes import slot
from trouper.lanes.asyncio_lane import AsyncioLane
from trouper.lanes.trio_lane import TrioLane
from trouper.supervision.place import place
from trouper.supervision.supervisor import Branch
from trouper.testing import privates
from trouper.testing.errors import Leaked, TrialError, TrialStuck
from trouper.testing.leaks import KINDS, Arrivals, Watch, forget_frames, report
from trouper.testing.loops import AsyncioLoop, TrioLoop
from trouper.testing.probe import Probe
from trouper.testing.stepper import Stepper, never
from trouper.testing.threads import Threads
from trouper.testing.time import VirtualTime
from trouper.workers.spec import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType
    from typing import Self

    from trouper.actors.ref import Ref
    from trouper.daemon.services import Services
    from trouper.events import Event
    from trouper.messages import Asked
    from trouper.supervision.spec import Child, Supervisor
    from trouper.testing.leaks import Kind

P = ParamSpec("P")
M = TypeVar("M")
S = TypeVar("S")
R = TypeVar("R")
E = TypeVar("E", bound="Event")
F = TypeVar("F", bound=BaseException)

MOMENT = 0.001  # virtual seconds
LOOPS_END = 10.0  # virtual seconds for the loops to end after the tree


class TrialDaemon(Daemon):
    """A daemon that lets somebody look at its lanes when its actors are gone."""

    before_close: Callable[[], object]

    async def close_lanes(self) -> None:
        await trio.sleep(MOMENT)  # what ends with the last actor has ended then
        self.before_close()
        await super().close_lanes()


def refuse_processes(tree: Child[Any] | Supervisor) -> None:
    """What another process does is neither in virtual time nor decided by a seed."""
    for it in place(tree).walk():
        if isinstance(it.spec, Process):
            raise UsageError(f"Trial: given a process at {it.path}, allowed: trees of one process, such as its subtree")


class Trial:
    """Run a tree in the thread of a test, in virtual time and in an order that a seed decides.

    The block is entered when the tree is ready. Within it the world stands still, except in the calls of the trial
    and in `*_sync` calls of refs and of the daemon. When the block is left, the tree is stopped.

    Args:
        tree: a supervisor, or one child; None for services alone.
        services: what is run beside the tree; None for new ones. Instances of services that are made in the block are
            among them.
        seed: decides what is free: in which order lanes, tasks and threads have their turns.
        probes: refs of tests that stand in the tree's arguments; `t.probe(...)` makes further ones.
        patience: real seconds that the world may take at one instant, before that is an error.
        may_block: paths of threading actors that block outside of the runtime by their nature, such as a
            `serve_forever`; time goes on without their threads.
        leaks: which kinds of leftovers are looked for at the end: "tasks", "timers", "threads" and "files" that came
            while the world ran, "instances" of actors that are still referred to; `()` for none.
        stop_within: seconds for the whole stop.
        stall_after: seconds without a turn after which a lane is reported; in virtual time none ever is.

    Raises:
        SpecError: the tree is wrong.
        UsageError: it has worker processes, which are neither in virtual time nor decided by a seed.
        DaemonFailed: a failure reached the root, at the start (when the block is entered) or later (when it is left).
        TrialStuck: the world does not come to rest.
        Leaked: something is left over.

    Example:
        ```python
        with Trial(tree, seed=1) as t:
            readers.ref.send(Sample("load", 0.5))
            t.advance(10)
            assert t.ask(readers.ref, Mean("load")) == 0.5
        ```
    """

    def __init__(
        self,
        tree: Child[Any] | Supervisor | None = None,
        *,
        services: Services | None = None,
        seed: int = 0,
        probes: Iterable[Probe[Any]] = (),
        patience: float = 10.0,
        may_block: Iterable[str] = (),
        leaks: Collection[Kind] = KINDS,
        stop_within: float = 60.0,
        stall_after: float = inf,
    ) -> None:
        self.seed = seed
        self._services = services
        if tree is not None:
            refuse_processes(tree)
        self._tree, self._probes, self._patience, self._leaks = tree, tuple(probes), patience, leaks
        self._may_block = frozenset(may_block)
        self._stop_within, self._stall_after = stop_within, stall_after
        self._time = VirtualTime()
        self._log: list[tuple[float, Event]] = []
        self._left: dict[Kind, list[str]] = {}
        self._arrivals, self._instances = Arrivals(), Watch()

    # -- the world goes on -------------------------------------------------------------------------------------------
    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; all that is due on the way happens, in its order.

        Raises:
            TrialStuck: the world does not come to rest at some instant.
        """
        if not 0 <= seconds < inf:
            raise ValueError(f"advance: given {seconds!r}, allowed: a number of seconds, 0 or more")
        self._run(self.now + seconds)

    def settle(self) -> None:
        """Let happen what can happen now, until all wait for something; no time passes.

        Raises:
            TrialStuck: the world does not come to rest.
        """
        self.advance(0)

    def until(self, holds: Callable[[], object], *, within: float = inf) -> None:
        """Let time go on until `holds()`, which is asked whenever all is idle.

        Args:
            holds: a question.
            within: seconds.

        Raises:
            TrialStuck: it does not hold in time, or nothing is left that could happen.
        """
        if not self._run(self.now + within, holds):
            raise TrialStuck(self._stepper.told(f"it did not come to hold, now at {self.now:g} s"))

    def call(self, fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call what waits for the world, and have it go on meanwhile; also in an async test.

        In a plain test `ref.ask_sync(...)` and `t.daemon.terminate_sync(...)` can be called as they are.

        Args:
            fn: such as `t.daemon.terminate_sync`; called with the other arguments.

        Returns:
            What it returns.
        """
        self._here()
        with privates.no_loop():
            return fn(*args, **kwargs)

    def ask(self, ref: Ref[S], request: Asked[S, R], *, timeout: float | None = 5.0) -> R:
        """Send a request and let the world go on until the reply is there.

        Args:
            ref: whom to ask.
            request: a request that the actor receives.
            timeout: virtual seconds; None waits for ever.

        Returns:
            The reply.

        Raises:
            TrialStuck: without a timeout, nothing is left that could happen. Else: as `Ref.ask_sync`.
        """
        return self.call(ref.ask_sync, request, timeout=timeout)

    def probe(self, *types: type[M]) -> Probe[M]:
        """A ref for this test.

        Args:
            types: the messages that it takes; none given: all.
        """
        probe = Probe(*types)
        self._join(probe)
        return probe

    def _join(self, probe: Probe[Any]) -> None:
        probe._go = lambda within, done: self._run(self.now + within, done)
        probe._root = self.daemon.root

    # -- what can be seen --------------------------------------------------------------------------------------------
    @property
    def now(self) -> float:
        """Seconds since the trial began."""
        return self._time.now

    @property
    def events(self) -> list[Event]:
        """All that happened in the daemon so far."""
        return [event for _, event in self._log]

    def events_of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far.

        Args:
            kind: a class out of `trouper.events`.
        """
        return [event for _, event in self._log if isinstance(event, kind)]

    @property
    def trace(self) -> list[str]:
        """All events so far with their times, as text; the same for the same tree, test and seed."""
        return [f"{at:.9g} {event!r}" for at, event in self._log]

    # -- coming and going --------------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        threads = Threads(self._time, self._lots("threads"), self._patience, self._may_block)
        self.daemon = daemon = TrialDaemon(
            self._tree,
            services=self._services,
            stop_within=self._stop_within,
            stall_after=self._stall_after,
            clock=self._time,
            thread_lane=threads,
            random=self._lots("world"),
        )
        daemon.before_close = self._look
        """The daemon, as actors have it by `current(self).daemon`; its `*_sync` calls let the world go on."""
        self._thread = get_ident()
        control = TrioLoop(daemon.control, self._time, self._lots("control"))
        trio_loop = TrioLoop(TrioLane("trio"), self._time, self._lots("trio"))
        asyncio_loop = AsyncioLoop(AsyncioLane("asyncio"), self._time, self._lots("asyncio"))
        self._loops = (control, trio_loop, asyncio_loop)
        self._stepper = Stepper(self._loops, threads, self._time, self._lots("turns"), self._patience)
        self._bystander, slot.waiting.instead = slot.waiting.instead, self._wait
        self._token = here.set(daemon.services)
        daemon.subscribe(self._note)
        for probe in self._probes:
            self._join(probe)
        try:
            for loop in (trio_loop, asyncio_loop):
                loop.lane.on_broken = daemon.lane_broke
                daemon.loops[loop.lane.flavour] = loop.lane
                loop.start(loop.lane.main, nothing)
            control.start(daemon.main)
            self.until(lambda: daemon.ready.done)
        except BaseException as error:
            self._told(error)
            with suppress(TrialError):
                self._end()
            raise
        if self._failed:
            self._end()
            raise self._told(self._failure())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        left_at = self.now
        try:
            self._end()
        except TrialError as trouble:
            if error is None:
                self._told(trouble)
                raise
            error.add_note(f"besides, at the end of the trial: {trouble}")
        if error is not None:
            self._told(error, left_at)
            if self._failed:
                error.add_note(f"besides, the daemon failed: {self.daemon.said}")
            return
        if self._failed:
            raise self._told(self._failure())
        try:
            self._report()
        except Leaked as leaked:
            self._told(leaked)
            raise

    def _end(self) -> None:
        """Stop the tree, and all that ran it."""
        daemon = self.daemon
        daemon.stop("the trial is over")
        try:
            self._run(inf, lambda: daemon.over.done)
            self._run(self.now + LOOPS_END, lambda: all(loop.over for loop in self._loops))
        finally:
            slot.waiting.instead = self._bystander
            here.reset(self._token)
            for loop in self._loops:
                loop.close()

    def _look(self) -> None:
        """No actor runs any more, and the lanes still do."""
        user_loops = self._loops[1:]
        self._left["tasks"] = [f"{it} in the {loop.lane.name} lane" for loop in user_loops for it in loop.tasks_left()]
        self._left["timers"] = [
            f"{it} in the {loop.lane.name} lane" for loop in user_loops for it in loop.timers_left()
        ]

    def _report(self) -> None:
        """Say what is left over, of what came while the world ran."""
        for event in self.events:
            forget_frames(failure_in(event))
        found: dict[Kind, list[str]] = {
            **self._left,
            "threads": self._arrivals.threads_left(),
            "files": self._arrivals.files_left(),
            "instances": self._instances.left(),
        }
        report({kind: names for kind, names in found.items() if kind in self._leaks}, "at the end of the trial")

    @property
    def _failed(self) -> bool:
        return self.daemon.code != OK or self.daemon.cause is not None

    def _failure(self) -> DaemonFailed:
        failure = DaemonFailed(self.daemon.code, self.daemon.said)
        failure.__cause__ = self.daemon.cause
        return failure

    def _told(self, error: F, at: float | None = None) -> F:
        """Note on an error how to come to it again."""
        error.add_note(f"in a Trial with seed={self.seed}, at {self.now if at is None else at:g} s of virtual time")
        return error

    # -- inside ------------------------------------------------------------------------------------------------------
    def _lots(self, use: str) -> Random:
        """A generator for one use: so that the draws of one do not shift those of another."""
        return Random(f"{self.seed}/{use}")

    def _note(self, event: Event) -> None:
        self._log.append((self.now, event))
        if isinstance(event, ActorStarted) and "instances" in self._leaks:
            self._watch(event)

    def _watch(self, event: ActorStarted) -> None:
        """This life is to be gone when the trial is."""
        cell = cell_at(self.daemon.root, event.path)
        if cell is not None and cell.instance is not None and cell.generation == event.generation:
            with suppress(TypeError):  # a class with slots cannot be referred to weakly
                self._instances(cell.instance, f"{event.path}, generation {event.generation}")

    def _here(self) -> None:
        if get_ident() != self._thread:
            raise UsageError("a trial was called from another thread, allowed: the one that entered it")

    def _run(self, until: float, done: Callable[[], object] = never) -> bool:
        self._here()
        with self._arrivals.noted():
            return self._stepper.run(until, done)

    def _wait(self, waited: slot.Slot[Any], timeout: float | None) -> bool:
        """In place of `Slot.wait_sync` in the thread of the test."""
        if not self._run(inf if timeout is None else self.now + timeout, lambda: waited.done) and timeout is None:
            raise TrialStuck(self._stepper.told(f"waited for what never comes, at {self.now:g} s"))
        return waited.done


def failure_in(event: Event) -> BaseException | None:
    """The exception that an event tells of."""
    match event:
        case ActorEnded() | Restarting():
            return event.reason.cause
        case Escalated():
            return event.cause
        case HandlerFailed():
            return event.error
        case _:
            return None


def cell_at(node: Any, path: str) -> Cell | None:
    """The place in a tree, or below an actor that spawned it."""
    for name in filter(None, path.split("/")):
        below = node.spawner if isinstance(node, Cell) else node
        node = below.nodes.get(name) if isinstance(below, Branch) else None
    return node if isinstance(node, Cell) else None


def nothing() -> None:
    """A lane tells that it has started; the trial sees that by itself."""
