"""A slot: one result, from any thread, for one waiter in trio, in asyncio or in a thread."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable, Coroutine
from threading import Barrier, Event, Thread
from typing import Any

import pytest
import trio

from trouper.lanes.slot import Slot, in_asyncio, in_event_loop

PATIENCE = 20.0  # seconds: only a failing test waits so long


def in_trio(slot: Slot[Any], timeout: float | None) -> bool:
    return trio.run(slot.wait, timeout)


def in_an_asyncio_loop(slot: Slot[Any], timeout: float | None) -> bool:
    return asyncio.run(slot.wait(timeout))


def in_a_thread(slot: Slot[Any], timeout: float | None) -> bool:
    return slot.wait_sync(timeout)


Wait = Callable[[Slot[Any], float | None], bool]
every_waiter = pytest.mark.parametrize(
    "wait", [in_trio, in_an_asyncio_loop, in_a_thread], ids=lambda wait: wait.__name__
)
every_loop = pytest.mark.parametrize("loop", ["trio", "asyncio"])


def run(loop: str, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    if loop == "trio":
        trio.run(body)
    else:
        asyncio.run(body())


async def checkpoint() -> None:
    if in_asyncio():
        await asyncio.sleep(0)
    else:
        await trio.lowlevel.checkpoint()


async def until_waited_for(slot: Slot[Any]) -> None:
    while slot._wake is None:
        await checkpoint()
    await checkpoint()


class Giver(Thread):
    """Gives, from a thread of its own, once somebody waits."""

    def __init__(self, slot: Slot[Any], give: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.slot, self.give = slot, give
        self.start()

    def run(self) -> None:
        pause = Event()
        while self.slot._wake is None:
            pause.wait(0.0001)
        self.give()


# -- the three kinds of waiters ----------------------------------------------------------------------------------------
@every_waiter
@pytest.mark.parametrize("timeout", [None, 0, PATIENCE])
def test_a_result_that_is_there_is_not_waited_for(wait: Wait, timeout: float | None) -> None:
    slot = Slot[str]()
    assert slot.put("it")
    assert wait(slot, timeout)
    assert slot.take() == "it"


@every_waiter
@pytest.mark.parametrize("timeout", [None, PATIENCE, math.inf])
def test_a_result_from_another_thread_wakes_the_waiter(wait: Wait, timeout: float | None) -> None:
    slot = Slot[str]()
    giver = Giver(slot, lambda: slot.put("it"))
    assert wait(slot, timeout)
    assert slot.take() == "it"
    giver.join(PATIENCE)


@every_waiter
def test_an_error_is_raised_where_it_is_taken(wait: Wait) -> None:
    slot = Slot[str]()
    giver = Giver(slot, lambda: slot.fail(ValueError("no")))
    assert wait(slot, PATIENCE)
    with pytest.raises(ValueError, match="no"):
        slot.take()
    giver.join(PATIENCE)


@every_waiter
@pytest.mark.parametrize("timeout", [0, 0.001])
def test_nobody_gives_in_time(wait: Wait, timeout: float) -> None:
    slot = Slot[str]()
    assert not wait(slot, timeout)
    assert not slot.done


@every_waiter
def test_what_is_put_after_the_timeout_is_there_for_the_next_wait(wait: Wait) -> None:
    slot = Slot[str]()
    assert not wait(slot, 0.001)
    assert slot.put("late")
    assert wait(slot, 0)
    assert slot.take() == "late"


@every_waiter
def test_who_claims_after_a_timeout_keeps_a_late_giver_out(wait: Wait) -> None:
    slot = Slot[str]()
    assert not wait(slot, 0.001)
    assert slot.claim()
    assert not slot.put("late")
    assert not slot.done


@every_waiter
def test_many_results_from_other_threads_all_arrive(wait: Wait) -> None:
    for number in range(50):
        slot = Slot[int]()
        giver = Thread(target=slot.put, args=(number,), daemon=True)
        giver.start()
        assert wait(slot, PATIENCE)
        assert slot.take() == number
        giver.join(PATIENCE)


@every_loop
def test_a_result_from_the_same_loop_wakes_the_waiter(loop: str) -> None:
    slot = Slot[str]()

    async def give() -> None:
        await until_waited_for(slot)
        assert slot.put("it")

    async def take() -> None:
        assert await slot.wait(PATIENCE)
        assert slot.take() == "it"

    async def both() -> None:
        if loop == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give)
                nursery.start_soon(take)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(give())
                group.create_task(take())

    run(loop, both)


@pytest.mark.parametrize("waiting", ["trio", "asyncio"])
@pytest.mark.parametrize("giving", ["trio", "asyncio"])
def test_a_result_crosses_from_loop_to_loop(waiting: str, giving: str) -> None:
    slot = Slot[str]()

    async def give() -> None:
        await until_waited_for(slot)
        slot.put("it")

    async def take() -> None:
        assert await slot.wait(PATIENCE)

    giver = Thread(target=run, args=(giving, give), daemon=True)
    giver.start()
    run(waiting, take)
    giver.join(PATIENCE)
    assert slot.take() == "it"


# -- two givers --------------------------------------------------------------------------------------------------------
def test_the_first_giver_wins_and_the_second_is_told() -> None:
    slot = Slot[int]()
    assert slot.put(1)
    assert not slot.put(2)
    assert not slot.fail(ValueError())
    assert not slot.claim()
    assert slot.take() == 1


def test_one_of_many_givers_at_once_wins() -> None:
    for _ in range(20):
        slot = Slot[int]()
        together = Barrier(4)
        won: list[int] = []

        def give(number: int, slot: Slot[int] = slot, together: Barrier = together, won: list[int] = won) -> None:
            together.wait(PATIENCE)
            if slot.put(number):
                won.append(number)

        givers = [Thread(target=give, args=(number,), daemon=True) for number in range(4)]
        for giver in givers:
            giver.start()
        assert slot.wait_sync(PATIENCE)
        for giver in givers:
            giver.join(PATIENCE)
        assert won == [slot.take()]


def test_who_has_claimed_settles_later() -> None:
    slot = Slot[int]()
    assert slot.claim()
    assert not slot.done
    assert slot.settle(3, None)
    assert slot.done
    assert slot.take() == 3


@every_loop
def test_who_gives_up_while_a_giver_settles_has_the_result(loop: str) -> None:
    async def wait() -> None:
        slot = Slot[int]()
        assert not await slot.wait(0)
        assert slot.claim()
        giver = Giver(slot, lambda: slot.settle(3, None))
        assert not slot.give_up()
        assert slot.take() == 3
        giver.join(PATIENCE)

    run(loop, wait)


def test_who_gives_up_first_has_no_result_and_keeps_a_late_giver_out() -> None:
    slot = Slot[int]()
    assert slot.give_up()
    assert not slot.put(3)
    assert not slot.done


def test_a_taken_error_is_not_kept_alive_by_its_own_traceback() -> None:
    class Failed(Exception):
        pass

    slot = Slot[int]()
    error = Failed()
    slot.fail(error)
    known = weakref.ref(error)
    del error
    try:
        slot.take()
    except Failed:
        assert known() is not None
    assert known() is None


def test_a_wake_up_of_ones_own_is_called_once_the_result_is_there() -> None:
    slot = Slot[int]()
    seen: list[bool] = []
    slot.wake_by(lambda: seen.append(slot.done))
    slot.put(1)
    assert seen == [True]


# -- cancellation and loops that are over ------------------------------------------------------------------------------
async def test_a_cancelled_trio_waiter_is_not_woken_later() -> None:
    slot = Slot[int]()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slot.wait)
            await until_waited_for(slot)
            scope.cancel()
    assert scope.cancelled_caught
    assert slot.put(1)
    await trio.lowlevel.checkpoint()


async def test_a_trio_waiter_that_is_cancelled_when_the_result_is_there_ends_in_one_piece() -> None:
    slot = Slot[int]()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slot.wait)
            await until_waited_for(slot)
            slot.put(1)
            scope.cancel()
    assert slot.take() == 1


@pytest.mark.parametrize("given_first", [True, False])
def test_a_cancelled_asyncio_waiter_is_not_woken_later(given_first: bool) -> None:
    async def body() -> None:
        slot = Slot[int]()
        waiter = asyncio.create_task(slot.wait(PATIENCE))
        await until_waited_for(slot)
        if given_first:
            slot.put(1)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert slot.put(1) is not given_first
        await asyncio.sleep(0)

    asyncio.run(body())


@every_loop
def test_a_result_for_a_waiter_whose_loop_is_over_harms_nobody(loop: str) -> None:
    slot = Slot[int]()
    wakes: list[Any] = []

    async def give_up() -> None:
        if loop == "trio":
            with trio.move_on_after(0.001):
                await slot.wait()
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await slot.wait()
        wakes.append(slot._wake)

    run(loop, give_up)
    slot._wake = wakes[0]
    assert slot.put(1)


@every_loop
def test_code_in_a_loop_is_known_as_such(loop: str) -> None:
    async def body() -> None:
        assert in_event_loop()
        assert in_asyncio() is (loop == "asyncio")

    run(loop, body)
    assert not in_event_loop()
