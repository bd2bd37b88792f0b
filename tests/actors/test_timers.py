"""Timers: what an actor sends to itself, later; and what becomes of ticks that nobody wants any more."""

from __future__ import annotations

import gc
import math
from typing import Any

import attrs
import pytest

from tests.actors.stage import Boom, Crash, Diary, FlavourName, Gate, Host, Note, Read, ask, in_thread, role, until
from trouper import (
    Daemon,
    Inbox,
    MessageTypeError,
    NotRunning,
    SpecError,
    TimerHandle,
    UsageError,
    child,
    current,
    one_for_one,
)
from trouper.actors.urgent import urgent_ahead

SOON = 0.002  # seconds


def puppet(flavour: FlavourName, seen: Diary, acts: dict[str, Any], **options: Any) -> Any:
    """It notes what it gets, and does what stands under that word in `acts`."""

    @role(flavour, **options)
    class Puppet:
        async def receive(self, message: Note | Crash | Read) -> Any:
            if isinstance(message, Crash):
                raise Boom
            if isinstance(message, Read):
                return list(seen.entries)
            seen(message.text)
            if (act := acts.get(message.text)) is not None:
                await act(current(self))
            return None

    return Puppet


async def queued(ref: Any, count: int) -> None:
    """Wait until so many ticks are in the mailbox (or, of a thread that is busy, on their way to it)."""
    on_their_way = ref.lane.orders if ref.cell.threaded else ()  # of a loop it could be a knock of the watchdog
    await until(lambda: urgent_ahead(ref.box) + len(on_their_way) >= count)


def test_a_message_comes_once_after_a_while(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        me.after(0, Note("first"))
        me.after(SOON, Note("second"))

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(3)
        assert not actor.ref.cell.timers, "nothing is kept of a timer that has come"

    host.run(one_for_one(actor), body)
    assert seen == ["start", "first", "second"]


def test_a_tick_goes_before_the_messages_of_others(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        me.after(0, Note("tick"))
        await gate.passed()

    seen, gate = Diary(), Gate()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        for text in ("start", "1", "2"):
            actor.ref.send(Note(text))
        await seen.until(1)
        await queued(actor.ref, 1)
        gate.open()
        await seen.until(4)

    host.run(one_for_one(actor), body)
    assert seen == ["start", "tick", "1", "2"]


def test_an_actor_with_run_gets_its_ticks_from_the_inbox(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note]) -> None:
            timer = current(self).every(SOON, Note("tick"))
            async for message in inbox:
                seen(message.text)
                if len(seen.entries) == 3:
                    timer.cancel()

    async def body(daemon: Daemon) -> None:
        await seen.until(3)

    host.run(one_for_one(child(Looping)), body)
    assert seen == ["tick"] * 3


def test_a_timer_may_be_set_while_the_actor_starts(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Early:
        def __attrs_post_init__(self) -> None:
            current(self).after(0, Note("constructed"))

        async def on_start(self) -> None:
            current(self).after(0, Note("started"))

        async def receive(self, message: Note) -> None:
            seen(message.text)

    async def body(daemon: Daemon) -> None:
        await seen.until(2)

    host.run(one_for_one(child(Early)), body)
    assert seen == ["constructed", "started"]


def test_ticks_come_again_and_again_until_the_timer_is_cancelled(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        timers.append(me.every(SOON, Note("tick")))

    async def tick(me: Any) -> None:
        if seen.entries.count("tick") == 4:
            timers[0].cancel()
            timers[0].cancel()
            me.after(4 * SOON, Note("end"))

    seen, timers = Diary(), list[TimerHandle]()
    actor = child(puppet(flavour, seen, {"start": start, "tick": tick}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(lambda entries: "end" in entries)

    host.run(one_for_one(actor), body)
    assert seen == ["start", *["tick"] * 4, "end"]


def test_a_timer_can_be_cancelled_by_its_key(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        me.every(SOON, Note("tick"), key=("a", 1))
        seen(me.cancel(("a", 1)))
        seen(me.cancel(("a", 1)))
        me.after(3 * SOON, Note("end"))

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(4)

    host.run(one_for_one(actor), body)
    assert seen == ["start", True, False, "end"]


def test_a_timer_can_be_cancelled_from_another_thread(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        timers.append(me.after(1000.0, Note("late")))

    seen, timers = Diary(), list[TimerHandle]()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(1)
        await actor.ref.ask(Read())
        await in_thread(timers[0].cancel)
        await until(lambda: not actor.ref.cell.timers)

    host.run(one_for_one(actor), body)


# -- ticks that nobody wants any more ----------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["replaced", "cancelled", "cancelled by key"])
def test_a_queued_tick_of_a_timer_that_is_gone_is_discarded(flavour: FlavourName, host: Host, how: str) -> None:
    async def start(me: Any) -> None:
        me.after(0, Note("first"))
        timers.append(me.every(SOON, Note("old"), key="k"))
        await gate.passed()

    async def first(me: Any) -> None:
        if how == "replaced":
            me.after(0, Note("new"), key="k")
        elif how == "cancelled":
            timers[0].cancel()
        else:
            assert me.cancel("k")
        me.after(2 * SOON, Note("end"))

    seen, gate, timers = Diary(), Gate(), list[TimerHandle]()
    actor = child(puppet(flavour, seen, {"start": start, "first": first}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(1)
        await queued(actor.ref, 2)
        gate.open()
        await seen.until(lambda entries: "end" in entries)
        assert daemon.dead_letters == 0

    host.run(one_for_one(actor), body)
    assert seen == ["start", "first", *(["new"] if how == "replaced" else []), "end"]


def test_a_queued_tick_of_an_earlier_generation_is_discarded(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        me.after(0, Note("old"))
        me.every(SOON, Note("old"))
        await gate.passed()
        raise Boom

    async def again(me: Any) -> None:
        me.after(3 * SOON, Note("end"))

    seen, gate = Diary(), Gate()
    actor = child(puppet(flavour, seen, {"start": start, "again": again}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(1)
        await queued(actor.ref, 2)
        actor.ref.send(Note("again"))
        gate.open()
        await seen.until(3)
        assert daemon.dead_letters == 1, "the message that crashed it"

    host.run(one_for_one(actor), body)
    assert seen == ["start", "again", "end"]


def test_timers_end_with_their_generation(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        timers.append(me.every(1000.0, Note("old")))
        contexts.append(me)

    seen, timers, contexts = Diary(), list[TimerHandle](), list[Any]()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        actor.ref.send(Crash())
        await actor.ref.ask(Read())
        assert not actor.ref.cell.timers
        assert timers[0]._alarm.fn is None
        for call in (contexts[0].after, contexts[0].every):
            with pytest.raises(NotRunning):
                call(1.0, Note())

    host.run(one_for_one(actor), body)


def test_a_request_may_be_a_tick_and_its_reply_is_dropped(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Asking:
        async def on_start(self) -> None:
            current(self).after(0, Read())

        async def receive(self, message: Read) -> list[Any]:
            seen(message)
            return []

    async def body(daemon: Daemon) -> None:
        await seen.until(1)
        assert daemon.dead_letters == 0

    host.run(one_for_one(child(Asking)), body)


def test_the_tick_that_crashes_its_actor_is_a_dead_letter(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        me.after(0, Crash())

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await until(lambda: daemon.dead_letters)
        assert await actor.ref.ask(Read()) == ["start"]

    host.run(one_for_one(actor), body)


# -- nothing is left behind --------------------------------------------------------------------------------------------
def test_many_timers_that_are_set_and_cancelled_leave_nothing(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        for number in range(10_000):
            me.after(1000.0 + number, Note())
            me.after(1000.0, Note(), key="same")
            if number % 100 == 0:
                cancel_all(me)
        cancel_all(me)

    def cancel_all(me: Any) -> None:
        for timer in list((actor.ref.cell.timers or {}).values()):
            timer.cancel()

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await ask(actor.ref, Read())
        assert not actor.ref.cell.timers
        await until(lambda: not actor.ref.cell.world.control.orders)
        await until(lambda: pending(actor.ref) < 300)
        gc.collect()
        assert sum(isinstance(one, TimerHandle) for one in gc.get_objects()) < 10

    host.run(one_for_one(actor), body)


def pending(ref: Any) -> int:
    """How many timers the loop holds that keeps them for this actor."""
    lane = ref.cell.world.control if ref.cell.threaded else ref.lane
    if lane.flavour == "trio":
        return len(lane.timers._heap)
    return len(lane.loop._scheduled)


# -- drift and bursts, with a clock of our own -------------------------------------------------------------------------
@attrs.define
class FakeLane:
    """It runs calls when it is told that time has passed."""

    time: float = 0.0
    calls: list[Any] = attrs.field(factory=list)

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, fn: Any) -> Any:
        self.calls.append((self.time + seconds, fn))
        return Cancellable()

    def advance_to(self, time: float) -> None:
        """Late, as a loop is that was busy."""
        self.time = time
        due = [fn for when, fn in self.calls if when <= time]
        self.calls = [(when, fn) for when, fn in self.calls if when > time]
        for fn in due:
            fn()


class Cancellable:
    def cancel(self) -> None: ...


@attrs.define(eq=False)
class FakeCell:
    """An actor whose mailbox is a list."""

    lane: FakeLane
    box: list[Any] = attrs.field(factory=list)
    timers: Any = None
    threaded: bool = False
    generation: int = 1
    instance: str = "there"
    state: str = "running"
    path: str = "/fake"

    @property
    def ref(self) -> Any:
        return self

    def press(self, tick: Any) -> None:
        self.box.append(tick)

    def handle_all(self) -> list[Any]:
        ticks, self.box = self.box, []
        return [tick.message for tick in ticks if tick.take()]


def repeating(every: float) -> tuple[Any, FakeLane, TimerHandle]:
    lane = FakeLane()
    cell: Any = FakeCell(lane)
    return cell, lane, TimerHandle(cell, every, "tick", repeats=True, key=None)


def test_a_late_tick_does_not_make_the_next_one_late() -> None:
    cell, lane, _ = repeating(1.0)
    for late in (0.0, 0.4, 0.9, 0.1):
        when = lane.calls[0][0]
        assert when == int(when), "on the grid"
        lane.advance_to(when + late)
        assert cell.handle_all() == ["tick"]


def test_ticks_that_a_stall_missed_come_once() -> None:
    cell, lane, _ = repeating(1.0)
    lane.advance_to(5.5)
    assert cell.handle_all() == ["tick"]
    assert [when for when, _ in lane.calls] == [6.0]


def test_a_tick_that_waits_is_not_doubled() -> None:
    cell, lane, _ = repeating(1.0)
    for second in (1.0, 2.0, 3.0):
        lane.advance_to(second)
    assert len(cell.box) == 1
    assert cell.handle_all() == ["tick"]
    lane.advance_to(4.0)
    assert cell.handle_all() == ["tick"]


def test_a_cancelled_timer_does_not_tick_though_its_call_was_under_way() -> None:
    cell, lane, timer = repeating(1.0)
    timer.stop()
    lane.advance_to(1.0)
    assert cell.box == []
    assert cell.timers == {}


# -- refusals ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "1", True, None], ids=repr)
def test_bad_seconds_are_refused(flavour: FlavourName, host: Host, seconds: Any) -> None:
    async def start(me: Any) -> None:
        for call, given in ((me.after, seconds), (me.every, seconds), (me.every, 0)):
            with pytest.raises(SpecError, match="allowed: seconds: a finite number") as caught:
                call(given, Note())
            assert caught.value.path == "/puppet"
            assert caught.value.given is given
        seen("refused")

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(2)

    host.run(one_for_one(actor), body)


def test_a_message_that_the_mailbox_does_not_take_is_refused(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        for call in (me.after, me.every):
            with pytest.raises(MessageTypeError, match=r"allowed: .*Note"):
                call(1.0, "text")
        seen("refused")

    seen = Diary()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(2)

    host.run(one_for_one(actor), body)


def test_timers_are_set_in_the_actors_own_thread_only(flavour: FlavourName, host: Host) -> None:
    async def start(me: Any) -> None:
        contexts.append(me)

    seen, contexts = Diary(), list[Any]()
    actor = child(puppet(flavour, seen, {"start": start}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await actor.ref.ask(Read())
        me = contexts[0]
        for call in (lambda: me.after(1, Note()), lambda: me.every(1, Note()), lambda: me.cancel("k")):
            with pytest.raises(UsageError, match="another thread"):
                await in_thread(call)

    host.run(one_for_one(actor), body)
