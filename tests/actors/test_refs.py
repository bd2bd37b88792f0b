"""Refs: addresses that are there before anything runs, hold over all lives, and are the same from everywhere."""

from __future__ import annotations

from threading import Thread
from traceback import walk_stack
from typing import Any, Generic, TypeVar

import pytest

from tests.actors.stage import (
    DRESSES,
    PATIENCE,
    Boom,
    Crash,
    Diary,
    Dress,
    Echo,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    Number,
    Read,
    SpecialNote,
    ask,
    in_thread,
    nothing,
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
    Daemon,
    Limit,
    MessageTypeError,
    Ref,
    WouldBlockLane,
    child,
    current,
    one_for_one,
)
from trouper.events import DeadLetter

T = TypeVar("T")


def notebook(flavour: FlavourName, **options: Any) -> Any:
    @role(flavour, **options)
    class Notebook:
        first: Any = None
        gate: Gate | None = None

        def __attrs_post_init__(self) -> None:
            self.notes: list[Any] = [] if self.first is None else [self.first]

        async def receive(self, message: Note | Crash | Read | Echo) -> Any:
            if isinstance(message, Note):
                if self.gate is not None:
                    await self.gate.passed()
                self.notes.append(message.text)
                return None
            if isinstance(message, Crash):
                raise Boom(message.text)
            return list(self.notes) if isinstance(message, Read) else message.value

    return Notebook


def relay(flavour: FlavourName) -> Any:
    @role(flavour)
    class Relay:
        to: Ref[Any]

        async def receive(self, message: Note | Echo) -> Any:
            if isinstance(message, Note):
                self.to.send(message)
                return None
            return await ask(self.to, message)

    return Relay


# -- sending -----------------------------------------------------------------------------------------------------------
def test_messages_sent_before_the_daemon_runs_wait_for_it(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))
    for n in range(3):
        book.ref.send(Note(n))

    async def body(daemon: Daemon) -> None:
        book.ref.send(Note(3))
        assert await book.ref.ask(Read()) == [0, 1, 2, 3]

    host.run(book, body)


def test_a_ref_stays_valid_across_restarts(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        for n in range(3):
            book.ref.send(Note(n))
            book.ref.send(Crash())
        assert await book.ref.ask(Read()) == []
        assert book.ref.path == "/notebook"

    host.run(one_for_one(book), body)


def test_a_tree_can_run_again_after_its_daemon_has_ended(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))
    for n in range(3):

        async def body(daemon: Daemon, n: int = n) -> None:
            book.ref.send(Note(n))
            assert await book.ref.ask(Read()) == [n]

        host.run(book, body)


@pytest.mark.parametrize("receiver", ["trio", "asyncio", "threading"])
def test_messages_go_from_each_lane_to_each_lane_in_order(
    flavour: FlavourName, receiver: FlavourName, host: Host
) -> None:
    book = child(notebook(receiver))
    between = child(relay(flavour), book.ref)

    async def body(daemon: Daemon) -> None:
        for n in range(100):
            between.ref.send(Note(n))
        assert await between.ref.ask(Echo("through")) == "through"
        assert await book.ref.ask(Read()) == list(range(100))

    host.run(one_for_one(book, between), body)


def test_foreign_threads_send_and_ask(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    def foreign() -> list[Any]:
        for n in range(100):
            book.ref.send(Note(n))
        return book.ref.ask_sync(Read(), timeout=PATIENCE)

    async def body(daemon: Daemon) -> None:
        assert await in_thread(foreign) == list(range(100))

    host.run(book, body)


def test_a_message_of_a_subclass_is_accepted(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        book.ref.send(SpecialNote("special"))
        assert await book.ref.ask(Read()) == ["special"]

    host.run(book, body)


@pytest.mark.parametrize("wrong", [Number(), "text", None, 3])
def test_a_message_of_a_wrong_type_is_refused_in_the_sender(flavour: FlavourName, host: Host, wrong: Any) -> None:
    book = child(notebook(flavour))
    with pytest.raises(MessageTypeError):
        book.ref.send(wrong)

    async def body(daemon: Daemon) -> None:
        with pytest.raises(MessageTypeError) as caught:
            book.ref.send(wrong)
        assert caught.value.args[0] is caught.value.message == wrong
        assert caught.value.allowed == (Note, Crash, Read, Echo)
        assert "/notebook" in str(caught.value)
        with pytest.raises(MessageTypeError):
            await book.ref.offer(wrong)
        with pytest.raises(MessageTypeError):
            await book.ref.ask(wrong)
        assert daemon.dead_letters == 0

    host.run(book, body)


def test_only_requests_can_be_asked(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))
    not_a_request: Any = Note()

    async def body(daemon: Daemon) -> None:
        with pytest.raises(MessageTypeError, match="Request"):
            await book.ref.ask(not_a_request)

    host.run(book, body)


def test_a_mailbox_for_anything_takes_anything(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Anything:
        seen: Diary

        async def receive(self, message: Any) -> None:
            self.seen(message)

    seen = Diary()
    keeper = child(Anything, seen)

    async def body(daemon: Daemon) -> None:
        for message in ("text", 3, None, Note("note")):
            keeper.ref.send(message)
        assert await seen.until(4) == ["text", 3, None, Note("note")]

    host.run(keeper, body)


def test_a_generic_actor_takes_its_messages(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Latest(Generic[T]):
        value: T

        async def receive(self, message: T) -> T:
            old, self.value = self.value, message
            return old

    latest = child(Latest[int], 1)

    async def body(daemon: Daemon) -> None:
        latest.ref.send(2)
        asked: Any = Echo("request")
        assert await ask(latest.ref, asked) == 2

    host.run(latest, body)


# -- as values ---------------------------------------------------------------------------------------------------------
def test_refs_are_equal_to_themselves_only_and_can_be_keys(flavour: FlavourName) -> None:
    kind = notebook(flavour)
    one, other = child(kind), child(kind)
    assert one.ref == one.ref == one.options(name="renamed").ref
    assert one.ref != other.ref
    assert len({one.ref, other.ref, one.ref}) == 2


def test_a_ref_tells_its_path_once_a_daemon_knows_it(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour)).options(name="book")
    assert book.ref.path is None
    assert "not in a running tree" in repr(book.ref)

    async def body(daemon: Daemon) -> None:
        assert book.ref.path == "/shelf/book"
        assert "/shelf/book" in repr(book.ref)
        assert "Notebook" in repr(book.ref)

    host.run(one_for_one(one_for_one(book, name="shelf")), body)


# -- stopped actors ----------------------------------------------------------------------------------------------------
def test_a_message_to_a_stopped_actor_is_a_dead_letter_and_does_not_raise(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        assert await daemon.terminate("/notebook") == "ok"
        book.ref.send(Note("late"))
        await book.ref.offer(Note("later"))
        seen = await events.until(2)
        assert [(letter.path, letter.message) for letter in seen] == [
            ("/notebook", Note("late")),
            ("/notebook", Note("later")),
        ]
        assert daemon.dead_letters == 2

    host.run(one_for_one(book), body)


def test_a_wrong_message_to_a_stopped_actor_is_still_a_mistake(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))
    wrong: Any = "text"

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/notebook")
        with pytest.raises(MessageTypeError):
            book.ref.send(wrong)

    host.run(one_for_one(book), body)


def test_an_ask_of_a_stopped_actor_fails_at_once(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/notebook")
        with pytest.raises(ActorStopped) as caught:
            await book.ref.ask(Echo(1), timeout=None)
        assert caught.value.message == Echo(1)
        with pytest.raises(ActorStopped):
            await in_thread(lambda: book.ref.ask_sync(Echo(2), timeout=None))
        assert daemon.dead_letters == 2

    host.run(one_for_one(book), body)


def test_a_ref_to_a_stopped_actor_works_again_after_its_restart(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/notebook")
        book.ref.send(Note("lost"))
        assert await daemon.restart("/notebook") == "ok"
        book.ref.send(Note("found"))
        assert await book.ref.ask(Read()) == ["found"]

    host.run(one_for_one(book), body)


def test_after_the_daemon_messages_are_dead_and_asks_fail(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))
    host.run(book, nothing)
    book.ref.send(Note("late"))
    with pytest.raises(ActorStopped):
        book.ref.ask_sync(Read(), timeout=None)


def test_pending_asks_fail_at_once_when_the_actor_stops_for_good(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Busy:
        async def receive(self, message: Note | Echo) -> Any:
            while not current(self).stopping:
                await turn(self)

    busy = child(Busy)

    async def body(daemon: Daemon) -> None:
        async def stop() -> None:
            await until(lambda: len(busy.ref.box) == 3)
            await daemon.terminate("/busy")

        busy.ref.send(Note("busy"))
        await until(lambda: not busy.ref.box)
        answers = await together(*[lambda: busy.ref.ask(Echo(1), timeout=None)] * 3, stop)
        assert [type(answer) for answer in answers[:3]] == [ActorStopped] * 3
        assert daemon.dead_letters == 3

    host.run(one_for_one(busy), body)


def test_what_waits_for_a_temporary_actor_that_crashes_is_told_why(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour, restart="temporary"))
    book.ref.send(Crash())

    async def body(daemon: Daemon) -> None:
        asked = await outcome(lambda: book.ref.ask(Echo(1), timeout=None))
        assert isinstance(asked, ActorStopped)

    host.run(one_for_one(book), body)


# -- asking ------------------------------------------------------------------------------------------------------------
def test_an_ask_that_is_not_answered_in_time_fails(flavour: FlavourName, host: Host) -> None:
    gate = Gate()
    book = child(notebook(flavour), gate=gate)

    async def body(daemon: Daemon) -> None:
        book.ref.send(Note("busy"))
        with pytest.raises(AskTimeout, match=r"notebook.* did not answer in 0.01 s") as caught:
            await book.ref.ask(Echo(1), timeout=0.01)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.message == Echo(1)
        with pytest.raises(AskTimeout):
            await in_thread(lambda: book.ref.ask_sync(Echo(1), timeout=0.01))
        gate.open()
        assert await book.ref.ask(Read()) == ["busy"]

    host.run(book, body)


def test_an_ask_over_which_the_actor_crashes_fails_with_the_cause(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Fragile:
        async def receive(self, message: Echo | Number) -> Any:
            if isinstance(message, Number):
                await turn(self)
            raise Boom(repr(message))

    fragile = child(Fragile)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        for request in (Echo("at once"), Number("later")):
            with pytest.raises(ActorRestarted) as caught:
                await ask(fragile.ref, request)
            assert isinstance(caught.value.__cause__, Boom)
            assert caught.value.message is request
        with pytest.raises(ActorRestarted):
            await in_thread(lambda: fragile.ref.ask_sync(Echo("thread")))
        assert [letter.message for letter in events.entries] == [Echo("at once"), Number("later"), Echo("thread")]

    host.run(one_for_one(fragile), body)


def test_a_message_that_crashed_its_handler_is_not_retried(flavour: FlavourName, host: Host) -> None:
    book = child(notebook(flavour))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon)
        book.ref.send(Crash("once"))
        book.ref.send(Note("after"))
        assert await book.ref.ask(Read()) == ["after"]
        (letter,) = events.of(DeadLetter)
        assert letter.message == Crash("once")
        assert "once" in letter.why
        assert daemon.dead_letters == 1

    host.run(one_for_one(book), body)


def test_the_same_request_asked_twice_at_once_has_two_answers(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Counting:
        count = 0

        async def receive(self, message: Number) -> int:
            await turn(self)
            self.count += 1
            return self.count

    counting = child(Counting)
    request = Number()

    async def body(daemon: Daemon) -> None:
        answers = await together(*[lambda: counting.ref.ask(request)] * 5)
        assert sorted(answers) == [1, 2, 3, 4, 5]

    host.run(counting, body)


def test_an_actor_cannot_ask_itself_in_its_handler(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Selfish:
        async def receive(self, message: Echo | Number) -> Any:
            return repr(await outcome(lambda: ask(current(self).self_ref, Number())))

    selfish = child(Selfish)

    async def body(daemon: Daemon) -> None:
        assert "SelfAsk" in await selfish.ref.ask(Echo())

    host.run(selfish, body)


def test_a_helper_thread_of_its_handler_may_ask(host: Host) -> None:
    """A bare thread starts with an empty context: nobody can tell for whom it asks."""

    @role("threading")
    class Helped:
        async def receive(self, message: Echo | Number) -> Any:
            if isinstance(message, Number):
                return 7
            ref, answers = current(self).self_ref, Diary()
            Thread(target=lambda: answers(ref.ask_sync(Number(), timeout=None))).start()
            return answers

    helped = child(Helped)

    async def body(daemon: Daemon) -> None:
        answers = await helped.ref.ask(Echo())
        assert await answers.until(1) == [7]

    host.run(helped, body)


def test_a_background_task_may_ask_its_own_actor(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Busy:
        answers: Diary

        async def on_start(self) -> None:
            current(self).start_soon(self.background)

        async def background(self) -> None:
            self.answers(await current(self).self_ref.ask(Number()))

        async def receive(self, message: Number) -> int:
            return 7

    answers = Diary()

    async def body(daemon: Daemon) -> None:
        assert await answers.until(1) == [7]

    host.run(child(Busy, answers), body)


def test_blocking_calls_are_refused_on_the_thread_of_a_loop(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Blocking:
        other: Ref[Any]

        async def receive(self, message: Echo) -> Any:
            refused = []
            for call in (
                lambda: self.other.ask_sync(Echo()),
                lambda: self.other.offer_sync(Note()),
                lambda: current(self).sleep_sync(0),
            ):
                with pytest.raises(WouldBlockLane) as caught:
                    call()
                refused.append(str(caught.value))
            return refused

    book = child(notebook("threading"))
    blocking = child(Blocking, book.ref)

    async def body(daemon: Daemon) -> None:
        assert len(await blocking.ref.ask(Echo())) == 3
        with pytest.raises(WouldBlockLane, match="await"):
            book.ref.ask_sync(Read())
        with pytest.raises(WouldBlockLane, match="await"):
            book.ref.offer_sync(Note())

    host.run(one_for_one(book, blocking), body)


def test_two_actors_that_ask_each_other_do_not_block_their_lane(flavour: FlavourName, host: Host) -> None:
    """A handler that waits is suspended (or in a thread of its own); others of its lane go on."""
    book = child(notebook(flavour))
    first = child(relay(flavour), book.ref)
    second = child(relay(flavour), first.ref).options(name="second")

    async def body(daemon: Daemon) -> None:
        answers = await together(*[lambda: second.ref.ask(Echo("deep"))] * 10)
        assert answers == ["deep"] * 10

    host.run(one_for_one(book, first, second), body)


def is_called_by(name: str) -> bool:
    return any(frame.f_code.co_name == name for frame, _ in walk_stack(None))


@pytest.mark.parametrize("dress", DRESSES)
def test_a_handler_that_cannot_suspend_is_asked_in_place(loop_flavour: FlavourName, host: Host, dress: Dress) -> None:
    in_place: list[bool] = []

    @role(loop_flavour)
    class Adder:
        @dress
        def receive(self, message: Number) -> int:
            if message.value < 0:
                raise Boom
            in_place.append(is_called_by("ask"))
            result: int = message.value + 1
            return result

    @role(loop_flavour)
    class Neighbour:
        adder: Ref[Number]

        async def receive(self, message: Number) -> int:
            total = 0
            for _ in range(message.value):
                total = await self.adder.ask(Number(total))
            with pytest.raises(ActorRestarted):
                await self.adder.ask(Number(-1))
            return await self.adder.ask(Number(total))

    adder = child(Adder)
    neighbour = child(Neighbour, adder.ref)

    async def body(daemon: Daemon) -> None:
        assert await neighbour.ref.ask(Number(1000)) == 1001
        assert len(in_place) == 1001
        assert all(in_place[:-1])  # but for the one after the restart

    host.run(one_for_one(adder, neighbour, restarts=Limit(3, within=30.0)), body)
