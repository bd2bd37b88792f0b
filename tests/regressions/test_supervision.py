"""What went wrong between supervisors, daemons and their actors, each defect with the test that would have told."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import pytest
import trio

from tests.actors.stage import PATIENCE, Boom, Crash, Diary, Host, Note, checkpoint, outcome, until
from trouper import (
    Daemon,
    DaemonFailed,
    DuplicateChild,
    Shutdown,
    SpecError,
    UnknownPath,
    UsageError,
    actor,
    child,
    current,
    one_for_all,
    one_for_one,
    open_daemon,
    pool,
)
from trouper.actors.cell import Cell
from trouper.daemon.operator import Operator
from trouper.events import ActorEnded, ActorStarted, Escalated
from trouper.lanes.thread_lane import ThreadLane
from trouper.lanes.timers import Timers


@actor(flavour="trio")
class Idle:
    async def receive(self, message: Note) -> None: ...


def in_trio(main: Any) -> None:
    Host("trio").loop(main)


# -- kills -------------------------------------------------------------------------------------------------------------
def test_a_supervisor_that_is_killed_while_it_boots_ends() -> None:
    begun = trio.Event()

    @actor(flavour="trio")
    class Slow:
        async def on_start(self) -> None:
            begun.set()
            await trio.sleep_forever()

        async def receive(self, message: Note) -> None: ...

    tree = one_for_one(one_for_one(child(Slow), child(Idle), name="n").options(shutdown=0))

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def leave() -> None:
                    await begun.wait()
                    scope.cancel()

                nursery.start_soon(leave)
                async with open_daemon(tree, stop_within=3):
                    pass

    start = monotonic()
    in_trio(main)
    assert monotonic() - start < 2


@pytest.mark.once
def test_an_actor_that_came_up_too_late_is_still_killed() -> None:
    hold = threading.Event()
    begun, up = threading.Event(), threading.Event()

    @actor(flavour="threading", start_timeout=0.05, shutdown=0.1)
    class Late:
        def on_start(self) -> None:
            if current(self).generation == 2:
                begun.set()
                up.wait(0.1)

        def receive(self, message: Note) -> None:
            raise ValueError

        def on_stop(self, reason: Any) -> None:
            if current(self).generation == 2:
                hold.wait(5)

    late = child(Late)

    async def main() -> None:
        async with open_daemon(one_for_one(late), stop_within=3):
            late.ref.send(Note())
            await trio.sleep_forever()

    try:
        with pytest.raises(DaemonFailed, match="does not end"):
            in_trio(main)
    finally:
        hold.set()


@pytest.mark.once
def test_the_late_end_of_an_actor_that_was_left_behind_is_no_second_death(caplog: pytest.LogCaptureFixture) -> None:
    verdict, ended = threading.Event(), threading.Event()
    told: list[ActorEnded] = []

    @actor(flavour="threading", shutdown=0.05)
    class Stuck:
        def run(self) -> None:
            current(self).sleep_sync(100)

        def on_stop(self, reason: Any) -> None:
            verdict.wait(5)
            ended.set()

    @actor(flavour="trio", shutdown=5.0)
    class Last:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            await trio.to_thread.run_sync(ended.wait)

    async def main() -> None:
        async with open_daemon(one_for_one(child(Last), child(Stuck))) as daemon:
            daemon.subscribe(lambda event: told.append(event) if event.path == "/stuck" else None, ActorEnded)
            daemon.subscribe(lambda _: verdict.set(), Escalated)

    with pytest.raises(DaemonFailed):
        in_trio(main)
    assert told == []
    deaths = [text for text in caplog.messages if text.startswith("/stuck: generation 1")]
    assert len(deaths) == 1
    assert "left behind" in deaths[0]


def test_a_start_that_took_too_long_is_interrupted() -> None:
    seen = Diary()

    @actor(flavour="threading", start_timeout=0.05, shutdown=0.5)
    class Blocks:
        def __attrs_post_init__(self) -> None:
            self.free = threading.Event()

        def on_start(self) -> None:
            if current(self).generation == 1:
                self.free.wait(3)

        def interrupt(self) -> None:
            seen("interrupt")
            self.free.set()

        def receive(self, message: Note) -> None: ...

    async def main() -> None:
        async with open_daemon(one_for_one(child(Blocks)), stop_within=3):
            pass

    in_trio(main)
    assert seen == ["interrupt"]


def test_a_thread_that_the_system_refuses_is_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "/t":
            raise RuntimeError("can't start new thread")
        start(thread)

    @actor(flavour="threading")
    class T:
        def receive(self, message: Note) -> None: ...

    monkeypatch.setattr(threading.Thread, "start", refuse)

    async def main() -> None:
        async with open_daemon(one_for_one(child(T)), stop_within=1):
            pass

    with pytest.raises(DaemonFailed, match="/t: the start failed"):
        in_trio(main)


# -- threads of former lives -------------------------------------------------------------------------------------------
def test_a_thread_whose_actor_ended_steps_nothing_of_the_next_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had messages left and time for them; the next life had begun when it looked again."""
    begun, go, next_began = (threading.Event() for _ in range(3))
    threads: dict[int, list[threading.Thread]] = {1: [], 2: []}

    @actor(flavour="threading")
    class Busy:
        def receive(self, message: Note) -> None:
            mine = threads[current(self).generation]
            mine.append(threading.current_thread())
            if mine is threads[1]:
                begun.set()
                go.wait()
            elif len(mine) == 1:
                next_began.set()
                threads[1][0].join()

    finish = Cell.finish

    def finish_slowly(cell: Cell, reason: Any) -> None:
        finish(cell, reason)
        if cell.threaded and cell.generation == 1:
            next_began.wait(PATIENCE)

    monkeypatch.setattr(Cell, "finish", finish_slowly)
    monkeypatch.setattr(ThreadLane, "slice", PATIENCE)

    @actor(flavour="trio")
    class Fails:
        async def receive(self, message: Crash) -> None:
            raise Boom

    busy, fails = child(Busy), child(Fails)

    async def body(daemon: Daemon) -> None:
        for number in range(4):
            busy.ref.send(Note(number))
        await trio.to_thread.run_sync(begun.wait)
        fails.ref.send(Crash())
        while ("busy", "stopping") not in await daemon.children():
            await checkpoint()
        go.set()
        await until(lambda: len(threads[2]) == 3)

    Host("trio").run(one_for_all(busy, fails), body)
    assert len(set(threads[2])) == 1


@pytest.mark.once
def test_what_did_not_end_with_its_daemon_is_not_run_by_the_next_one() -> None:
    """It would have crashed the actor of that one, at an address that both had."""
    begun, go = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    @actor(flavour="threading")
    class Hangs:
        def receive(self, message: Note) -> None:
            threads.append(threading.current_thread())
            begun.set()
            go.wait()
            raise Boom

    hangs = child(Hangs).options(shutdown=0.05)

    async def body(daemon: Daemon) -> None:
        hangs.ref.send(Note())
        await trio.to_thread.run_sync(begun.wait)

    async def again() -> None:
        async with open_daemon(hangs):
            raise AssertionError("it runs twice")

    with pytest.raises(DaemonFailed, match="not even killed"):
        Host("trio").run(hangs, body)
    with pytest.raises(DuplicateChild, match=r"did not end when its daemon did, at /hangs"):
        in_trio(again)
    go.set()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


# -- places and requests -----------------------------------------------------------------------------------------------
def test_a_child_that_was_terminated_is_not_started_in_a_second_place() -> None:
    one = child(Idle).options(name="a")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/a") == "ok"
        error = await outcome(lambda: daemon.start(one.options(name="b"), under="/g"))
        assert "stands at /a already" in str(error)
        assert await daemon.restart("/a") == "ok"

    Host("trio").run(one_for_one(one_for_one(name="g"), one), body)


def test_of_two_places_that_a_child_is_started_in_at_once_one_is_refused() -> None:
    one = child(Idle).options(name="a")
    outcomes: list[Any] = []

    async def body(daemon: Daemon) -> None:
        async def start(under: str) -> None:
            outcomes.append(await outcome(lambda: daemon.start(one, under=under)))

        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start, "/g")
                nursery.start_soon(start, "/h")
        assert len(await daemon.children("/g")) + len(await daemon.children("/h")) == 1

    Host("trio").run(one_for_one(one_for_one(name="g"), one_for_one(name="h")), body)
    assert sum(isinstance(one, Exception) for one in outcomes) == 1


def test_a_wrong_request_is_refused_to_who_made_it_and_the_daemon_goes_on() -> None:
    async def body(daemon: Daemon) -> None:
        wrong: Any = Idle
        with pytest.raises(SpecError, match=r"given <class .*Idle'>, allowed: a supervisor or a child\(...\)"):
            await daemon.start(wrong)
        path: Any = 5
        with pytest.raises(UnknownPath, match="given the path 5"):
            await daemon.children(path)
        with pytest.raises(UnknownPath, match="given the path 5"):
            await daemon.start(child(Idle), under=path)
        assert await daemon.children() == [("idle", "running")]

    Host("trio").run(child(Idle), body)


def test_a_key_that_cannot_be_hashed_says_whose_it_is() -> None:
    def parts(message: Note) -> Any:
        return [message.text]

    keyed = pool(child(Idle), size=1, name="keyed", routing="hash", key=parts)

    async def body(daemon: Daemon) -> None:
        with pytest.raises(
            UsageError, match=r"/keyed: given the key \['a'\] of a message, allowed: something hashable"
        ):
            keyed.ref.send(Note("a"))

    Host("trio").run(one_for_one(keyed), body)


def test_requests_that_come_while_the_rest_is_answered_do_no_harm() -> None:
    operator, over = Operator(), threading.Event()
    waiting = [operator._ticket() for _ in range(5_000)]

    def ask() -> None:
        while not over.is_set():
            operator._ticket()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(30):
            operator.answer_the_rest()
    finally:
        over.set()
        asking.join()
    assert all(slot.take() == ("shutting_down", None) for slot in waiting)


# -- the process, and what is kept -------------------------------------------------------------------------------------
def test_nothing_is_restarted_once_a_failure_went_to_the_root() -> None:
    lives: list[int] = []
    go, ended = threading.Event(), threading.Event()

    @actor(flavour="trio")
    class Exits:
        async def run(self) -> None:
            lives.append(current(self).generation)
            await trio.to_thread.run_sync(go.wait)
            raise SystemExit(3)

    @actor(flavour="trio")
    class Lasts:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            """Hold the stop up until the end of the other was judged, and its lane had turns to begin a new life."""
            await trio.to_thread.run_sync(ended.wait)
            await current(self).daemon.children("/n")
            for _ in range(20):
                await trio.lowlevel.checkpoint()

    async def main() -> None:
        tree = one_for_one(one_for_one(child(Exits).options(restart="transient"), name="n"), child(Lasts))
        async with open_daemon(tree) as daemon:
            daemon.subscribe(lambda event: ended.set() if event.path == "/n/exits" else None, ActorEnded)
            go.set()
            await trio.sleep_forever()

    with pytest.raises((DaemonFailed, SystemExit)):
        in_trio(main)
    assert lives == [1]


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    for _ in range(1000):
        timers.add(1e6, print).cancel()
    assert len(timers._heap) < 200


# -- small print -------------------------------------------------------------------------------------------------------
def test_a_pool_that_was_deleted_is_found_no_more() -> None:
    async def main() -> None:
        async with open_daemon(one_for_one(pool(child(Idle), size=1))) as daemon:
            assert daemon.lookup(Idle, "/pool") is not None
            await daemon.terminate("/pool")
            assert await daemon.delete("/pool") == "ok"
            assert daemon.lookup(Idle, "/pool") is None

    in_trio(main)


def test_a_word_at_the_end_that_cannot_be_told_ends_nothing_else() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise Boom

    @actor(flavour="trio", restart="transient")
    class Leaving:
        async def receive(self, message: Crash) -> None:
            raise Shutdown(Mute())

    leaving, idle = child(Leaving), child(Idle)

    async def main() -> None:
        async with open_daemon(one_for_one(leaving, idle)) as daemon:
            ended = Diary()
            daemon.subscribe(ended, ActorEnded)
            leaving.ref.send(Crash())
            await ended.until(len)
            assert "(its text fails)" in str(ended.entries[0].reason)
            assert await daemon.children() == [("leaving", "undefined"), ("idle", "running")]

    in_trio(main)


def test_a_path_that_is_none_is_refused_where_it_is_given() -> None:
    path: Any = 5

    async def main() -> None:
        async with open_daemon(one_for_one()) as daemon:
            for request in (daemon.terminate, daemon.restart, daemon.delete, daemon.hold, daemon.release):
                with pytest.raises(UnknownPath, match="given the path 5, allowed: the path of a child"):
                    await request(path)

    in_trio(main)


def test_only_the_actor_itself_spawns() -> None:
    @actor(flavour="trio")
    class Parent:
        async def receive(self, message: Note) -> None:
            me = current(self)
            with pytest.raises(UsageError, match="spawn in another thread than the actor's"):
                await trio.to_thread.run_sync(me.spawn, child(Idle))
            message.text(me.spawn(child(Idle)).path)

    parent, seen = child(Parent), Diary()

    async def main() -> None:
        async with open_daemon(one_for_one(parent)):
            parent.ref.send(Note(seen))
            await seen.until(len)
            assert seen.entries == ["/parent/idle-1"]

    in_trio(main)


def test_who_is_ending_is_not_ready_any_more() -> None:
    @actor(flavour="trio", readiness="notify", optional=True)
    class Late:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            current(self).ready()

    async def main() -> None:
        async with open_daemon(one_for_one(child(Late))) as daemon:
            events = Diary()
            daemon.subscribe(events, ActorStarted)
            await daemon.terminate("/late")
            assert events.entries == []

    in_trio(main)
