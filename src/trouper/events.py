"""Events: what happens in a daemon, as typed values on one bus.

| event | when |
|---|---|
| `ActorStarted` | an actor's `on_start` is done and it takes messages |
| `ActorDeclined` | an actor declined to run |
| `ActorEnded` | a generation of an actor ended, and why |
| `Restarting` | a supervisor decided to restart, and counted it |
| `Escalated` | a supervisor gave up, or a failure went past it |
| `DeadLetter` | a message that nobody will handle |
| `MailboxOverflow` | a full mailbox dropped a message |
| `LaneStalled` | a lane did not turn for too long |
| `DaemonReady` | the whole tree is up |
| `DaemonStopping` | the tree is being stopped |

Who listens is called in the thread where the event happened, so it must be quick and not block: `ref.send` is a good listener.
Nothing is built when nobody listens.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.reasons import Reason

E = TypeVar("E", bound="Event")


class Event(msgspec.Struct, frozen=True):
    """The base class of all events."""


class ActorStarted(Event, frozen=True):
    path: str
    generation: int
    flavour: str


class ActorDeclined(Event, frozen=True):
    path: str
    generation: int
    why: str


class ActorEnded(Event, frozen=True):
    """`reason.abnormal` tells a crash from an orderly end; `uptime` is in seconds."""

    path: str
    generation: int
    reason: Any  # a Reason
    uptime: float


class Restarting(Event, frozen=True):
    """`used` of `allowed` restarts in `within` seconds, this one included."""

    path: str
    reason: Any  # a Reason
    used: int
    allowed: int
    within: float


class Escalated(Event, frozen=True):
    path: str
    cause: BaseException


class DeadLetter(Event, frozen=True):
    path: str
    message: Any
    why: str


class MailboxOverflow(Event, frozen=True):
    path: str
    capacity: int
    policy: str


class LaneStalled(Event, frozen=True):
    """`path` and `message` are those of the actor that holds the lane up, where they can be seen; `seconds` is for how long."""

    lane: str
    path: str | None
    message: Any
    seconds: float
    stack: str


class DaemonReady(Event, frozen=True):
    seconds: float


class DaemonStopping(Event, frozen=True):
    why: str


class Subscription:
    """Somebody listens; `close` ends that. It is a context manager, too."""

    def __init__(self, bus: Bus, listener: Callable[[Any], object], kinds: tuple[type[Event], ...]) -> None:
        self._bus = bus
        self.listener = listener
        self.kinds = kinds

    def close(self) -> None:
        """Listen no more; a second call is harmless."""
        self._bus.forget(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bus:
    """The way of events from where they happen to who listens. All of it may be used from any thread."""

    def __init__(self) -> None:
        self.active: tuple[Subscription, ...] = ()

    def subscribe(self, listener: Callable[[Any], object], *kinds: type[Event]) -> Subscription:
        """Have `listener(event)` called for events of these kinds, or for all.

        Args:
            listener: called in the thread of the event; it must not block. What it raises is logged.
            kinds: classes of events, `Event` for all.
        """
        subscription = Subscription(self, listener, kinds or (Event,))
        self.active = (*self.active, subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self.active = tuple(one for one in self.active if one is not subscription)

    def publish(self, event: Event) -> None:
        for subscription in self.active:
            if isinstance(event, subscription.kinds):
                try:
                    subscription.listener(event)
                except Exception:
                    logging.getLogger("trouper").exception("a listener failed over %r", event)
