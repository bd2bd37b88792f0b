"""A handler cannot poison its lane, and the private names that this needs do what they should."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio._core._parking_lot import GLOBAL_PARKING_LOT_BREAKER

from tests.actors.stage import wait_for_ever
from tests.lanes.company import Call, Place, Theatre, asyncio_places, every_place, settled, trio_places
from trouper import Child, LeakedScope, Limit, Ref, StrayCancellation, actor, child, one_for_one
from trouper.lanes import hygiene
from trouper.lanes.loop_lane import SPARES
from trouper.lanes.slot import Slot


# -- the private names -------------------------------------------------------------------------------------------------
async def test_cancel_status_of_a_trio_task_tells_of_an_open_scope() -> None:
    task: Any = trio.lowlevel.current_task()
    before = task._cancel_status
    dirty = hygiene.trio_watch(task)
    with trio.CancelScope():
        assert task._cancel_status is not before
        assert dirty()
        with trio.move_on_after(1):
            await trio.lowlevel.checkpoint()
        assert dirty()
    assert task._cancel_status is before
    assert not dirty()


async def test_cancel_status_of_a_trio_task_tells_of_an_open_nursery() -> None:
    dirty = hygiene.trio_watch(trio.lowlevel.current_task())
    async with trio.open_nursery():
        assert dirty()
    assert not dirty()


async def test_the_parking_lot_breaker_knows_who_holds_a_trio_lock() -> None:
    task = trio.lowlevel.current_task()
    dirty = hygiene.trio_watch(task)
    lock = trio.Lock()
    lock.acquire_nowait()
    assert task in GLOBAL_PARKING_LOT_BREAKER
    assert dirty()
    lock.release()
    assert task not in GLOBAL_PARKING_LOT_BREAKER
    assert not dirty()


async def test_nested_child_finished_ends_an_abandoned_nursery() -> None:
    ended: list[int] = []

    async def running() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(len(ended))

    async def abandoning() -> None:
        task = trio.lowlevel.current_task()
        scope = trio.CancelScope().__enter__()
        for _ in range(2):
            nursery: Any = await trio.open_nursery().__aenter__()
            nursery.start_soon(running)
        await trio.lowlevel.checkpoint()
        with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
            scope.__exit__(None, None, None)
        assert len(task.child_nurseries) == 2
        await hygiene.trio_repair(task)
        assert not task.child_nurseries
        assert ended == [0, 1]

    async with trio.open_nursery() as around:
        around.start_soon(abandoning)
    assert ended == [0, 1]


def test_the_run_context_has_a_runner_in_the_thread_of_a_trio_run_and_nowhere_else() -> None:
    async def compare() -> None:
        assert hygiene.in_trio_run() is trio.lowlevel.in_trio_run() is True
        assert await trio.to_thread.run_sync(hygiene.in_trio_run) is False

    assert hygiene.in_trio_run() is trio.lowlevel.in_trio_run() is False
    trio.run(compare)
    assert hygiene.in_trio_run() is False


def test_the_running_loop_of_asyncio_is_that_of_this_thread() -> None:
    async def compare() -> None:
        assert hygiene.asyncio_loop() is asyncio.get_running_loop()
        assert await asyncio.to_thread(hygiene.asyncio_loop) is None

    assert hygiene.asyncio_loop() is None
    asyncio.run(compare())
    assert hygiene.asyncio_loop() is None


def test_without_asyncio_no_loop_runs_and_nothing_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        assert hygiene.asyncio_cancelled(asyncio.CancelledError())
        assert not hygiene.asyncio_cancelled(KeyboardInterrupt())
        monkeypatch.setattr(hygiene, "asyncio_events", None)
        for name in ("asyncio.runners", "asyncio.exceptions"):
            monkeypatch.delitem(sys.modules, name)
        assert hygiene.asyncio_loop() is None
        assert not hygiene.asyncio_cancelled(asyncio.CancelledError())
        monkeypatch.undo()
        monkeypatch.setattr(hygiene, "asyncio_events", None)
        assert hygiene.asyncio_loop() is asyncio.get_running_loop()

    asyncio.run(look())


def test_what_an_asyncio_loop_sleeps_in_is_told() -> None:
    other: Any = object()

    async def look() -> None:
        assert type(hygiene.asyncio_selector(asyncio.get_running_loop())) is selectors.DefaultSelector
        assert hygiene.asyncio_selector(other) is None

    asyncio.run(look())


def test_trio_tells_whether_it_is_a_guest() -> None:
    async def look() -> bool:
        return hygiene.trio_is_guest()

    assert not trio.run(look)
    found: list[Any] = []

    async def be_host() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def done(outcome: Any) -> None:
            found.append(outcome.unwrap())
            over.set()

        trio.lowlevel.start_guest_run(look, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done)
        await over.wait()

    asyncio.run(be_host())
    assert found == [True]


def test_must_cancel_of_an_asyncio_task_lasts_until_the_cancellation_comes() -> None:
    async def cancelled() -> None:
        task: Any = asyncio.current_task()
        assert not hygiene.asyncio_cancel_to_come(task)
        task.cancel()
        assert hygiene.asyncio_cancel_to_come(task)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert not hygiene.asyncio_cancel_to_come(task)
        assert task.cancelling() == 1

    asyncio.run(cancelled())


@pytest.mark.skipif(hygiene.UNCANCEL_CLEARS, reason="`uncancel` takes it back here")
def test_must_cancel_of_an_asyncio_task_tells_of_a_cancellation_to_come() -> None:
    async def cancelled_and_uncancelled() -> None:
        task: Any = asyncio.current_task()
        dirty = hygiene.asyncio_watch(task)
        assert task._must_cancel is False
        assert not dirty()
        task.cancel()
        assert dirty()
        task.uncancel()
        assert task._must_cancel is True
        assert dirty()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        assert not dirty()

    asyncio.run(cancelled_and_uncancelled())


def test_who_cancels_a_task_is_a_timeout_a_task_group_or_nobody_in_particular() -> None:
    found: list[tuple[object, BaseException | None]] = []

    class Told(asyncio.Task[None]):
        def cancel(self, msg: object = None) -> bool:
            found.append(hygiene.asyncio_scope_that_fires())
            return super().cancel(msg)

    async def be_cancelled() -> None:
        timeout, group = asyncio.timeout(0), asyncio.TaskGroup()
        with pytest.raises(TimeoutError):
            async with timeout:
                await wait_for_ever()
        with pytest.raises(ExceptionGroup):  # noqa: PT012 - a block in a block
            async with group:
                group.create_task(failing())
                await wait_for_ever()
        asyncio.get_running_loop().call_soon(own_task().cancel)
        with pytest.raises(asyncio.CancelledError):
            await wait_for_ever()
        assert [scope for scope, _ in found] == [timeout, group, None]
        assert [type(error) for _, error in found] == [type(None), ValueError, type(None)]

    async def main() -> None:
        await Told(be_cancelled())

    asyncio.run(main())


def test_a_suspended_coroutine_has_hold_of_of_the_scopes_that_it_has_open() -> None:
    opened: list[object] = []

    async def within() -> None:
        async with asyncio.timeout(None) as timeout, asyncio.TaskGroup() as group:
            opened.extend((timeout, group))
            await asyncio.sleep(0)

    async def around() -> None:
        await within()

    async def main() -> None:
        one, other = around(), around()
        tasks = [asyncio.create_task(coro) for coro in (one, other)]
        await asyncio.sleep(0)
        assert [hygiene.has_hold_of(one, scope) for scope in opened] == [True, True, False, False]
        assert [hygiene.has_hold_of(other, scope) for scope in opened] == [False, False, True, True]
        await asyncio.gather(*tasks)
        assert not hygiene.has_hold_of(one, opened[0])

    asyncio.run(main())


@pytest.mark.skipif(not hygiene.UNCANCEL_CLEARS, reason="it leaves a cancellation to come")
def test_uncancel_takes_back_a_cancellation_to_come() -> None:
    async def cancelled_and_uncancelled() -> None:
        task: Any = asyncio.current_task()
        dirty = hygiene.asyncio_watch(task)
        task.cancel()
        assert dirty()
        task.uncancel()
        assert not dirty()
        await asyncio.sleep(0)

    asyncio.run(cancelled_and_uncancelled())


# -- what a handler can leave behind -----------------------------------------------------------------------------------
kept: list[Any] = []
"""What leaks must not be collected during the test: its finalizers would end what the test is about."""


async def scope(_: object) -> None:
    kept.append(trio.CancelScope().__enter__())


async def scope_and_suspend(_: object) -> None:
    kept.append(trio.CancelScope().__enter__())
    await trio.lowlevel.checkpoint()


async def used_scope(_: object) -> None:
    scope = trio.CancelScope()
    kept.append(scope.__enter__())
    scope.cancel()


async def nursery(_: object) -> None:
    stack = AsyncExitStack()
    kept.append(stack)
    opened = await stack.enter_async_context(trio.open_nursery())
    opened.start_soon(trio.sleep_forever)


async def nursery_and_suspend(_: object) -> None:
    await nursery(_)
    await trio.lowlevel.checkpoint()


async def nursery_and_fail(_: object) -> None:
    await nursery(_)
    await trio.lowlevel.checkpoint()
    raise ValueError("with an open nursery")


async def generator(_: object) -> None:
    async def counting() -> AsyncGenerator[int, None]:
        with trio.move_on_after(100):
            yield 1
            yield 2

    one = counting()
    kept.append(one)
    assert await anext(one) == 1


async def suspended_generator(_: object) -> None:
    async def counting() -> AsyncGenerator[int, None]:
        with trio.move_on_after(100):
            await trio.lowlevel.checkpoint()
            yield 1
            yield 2

    one = counting()
    kept.append(one)
    assert await anext(one) == 1


async def lock(_: object) -> None:
    lock = trio.Lock()
    kept.append(lock)
    await lock.acquire()


async def lock_at_once(_: object) -> None:
    lock = trio.Lock()
    kept.append(lock)
    lock.acquire_nowait()


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def cancel_and_return(_: object) -> None:
    own_task().cancel()


async def suspend_cancel_and_return(_: object) -> None:
    await asyncio.sleep(0)
    own_task().cancel()


async def cancel_and_await(_: object) -> None:
    own_task().cancel()
    await wait_for_ever()


async def cancelled_later(_: object) -> None:
    asyncio.get_running_loop().call_soon(own_task().cancel)
    await wait_for_ever()


async def await_what_was_cancelled(_: object) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def open_timeout_and_await(_: object) -> None:
    await asyncio.timeout(0).__aenter__()
    await wait_for_ever()


async def open_group_and_await(_: object) -> None:
    group = asyncio.TaskGroup()
    kept.append(await group.__aenter__())
    group.create_task(failing())
    await wait_for_ever()


async def failing() -> None:
    raise ValueError("in a leaked task group")


TRIO_LEAKS: list[Callable[[object], Any]] = [
    *(scope, scope_and_suspend, used_scope, nursery, nursery_and_suspend, nursery_and_fail),
    *(generator, suspended_generator, lock, lock_at_once),
]
ASYNCIO_LEAKS: dict[Callable[[object], Any], type[Exception]] = {
    cancel_and_return: LeakedScope,
    suspend_cancel_and_return: LeakedScope,
    cancel_and_await: StrayCancellation,
    cancelled_later: StrayCancellation,
    await_what_was_cancelled: StrayCancellation,
    open_timeout_and_await: StrayCancellation,
    open_group_and_await: StrayCancellation,
}


def leaks_and_goes_on(place: Place, leak: Callable[[object], Any], error: type[Exception]) -> None:
    """The culprit crashes and is restarted; others, idle or suspended, notice nothing."""

    async def body(theatre: Theatre, culprit: Ref[Any], innocent: Ref[Any], patient: Ref[Any]) -> None:
        waiting, free, finished = Slot[None](), Slot[None](), Slot[object]()

        async def wait(_: object) -> None:
            waiting.put(None)
            await free.wait()
            await place.tools.sleep(0)
            finished.put("in good order")

        await goes_on(place, innocent)
        patient.send(Call(wait))
        await settled(waiting)
        culprit.send(Call(leak))
        reason = await theatre.end_of("/culprit")
        assert reason.kind == "crashed"
        assert type(reason.cause) is error
        await goes_on(place, innocent)
        await goes_on(place, culprit)
        free.put(None)
        assert await settled(finished) == "in good order"
        await goes_on(place, patient)
        assert [event.path for event in theatre.events if hasattr(event, "uptime")] == ["/culprit"]

    place.play(body, culprit={}, innocent={}, patient={})


async def goes_on(place: Place, ref: Ref[Any]) -> None:
    """It handles messages, with and without suspending."""

    async def suspend(_: object) -> str:
        await place.tools.sleep(0)
        return "suspended"

    async def at_once(_: object) -> str:
        return "at once"

    for _ in range(2):
        assert await ref.ask(Call(at_once)) == "at once"
        assert await ref.ask(Call(suspend)) == "suspended"


@trio_places
@pytest.mark.parametrize("leak", TRIO_LEAKS, ids=lambda leak: leak.__name__)
def test_what_a_trio_handler_leaves_open_costs_its_own_actor_a_life(
    place: Place, leak: Callable[[object], Any]
) -> None:
    leaks_and_goes_on(place, leak, LeakedScope)


@asyncio_places
@pytest.mark.parametrize(("leak", "error"), ASYNCIO_LEAKS.items(), ids=lambda value: value.__name__)
def test_a_cancellation_that_an_asyncio_handler_makes_costs_its_own_actor_a_life(
    place: Place, leak: Callable[[object], Any], error: type[Exception]
) -> None:
    leaks_and_goes_on(place, leak, error)


@asyncio_places
def test_a_cancellation_that_was_taken_back_costs_a_life_where_asyncio_keeps_it(place: Place) -> None:
    async def cancel_and_uncancel(_: object) -> str:
        own_task().cancel()
        own_task().uncancel()
        return "done"

    async def body(theatre: Theatre, culprit: Ref[Any], innocent: Ref[Any]) -> None:
        culprit.send(Call(cancel_and_uncancel))
        await goes_on(place, innocent)
        if sys.version_info < (3, 13):
            assert isinstance((await theatre.end_of("/culprit")).cause, LeakedScope)
        await goes_on(place, culprit)
        await goes_on(place, innocent)

    place.play(body, culprit={}, innocent={})


async def swallow(_: object) -> str:
    own_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        return "done"
    return "not cancelled"


async def catch_a_failed_task(_: object) -> str:
    """Before Python 3.13 this leaves a cancellation counted."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait_for_ever())
            group.create_task(failing())
    except* ValueError:
        pass
    return "done"


@asyncio_places
@pytest.mark.parametrize("swallow", [swallow, catch_a_failed_task], ids=lambda value: value.__name__)
def test_a_cancellation_that_came_and_was_swallowed_hurts_nobody(
    place: Place, swallow: Callable[[object], Any]
) -> None:
    async def body(theatre: Theatre, one: Ref[Any], other: Ref[Any]) -> None:
        for _ in range(3):
            assert await one.ask(Call(swallow)) == "done"
            await goes_on(place, one)
            await goes_on(place, other)
        assert not [event for event in theatre.events if hasattr(event, "uptime")]

    place.play(body, one={}, other={})


@asyncio_places
def test_cancellations_out_of_nowhere_do_not_end_the_dispatchers(place: Place) -> None:
    async def body(theatre: Theatre, innocent: Ref[Any]) -> None:
        lane: Any = theatre.daemon.loops["asyncio"]

        def cancel_all(done: Slot[None]) -> None:
            for task in list(lane.tasks):
                task.cancel()
            done.put(None)

        for _ in range(3):
            await goes_on(place, innocent)
            done = Slot[None]()
            lane.loop.call_soon_threadsafe(cancel_all, done)
            await settled(done)
        await goes_on(place, innocent)
        assert not [event for event in theatre.events if hasattr(event, "uptime")]

    place.play(body, innocent={})


@trio_places
def test_the_children_of_a_nursery_that_was_left_open_are_cancelled(place: Place) -> None:
    cancelled = Slot[None]()

    async def background() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.put(None)

    async def leave(_: object) -> None:
        stack = AsyncExitStack()
        kept.append(stack)
        opened = await stack.enter_async_context(trio.open_nursery())
        opened.start_soon(background)
        await trio.lowlevel.checkpoint()

    async def body(theatre: Theatre, culprit: Ref[Any]) -> None:
        culprit.send(Call(leave))
        await settled(cancelled)
        assert isinstance((await theatre.end_of("/culprit")).cause, LeakedScope)

    place.play(body, culprit={})


@trio_places
def test_who_waits_for_a_lock_that_was_leaked_is_told(place: Place) -> None:
    lock = trio.Lock()
    held, free = Slot[None](), Slot[None]()

    async def leak(_: object) -> None:
        await lock.acquire()
        held.put(None)
        await free.wait()

    async def wait_for_it(_: object) -> str:
        free.put(None)
        with pytest.raises(trio.BrokenResourceError):
            await lock.acquire()
        return "told"

    async def body(theatre: Theatre, culprit: Ref[Any], innocent: Ref[Any]) -> None:
        culprit.send(Call(leak))
        await settled(held)
        assert await innocent.ask(Call(wait_for_it)) == "told"

    place.play(body, culprit={}, innocent={})


@trio_places
@pytest.mark.parametrize("suspends", [False, True])
def test_an_exit_stack_kept_from_on_start_costs_a_life(place: Place, suspends: bool) -> None:
    @actor(flavour=trio, restart="temporary")
    class Keeper:
        async def on_start(self) -> None:
            if suspends:
                await trio.lowlevel.checkpoint()
            self.stack = AsyncExitStack()
            kept.append(self.stack)
            await self.stack.enter_async_context(trio.open_nursery())

        async def receive(self, message: Call) -> None: ...

    async def body(theatre: Theatre, innocent: Ref[Any]) -> None:
        keeper: Child[Any] = child(Keeper)
        answered = await theatre.daemon.start(keeper)
        assert answered == ("nope" if suspends else "ok")
        if not suspends:
            assert isinstance((await theatre.end_of("/keeper")).cause, LeakedScope)
        await goes_on(place, innocent)

    place.play(body, innocent={})


@every_place
def test_leaks_leave_no_dispatchers_behind(place: Place) -> None:
    leaks: list[Any] = [scope, nursery_and_suspend] if place.flavour == "trio" else [cancel_and_return, cancelled_later]

    async def tasks(_: object) -> int:
        if place.flavour == "trio":
            nursery = trio.lowlevel.current_task().parent_nursery
            assert nursery is not None
            return len(nursery.child_tasks)
        return len(asyncio.all_tasks())

    async def body(theatre: Theatre, culprit: Ref[Any], innocent: Ref[Any]) -> None:
        before = await innocent.ask(Call(tasks))
        for generation in range(1, 41):
            culprit.send(Call(leaks[generation % 2]))
            await theatre.end_of("/culprit", generation)
        await goes_on(place, innocent)
        assert await innocent.ask(Call(tasks)) <= before + SPARES

    async def run() -> None:
        culprit, innocent = place.puppet("culprit", backoff=None), place.puppet("innocent")
        async with place.theatre(one_for_one(culprit, innocent, restarts=Limit(1000, within=1.0))) as theatre:
            await body(theatre, culprit.ref, innocent.ref)

    place.run(run)
