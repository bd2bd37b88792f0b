"""Tests that are left to another run are run there, and none is left out by all."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chosen import covering, share

pytestmark = pytest.mark.once

CASES = st.lists(
    st.fixed_dictionaries({"host": st.integers(0, 1), "flavour": st.integers(0, 2), "error": st.integers(0, 2)}),
    max_size=12,
)


@given(CASES)
@pytest.mark.parametrize("ways", [1, 2, 3])
def test_what_meets_in_all_cases_meets_in_the_chosen_ones(ways: int, cases: list[dict[str, int]]) -> None:
    def meetings(of: list[dict[str, int]]) -> set[object]:
        return {values for case in of for values in combinations(sorted(case.items()), ways)}

    assert meetings([cases[at] for at in covering(cases, ways)]) == meetings(cases)


@pytest.mark.parametrize(("sizes", "few"), [((3, 2), 3), ((2, 3, 5), 5), ((4,), 4), ((1, 1), 1)])
def test_of_a_product_as_many_have_each_value_as_the_longest_parameter_has(sizes: tuple[int, ...], few: int) -> None:
    assert len(covering(every(sizes), 1)) == few


@pytest.mark.parametrize("sizes", [(3, 2), (4,), (1, 1)])
def test_two_parameters_have_all_their_pairs(sizes: tuple[int, ...]) -> None:
    assert len(covering(every(sizes), 2)) == len(every(sizes))


def test_three_parameters_need_not_all_meet() -> None:
    assert len(covering(every((3, 3, 2)), 2)) < 12


def every(sizes: tuple[int, ...]) -> list[dict[str, int]]:
    return [dict(zip("abc", case, strict=False)) for case in product(*map(range, sizes))]


def test_a_test_without_parameters_is_chosen() -> None:
    assert covering([{}], 1) == covering([{}], 2) == [0]


def test_each_file_is_in_one_share() -> None:
    files = [Path(name) for name in "abcdeabcde"]
    shares = [share(files, number, 3) for number in (1, 2, 3)]
    assert sorted(file for it in shares for file in it) == sorted(set(files))
