"""What fails while it ends, is cancelled, or goes to the root; and what the log tells of it. In virtual time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import trio

from tests.actors.stage import Boom, Echo, FlavourName, Note, ask, role
from tests.virtual.cast import Trials, broken, deaths, ends, play, starts, state, whats
from trouper import (
    DaemonFailed,
    Limit,
    Persist,
    Shutdown,
    Stopping,
    StrayCancellation,
    child,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from trouper.events import ActorEnded, Escalated, SupervisorEnded
from trouper.testing import Decline, Fail, Hang, Script, Sleep

pytestmark = pytest.mark.once

STRATEGIES = [one_for_one, one_for_all, rest_for_one]
MANY = Limit(1000, within=1e6)


# -- clean-up ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_clean_up_that_raises_does_not_keep_the_rest_from_stopping(
    trial: Trials, flavour: FlavourName, strategy: Any
) -> None:
    scripts = [Script() for _ in range(4)]
    for script in scripts[1:3]:
        script.on_stop(*broken())
    with trial(strategy(*(play(script, flavour, name=f"it{n}") for n, script in enumerate(scripts)))) as t:
        t.advance(1)
    assert ends(t) == [("/it3", "shutdown"), ("/it2", "crashed"), ("/it1", "crashed"), ("/it0", "shutdown")]
    assert [whats(script)[-1] for script in scripts] == ["stopped", "stopping", "stopping", "stopped"]


def test_clean_up_that_raises_does_not_keep_a_group_from_its_restart(trial: Trials, flavour: FlavourName) -> None:
    scripts = [Script() for _ in range(3)]
    with trial(one_for_all(*(play(script, flavour, name=f"it{n}") for n, script in enumerate(scripts)))) as t:
        for script in scripts:
            script.on_stop(*broken())
        scripts[1].crash(Boom())
        t.settle()
        assert t.daemon.children_sync() == [(f"it{n}", "running") for n in range(3)]
        assert len(starts(t)) == 6


@pytest.mark.parametrize("error", [Stopping, Shutdown])
def test_an_on_stop_that_ends_in_good_order_does_not_hide_the_crash_before_it(
    trial: Trials, flavour: FlavourName, error: type[BaseException]
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, restart="transient"))) as t:
        script.on_stop(Fail(error()))
        script.crash(boom := Boom())
        t.settle()
        (ended,) = t.events_of(ActorEnded)
        assert (ended.reason.kind, ended.reason.cause) == ("crashed", boom)
        assert state(t, "/it") == "running"


def test_a_killed_on_stop_that_waits_in_a_call_of_the_runtime_does_not_hide_the_crash_before_it(
    trial: Trials, flavour: FlavourName
) -> None:
    deaf = Script()

    @role(flavour)
    class Talks:
        async def receive(self, message: Note) -> None:
            raise Boom

        async def on_stop(self, reason: object) -> None:
            await ask(mute.ref, Echo("goodbye"), timeout=None)

    mute = play(deaf, "trio", Echo, name="mute", shutdown=1.0)
    it = child(Talks).options(name="it", restart="transient", shutdown=2.0)
    with trial(one_for_one(mute, it)) as t:
        deaf.do(Hang())
        it.ref.send(Note())
        t.advance(2)
        (ended,) = t.events_of(ActorEnded)
        assert ended.reason.kind == "crashed"
        assert isinstance(ended.reason.cause, Boom)
        assert ended.uptime == 2
        assert state(t, "/it") == "running"
        deaf.release()


def test_an_on_stop_may_ask_others_while_its_actor_is_stopped(trial: Trials, flavour: FlavourName) -> None:
    heard = Script()

    @role(flavour)
    class Polite:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: object) -> None:
            assert await ask(friend.ref, Echo("goodbye"), timeout=5.0) is None

    friend = play(heard, flavour, Echo, name="friend")
    with trial(one_for_one(friend, child(Polite).options(name="it"))) as t:
        heard.do(Sleep(2))
    assert ends(t) == [("/it", "shutdown"), ("/friend", "shutdown")]
    assert Echo("goodbye") in [step.message for step in heard.steps]
    assert t.now >= 2


# -- cancellation ------------------------------------------------------------------------------------------------------
def test_a_stray_cancellation_is_a_crash_like_any_other(trial: Trials, loop_flavour: FlavourName) -> None:
    @role(loop_flavour)
    class Cancelled:
        async def receive(self, message: Note) -> None:
            if loop_flavour == "asyncio":
                raise asyncio.CancelledError
            kept: list[trio.Cancelled] = []
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.sleep(1)
                except trio.Cancelled as error:
                    kept.append(error)
            raise kept.pop()

    it = child(Cancelled).options(name="it", restart="transient")
    with trial(one_for_one(it)) as t:
        it.ref.send(Note())
        t.settle()
        (ended,) = t.events_of(ActorEnded)
        assert (ended.reason.kind, type(ended.reason.cause)) == ("crashed", StrayCancellation)
        assert state(t, "/it") == "running"


# -- what goes to the root ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(3)], ids=lambda it: type(it).__name__)
@pytest.mark.parametrize("where", ["receive", "restart", "on_stop", "retry"])
def test_what_nobody_heals_reaches_the_root_from_everywhere(
    trial: Trials, flavour: FlavourName, error: BaseException, where: str
) -> None:
    script, deep = Script(), Script()
    tree = one_for_one(
        play(deep, flavour, name="other"),
        one_for_one(play(script, flavour, backoff=Persist()), name="low", restarts=MANY),
        restarts=MANY,
    )
    with pytest.raises(DaemonFailed) as failed, trial(tree) as t:  # noqa: PT012 - raised at its end
        if where == "receive":
            script.crash(error)
        elif where == "restart":
            script.on_start(Fail(error))
        elif where == "on_stop":
            script.on_stop(Fail(error))
        else:
            script.on_start(*broken(3), Fail(error))
        if where != "receive":
            script.crash(Boom())
        t.advance(100)
        (escalated,) = t.events_of(Escalated)
        assert (escalated.path, escalated.cause) == ("/low/it", error)
        count = len(starts(t))
        t.advance(1000)
        assert len(starts(t)) == count
        assert whats(deep)[-1] == "stopped"
    assert failed.value.__cause__ is error
    assert failed.value.exit_code == (3 if isinstance(error, SystemExit) else 70)


# -- one log record for each death -------------------------------------------------------------------------------------
def test_every_death_has_exactly_one_log_record(
    trial: Trials, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script, other, third = Script(), Script(), Script()
    low = one_for_all(
        play(script, flavour), play(other, flavour, name="other"), restarts=Limit(2, within=9), name="low"
    )
    tree = one_for_one(low, play(third, flavour, name="third", restart="transient", backoff=Persist()), restarts=MANY)
    with trial(tree) as t:
        script.crash(Boom("one"))
        t.settle()
        other.on_start(*broken())  # fails at its restart
        script.crash(Boom("two"))
        t.advance(60)
        other.on_stop(*broken())  # fails while it is being stopped
        script.crash(Boom("three"))
        t.advance(60)
        third.on_start(*broken(2), Decline())
        third.crash(Boom("four"))
        t.advance(60)
        third_alone = [event for event in t.events_of(ActorEnded) if event.path == "/third"]
        assert len(third_alone) == 3
        assert t.daemon.restart_sync("/third") == "ok"
        third.finish()
        t.advance(60)
    all_ends: list[Any] = [*t.events_of(ActorEnded), *t.events_of(SupervisorEnded)]
    died = [event for event in all_ends if event.reason.kind != "shutdown"]
    told = [vars(record)["trouper"] for record in deaths(caplog)]
    assert sorted((it["path"], it["generation"]) for it in told) == sorted((it.path, it.generation) for it in died)
    assert len(died) > 8


def test_the_record_tells_of_uptime_budget_and_the_next_delay(
    trial: Trials, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour))) as t:
        t.advance(90)
        script.crash(Boom("one"))
        t.advance(2)
        script.crash(Boom("two"))
        t.advance(10)
    first, second = [record.getMessage() for record in deaths(caplog)]
    assert first == "/it: generation 1 ended after 90 s: crashed: Boom: one; restarting it, 1 of 3 in 30 s"
    begin, _, end = second.partition("; restarting it in ")
    assert begin == "/it: generation 2 ended after 2 s: crashed: Boom: two"
    delay, _, end = end.partition(" s, ")
    assert 0.16 <= float(delay) <= 0.2
    assert end == "2 of 3 in 30 s"
