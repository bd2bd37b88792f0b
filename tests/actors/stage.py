"""One suite for all flavours: what the tests of live actors share.

An actor is written once, with `async def` methods, and `role` makes it an actor class of the flavour under test. In
threading, its methods become plain functions: a coroutine that awaits only what is below ends at its first step there.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from functools import partial, wraps
from threading import Event as Event_
from threading import Lock, current_thread
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast, dataclass_transform, get_args

import attrs
import trio

from trouper import Daemon, Message, Request, SyncInbox, actor, current, open_daemon
from trouper.events import ActorEnded, ActorStarted, Event
from trouper.lanes.slot import Slot, in_asyncio, in_event_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    import pytest

    from trouper import Ref

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")
FlavourName = Literal["trio", "asyncio", "threading"]
FLAVOURS: tuple[FlavourName, ...] = get_args(FlavourName)
LOOPS: tuple[FlavourName, ...] = ("trio", "asyncio")
PATIENCE = 20.0  # seconds after which a test has failed; none of them needs one


# -- messages ----------------------------------------------------------------------------------------------------------
class Note(Message):
    text: Any = ""


class SpecialNote(Note):
    """A subclass, which every mailbox for notes takes."""


class Crash(Message):
    text: str = "crash"


class Read(Request[list[Any]]):
    """What was noted so far?"""


class Echo(Request[Any]):
    value: Any = None


class Number(Request[int]):
    value: Any = 1


class Boom(Exception):
    """What actors under test raise."""


# -- actors ------------------------------------------------------------------------------------------------------------
@dataclass_transform(eq_default=False, field_specifiers=(attrs.field,))
def role(flavour: FlavourName, **options: Any) -> Callable[[type[T]], type[T]]:
    """Make an actor class of this flavour out of a class with async methods."""

    def cast(cls: type[T]) -> type[T]:
        if flavour != "threading":
            return actor(flavour=flavour, **options)(cls)
        for name in ("receive", "run"):
            if (method := vars(cls).get(name)) is not None and len(inspect.signature(method).parameters) > 1:
                options.setdefault("accepts", mailbox_of(method, sys._getframe(1).f_locals, inbox=name == "run"))
        for name in ("receive", "run", "on_start", "on_stop", "on_reload"):
            if inspect.iscoroutinefunction(method := vars(cls).get(name)):
                setattr(cls, name, plain(method))
        return actor(flavour=flavour, **options)(cls)

    return cast


def mailbox_of(method: FunctionType, names: dict[str, Any], *, inbox: bool) -> Any:
    text = next(text for name, text in method.__annotations__.items() if name != "return")
    annotation = eval(text, method.__globals__, names)  # noqa: S307 - an annotation
    return get_args(annotation)[0] if inbox else annotation


def plain(function: Any) -> Any:
    """The plain twin of a coroutine function that never really suspends."""

    def driven(*args: Any) -> Any:
        coro = function(*(Front(arg) if isinstance(arg, SyncInbox) else arg for arg in args))
        try:
            coro.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError(f"{function.__qualname__} suspended in a thread")

    driven.__name__, driven.__qualname__ = function.__name__, function.__qualname__
    driven.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return driven


class Dress(Protocol):
    """Makes one of the two kinds of handlers out of a plain function that cannot suspend in a loop."""

    def __call__(self, method: F, /) -> F: ...


def as_it_is(method: F) -> F:
    return method


def as_coroutine(method: F) -> F:
    """The same as a coroutine function without `await`."""

    @wraps(method)
    async def receive(self: Any, message: Any) -> Any:
        return method(self, message)

    return cast("F", receive)


DRESSES: tuple[Dress, ...] = as_it_is, as_coroutine


@attrs.frozen
class Front(Generic[T]):
    """A `SyncInbox` that looks like an `Inbox`."""

    inbox: SyncInbox[T]

    def __aiter__(self) -> Front[T]:
        return self

    async def __anext__(self) -> T:
        for message in self.inbox:
            return message
        raise StopAsyncIteration

    async def get(self) -> T:
        return self.inbox.get()

    async def ticks(self, every: float) -> AsyncIterator[None]:
        for tick in self.inbox.ticks(every):
            yield tick

    def __len__(self) -> int:
        return len(self.inbox)


# -- the same call in every flavour ------------------------------------------------------------------------------------
async def ask(ref: Ref[Any], request: Request[T], timeout: float | None = PATIENCE) -> T:
    if in_event_loop():
        return await ref.ask(request, timeout=timeout)
    return ref.ask_sync(request, timeout=timeout)


async def offer(ref: Ref[Any], message: Message) -> None:
    if in_event_loop():
        await ref.offer(message)
    else:
        ref.offer_sync(message, timeout=PATIENCE)


async def turn(me: Any) -> None:
    """Let others have a turn: a real suspension, where the flavour has such a thing."""
    if in_event_loop():
        await current(me).sleep(0)


async def for_ever(me: Any) -> None:
    """Wait for what never comes, in a call of the runtime."""
    if in_event_loop():
        await current(me).sleep(1e6)
    else:
        current(me).sleep_sync(1e6)


class Diary:
    """A list that every thread may write to, and wait for."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.entries: list[Any] = []
        self.waiting: list[tuple[Callable[[list[Any]], object], Slot[None]]] = []

    def __call__(self, entry: Any) -> None:
        with self.lock:
            self.entries.append(entry)
            due = [one for one in self.waiting if one[0](self.entries)]
            self.waiting = [one for one in self.waiting if one not in due]
        for _, slot in due:
            slot.put(None)

    async def until(self, wanted: Callable[[list[Any]], object] | int) -> list[Any]:
        """Wait until there are so many entries, or until `wanted(entries)`."""
        if (slot := self._line_up(wanted)) is not None:
            happened = await slot.wait(PATIENCE / 2) if in_event_loop() else slot.wait_sync(PATIENCE / 2)
            assert happened, f"waited in vain; so far: {self.entries}"
        return list(self.entries)

    def _line_up(self, wanted: Callable[[list[Any]], object] | int) -> Slot[None] | None:
        holds = wanted if callable(wanted) else partial(reaches, wanted)
        with self.lock:
            if holds(self.entries):
                return None
            slot: Slot[None] = Slot()
            self.waiting.append((holds, slot))
            return slot

    def __eq__(self, other: object) -> bool:
        return self.entries == other

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Diary({self.entries})"


def reaches(count: int, entries: list[Any]) -> bool:
    return len(entries) >= count


class Gate:
    """Closed until somebody opens it; waited for in every flavour, and not interrupted by a stop in threading."""

    def __init__(self) -> None:
        self._opened = Diary()

    def open(self) -> None:
        self._opened("open")

    async def passed(self) -> None:
        await self._opened.until(1)


class Events(Diary):
    """What happens in a daemon, from now on."""

    def __init__(self, daemon: Daemon, *kinds: type[Event]) -> None:
        super().__init__()
        self.subscription = daemon.subscribe(self, *kinds)

    async def ended(self, path: str, times: int = 1) -> ActorEnded:
        """Wait until the actor at `path` has ended so often; the last of these events."""
        return await self.nth(ActorEnded, path, times)

    async def started(self, path: str, times: int = 1) -> ActorStarted:
        return await self.nth(ActorStarted, path, times)

    async def nth(self, kind: type[T], path: str, times: int = 1) -> T:
        def such(entries: list[Any]) -> list[T]:
            return [entry for entry in entries if isinstance(entry, kind) and getattr(entry, "path", "") == path]

        return such(await self.until(lambda entries: len(such(entries)) >= times))[times - 1]

    def of(self, kind: type[T]) -> list[T]:
        return [entry for entry in self.entries if isinstance(entry, kind)]


# -- hosts -------------------------------------------------------------------------------------------------------------
@attrs.frozen
class Host:
    """An embedding program, in trio or in asyncio."""

    name: FlavourName

    def run(self, tree: Any, body: Callable[[Daemon], Awaitable[T]], **options: Any) -> T:
        """Run `body(daemon)` as the block of `open_daemon(tree)`, and fail if that takes too long."""

        async def main() -> T:
            async with open_daemon(tree, **{"stop_within": 10.0, **options}) as daemon:
                return await body(daemon)
            raise AssertionError("the block was cancelled, and nothing failed")

        return self.loop(main)

    def loop(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def in_trio() -> T:
            with trio.fail_after(PATIENCE):
                return await main()

        async def in_asyncio_() -> T:
            async with asyncio.timeout(PATIENCE):
                return await main()

        return trio.run(in_trio) if self.name == "trio" else asyncio.run(in_asyncio_())


async def nothing(daemon: Daemon) -> None:
    """A body for trees that say all by themselves."""


async def wait_for_ever() -> Any:
    """Until it is cancelled, in either loop."""
    if in_asyncio():
        await asyncio.get_running_loop().create_future()
    await trio.sleep_forever()


async def checkpoint() -> None:
    if in_asyncio():
        await asyncio.sleep(0)
    else:
        await trio.lowlevel.checkpoint()


async def until(holds: Callable[[], object]) -> None:
    """Give others turns until something holds that nobody announces."""
    for _ in range(1_000_000):
        if holds():
            return
        await checkpoint()
    raise AssertionError("waited in vain")


async def outcome(of: Callable[[], Awaitable[Any]]) -> Any:
    """What it returns, or the exception that it raises."""
    try:
        return await of()
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        return exc


class Tardy:
    """The giver of this value claims its slot, and settles it only after somebody else could not claim it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
        self.value, self.claim, self.settle = value, Slot.claim, Slot.settle
        self.held: dict[Slot[Any], Event_] = {}

        def claim(slot: Slot[Any]) -> bool:
            won = self.claim(slot)
            if won:
                self.held[slot] = Event_()
            elif slot in self.held:
                self.held[slot].set()
            return won

        def settle(slot: Slot[Any], value: object, error: BaseException | None) -> bool:
            if value == self.value:
                self.held[slot].wait(PATIENCE)
            return self.settle(slot, value, error)

        monkeypatch.setattr(Slot, "claim", claim)
        monkeypatch.setattr(Slot, "settle", settle)


async def together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run them at once; their outcomes."""
    outcomes: list[Any] = [None] * len(calls)

    async def one(place: int) -> None:
        outcomes[place] = await outcome(calls[place])

    if in_asyncio():
        await asyncio.gather(*map(one, range(len(calls))))
    else:
        async with trio.open_nursery() as nursery:
            for place in range(len(calls)):
                nursery.start_soon(one, place)
    return outcomes


async def in_thread(fn: Callable[..., T], *args: Any) -> T:
    """Call it in a foreign thread."""
    if in_asyncio():
        return await asyncio.to_thread(fn, *args)
    return await trio.to_thread.run_sync(fn, *args)


async def give_up(call: Callable[[], Coroutine[Any, Any, Any]], when: Callable[[], object]) -> None:
    """Run it in the background until `when()` holds, then cancel it and wait for its end."""
    if in_asyncio():
        task = asyncio.create_task(call())
        await until(when)
        task.cancel()
        await asyncio.wait([task])
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(when)
            nursery.cancel_scope.cancel()


here = current_thread
