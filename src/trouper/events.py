"""Events: what happens in a daemon, as typed values on one bus.

| event | when |
|---|---|
| `ActorStarting` | a generation of an actor is begun |
| `ActorStarted` | it is ready: constructed, its `on_start` done, and `ready()` called where that is asked for |
| `ActorDeclined` | an actor declined to run |
| `ActorEnded` | a generation of an actor ended, or its start failed, and why |
| `SupervisorStarted`, `SupervisorEnded` | a supervisor is up with all its children, or ended with them |
| `Restarting` | a supervisor decided to restart, at once or after a delay |
| `ActorHeld`, `ActorReleased` | an operator holds a child down, or lets it go again |
| `Degraded`, `Recovered` | a child that is tried for ever is down, or up again |
| `Escalated` | a failure reached the root |
| `DeadLetter` | a message that nobody will handle |
| `MailboxOverflow` | a full mailbox dropped a message |
| `Lost` | a worker process died, and messages with it |
| `HandlerFailed` | a handler raised what its class expects |
| `LaneStalled` | a lane did not turn for too long |
| `WorkerStarted`, `WorkerEnded` | a worker process is up, or ended, and why |
| `DaemonReady` | the whole tree is up |
| `DaemonReloading`, `DaemonReloaded` | a reload begins, or is over |
| `HookFailed` | what was to be done before a step failed |
| `SignalReceived` | the process got a signal that `run` handles |
| `DaemonStopping` | the tree is being stopped |

`daemon.subscribe(listener, *kinds)` listens. The listener is called in the thread where the event happened, so it
must be quick and not block: `ref.send` is a good listener. Nothing is built when nobody listens.
"""

from __future__ import annotations

import logging
from threading import Lock
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from trouper.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound="Event")


class Event(msgspec.Struct, frozen=True):
    """The base of all events: subscribe to it to hear of everything."""


class ActorStarting(Event, frozen=True):
    """A generation of an actor is begun; `ActorStarted`, `ActorDeclined` or `ActorEnded` follows.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this is.
    """

    path: str
    generation: int


class ActorStarted(Event, frozen=True):
    """A generation of an actor is ready: constructed, `on_start` done, and `ready()` called where that is asked for.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this is.
        flavour: `trio`, `asyncio` or `threading`.
    """

    path: str
    generation: int
    flavour: str


class ActorDeclined(Event, frozen=True):
    """An actor raised `Declined` while it started: its place stays, nothing runs there.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this would have been.
        why: what it said.
    """

    path: str
    generation: int
    why: str


class ActorEnded(Event, frozen=True):
    """A generation of an actor is over, or its start failed.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this was.
        reason: a `Reason`; `reason.abnormal` tells a crash from an orderly end.
        uptime: seconds since the start began.
    """

    path: str
    generation: int
    reason: Reason
    uptime: float


class SupervisorStarted(Event, frozen=True):
    """A supervisor is up: all its children are that it waits for.

    Args:
        path: where it stands in the tree; `/` is the root.
        generation: which of its lives this is.
    """

    path: str
    generation: int


class SupervisorEnded(Event, frozen=True):
    """A supervisor ended, or its boot failed; all its children have ended.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this was.
        reason: a `Reason`.
    """

    path: str
    generation: int
    reason: Reason


class Restarting(Event, frozen=True):
    """A supervisor decided to restart a child by itself.

    Args:
        path: the child.
        reason: the `Reason` why it ended, or why the last attempt to restart it failed.
        used: how many restarts count now, this one included ...
        allowed: ... of how many ...
        within: ... in so many seconds of uptime.
        delay: seconds until it comes, by the child's backoff.
        counted: whether it counts; else the child is tried for ever.
    """

    path: str
    reason: Reason
    used: int
    allowed: int
    within: float
    delay: float
    counted: bool


class ActorHeld(Event, frozen=True):
    """An operator holds a child down: `Daemon.hold`.

    Args:
        path: the child, or the supervisor.
    """

    path: str


class ActorReleased(Event, frozen=True):
    """An operator lets a child go that was held: `Daemon.release`.

    Args:
        path: the child, or the supervisor.
    """

    path: str


class Degraded(Event, frozen=True):
    """A child is down that is tried for ever (`Persist`, or optional and never up yet): the daemon is degraded.

    Args:
        path: the child, or the supervisor.
        reason: the `Reason` why it ended, or why its start failed.
    """

    path: str
    reason: Reason


class Recovered(Event, frozen=True):
    """A child that was tried for ever is up, or not wanted any more.

    Args:
        path: the child, or the supervisor.
        seconds: for how long it was down.
    """

    path: str
    seconds: float


class Escalated(Event, frozen=True):
    """A failure reached the root, which stops the daemon. It comes once, for the first such failure.

    Args:
        path: where it comes from; `/` if the root itself gave up.
        cause: the failure.
    """

    path: str
    cause: BaseException


class DeadLetter(Event, frozen=True):
    """Nobody will handle a message.

    Args:
        path: the actor that it was for.
        message: the message itself.
        why: in words.
    """

    path: str
    message: Any
    why: str


class MailboxOverflow(Event, frozen=True):
    """A full mailbox dropped a message; its `DeadLetter` follows. One that rejects raises in the sender instead.

    Args:
        path: the actor whose mailbox it is.
        capacity: how many messages it holds.
        policy: what its `overflow` says.
    """

    path: str
    capacity: int
    policy: str


class Lost(Event, frozen=True):
    """The process of a worker died, and nobody can say what became of messages that it had not acknowledged.

    They were on their way, in mailboxes, or being handled. Asks that were on their way have failed. It comes once for a
    death, and not where nothing was unacknowledged.

    Args:
        path: the worker.
        sent: how many messages and requests it was sent in its life ...
        unacknowledged: ... and how many of them its actors had not done with, as far as is known.
    """

    path: str
    sent: int
    unacknowledged: int


class HandlerFailed(Event, frozen=True):
    """A handler raised what its class expects (`@actor(expected=...)`); the actor goes on.

    Args:
        path: the actor.
        message: what it handled.
        error: what it raised, which an asker gets, too.
    """

    path: str
    message: Any
    error: Exception


class LaneStalled(Event, frozen=True):
    """A lane did not turn for longer than `stall_after`: some handler blocks it.

    Args:
        lane: its name.
        path: the actor that holds it up, where that can be seen.
        message: what that actor handles, where that can be seen.
        seconds: how long it has stood still.
        stack: of the lane's thread, the innermost call last.
    """

    lane: str
    path: str | None
    message: Any
    seconds: float
    stack: str


class WorkerStarted(Event, frozen=True):
    """A worker process is up, with all that runs in it.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this is.
        pid: its process id.
    """

    path: str
    generation: int
    pid: int


class WorkerEnded(Event, frozen=True):
    """A worker process ended, or could not be started.

    Args:
        path: where it stands in the tree.
        generation: which of its lives this was.
        reason: a `Reason`; the cause of an abnormal end is a `WorkerDied`.
        uptime: seconds since its start began.
    """

    path: str
    generation: int
    reason: Reason
    uptime: float


class DaemonReady(Event, frozen=True):
    """The whole tree is up.

    Args:
        seconds: how long that took.
    """

    seconds: float


class DaemonReloading(Event, frozen=True):
    """A reload begins: the `on_reload` of every actor that has it. `DaemonReloaded` follows, or `DaemonStopping`."""


class DaemonReloaded(Event, frozen=True):
    """A reload is over. A stop that comes in between is told by `DaemonStopping` alone.

    Args:
        seconds: how long it took.
        failed: the paths of those whose `on_reload` failed or took too long, and of those that were too busy for it.
    """

    seconds: float
    failed: tuple[str, ...]


class SignalReceived(Event, frozen=True):
    """The process got a signal that `run` handles. It comes before what the signal brings about.

    Args:
        name: `SIGTERM`, `SIGINT`, `SIGHUP`, `SIGUSR1` or `SIGUSR2`, which brings about nothing else.
    """

    name: str


class DaemonStopping(Event, frozen=True):
    """The tree is being stopped.

    Args:
        why: the signal, what `Daemon.stop` was told, or the failure.
    """

    why: str


class HookFailed(Event, frozen=True):
    """What was to be done before a step failed, or took longer than its timeout; the step goes on.

    Args:
        hook: the name of its function.
        before: the name of the event of the step, such as `DaemonStopping`.
        error: what it raised, or a `HookTimeout`.
    """

    hook: str
    before: str
    error: BaseException


def is_under(event: Event, place: str) -> bool:
    """Return whether an event is of this place of the tree or of what is below it; all of them are of `/`."""
    place = place.rstrip("/")
    path = getattr(event, "path", None)
    return not place or (path is not None and f"{path}/".startswith(f"{place}/"))


class Subscription:
    """Somebody listens, until `close` or the end of a `with` block. Made by `Daemon.subscribe`.

    Args:
        bus: what it listens to.
        listener: who is called with each event.
        kinds: the classes of the events.
        under: the place of the tree that they are of, or below.
    """

    def __init__(
        self, bus: Bus, listener: Callable[[Any], object], kinds: tuple[type[Event], ...], under: str = "/"
    ) -> None:
        self._bus = bus
        self.listener = listener
        self.kinds = kinds
        self._place = under.rstrip("/")

    def wants(self, event: Event) -> bool:
        """Whether it is one to be told of."""
        return isinstance(event, self.kinds) and is_under(event, self._place)

    def close(self) -> None:
        """Listen no more; a second call is harmless."""
        self._bus.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bus:
    """The way of events from where they happen to who listens. All of it may be used from any thread."""

    def __init__(self) -> None:
        self.active: tuple[Subscription, ...] = ()
        self._changing = Lock()
        self._watchers: tuple[Callable[[], object], ...] = ()

    def on_change(self, watcher: Callable[[], object]) -> None:
        """Have `watcher()` called whenever somebody begins or ceases to listen, in the thread of who does."""
        self._watchers = (*self._watchers, watcher)

    def subscribe(self, listener: Callable[[Any], object], *kinds: type[Event], under: str = "/") -> Subscription:
        """Have `listener(event)` called for events of these kinds, or for all.

        Args:
            listener: called in the thread of the event; it must not block. What it raises is logged.
            kinds: classes of events, `Event` for all.
            under: only those of this place of the tree and of what is below it; those that have no place are of `/`.
        """
        subscription = Subscription(self, listener, kinds or (Event,), under)
        with self._changing:
            self.active = (*self.active, subscription)
        self._changed()
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Call this listener no more."""
        with self._changing:
            self.active = tuple(one for one in self.active if one is not subscription)
        self._changed()

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()

    def publish(self, event: Event) -> None:
        """Call who listens, here and now."""
        for subscription in self.active:
            if subscription.wants(event):
                try:
                    subscription.listener(event)
                except Exception:
                    logging.getLogger("trouper").exception("a listener failed over %r", event)
