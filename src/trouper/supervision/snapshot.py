"""The tree at one moment, as values.

A snapshot is taken in the control lane, which nothing of the user's can hold up. What actors spawned is supervised in
other lanes: it is read in passing, without waiting for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from trouper.actors.cell import Cell
from trouper.actors.flavour import FlavourName
from trouper.supervision.members import State
from trouper.supervision.node import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trouper.actors.world import World
    from trouper.supervision.node import Node
    from trouper.supervision.supervisor import Branch


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """One place of the tree, as it was when the snapshot was taken.

    Args:
        path: where it stands; `/` is the root.
        kind: the name of the actor's class, or the strategy of the supervisor, or `pool`, `process` or `worker`.
        state: `running`, `starting`, `stopping`, `undefined` (down), `restarting` (its turn comes), `backoff` (its time
            comes) or `held`.
        generation: which of its lives this is, or was; 0 before the first.
        flavour: of an actor.
        uptime: seconds since its start began; None while it is down.
        waiting: how many messages wait in its mailbox.
        degraded: whether it is down and tried for ever.
        children: what stands below it, in start order: the children of a supervisor, or what an actor spawned; of a
            worker process, what runs in it, as it told with its last sign of life.
        pid: the process id of a worker process.
    """

    path: str
    kind: str
    state: State
    generation: int
    flavour: FlavourName | None
    uptime: float | None
    waiting: int
    degraded: bool
    children: tuple[Snapshot, ...]
    pid: int | None = None

    @property
    def name(self) -> str:
        """The last step of the path; the root has none."""
        return self.path.rpartition("/")[2]

    @property
    def status(self) -> Literal["up", "degraded", "changing"]:
        """Of all that is here and below: `degraded` if something is tried for ever, `up` if all runs that should."""
        nodes = list(self.walk())
        if any(node.degraded for node in nodes):
            return "degraded"
        return "up" if all(node.state in {"running", "undefined", "held"} for node in nodes) else "changing"

    def walk(self) -> Iterator[Snapshot]:
        """Iterate over this place and all below it, in start order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, path: str) -> Snapshot | None:
        """Return what stands at a path, here or below; None if nothing does."""
        return next((node for node in self.walk() if node.path == path), None)

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Yield a line for each place, indented by its depth."""
        parts = [self.state, self.kind, f"generation {self.generation}"]
        parts += [] if self.uptime is None else [f"up {self.uptime:.3g} s"]
        parts += [f"{self.waiting} waiting"] if self.waiting else []
        parts += ["degraded"] if self.degraded else []
        parts += [] if self.pid is None else [f"process {self.pid}"]
        yield f"{'  ' * depth}{self.name or '/'}: {', '.join(parts)}"
        for child in self.children:
            yield from child.lines(depth + 1)

    def __str__(self) -> str:
        """Read as a tree."""
        return "\n".join(self.lines())


UP = frozenset({"running", "draining"})
ALIVE = frozenset({"running", "starting", "stopping"})


def snapshot(root: Branch, world: World) -> Snapshot:
    """Take it.

    Args:
        root: the supervisor on top.
        world: of its daemon.
    """
    state: State = "undefined" if root.machine is None else "stopping" if world.stopping else "running"
    return _of(root, root.path, state, world, world.clock())


def places(branch: Branch | Any) -> Iterator[tuple[Cell | Elsewhere, State]]:
    """Iterate over the actors below a supervisor and their states, in start order: each, then what it spawned.

    In the place of those that run in another process stands that process.
    """
    for name, state in branch.view():
        node = branch.nodes.get(name)
        if isinstance(node, Cell | Elsewhere):
            yield node, state
            node = node.spawner if isinstance(node, Cell) else None
        if node is not None:
            yield from places(node)


def count_running(nodes: Iterable[tuple[Cell | Elsewhere, State]]) -> int:
    """How many actors run there; quicker than a snapshot."""
    return sum(node.state in UP if isinstance(node, Cell) else node.count_running() for node, _ in nodes)


def _of(node: Node | Branch, path: str, state: State, world: World, now: float) -> Snapshot:
    uptime = now - node.since if state in ALIVE else None
    degraded = path in world.degraded
    if isinstance(node, Cell):
        definition = node.child.definition
        below = node.spawner
        return Snapshot(
            path,
            definition.cls.__name__,
            state,
            node.generation,
            definition.flavour,
            uptime,
            len(node.ref.box) if node.ref.box else 0,
            degraded,
            () if below is None else _below(below, path, world, now),
        )
    if isinstance(node, Elsewhere):  # which knows best
        return node.snapshot(path, state, now, degraded=degraded)
    branch: Any = node
    children = _below(branch, path, world, now)
    return Snapshot(path, branch.spec.kind, state, branch.generation, None, uptime, 0, degraded, children)


def _below(branch: Any, path: str, world: World, now: float) -> tuple[Snapshot, ...]:
    nodes, prefix = branch.nodes, path if path == "/" else path + "/"
    return tuple(
        _of(node, prefix + name, state, world, now)
        for name, state in branch.view()
        if (node := nodes.get(name)) is not None
    )
