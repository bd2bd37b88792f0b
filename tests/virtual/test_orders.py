"""What the seed decides: the same one gives the same lives, to the last event; others give others, and all end well."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.actors.stage import FLAVOURS, Boom, Note
from tests.virtual.cast import Trials, broken, play
from trouper import Limit, Persist, one_for_all, one_for_one, rest_for_one
from trouper.events import ActorEnded, ActorStarted, DeadLetter
from trouper.testing import Script, Sleep
from trouper.testing.script import Do

pytestmark = pytest.mark.once

MANY = Limit(1000, within=1e6)


def scenario(trial: Trials, seed: int) -> Any:
    """Three groups over all flavours that fail in many ways at the same instants; the trial, when it is over."""
    scripts = [Script() for _ in range(9)]
    children = [play(script, FLAVOURS[n % 3], Note, name=f"it{n}") for n, script in enumerate(scripts)]
    children[4] = children[4].options(backoff=Persist())
    tree = one_for_one(
        one_for_all(*children[:3], name="all", restarts=MANY),
        rest_for_one(*children[3:6], name="rest", restarts=MANY),
        one_for_one(*children[6:], name="one", restarts=MANY),
        restarts=MANY,
    )
    chance = Random(7)  # the same for all seeds: only the order is to be another
    with trial(tree, seed=seed) as t:
        for _ in range(12):
            for script in chance.sample(scripts, 4):
                script.on_start(*broken(chance.randrange(2)), Sleep(chance.randrange(3)))
                script.on_stop(Sleep(chance.randrange(2)))
                script.crash(Boom())
            for script in scripts:
                script.ref.send(Note(script.ref.path))
            t.advance(chance.randrange(40))
        t.advance(300)
        assert {node.state for node in t.daemon.tree_sync().walk()} == {"running"}
    return t, scripts


def test_the_same_seed_gives_the_same_trace(trial: Trials, trouper_seed: int) -> None:
    first, again = (scenario(trial, trouper_seed)[0].trace for _ in range(2))
    assert len(first) > 300
    assert again == first


def test_two_seeds_differ_somewhere(trial: Trials, trouper_seed: int) -> None:
    traces = [scenario(trial, trouper_seed + n)[0].trace for n in range(2)]
    assert traces[0] != traces[1]


@pytest.mark.parametrize("seed", range(5))
def test_in_every_order_each_life_that_began_ends_once_and_each_note_is_handled_or_dead_once(
    trial: Trials, trouper_seed: int, seed: int
) -> None:
    t, scripts = scenario(trial, 1000 * trouper_seed + seed)
    begun = {(event.path, event.generation) for event in t.events_of(ActorStarted)}
    ended = [(event.path, event.generation) for event in t.events_of(ActorEnded)]
    assert begun <= set(ended)
    assert len(ended) == len(set(ended))
    steps = [step for script in scripts for step in script.steps]
    handled = sum(step.what == "handled" and isinstance(step.message, Note) for step in steps)
    dead = sum(isinstance(event.message, Note) for event in t.events_of(DeadLetter))
    assert handled + dead == 12 * 9
    crashes = sum(step.what == "handling" and isinstance(step.message, Do) for step in steps)
    assert crashes == 12 * 4
