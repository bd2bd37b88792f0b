"""The bell by which other threads wake a loop. `test_interleavings.py` shows that no ring is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from threading import Thread, get_ident, main_thread
from time import monotonic
from types import ModuleType
from typing import Any, Never

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.lanes.test_slot import until_waited_for
from trouper import one_for_one, open_daemon
from trouper.lanes.asyncio_lane import AsyncioLane
from trouper.lanes.doorbell import Doorbell, doorbells
from trouper.lanes.slot import Slot
from trouper.lanes.trio_lane import TrioLane

PATIENCE = 20.0  # seconds: only a failing test waits so long


@pytest.fixture(params=["eventfd", "pipe"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doorbell]:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd")
    bell = Doorbell(lambda fn: fn())
    yield bell
    if not bell.closed:
        bell.close()


def readable(bell: Doorbell) -> bool:
    """Whether the loop would be woken."""
    try:
        data = os.read(bell.fd, 8)
    except BlockingIOError:
        return False
    os.write(bell._end, data)
    return True


def test_it_is_rung_once_for_however_many_calls_until_it_is_answered(bell: Doorbell) -> None:
    said: list[int] = []
    for number in range(3):
        bell.call(partial(said.append, number))
    assert readable(bell)
    assert said == []
    bell.answer()
    assert said == [0, 1, 2]
    assert not readable(bell)
    bell.ring()
    assert readable(bell)


def test_what_is_called_may_call_again(bell: Doorbell) -> None:
    said: list[str] = []
    bell.call(lambda: bell.call(lambda: said.append("again")))
    bell.answer()
    assert said == ["again"]


def test_an_answer_that_nobody_rang_for_is_harmless(bell: Doorbell) -> None:
    bell.answer()
    bell.answer()
    assert not readable(bell)


def test_a_second_close_closes_nothing_that_somebody_else_has_opened(bell: Doorbell) -> None:
    bell.close()
    others = os.pipe()
    bell.close()
    for fd in others:
        os.close(fd)


def test_closing_it_answers_what_is_there_and_what_comes_goes_the_loops_own_way(bell: Doorbell) -> None:
    said: list[int] = []
    bell.call(partial(said.append, 1))
    bell.close()
    assert said == [1]
    bell.call(partial(said.append, 2))
    assert said == [1, 2]


def test_a_bell_that_is_closed_writes_to_no_file_that_has_its_number_now(bell: Doorbell) -> None:
    number = bell._end
    bell.close()
    ends = os.pipe()
    spare = os.dup2(ends[1], number) if number not in ends else number
    try:
        os.set_blocking(ends[0], False)
        bell.ring()
        with pytest.raises(BlockingIOError):
            os.read(ends[0], 1)
    finally:
        for fd in {*ends, spare}:
            os.close(fd)


def test_a_signal_handler_may_ring_while_its_thread_does(bell: Doorbell) -> None:
    assert get_ident() == main_thread().ident
    before = signal.signal(signal.SIGUSR1, lambda *_: bell.ring())
    try:
        with bell._lock:  # as in `ring`, before its write
            os.kill(os.getpid(), signal.SIGUSR1)
        assert readable(bell)
    finally:
        signal.signal(signal.SIGUSR1, before)


# -- in a host's loop --------------------------------------------------------------------------------------------------
async def be_woken(slot: Slot[int]) -> None:
    """Who is not woken finds the value, too, when its patience is over."""
    begun = monotonic()
    assert await slot.wait(PATIENCE)
    assert monotonic() - begun < PATIENCE


def given_by_a_thread(slot: Slot[int]) -> None:
    thread = Thread(target=slot.put, args=(1,))
    thread.start()
    thread.join()


def test_who_waits_by_the_bell_of_a_daemon_is_woken_also_when_that_has_ended_meanwhile() -> None:
    """The host goes on, and what it waits for comes from elsewhere."""

    async def body() -> None:
        slot = Slot[int]()
        loop: Any = asyncio.get_running_loop()
        async with open_daemon(one_for_one()):
            assert loop in doorbells
            waiter = asyncio.create_task(be_woken(slot))
            await until_waited_for(slot)
        assert loop not in doorbells
        given_by_a_thread(slot)
        await waiter
        assert slot.take() == 1

    asyncio.run(body())


@pytest.mark.parametrize("flavour", [trio, asyncio])
def test_of_two_daemons_in_one_loop_each_ends_for_itself(flavour: ModuleType) -> None:
    async def body() -> None:
        slot = Slot[int]()
        async with open_daemon(one_for_one()) as first:
            async with open_daemon(one_for_one()) as second:
                assert await second.call(get_ident, flavour=flavour) == get_ident()
            assert await first.call(get_ident, flavour=flavour) == get_ident()
            Thread(target=slot.put, args=(1,)).start()
            await be_woken(slot)
        assert not doorbells

    if flavour is trio:
        trio.run(body)
    else:
        asyncio.run(body())


def failing(error: Exception) -> Callable[..., Never]:
    def fail(*_: object) -> Never:
        raise error

    return fail


def test_the_loop_of_a_host_need_not_watch_files(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with open_daemon(one_for_one()) as daemon:
            assert await daemon.call(get_ident, flavour=trio) != get_ident()
        assert not doorbells

    for name in ("add_reader", "remove_reader"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, failing(NotImplementedError()))
    asyncio.run(asyncio.wait_for(body(), PATIENCE))


def test_a_lane_that_cannot_watch_its_bell_lets_go_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", failing(OSError(errno.ENOSPC, "no watches left")))
    lane = AsyncioLane("asyncio")
    with pytest.raises(OSError, match="no watches left"):
        asyncio.run(lane.main(lambda: None))
    assert lane.door.closed
    assert not doorbells


def test_a_handler_that_outlives_its_lane_keeps_nobody_of_the_host_from_being_woken() -> None:
    """Nobody is at the door of the lane any more, which ends only when the handler does."""
    lane = TrioLane("trio")
    before, after = Slot[int](), Slot[int]()

    async def run_lane(*, task_status: trio.TaskStatus[None]) -> None:
        await lane.main(task_status.started)

    async def body() -> None:
        enough = trio.Event()

        async def stay() -> None:
            with trio.CancelScope(shield=True):
                await enough.wait()

        async with trio.open_nursery() as nursery:
            await nursery.start(run_lane)
            lane.start_task(stay, (), lambda *_: None)
            try:
                async with trio.open_nursery() as host:
                    host.start_soon(be_woken, before)
                    await until_waited_for(before)
                    lane.close()
                    await wait_all_tasks_blocked()
                    host.start_soon(be_woken, after)
                    await until_waited_for(after)
                    given_by_a_thread(before)
                    given_by_a_thread(after)
            finally:
                enough.set()
        assert not doorbells

    trio.run(body)
