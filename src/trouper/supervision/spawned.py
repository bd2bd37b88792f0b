"""The supervisor of what one generation of an actor spawned: it lives and ends with that generation."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from trouper.actors.cell import Cell
from trouper.errors import DuplicateChild, SpecError, Words
from trouper.supervision.brood import Brood

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.ref import Ref
    from trouper.actors.world import World
    from trouper.reasons import Reason
    from trouper.supervision.node import Node
    from trouper.supervision.spec import Child, Supervisor


class Spawned(Brood):
    """The supervisor of what one generation of an actor spawned."""

    def __init__(self, world: World, cell: Cell, spec: Supervisor) -> None:
        lane = world.control if cell.threaded else cell.ref.lane
        super().__init__(world, lane, SpawnerBoss(cell, self), cell.name, cell.path, spec)
        self.at_home = not cell.threaded  # in the actor's own lane
        self.spawned = 0

    def spawn(self, child: Child[Any]) -> Ref[Any]:
        """In the actor's own thread: make the child's place, and have it started."""
        if child.ref.cell is not None:
            raise DuplicateChild(
                self.path, "spawn", child, "a child that runs nowhere and never did; call child(...) again"
            )
        name = child.choice.name
        if name is None:
            self.spawned += 1
            name = f"{child.definition.default_name}-{self.spawned}"
        if name in self.nodes:
            raise SpecError(self.path, "name", Words(f"{name!r}, which a running child has"), "a name that is free")
        cell = self.nodes[name] = Cell(self.world, self, name, child)
        if self.at_home:
            self.adopt(cell)
        else:
            self.lane.post(self.adopt, cell)
        return child.ref

    def hear_of_start(self, node: Node, generation: int) -> None:
        """Nothing follows from it: no need to wait for its turn, in the same lane."""
        if isinstance(node, Cell) and node.ref.lane is self.lane:
            self.on_started(node, generation)
        else:
            self.lane.post(self.on_started, node, generation)

    def start_limit(self, node: Node) -> float:
        """None is needed for a start that cannot hang without hanging this very lane."""
        if self.at_home and isinstance(node, Cell):
            definition = node.child.definition
            if (
                not definition.has_on_start
                and definition.flavour == self.lane.flavour
                and node.child.choice.readiness == "on_start"
            ):
                return inf
        return super().start_limit(node)

    def stop_child(self, ref: Ref[Any]) -> bool:
        cell = ref.cell
        if cell is None or self.nodes.get(cell.name) is not cell:
            return False
        self.lane.post(self.end_child, cell)
        return True

    def halt(self) -> None:
        self.lane.post(self.ask_halt)

    def kill(self) -> None:
        self.lane.post(self.ask_kill)

    def ended(self, report: Callable[[Node, int, Reason], object], reason: Reason) -> None:
        super().ended(report, reason)
        self.close()


class SpawnerBoss:
    """To whom the supervisor of spawned children reports: the actor that spawned them."""

    def __init__(self, cell: Cell, spawned: Spawned) -> None:
        self.cell, self.spawned = cell, spawned
        self.lane, self.path = cell.ref.lane, cell.path

    def keeps(self, node: Node) -> bool:
        return True

    def hear_of_start(self, node: Node, generation: int) -> None:
        """Nothing was started yet."""

    def on_ended(self, node: Node, generation: int, reason: Reason) -> None:
        current = self.cell.spawner is self.spawned
        self.cell.spawner_ended(self.spawned)
        if current and reason.cause is not None:
            self.cell.crash(reason.cause)

    def on_declined(self, node: Node, generation: int, why: str) -> None: ...
    def on_start_failed(self, node: Node, generation: int, reason: Reason) -> None: ...
    def on_ending(self, node: Node, generation: int) -> None: ...
