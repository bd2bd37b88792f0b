"""Mailboxes at work: their bounds, what does not fit, backpressure, and what a restart and a stop leave in them."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.actors.stage import (
    PATIENCE,
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    Read,
    ask,
    give_up,
    in_thread,
    offer,
    outcome,
    role,
    together,
    turn,
    until,
)
from trouper import (
    ActorStopped,
    Daemon,
    Inbox,
    Mailbox,
    MailboxFull,
    Ref,
    child,
    current,
    one_for_all,
    one_for_one,
)
from trouper.events import ActorEnded, ActorStarted, DeadLetter, MailboxOverflow

Style = Literal["receive", "run"]
pytestmark = pytest.mark.parametrize("style", ["receive", "run"])


def keeper(flavour: FlavourName, style: Style, **options: Any) -> Any:
    """An actor that waits at the gate over each note, and reads out what it noted."""

    async def handle(me: Any, message: Any) -> Any:
        match message:
            case Note(text):
                me.entered(text)
                await me.gate.passed()
                me.notes(text)
            case Crash():
                raise Boom
            case Read():
                return list(me.notes.entries)
            case _:
                raise AssertionError(message)
        return None

    if style == "receive":

        @role(flavour, **options)
        class Receiver:
            gate: Gate
            notes: Diary
            entered: Diary

            async def receive(self, message: Note | Read | Crash) -> Any:
                return await handle(self, message)

        return Receiver

    @role(flavour, **options)
    class Runner:
        gate: Gate
        notes: Diary
        entered: Diary

        async def run(self, inbox: Inbox[Note | Read | Crash]) -> None:
            async for message in inbox:
                reply = await handle(self, message)
                if isinstance(message, Read):
                    current(self).reply_to(message)(reply)

    return Runner


class Kept:
    """A child that waits over its first message, with its mailbox."""

    def __init__(self, flavour: FlavourName, style: Style, **options: Any) -> None:
        self.gate, self.notes, self.entered = Gate(), Diary(), Diary()
        kind = keeper(flavour, style, **options)
        self.child = child(kind, self.gate, self.notes, self.entered).options(name="keeper")
        self.ref: Ref[Any] = self.child.ref

    async def busy(self) -> None:
        """Have it wait at the gate, with an empty mailbox."""
        self.ref.send(Note("first"))
        await self.entered.until(1)
        if self.child.definition.flavour != "threading":
            await until(lambda: self.ref.cell.activity is not None)

    async def let_go_at_its_stop(self) -> None:
        await until(lambda: self.ref.cell.stop_wanted)
        self.gate.open()


# -- bounds ------------------------------------------------------------------------------------------------------------
def test_a_mailbox_that_nobody_chose_is_bounded(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style)
    bound = Mailbox().capacity
    assert kept.child.choice.mailbox == Mailbox(100_000, overflow="drop_newest")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        await kept.busy()
        filler, send = Note("filler"), kept.ref.send
        for _ in range(bound or 0):
            send(filler)
        assert daemon.dead_letters == 0
        send(Note("too many"))
        assert [letter.message for letter in events.of(DeadLetter)] == [Note("too many")]
        assert len(kept.ref.box) == bound
        kept.ref.box.clear()
        kept.gate.open()

    host.run(kept.child, body)


def test_what_does_not_fit_is_dropped_and_is_a_dead_letter(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(3))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter, MailboxOverflow)
        await kept.busy()
        for n in range(5):
            kept.ref.send(Note(n))
        kept.gate.open()
        assert await kept.notes.until(4) == ["first", 0, 1, 2]
        assert [letter.message for letter in events.of(DeadLetter)] == [Note(3), Note(4)]
        assert events.of(MailboxOverflow) == [MailboxOverflow("/keeper", 3, "drop_newest")] * 2
        assert daemon.dead_letters == 2

    host.run(kept.child, body)


def test_the_oldest_can_be_dropped_instead(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(3, overflow="drop_oldest"))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        await kept.busy()
        for n in range(5):
            kept.ref.send(Note(n))
        kept.gate.open()
        assert await kept.notes.until(4) == ["first", 2, 3, 4]
        assert [letter.message for letter in events.entries] == [Note(0), Note(1)]

    host.run(kept.child, body)


def test_a_full_mailbox_can_reject(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1, overflow="reject"))

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.ref.send(Note(0))
        with pytest.raises(MailboxFull, match="/keeper") as caught:
            kept.ref.send(Note(1))
        assert (caught.value.message, caught.value.capacity) == (Note(1), 1)
        kept.gate.open()
        assert await kept.notes.until(2) == ["first", 0]
        assert daemon.dead_letters == 0

    host.run(kept.child, body)


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "reject"])
def test_an_ask_that_does_not_fit_fails_at_once(flavour: FlavourName, host: Host, style: Style, overflow: Any) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1, overflow=overflow))

    async def body(daemon: Daemon) -> None:
        async def push() -> None:
            await until(lambda: len(kept.ref.box) == 1)
            if overflow == "drop_oldest":
                kept.ref.send(Note("newer"))
            else:
                with pytest.raises(MailboxFull):
                    await kept.ref.ask(Read(), timeout=None)
                kept.gate.open()

        await kept.busy()
        result, _ = await together(lambda: kept.ref.ask(Read(), timeout=None), push)
        assert isinstance(result, MailboxFull) if overflow == "drop_oldest" else result == ["first"]
        kept.gate.open()

    host.run(kept.child, body)


def test_without_a_bound_everything_fits(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(None))

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        for n in range(101_000):
            kept.ref.send(Note(n))
        assert len(kept.ref.box) == 101_000
        assert daemon.dead_letters == 0
        kept.ref.box.clear()
        kept.gate.open()

    host.run(kept.child, body)


# -- backpressure ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sender", "overflow"), [("trio", "drop_newest"), ("asyncio", "drop_oldest"), ("threading", "reject")]
)
def test_an_offer_waits_for_room_and_nothing_is_lost(
    flavour: FlavourName, host: Host, style: Style, overflow: Any, sender: FlavourName
) -> None:
    @role(sender)
    class Offering:
        to: Ref[Any]

        async def receive(self, message: Echo) -> Any:
            for n in range(message.value):
                await offer(self.to, Note(n))
            return "all in"

    kept = Kept(flavour, style, mailbox=Mailbox(2, overflow=overflow))
    kept.gate.open()
    offering = child(Offering, kept.ref)

    async def body(daemon: Daemon) -> None:
        assert await ask(offering.ref, Echo(50)) == "all in"
        assert await kept.notes.until(50) == list(range(50))
        assert daemon.dead_letters == 0

    host.run(one_for_one(kept.child, offering), body)


def test_offers_of_many_senders_get_in_each_in_its_order(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(2))

    async def body(daemon: Daemon) -> None:
        async def many(sender: int) -> None:
            for n in range(20):
                await kept.ref.offer(Note((sender, n)))

        def many_sync(sender: int) -> None:
            for n in range(20):
                kept.ref.offer_sync(Note((sender, n)), timeout=PATIENCE)

        kept.gate.open()
        await together(
            *[lambda sender=sender: many(sender) for sender in range(3)],
            *[lambda sender=sender: in_thread(many_sync, sender) for sender in range(3, 6)],
        )
        notes = await kept.notes.until(120)
        for sender in range(6):
            assert [n for who, n in notes if who == sender] == list(range(20))
        assert daemon.dead_letters == 0

    host.run(kept.child, body)


def test_offers_that_wait_get_in_first_come_first_served(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1))

    async def body(daemon: Daemon) -> None:
        async def one(n: int) -> None:
            await until(lambda: len(kept.ref.cell.offers or ()) == n)
            await kept.ref.offer(Note(n))

        async def release() -> None:
            await until(lambda: len(kept.ref.cell.offers or ()) == 5)
            kept.gate.open()

        await kept.busy()
        kept.ref.send(Note("second"))
        await together(*[lambda n=n: one(n) for n in range(5)], release)
        assert await kept.notes.until(7) == ["first", "second", 0, 1, 2, 3, 4]

    host.run(kept.child, body)


def test_an_offer_that_is_cancelled_is_withdrawn(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1))

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.ref.send(Note("second"))
        await give_up(lambda: kept.ref.offer(Note("withdrawn")), lambda: kept.ref.cell.offers)
        kept.gate.open()
        await kept.ref.offer(Note("third"))
        assert await kept.notes.until(3) == ["first", "second", "third"]

    host.run(kept.child, body)


def test_an_offer_of_a_thread_gives_up_after_its_timeout(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1))

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.ref.send(Note("second"))
        with pytest.raises(MailboxFull):
            await in_thread(lambda: kept.ref.offer_sync(Note("too late"), timeout=0.01))
        kept.gate.open()
        assert await kept.notes.until(2) == ["first", "second"]
        assert await ask(kept.ref, Read()) == ["first", "second"]

    host.run(kept.child, body)


def test_offers_survive_a_crash_of_the_receiver(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1))

    async def body(daemon: Daemon) -> None:
        async def release() -> None:
            await until(lambda: kept.ref.cell.offers)
            kept.gate.open()

        await kept.busy()
        kept.ref.send(Crash())
        await together(lambda: kept.ref.offer(Note("offered")), release)
        assert await kept.notes.until(2) == ["first", "offered"]

    host.run(one_for_one(kept.child), body)


def test_an_offer_to_an_actor_that_stops_for_good_ends_in_a_dead_letter(
    flavour: FlavourName, host: Host, style: Style
) -> None:
    kept = Kept(flavour, style, mailbox=Mailbox(1))

    async def body(daemon: Daemon) -> None:
        async def stop() -> None:
            await until(lambda: kept.ref.cell.offers)
            await together(lambda: daemon.terminate("/keeper"), kept.let_go_at_its_stop)

        events = Events(daemon, DeadLetter)
        await kept.busy()
        kept.ref.send(Note("second"))
        await together(lambda: kept.ref.offer(Note("offered")), stop)
        seen = await events.until(lambda events: events and events[-1].message == Note("offered"))
        letters = [letter.message for letter in seen if letter.message != Note("first")]
        assert letters == [Note("second"), Note("offered")]

    host.run(one_for_one(kept.child), body)


# -- restarts and stops ------------------------------------------------------------------------------------------------
def test_the_mailbox_survives_restarts_in_order(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style)

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        for n in range(3):
            kept.ref.send(Note(2 * n))
            kept.ref.send(Crash())
            kept.ref.send(Note(2 * n + 1))
        kept.gate.open()
        assert await kept.notes.until(7) == ["first", 0, 1, 2, 3, 4, 5]
        assert daemon.dead_letters == 3

    host.run(one_for_one(kept.child), body)


def test_a_restart_by_the_group_keeps_the_mailbox_too(flavour: FlavourName, host: Host, style: Style) -> None:
    @role(flavour)
    class Other:
        async def receive(self, message: Crash) -> None:
            raise Boom

    kept, other = Kept(flavour, style), child(Other)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorStarted)
        await kept.busy()
        kept.gate.open()
        await kept.notes.until(1)
        other.ref.send(Crash())
        for n in range(3):
            kept.ref.send(Note(n))
        await events.started("/other")
        assert await ask(kept.ref, Read()) == ["first", 0, 1, 2]

    host.run(one_for_all(kept.child, other), body)


def test_an_actor_that_drains_handles_what_is_queued_and_refuses_what_is_new(
    flavour: FlavourName, host: Host, style: Style
) -> None:
    kept = Kept(flavour, style, drain=True)

    async def body(daemon: Daemon) -> None:
        async def late() -> None:
            await until(lambda: kept.ref.cell.stop_wanted)
            if flavour != "threading":  # a thread hears of it when its handler is over
                await until(lambda: kept.ref.cell.state == "draining")
            kept.ref.send(Note("late"))
            assert isinstance(await outcome(lambda: kept.ref.ask(Read(), timeout=None)), ActorStopped)
            kept.gate.open()

        events = Events(daemon)
        await kept.busy()
        for n in range(3):
            kept.ref.send(Note(n))
        results = await together(lambda: daemon.terminate("/keeper"), late)
        assert results == ["ok", None]
        assert kept.notes == ["first", 0, 1, 2]
        assert [letter.message for letter in events.of(DeadLetter)] == [Note("late"), Read()]
        (ended,) = events.of(ActorEnded)
        assert ended.reason.kind == "shutdown"

    host.run(one_for_one(kept.child), body)


def test_who_drained_and_is_started_again_takes_messages_again(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, drain=True)

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.ref.send(Note("second"))
        assert await together(lambda: daemon.terminate("/keeper"), kept.let_go_at_its_stop) == ["ok", None]
        assert await daemon.restart("/keeper") == "ok"
        kept.ref.send(Note("third"))
        assert await ask(kept.ref, Read()) == ["first", "second", "third"]
        assert daemon.dead_letters == 0

    host.run(one_for_one(kept.child), body)


def test_an_idle_actor_that_drains_stops_at_once(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, drain=True, shutdown=PATIENCE)

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.gate.open()
        assert await ask(kept.ref, Read()) == ["first"]
        assert await daemon.terminate("/keeper") == "ok"
        assert daemon.dead_letters == 0

    host.run(one_for_one(kept.child), body)


def test_an_actor_that_crashes_while_it_drains_ends(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style, drain=True)

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        kept.ref.send(Crash())
        kept.ref.send(Note("never"))
        await together(lambda: daemon.terminate("/keeper"), kept.let_go_at_its_stop)
        assert kept.notes == ["first"]
        await until(lambda: daemon.dead_letters == 2)

    host.run(one_for_one(kept.child), body)


def test_a_stop_comes_before_queued_messages(flavour: FlavourName, host: Host, style: Style) -> None:
    kept = Kept(flavour, style)

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        for n in range(10):
            kept.ref.send(Note(n))
        await together(lambda: daemon.terminate("/keeper"), kept.let_go_at_its_stop)
        assert kept.notes.entries in (["first"], [])  # `run` is cancelled at once where its flavour can do that
        assert kept.entered == ["first"]
        await until(lambda: daemon.dead_letters >= 10)

    host.run(one_for_one(kept.child), body)


def test_the_capacity_is_exact_within_the_lane(loop_flavour: FlavourName, style: Style) -> None:
    host = Host(loop_flavour)
    kept = Kept(loop_flavour, style, mailbox=Mailbox(10))

    async def body(daemon: Daemon) -> None:
        await kept.busy()
        for n in range(100):
            kept.ref.send(Note(n))
            assert len(kept.ref.box) <= 10
        assert daemon.dead_letters == 90
        kept.gate.open()
        assert await kept.notes.until(11) == ["first", *range(10)]

    host.run(kept.child, body)


def test_a_drain_does_not_cut_short_what_the_handler_waits_for(flavour: FlavourName, host: Host, style: Style) -> None:
    """Its handler asks somebody, and its answer is still wanted: blocking calls of a draining thread go on."""

    @role(flavour)
    class Slow:
        gate: Gate

        async def receive(self, message: Read) -> list[Any]:
            await self.gate.passed()
            return ["answer"]

    gate, answers, asking = Gate(), Diary(), Diary()
    slow = child(Slow, gate)

    async def handle() -> None:
        asking("now")
        answers(await ask(slow.ref, Read()))

    if style == "receive":

        @role(flavour, drain=True)
        class Asking:
            async def receive(self, message: Note) -> None:
                await handle()

        kind: Any = Asking
    else:

        @role(flavour, drain=True)
        class AskingRun:
            async def run(self, inbox: Inbox[Note]) -> None:
                async for _ in inbox:
                    await turn(self)
                    await handle()

        kind = AskingRun
    asker = child(kind).options(name="asker")

    async def body(daemon: Daemon) -> None:
        async def release() -> None:
            await until(lambda: asker.ref.cell.stop_wanted)
            gate.open()

        asker.ref.send(Note(0))
        asker.ref.send(Note(1))
        await asking.until(1)
        await together(lambda: daemon.terminate("/asker"), release)
        assert answers == [["answer"], ["answer"]]

    host.run(one_for_one(slow, asker), body)
