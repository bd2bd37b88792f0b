"""What both type checkers refuse. Each line has one mistake and says how each checker calls it.

A marker that is not needed is an error itself, so that the checkers' run over the whole project holds every line here;
`test_typing.py` takes the markers away and looks for the errors.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, Never, TypeVar

import trio

from trouper import (
    Daemon,
    DaemonReady,
    DaemonReloaded,
    DaemonStopping,
    Inbox,
    Limit,
    Listener,
    Mailbox,
    Ref,
    ReplyTo,
    SyncInbox,
    Terminated,
    actor,
    before,
    child,
    current,
    listener,
    one_for_one,
    open_daemon,
    pool,
    process,
    run,
    setup_logging,
)
from trouper import service as serves

from .accepted import (
    Averages,
    Latest,
    LoadReader,
    Mean,
    Probes,
    Reporter,
    Rows,
    Sample,
    Service,
    Spawner,
    ThreadRunner,
    ThreadService,
    Tick,
    TrioRunner,
    Version,
    averages,
    halve,
    many,
    patient,
    rows,
    slowly,
)

T = TypeVar("T")
numbers = child(Latest[int], 1)
service = child(Service, port=80)


def wrong_messages() -> None:
    averages.ref.send(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.ref.send("load")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.ref.send(Sample)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.ref.offer_sync(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    numbers.ref.send("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(ThreadRunner).ref.send(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(TrioRunner).ref.send(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(Reporter, averages.ref).ref.send(Sample("load", 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    service.ref.send(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(ThreadService).ref.send(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(LoadReader, averages.ref).ref.send(Sample("load", 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def wrong_questions() -> None:
    await averages.ref.ask(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await averages.ref.ask(Sample("load", 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.ref.ask_sync(Sample("load", 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.ref.ask_sync(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await averages.ref.offer(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await averages.ref.ask(Mean("load"), timeout="5 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await service.ref.ask(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await numbers.ref.ask(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await patient(averages.ref, Version())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


async def wrong_replies() -> tuple[str, int]:
    text: str = await averages.ref.ask(Mean("load"))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    number: int = averages.ref.ask_sync(Mean("load"))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return text, number


def wrong_messages_made() -> None:
    Sample("load", 1.0).value = 2.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Mean("load").name = "mean"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Sample("load")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Sample("load", "1.0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mean(nome="load")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@actor(flavour=asyncio)
class WrongAnswers:
    async def run(self, inbox: Inbox[Version]) -> None:
        me = current(self)
        async for question in inbox:
            me.reply_to(question)(1.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            later: ReplyTo[float] = me.reply_to(question)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
            later(1.0)
            me.reply_to(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_arguments() -> None:
    child(LoadReader, out=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(LoadReader)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    child(LoadReader, averages.ref, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    child(LoadReader, out=numbers.ref)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(LoadReader, out=child(Reporter, averages.ref).ref)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(LoadReader, out=averages)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(Averages, name="averages")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    child(Rows, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(Rows, "rows.csv", opened=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    child(Service, port="80")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(Latest[int], "x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


def wrong_options() -> None:
    averages.options(restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.options(strategy="one_for_one")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    averages.options(shutdown="5 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    averages.options(mailbox=100)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mailbox(10, overflow="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Limit(3, within="30 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_processes(daemon: Daemon) -> None:
    process(Averages)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    process(child(Averages), workers="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    process(child(Averages), start="fork")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daemon.scale_sync("/averages", "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    process(child(Averages)).copies(child(Rows, "x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    process(child(Averages)).copies(child(Averages).ref).worker(0).send(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_pools() -> None:
    many.ref.send(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    many.ref.ask_sync(Sample("load", 0.5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    many.ref.worker(1).send(Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    many.ref.worker("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    many.ref.worker(1).worker(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    pool(child(Averages))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    pool(Averages, size=2)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(many, size=2)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(child(Averages), size="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(child(Averages), size=2, routing="random")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(child(Averages), size=2, routing="hash")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(child(Averages), size=2, key=repr)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    pool(child(Latest[int], 1), size=2, routing="hash", key=len)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    pool(child(Rows, "x"), size=2, routing="hash", key=lambda message: message.value)  # type: ignore[call-overload]  # pyright: ignore[reportAttributeAccessIssue]
    many.options(size=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_wiring() -> tuple[Ref[Sample | Version], Ref[str]]:
    wide: Ref[Sample | Version] = averages.ref  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    other: Ref[str] = numbers.ref  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    return wide, other


@actor(flavour=trio)
class WrongSpawner:
    async def receive(self, message: Tick) -> None:
        me = current(self)
        me.spawn(Spawner)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.spawn(one_for_one(child(Spawner)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        spawned: Ref[Sample] = me.spawn(child(Spawner))  # type: ignore[call-overload]  # pyright: ignore[reportAssignmentType]
        me.spawn(child(Spawner)).send(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.self_ref.send(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.stop(message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.start_soon(print, "not async")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.start_soon(self.receive, Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        spawned.send(Sample("load", 0.5))


def wrong_trees() -> None:
    one_for_one(Averages)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    one_for_one(averages.ref)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    one_for_one(averages, restarts=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    one_for_one(averages, auto_shutdown="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    child(Sample, "load", 1.0)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(print)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    open_daemon(Averages)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    run(averages.ref)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@actor(flavour="gevent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
class WrongFlavour:
    async def receive(self, message: Tick) -> None: ...


@actor(flavour=trio, restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
class WrongOption:
    async def receive(self, message: Tick) -> None: ...


@actor()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
class NoFlavour:
    async def receive(self, message: Tick) -> None: ...


@actor(flavour=trio, expected=KeyboardInterrupt)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
class WrongExpectation:
    async def receive(self, message: Tick) -> None: ...


@actor(flavour=trio)
class WrongLater:
    async def receive(self, message: Tick | Mean) -> None:
        me = current(self)
        me.after(1.0, Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.every(1.0, "tick")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.after("1 s", Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.every(None, Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.after(1.0, Tick(), key=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.after(1.0, Tick(), "key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        me.stash(Version())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.receive_timeout("1 s")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@actor(flavour=threading)
class WrongLaterInService:
    def run(self) -> None:
        current(self).after(1.0, Tick())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Nobody:
    """Neither `receive` nor `run`."""

    def ask_me(self) -> None:
        current(self)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


@actor(flavour=threading)
class WrongLoops:
    def run(self, inbox: SyncInbox[Sample]) -> None:
        inbox.get().upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        inbox.get(1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@actor(flavour=trio)
class WrongAsyncLoops:
    async def run(self, inbox: Inbox[Sample]) -> None:
        for _ in inbox:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
            await current(self).sleep(1.0)
        await inbox.get(timeout=1.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@actor(flavour=trio)
class Taker(Generic[T]):
    out: Ref[T]

    async def receive(self, message: T) -> None:
        self.out.send(message)
        self.out.send("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_generics(nothing: Ref[Never]) -> None:
    child(Taker[Sample], numbers.ref)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    child(Taker[Sample], rows.ref).ref.send(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    nothing.send(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@actor(flavour=trio)
class WrongWatcher:
    async def receive(self, message: Terminated) -> None:
        me = current(self)
        me.watch(averages)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        me.unwatch("/averages")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        message.reason.upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        message.ref = averages.ref  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def wrong_names(daemon: Daemon) -> None:
    daemon.lookup(Averages, "averages").send(Sample("load", 0.5))  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    wide: Ref[Version] | None = daemon.lookup(Averages, "averages")  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    daemon.lookup(Sample, "averages")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    daemon.lookup("averages")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    daemon.register("averages", averages)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert wide


def wrong_payloads(daemon: Daemon) -> None:
    daemon.adopt(halve, "3", flavour=trio)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daemon.adopt(halve, flavour=trio)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daemon.adopt(halve, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    daemon.adopt(halve, number=3, flavour=trio)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    daemon.adopt(halve, 3, flavour="gevent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daemon.adopt(halve, 3, flavour=trio, restart="always")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    daemon.adopt(slowly(3, "x"), flavour=trio)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = daemon.execute(halve, 3, flavour=threading)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    lines: str = daemon.execute(slowly, 3, "x", flavour=trio)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    daemon.execute(slowly, "x", 3, flavour=trio)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    daemon.execute(halve, 3, flavour=threading, timeout="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert text != lines


async def wrong_calls(daemon: Daemon) -> None:
    text: str = await daemon.call(halve, 3, flavour=threading)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    await daemon.call(halve, "3", flavour=threading)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await daemon.call(slowly, 3, flavour=trio)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    daemon.call(halve, 3, flavour=trio).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert text


class WithoutRun: ...


class WithAnInbox:
    async def run(self, inbox: Inbox[Sample]) -> None: ...


def wrong_services() -> None:
    serves(flavour=trio)(WithoutRun)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    serves(flavour=trio)(WithAnInbox)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    serves(flavour="gevent")(Probes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    serves(flavour=trio, drain=True)(Probes)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    serves(flavour=trio, name=3)(Probes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Probes(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Probes()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    open_daemon(services=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@actor(flavour=asyncio)
class WrongFront:
    http: Listener

    async def receive(self, message: Never) -> None:
        self.http.open().open()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def wrong_operation() -> None:
    listener("http", kind="raw")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    listener("http", "127.0.0.1:8080")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    listener("http").name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    child(WrongFront, "127.0.0.1:8080")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setup_logging(layout="xml")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setup_logging("info", "json")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    run(child(WrongFront, listener("http")), lock=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def at_the_stop(event: DaemonStopping) -> None: ...


def wrong_hooks(daemon: Daemon) -> None:
    before(DaemonReloaded, print, flavour=trio)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    before(DaemonReady, at_the_stop, flavour=trio)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    before(DaemonStopping, at_the_stop)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    daemon.hook(at_the_stop)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    open_daemon(rows, hooks=[at_the_stop])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
