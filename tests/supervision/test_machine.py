"""What the machine does beyond the scenarios of OTP: time, pre-emption, late reports, mailboxes, refusals."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from tests.supervision.rig import BOOM, NOPE, Rig, restarting, running
from trouper.reasons import KILLED, NORMAL, SHUTDOWN, Reason, crashed
from trouper.supervision.actions import (
    Action,
    Answer,
    Attempt,
    BootFailed,
    Close,
    Down,
    Forget,
    Retry,
    Start,
    Stop,
    Stopped,
    Up,
)
from trouper.supervision.machine import AutoShutdown
from trouper.supervision.members import Member, Restart


# -- boot --------------------------------------------------------------------------------------------------------------
def test_boot_starts_the_members_in_order_one_at_a_time() -> None:
    rig = Rig("a", "b")
    assert rig.boot() == [Start("a", 1)]
    assert rig.started("a") == [Start("b", 1)]
    assert rig.started("b") == [Up()]


def test_a_supervisor_without_members_is_up_at_once() -> None:
    assert Rig().boot() == [Up()]


def test_a_second_boot_changes_nothing() -> None:
    rig = Rig("a")
    rig.boot()
    assert rig.boot() == []
    rig.started("a")
    assert rig.boot() == []


def test_a_failed_boot_stops_what_runs_in_reverse() -> None:
    rig = Rig("a", "b", "c", "d")
    rig.boot()
    rig.started("a")
    rig.started("b")
    assert rig.failed("c") == [Stop("b", 1)]
    assert rig.stopped("b") == [Stop("a", 1)]
    assert rig.stopped("a") == [BootFailed("c", NOPE)]


def test_who_is_over_is_not_said_to_run_though_its_end_is_judged_later() -> None:
    rig = Rig("a", "b", Member("c", optional=True), "d")
    rig.boot()
    rig.started("a")
    assert rig.started("b") == [Start("c", 1), Start("d", 1)]
    assert rig.exited("a") == rig.failed("c") == []
    assert rig.states() == {"a": "undefined", "b": "running", "c": "undefined", "d": "starting"}


def test_a_failed_boot_needs_no_stop_of_what_died_meanwhile() -> None:
    rig = Rig("a", "b")
    rig.boot()
    rig.started("a")
    assert rig.exited("a") == []
    assert rig.failed("b") == [BootFailed("b", NOPE)]


def test_who_declines_at_boot_is_closed_and_stays() -> None:
    rig = Rig("a", "b")
    rig.boot()
    assert rig.declined("a") == [Close("a"), Start("b", 1)]
    assert rig.started("b") == [Up()]
    assert rig.states() == {"a": "undefined", "b": "running"}


def test_a_temporary_child_that_declines_at_boot_is_forgotten() -> None:
    rig = Rig(Member("a", "temporary"))
    rig.boot()
    assert rig.declined("a") == [Forget("a"), Up()]
    assert rig.states() == {}


def test_who_dies_during_boot_is_judged_when_all_are_up() -> None:
    rig = Rig("a", "b")
    rig.boot()
    rig.started("a")
    assert rig.exited("a") == []
    assert rig.started("b") == [Up(), restarting("a"), Start("a", 2)]


def test_an_exit_in_place_of_an_answer_is_a_failed_start() -> None:
    rig = Rig("a", "b")
    rig.boot()
    rig.started("a")
    assert rig.exited("b", reason=KILLED) == [Stop("a", 1)]
    assert rig.stopped("a") == [BootFailed("b", KILLED)]


def test_requests_wait_for_the_boot() -> None:
    rig = Rig("a")
    assert rig.ask("terminate", "a", ticket="early") == []
    assert rig.boot() == [Start("a", 1)]
    assert rig.started("a") == [Up(), Stop("a", 1)]
    assert rig.stopped("a") == [Close("a"), Answer("early", "ok")]


# -- the limit ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("later", "gives_up"), [(9.999, True), (10.0, False)])
def test_a_restart_counts_while_it_is_younger_than_the_window(later: float, gives_up: bool) -> None:
    rig = running("a", n=1, within=10.0)
    rig.exited("a")
    rig.started("a", 2)
    rig.now = later
    said = rig.exited("a", 2)
    assert isinstance(said[-1], Down) is gives_up
    assert (said == [restarting("a", n=1), Start("a", 3)]) is not gives_up


def test_a_restart_that_fails_counts() -> None:
    rig = running("a", n=2)
    assert rig.exited("a") == [restarting("a", used=1, n=2), Start("a", 2)]
    assert rig.failed("a", 2) == [Retry()]
    assert rig.resume() == [restarting("a", used=2, reason=NOPE, n=2), Start("a", 3)]
    assert rig.failed("a", 3) == [Retry()]
    [down] = rig.resume()
    assert isinstance(down, Down)


def test_boot_and_requests_do_not_count() -> None:
    rig = running("a", n=1)
    rig.ask("terminate", "a")
    rig.stopped("a")
    rig.ask("restart", "a")
    rig.started("a", 2)
    assert rig.exited("a", 2) == [restarting("a", used=1, n=1), Start("a", 3)]


@pytest.mark.parametrize(("now", "then"), [(29.999, Stop("a", 2)), (30.0, Start("b", 2))])
def test_a_restart_ages_from_when_it_is_up(now: float, then: Action) -> None:
    rig = running("a", "b", n=1, within=10.0)
    rig.exited("a")
    rig.now = 20.0
    rig.started("a", 2)
    rig.now = now
    assert rig.exited("b")[-1] == then


def test_a_crash_loop_that_is_slower_than_its_window_still_escalates() -> None:
    rig = running("a", n=1, within=10.0)
    rig.exited("a")
    rig.now = 1000.0
    rig.failed("a", 2)
    assert isinstance(rig.resume()[-1], Down)


def test_a_supervisor_over_its_limit_stops_all_in_reverse_and_tells_its_history() -> None:
    rig = running("a", "b", "c", n=1)
    first, last = crashed(ValueError("first")), crashed(KeyError("last"))
    rig.now = 1.0
    rig.exited("a", reason=first)
    rig.started("a", 2)
    rig.now = 2.0
    assert rig.exited("b", reason=last) == [Stop("c", 1)]
    assert rig.stopped("c") == [Stop("a", 2)]
    [down] = rig.stopped("a", 2)
    assert isinstance(down, Down)
    assert down.reason.kind == "restart_limit"
    assert down.reason.abnormal
    assert down.reason.cause is last.cause
    assert down.reason.why == (Attempt(1.0, "a", first), Attempt(2.0, "b", last))


def test_the_history_leaves_out_what_has_left_the_window() -> None:
    rig = running("a", n=1, within=10.0)
    for generation, now in enumerate((0.0, 15.0), start=1):
        rig.now = now
        rig.exited("a", generation)
        rig.started("a", generation + 1)
    rig.now = 20.0
    [down] = rig.exited("a", 3)
    assert isinstance(down, Down)
    assert down.reason.why == (Attempt(15.0, "a", BOOM), Attempt(20.0, "a", BOOM))


def test_the_members_share_one_limit() -> None:
    rig = running("a", "b", n=1)
    rig.exited("a")
    rig.started("a", 2)
    assert rig.exited("b") == [Stop("a", 2)]


def test_a_limit_of_infinite_length_is_fine() -> None:
    rig = running("a", n=1, within=math.inf)
    rig.exited("a")
    rig.started("a", 2)
    rig.now = 1e9
    assert isinstance(rig.exited("a", 2)[-1], Down)


# -- late reports ------------------------------------------------------------------------------------------------------
def test_an_exit_of_an_older_generation_is_ignored() -> None:
    rig = running("a")
    rig.exited("a")
    rig.started("a", 2)
    assert rig.exited("a", 1) == []
    assert rig.states() == {"a": "running"}


def test_an_exit_reported_twice_counts_once() -> None:
    rig = running("a")
    assert rig.exited("a", 1) == [restarting("a"), Start("a", 2)]
    assert rig.exited("a", 1) == []
    assert rig.started("a", 2) == []


def test_an_exit_of_an_unknown_child_is_ignored() -> None:
    assert running("a").exited("z") == []


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    rig = running("a")
    assert rig.started("a") == rig.declined("a") == rig.failed("a") == rig.stopped("a") == rig.started("z") == []
    rig.exited("a")
    assert rig.started("a", 1) == rig.failed("a", 1) == rig.stopped("a", 2) == []
    assert rig.states() == {"a": "starting"}


def test_an_exit_while_the_child_is_being_stopped_is_absorbed() -> None:
    rig = running("a")
    assert rig.ask("terminate", "a") == [Stop("a", 1)]
    assert rig.exited("a") == []
    assert rig.stopped("a") == [Close("a"), Answer(1, "ok")]


def test_an_exit_that_comes_after_the_stop_is_absorbed() -> None:
    rig = running("a")
    rig.ask("terminate", "a")
    rig.stopped("a")
    assert rig.exited("a") == []
    rig.ask("restart", "a")
    rig.started("a", 2)
    assert rig.exited("a", 1) == []


def test_a_late_exit_does_not_hit_who_took_the_id_of_a_forgotten_child() -> None:
    rig = running(Member("a", "temporary"))
    rig.ask("terminate", "a")
    assert rig.stopped("a") == [Forget("a"), Answer(1, "ok")]
    assert rig.add(Member("a", "temporary")) == [Start("a", 2)]
    rig.started("a", 2)
    assert rig.exited("a", 1) == []
    assert rig.states() == {"a": "running"}


def test_what_is_added_later_starts_above_every_generation_of_which_a_report_may_come() -> None:
    rig = running(Member("a", "temporary", generation=5), Member("b", "temporary"))
    for child, generation in (("a", 6), ("b", 1)):
        rig.ask("terminate", child)
        rig.stopped(child, generation)
    assert rig.add("a") == [Start("a", 7)]


def test_a_late_exit_is_remembered_even_if_later_generations_came_to_nothing() -> None:
    rig = running("a")
    rig.ask("terminate", "a")
    rig.stopped("a")
    rig.ask("restart", "a")
    rig.declined("a", 2)
    rig.ask("delete", "a")
    assert rig.add("a") == [Start("a", 2)]


def test_new_children_begin_with_generation_1_once_every_end_was_reported() -> None:
    rig = running(Member("a", "temporary"))
    rig.exited("a")
    assert rig.add(Member("a", "temporary")) == [Start("a", 1)]
    rig.declined("a")
    assert rig.add("a") == [Start("a", 1)]
    rig.failed("a")
    assert rig.add(Member("a", "temporary")) == [Start("a", 1)]
    rig.started("a")
    rig.ask("terminate", "a")
    rig.exited("a")
    rig.stopped("a")
    assert rig.add("a") == [Start("a", 1)]


def test_a_restart_whose_reason_was_reported_leaves_no_end_to_come() -> None:
    rig = running(Member("a", "transient"))
    rig.exited("a", 1)
    rig.started("a", 2)
    rig.exited("a", 2, NORMAL)
    rig.ask("delete", "a")
    assert rig.add("a") == [Start("a", 1)]


def test_generations_go_on_from_where_another_machine_left_them() -> None:
    rig = Rig(Member("a", generation=7))
    assert rig.boot() == [Start("a", 8)]
    rig.started("a", 8)
    assert rig.exited("a", 8) == [restarting("a"), Start("a", 9)]


# -- stop --------------------------------------------------------------------------------------------------------------
def test_stop_stops_all_in_reverse() -> None:
    rig = running("a", "b")
    assert rig.stop() == [Stop("b", 1)]
    assert rig.stopped("b") == [Stop("a", 1)]
    assert rig.stopped("a") == [Stopped()]
    assert rig.states() == {"a": "undefined", "b": "undefined"}


def test_stop_while_booting_stops_who_is_starting_and_then_the_rest() -> None:
    rig = Rig("a", "b", "c")
    rig.boot()
    rig.started("a")
    assert rig.stop() == [Stop("b", 1)]
    assert rig.started("b") == []
    assert rig.stopped("b") == [Stop("a", 1)]
    assert rig.stopped("a") == [Stopped()]


def test_stop_before_boot_is_done_at_once() -> None:
    rig = Rig("a")
    assert rig.stop() == [Stopped()]
    assert rig.boot() == []


def test_stop_while_a_child_is_being_stopped_waits_for_it_and_asks_no_second_time() -> None:
    rig = running("a", "b")
    assert rig.ask("terminate", "a") == [Stop("a", 1)]
    assert rig.stop() == [Answer(1, "shutting_down")]
    assert rig.stopped("a") == [Stop("b", 1)]
    assert rig.stopped("b") == [Stopped()]


def test_stop_in_the_middle_of_a_group_restart_stops_who_is_starting_first() -> None:
    rig = running("a", "b", "c", strategy="one_for_all")
    rig.exited("c")
    rig.stopped("b")
    assert rig.stopped("a") == [Start("a", 2)]
    assert rig.started("a", 2) == [Start("b", 2)]
    assert rig.stop() == [Stop("b", 2)]
    assert rig.stopped("b", 2) == [Stop("a", 2)]
    assert rig.stopped("a", 2) == [Stopped()]


def test_stop_while_a_restart_is_to_be_retried_gives_it_up() -> None:
    rig = running("a", "b")
    rig.exited("a")
    assert rig.failed("a", 2) == [Retry()]
    assert rig.stop() == [Stop("b", 1)]
    assert rig.resume() == []
    assert rig.stopped("b") == [Stopped()]
    assert rig.resume() == []


def test_stop_needs_no_stop_of_what_died_already() -> None:
    rig = running("a", "b", "c")
    rig.ask("terminate", "c")
    rig.exited("b")
    assert rig.stop()[-1:] == [Answer(1, "shutting_down")]
    assert rig.stopped("c") == [Stop("a", 1)]


def test_who_dies_while_all_is_stopped_is_not_restarted() -> None:
    rig = running("a", "b")
    rig.stop()
    assert rig.exited("a") == []
    assert rig.stopped("b") == [Stopped()]


def test_stop_twice_is_stop_once() -> None:
    rig = running("a")
    assert rig.stop() == [Stop("a", 1)]
    assert rig.stop() == []
    assert rig.stopped("a") == [Stopped()]
    assert rig.stop() == []


def test_stop_has_the_last_word_over_a_supervisor_that_is_going_down() -> None:
    rig = running("a", "b", n=0)
    assert rig.exited("b") == [Stop("a", 1)]
    assert rig.stop() == []
    assert rig.stopped("a") == [Stopped()]


def test_stop_has_the_last_word_over_a_boot_that_failed() -> None:
    rig = Rig("a", "b")
    rig.boot()
    rig.started("a")
    assert rig.failed("b") == [Stop("a", 1)]
    assert rig.stop() == []
    assert rig.stopped("a") == [Stopped()]


def test_requests_under_way_are_answered_when_stop_comes_and_later_ones_at_once() -> None:
    rig = running("a")
    assert rig.add("b", ticket="under way") == [Start("b", 1)]
    assert rig.ask("terminate", "a", ticket="waiting") == []
    assert rig.stop() == [Answer("under way", "shutting_down"), Answer("waiting", "shutting_down"), Stop("b", 1)]
    assert rig.ask("delete", "a", ticket="late") == [Answer("late", "shutting_down")]
    assert rig.stopped("b") == [Stop("a", 1)]
    assert rig.stopped("a") == [Stopped()]
    assert rig.add("c", ticket="too late") == [Answer("too late", "shutting_down")]


def test_requests_are_answered_too_when_the_supervisor_gives_up() -> None:
    rig = running("a", "b", n=0, strategy="one_for_all")
    rig.ask("terminate", "b", ticket="first")
    rig.exited("a")
    rig.ask("restart", "b", ticket="second")
    said = rig.stopped("b")
    assert said[:3] == [Close("b"), Answer("first", "ok"), Answer("second", "shutting_down")]
    assert isinstance(said[3], Down)


# -- groups ------------------------------------------------------------------------------------------------------------
def test_who_crashes_while_its_group_is_stopped_is_absorbed() -> None:
    rig = running("a", "b", "c", strategy="one_for_all")
    assert rig.exited("c") == [restarting("c"), Stop("b", 1)]
    assert rig.exited("a") == []
    assert rig.stopped("b") == [Start("a", 2)]
    assert rig.started("a", 2) == [Start("b", 2)]
    assert rig.started("b", 2) == [Start("c", 2)]
    assert rig.started("c", 2) == []
    assert set(rig.states().values()) == {"running"}


def test_who_dies_while_later_members_start_is_judged_as_a_new_failure() -> None:
    rig = running("a", "b", strategy="one_for_all")
    rig.exited("b")
    rig.stopped("a")
    rig.started("a", 2)
    assert rig.exited("a", 2) == []
    assert rig.started("b", 2) == [restarting("a", used=2), Stop("b", 2)]


def test_a_group_restart_forgets_the_temporary_and_starts_what_was_down() -> None:
    rig = running("a", Member("b", "temporary"), "c", strategy="one_for_all")
    rig.ask("terminate", "a")
    rig.stopped("a")
    assert rig.exited("c") == [restarting("c"), Stop("b", 1)]
    assert rig.stopped("b") == [Forget("b"), Start("a", 2)]
    assert rig.started("a", 2) == [Start("c", 2)]


def test_rest_for_one_leaves_alone_who_came_before() -> None:
    rig = running("a", "b", "c", strategy="rest_for_one")
    assert rig.exited("b") == [restarting("b"), Stop("c", 1)]
    assert rig.stopped("c") == [Start("b", 2)]
    assert rig.started("b", 2) == [Start("c", 2)]
    assert rig.started("c", 2) == []


def test_who_declines_in_a_group_restart_is_closed() -> None:
    rig = running("a", "b", strategy="rest_for_one")
    assert rig.exited("b") == [restarting("b"), Start("b", 2)]
    assert rig.declined("b", 2) == [Close("b")]


# -- retries -----------------------------------------------------------------------------------------------------------
def test_a_failed_restart_waits_for_resume_so_that_requests_get_a_turn() -> None:
    rig = running("a", "b")
    rig.exited("a")
    assert rig.failed("a", 2) == [Retry()]
    assert rig.states() == {"a": "restarting", "b": "running"}
    assert rig.ask("terminate", "b") == [Stop("b", 1)]
    assert rig.resume() == []
    assert rig.stopped("b") == [Close("b"), Answer(1, "ok"), restarting("a", used=2, reason=NOPE), Start("a", 3)]


def test_terminating_a_child_that_is_restarting_cancels_it() -> None:
    rig = running("a")
    rig.exited("a")
    rig.failed("a", 2)
    assert rig.ask("terminate", "a") == [Close("a"), Answer(1, "ok")]
    assert rig.resume() == []
    assert rig.states() == {"a": "undefined"}


def test_resume_without_a_retry_does_nothing() -> None:
    assert running("a").resume() == []


def test_a_retry_restarts_the_group_of_the_child_that_failed() -> None:
    rig = running("a", "b", "c", strategy="one_for_all")
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    rig.started("a", 2)
    assert rig.failed("b", 2) == [Retry()]
    assert rig.states() == {"a": "running", "b": "restarting", "c": "undefined"}
    assert rig.resume() == [restarting("b", used=2, reason=NOPE), Stop("a", 2)]
    assert rig.stopped("a", 2) == [Start("a", 3)]


def test_each_of_several_failed_restarts_is_retried_in_turn() -> None:
    rig = running("a", "b", n=9)
    rig.exited("a")
    rig.failed("a", 2)
    rig.exited("b")
    rig.failed("b", 2)
    assert rig.resume() == [restarting("a", used=3, reason=NOPE, n=9), Start("a", 3)]
    rig.started("a", 3)
    assert rig.resume() == [restarting("b", used=4, reason=NOPE, n=9), Start("b", 3)]


def test_a_retry_is_not_needed_once_another_failure_restarted_the_group() -> None:
    rig = running("a", "b", strategy="one_for_all")
    rig.exited("b")
    rig.stopped("a")
    rig.started("a", 2)
    assert rig.failed("b", 2) == [Retry()]
    rig.exited("a", 2)
    rig.started("a", 3)
    assert rig.started("b", 3) == []
    assert rig.resume() == []


# -- mailboxes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("restart", "reason", "said"),
    [
        ("permanent", NORMAL, [restarting("a", reason=NORMAL), Start("a", 2)]),
        ("permanent", BOOM, [restarting("a"), Start("a", 2)]),
        ("transient", NORMAL, [Close("a")]),
        ("transient", SHUTDOWN, [Close("a")]),
        ("transient", BOOM, [restarting("a"), Start("a", 2)]),
        ("temporary", NORMAL, [Forget("a")]),
        ("temporary", BOOM, [Forget("a")]),
    ],
)
def test_an_exit_restarts_closes_or_forgets(restart: Restart, reason: Reason, said: list[Action]) -> None:
    assert running(Member("a", restart)).exited("a", reason=reason) == said


def test_a_closed_child_is_not_closed_again() -> None:
    rig = running(Member("a", "transient"))
    assert rig.exited("a", reason=NORMAL) == [Close("a")]
    assert rig.ask("terminate", "a") == [Answer(1, "ok")]
    assert rig.ask("terminate", "a") == [Answer(1, "ok")]


def test_a_start_opens_what_was_closed_and_its_failure_closes_it_again() -> None:
    rig = running(Member("a", "transient"))
    rig.exited("a", reason=NORMAL)
    rig.ask("restart", "a")
    assert rig.failed("a", 2) == [Close("a"), Answer(1, "nope", NOPE)]
    rig.ask("restart", "a")
    assert rig.declined("a", 3) == [Close("a"), Answer(1, "ok_undefined")]


def test_who_is_to_be_started_again_is_not_closed() -> None:
    rig = running("a", "b", strategy="one_for_all")
    assert rig.exited("a") == [restarting("a"), Stop("b", 1)]
    assert rig.stopped("b") == [Start("a", 2)]
    assert rig.failed("a", 2) == [Retry()]


def test_cancelling_a_group_restart_closes_all_who_waited_for_it() -> None:
    rig = running("a", "b", "c", "d", strategy="rest_for_one")
    rig.exited("b")
    rig.stopped("d")
    rig.stopped("c")
    assert rig.failed("b", 2) == [Retry()]
    assert rig.ask("terminate", "b") == [Close("b"), Close("c"), Close("d"), Answer(1, "ok")]


def test_who_waits_for_another_restart_still_is_not_closed() -> None:
    rig = running("a", "b", "c", strategy="rest_for_one")
    rig.exited("a")
    rig.stopped("c")
    rig.stopped("b")
    rig.failed("a", 2)
    rig.ask("restart", "b")
    rig.started("b", 2)
    rig.exited("b", 2)
    assert rig.failed("b", 3) == [Retry()]
    assert rig.states() == {"a": "restarting", "b": "restarting", "c": "undefined"}
    assert rig.ask("terminate", "b") == [Close("b"), Answer(1, "ok")]


def test_the_end_of_the_machine_closes_nothing_for_the_parent_may_start_it_anew() -> None:
    rig = running("a", Member("b", "temporary"))
    rig.stop()
    rig.stopped("b")
    assert rig.stopped("a") == [Stopped()]


# -- requests ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("request_", ["terminate", "restart", "delete"])
def test_an_unknown_child_is_not_found(request_: Literal["terminate", "restart", "delete"]) -> None:
    assert running("a").ask(request_, "z") == [Answer(1, "not_found")]


@pytest.mark.parametrize("request_", ["restart", "delete"])
def test_restart_and_delete_want_a_child_that_is_down(request_: Literal["restart", "delete"]) -> None:
    rig = running("a")
    assert rig.ask(request_, "a") == [Answer(1, "running")]
    rig.exited("a")
    rig.failed("a", 2)
    assert rig.ask(request_, "a") == [Answer(1, "restarting")]


def test_delete_forgets_a_child_that_is_down() -> None:
    rig = running("a")
    rig.ask("terminate", "a")
    rig.stopped("a")
    assert rig.ask("delete", "a") == [Forget("a"), Answer(1, "ok")]
    assert rig.ask("delete", "a") == [Answer(1, "not_found")]


def test_add_starts_a_new_child_at_the_end() -> None:
    rig = running("b")
    assert rig.add("a") == [Start("a", 1)]
    assert rig.started("a") == [Answer(1, "ok")]
    assert rig.machine.view() == [("b", "running"), ("a", "running")]


def test_add_refuses_an_id_that_is_taken() -> None:
    rig = running("a", Member("b", "transient"))
    assert rig.add("a") == [Answer(1, "already_started")]
    rig.exited("b", reason=NORMAL)
    assert rig.add("b") == [Answer(1, "already_present")]


def test_a_child_that_fails_to_be_added_is_forgotten() -> None:
    rig = running()
    rig.add("a")
    assert rig.failed("a") == [Forget("a"), Answer(1, "nope", NOPE)]
    assert rig.states() == {}


@pytest.mark.parametrize(
    ("restart", "said", "states"),
    [
        ("permanent", [Close("a"), Answer(1, "ok_undefined")], {"a": "undefined"}),
        ("temporary", [Forget("a"), Answer(1, "ok_undefined")], {}),
    ],
)
def test_an_added_child_may_decline(restart: Restart, said: list[Action], states: dict[str, str]) -> None:
    rig = running()
    rig.add(Member("a", restart))
    assert rig.declined("a") == said
    assert rig.states() == states


@pytest.mark.parametrize("auto_shutdown", ["never", "any_significant", "all_significant"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("significant", [False, True])
def test_only_who_may_end_can_be_significant_and_only_where_that_ends_something(
    restart: Restart, auto_shutdown: AutoShutdown, significant: bool
) -> None:
    rig = running("a", auto_shutdown=auto_shutdown)
    said = rig.add(Member("b", restart, significant))
    if significant and (restart == "permanent" or auto_shutdown == "never"):
        assert said == [Answer(1, "bad_combination")]
        assert rig.states() == {"a": "running"}
    else:
        assert said == [Start("b", 1)]


def test_requests_while_busy_are_answered_in_order() -> None:
    rig = running("a")
    assert rig.add("b", ticket=1) == [Start("b", 1)]
    assert rig.ask("terminate", "b", ticket=2) == []
    assert rig.ask("delete", "z", ticket=3) == []
    assert rig.started("b") == [Answer(1, "ok"), Stop("b", 1)]
    assert rig.ask("delete", "b", ticket=4) == []
    assert rig.stopped("b") == [
        Close("b"),
        Answer(2, "ok"),
        Answer(3, "not_found"),
        Forget("b"),
        Answer(4, "ok"),
    ]


def test_view_answers_in_the_middle_of_things() -> None:
    rig = running("a", "b", "c")
    rig.exited("a")
    rig.failed("a", 2)
    rig.ask("terminate", "b")
    assert rig.machine.view() == [("a", "restarting"), ("b", "stopping"), ("c", "running")]
    rig.stopped("b")
    rig.add("d")
    assert rig.machine.view() == [("a", "restarting"), ("b", "undefined"), ("c", "running"), ("d", "starting")]


# -- auto-shutdown -----------------------------------------------------------------------------------------------------
def test_the_first_significant_child_that_ends_takes_all_along() -> None:
    rig = running(Member("a", "transient", significant=True), "b", auto_shutdown="any_significant")
    assert rig.exited("a", reason=NORMAL) == [Close("a"), Stop("b", 1)]
    assert rig.stopped("b") == [Down(SHUTDOWN)]


def test_the_last_significant_child_that_ends_takes_all_along() -> None:
    vital = Member("a", "transient", significant=True), Member("b", "temporary", significant=True)
    rig = running(*vital, "c", auto_shutdown="all_significant")
    assert rig.exited("b") == [Forget("b")]
    assert rig.exited("a", reason=NORMAL) == [Close("a"), Stop("c", 1)]
    assert rig.stopped("c") == [Down(SHUTDOWN)]


def test_a_significant_child_that_is_restarting_is_not_at_its_end() -> None:
    vital = Member("a", "transient", significant=True), Member("b", "transient", significant=True)
    rig = running(*vital, auto_shutdown="all_significant")
    rig.exited("a")
    rig.failed("a", 2)
    assert rig.exited("b", reason=NORMAL) == [Close("b")]


def test_a_significant_child_that_was_terminated_takes_nobody_along() -> None:
    rig = running(Member("a", "transient", significant=True), auto_shutdown="any_significant")
    rig.ask("terminate", "a")
    assert rig.stopped("a") == [Close("a"), Answer(1, "ok")]


def test_an_insignificant_child_takes_nobody_along() -> None:
    rig = running(Member("a", "transient"), auto_shutdown="any_significant")
    assert rig.exited("a", reason=NORMAL) == [Close("a")]
