"""Credit: no more is under way than a mailbox holds, and what was not acknowledged is known exactly."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper.workers.credit import WINDOW, Credit, Takings


@pytest.mark.parametrize(("capacity", "window"), [(None, WINDOW), (1, 1), (WINDOW, WINDOW), (WINDOW * 10, WINDOW)])
def test_as_much_may_be_under_way_as_the_mailbox_holds_up_to_a_window(capacity: int | None, window: int) -> None:
    assert Credit(capacity).left == window


@given(st.lists(st.integers(-3, 12)), st.integers(1, 20))
def test_credit_never_exceeds_the_window_nor_is_more_given_back_than_was_sent(steps: list[int], capacity: int) -> None:
    credit = Credit(capacity)
    for step in steps:
        if step > 0 and step <= credit.left:
            credit.sent += step
        else:
            before = credit.unacknowledged
            assert credit.give_back(-step) is (0 < -step <= before)
        assert 0 <= credit.unacknowledged <= capacity
        assert credit.left == capacity - credit.unacknowledged


@given(st.lists(st.integers(0, 5)))
def test_every_arrival_is_covered_by_one_receipt_behind_it_and_one_lies_in_the_box_at_a_time(steps: list[int]) -> None:
    takings, box = Takings(), deque[tuple[str, int]]()
    arrived = acknowledged = handled = 0
    for step in [*steps, *[0] * 200]:
        if step:
            box.extend([("message", 1)] * step)
            arrived += step
            if count := takings.arrive(step):
                box.append(("receipt", count))
        elif box:
            kind, count = box.popleft()
            if kind == "message":
                handled += 1
            else:
                acknowledged += count
                assert acknowledged <= handled  # nothing is acknowledged before it was taken
                if count := takings.take():
                    box.append(("receipt", count))
        assert sum(kind == "receipt" for kind, _ in box) == takings.waits
    while box:
        kind, count = box.popleft()
        handled += kind == "message"
        if kind == "receipt":
            acknowledged += count
            if count := takings.take():
                box.append(("receipt", count))
    assert acknowledged == handled == arrived
