"""Deadlines in virtual time, to the instant: starts, stops, kills, what cannot be killed, who says that it is up."""

from __future__ import annotations

import logging
from math import inf
from threading import Event
from typing import Any

import pytest

from tests.actors.stage import Boom, FlavourName, Note, role
from tests.virtual.cast import HAIR, Trials, ends, play, starts, state, whats
from trouper import (
    DaemonFailed,
    Limit,
    StartFailed,
    StartTimeout,
    StopTimeout,
    Unkillable,
    actor,
    child,
    current,
    one_for_one,
)
from trouper.events import ActorEnded, ActorStarting, DaemonReady, Degraded, Escalated, Recovered, Restarting
from trouper.testing import Hang, Script, Sleep

pytestmark = pytest.mark.once


def happened(t: Any, kind: type) -> list[float]:
    """At which times."""
    return [at for at, event in t._log if isinstance(event, kind)]


# -- starts ------------------------------------------------------------------------------------------------------------
def test_a_start_that_takes_too_long_fails_the_boot_at_its_timeout(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Hang())
    t = trial(one_for_one(play(script, flavour, start_timeout=7.0)))
    with pytest.raises(DaemonFailed) as failed, t:
        pytest.fail("entered")
    assert happened(t, Escalated) == [7]
    assert isinstance(failed.value.__cause__, StartFailed)
    assert isinstance(failed.value.__cause__.__cause__, StartTimeout)


def test_a_start_that_is_just_in_time_is_none_that_fails(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Sleep(7 - HAIR), Sleep(7 + HAIR), Sleep(7 - HAIR))
    with trial(one_for_one(play(script, flavour, start_timeout=7.0, backoff=None))) as t:
        assert t.now == 7 - HAIR
        t.advance(HAIR)
        script.crash(Boom())
        t.advance(7 - HAIR)
        assert state(t, "/it") == "starting"
        t.advance(HAIR)
        assert ends(t) == [("/it", "crashed"), ("/it", "timeout")]
        assert happened(t, ActorEnded) == [7, 14]
        t.advance(7)
        assert state(t, "/it") == "running"


def test_who_is_to_say_that_it_is_up_holds_up_the_next_until_then(trial: Trials, flavour: FlavourName) -> None:
    @role(flavour)
    class Late:
        async def on_start(self) -> None:
            current(self).after(5, Note("up"))

        async def receive(self, message: Note) -> None:
            current(self).ready()
            if message == Note("fall"):
                raise Boom

    late, script = child(Late).options(name="late", readiness="notify"), Script()
    with trial(one_for_one(late, play(script, flavour, name="next"))) as t:
        assert happened(t, ActorStarting) == [0, 5]
        assert starts(t) == ["/late", "/next"]
        assert t.events_of(DaemonReady) == [DaemonReady(5.0)]
        late.ref.send(Note("fall"))
        t.advance(4)
        assert state(t, "/late") == "starting"
        t.advance(1)
        assert state(t, "/late") == "running"


def test_one_that_never_says_it_is_ended_at_the_timeout_of_its_start(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    t = trial(one_for_one(play(script, flavour, readiness="notify", start_timeout=9.0)))
    with pytest.raises(DaemonFailed) as failed, t:
        pytest.fail("entered")
    assert happened(t, Escalated) == [9]
    assert isinstance(failed.value.__cause__, StartFailed)
    assert isinstance(failed.value.__cause__.__cause__, StartTimeout)
    assert whats(script) == ["starting", "started", "stopping", "stopped"]


def test_an_optional_child_whose_start_hangs_for_an_hour_holds_up_nobody(trial: Trials, flavour: FlavourName) -> None:
    script, other = Script(), Script()
    script.on_start(Hang())
    slow = play(script, flavour, name="slow", optional=True, start_timeout=inf)
    with trial(one_for_one(slow, play(other, flavour, Note, name="other"))) as t:
        assert t.events_of(DaemonReady) == [DaemonReady(0.0)]
        assert state(t, "/slow") == "starting"
        t.advance(3600)
        other.ref.send(Note("works"))
        t.settle()
        assert other.steps[-1].message == Note("works")
        other.crash(Boom())
        t.settle()
        assert state(t, "/other") == "running"
        script.release()
        t.settle()
        assert t.daemon.tree_sync().status == "up"
        assert starts(t) == ["/other", "/other", "/slow"]


def test_an_optional_child_that_never_comes_up_is_tried_for_ever_and_degrades_the_tree(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    script.on_start(*[Hang()] * 20)
    slow = play(script, flavour, optional=True, start_timeout=30.0)
    with trial(one_for_one(slow, restarts=Limit(0, within=30.0))) as t:
        t.advance(29)
        assert t.daemon.tree_sync().status == "changing"
        t.advance(1)
        assert happened(t, Degraded) == [30]
        t.until(lambda: len(t.events_of(Restarting)) == 20, within=3600)
        assert not t.events_of(Escalated)
        t.until(lambda: state(t, "/it") == "running", within=60)
        assert len(t.events_of(Recovered)) == 1
        assert t.daemon.tree_sync().status == "up"


def test_a_stop_does_not_wait_for_a_start_that_hangs(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Hang())
    with trial(one_for_one(play(script, flavour, optional=True, start_timeout=inf))) as t:
        t.advance(100)
        t.daemon.stop()
        t.settle()
        assert ends(t) == [("/it", "shutdown")]


# -- stops -------------------------------------------------------------------------------------------------------------
def test_a_stop_ends_by_a_kill_when_its_time_is_up(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang())
    with trial(one_for_one(play(script, flavour, shutdown=4.0))) as t:
        t.advance(10)
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.now == 14
        (ended,) = t.events_of(ActorEnded)
        assert (ended.reason.kind, type(ended.reason.cause)) == ("timeout", StopTimeout)


def test_a_stop_that_is_just_in_time_ends_in_good_order(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Sleep(4 - HAIR))
    with trial(one_for_one(play(script, flavour, shutdown=4.0))) as t:
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.now == 4 - HAIR
        assert ends(t) == [("/it", "shutdown")]


def test_the_stop_after_a_crash_has_the_same_time(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang(), Sleep(3))
    with trial(one_for_one(play(script, flavour, shutdown=4.0, restart="transient"))) as t:
        for _ in range(2):
            script.crash(Boom())
            t.advance(10)
        assert ends(t) == [("/it", "crashed")] * 2
        assert happened(t, ActorEnded) == [4, 13]
        assert len(starts(t)) == 3


def test_without_any_time_it_is_killed_at_once(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang())
    with trial(one_for_one(play(script, flavour, shutdown=0))) as t:
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.now == 0
        assert ends(t) == [("/it", "killed")]


def test_with_infinite_time_it_is_never_killed(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang())
    with trial(one_for_one(play(script, flavour, shutdown=inf))) as t:
        t.daemon._request("terminate", "/it")
        t.advance(1e6)
        assert state(t, "/it") == "stopping"
        script.release()
        t.settle()
        assert ends(t) == [("/it", "shutdown")]


# -- what does not end -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("deadlines", [(0.01, 1.01), (2.0, 4.0), (5.0, 10.0), (20.0, 25.0), (0, 5.0)], ids=str)
@pytest.mark.parametrize("where", ["receive", "on_stop"])
def test_what_swallows_its_kill_is_declared_unkillable_within_the_second_grace(
    trial: Trials,
    flavour: FlavourName,
    caplog: pytest.LogCaptureFixture,
    deadlines: tuple[float, float],
    where: str,
) -> None:
    (shutdown, declared), script = deadlines, Script()
    t = trial(one_for_one(play(script, flavour, shutdown=shutdown)))
    with pytest.raises(DaemonFailed) as failed, t:  # noqa: PT012 - raised at its end
        script.on_stop(Hang(stubborn=True))
        if where == "receive":
            script.do(Hang(stubborn=True))
        t.advance(100)
        assert t.daemon.terminate_sync("/it") in ("ok", "shutting_down")
        t.advance(100)
        assert happened(t, Escalated) == [100 + declared]
        assert len(t.events_of(ActorStarting)) == 1
        assert not t.events_of(ActorEnded)
        script.release()
        t.settle()
    assert isinstance(failed.value.__cause__, Unkillable)
    assert failed.value.__cause__.path == "/it"
    assert failed.value.exit_code == 70
    (record,) = [record for record in caplog.records if "left behind" in record.getMessage()]
    assert record.levelno == logging.CRITICAL
    assert "in come_to" in record.getMessage()


@pytest.mark.parametrize("end", ["crash", "finish"])
def test_an_end_of_its_own_that_does_not_come_to_an_end_is_unkillable_too(
    trial: Trials, flavour: FlavourName, end: str
) -> None:
    script = Script()
    t = trial(one_for_one(play(script, flavour, shutdown=3.0)))
    with pytest.raises(DaemonFailed) as failed, t:  # noqa: PT012 - raised at its end
        script.on_stop(Hang(stubborn=True))
        script.crash(Boom()) if end == "crash" else script.finish()
        t.advance(100)
        assert happened(t, Escalated) == [6]
        assert len(t.events_of(ActorStarting)) == 1
        script.release()
        t.settle()
    assert isinstance(failed.value.__cause__, Unkillable)


def test_a_start_that_swallows_its_kill_is_unkillable_and_has_no_successor(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    t = trial(one_for_one(play(script, flavour, start_timeout=30.0, shutdown=3.0)))
    with pytest.raises(DaemonFailed) as failed, t:  # noqa: PT012 - raised at its end
        script.on_start(Hang(stubborn=True))
        script.crash(Boom())
        t.advance(100)
        assert happened(t, Escalated) == [33]
        assert len(t.events_of(ActorStarting)) == 2
        script.release()
        t.settle()
    assert isinstance(failed.value.__cause__, Unkillable)


def test_a_thread_that_blocks_elsewhere_is_unkillable_and_the_others_are_stopped(
    trial: Trials, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = Event()

    @actor(flavour="threading")
    class Blocked:
        def receive(self, message: Note) -> None:
            assert blocks.wait(20)

    it, script = child(Blocked).options(name="it", shutdown=2.0), Script()
    t = trial(one_for_one(it, play(script, "trio", name="other")), may_block=["/it"])
    with pytest.raises(DaemonFailed) as failed, t:  # noqa: PT012 - raised at its end
        it.ref.send(Note())
        t.advance(10)
        t.daemon._request("terminate", "/it")
        t.advance(60)
        assert happened(t, Escalated) == [14]
        assert whats(script)[-1] == "stopped"
    blocks.set()
    assert failed.value.exit_code == 70
    (record,) = [record for record in caplog.records if "left behind" in record.getMessage()]
    assert "blocks.wait" in record.getMessage()


def test_the_whole_stop_has_a_deadline(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    t = trial(one_for_one(play(script, flavour, shutdown=inf)), stop_within=40.0)
    with pytest.raises(DaemonFailed) as failed, t:  # noqa: PT012 - raised at its end
        script.on_stop(Hang())
        t.advance(10)
        t.daemon.stop()
        t.until(lambda: t.daemon.over.done, within=41)
        assert 50 <= t.now < 51
        script.release()
        t.settle()
    assert failed.value.exit_code == 70
