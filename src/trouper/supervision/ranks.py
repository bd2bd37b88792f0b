"""The supervisor of places by number, which come and go: the workers of a pool, and worker processes.

`declared` has the first to the last, whichever of them run. One that is on its way out stands in `nodes` until it is
down; if it is wanted again by then, its place stays, and its next life begins.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from trouper.supervision.dynamic import Dynamic
from trouper.supervision.node import member_of
from trouper.supervision.supervisor import Branch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane
    from trouper.lanes.slot import Slot
    from trouper.supervision.node import Node
    from trouper.supervision.place import Placed
    from trouper.supervision.spec import Child, Supervisor

log = logging.getLogger("trouper")


class Ranks(Branch):
    """A supervisor of places by number; its arguments are those of a `Branch`."""

    def __init__(  # noqa: PLR0917 - the same as those of every branch
        self,
        world: World,
        lane: Lane,
        boss: Boss,
        name: str,
        path: str,
        spec: Supervisor,
        children: Iterable[Placed] = (),
    ) -> None:
        super().__init__(world, lane, boss, name, path, spec, children)
        self.again: set[str] = set()  # on their way out, and to be started once they are

    def name_of(self, number: int) -> str:
        """What the place with this number is called; 1 is the first."""
        raise NotImplementedError

    def make(self, number: int) -> Node:
        """Make a place that there is none of yet."""
        raise NotImplementedError

    def resized(self) -> None:
        """The declared places are others now."""

    def new_machine(self) -> Dynamic:
        members = [member_of(name, node.options, node.generation, held=False) for name, node in self.nodes.items()]
        return Dynamic(self.spec.limit, self.world.random.random, members)

    def limit_path(self, last: str) -> str:
        """Each has the limit for itself."""
        return self.below(last)

    # -- how many ----------------------------------------------------------------------------------------------------
    @property
    def hiring(self) -> Dynamic | None:
        """Its machine, as long as something may still be started."""
        machine = self.machine
        return machine if isinstance(machine, Dynamic) and not (machine.ending or self.world.stopping) else None

    def resize(self, size: int, ticket: Slot[Any]) -> None:
        """Have the first `size` run, and no others."""
        machine = self.hiring
        if machine is None:
            ticket.put(("shutting_down", None))
            return
        log.info("%s: resized from %d to %d workers", self.path, len(self.declared), size)
        surplus = list(self.declared)[size:]
        for name in surplus:
            del self.declared[name]
            self.again.discard(name)
        for number in range(len(self.declared) + 1, size + 1):
            self.declare(number)
        self.resized()
        for name in surplus:
            machine.terminate(None, name, self.lane.now())
        stopping = {name for name, state in machine.view() if state == "stopping"}
        self.again |= stopping & self.declared.keys()
        for node in self.declared.values():
            if node.name not in self.nodes:
                self.start_worker(machine, node)
        self.pump()
        ticket.put(("ok", None))

    def declare(self, number: int) -> None:
        """Make a place for one more, or take the one that is on its way out."""
        name = self.name_of(number)
        node = self.nodes.get(name)
        self.declared[name] = self.make(number) if node is None else node

    def start_worker(self, machine: Dynamic, node: Node) -> None:
        self.nodes[node.name] = node
        machine.add(None, member_of(node.name, node.options, node.generation, held=False), self.lane.now())

    # -- as a branch -------------------------------------------------------------------------------------------------
    def forget(self, name: str) -> None:
        """One is down; but it comes up again if the group does, or if it is wanted again."""
        machine = self.machine
        if not isinstance(machine, Dynamic) or machine.ending:
            return
        if name in self.again:
            self.again.discard(name)
            self.start_worker(machine, self.nodes[name])
        else:
            super().forget(name)

    def begin(self, generation: int) -> None:
        self.again.clear()
        super().begin(generation)

    def request(self, verb: str, name: str, ticket: Slot[Any]) -> None:
        if verb == "terminate":
            self.again.discard(name)
        super().request(verb, name, ticket)

    def start_child(self, spec: Child[Any] | Supervisor, ticket: Slot[Any]) -> None:
        """All are alike; how many there are is asked for by number."""
        ticket.put(("simple_one_for_one", None))
