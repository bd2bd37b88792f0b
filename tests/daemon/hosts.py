"""Programs that embed a daemon: the same tests for a trio and for an asyncio program, each with a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import trio

from trouper import Child, Message, Reason, Request, actor, child, current

T = TypeVar("T")
DEADLINE = 30.0


def in_thread(fn: Callable[[], T]) -> T:
    """Call `fn` in a thread, so that what hangs fails a test and not the whole run."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(fn())
        except BaseException as error:  # noqa: BLE001 - handed on
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]
    return results[0]


class Host(Protocol):
    """A loop that a program runs."""

    flavour: str

    def run(self, fn: Callable[[], Awaitable[T]]) -> T:
        """Run a program."""
        ...

    async def forever(self) -> None:
        """Wait to be cancelled."""

    async def turn(self) -> None:
        """Let others have their turn."""

    async def cancellable(self, fn: Callable[[Callable[[], object]], Awaitable[object]]) -> bool:
        """Call `fn(cancel)`, and return whether it ended cancelled."""
        ...

    async def both(self, *fns: Callable[[], Awaitable[object]]) -> None:
        """Run them side by side."""


class TrioProgram:
    flavour = "trio"

    def run(self, fn: Callable[[], Awaitable[T]]) -> T:
        return in_thread(lambda: trio.run(fn))

    async def forever(self) -> None:
        await trio.sleep_forever()

    async def turn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def cancellable(self, fn: Callable[[Callable[[], object]], Awaitable[object]]) -> bool:
        with trio.CancelScope() as scope:
            await fn(scope.cancel)
        return scope.cancelled_caught

    async def both(self, *fns: Callable[[], Awaitable[object]]) -> None:
        async with trio.open_nursery() as nursery:
            for fn in fns:
                nursery.start_soon(fn)


class AsyncioProgram:
    flavour = "asyncio"

    def run(self, fn: Callable[[], Awaitable[T]]) -> T:
        async def main() -> T:
            return await fn()

        return in_thread(lambda: asyncio.run(main()))

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def turn(self) -> None:
        await asyncio.sleep(0)

    async def cancellable(self, fn: Callable[[Callable[[], object]], Awaitable[object]]) -> bool:
        async def body() -> None:
            task = asyncio.current_task()
            assert task is not None
            await fn(task.cancel)

        task = asyncio.create_task(body())
        await asyncio.wait([task])
        if task.cancelled():
            return True
        task.result()
        return False

    async def both(self, *fns: Callable[[], Awaitable[object]]) -> None:
        await asyncio.gather(*(fn() for fn in fns))


# -- the actors --------------------------------------------------------------------------------------------------------


class Where(Request[str]): ...


class Fail(Message):
    error: Any


def nothing() -> None: ...


class Notes:
    """A list that actors of all lanes write to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.at_start: Callable[[], object] = nothing
        self.at_stop: Callable[[], object] = nothing


@actor(flavour="trio")
class InTrio:
    notes: Notes

    async def on_start(self) -> None:
        self.notes.lines.append("trio starts")

    async def receive(self, message: Where | Fail) -> str | None:
        return answer(self, message)

    async def on_stop(self, reason: Reason) -> None:
        self.notes.lines.append(f"trio stops: {reason.kind}")


@actor(flavour="asyncio")
class InAsyncio:
    notes: Notes

    async def on_start(self) -> None:
        self.notes.lines.append("asyncio starts")

    async def receive(self, message: Where | Fail) -> str | None:
        return answer(self, message)

    async def on_stop(self, reason: Reason) -> None:
        self.notes.lines.append(f"asyncio stops: {reason.kind}")


@actor(flavour="threading")
class InThread:
    """It also calls what the notes say."""

    notes: Notes

    def on_start(self) -> None:
        self.notes.lines.append("threading starts")
        self.notes.at_start()

    def receive(self, message: Where | Fail) -> str | None:
        return answer(self, message)

    def on_stop(self, reason: Reason) -> None:
        self.notes.lines.append(f"threading stops: {reason.kind}")
        self.notes.at_stop()


def answer(me: InTrio | InAsyncio | InThread, message: Where | Fail) -> str | None:
    if isinstance(message, Fail):
        raise message.error
    return f"{threading.current_thread().name} generation {current(me).generation}"


def cast(notes: Notes) -> tuple[Child[Where | Fail], Child[Where | Fail], Child[Where | Fail]]:
    """One of each flavour."""
    return child(InTrio, notes), child(InAsyncio, notes), child(InThread, notes)


STARTS = ["trio starts", "asyncio starts", "threading starts"]
STOPS = ["threading stops: shutdown", "asyncio stops: shutdown", "trio stops: shutdown"]
