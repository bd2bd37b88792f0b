"""A worker is a process with good manners: what it inherits, how it logs, how it ends."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Never, Self

import pytest

from tests.workers.cast import Does, Idle, ask_at_exit, say, say_at_exit
from tests.workers.house import house, kill, stage
from trouper import WorkerStarted, actor, child, current, one_for_one, process
from trouper.daemon.process import SWITCH_INTERVAL


def tell_manners(me: Any) -> None:
    """What a process of the operating system is made of."""
    statuses = [Path(f"/proc/{whose}/status").read_text().splitlines() for whose in ("self", "thread-self")]
    masks = [line.split()[1] for lines in statuses for line in lines if line.startswith("SigBlk")]
    say(me.stage, "stdin", Path("/proc/self/fd/0").readlink())
    say(me.stage, "environ", *[key for key in os.environ if key.startswith(("NOTIFY_", "LISTEN_", "WATCHDOG_"))])
    say(me.stage, "blocked", *[int(mask, 16) for mask in masks])
    say(me.stage, "sigint", signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    say(me.stage, "sighup", signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
    say(me.stage, "random", random.random())
    say(me.stage, "switch", sys.getswitchinterval())
    say(me.stage, "gc", gc.get_threshold()[0])
    current(me).sleep_sync(600)


@pytest.fixture
def blocked() -> Iterator[set[int]]:
    """What this thread has blocked, some of it for the test."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGHUP))
    yield set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_what_a_worker_inherits(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "1")
    with stage() as heard:
        tree = one_for_one(process(child(Does, heard.path, tell_manners), workers=2, name="cpu", start=start))
        async with house(tree):
            rolls: set[str] = set()
            for number in (0, 1):
                heard.cue(number)
                assert await heard.hear("stdin") == ["/dev/null"]
                assert await heard.hear("environ") == []
                assert await heard.hear("blocked") == ["0", "0"]
                assert await heard.hear("sigint") == ["True"]
                assert await heard.hear("sighup") == ["True"]
                rolls.add(*await heard.hear("random"))
                assert await heard.hear("switch") == [str(SWITCH_INTERVAL)]
                assert await heard.hear("gc") == ["100000"]
            assert len(rolls) == 2


async def test_the_signals_of_the_daemon_are_blocked_and_handled_as_before(blocked: set[int]) -> None:
    def signals() -> tuple[object, ...]:
        handlers = [
            signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD)
        ]
        return (*handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    before = signals()
    assert before[-1] == blocked >= {signal.SIGTERM, signal.SIGHUP}
    with stage() as heard:
        async with house(one_for_one(process(child(Idle, heard.path), workers=2, name="cpu"))):
            assert signals() == before
    assert signals() == before


def log_something(me: Any) -> None:
    log = logging.getLogger("app.of.user")
    log.debug("too quiet")
    try:
        int("no number")
    except ValueError:
        log.exception("it says %d", 42)
    say(me.stage, "logged")
    current(me).sleep_sync(600)


async def test_what_a_worker_logs_is_in_the_log_of_the_daemon_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with stage() as heard:
        async with house(one_for_one(process(child(Does, heard.path, log_something), workers=2, name="cpu"))) as inside:
            pid = await inside.pid("/cpu/1")
            heard.cue(1)
            await heard.hear("logged")
    [record] = [record for record in caplog.records if record.name == "app.of.user"]
    assert record.getMessage() == "[/cpu/1] it says 42"
    assert (record.process, record.processName, record.levelno) == (pid, "/cpu/1", logging.ERROR)
    assert record.exc_text is not None
    assert "in log_something" in record.exc_text


def tell_level(me: Any) -> None:
    say(me.stage, "level", logging.getLogger("app.that.is.noisy").level)
    current(me).sleep_sync(600)


async def test_a_level_that_was_taken_back_is_none_in_the_next_life_of_a_worker() -> None:
    noisy = logging.getLogger("app.that.is.noisy")
    noisy.setLevel(logging.DEBUG)
    with stage() as heard:
        group = process(child(Does, heard.path, tell_level), name="cpu")
        async with house(one_for_one(group), WorkerStarted) as inside:
            heard.cue()
            assert await heard.hear("level") == [str(logging.DEBUG)]
            noisy.setLevel(logging.NOTSET)
            kill(await inside.pid("/cpu/0"))
            await inside.until(WorkerStarted)
            heard.cue()
            assert await heard.hear("level") == ["0"]


class Tint(str):
    """A text that cannot be made again out of its pickle."""

    __slots__ = ()

    def __new__(cls, name: str, shade: int) -> Self:
        return super().__new__(cls, f"{name} {shade}")


def log_what_is_hard_to_tell(me: Any) -> None:
    log = logging.getLogger("app.of.user")
    log.warning("%d items", "no")
    log.warning("odd", extra={"hosts": ["a", "b"], "held": {"lock": Lock()}, "tint": Tint("red", 7)})
    say(me.stage, "logged")
    current(me).sleep_sync(600)


async def test_a_record_arrives_whatever_is_given_with_it_and_says_whose_it_is(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with stage() as heard:
        does = child(Does, heard.path, log_what_is_hard_to_tell)
        async with house(one_for_one(process(does, name="cpu"))) as inside:
            await heard.hear("up")
            heard.cue()
            await heard.hear("logged")
            assert await inside.daemon.children("/cpu/0") == [("does", "running")]  # by the same way
    [record] = [record for record in caplog.records if record.name == "app.of.user"]
    said = vars(record)
    assert (said["path"], said["generation"], said["lane"]) == ("/cpu/0/does", 1, "threading")
    assert said["hosts"] == ["a", "b"]
    assert "lock" in str(said["held"])
    assert "Tint" in said["tint"]
    assert "Logging error" in capfd.readouterr().err  # of the one that cannot be laid out, as everywhere


MUCH = "." * (1 << 20)  # more than is written at once


@actor(flavour="trio")
class LogsAtLast:
    def __attrs_post_init__(self) -> None:
        atexit.register(logging.getLogger("app.of.user").warning, "in atexit%s", MUCH)

    async def on_stop(self, reason: object) -> None:
        logging.getLogger("app.of.user").warning("in on_stop")

    async def receive(self, message: Never) -> None: ...


async def test_an_end_runs_finally_and_on_stop_and_atexit_and_flushes_logs_and_what_was_kept_back(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with stage() as heard:
        each = one_for_one(child(LogsAtLast), child(Does, heard.path, say_at_exit))
        async with house(one_for_one(process(each, name="cpu"))):
            await heard.hear("up")
            heard.cue()
            await heard.hear("acts")
        await heard.hear("finally")
        await heard.hear("atexit")
    assert "kept back in stdout" in capfd.readouterr().out
    logged = [record.getMessage() for record in caplog.records if record.name == "app.of.user"]
    assert [text.rstrip(".") for text in logged] == ["[/cpu/0] in on_stop", "[/cpu/0] in atexit"]
    assert logged[1].endswith(MUCH)


async def test_at_the_end_of_a_worker_who_asks_its_daemon_is_answered() -> None:
    with stage() as heard:
        tree = one_for_one(child(Does, heard.path, ask_at_exit).options(restart="transient"))
        async with house(one_for_one(process(tree, name="cpu"))):
            await heard.hear("up")
            heard.cue()
            await heard.hear("acts")
        assert await heard.hear("atexit") == ["shutting_down"]
