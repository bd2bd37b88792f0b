"""Timers come in the order in which they are due."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trouper.lanes.timers import HeapTimer, Timers


def called(timers: Timers, now: float) -> list[Any]:
    return [timer.args[0] for timer in timers.due(now) if timer.fn is not None]


def test_without_timers_the_next_is_never_due() -> None:
    assert Timers().next() == inf
    assert called(Timers(), 1e9) == []


def test_a_timer_is_due_at_its_moment_and_not_before() -> None:
    timers = Timers()
    timers.add(2.0, print, "it")
    assert timers.next() == 2.0
    assert called(timers, 1.999) == []
    assert called(timers, 2.0) == ["it"]
    assert timers.next() == inf


def test_a_timer_keeps_what_it_shall_call() -> None:
    timers = Timers()
    timer = timers.add(1.0, max, 3, 4)
    assert timer.fn is max
    assert timer.args == (3, 4)


def test_those_due_at_once_come_in_the_order_in_which_they_were_set() -> None:
    timers = Timers()
    for name in "abcdefg":
        timers.add(1.0, print, name)
    assert called(timers, 1.0) == list("abcdefg")


def test_a_cancelled_timer_does_not_come_and_is_not_waited_for() -> None:
    timers = Timers()
    first = timers.add(1.0, print, "first")
    timers.add(2.0, print, "second")
    first.cancel()
    first.cancel()
    assert timers.next() == 2.0
    assert called(timers, 3.0) == ["second"]


def test_a_cancelled_timer_lets_go_of_what_it_would_have_called() -> None:
    timer = HeapTimer(1.0, 0, print, ("it",))
    timer.cancel()
    assert timer.fn is None
    assert timer.args == ()


def test_a_timer_that_another_one_cancels_while_they_come_does_not_come() -> None:
    timers = Timers()
    timers.add(1.0, print, "canceller")
    victim = timers.add(2.0, print, "victim")
    timers.add(3.0, print, "last")
    came = []
    for timer in timers.due(5.0):
        came.append(timer.args[0])
        victim.cancel()
    assert came == ["canceller", "last"]


def test_a_timer_that_is_set_while_others_come_comes_with_them_if_it_is_due() -> None:
    timers = Timers()
    timers.add(1.0, print, 1)
    came = []
    for timer in timers.due(2.0):
        came.append(timer.args[0])
        if timer.args[0] < 3:
            timers.add(1.5, print, timer.args[0] + 1)
    assert came == [1, 2, 3]


def test_what_was_left_when_the_taker_stopped_comes_the_next_time() -> None:
    timers = Timers()
    for number in range(3):
        timers.add(number, print, number)
    assert next(timers.due(9.0)).args == (0,)
    assert called(timers, 9.0) == [1, 2]


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=40),
    st.lists(st.integers(0, 20), max_size=8).map(sorted),
)
def test_they_come_as_from_a_sorted_list(planned: list[tuple[int, bool]], moments: list[int]) -> None:
    timers = Timers()
    expected = []
    for number, (when, cancelled) in enumerate(planned):
        timer = timers.add(when, print, number)
        if cancelled:
            timer.cancel()
        else:
            expected.append((when, number))
    expected.sort()
    for now in moments:
        due = [number for when, number in expected if when <= now]
        expected = [(when, number) for when, number in expected if when > now]
        assert called(timers, now) == due
        assert timers.next() == (expected[0][0] if expected else inf)
