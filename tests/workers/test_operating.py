"""An operator reaches into worker processes: reloads, requests by path, reports, and what systemd is told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.actors.stage import until
from tests.daemon.program import Program
from tests.workers.cast import Does, Idle, Raises, Reloads, hang, say
from tests.workers.house import Stage, house, kill, stage
from trouper import (
    ActorStarted,
    Backoff,
    Daemon,
    DaemonFailed,
    DaemonReloaded,
    LaneStalled,
    SpecError,
    Supervisor,
    UnknownPath,
    WorkerEnded,
    child,
    current,
    one_for_one,
    open_daemon,
    pool,
    process,
)
from trouper.daemon.notify import status_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once


def reloading(heard: Stage) -> Supervisor:
    """Two workers, and an actor on either side of them."""
    first, last = (child(Reloads, heard.path).options(name=name) for name in ("first", "last"))
    return one_for_one(first, process(child(Reloads, heard.path), workers=2, name="cpu"), last)


async def test_a_reload_comes_to_all_workers_when_it_is_their_turn() -> None:
    with stage() as heard:
        async with house(reloading(heard)) as inside:
            assert await inside.daemon.reload() == ()
            said = [path for [path] in await heard.hear_all(4, "reloads")]
            assert (said[0], said[3]) == ("/first", "/last")
            assert sorted(said[1:3]) == ["/cpu/0/reloads", "/cpu/1/reloads"]


async def test_who_fails_in_a_worker_is_in_the_answer_and_restarted_there(caplog: pytest.LogCaptureFixture) -> None:
    with stage() as heard:
        heard.post("fails", 1)
        async with house(reloading(heard), DaemonReloaded) as inside:
            pid = await inside.pid("/cpu/1")
            await heard.hear_all(4, "up")
            assert await inside.daemon.reload() == ("/cpu/1/reloads",)
            assert (await inside.until(DaemonReloaded)).failed == ("/cpu/1/reloads",)
            assert await heard.hear("up") == ["/cpu/1/reloads", "2"]
            assert await inside.pid("/cpu/1") == pid
    assert "reloaded 2 of 2 actors and 1 of 2 workers after" in caplog.text
    assert "no such setting" in caplog.text


async def test_a_worker_that_dies_meanwhile_does_not_hold_the_reload() -> None:
    with stage() as heard:
        heard.post("hangs", 0)
        async with house(reloading(heard), WorkerEnded) as inside:
            answers: list[tuple[str, ...]] = []

            async def reload() -> None:
                answers.append(await inside.daemon.reload())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(reload)
                await heard.hear("reloads", "/cpu/0/reloads")
                kill(await inside.pid("/cpu/0"))
            assert answers == [()]
            assert await heard.hear("reloads") in (["/last"], ["/cpu/1/reloads"])


async def test_a_stop_does_not_wait_for_a_worker_that_reloads() -> None:
    with stage() as heard:
        heard.post("hangs", 0)
        answers: list[tuple[str, ...]] = []
        async with trio.open_nursery() as nursery, house(reloading(heard)) as inside:

            async def reload() -> None:
                answers.append(await inside.daemon.reload())

            nursery.start_soon(reload)
            await heard.hear("reloads", "/cpu/0/reloads")
        assert set(answers[0]) >= {"/cpu/0", "/last"}


async def test_requests_by_path_are_answered_by_the_worker() -> None:
    with stage() as heard:
        crew = pool(child(Idle, heard.path), size=1, name="crew")
        each = one_for_one(child(Idle, heard.path).options(name="a"), crew)
        async with house(one_for_one(process(each, workers=2, name="cpu"))) as inside:
            daemon = inside.daemon
            assert await daemon.children("/cpu/1") == [("a", "running"), ("crew", "running")]
            assert await daemon.terminate("/cpu/1/a") == "ok"
            assert await heard.hear("on_stop") == ["/cpu/1/a", "shutdown"]
            assert await daemon.children("/cpu/1") == [("a", "undefined"), ("crew", "running")]
            down = (await daemon.tree()).find("/cpu/1/a")
            assert down is not None
            assert down.state == "undefined"
            assert await daemon.children("/cpu/0") == [("a", "running"), ("crew", "running")]
            assert await daemon.restart("/cpu/1/a") == "ok"
            assert await daemon.hold("/cpu/1/a") == "ok"
            assert await daemon.restart("/cpu/1/a") == "held"
            assert await daemon.release("/cpu/1/a") == "ok"
            assert await daemon.resize("/cpu/1/crew", 3) == "ok"
            assert len(await daemon.children("/cpu/1/crew")) == 3
            assert await daemon.resize("/cpu/1", 3) == "not_a_pool"
            assert await daemon.terminate("/cpu/1/nobody") == "not_found"
            for path in ("/cpu/1/a/b", "/cpu/7/a"):
                with pytest.raises(UnknownPath, match=path.rpartition("/")[0]):
                    await daemon.terminate(path)
        with pytest.raises(UnknownPath):
            await daemon.children("/cpu/1")


async def test_a_worker_that_is_down_answers_nothing() -> None:
    with stage() as heard:
        each = one_for_one(child(Idle, heard.path)).options(backoff=Backoff(first=600.0))
        async with house(one_for_one(process(each, workers=1, name="cpu")), WorkerEnded) as inside:
            kill(await inside.pid("/cpu/0"))
            await inside.until(WorkerEnded)
            with pytest.raises(UnknownPath, match="/cpu/0"):
                await inside.daemon.children("/cpu/0")
            with pytest.raises(UnknownPath, match="/cpu/0"):
                await inside.daemon.terminate("/cpu/0/idle")
            assert await inside.daemon.reload() == ()


async def test_who_asks_a_worker_that_hangs_is_answered_at_the_end_of_the_daemon() -> None:
    asked = trio.Event()

    async def ask(daemon: Daemon) -> None:
        asked.set()
        with pytest.raises(UnknownPath):
            await daemon.children("/cpu/0")

    async def run(heard: Stage, nursery: trio.Nursery) -> None:
        tree = one_for_one(process(child(Does, heard.path, hang), name="cpu"))
        async with open_daemon(tree, stop_within=0.2) as daemon:
            heard.cue()
            await heard.hear("hangs")
            nursery.start_soon(ask, daemon)
            await asked.wait()

    with stage() as heard, trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            with pytest.raises(DaemonFailed):
                await run(heard, nursery)


def operate(me: Any) -> None:
    """As an operator inside of a worker, of which those outside are none of his."""
    daemon = current(me).daemon
    for path in ("/does", "/outside"):
        try:
            say(me.stage, path, daemon.terminate_sync(path))
        except UnknownPath:
            say(me.stage, path, "unknown")
    try:
        say(me.stage, "process", daemon.start_sync(process(child(Idle, me.stage))))
    except SpecError as error:
        say(me.stage, "process", error)
    daemon.adopt(trio.sleep_forever, flavour=trio, name="extra", restart="permanent")
    current(me).sleep_sync(600)


async def test_a_request_within_a_worker_is_for_what_stands_there_and_no_process_is_among_that() -> None:
    with stage() as heard:
        tree = one_for_one(
            child(Idle, heard.path).options(name="outside"),
            process(child(Does, heard.path, operate), name="cpu"),
        )
        async with house(tree, ActorStarted) as inside:
            assert await inside.daemon.children("/cpu/0") == [("does", "running")]  # it knows that events are wanted
            heard.cue()
            assert await heard.hear("/does") == ["unknown"]
            assert await heard.hear("/outside") == ["unknown"]
            assert "side by side" in " ".join(await heard.hear("process"))
            await inside.until(ActorStarted, where=lambda event: event.path == "/cpu/0/adopted/extra")
            assert await inside.daemon.children("/cpu/0/adopted") == [("extra", "running")]
            shown = [node.path for node in (await inside.daemon.tree()).walk()]
            assert shown[-3:] == ["/cpu/0/does", "/cpu/0/adopted", "/cpu/0/adopted/extra"]
            assert await inside.daemon.terminate("/cpu/0/adopted/extra") == "ok"
            assert await inside.daemon.children("/cpu/0/adopted") == []
            assert (await inside.daemon.tree()).find("/cpu/0/adopted") is None


def block_the_lane(me: Any) -> None:
    """In a task that is nobody's."""

    async def block() -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - on purpose

    async def begin() -> None:
        trio.lowlevel.spawn_system_task(block)

    current(me).daemon.execute(begin, flavour=trio)


async def test_a_lane_of_a_worker_that_no_actor_holds_up_is_told_as_that_of_the_worker() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Does, heard.path, block_the_lane), name="cpu"))
        async with house(tree, LaneStalled, stall_after=0.1) as inside:
            assert await inside.daemon.children("/cpu/0") == [("does", "running")]  # it knows that events are wanted
            heard.cue()
            stalled = await inside.until(LaneStalled)
            assert (stalled.path, stalled.lane) == ("/cpu/0", "trio")


async def test_the_status_for_systemd_tells_of_what_is_degraded_in_a_worker() -> None:
    with stage() as heard:
        each = one_for_one(child(Idle, heard.path), child(Raises).options(optional=True, name="raises"))
        async with house(one_for_one(process(each, workers=1, name="cpu", answer_within=2.0))) as inside:
            await until(lambda: "DEGRADED, down: /cpu/0/raises; 1 actor, " in status_of(inside.daemon))


PROGRAM = """
import sys
from tests.workers.cast import Reloads
from trouper import actor, child, one_for_one, process, run

WHERE = sys.argv[1]

@actor(flavour="trio")
class Here(Reloads):
    pass

if __name__ == "__main__":
    run(one_for_one(process(child(Here, WHERE), workers=2, name="cpu")))
"""


def run_program(heard: Stage, notify: str) -> Program:
    environment = {**os.environ, "NOTIFY_SOCKET": notify, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    script = Path(f"{heard.path}.py")
    script.write_text(PROGRAM)  # a main module that reads its arguments where it is imported
    command, pipe = [sys.executable, str(script), heard.path], subprocess.PIPE
    return Program(subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe))


async def test_signals_and_systemd_know_of_workers(tmp_path: Path) -> None:
    with stage() as heard, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with run_program(heard, str(tmp_path / "notify")) as program:
            while b"STATUS=2 actors" not in manager.recv(4096):
                pass
            program.signal(signal.SIGHUP)
            reloaded = [path for [path] in await heard.hear_all(2, "reloads")]
            assert sorted(reloaded) == ["/cpu/0/here", "/cpu/1/here"]
            program.until_logged("reloaded 2 of 2 workers after")
            program.signal(signal.SIGUSR1)
            program.until_logged("SIGUSR1: the tree")
            for number in (0, 1):
                program.until_logged(f"[/cpu/{number}] SIGUSR1: the tree")
                program.until_logged(f"[/cpu/{number}] SIGUSR1: the trio lane")
            assert program.stop(signal.SIGTERM) == 0
            assert "is ignored" not in program.log, "what is left to the daemon was never for the workers"
