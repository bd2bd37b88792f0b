"""Replies: by return or by `reply_to`, of the right type, once, to whoever asked."""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import Any

import pytest

from tests.actors.stage import (
    PATIENCE,
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Host,
    Note,
    Number,
    Tardy,
    ask,
    in_thread,
    outcome,
    role,
    together,
    turn,
)
from trouper import (
    ActorRestarted,
    AlreadyReplied,
    AskTimeout,
    Daemon,
    Inbox,
    ReplyDropped,
    ReplyTo,
    ReplyTypeError,
    child,
    current,
    one_for_one,
)
from trouper.events import ActorEnded, DeadLetter


def answering(flavour: FlavourName, answer: Any) -> Any:
    """An actor that handles requests with `await answer(self, request)`."""

    @role(flavour)
    class Answering:
        async def receive(self, message: Number | Echo | Note) -> Any:
            return await answer(self, message)

    return Answering


# -- by return ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suspends", [False, True])
def test_a_reply_of_the_wrong_type_crashes_the_actor_and_fails_the_ask(
    flavour: FlavourName, host: Host, suspends: bool
) -> None:
    async def answer(me: Any, message: Number) -> Any:
        if suspends:
            await turn(me)
        return message.value

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        with pytest.raises(ReplyTypeError, match="given the reply 'one', allowed: int") as caught:
            await actor.ref.ask(Number("one"))
        assert caught.value.message == Number("one")
        ended = await events.ended("/answering")
        assert ended.reason.kind == "crashed"
        assert isinstance(ended.reason.cause, ReplyTypeError)
        assert await actor.ref.ask(Number(1)) == 1

    host.run(one_for_one(actor), body)


def test_the_reply_to_a_request_that_was_merely_sent_is_dropped(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> Any:
        current(me).reply_to(message)(1) if message.value == "claim" else None
        return "not even checked" if message.value == "wrong" else 1

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        for value in ("claim", "wrong", 1):
            actor.ref.send(Number(value))
        assert await actor.ref.ask(Number(2)) == 1
        assert daemon.dead_letters == 0

    host.run(actor, body)


# -- later, from elsewhere ---------------------------------------------------------------------------------------------
def test_a_reply_can_come_from_another_thread_when_the_handler_is_long_over(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number | Echo) -> Any:
        if isinstance(message, Echo):
            return "the handlers before this one are over"
        claimed((message.value, current(me).reply_to(message)))
        return None

    claimed = Diary()
    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        async def answer_them() -> None:
            await claimed.until(10)
            await actor.ref.ask(Echo())
            for value, reply in reversed(claimed.entries):
                Thread(target=reply, args=(value + 1,)).start()

        asks = [partial(actor.ref.ask, Number(n)) for n in range(10)]
        answers = await together(*asks, answer_them)
        assert answers[:10] == list(range(1, 11))

    host.run(actor, body)


@pytest.mark.parametrize("from_a_thread", [False, True])
def test_a_reply_of_the_last_moment_is_no_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, from_a_thread: bool
) -> None:
    async def answer(me: Any, message: Number) -> int:
        return 271828

    Tardy(monkeypatch, 271828)
    actor = child(answering("threading", answer))

    async def body(daemon: Daemon) -> None:
        result: Any = AskTimeout(Number())
        timeout = 0.01
        while isinstance(result, AskTimeout):  # what the machine does else may take longer
            timeout *= 2
            ask = partial(actor.ref.ask_sync if from_a_thread else actor.ref.ask, Number(), timeout=timeout)
            call: Any = partial(in_thread, ask) if from_a_thread else ask
            result = await outcome(call)
        assert result == 271828

    host.run(actor, body)


def test_a_reply_can_wait_for_a_later_message(flavour: FlavourName, host: Host) -> None:
    waiting: list[ReplyTo[int]] = []

    async def answer(me: Any, message: Number | Note) -> None:
        if isinstance(message, Number):
            waiting.append(current(me).reply_to(message))
            asked(message)
        else:
            for n, reply in enumerate(waiting):
                reply(n)

    asked = Diary()
    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        async def release() -> None:
            await asked.until(3)
            actor.ref.send(Note("now"))

        same = Number()
        answers = await together(*[lambda: actor.ref.ask(same)] * 3, release)
        assert sorted(answers[:3]) == [0, 1, 2]

    host.run(actor, body)


def test_a_claimed_reply_that_is_dropped_fails_the_ask(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> None:
        current(me).reply_to(message)

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ReplyDropped) as caught:
            await actor.ref.ask(Number(), timeout=None)
        assert caught.value.message == Number()

    host.run(actor, body)


def test_a_second_answer_is_refused(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> None:
        reply = current(me).reply_to(message)
        reply(1)
        with pytest.raises(AlreadyReplied, match="given 2 now"):
            reply(2)
        refused(message)

    refused = Diary()
    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        assert await actor.ref.ask(Number()) == 1
        await refused.until(1)

    host.run(actor, body)


def test_a_request_can_be_claimed_once(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> None:
        reply = current(me).reply_to(message)
        with pytest.raises(AlreadyReplied, match="claimed before"):
            current(me).reply_to(message)
        reply(1)

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        assert await actor.ref.ask(Number()) == 1

    host.run(actor, body)


def test_a_claimed_request_cannot_be_answered_by_return_as_well(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> int:
        kept.append(current(me).reply_to(message))
        return 1

    kept: list[Any] = []
    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ReplyTypeError, match="one of them"):
            await actor.ref.ask(Number(), timeout=None)

    host.run(one_for_one(actor), body)


def test_a_deferred_reply_of_the_wrong_type_is_refused_and_fails_the_ask(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> None:
        wrong: Any = "one"
        with pytest.raises(ReplyTypeError):
            current(me).reply_to(message)(wrong)

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ReplyTypeError):
            await actor.ref.ask(Number())

    host.run(actor, body)


def test_an_ask_can_be_answered_with_an_error(flavour: FlavourName, host: Host) -> None:
    async def answer(me: Any, message: Number) -> None:
        current(me).reply_to(message).fail(Boom("sorry"))

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(Boom, match="sorry"):
            await actor.ref.ask(Number())
        with pytest.raises(Boom, match="sorry"):
            await in_thread(lambda: actor.ref.ask_sync(Number()))

    host.run(actor, body)


@pytest.mark.parametrize("suspends", [False, True])
def test_a_handler_that_claimed_its_request_and_crashed_fails_the_ask_at_once(
    flavour: FlavourName, host: Host, suspends: bool
) -> None:
    """The traceback keeps the handler's variables, and with them its `ReplyTo`, perhaps for ever."""

    async def answer(me: Any, message: Number) -> None:
        reply = current(me).reply_to(message)
        if suspends:
            await turn(me)
        raise Boom(repr(reply))

    actor = child(answering(flavour, answer))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ActorRestarted) as caught:
            await actor.ref.ask(Number(), timeout=PATIENCE / 4)
        assert isinstance(caught.value.__cause__, Boom)

    host.run(one_for_one(actor), body)


def test_replies_find_their_way_through_a_chain_of_actors(flavour: FlavourName, host: Host) -> None:
    async def serve(me: Any, message: Number) -> int:
        await turn(me)
        result: int = message.value * 2
        return result

    server = child(answering(flavour, serve))

    async def pass_on(me: Any, message: Number) -> int:
        return await ask(server.ref, message) + 1

    front = child(answering(flavour, pass_on)).options(name="front")

    async def body(daemon: Daemon) -> None:
        answers = await together(*[partial(front.ref.ask, Number(n)) for n in range(20)])
        assert answers == [2 * n + 1 for n in range(20)]

    host.run(one_for_one(server, front), body)


# -- actors with run ---------------------------------------------------------------------------------------------------
def looping(flavour: FlavourName, loop: Any) -> Any:
    @role(flavour)
    class Looping:
        async def run(self, inbox: Inbox[Number | Echo | Crash]) -> None:
            await loop(self, inbox)

    return Looping


def test_an_actor_with_run_claims_what_it_answers(flavour: FlavourName, host: Host) -> None:
    async def loop(me: Any, inbox: Inbox[Number]) -> None:
        async for message in inbox:
            current(me).reply_to(message)(message.value)

    actor = child(looping(flavour, loop))

    async def body(daemon: Daemon) -> None:
        asks = [partial(actor.ref.ask, Number(n)) for n in range(5)]
        assert await together(*asks) == [0, 1, 2, 3, 4]
        with pytest.raises(ReplyTypeError):
            await actor.ref.ask(Number("wrong"))

    host.run(one_for_one(actor), body)


def test_a_run_that_goes_on_without_a_claim_drops_the_request(flavour: FlavourName, host: Host) -> None:
    async def loop(me: Any, inbox: Inbox[Number]) -> None:
        async for _ in inbox:
            await turn(me)

    actor = child(looping(flavour, loop))

    async def body(daemon: Daemon) -> None:
        with pytest.raises(ReplyDropped):
            await actor.ref.ask(Number(), timeout=None)

    host.run(actor, body)


def test_a_request_on_which_a_run_crashes_is_a_dead_letter_and_its_ask_fails_with_the_cause(
    flavour: FlavourName, host: Host
) -> None:
    async def loop(me: Any, inbox: Inbox[Any]) -> None:
        async for message in inbox:
            if message == Echo("crash"):
                raise Boom("crash")
            current(me).reply_to(message)(message.value)

    actor = child(looping(flavour, loop))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        with pytest.raises(ActorRestarted) as caught:
            await actor.ref.ask(Echo("crash"), timeout=None)
        assert isinstance(caught.value.__cause__, Boom)
        assert await actor.ref.ask(Echo(1)) == 1
        assert [letter.message for letter in events.entries] == [Echo("crash")]

    host.run(one_for_one(actor), body)


def test_the_crash_of_a_run_over_a_message_makes_that_message_a_dead_letter(flavour: FlavourName, host: Host) -> None:
    async def loop(me: Any, inbox: Inbox[Echo | Crash]) -> None:
        async for message in inbox:
            if isinstance(message, Crash):
                raise Boom
            current(me).reply_to(message)(message.value)

    actor = child(looping(flavour, loop))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        actor.ref.send(Crash("here"))
        assert await actor.ref.ask(Echo(1)) == 1
        assert [letter.message for letter in events.entries] == [Crash("here")]

    host.run(one_for_one(actor), body)
