"""Reloads of live daemons, in real threads and loops."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from tests.actors.stage import Boom, Crash, Diary, FlavourName, Host, Note, Number, ask, in_thread, role
from trouper import (
    AskError,
    Daemon,
    DaemonReloaded,
    Limit,
    Pool,
    SyncInbox,
    WouldBlockLane,
    actor,
    child,
    current,
    one_for_one,
    pool,
)

FLAVOURS: list[FlavourName] = ["trio", "asyncio", "threading"]


@pytest.fixture(params=["in_trio", "in_asyncio"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param.removeprefix("in_"))


def reloading(flavour: FlavourName, told: Diary) -> Any:
    @role(flavour, backoff=None)
    class Reloads:
        fresh = False

        async def receive(self, message: Note | Crash | Number) -> int | None:
            if isinstance(message, Crash):
                raise Boom
            return 1 if isinstance(message, Number) else None

        async def on_reload(self) -> None:
            told((flavour, threading.current_thread().name, current(self).path))

    return Reloads


@pytest.mark.parametrize("from_a_thread", [False, True])
def test_all_flavours_reload_in_their_own_lanes_in_start_order(host: Host, from_a_thread: bool) -> None:
    told = Diary()
    tree = one_for_one(*(child(reloading(flavour, told)).options(name=flavour) for flavour in FLAVOURS))

    async def body(daemon: Daemon) -> None:
        failed = await in_thread(daemon.reload_sync) if from_a_thread else await daemon.reload()
        assert failed == ()

    host.run(tree, body)
    assert [entry[0] for entry in told.entries] == FLAVOURS
    here = threading.current_thread().name
    lanes = [here if host.name == flavour else f"trouper {flavour}" for flavour in ("trio", "asyncio")]
    assert [entry[1] for entry in told.entries] == [*lanes, "/threading"]


def test_an_actor_may_hear_of_the_reload_as_of_a_message(host: Host) -> None:
    heard = Diary()

    @role("trio", accepts=DaemonReloaded)
    class Hears:
        async def receive(self, message: DaemonReloaded) -> None:
            heard(message.failed)

    hears = child(Hears)

    async def body(daemon: Daemon) -> None:
        with daemon.subscribe(hears.ref.send, DaemonReloaded):
            await daemon.reload()
        assert await heard.until(1) == [()]

    host.run(one_for_one(hears, child(reloading("asyncio", Diary()))), body)


def test_a_reload_that_is_refused_on_the_thread_of_a_loop_does_not_come(host: Host) -> None:
    told = Diary()

    async def body(daemon: Daemon) -> None:
        with pytest.raises(WouldBlockLane, match="use its async twin"):
            daemon.reload_sync()
        await daemon.reload()  # would come after it
        assert len(told.entries) == 1

    host.run(child(reloading("asyncio", told)), body)


def test_a_thread_that_serves_does_not_rest_and_is_left_out(host: Host) -> None:
    @actor(flavour="threading", reload_timeout=0.05)
    class Serves:
        ended: threading.Event

        def run(self) -> None:
            self.ended.wait(20)

        def on_reload(self) -> None:
            raise AssertionError

        def interrupt(self) -> None:
            self.ended.set()

    async def body(daemon: Daemon) -> None:
        assert await daemon.reload() == ("/serves",)
        assert [state for _, state in await daemon.children()] == ["running"]

    host.run(child(Serves, threading.Event()), body)


@actor(flavour="threading", backoff=None)
class Loops:
    def run(self, inbox: SyncInbox[Note | Crash]) -> None:
        for message in inbox:
            if isinstance(message, Crash):
                raise Boom

    def on_reload(self) -> None:
        """It rests."""


def disturb(refs: list[Any], over: threading.Event) -> None:
    """Send messages, every seventh a crash, as long as they are handled."""
    turn = 0
    while not over.is_set():
        turn += 1
        for ref in refs:
            ref.send(Crash() if not turn % 7 else Note())
        for ref in refs[1:]:  # so that no queue grows
            with suppress(AskError):
                ref.ask_sync(Number())


def test_reloads_among_messages_crashes_and_resizes_all_come_to_an_end(host: Host) -> None:
    told, over = Diary(), threading.Event()
    often = Limit(10**6, within=1e6)
    crews: list[Pool[Any]] = [
        pool(child(reloading(flavour, told)), size=3, name=flavour, restarts=often) for flavour in FLAVOURS
    ]
    loops = child(Loops)

    async def body(daemon: Daemon) -> None:
        thread = threading.Thread(target=disturb, args=([loops.ref, *(crew.ref for crew in crews)], over))
        thread.start()
        try:
            for size in (3, 5, 2, 3):
                for crew in crews:
                    await daemon.resize(f"/{crew.name}", size)
                    await daemon.reload()
        finally:
            over.set()
            await in_thread(thread.join)
        for crew in crews:
            assert await ask(crew.ref, Number()) == 1
        before = len(told.entries)
        assert await daemon.reload() == ()
        assert len(told.entries) > before

    host.run(one_for_one(*crews, loops, restarts=often), body)
