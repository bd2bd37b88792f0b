"""The stash: messages that an actor keeps for later, and that no crash of it loses."""

from __future__ import annotations

from typing import Any

import pytest

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
    in_thread,
    outcome,
    role,
    together,
    turn,
    until,
)
from trouper import (
    ActorRestarted,
    ActorStopped,
    AskTimeout,
    Backoff,
    Daemon,
    DeadLetter,
    Inbox,
    Limit,
    Mailbox,
    SpecError,
    StashFull,
    UsageError,
    actor,
    child,
    current,
    one_for_one,
    pool,
)
from trouper.supervision.describe import describe
from trouper.supervision.place import place

MANY = Limit(100, within=60.0)


def connecting(flavour: FlavourName, seen: Diary, *, suspends: bool = False, **options: Any) -> Any:
    """Until it is told `open`, it stashes what it gets; `open` unstashes. `stay` unstashes and goes on stashing."""

    @role(flavour, **options)
    class Connecting:
        def __attrs_post_init__(self) -> None:
            self.is_open = False

        async def receive(self, message: Note | Echo | Read | Crash) -> Any:
            if suspends:
                await turn(self)
            if isinstance(message, Crash):
                raise Boom
            if isinstance(message, Read):
                return list(seen.entries)
            if message in (Note("open"), Note("stay")):
                self.is_open = message == Note("open")
                current(self).unstash()
            elif not self.is_open:
                current(self).stash(message)
                seen("stashed")
            else:
                seen(message.text if isinstance(message, Note) else message)
                return message.value if isinstance(message, Echo) else None
            return None

    return Connecting


def say(ref: Any, *texts: str) -> None:
    for text in texts:
        ref.send(Note(text))


@pytest.mark.parametrize("suspends", [False, True])
def test_what_is_stashed_comes_back_in_order_before_what_waits(
    flavour: FlavourName, host: Host, suspends: bool
) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen, suspends=suspends))
    say(actor.ref, "1", "2", "open", "3")

    async def body(daemon: Daemon) -> None:
        await seen.until(5)
        assert daemon.dead_letters == 0

    host.run(one_for_one(actor), body)
    assert seen == ["stashed", "stashed", "1", "2", "3"]


def test_it_can_be_stashed_again_and_keeps_its_order(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen))
    say(actor.ref, "1", "2", "stay")

    async def body(daemon: Daemon) -> None:
        await seen.until(4)
        say(actor.ref, "open")
        await seen.until(6)

    host.run(one_for_one(actor), body)
    assert seen == [*["stashed"] * 4, "1", "2"]


@pytest.mark.parametrize("suspends", [False, True])
def test_an_ask_that_is_stashed_is_answered_later(flavour: FlavourName, host: Host, suspends: bool) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen, suspends=suspends))

    async def body(daemon: Daemon) -> None:
        async def open_it() -> None:
            await seen.until(2)
            say(actor.ref, "open")

        answers = await together(
            lambda: ask(actor.ref, Echo("a")),
            lambda: ask(actor.ref, Echo("b")),
            open_it,
        )
        assert answers == ["a", "b", None]

    host.run(one_for_one(actor), body)


def test_an_ask_that_is_put_back_by_the_handler_that_stashed_it_is_handled_again(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Twice:
        times: int = 0

        async def receive(self, message: Echo) -> Any:
            self.times += 1
            if self.times == 1:
                current(self).stash(message)
                await turn(self)
                current(self).unstash()
                return None
            return message.value, self.times

    twice = child(Twice)

    async def body(daemon: Daemon) -> None:
        assert await twice.ref.ask(Echo("x")) == ("x", 2)

    host.run(one_for_one(twice), body)


def test_an_actor_with_run_can_stash_messages_and_requests(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Note | Echo]) -> None:
            me, is_open = current(self), False
            async for message in inbox:
                if message == Note("open"):
                    is_open = True
                    me.unstash()
                elif not is_open:
                    me.stash(message)
                    seen("stashed")
                elif isinstance(message, Echo):
                    me.reply_to(message)(message.value)
                else:
                    seen(message)

    looping = child(Looping)
    looping.ref.send(Note("1"))

    async def body(daemon: Daemon) -> None:
        async def open_it() -> None:
            await seen.until(2)
            say(looping.ref, "open")

        assert await together(lambda: looping.ref.ask(Echo(7)), open_it) == [7, None]
        await seen.until(3)

    host.run(one_for_one(looping), body)
    assert seen == ["stashed", "stashed", Note("1")]


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("fails", [False, True])
def test_a_handler_that_is_asked_in_place_can_stash(
    loop_flavour: FlavourName, host: Host, fails: bool, dress: Dress
) -> None:
    @actor(flavour=loop_flavour)
    class Plain:
        times: int = 0

        @dress
        def receive(self, message: Echo | Note) -> Any:
            me = current(self)
            if isinstance(message, Note):
                me.unstash()
                return None
            self.times += 1
            if self.times == 1 and me.generation == 1:
                me.stash(message)
                if fails:
                    me.unstash()
                    raise Boom
                me.self_ref.send(Note())
                return None
            return message.value

    @actor(flavour=loop_flavour)
    class Asker:
        async def receive(self, message: Read) -> list[Any]:
            return [await outcome(lambda: plain.ref.ask(Echo(1))), await plain.ref.ask(Echo(2))]

    plain, asker = child(Plain), child(Asker)

    async def body(daemon: Daemon) -> None:
        first, second = await asker.ref.ask(Read())
        assert isinstance(first, ActorRestarted) if fails else first == 1
        assert second == 2
        assert daemon.dead_letters == fails

    host.run(one_for_one(plain, asker), body)


# -- crashes -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suspends", [False, True])
def test_what_is_stashed_survives_a_crash_in_order_and_only_the_message_that_crashed_is_lost(
    flavour: FlavourName, host: Host, suspends: bool
) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen, suspends=suspends))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        say(actor.ref, "1", "2")
        await seen.until(2)
        actor.ref.send(Crash())
        say(actor.ref, "3", "4")
        await seen.until(6)
        say(actor.ref, "open")
        await seen.until(10)
        assert [event.message for event in events.of(DeadLetter)] == [Crash()]

    host.run(one_for_one(actor), body)
    assert seen == [*["stashed"] * 6, "1", "2", "3", "4"]


def test_an_ask_that_was_stashed_when_its_actor_crashed_is_answered_by_the_next_generation(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen))

    async def body(daemon: Daemon) -> None:
        async def crash_and_open() -> None:
            await seen.until(1)
            actor.ref.send(Crash())
            await seen.until(2)
            say(actor.ref, "open")

        assert await together(lambda: ask(actor.ref, Echo("a")), crash_and_open) == ["a", None]

    host.run(one_for_one(actor), body)


def test_a_message_that_is_stashed_and_then_crashes_its_actor_is_not_handled_again(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()

    @role(flavour)
    class Failing:
        async def receive(self, message: Note | Echo | Read) -> Any:
            if isinstance(message, Read):
                return list(seen.entries)
            seen(message)
            current(self).stash(message)
            if message != Note("kept"):
                raise Boom
            return None

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        say(failing.ref, "kept", "poison")
        await until(lambda: len(seen.entries) == 3)
        assert isinstance(await outcome(lambda: ask(failing.ref, Echo())), ActorRestarted)
        assert await ask(failing.ref, Read()) == [Note("kept"), Note("poison"), Note("kept"), Echo(), Note("kept")]
        assert daemon.dead_letters == 2

    host.run(one_for_one(failing), body)


def test_no_message_kept_while_the_actor_is_down_is_lost_when_the_next_generation_fails_again(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()

    @role(flavour, backoff=Backoff(base=0.005))
    class Unlucky:
        async def on_start(self) -> None:
            generation = current(self).generation
            seen(("start", generation))
            if generation in (2, 3, 5):
                for number in range(3):
                    current(self).self_ref.send(Note((generation, number)))
                raise Boom

        async def receive(self, message: Note | Crash | Read) -> Any:
            if isinstance(message, Crash):
                for number in range(3):
                    current(self).self_ref.send(Note((current(self).generation, number)))
                raise Boom
            if isinstance(message, Note):
                seen(message.text)
            return None

    unlucky = child(Unlucky)

    async def body(daemon: Daemon) -> None:
        unlucky.ref.send(Crash())
        unlucky.ref.send(Note("before"))
        await seen.until(lambda entries: (3, 2) in entries)
        unlucky.ref.send(Crash())
        await seen.until(lambda entries: (5, 2) in entries)
        assert daemon.dead_letters == 2

    host.run(one_for_one(unlucky, restarts=MANY), body)
    told = [entry for entry in seen.entries if entry[0] != "start"]
    kept = [(generation, number) for generation in (1, 2, 3, 4, 5) for number in range(3)]
    assert [entry for entry in told if entry != "before"] == kept
    assert told.count("before") == 1


# -- the end for good --------------------------------------------------------------------------------------------------
def test_at_the_end_what_is_stashed_becomes_dead_letters_and_asks_fail_at_once(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen))

    async def body(daemon: Daemon) -> None:
        async def end() -> None:
            await seen.until(2)
            await daemon.terminate("/connecting")
            await daemon.delete("/connecting")

        events = Events(daemon, DeadLetter)
        say(actor.ref, "1")
        answer, _ = await together(lambda: ask(actor.ref, Echo("a")), end)
        assert isinstance(answer, ActorStopped)
        assert [event.message for event in events.of(DeadLetter)] == [Note("1"), Echo("a")]

    host.run(one_for_one(actor), body)


def test_a_request_that_is_stashed_when_its_asker_gives_up_is_answered_to_nobody(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        with pytest.raises(AskTimeout):
            await actor.ref.ask(Echo("a"), timeout=0.005)
        await seen.until(1)
        say(actor.ref, "open")
        await events.until(1)
        assert events.of(DeadLetter)[0].why.startswith("a late reply to Echo")

    host.run(one_for_one(actor), body)


@pytest.mark.parametrize("of_a_pool", [False, True])
def test_a_late_reply_is_a_dead_letter_that_names_the_asker(
    flavour: FlavourName, host: Host, *, of_a_pool: bool
) -> None:
    seen = Diary()
    slow = child(connecting(flavour, seen))
    place: Any = pool(slow, size=1) if of_a_pool else slow

    @role(flavour)
    class Asker:
        async def receive(self, message: Note) -> None:
            seen(type(await outcome(lambda: ask(slow.ref, Echo("a"), timeout=0.005))))

    asker = child(Asker)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        asker.ref.send(Note())
        await seen.until(2)
        say(slow.ref, "open")
        await events.until(1)
        letter = events.of(DeadLetter)[0]
        assert (letter.path, letter.message) == ("/pool/connecting-1" if of_a_pool else "/connecting", "a")
        assert letter.why == f"a late reply to {Echo('a')}, whose asker /asker gave up"

    host.run(one_for_one(place, asker), body)


# -- bounds and refusals -----------------------------------------------------------------------------------------------
def test_the_stash_has_a_capacity_and_says_where_it_is_full(flavour: FlavourName, host: Host) -> None:
    errors = Diary()

    @role(flavour, mailbox=Mailbox(stash=2))
    class Keeping:
        async def receive(self, message: Note) -> None:
            try:
                current(self).stash(message)
            except StashFull as error:
                errors(error)

    keeping = child(Keeping)
    say(keeping.ref, "1", "2", "3")

    async def body(daemon: Daemon) -> None:
        [error] = await errors.until(1)
        assert (error.message, error.path, error.capacity) == (Note("3"), "/keeping", 2)
        assert "Mailbox(stash=...)" in str(error)

    host.run(one_for_one(keeping), body)


def test_a_stash_that_overflows_crashes_its_actor_and_keeps_what_is_in_it(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen, mailbox=Mailbox(stash=2)))

    async def body(daemon: Daemon) -> None:
        say(actor.ref, "1", "2")
        await seen.until(2)
        say(actor.ref, "3")
        await seen.until(4)
        say(actor.ref, "open")
        await seen.until(6)
        assert daemon.dead_letters == 1

    host.run(one_for_one(actor), body)
    assert seen.entries[-2:] == ["1", "2"]


def test_a_stash_may_have_no_bound(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(connecting(flavour, seen, mailbox=Mailbox(stash=None)))

    async def body(daemon: Daemon) -> None:
        say(actor.ref, *["x"] * 1200, "open")
        await seen.until(2400)
        assert daemon.dead_letters == 0

    host.run(one_for_one(actor), body)


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "2"], ids=repr)
def test_a_bad_capacity_of_the_stash_is_refused(capacity: Any) -> None:
    with pytest.raises(SpecError, match=r"Mailbox: stash: given .*, allowed: an int of 1 or more"):
        Mailbox(stash=capacity)


@pytest.mark.parametrize(("stash", "said"), [(1_000, ""), (7, ", stash 7"), (None, ", stash no bound")])
def test_a_description_of_the_tree_tells_of_a_stash_that_somebody_chose(stash: int | None, said: str) -> None:
    tree = child(connecting("trio", Diary())).options(mailbox=Mailbox(5, stash=stash))
    assert f"mailbox 5, drop_newest{said};" in "\n".join(describe(place(tree)))


def test_a_message_that_the_mailbox_does_not_take_and_a_request_that_was_claimed_cannot_be_stashed(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Wrong:
        async def receive(self, message: Echo) -> Any:
            me: Any = current(self)
            if message.value == "type":
                return str(await outcome(lambda: attempt(me, "text")))
            if message.value == "claimed":
                reply = me.reply_to(message)
                reply(str(await outcome(lambda: attempt(me, message))))
            elif message.value == "thread":
                contexts.append(me)
                return ""
            else:
                me.stash(message)
                error = await outcome(lambda: attempt(me, message))
                me.unstash()
                message = Echo(error)
                raise error
            return None

    async def attempt(me: Any, message: Any) -> None:
        me.stash(message)

    contexts: list[Any] = []
    wrong = child(Wrong)

    async def body(daemon: Daemon) -> None:
        assert f"given 'text' (a str), allowed: {__name__.rpartition('.')[0]}" in await ask(wrong.ref, Echo("type"))
        assert "`reply_to` was called for it" in await ask(wrong.ref, Echo("claimed"))
        twice = await outcome(lambda: ask(wrong.ref, Echo("twice")))
        assert isinstance(twice.__cause__, UsageError)
        assert "it was stashed before" in str(twice.__cause__)
        await ask(wrong.ref, Echo("thread"))
        for call in (lambda: contexts[0].stash(Echo()), contexts[0].unstash):
            with pytest.raises(UsageError, match="another thread"):
                await in_thread(call)

    host.run(one_for_one(wrong, restarts=MANY), body)


def test_a_stashed_request_is_not_answered_by_return_as_well(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Both:
        async def receive(self, message: Echo) -> Any:
            current(self).stash(message)
            return 1

    both = child(Both)

    async def body(daemon: Daemon) -> None:
        error = await outcome(lambda: ask(both.ref, Echo()))
        assert "`stash` was called; allowed: one of them" in str(error)

    host.run(one_for_one(both), body)
