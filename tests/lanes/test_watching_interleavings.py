"""The argument in `watching.py` holds however a watcher and an end interleave, and each part of it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.lanes.explorer import Explorer, Findings, Mutation, Story, Token, TokenLock, compiled
from trouper import NotRunning
from trouper.actors import watching as watching_module
from trouper.actors.life import CLOSED, DOWN, RUNNING
from trouper.reasons import NORMAL

pytestmark = pytest.mark.once

Code = dict[str, Any]
Tell = Callable[[Code, Token], Story]


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    explorer = Explorer()
    yield explorer
    explorer.close()


class Actor:
    """A cell, its ref and its lane at once, as far as watching sees them."""

    generation = 1
    ended_by = NORMAL
    watches: Any = None

    def __init__(self, stage: Stage) -> None:
        self.world = stage
        self.cell = self.ref = self.lane = self
        self.state = RUNNING
        self.box: list[Any] = []

    def do(self, order: Callable[..., object], *args: Any) -> None:
        order(*args)

    def press(self, watch: Any) -> None:
        self.box.append(watch)
        assert self.world.freed, "the names are free before anybody is told"

    def watch_begun(self) -> None: ...

    def alive(self) -> Actor:
        if self.state == DOWN:
            raise NotRunning
        return self


class Stage:
    def __init__(self, code: Code, token: Token) -> None:
        code["Lock"] = lambda: TokenLock(token)
        self.watching = code["Watching"]()
        self.watching.before = self.free
        self.by, self.watched = Actor(self), Actor(self)
        self.freed = False

    def free(self, ref: object) -> None:
        self.freed = True

    def watch(self) -> None:
        with suppress(NotRunning):
            self.watching.watch(self.by.alive, self.watched)

    def unwatch(self) -> None:
        self.watching.unwatch(self.by, self.watched)

    def end(self) -> None:
        """As `Cell.shut` does."""
        self.watched.state = CLOSED
        self.watching.ended(self.watched)

    def end_watcher(self) -> None:
        """As `Cell.down` does."""
        self.by.state = DOWN
        self.watching.unwatch_all(self.by)

    def outcome(self) -> tuple[int, int]:
        """How many notices reach the handler, and how many entries are left in the end."""
        told = sum(watch.take() for watch in self.by.box)
        return told, len(self.watching.watched) + len(self.by.watches or ())


def in_order(*steps: Callable[[], object]) -> Callable[[], object]:
    return lambda: [step() for step in steps]


def watching_while_it_ends(code: Code, token: Token) -> Story:
    stage = Stage(code, token)
    return Story(stage.end, stage.watch, stage.outcome)


def unwatching_while_it_ends(code: Code, token: Token) -> Story:
    stage = Stage(code, token)
    return Story(stage.end, in_order(stage.watch, stage.unwatch), stage.outcome)


def wavering_while_it_ends(code: Code, token: Token) -> Story:
    stage = Stage(code, token)
    return Story(stage.end, in_order(stage.watch, stage.unwatch, stage.watch), stage.outcome)


def ending_while_it_ends(code: Code, token: Token) -> Story:
    """The watcher's generation ends meanwhile."""
    stage = Stage(code, token)
    return Story(stage.end, in_order(stage.watch, stage.end_watcher), stage.outcome)


def watching_from_a_thread_while_the_watcher_ends(code: Code, token: Token) -> Story:
    stage = Stage(code, token)
    return Story(stage.end_watcher, stage.watch, stage.outcome)


STORIES: dict[Tell, tuple[int, int]] = {
    watching_while_it_ends: (1, 0),
    unwatching_while_it_ends: (0, 0),
    wavering_while_it_ends: (1, 0),
    ending_while_it_ends: (0, 0),
    watching_from_a_thread_while_the_watcher_ends: (0, 0),
}


def explore(explorer: Explorer, tell: Tell, *mutations: Mutation) -> Findings:
    code = compiled(watching_module, *mutations)
    return explorer.explore(lambda token: tell(code, token), STORIES[tell], switches=3, stride=2)


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_each_watch_that_holds_is_told_once_and_no_other(explorer: Explorer, tell: Tell) -> None:
    found = explore(explorer, tell)
    assert found.wrong is None
    assert found.schedules > 100


WRITE_DOWN = """\
        with self.lock:
            cell = alive()
"""
LOOK_AT_THE_END = "        if (reason := why_closed(ref)) is not None:\n"

MUTANTS: dict[str, tuple[Tell, tuple[Mutation, ...]]] = {
    "a watcher looks whether the actor is dead before it is written down": (
        watching_while_it_ends,
        (
            Mutation(watching_module, WRITE_DOWN, f"        reason = why_closed(ref)\n{WRITE_DOWN}"),
            Mutation(watching_module, LOOK_AT_THE_END, "        if reason is not None:\n"),
        ),
    ),
    "a watcher does not look whether the actor is dead": (
        watching_while_it_ends,
        (Mutation(watching_module, LOOK_AT_THE_END, "        if (reason := None) is not None:\n"),),
    ),
    "a notice is handled whether its watch holds or not": (
        unwatching_while_it_ends,
        (Mutation(watching_module, "            return holds\n", "            return True\n"),),
    ),
    "who tells does not take the watches": (
        watching_while_it_ends,
        (Mutation(watching_module, "self.watched.pop(ref, {})", "self.watched.get(ref, {})"),),
    ),
    "who tells leaves the names to whoever ended": (
        watching_while_it_ends,
        (Mutation(watching_module, "        self.before(ref)\n", ""),),
    ),
    "a watcher is written down without the lock": (
        watching_from_a_thread_while_the_watcher_ends,
        (Mutation(watching_module, WRITE_DOWN, WRITE_DOWN.replace("with self.lock", "if True")),),
    ),
}


@pytest.mark.parametrize(("tell", "mutations"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_of_the_argument_is_found(explorer: Explorer, tell: Tell, mutations: tuple[Mutation, ...]) -> None:
    assert explore(explorer, tell, *mutations).wrong is not None
