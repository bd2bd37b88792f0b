"""Processes that wait to become a worker: whose place they take, and that none is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.workers.cast import Idle, Late, Waits
from tests.workers.house import PATIENCE, Stage, children, ended, house, is_alive, kill, stage
from trouper import Process, Request, WorkerEnded, WorkerStarted, actor, child, current, one_for_one, process
from trouper.workers.launcher import Launcher, Started
from trouper.workers.spec import Start

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


class Watched:
    """Knows each launcher that has got its spares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told, self.launchers = trio.open_memory_channel[Launcher](1000)
        keep, token = Launcher.keep, trio.lowlevel.current_trio_token()

        async def keep_and_tell(launcher: Launcher, spares: int) -> None:
            await keep(launcher, spares)
            token.run_sync_soon(self.told.send_nowait, launcher)

        monkeypatch.setattr(Launcher, "keep", keep_and_tell)

    async def spares(self, wanted: Callable[[Launcher], object] = lambda _: True) -> list[int]:
        """The process ids of those that a launcher has now."""
        with trio.fail_after(PATIENCE):
            while True:
                launcher = await self.launchers.receive()
                if launcher.spares and wanted(launcher):
                    return [spare.pid for spare in launcher.spares]
        raise AssertionError


@pytest.fixture
async def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def idlers(heard: Stage, **options: Any) -> Process:
    return process(child(Idle, heard.path), name="cpu", **options)


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_a_worker_that_dies_is_replaced_by_the_spare_process_and_that_by_another(
    start: Start, watched: Watched
) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, start=start, spares=1)), WorkerStarted, WorkerEnded) as inside:
            await heard.hear("up")
            [spare] = await watched.spares()
            assert await inside.daemon.children("/cpu") == [("0", "running")]
            kill(await inside.pid("/cpu/0"))
            event = await inside.until(WorkerStarted, where=lambda event: event.generation == 2)
            assert (event.path, event.pid) == ("/cpu/0", spare)
            assert await heard.hear("up") == ["/cpu/0/idle", "0", str(spare)]
            assert await inside.pid("/cpu/0") == spare
            [other] = await watched.spares(lambda launcher: launcher.spares[0].pid != spare)
            assert is_alive(other)
        assert not is_alive(other)


async def test_there_are_as_many_as_are_wanted_and_scale_takes_them(watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=2)), WorkerStarted) as inside:
            spares = await watched.spares(lambda launcher: len(launcher.spares) == 2)
            assert await inside.daemon.scale("/cpu", 4) == "ok"
            await inside.until(WorkerStarted, count=3)
            workers = [await inside.pid(f"/cpu/{number}") for number in range(4)]
            assert len({*workers, *spares}) == 4
            assert set(spares) < set(workers)


async def test_there_is_another_also_where_the_worker_that_took_it_was_not_wanted_after_all(watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1)), WorkerEnded) as inside:
            [spare] = await watched.spares()
            assert await inside.daemon.scale("/cpu", 2) == "ok"
            assert await inside.daemon.scale("/cpu", 1) == "ok"
            await ended(spare)
            await watched.spares(lambda launcher: launcher.spares[0].pid != spare)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_spare_process_that_has_ended_itself_replaces_nobody(number: signal.Signals, watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1)), WorkerStarted) as inside:
            [spare] = await watched.spares()
            kill(spare, number)
            await ended(spare)
            kill(await inside.pid("/cpu/0"))
            event = await inside.until(WorkerStarted, where=lambda event: event.generation == 2)
            assert event.pid != spare
            assert is_alive(event.pid)
            await watched.spares(lambda launcher: launcher.spares[0].pid != spare)


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_that_of_a_dead_forkserver_replaces_nobody_for_it_has_no_guardian(start: Start, watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, start=start, spares=1)), WorkerStarted) as inside:
            [spare] = await watched.spares()
            launcher = inside.launcher("/cpu")
            kill(launcher)
            await ended(launcher)
            assert is_alive(spare)
            kill(await inside.pid("/cpu/0"))
            event = await inside.until(WorkerStarted, where=lambda event: event.generation == 2)
            await ended(spare)
            assert event.pid in children(inside.launcher("/cpu"))


async def test_a_rolling_restart_has_none_of_the_old_forkserver_replace_anybody(watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1)), WorkerStarted) as inside:
            [spare] = await watched.spares()
            launcher = inside.launcher("/cpu")
            assert await inside.daemon.restart_rolling("/cpu") == "ok"
            await ended(spare)
            await ended(launcher)
            [other] = await watched.spares(lambda launcher: launcher.spares[0].pid != spare)
            assert other in children(inside.launcher("/cpu"))
            assert await inside.pid("/cpu/0") != spare


async def test_a_group_that_is_stopped_has_none_and_one_that_is_started_again_has(watched: Watched) -> None:
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1))) as inside:
            [spare] = await watched.spares()
            assert await inside.daemon.terminate("/cpu") == "ok"
            await ended(spare)
            assert await inside.daemon.restart("/cpu") == "ok"
            [other] = await watched.spares(lambda launcher: launcher.spares[0].pid != spare)
            assert is_alive(other)


async def test_one_that_comes_when_they_were_dismissed_is_dismissed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, asked, go_on = Launcher.ask, trio.Event(), threading.Event()
    late: list[tuple[Launcher, Started | None]] = []

    async def ask_late(launcher: Launcher) -> Started | None:
        started = await ask(launcher)
        if launcher.coming:
            late.append((launcher, started))
            token.run_sync_soon(asked.set)
            await trio.to_thread.run_sync(go_on.wait)
        return started

    token = trio.lowlevel.current_trio_token()
    monkeypatch.setattr(Launcher, "ask", ask_late)
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1))):
            with trio.fail_after(PATIENCE):
                await asked.wait()
            [(launcher, started)] = late
            assert started is not None
            launcher.dismiss_spares()
            go_on.set()
            await ended(started.pid)
            assert not launcher.spares


def new_launcher() -> Launcher:
    terms: dict[str, Any] = {
        "group": "/cpu",
        "preload": [],
        "main": None,
        "argv": [],
        "flavours": set(),
        "stop_within": 5.0,
        "stall_after": 5.0,
        "uvloop": False,
        "levels": {},
    }
    return Launcher("/cpu", [], terms, spawn=False, grace=1.0)


@pytest.mark.parametrize("count", [1, 2, 8])
async def test_all_that_are_asked_of_a_dead_forkserver_come_out_of_one_other(count: int) -> None:
    launcher = new_launcher()
    (await launcher.start()).dismiss()
    before = launcher.process
    assert before is not None
    kill(before.pid)
    await ended(before.pid)
    started: list[Started] = []

    async def start() -> None:
        started.append(await launcher.start())

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(start)
    after = launcher.process
    assert after is not None
    assert sorted(children(after.pid)) == sorted(one.pid for one in started)
    assert len(started) == count
    for one in started:
        one.dismiss()
    await launcher.close()


async def test_spares_and_workers_are_asked_for_at_the_same_time() -> None:
    launcher = new_launcher()
    started: list[Started] = []

    async def start(after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        started.append(await launcher.start())

    (await launcher.start()).dismiss()
    for after in range(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(launcher.keep, 2)
            nursery.start_soon(launcher.keep, 2)
            nursery.start_soon(start, after)
            nursery.start_soon(start, after)
        launcher.dismiss_spares()
    assert len({one.pid for one in started}) == 16
    for one in started:
        one.dismiss()
    await launcher.close()


def put(file: Path) -> None:
    file.touch()


def take(file: Path) -> None:
    file.unlink()


async def test_what_cannot_be_unpacked_in_a_spare_process_fails_the_start_there(watched: Watched) -> None:
    with stage() as heard:
        put(file := Path(f"{heard.path}.pipe"))
        group = process(child(Waits, Late(heard.path)), name="cpu", spares=1)
        async with house(one_for_one(group), WorkerStarted, WorkerEnded) as inside:
            [spare] = await watched.spares()
            take(file)
            kill(await inside.pid("/cpu/0"))
            died = await inside.until(WorkerEnded, count=2)
            assert died.reason.kind == "start_failed"
            assert died.reason.cause.pid == spare
            assert str(died.reason.cause.__cause__).startswith("FileNotFoundError")
            put(file)
            await inside.until(WorkerStarted, where=lambda event: event.generation > 2)


async def test_that_there_can_be_none_is_said_and_the_workers_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, watched: Watched
) -> None:
    ask, refuse = Launcher.ask, False

    async def ask_or_refuse(launcher: Launcher) -> Started | None:
        if refuse:
            raise OSError("too many open files")
        return await ask(launcher)

    monkeypatch.setattr(Launcher, "ask", ask_or_refuse)
    with stage() as heard:
        async with house(one_for_one(idlers(heard, spares=1)), WorkerStarted) as inside:
            await watched.spares()
            refuse = True
            kill(await inside.pid("/cpu/0"))
            await inside.until(WorkerStarted, where=lambda event: event.generation == 2)
            with trio.fail_after(PATIENCE):
                assert not (await watched.launchers.receive()).spares
            assert await inside.daemon.children("/cpu") == [("0", "running")]
    assert "/cpu: there is no spare process: too many open files" in caplog.messages


class Whose(Request[tuple[int, int, int]]):
    """Your `worker_id`, your generation, and what you were given."""


@actor(flavour="asyncio")
class Knows:
    given: int

    async def receive(self, message: Whose) -> tuple[int, int, int]:
        here = current(self)
        number = here.daemon.worker_id
        assert number is not None
        return number, here.generation, self.given


async def test_it_is_whose_place_it_takes_and_is_reached_as_that(watched: Watched) -> None:
    knows = child(Knows, 42)
    group = process(knows, workers=3, name="cpu", spares=1)
    async with house(one_for_one(group), WorkerStarted) as inside:
        [spare] = await watched.spares()
        kill(await inside.pid("/cpu/1"))
        await inside.until(WorkerStarted, where=lambda event: event.pid == spare)
        assert await group.copies(knows.ref).worker(1).ask(Whose()) == (1, 1, 42)
        tree = await inside.daemon.tree()
        found = tree.find("/cpu/1")
        assert found is not None
        assert (found.generation, [node.path for node in found.children][:1]) == (2, ["/cpu/1/knows"])


PROGRAM = """
from __future__ import annotations
from tests.workers.cast import Idle
from trouper import child, one_for_one, process, run

if __name__ == "__main__":
    run(one_for_one(process(child(Idle, {stage!r}), name="cpu", spares=2)))
"""


async def test_it_ends_when_the_daemon_is_killed_also_where_the_forkserver_is_dead() -> None:
    with stage() as heard:
        program = [sys.executable, "-c", PROGRAM.format(stage=heard.path)]
        daemon = await trio.lowlevel.open_process(program, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            await heard.hear("up")
            [launcher] = children(daemon.pid)
            with trio.fail_after(PATIENCE):
                while len(processes := children(launcher)) < 3:
                    await trio.lowlevel.checkpoint()
            kill(launcher)
            await ended(launcher)
        finally:
            daemon.kill()
            await daemon.wait()
        for pid in processes:
            await ended(pid)
