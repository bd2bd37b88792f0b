"""What a loop hears while it sleeps, and that its ear is told of each sleep."""

from __future__ import annotations

import asyncio
import os
import select
import selectors
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread, get_ident
from typing import Any

import pytest
import trio

from tests.actors.stage import FlavourName
from trouper import one_for_one, open_daemon
from trouper.lanes.asyncio_lane import AsyncioLane, Poll, tell_of_sleeps
from trouper.lanes.loop_lane import LoopLane
from trouper.lanes.trio_lane import TrioLane
from trouper.testing import Trial

PATIENCE = 20.0  # seconds: only a failing test waits so long


class Pipe:
    """An ear at a pipe. What is read is put into `heard`, with whether that was in the thread of the lane."""

    def __init__(self) -> None:
        self.fd, self.end = os.pipe()
        os.set_blocking(self.fd, False)
        self.asleep = False
        self.sleeps = self.nested = 0
        self.thread: int | None = None
        self.heard: SimpleQueue[bytes] = SimpleQueue()
        self.then: Callable[[bytes], object] = self.heard.put
        self.told = Event()

    def fileno(self) -> int:
        return self.fd

    def falls_asleep(self) -> None:
        self.nested += self.asleep
        self.asleep, self.thread = True, get_ident()
        self.sleeps += 1
        self.told.set()

    def wakes(self) -> None:
        self.asleep = False
        try:
            data = os.read(self.fd, 100)
        except BlockingIOError:
            return
        self.then(data)

    def say(self, data: bytes) -> None:
        os.write(self.end, data)

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.end)


@pytest.fixture
def ear() -> Iterator[Pipe]:
    ear = Pipe()
    yield ear
    ear.close()


@pytest.fixture
def lane(loop_flavour: FlavourName, ear: Pipe) -> Iterator[LoopLane]:
    """One in a thread of its own, which ends before its ear does."""
    lane = TrioLane("it") if loop_flavour == "trio" else AsyncioLane("it")
    started = Event()

    def live() -> None:
        if isinstance(lane, TrioLane):
            trio.run(lane.main, started.set)
        else:
            with asyncio.Runner() as runner:
                runner.run(lane.main(started.set))

    thread = Thread(target=live)
    thread.start()
    assert started.wait(PATIENCE)
    yield lane
    lane.post(lane.close)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def done(lane: LoopLane, order: Callable[[], Any]) -> Any:
    """What an order to the lane returns."""
    answers: SimpleQueue[Any] = SimpleQueue()
    lane.post(lambda: answers.put(order()))
    return answers.get(timeout=PATIENCE)


def test_what_comes_while_the_loop_sleeps_is_heard_in_its_thread(lane: LoopLane, ear: Pipe) -> None:
    lane.post(lane.listen, ear)
    for number in range(50):
        ear.say(b"%d" % number)
        assert ear.heard.get(timeout=PATIENCE) == b"%d" % number
    assert ear.thread == lane.ident
    assert ear.nested == 0


def test_what_an_ear_orders_is_done(lane: LoopLane, ear: Pipe) -> None:
    ear.then = lambda data: lane.post(ear.heard.put, data + b"!")
    lane.post(lane.listen, ear)
    for number in range(50):
        ear.say(b"%d" % number)
        assert ear.heard.get(timeout=PATIENCE) == b"%d!" % number


def test_whatever_the_loop_does_its_ear_is_awake(lane: LoopLane, ear: Pipe) -> None:
    """Also if others woke it, and while it is blocked."""
    lane.post(lane.listen, ear)
    for _ in range(50):
        assert ear.told.wait(PATIENCE)
        ear.told.clear()
        assert done(lane, lambda: (ear.asleep, lane.ear)) == (False, ear)
    assert ear.nested == 0
    assert ear.sleeps >= 50


def test_a_loop_that_outlives_its_lane_tells_no_ear_any_more(ear: Pipe) -> None:
    async def main() -> None:
        lane, started = TrioLane("it"), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.main, started.set)
            await started.wait()
            lane.post(lane.listen, ear)
            await trio.to_thread.run_sync(ear.told.wait, PATIENCE)
            lane.close()
        sleeps = ear.sleeps
        await trio.to_thread.run_sync(bool)  # the loop sleeps
        assert (ear.sleeps, ear.asleep) == (sleeps, False)

    trio.run(main)


def test_it_listens_to_the_first_ear_alone(lane: LoopLane, ear: Pipe) -> None:
    other = Pipe()
    for one in (ear, other):
        lane.post(lane.listen, one)
    other.say(b"nobody hears that")
    ear.say(b"this")
    assert ear.heard.get(timeout=PATIENCE) == b"this"
    assert done(lane, lambda: lane.ear) is ear
    assert (other.sleeps, select.select([other], [], [], 0)[0]) == (0, [other])
    other.close()


def test_an_ear_that_fails_ends_no_trio_lane(ear: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    """Trio tells it, and does not ask it again."""

    async def main() -> None:
        lane, started = TrioLane("it"), trio.Event()

        def fail(_: bytes) -> None:
            raise OSError("deaf")

        ear.then = fail
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.main, started.set)
            await started.wait()
            lane.post(lane.listen, ear)
            await trio.to_thread.run_sync(ear.told.wait, PATIENCE)
            ear.say(b"!")
            while not caplog.records:
                await trio.to_thread.run_sync(lambda: None)
            done = trio.Event()
            lane.post(done.set)
            await done.wait()
            lane.close()

    trio.run(main)
    assert "deaf" in caplog.text


def test_lanes_of_a_daemon_listen_whenever_they_are_started() -> None:
    ears: dict[LoopLane, Pipe] = {}

    def ear(lane: LoopLane) -> Pipe:
        return ears.setdefault(lane, Pipe())

    async def main() -> None:
        async with open_daemon(one_for_one()) as daemon:
            daemon.loops.listen(ear)  # here the lane of trio is there
            assert list(ears) == [daemon.loops["trio"]]
            await trio.to_thread.run_sync(daemon.loops.__getitem__, "asyncio")
            assert set(ears) == set(daemon.loops.values())
            for one in ears.values():
                one.say(b"!")
                assert await trio.to_thread.run_sync(partial(one.heard.get, timeout=PATIENCE)) == b"!"

    trio.run(main)
    for one in ears.values():
        one.close()


def test_the_loop_of_an_asyncio_host_is_left_alone(ear: Pipe) -> None:
    async def main() -> None:
        async with open_daemon(one_for_one()) as daemon:
            daemon.loops.listen(lambda _: ear)
            for _ in range(3):
                await asyncio.to_thread(lambda: None)

    asyncio.run(main())
    assert ear.sleeps == 0


def test_a_guest_is_left_alone(ear: Pipe) -> None:
    """It sleeps while its host does not."""
    with Trial(one_for_one()) as trial:
        trial.daemon.loops.listen(lambda _: ear)
        trial.advance(10)
        assert {lane.ear for lane in trial.daemon.loops.values()} == {ear}
    assert ear.sleeps == 0


class Theirs(selectors.DefaultSelector):
    """Somebody else's selector."""


def test_a_selector_that_is_not_asyncios_own_is_left_alone(ear: Pipe) -> None:
    for selector in (Theirs(), None):
        tell_of_sleeps(selector, ear)
        assert type(selector) in {Theirs, type(None)}
    assert ear.sleeps == 0


def test_an_ear_is_awake_after_a_sleep_that_failed(ear: Pipe) -> None:
    selector: Any = selectors.DefaultSelector()
    tell_of_sleeps(selector, ear)
    assert type(selector) is Poll
    assert selector.select(0) == []
    assert ear.sleeps == 0
    selector.close()
    with pytest.raises(ValueError, match="closed"):
        selector.select(1)
    assert (ear.sleeps, ear.asleep) == (1, False)
