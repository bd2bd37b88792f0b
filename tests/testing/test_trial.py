"""A whole daemon in the thread of a test: virtual time, restarts, and no trace of it afterwards."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from threading import Event, current_thread
from time import monotonic
from typing import Any

import pytest
import sniffio
import trio

from tests.actors.stage import Diary, FlavourName, Host, Note, ask, here, role
from trouper import (
    AskTimeout,
    DaemonFailed,
    Declined,
    Mailbox,
    MailboxFull,
    Request,
    StartFailed,
    SyncInbox,
    UsageError,
    actor,
    child,
    current,
    one_for_one,
    process,
)
from trouper.events import ActorEnded, ActorStarted, DaemonReady, Escalated
from trouper.lanes import slot
from trouper.testing import Trial, TrialStuck


class Generation(Request[int]):
    """Which life is it?"""


async def nap(me: Any, seconds: float) -> None:
    """Sleep in the way of the actor's flavour."""
    if current_thread().name.startswith("/"):
        current(me).sleep_sync(seconds)
    else:
        await current(me).sleep(seconds)


def sleeper(flavour: FlavourName) -> Any:
    """Sleeps as long as it is told, and crashes over what is negative."""

    @role(flavour)
    class Sleeper:
        async def receive(self, message: Note | Generation) -> int | None:
            if isinstance(message, Generation):
                return current(self).generation
            await nap(self, abs(message.text))
            if message.text < 0:
                raise ValueError("fell over")
            return None

    return child(Sleeper).options(name="it")


def test_hours_pass_at_once_and_a_restart_takes_place_in_them(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    began = monotonic()
    with Trial(one_for_one(it)) as t:
        it.ref.send(Note(-3600))
        t.advance(3599)
        assert not t.events_of(ActorEnded)
        t.advance(1)
        (ended,) = t.events_of(ActorEnded)
        assert (ended.path, ended.uptime) == ("/it", 3600)
        assert t.ask(it.ref, Generation()) == 2
        assert t.now == 3600
    assert monotonic() - began < 30


def test_the_block_is_entered_when_the_tree_is_ready_and_left_when_it_is_stopped(flavour: FlavourName) -> None:
    diary = Diary()

    @role(flavour)
    class Slow:
        async def on_start(self) -> None:
            await nap(self, 20)
            diary("up")

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: object) -> None:
            diary("down")

    with Trial(one_for_one(child(Slow))) as t:
        assert diary == ["up"]
        assert t.now == 20
        assert t.events_of(DaemonReady) == [DaemonReady(20.0)]
    assert diary == ["up", "down"]


def test_an_ask_times_out_in_virtual_seconds(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    with Trial(one_for_one(it)) as t:
        it.ref.send(Note(100))
        with pytest.raises(AskTimeout):
            t.ask(it.ref, Generation(), timeout=99)
        assert t.now == 99
        assert t.ask(it.ref, Generation()) == 1
        assert t.now == 100


def test_the_sync_calls_of_refs_and_of_the_daemon_let_the_world_go_on(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    with Trial(one_for_one(it)) as t:
        it.ref.send(Note(3))
        assert it.ref.ask_sync(Generation()) == 1
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.daemon.children_sync() == [("it", "undefined")]
        assert t.daemon.restart_sync("/it") == "ok"
        assert it.ref.ask_sync(Generation()) == 2


@pytest.mark.parametrize("where", ["in_trio", "in_asyncio"])
def test_a_trial_works_inside_of_an_async_test_and_leaves_its_loop_as_it_was(where: str, flavour: FlavourName) -> None:
    it = sleeper(flavour)

    async def main() -> None:
        library = sniffio.current_async_library()
        hooks, loop = sys.get_asyncgen_hooks(), asyncio._get_running_loop()
        with Trial(one_for_one(it)) as t:
            it.ref.send(Note(-3600))
            t.advance(3600)
            assert t.ask(it.ref, Generation()) == 2
            assert t.call(t.daemon.children_sync) == [("it", "running")]
            assert sniffio.current_async_library() == library
            if library == "trio":
                began = trio.current_time()
                await trio.sleep(0.001)
                assert 0 < trio.current_time() - began < 60
            else:
                assert asyncio._get_running_loop() is loop
                await asyncio.sleep(0.001)
            t.advance(1)
        assert sniffio.current_async_library() == library
        assert (sys.get_asyncgen_hooks(), asyncio._get_running_loop()) == (hooks, loop)

    Host("trio" if where == "in_trio" else "asyncio").loop(main)


def test_after_a_trial_the_thread_is_in_no_loop_and_none_of_its_threads_lives(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    before, interrupt = set(threading.enumerate()), signal.getsignal(signal.SIGINT)
    with Trial(one_for_one(it)) as t:
        assert t.ask(it.ref, Generation()) == 1
        assert asyncio._get_running_loop() is None
        assert not trio.lowlevel.in_trio_run()
    assert asyncio._get_running_loop() is None
    assert not trio.lowlevel.in_trio_run()
    assert slot.waiting.instead is None
    assert signal.getsignal(signal.SIGINT) is interrupt
    assert {thread for thread in threading.enumerate() if thread.is_alive()} <= before
    assert trio.run(trio.sleep, 0) is None
    asyncio.run(asyncio.sleep(0))


def test_a_handler_runs_in_the_loop_of_its_flavour(flavour: FlavourName) -> None:
    seen = Diary()

    @role(flavour)
    class Told:
        async def receive(self, message: Note) -> None:
            trio_here, asyncio_here = trio.lowlevel.in_trio_run(), asyncio._get_running_loop() is not None
            seen((trio_here, asyncio_here, here() is test_thread))

    test_thread = here()
    it = child(Told)
    with Trial(it) as t:
        it.ref.send(Note())
        t.settle()
    assert seen == [(flavour == "trio", flavour == "asyncio", flavour != "threading")]


def test_actors_of_all_flavours_ask_each_other() -> None:
    kinds: list[FlavourName] = ["trio", "asyncio", "threading"]
    echoes = [sleeper(flavour).options(name=flavour) for flavour in kinds]

    def asker(flavour: FlavourName) -> Any:
        @role(flavour)
        class Asker:
            async def receive(self, message: Generation) -> int:
                return sum([await ask(echo.ref, Generation()) for echo in echoes])

        return child(Asker).options(name=f"asker_{flavour}")

    askers = [asker(flavour) for flavour in kinds]
    with Trial(one_for_one(*echoes, *askers)) as t:
        assert [t.ask(it.ref, Generation()) for it in askers] == [3, 3, 3]
        assert t.now == 0


# -- threads -----------------------------------------------------------------------------------------------------------
def now(me: Any) -> float:
    return current(me).daemon.world.clock()


def test_time_does_not_jump_while_a_thread_works() -> None:
    seen = Diary()

    @actor(flavour="threading")
    class Worker:
        def receive(self, message: Note) -> None:
            before = now(self)
            time.sleep(0.05)
            seen(now(self) - before)

    @actor(flavour="trio")
    class Ticker:
        async def run(self) -> None:
            for _ in range(1000):
                await trio.sleep(1)

    it = child(Worker)
    with Trial(one_for_one(it, child(Ticker))) as t:
        it.ref.send(Note())
        t.advance(100)
    assert seen == [0.0]


def test_the_calls_of_the_runtime_in_a_thread_wait_in_virtual_time() -> None:
    seen = Diary()

    @actor(flavour="threading")
    class Waits:
        def run(self, inbox: SyncInbox[Note]) -> None:
            with pytest.raises(TimeoutError):
                inbox.get(timeout=7.0)
            seen(("get", now(self)))
            current(self).sleep_sync(3.0)
            seen(("sleep", now(self)))
            with pytest.raises(AskTimeout):
                deaf.ref.ask_sync(Generation(), timeout=10.0)
            seen(("ask", now(self)))
            with pytest.raises(MailboxFull):
                full.ref.offer_sync(Note(), timeout=10.0)
            seen(("offer", now(self)))
            assert current(self).daemon.children_sync()
            for _ in inbox.ticks(every=60.0):
                seen(("tick", now(self)))

    deaf = sleeper("trio")
    full = sleeper("asyncio").options(name="full", mailbox=Mailbox(capacity=1))
    with Trial(one_for_one(deaf, full, child(Waits))) as t:
        deaf.ref.send(Note(1000))
        full.ref.send(Note(1000))
        t.settle()
        full.ref.send(Note(1000))
        t.advance(170)
    assert seen == [("get", 7), ("sleep", 10), ("ask", 20), ("offer", 30), ("tick", 30), ("tick", 90), ("tick", 150)]


def test_a_thread_that_blocks_elsewhere_is_named_with_its_stack() -> None:
    let_go = Event()

    @actor(flavour="threading")
    class Blocked:
        def receive(self, message: Note) -> None:
            let_go.wait(20)

    it = child(Blocked).options(name="it")
    with pytest.raises(DaemonFailed), Trial(one_for_one(it), patience=0.5) as t:  # noqa: PT012 - the end fails, too
        it.ref.send(Note())
        with pytest.raises(TrialStuck) as stuck:
            t.settle()
        assert "/it" in str(stuck.value)
        assert "let_go.wait" in str(stuck.value)
    let_go.set()


def test_a_thread_that_may_block_is_not_waited_for_and_is_interrupted_by_a_stop() -> None:
    @actor(flavour="threading")
    class Server:
        closed: Event

        def run(self) -> None:
            assert self.closed.wait(20)

        def interrupt(self) -> None:
            self.closed.set()

    with Trial(one_for_one(child(Server, Event()).options(name="server")), may_block=["/server"]) as t:
        t.advance(3600)
        assert [event.path for event in t.events_of(ActorEnded)] == []
    (ended,) = t.events_of(ActorEnded)
    assert (ended.path, ended.reason.kind) == ("/server", "shutdown")


def test_calls_in_worker_threads_of_a_loop_are_waited_for(loop_flavour: FlavourName) -> None:
    @role(loop_flavour)
    class Busy:
        async def receive(self, message: Generation) -> int:
            work = trio.to_thread.run_sync if loop_flavour == "trio" else asyncio.to_thread
            await work(time.sleep, 0.05)
            return 1

    it = child(Busy)
    with Trial(it) as t:
        assert t.ask(it.ref, Generation(), timeout=1.0) == 1
        assert t.now == 0


# -- failures ----------------------------------------------------------------------------------------------------------
def test_a_tree_that_cannot_start_fails_at_the_door(flavour: FlavourName) -> None:
    @role(flavour)
    class Broken:
        async def on_start(self) -> None:
            raise ValueError("no such table")

        async def receive(self, message: Note) -> None: ...

    with pytest.raises(DaemonFailed) as failed, Trial(child(Broken)):
        pytest.fail("entered")
    assert isinstance(failed.value.__cause__, StartFailed)
    assert str(failed.value.__cause__.__cause__) == "no such table"


def test_a_failure_that_reached_the_root_is_raised_at_the_end(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    with pytest.raises(DaemonFailed) as failed, Trial(one_for_one(it), seed=77) as t:  # noqa: PT012 - raised at its end
        for _ in range(4):
            it.ref.send(Note(-1))
        t.advance(3600)
        assert len(t.events_of(Escalated)) == 1
        assert len(t.events_of(ActorStarted)) == 4
    assert "seed=77" in failed.value.__notes__[0]


def test_an_error_of_the_test_comes_out_as_it_is_with_the_seed_beside_it() -> None:
    with pytest.raises(ZeroDivisionError) as error, Trial(sleeper("trio"), seed=1234) as t:  # noqa: PT012
        t.advance(5)
        _ = 1 / 0
    assert error.value.__notes__ == ["in a Trial with seed=1234, at 5 s of virtual time"]


def test_to_wait_for_what_never_comes_is_an_error_at_once(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    with Trial(one_for_one(it)) as t:
        deaf = t.probe(Generation)
        with pytest.raises(TrialStuck):
            deaf.ref.ask_sync(Generation(), timeout=None)
        with pytest.raises(TrialStuck):
            t.until(lambda: False)
        with pytest.raises(TrialStuck):
            t.until(lambda: False, within=10)


def test_a_world_without_rest_is_an_error_that_says_who_is_busy() -> None:
    @actor(flavour="trio")
    class Restless:
        async def receive(self, message: Note) -> None:
            current(self).self_ref.send(message)

    it = child(Restless)
    with Trial(it, patience=2.0) as t:
        it.ref.send(Note())
        with pytest.raises(TrialStuck, match="trio lane"):
            t.settle()
        t.daemon.stop()


def test_an_actor_that_declines_is_no_failure(flavour: FlavourName) -> None:
    @role(flavour)
    class Not:
        async def on_start(self) -> None:
            raise Declined("nothing to do")

        async def receive(self, message: Note) -> None: ...

    with Trial(one_for_one(child(Not).options(name="not"))) as t:
        assert t.daemon.children_sync() == [("not", "undefined")]


def test_advance_takes_seconds_that_can_pass() -> None:
    with Trial(sleeper("trio")) as t:
        for seconds in (-1, float("inf"), float("nan")):
            with pytest.raises(ValueError, match="allowed"):
                t.advance(seconds)


def test_trials_leave_nothing_that_the_garbage_collector_complains_about(flavour: FlavourName) -> None:
    it = sleeper(flavour)
    with Trial(one_for_one(it)) as t:
        it.ref.send(Note(-1))
        t.advance(2)
    del t
    gc.collect()  # warnings are errors here


def test_worker_processes_are_refused_with_their_place() -> None:
    with pytest.raises(UsageError, match="given a process at /more/cpu, allowed: trees of one process"):
        Trial(one_for_one(one_for_one(process(sleeper("trio"), name="cpu")).options(name="more")))
