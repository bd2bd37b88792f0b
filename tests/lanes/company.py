"""Puppets and what is needed to play with them: actors whose handlers are what a test sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any, TypeVar

import pytest
import trio

from trouper import ActorEnded, Child, Daemon, Event, Request, Supervisor, actor, child, one_for_one, open_daemon
from trouper.lanes.slot import Slot

T = TypeVar("T")
PATIENCE = 20.0  # seconds: only a failing test waits so long


class Call(Request[Any]):
    """Do this, given the actor, and answer with what comes of it."""

    fn: Any


@actor(flavour=trio)
class TrioPuppet:
    async def receive(self, message: Call) -> Any:
        return await message.fn(self)


@actor(flavour=asyncio)
class AsyncioPuppet:
    async def receive(self, message: Call) -> Any:
        return await message.fn(self)


PUPPETS: dict[str, Any] = {"trio": TrioPuppet, "asyncio": AsyncioPuppet}


class TrioTools:
    """What handlers use of trio, under the names that `AsyncioTools` gives to the same in asyncio."""

    name = "trio"
    sleep = staticmethod(trio.sleep)
    forever = staticmethod(trio.sleep_forever)
    in_thread = staticmethod(trio.to_thread.run_sync)
    Lock = trio.Lock
    Cancelled: type[BaseException] = trio.Cancelled

    @staticmethod
    async def timed_out(seconds: float, fn: Callable[[], Awaitable[object]]) -> bool:
        with trio.move_on_after(seconds) as scope:
            await fn()
        return scope.cancelled_caught

    @staticmethod
    async def together(*fns: Callable[[], Awaitable[object]]) -> None:
        async with trio.open_nursery() as nursery:
            for fn in fns:
                nursery.start_soon(fn)

    @staticmethod
    async def shielded(fn: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope(shield=True):
            await fn()

    @staticmethod
    def detected() -> str | None:
        return "trio" if trio.lowlevel.in_trio_run() else None


class AsyncioTools:
    name = "asyncio"
    sleep = staticmethod(asyncio.sleep)
    Lock = asyncio.Lock
    Cancelled: type[BaseException] = asyncio.CancelledError

    @staticmethod
    async def in_thread(fn: Callable[[], T]) -> T:
        return await asyncio.to_thread(fn)

    @staticmethod
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    @staticmethod
    async def timed_out(seconds: float, fn: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await fn()
        except TimeoutError:
            return True
        return False

    @staticmethod
    async def together(*fns: Callable[[], Coroutine[Any, Any, object]]) -> None:
        async with asyncio.TaskGroup() as group:
            for fn in fns:
                group.create_task(fn())

    @staticmethod
    async def shielded(fn: Callable[[], Awaitable[object]]) -> None:
        """As asyncio has no shield for code, go on after the cancellation, as its users do."""
        task = asyncio.ensure_future(fn())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await task
            raise

    @staticmethod
    def detected() -> str | None:
        return "asyncio" if asyncio._get_running_loop() is not None else None


class Theatre:
    """A running daemon with its events."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.lock = Lock()
        self.events: list[Any] = []
        self.awaited: list[tuple[Callable[[Any], bool], Slot[Any]]] = []
        daemon.subscribe(self.hear, Event)

    def hear(self, event: Any) -> None:
        with self.lock:
            self.events.append(event)
            for wanted, slot in self.awaited:
                if wanted(event):
                    slot.put(event)

    async def event(self, wanted: Callable[[Any], bool]) -> Any:
        """The first event like this, be it past or to come."""
        slot: Slot[Any] = Slot()
        with self.lock:
            for event in filter(wanted, self.events):
                slot.put(event)
            self.awaited.append((wanted, slot))
        return await settled(slot)

    async def end_of(self, path: str, generation: int = 1) -> Any:
        """Why this generation ended."""
        ended = await self.event(
            lambda event: isinstance(event, ActorEnded) and (event.path, event.generation) == (path, generation)
        )
        return ended.reason


async def settled(slot: Slot[T]) -> T:
    """What comes in a slot."""
    assert await slot.wait(PATIENCE), "nothing came"
    return slot.take()


class Place:
    """A flavour for the puppets, and a flavour for the program around the daemon."""

    def __init__(self, flavour: str, host: str) -> None:
        self.flavour = flavour
        self.host = host
        self.module = trio if flavour == "trio" else asyncio
        self.tools: Any = TrioTools if flavour == "trio" else AsyncioTools

    def puppet(self, name: str, **options: Any) -> Child[Any]:
        made: Child[Any] = child(PUPPETS[self.flavour])
        return made.options(name=name, **options)

    def run(self, body: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self.host == "trio":
            return trio.run(body)
        return asyncio.run(body())

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the host's loop go on until this holds."""
        while not holds():
            if self.host == "trio":
                await trio.lowlevel.checkpoint()
            else:
                await asyncio.sleep(0)

    def play(self, body: Callable[..., Coroutine[Any, Any, None]], **options: dict[str, Any]) -> None:
        """Run `body(theatre, *refs)` with a puppet for each keyword, which gives its name and options."""

        async def run() -> None:
            puppets = [self.puppet(name, **chosen) for name, chosen in options.items()]
            async with self.theatre(one_for_one(*puppets)) as theatre:
                await body(theatre, *(puppet.ref for puppet in puppets))

        self.run(run)

    @asynccontextmanager
    async def theatre(self, tree: Supervisor) -> AsyncIterator[Theatre]:
        async with open_daemon(tree) as daemon:
            yield Theatre(daemon)


PLACES = [
    pytest.param(Place(flavour, host), id=f"{flavour} in {'the host' if flavour == host else 'its own thread'}")
    for flavour in ("trio", "asyncio")
    for host in ("trio", "asyncio")
]
every_place = pytest.mark.parametrize("place", PLACES)
trio_places = pytest.mark.parametrize("place", PLACES[:2])
asyncio_places = pytest.mark.parametrize("place", PLACES[2:])
