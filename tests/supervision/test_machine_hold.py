"""What an operator holds stays down, whatever else happens, until it is released."""

from __future__ import annotations

import pytest

from tests.supervision.rig import NOPE, Request, Rig, restarting, running
from trouper import Backoff
from trouper.reasons import NORMAL, SHUTDOWN
from trouper.supervision.actions import Answer, Close, Down, Forget, Held, Retry, Start, Stop, Stopped, Up
from trouper.supervision.members import Member, Restart, Strategy

GROUPS: list[Strategy] = ["one_for_all", "rest_for_one"]
LATER = Backoff(first=5.0, jitter=0.0)
DOWN = Held("a", held=True)
FREE = Held("a", held=False)


def held(*others: Member | str, strategy: Strategy = "one_for_one", restart: Restart = "permanent") -> Rig:
    """Its first child, `a`, is held."""
    rig = running(Member("a", restart), *others, strategy=strategy)
    rig.ask("hold", "a")
    rig.stopped("a")
    assert rig.states()["a"] == "held"
    return rig


def test_a_child_that_is_held_is_stopped_and_closed() -> None:
    rig = running("a", "b")
    assert rig.ask("hold", "a") == [Stop("a", 1)]
    assert rig.stopped("a") == [DOWN, Close("a"), Answer(1, "ok")]
    assert rig.states() == {"a": "held", "b": "running"}


def test_holding_it_again_changes_nothing() -> None:
    assert held().ask("hold", "a") == [Answer(1, "ok")]


@pytest.mark.parametrize("request_", ["hold", "release"])
def test_an_unknown_child_is_not_found(request_: Request) -> None:
    assert running("a").ask(request_, "z") == [Answer(1, "not_found")]


@pytest.mark.parametrize(
    ("request_", "said"),
    [("terminate", [Answer(1, "ok")]), ("restart", [Answer(1, "held")]), ("delete", [Forget("a"), Answer(1, "ok")])],
)
def test_requests_about_it_do_not_start_it(request_: Request, said: list[object]) -> None:
    rig = held("b")
    assert rig.ask(request_, "a") == said
    assert rig.states() == ({"b": "running"} if request_ == "delete" else {"a": "held", "b": "running"})


def test_it_cannot_be_added_a_second_time() -> None:
    assert held().add("a") == [Answer(1, "already_present")]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("strategy", GROUPS)
def test_it_stays_down_through_restarts_of_its_group(strategy: Strategy, restart: Restart) -> None:
    rig = running("x", Member("a", restart), "b", strategy=strategy)
    rig.ask("hold", "a")
    rig.stopped("a")
    assert rig.exited("x") == [restarting("x"), Stop("b", 1)]
    assert rig.stopped("b") == [Start("x", 2)]
    assert rig.started("x") == [Start("b", 2)]
    assert rig.started("b") == []
    assert rig.states() == {"x": "running", "a": "held", "b": "running"}


def test_it_stays_down_at_a_boot() -> None:
    rig = Rig(Member("a", held=True), "b")
    assert rig.boot() == [Start("b", 1)]
    assert rig.started("b") == [Up()]
    assert rig.states() == {"a": "held", "b": "running"}
    assert rig.ask("release", "a") == [FREE, Start("a", 1)]


def test_all_held_is_up_at_once() -> None:
    assert Rig(Member("a", held=True)).boot() == [Up()]


def test_it_needs_no_stop_at_the_end_and_stays_held() -> None:
    rig = held("b")
    assert rig.stop() == [Stop("b", 1)]
    assert rig.stopped("b") == [Stopped()]
    assert rig.states() == {"a": "held", "b": "undefined"}


# -- release -----------------------------------------------------------------------------------------------------------
def test_release_starts_it() -> None:
    rig = held()
    assert rig.ask("release", "a") == [FREE, Start("a", 2)]
    assert rig.started("a") == [Answer(1, "ok")]
    assert rig.ask("release", "a") == [Answer(1, "not_held")]
    assert rig.exited("a") == [restarting("a"), Start("a", 3)]


@pytest.mark.parametrize("restart", ["permanent", "temporary"])
def test_a_released_child_that_does_not_come_up_is_held_no_more(restart: Restart) -> None:
    gone = Forget("a") if restart == "temporary" else Close("a")
    rig = held(restart=restart)
    rig.ask("release", "a")
    assert rig.failed("a") == [gone, Answer(1, "nope", NOPE)]
    rig = held(restart=restart)
    rig.ask("release", "a")
    assert rig.declined("a") == [gone, Answer(1, "ok_undefined")]
    assert rig.states() == ({} if restart == "temporary" else {"a": "undefined"})


@pytest.mark.parametrize("state", ["running", "undefined", "backoff", "starting"])
def test_what_is_not_held_cannot_be_released(state: str) -> None:
    rig = running(Member("a", "transient", backoff=LATER))
    rig.exited("a", reason=NORMAL) if state == "undefined" else None
    if state in {"backoff", "starting"}:
        rig.exited("a")
    if state == "starting":
        rig.due("a")
    assert rig.states() == {"a": state}
    assert rig.ask("release", "a") == [Answer(1, "not_held")]
    assert rig.states() == {"a": state}


def test_release_while_its_group_is_down_starts_it_at_once_as_a_restart_does() -> None:
    rig = running(Member("x", backoff=LATER), "a", strategy="one_for_all")
    rig.ask("hold", "a")
    rig.stopped("a")
    rig.exited("x")
    assert rig.ask("release", "a") == [FREE, Start("a", 2)]
    assert rig.started("a") == [Answer(1, "ok")]
    assert rig.due("x") == [Stop("a", 2)]
    assert rig.stopped("a") == [Start("x", 2)]
    assert rig.started("x") == [Start("a", 3)]


def test_stop_while_a_release_starts_it() -> None:
    rig = held()
    rig.ask("release", "a")
    assert rig.stop() == [Answer(1, "shutting_down"), Stop("a", 2)]
    assert rig.stopped("a") == [Stopped()]


def test_hold_and_release_are_refused_during_a_stop() -> None:
    rig = held("b")
    rig.stop()
    assert rig.ask("release", "a") == rig.ask("hold", "b") == [Answer(1, "shutting_down")]
    assert rig.stopped("b") == [Stopped()]


# -- hold at every moment ----------------------------------------------------------------------------------------------
def test_hold_while_all_boots_waits_its_turn() -> None:
    rig = Rig("a", "b")
    rig.boot()
    assert rig.ask("hold", "a") == []
    rig.started("a")
    assert rig.started("b") == [Up(), Stop("a", 1)]
    assert rig.stopped("a") == [DOWN, Close("a"), Answer(1, "ok")]


@pytest.mark.parametrize("answer", ["started", "failed", "declined", "exited"])
def test_hold_while_it_starts_stops_that_and_its_late_answers_are_ignored(answer: str) -> None:
    rig = running(Member("a", backoff=LATER))
    rig.exited("a")
    rig.due("a")
    assert rig.ask("hold", "a") == [Stop("a", 2)]
    assert getattr(rig, answer)("a") == []
    assert rig.stopped("a") == [DOWN, Close("a"), Answer(1, "ok")]
    assert getattr(rig, answer)("a") == []
    assert rig.states() == {"a": "held"}


def test_hold_while_it_is_stopped_holds_what_is_down() -> None:
    rig = running("a")
    rig.ask("terminate", "a", ticket=1)
    assert rig.ask("hold", "a", ticket=2) == []
    assert rig.stopped("a") == [Close("a"), Answer(1, "ok"), DOWN, Answer(2, "ok")]


def test_hold_while_it_is_restarting_gives_that_up() -> None:
    rig = running("a")
    rig.exited("a")
    assert rig.failed("a") == [Retry()]
    assert rig.ask("hold", "a") == [DOWN, Close("a"), Answer(1, "ok")]
    assert rig.resume() == []
    assert rig.states() == {"a": "held"}


def test_hold_during_its_backoff_gives_that_up() -> None:
    rig = running(Member("a", backoff=LATER))
    rig.exited("a")
    assert rig.ask("hold", "a") == [DOWN, Close("a"), Answer(1, "ok")]
    assert rig.due("a") == []
    assert rig.ask("release", "a") == [FREE, Start("a", 2)]
    assert rig.due("a", 1) == []


def test_hold_of_what_is_down_already() -> None:
    rig = running(Member("a", "transient"))
    rig.exited("a", reason=NORMAL)
    assert rig.ask("hold", "a") == [DOWN, Answer(1, "ok")]


def test_hold_of_one_whose_exit_is_not_judged_yet() -> None:
    rig = running("a", "b")
    rig.ask("terminate", "b", ticket=1)
    rig.ask("hold", "a", ticket=2)
    assert rig.exited("a") == []
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok"), DOWN, Close("a"), Answer(2, "ok")]


def test_a_temporary_child_that_is_held_is_not_forgotten() -> None:
    rig = held(restart="temporary")
    assert rig.ask("terminate", "a") == [Answer(1, "ok")]
    assert rig.ask("release", "a") == [FREE, Start("a", 2)]
    assert rig.started("a") == [Answer(1, "ok")]
    assert rig.exited("a") == [Forget("a")]


def test_holding_a_significant_child_takes_nobody_along() -> None:
    rig = running(Member("a", "transient", significant=True), "b", auto_shutdown="any_significant")
    rig.ask("hold", "a")
    assert rig.stopped("a") == [DOWN, Close("a"), Answer(1, "ok")]
    rig.ask("release", "a")
    rig.started("a")
    assert rig.exited("a", reason=NORMAL) == [Close("a"), Stop("b", 1)]


def test_a_significant_child_that_is_held_is_not_waited_for_when_the_last_one_ends() -> None:
    vital = (Member(child, "transient", significant=True) for child in "ab")
    rig = running(*vital, auto_shutdown="all_significant")
    rig.ask("hold", "a")
    rig.stopped("a")
    assert rig.exited("b", reason=NORMAL) == [Close("b"), Down(SHUTDOWN)]


# -- hold and the group ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", GROUPS)
def test_the_group_of_one_that_is_held_during_its_backoff_comes_up_without_it(strategy: Strategy) -> None:
    rig = running("z", Member("a", backoff=LATER), "b", "c", strategy=strategy)
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    said = [DOWN, Close("a"), Answer(1, "ok")]
    if strategy == "one_for_all":
        rig.stopped("z")
        assert rig.ask("hold", "a") == [*said, Start("z", 2)]
        assert rig.started("z") == [Start("b", 2)]
    else:
        assert rig.ask("hold", "a") == [*said, Start("b", 2)]
    assert rig.started("b") == [Start("c", 2)]
    assert rig.started("c") == rig.due("a") == []
    assert rig.states() == {"z": "running", "a": "held", "b": "running", "c": "running"}


def test_the_group_of_one_that_is_held_while_restarting_comes_up_without_it() -> None:
    rig = running("a", "b", "c", "d", strategy="rest_for_one")
    rig.ask("terminate", "d")
    rig.stopped("d")
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    rig.failed("a")
    assert rig.ask("terminate", "c") == [Close("c"), Answer(1, "ok")]
    said = [DOWN, Close("a"), Answer(1, "ok"), Start("b", 2)]
    assert rig.ask("hold", "a") == said, "and not who was terminated meanwhile"


def test_one_of_a_waiting_group_that_does_not_come_up_is_tried_again() -> None:
    rig = running("z", Member("a", backoff=LATER), "b", "c", strategy="rest_for_one")
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    assert rig.ask("hold", "a")[-1] == Start("b", 2)
    assert rig.failed("b") == [Retry()]
    assert rig.resume() == [restarting("b", used=2, reason=NOPE), Start("b", 3)]
    assert rig.started("b") == [Start("c", 2)]


def test_holding_one_of_a_group_that_waits_for_another_starts_nobody() -> None:
    rig = running("a", Member("x", backoff=LATER), "b", strategy="one_for_all")
    rig.exited("x")
    rig.stopped("b")
    rig.stopped("a")
    assert rig.ask("hold", "a") == [DOWN, Close("a"), Answer(1, "ok")]
    assert rig.due("x") == [Start("x", 2)]
    assert rig.started("x") == [Start("b", 2)]


def test_holding_an_independent_child_starts_nobody() -> None:
    rig = running(Member("a", backoff=LATER), Member("b", "transient"))
    rig.exited("b", reason=NORMAL)
    rig.exited("a")
    assert rig.ask("hold", "a") == [DOWN, Close("a"), Answer(1, "ok")]
