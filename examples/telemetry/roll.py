"""Who is on stage: the state of every actor, as the daemon's events tell it."""

from __future__ import annotations

import time

import attrs

from trouper import Daemon
from trouper.events import ActorEnded, ActorStarted, Restarting, Subscription


@attrs.frozen
class Entry:
    """One actor. `since` is when its state began, in seconds since 1970; `last` is how its generation before ended."""

    name: str
    flavour: str
    state: str
    generation: int
    since: float
    last: str = ""


@attrs.define
class Roll:
    """Follows the events of one daemon, from its first to its last.

    It is an argument of an actor. The generations of an actor get the same arguments, so that it outlives each of them.
    """

    entries: dict[str, Entry] = attrs.field(factory=dict, init=False)
    subscription: Subscription | None = attrs.field(default=None, init=False)

    def follow(self, daemon: Daemon) -> None:
        """Listen from now on; a second call changes nothing."""
        if self.subscription is None:
            self.subscription = daemon.subscribe(self.note, ActorStarted, ActorEnded, Restarting)

    def note(self, event: ActorStarted | ActorEnded | Restarting) -> None:
        """Write down what happened. One thread calls this, that of the supervisors; others only read."""
        old = self.entries.get(event.path)
        match event:
            case ActorStarted(path, generation, flavour):
                name, last = path.removeprefix("/"), old.last if old else ""
                self.entries[path] = Entry(name, flavour, "running", generation, time.time(), last)
            case ActorEnded(path, _, reason) if old:
                self.entries[path] = attrs.evolve(old, state="ended", since=time.time(), last=str(reason))
            case Restarting(path) if old:
                self.entries[path] = attrs.evolve(old, state="restarting")
            case _:
                """It came and went before anybody listened."""

    def call(self) -> list[Entry]:
        """Return everybody, in the order in which they first came."""
        return list(self.entries.values())
