"""Hooks in virtual time: which step waits for them, for how long, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from threading import Event as ThreadEvent
from typing import Any

import pytest
import trio

from tests.actors.stage import Boom, FlavourName
from tests.virtual.cast import Trials, ends, play, starts, state, whats
from trouper import (
    Backoff,
    DaemonFailed,
    DaemonReloaded,
    DaemonReloading,
    DaemonStopping,
    HookFailed,
    HookTimeout,
    Limit,
    Persist,
    Restarting,
    Shutdown,
    before,
    child,
    one_for_all,
    one_for_one,
    pool,
)
from trouper.events import ActorStarting, Event
from trouper.testing import Fail, Hang, Script, Sleep, Trial

pytestmark = pytest.mark.once

ONCE = Backoff(jitter=0)
MANY = Limit(1000, within=1e6)


class Done:
    """Hooks that take their time, and tell when they began."""

    def __init__(self) -> None:
        self.t: Trial | None = None
        self.told: list[tuple[float, Any]] = []

    def takes(self, seconds: float, word: object = None) -> Callable[[Event], Awaitable[None]]:
        async def hook(event: Event) -> None:
            assert self.t is not None
            self.told.append((self.t.now, type(event) if word is None else word))
            await trio.sleep(seconds)

        return hook


# -- the stop ----------------------------------------------------------------------------------------------------------
def test_the_tree_is_stopped_once_the_hooks_before_it_are_done_one_after_the_other(
    trial: Trials, flavour: FlavourName
) -> None:
    script, done = Script(), Done()
    with trial(one_for_one(play(script, flavour))) as t:
        done.t = t
        t.daemon.hook(before(DaemonStopping, done.takes(2, "first"), flavour="trio"))
        t.daemon.hook(before(DaemonStopping, done.takes(3, "second"), flavour="trio"))
        t.daemon.stop()
        t.advance(4)
        assert state(t, "/it") == "running"
        assert whats(script) == ["starting", "started"]
        t.advance(1)
        assert whats(script) == ["starting", "started", "stopping", "stopped"]
    assert done.told == [(0, "first"), (2, "second")]


def test_the_tree_works_on_while_a_hook_holds_up_its_stop(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    with trial(one_for_one(play(script, flavour))) as t:
        done.t = t
        t.daemon.hook(before(DaemonStopping, done.takes(3), flavour="trio"))
        t.daemon.stop()
        t.settle()
        script.crash(Boom())
        t.advance(1)
        assert ends(t) == [("/it", "crashed")]
        assert state(t, "/it") == "running"
        assert starts(t) == ["/it", "/it"]


@pytest.mark.parametrize("hook_flavour", ["trio", "asyncio"])
def test_a_hook_that_takes_too_long_is_cancelled_and_the_stop_goes_on(
    trial: Trials, flavour: FlavourName, hook_flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled: list[float] = []

    async def drain(event: DaemonStopping) -> None:
        try:
            if hook_flavour == "trio":
                await trio.sleep_forever()
            await asyncio.sleep(1e6)
        finally:
            cancelled.append(t.now)

    with trial(one_for_one(play(Script(), flavour))) as t:
        t.daemon.hook(before(DaemonStopping, drain, flavour=hook_flavour, timeout=4.0))
    assert cancelled == [4]
    [failed] = t.events_of(HookFailed)
    assert (failed.hook.rpartition(".")[2], failed.before) == ("drain", "DaemonStopping")
    assert isinstance(failed.error, HookTimeout)
    assert "drain before DaemonStopping failed" in caplog.text
    assert ends(t) == [("/it", "shutdown")]


def test_a_hook_may_block_in_a_thread(trial: Trials) -> None:
    opened = ThreadEvent()

    def drain(event: DaemonStopping) -> None:
        time.sleep(0.01)
        opened.set()

    with trial(one_for_one(play(Script(), "trio"))) as t:
        t.daemon.hook(before(DaemonStopping, drain, flavour="threading"))
        t.daemon.stop()
        assert state(t, "/it") == "running" or opened.is_set()
    assert opened.is_set()


def test_the_deadline_of_the_whole_stop_counts_from_its_beginning(trial: Trials) -> None:
    done = Done()
    done.t = t = trial(one_for_one(play(Script(), "trio")), stop_within=3.0, leaks=())

    def body() -> None:
        t.daemon.hook(before(DaemonStopping, done.takes(1e6), flavour="trio", timeout=1e6))

    assert "it did not stop in time" in str(failing(t, body))
    assert t.now < 4


def test_a_failure_does_not_wait_for_hooks_before_the_stop(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    tree = one_for_one(play(script, flavour), restarts=Limit(0, within=30.0))
    done.t = t = trial(tree)

    def body() -> None:
        t.daemon.hook(before(DaemonStopping, done.takes(50), flavour="trio", timeout=100.0))
        t.daemon.stop()
        t.advance(1)
        script.crash(Boom())
        t.advance(1)
        assert t.daemon.ended.is_set()

    assert "Boom" in str(failing(t, body))
    assert t.now < 3


def test_a_stop_by_a_failure_has_its_hooks_too(trial: Trials, flavour: FlavourName) -> None:
    script, other, done = Script(), Script(), Done()
    tree = one_for_one(play(script, flavour), play(other, flavour, name="other"))
    done.t = t = trial(tree)

    def body() -> None:
        t.daemon.hook(before(DaemonStopping, done.takes(2), flavour="trio"))
        script.crash(SystemExit(3))
        t.advance(1)
        assert whats(other) == ["starting", "started"]
        t.advance(1)
        assert whats(other)[2:] == ["stopping", "stopped"]

    assert failing(t, body).exit_code == 3
    assert done.told == [(0, DaemonStopping)]


# -- restarts ----------------------------------------------------------------------------------------------------------
def test_a_restart_waits_for_the_hooks_before_it_and_not_its_siblings(trial: Trials, flavour: FlavourName) -> None:
    script, other, done = Script(), Script(), Done()
    tree = one_for_one(
        play(script, flavour, backoff=ONCE), play(other, flavour, name="other", backoff=ONCE), restarts=MANY
    )
    with trial(tree) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(2), flavour="trio", under="/it"))
        script.crash(Boom())
        other.crash(Boom())
        t.advance(1)
        assert (state(t, "/it"), state(t, "/other")) == ("starting", "running")
        assert t.events_of(ActorStarting)[2:] == [ActorStarting("/other", 2)]
        t.advance(1)
        assert state(t, "/it") == "running"
        assert len(t.events_of(Restarting)) == 2
        assert done.told == [(0, Restarting)]


@pytest.mark.parametrize("hook_flavour", ["trio", "asyncio"])
def test_a_restart_waits_for_a_hook_that_hangs_until_its_timeout(
    trial: Trials, flavour: FlavourName, hook_flavour: FlavourName
) -> None:
    async def hangs(event: Restarting) -> None:
        if hook_flavour == "trio":
            await trio.sleep_forever()
        await asyncio.sleep(1e6)

    script, done = Script(), Done()
    with trial(one_for_one(play(script, flavour, backoff=ONCE))) as t:
        done.t = t
        t.daemon.hook(before(Restarting, hangs, flavour=hook_flavour, timeout=4.0))
        t.daemon.hook(before(Restarting, done.takes(1), flavour="trio"))
        script.crash(Boom())
        t.advance(4.5)
        assert state(t, "/it") == "starting"
        [failed] = t.events_of(HookFailed)
        assert failed.before == "Restarting"
        assert isinstance(failed.error, HookTimeout)
        t.advance(0.5)
        assert state(t, "/it") == "running"
        assert [at for at, event in t._log if event == ActorStarting("/it", 2)] == [5]
        assert done.told == [(4, Restarting)]


def test_the_delay_of_a_restart_and_its_hooks_go_on_at_once(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    tree = one_for_one(play(script, flavour, backoff=Persist(first=5.0, jitter=0)))
    with trial(tree) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(2), flavour="trio"))
        script.crash(Boom())
        t.advance(5)
        assert state(t, "/it") == "running"
        assert [at for at, event in t._log if event == ActorStarting("/it", 2)] == [5]


def test_a_group_waits_for_the_hooks_before_the_restart_of_one(trial: Trials, flavour: FlavourName) -> None:
    first, second, done = Script(), Script(), Done()
    tree = one_for_all(play(first, flavour), play(second, flavour, name="second"), restarts=MANY)
    with trial(tree) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(2), flavour="trio"))
        second.crash(Boom())
        t.advance(1)
        assert whats(first) == ["starting", "started", "stopping", "stopped"]
        t.advance(1)
        assert whats(first)[4:] == ["starting", "started"]
        assert (state(t, "/it"), state(t, "/second")) == ("running", "running")


def test_restarts_of_workers_wait_side_by_side(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    crew = pool(child(script.actor(flavour, backoff=None)), size=2, restarts=MANY)
    with trial(one_for_one(crew)) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(2), flavour="trio"))
        for number in (1, 2):
            script._ref = crew.ref.worker(number)
            script.crash(Boom())
        t.advance(2)
        assert t.daemon.tree_sync().status == "up"
        assert [at for at, event in t._log if isinstance(event, ActorStarting) and event.generation == 2] == [2, 2]


@pytest.mark.parametrize("verb", ["terminate", "hold"])
def test_one_that_is_stopped_meanwhile_is_not_restarted(trial: Trials, flavour: FlavourName, verb: str) -> None:
    script, done = Script(), Done()
    with trial(one_for_one(play(script, flavour, backoff=ONCE))) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(2), flavour="trio"))
        script.crash(Boom())
        t.advance(1)
        assert getattr(t.daemon, f"{verb}_sync")("/it") == "ok"
        assert t.now == 1
        t.advance(10)
        assert len(starts(t)) == 1
        if verb == "hold":
            assert t.daemon.release_sync("/it") == "ok"
        else:
            assert t.daemon.restart_sync("/it") == "ok"
        assert len(starts(t)) == 2


def test_a_stop_does_not_wait_for_hooks_before_restarts(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    with trial(one_for_one(play(script, flavour, backoff=None))) as t:
        done.t = t
        t.daemon.hook(before(Restarting, done.takes(1e6), flavour="trio", timeout=1e6))
        script.crash(Boom())
        t.advance(1)
    assert t.now < 2
    assert len(starts(t)) == 1


# -- reloads -----------------------------------------------------------------------------------------------------------
def test_a_reload_waits_for_the_hooks_before_it(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    script.on_reload(Sleep(1))
    with trial(one_for_one(play(script, flavour))) as t:
        done.t = t
        t.daemon.hook(before(DaemonReloading, done.takes(2), flavour="trio"))
        assert t.daemon.reload_sync() == ()
        assert t.now == 3
        assert t.events_of(DaemonReloaded) == [DaemonReloaded(3.0, ())]


# -- failing -----------------------------------------------------------------------------------------------------------
def failing(t: Trial, body: Callable[[], object]) -> DaemonFailed:
    """Run a trial whose daemon fails; the failure."""
    with pytest.raises(DaemonFailed) as failed:
        run(t, body)
    return failed.value


def run(t: Trial, body: Callable[[], object]) -> None:
    with t:
        body()


async def fails(event: Event) -> None:
    raise Boom("over its hook")


async def shuts_down(event: Event) -> None:
    raise Shutdown("no reason to go on")


@pytest.mark.parametrize("hook", [fails, shuts_down])
def test_one_that_fails_is_told_and_the_step_goes_on(
    trial: Trials, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    done = Done()
    with trial(one_for_one(play(Script(), "trio"))) as t:
        done.t = t
        t.daemon.hook(before(DaemonReloading, hook, flavour="trio"))
        t.daemon.hook(before(DaemonReloading, done.takes(0), flavour="trio"))
        assert t.daemon.reload_sync() == ()
        [failed] = t.events_of(HookFailed)
        assert failed.before == "DaemonReloading"
        assert isinstance(failed.error, Boom | Shutdown)
        assert done.told == [(0, DaemonReloading)]
    [record] = [record for record in caplog.records if "the hook" in record.message]
    assert record.levelno == logging.ERROR


@pytest.mark.parametrize("step", [DaemonReloading, DaemonStopping])
def test_a_vital_one_that_fails_ends_the_daemon(trial: Trials, step: Any) -> None:
    script = Script()
    t = trial(one_for_one(play(script, "trio")))

    def body() -> None:
        t.daemon.hook(before(step, fails, flavour="asyncio", vital=True))
        if step is DaemonReloading:
            t.daemon._reload()
            t.settle()
            assert t.daemon.ended.is_set()

    failed = failing(t, body)
    assert failed.exit_code == 70
    assert isinstance(failed.__cause__, Boom)
    assert f"fails before {step.__name__}" in failed.__cause__.__notes__[0]
    assert whats(script)[-2:] == ["stopping", "stopped"]


def test_one_that_is_taken_back_is_not_called(trial: Trials) -> None:
    with trial(one_for_one(play(Script(), "trio"))) as t:
        hook = before(DaemonReloading, fails, flavour="trio")
        t.daemon.hook(hook)
        t.daemon.unhook(hook)
        t.daemon.unhook(hook)
        t.daemon.reload_sync()
        assert t.events_of(HookFailed) == []


def test_hooks_and_reloads_and_stops_meet_in_any_order(trial: Trials, flavour: FlavourName) -> None:
    script, done = Script(), Done()
    script.on_reload(Fail(Boom()), Hang())
    with trial(one_for_one(play(script, flavour, backoff=None), restarts=MANY)) as t:
        done.t = t
        for step in (DaemonReloading, Restarting, DaemonStopping):
            t.daemon.hook(before(step, done.takes(1), flavour="trio"))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
        assert t.daemon.reload_sync() == ("/it",)
        t.daemon._reload()
        t.advance(1)
        script.release()
    assert {word for _, word in done.told} == {DaemonReloading, Restarting, DaemonStopping}
