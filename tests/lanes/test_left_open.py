"""What a handler leaves open in asyncio hits nobody else when it fires, and what it has open still fires."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import Any

import pytest

from tests.lanes.company import AsyncioPuppet, Call, Place, Theatre, asyncio_places, settled
from tests.lanes.test_hygiene import failing, goes_on, kept
from trouper import LeakedScope, Ref, child, current, one_for_one, open_daemon
from trouper.lanes.loop_lane import SPARES
from trouper.lanes.slot import Slot

LEFT = "a timeout", "a task group"


class Leak:
    """A handler that leaves a scope open, which comes to its end when the test wants that."""

    def __init__(self, left: str, *, suspends: bool) -> None:
        self.left, self.suspends = left, suspends
        self.gate = asyncio.Event()

    async def __call__(self, _: object) -> None:
        self.context = copy_context()
        if self.left == "a timeout":
            self.timeout = await asyncio.timeout(None).__aenter__()
        else:
            group = asyncio.TaskGroup()
            kept.append(await group.__aenter__())
            group.create_task(self.fail())
        if self.suspends:
            await asyncio.sleep(0)

    async def fail(self) -> None:
        await self.gate.wait()
        await failing()

    async def fire(self, _: object) -> None:
        """As if it had been opened with this deadline; or have the group's task fail."""
        if self.left == "a timeout":
            self.context.run(self.timeout.reschedule, 0)
        self.gate.set()


every_leak = pytest.mark.parametrize(
    "leak_of", [partial(Leak, left, suspends=suspends) for left in LEFT for suspends in (False, True)], ids=str
)


@asyncio_places
@every_leak
def test_what_a_handler_left_open_costs_its_own_actor_a_life_and_not_who_is_in_its_task_by_then(
    place: Place, leak_of: Callable[[], Leak]
) -> None:
    many = SPARES + 3  # handlers that suspend take every task there is

    async def body(theatre: Theatre, culprit: Ref[Any], *innocents: Ref[Any]) -> None:
        leak, free = leak_of(), asyncio.Event()
        began, ended = Slot[None](), Slot[None]()
        inside: list[str] = []

        async def wait(_: object) -> None:
            inside.append("came")
            if len(inside) == many:
                began.put(None)
            await free.wait()
            inside.append("left")
            if len(inside) == 2 * many:
                ended.put(None)

        async def let_go(_: object) -> None:
            free.set()

        await culprit.ask(Call(leak))
        for innocent in innocents[:-1]:
            innocent.send(Call(wait))
        await settled(began)
        innocents[-1].send(Call(leak.fire))
        reason = await theatre.end_of("/culprit")
        assert type(reason.cause) is LeakedScope
        assert ("a Timeout" if leak.left == "a timeout" else "a TaskGroup") in str(reason.cause)
        assert type(reason.cause.__cause__) is (type(None) if leak.left == "a timeout" else ValueError)
        await goes_on(place, culprit)
        innocents[-1].send(Call(let_go))
        await settled(ended)
        assert [event.path for event in theatre.events if hasattr(event, "uptime")] == ["/culprit"]

    place.play(body, culprit={}, **{f"innocent-{number}": {} for number in range(many + 1)})


@asyncio_places
@every_leak
def test_what_was_left_open_in_an_earlier_life_is_logged_and_costs_no_other(
    place: Place, leak_of: Callable[[], Leak], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: object) -> None:
        raise ValueError("another reason")

    async def body(theatre: Theatre, culprit: Ref[Any], other: Ref[Any]) -> None:
        leak = leak_of()
        await culprit.ask(Call(leak))
        culprit.send(Call(fail))
        await theatre.end_of("/culprit")
        await other.ask(Call(leak.fire))
        for _ in range(3):
            await goes_on(place, culprit)
            await goes_on(place, other)
        assert [event.path for event in theatre.events if hasattr(event, "uptime")] == ["/culprit"]

    place.play(body, culprit={}, other={})
    [said] = [record.getMessage() for record in caplog.records if "left open" in record.getMessage()]
    assert said.startswith("generation 1: /culprit: a T")


@asyncio_places
@every_leak
def test_what_an_adopted_function_left_open_is_logged_and_hits_no_actor(
    place: Place, leak_of: Callable[[], Leak], caplog: pytest.LogCaptureFixture
) -> None:
    async def body(theatre: Theatre, one: Ref[Any], other: Ref[Any]) -> None:
        leak, free, began = leak_of(), asyncio.Event(), Slot[None]()

        async def wait(_: object) -> str:
            began.put(None)
            await free.wait()
            return "in good order"

        async def fire_and_let_go(_: object) -> None:
            await leak.fire(_)
            await asyncio.sleep(0.01)
            free.set()

        await theatre.daemon.adopt(leak, None, flavour=asyncio).wait()
        waiting = Slot[object]()

        async def ask_one() -> None:
            waiting.put(await one.ask(Call(wait)))

        theatre.daemon.adopt(ask_one, flavour=asyncio)
        await settled(began)
        await other.ask(Call(fire_and_let_go))
        assert await settled(waiting) == "in good order"
        assert not [event for event in theatre.events if hasattr(event, "uptime")]

    place.play(body, one={}, other={})
    [said] = [record.getMessage() for record in caplog.records if "left open" in record.getMessage()]
    assert said.startswith("/adopted/")


async def in_a_block(scope: Any, began: Callable[[], object]) -> None:
    async with scope:
        began()
        await asyncio.sleep(100)


async def in_a_stack(scope: Any, began: Callable[[], object]) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(scope)
        del scope
        began()
        await asyncio.sleep(100)


async def in_a_manager(scope: Any, began: Callable[[], object]) -> None:
    @asynccontextmanager
    async def manager(scope: Any) -> AsyncIterator[None]:
        async with scope:
            del scope
            yield

    async with manager(scope):
        del scope
        began()
        await asyncio.sleep(100)


async def in_a_generator(scope: Any, began: Callable[[], object]) -> None:
    async def generator(scope: Any) -> AsyncIterator[None]:
        async with scope:
            del scope
            began()
            await asyncio.sleep(100)
            yield

    ticks = generator(scope)
    del scope
    async for _ in ticks:
        pass


class Opener:
    """A handler that waits in a scope, which somebody else brings to its end."""

    def __init__(self, left: str, opened: Callable[..., Any]) -> None:
        self.left, self.opened = left, opened
        self.began, self.said = Slot[None](), Slot[type]()
        self.go = asyncio.Event()

    async def __call__(self, me: Any) -> None:
        self.scope: Any = asyncio.timeout(None) if self.left == "a timeout" else asyncio.TaskGroup()
        self.loop = asyncio.get_running_loop()
        current(me).start_soon(self.touch_when_told)
        try:
            await self.opened(self.scope, partial(self.began.put, None))
        except (TimeoutError, ExceptionGroup) as error:
            self.said.put(type(error))

    async def touch_when_told(self) -> None:
        await self.go.wait()
        self.touch()

    async def tell(self, _: object) -> None:
        self.go.set()

    def touch(self) -> None:
        if self.left == "a timeout":
            self.scope.reschedule(0)
        else:
            self.scope.create_task(failing())

    async def touched(self, _: object = None) -> None:
        self.touch()


@asyncio_places
@pytest.mark.parametrize("opened", [in_a_block, in_a_stack, in_a_manager, in_a_generator], ids=lambda it: it.__name__)
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("by", ["another", "its task", "a payload", "a thread"])
def test_a_scope_is_good_in_the_handler_that_has_it_open_whoever_touched_it_last(
    place: Place, opened: Callable[..., Any], left: str, by: str
) -> None:
    opener = Opener(left, opened)

    async def body(theatre: Theatre, one: Ref[Any], other: Ref[Any]) -> None:
        one.send(Call(opener))
        await settled(opener.began)
        if by == "another":
            await other.ask(Call(opener.touched))
        elif by == "its task":
            await other.ask(Call(opener.tell))
        elif by == "a payload":
            theatre.daemon.adopt(opener.touched, flavour=asyncio)
        else:
            Thread(target=opener.loop.call_soon_threadsafe, args=(opener.touch,)).start()
        assert await settled(opener.said) is (TimeoutError if left == "a timeout" else ExceptionGroup)
        assert not [event for event in theatre.events if hasattr(event, "uptime")]

    place.play(body, one={}, other={})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks")
@pytest.mark.parametrize("suspends", [False, True])
def test_an_eager_task_of_a_group_that_fails_at_once_fails_its_own_handler(suspends: bool) -> None:
    said: list[type] = []

    async def handler(_: object) -> None:
        if suspends:
            await asyncio.sleep(0)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing())
                await asyncio.sleep(100)
        except ExceptionGroup as error:
            said.extend(map(type, error.exceptions))

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        one = child(AsyncioPuppet)
        async with open_daemon(one_for_one(one)):
            await one.ref.ask(Call(handler))

    asyncio.run(main())
    assert said == [ValueError]
