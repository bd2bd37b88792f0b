"""Children that are alike to their supervisor: no order among them, a limit for each, and linear time."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pytest

from tests.supervision.rig import BOOM, NOPE, Limit, Pool, Request, decided, restarting
from trouper import Backoff, Persist
from trouper.reasons import KILLED, NORMAL, SHUTDOWN, Reason, crashed
from trouper.supervision.actions import (
    Action,
    Answer,
    Attempt,
    BootFailed,
    Down,
    Forget,
    Restarting,
    Start,
    Stop,
    Stopped,
    Up,
    Wait,
)
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.members import Member, Restart

LATER = Backoff(first=5.0, jitter=0.0)


def pool(*members: Member | str, n: int = 3, within: float = 30.0) -> Pool:
    """All of them are up."""
    rig = Pool(*members, n=n, within=within)
    rig.boot()
    for child in rig.states():
        rig.started(child)
    assert set(rig.states().values()) <= {"running"}
    return rig


# -- a life that takes over from another -----------------------------------------------------------------------------
def test_a_life_that_has_taken_over_is_the_one_whose_end_counts() -> None:
    rig = pool("a", "b")
    rig.dynamic.renewed("a")
    assert rig.exited("a", 1) == [], "the one before"
    assert rig.exited("a", 2) == [restarting("a"), Start("a", 3)]
    assert rig.exited("b", 1) == [restarting("b"), Start("b", 2)]


def test_only_a_child_that_runs_can_be_taken_over_from() -> None:
    rig = pool("a")
    rig.exited("a")
    rig.dynamic.renewed("a")
    rig.dynamic.renewed("nobody")
    assert rig.started("a", 2) == []
    assert rig.states() == {"a": "running"}


def test_from_its_stop_on_it_is_ending() -> None:
    rig = pool("a")
    assert not rig.dynamic.ending
    rig.stop()
    assert rig.dynamic.ending


# -- boot --------------------------------------------------------------------------------------------------------------
def test_without_members_it_is_up_at_once() -> None:
    assert Pool().boot() == [Up()]


def test_its_members_start_side_by_side_and_it_is_up_when_all_are() -> None:
    rig = Pool("a", Member("b", generation=6), "c")
    assert rig.boot() == [Start("a", 1), Start("b", 7), Start("c", 1)]
    assert rig.started("c") == rig.started("a") == []
    assert rig.started("b") == [Up()]


def test_a_member_that_fails_to_start_fails_the_boot_and_all_others_are_stopped_at_once() -> None:
    rig = Pool("a", "b", "c")
    rig.boot()
    rig.started("a")
    assert rig.failed("b") == [Stop("c", 1), Stop("a", 1)]
    assert rig.started("c") == []
    assert rig.stopped("a") == [Forget("a")]
    assert rig.stopped("c") == [Forget("c"), BootFailed("b", NOPE)]
    assert rig.states() == {}


@pytest.mark.parametrize("reason", [NORMAL, BOOM, KILLED])
def test_an_exit_in_place_of_an_answer_fails_the_boot(reason: Reason) -> None:
    rig = Pool("a")
    rig.boot()
    assert rig.exited("a", reason=reason) == [BootFailed("a", reason)]


def test_the_boot_fails_once() -> None:
    rig = Pool("a", "b")
    rig.boot()
    assert rig.failed("a") == [Stop("b", 1)]
    assert rig.failed("b") == []
    assert rig.stopped("b") == [Forget("b"), BootFailed("a", NOPE)]


def test_a_member_that_declines_is_forgotten_and_the_boot_goes_on() -> None:
    rig = Pool("a", "b")
    rig.boot()
    assert rig.declined("a") == [Forget("a")]
    assert rig.started("b") == [Up()]
    rig = Pool("a")
    rig.boot()
    assert rig.declined("a") == [Forget("a"), Up()]


def test_a_member_that_was_up_and_fails_again_during_the_boot_does_not_fail_it() -> None:
    rig = Pool("a", "b")
    rig.boot()
    rig.started("a")
    assert rig.exited("a") == [restarting("a"), Start("a", 2)]
    assert rig.failed("a") == [restarting("a", used=2, reason=NOPE), Start("a", 3)]
    assert rig.started("b") == [Up()], "it was up once"
    assert rig.started("a") == []


def test_a_member_that_is_terminated_during_the_boot_is_not_waited_for() -> None:
    rig = Pool("a", "b")
    rig.boot()
    rig.started("b")
    assert rig.ask("terminate", "a") == [Stop("a", 1), Answer(1, "ok")]
    assert rig.failed("a") == []
    assert rig.stopped("a") == [Forget("a"), Up()]


def test_stop_while_booting_leaves_nothing_behind() -> None:
    rig = Pool("a", "b", "c")
    rig.boot()
    rig.started("a")
    assert rig.stop() == [Stop("c", 1), Stop("b", 1), Stop("a", 1)]
    assert rig.started("b") == rig.failed("c") == rig.exited("a") == []
    assert rig.stopped("b") == [Forget("b")]
    assert rig.stopped("c") == [Forget("c")]
    assert rig.stopped("a") == [Forget("a"), Stopped()]
    assert rig.states() == {}


def test_stop_before_the_boot_is_done_at_once() -> None:
    rig = Pool("a")
    assert rig.stop() == [Stopped()]
    assert rig.boot() == []
    assert rig.states() == {}


def test_who_is_added_during_the_boot_is_not_waited_for_and_does_not_fail_it() -> None:
    rig = Pool("a")
    rig.boot()
    rig.add("b")
    assert rig.failed("b") == [restarting("b", reason=NOPE), Start("b", 2)]
    assert rig.started("a") == [Up()]
    assert rig.started("b") == []


# -- ends --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("restart", "reason", "said"),
    [
        ("permanent", NORMAL, [restarting("a", reason=NORMAL), Start("a", 2)]),
        ("permanent", SHUTDOWN, [restarting("a", reason=SHUTDOWN), Start("a", 2)]),
        ("permanent", BOOM, [restarting("a"), Start("a", 2)]),
        ("transient", NORMAL, [Forget("a")]),
        ("transient", SHUTDOWN, [Forget("a")]),
        ("transient", BOOM, [restarting("a"), Start("a", 2)]),
        ("temporary", NORMAL, [Forget("a")]),
        ("temporary", BOOM, [Forget("a")]),
    ],
)
def test_an_exit_restarts_or_forgets(restart: Restart, reason: Reason, said: list[Action]) -> None:
    assert pool(Member("a", restart)).exited("a", reason=reason) == said


@pytest.mark.parametrize(
    ("restart", "said"),
    [
        ("permanent", [restarting("a", reason=NOPE), Start("a", 2)]),
        ("transient", [restarting("a", reason=NOPE), Start("a", 2)]),
        ("temporary", [Forget("a")]),
    ],
)
def test_a_start_that_fails_is_an_abnormal_end(restart: Restart, said: list[Action]) -> None:
    rig = pool()
    rig.add(Member("a", restart))
    assert rig.failed("a") == said


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_who_declines_is_forgotten(restart: Restart) -> None:
    rig = pool()
    rig.add(Member("a", restart))
    assert rig.declined("a") == [Forget("a")]
    assert rig.states() == {}


def test_one_that_takes_long_holds_up_nobody() -> None:
    rig = pool("a", "b", "c")
    rig.exited("a")
    rig.ask("terminate", "b")
    assert rig.states() == {"a": "starting", "b": "stopping", "c": "running"}
    assert rig.exited("c") == [restarting("c"), Start("c", 2)]
    assert rig.add("d") == [Start("d", 1), Answer(1, "ok")]
    assert rig.started("c") == rig.started("d") == []


# -- delays ------------------------------------------------------------------------------------------------------------
def test_each_waits_longer_each_time_and_begins_anew_after_health() -> None:
    rig = pool(Member("a", backoff=Backoff()), "b", n=99)
    delays = []
    for _ in range(12):
        said = rig.exited("a")
        delays.append(decided(said).delay)
        if rig.states()["a"] == "backoff":
            assert said[1:] == [Wait("a", rig.generations["a"], delays[-1])]
            assert rig.due("a") == [Start("a", rig.generations["a"])]
        rig.started("a")
    assert delays == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
    assert rig.at(29.999).exited("a")[0] == restarting("a", used=13, n=99, delay=30.0)
    rig.at(100.0).due("a")
    rig.started("a")
    assert rig.at(130.0).exited("a")[1] == Start("a", 15)


def test_a_start_that_takes_long_is_no_health() -> None:
    rig = pool(Member("a", backoff=Backoff()))
    rig.exited("a")
    assert rig.at(100.0).failed("a") == [restarting("a", used=2, reason=NOPE, delay=0.2), Wait("a", 2, 0.2)]


def test_health_is_counted_from_when_it_was_up() -> None:
    rig = pool(Member("a", backoff=Backoff(reset_after=30.0)))
    rig.exited("a")
    rig.at(100.0).started("a")
    assert rig.at(129.0).exited("a")[0] == restarting("a", used=2, delay=0.2)


def test_a_delay_has_its_part_of_chance() -> None:
    rig = Pool(Member("a", backoff=Backoff(first=10.0, jitter=0.5)), chance=lambda: 0.5)
    rig.boot()
    rig.started("a")
    assert rig.exited("a") == [restarting("a", delay=7.5), Wait("a", 1, 7.5)]


def test_under_persist_a_crash_loop_never_escalates_and_never_counts() -> None:
    rig = pool(Member("a", backoff=Persist()), n=0)
    for failures in range(1, 100):
        said = restarting("a", used=0, n=0, delay=Persist().delay(failures, 0.0), counted=False)
        assert rig.exited("a")[0] == said
        rig.due("a")
        rig.started("a")


def test_without_chance_delays_are_not_shortened() -> None:
    dynamic = Dynamic(Limit(3, 30.0))
    dynamic.spawn("a", "permanent", Backoff(first=5.0, jitter=1.0))
    dynamic.exited("a", 1, BOOM, 0.0)
    assert dynamic.actions[-1] == Wait("a", 1, 5.0)


@pytest.mark.parametrize("what", ["terminate", "stop", "add"])
def test_nothing_that_ends_a_backoff_is_undone_when_its_time_comes(what: Literal["terminate", "stop", "add"]) -> None:
    rig = pool(Member("a", backoff=LATER))
    assert rig.exited("a") == [restarting("a", delay=5.0), Wait("a", 1, 5.0)]
    if what == "stop":
        assert rig.stop() == [Forget("a"), Stopped()]
    else:
        assert rig.ask("terminate", "a") == [Forget("a"), Answer(1, "ok")]
    if what == "add":
        assert rig.add(Member("a", backoff=LATER)) == [Start("a", 2), Answer(1, "ok")]
        rig.started("a")
        rig.exited("a")
    before = rig.states()
    assert rig.due("a", 1) == []
    assert rig.states() == before


def test_the_delay_of_one_that_was_forgotten_does_not_cut_short_that_of_a_later_one() -> None:
    rig = pool(Member("a", backoff=LATER))
    rig.exited("a")
    rig.ask("terminate", "a")
    assert rig.dynamic.spawn("a", "permanent", LATER) == 2, "for its caller to start"
    assert rig.said() == []
    rig.started("a", 2)
    assert rig.exited("a", 2)[-1] == Wait("a", 2, 5.0)
    assert rig.due("a", 1) == []
    assert rig.due("a", 2) == [Start("a", 3)]


def test_generations_begin_with_1_where_nothing_may_come_late() -> None:
    rig = pool("a")
    rig.ask("terminate", "a")
    rig.stopped("a")
    assert rig.dynamic.spawn("a", "permanent", None) == 1


def test_a_delay_that_is_over_twice_starts_once() -> None:
    rig = pool(Member("a", backoff=LATER))
    rig.exited("a")
    assert rig.due("a", 1) == [Start("a", 2)]
    assert rig.due("a", 1) == rig.due("a", 2) == rig.due("z", 1) == []


# -- the limit ---------------------------------------------------------------------------------------------------------
def test_each_child_has_the_limit_for_itself() -> None:
    rig = pool("a", "b", n=1)
    assert rig.exited("a") == [restarting("a", n=1), Start("a", 2)]
    assert rig.exited("b") == [restarting("b", n=1), Start("b", 2)]
    rig.started("a")
    assert rig.exited("a") == [Stop("b", 2)]


def test_one_child_over_its_limit_ends_them_all_and_its_own_history_is_told() -> None:
    rig = pool("a", "b", "c", n=1)
    first, last = crashed(ValueError("first")), crashed(KeyError("last"))
    rig.at(1.0).exited("b", reason=first)
    rig.exited("a")
    rig.started("b")
    assert rig.at(2.0).exited("b", reason=last) == [Stop("c", 1), Stop("a", 2)]
    assert rig.stopped("a") == [Forget("a")]
    [forget, down] = rig.stopped("c")
    assert forget == Forget("c")
    assert isinstance(down, Down)
    assert down.reason.kind == "restart_limit"
    assert down.reason.cause is last.cause
    assert down.reason.why == (Attempt(1.0, "b", first), Attempt(2.0, "b", last))


def test_the_last_child_over_its_limit_ends_it_at_once() -> None:
    rig = pool("a", n=0)
    [down] = rig.exited("a")
    assert isinstance(down, Down)
    assert rig.states() == {}


@pytest.mark.parametrize(("up", "gives_up"), [(9.999, True), (10.0, False)])
def test_a_restart_counts_while_its_child_was_up_for_less_than_the_window(up: float, gives_up: bool) -> None:
    rig = pool(Member("a", backoff=LATER), n=1, within=10.0)
    rig.exited("a")
    rig.at(100.0).due("a")
    rig.at(500.0).started("a")
    assert isinstance(rig.at(500.0 + up).exited("a")[-1], Down) is gives_up


def test_a_crash_loop_that_is_slower_than_its_window_still_escalates() -> None:
    rig = pool("a", n=3, within=30.0)
    for now in (0.0, 100.0, 200.0):
        rig.at(now).exited("a")
        rig.at(now + 95.0).started("a")
    assert isinstance(rig.at(300.0).exited("a")[-1], Down)


def test_used_tells_what_counts_still() -> None:
    rig = pool("a", n=2, within=10.0)
    for now, used in ((0.0, 1), (5.0, 2), (12.0, 2), (30.0, 1)):
        assert rig.at(now).exited("a")[0] == restarting("a", used=used, n=2)
        rig.started("a")


# -- stop --------------------------------------------------------------------------------------------------------------
def test_all_are_stopped_at_once_the_youngest_first() -> None:
    rig = pool("a", "b", "c")
    assert rig.stop() == [Stop("c", 1), Stop("b", 1), Stop("a", 1)]
    assert rig.stopped("c") == [Forget("c")]
    assert rig.stopped("a") == [Forget("a")]
    assert rig.stopped("b") == [Forget("b"), Stopped()]


def test_a_second_stop_is_harmless() -> None:
    rig = pool("a")
    rig.stop()
    assert rig.stop() == []
    assert rig.stopped("a") == [Forget("a"), Stopped()]
    assert rig.stop() == rig.stopped("a") == []


def test_stop_has_the_last_word_over_a_supervisor_that_is_going_down() -> None:
    rig = pool("a", "b", n=0)
    assert rig.exited("b") == [Stop("a", 1)]
    assert rig.stop() == []
    assert rig.stopped("a") == [Forget("a"), Stopped()]


def test_stop_asks_none_a_second_time_that_is_being_stopped() -> None:
    rig = pool("a", Member("b", backoff=LATER), "c")
    rig.ask("terminate", "a")
    rig.exited("b")
    assert rig.stop() == [Stop("c", 1), Forget("b")]
    assert rig.stopped("c") == [Forget("c")]
    assert rig.stopped("a") == [Forget("a"), Stopped()]


def test_who_ends_by_itself_while_all_is_stopped_is_forgotten_once() -> None:
    rig = pool("a", "b")
    rig.stop()
    assert rig.exited("a") == []
    assert rig.stopped("a") == [Forget("a")]
    assert rig.exited("a") == rig.stopped("a") == []
    assert rig.stopped("b") == [Forget("b"), Stopped()]


def test_after_the_end_nothing_is_started() -> None:
    rig = pool()
    rig.stop()
    assert rig.add("a") == [Answer(1, "shutting_down")]
    assert rig.dynamic.spawn("a", "permanent", None) == 0
    assert rig.ask("terminate", "a") == [Answer(1, "not_found")]
    assert rig.resume() == rig.boot() == []


# -- requests ----------------------------------------------------------------------------------------------------------
def test_terminate_stops_and_forgets() -> None:
    rig = pool("a", "b")
    assert rig.ask("terminate", "a") == [Stop("a", 1), Answer(1, "ok")]
    assert rig.ask("terminate", "a") == [Answer(1, "ok")]
    assert rig.exited("a") == []
    assert rig.stopped("a") == [Forget("a")]
    assert rig.ask("terminate", "a") == [Answer(1, "not_found")]
    assert rig.states() == {"b": "running"}


def test_terminate_while_all_is_stopped_is_refused() -> None:
    rig = pool("a")
    rig.stop()
    assert rig.ask("terminate", "a") == [Answer(1, "shutting_down")]


@pytest.mark.parametrize("answer", ["started", "failed", "declined", "exited"])
def test_one_that_starts_can_be_terminated_and_its_late_answers_are_ignored(answer: str) -> None:
    rig = pool()
    rig.add("a")
    assert rig.ask("terminate", "a") == [Stop("a", 1), Answer(1, "ok")]
    assert getattr(rig, answer)("a") == []
    assert rig.states() == {"a": "stopping"}
    assert rig.stopped("a") == [Forget("a")]
    assert getattr(rig, answer)("a") == []


@pytest.mark.parametrize("request_", ["restart", "delete", "hold", "release"])
def test_other_requests_are_not_for_such_children(request_: Request) -> None:
    rig = pool("a")
    assert rig.ask(request_, "a") == [Answer(1, "simple_one_for_one")]
    assert rig.ask(request_, "z") == [Answer(1, "not_found")]
    assert rig.states() == {"a": "running"}


# -- late reports ------------------------------------------------------------------------------------------------------
def test_an_exit_reported_twice_counts_once() -> None:
    rig = pool(Member("a", backoff=LATER), n=1)
    assert rig.exited("a", 1) == [restarting("a", n=1, delay=5.0), Wait("a", 1, 5.0)]
    assert rig.exited("a", 1) == rig.failed("a", 1) == []
    assert rig.due("a") == [Start("a", 2)]
    assert rig.exited("a", 1) == []
    assert rig.states() == {"a": "starting"}


def test_answers_that_nobody_waits_for_change_nothing() -> None:
    rig = pool("a")
    assert rig.started("a") == rig.declined("a") == rig.failed("a") == rig.stopped("a") == []
    assert rig.started("z") == rig.declined("z") == rig.failed("z") == rig.stopped("z") == rig.exited("z") == []
    rig.exited("a")
    assert rig.started("a", 1) == rig.declined("a", 1) == rig.failed("a", 1) == rig.stopped("a", 2) == []
    assert rig.states() == {"a": "starting"}


# -- linear time -------------------------------------------------------------------------------------------------------
def test_each_child_costs_a_bounded_number_of_actions_however_many_there_are() -> None:
    many = 5000
    rig = Pool()
    said = Counter(type(action) for action in rig.boot())
    names = [str(number) for number in range(many)]
    for name in names:
        rig.dynamic.spawn(name, "transient", LATER)
    for happens in (rig.started, rig.exited, rig.due, rig.started):
        for name in names:
            said += Counter(type(action) for action in happens(name))
    stops = rig.stop()
    assert stops == [Stop(name, 2) for name in reversed(names)]
    for name in names:
        said += Counter(type(action) for action in rig.stopped(name))
    assert said == {Up: 1, Start: many, Restarting: many, Wait: many, Forget: many, Stopped: 1}
