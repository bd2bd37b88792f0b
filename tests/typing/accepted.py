"""A program that both type checkers accept, without a plugin or a base class; `refused.py` has the mistakes."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Generic, Never, TypeVar, assert_type

import attrs
import trio
import trio.lowlevel

from trouper import (
    ActorEnded,
    ActorStarted,
    Adopted,
    Asked,
    AskError,
    Child,
    Context,
    Copies,
    Daemon,
    DaemonReady,
    DaemonStopping,
    DeadLetter,
    Event,
    Hook,
    Inbox,
    Limit,
    Listener,
    Lost,
    Mailbox,
    Message,
    Pool,
    Process,
    Reason,
    ReceiveTimeout,
    Ref,
    RemoteError,
    ReplyTo,
    Request,
    Restarting,
    Router,
    Services,
    Supervisor,
    SyncInbox,
    Terminated,
    TimerHandle,
    actor,
    before,
    child,
    current,
    default_services,
    listener,
    one_for_all,
    one_for_one,
    open_daemon,
    pool,
    process,
    rest_for_one,
    run,
    service,
    setup_logging,
)
from trouper.daemon.adopted import AdoptedState

T = TypeVar("T")
M = TypeVar("M")
R = TypeVar("R")


# -- messages ----------------------------------------------------------------------------------------------------------
class Sample(Message):
    name: str
    value: float


class Mean(Request[float]):
    name: str


class Version(Request[str]): ...


class Names(Request[tuple[str, ...]]):
    """A reply that is a parametrised generic."""


class First(Request[T | None], Generic[T]):
    """A generic request."""

    among: tuple[T, ...]


class Tick(Message): ...


# -- actors with `receive` ---------------------------------------------------------------------------------------------
@actor(flavour=trio)
class Averages:
    sums: dict[str, tuple[float, int]] = attrs.field(factory=dict)

    async def receive(self, message: Sample | Mean | Names) -> float | tuple[str, ...] | None:
        match message:
            case Sample(name, value):
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = total + value, count + 1
                return None
            case Mean(name):
                total, count = self.sums[name]
                return total / count
            case Names():
                return tuple(self.sums)


@actor(flavour=threading, restart="transient", mailbox=Mailbox(10, overflow="reject"))
class Rows:
    """A constructor with all that attrs offers and both checkers understand."""

    path: str
    size: int = 10
    tags: list[str] = attrs.field(factory=list)
    limit: float = attrs.field(default=1.0, kw_only=True, validator=attrs.validators.gt(0))
    opened: bool = attrs.field(default=False, init=False)

    def on_start(self) -> None:
        self.opened = True

    def receive(self, message: Sample | Version) -> str | None:
        return "1.0" if isinstance(message, Version) else None

    def interrupt(self) -> None: ...

    def on_stop(self, reason: Reason) -> None:
        self.opened = reason.abnormal or reason.kind == "shutdown"


@actor(flavour="asyncio", name="plain", shutdown=1, significant=False)
class Plain:
    def receive(self, message: Version) -> str:
        return "1.0"


# -- actors with `run` -------------------------------------------------------------------------------------------------
@actor(flavour=threading)
class LoadReader:
    """A plain blocking loop in a thread of its own."""

    out: Ref[Sample]

    def run(self, inbox: SyncInbox[Never]) -> None:
        for _ in inbox.ticks(every=1.0):
            self.out.send(Sample("load", os.getloadavg()[0]))


@actor(flavour=asyncio)
class Reporter:
    averages: Ref[Mean]

    async def run(self, inbox: Inbox[Version]) -> None:
        me = current(self)
        assert_type(me, Context[Version])
        async for question in inbox:
            assert_type(question, Version)
            me.reply_to(question)("1.0")


@actor(flavour=trio)
class TrioRunner:
    async def run(self, inbox: Inbox[Sample | Version]) -> None:
        me = current(self)
        while not me.stopping:
            message = await inbox.get()
            if isinstance(message, Version):
                me.reply_to(message)("1.0")
        async for _ in inbox.ticks(every=0.1):
            await me.sleep(0.1)


@actor(flavour=threading)
class ThreadRunner:
    def run(self, inbox: SyncInbox[Sample | Version]) -> None:
        me = current(self)
        for message in inbox:
            if isinstance(message, Version):
                me.reply_to(message)("1.0")
        assert_type(inbox.get(timeout=1.0), Sample | Version)
        me.sleep_sync(0.1)


@actor(flavour=asyncio)
class Service:
    """It takes no messages."""

    port: int

    async def run(self) -> None:
        me = current(self)
        me.start_soon(asyncio.sleep, 1.0)
        me.start_soon(self.fetch, "http://localhost", 3)
        assert_type(me.self_ref, Ref[Never])
        await me.sleep(1.0)

    async def fetch(self, url: str, times: int = 1) -> str:
        return url * times


@actor(flavour=threading)
class ThreadService:
    def run(self) -> None: ...


# -- generic actors ----------------------------------------------------------------------------------------------------
@actor(flavour=trio)
class Latest(Generic[T]):
    value: T

    async def receive(self, message: T) -> None:
        self.value = message


@actor(flavour=trio)
class Spawner:
    """Answers later, spawns, and stops what it spawned."""

    waiting: list[ReplyTo[float]] = attrs.field(factory=list, init=False)

    async def receive(self, message: Mean | Tick) -> None:
        me = current(self)
        assert_type(me.self_ref, Ref[Mean | Tick])
        match message:
            case Mean():
                self.waiting.append(me.reply_to(message))
            case Tick():
                for reply in self.waiting:
                    reply(1)
                rows = me.spawn(child(Rows, "rows.csv").options(restart="temporary"))
                assert_type(rows, Ref[Sample | Version])
                assert_type(await rows.ask(Version()), str)
                me.stop(rows)
                me.stop()


# -- later -------------------------------------------------------------------------------------------------------------
@actor(flavour=asyncio, expected=(KeyError, TimeoutError), mailbox=Mailbox(stash=10))
class Later:
    timers: list[TimerHandle] = attrs.field(factory=list, init=False)

    async def on_start(self) -> None:
        me = current(self)
        self.timers.append(me.every(1.0, Tick(), key=("tick", 1)))
        assert_type(me.after(1, Mean("load")), TimerHandle)
        assert_type(me.cancel(("tick", 1)), bool)
        me.receive_timeout(60)

    async def receive(self, message: Mean | Tick | ReceiveTimeout) -> float | None:
        me = current(self)
        match message:
            case Mean():
                me.stash(message)
            case Tick():
                me.unstash()
            case ReceiveTimeout():
                me.receive_timeout(None)
                self.timers[0].cancel()
        return None


@actor(flavour=threading, expected=LookupError)
class LaterInThreads:
    def receive(self, message: Tick) -> None:
        current(self).after(0.5, message)
        current(self).stash(message)


# -- trees -------------------------------------------------------------------------------------------------------------
averages = child(Averages).options(name="averages")
latest = child(Latest[int], 1)
rows = child(Rows, "rows.csv", 3, tags=["a"], limit=2.0)
assert_type(averages, Child[Sample | Mean | Names])
assert_type(latest, Child[int])
assert_type(child(Service, port=80), Child[Never])
assert_type(child(ThreadService), Child[Never])
tree = one_for_all(
    averages,
    one_for_one(child(LoadReader, out=averages.ref), child(Reporter, averages=averages.ref), name="readers"),
    rest_for_one(latest, rows.options(mailbox=Mailbox(capacity=None), drain=True), child(TrioRunner)).options(name="x"),
    child(ThreadRunner),
    child(Service, 80),
    child(Spawner),
    restarts=Limit(3, within=30.0),
    auto_shutdown="never",
)
assert_type(tree, Supervisor)
inputs: list[Ref[Sample]] = [averages.ref, rows.ref]  # a mailbox that takes more will do


# -- pools -------------------------------------------------------------------------------------------------------------
def name_of(message: Sample | Mean | Names) -> str:
    return "" if isinstance(message, Names) else message.name


many = pool(child(Averages), size=4, name="many", restarts=Limit(1, within=2.0))
shared = pool(child(Averages), size=4, routing="hash", key=name_of).options(restart="transient", optional=True)
assert_type(many, Pool[Sample | Mean | Names])
assert_type(shared.ref, Router[Sample | Mean | Names])
pool(child(Rows, "rows.csv"), size=2, routing="hash", key=type)
pool(child(Latest[int], 1), size=2, routing="hash", key=lambda message: message % 3)
pools: Supervisor = one_for_one(many, shared, child(Reporter, many.ref))
samples: list[Ref[Sample]] = [many.ref, shared.ref.worker(1)]


async def pooled(daemon: Daemon) -> None:
    many.ref.send(Sample("load", 0.5))
    assert_type(await many.ref.ask(Mean("load")), float)
    assert_type(many.ref.worker(1).ask_sync(Names()), tuple[str, ...])
    await shared.ref.offer(Sample("load", 0.5))
    assert_type(await daemon.resize("/many", 8), str)


# -- sending and asking ------------------------------------------------------------------------------------------------
async def right() -> None:
    averages.ref.send(Sample("load", 0.5))
    averages.ref.send(Mean("load"))  # its reply is dropped
    mean: float = await averages.ref.ask(Mean("load"))
    assert_type(await averages.ref.ask(Names(), timeout=None), tuple[str, ...])
    assert_type(averages.ref.ask_sync(Mean("load"), timeout=1), float)
    await averages.ref.offer(Sample("load", mean))
    averages.ref.offer_sync(Sample("load", mean), timeout=0.1)
    child(Latest[int], 1).ref.send(2)
    only_means: Ref[Mean] = averages.ref
    assert_type(await only_means.ask(Mean("load")), float)
    assert_type(await rows.ref.ask(Version()), str)


async def generic_request(ref: Ref[First[int] | Sample]) -> None:
    assert_type(await ref.ask(First((1, 2))), int | None)


async def patient(ref: Ref[M], question: Asked[M, R]) -> R:
    """A helper of one's own around `ask`."""
    try:
        return await ref.ask(question)
    except AskError:
        return await ref.ask(question, timeout=60.0)


async def asked_patiently() -> None:
    assert_type(await patient(averages.ref, Mean("load")), float)


# -- daemons -----------------------------------------------------------------------------------------------------------
def note(event: ActorStarted | ActorEnded) -> None:
    assert event.path
    assert event.generation


async def embedded(listener: Callable[[Any], Awaitable[None]]) -> None:
    async with open_daemon(tree, stop_within=10.0) as daemon:
        assert_type(daemon, Daemon)
        with daemon.subscribe(note, ActorStarted, ActorEnded):
            assert_type(await daemon.children("/readers"), list[tuple[str, str]])
        daemon.subscribe(listener, DeadLetter).close()
        assert_type(await daemon.start(child(Plain), under="/readers"), str)
        daemon.stop("done")


# -- other processes ---------------------------------------------------------------------------------------------------
class Forward(Message):
    """Refs and errors are fields like others."""

    to: Ref[Sample]
    error: BaseException | None = None


def lost(event: Lost) -> tuple[str, int, int]:
    return event.path, event.sent, event.unacknowledged


async def across(ref: Ref[Sample | Mean | Forward], own: Ref[Sample]) -> tuple[object, ...]:
    ref.send(Forward(own))
    try:
        assert_type(await ref.ask(Mean("load")), float)
    except RemoteError as error:
        assert_type(error.kind, str)
        return error.arguments
    return ()


# -- watching, and names -----------------------------------------------------------------------------------------------
@actor(flavour=trio)
class Watcher:
    """It watches whoever it is told to, and whoever it finds."""

    async def receive(self, message: Sample | Terminated) -> None:
        me = current(self)
        match message:
            case Terminated(ref, reason):
                assert_type(ref, Ref[Any])
                assert_type(reason, Reason)
                me.unwatch(ref)
            case Sample():
                me.watch(rows.ref)
                me.watch(child(ThreadService).ref)


@actor(flavour=threading)
class WatchingLoop:
    def run(self, inbox: SyncInbox[Terminated]) -> None:
        for end in inbox:
            assert_type(end, Terminated)


def look_up(daemon: Daemon) -> None:
    assert_type(daemon.lookup(Averages, "/averages"), Ref[Sample | Mean | Names] | None)
    assert_type(daemon.lookup(Reporter, "reporter"), Ref[Version] | None)
    assert_type(daemon.lookup(ThreadRunner, "runner"), Ref[Sample | Version] | None)
    assert_type(daemon.lookup(Service, "service"), Ref[Never] | None)
    assert_type(daemon.lookup(Latest[int], "/latest"), Ref[int] | None)
    assert_type(daemon.lookup(Watcher, "/watcher"), Ref[Sample | Terminated] | None)
    daemon.register("averages", averages.ref)
    daemon.unregister("averages")
    if (found := daemon.lookup(Averages, "averages")) is not None:
        found.send(Sample("load", 0.5))


# -- payloads, and services --------------------------------------------------------------------------------------------
def halve(number: int) -> float:
    return number / 2


async def slowly(number: int, text: str) -> list[str]:
    await trio.lowlevel.checkpoint()
    return number * [text]


async def for_nothing(number: int = 3) -> None:
    await trio.sleep(number)


async def calls(daemon: Daemon) -> None:
    assert_type(await daemon.call(halve, 3, flavour=threading), float)
    assert_type(await daemon.call(slowly, 3, "x", flavour=trio, timeout=1.0), list[str])
    assert_type(await daemon.call(os.getcwd, flavour="threading", timeout=None), str)
    assert_type(await daemon.call(partial(slowly, text="x"), 3, flavour=trio), list[str])
    assert_type(await daemon.call(trio.sleep, 1.0, flavour=trio), None)


def threads(daemon: Daemon) -> None:
    assert_type(daemon.execute(halve, 3, flavour=asyncio), float)
    assert_type(daemon.execute(slowly, 3, "x", flavour="asyncio", timeout=1), list[str])
    assert_type(daemon.adopt(for_nothing, flavour=trio), Adopted)
    assert_type(daemon.adopt(trio.sleep, 1.0, flavour=trio, name="naps", restart="transient").name, str)
    assert_type(daemon.services.adopt(halve, 3, flavour=threading, restart=None).wait_sync(timeout=1.0), AdoptedState)
    default_services.adopt(for_nothing, 3, flavour="asyncio").cancel()


@service(flavour=trio, restart="permanent", name=lambda self: self.host, backoff=None)
class Probes:
    def __init__(self, host: str) -> None:
        self.host = host

    async def run(self) -> None:
        assert_type(current(self), Context[Never])


@service(flavour=threading, abandon=True, shutdown=0, name="reads")
@attrs.define
class Reads:
    path: str

    def run(self) -> None:
        current(self).sleep_sync(1.0)


async def services(registry: Services) -> None:
    with registry.here() as here:
        assert_type(here, Services)
        assert_type(Probes("localhost"), Probes)
        assert_type(Reads("/dev/null").path, str)
    async with open_daemon(services=registry) as daemon:
        assert_type(daemon.services, Services)
    child(Plain).options(abandon=True)


# -- what an operator is given -----------------------------------------------------------------------------------------
@actor(flavour=asyncio)
class Front:
    http: Listener

    async def on_start(self) -> None:
        self.server = await asyncio.start_server(self.serve, sock=self.http.open())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async def receive(self, message: Never) -> None: ...


front = child(Front, listener("http", bind="127.0.0.1:8080"))
child(Front, http=listener("dns", kind="datagram"))


def operate() -> None:
    setup_logging("debug", layout="json", target=Path("log"))
    setup_logging(target="journal")
    run(front, lock=Path("lock"))


async def embed() -> None:
    async with open_daemon(front, notify=True) as daemon:
        assert_type(daemon.restarts, int)
        assert_type(listener("http").open_all(), list[socket.socket])


# -- worker processes --------------------------------------------------------------------------------------------------
apart = child(Averages)
parted = process(apart, workers=2, name="parted", start="spawn", restarts=Limit(1, within=2.0), shutdown=3.0)
assert_type(parted, Process)
parts: Supervisor = one_for_one(process(one_for_one(child(Averages), many)).options(restart="transient"), parted)


async def parted_work(daemon: Daemon) -> None:
    assert_type(await daemon.scale("/parted", 3), str)
    assert_type(daemon.restart_rolling_sync("/parted"), str)
    assert_type(parted.copies(apart.ref), Copies[Sample | Mean | Names])
    assert_type(await parted.copies(apart.ref).worker(0).ask(Mean("load")), float)
    assert_type(daemon.worker_id, int | None)


# -- reloads and hooks -------------------------------------------------------------------------------------------------
async def drain(event: DaemonStopping) -> None:
    assert_type(event.why, str)


def look(event: DaemonReady | Restarting) -> int:
    return 1


async def anything(event: Event) -> None: ...


assert_type(before(DaemonStopping, drain, flavour=trio, timeout=2.0), Hook)
hooks = [
    before(DaemonReady, look, flavour="threading"),
    before(Restarting, look, flavour=threading, under="/readers", vital=True),
    before(DaemonStopping, anything, flavour=asyncio),
    before(DaemonStopping, lambda event: event.why, flavour=threading),
]


async def reloading(daemon: Daemon) -> None:
    daemon.hook(hooks[0])
    daemon.unhook(hooks[0])
    assert_type(await daemon.reload(), tuple[str, ...])
    async with open_daemon(one_for_one(), hooks=hooks):
        pass


def reloading_sync(daemon: Daemon) -> None:
    assert_type(daemon.reload_sync(), tuple[str, ...])
