"""The receive timeout: an actor hears that nothing was to do for a while."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.actors.stage import (
    DRESSES,
    Boom,
    Crash,
    Diary,
    Dress,
    Echo,
    FlavourName,
    Gate,
    Host,
    Note,
    Read,
    as_it_is,
    ask,
    in_thread,
    role,
    turn,
    until,
)
from trouper import (
    Daemon,
    Inbox,
    Mailbox,
    MessageTypeError,
    ReceiveTimeout,
    SpecError,
    UsageError,
    child,
    current,
    one_for_one,
)
from trouper.actors.steps import step_plain
from trouper.lanes.lane import step_coroutines

SOON = 0.002  # seconds
NEVER = 1000.0


def listening(flavour: FlavourName, seen: Diary, acts: dict[str, Any], **options: Any) -> Any:
    """It notes what it gets, and does what stands under that word in `acts`."""

    @role(flavour, **options)
    class Listening:
        async def on_start(self) -> None:
            if (act := acts.get("on_start")) is not None:
                await act(current(self))

        async def receive(self, message: Note | Echo | Crash | Read | ReceiveTimeout) -> Any:
            if isinstance(message, Crash):
                raise Boom
            if isinstance(message, Echo | Read):
                return list(seen.entries)
            word = message.text if isinstance(message, Note) else "silence"
            seen(word)
            if (act := acts.get(word)) is not None:
                await act(current(self))
            return None

    return Listening


def with_timeout(seconds: float | None) -> Any:
    async def act(me: Any) -> None:
        me.receive_timeout(seconds)

    return act


def silence_of(actor: Any) -> Any:
    return actor.ref.cell.silence


@pytest.mark.parametrize("where", ["on_start", "in a handler"])
def test_silence_is_told_again_and_again(flavour: FlavourName, host: Host, where: str) -> None:
    seen = Diary()
    word = "on_start" if where == "on_start" else "set"
    actor = child(listening(flavour, seen, {word: with_timeout(SOON)}))

    async def body(daemon: Daemon) -> None:
        if where == "in a handler":
            actor.ref.send(Note("set"))
        await seen.until(4)

    host.run(one_for_one(actor), body)
    assert seen.entries[0] == ("silence" if where == "on_start" else "set")
    assert seen.entries[1:4] == ["silence"] * 3


def test_it_comes_after_a_handler_that_takes_longer_than_the_timeout(flavour: FlavourName, host: Host) -> None:
    async def work(me: Any) -> None:
        me.after(0, Note("tick"))
        me.receive_timeout(SOON)
        await gate.passed()
        seen("done")

    seen, gate = Diary(), Gate()
    actor = child(listening(flavour, seen, {"work": work}))
    other = child(listening(flavour, Diary(), {"on_start": with_timeout(SOON), "silence": opening(gate)}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("work"))
        await seen.until(4)

    host.run(one_for_one(actor, other), body)
    assert seen.entries[:4] == ["work", "done", "tick", "silence"]


def opening(gate: Gate) -> Any:
    async def act(me: Any) -> None:
        me.receive_timeout(None)
        gate.open()

    return act


def test_every_message_starts_the_time_anew(flavour: FlavourName, host: Host) -> None:
    """The tick is sent again and again in less than the timeout, which comes when that ends."""

    async def start(me: Any) -> None:
        me.receive_timeout(NEVER)
        silence = silence_of(actor)
        before = silence.since
        me.after(SOON, Note("tick"))
        marks.append((silence, before))

    async def tick(me: Any) -> None:
        silence, _ = marks[0]
        marks.append((silence, silence.since))
        if len(marks) < 5:
            me.after(SOON, Note("tick"))

    seen, marks = Diary(), list[Any]()
    actor = child(listening(flavour, seen, {"start": start, "tick": tick}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("start"))
        await seen.until(5)
        await ask(actor.ref, Read())
        times = [since for _, since in marks]
        assert times == sorted(times)
        assert times[-1] - times[0] > 2 * SOON, "of three"

    host.run(one_for_one(actor), body)


def test_asks_count_as_messages_and_are_answered(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(listening(flavour, seen, {"on_start": with_timeout(NEVER)}))

    async def body(daemon: Daemon) -> None:
        before = silence_of(actor).since
        for _ in range(3):
            assert await ask(actor.ref, Echo()) == []
        await until(lambda: silence_of(actor).since > before)  # a thread notes it after it has answered

    host.run(one_for_one(actor), body)


def test_none_ends_it_and_who_has_none_is_stepped_as_before(flavour: FlavourName, host: Host) -> None:
    async def after_silence(me: Any) -> None:
        me.receive_timeout(None)
        me.after(3 * SOON, Note("end"))

    seen = Diary()
    actor = child(listening(flavour, seen, {"set": with_timeout(SOON), "silence": after_silence}))

    async def body(daemon: Daemon) -> None:
        await ask(actor.ref, Read())
        before = actor.ref.cell.handler_step
        actor.ref.send(Note("set"))
        await seen.until(3)
        assert actor.ref.cell.handler_step is before
        assert actor.ref.cell.silence is None
        assert await ask(actor.ref, Read()) == ["set", "silence", "end"]

    host.run(one_for_one(actor), body)


def test_a_new_timeout_replaces_the_one_before(flavour: FlavourName, host: Host) -> None:
    async def again(me: Any) -> None:
        me.receive_timeout(NEVER)
        me.receive_timeout(SOON)

    seen = Diary()
    actor = child(listening(flavour, seen, {"on_start": with_timeout(NEVER), "again": again}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("again"))
        await seen.until(2)

    host.run(one_for_one(actor), body)
    assert seen.entries[:2] == ["again", "silence"]


def test_it_ends_with_its_generation(flavour: FlavourName, host: Host) -> None:
    async def again(me: Any) -> None:
        me.after(3 * SOON, Note("end"))

    seen = Diary()
    actor = child(listening(flavour, seen, {"set": with_timeout(NEVER), "again": again}))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("set"))
        await ask(actor.ref, Read())
        silence = silence_of(actor)
        actor.ref.send(Crash())
        actor.ref.send(Note("again"))
        await seen.until(3)
        assert silence.alarm.fn is None
        assert actor.ref.cell.silence is None

    host.run(one_for_one(actor), body)
    assert seen == ["set", "again", "end"]


@pytest.mark.parametrize("dress", DRESSES)
def test_it_works_with_a_handler_that_is_asked_in_place(loop_flavour: FlavourName, host: Host, dress: Dress) -> None:
    from trouper import actor as actor_  # noqa: PLC0415 - `role` would make its handler a coroutine

    seen = Diary()

    @actor_(flavour=loop_flavour)
    class Plain:
        @dress
        def receive(self, message: Echo | ReceiveTimeout) -> Any:
            if isinstance(message, ReceiveTimeout):
                seen("silence")
                current(self).receive_timeout(None)
            elif message.value == "set":
                current(self).receive_timeout(SOON)
            return message.value if isinstance(message, Echo) else None

    plain = child(Plain)

    async def body(daemon: Daemon) -> None:
        assert await plain.ref.ask(Echo("set")) == "set"
        assert await plain.ref.ask(Echo(1)) == 1
        await seen.until(1)
        assert await plain.ref.ask(Echo(2)) == 2
        assert plain.ref.cell.handler_step is (step_plain if dress is as_it_is else step_coroutines)

    host.run(one_for_one(plain), body)


def test_an_actor_without_it_has_the_step_of_its_kind(loop_flavour: FlavourName, host: Host) -> None:
    actor = child(listening(loop_flavour, Diary(), {}))

    async def body(daemon: Daemon) -> None:
        await ask(actor.ref, Read())
        assert actor.ref.cell.handler_step is step_coroutines

    host.run(one_for_one(actor), body)


def test_senders_who_wait_for_room_are_let_in_beside_it(flavour: FlavourName, host: Host) -> None:
    async def hold(me: Any) -> None:
        me.receive_timeout(NEVER)
        await gate.passed()
        await turn_of(me)

    async def turn_of(me: Any) -> None:
        await turn(me._cell.instance)

    seen, gate = Diary(), Gate()
    actor = child(listening(flavour, seen, {"hold": hold}, mailbox=Mailbox(1)))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("hold"))
        await seen.until(1)
        actor.ref.send(Note("1"))
        gate.open()
        for text in ("2", "3", "4"):
            await actor.ref.offer(Note(text))
        await seen.until(5)

    host.run(one_for_one(actor), body)
    assert seen == ["hold", "1", "2", "3", "4"]


# -- refusals ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "1", True], ids=repr)
def test_bad_seconds_are_refused(flavour: FlavourName, host: Host, seconds: Any) -> None:
    async def start(me: Any) -> None:
        with pytest.raises(SpecError, match=r"receive_timeout: given .*, allowed: seconds: a finite number above 0"):
            me.receive_timeout(seconds)
        seen("refused")

    seen = Diary()
    actor = child(listening(flavour, seen, {"on_start": start}))

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(one_for_one(actor), body)


def test_a_mailbox_that_does_not_take_it_is_refused(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Deaf:
        async def on_start(self) -> None:
            with pytest.raises(MessageTypeError, match=r"given ReceiveTimeout.*allowed: .*Note"):
                current(self).receive_timeout(1.0)
            current(self).receive_timeout(None)
            seen("refused")

        async def receive(self, message: Note) -> None: ...

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(one_for_one(child(Deaf)), body)


def test_an_actor_with_run_is_told_what_to_use_instead(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note | ReceiveTimeout]) -> None:
            with pytest.raises(UsageError, match="set `after` with a key"):
                current(self).receive_timeout(1.0)
            seen("refused")
            async for _ in inbox:
                """Nothing comes."""

    async def body(daemon: Daemon) -> None:
        await seen.until(1)

    host.run(one_for_one(child(Looping)), body)


def test_it_is_set_in_the_actors_own_thread_only(flavour: FlavourName, host: Host) -> None:
    contexts: list[Any] = []

    async def start(me: Any) -> None:
        contexts.append(me)

    actor = child(listening(flavour, Diary(), {"on_start": start}))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(UsageError, match="another thread"):
            await in_thread(contexts[0].receive_timeout, 1.0)

    host.run(one_for_one(actor), body)
