"""What an actor can ask of the runtime: `current(self)`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar, TypeVarTuple, Unpack, final, overload

from trouper.actors.ask import ReplyTo
from trouper.actors.hooks import in_background
from trouper.actors.later import Later
from trouper.actors.life import CLOSED, STOPPING
from trouper.actors.router import Router
from trouper.actors.steps import step_held
from trouper.actors.watching import Terminated
from trouper.errors import (
    AlreadyReplied,
    NotRunning,
    Stopping,
    UsageError,
    WouldBlockLane,
    show,
    type_name,
    type_names,
)
from trouper.lanes.slot import in_event_loop
from trouper.lanes.whose import handling
from trouper.reasons import NORMAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trouper.actors.protocols import Receives, Runs, RunsSync, Serves
    from trouper.actors.ref import Ref
    from trouper.daemon import Daemon
    from trouper.messages import Request
    from trouper.supervision.spec import Child

M = TypeVar("M")
N = TypeVar("N")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@final
class Context(Later[M]):
    """One generation of an actor, as its own code sees the runtime. It ends with the generation."""

    __slots__ = ()

    # -- who am I ----------------------------------------------------------------------------------------------------
    @property
    def self_ref(self) -> Ref[M]:
        """The actor's own address."""
        return self._cell.ref

    @property
    def path(self) -> str:
        """Where the actor stands in the tree, such as `/readers/load`."""
        return self._cell.path

    @property
    def generation(self) -> int:
        """Which life of the actor this is; it grows with each start."""
        return self._generation

    @property
    def daemon(self) -> Daemon:
        """The daemon that runs the tree."""
        daemon = self._cell.world.daemon
        assert daemon is not None, "a world with actors has its daemon"
        return daemon

    @property
    def stopping(self) -> bool:
        """Whether the actor was asked to stop, or is ending."""
        cell = self._cell
        return cell.stop_wanted or cell.leaving or cell.stopping or cell.generation != self._generation

    # -- answers -----------------------------------------------------------------------------------------------------
    def reply_to(self, message: Request[R]) -> ReplyTo[R]:
        """Claim the right to answer a request later, or from elsewhere.

        Args:
            message: the request that is being handled now. One that was merely sent gets a `ReplyTo` whose answer is
                dropped.

        Returns:
            The right to answer it, once. Whoever lets go of it without an answer fails the ask with `ReplyDropped`.

        Raises:
            NotRunning: this generation is over.
            AlreadyReplied: it was claimed before.
        """
        cell = self._alive()
        ask = cell.asked
        if ask is None or ask.request is not message:
            return ReplyTo(None)
        if ask.claimed:
            raise AlreadyReplied(f"{show(message)} was claimed before; keep the ReplyTo of the first call")
        ask.claimed = True
        cell.claim(ask)
        return ReplyTo(ask, cell.late)

    # -- children, tasks and the end ---------------------------------------------------------------------------------
    def spawn(self, child: Child[N]) -> Ref[N]:
        """Start a child of this actor, supervised on its behalf: restarted if it fails, stopped before the actor ends.

        As OTP's `simple_one_for_one`, with a limit for each child: 3 restarts within 30 seconds.

        The child is `transient` unless its options say otherwise. If it fails more often than its own budget allows,
        the actor crashes with `RestartLimitExceeded`.

        Args:
            child: made by `child(...)`; it can be spawned once.

        Returns:
            Its address, usable at once.

        Raises:
            DuplicateChild: it stands somewhere already.
            SpecError: its name is taken.
            UsageError: called in another thread than the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("spawn")
        if cell.state == STOPPING:
            raise NotRunning(f"{cell.path} is stopping and spawns no more")
        if cell.spawner is None:
            cell.spawner = cell.world.spawner(cell)
        return cell.spawner.spawn(child)

    def stop(self, ref: Ref[Any] | None = None) -> None:
        """Stop a child that this actor spawned, or, without an argument, the actor itself once its handler is done.

        An actor that stops itself ends `normal`, and a permanent one is restarted, as in OTP.

        Args:
            ref: the child.

        Raises:
            UsageError: it is no child of this actor.
            NotRunning: this generation is over.
        """
        cell = self._alive()
        if ref is not None and ref is not cell.ref:
            if cell.spawner is None or not cell.spawner.stop_child(ref):
                raise UsageError(
                    f"{cell.path}: given {ref!r} to stop, allowed: a child that it spawned, or nothing for itself"
                )
        elif cell.state == "starting":
            raise UsageError(f"{cell.path}: given stop() while it starts, allowed: raise Declined or Shutdown")
        elif cell.state == "running":
            cell.leaving = True
            cell.ref.receive = None
            if cell.child.definition.style == "receive":
                cell.ref.step = step_held
            cell.ref.lane.post(cell.quit, self._generation)

    def ready(self) -> None:
        """Say that the actor is up, where its option `readiness` is `"notify"`.

        Its start counts as done from here on, and the next child starts; one that does not say so fails after its
        `start_timeout`. Otherwise, and a second time, this does nothing. From the actor's own thread.

        Raises:
            NotRunning: this generation is over.
        """
        self._alive().tell_ready()

    def watch(self, ref: Ref[Any]) -> None:
        """Hear of the end of an actor: `Terminated` comes once, when it has ended for good; at once if it has.

        A restart is no such end: the ref stays valid, and so does the watch. What a generation watches ends with it, as
        OTP's monitors do; `on_start` of the next one may watch again. To watch an actor twice is to watch it once.

        Args:
            ref: any other actor of this daemon. It may be one that has no place yet: the notice comes when it has lived
                and ended.

        Raises:
            UsageError: it is the actor itself, or one of another daemon; or the mailbox does not take `Terminated`.
            NotRunning: this generation is over.
        """
        cell = self._alive()
        if ref is cell.ref:
            raise UsageError(f"{cell.path}: given its own ref to watch, allowed: another actor's")
        if isinstance(ref, Router):
            raise UsageError(f"{cell.path}: given {ref!r} to watch, allowed: one of its workers, `ref.worker(number)`")
        types = cell.child.definition.accepted()
        if types is not None and not isinstance(Terminated(ref, NORMAL), types):
            raise UsageError(
                f"{cell.path}: given {ref!r} to watch, and a mailbox for {type_names(types)};"
                f" allowed: a mailbox that takes `Terminated`, too"
            )
        other = ref.cell
        if other is not None and other.world is not cell.world and other.state != CLOSED:
            raise UsageError(f"{cell.path}: given {ref!r} of another daemon to watch, allowed: an actor of this one")
        cell.world.watching.watch(self._alive, ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Do not hear of the end of an actor any more: not even a notice that waits in the mailbox comes.

        Args:
            ref: an actor; nothing happens if it is not watched.

        Raises:
            NotRunning: this generation is over.
        """
        cell = self._alive()
        cell.world.watching.unwatch(cell, ref)

    def start_soon(self, fn: Callable[[Unpack[Ts]], Awaitable[object]], *args: *Ts) -> None:
        """Run `fn(*args)` in the background, in an async flavour.

        If it fails, the actor crashes; it is cancelled before `on_stop`.

        Args:
            fn: an async function.
            args: its positional arguments.

        Raises:
            UsageError: in a threading actor; or called from another thread.
            NotRunning: this generation is over, or ending.
        """
        cell = self._alive()
        lane = cell.ref.lane
        if cell.threaded or not lane.is_here():
            raise UsageError(
                f"{cell.path}: start_soon is for actors of an async flavour, in their own lane; a thread has no loop"
            )
        if cell.stopping:
            raise NotRunning(f"{cell.path} is stopping and starts no more tasks")
        if cell.tasks is None:
            cell.tasks = set()
        cell.tasks.add(lane.start_task(partial(in_background, fn), args, cell.task_ended))

    # -- time --------------------------------------------------------------------------------------------------------
    async def sleep(self, seconds: float) -> None:
        """Sleep in an async flavour.

        Args:
            seconds: how long.
        """
        if seconds > 0:
            await self._cell.ref.lane.sleep(seconds)
        else:
            await self._cell.ref.lane.breathe()

    def sleep_sync(self, seconds: float) -> None:
        """Sleep in a threading actor; a stop ends the sleep.

        Args:
            seconds: how long.

        Raises:
            Stopping: the actor was asked to stop.
            WouldBlockLane: this is the thread of an event loop.
        """
        cell = self._cell
        if in_event_loop():
            raise WouldBlockLane(
                f"{cell.path}: sleep_sync on the thread of an event loop, which it would stop; use `await sleep(...)`"
            )
        if not cell.owns_this_thread():
            raise UsageError(f"{cell.path}: sleep_sync in a thread that is not the actor's; use time.sleep")
        if cell.rest(lambda: cell.cut_short, seconds):
            raise Stopping

    def __repr__(self) -> str:
        return f"<Context of {self._cell.path}, generation {self._generation}>"


@overload
def current(me: Receives[M]) -> Context[M]: ...
@overload
def current(me: Runs[M]) -> Context[M]: ...
@overload
def current(me: RunsSync[M]) -> Context[M]: ...
@overload
def current(me: Serves) -> Context[Never]: ...
def current(me: Any) -> Context[Any]:
    """The runtime as this actor sees it.

    Args:
        me: `self`, in a method of the actor.

    Returns:
        The context of this generation; typed by the messages that the actor takes.

    Raises:
        NotRunning: no daemon runs this instance, or its generation is over.

    Example:
        `current(self).spawn(child(Worker))`
    """
    cell = getattr(me, "__trouper_cell__", None)
    if cell is None:
        cell = handling.get(None)  # a service whose class has slots is known only while it runs
        if cell is not None and cell.instance is not me:
            cell = None
    if cell is None:
        raise NotRunning(
            f"{type_name(type(me))}: this instance was not made by a daemon; put child({type(me).__name__}) into a tree"
        )
    if cell.instance is not me:
        raise NotRunning(f"{cell.path}: this generation of it is over")
    if cell.me is None:
        cell.me = Context(cell)
    return cell.me  # type: ignore[no-any-return]
