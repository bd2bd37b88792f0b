"""Threads that wait read the wire themselves; what comes for others, and what comes from elsewhere, is not held up."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from select import EPOLLIN, select
from socket import socketpair
from threading import Thread, get_ident
from time import monotonic
from typing import Any

import pytest
import trio

from tests.actors.stage import FlavourName
from tests.workers.couple import PATIENCE, Couple, couple, run
from trouper import ActorRestarted, AskTimeout, Message, Ref, Request, actor, child
from trouper.actors.ask import Ask
from trouper.lanes.trio_lane import TrioLane
from trouper.workers.link import NOBODY, Wire
from trouper.workers.waiting import AWAKE, SHY, Gate, Sleeper, Vigil, WiredLane, wait_reading


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


# -- loops -------------------------------------------------------------------------------------------------------------
class Pass(Request[int]):
    """Ask one of there, and answer what that does."""

    whom: str


def who_asks(flavour: FlavourName, refs: dict[str, Ref[Any]]) -> Any:
    @actor(flavour=flavour)
    class Asks:
        async def receive(self, message: Pass) -> int:
            request = Hold() if message.whom == "holder" else Echo(1)
            answer: int = await refs[message.whom].ask(request, timeout=PATIENCE)
            return answer

    return child(Asks)


def until_it_is_read_by(wire: Wire, reader: int) -> None:
    """In a thread that is not the reader's."""
    deadline = monotonic() + PATIENCE
    while wire.borrower != reader:
        assert monotonic() < deadline, f"it is read by {wire.borrower}"
        os.sched_yield()


def test_a_loop_reads_what_comes_for_its_actors_while_it_sleeps_and_never_else(loop_flavour: FlavourName) -> None:
    async def body() -> None:
        refs: dict[str, Ref[Any]] = {}
        stage, asks = Stage(), who_asks(loop_flavour, refs)
        async with couple(stage.holder, stage.echoes, here=(asks,), wired=True) as two:
            refs["holder"], refs["echoes"] = stage.refs(two)
            wire, lane = two.here.wire, two.here.daemon.loops[loop_flavour]
            assert await asks.ref.ask(Pass("echoes")) == 1
            assert wire.addressee is lane
            async with trio.open_nursery() as nursery:
                nursery.start_soon(asks.ref.ask, Pass("holder"))
                await stage.has_entered()
                await trio.to_thread.run_sync(until_it_is_read_by, wire, lane.ident)
                readers: SimpleQueue[int] = SimpleQueue()
                lane.post(lambda: readers.put(wire.borrower))
                assert await trio.to_thread.run_sync(lambda: readers.get(timeout=PATIENCE)) == NOBODY
                await trio.to_thread.run_sync(until_it_is_read_by, wire, lane.ident)
                stage.gate.put(None)

    run(body)


def test_what_comes_for_others_a_loop_hands_on() -> None:
    async def body() -> None:
        refs: dict[str, Ref[Any]] = {}
        stage, asks = Stage(), who_asks("asyncio", refs)
        async with couple(stage.holder, stage.echoes, here=(asks,), wired=True) as two:
            refs["holder"], refs["echoes"] = holder, echoes = stage.refs(two)
            for number in range(50):
                assert await asks.ref.ask(Pass("echoes")) == 1  # the loop of asyncio has the wire now
                others: list[Any] = []
                thread = in_a_thread(others, echoes, Echo(number))
                await trio.to_thread.run_sync(thread.join)
                assert others == [number]
                holder.send(Tick(number))

    run(body)


def test_who_got_something_last_is_who_reads(loop_flavour: FlavourName) -> None:
    """By a message, by a request, and a thread as well as a loop."""
    ticks: SimpleQueue[int] = SimpleQueue()

    @actor(flavour=loop_flavour)
    class Ticks:
        async def receive(self, message: Tick | Echo) -> int | None:
            if isinstance(message, Echo):
                return message.value
            ticks.put(message.value)
            return None

    async def body() -> None:
        stage = Stage()
        async with couple(child(Ticks), stage.echoes, wired=True) as two:
            ref, wire, lanes = two.ref("ticks", Ticks), two.there.wire, two.there.daemon.loops
            for _ in range(3):
                ref.send(Tick(1))
                assert await trio.to_thread.run_sync(partial(ticks.get, timeout=PATIENCE)) == 1
                assert wire.addressee is lanes[loop_flavour]
                assert await two.ref("echoes", Echoes).ask(Echo(2)) == 2
                assert isinstance(wire.addressee, WiredLane)
                assert await ref.ask(Echo(3)) == 3
                assert wire.addressee is lanes[loop_flavour]
            await two.disconnect()
            assert wire.addressee is lanes[loop_flavour]

    run(body)


class Gated:
    """A gate, and a wire that has something to be read."""

    def __init__(self) -> None:
        self.wire, self.lane = Wire("unused"), TrioLane("it")
        self.lane.open_door(self, lambda _: None)
        self.gate = Gate(self.wire, self.lane)
        self.sock, self.theirs = socketpair()
        self.read: list[bytes] = []
        links: dict[int, Any] = self.wire.links
        links[self.sock.fileno()] = self
        self.wire.sockets.register(self.sock.fileno(), EPOLLIN)
        self.wire.addressee = self.lane

    def heard(self, _: int) -> None:
        self.read.append(self.sock.recv(100))

    def close(self) -> None:
        self.lane.leave_door(self)
        self.lane.door.close()
        self.sock.close()
        self.theirs.close()

    def is_open(self) -> bool:
        return bool(select([self.gate], [], [], 0)[0])


@pytest.fixture
def it() -> Iterator[Gated]:
    with closing(Gated()) as it:
        yield it


def test_a_gate_is_open_while_its_loop_has_borrowed_the_wire(it: Gated) -> None:
    it.theirs.send(b"1")
    assert not it.is_open()
    it.gate.wakes()
    assert it.read == []
    for number in range(3):
        it.gate.falls_asleep()
        it.gate.falls_asleep()  # the sleep before ended in an error of the loop
        assert it.wire.borrower == get_ident()
        assert it.is_open()
        it.gate.wakes()
        assert it.read == [b"1"] * (number + 1)
        assert it.wire.borrower == NOBODY
        it.theirs.send(b"1")
    it.wire.addressee = None
    it.gate.falls_asleep()
    assert not it.is_open()
    it.gate.wakes()
    assert len(it.read) == 3


def test_a_gate_is_closed_while_somebody_else_has_borrowed_the_wire(it: Gated) -> None:
    it.theirs.send(b"1")
    assert it.wire.lend()
    it.gate.falls_asleep()
    assert not it.is_open()
    it.gate.wakes()
    assert it.read == []
    assert it.wire.borrower == get_ident()
    it.wire.back()
    it.gate.falls_asleep()
    assert it.is_open()


def test_the_wire_is_given_back_though_reading_it_fails(it: Gated) -> None:
    it.theirs.send(b"1")
    it.gate.falls_asleep()
    del it.read
    with pytest.raises(AttributeError, match="read"):
        it.gate.wakes()
    assert it.wire.borrower == NOBODY
    assert not it.is_open()


def test_a_loop_does_not_wait_for_who_reads(it: Gated) -> None:
    it.theirs.send(b"1")
    it.gate.falls_asleep()
    with it.wire.reading:
        it.gate.wakes()
        assert it.wire.borrower == NOBODY
        it.gate.falls_asleep()
        assert it.wire.borrower == NOBODY
        assert not it.is_open()
    assert it.read == []
    it.gate.falls_asleep()
    it.gate.wakes()
    assert it.read == [b"1"]


def test_who_found_something_while_awake_stays_awake_the_next_time() -> None:
    vigil, finds = Vigil(), iter([None, None, "first", "second"])
    assert vigil.look(finds.__next__) == "first"
    assert vigil.look(finds.__next__) == "second"


def test_a_vigil_in_vain_is_followed_by_many_sleeps_without_one() -> None:
    vigil, began = Vigil(), monotonic()
    looks: list[None] = []
    for _ in range(2):
        looks.clear()
        assert vigil.look(lambda: looks.append(None)) is None
        assert looks
        looks.clear()
        for _ in range(SHY):
            assert vigil.look(lambda: looks.append(None)) is None
        assert looks == []
    assert monotonic() - began >= 2 * AWAKE


def test_a_thread_reads_what_comes_in_its_vigil_and_what_comes_after_it(it: Gated) -> None:
    sleeper = Sleeper(it.wire)
    it.theirs.send(b"1")
    sleeper.once(None)
    assert (it.read, sleeper.vigil.left) == ([b"1"], 0)
    sleeper.once(0.001)
    assert (it.read, sleeper.vigil.left) == ([b"1"], SHY)
    it.theirs.send(b"2")
    sleeper.once(None)
    assert (it.read, sleeper.vigil.left) == ([b"1", b"2"], SHY - 1)


def test_the_vigil_of_a_loop_ends_when_another_thread_rings(it: Gated) -> None:
    it.gate.falls_asleep()
    assert it.gate.vigil.left == SHY
    it.gate.wakes()
    it.gate.vigil.left = 0
    it.lane.door.call(lambda: None)
    it.gate.falls_asleep()
    assert it.gate.vigil.left == 0
    it.gate.wakes()
