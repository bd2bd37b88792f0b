"""Delays before restarts in virtual time: exact numbers, chance, health, and what an operator does meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.stage import Boom, FlavourName, Note
from tests.virtual.cast import HAIR, Trials, broken, delays, ends, play, starts, state, whats
from trouper import Backoff, Limit, child, one_for_all, one_for_one, pool, rest_for_one
from trouper.events import ActorEnded, ActorStarting, DeadLetter, Restarting
from trouper.testing import Hang, Script, Sleep

pytestmark = pytest.mark.once

MANY = Limit(1000, within=1e6)
EXACT = Backoff(jitter=0)


def test_the_first_restart_comes_at_once_and_each_further_one_later_up_to_the_cap(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=EXACT), restarts=MANY)) as t:
        t.advance(7)
        script.on_start(*broken(10))
        script.crash(Boom())
        t.advance(300)
        wanted = [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
        assert delays(t) == pytest.approx(wanted)
        begun = [line for line in t.trace if "ActorStarting" in line]
        times = [float(line.split()[0]) for line in begun]
        assert times == pytest.approx([0] + [7 + sum(wanted[: n + 1]) for n in range(len(wanted))])
        assert state(t, "/it") == "running"


def test_jitter_only_shortens_and_comes_from_the_seed(trial: Trials, flavour: FlavourName) -> None:
    full = [0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]

    def drawn(seed: int) -> list[float]:
        script = Script()
        with trial(one_for_one(play(script, flavour, backoff=Backoff(jitter=0.5)), restarts=MANY), seed=seed) as t:
            script.on_start(*broken(10))
            script.crash(Boom())
            t.advance(300)
            return delays(t)

    one, other = drawn(1), drawn(2)
    assert drawn(1) == one != other
    for some in (one, other):
        assert len(some) == len(full)
        assert all(0.5 * most <= delay <= most for delay, most in zip(some, full, strict=True))


def test_health_begins_exactly_at_reset_after(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=Backoff(jitter=0, reset_after=30.0)), restarts=MANY)) as t:
        for up in (5, 30 - HAIR, 30, 1):
            t.until(lambda: state(t, "/it") == "running", within=10)
            t.advance(up)
            script.crash(Boom())
            t.settle()
        assert delays(t) == pytest.approx([0, 0.2, 0, 0.2])


def test_a_start_that_takes_long_is_no_health(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(*[Sleep(25)] * 3)
    with trial(one_for_one(play(script, flavour, backoff=EXACT), restarts=MANY)) as t:
        for _ in range(3):
            t.until(lambda: state(t, "/it") == "running", within=60)
            t.advance(29)
            script.crash(Boom())
            t.settle()
        assert delays(t) == pytest.approx([0, 0.2, 0.4])


# -- during a delay ----------------------------------------------------------------------------------------------------
def fallen(t: Any, script: Script) -> None:
    """It fell twice, and waits for 0.2 s now."""
    for _ in range(2):
        script.crash(Boom())
        t.settle()
    assert state(t, "/it") == "backoff"


def test_to_terminate_during_a_backoff_resurrects_nothing(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, Note, backoff=EXACT), restarts=MANY)) as t:
        fallen(t, script)
        script.ref.send(Note("waits"))
        assert t.daemon.terminate_sync("/it") == "ok"
        assert [event.message for event in t.events_of(DeadLetter)][-1] == Note("waits")
        t.advance(3600)
        assert state(t, "/it") == "undefined"
        assert len(starts(t)) == 2


def test_a_child_in_the_place_of_one_that_was_in_backoff_is_left_alone(trial: Trials, flavour: FlavourName) -> None:
    script, other = Script(), Script()
    with trial(one_for_one(play(script, flavour, backoff=EXACT), restarts=MANY)) as t:
        fallen(t, script)
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.daemon.delete_sync("/it") == "ok"
        assert t.daemon.start_sync(play(other, flavour)) == "ok"
        t.advance(3600)
        assert whats(script).count("starting") == 2
        assert whats(other) == ["starting", "started"]
        assert state(t, "/it") == "running"


def test_a_child_that_is_restarted_by_hand_in_its_backoff_is_not_restarted_again(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=EXACT), restarts=MANY)) as t:
        fallen(t, script)
        assert t.daemon.restart_sync("/it") == "restarting"
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.daemon.restart_sync("/it") == "ok"
        t.advance(3600)
        assert len(starts(t)) == 3
        assert len(t.events_of(ActorStarting)) == 3


def test_a_stop_during_a_backoff_resurrects_nothing(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, Note, backoff=EXACT), restarts=MANY)) as t:
        fallen(t, script)
        script.ref.send(Note("waits"))
        t.daemon.stop()
        t.advance(3600)
        assert len(starts(t)) == 2
        assert [event.message for event in t.events_of(DeadLetter)][-1] == Note("waits")
        assert len(t.events_of(ActorEnded)) == 2


@pytest.mark.parametrize("strategy", [one_for_all, rest_for_one])
def test_a_held_child_stays_down_through_a_restart_of_its_group(
    trial: Trials, flavour: FlavourName, strategy: Any
) -> None:
    first, held = Script(), Script()
    with trial(strategy(play(first, flavour, name="first"), play(held, flavour, name="held"), restarts=MANY)) as t:
        assert t.daemon.hold_sync("/held") == "ok"
        for _ in range(3):
            first.crash(Boom())
            t.advance(10)
        assert t.daemon.children_sync() == [("first", "running"), ("held", "held")]
        assert starts(t).count("/first") == 4
        assert starts(t).count("/held") == 1
        assert t.daemon.release_sync("/held") == "ok"
        first.crash(Boom())
        t.advance(10)
        assert starts(t).count("/held") == 3


def test_a_child_that_is_held_during_its_backoff_stays_down(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=EXACT), restarts=MANY)) as t:
        fallen(t, script)
        assert t.daemon.hold_sync("/it") == "ok"
        t.advance(3600)
        assert state(t, "/it") == "held"
        assert t.daemon.release_sync("/it") == "ok"
        t.advance(3600)
        assert len(starts(t)) == 3


# -- stops -------------------------------------------------------------------------------------------------------------
def test_a_stop_while_booting_leaves_nothing_behind(trial: Trials, flavour: FlavourName) -> None:
    scripts = [Script() for _ in range(3)]
    below = one_for_one(*(play(script, flavour, name=f"it{n}") for n, script in enumerate(scripts))).options(name="low")
    with trial(one_for_one()) as t:
        scripts[1].on_start(Hang())
        t.daemon._start(below, "/")  # nobody waits for the answer
        t.settle()
        assert [whats(script) for script in scripts] == [["starting", "started"], ["starting"], []]
    assert ends(t) == [("/low/it1", "shutdown"), ("/low/it0", "shutdown")]
    assert whats(scripts[0]) == ["starting", "started", "stopping", "stopped"]
    assert whats(scripts[1]) == ["starting"]
    assert not whats(scripts[2])


def test_a_second_stop_is_harmless(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Sleep(3))
    with trial(one_for_one(play(script, flavour))) as t:
        t.daemon.stop("once")
        t.advance(1)
        t.daemon.stop("twice")
        t.advance(60)
        t.daemon.stop("after the end")
    assert whats(script) == ["starting", "started", "stopping", "stopped"]
    assert ends(t) == [("/it", "shutdown")]
    assert t.daemon.stop_why == "once"


def test_no_restart_comes_though_it_is_due_at_the_instant_of_the_stop(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, backoff=Backoff(first=5, jitter=0)))) as t:
        script.crash(Boom())
        t.settle()
        (restarting,) = t.events_of(Restarting)
        assert restarting.delay == 5
        t.advance(5 - HAIR)
        t.daemon.stop()
        t.advance(100)
        assert len(starts(t)) == 1


def test_a_worker_that_waits_when_its_pool_is_stopped_leaves_no_timer(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    crew = pool(child(script.actor(flavour, backoff=Backoff(first=5, jitter=0))), size=2)
    with trial(one_for_one(crew)) as t:
        script._ref = crew.ref.worker(1)
        script.crash(Boom())
        t.settle()
        at_work: Any = t.daemon.root.nodes["pool"]
        assert len(at_work.waits) == 1
        script.on_stop(Sleep(30))  # the other one takes longer than the delay
        t.daemon.stop()
        t.advance(1)
        assert not at_work.waits
        t.advance(60)
    assert len(starts(t)) == 2
