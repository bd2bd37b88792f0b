"""What stands beside the tree: supervisors of services and of adopted payloads, one wing for each kind.

The actors there are objects that others have made. A restart runs the same object again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from trouper.actors.cell import Cell
from trouper.actors.life import CLOSED
from trouper.supervision.brood import Brood
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.spec import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.life import Life
    from trouper.actors.world import Boss, World
    from trouper.lanes.slot import Slot
    from trouper.reasons import Reason
    from trouper.supervision.child import Child
    from trouper.supervision.node import Node


def nobody(_: Life) -> None:
    """Who is told of an end, if nobody wants to be."""


class Tenant(Cell):
    """The place of an object that is there already, the one argument of its child."""

    __slots__ = ()

    on_gone: Callable[[Life], object] = staticmethod(nobody)
    """Told, in any thread, when it has ended for good."""

    def make(self) -> None:
        instance = self.instance = self.child.args[0]
        with suppress(AttributeError, TypeError):  # a class with slots has no room for it
            object.__setattr__(instance, "__trouper_cell__", self)

    def shut(self, cause: BaseException | None) -> None:
        super().shut(cause)
        if self.state == CLOSED:
            told, self.on_gone = self.on_gone, nobody
            told(self)


class Wing(Brood):
    """One of them, below the root and no child of it.

    Args:
        world: what the daemon's actors share.
        boss: hears of its end, in the control lane.
        name: its name.
        leaves_threads: whether threads that do not stop may be left behind at any time, and not only at the end.
    """

    def __init__(self, world: World, boss: Boss, name: str, *, leaves_threads: bool) -> None:
        super().__init__(world, world.control, boss, name, f"/{name}", Supervisor("one_for_one", (), name=name))
        self.leaves_threads = leaves_threads
        self.generation = 1
        self.since = world.clock()

    def house(self, name: str, child: Child[Any], on_gone: Callable[[Life], object]) -> Tenant:
        """Start an actor, in the control lane."""
        tenant = Tenant(self.world, self, name, child)
        tenant.on_gone = on_gone
        self.nodes[name] = tenant
        self.adopt(tenant)
        return tenant

    def may_abandon(self, cell: Cell) -> bool:
        machine = self.machine
        at_the_end = not isinstance(machine, Dynamic) or machine.ending
        return cell.options.abandon and (self.leaves_threads or at_the_end)

    def start_child(self, spec: Child[Any] | Supervisor, ticket: Slot[Any]) -> None:
        """They are what they are; a child belongs into the tree."""
        ticket.put(("simple_one_for_one", None))

    def ended(self, report: Callable[[Node, int, Reason], object], reason: Reason) -> None:
        super().ended(report, reason)
        self.close()
