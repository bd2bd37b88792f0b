from __future__ import annotations

import math
import weakref
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper.supervision.budget import Budget, Uptime

UP = Uptime()  # of what never was down


def test_one_more_than_n_is_over() -> None:
    budget = Budget(2, within=10.0)
    assert [budget.add(UP, now) for now in (0.0, 1.0, 2.0)] == [False, False, True]


def test_a_budget_of_none_is_over_at_once() -> None:
    assert Budget(0, within=10.0).add(UP, 0.0)


@pytest.mark.parametrize(("later", "over"), [(9.999, True), (10.0, False), (10.001, False)])
def test_a_restart_counts_while_it_is_younger_than_the_window(later: float, over: bool) -> None:
    budget = Budget(1, within=10.0)
    budget.add(UP, 0.0)
    assert budget.add(UP, later) is over


def test_several_at_one_time_count_each() -> None:
    budget = Budget(2, within=0.5)
    assert [budget.add(UP, 7.0) for _ in range(3)] == [False, False, True]


def test_an_infinite_window_never_forgets() -> None:
    budget = Budget(1, within=math.inf)
    budget.add(UP, 0.0)
    assert budget.add(UP, 1e300)


def test_used_forgets_without_counting() -> None:
    budget = Budget(3, within=1.0)
    budget.add(UP, 0.0)
    budget.add(UP, 0.5)
    assert [budget.used(now) for now in (0.5, 0.5, 1.0, 1.5)] == [2, 2, 1, 0]


def test_the_history_holds_the_notes_that_count() -> None:
    budget = Budget(1, within=10.0)
    for now, note in ((0.0, "old"), (5.0, "first"), (12.0, "last")):
        budget.add(UP, now, note)
    assert budget.history == ("first", "last")


@given(
    n=st.integers(0, 5),
    within=st.integers(1, 40).map(lambda quarters: quarters / 4),
    steps=st.lists(st.integers(0, 20).map(lambda quarters: quarters / 4)),
)
def test_over_means_more_than_n_within_the_window(n: int, within: float, steps: list[float]) -> None:
    budget = Budget(n, within)
    times: list[float] = []
    for step in steps:
        now = (times[-1] if times else 0.0) + step
        times.append(now)
        counted = [time for time in times if Fraction(now) - Fraction(time) < Fraction(within)]
        assert budget.add(UP, now) is (len(counted) > n)
        assert budget.used(now) == len(counted)


def test_a_restart_does_not_age_while_what_it_restarted_is_down() -> None:
    budget, feed, store = Budget(1, within=10.0), Uptime(), Uptime()
    feed.pause(1.0)
    budget.add(feed, 1.0)
    assert budget.used(1000.0) == 1, "down all the time"
    feed.run(1000.0)
    assert [budget.used(now) for now in (1009.999, 1010.0)] == [1, 0]
    budget.add(store, 1010.0)
    assert budget.add(feed, 1019.5), "each has its own uptime"


def test_a_clock_of_uptime_leaves_out_what_it_stood_still() -> None:
    clock = Uptime()
    begun = clock.read(5.0)
    clock.run(6.0)
    assert clock.read(7.0) - begun == 2.0
    clock.pause(8.0)
    clock.pause(9.0)
    assert clock.read(100.0) - begun == 3.0
    clock.run(100.0)
    clock.run(101.0)
    assert clock.read(101.5) - begun == 4.5


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6).map(sorted), st.floats(0.001, 1e6))
def test_the_window_of_what_comes_up_at_once_is_exact_to_the_last_bit(times: list[float], within: float) -> None:
    budget, uptime = Budget(99, within), Uptime()
    for now in times:
        uptime.pause(now)
        budget.add(uptime, now)
        uptime.run(now)
    assert budget.used(times[-1]) == sum(times[-1] - time < within for time in times)


class Slow:
    """A clock of uptime that writes down when it was up, and adds up the pieces each time."""

    def __init__(self) -> None:
        self.up: list[tuple[Fraction, Fraction]] = []
        self.since: Fraction | None = Fraction(0)

    def switch(self, now: Fraction, *, up: bool) -> None:
        if self.since is not None:
            self.up.append((self.since, now))
        self.since = now if up else None

    def ran(self, since: Fraction, until: Fraction) -> Fraction:
        pieces = [*self.up, *([] if self.since is None else [(self.since, until)])]
        return sum((max(Fraction(0), min(end, until) - max(begin, since)) for begin, end in pieces), Fraction(0))


quarters = st.integers(0, 20).map(lambda count: count / 4)
happenings = st.lists(st.tuples(quarters, st.sampled_from("ab"), st.sampled_from(["up", "down", "restart"])))


@given(n=st.integers(0, 5), within=st.integers(1, 40).map(lambda count: count / 4), happenings=happenings)
def test_a_budget_over_uptime_agrees_with_a_list_of_intervals(
    n: int, within: float, happenings: list[tuple[float, str, str]]
) -> None:
    budget, now = Budget(n, within), 0.0
    clocks, slow = {"a": Uptime(), "b": Uptime()}, {"a": Slow(), "b": Slow()}
    restarts: list[tuple[str, Fraction]] = []
    for step, child, what in happenings:
        now += step
        exact = Fraction(now)
        match what:
            case "up":
                clocks[child].run(now)
                slow[child].switch(exact, up=True)
            case "down":
                clocks[child].pause(now)
                slow[child].switch(exact, up=False)
            case _:
                restarts.append((child, exact))
                over = budget.add(clocks[child], now, (child, exact))
                restarts = [(it, at) for it, at in restarts if slow[it].ran(at, exact) < within]
                assert over is (len(restarts) > n)
                assert budget.history == tuple(restarts)
        restarts = [(it, at) for it, at in restarts if slow[it].ran(at, exact) < within]
        assert budget.used(now) == len(restarts)


def test_of_many_restarts_the_last_hundred_are_told_and_no_note_of_others_is_kept() -> None:
    budget, notes = Budget(1000, within=150.0), [Note() for _ in range(150)]
    for now in range(150):
        budget.add(UP, now, notes[now])
    assert budget.history == tuple(notes[50:])
    kept = [weakref.ref(note) for note in notes]
    del notes
    assert [number for number, ref in enumerate(kept) if ref() is not None] == list(range(50, 150))
    assert [budget.used(150 + now) for now in range(150)] == list(range(149, -1, -1)), "each ages, told or not"


def test_no_note_is_kept_of_what_does_not_count_any_more() -> None:
    budget, clocks, notes = Budget(1000, within=10.0), [Uptime(), Uptime()], [Note() for _ in range(4)]
    clocks[0].pause(0.0)
    for number in range(4):
        budget.add(clocks[number % 2], 0.0, notes[number])
    kept = [weakref.ref(note) for note in notes]
    del notes
    assert budget.used(10.0) == 2, "what is down does not age"
    assert [ref() is not None for ref in kept] == [True, False, True, False]
    clocks[0].run(10.0)
    assert budget.used(20.0) == 0
    assert [ref() for ref in kept] == [None] * 4
    assert budget.history == ()
    assert not budget._of, "nor its clock"


class Note: ...
