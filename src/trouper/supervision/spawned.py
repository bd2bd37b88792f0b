"""The supervisor of what one generation of an actor spawned: it lives and ends with that generation."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from trouper.actors.cell import Cell
from trouper.errors import DuplicateChild, SpecError, Words
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.supervisor import Branch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.ref import Ref
    from trouper.actors.world import World
    from trouper.reasons import Reason
    from trouper.supervision.members import Restart
    from trouper.supervision.node import Node
    from trouper.supervision.spec import Child, Supervisor

AT_ONCE = 64  # actions in one turn of the lane


class Spawned(Branch):
    """The supervisor of what one generation of an actor spawned."""

    has_place = False

    def __init__(self, world: World, cell: Cell, spec: Supervisor) -> None:
        lane = world.control if cell.threaded else cell.ref.lane
        super().__init__(world, lane, SpawnerBoss(cell, self), cell.name, cell.path, spec)
        self.at_home = not cell.threaded  # in the actor's own lane
        self.spawned = 0
        self.pausing = False
        self.machine = Dynamic(spec.limit, world.random.random)

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

    def adopt(self, cell: Cell) -> None:
        machine, choice = self.machine, cell.child.choice
        restart: Restart = choice.restart if "restart" in choice.given else "transient"
        generation = machine.spawn(cell.name, restart, choice.backoff) if isinstance(machine, Dynamic) else 0
        if generation:
            self.launch(cell, generation)
        else:
            del self.nodes[cell.name]
            cell.close()

    def pump(self) -> None:
        """A few at a time: there may be a hundred thousand to stop, and the lane has other things to do."""
        machine = self.machine
        if machine is None or self.pausing:
            return
        wanted = machine.actions
        for _ in range(AT_ONCE):
            if not wanted:
                return
            action = wanted.popleft()
            self.carry_out(action)
        if wanted:
            self.pausing = True
            self.lane.call_later(0.0, self.go_on)

    def go_on(self) -> None:
        self.pausing = False
        self.pump()

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

    def limit_path(self, last: str) -> str:
        """Each child has the limit for itself."""
        return self.below(last)

    def stop_child(self, ref: Ref[Any]) -> bool:
        cell = ref.cell
        if cell is None or self.nodes.get(cell.name) is not cell:
            return False
        self.lane.post(self.end_child, cell)
        return True

    def end_child(self, cell: Cell) -> None:
        if self.machine is not None and self.nodes.get(cell.name) is cell:
            self.machine.terminate(None, cell.name, self.lane.now())
            self.pump()

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
