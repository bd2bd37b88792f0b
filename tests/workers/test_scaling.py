"""More workers, fewer workers, other workers: at run time, and nobody is missed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.workers.cast import Idle
from tests.workers.house import ended, house, is_alive, kill, stage
from trouper import (
    ActorStarted,
    DeadLetter,
    SpecError,
    Supervisor,
    UnknownPath,
    WorkerEnded,
    WorkerStarted,
    child,
    one_for_one,
    process,
)
from trouper.workers.portable import rebuild_event, tell_event

pytestmark = pytest.mark.once


def idlers(stage: str, workers: int) -> Supervisor:
    return one_for_one(process(child(Idle, stage), workers=workers, name="cpu"))


async def test_scale_starts_more_and_stops_the_last_ones_in_good_order() -> None:
    with stage() as heard:
        async with house(idlers(heard.path, 1), WorkerStarted, WorkerEnded) as inside:
            await heard.hear("up")
            first = await inside.pid("/cpu/0")
            assert await inside.daemon.scale("/cpu", 3) == "ok"
            assert sorted(line[0] for line in await heard.hear_all(2, "up")) == ["/cpu/1/idle", "/cpu/2/idle"]
            assert await inside.daemon.scale("/cpu", 1) == "ok"
            assert sorted(line[0] for line in await heard.hear_all(2, "on_stop")) == ["/cpu/1/idle", "/cpu/2/idle"]
            await inside.until(WorkerEnded, count=2)
            assert await inside.daemon.children("/cpu") == [("0", "running")]
            assert await inside.pid("/cpu/0") == first


async def test_a_group_can_be_scaled_to_nothing_and_back() -> None:
    with stage() as heard:
        async with house(idlers(heard.path, 0), WorkerStarted, WorkerEnded) as inside:
            assert await inside.daemon.children("/cpu") == []
            for count in (1, 2):
                assert await inside.daemon.scale("/cpu", 1) == "ok"
                await inside.until(WorkerStarted, count=count)
                assert await inside.daemon.scale("/cpu", 0) == "ok"
                await inside.until(WorkerEnded, count=count)


async def test_scale_says_what_it_cannot_do() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Idle, heard.path), workers=0, name="cpu"), one_for_one(name="group"))
        async with house(tree) as inside:
            daemon = inside.daemon
            assert await daemon.scale("/group", 1) == "not_a_process"
            assert await daemon.restart_rolling("/group") == "not_a_process"
            assert await daemon.resize("/cpu", 1) == "not_a_pool"
            with pytest.raises(UnknownPath):
                await daemon.scale("/nobody", 1)
            with pytest.raises(SpecError, match=r"/cpu: workers: given -1, allowed: an int of 0 or more \(processes\)"):
                await daemon.scale("/cpu", -1)
        assert await daemon.scale("/cpu", 1) == "shutting_down"


async def test_a_rolling_restart_has_a_new_one_up_before_an_old_one_goes() -> None:
    with stage() as heard:
        async with house(idlers(heard.path, 2), WorkerStarted, WorkerEnded) as inside:
            await heard.hear_all(2, "up")
            before = {await inside.pid("/cpu/0"), await inside.pid("/cpu/1")}
            launcher = inside.launcher("/cpu")
            assert await inside.daemon.restart_rolling("/cpu") == "ok"
            for number in (0, 1):
                assert (await heard.hear("up"))[0] == f"/cpu/{number}/idle"
                assert (await heard.hear("on_stop"))[0] == f"/cpu/{number}/idle"
            after = {await inside.pid("/cpu/0"), await inside.pid("/cpu/1")}
            assert not any(map(is_alive, before))
            assert not after & before
            assert [(event.path, event.generation) for event in inside.events] == [("/cpu/0", 2), ("/cpu/1", 2)]
            await ended(launcher)
            assert inside.launcher("/cpu") != launcher
            kill(await inside.pid("/cpu/0"))
            assert (await inside.until(WorkerStarted, count=3)).generation == 3


async def test_new_code_comes_in_by_a_rolling_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
from __future__ import annotations
from trouper import actor, current
from tests.workers.cast import say

@actor(flavour="trio")
class Says:
    stage: str
    async def run(self) -> None:
        say(self.stage, "version", {version})
        await current(self).sleep(600)
"""
    module = tmp_path / "code_that_changes.py"
    monkeypatch.syspath_prepend(tmp_path)
    module.write_text(source.format(version=1))
    from code_that_changes import Says  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # noqa: PLC0415 - written just now

    with stage() as heard:
        async with house(one_for_one(process(child(Says, heard.path), name="cpu"))) as inside:
            assert await heard.hear("version") == ["1"]
            module.write_text(source.format(version=22))
            assert await inside.daemon.restart_rolling("/cpu") == "ok"
            assert await heard.hear("version") == ["22"]
            module.write_text("raise ValueError('half written')")
            pid = await inside.pid("/cpu/0")
            assert await inside.daemon.restart_rolling("/cpu") == "nope"
            assert await inside.pid("/cpu/0") == pid
            assert is_alive(pid)


async def test_the_events_of_all_workers_are_those_of_the_daemon() -> None:
    with stage() as heard:
        async with house(idlers(heard.path, 0), ActorStarted) as inside:
            await inside.daemon.scale("/cpu", 2)
            await inside.until(ActorStarted, where=lambda event: event.path == "/cpu/0/idle")
            await inside.until(ActorStarted, where=lambda event: event.path == "/cpu/1/idle")


def test_a_message_of_the_main_module_is_in_an_event_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cue = type("Cue", (), {"__module__": "__mp_main__"})
    main = ModuleType("__mp_main__")
    monkeypatch.setattr(main, "Cue", cue, raising=False)
    with monkeypatch.context() as in_the_worker:
        in_the_worker.setitem(sys.modules, "__mp_main__", main)
        told = tell_event(DeadLetter("/cpu/0/idle", cue(), "nobody takes it"))
    monkeypatch.setattr(sys.modules["__main__"], "Cue", cue, raising=False)
    assert isinstance(getattr(rebuild_event(told, "/cpu/0"), "message"), cue)  # noqa: B009 - of one kind of event
