"""Real worker processes live, die in every way, and come back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.workers.cast import (
    Constructs,
    Does,
    Idle,
    Late,
    Waits,
    exit_3,
    fail,
    fail_once,
    hang,
    leave_a_daemon,
    leave_at_once,
    nothing,
    segfault,
)
from tests.workers.house import PATIENCE, House, house, is_alive, kill, stage
from trouper import (
    ActorEnded,
    Backoff,
    DaemonFailed,
    Limit,
    Ref,
    RemoteError,
    Restarting,
    RestartLimitExceeded,
    StartFailed,
    StartTimeout,
    Supervisor,
    SupervisorEnded,
    Terminated,
    WorkerDied,
    WorkerEnded,
    WorkerStarted,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
    process,
)
from trouper.workers.spec import Start


def group(deed: Callable[[str], object], stage: str, **options: Any) -> Supervisor:
    """Worker processes that do one thing each, and end when it fails."""
    doing = one_for_one(child(Does, stage, deed), restarts=Limit(0, within=1.0))
    return one_for_one(process(doing.options(backoff=None), name="cpu", **options))


async def test_each_worker_is_a_process_with_its_number_and_its_path() -> None:
    with stage() as heard:
        async with house(one_for_one(process(child(Idle, heard.path), workers=3, name="cpu"))) as inside:
            lines = await heard.hear_all(3, "up")
            assert sorted(line[:2] for line in lines) == [[f"/cpu/{number}/idle", str(number)] for number in range(3)]
            pids = {int(line[2]) for line in lines}
            assert len(pids - {os.getpid()}) == 3
            assert {await inside.pid(f"/cpu/{number}") for number in range(3)} == pids
        assert not any(map(is_alive, pids))


async def test_a_stop_runs_the_last_words_of_each() -> None:
    with stage() as heard:
        async with house(one_for_one(process(child(Idle, heard.path), workers=2, name="cpu"))):
            await heard.hear_all(2, "up")
        lines = await heard.hear_all(2, "on_stop")
        assert sorted(lines) == [["/cpu/0/idle", "shutdown"], ["/cpu/1/idle", "shutdown"]]


async def test_who_listens_while_a_worker_comes_up_hears_what_happens_in_it() -> None:
    with stage() as heard:
        pipe = Path(f"{heard.path}.pipe")
        os.mkfifo(pipe)
        async with open_daemon(one_for_one()) as daemon, trio.open_nursery() as nursery:
            nursery.start_soon(daemon.start, process(child(Waits, Late(heard.path)), name="cpu"))
            await heard.hear("unpacks")
            inside = House(daemon)
            with daemon.subscribe(inside.note, ActorEnded, WorkerStarted):
                await trio.to_thread.run_sync(pipe.write_bytes, b"go on")
                await inside.until(WorkerStarted)
                assert await daemon.terminate("/cpu/0/waits") == "ok"
                ended = await inside.until(ActorEnded)
        assert ended.path == "/cpu/0/waits"


async def test_one_that_has_ended_is_not_asked_for_signs_of_life_any_more() -> None:
    """What it has left behind holds its sockets open meanwhile."""
    with stage() as heard:
        tree = group(leave_a_daemon, heard.path, answer_within=0.6)
        async with house(tree, WorkerEnded) as inside:
            await heard.hear("up")
            heard.cue()
            await heard.hear("left")
            assert await inside.daemon.terminate("/cpu") == "ok"
            ended = await inside.until(WorkerEnded)
        assert ended.reason.kind == "shutdown"


async def test_one_that_is_killed_is_restarted_alone() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Idle, heard.path), workers=2, name="cpu"))
        async with house(tree, WorkerEnded, WorkerStarted, Restarting) as inside:
            await heard.hear_all(2, "up")
            other = await inside.pid("/cpu/1")
            kill(await inside.pid("/cpu/0"))
            assert (await heard.hear("up"))[:2] == ["/cpu/0/idle", "0"]
            died = await inside.until(WorkerEnded)
            assert isinstance(died.reason.cause, WorkerDied)
            assert (died.path, died.reason.kind, died.reason.cause.code) == ("/cpu/0", "crashed", -signal.SIGKILL)
            assert "SIGKILL" in str(died.reason)
            assert (await inside.until(Restarting)).used == 1
            assert (await inside.until(WorkerStarted)).generation == 2
            assert await inside.pid("/cpu/1") == other
            assert is_alive(other)


@pytest.mark.parametrize(
    ("deed", "code", "word"),
    [
        pytest.param(exit_3, 3, "exit 3", id="SystemExit"),
        pytest.param(leave_at_once, 9, "exit 9", id="os._exit"),
        pytest.param(segfault, -signal.SIGSEGV, "SIGSEGV", id="a crash of the interpreter"),
        pytest.param(
            fail, 70, "exit 70: RestartLimitExceeded: /cpu/0: more than 0 restarts", id="a failure at its root"
        ),
    ],
)
async def test_exit_codes_and_signals_are_exit_reasons(deed: Callable[[str], object], code: int, word: str) -> None:
    with stage() as heard:
        async with house(group(deed, heard.path), WorkerEnded, WorkerStarted) as inside:
            heard.cue()
            died = await inside.until(WorkerEnded)
            assert isinstance(died.reason.cause, WorkerDied)
            assert died.reason.cause.code == code
            assert word in str(died.reason)
            await inside.until(WorkerStarted)


async def test_a_failure_comes_with_its_cause_and_the_traceback_of_the_other_process() -> None:
    with stage() as heard:
        async with house(group(fail, heard.path), WorkerEnded) as inside:
            heard.cue()
            cause = (await inside.until(WorkerEnded)).reason.cause.__cause__
            assert isinstance(cause, RestartLimitExceeded)
            behind = cause.__cause__
            assert isinstance(behind, RemoteError)
            assert str(behind) == "ValueError: over its own feet"
            assert "in fail" in behind.__notes__[0]


async def test_one_whose_link_breaks_in_this_process_is_killed_and_the_reason_says_by_what() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Idle, heard.path), name="cpu"))
        async with house(tree, WorkerEnded, WorkerStarted) as inside:
            group: Any = inside.daemon.root.nodes["cpu"]
            link = group.nodes["0"].peer.link
            error = RuntimeError("what this process heard made it stumble")
            link.wire.do(link.wire.end_one, link, error)
            died = await inside.until(WorkerEnded)
            assert isinstance(died.reason.cause, WorkerDied)
            assert died.reason.cause.__cause__ is error
            assert "SIGKILL: RuntimeError: what this process heard" in str(died.reason)
            await inside.until(WorkerStarted)


async def test_one_that_does_not_answer_is_found_and_killed() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Idle, heard.path), name="cpu", answer_within=0.4))
        async with house(tree, WorkerEnded, WorkerStarted) as inside:
            stopped = await inside.pid("/cpu/0")
            kill(stopped, signal.SIGSTOP)
            died = await inside.until(WorkerEnded)
            assert died.reason.kind == "killed"
            assert "gave no sign of life for 0.4 s" in str(died.reason)
            await inside.until(WorkerStarted)
            assert not is_alive(stopped)


async def test_one_that_cannot_hear_a_stop_is_killed_at_its_deadline() -> None:
    with stage() as heard:
        async with house(group(hang, heard.path, shutdown=0.3)):
            heard.cue()
            [pid] = map(int, await heard.hear("hangs"))
            before = trio.current_time()
        assert not is_alive(pid)
        assert 0.3 <= trio.current_time() - before < 5


async def test_one_that_hangs_while_it_starts_fails_the_boot_in_time() -> None:
    with stage() as heard:
        tree = one_for_one(process(child(Constructs, heard.path, hang), name="cpu", start_timeout=4.0))
        with pytest.raises(DaemonFailed) as failed:
            async with open_daemon(tree):
                raise AssertionError
        cause = failed.value.__cause__
        assert isinstance(cause, StartFailed)
        assert cause.path == "/cpu/0"
        assert isinstance(cause.__cause__, StartTimeout)
        assert not is_alive(int((await heard.hear("hangs"))[0]))


async def test_what_fails_in_a_start_is_the_cause_of_the_failed_boot() -> None:
    with stage() as heard, pytest.raises(DaemonFailed) as failed:
        async with open_daemon(one_for_one(process(child(Constructs, heard.path, fail), workers=2, name="cpu"))):
            raise AssertionError
    assert isinstance(failed.value.__cause__, StartFailed)
    died = failed.value.__cause__.__cause__
    assert isinstance(died, WorkerDied)
    assert "/constructs: the start failed" in str(died.__cause__)


ENDS = 3


@actor(flavour="trio")
class Nurse:
    """Watches one, and again whenever it hears of its end."""

    patient: list[Ref[Any]]
    heard: list[str]

    async def on_start(self) -> None:
        current(self).watch(self.patient[0])

    async def receive(self, message: Terminated) -> None:
        self.heard.append(str(message.reason))
        if len(self.heard) < ENDS:
            current(self).watch(self.patient[0])


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_who_watches_an_actor_of_a_worker_that_comes_up_hears_of_no_end_before_there_is_one(start: Start) -> None:
    with stage() as heard:
        idle = child(Idle, heard.path)
        group = process(idle, name="cpu", start=start)
        async with house(one_for_one(group), WorkerStarted) as inside:
            await heard.hear("up")
            patient: list[Ref[Any]] = [group.copies(idle.ref).worker(0)]
            ends: list[str] = []
            await inside.daemon.start(child(Nurse, patient, ends))
            for count in (1, 2):
                kill(await inside.pid("/cpu/0"))
                await inside.until(WorkerStarted, count=count)
                await heard.hear("up")
            assert await inside.daemon.terminate("/cpu/0/idle") == "ok"
            with trio.fail_after(PATIENCE):
                while len(ends) < ENDS:
                    await trio.lowlevel.checkpoint()
            assert ["LinkLost" in end for end in ends] == [True, True, False]


async def test_limits_apply_to_each_one() -> None:
    with stage() as heard:
        tree = group(leave_at_once, heard.path, workers=2, restarts=Limit(1, within=60.0))
        async with house(tree, SupervisorEnded) as inside:
            await heard.hear_all(2, "up")
            for number in (0, 1):
                heard.cue(number)
                await heard.hear("up")
            assert not any(event.path == "/cpu" for event in inside.events)
            heard.cue(0)
            ended = await inside.until(SupervisorEnded, where=lambda event: event.path == "/cpu")
            assert isinstance(ended.reason.cause, RestartLimitExceeded)
            assert ended.reason.cause.path == "/cpu/0"


async def test_one_that_ends_by_itself_is_down_for_good_if_it_is_transient() -> None:
    with stage() as heard:
        ends = child(Does, heard.path, nothing).options(restart="transient", significant=True)
        part = one_for_one(ends, auto_shutdown="any_significant").options(restart="transient")
        async with house(one_for_one(process(part, workers=2, name="cpu")), WorkerEnded) as inside:
            heard.cue()
            assert not (await inside.until(WorkerEnded)).reason.abnormal
            assert await inside.daemon.children("/cpu") == [("1", "running")]


async def test_one_that_is_temporary_is_not_restarted_even_if_it_was_killed() -> None:
    with stage() as heard:
        part = one_for_one(child(Idle, heard.path)).options(restart="temporary")
        tree = one_for_one(process(part, workers=2, name="cpu"))
        async with house(tree, WorkerEnded, WorkerStarted, Restarting) as inside:
            kill(await inside.pid("/cpu/0"))
            assert (await inside.until(WorkerEnded)).reason.kind == "crashed"
            assert await inside.daemon.children("/cpu") == [("1", "running")]
            assert len(inside.events) == 1


def began(pid: int) -> float:
    """When this process was forked, in seconds since the machine was started."""
    since = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return int(since) / os.sysconf("SC_CLK_TCK")


async def test_after_its_second_death_one_waits_for_as_long_as_its_backoff_says() -> None:
    deaths: list[float] = []
    with stage() as heard:
        each = one_for_one(child(Idle, heard.path)).options(backoff=Backoff(base=0.2, jitter=0.0))
        async with house(one_for_one(process(each, name="cpu")), Restarting, WorkerStarted) as inside:
            for count in (1, 2):
                deaths.append(time.clock_gettime(time.CLOCK_BOOTTIME))
                kill(await inside.pid("/cpu/0"))
                await inside.until(WorkerStarted, count=count)
            assert [event.delay for event in inside.events if isinstance(event, Restarting)] == [0.0, 0.2]
            assert began(await inside.pid("/cpu/0")) - deaths[1] > 0.19  # the system counts hundredths


async def test_a_failure_within_is_healed_within() -> None:
    with stage() as heard:
        async with house(one_for_one(process(child(Does, heard.path, fail_once), name="cpu"))) as inside:
            pid = await inside.pid("/cpu/0")
            assert (await heard.hear("up"))[2] == str(pid)
            heard.cue()
            assert (await heard.hear("up"))[2] == str(pid)
