"""Watching: who watches an actor hears of its end, once, whatever lanes the two live in."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.actors.stage import (
    FLAVOURS,
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    ask,
    outcome,
    role,
    until,
)
from trouper import (
    Daemon,
    Declined,
    Inbox,
    Limit,
    Mailbox,
    Message,
    NotRunning,
    Reason,
    Request,
    Shutdown,
    Terminated,
    UsageError,
    child,
    current,
    one_for_one,
    open_daemon,
)
from trouper.actors.watching import Watch
from trouper.lanes.slot import in_event_loop


class Do(Request[Any]):
    """Call `what(current(self))`, and answer with what it returns."""

    what: Any


class Quit(Message):
    """Stop yourself."""


class Wait(Message):
    """Handle this message until `gate` is open, and call `then` in the end."""

    gate: Any
    then: Any = None


@pytest.fixture(params=FLAVOURS)
def other(request: pytest.FixtureRequest) -> FlavourName:
    """The flavour of who is watched."""
    name: FlavourName = request.param
    return name


def watcher(flavour: FlavourName, heard: Diary, **options: Any) -> Any:
    """Tells `heard` of every end, as (path, kind), and of every note."""

    @role(flavour, **options)
    class Watcher:
        async def receive(self, message: Do | Note | Crash | Wait | Terminated) -> Any:
            match message:
                case Terminated(ref, reason):
                    heard((ref.path, reason.kind))
                case Do(what):
                    result = what(current(self))
                    return await result if inspect.isawaitable(result) else result
                case Note(text):
                    heard(text)
                case Crash():
                    raise Boom
                case Wait(gate, then):
                    await gate.passed()
                    if then is not None:
                        then(current(self))
            return None

    return child(Watcher)


def mortal(flavour: FlavourName, **options: Any) -> Any:
    @role(flavour, **options)
    class Mortal:
        async def receive(self, message: Echo | Crash | Quit | Note) -> Any:
            match message:
                case Echo(value):
                    return value
                case Crash():
                    raise Boom
                case Quit():
                    current(self).stop()
                case Note(text):
                    raise Shutdown(text)
            return None

    return child(Mortal)


async def watch(by: Any, *refs: Any) -> None:
    """Have this watcher watch them."""
    for ref in refs:
        await ask(by.ref, Do(lambda me, ref=ref: me.watch(ref)))


async def done(by: Any) -> None:
    """Whatever this watcher is to be told now, it has been told: notices come before requests."""
    await ask(by.ref, Do(lambda me: None))


def waits_for(by: Any) -> bool:
    """Whether a notice waits for this watcher: in its mailbox, or as an order to put it there."""
    ref = by.ref
    pressed = bool(ref.box) and isinstance(ref.box[0], Watch)
    return pressed or any(order == ref.cell.press for order, _ in list(ref.lane.orders))


# -- every end is told -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("message", "kind"), [(Crash(), "crashed"), (Quit(), "normal"), (Note("enough"), "shutdown")], ids=str
)
def test_who_watches_hears_that_the_actor_ended_and_why(
    flavour: FlavourName, other: FlavourName, host: Host, message: Any, kind: str
) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other, restart="temporary")

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        watched.ref.send(message)
        assert await heard.until(1) == [("/mortal", kind)]
        await done(by)
        assert heard == [("/mortal", kind)]

    host.run(one_for_one(by, watched), body)


def test_the_notice_carries_the_very_exception_and_what_was_said(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Watcher:
        async def on_start(self) -> None:
            current(self).watch(crashing.ref)
            current(self).watch(ending.ref)

        async def receive(self, message: Terminated) -> None:
            heard(message)

    heard = Diary()
    crashing, ending = mortal(flavour, restart="temporary"), mortal("trio", restart="transient")

    async def body(daemon: Daemon) -> None:
        crashing.ref.send(Crash())
        await heard.until(1)
        ending.ref.send(Note("enough"))
        first, second = await heard.until(2)
        assert first.ref is crashing.ref
        assert isinstance(first.reason.cause, Boom)
        assert second == Terminated(ending.ref, Reason("shutdown", None, "enough"))

    host.run(one_for_one(child(Watcher), crashing.options(name="a"), ending.options(name="b")), body)


def test_one_that_an_operator_terminates_is_told(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        assert await daemon.terminate("/mortal") == "ok"
        assert await heard.until(1) == [("/mortal", "shutdown")]
        assert await daemon.delete("/mortal") == "ok"
        await done(by)
        assert heard == [("/mortal", "shutdown")]

    host.run(one_for_one(by, watched), body)


def test_one_that_its_spawner_stops_is_told(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by = watcher(flavour, heard)

    async def body(daemon: Daemon) -> None:
        ref = await ask(by.ref, Do(lambda me: me.spawn(mortal(other))))
        await watch(by, ref)
        await ask(by.ref, Do(lambda me: me.stop(ref)))
        assert await heard.until(1) == [("/watcher/mortal-1", "shutdown")]

    host.run(by, body)


def test_all_below_a_supervisor_that_gives_up_are_told(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by = watcher(flavour, heard)
    bad, good = mortal(other).options(name="bad"), mortal(other).options(name="good")
    group = one_for_one(bad, good, name="group", restarts=Limit(0, within=1.0)).options(restart="temporary")

    async def body(daemon: Daemon) -> None:
        await watch(by, bad.ref, good.ref)
        bad.ref.send(Crash())
        assert sorted(await heard.until(2)) == [("/group/bad", "crashed"), ("/group/good", "shutdown")]

    host.run(one_for_one(by, group), body)


def test_what_an_actor_spawned_ends_with_it_and_is_told(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    """The children of a generation are gone for good, though their spawner is restarted."""
    heard = Diary()
    by, spawner = watcher(flavour, heard), watcher(other, Diary())

    async def body(daemon: Daemon) -> None:
        ref = await ask(spawner.ref, Do(lambda me: me.spawn(mortal(other))))
        await watch(by, ref, spawner.ref)
        spawner.ref.send(Crash())
        assert await heard.until(1) == [("/spawner/mortal-1", "shutdown")]
        await done(spawner)
        await done(by)
        assert heard == [("/spawner/mortal-1", "shutdown")]

    host.run(one_for_one(by.options(name="by"), spawner.options(name="spawner")), body)


def test_a_start_that_fails_and_one_that_is_declined_are_ends(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    @role(other)
    class Fails:
        error: BaseException

        async def on_start(self) -> None:
            raise self.error

        async def receive(self, message: Note) -> None: ...

    @role(flavour)
    class Watcher:
        async def receive(self, message: Do | Terminated) -> None:
            if isinstance(message, Do):
                message.what(current(self))
            else:
                heard(message.reason)

    heard = Diary()
    error = Boom()
    by, failing, declining = child(Watcher), child(Fails, error), child(Fails, Declined("no use"))

    async def body(daemon: Daemon) -> None:
        await watch(by, failing.ref, declining.ref)
        assert await daemon.start(failing) == "nope"
        assert await daemon.start(declining.options(name="declining")) == "ok_undefined"
        assert await heard.until(2) == [Reason("start_failed", error), Reason("normal", None, "no use")]

    host.run(one_for_one(by), body)


# -- once, and not on a restart ----------------------------------------------------------------------------------------
def test_a_restart_is_no_end_and_the_watch_holds_on(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other, restart="transient")

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        for _ in range(2):
            watched.ref.send(Crash())
            assert await ask(watched.ref, Echo(1)) == 1
        await done(by)
        assert heard == []
        watched.ref.send(Quit())
        assert await heard.until(1) == [("/mortal", "normal")]

    host.run(one_for_one(by, watched), body)


def test_one_that_is_dead_already_is_told_at_once_with_its_last_reason(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other, restart="temporary")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        watched.ref.send(Crash())
        await events.ended("/mortal")
        await until(lambda: watched.ref.cell.state == "closed")
        await watch(by, watched.ref)
        await done(by)
        assert heard == [("/mortal", "crashed")]
        await watch(by, watched.ref)
        await done(by)
        assert heard == [("/mortal", "crashed")] * 2, "to watch it again is another watch, as in OTP"

    host.run(one_for_one(by, watched), body)


def test_to_watch_twice_is_to_watch_once(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref, watched.ref)
        await daemon.terminate("/mortal")
        await heard.until(1)
        await done(by)
        assert heard == [("/mortal", "shutdown")]

        def twice(me: Any) -> None:
            me.watch(watched.ref)
            me.watch(watched.ref)

        await ask(by.ref, Do(twice))
        await done(by)
        assert heard == [("/mortal", "shutdown")] * 2

    host.run(one_for_one(by, watched), body)


def test_every_watcher_is_told_and_each_of_its_own(flavour: FlavourName, host: Host) -> None:
    diaries = {name: Diary() for name in FLAVOURS}
    watchers = {name: watcher(name, diaries[name]).options(name=f"by_{name}") for name in FLAVOURS}
    first, second = mortal(flavour).options(name="first"), mortal(flavour).options(name="second")

    async def body(daemon: Daemon) -> None:
        await watch(watchers["trio"], first.ref)
        await watch(watchers["asyncio"], first.ref, second.ref)
        await watch(watchers["threading"], second.ref)
        await daemon.terminate("/first")
        await daemon.terminate("/second")
        assert await diaries["trio"].until(1) == [("/first", "shutdown")]
        assert await diaries["asyncio"].until(2) == [("/first", "shutdown"), ("/second", "shutdown")]
        assert await diaries["threading"].until(1) == [("/second", "shutdown")]

    host.run(one_for_one(*watchers.values(), first, second), body)


def test_who_watches_after_an_operator_restarted_it_hears_of_the_next_end(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        await daemon.terminate("/mortal")
        await heard.until(1)
        assert await daemon.restart("/mortal") == "ok"
        await daemon.terminate("/mortal")
        await done(by)
        assert heard == [("/mortal", "shutdown")], "the first watch is fulfilled"
        assert await daemon.restart("/mortal") == "ok"
        await watch(by, watched.ref)
        await done(by)
        assert heard == [("/mortal", "shutdown")]
        await daemon.terminate("/mortal")
        assert await heard.until(2) == [("/mortal", "shutdown")] * 2

    host.run(one_for_one(by, watched), body)


def test_a_ref_that_has_no_place_yet_can_be_watched(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, added, spawned = watcher(flavour, heard), mortal(other), mortal(other).options(name="spawned")

    async def body(daemon: Daemon) -> None:
        await watch(by, added.ref, spawned.ref)
        assert await daemon.start(added) == "ok"
        await ask(by.ref, Do(lambda me: me.spawn(spawned)))
        assert await ask(added.ref, Echo(1)) == await ask(spawned.ref, Echo(1)) == 1
        await done(by)
        assert heard == []
        await daemon.terminate("/mortal")
        assert await heard.until(1) == [("/mortal", "shutdown")]
        await ask(by.ref, Do(lambda me: me.stop(spawned.ref)))
        assert (await heard.until(2))[1:] == [("/watcher/spawned", "shutdown")]

    host.run(one_for_one(by), body)


# -- not once it does not hold -----------------------------------------------------------------------------------------
def test_after_unwatch_nothing_comes(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        await ask(by.ref, Do(lambda me: me.unwatch(watched.ref)))
        await ask(by.ref, Do(lambda me: me.unwatch(watched.ref)))
        await daemon.terminate("/mortal")
        await until(lambda: watched.ref.cell.state == "closed")
        await done(by)
        assert heard == []
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(by, watched), body)


def test_after_unwatch_not_even_a_notice_comes_that_waits_in_the_mailbox(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    heard, gate = Diary(), Gate()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        by.ref.send(Wait(gate, lambda me: me.unwatch(watched.ref)))
        by.ref.send(Note("and on"))
        await until(lambda: len(by.ref.box) == 1)
        await daemon.terminate("/mortal")
        await until(lambda: waits_for(by))
        gate.open()
        await done(by)
        assert heard == ["and on"]
        assert daemon.dead_letters == 0

    host.run(one_for_one(by, watched), body)


def test_a_watch_that_is_withdrawn_and_made_anew_is_told_once(flavour: FlavourName, host: Host) -> None:
    heard = Diary()
    by, dead = watcher(flavour, heard), mortal(flavour)

    def waver(me: Any) -> None:
        for _ in range(3):
            me.watch(dead.ref)
            me.unwatch(dead.ref)
        me.watch(dead.ref)

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/mortal")
        await until(lambda: dead.ref.cell.state == "closed")
        await ask(by.ref, Do(waver))
        await done(by)
        assert heard == [("/mortal", "shutdown")]

    host.run(one_for_one(by, dead), body)


def test_a_notice_of_a_watch_that_was_withdrawn_is_not_taken_for_one_of_the_next(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    """It would tell of the end of an actor that lives."""
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        async def waver(me: Any) -> None:
            me.watch(watched.ref)
            me.unwatch(watched.ref)
            restarted = await daemon.restart("/mortal") if in_event_loop() else daemon.restart_sync("/mortal")
            assert restarted == "ok"
            me.watch(watched.ref)

        await daemon.terminate("/mortal")
        await until(lambda: watched.ref.cell.state == "closed")
        await ask(by.ref, Do(waver))
        await done(by)
        assert heard == []
        await daemon.terminate("/mortal")
        assert await heard.until(1) == [("/mortal", "shutdown")]

    host.run(one_for_one(by, watched), body)


def test_what_a_generation_watches_ends_with_it(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        by.ref.send(Crash())
        await done(by)
        assert daemon.world.watching.watched == {}
        await daemon.terminate("/mortal")
        await until(lambda: watched.ref.cell.state == "closed")
        await done(by)
        assert heard == []

    host.run(one_for_one(by, watched), body)


def test_a_notice_for_an_earlier_generation_is_dropped_and_no_dead_letter(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    heard = Diary()
    by, dead = watcher(flavour, heard), mortal(other)

    def watch_and_crash(me: Any) -> None:
        me.watch(dead.ref)
        raise Boom

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/mortal")
        await until(lambda: dead.ref.cell.state == "closed")
        assert isinstance(await outcome(lambda: ask(by.ref, Do(watch_and_crash))), Exception)
        by.ref.send(Note("next life"))
        await done(by)
        assert heard == ["next life"]
        assert daemon.dead_letters == 1, "the request that crashed it"

    host.run(one_for_one(by, dead), body)


def test_the_next_generation_watches_again_in_its_on_start(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Watcher:
        async def on_start(self) -> None:
            current(self).watch(watched.ref)

        async def receive(self, message: Crash | Terminated) -> None:
            if isinstance(message, Crash):
                raise Boom
            heard((current(self).generation, message.reason.kind))

    heard = Diary()
    by, watched = child(Watcher), mortal(other)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        by.ref.send(Crash())
        await events.started("/watcher")
        await daemon.terminate("/mortal")
        assert await heard.until(1) == [(2, "shutdown")]

    host.run(one_for_one(by, watched), body)


def test_a_start_that_fails_leaves_no_watch(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Fails:
        async def on_start(self) -> None:
            current(self).watch(watched.ref)
            raise Boom

        async def receive(self, message: Terminated) -> None: ...

    watched = mortal(flavour)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(child(Fails)) == "nope"
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(watched), body)


# -- in front, and in every kind of mailbox ----------------------------------------------------------------------------
def test_the_notice_comes_before_the_messages_that_wait(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard, gate = Diary(), Gate()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        by.ref.send(Wait(gate))
        by.ref.send(Note("first"))
        by.ref.send(Note("second"))
        await until(lambda: len(by.ref.box) == 2)
        await daemon.terminate("/mortal")
        await until(lambda: waits_for(by))
        gate.open()
        assert await heard.until(3) == [("/mortal", "shutdown"), "first", "second"]

    host.run(one_for_one(by, watched), body)


def test_a_full_mailbox_takes_the_notice(flavour: FlavourName, other: FlavourName, host: Host) -> None:
    heard, gate = Diary(), Gate()
    by, watched = watcher(flavour, heard, mailbox=Mailbox(1)), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        by.ref.send(Wait(gate))
        await until(lambda: not by.ref.box)
        by.ref.send(Note("waits"))
        by.ref.send(Note("too many"))
        assert daemon.dead_letters == 1
        await daemon.terminate("/mortal")
        await until(lambda: waits_for(by))
        gate.open()
        assert await heard.until(2) == [("/mortal", "shutdown"), "waits"]

    host.run(one_for_one(by, watched), body)


def test_an_actor_that_loops_itself_finds_the_notice_in_its_inbox(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note | Terminated]) -> None:
            current(self).watch(watched.ref)
            heard("watching")
            async for message in inbox:
                heard(message)

    heard = Diary()
    looping, watched = child(Looping), mortal(other)

    async def body(daemon: Daemon) -> None:
        await heard.until(1)
        await daemon.terminate("/mortal")
        await heard.until(2)
        looping.ref.send(Note("and on"))
        assert await heard.until(3) == [
            "watching",
            Terminated(watched.ref, Reason("shutdown")),
            Note("and on"),
        ]

    host.run(one_for_one(looping, watched), body)


# -- what is refused ---------------------------------------------------------------------------------------------------
def test_watching_itself_is_refused(flavour: FlavourName, host: Host) -> None:
    by = watcher(flavour, Diary())

    async def body(daemon: Daemon) -> None:
        error = await ask(by.ref, Do(lambda me: caught(lambda: me.watch(me.self_ref))))
        assert isinstance(error, UsageError)
        assert str(error) == "/watcher: given its own ref to watch, allowed: another actor's"

    host.run(by, body)


def test_an_actor_whose_mailbox_takes_no_notices_cannot_watch(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Deaf:
        async def receive(self, message: Do) -> Any:
            return message.what(current(self))

    deaf, watched = child(Deaf), mortal(flavour)

    async def body(daemon: Daemon) -> None:
        error = await ask(deaf.ref, Do(lambda me: caught(lambda: me.watch(watched.ref))))
        assert isinstance(error, UsageError)
        assert str(error) == (
            f"/deaf: given {watched.ref!r} to watch, and a mailbox for tests.actors.test_watching.Do;"
            " allowed: a mailbox that takes `Terminated`, too"
        )
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(deaf, watched), body)


def test_an_actor_of_another_daemon_cannot_be_watched_unless_it_is_dead(flavour: FlavourName, host: Host) -> None:
    heard = Diary()
    by, foreign = watcher(flavour, heard), mortal("threading")

    async def body(daemon: Daemon) -> None:
        async with open_daemon(foreign):
            error = await ask(by.ref, Do(lambda me: caught(lambda: me.watch(foreign.ref))))
            assert isinstance(error, UsageError)
            assert str(error) == (
                f"/watcher: given {foreign.ref!r} of another daemon to watch, allowed: an actor of this one"
            )
        await watch(by, foreign.ref)
        assert await heard.until(1) == [("/mortal", "shutdown")]

    host.run(by, body)


def test_a_generation_that_is_over_watches_nobody(flavour: FlavourName, host: Host) -> None:
    contexts: list[Any] = []
    by, watched = watcher(flavour, Diary()), mortal(flavour)

    async def body(daemon: Daemon) -> None:
        await ask(by.ref, Do(contexts.append))
        by.ref.send(Crash())
        await done(by)
        for call in (contexts[0].watch, contexts[0].unwatch):
            with pytest.raises(NotRunning, match="generation 1 is over"):
                call(watched.ref)
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(by, watched), body)


def test_the_context_of_one_that_was_terminated_is_over(flavour: FlavourName, host: Host) -> None:
    """At once: also while its lane has yet to close it."""
    contexts: list[Any] = []
    by, watched = watcher(flavour, Diary()), mortal(flavour)

    async def body(daemon: Daemon) -> None:
        await ask(by.ref, Do(contexts.append))
        await daemon.terminate("/watcher")
        with pytest.raises(NotRunning, match="generation 1 is over"):
            contexts[0].watch(watched.ref)
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(by, watched), body)


def caught(call: Any) -> Any:
    try:
        return call()
    except UsageError as error:
        return error


# -- the end of the daemon, and what it costs --------------------------------------------------------------------------
def test_at_the_end_of_the_daemon_notices_go_nowhere_and_are_no_dead_letters(host: Host) -> None:
    diaries = [Diary() for _ in range(9)]
    watchers = [
        watcher(name, diary).options(name=f"by_{n}")
        for n, (name, diary) in enumerate(zip(FLAVOURS * 3, diaries, strict=True))
    ]
    daemons: list[Daemon] = []

    async def body(daemon: Daemon) -> None:
        daemons.append(daemon)
        for by in watchers:
            await watch(by, *[one.ref for one in watchers if one is not by])
            await watch(by, await ask(by.ref, Do(lambda me: me.spawn(mortal("trio")))))

    host.run(one_for_one(*watchers), body)
    assert daemons[0].dead_letters == 0
    assert daemons[0].world.watching.watched == {}


def test_a_watcher_that_is_terminated_leaves_notices_behind_silently(
    flavour: FlavourName, other: FlavourName, host: Host
) -> None:
    heard = Diary()
    by, watched = watcher(flavour, heard), mortal(other)

    async def body(daemon: Daemon) -> None:
        await watch(by, watched.ref)
        await daemon.terminate("/watcher")
        await daemon.terminate("/mortal")
        await until(lambda: watched.ref.cell.state == by.ref.cell.state == "closed")
        assert heard == []
        assert daemon.dead_letters == 0
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(by, watched), body)


def test_who_is_not_watched_and_watches_nobody_keeps_nothing(flavour: FlavourName, host: Host) -> None:
    by, watched = watcher(flavour, Diary()), mortal(flavour)

    async def body(daemon: Daemon) -> None:
        assert daemon.world.watching.watched == {}
        await watch(by, watched.ref)
        assert "watches" in vars(by.ref.cell)
        assert "watches" not in vars(watched.ref.cell)
        await daemon.terminate("/mortal")
        await until(lambda: watched.ref.cell.state == "closed")
        await done(by)
        assert daemon.world.watching.watched == {}

    host.run(one_for_one(by, watched), body)
