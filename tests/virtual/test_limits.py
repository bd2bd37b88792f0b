"""How many restarts are too many, in virtual time: to a hair, over weeks, and for groups."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.stage import Boom, FlavourName, Note, role
from tests.virtual.cast import DAY, HAIR, Trials, broken, ends, nap, play, starts, state
from trouper import (
    DaemonFailed,
    Limit,
    Persist,
    RestartLimitExceeded,
    child,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from trouper.events import ActorEnded, Degraded, Escalated, Recovered, Restarting, SupervisorEnded
from trouper.testing import Fail, Script, Sleep
from trouper.testing.script import Do

pytestmark = pytest.mark.once

STRATEGIES = [one_for_one, one_for_all, rest_for_one]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_restart_is_forgotten_when_it_is_as_old_as_the_window(
    trial: Trials, flavour: FlavourName, strategy: Any
) -> None:
    script = Script()
    with trial(strategy(play(script, flavour, backoff=None), restarts=Limit(1, within=10.0))) as t:
        t.advance(5)
        for _ in range(5):
            script.crash(Boom())
            t.advance(10)
        assert [event.used for event in t.events_of(Restarting)] == [1] * 5
        assert state(t, "/it") == "running"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_hair_before_that_it_still_counts(trial: Trials, flavour: FlavourName, strategy: Any) -> None:
    script, last = Script(), Boom("second")
    tree = strategy(play(script, flavour, backoff=None), restarts=Limit(1, within=10.0))
    with pytest.raises(DaemonFailed) as failed, trial(tree) as t:  # noqa: PT012 - raised at its end
        t.advance(5)
        script.crash(Boom("first"))
        t.advance(10 - HAIR)
        script.crash(last)
        t.settle()
        assert len(t.events_of(Escalated)) == 1
    limit = failed.value.__cause__
    assert isinstance(limit, RestartLimitExceeded)
    assert limit.__cause__ is last


def test_a_crash_loop_that_is_slower_than_its_window_still_escalates(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(*[Sleep(60)] * 9)
    tree = one_for_one(play(script, flavour, start_timeout=120.0), restarts=Limit(3, within=30.0))
    with pytest.raises(DaemonFailed) as failed, trial(tree) as t:  # noqa: PT012 - raised at its end
        while not t.events_of(Escalated):
            t.until(lambda: state(t, "/it") == "running", within=100)
            t.advance(1)
            script.crash(Boom())
            t.settle()
        assert len(t.events_of(Restarting)) == 3
        assert t.now > 240
    assert isinstance(failed.value.__cause__, RestartLimitExceeded)


def test_under_persist_it_never_escalates_and_shows_that_the_tree_is_degraded(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=Persist(jitter=0)), restarts=Limit(0, within=30.0))) as t:
        assert t.daemon.tree_sync().status == "up"
        script.on_start(*broken(80))
        script.crash(Boom())
        t.settle()
        assert t.daemon.tree_sync().status == "degraded"
        (degraded,) = t.events_of(Degraded)
        assert (degraded.path, degraded.reason.kind) == ("/it", "crashed")
        while len(t.events_of(Restarting)) < 60:
            t.advance(60)
            assert t.daemon.tree_sync().status == "degraded"
        assert len(t.events_of(Degraded)) == 1
        t.until(lambda: len(starts(t)) == 2, within=DAY)
        assert t.daemon.tree_sync().status == "up"
        (recovered,) = t.events_of(Recovered)
        assert (recovered.path, recovered.seconds) == ("/it", t.now)
        assert not any(event.counted for event in t.events_of(Restarting))


def test_a_degraded_child_that_is_terminated_makes_the_tree_whole(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=Persist()))) as t:
        script.on_start(*broken(99))
        script.crash(Boom())
        t.advance(60)
        assert t.daemon.tree_sync().status == "degraded"
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.daemon.tree_sync().status == "up"
        (recovered,) = t.events_of(Recovered)
        assert recovered.seconds == 60


@pytest.mark.parametrize("strategy", [one_for_one, rest_for_one])
@pytest.mark.parametrize("spread", [True, False])
def test_a_sibling_in_persist_for_a_week_does_not_add_up_four_unrelated_crashes(
    trial: Trials, flavour: FlavourName, strategy: Any, spread: bool
) -> None:
    away, scripts = Script(), [Script() for _ in range(4)]
    others = [play(script, flavour, name=f"it{n}") for n, script in enumerate(scripts)]
    patient = play(away, flavour, name="away", backoff=Persist(cap=4 * 3600.0))
    with trial(strategy(*others, patient, restarts=Limit(3, within=30.0))) as t:
        away.on_start(*broken(400))
        away.crash(Boom())
        t.advance(DAY)
        for day in range(5):
            scripts[day % 4 if spread else 0].crash(Boom())
            t.advance(DAY)
        assert not t.events_of(Escalated)
        assert t.daemon.tree_sync().status == "degraded"
        counted = [event.used for event in t.events_of(Restarting) if event.counted]
        assert counted == [1] * 5


@pytest.mark.parametrize("restart", ["transient", "permanent"])
def test_a_supervisor_over_its_limit_is_restarted_by_its_parent(
    trial: Trials, flavour: FlavourName, restart: Any
) -> None:
    script, beside = Script(), Script()
    below = one_for_one(play(script, flavour, backoff=None), restarts=Limit(1, within=30.0))
    below = below.options(name="below", restart=restart)
    with trial(one_for_one(below, play(beside, flavour, name="beside"))) as t:
        for _ in range(2):
            script.crash(Boom())
            t.settle()
        (ended,) = t.events_of(SupervisorEnded)
        assert (ended.path, ended.reason.kind) == ("/below", "restart_limit")
        assert state(t, "/below/it") == "running"
        assert starts(t) == ["/below/it", "/beside", "/below/it", "/below/it"]
        script.crash(Boom())  # its limit began anew with it
        t.settle()
        assert state(t, "/below/it") == "running"
        assert len(t.events_of(SupervisorEnded)) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_crashes_at_the_same_time_count_once_in_a_group_and_twice_where_each_is_for_itself(
    trial: Trials, flavour: FlavourName, strategy: Any
) -> None:
    @role(flavour)
    class Fuse:
        async def receive(self, message: Note) -> None:
            await nap(self, 1)
            raise Boom

    children = [child(Fuse).options(name=name, backoff=None) for name in ("it0", "it1")]
    with trial(strategy(*children, restarts=Limit(2, within=30.0))) as t:
        for one in children:
            one.ref.send(Note())
        t.advance(1)
        restarts = [event.path for event in t.events_of(Restarting)]
        if strategy is one_for_all:
            assert len(restarts) == 1
        elif strategy is one_for_one:
            assert sorted(restarts) == ["/it0", "/it1"]
        else:  # if that of the second is judged first, the restart of the first is another failure
            assert restarts in (["/it0"], ["/it1", "/it0"])
        t.advance(100)
        assert len(t.events_of(Restarting)) == len(restarts)
        assert t.daemon.children_sync() == [("it0", "running"), ("it1", "running")]


def test_a_member_that_dies_while_a_later_one_starts_is_judged_afterwards(trial: Trials, flavour: FlavourName) -> None:
    first, second = Script(), Script()
    tree = one_for_all(
        play(first, flavour, name="first", backoff=None), play(second, flavour, name="second", backoff=None)
    )
    with trial(tree) as t:
        second.on_start(Sleep(5))
        first.crash(Boom("one"))
        t.advance(2)
        assert t.daemon.children_sync() == [("first", "running"), ("second", "starting")]
        first.crash(Boom("two"))
        t.advance(1)
        assert ends(t)[-1] == ("/first", "crashed")
        assert len(t.events_of(Restarting)) == 1
        t.advance(2)
        assert [(event.path, event.used) for event in t.events_of(Restarting)] == [("/first", 1), ("/first", 2)]
        assert t.daemon.children_sync() == [("first", "running"), ("second", "running")]
        assert starts(t) == ["/first", "/second"] * 3


def test_a_member_that_dies_while_a_later_one_boots_is_judged_once_the_tree_is_up(
    trial: Trials, flavour: FlavourName
) -> None:
    first, second = Script(), Script()
    second.on_start(Sleep(5))
    mortal = play(first, flavour, name="first")
    mortal.ref.send(Do(Fail(Boom())))
    with trial(one_for_one(mortal, play(second, flavour, name="second"))) as t:
        assert t.now == 5
        assert [(event.path, event.uptime) for event in t.events_of(ActorEnded)] == [("/first", 0)]
        t.settle()
        assert starts(t) == ["/first", "/second", "/first"]
