"""Which of the tests run: for the runs of `make test` that leave some to others."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Values = frozenset[tuple[str, int]]


def covering(cases: Sequence[Mapping[str, int]], ways: int) -> list[int]:
    """Choose a few of the cases in which all the values of any so many parameters still meet.

    With 2 ways that is pairwise testing, with 1 way each value is there: see Grindal, Offutt and Andler, "Combination
    testing strategies: a survey" (2005).

    Args:
        cases: of one test: for each parameter a number that stands for its value.
        ways: how many parameters.

    Returns:
        The chosen cases by their position, in their order.
    """
    meetings = [meet(case, ways) for case in cases]
    missing: set[Values] = set().union(*meetings)
    chosen: list[int] = []
    while missing:
        best = max(range(len(cases)), key=lambda at: len(missing & meetings[at]))
        missing -= meetings[best]
        chosen.append(best)
    return sorted(chosen)


def meet(case: Mapping[str, int], ways: int) -> set[Values]:
    return set(map(frozenset, combinations(case.items(), min(ways, len(case)))))


def share(files: Sequence[Path], number: int, of: int) -> set[Path]:
    """Every so many'th of the test files: the shares 1 to `of` have each file once."""
    return set(sorted(set(files))[number - 1 :: of])
