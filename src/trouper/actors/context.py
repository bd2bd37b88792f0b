"""What an actor can ask of the runtime: `current(self)`."""

from __future__ import annotations

from functools import partial
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, TypeVarTuple, Unpack, final, overload

from trouper.actors.ask import ReplyTo
from trouper.actors.options import is_seconds
from trouper.actors.ref import handling
from trouper.actors.silence import Silence
from trouper.actors.steps import step_held
from trouper.actors.timer import TimerHandle
from trouper.errors import (
    AlreadyReplied,
    MessageTypeError,
    NotRunning,
    SpecError,
    Stopping,
    UsageError,
    WouldBlockLane,
    show,
    type_name,
)
from trouper.lanes.slot import in_event_loop
from trouper.messages import ReceiveTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from trouper.actors.cell import Cell
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
class Context(Generic[M]):
    """One generation of an actor, as its own code sees the runtime. It ends with the generation."""

    __slots__ = ("_cell", "_generation")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._generation = cell.generation

    def _alive(self) -> Cell:
        cell = self._cell
        if cell.generation != self._generation or cell.state in ("down", "closed"):
            raise NotRunning(f"{cell.path}: generation {self._generation} is over; its context is of no use any more")
        return cell

    def _at_home(self, call: str) -> Cell:
        """For calls that touch what only the actor's own thread may touch."""
        cell = self._alive()
        if get_ident() != cell.ref.lane.ident:
            raise UsageError(
                f"{cell.path}: {call} in another thread than the actor's, allowed: in its own; send it a message"
            )
        return cell

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

    # -- later -------------------------------------------------------------------------------------------------------
    def after(self, seconds: float, message: M, *, key: Hashable = None) -> TimerHandle:
        """Send a message to this actor, once, after a while; it goes before the messages of others.

        All timers end with the generation.

        Args:
            seconds: how long from now, 0 or more.
            message: what it gets, of its mailbox type.
            key: a timer that is set with the same key is replaced. Its tick is not delivered, not even if it waits
                already.

        Returns:
            The timer, to cancel it.

        Raises:
            SpecError: `seconds` is no such number.
            MessageTypeError: the mailbox does not take this message.
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("after")
        check_seconds(cell, "after", seconds, zero=True)
        check_message(cell, message)
        return TimerHandle(cell, seconds, message, repeats=False, key=key)

    def every(self, seconds: float, message: M, *, key: Hashable = None) -> TimerHandle:
        """Send a message to this actor again and again, the first after `seconds`.

        There is no drift. A tick that still waits when the next is due is not doubled: what a stall made late comes
        once.

        Args:
            seconds: from one to the next, more than 0.
            message: what it gets, of its mailbox type.
            key: as in `after`.

        Returns:
            The timer, to cancel it.

        Raises:
            SpecError, MessageTypeError, UsageError, NotRunning: as `after`.
        """
        cell = self._at_home("every")
        check_seconds(cell, "every", seconds, zero=False)
        check_message(cell, message)
        return TimerHandle(cell, seconds, message, repeats=True, key=key)

    def cancel(self, key: Hashable) -> bool:
        """Cancel the timer that was set with this key; a tick of it that waits already is not delivered.

        Args:
            key: as given to `after` or `every`.

        Returns:
            Whether there was one.

        Raises:
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        timer = (self._at_home("cancel").timers or {}).get(key)
        if timer is None:
            return False
        timer.stop()
        return True

    def receive_timeout(self, seconds: float | None) -> None:
        """Have a `ReceiveTimeout` delivered whenever no message was handled for so long, as in Akka.

        It comes again and again while nothing else does. Every message starts the time anew, also those of timers.

        Args:
            seconds: more than 0; None for no such message any more.

        Raises:
            SpecError: `seconds` is no such number.
            MessageTypeError: the mailbox does not take `ReceiveTimeout`.
            UsageError: the actor has `run`; or called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("receive_timeout")
        if cell.child.definition.style != "receive":
            raise UsageError(
                f"{cell.path}: receive_timeout is for actors with `receive`; in `run`, set `after` with a key anew"
                f" for each message, or use `inbox.get(timeout=...)` in a thread"
            )
        if seconds is not None:
            check_seconds(cell, "receive_timeout", seconds, zero=False)
            check_message(cell, ReceiveTimeout())
        if cell.silence is not None:
            cell.silence.stop()
        if seconds is not None:
            cell.silence = Silence(cell, seconds)
            if cell.state != "starting":
                cell.silence.listen()

    def stash(self, message: M) -> None:
        """Keep a message for later: `unstash` puts it back into the mailbox.

        A request that is stashed while it is handled is answered when it is handled again; return None meanwhile. On a
        restart, what is stashed goes back to the front of the mailbox by itself; at the end for good it becomes dead
        letters.

        Args:
            message: the message that is being handled.

        Raises:
            StashFull: there are as many already as `Mailbox(stash=...)` says.
            MessageTypeError: it is none that the mailbox takes.
            UsageError: a request was stashed or claimed before; or called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("stash")
        check_message(cell, message)
        cell.keep(message)

    def unstash(self) -> None:
        """Put all that is stashed back to the front of the mailbox, in the order in which it was stashed.

        Raises:
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        self._at_home("unstash").put_back()

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
            NotRunning: this generation is over.
        """
        cell = self._alive()
        if cell.stopping:
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
        if cell.ref.lane.wait(lambda: cell.cut_short, seconds):
            raise Stopping

    def __repr__(self) -> str:
        return f"<Context of {self._cell.path}, generation {self._generation}>"


def check_seconds(cell: Cell, call: str, seconds: object, *, zero: bool) -> None:
    if not is_seconds(seconds, zero=zero) or seconds == inf:
        raise SpecError(cell.path, call, seconds, f"seconds: a finite number {'of 0 or more' if zero else 'above 0'}")


def check_message(cell: Cell, message: object) -> None:
    types = cell.child.definition.accepted()
    if types is not None and not isinstance(message, types):
        raise MessageTypeError(message, cell.ref, types)


async def in_background(fn: Callable[..., Awaitable[object]], *args: Any) -> None:
    """A background task may ask its own actor: no handler waits for it."""
    handling.set(None)
    await fn(*args)


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
        raise NotRunning(
            f"{type_name(type(me))}: this instance was not made by a daemon; put child({type(me).__name__}) into a tree"
        )
    if cell.instance is not me:
        raise NotRunning(f"{cell.path}: this generation of it is over")
    if cell.me is None:
        cell.me = Context(cell)
    return cell.me  # type: ignore[no-any-return]
