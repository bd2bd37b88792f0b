"""The supervisor: it carries out what its machine decides, in the thread of one lane.

The supervisors of the static tree live in the control lane, which runs no user code. What an actor spawned is
supervised in the actor's own lane (for a threading actor, whose thread is the user's, in the control lane). A
supervisor is a `Node` for the one above it, as an actor's cell is: it is begun, halted, killed and closed, and
reports what becomes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trouper.actors.cell import Cell
from trouper.errors import DuplicateChild, SpecError, Words
from trouper.reasons import KILLED
from trouper.supervision.machine import Machine
from trouper.supervision.node import member_of
from trouper.supervision.orders import Adding, Orders
from trouper.supervision.place import Placed, default_name, place
from trouper.supervision.pool import Pool, refuse_template
from trouper.supervision.spec import Child, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane
    from trouper.lanes.slot import Slot
    from trouper.reasons import Reason
    from trouper.supervision.dynamic import Dynamic
    from trouper.supervision.node import Node


class Branch(Orders):
    """One supervisor at work.

    Args:
        world: what the daemon's actors share.
        lane: where it lives.
        boss: who supervises it.
        name: its name below the boss.
        path: where it stands.
        spec: its strategy, limit and auto-shutdown.
        children: the nodes below it that the tree declares.
    """

    def __init__(  # noqa: PLR0917 - one place makes them
        self,
        world: World,
        lane: Lane,
        boss: Boss,
        name: str,
        path: str,
        spec: Supervisor,
        children: Iterable[Placed] = (),
    ) -> None:
        super().__init__(world, lane, boss, name, path, spec)
        self.declared = {placed.name: self.plant(placed) for placed in children}

    def plant(self, placed: Placed) -> Node:
        """Make the node of a declared child."""
        if isinstance(placed.spec, Child):
            return Cell(self.world, self, placed.name, placed.spec)
        return branch_of(placed, self.world, self.lane, self)

    @property
    def options(self) -> Supervisor:
        """Its own options, as a child."""
        return self.spec

    # -- as a node ---------------------------------------------------------------------------------------------------
    def begin(self, generation: int) -> None:
        """Start with the declared children, as OTP's `init` does at each restart; what was added since is gone."""
        self.generation, self.halted, self.killing = generation, 0, False
        self.since = self.world.clock()
        for name, node in self.nodes.items():
            if self.declared.get(name) is not node:
                node.close()
        self.nodes = self.declared.copy()
        self.held &= self.nodes.keys()
        self.machine = self.new_machine()
        self.machine.boot(self.lane.now())
        self.pump()

    def new_machine(self) -> Machine | Dynamic:
        members = [
            member_of(name, node.options, node.generation, held=name in self.held) for name, node in self.nodes.items()
        ]
        spec = self.spec
        return Machine(spec.strategy, spec.limit, spec.auto_shutdown, members, self.world.random.random)

    @property
    def failing(self) -> bool:
        """Whether it failed, and stops what is below before it says so."""
        return self.machine is not None and self.machine.failing

    def ask_halt(self) -> None:
        """Stop all below, whatever is under way."""
        if self.machine is not None:
            self.machine.stop(self.lane.now())
            self.pump()

    def ask_kill(self, reason: Reason = KILLED) -> None:
        """Stop all below, at once."""
        self.killing = True
        for node in list(self.nodes.values()):  # a threading actor may spawn meanwhile
            waited_for = node.halted == node.generation > 0 and node.gone != node.generation and not node.abandoned
            if node.deadline is not None or waited_for:
                self.kill_node(node, KILLED)
        self.ask_halt()

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody plans to start it again."""
        for node in dict.fromkeys([*self.nodes.values(), *self.declared.values()]):  # two may have had one name
            node.close(cause)

    def stack(self) -> str:
        return "\n".join(node.stack() for node in list(self.nodes.values()) if node.halted == node.generation > 0)

    # -- requests ----------------------------------------------------------------------------------------------------
    def start_child(self, spec: Child[Any] | Supervisor, ticket: Slot[Any]) -> None:
        """Add a child at the end and start it."""
        machine = self.machine
        if machine is None:
            ticket.put(("shutting_down", None))
            return
        chosen = spec.choice.name if isinstance(spec, Child) else spec.name
        name = chosen or default_name(spec)
        if name in self.coming:
            ticket.put(("already_present", None))
            return
        placed = Placed(self.below(name), spec) if isinstance(spec, Child) else place(spec, self.below(name))
        try:
            refuse_kept(placed.walk())
        except SpecError as error:
            ticket.fail(error)
            return
        node = self.coming[name] = self.plant(placed)
        machine.add(Adding(name, ticket), member_of(name, node.options, 0, held=False), self.lane.now())
        self.pump()

    def keeps(self, node: Node) -> bool:
        """Whether a node has its place here; any thread may ask."""
        name = node.name
        mine = node in (self.nodes.get(name), self.coming.get(name), self.declared.get(name))
        return mine and not self.world.over and self.boss.keeps(self)

    def let_go(self) -> None:
        """It got no place in the tree after all."""
        for node in self.declared.values():
            node.let_go()

    def request(self, verb: str, name: str, ticket: Slot[Any]) -> None:
        """`terminate`, `restart`, `delete`, `hold` or `release` a child."""
        machine = self.machine
        if machine is None:
            ticket.put(("shutting_down", None))
            return
        getattr(machine, verb)(ticket, name, self.lane.now())
        self.pump()

    def view(self) -> list[tuple[str, Any]]:
        """Names and states; any thread may ask."""
        machine = self.machine  # of what an actor spawned, another thread may let go of it meanwhile
        if machine is None:
            return [(name, "undefined") for name in list(self.nodes)]
        view: list[tuple[str, Any]] = list(machine.view())
        if self.world.stopping:  # from then on the machine is not told of what ended, nor of what was not begun
            view = [(name, "undefined" if self.is_gone(name) else state) for name, state in view]
        return view

    def is_gone(self, name: str) -> bool:
        node = self.nodes.get(name)
        return node is not None and node.gone > 0 and not node.abandoned


def refuse_kept(nodes: Iterable[Placed]) -> None:
    """A child has one place in one tree at a time.

    Raises:
        DuplicateChild: one of them has a place already, or was left behind by a daemon and may still run there.
    """
    for node in nodes:
        refuse_template(node.spec, node.path)
        cell = node.spec.ref.cell if isinstance(node.spec, Child | Pool) else None
        if isinstance(cell, Cell) and cell.haunted:
            given = Words(f"a child that did not end when its daemon did, at {cell.path}")
            raise DuplicateChild(node.path, "tree", given, "one that is all over; call child(...) again")
        if cell is not None and cell.boss is not None and cell.boss.keeps(cell):
            given = Words(f"a {'pool' if isinstance(node.spec, Pool) else 'child'} that stands at {cell.path} already")
            raise DuplicateChild(
                node.path, "tree", given, "one that stands in no running tree, or was added to it and deleted"
            )


def branch_of(placed: Placed, world: World, lane: Lane, boss: Boss) -> Branch:
    """Make the node of a supervisor."""
    spec = placed.spec
    assert isinstance(spec, Supervisor)
    return BRANCHES[type(spec)](world, lane, boss, placed.name, placed.path, spec, placed.children)


BRANCHES: dict[type[Supervisor], type[Branch]] = {Supervisor: Branch}
"""What carries out which kind of spec; `crew` puts its own in."""
