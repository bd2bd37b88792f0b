"""The actors of the benchmarks, each with a coroutine handler and with a plain one.

The classes are decorated when the lane is known: one process measures one lane.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import attrs
from common import Outcome

from trouper import Message, Ref, Request, actor, current

if TYPE_CHECKING:
    from trouper.actors.protocols import Receives

Lane = Literal["trio", "asyncio", "threading"]


class Tick(Message):
    """Count this."""


class Total(Request[int]):
    """How many did you count?"""


class Boom(Message):
    """Raise."""


class BoomError(Exception):
    """What a `Boom` raises."""


class Hop(Message):
    """Pass on until nothing is left."""

    left: int


class Ping(Message):
    """Answer `sender` with a `Pong`."""

    sender: Ref[Any]


class Pong(Message):
    """The answer to a `Ping`."""


class Produce(Message):
    """Send your share."""


class Play(Request[Outcome]):
    """Run this workload in the director's lane."""

    workload: str
    n: int
    k: int


Heard = Tick | Total | Boom
Done = Callable[[], object]


class Counter:
    total: int = 0

    async def receive(self, message: Heard) -> int | None:
        if isinstance(message, Tick):
            self.total += 1
            return None
        if isinstance(message, Total):
            return self.total
        raise BoomError


class PlainCounter:
    total: int = 0

    def receive(self, message: Heard) -> int | None:
        if isinstance(message, Tick):
            self.total += 1
            return None
        if isinstance(message, Total):
            return self.total
        raise BoomError


class Waiter:
    """There is an `await` in its handler, so that it is not answered in place, though not on the way to this answer."""

    async def receive(self, message: Total | Boom) -> int:
        if isinstance(message, Boom):
            await current(self).sleep(0)
        return 1


class PlainWaiter:
    def receive(self, _message: Total | Boom) -> int:
        return 1


@attrs.define(eq=False, slots=False)
class Linked:
    """Knows who comes next in the ring."""

    place: int
    ring: list[Ref[Hop]]
    done: Done
    to: Ref[Hop] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.to = self.ring[(self.place + 1) % len(self.ring)]


class Relay(Linked):
    async def receive(self, message: Hop) -> None:
        if message.left:
            self.to.send(Hop(message.left - 1))
        else:
            self.done()


class PlainRelay(Linked):
    def receive(self, message: Hop) -> None:
        if message.left:
            self.to.send(Hop(message.left - 1))
        else:
            self.done()


@attrs.define(eq=False, slots=False)
class Sociable:
    """Knows everybody, and has so many pings to send, one after the other."""

    seed: int
    todo: int
    all: list[Ref[Ping | Pong]]
    done: Done
    me: Ref[Ping | Pong] = attrs.field(init=False)
    dice: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.me = self.all[self.seed]
        self.dice = random.Random(self.seed)  # noqa: S311 - a reproducible order, no secret


class Chatterer(Sociable):
    async def receive(self, message: Ping | Pong) -> None:
        if isinstance(message, Ping):
            message.sender.send(Pong())
        elif self.todo:
            self.todo -= 1
            self.dice.choice(self.all).send(Ping(self.me))
        else:
            self.done()


class PlainChatterer(Sociable):
    def receive(self, message: Ping | Pong) -> None:
        if isinstance(message, Ping):
            message.sender.send(Pong())
        elif self.todo:
            self.todo -= 1
            self.dice.choice(self.all).send(Ping(self.me))
        else:
            self.done()


@attrs.define(eq=False, slots=False)
class Producing:
    sink: Ref[Tick]
    share: int
    done: Done

    def produce(self) -> None:
        message, send = Tick(), self.sink.send
        for _ in range(self.share):
            send(message)
        self.done()


class Producer(Producing):
    async def receive(self, _message: Produce) -> None:
        self.produce()


class PlainProducer(Producing):
    def receive(self, _message: Produce) -> None:
        self.produce()


@attrs.frozen
class Cast:
    """One actor class for each part, decorated for a lane."""

    counter: Callable[[], Receives[Heard]]
    relay: Callable[[int, list[Ref[Hop]], Done], Receives[Hop]]
    chatterer: Callable[[int, int, list[Ref[Ping | Pong]], Done], Receives[Ping | Pong]]
    producer: Callable[[Ref[Tick], int, Done], Receives[Produce]]
    waiter: Callable[[], Receives[Total | Boom]]


def cast(lane: Lane, *, plain: bool) -> Cast:
    """The classes for a lane; threads have plain handlers only."""
    parts: tuple[Any, ...] = (Counter, Relay, Chatterer, Producer, Waiter)
    if plain or lane == "threading":
        parts = (PlainCounter, PlainRelay, PlainChatterer, PlainProducer, PlainWaiter)
    return Cast(*map(actor(flavour=lane), parts))
