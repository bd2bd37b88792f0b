"""Each private name of trio and asyncio that the kit needs is there, and means what it is taken for."""

from __future__ import annotations

import asyncio
import inspect
import math
import sys
from random import Random
from typing import Any

import pytest
import sniffio
import trio
import trio._core._run as trio_run
import trio.lowlevel

from trouper.lanes.trio_lane import TrioLane
from trouper.testing import privates
from trouper.testing.loops import TrioLoop, VirtualLoop
from trouper.testing.time import RunClock, VirtualTime


def test_trio_keeps_the_run_of_a_thread_where_the_kit_sets_it_aside() -> None:
    async def main() -> None:
        assert vars(trio_run.GLOBAL_RUN_CONTEXT).keys() >= {"runner", "task"}
        with privates.no_loop():
            assert not trio.lowlevel.in_trio_run()
            inner = TrioLoop(TrioLane("trio"), VirtualTime(), Random(1))
            inner.start(trio.sleep, 0)
            while not inner.over:
                inner.step()
            assert not trio.lowlevel.in_trio_run()
        assert trio.lowlevel.in_trio_task()
        await trio.lowlevel.checkpoint()

    trio.run(main)


def test_asyncio_is_set_aside_with_all_that_tells_of_it() -> None:
    async def main() -> None:
        hooks = sys.get_asyncgen_hooks()
        assert hooks.firstiter is not None
        with privates.no_loop():
            assert asyncio._get_running_loop() is None
            assert sys.get_asyncgen_hooks() == (None, None)
            with pytest.raises(sniffio.AsyncLibraryNotFoundError):
                sniffio.current_async_library()
            asyncio.run(asyncio.sleep(0))
        assert sys.get_asyncgen_hooks() == hooks
        await asyncio.sleep(0)

    asyncio.run(main())


def test_trio_draws_the_order_of_tasks_from_where_the_kit_puts_its_seed() -> None:
    source = inspect.getsource(trio_run.unrolled_run)
    assert "_ALLOW_DETERMINISTIC_SCHEDULING" in source
    assert "_r.shuffle(batch)" in source
    assert isinstance(trio_run._r, Random)

    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def one(place: int) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                seen.append(place)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for place in range(10):
                    nursery.start_soon(one, place)

        before = trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING
        with privates.RunContext(Random(seed)).entered():
            trio.run(main)
        assert (trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before
        return seen

    assert order(1) == order(1) != order(2)


def test_trio_asks_its_clock_when_all_tasks_wait_and_so_tells_its_next_deadline() -> None:
    time = VirtualTime()
    loop = TrioLoop(TrioLane("trio"), time, Random(1))
    woken: list[float] = []

    async def main() -> None:
        await trio.sleep(5)
        woken.append(trio.current_time())

    loop.start(main)
    while loop.step():
        pass
    assert loop.due == 5
    time.now = 4.999
    assert not loop.step()
    time.now = 5.0
    assert loop.step()
    assert woken == [5]
    while not loop.over:
        loop.step()


def test_the_clock_of_a_run_never_has_trio_wait() -> None:
    clock = RunClock(VirtualTime())
    assert clock.deadline_to_sleep_time(1e9) == 0
    assert clock.due == 1e9


@pytest.fixture
def loop() -> Any:
    virtual = VirtualLoop(VirtualTime())
    yield virtual
    virtual.close()


def test_asyncio_keeps_its_timers_and_its_ready_calls_where_the_kit_looks(loop: VirtualLoop) -> None:
    assert not privates.asyncio_has_work(loop)
    assert privates.asyncio_due(loop) == math.inf
    first, _ = loop.call_later(5, print), loop.call_later(7, print)
    assert privates.asyncio_due(loop) == 5
    assert len(privates.asyncio_timers(loop)) == 2
    first.cancel()
    assert privates.asyncio_due(loop) == 7
    loop.call_soon(print)
    assert privates.asyncio_has_work(loop)


def test_asyncio_sees_a_call_from_another_thread_as_work(loop: VirtualLoop) -> None:
    loop.call_soon_threadsafe(print)
    assert privates.asyncio_has_work(loop)


@pytest.mark.parametrize("now", [0.0, 1.0, 1e-3, 1e6, 1e9, 1e12])
def test_a_timer_of_asyncio_runs_when_it_is_due_and_not_before(loop: VirtualLoop, now: float) -> None:
    ran: list[float] = []
    loop.virtual.now = now
    due = now + 1.0
    loop.call_at(due, lambda: ran.append(loop.time()))
    loop.virtual.now = math.nextafter(due, 0)
    assert not privates.asyncio_has_work(loop)
    step(loop)
    assert ran == []
    loop.virtual.now = due
    assert privates.asyncio_has_work(loop)
    step(loop)
    assert ran == [due]


def step(loop: VirtualLoop) -> None:
    loop.stop()
    loop.run_forever()
