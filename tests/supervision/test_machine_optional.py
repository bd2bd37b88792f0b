"""Children that nobody waits for: the boot goes on, and until they have come up once they are tried for ever."""

from __future__ import annotations

import pytest

from tests.supervision.rig import BOOM, NOPE, Rig, decided, restarting, running
from trouper import Backoff, Persist
from trouper.reasons import NORMAL
from trouper.supervision.actions import (
    Answer,
    BootFailed,
    Close,
    Down,
    Forget,
    Retry,
    Start,
    Stop,
    Stopped,
    Up,
    Wait,
)
from trouper.supervision.members import Member, Restart, Strategy

EACH: list[Strategy] = ["one_for_one", "one_for_all", "rest_for_one"]
GROUPS: list[Strategy] = ["one_for_all", "rest_for_one"]


def optional(name: str, restart: Restart = "permanent", backoff: Backoff | None = None) -> Member:
    return Member(name, restart, backoff=backoff, optional=True)


def booting(*members: Member | str, strategy: Strategy = "one_for_one", n: int = 3) -> Rig:
    """Its optional children are starting still, and all others are up."""
    rig = Rig(*members, strategy=strategy, n=n)
    rig.boot()
    for member in members:
        if isinstance(member, str):
            rig.started(member)
    return rig


def never_up(rig: Rig, child: str, times: int) -> None:
    """Its start fails, again and again."""
    for _ in range(times):
        rig.failed(child)
        rig.resume()
        rig.due(child)


@pytest.mark.parametrize("strategy", EACH)
def test_the_boot_goes_on_at_once(strategy: Strategy) -> None:
    rig = Rig(optional("a"), "b", optional("c"), strategy=strategy)
    assert rig.boot() == [Start("a", 1), Start("b", 1)]
    assert rig.started("b") == [Start("c", 1), Up()]
    assert rig.states() == {"a": "starting", "b": "running", "c": "starting"}
    assert rig.started("c") == rig.started("a") == []
    assert set(rig.states().values()) == {"running"}


@pytest.mark.parametrize("strategy", EACH)
@pytest.mark.parametrize("backoff", [None, Backoff(), Persist()])
def test_a_first_start_that_fails_is_tried_for_ever_uncounted_and_not_in_a_hurry(
    strategy: Strategy, backoff: Backoff | None
) -> None:
    rig = booting(optional("a", backoff=backoff), "b", strategy=strategy, n=0)
    assert rig.failed("a") == [Retry()]
    assert rig.resume() == [restarting("a", used=0, reason=NOPE, n=0, counted=False), Start("a", 2)]
    delay = 0.1
    for generation in range(2, 100):
        delay = min(2 * delay, 30.0)
        assert rig.failed("a") == [Retry()]
        said = [restarting("a", 0, NOPE, 0, delay, counted=False), Wait("a", generation, delay)]
        assert rig.resume() == said
        assert rig.states() == {"a": "backoff", "b": "running"}
        assert rig.due("a") == [Start("a", generation + 1)]
    assert rig.started("a") == []


@pytest.mark.parametrize("strategy", EACH)
def test_it_fails_while_the_boot_goes_on_and_is_tried_again_after_it(strategy: Strategy) -> None:
    rig = Rig(optional("a"), "b", strategy=strategy)
    rig.boot()
    assert rig.failed("a") == []
    assert rig.started("b") == [Up(), Retry()]
    assert rig.resume()[-1] == Start("a", 2)


def test_once_it_was_up_its_failures_count() -> None:
    rig = booting(optional("a", backoff=Backoff()), n=1)
    never_up(rig, "a", 9)
    rig.started("a")
    assert rig.exited("a")[0] == restarting("a", used=1, n=1, delay=30.0)
    rig.due("a")
    assert rig.failed("a") == [Retry()]
    [down] = rig.resume()
    assert isinstance(down, Down)


def test_once_it_was_up_a_child_without_a_backoff_is_restarted_at_once() -> None:
    rig = booting(optional("a"), n=9)
    never_up(rig, "a", 9)
    rig.started("a")
    assert rig.exited("a") == [restarting("a", n=9), Start("a", 11)]
    assert rig.failed("a") == [Retry()]
    assert rig.resume() == [restarting("a", used=2, reason=NOPE, n=9), Start("a", 12)]


def test_a_window_that_it_spends_starting_does_not_age_once_it_was_up() -> None:
    rig = running(optional("a"), n=1)
    rig.exited("a")
    rig.at(1000.0).started("a")
    assert isinstance(rig.at(1029.9).exited("a")[-1], Down)


def test_under_persist_it_never_counts() -> None:
    rig = booting(optional("a", backoff=Persist()), n=0)
    rig.started("a")
    for _ in range(9):
        assert not decided(rig.exited("a")).counted
        rig.due("a")
        rig.started("a")


@pytest.mark.parametrize("end", ["failed", "declined", "exited"])
def test_a_temporary_one_that_does_not_come_up_is_forgotten(end: str) -> None:
    rig = booting(optional("a", "temporary"))
    assert getattr(rig, end)("a") == [Forget("a")]
    assert rig.states() == {}


def test_one_that_declines_is_closed_and_stays() -> None:
    rig = booting(optional("a"))
    assert rig.declined("a") == [Close("a")]
    assert rig.states() == {"a": "undefined"}
    assert rig.ask("restart", "a") == [Start("a", 2)]


def test_a_transient_one_that_ends_normally_is_not_restarted() -> None:
    rig = running(optional("a", "transient"))
    assert rig.exited("a", reason=NORMAL) == [Close("a")]


@pytest.mark.parametrize("strategy", GROUPS)
def test_it_does_not_take_its_group_down_before_it_was_up(strategy: Strategy) -> None:
    rig = booting(optional("a"), "b", strategy=strategy)
    never_up(rig, "a", 5)
    assert rig.states() == {"a": "starting", "b": "running"}
    rig.started("a")
    assert rig.exited("a") == [restarting("a"), Stop("b", 1)]
    assert rig.stopped("b") == [Start("a", 7), Start("b", 2)]


@pytest.mark.parametrize("strategy", GROUPS)
def test_its_group_is_restarted_around_it_whatever_it_does(strategy: Strategy) -> None:
    rig = booting("x", optional("a"), strategy=strategy)
    assert rig.exited("x") == [restarting("x"), Stop("a", 1)]
    assert rig.failed("a") == []
    assert rig.stopped("a") == [Start("x", 2)]
    assert rig.started("x") == [Start("a", 2)]
    rig.failed("a")
    rig.resume()
    rig.failed("a")
    assert rig.resume()[-1] == Wait("a", 3, 0.2)
    assert rig.exited("x") == [restarting("x", used=2), Start("x", 3)]
    assert rig.due("a") == []
    assert rig.started("x") == [Start("a", 4)]
    assert rig.due("a", 3) == []


@pytest.mark.parametrize("end", ["failed", "declined", "exited"])
@pytest.mark.parametrize("restart", ["permanent", "temporary"])
def test_it_may_end_its_start_while_others_of_its_group_are_stopped(end: str, restart: Restart) -> None:
    rig = booting(optional("a", restart), "b", "c", strategy="one_for_all")
    assert rig.exited("c") == [restarting("c"), Stop("b", 1)]
    assert getattr(rig, end)("a") == []
    said = rig.stopped("b")
    if restart == "temporary":
        assert said == [Forget("a"), Start("b", 2)]
    else:
        assert said == [Start("a", 2), Start("b", 2)]
    assert rig.started("b") == [Start("c", 2)]
    assert rig.started("c") == []


@pytest.mark.parametrize("end", ["failed", "declined", "exited"])
@pytest.mark.parametrize("restart", ["permanent", "temporary"])
def test_it_may_end_its_start_while_all_is_stopped(end: str, restart: Restart) -> None:
    rig = booting("x", optional("a", restart), "b", "c")
    assert rig.stop() == [Stop("c", 1)]
    assert getattr(rig, end)("a") == []
    assert rig.stopped("c") == [Stop("b", 1)]
    assert rig.stopped("b") == [Stop("x", 1)]
    assert rig.stopped("x") == [Stopped()]


def test_a_boot_that_fails_stops_it_too() -> None:
    rig = Rig(optional("a"), "b")
    rig.boot()
    assert rig.failed("b") == [Stop("a", 1)]
    assert rig.started("a") == []
    assert rig.stopped("a") == [BootFailed("b", NOPE)]


def test_a_stop_while_it_boots_leaves_nothing_behind() -> None:
    rig = Rig(optional("a"), "b", optional("c"))
    rig.boot()
    assert rig.stop() == [Stop("b", 1)]
    assert rig.stopped("b") == [Stop("a", 1)]
    assert rig.stopped("a") == [Stopped()]
    assert set(rig.states().values()) == {"undefined"}
    assert rig.started("a") == rig.due("a") == rig.resume() == rig.stop() == rig.boot() == []


def test_one_that_is_added_is_waited_for() -> None:
    rig = running("b")
    assert rig.add(optional("a")) == [Start("a", 1)]
    assert rig.failed("a") == [Forget("a"), Answer(1, "nope", NOPE)]


def test_who_waits_for_a_restart_waits_in_vain_whatever_an_optional_child_before_it_does() -> None:
    rig = booting(optional("a"), "b", "c", strategy="rest_for_one", n=9)
    rig.failed("a")
    assert rig.states()["a"] == "restarting"
    rig.exited("b")
    rig.stopped("c")
    assert rig.failed("b") == [Retry()]
    assert rig.ask("terminate", "b") == [Close("b"), Close("c"), Answer(1, "ok")]


def test_one_that_is_starting_can_be_stopped_by_request() -> None:
    rig = booting(optional("a"), "b")
    assert rig.ask("terminate", "a") == [Stop("a", 1)]
    assert rig.exited("a", reason=BOOM) == []
    assert rig.stopped("a") == [Close("a"), Answer(1, "ok")]
    assert rig.ask("delete", "a") == [Forget("a"), Answer(1, "ok")]


@pytest.mark.parametrize(("later", "used"), [(9.999, 3), (10.0, 2)])
def test_one_that_hangs_in_its_restart_keeps_its_own_from_ageing_and_no_other(later: float, used: int) -> None:
    rig = Rig(optional("a"), "b", strategy="rest_for_one", n=3, within=10.0)
    rig.boot()
    rig.started("a")
    rig.started("b")
    rig.exited("b")
    rig.started("b", 2)
    rig.at(1.0).exited("a")
    rig.stopped("b", 2)
    rig.started("b", 3)
    assert rig.states() == {"a": "starting", "b": "running"}
    assert decided(rig.at(later).exited("b", 3)).used == used
    rig.started("b", 4)
    assert decided(rig.at(1000.0).exited("b", 4)).used == 2, "that of `a`, and this one"
