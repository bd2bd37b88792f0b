"""Delays before restarts, children that are tried for ever, and how both meet the limit."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Literal

import pytest

from tests.supervision.rig import BOOM, NOPE, Limit, Rig, decided, restarting, running
from trouper import Backoff, Persist
from trouper.reasons import NORMAL, SHUTDOWN
from trouper.supervision.actions import (
    Answer,
    Attempt,
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
from trouper.supervision.machine import Machine
from trouper.supervision.members import Member, Strategy

DAY = 86_400.0
GROUPS: list[Strategy] = ["one_for_all", "rest_for_one"]
LATER = Backoff(first=5.0, jitter=0.0)  # waits before every restart


def patient(name: str) -> Member:
    return Member(name, backoff=Persist(first=5.0))


def waiting(name: str) -> Member:
    return Member(name, backoff=LATER)


# -- the delays --------------------------------------------------------------------------------------------------------
def test_the_first_restart_comes_at_once_and_the_next_ones_wait_longer_each_time() -> None:
    rig = running(Member("a", backoff=Backoff()), n=99)
    assert rig.exited("a") == [restarting("a", n=99), Start("a", 2)]
    delays = []
    for generation in range(2, 13):
        assert rig.started("a") == []
        said = rig.exited("a")
        delays.append(decided(said).delay)
        assert said == [restarting("a", generation, BOOM, 99, delays[-1]), Wait("a", generation, delays[-1])]
        assert rig.states() == {"a": "backoff"}
        assert rig.due("a") == [Start("a", generation + 1)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


def test_a_start_that_fails_makes_the_next_delay_longer_too() -> None:
    rig = running(Member("a", backoff=Backoff()), n=9)
    rig.exited("a")
    assert rig.failed("a") == [Retry()]
    assert rig.resume() == [restarting("a", used=2, reason=NOPE, n=9, delay=0.2), Wait("a", 2, 0.2)]
    assert rig.due("a") == [Start("a", 3)]
    assert rig.failed("a") == [Retry()]
    assert rig.resume() == [restarting("a", used=3, reason=NOPE, n=9, delay=0.4), Wait("a", 3, 0.4)]


def test_a_delay_has_its_part_of_chance() -> None:
    rig = running(Member("a", backoff=Backoff(first=10.0, jitter=0.5)), chance=lambda: 0.5)
    assert rig.exited("a") == [restarting("a", delay=7.5), Wait("a", 1, 7.5)]


@pytest.mark.parametrize(("uptime", "delay"), [(29.999, 0.4), (30.0, 0.0)])
def test_the_delays_begin_anew_after_health(uptime: float, delay: float) -> None:
    rig = running(Member("a", backoff=Backoff(reset_after=30.0)), n=9)
    rig.exited("a")
    rig.started("a")
    rig.exited("a")
    rig.at(1000.0).due("a")
    rig.started("a")
    assert decided(rig.at(1000.0 + uptime).exited("a")).delay == delay


def test_health_is_the_time_up_and_not_the_time_until_the_exit_is_judged() -> None:
    rig = running(Member("a", backoff=Backoff(reset_after=30.0)), "b", n=9)
    rig.exited("a")
    rig.started("a")
    rig.exited("b")
    assert rig.at(29.0).exited("a") == []
    assert rig.at(31.0).started("b") == [restarting("a", used=3, n=9, delay=0.2), Wait("a", 2, 0.2)]


def test_a_start_that_takes_long_is_no_health() -> None:
    rig = running(Member("a", backoff=Backoff(reset_after=30.0)), n=9)
    rig.exited("a")
    rig.at(100.0).failed("a")
    assert rig.resume()[-1] == Wait("a", 2, 0.2)


def test_without_a_backoff_every_restart_comes_at_once() -> None:
    rig = running("a", n=99)
    for generation in range(1, 50):
        assert rig.exited("a") == [restarting("a", used=generation, n=99), Start("a", generation + 1)]
        rig.started("a")


def test_a_normal_end_of_a_permanent_child_waits_as_a_crash_does() -> None:
    rig = running(waiting("a"))
    assert rig.exited("a", reason=NORMAL) == [restarting("a", reason=NORMAL, delay=5.0), Wait("a", 1, 5.0)]


def test_a_transient_child_that_ends_normally_is_not_restarted_after_any_delay() -> None:
    rig = running(Member("a", "transient", backoff=LATER))
    assert rig.exited("a", reason=NORMAL) == [Close("a")]


# -- the limit ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("up", "gives_up"), [(9.999, True), (10.0, False)])
def test_a_restart_counts_while_its_child_was_up_for_less_than_the_window(up: float, gives_up: bool) -> None:
    rig = running(waiting("a"), n=1, within=10.0)
    rig.exited("a")
    rig.at(5.0).due("a")
    rig.at(500.0).started("a")
    said = rig.at(500.0 + up).exited("a")
    assert isinstance(said[-1], Down) is gives_up


def test_a_crash_loop_that_is_slower_than_its_window_still_escalates() -> None:
    rig = running(waiting("a"), n=3, within=30.0)
    for now, delay in ((0.0, 5.0), (100.0, 0.2), (200.0, 0.4)):
        assert rig.at(now).exited("a")[0] == restarting("a", used=1 + int(now // 100), delay=delay)
        rig.at(now + 10.0).due("a")
        rig.at(now + 95.0).started("a")
    [down] = rig.at(300.0).exited("a")
    assert isinstance(down, Down)
    assert down.reason.why == tuple(Attempt(at, "a", BOOM) for at in (0.0, 100.0, 200.0, 300.0))


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_crash_loop_of_a_group_that_takes_long_to_come_up_still_escalates(strategy: Strategy) -> None:
    rig = running("a", "b", strategy=strategy, n=1, within=10.0)
    rig.exited("a")
    rig.at(20.0).stopped("b")
    rig.at(40.0).started("a")
    rig.at(60.0).started("b")
    assert rig.at(69.999).exited("a") == [Stop("b", 2)]
    assert isinstance(rig.stopped("b")[-1], Down)


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_group_whose_restart_is_old_enough_in_uptime_may_fail_again(strategy: Strategy) -> None:
    rig = running("a", "b", strategy=strategy, n=1, within=10.0)
    rig.exited("a")
    rig.at(20.0).stopped("b")
    rig.at(40.0).started("a")
    rig.at(60.0).started("b")
    assert rig.at(70.0).exited("a") == [restarting("a", n=1), Stop("b", 2)]


def test_under_persist_a_crash_loop_never_escalates_and_never_counts() -> None:
    rig = running(Member("a", backoff=Persist()), n=0)
    for round_ in range(1000):
        rig.at(round_).exited("a")
        assert rig.states() == {"a": "backoff" if round_ else "starting"}
        rig.due("a")
        rig.failed("a")
        assert rig.resume()[0] == restarting(
            "a", used=0, reason=NOPE, n=0, counted=False, delay=Persist().delay(2 * round_ + 2, 0.0)
        )
        rig.due("a")
        assert rig.started("a") == []


def test_four_unrelated_crashes_over_a_week_never_escalate() -> None:
    rig = running("a", "b", "c", "d")
    for day, child in enumerate("abcd"):
        assert rig.at(day * DAY).exited(child)[0] == restarting(child)
        rig.started(child)


DOWN = ["persist", "backoff", "hangs", "held", "terminated"]


@pytest.mark.parametrize("how", DOWN)
def test_four_unrelated_crashes_do_not_add_up_while_an_independent_sibling_is_down(how: str) -> None:
    sibling = patient("s") if how == "persist" else waiting("s")
    rig = running(sibling, "a", "b", "c", "d")
    match how:
        case "persist" | "backoff":
            rig.exited("s")
            assert rig.states()["s"] == "backoff"
        case "hangs":
            rig.exited("s")
            rig.due("s")
            assert rig.states()["s"] == "starting"
        case _:
            rig.ask("hold" if how == "held" else "terminate", "s")
            rig.stopped("s")
    used = 2 if how in {"backoff", "hangs"} else 1  # its own restart does not age while it is down
    for day, child in enumerate("abcd", start=1):
        assert rig.at(day * DAY).exited(child) == [restarting(child, used), Start(child, 2)]
        assert rig.started(child) == []


def settled(rig: Rig, *away: str) -> None:
    """Answer all stops and starts, but for the starts of those who stay away."""
    for child, state in rig.states().items():
        if state == "stopping":
            rig.stopped(child)
            return settled(rig, *away)
        if state == "starting" and child not in away:
            rig.started(child)
            return settled(rig, *away)
    return None


@pytest.mark.parametrize("request_", ["hold", "terminate"])
@pytest.mark.parametrize("strategy", GROUPS)
def test_crashes_of_a_group_are_unrelated_though_an_operator_keeps_a_member_down(
    strategy: Strategy, request_: Literal["hold", "terminate"]
) -> None:
    rig = running("s", "a", strategy=strategy)
    for day in range(1, 8):
        rig.ask(request_, "s")
        settled(rig)
        assert rig.at(day * DAY).exited("a")[0] == restarting("a")
        settled(rig)


@pytest.mark.parametrize("optional", [Member("s", optional=True), Member("s", backoff=Persist(), optional=True)])
@pytest.mark.parametrize("strategy", GROUPS)
def test_crashes_of_a_group_are_unrelated_though_an_optional_member_hangs_since_boot(
    strategy: Strategy, optional: Member
) -> None:
    rig = Rig(optional, "a", strategy=strategy)
    rig.boot()
    settled(rig, "s")
    for day in range(1, 8):
        assert rig.at(day * DAY).exited("a")[0] == restarting("a")
        settled(rig, "s")
        assert rig.states() == {"s": "starting", "a": "running"}


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_week_in_persist_does_not_make_crashes_of_a_group_related(strategy: Strategy) -> None:
    rig = running(patient("s"), "a", strategy=strategy)
    for week in range(1, 8):
        assert rig.at(week * 7 * DAY).exited("a")[0] == restarting("a")
        settled(rig)
        assert rig.exited("s")[0] == restarting("s", used=1, delay=rig_delay(week), counted=False)
        settled(rig)
        assert rig.states() == {"s": "backoff", "a": "undefined"}
        rig.at((week + 1) * 7 * DAY).due("s")
        settled(rig)
        assert set(rig.states().values()) == {"running"}


def rig_delay(failures: int) -> float:
    return Persist(first=5.0).delay(failures, 0.0)


@pytest.mark.parametrize("strategy", GROUPS)
def test_a_week_of_a_counted_backoff_in_the_group_is_no_uptime(strategy: Strategy) -> None:
    rig = running(waiting("s"), "a", strategy=strategy, n=1)
    rig.exited("s")
    settled(rig)
    rig.at(7 * DAY).due("s")
    settled(rig)
    assert isinstance(rig.exited("a")[-1], Stop)
    assert isinstance(rig.stopped("s")[-1], Down)


def test_simultaneous_crashes_count_twice_where_children_are_independent() -> None:
    rig = running("a", "b", n=1)
    rig.exited("a")
    assert rig.exited("b") == []
    assert rig.started("a") == [Stop("a", 2)]
    assert isinstance(rig.stopped("a")[-1], Down)


@pytest.mark.parametrize("backoff", [None, LATER])
@pytest.mark.parametrize("strategy", GROUPS)
def test_simultaneous_crashes_of_a_group_count_once(strategy: Strategy, backoff: Backoff | None) -> None:
    rig = running(Member("a", backoff=backoff), Member("b", backoff=backoff), "c", strategy=strategy, n=1)
    assert rig.exited("a")[-1] == Stop("c", 1)
    assert rig.exited("b") == []
    rig.stopped("c")
    if backoff is not None:
        assert rig.states() == {"a": "backoff", "b": "undefined", "c": "undefined"}
        rig.due("a")
    assert rig.started("a") == [Start("b", 2)]
    assert rig.started("b") == [Start("c", 2)]
    assert rig.started("c") == []


def test_the_history_tells_when_each_restart_was_decided() -> None:
    rig = running("a", n=1)
    rig.at(1.0).exited("a")
    rig.at(2.0).failed("a")
    [down] = rig.at(3.0).resume()
    assert isinstance(down, Down)
    assert down.reason.why == (Attempt(1.0, "a", BOOM), Attempt(3.0, "a", NOPE))


def test_what_was_up_until_a_request_stopped_it_has_aged() -> None:
    rig = running("a", n=1, within=10.0)
    rig.exited("a")
    rig.started("a")
    rig.at(10.0).ask("terminate", "a")
    rig.stopped("a")
    rig.ask("restart", "a")
    rig.started("a")
    assert rig.exited("a") == [restarting("a", n=1), Start("a", 4)]


def test_what_was_up_until_a_delay_was_over_has_aged() -> None:
    rig = running(patient("s"), "a", strategy="one_for_all", n=1, within=10.0)
    rig.exited("a")
    settled(rig)
    rig.exited("s")
    settled(rig)
    rig.ask("restart", "a")
    settled(rig)
    assert rig.states() == {"s": "backoff", "a": "running"}
    rig.at(10.0).due("s")
    settled(rig)
    assert rig.exited("a")[0] == restarting("a", n=1)


def test_without_chance_delays_are_not_shortened() -> None:
    machine = Machine("one_for_one", Limit(3, 30.0), "never", [Member("a", backoff=Backoff(first=5.0, jitter=1.0))])
    machine.boot(0.0)
    machine.started("a", 1, 0.0)
    machine.exited("a", 1, BOOM, 0.0)
    assert machine.actions[-1] == Wait("a", 1, 5.0)


# -- groups ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", GROUPS)
def test_a_group_is_down_while_one_of_it_waits(strategy: Strategy) -> None:
    rig = running("z", waiting("a"), Member("t", "temporary"), "b", strategy=strategy)
    assert rig.exited("a") == [restarting("a", delay=5.0), Stop("b", 1)]
    assert rig.stopped("b") == [Stop("t", 1)]
    said = rig.stopped("t")
    if strategy == "one_for_all":
        assert said == [Forget("t"), Stop("z", 1)]
        assert rig.stopped("z") == [Wait("a", 1, 5.0)]
        assert rig.states() == {"z": "undefined", "a": "backoff", "b": "undefined"}
        assert rig.due("a") == [Start("z", 2)]
        assert rig.started("z") == [Start("a", 2)]
    else:
        assert said == [Forget("t"), Wait("a", 1, 5.0)]
        assert rig.states() == {"z": "running", "a": "backoff", "b": "undefined"}
        assert rig.due("a") == [Start("a", 2)]
    assert rig.started("a") == [Start("b", 2)]
    assert rig.started("b") == []


def test_a_member_that_an_operator_started_meanwhile_is_restarted_with_its_group() -> None:
    rig = running(waiting("a"), "b", strategy="rest_for_one")
    rig.exited("a")
    rig.stopped("b")
    assert rig.ask("restart", "b") == [Start("b", 2)]
    assert rig.started("b") == [Answer(1, "ok")]
    assert rig.due("a") == [Stop("b", 2)]
    assert rig.stopped("b") == [Start("a", 2)]
    assert rig.started("a") == [Start("b", 3)]


def test_a_backoff_gives_way_to_a_restart_of_the_whole_group() -> None:
    rig = running("a", waiting("b"), strategy="rest_for_one", n=9)
    rig.exited("b")
    assert rig.exited("a") == [restarting("a", used=2, n=9), Start("a", 2)]
    assert rig.due("b") == []
    assert rig.started("a") == [Start("b", 2)]
    assert rig.due("b", 1) == []
    assert rig.started("b") == []


def test_who_dies_while_a_later_one_starts_after_a_backoff_is_judged_as_a_new_failure() -> None:
    rig = running(waiting("a"), "b", strategy="one_for_all")
    rig.exited("a")
    rig.stopped("b")
    rig.due("a")
    rig.started("a")
    assert rig.exited("a") == []
    assert rig.started("b") == [restarting("a", used=2, delay=0.2), Stop("b", 2)]
    assert rig.stopped("b") == [Wait("a", 2, 0.2)]


def test_a_retry_that_finds_its_child_in_a_backoff_does_nothing() -> None:
    rig = running(waiting("a"), "b", strategy="one_for_all", n=9)
    rig.exited("a")
    rig.stopped("b")
    rig.due("a")
    assert rig.failed("a") == [Retry()]
    assert rig.resume() == [restarting("a", used=2, reason=NOPE, n=9, delay=0.2), Wait("a", 2, 0.2)]
    assert rig.resume() == []


# -- requests and stop during a backoff --------------------------------------------------------------------------------
Resurrect = Literal["terminate", "delete", "hold", "stop", "add"]


@pytest.mark.parametrize("what", ["terminate", "delete", "hold", "stop", "add"])
def test_nothing_that_ends_a_backoff_is_undone_when_its_time_comes(what: Resurrect) -> None:
    rig = running(waiting("a"))
    rig.exited("a")
    match what:
        case "stop":
            assert rig.stop() == [Stopped()]
        case "hold":
            rig.ask("hold", "a")
        case _:
            assert rig.ask("terminate", "a") == [Close("a"), Answer(1, "ok")]
            if what != "terminate":
                assert rig.ask("delete", "a") == [Forget("a"), Answer(1, "ok")]
    if what == "add":
        [start] = rig.add("a")
        assert isinstance(start, Start)
        assert start.generation > 1, "word of generation 1 may still come"
        rig.started("a")
    before = rig.states()
    assert rig.due("a", 1) == []
    assert rig.states() == before


def test_a_late_delay_does_not_cut_short_the_backoff_of_who_took_the_id() -> None:
    rig = running(waiting("a"))
    rig.exited("a")
    rig.ask("terminate", "a")
    rig.ask("delete", "a")
    assert rig.add(waiting("a")) == [Start("a", 2)]
    rig.started("a")
    assert rig.exited("a")[-1] == Wait("a", 2, 5.0)
    assert rig.due("a", 1) == []
    assert rig.due("a", 2) == [Start("a", 3)]


def test_a_delay_that_is_over_twice_starts_once() -> None:
    rig = running(waiting("a"), n=9)
    rig.exited("a")
    assert rig.due("a") == [Start("a", 2)]
    assert rig.due("a", 1) == []
    rig.started("a")
    assert rig.due("a", 1) == []
    rig.exited("a")
    assert rig.due("a", 1) == []
    assert rig.states() == {"a": "backoff"}


def test_a_delay_of_nobody_and_of_one_who_runs_is_ignored() -> None:
    rig = running(waiting("a"))
    assert rig.due("z", 1) == rig.due("a", 1) == []


def test_a_restart_that_an_operator_asks_for_during_a_backoff_is_refused() -> None:
    rig = running(waiting("a"))
    rig.exited("a")
    assert rig.ask("restart", "a") == rig.ask("delete", "a") == [Answer(1, "restarting")]
    assert rig.add("a") == [Answer(1, "already_present")]
    rig.due("a")
    assert rig.ask("restart", "a") == rig.ask("delete", "a") == [Answer(1, "restarting")]
    assert rig.add("a") == [Answer(1, "already_present")]


def test_who_comes_back_by_request_after_a_terminated_backoff_is_not_started_again_by_its_old_delay() -> None:
    rig = running(waiting("a"))
    rig.exited("a")
    rig.ask("terminate", "a")
    assert rig.ask("restart", "a") == [Start("a", 2)]
    rig.started("a")
    assert rig.due("a", 1) == []


def test_terminating_a_backoff_closes_all_who_waited_for_it() -> None:
    rig = running("z", waiting("a"), "b", "c", strategy="rest_for_one")
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    assert rig.ask("terminate", "a") == [Close("a"), Close("b"), Close("c"), Answer(1, "ok")]
    assert rig.ask("terminate", "a") == [Answer(1, "ok")]


def test_terminating_another_of_the_group_closes_nobody_who_still_waits() -> None:
    rig = running("a", waiting("b"), "c", strategy="one_for_all")
    rig.exited("b")
    rig.stopped("c")
    rig.stopped("a")
    assert rig.ask("terminate", "c") == [Close("c"), Answer(1, "ok")]
    assert rig.due("b") == [Start("a", 2)]


@pytest.mark.parametrize("ticket", [None, 1])
def test_stop_during_the_stops_before_a_backoff_waits_for_nothing(ticket: object) -> None:
    rig = running(waiting("a"), "b", "c", strategy="one_for_all")
    rig.exited("a")
    assert rig.states() == {"a": "undefined", "b": "running", "c": "stopping"}
    if ticket:
        rig.ask("terminate", "a")
    assert rig.stop() == ([Answer(1, "shutting_down")] if ticket else [])
    assert rig.stopped("c") == [Stop("b", 1)]
    assert rig.stopped("b") == [Stopped()]
    assert rig.due("a") == rig.resume() == rig.stop() == []


def test_a_significant_child_in_its_backoff_is_not_at_its_end() -> None:
    vital = (Member(child, "transient", significant=True, backoff=LATER) for child in "ab")
    rig = running(*vital, auto_shutdown="all_significant")
    rig.exited("a")
    assert rig.exited("b", reason=NORMAL) == [Close("b")]
    rig.due("a")
    rig.started("a")
    assert rig.exited("a", reason=SHUTDOWN) == [Close("a"), Down(SHUTDOWN)]


def test_an_exit_reported_again_during_the_backoff_counts_once() -> None:
    rig = running(waiting("a"))
    rig.exited("a")
    assert rig.exited("a") == []
    assert rig.due("a") == [Start("a", 2)]
    rig.started("a")
    assert rig.exited("a")[0] == restarting("a", used=2, delay=0.2)


# -- starts that hold up nobody ----------------------------------------------------------------------------------------
def test_independent_children_with_a_backoff_start_side_by_side() -> None:
    rig = running(waiting("a"), waiting("b"), n=9)
    for child in "ab":
        rig.exited(child)
        assert rig.due(child) == [Start(child, 2)]
    assert rig.states() == {"a": "starting", "b": "starting"}
    assert rig.started("b") == rig.started("a") == []
    assert rig.states() == {"a": "running", "b": "running"}


def hanging(*others: Member | str) -> Rig:
    """Its child `a` is on its way up, and nobody waits for that."""
    rig = running(Member("a", backoff=Backoff()), *others, n=9)
    assert rig.exited("a")[-1] == Start("a", 2)
    return rig


def test_other_exits_are_judged_while_one_starts() -> None:
    rig = hanging("b", Member("c", "transient"))
    assert rig.exited("b") == [restarting("b", used=2, n=9), Start("b", 2)]
    assert rig.started("b") == []
    assert rig.exited("c", reason=NORMAL) == [Close("c")]
    assert rig.states() == {"a": "starting", "b": "running", "c": "undefined"}


def test_requests_are_answered_while_one_starts() -> None:
    rig = hanging("b")
    assert rig.ask("terminate", "b") == [Stop("b", 1)]
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok")]
    assert rig.add("c") == [Start("c", 1)]
    assert rig.started("c") == [Answer(1, "ok")]


@pytest.mark.parametrize("answer", ["started", "declined", "failed", "exited"])
def test_terminating_one_that_starts_stops_it_and_its_late_answers_are_ignored(answer: str) -> None:
    rig = hanging()
    assert rig.ask("terminate", "a") == [Stop("a", 2)]
    assert getattr(rig, answer)("a") == []
    assert rig.states() == {"a": "stopping"}
    assert rig.stopped("a") == [Close("a"), Answer(1, "ok")]
    assert getattr(rig, answer)("a") == []
    assert rig.states() == {"a": "undefined"}


def test_stop_stops_all_that_start_side_by_side() -> None:
    rig = running(waiting("a"), waiting("b"), "c", n=9)
    for child in "ab":
        rig.exited(child)
        rig.due(child)
    assert rig.stop() == [Stop("c", 1)]
    assert rig.started("a") == []
    assert rig.stopped("c") == [Stop("b", 2)]
    assert rig.failed("b") == []
    assert rig.stopped("b") == [Stop("a", 2)]
    assert rig.stopped("a") == [Stopped()]


def test_who_fails_to_start_while_all_is_stopped_needs_no_stop_and_is_not_tried_again() -> None:
    rig = hanging("b")
    assert rig.stop() == [Stop("b", 1)]
    assert rig.failed("a") == []
    assert rig.stopped("b") == [Stopped()]


def test_an_exit_while_it_starts_is_a_failed_start() -> None:
    rig = hanging()
    assert rig.exited("a") == [Retry()]
    assert rig.states() == {"a": "restarting"}
    assert rig.resume()[0] == restarting("a", used=2, n=9, delay=0.2)


def test_who_declines_while_nobody_waits_is_closed() -> None:
    rig = hanging()
    assert rig.declined("a") == [Close("a")]
    assert rig.states() == {"a": "undefined"}


def test_a_failed_start_is_dealt_with_when_its_turn_comes() -> None:
    rig = hanging("b")
    assert rig.ask("terminate", "b") == [Stop("b", 1)]
    assert rig.failed("a") == []
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok"), Retry()]


def test_no_second_answer_revives_a_start_that_failed() -> None:
    rig = hanging("b")
    rig.ask("terminate", "b")
    rig.failed("a")
    assert rig.started("a") == []
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok"), Retry()]


def test_a_request_that_came_first_needs_no_stop_of_a_start_that_failed_meanwhile() -> None:
    rig = hanging("b")
    rig.ask("terminate", "b", ticket=1)
    rig.ask("terminate", "a", ticket=2)
    assert rig.failed("a") == []
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok"), Close("a"), Answer(2, "ok")]
    assert rig.states() == {"a": "undefined", "b": "undefined"}


def test_answers_of_an_earlier_start_do_not_fit_a_later_one() -> None:
    rig = hanging()
    rig.failed("a")
    rig.resume()
    assert rig.due("a") == [Start("a", 3)]
    assert rig.started("a", 2) == rig.declined("a", 2) == rig.failed("a", 2) == rig.exited("a", 2) == []
    assert rig.states() == {"a": "starting"}


@pytest.mark.parametrize("strategy", GROUPS)
def test_in_a_group_all_wait_for_a_start_after_a_backoff(strategy: Strategy) -> None:
    rig = running(waiting("a"), "b", strategy=strategy)
    rig.exited("a")
    rig.stopped("b")
    assert rig.due("a") == [Start("a", 2)]
    assert rig.states() == {"a": "starting", "b": "undefined"}
    assert rig.ask("terminate", "b") == []
    assert rig.started("a") == [Start("b", 2)]


def test_a_boot_waits_for_children_with_a_backoff() -> None:
    rig = Rig(waiting("a"), waiting("b"))
    assert rig.boot() == [Start("a", 1)]
    assert rig.started("a") == [Start("b", 1)]
    assert rig.started("b") == [Up()]


def test_the_limit_is_reached_in_the_middle_of_starts_side_by_side() -> None:
    rig = running(waiting("a"), "b", n=1)
    rig.exited("a")
    rig.due("a")
    assert rig.exited("b") == [Stop("a", 2)]
    [down] = rig.stopped("a")
    assert isinstance(down, Down)
    assert down.reason.kind == "restart_limit"


def test_delays_use_chance_anew_each_time() -> None:
    chances = chain([0.0, 1.0], repeat(0.5))
    rig = running(Member("a", backoff=Backoff(first=1.0, base=1.0, jitter=1.0)), n=9, chance=lambda: next(chances))
    assert rig.exited("a")[-1] == Wait("a", 1, 1.0)
    rig.due("a")
    rig.started("a")
    assert rig.exited("a") == [restarting("a", used=2, n=9), Start("a", 3)]
    rig.started("a")
    assert rig.exited("a")[-1] == Wait("a", 3, 1.0)
