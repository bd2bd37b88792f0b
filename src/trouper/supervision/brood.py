"""A supervisor of children that come one by one, and are forgotten when they end: OTP's `simple_one_for_one`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trouper.supervision.dynamic import Dynamic
from trouper.supervision.supervisor import Branch

if TYPE_CHECKING:
    from trouper.actors.cell import Cell
    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane
    from trouper.supervision.members import Restart
    from trouper.supervision.spec import Supervisor

AT_ONCE = 64  # actions in one turn of the lane


class Brood(Branch):
    """Such a supervisor; it is up from the beginning. Each child has the limit for itself, and is transient by default.

    Its arguments are those of a `Branch`.
    """

    has_place = False

    def __init__(self, world: World, lane: Lane, boss: Boss, name: str, path: str, spec: Supervisor) -> None:  # noqa: PLR0917 - as a branch
        super().__init__(world, lane, boss, name, path, spec)
        self.pausing = False
        self.machine = Dynamic(spec.limit, world.random.random)

    def adopt(self, cell: Cell) -> None:
        """Start a child that has its place in `nodes`."""
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

    def limit_path(self, last: str) -> str:
        """Each child has the limit for itself."""
        return self.below(last)

    def end_child(self, cell: Cell) -> None:
        """Stop a child for good."""
        if self.machine is not None and self.nodes.get(cell.name) is cell:
            self.machine.terminate(None, cell.name, self.lane.now())
            self.pump()
