"""Threads that wait read the wire themselves; what comes for others, and what comes from elsewhere, is not held up."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pytest
import trio

from tests.workers.couple import PATIENCE, Couple, couple, run
from trouper import ActorRestarted, AskTimeout, Message, Ref, Request, actor, child
from trouper.actors.ask import Ask
from trouper.workers.link import NOBODY, Wire
from trouper.workers.waiting import wait_reading


class Echo(Request[int]):
    value: int


class Hold(Request[int]):
    """Answered when the test opens the gate."""


class Tick(Message):
    value: int


@actor(flavour=threading)
class Holder:
    entered: Any
    gate: Any

    def receive(self, message: Hold | Tick) -> int | None:
        if isinstance(message, Tick):
            return None
        self.entered.put(None)
        self.gate.get(timeout=PATIENCE)
        return 1


@actor(flavour=threading)
class Echoes:
    def receive(self, message: Echo) -> int:
        return message.value


class Stage:
    """Two actors there: one answers, one holds its answer back."""

    def __init__(self) -> None:
        self.entered: SimpleQueue[None] = SimpleQueue()
        self.gate: SimpleQueue[None] = SimpleQueue()
        self.holder = child(Holder, self.entered, self.gate).options(name="holder")
        self.echoes = child(Echoes).options(name="echoes")

    def refs(self, two: Couple) -> tuple[Ref[Any], Ref[Any]]:
        return two.ref("holder", Holder), two.ref("echoes", Echoes)

    async def has_entered(self) -> None:
        await trio.to_thread.run_sync(lambda: self.entered.get(timeout=PATIENCE))


@pytest.fixture(params=[False, True], ids=["plain", "wired"])
def wired(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def in_a_thread(found: list[Any], ref: Ref[Any], message: Any, timeout: float | None = PATIENCE) -> Thread:
    def ask() -> None:
        try:
            found.append(ref.ask_sync(message, timeout=timeout))
        except Exception as error:  # noqa: BLE001 - looked at by the test
            error.__traceback__ = None
            found.append(error)

    thread = Thread(target=ask)
    thread.start()
    return thread


def test_a_thread_that_waits_reads_for_all_and_then_gives_the_wire_back(wired: bool) -> None:
    async def body() -> None:
        stage = Stage()
        async with couple(stage.holder, stage.echoes, wired=wired) as two:
            holder, echoes = stage.refs(two)
            wire = two.here.wire
            found: list[Any] = []
            waiting = in_a_thread(found, holder, Hold())
            await stage.has_entered()
            assert wire.borrower == waiting.ident
            for number in range(50):
                assert await echoes.ask(Echo(number)) == number  # read by the thread that waits
                others: list[Any] = []
                thread = in_a_thread(others, echoes, Echo(number))  # the wire is lent: it waits in another way
                await trio.to_thread.run_sync(thread.join)
                assert others == [number]
            assert found == []
            stage.gate.put(None)
            await trio.to_thread.run_sync(waiting.join)
            assert found == [1]
            assert wire.borrower == NOBODY
            assert await echoes.ask(Echo(7)) == 7  # the wire's own thread reads again

    run(body)


def test_an_answer_that_does_not_come_in_time_gives_the_wire_back(wired: bool) -> None:
    async def body() -> None:
        stage = Stage()
        async with couple(stage.holder, stage.echoes, wired=wired) as two:
            holder, echoes = stage.refs(two)
            found: list[Any] = []
            thread = in_a_thread(found, holder, Hold(), 0.01)
            await trio.to_thread.run_sync(thread.join)
            assert isinstance(found[0], AskTimeout)
            assert two.here.wire.borrower == NOBODY
            stage.gate.put(None)
            assert await echoes.ask(Echo(1)) == 1

    run(body)


def test_a_thread_that_reads_hears_of_the_end_of_the_process(wired: bool) -> None:
    async def body() -> None:
        stage = Stage()
        async with couple(stage.holder, wired=wired) as two:
            holder = two.ref("holder", Holder)
            found: list[Any] = []
            thread = in_a_thread(found, holder, Hold())
            await stage.has_entered()
            await two.disconnect()
            await trio.to_thread.run_sync(thread.join)
            assert isinstance(found[0], ActorRestarted)
            stage.gate.put(None)

    run(body)


def test_what_is_settled_by_another_thread_wakes_the_one_that_reads() -> None:
    wire = Wire("unused")
    for _ in range(50):
        ask = Ask(Echo(1))
        done: list[bool] = []

        def wait(ask: Ask = ask, done: list[bool] = done) -> None:
            assert wire.lend()
            done.append(wait_reading(wire, ask, PATIENCE))
            wire.back()

        thread = Thread(target=wait)
        thread.start()
        ask.put(5)
        thread.join(PATIENCE)
        assert done == [True]


def test_an_idle_actor_that_reads_is_woken_by_its_own_process_too() -> None:
    """Its stop, and messages of its neighbours, come by its bell and not by the socket."""

    async def body() -> None:
        stage = Stage()
        async with couple(stage.holder, stage.echoes, wired=True) as two:
            _, echoes = stage.refs(two)
            own = two.there.daemon.ref_at("/there/echoes")
            assert own is not None
            for number in range(200):
                assert await echoes.ask(Echo(number)) == number
                assert await own.ask(Echo(-number)) == -number
            await two.there.daemon.restart("/there/echoes")
            assert await echoes.ask(Echo(1)) == 1

    run(body)
