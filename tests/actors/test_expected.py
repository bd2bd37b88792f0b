"""Expected failures: a class says which exceptions of its handler are no failure of the actor."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import trio
import trio.lowlevel

from tests.actors.stage import (
    DRESSES,
    Boom,
    Crash,
    Diary,
    Dress,
    Echo,
    Events,
    FlavourName,
    Host,
    Note,
    Read,
    ask,
    outcome,
    role,
    turn,
)
from trouper import (
    ActorEnded,
    ActorRestarted,
    Daemon,
    DaemonFailed,
    Declined,
    DefinitionError,
    HandlerFailed,
    LeakedScope,
    Shutdown,
    Stopping,
    actor,
    child,
    current,
    one_for_one,
)
from trouper.errors import ReplyTypeError


class Hiccup(Boom):
    """A subclass of what is expected."""


class Hiccough(Exception):
    """Spelt otherwise, and not expected."""


def tolerant(flavour: FlavourName, expected: Any = Boom, **options: Any) -> Any:
    @role(flavour, expected=expected, **options)
    class Tolerant:
        count: int = 0
        reply: Any = None

        async def receive(self, message: Note | Echo | Crash | Read) -> Any:
            self.count += 1
            if isinstance(message, Read):
                return [self.count, current(self).generation]
            if isinstance(message, Echo):
                if message.value == "suspend":
                    await turn(self)
                if message.value == "claim":
                    self.reply = current(self).reply_to(message)
                if message.value == "stop":
                    current(self).stop()
                raise Hiccup(message.value)
            if isinstance(message, Crash):
                raise Hiccough(message.text)
            raise Boom(message.text)

    return Tolerant


@pytest.mark.parametrize("expected", [Boom, (ValueError, Boom), Exception], ids=repr)
def test_the_actor_keeps_its_state_and_goes_on(flavour: FlavourName, host: Host, expected: Any) -> None:
    one = child(tolerant(flavour, expected))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, HandlerFailed, ActorEnded)
        for number in range(10):
            one.ref.send(Note(number))
        assert await ask(one.ref, Read()) == [11, 1]
        assert [event.message for event in events.entries] == [Note(number) for number in range(10)]
        assert {(type(event), event.path, type(event.error)) for event in events.entries} == {
            (HandlerFailed, "/tolerant", Boom)
        }
        assert daemon.dead_letters == 0

    host.run(one_for_one(one), body)


@pytest.mark.parametrize("value", ["at once", "suspend", "claim"])
def test_who_asked_gets_the_exception_itself(flavour: FlavourName, host: Host, value: str) -> None:
    one = child(tolerant(flavour))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, HandlerFailed)
        error = await outcome(lambda: ask(one.ref, Echo(value)))
        assert isinstance(error, Hiccup)
        assert error.args == (value,)
        assert (events.entries[0].message, events.entries[0].error) == (Echo(value), error)
        assert await ask(one.ref, Read()) == [2, 1]

    host.run(one_for_one(one), body)


@pytest.mark.parametrize("dress", DRESSES)
def test_a_handler_that_is_asked_in_place_goes_on(loop_flavour: FlavourName, host: Host, dress: Dress) -> None:
    @actor(flavour=loop_flavour, expected=Boom)
    class Plain:
        @dress
        def receive(self, message: Echo | Note) -> Any:
            if not isinstance(message, Echo) or message.value is None:
                raise Boom
            return message.value

    @actor(flavour=loop_flavour)
    class Asker:
        async def receive(self, message: Read) -> list[Any]:
            plain.ref.send(Note())
            first = await outcome(lambda: plain.ref.ask(Echo()))
            return [type(first), await plain.ref.ask(Echo(1)), type(await outcome(lambda: plain.ref.ask(Echo())))]

    plain, asker = child(Plain), child(Asker)

    async def body(daemon: Daemon) -> None:
        assert await asker.ref.ask(Read()) == [Boom, 1, Boom]
        assert isinstance(await outcome(lambda: plain.ref.ask(Echo())), Boom)
        assert daemon.dead_letters == 0

    host.run(one_for_one(plain, asker), body)


def test_any_other_exception_crashes_it(flavour: FlavourName, host: Host) -> None:
    one = child(tolerant(flavour))

    async def body(daemon: Daemon) -> None:
        one.ref.send(Crash())
        assert await ask(one.ref, Read()) == [1, 2]
        assert daemon.dead_letters == 1

    host.run(one_for_one(one), body)


def test_it_is_logged_once_in_a_while(flavour: FlavourName, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    one = child(tolerant(flavour))

    async def body(daemon: Daemon) -> None:
        for number in range(5):
            one.ref.send(Note(number))
        await ask(one.ref, Read())

    with caplog.at_level(logging.WARNING, "trouper"):
        host.run(one_for_one(one), body)
    assert [record.message for record in caplog.records] == [
        f"/tolerant: expected failure: {Boom(0)!r} over {Note(0)!r}"
    ]


def test_an_actor_that_stopped_itself_in_such_a_handler_ends(flavour: FlavourName, host: Host) -> None:
    one = child(tolerant(flavour, restart="temporary"))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        assert isinstance(await outcome(lambda: ask(one.ref, Echo("stop"))), Hiccup)
        assert (await events.ended("/tolerant")).reason.kind == "normal"

    host.run(one_for_one(one), body)


def test_one_that_is_told_to_stop_meanwhile_ends_in_good_order(loop_flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(loop_flavour, expected=Boom)
    class Slow:
        async def receive(self, message: Note) -> None:
            seen("handles")
            while not current(self).stopping:
                await turn(self)
            raise Boom

        async def on_stop(self, reason: Any) -> None:
            seen(reason.kind)

    slow = child(Slow)
    slow.ref.send(Note())

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(one_for_one(slow), body)
    assert seen == ["handles", "shutdown"]


def test_a_stashed_request_whose_handler_failed_as_expected_is_not_handled_again(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour, expected=Boom)
    class Keeping:
        async def receive(self, message: Echo | Read) -> Any:
            if isinstance(message, Read):
                current(self).unstash()
                return []
            current(self).stash(message)
            raise Boom

    keeping = child(Keeping)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, HandlerFailed)
        assert isinstance(await outcome(lambda: ask(keeping.ref, Echo())), Boom)
        await ask(keeping.ref, Read())
        await ask(keeping.ref, Read())
        assert len(events.entries) == 1

    host.run(one_for_one(keeping), body)


# -- what is never expected --------------------------------------------------------------------------------------------
def everything(flavour: FlavourName, raises: Any) -> Any:
    @role(flavour, expected=Exception)
    class Everything:
        async def receive(self, message: Note | Read) -> Any:
            if isinstance(message, Read):
                return "not a list" if raises is ReplyTypeError else [current(self).generation]
            raise raises

    return Everything


def test_shutdown_ends_the_actor_all_the_same(flavour: FlavourName, host: Host) -> None:
    one = child(everything(flavour, Shutdown("enough")))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        one.ref.send(Note())
        assert (await events.ended("/everything")).reason.why == "enough"
        assert await ask(one.ref, Read()) == [2]

    host.run(one_for_one(one), body)


@pytest.mark.parametrize("error", [MemoryError(), ExceptionGroup("group", [MemoryError()])], ids=repr)
def test_what_goes_to_the_root_goes_there(flavour: FlavourName, host: Host, error: Exception) -> None:
    one = child(everything(flavour, error))

    async def body(daemon: Daemon) -> None:
        one.ref.send(Note())
        await Diary().until(1)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(one), body)
    assert caught.value.__cause__ is error


def test_a_reply_of_the_wrong_type_crashes_it_all_the_same(flavour: FlavourName, host: Host) -> None:
    one = child(everything(flavour, ReplyTypeError))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        assert isinstance(await outcome(lambda: ask(one.ref, Read())), ReplyTypeError)
        assert (await events.ended("/everything")).reason.kind == "crashed"

    host.run(one_for_one(one), body)


def test_a_leaked_scope_crashes_it_all_the_same(host: Host) -> None:
    @actor(flavour=trio, expected=Exception)
    class Leaking:
        async def receive(self, message: Note | Read) -> Any:
            if isinstance(message, Read):
                return [current(self).generation]
            trio.CancelScope().__enter__()
            await trio.lowlevel.checkpoint()
            raise Boom

    leaking = child(Leaking)

    async def body(daemon: Daemon) -> None:
        leaking.ref.send(Note())
        assert await leaking.ref.ask(Read()) == [2]

    host.run(one_for_one(leaking), body)


def test_it_is_no_matter_of_hooks(flavour: FlavourName, host: Host) -> None:
    @role(flavour, expected=Boom)
    class Hooked:
        async def on_start(self) -> None:
            if current(self).generation == 2:
                raise Boom

        async def receive(self, message: Crash | Read) -> Any:
            if isinstance(message, Crash):
                raise Hiccough
            return [current(self).generation]

    hooked = child(Hooked)

    async def body(daemon: Daemon) -> None:
        hooked.ref.send(Crash())
        assert await ask(hooked.ref, Read()) == [3]
        assert not isinstance(await outcome(lambda: ask(hooked.ref, Read())), ActorRestarted)

    host.run(one_for_one(hooked), body)


# -- refusals ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "expected",
    [
        KeyboardInterrupt,
        Stopping,
        trio.Cancelled,
        asyncio.CancelledError,
        MemoryError,
        Shutdown,
        Declined,
        LeakedScope,
        BaseException,
        int,
        "ValueError",
        ValueError(),
        None,
        [ValueError],
        (ValueError, KeyboardInterrupt),
    ],
    ids=repr,
)
def test_what_no_actor_can_go_on_after_is_refused_where_it_is_decorated(expected: Any) -> None:
    with pytest.raises(DefinitionError, match=r"Wrong: @actor\(expected=...\): found .*, allowed: subclasses of Exc"):

        @actor(flavour="trio", expected=expected)
        class Wrong:
            async def receive(self, message: Note) -> None: ...


def test_it_is_refused_for_an_actor_with_run() -> None:
    with pytest.raises(DefinitionError, match="found it for an actor with `run`, allowed: it for `receive`"):

        @actor(flavour="trio", expected=ValueError)
        class Wrong:
            async def run(self) -> None: ...
