"""Witnesses: one between each supervisor and its machine.

The machine is pure, and right by tests of its own: by those of its invariants, and by replay of what OTP's supervisor
does. What remains to be shown of a supervisor at work is that its machine decides over what really happens, and that
what it decides is done: that it is told only what is true, all that is true, each thing once and in time; and that
each of its actions is taken up when the world is ready for it. What is true is in the ledger of the actors.

So there is no second model of the runtime here. The machine itself is the model: the one that the supervisor runs by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from tests.stateful.ledger import Ledger
from trouper.actors.cell import Cell
from trouper.supervision import actions as act
from trouper.supervision.crew import Crew
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.machine import Machine
from trouper.supervision.spawned import Spawned
from trouper.supervision.supervisor import Branch

HEARD = ("started", "declined", "start_failed", "exited", "stopped", "due", "resume", "terminate", "hold", "spawn")


class Actions(deque[act.Action]):
    """What a machine wants; whoever takes an action is about to do it."""

    def __init__(self, taken: Callable[[act.Action], object]) -> None:
        super().__init__()
        self.taken = taken

    def popleft(self) -> act.Action:
        action = super().popleft()
        self.taken(action)
        return action


class Witness:
    """What one machine was told, and what it said, over its life.

    Args:
        branch: the supervisor that runs by it.
        machine: the machine.
        ledger: where the truth is, and where is noted what differs from it.
        held: the nodes that operators hold down, in all of the tree.
    """

    def __init__(self, branch: Branch, machine: Machine | Dynamic, ledger: Ledger, held: set[object]) -> None:
        self.branch, self.machine, self.ledger, self.held = branch, machine, ledger, held
        self.starting: dict[str, int] = {}
        self.up: dict[str, int] = {}
        self.stopping: dict[str, int] = {}
        self.delays: list[tuple[float, str, int]] = []
        self.retries = 0
        self.inside = False  # the machine calls itself
        self.asked: set[str] = set()
        machine.actions = Actions(self.takes)
        for what in HEARD:
            if (real := getattr(machine, what, None)) is not None:
                setattr(machine, what, partial(self.hears, real, what))

    def check(self, holds: object, text: str) -> None:
        branch = self.branch
        self.ledger.check(holds, f"{branch.lane.now():g} s, {branch.path}, {branch.generation}: {text}")

    # -- what the machine wants --------------------------------------------------------------------------------------
    def takes(self, action: act.Action) -> None:
        """The supervisor is about to do it: it must fit to what is."""
        if isinstance(action, act.Start | act.Close | act.Forget):  # what it waited for in its backoff is past
            self.delays = [delay for delay in self.delays if delay[1] != action.id]
        match action:
            case act.Start(name, generation):
                self.starts(name, generation)
            case act.Stop(name, generation):
                self.stops(name, generation)
            case act.Wait(name, generation, seconds):
                self.delays.append((self.branch.lane.now() + seconds, name, generation))
            case act.Retry():
                self.retries += 1
            case act.Held(name, held):
                (self.held.add if held else self.held.discard)(self.branch.nodes[name])
            case act.Close(name) | act.Forget(name):
                self.check(not self.ledger.at(self.branch.below(name)), f"{action}, and it is alive")
                if isinstance(action, act.Forget):  # declared, it is there again after a restart of its supervisor
                    self.held.discard(self.branch.nodes.get(name))
            case act.BootFailed() | act.Down() | act.Stopped():
                left = [self.starting, self.up, self.stopping, self.ledger.below(self.branch.path)]
                self.check(not any(left), f"{action}, and alive are {left}")
                self.delays.clear()
            case _:
                pass

    def starts(self, name: str, generation: int) -> None:
        nodes = self.branch.coming | self.branch.nodes  # one that is to come may have the name of one that is there
        self.check(not self.ledger.at(self.branch.below(name)), f"{name} is to start, and is alive")
        self.check(nodes[name] not in self.held or name in self.branch.coming, f"{name} is to start, and is held")
        if isinstance(self.machine, Machine) and self.branch.spec.strategy != "one_for_one":
            others = [other for other in self.starting if not nodes[other].options.optional]
            self.check(not others or nodes[name].options.optional, f"{name} is to start, and {others} did not yet")
        self.starting[name] = generation

    def stops(self, name: str, generation: int) -> None:
        was_up = self.up.pop(name, 0)
        self.check(generation in (was_up, self.starting.pop(name, 0)), f"{name} {generation} is to stop, and is not up")
        self.stopping[name] = generation
        if was_up and isinstance(self.machine, Machine) and name not in self.asked:
            order = [other for other, _ in self.machine.view()]
            later = [other for other in order[order.index(name) + 1 :] if self.ledger.at(self.branch.below(other))]
            self.check(not later, f"{name} is to stop, and {later} did not yet")

    # -- what it is told ---------------------------------------------------------------------------------------------
    def hears(self, real: Callable[..., Any], what: str, *args: Any) -> Any:
        """The supervisor tells its machine: that must be so, and be new."""
        match "" if self.inside else what, args:
            case "started", (name, generation, _):
                self.hears_of_start(name, generation)
            case (("declined" | "start_failed" | "exited"), (name, generation, *_)):
                came_up = what == "exited" and name in self.up  # a start that is killed exits, too
                self.hears_of_end(what, name, generation, self.up if came_up else self.starting)
            case "stopped", (name, generation, _):
                self.hears_of_end(what, name, generation, self.stopping)
            case "due", (name, generation, now):
                self.check((now, name, generation) in self.delays, f"{name} is due, and was to be: {self.delays}")
                self.delays.remove((now, name, generation))
            case "resume", _:
                self.retries -= 1
            case (("terminate" | "hold"), (_, name, _)):
                self.asked.add(name)
            case _:
                pass
        own, self.inside = self.inside, True
        result = real(*args)
        self.inside = own
        if what == "spawn" and result:
            self.starts(args[0], result)
        return result

    def hears_of_start(self, name: str, generation: int) -> None:
        known = generation in (self.starting.get(name), self.stopping.get(name))
        self.check(known, f"{name} {generation} has started, and was not to")
        if self.starting.pop(name, 0):
            self.up[name] = generation
        node = self.branch.nodes[name]
        if isinstance(node, Cell):
            self.check((node, generation) in self.ledger.up_lives, f"{name} {generation} has started, and has not")

    def hears_of_end(self, what: str, name: str, generation: int, among: dict[str, int]) -> None:
        self.check(among.pop(name, 0) == generation, f"{name} {generation} {what}, and was not to")
        self.check(not self.ledger.at(self.branch.below(name)), f"{name} {generation} {what}, and is alive")

    def at_rest(self) -> None:
        """All is idle: nothing is left that the machine should have been told, or that was to be done by now."""
        if self.branch.machine is self.machine:
            self.check(not self.retries, "a retry was not taken up")
            late = [delay for delay in self.delays if delay[0] < self.branch.lane.now()]
            self.check(not late, f"these delays are over, and nothing came of that: {late}")


class Witnesses:
    """All of one play."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.held: set[object] = set()
        self.all: list[Witness] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have one stand beside each machine that is made."""
        with ExitStack() as stack:
            for cls, maker in ((Branch, "new_machine"), (Crew, "new_machine"), (Spawned, "__init__")):
                stack.enter_context(patch.object(cls, maker, self.made(getattr(cls, maker))))
            yield

    def made(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def make(branch: Any, *args: Any) -> Any:
            made = real(branch, *args)
            self.all.append(Witness(branch, made or branch.machine, self.ledger, self.held))
            return made

        return make

    def at_rest(self) -> None:
        for witness in self.all:
            witness.at_rest()
