"""A thread's lane waits in its bell."""

from __future__ import annotations

import math
from threading import Thread, get_ident

import pytest

from trouper.lanes.thread_lane import ThreadLane


@pytest.fixture
def lane() -> ThreadLane:
    """A lane whose thread is the test's own."""
    lane = ThreadLane("tested")
    lane.ident = get_ident()
    return lane


@pytest.mark.parametrize("timeout", [None, 20.0, math.inf])
def test_an_order_from_another_thread_ends_the_wait_that_it_fulfils(lane: ThreadLane, timeout: float | None) -> None:
    done: list[int] = []
    other = Thread(target=lane.post, args=(done.append, 1), daemon=True)
    other.start()
    assert lane.wait(lambda: done, timeout)
    other.join()
    assert not lane.waits_in_runtime


@pytest.mark.parametrize("timeout", [-1.0, 0.0, 0.001])
def test_a_wait_for_nothing_ends_in_time(lane: ThreadLane, timeout: float) -> None:
    assert not lane.wait(lambda: False, timeout)


def test_a_bell_that_rings_for_nothing_does_not_end_the_wait(lane: ThreadLane) -> None:
    looks: list[None] = []
    for _ in range(3):
        lane.bell.put(None)

    def until() -> bool:
        looks.append(None)
        return len(looks) > 5

    assert lane.wait(until, 20.0)
