"""Hooks and failures: what crashes an actor, what goes to the root, and the one record of each death."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import Any

import pytest
import trio

from tests.actors.stage import (
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Host,
    Note,
    Read,
    for_ever,
    nothing,
    role,
    turn,
    until,
)
from trouper import (
    ActorRestarted,
    Daemon,
    DaemonFailed,
    Declined,
    Inbox,
    Limit,
    RestartLimitExceeded,
    Shutdown,
    StartFailed,
    StrayCancellation,
    child,
    current,
    one_for_one,
)
from trouper.events import ActorDeclined, ActorEnded, ActorStarted, DeadLetter


# -- hooks -------------------------------------------------------------------------------------------------------------
def hooked(flavour: FlavourName, seen: Diary, **options: Any) -> Any:
    @role(flavour, **options)
    class Hooked:
        suspends: bool = True

        def __attrs_post_init__(self) -> None:
            seen("construct")

        async def on_start(self) -> None:
            if self.suspends:
                await turn(self)
            seen("on_start")

        async def receive(self, message: Note | Crash | Echo) -> Any:
            if isinstance(message, Crash):
                raise Boom(message.text)
            seen(message)
            return None

        async def on_stop(self, reason: Any) -> None:
            if self.suspends:
                await turn(self)
            seen(f"on_stop: {reason}")

    return Hooked


@pytest.mark.parametrize("suspends", [False, True])
def test_hooks_run_in_order_around_the_messages(flavour: FlavourName, host: Host, suspends: bool) -> None:
    seen = Diary()
    actor = child(hooked(flavour, seen), suspends)
    actor.ref.send(Note())

    async def body(daemon: Daemon) -> None:
        await actor.ref.ask(Echo())

    host.run(actor, body)
    assert seen == ["construct", "on_start", Note(), Echo(), "on_stop: shutdown"]


@pytest.mark.parametrize("suspends", [False, True])
def test_on_stop_runs_once_for_each_generation_that_started_also_after_a_crash(
    flavour: FlavourName, host: Host, suspends: bool
) -> None:
    seen = Diary()
    actor = child(hooked(flavour, seen), suspends)

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Crash("first"))
        actor.ref.send(Crash("second"))
        await actor.ref.ask(Echo())

    host.run(one_for_one(actor), body)
    life = ["construct", "on_start"]
    assert seen == [
        *life,
        "on_stop: crashed: Boom: first",
        *life,
        "on_stop: crashed: Boom: second",
        *life,
        Echo(),
        "on_stop: shutdown",
    ]


@pytest.mark.parametrize("where", ["construct", "on_start", "later in on_start"])
def test_a_start_that_fails_at_boot_fails_the_daemon_with_path_and_cause(
    flavour: FlavourName, host: Host, where: str
) -> None:
    @role(flavour)
    class Failing:
        def __attrs_post_init__(self) -> None:
            if where == "construct":
                raise Boom

        async def on_start(self) -> None:
            if where == "later in on_start":
                await turn(self)
            raise Boom

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("on_stop")

    seen = Diary()
    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(one_for_one(child(Failing), name="group")), nothing)
    failed = caught.value.__cause__
    assert caught.value.exit_code == 70
    assert isinstance(failed, StartFailed)
    assert failed.path == "/group/failing"
    assert isinstance(failed.__cause__, Boom)
    assert seen == [], "its on_start was not completed"


def test_an_actor_that_declines_keeps_its_place_and_nothing_runs(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Declining:
        async def on_start(self) -> None:
            await turn(self)
            raise Declined("no hardware")

        async def receive(self, message: Note) -> None: ...

    declining, other = child(Declining), child(hooked(flavour, Diary()))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorDeclined)
        assert await daemon.children() == [("declining", "undefined"), ("hooked", "running")]
        declining.ref.send(Note())
        await until(lambda: daemon.dead_letters == 1)
        assert await daemon.restart("/declining") == "ok_undefined"
        assert [(event.path, event.why) for event in events.entries] == [("/declining", "no hardware")]

    host.run(one_for_one(declining, other), body)


def test_an_on_stop_that_fails_makes_the_end_a_crash_and_keeps_the_first_cause(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Failing:
        async def receive(self, message: Crash) -> None:
            raise Boom("handler")

        async def on_stop(self, reason: Any) -> None:
            raise Boom("on_stop")

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded, ActorStarted)
        failing.ref.send(Crash())
        first = await events.ended("/failing")
        await events.started("/failing")  # again
        assert first.reason.kind == "crashed"
        assert {str(error) for error in chain(first.reason.cause)} == {"handler", "on_stop"}
        await daemon.terminate("/failing")
        second = await events.ended("/failing", 2)
        assert (second.reason.kind, str(second.reason.cause)) == ("crashed", "on_stop")

    host.run(one_for_one(failing), body)


def chain(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def test_an_actor_that_raises_shutdown_ends_in_good_order(flavour: FlavourName, host: Host) -> None:
    @role(flavour, restart="transient")
    class Leaving:
        async def receive(self, message: Note) -> None:
            raise Shutdown("enough")

    leaving = child(Leaving)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        leaving.ref.send(Note())
        ended = await events.ended("/leaving")
        assert (ended.reason.kind, ended.reason.why) == ("shutdown", "enough")
        assert events.of(DeadLetter) == []
        assert await daemon.children() == [("leaving", "undefined")]

    host.run(one_for_one(leaving), body)


# -- what goes to the root ---------------------------------------------------------------------------------------------
def raiser(flavour: FlavourName, style: str, error: BaseException) -> Any:
    if style == "run":

        @role(flavour)
        class Running:
            async def run(self, inbox: Inbox[Note]) -> None:
                await inbox.get()
                raise error

        return Running

    @role(flavour)
    class Raising:
        async def receive(self, message: Note) -> None:
            if style == "suspended":
                await turn(self)
            raise error

    return Raising


@pytest.mark.parametrize("style", ["receive", "suspended", "run"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 70),
        (SystemExit(3), 3),
        (SystemExit("a text"), 1),
        (MemoryError(), 70),
        (BaseExceptionGroup("group", [Boom(), BaseExceptionGroup("inner", [KeyboardInterrupt()])]), 70),
        (ExceptionGroup("group", [MemoryError()]), 70),
    ],
    ids=["KeyboardInterrupt", "SystemExit", "SystemExit with a text", "MemoryError", "group", "group with MemoryError"],
)
def test_what_no_supervisor_can_heal_fails_the_daemon(
    flavour: FlavourName, host: Host, style: str, error: BaseException, code: int
) -> None:
    actor = child(raiser(flavour, style, error))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note())
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(actor, restarts=Limit(1000, within=1.0)), body)
    assert caught.value.exit_code == code
    assert caught.value.__cause__ is error
    error.__traceback__ = None


@pytest.mark.parametrize("where", ["control", "its own"])
def test_a_lane_that_breaks_fails_the_daemon(flavour: FlavourName, host: Host, where: str) -> None:
    actor = child(raiser(flavour, "receive", Boom()))

    def break_it() -> None:
        raise Boom("a bug of the runtime")

    async def body(daemon: Daemon) -> None:
        lane: Any = daemon.control if where == "control" else actor.ref.lane
        lane.post(break_it)
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(actor), body, stop_within=0.5)
    assert "a bug of the runtime" in {str(error) for error in chain(caught.value)}


def test_a_group_of_ordinary_errors_is_a_crash(flavour: FlavourName, host: Host) -> None:
    actor = child(raiser(flavour, "receive", ExceptionGroup("group", [Boom(), ValueError()])))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        actor.ref.send(Note())
        assert (await events.ended("/raising")).reason.kind == "crashed"
        await events.started("/raising")

    host.run(one_for_one(actor), body)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_stray_cancellation_is_a_crash(loop_flavour: FlavourName, host: Host, grouped: bool) -> None:
    @role(loop_flavour)
    class Cancelling:
        async def receive(self, message: Echo) -> Any:
            if message.value == "fine":
                return "fine"
            error = await stray()
            raise BaseExceptionGroup("group", [error]) if grouped else error

    async def stray() -> BaseException:
        with trio.CancelScope() if loop_flavour == "trio" else nullcontext() as scope:
            if scope is None:
                return asyncio.CancelledError()
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                return exc
        raise AssertionError

    cancelling = child(Cancelling)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        with pytest.raises(ActorRestarted) as caught:
            await cancelling.ref.ask(Echo())
        if not grouped:
            assert isinstance(caught.value.__cause__, StrayCancellation)
        assert (await events.ended("/cancelling")).reason.kind == "crashed"
        assert await cancelling.ref.ask(Echo("fine")) == "fine"

    host.run(one_for_one(cancelling), body)


def test_a_task_that_cancels_itself_is_a_crash_and_the_lane_goes_on(host: Host) -> None:
    @role("asyncio")
    class Cancelling:
        async def receive(self, message: Echo) -> Any:
            if message.value == "fine":
                return "fine"
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
            return "not reached"

    cancelling = child(Cancelling)

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ActorRestarted):
            await cancelling.ref.ask(Echo())
        assert await cancelling.ref.ask(Echo("fine")) == "fine"

    host.run(one_for_one(cancelling), body)


# -- one record per death ----------------------------------------------------------------------------------------------
def deaths(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "trouper" and "generation" in record.getMessage()]


@pytest.mark.parametrize("how", ["receive", "suspended", "run"])
def test_each_death_is_one_log_record_with_path_cause_and_budget(
    flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    actor = child(raiser(flavour, how, Boom("the cause"))).options(name="mortal")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        for n in range(1, 4):
            actor.ref.send(Note())
            await events.started("/group/mortal", n)

    host.run(one_for_one(one_for_one(actor, name="group")), body)
    records = deaths(caplog)
    assert len(records) == 3
    for n, record in enumerate(records, 1):
        text = record.getMessage()
        assert record.levelno == logging.ERROR
        assert text.startswith(f"/group/mortal: generation {n} ended after ")
        assert "crashed: Boom: the cause" in text
        assert f"{n} of 3 in 30 s" in text
        assert record.exc_info is not None
        assert record.exc_info[0] is Boom
        assert record.exc_info[2] is not None


def test_the_last_death_says_that_the_supervisor_gave_up(
    flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    actor = child(raiser(flavour, "receive", Boom("again")))

    async def body(daemon: Daemon) -> None:
        for _ in range(2):
            actor.ref.send(Note())
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(actor, restarts=Limit(1, within=30.0)), body)
    assert isinstance(caught.value.__cause__, RestartLimitExceeded)
    assert isinstance(caught.value.__cause__.__cause__, Boom)
    first, second = deaths(caplog)
    assert "1 of 1 in 30 s" in first.getMessage()
    assert "generation 2 ended" in second.getMessage()
    assert sum("restarts in 30 s" in record.getMessage() for record in caplog.records) == 1


def test_a_stop_in_good_order_is_no_death_to_report(
    flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host.run(child(hooked(flavour, Diary())), nothing)
    assert deaths(caplog) == []


def test_a_service_that_fails_while_it_is_stopped_is_reported(
    flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    @role(flavour)
    class Failing:
        async def run(self) -> None:
            try:
                seen("running")
                await for_ever(self)
            finally:
                raise Boom("while it stops")

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(child(Failing), body)
    (record,) = deaths(caplog)
    assert "while it stops" in record.getMessage()


def test_dead_letters_are_logged_with_a_limit(
    flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    actor = child(hooked(flavour, Diary()))

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/hooked")
        for _ in range(100):
            actor.ref.send(Note())
        await until(lambda: daemon.dead_letters == 100)

    host.run(one_for_one(actor), body)
    assert sum("dead letter" in record.getMessage() for record in caplog.records) == 1


def test_a_listener_that_fails_harms_nobody(flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    actor = child(raiser(flavour, "receive", Boom("heard")))

    async def body(daemon: Daemon) -> None:
        def listen(event: Any) -> None:
            raise Boom("deaf")

        with daemon.subscribe(listen):
            events = Events(daemon)
            actor.ref.send(Note())
            await events.started("/raising")

    host.run(one_for_one(actor), body)
    assert any("a listener failed" in record.getMessage() for record in caplog.records)


def test_a_generation_never_overlaps_the_one_before(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Counted:
        alive: list[int]

        async def on_start(self) -> None:
            self.alive.append(current(self).generation)
            assert len(self.alive) == 1
            await turn(self)

        async def receive(self, message: Crash | Read) -> Any:
            if isinstance(message, Read):
                return list(self.alive)
            await turn(self)
            raise Boom

        async def on_stop(self, reason: Any) -> None:
            await turn(self)
            self.alive.remove(current(self).generation)

    counted = child(Counted, []).options(backoff=None)

    async def body(daemon: Daemon) -> None:
        for _ in range(20):
            counted.ref.send(Crash())
        assert await counted.ref.ask(Read()) == [21]

    host.run(one_for_one(counted, restarts=Limit(20, within=30.0)), body)
