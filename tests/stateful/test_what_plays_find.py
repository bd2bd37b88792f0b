"""A test of the test: a runtime with a defect does not get through, whichever of these it is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.play import Play
from tests.stateful.test_whole_runtime import ALWAYS
from trouper.actors.cell import Cell
from trouper.actors.ref import Ref
from trouper.actors.watching import Watching
from trouper.actors.world import World
from trouper.reasons import KILLED
from trouper.supervision.deadlines import Deadlines
from trouper.supervision.machine import Machine
from trouper.supervision.members import Members
from trouper.supervision.orders import Orders
from trouper.supervision.supervisor import Branch
from trouper.testing.errors import TrialError

ENOUGH = 1000  # examples; most are found within twenty, the rarest within some hundreds
turns = count(1)


class Broken(Play):
    """A play of a runtime with a defect that shows now and then: in each play at the same times."""

    def __init__(self) -> None:
        global turns  # noqa: PLW0603 - the defects have no other place to count
        super().__init__()
        turns = count(1)


def now_and_then(often: int = 5) -> bool:
    return next(turns) % often == 0


def seldom(real: Callable[..., Any]) -> Callable[..., Any]:
    """It is left out now and then."""
    return lambda *args: None if now_and_then(2) else real(*args)


def often(real: Callable[..., Any]) -> Callable[..., Any]:
    """It is done twice now and then."""

    def done(*args: Any) -> Any:
        if now_and_then():
            real(*args)
        return real(*args)

    return done


def stops_all_but_one(real: Callable[..., Any]) -> Callable[..., Any]:
    def stop_group(self: Any, child: Any) -> Generator[None, Any, Any]:
        group = self._members.group(child, self._strategy)
        for member in reversed([other for other in group if other is not group[-1] or other is child]):
            yield from self._stop(member)
        return group

    return stop_group


def on_stop_again(real: Callable[..., Any]) -> Callable[..., Any]:
    def on_stop_ended(self: Any, value: object, error: Any) -> None:
        self.stop_due = now_and_then()
        real(self, value, error)

    return on_stop_ended


def does_not_wait(real: Callable[..., Any]) -> Callable[..., Any]:
    def start_took_too_long(self: Any, node: Any, generation: int) -> None:
        self.on_start_failed(node, generation, KILLED)

    return start_took_too_long


def answers_at_once(real: Callable[..., Any]) -> Callable[..., Any]:
    def do_stop(self: Any, action: Any) -> None:
        if now_and_then(20):
            self.lane.post(self.nothing_runs, self.nodes[action.id], action.generation)
        else:
            real(self, action)

    return do_stop


def orphans(real: Callable[..., Any]) -> Callable[..., Any]:
    def advance(self: Any) -> None:
        if self.spawner is not None and self.state == "stopping":
            self.spawner = None
        real(self)

    return advance


DEFECTS: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "a restart forgets to stop one of its group": (Machine, "_stop_group", stops_all_but_one),
    "a stop is answered, and not done": (Orders, "do_stop", answers_at_once),
    "the order of a stop is that of the start": (Members, "__reversed__", lambda _: Members.__iter__),
    "on_stop is called twice": (Cell, "on_stop_ended", on_stop_again),
    "a generation is started beside one that hangs": (Deadlines, "start_took_too_long", does_not_wait),
    "what was spawned is left alone at the end": (Cell, "advance", orphans),
    "an end is told twice": (Cell, "finish", often),
    "a delay is forgotten": (Orders, "do_wait", seldom),
    "a retry is forgotten": (Orders, "do_retry", seldom),
    "a message is handled twice": (Ref, "send", often),
    "a dead letter is not told": (World, "dead", seldom),
    "a watcher is not told": (Watching, "tell", seldom),
    "the tree says of who is down that it runs": (Branch, "is_gone", lambda _: lambda *_: False),
}


@pytest.mark.long
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_play_finds_that(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, name, broken = DEFECTS[defect]
    monkeypatch.setattr(cls, name, broken(getattr(cls, name)))
    finding = settings(ALWAYS, max_examples=ENOUGH, derandomize=True, database=None)
    first = settings(finding, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises((AssertionError, TrialError)):
        run_state_machine_as_test(Broken, settings=first)
