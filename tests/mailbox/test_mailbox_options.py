from __future__ import annotations

from typing import Any

import attrs
import pytest

from trouper.errors import SpecError
from trouper.mailbox.mailbox import Mailbox

anyhow: Any = Mailbox


def test_a_mailbox_keeps_a_hundred_thousand_messages_and_drops_the_newest() -> None:
    assert Mailbox() == Mailbox(100_000, overflow="drop_newest")


@pytest.mark.parametrize("capacity", [1, 10**9, None])
def test_a_capacity_is_a_count_or_none(capacity: int | None) -> None:
    assert Mailbox(capacity).capacity == capacity


@pytest.mark.parametrize("capacity", [0, -1, 1.0, True, "10", float("inf")])
def test_another_capacity_is_refused(capacity: object) -> None:
    with pytest.raises(SpecError) as caught:
        anyhow(capacity)
    told = f"Mailbox: capacity: given {capacity!r}, allowed: an int of 1 or more (messages), or None for no bound"
    assert str(caught.value) == told


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest", "reject"])
def test_there_are_three_policies(overflow: Any) -> None:
    assert Mailbox(overflow=overflow).overflow == overflow


@pytest.mark.parametrize("overflow", ["drop", None, 1, []])
def test_another_policy_is_refused(overflow: object) -> None:
    with pytest.raises(SpecError) as caught:
        anyhow(overflow=overflow)
    told = f"Mailbox: overflow: given {overflow!r}, allowed: 'drop_newest' | 'drop_oldest' | 'reject'"
    assert str(caught.value) == told


def test_a_mailbox_is_immutable_and_hashable() -> None:
    mailbox: Any = Mailbox(3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        mailbox.capacity = 4
    assert hash(mailbox) == hash(Mailbox(3))
