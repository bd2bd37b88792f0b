"""The whole runtime: random trees over all lanes, whatever happens to them, in virtual time."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.play import Play

pytestmark = pytest.mark.once

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
ALWAYS = settings(deadline=None, stateful_step_count=40, suppress_health_check=SLOW)
QUICK, LONG = 25, int(os.environ.get("TROUPER_EXAMPLES", "2000"))


def test_actors_machines_and_tree_tell_the_same_whatever_happens() -> None:
    quick = settings(ALWAYS, max_examples=QUICK, derandomize=True, database=None)
    run_state_machine_as_test(Play, settings=quick)


@pytest.mark.long
@pytest.mark.skipif(os.environ.get("TROUPER_LONG") != "1", reason="takes minutes; TROUPER_LONG=1 runs it")
def test_actors_machines_and_tree_tell_the_same_in_thousands_of_trees() -> None:
    run_state_machine_as_test(Play, settings=settings(ALWAYS, max_examples=LONG))
