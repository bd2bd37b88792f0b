"""The supervisor of a pool's workers: they come and go by number, and the router of the pool is told.

`declared` has the workers 1 to n, whichever of them run. One that is on its way out stands in `nodes` until it is down;
if it is wanted again by then, its place, its address and its mailbox stay, and its next life begins.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from trouper.actors.cell import Cell
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.node import member_of
from trouper.supervision.place import Placed
from trouper.supervision.pool import Pool, copy_of
from trouper.supervision.supervisor import BRANCHES, Branch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trouper.actors.router import Routes
    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane
    from trouper.lanes.slot import Slot
    from trouper.supervision.child import Child
    from trouper.supervision.node import Node
    from trouper.supervision.spec import Supervisor

log = logging.getLogger("trouper")


class Worker(Cell):
    """One of a pool: what it leaves in its mailbox is not lost."""

    __slots__ = ()

    def give_up(self, item: object, cause: BaseException | None) -> None:
        """It was sent to the pool: another worker handles it, if there is one."""
        crew: Any = self.boss
        if not crew.take_over(item):
            self.refuse(item, cause)


class Crew(Branch):
    """A pool at work; its arguments are those of a `Branch`."""

    spec: Pool[Any]

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
        self.routes.boss = self
        self.reroute()

    @property
    def routes(self) -> Routes:
        return self.spec.ref.routes

    def plant(self, placed: Placed) -> Node:
        return Worker(self.world, self, placed.name, cast("Child[Any]", placed.spec))

    def new_machine(self) -> Dynamic:
        members = [member_of(name, node.options, node.generation, held=False) for name, node in self.nodes.items()]
        return Dynamic(self.spec.limit, self.world.random.random, members)

    def limit_path(self, last: str) -> str:
        """Each worker has the limit for itself."""
        return self.below(last)

    # -- how many ----------------------------------------------------------------------------------------------------
    def resize(self, size: int, ticket: Slot[Any]) -> None:
        """Have the workers 1 to `size` run, and no others."""
        machine = self.machine
        if not isinstance(machine, Dynamic) or machine.ending or self.world.stopping:
            ticket.put(("shutting_down", None))
            return
        log.info("%s: resized from %d to %d workers", self.path, len(self.declared), size)
        surplus = list(self.declared)[size:]
        for name in surplus:
            del self.declared[name]
            self.again.discard(name)
        for number in range(len(self.declared) + 1, size + 1):
            self.declare(number)
        self.reroute()
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
        copy = copy_of(self.spec.template, number)
        name = cast("str", copy.choice.name)
        node = self.nodes.get(name)
        self.declared[name] = self.plant(Placed(self.below(name), copy)) if node is None else node

    def start_worker(self, machine: Dynamic, node: Node) -> None:
        self.nodes[node.name] = node
        machine.add(None, member_of(node.name, node.options, node.generation, held=False), self.lane.now())

    def reroute(self) -> None:
        """Tell the router who is there."""
        self.routes.workers = tuple(node.ref for node in self.declared.values() if isinstance(node, Worker))

    def take_over(self, item: object) -> bool:
        """Whether another worker got what one has left; any thread."""
        if self.machine is None:
            return False
        try:
            return self.spec.ref.forward(item)
        except Exception:  # noqa: BLE001 - no room in a mailbox that rejects, or the user's key: a dead letter
            return False

    # -- as a branch -------------------------------------------------------------------------------------------------
    def forget(self, name: str) -> None:
        """One is down; but it comes up again if the pool does, or if it is wanted again."""
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
        """All are copies of one template; `resize` says how many."""
        ticket.put(("simple_one_for_one", None))

    def keeps(self, node: Any) -> bool:
        if node is self.routes:
            return not self.world.over and self.boss.keeps(self)
        return super().keeps(node)

    def let_go(self) -> None:
        super().let_go()
        if self.generation == 0:
            self.routes.boss = None


BRANCHES[Pool] = Crew
