"""What the runtime tells an actor goes before the messages of users, if it is still wanted when its turn comes."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from tests.actors.stage import Boom, Crash, Diary, Events, FlavourName, Gate, Host, Note, Read, role
from trouper import ActorStopped, Daemon, Inbox, Mailbox, child, one_for_one
from trouper.actors.urgent import Urgent, pop_oldest, put_in_front, urgent_ahead
from trouper.events import DeadLetter


class Unwanted(Urgent):
    def live(self) -> bool:
        return False


class FakeCell:
    generation = 1
    instance = object()


def urgent(message: object) -> Urgent:
    cell: Any = FakeCell()
    return Urgent(message, cell)


def plugged(flavour: FlavourName, seen: Diary, gate: Gate, **options: Any) -> Any:
    """It is held by its first message until the gate opens."""

    @role(flavour, **options)
    class Plugged:
        async def receive(self, message: Note | Crash | Read) -> Any:
            seen(message.text if isinstance(message, Note) else "crash")
            if isinstance(message, Crash):
                raise Boom
            if message == Note("plug"):
                await gate.passed()
            return None

    return Plugged


def looping(flavour: FlavourName, seen: Diary, gate: Gate, **options: Any) -> Any:
    @role(flavour, **options)
    class Looping:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                seen(message.text)
                if message == Note("plug"):
                    await gate.passed()

    return Looping


def press(ref: Any, *texts: str, kind: type[Urgent] = Urgent) -> None:
    """By an order, as the runtime does it."""
    for text in texts:
        ref.lane.post(lambda text=text: ref.cell.press(kind(Note(text), ref.cell)))


@pytest.mark.parametrize("cast", [plugged, looping], ids=["receive", "run"])
def test_urgent_messages_come_first_and_in_their_own_order(flavour: FlavourName, host: Host, cast: Any) -> None:
    seen, gate = Diary(), Gate()
    actor = child(cast(flavour, seen, gate))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("plug"))
        await seen.until(1)
        for text in ("1", "2"):
            actor.ref.send(Note(text))
        press(actor.ref, "a", "b")
        press(actor.ref, "x", kind=Unwanted)
        press(actor.ref, "c")
        if flavour == "threading":
            gate.open()  # a thread sees its orders when the handler is done
        else:
            actor.ref.lane.post(gate.open)
        await seen.until(6)
        actor.ref.send(Note("3"))
        await seen.until(7)

    host.run(one_for_one(actor), body)
    assert seen == ["plug", "a", "b", "c", "1", "2", "3"]


@pytest.mark.parametrize("cast", [plugged, looping], ids=["receive", "run"])
def test_an_urgent_message_wakes_an_idle_actor(flavour: FlavourName, host: Host, cast: Any) -> None:
    seen = Diary()
    actor = child(cast(flavour, seen, Gate()))

    async def body(daemon: Daemon) -> None:
        press(actor.ref, "x", kind=Unwanted)
        press(actor.ref, "a")
        await seen.until(1)

    host.run(one_for_one(actor), body)
    assert seen == ["a"]


def test_one_for_an_earlier_generation_is_dropped_without_a_dead_letter(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(plugged(flavour, seen, Gate()))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        actor.ref.send(Note("first"))
        await seen.until(1)
        old = Urgent(Note("old"), actor.ref.cell)
        actor.ref.send(Crash())
        actor.ref.send(Note("second"))
        await seen.until(3)
        actor.ref.lane.post(actor.ref.cell.press, old)
        press(actor.ref, "new")
        await seen.until(4)
        assert [event.message for event in events.of(DeadLetter)] == [Crash()]

    host.run(one_for_one(actor), body)
    assert seen == ["first", "crash", "second", "new"]


def test_no_capacity_applies_to_it_and_it_takes_no_room(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    mailbox = Mailbox(1, overflow="drop_oldest")
    actor = child(plugged(flavour, seen, gate, mailbox=mailbox))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note("plug"))
        await seen.until(1)
        box = actor.ref.make_box()
        box.append(Urgent(Note("a"), actor.ref.cell))
        box.append(Urgent(Note("b"), actor.ref.cell))
        actor.ref.send(Note("1"))
        assert len(box) == 3
        actor.ref.send(Note("2"))
        assert len(box) == 3, "the oldest message of a user was dropped"
        gate.open()
        await seen.until(4)
        assert daemon.dead_letters == 1

    host.run(one_for_one(actor), body)
    assert seen == ["plug", "a", "b", "2"]


def test_the_front_of_a_box_is_behind_what_is_urgent() -> None:
    a, b = urgent("a"), urgent("b")
    box: deque[Any] = deque([a, b, 3])
    put_in_front(box, [1, 2])
    assert list(box) == [a, b, 1, 2, 3]
    assert urgent_ahead(box) == 2
    assert pop_oldest(box) == 1
    assert list(box) == [a, b, 2, 3]


def test_a_box_of_urgent_messages_only_has_no_oldest_to_drop() -> None:
    box: deque[Any] = deque([urgent("a")])
    with pytest.raises(IndexError):
        pop_oldest(box)
    assert len(box) == 1


def test_an_actor_that_is_stopped_buries_nothing_urgent(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    actor = child(plugged(flavour, seen, Gate()))

    async def body(daemon: Daemon) -> None:
        actor.ref.send(Note())
        await seen.until(1)
        late = Urgent(Note("late"), actor.ref.cell)
        await daemon.terminate("/plugged")
        await daemon.delete("/plugged")
        with pytest.raises(ActorStopped):
            await actor.ref.ask(Read())
        actor.ref.box.append(late)
        actor.ref.cell.bury()
        assert not actor.ref.box
        assert daemon.dead_letters == 1, "the request that was asked"

    host.run(one_for_one(actor), body)
