"""A lane that does not turn is reported, with who holds it up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.daemon.hosts import AsyncioProgram, Host, TrioProgram
from trouper import Child, Ref, Request, actor, child, current, one_for_one, open_daemon
from trouper.daemon.watchdog import Watchdog
from trouper.events import Bus, LaneStalled
from trouper.lanes.thread_lane import ThreadLane

STALL = 0.08  # seconds; on a busy machine an idle lane may be that late, too


class Hold(Request[int]):
    """Hold the lane up until somebody lets go."""


class Pass(Request[int]):
    """Ask somebody else to hold it."""


class Gate:
    """Opened by the report of the stall."""

    def __init__(self) -> None:
        self.stalls: list[LaneStalled] = []
        self.reported = threading.Semaphore(0)

    def heard(self, event: LaneStalled) -> None:
        if event.path is not None:
            self.stalls.append(event)
            self.reported.release()

    @property
    def told(self) -> set[tuple[str | None, Any]]:
        return {(stall.path, stall.message) for stall in self.stalls}

    def wait(self) -> None:
        assert self.reported.acquire(timeout=10)


@actor(flavour="trio")
class SuspendsInTrio:
    gate: Gate

    async def receive(self, message: Hold) -> int:
        await current(self).sleep(0)
        self.gate.wait()
        return 1


@actor(flavour="asyncio")
class HoldsAtOnce:
    gate: Gate

    async def receive(self, message: Hold) -> int:
        self.gate.wait()
        return 1


@actor(flavour="asyncio")
class HoldsPlainly:
    gate: Gate

    def receive(self, message: Hold) -> int:
        self.gate.wait()
        return 1


@actor(flavour="asyncio")
class Passes:
    other: Ref[Hold]

    async def receive(self, message: Pass) -> int:
        return await self.other.ask(Hold(), timeout=None)


@pytest.mark.parametrize("kind", [SuspendsInTrio, HoldsAtOnce, HoldsPlainly])
@pytest.mark.parametrize("host", [TrioProgram(), AsyncioProgram()], ids=["trio", "asyncio"])
def test_a_stall_is_told_with_the_path_and_the_message(host: Host, kind: Callable[[Gate], Any]) -> None:
    gate = Gate()
    holder: Child[Hold] = child(kind, gate).options(name="holder")

    async def program() -> None:
        async with open_daemon(one_for_one(holder), stall_after=STALL) as daemon:
            daemon.subscribe(gate.heard, LaneStalled)
            for count in (1, 2):  # each stall is reported anew
                assert await holder.ref.ask(Hold(), timeout=None) == 1
                assert daemon.watchdog.stalls >= len(gate.stalls) >= count
                while any(knock.reported for knock in list(daemon.watchdog.knocked.values())):
                    await host.turn()  # until it turns again: what comes at once is the same stall

    host.run(program)
    assert gate.told == {("/holder", Hold())}
    for stall in gate.stalls:
        assert stall.lane == ("trio" if kind is SuspendsInTrio else "asyncio")
        assert stall.seconds >= STALL / 2
        assert "gate.wait()" in stall.stack


async def test_a_handler_that_is_stepped_inside_its_asker_is_named_and_not_the_asker() -> None:
    gate = Gate()
    tree = one_for_one(holder := child(HoldsPlainly, gate), passes := child(Passes, holder.ref))
    async with open_daemon(tree, stall_after=STALL) as daemon:
        daemon.subscribe(gate.heard, LaneStalled)
        assert await passes.ref.ask(Pass(), timeout=None) == 1
    assert gate.told == {("/holds_plainly", Hold())}


async def test_a_stall_in_on_start_is_told_with_the_path() -> None:
    @actor(flavour="asyncio", accepts=Hold)
    class HoldsAtStart:
        async def on_start(self) -> None:
            current(self).daemon.subscribe(gate.heard, LaneStalled)
            gate.wait()

        async def receive(self, message: Hold) -> int:
            return 1

    gate = Gate()
    async with open_daemon(child(HoldsAtStart), stall_after=STALL):
        pass
    assert gate.told == {("/holds_at_start", None)}


async def test_an_order_that_holds_a_lane_up_is_told_without_a_path_and_harms_nobody() -> None:
    stalls: list[LaneStalled] = []
    told = threading.Event()

    def heard(stall: LaneStalled) -> None:
        stalls.append(stall)
        told.set()

    idle = child(HoldsAtOnce, Gate())
    async with open_daemon(one_for_one(idle), stall_after=STALL) as daemon:
        daemon.subscribe(heard, LaneStalled)
        while not stalls:  # an idle lane on a busy machine may be late, too; then the order comes again
            daemon.loops["asyncio"].post(told.wait, 10)
            await trio.to_thread.run_sync(told.wait, 10)
        assert await daemon.children() == [("holds_at_once", "running")]
    assert stalls[0].path is None


async def test_a_lane_that_turns_is_not_reported() -> None:
    gate = Gate()
    async with open_daemon(one_for_one(child(HoldsAtOnce, gate)), stall_after=10.0) as daemon:
        daemon.subscribe(gate.heard, LaneStalled)
    assert not gate.stalls


@pytest.mark.once
@pytest.mark.parametrize("beside", [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_stall_is_told_within_its_time_wherever_it_begins_between_two_rounds(
    autojump_clock: trio.testing.MockClock, beside: float, answers: bool
) -> None:
    """The lane turns until it stalls, with or without a question that it has not answered yet; then no more."""
    bus, stall_after = Bus(), 4.0
    told: list[tuple[float, LaneStalled]] = []
    bus.subscribe(lambda event: told.append((trio.current_time(), event)), LaneStalled)
    lane = ThreadLane("held up")  # never launched: it turns when the test says so
    lane.ident = threading.get_ident()
    watchdog = Watchdog(lambda: [lane], bus, stall_after, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.watch)
        for _ in range(20):
            await trio.sleep(0.5)
            lane.admit()
        await trio.sleep(0.5 * beside)
        if answers:
            lane.admit()
        began = trio.current_time()
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    [(at, event)] = told
    assert event.lane == "held up"
    assert stall_after * 0.75 - 0.5 <= at - began <= stall_after
    assert event.seconds <= stall_after
