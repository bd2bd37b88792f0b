"""Scripted actors: every outcome of a start, a run and a stop, in every flavour."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from tests.actors.stage import FlavourName, Note
from trouper import DaemonFailed, Unkillable, UsageError, child, one_for_one
from trouper.events import ActorEnded, ActorStarted, DeadLetter
from trouper.testing import Decline, Fail, Fine, Hang, Script, Sleep, Trial


def whats(script: Script) -> list[str]:
    return [step.what for step in script.steps]


def tree_of(script: Script, flavour: FlavourName, **options: Any) -> Any:
    return one_for_one(child(script.actor(flavour, Note)).options(name="it", **options))


def test_without_a_script_all_goes_well(flavour: FlavourName) -> None:
    script = Script()
    with Trial(tree_of(script, flavour)) as t:
        script.ref.send(Note("hello"))
        t.settle()
        assert whats(script) == ["starting", "started", "handling", "handled"]
        assert script.steps[-1].message == Note("hello")
    assert whats(script)[-2:] == ["stopping", "stopped"]


def test_each_start_comes_to_what_the_script_says(flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Fine(), Fail(ValueError("second")), Sleep(3), Decline("fourth"))
    with Trial(tree_of(script, flavour)) as t:
        script.crash(ValueError("first"))
        t.advance(60)
        assert [step.generation for step in script.steps if step.what == "started"] == [1, 3]
        script.crash(ValueError("third"))
        t.advance(60)
        assert t.daemon.children_sync() == [("it", "undefined")]


def test_a_start_hangs_until_it_is_released(flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Fine(), Hang())
    with Trial(tree_of(script, flavour)) as t:
        script.crash(ValueError("fell over"))
        t.advance(20)
        assert script.hangs
        assert len(t.events_of(ActorStarted)) == 1
        script.release()
        t.settle()
        assert len(t.events_of(ActorStarted)) == 2
        assert not script.hangs


def test_a_start_that_hangs_politely_ends_at_its_timeout(flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Fine(), Hang())
    with Trial(tree_of(script, flavour, start_timeout=5.0)) as t:
        script.crash(ValueError("fell over"))
        t.advance(10)
        assert [event.reason.kind for event in t.events_of(ActorEnded)] == ["crashed", "timeout"]
        t.advance(30)
        assert len(t.events_of(ActorStarted)) == 2


def test_a_stop_hangs_until_it_is_released(flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang())
    with Trial(tree_of(script, flavour, shutdown=30.0)) as t:
        t.daemon.stop()
        t.advance(20)
        assert not t.events_of(ActorEnded)
        script.release()
        t.settle()
        (ended,) = t.events_of(ActorEnded)
        assert ended.reason.kind == "shutdown"


def test_a_stop_that_hangs_politely_ends_by_a_kill(flavour: FlavourName) -> None:
    script = Script()
    script.on_stop(Hang())
    with Trial(tree_of(script, flavour, shutdown=30.0)) as t:
        t.daemon.stop()
        t.advance(29)
        assert not t.events_of(ActorEnded)
        t.advance(1)
        (ended,) = t.events_of(ActorEnded)
        assert ended.reason.kind == "timeout"


def test_a_stubborn_handler_is_unkillable_until_it_is_released(flavour: FlavourName) -> None:
    script = Script()
    tree = tree_of(script, flavour, shutdown=1.0)
    with pytest.raises(DaemonFailed) as failed, Trial(tree) as t:  # noqa: PT012 - raised at its end
        script.do(Hang(stubborn=True))
        t.settle()
        t.daemon.stop()
        t.advance(30)
        assert not t.events_of(ActorEnded)
        script.release()
        t.settle()
    assert isinstance(failed.value.__cause__, Unkillable)


def test_what_never_ends_is_left_behind_without_further_ado(loop_flavour: FlavourName) -> None:
    script = Script()
    with pytest.raises(DaemonFailed), Trial(tree_of(script, loop_flavour, shutdown=1.0)) as t:  # noqa: PT012
        script.do(Hang(stubborn=True))
        t.settle()
    del t
    gc.collect()  # warnings are errors here


def test_a_handler_fails_or_ends_the_actor_on_command(flavour: FlavourName) -> None:
    script = Script()
    with Trial(tree_of(script, flavour, restart="transient")) as t:
        script.crash(error := ValueError("fell over"))
        t.advance(1)
        script.finish()
        t.advance(1)
        assert [event.reason.cause for event in t.events_of(ActorEnded)] == [error, None]
        assert t.daemon.children_sync() == [("it", "undefined")]
        assert len(t.events_of(DeadLetter)) == 1


def test_a_script_without_an_actor_says_so() -> None:
    with pytest.raises(UsageError, match="none has started"):
        Script().finish()
