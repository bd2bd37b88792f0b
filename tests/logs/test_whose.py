"""Records say whose they are: path, generation and lane of the actor whose code logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
import trio

from tests.actors.stage import (
    Boom,
    Crash,
    Diary,
    Echo,
    FlavourName,
    Gate,
    Host,
    Note,
    ask,
    in_thread,
    outcome,
    role,
    turn,
    until,
)
from trouper import ActorFilter, Daemon, Inbox, Reason, actor, child, current, one_for_one

log = logging.getLogger("tests.logs")

Told = tuple[str, str, int, str]


class Collector(logging.Handler):
    """Keeps what each record says, and of whom."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(ActorFilter())
        self.told = Diary()

    def emit(self, record: Any) -> None:
        self.told((record.getMessage(), record.path, record.generation, record.lane))


@pytest.fixture
def told() -> Iterator[Diary]:
    collector = Collector()
    log.addHandler(collector)
    log.setLevel(logging.INFO)
    yield collector.told
    log.removeHandler(collector)
    log.setLevel(logging.NOTSET)


def test_all_methods_of_an_actor_speak_in_its_name(flavour: FlavourName, host: Host, told: Diary) -> None:
    @role(flavour)
    class Speaker:
        def __attrs_post_init__(self) -> None:
            log.info("made")

        async def on_start(self) -> None:
            log.info("start")

        async def receive(self, message: Note | Echo) -> str:
            log.info("message %s", type(message).__name__)
            return "answer"

        async def on_stop(self, reason: Reason) -> None:
            log.info("stop")

    speaker = child(Speaker).options(name="speaker")

    async def body(daemon: Daemon) -> None:
        speaker.ref.send(Note())
        assert await ask(speaker.ref, Echo()) == "answer"
        log.info("the host")

    host.run(one_for_one(one_for_one(speaker, name="group")), body)
    texts = ["made", "start", "message Note", "message Echo", "the host", "stop"]
    assert [one[0] for one in told.entries] == texts
    assert {one[1:] for one in told.entries if one[0] != "the host"} == {("/group/speaker", 1, flavour)}
    assert ("the host", "-", 0, "-") in told.entries


def test_run_speaks_in_the_name_of_its_actor(flavour: FlavourName, host: Host, told: Diary) -> None:
    @role(flavour)
    class Speaker:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                log.info(message.text)

    speaker = child(Speaker)

    async def body(daemon: Daemon) -> None:
        speaker.ref.send(Note("heard"))
        await told.until(1)

    host.run(speaker, body)
    assert told == [("heard", "/speaker", 1, flavour)]


def test_each_generation_speaks_for_itself(flavour: FlavourName, host: Host, told: Diary) -> None:
    @role(flavour)
    class Speaker:
        async def receive(self, message: Crash) -> None:
            log.info(message.text)
            raise Boom

    speaker = child(Speaker)

    async def body(daemon: Daemon) -> None:
        for text in ("one", "two", "three"):
            speaker.ref.send(Crash(text))
        await told.until(3)

    host.run(speaker, body)
    assert told == [("one", "/speaker", 1, flavour), ("two", "/speaker", 2, flavour), ("three", "/speaker", 3, flavour)]


def test_handlers_that_were_suspended_side_by_side_go_on_in_their_own_names(
    loop_flavour: FlavourName, host: Host, told: Diary
) -> None:
    @role(loop_flavour)
    class Speaker:
        async def receive(self, message: Note) -> None:
            await turn(self)
            log.info("first")
            await gate.passed()
            log.info("then")

    gate = Gate()
    one, two = child(Speaker).options(name="one"), child(Speaker).options(name="two")

    async def body(daemon: Daemon) -> None:
        one.ref.send(Note())
        two.ref.send(Note())
        await told.until(2)
        gate.open()
        await told.until(4)

    host.run(one_for_one(one, two), body)
    assert sorted(told.entries) == [
        (text, path, 1, loop_flavour) for text in ("first", "then") for path in ("/one", "/two")
    ]


def test_tasks_threads_and_tasks_of_tasks_speak_in_the_name_of_their_actor(
    loop_flavour: FlavourName, host: Host, told: Diary
) -> None:
    @role(loop_flavour)
    class Speaker:
        async def receive(self, message: Note) -> None:
            current(self).start_soon(self.work, "task")
            await in_thread(log.info, "thread")
            await self.beside(self.work, "nursery")

        async def work(self, text: str) -> None:
            await turn(self)
            log.info(text)
            await in_thread(log.info, f"thread of {text}")
            await self.beside(self.say, f"task of {text}")

        async def say(self, text: str) -> None:
            log.info(text)

        async def beside(self, fn: Callable[[str], Any], text: str) -> None:
            if loop_flavour == "trio":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fn, text)
            else:
                await asyncio.create_task(fn(text))

    speaker = child(Speaker)

    async def body(daemon: Daemon) -> None:
        speaker.ref.send(Note())
        await told.until(7)

    host.run(speaker, body)
    texts = ["nursery", "task", "task of nursery", "task of task", "thread", "thread of nursery", "thread of task"]
    assert sorted(told.entries) == [(text, "/speaker", 1, loop_flavour) for text in texts]


def test_a_thread_that_outlives_its_generation_speaks_in_the_name_of_that(host: Host, told: Diary) -> None:
    @actor(flavour="asyncio")
    class Speaker:
        async def receive(self, message: Crash | Note) -> None:
            if isinstance(message, Crash):
                self.task = asyncio.create_task(asyncio.to_thread(self.outlive))
                raise Boom
            log.info("the next one")

        def outlive(self) -> None:
            gone.open()
            assert next_spoke.wait(20)
            log.info("the last one")

        async def on_stop(self, reason: Reason) -> None:
            await gone.passed()

    next_spoke, gone = Event(), Gate()
    speaker = child(Speaker)

    async def body(daemon: Daemon) -> None:
        speaker.ref.send(Crash())
        speaker.ref.send(Note())
        await told.until(1)
        next_spoke.set()
        await told.until(2)

    host.run(speaker, body)
    assert told == [("the next one", "/speaker", 2, "asyncio"), ("the last one", "/speaker", 1, "asyncio")]


def test_an_interrupt_speaks_in_the_name_of_its_actor(host: Host, told: Diary) -> None:
    @actor(flavour="threading")
    class Speaker:
        def run(self) -> None:
            up.open()
            asyncio.run(interrupted.passed())

        def interrupt(self) -> None:
            log.info("interrupt")
            interrupted.open()

    up, interrupted = Gate(), Gate()

    async def body(daemon: Daemon) -> None:
        await up.passed()

    host.run(child(Speaker), body)
    assert told == [("interrupt", "/speaker", 1, "threading")]


def test_an_asker_is_not_taken_for_who_answers_in_its_place(loop_flavour: FlavourName, host: Host, told: Diary) -> None:
    """An idle plain-function actor of the same lane is stepped inside the asker's own step."""

    @actor(flavour=loop_flavour)
    class Answering:
        def receive(self, message: Echo) -> str:
            log.info("answer")
            return "yes"

    @role(loop_flavour)
    class Asking:
        async def receive(self, message: Note) -> None:
            log.info("before")
            await ask(answering.ref, Echo())
            log.info("after")

    answering, asking = child(Answering), child(Asking)

    async def body(daemon: Daemon) -> None:
        asking.ref.send(Note())
        await told.until(3)

    host.run(one_for_one(answering, asking), body)
    assert [one[:2] for one in told.entries] == [("before", "/asking"), ("answer", "/answering"), ("after", "/asking")]


def test_what_a_record_has_by_extra_stands_and_no_name_clashes(told: Diary) -> None:
    log.info("mine", extra={"path": "/etc/passwd", "lane": "fast"})
    assert told == [("mine", "/etc/passwd", 0, "fast")]


def test_an_adopted_payload_is_nobody_wherever_it_was_adopted(host: Host, told: Diary) -> None:
    @actor(flavour=trio)
    class Adopts:
        async def on_start(self) -> None:
            self.adopt("handler")
            current(self).start_soon(self.beside)

        async def beside(self) -> None:
            self.adopt("task")

        def adopt(self, where: str) -> None:
            current(self).daemon.adopt(log.info, f"adopted in a {where}", flavour=trio)

        async def receive(self, message: Note) -> None: ...

    async def body(_: Daemon) -> None:
        await told.until(2)

    host.run(child(Adopts), body)
    assert sorted(told.entries) == [("adopted in a handler", "-", 0, "-"), ("adopted in a task", "-", 0, "-")]


def test_foreign_threads_are_nobody(told: Diary) -> None:
    thread = Thread(target=log.info, args=("hello",))
    thread.start()
    thread.join()
    assert told == [("hello", "-", 0, "-")]


def test_the_record_of_a_death_is_that_of_the_dead(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Mortal:
        async def receive(self, message: Crash) -> None:
            raise Boom

    mortal, collector = child(Mortal), Collector()
    logging.getLogger("trouper").addHandler(collector)

    async def body(daemon: Daemon) -> None:
        mortal.ref.send(Crash())
        await collector.told.until(lambda all_: any("ended after" in one[0] for one in all_))

    try:
        host.run(mortal, body)
    finally:
        logging.getLogger("trouper").removeHandler(collector)
    [dead, death] = [one for one in collector.told.entries if "Boom" in one[0] or "dead letter" in one[0]][:2]
    assert dead[1:] == ("/mortal", 1, flavour)
    assert death[1:] == ("/mortal", 1, flavour)


def test_a_background_task_still_may_ask_its_own_actor(loop_flavour: FlavourName, host: Host, told: Diary) -> None:
    @role(loop_flavour)
    class Speaker:
        async def receive(self, message: Note | Echo) -> str:
            if isinstance(message, Note):
                current(self).start_soon(self.wonder)
            return "me"

        async def wonder(self) -> None:
            log.info("%s", await outcome(lambda: ask(current(self).self_ref, Echo())))

    speaker = child(Speaker)

    async def body(daemon: Daemon) -> None:
        speaker.ref.send(Note())
        await until(lambda: told.entries)

    host.run(speaker, body)
    assert told == [("me", "/speaker", 1, loop_flavour)]
