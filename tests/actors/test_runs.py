"""Actors that loop themselves: their inbox, their ticks, and how their loops end."""

from __future__ import annotations

from threading import Event
from time import monotonic
from typing import Any, Never

import pytest
import trio

from tests.actors.stage import (
    Boom,
    Diary,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    Read,
    for_ever,
    nothing,
    outcome,
    role,
    turn,
    until,
)
from trouper import (
    Daemon,
    DaemonFailed,
    Inbox,
    Limit,
    RestartLimitExceeded,
    Stopping,
    SyncInbox,
    actor,
    child,
    current,
    one_for_one,
)
from trouper.actors import inbox as inbox_module
from trouper.events import ActorEnded, Restarting


def test_a_loop_over_the_inbox_sees_its_end_when_a_stop_is_asked(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                seen(message.text)
            seen("the end")

        async def on_stop(self, reason: Any) -> None:
            seen(reason.kind)

    seen = Diary()
    looping = child(Looping)

    async def body(daemon: Daemon) -> None:
        looping.ref.send(Note(1))
        await seen.until(1)
        assert await daemon.terminate("/looping") == "ok"
        assert seen == [1, "the end", "shutdown"]

    host.run(one_for_one(looping), body)


def test_an_idle_loop_wakes_for_each_message(flavour: FlavourName, host: Host) -> None:
    """Its first wait begins before any message is there."""

    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                seen(message.text)

    seen = Diary()
    looping = child(Looping)

    async def body(daemon: Daemon) -> None:
        for n in range(1, 20):
            looping.ref.send(Note(n))
            await seen.until(n)

    host.run(looping, body)


def test_get_raises_stopping_when_a_stop_is_asked(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Getting:
        async def run(self, inbox: Inbox[Note]) -> None:
            try:
                while True:
                    seen((await inbox.get()).text)
            except Stopping:
                seen("stopping")
                raise

    seen = Diary()
    getting = child(Getting)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        getting.ref.send(Note(1))
        await seen.until(1)
        await daemon.terminate("/getting")
        assert seen == [1, "stopping"]
        assert events.of(ActorEnded)[0].reason.kind == "shutdown"

    host.run(one_for_one(getting), body)


@pytest.mark.parametrize("how", ["task group", "group by hand"])
def test_a_stopping_that_comes_out_of_a_nursery_is_an_orderly_end(
    loop_flavour: FlavourName, host: Host, how: str
) -> None:
    @role(loop_flavour)
    class Grouped:
        async def run(self, inbox: Inbox[Note]) -> None:
            if loop_flavour == "trio" and how == "task group":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    await inbox.get()
            try:
                await inbox.get()
            except Stopping as exc:
                raise BaseExceptionGroup("tasks", [exc]) from None

    grouped = child(Grouped)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        cell: Any = grouped.ref.cell
        await until(lambda: cell.inbox is not None and cell.inbox._waiter)
        await daemon.terminate("/grouped")
        assert events.of(ActorEnded)[0].reason.kind == "shutdown"

    host.run(one_for_one(grouped), body)


def test_messages_that_a_loop_did_not_take_wait_for_its_next_life(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Taking:
        async def run(self, inbox: Inbox[Note]) -> None:
            seen((current(self).generation, (await inbox.get()).text))

    seen = Diary()
    taking = child(Taking)

    async def body(daemon: Daemon) -> None:
        for n in range(3):
            taking.ref.send(Note(n))
        assert await seen.until(3) == [(1, 0), (2, 1), (3, 2)]
        assert daemon.dead_letters == 0

    host.run(one_for_one(taking), body)


def test_a_run_that_returns_ends_normal_and_is_restarted_and_counted(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Returning:
        async def run(self, inbox: Inbox[Note]) -> None:
            await inbox.get()

    returning = child(Returning)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded, Restarting)
        for n in range(3):
            returning.ref.send(Note(n))
        await until(lambda: len(events.entries) == 4)
        assert [ended.reason.kind for ended in events.of(ActorEnded)] == ["normal", "normal"]
        assert [(one.used, one.allowed) for one in events.of(Restarting)] == [(1, 2), (2, 2)]
        await for_ever_in_body()

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(returning, restarts=Limit(2, within=30.0)), body)
    assert isinstance(caught.value.__cause__, RestartLimitExceeded)


async def for_ever_in_body() -> None:
    await until(lambda: False)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_run_that_returns_is_not_restarted_if_that_is_not_wanted(
    flavour: FlavourName, host: Host, restart: Any
) -> None:
    @role(flavour, restart=restart)
    class Returning:
        async def run(self) -> None:
            seen("once")

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(1)
        await until(lambda: returning.ref.cell.state == "closed")
        assert await daemon.children() == ([("returning", "undefined")] if restart == "transient" else [])
        assert seen == ["once"]

    returning = child(Returning)
    host.run(one_for_one(returning), body)


def test_a_service_is_cancelled_when_a_stop_is_asked(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Serving:
        async def run(self) -> None:
            try:
                seen("serving")
                await for_ever(self)
            finally:
                seen("cancelled")

        async def on_stop(self, reason: Any) -> None:
            seen(reason.kind)

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(child(Serving), body)
    assert seen == ["serving", "cancelled", "shutdown"]


def test_a_loop_that_waits_for_something_else_is_cancelled_by_a_stop(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Elsewhere:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for _ in inbox:
                seen("away")
                await for_ever(self)

    seen = Diary()
    elsewhere = child(Elsewhere)

    async def body(daemon: Daemon) -> None:
        elsewhere.ref.send(Note())
        await seen.until(1)

    host.run(elsewhere, body)
    assert seen == ["away"]


def test_a_stop_that_comes_before_the_first_step_of_run_is_heard(flavour: FlavourName, host: Host) -> None:
    """The constructor holds its lane until the stop is on its way, with messages waiting."""

    @role(flavour)
    class Late:
        daemon: Daemon

        def __attrs_post_init__(self) -> None:
            self.daemon.stop()
            while not places[0].ref.cell.stop_wanted:
                pass

        async def run(self, inbox: Inbox[Note]) -> None:
            await inbox.get()

    async def body(daemon: Daemon) -> None:
        late = child(Late, daemon)
        places.append(late)
        for n in range(4):
            late.ref.send(Note(n))
        assert await daemon.start(late) == "shutting_down"

    places: list[Any] = []
    host.run(one_for_one(), body)


# -- ticks -------------------------------------------------------------------------------------------------------------
def test_ticks_come_again_and_again_until_a_stop_is_asked(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Ticking:
        async def run(self, inbox: Inbox[Never]) -> None:
            async for _ in inbox.ticks(every=0.001):
                ticks("tick")
            ticks("the end")

    ticks = Diary()

    async def body(daemon: Daemon) -> None:
        await ticks.until(5)

    host.run(child(Ticking), body)
    assert ticks.entries[-1] == "the end"


def test_long_pauses_between_ticks_do_not_hold_up_a_stop(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Ticking:
        async def run(self, inbox: Inbox[Never]) -> None:
            async for _ in inbox.ticks(every=1e6):
                ticks("tick")

    ticks = Diary()

    async def body(daemon: Daemon) -> None:
        await ticks.until(1)

    host.run(child(Ticking), body)
    assert ticks == ["tick"]


def test_what_a_stall_made_late_comes_once_and_not_in_a_burst() -> None:
    """The grid of the ticks stays; those that were missed are left out."""
    assert inbox_module.next_due(10.0, 1.0, 10.2) == 11.0
    assert inbox_module.next_due(10.0, 1.0, 14.5) == 15.0
    assert inbox_module.next_due(10.0, 1.0, 11.0) == 11.0
    with pytest.raises(ValueError, match="every=0"):
        inbox_module.next_due(10.0, 0, 10.0)


def test_after_a_stall_ticks_go_on_in_their_rhythm(flavour: FlavourName, host: Host) -> None:
    """The stall lasts for some ticks; each of them would come at once if they were made up for."""

    @role(flavour)
    class Stalling:
        async def run(self, inbox: Inbox[Never]) -> None:
            times: list[float] = []
            async for _ in inbox.ticks(every=0.02):
                times.append(monotonic())
                if len(times) == 1:
                    while monotonic() < times[0] + 0.11:
                        pass
                if len(times) == 4:
                    done(times)
                    return

    done = Diary()

    async def body(daemon: Daemon) -> None:
        ((first, second, _, fourth),) = await done.until(1)
        assert second - first >= 0.11
        assert fourth - second >= 0.02  # two ticks later: in a burst they would all come now

    host.run(one_for_one(child(Stalling).options(restart="temporary")), body)


def test_messages_wait_while_the_inbox_ticks(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Both:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for _ in inbox.ticks(every=0.001):
                if len(inbox) == 2:
                    break
            async for message in inbox:
                seen(message.text)

    seen = Diary()
    both = child(Both)

    async def body(daemon: Daemon) -> None:
        both.ref.send(Note(1))
        both.ref.send(Note(2))
        assert await seen.until(2) == [1, 2]

    host.run(both, body)


# -- threads only ------------------------------------------------------------------------------------------------------
def test_a_thread_can_wait_for_a_message_for_some_time_only(host: Host) -> None:
    @actor(flavour="threading")
    class Patient:
        def run(self, inbox: SyncInbox[Note]) -> None:
            with pytest.raises(TimeoutError, match=r"no message in 0.001 s"):
                inbox.get(timeout=0.001)
            seen("in vain")
            seen(inbox.get(timeout=10.0).text)
            for_ever_in_thread(self)

    def for_ever_in_thread(me: Any) -> None:
        current(me).sleep_sync(1e6)

    seen = Diary()
    patient = child(Patient)

    async def body(daemon: Daemon) -> None:
        await seen.until(1)
        patient.ref.send(Note("there"))
        assert await seen.until(2) == ["in vain", "there"]

    host.run(patient, body)


def test_a_blocking_run_is_interrupted_once_when_a_stop_is_asked(host: Host) -> None:
    @actor(flavour="threading")
    class Blocking:
        def run(self) -> None:
            seen("blocking")
            released.wait()

        def interrupt(self) -> None:
            seen("interrupted")
            released.set()

    released, seen = Event(), Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(child(Blocking), body)
    assert seen == ["blocking", "interrupted"]


def test_a_blocking_handler_is_interrupted_and_no_further_message_is_begun(host: Host) -> None:
    """Nobody would interrupt a second one: the stop comes before the messages that wait."""

    @actor(flavour="threading")
    class Blocking:
        def receive(self, message: Note) -> None:
            seen(message.text)
            released.wait()
            released.clear()

        def interrupt(self) -> None:
            blocking.ref.send(Note("second"))
            released.set()

    released, seen = Event(), Diary()
    blocking = child(Blocking)

    async def body(daemon: Daemon) -> None:
        blocking.ref.send(Note("first"))
        await seen.until(1)

    host.run(blocking, body)
    assert seen == ["first"]


def test_a_thread_that_loops_by_itself_sees_that_it_shall_stop(host: Host) -> None:
    @actor(flavour="threading")
    class Spinning:
        def run(self) -> None:
            seen("spinning")
            while not current(self).stopping:
                pass

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(child(Spinning), body)


# -- stopping itself ---------------------------------------------------------------------------------------------------
def test_a_loop_can_stop_itself_and_takes_no_further_message(flavour: FlavourName, host: Host) -> None:
    @role(flavour, restart="transient")
    class Quitting:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                seen(message.text)
                if message.text == "quit":
                    current(self).stop()

    seen = Diary()
    quitting = child(Quitting)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        for text in ("one", "quit", "never"):
            quitting.ref.send(Note(text))
        ended = await events.ended("/quitting")
        assert ended.reason.kind == "normal"
        assert seen == ["one", "quit"]
        await until(lambda: daemon.dead_letters == 1)

    host.run(one_for_one(quitting), body)


def test_a_loop_without_waits_sees_that_it_stopped_itself(flavour: FlavourName, host: Host) -> None:
    @role(flavour, restart="temporary")
    class Quitting:
        async def run(self) -> None:
            current(self).stop()
            while not current(self).stopping:
                await turn(self)
            seen("the end")

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await until(lambda: quitting.ref.cell.state == "closed")

    quitting = child(Quitting)
    host.run(one_for_one(quitting), body)
    assert seen.entries in (["the end"], [])  # an async one may be cancelled in its `turn`


def test_the_failure_of_a_run_is_a_crash(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Failing:
        async def run(self, inbox: Inbox[Read]) -> None:
            await inbox.get()
            raise Boom

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        await outcome(lambda: failing.ref.ask(Read()))
        ended = await events.ended("/failing")
        assert (ended.reason.kind, type(ended.reason.cause)) == ("crashed", Boom)

    host.run(one_for_one(failing), body)


def test_a_tree_of_services_comes_up_and_goes_down(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Serving:
        gate: Gate

        async def run(self) -> None:
            await for_ever(self)

    host.run(one_for_one(*[child(Serving, Gate()) for _ in range(10)]), nothing)
