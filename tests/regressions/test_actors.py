"""What went wrong in the life of one actor, each defect with the test that would have told."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from threading import get_ident
from time import monotonic
from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.stage import (
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Host,
    Note,
    Number,
    checkpoint,
    outcome,
    role,
    until,
)
from trouper import (
    ActorRestarted,
    ActorStopped,
    Daemon,
    DaemonFailed,
    Inbox,
    Mailbox,
    Request,
    StartFailed,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
)
from trouper.events import DeadLetter
from trouper.lanes.slot import Slot
from trouper.testing import Trial


class Lost(Request["Missing"]):  # type: ignore[name-defined]  # pyright: ignore[reportUndefinedVariable]
    """Its reply type cannot be resolved."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


# -- messages and failures ---------------------------------------------------------------------------------------------
def test_an_asker_learns_that_the_reply_type_of_its_request_is_unknown(flavour: FlavourName, host: Host) -> None:
    @role(flavour, accepts=Lost)
    class Answers:
        async def receive(self, message: Any) -> Any:
            return 1

    one: Any = child(Answers)

    async def body(daemon: Daemon) -> None:
        error = await outcome(lambda: one.ref.ask(Lost(), timeout=5))
        assert isinstance(error, TypeError)
        assert "Missing" in str(error)

    host.run(one_for_one(one), body)


def test_an_exception_that_cannot_be_shown_is_a_crash_like_any_other(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Frail:
        async def receive(self, message: Crash) -> None:
            raise Mute

    one = child(Frail)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        one.ref.send(Crash())
        await events.started("/frail")
        assert isinstance((await events.ended("/frail")).reason.cause, Mute)

    host.run(one_for_one(one), body)


def test_a_stop_iteration_in_the_run_of_a_thread_is_a_crash(host: Host) -> None:
    seen = Diary()

    @actor(flavour="threading", restart="transient")
    class Runs:
        def run(self) -> None:
            seen("run")
            if len(seen.entries) == 1:
                next(iter([]))

    async def body(daemon: Daemon) -> None:
        await seen.until(2)

    host.run(one_for_one(child(Runs)), body)


def test_a_stop_iteration_in_the_on_start_of_a_thread_is_a_failed_start(host: Host) -> None:
    @actor(flavour="threading")
    class Starts:
        def on_start(self) -> None:
            next(iter([]))

        def receive(self, message: Note) -> None: ...

    async def body(daemon: Daemon) -> None:
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(child(Starts)), body)
    assert isinstance(caught.value.__cause__, StartFailed)
    caught.value.__traceback__ = None


def test_a_kill_does_not_hide_the_crash_before_it() -> None:
    async def fails() -> None:
        raise Boom("the real cause")

    @actor(flavour="trio", shutdown=0.1)
    class Busy:
        async def receive(self, message: Note) -> None:
            current(self).start_soon(fails)
            await trio.sleep_forever()

    one = child(Busy)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        one.ref.send(Note())
        assert str((await events.ended("/busy")).reason.cause) == "the real cause"

    Host("trio").run(one_for_one(one), body)


def test_an_actor_that_listens_for_dead_letters_is_not_told_of_its_own_without_end(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour, restart="temporary")
    class Log:
        async def receive(self, message: DeadLetter | Note) -> None:
            current(self).stop()

    one = child(Log)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        one.ref.send(Note())
        await events.ended("/log")
        await until(lambda: one.ref.cell.state == "closed")
        before = daemon.dead_letters
        daemon.subscribe(one.ref.send, DeadLetter)
        one.ref.send(Note())
        assert daemon.dead_letters - before <= 2

    host.run(one_for_one(one), body)


# -- stops -------------------------------------------------------------------------------------------------------------
def test_a_stop_that_another_handler_calls_holds_the_next_message_back(loop_flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    stops: list[Any] = []

    @role(loop_flavour, restart="temporary")
    class Stopped:
        async def receive(self, message: Note | Number) -> int:
            seen(message)
            stops.append(current(self).stop)
            return 1

    @role(loop_flavour)
    class Stopper:
        other: Any

        async def receive(self, message: Note) -> None:
            self.other.send(Note("too late"))
            stops[0]()

    one: Any = child(Stopped)
    other = child(Stopper, one.ref)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        await one.ref.ask(Number())
        other.ref.send(Note())
        assert (await events.ended("/stopped")).reason.kind == "normal"

    host.run(one_for_one(one, other), body)
    assert seen == [Number()]


def test_an_actor_that_drains_and_stops_itself_ends_soon(loop_flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(loop_flavour, drain=True, shutdown=5.0)
    class Drains:
        async def receive(self, message: Note) -> None:
            seen(message.text)
            me = current(self)
            me.daemon.stop()
            while not me._cell.stop_wanted:
                await me.sleep(0)
            me.stop()
            await me.sleep(0)

    one = child(Drains)

    async def main() -> None:
        async with open_daemon(one_for_one(one), stop_within=10.0):
            one.ref.send(Note("first"))
            one.ref.send(Note("second"))
            await seen.until(1)

    begin = monotonic()
    host.loop(main)
    assert seen.entries[0] == "first"  # whether the second is handled depends on which stop comes first
    assert monotonic() - begin < 4


def test_who_waits_for_a_claimed_request_hears_at_once_that_its_life_is_over(flavour: FlavourName, host: Host) -> None:
    claims: list[Any] = []

    @role(flavour)
    class Claims:
        async def receive(self, message: Number | Crash) -> Any:
            if isinstance(message, Crash):
                raise Boom
            claims.append(current(self).reply_to(message))
            one.ref.send(Crash())
            return None

    one: Any = child(Claims)

    async def body(daemon: Daemon) -> None:
        assert isinstance(await outcome(lambda: one.ref.ask(Number(), timeout=5)), ActorRestarted)

    host.run(one_for_one(one), body)


@pytest.mark.once
def test_an_actor_that_was_left_behind_answers_nobody_and_keeps_nothing(host: Host) -> None:
    begun, hold = threading.Event(), threading.Event()

    @actor(flavour="threading", shutdown=0.05)
    class Hangs:
        def receive(self, message: Note | Number) -> int | None:
            if isinstance(message, Number):
                return 1
            begun.set()
            hold.wait(5)
            return None

    one: Any = child(Hangs)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(one.ref.ask_sync(Number(), timeout=5))
        except ActorStopped as error:
            answers.append(error)

    asking = threading.Thread(target=ask)

    async def body(daemon: Daemon) -> None:
        one.ref.send(Note())
        await until(begun.is_set)
        asking.start()
        await until(lambda: len(one.ref.box) == 1)

    try:
        with pytest.raises(DaemonFailed) as caught:
            host.run(one_for_one(one), body)
        asking.join(2)
        assert [type(answer) for answer in answers] == [ActorStopped]
        assert one.ref.cell.state == "closed"
        assert not one.ref.box
        caught.value.__traceback__ = None
    finally:
        hold.set()


# -- inboxes, offers and tasks -----------------------------------------------------------------------------------------
def test_ticks_beside_a_loop_over_the_inbox_do_not_take_its_wakeups() -> None:
    seen = Diary()
    ticks = Diary()

    @actor(flavour="trio")
    class Ticks:
        async def run(self, inbox: Inbox[Note]) -> None:
            async def tick() -> None:
                async for _ in inbox.ticks(0.01):
                    ticks("tick")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick)
                async for message in inbox:
                    seen(message.text)

    one = child(Ticks)

    async def body(daemon: Daemon) -> None:
        for count in range(1, 4):
            await ticks.until(2 * count)
            one.ref.send(Note(count))
            await seen.until(count)

    Host("trio").run(one_for_one(one), body)
    assert seen == [1, 2, 3]


def test_an_offer_while_a_failed_start_ends_is_refused_at_once() -> None:
    ending, end = trio.Event(), trio.Event()
    offered: list[Any] = []

    async def slow_to_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                ending.set()
                await end.wait()

    @actor(flavour="trio", mailbox=Mailbox(1), restart="temporary")
    class Fails:
        async def on_start(self) -> None:
            current(self).start_soon(slow_to_end)
            await current(self).sleep(0.01)
            raise Boom

        async def receive(self, message: Note) -> None: ...

    @actor(flavour="trio")
    class Parent:
        async def receive(self, message: Echo) -> Any:
            ref = current(self).spawn(child(Fails))
            ref.send(Note())
            await ending.wait()

            async def offers() -> None:
                offered.append(await outcome(lambda: ref.offer(Note())))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(offers)
                await trio.testing.wait_all_tasks_blocked()
                end.set()
            return len(offered)

    parent = child(Parent)

    async def body(daemon: Daemon) -> None:
        assert await parent.ref.ask(Echo(), timeout=5) == 1

    Host("trio").run(one_for_one(parent), body)


def test_a_task_that_crashes_ends_an_on_start_that_waits() -> None:
    async def fails() -> None:
        raise Boom("the task failed")

    @actor(flavour="trio", shutdown=5.0)
    class Waits:
        async def on_start(self) -> None:
            current(self).start_soon(fails)
            await trio.sleep_forever()

        async def receive(self, message: Note) -> None: ...

    async def body(daemon: Daemon) -> None: ...

    begin = monotonic()
    with pytest.raises(DaemonFailed) as caught:
        Host("trio").run(one_for_one(child(Waits)), body)
    assert monotonic() - begin < 3
    caught.value.__traceback__ = None


def test_the_actor_of_a_crash_is_not_kept_by_a_task_that_waits_for_more(
    loop_flavour: FlavourName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trouper"), "disabled", True)  # pytest keeps the tracebacks of records
    lives = Diary()

    @role(loop_flavour, restart="temporary")
    class Crashes:
        async def receive(self, message: Note) -> None:
            lives(weakref.ref(self))
            await current(self).sleep(0)
            raise Boom

    @role(loop_flavour)
    class Parent:
        async def receive(self, message: Note) -> None:
            current(self).spawn(child(Crashes)).send(Note())

    parent = child(Parent)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        parent.ref.send(Note())
        [life] = await lives.until(1)
        await events.ended("/parent/crashes-1")
        events.entries.clear()
        for _ in range(20):
            await checkpoint()
            gc.collect(1)
        gc.collect()
        assert life() is None

    Host(loop_flavour).run(one_for_one(parent), body)


# -- lanes -------------------------------------------------------------------------------------------------------------
def test_orders_that_bring_about_orders_leave_the_tasks_of_their_loop_their_turn(
    loop_flavour: FlavourName, host: Host
) -> None:
    """They went on without an end: a signal, or a reload, waited until a crash loop was over."""

    async def body(daemon: Daemon) -> None:
        slot: Slot[None] = Slot()

        async def task() -> None:
            slot.put(None)

        def again(lane: Any) -> None:
            if not slot.done:
                lane.post(again, lane)

        def begin(lane: Any) -> None:
            again(lane)
            lane.start_task(task, (), lambda task, error: None)

        for lane in (daemon.loops[loop_flavour], daemon.control):
            slot = Slot()
            lane.post(begin, lane)
            await slot.wait()

    host.run(one_for_one(), body)


def test_the_timers_of_a_thread_keep_their_order_though_their_clock_is_looked_at_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Diary()

    @role("threading")
    class Sets:
        async def receive(self, message: Note) -> None:
            seen(message.text)
            if message.text == "both":
                current(self).after(5, Note("first"))
                current(self).after(5.5, Note("second"))

    sets = child(Sets)
    with Trial(one_for_one(sets)) as t:
        control, now, late = t.daemon.control, t.daemon.control.now, [1.0]

        def held_up() -> float:
            """Somebody else has the processor for a second after the first look."""
            at = now()
            if get_ident() == control.ident and late:
                t._time.now += late.pop()
            return at

        monkeypatch.setattr(control, "now", held_up)
        sets.ref.send(Note("both"))
        t.advance(10)
    assert seen == ["both", "first", "second"]
