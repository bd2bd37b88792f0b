"""The supervisor of a pool's workers, which tells the router of the pool who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from trouper.actors.cell import Cell
from trouper.supervision.place import Placed
from trouper.supervision.pool import Pool, copy_of
from trouper.supervision.ranks import Ranks
from trouper.supervision.supervisor import BRANCHES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trouper.actors.router import Routes
    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane
    from trouper.supervision.child import Child
    from trouper.supervision.node import Node
    from trouper.supervision.spec import Supervisor


class Worker(Cell):
    """One of a pool: what it leaves in its mailbox is not lost."""

    __slots__ = ()

    def give_up(self, item: object, cause: BaseException | None) -> None:
        """It was sent to the pool: another worker handles it, if there is one."""
        crew: Any = self.boss
        if not crew.take_over(item):
            self.refuse(item, cause)


class Crew(Ranks):
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
        self.routes.boss = self
        self.resized()

    @property
    def routes(self) -> Routes:
        return self.spec.ref.routes

    def plant(self, placed: Placed) -> Node:
        return Worker(self.world, self, placed.name, cast("Child[Any]", placed.spec))

    def name_of(self, number: int) -> str:
        return f"{self.spec.template.definition.default_name}-{number}"

    def make(self, number: int) -> Node:
        return self.plant(Placed(self.below(self.name_of(number)), copy_of(self.spec.template, number)))

    def resized(self) -> None:
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
    def keeps(self, node: Any) -> bool:
        if node is self.routes:
            return not self.world.over and self.boss.keeps(self)
        return super().keeps(node)

    def let_go(self) -> None:
        super().let_go()
        if self.generation == 0:
            self.routes.boss = None


BRANCHES[Pool] = Crew
