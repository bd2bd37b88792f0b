"""Actors of two processes send to, ask, offer to and watch each other; what holds within one process holds across."""

from __future__ import annotations

import threading
from threading import Thread
from typing import Any

import attrs
import pytest
import trio

from tests.workers.couple import PATIENCE, Couple, Heard, couple, run
from trouper import (
    ActorRestarted,
    ActorStopped,
    AskTimeout,
    CannotTravel,
    Child,
    DeadLetter,
    LinkLost,
    Lost,
    Mailbox,
    MailboxFull,
    MailboxOverflow,
    Message,
    MessageTypeError,
    Ref,
    RemoteError,
    ReplyTo,
    Request,
    SchemaMismatch,
    StashFull,
    Terminated,
    actor,
    child,
    current,
    pool,
)
from trouper.actors.ask import Ask

FLAVOURS = ("trio", "asyncio", "threading", "wired")


class Note(Message):
    text: Any


class Special(Note):
    """A subclass."""


class Number(Message):
    value: int


class Read(Request[list[Any]]):
    """What was noted so far?"""


class Echo(Request[Any]):
    value: Any


class Count(Request[int]):
    value: Any


class Fail(Request[None]):
    kind: str


class Odd(Exception):
    """An error that the asker's process does not know."""


def notes(flavour: Any, **options: Any) -> Any:
    """An actor that takes notes, in a flavour."""
    taken: list[Any] = []

    def take(message: Any) -> Any:
        if isinstance(message, Note | Number):
            taken.append(message.text if isinstance(message, Note) else message.value)
            return None
        if isinstance(message, Read):
            return list(taken)
        if isinstance(message, Echo | Count):
            return message.value
        raise {"odd": Odd("no", 3), "stash": StashFull("x", "/p", 3)}[message.kind] from ValueError("behind")

    if flavour in ("threading", "wired"):

        @actor(flavour=threading, accepts=(Note, Number, Read, Echo, Count, Fail), **options)
        class Threaded:
            def receive(self, message: Any) -> Any:
                return take(message)

        return Threaded

    @actor(flavour=flavour, accepts=(Note, Number, Read, Echo, Count, Fail), **options)
    class Async:
        async def receive(self, message: Any) -> Any:
            return take(message)

    return Async


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_messages_arrive_in_order_and_a_request_after_them_is_answered(flavour: str) -> None:
    async def body() -> None:
        cls = notes(flavour)
        async with couple(child(cls).options(name="notes"), wired=flavour == "wired") as two:
            ref = two.ref("notes", cls)
            for number in range(5000):
                ref.send(Number(number))
            assert await ref.ask(Read()) == list(range(5000))
            ref.send(Note("more"))
            assert (await ref.ask(Read()))[-1] == "more"

    run(body)


def test_threads_and_lanes_send_at_the_same_time_and_each_keeps_its_order(flavour: str) -> None:
    async def body() -> None:
        cls = notes(flavour)
        async with couple(child(cls).options(name="notes", mailbox=Mailbox(None)), wired=flavour == "wired") as two:
            ref = two.ref("notes", cls, mailbox=Mailbox(None))
            threads = [Thread(target=send_many, args=(ref, who, 3000)) for who in range(3)]
            for thread in threads:
                thread.start()
            send_many(ref, 3, 3000)
            for thread in threads:
                await trio.to_thread.run_sync(thread.join)
            found = await ref.ask(Read())
            assert len(found) == 12_000
            for who in range(4):
                assert [n for n in found if n // 100_000 == who] == [who * 100_000 + n for n in range(3000)]
            await until_taken(two)
            assert two.here.peer.sent == 12_001

    run(body)


def send_many(ref: Ref[Any], who: int, count: int) -> None:
    for number in range(count):
        ref.send(Number(who * 100_000 + number))


async def until_taken(two: Couple) -> None:
    """Acknowledgements come behind answers: ask until they are here."""
    with trio.fail_after(PATIENCE):
        while two.here.peer.unacknowledged or two.here.peer.waiting:
            await trio.lowlevel.checkpoint()


def test_many_asks_at_once_each_get_their_own_answer(flavour: str) -> None:
    async def body() -> None:
        cls = notes(flavour)
        async with couple(child(cls).options(name="notes"), wired=flavour == "wired") as two:
            ref, found = two.ref("notes", cls), list[int]()

            async def ask(number: int) -> None:
                assert await ref.ask(Echo(number), timeout=None) == number
                found.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(ask, number)
            assert sorted(found) == list(range(300))

            def from_a_thread() -> None:
                for number in range(50):
                    assert ref.ask_sync(Echo(number)) == number

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.to_thread.run_sync, from_a_thread)
            await until_taken(two)

    run(body)


class Greet(Request[str]):
    name: str


class Use(Request[str]):
    greeter: Ref[Greet]


@actor(flavour="trio")
class Greeter:
    async def receive(self, message: Greet) -> str:
        return f"hello, {message.name}, says {current(self).path}"


@actor(flavour="asyncio")
class User:
    async def receive(self, message: Use) -> str:
        return await message.greeter.ask(Greet("you"))


def test_actors_of_both_sides_ask_each_other_by_refs_that_came_in_messages() -> None:
    async def body() -> None:
        here, there = child(Greeter).options(name="greeter"), child(Greeter).options(name="greeter")
        async with couple(child(User).options(name="user"), there, here=(here,)) as two:
            user, far = two.ref("user", User), two.ref("greeter", Greeter)
            assert await user.ask(Use(here.ref)) == "hello, you, says /greeter"  # over there, and back
            assert await user.ask(Use(far)) == "hello, you, says /there/greeter"  # it is the user's own neighbour
            assert two.there.peer.cells.keys() == {"/greeter"}

    run(body)


def test_an_exception_comes_as_words_with_its_causes_and_the_traceback_of_the_other_side(flavour: str) -> None:
    async def body() -> None:
        cls = notes(flavour, expected=(Odd, StashFull))
        async with couple(child(cls).options(name="notes"), wired=flavour == "wired") as two:
            ref = two.ref("notes", cls)
            with pytest.raises(RemoteError) as caught:
                await ref.ask(Fail("odd"))
            error = caught.value
            assert error.kind.endswith("test_across.Odd")
            assert error.arguments == ("no", 3)
            assert isinstance(error.__cause__, RemoteError)
            assert error.__cause__.kind == "ValueError"
            [note] = error.__notes__
            assert note.startswith("in /there:\nTraceback")
            assert "in take" in note
            with pytest.raises(StashFull, match="'x' to stash, but 3 messages"):
                await ref.ask(Fail("stash"))

    run(body)


def test_a_crash_over_a_request_is_told_at_once_and_the_actor_goes_on(flavour: str) -> None:
    async def body() -> None:
        cls = notes(flavour)
        async with couple(child(cls).options(name="notes"), wired=flavour == "wired") as two:
            ref = two.ref("notes", cls)
            with pytest.raises(ActorRestarted) as caught:
                await ref.ask(Fail("odd"), timeout=None)
            assert caught.value.message == Fail("odd")
            assert isinstance(caught.value.__cause__, RemoteError)
            assert await ref.ask(Echo(1)) == 1

    run(body)


def test_what_has_the_wrong_type_is_refused_here_or_there() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes")) as two:
            ref, here, there = (
                two.ref("notes", cls),
                Heard(two.here.daemon, DeadLetter),
                Heard(two.there.daemon, DeadLetter),
            )
            wrong: Any = "text"
            with pytest.raises(MessageTypeError):
                ref.send(wrong)
            with pytest.raises(MessageTypeError):
                ref.send(Special("a subclass"))
            ref.send(Number(wrong))
            ref.send(Note(object()))
            ref.send(Number(5))
            [letter] = await there.until(len)
            assert "Expected `int`, got `str`" in letter.why
            [letter] = await here.until(len)
            assert "cannot travel" in letter.why
            assert await ref.ask(Read()) == [5]
            with pytest.raises(CannotTravel, match="16777216"):
                await ref.ask(Echo("x" * (17 << 20)))
            with pytest.raises(CannotTravel, match="object"):
                await ref.ask(Echo(object()))
            with pytest.raises(TypeError, match="given the reply 'no number', allowed: int"):
                await ref.ask(Count("no number"))
            await until_taken(two)

    run(body)


def test_a_reply_of_the_wrong_type_crashes_there_and_fails_here() -> None:
    """The replying side checks classes, the asking side decodes what is inside them."""

    class Names(Request[list[str]]):
        """Give names."""

    @actor(flavour="trio")
    class Liar:
        async def receive(self, message: Names) -> list[Any]:
            return [1, 2]

    async def body() -> None:
        async with couple(child(Liar).options(name="liar")) as two:
            with pytest.raises(TypeError, match="Expected `str`, got `int`"):
                await two.ref("liar", Liar).ask(Names())

    run(body)


class Slow(Request[int]):
    """Answered when the gate opens."""


@attrs.define
class Gate:
    """Holds an actor there until the test lets it go; both are in one process."""

    entered: trio.Event = attrs.field(factory=trio.Event)
    opened: trio.Event = attrs.field(factory=trio.Event)


@actor(flavour=trio, mailbox=Mailbox(3))
class Gated:
    gate: Gate
    taken: list[int] = attrs.field(factory=list)

    async def receive(self, message: Number | Slow) -> int | None:
        if isinstance(message, Slow):
            self.gate.entered.set()
            await self.gate.opened.wait()
            return len(self.taken)
        self.taken.append(message.value)
        return None


def gated(gate: Gate, overflow: Any, capacity: int = 4) -> Any:
    return child(Gated, gate).options(name="gated", mailbox=Mailbox(capacity, overflow=overflow))


async def held(two: Couple, gate: Gate, overflow: Any, capacity: int = 4) -> Ref[Any]:
    """A ref to the actor, which handles a request that does not end: the mailbox has room for one less."""
    ref = two.ref("gated", Gated, mailbox=Mailbox(capacity, overflow=overflow))
    ref.send(Slow())
    await gate.entered.wait()
    return ref


def test_without_credit_the_newest_is_dropped_in_the_senders_process() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "drop_newest")) as two:
            ref, heard = await held(two, gate, "drop_newest"), Heard(two.here.daemon, MailboxOverflow, DeadLetter)
            for number in range(5):
                ref.send(Number(number))
            assert heard.events == [
                event
                for number in (3, 4)
                for event in (
                    MailboxOverflow("/there/gated", 4, "drop_newest"),
                    DeadLetter("/there/gated", Number(number), "mailbox full"),
                )
            ]
            gate.opened.set()
            await until_taken(two)
            assert await ref.ask(Slow()) == 3

    run(body)


def test_without_credit_a_mailbox_that_rejects_raises_in_the_sender() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "reject")) as two:
            ref = await held(two, gate, "reject")
            for number in range(3):
                ref.send(Number(number))
            with pytest.raises(MailboxFull, match="4 messages wait already"):
                ref.send(Number(3))
            with pytest.raises(MailboxFull):
                await ref.ask(Slow())
            gate.opened.set()
            await until_taken(two)
            assert await ref.ask(Slow()) == 3

    run(body)


def test_without_credit_the_oldest_that_still_waits_here_is_dropped() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "drop_oldest", 2)) as two:
            ref = await held(two, gate, "drop_oldest", 2)
            ref.send(Number(0))
            while ref.box:
                await trio.lowlevel.checkpoint()
            for number in range(1, 5):
                ref.send(Number(number))
            gate.opened.set()
            await until_taken(two)
            taken = two.there.daemon.ref_at("/there/gated")
            assert taken is not None
            assert taken.cell.instance.taken == [0, 4]  # the first was under way, the last is the newest

    run(body)


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "reject"])
def test_offer_waits_for_credit_under_every_policy(overflow: str) -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, overflow)) as two:
            ref = await held(two, gate, overflow)
            done: list[int] = []

            async def offer() -> None:
                for number in range(20):
                    await ref.offer(Number(number))
                    done.append(number)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(offer)
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert done == [0, 1, 2]
                gate.opened.set()
            await until_taken(two)
            assert await ref.ask(Slow()) == 20

            def offer_from_a_thread() -> None:
                for number in range(20):
                    ref.offer_sync(Number(number))

            await trio.to_thread.run_sync(offer_from_a_thread)
            await until_taken(two)
            assert await ref.ask(Slow()) == 40

    run(body)


def test_an_offer_that_is_cancelled_is_withdrawn() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "reject")) as two:
            ref = await held(two, gate, "reject")
            for number in range(3):
                ref.send(Number(number))
            with trio.move_on_after(0.02) as scope:
                await ref.offer(Number(3))
            assert scope.cancelled_caught
            gate.opened.set()
            await until_taken(two)
            assert await ref.ask(Slow()) == 3

    run(body)


def test_a_flood_from_one_handler_goes_out_while_it_sends_and_nothing_is_lost() -> None:
    class Go(Request[int]):
        count: int

    @actor(flavour="trio")
    class Source:
        to: list[Any]

        async def receive(self, message: Go) -> int:
            for number in range(message.count):
                self.to[0].send(Number(number))
            return len(self.to[0].box)  # what is left to go out

    async def body() -> None:
        cls, to = notes("asyncio"), list[Any]()
        source: Child[Any] = child(Source, to)
        async with couple(child(cls).options(name="notes"), here=(source,)) as two:
            to.append(two.ref("notes", cls))
            assert await source.ref.ask(Go(30_000)) < 30_000
            assert await to[0].ask(Read(), timeout=None) == list(range(30_000))

    run(body)


def test_what_cannot_be_written_ends_its_link_with_the_cause_and_no_lane() -> None:
    error = RuntimeError("an encoder has a bug")

    class Broken:
        queued = True
        lane: Any = None

        def drain(self, out: bytearray) -> None:
            raise error

    async def body() -> None:
        async with couple() as two:
            link = two.here.peer.link
            assert link is not None
            link.dirty.append(Broken())
            link.flush()
            await two.here.lost.wait()
            assert two.here.lost.take() is error
            assert two.here.wire.thread.is_alive()

    run(body)


def test_a_pool_over_there_is_one_address() -> None:
    class Who(Request[str]):
        """Which worker are you?"""

    @actor(flavour="trio")
    class Worker:
        async def receive(self, message: Who | Number) -> str | None:
            return current(self).path

    async def body() -> None:
        async with couple(pool(child(Worker), size=3, name="pool")) as two:
            ref = two.ref("pool", Worker)
            assert len({await ref.ask(Who()) for _ in range(6)}) == 3
            for number in range(100):
                ref.send(Number(number))
            await until_taken(two)
            assert two.there.daemon.dead_letters == 0

    run(body)


def test_a_claimed_request_is_answered_later_and_holds_up_nobody() -> None:
    class Later(Request[int]):
        """Answer when told."""

    class Now(Message):
        value: int

    @actor(flavour="trio", mailbox=Mailbox(1))
    class Claims:
        kept: list[ReplyTo[int]] = attrs.field(factory=list)

        async def receive(self, message: Later | Now) -> None:
            if isinstance(message, Later):
                self.kept.append(current(self).reply_to(message))
            else:
                self.kept.pop()(message.value)

    async def body() -> None:
        async with couple(child(Claims).options(name="claims")) as two:
            ref, found = two.ref("claims", Claims), list[int]()

            async def ask() -> None:
                found.append(await ref.ask(Later(), timeout=None))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await ref.offer(Now(7))  # there is room for it, though the request is not answered
            assert found == [7]

    run(body)


def test_an_answer_that_comes_too_late_is_a_dead_letter_of_the_asker() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "reject")) as two:
            heard = Heard(two.here.daemon, DeadLetter)
            with pytest.raises(AskTimeout):
                await two.ref("gated", Gated).ask(Slow(), timeout=0.01)
            await gate.entered.wait()
            gate.opened.set()
            [letter] = await heard.until(len)
            assert letter.path == "/there/gated"
            assert "a late reply" in letter.why

    run(body)


# -- the end -----------------------------------------------------------------------------------------------------------
def test_what_was_under_way_to_a_process_that_died_is_told_in_one_event_and_asks_fail_at_once() -> None:
    async def body() -> None:
        gate = Gate()
        async with couple(gated(gate, "drop_newest", 10)) as two:
            heard = Heard(two.here.daemon, Lost)
            ref = await held(two, gate, "drop_newest", 10)
            for number in range(4):
                ref.send(Number(number))
            failed: list[BaseException | None] = []

            async def ask() -> None:
                with pytest.raises(ActorRestarted) as caught:
                    await ref.ask(Slow(), timeout=None)
                failed.append(caught.value.__cause__)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await two.disconnect()
            assert isinstance(failed[0], LinkLost)
            assert heard.events == [Lost("/there", 6, 6)]  # with the request that was being handled
            gate.opened.set()

    run(body)


def test_what_waits_for_a_process_goes_to_its_successor_and_what_was_taken_does_not_come_again() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes"), connected=False) as two:
            ref, heard = two.ref("notes", cls), Heard(two.here.daemon, Lost)
            for number in range(3):
                ref.send(Number(number))
            two.connect()
            assert await ref.ask(Read()) == [0, 1, 2]
            await until_taken(two)
            await two.disconnect()
            for number in range(3, 3000):
                ref.send(Number(number))
            two.connect()
            assert await ref.ask(Read()) == list(range(3000))
            assert heard.events == []

    run(body)


def test_an_address_that_is_closed_refuses_at_once() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes"), connected=False) as two:
            ref, heard = two.ref("notes", cls), Heard(two.here.daemon, DeadLetter)
            ref.send(Number(1))
            two.here.peer.close()
            ref.send(Number(2))
            with pytest.raises(ActorStopped):
                await ref.ask(Echo(1))
            assert [letter.message for letter in heard.events] == [Number(1), Number(2), Echo(1)]

    run(body)


class Watch(Message):
    ref: Any


class End(Message):
    """Stop."""


@actor(flavour=trio, restart="temporary")
class Ends:
    async def receive(self, message: End) -> None:
        current(self).stop()


@actor(flavour=trio)
class Watcher:
    heard: list[Terminated]

    async def receive(self, message: Watch | Terminated | Read) -> list[Any] | None:
        if isinstance(message, Watch):
            current(self).watch(message.ref)
        elif isinstance(message, Terminated):
            self.heard.append(message)
        else:
            return []
        return None


@pytest.mark.parametrize("how", ["ends", "dies", "dead already", "closed"])
def test_a_watcher_hears_once_of_an_end_there_however_it_comes(how: str) -> None:
    async def body() -> None:
        heard: list[Terminated] = []
        watcher: Child[Any] = child(Watcher, heard)
        async with couple(child(Ends).options(name="ends"), here=(watcher,)) as two:
            ref = two.ref("ends", Ends)
            if how == "dead already":
                ref.send(End())
                await until_taken(two)
            watcher.ref.send(Watch(ref))
            await watcher.ref.ask(Read())
            if how == "ends":
                ref.send(End())
            elif how == "dies":
                await two.disconnect()
            elif how == "closed":
                two.here.peer.close()
            while not heard:
                await watcher.ref.ask(Read())
            await watcher.ref.ask(Read())
            assert [end.ref for end in heard] == [ref]
            reason = heard[0].reason
            assert isinstance(reason.cause, LinkLost) if how == "dies" else not reason.abnormal

    run(body)


def test_a_watch_that_was_set_before_there_was_a_process_holds_for_it() -> None:
    async def body() -> None:
        heard: list[Terminated] = []
        watcher: Child[Any] = child(Watcher, heard)
        async with couple(child(Ends).options(name="ends"), here=(watcher,), connected=False) as two:
            ref = two.ref("ends", Ends)
            watcher.ref.send(Watch(ref))
            await watcher.ref.ask(Read())
            two.connect()
            ref.send(End())
            while not heard:
                await watcher.ref.ask(Read())
            assert [end.ref for end in heard] == [ref]

    run(body)


def test_different_code_is_refused_with_both_schemas_named() -> None:
    class Thing(Message):
        size: int

    class Ask(Request[int]):
        """Ask."""

    @actor(flavour="trio")
    class New:
        async def receive(self, message: Thing | Ask) -> Any: ...

    def old() -> Any:
        class Thing(Message):
            size: int
            colour: str

        class Ask(Request[int]):
            """Ask."""

        @actor(flavour="trio")
        class Old:
            async def receive(self, message: Thing | Ask) -> Any: ...

        return Old, Thing, Ask

    async def body() -> None:
        cls, thing, asks = old()
        async with couple(child(New).options(name="thing")) as two:
            ref, heard = two.ref("thing", cls), Heard(two.there.daemon, DeadLetter)
            ref.send(thing(1, "red"))
            [letter] = await heard.until(len)
            for part in ("Thing(size: int, colour: str)", "Thing(size: int)"):
                assert part in letter.why
            with pytest.raises(SchemaMismatch, match=r"colour") as caught:
                await ref.ask(asks())
            assert caught.value.path == "/there/thing"
            await until_taken(two)

    run(body)


def test_an_actor_that_is_not_there_fails_asks_at_once() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes")) as two:
            ref = two.ref("nobody", cls)
            with pytest.raises(LinkLost, match="there is no such actor"):
                await ref.ask(Echo(1), timeout=None)
            ref.send(Number(1))
            await until_taken(two)

    run(body)


def test_garbage_on_the_line_ends_the_link_and_says_why() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes")) as two:
            link = two.there.peer.link
            assert link is not None
            assert await two.ref("notes", cls).ask(Echo(1)) == 1
            link.post(b"\xff" * 40)
            link.flush()
            with trio.fail_after(PATIENCE):
                await two.here.lost.wait()
            assert "allowed" in str(two.here.lost.take())

    run(body)


def test_who_keeps_the_processes_tells_the_other_end_in_order() -> None:
    async def body() -> None:
        cls = notes("trio")
        async with couple(child(cls).options(name="notes")) as two:
            for number in range(100):
                assert two.here.peer.tell("spec", bytes([number]))
            await two.ref("notes", cls).ask(Echo(1))
            assert two.there.told == [("spec", bytes([number])) for number in range(100)]
            await two.disconnect()
            assert not two.here.peer.tell("spec")

    run(body)
