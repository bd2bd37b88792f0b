from __future__ import annotations

import math
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trouper import Backoff, Persist, SpecError
from trouper.patience import DEFAULT_BACKOFF, is_patience

seconds = st.floats(0, 1e9)
policies = st.builds(
    Backoff, first=seconds, base=seconds, cap=seconds, factor=st.floats(1, 1e9), jitter=st.floats(0, 1)
)
failures = st.one_of(st.integers(1, 100), st.integers(1, 10**400))
chances = st.floats(0, 1, exclude_max=True)


def test_the_first_delay_is_none_and_each_further_one_is_twice_as_long_up_to_the_cap() -> None:
    delays = [DEFAULT_BACKOFF.delay(failures, 0.0) for failures in range(1, 12)]
    assert delays == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_each_number_can_be_chosen() -> None:
    backoff = Backoff(first=5.0, base=1.0, cap=50.0, factor=3.0, jitter=0.5)
    assert [backoff.delay(failures, 0.0) for failures in range(1, 7)] == [5.0, 1.0, 3.0, 9.0, 27.0, 50.0]
    assert [backoff.delay(failures, 0.5) for failures in range(1, 7)] == [3.75, 0.75, 2.25, 6.75, 20.25, 37.5]


def test_the_first_delay_has_the_cap_and_the_jitter_too() -> None:
    assert Backoff(first=99.0, cap=10.0, jitter=0.5).delay(1, 0.5) == 7.5


def test_the_defaults_are_those_of_the_docs() -> None:
    assert Backoff(first=0.0, base=0.2, cap=30.0, factor=2.0, jitter=0.2, reset_after=30.0) == DEFAULT_BACKOFF
    assert DEFAULT_BACKOFF.delay(99, 0.5) == 27.0


def test_persist_waits_as_backoff_does() -> None:
    assert [Persist().delay(failures, 0.0) for failures in (1, 2, 99)] == [0.0, 0.2, 30.0]
    assert isinstance(Persist(), Backoff)


def test_persist_is_a_value_like_backoff_and_not_the_same() -> None:
    one = Persist(base=1.0)
    assert one == Persist(base=1.0) != Backoff(base=1.0)
    assert len({one, Persist(base=1.0), Backoff(base=1.0)}) == 2
    assert repr(one).startswith("Persist(first=0.0, base=1.0, cap=30.0,")
    assert attrs.evolve(one, cap=2.0) == Persist(base=1.0, cap=2.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.base = 2.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own


@given(policies, failures, chances)
def test_no_delay_exceeds_the_cap_and_chance_only_shortens(backoff: Backoff, failures: int, chance: float) -> None:
    full, delay = backoff.delay(failures, 0.0), backoff.delay(failures, chance)
    assert 0.0 <= delay <= full <= backoff.cap
    assert delay >= full * (1.0 - backoff.jitter)


@given(policies, st.integers(2, 10**400), st.integers(1, 10))
def test_no_delay_is_shorter_than_the_one_before(backoff: Backoff, failures: int, more: int) -> None:
    assert backoff.delay(failures, 0.0) <= backoff.delay(failures + more, 0.0)


@pytest.mark.parametrize("factor", [2, 2.0])
def test_a_child_that_never_comes_up_stays_at_the_cap(factor: float) -> None:
    assert Backoff(base=1, factor=factor, cap=60).delay(10**12, 0.0) == 60
    assert Backoff(base=1, factor=1, cap=60).delay(10**12, 0.0) == 1
    assert Backoff(base=0, factor=factor, cap=60).delay(10**12, 0.0) == 0


@pytest.mark.parametrize("policy", [Backoff, Persist])
@pytest.mark.parametrize("name", ["first", "base", "cap", "factor", "jitter", "reset_after"])
@pytest.mark.parametrize("value", [-0.001, math.nan, "1", None, True, 1j])
def test_what_is_no_such_number_is_refused_by_name(policy: Any, name: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"{policy.__name__}.*{name}"):
        policy(**{name: value})


@pytest.mark.parametrize(
    ("name", "lowest", "highest", "below", "above"),
    [
        ("first", 0, 1e9, None, math.inf),
        ("base", 0, 1e9, None, 1.001e9),
        ("cap", 0, 1e9, None, math.inf),
        ("factor", 1, 1e9, 0.999, math.inf),
        ("jitter", 0, 1, None, 1.001),
        ("reset_after", 0, math.inf, None, None),
    ],
)
def test_each_number_has_its_bounds(name: str, lowest: float, highest: float, below: float, above: float) -> None:
    make: Any = Backoff
    for allowed in (lowest, highest):
        assert getattr(make(**{name: allowed}), name) == allowed
    for refused in (below, above):
        if refused is not None:
            with pytest.raises(SpecError, match=name):
                make(**{name: refused})


@pytest.mark.parametrize(("value", "fits"), [(None, True), (Backoff(), True), (Persist(), True), (0.2, False)])
def test_a_policy_is_a_backoff_or_none(value: object, fits: bool) -> None:
    assert is_patience(value) is fits
