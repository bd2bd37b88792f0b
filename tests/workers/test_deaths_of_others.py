"""Workers end with their daemon, what they started ends with them, and the forkserver decides on nobody's life."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tests.workers.cast import Does, Idle, hang, have_children
from tests.workers.house import Stage, children, ended, house, is_alive, kill, stage
from trouper import WorkerEnded, WorkerStarted, child, one_for_one, process
from trouper.workers.forkserver import Order
from trouper.workers.spec import Start

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

PROGRAM = """
from __future__ import annotations
from tests.workers.cast import {deed}, Does
from trouper import child, one_for_one, process, run

if __name__ == "__main__":
    run(one_for_one(process(child(Does, {stage!r}, {deed}), workers=2, name="cpu", shutdown=0.5)))
"""


async def end_of_a_killed_daemon(stage_path: str, deed: str) -> trio.Process:
    """A daemon in a process of its own."""
    program = [sys.executable, "-c", PROGRAM.format(deed=deed, stage=stage_path)]
    return await trio.lowlevel.open_process(program, cwd=ROOT, stderr=-1)


@pytest.mark.parametrize("deed", [have_children, hang])
async def test_workers_end_when_the_daemon_is_killed_and_so_does_what_they_started(deed: object) -> None:
    with stage() as heard:
        name = getattr(deed, "__name__", "")
        daemon = await end_of_a_killed_daemon(heard.path, name)
        try:
            pids = [int(line[2]) for line in await heard.hear_all(2, "up")]
            [launcher] = children(daemon.pid)
            for number in (0, 1):
                heard.cue(number)
            told = await heard.hear_all(2, "hangs" if deed is hang else "children")
            pids += [int(pid) for line in told for pid in line]
            assert all(map(is_alive, pids))
        finally:
            daemon.kill()
            await daemon.wait()
        for pid in (*pids, launcher):
            await ended(pid)


async def test_what_a_worker_leaves_behind_ends_with_it_and_what_hides_ends_with_the_daemon() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Does, heard.path, have_children), name="cpu"))
        async with house(tree, WorkerEnded) as inside:
            heard.cue()
            of_its_session, hidden = map(int, await heard.hear("children"))
            kill(await inside.pid("/cpu/0"))
            await inside.until(WorkerEnded)
            await ended(of_its_session)
            assert is_alive(hidden)
        await ended(hidden)


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_a_worker_is_not_taken_for_dead_when_the_forkserver_is_killed(start: Start) -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Idle, heard.path), workers=2, name="cpu", answer_within=2.0, start=start))
        async with house(tree, WorkerEnded, WorkerStarted) as inside:
            before = [await inside.pid(f"/cpu/{number}") for number in (0, 1)]
            launcher = inside.launcher("/cpu")
            kill(launcher)
            await ended(launcher)
            kill(before[0])
            died = await inside.until(WorkerEnded)
            assert "how is not known" in str(died.reason)
            started = await inside.until(WorkerStarted)
            assert started.path == "/cpu/0"
            assert inside.launcher("/cpu") != launcher
            assert [event.path for event in inside.events] == ["/cpu/0", "/cpu/0"]
            assert await inside.pid("/cpu/1") == before[1]
            assert is_alive(before[1])


UNPACKS = """
from __future__ import annotations
from tests.workers.cast import Late, Waits
from trouper import child, one_for_one, process, run

if __name__ == "__main__":
    run(one_for_one(process(child(Waits, Late({stage!r})), name="cpu")))
"""


async def test_a_worker_ends_with_its_daemon_while_it_unpacks_its_tree_and_the_forkserver_is_dead() -> None:
    with stage() as heard:
        os.mkfifo(f"{heard.path}.pipe")
        program = [sys.executable, "-c", UNPACKS.format(stage=heard.path)]
        daemon = await trio.lowlevel.open_process(program, cwd=ROOT, stderr=-1)
        try:
            await heard.hear("unpacks")
            [launcher] = children(daemon.pid)
            [worker] = children(launcher)
            kill(launcher)
            await ended(launcher)
            assert is_alive(worker)
        finally:
            daemon.kill()
            await daemon.wait()
        await ended(worker)


IN_ITS_GROUP = """
from __future__ import annotations
from tests.workers.cast import Does, Reloads, hang
from trouper import child, one_for_one, process, run

if __name__ == "__main__":
    each = one_for_one(child(Does, {stage!r}, hang), child(Reloads, {stage!r}))
    run(one_for_one(process(each, workers=2, name="cpu", shutdown=0.3)))
"""

BYSTANDER = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
print("hears", flush=True)
sys.stdin.read()
print(*(number.name for number in signal.sigpending()))
"""


@contextmanager
def in_group(group: int, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this, in a process group; 0 is a new one."""
    command, pipe, cwd = [sys.executable, "-c", code], subprocess.PIPE, ROOT
    null = subprocess.DEVNULL
    with subprocess.Popen(
        command, process_group=group, stdin=pipe, stdout=pipe, stderr=null, cwd=cwd, text=True
    ) as one:
        try:
            yield one
        finally:
            one.kill()


async def test_who_is_in_the_process_group_of_a_daemon_hears_of_no_reload_no_stop_and_no_kill() -> None:
    with stage() as heard, in_group(0, BYSTANDER) as bystander:
        assert bystander.stdout is not None
        assert bystander.stdout.readline() == "hears\n"
        with in_group(bystander.pid, IN_ITS_GROUP.format(stage=heard.path)) as daemon:
            await have_it_signal(daemon, heard)
        os.killpg(bystander.pid, signal.SIGUSR1)  # which does reach it
        assert bystander.communicate(timeout=20)[0] == "SIGUSR1\n"


async def have_it_signal(daemon: subprocess.Popen[str], heard: Stage) -> None:
    """A reload, a stop, and a worker that is killed at its deadline."""
    lines = await heard.hear_all(4, "up")
    pids = [int(line[2]) for line in lines if "does" in line[0]]
    assert [os.getsid(pid) for pid in pids] == [os.getpgid(pid) for pid in pids] == pids
    assert os.getpgid(children(daemon.pid)[0]) == os.getpgid(daemon.pid)
    daemon.send_signal(signal.SIGHUP)
    await heard.hear_all(2, "reloads")
    heard.cue(0)
    await heard.hear("hangs")
    daemon.send_signal(signal.SIGTERM)
    for pid in (*pids, daemon.pid):
        await ended(pid)


def test_a_forkserver_whose_daemon_has_ended_before_it_is_up_ends_without_a_word() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        order = tuple(Order("/cpu", gone.pid, [], [], None, [], [], True, 1.0))
        code = f"from trouper.workers.forkserver import Order, main; main({theirs.fileno()}, Order(*{order!r}))"
        command, pipe = [sys.executable, "-c", code], subprocess.PIPE
        done = subprocess.run(command, pass_fds=[theirs.fileno()], stderr=pipe, timeout=20, check=True)
    assert done.stderr == b""
