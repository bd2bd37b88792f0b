"""The names of a daemon: who is called what, and who stands where.

A name belongs to an actor, over all its restarts, until it ends for good: then it is free, and only after that the
watchers hear of the end. So whoever has its `Terminated` finds that ref under no name and no path.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from trouper.actors.cell import Cell
from trouper.actors.definition import definition_of
from trouper.actors.life import CLOSED, CLOSING
from trouper.actors.options import is_name
from trouper.actors.ref import Ref
from trouper.actors.router import Router
from trouper.errors import NameTaken, UsageError, show, type_name
from trouper.supervision.place import steps_below
from trouper.supervision.pool import Pool
from trouper.supervision.supervisor import Branch

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.protocols import Receives, Runs, RunsSync, Serves
    from trouper.actors.world import World

M = TypeVar("M")

GONE = CLOSING, CLOSED


class Registry:
    """The names of a `Daemon`. Any thread may call; nothing waits."""

    world: World
    root: Branch

    def __init__(self) -> None:
        self.refs: dict[str, Ref[Any]] = {}
        self.names: dict[Ref[Any], set[str]] = {}
        self.naming = Lock()

    def register(self, name: str, ref: Ref[Any]) -> None:
        """Give an actor a name, by which `lookup` finds it until it ends for good. A restart does not end it.

        An actor may have several names; to give it the same one twice does no harm, so that `on_start` may do it.

        Args:
            name: a printable string without "/".
            ref: an actor that stands in the tree of this daemon, or was spawned in it.

        Raises:
            NameTaken: another actor has this name.
            UsageError: that is no name, or no such actor.
        """
        if not is_name(name):
            raise UsageError(f"register: given the name {show(name)}, allowed: a printable string without '/'")
        if isinstance(ref, Ref):
            with self.naming:
                holder = self.refs.get(name)
                if holder is not None and holder is not ref and self.has(holder):
                    raise NameTaken(
                        f"register: given {name!r} for {ref!r}, and {holder!r} has it; allowed: another name"
                    )
                self.refs[name] = ref
                self.names.setdefault(ref, set()).add(name)
            if self.has(ref):  # looked at last: who ends it meanwhile finds the name, or is seen here
                return
            self.free(ref)
        allowed = "the ref of a living actor of this daemon, and no pool's"
        raise UsageError(f"register: given {show(ref)} as {name!r}, allowed: {allowed}")

    def unregister(self, name: str) -> None:
        """Free a name. Nothing happens if nobody has it: its actor may have ended just now."""
        with self.naming:
            ref = self.refs.pop(name, None)
            if ref is not None:
                self.names[ref].discard(name)
                if not self.names[ref]:
                    del self.names[ref]

    @overload
    def lookup(self, cls: Callable[..., Receives[M]], where: str) -> Ref[M] | None: ...
    @overload
    def lookup(self, cls: Callable[..., Runs[M]], where: str) -> Ref[M] | None: ...
    @overload
    def lookup(self, cls: Callable[..., RunsSync[M]], where: str) -> Ref[M] | None: ...
    @overload
    def lookup(self, cls: Callable[..., Serves], where: str) -> Ref[Never] | None: ...
    def lookup(self, cls: Callable[..., Any], where: str) -> Ref[Any] | None:
        """Find an actor by its name, or by its path in the tree; spawned ones stand below their spawner.

        Args:
            cls: its class, or one that it is a subclass of; the ref is typed by it.
            where: a name, or a path such as `/readers/load`; that of a pool gives its `Router`. Of what runs in worker
                processes, what the tree declares is found: `/squares/0/squares`, and `/squares/*/squares` for all.

        Returns:
            The ref; None if nobody stands there, or who does has ended for good.

        Raises:
            UsageError: there stands an actor of another class, or a supervisor.
            DefinitionError: `cls` is no actor class.

        Example:
            `current(self).daemon.lookup(Averages, "/averages")`
        """
        wanted = definition_of(cls).cls
        ref = self.find(where) if where.startswith("/") else self.refs.get(where)
        if ref is None or not (isinstance(ref, Router) or self.has(ref) or is_open_elsewhere(ref)):
            return None
        found = ref.definition.cls
        if not issubclass(found, wanted):
            raise UsageError(f"lookup: given {type_name(wanted)} for {where!r}, allowed: {type_name(found)}")
        return ref

    # -- inside ------------------------------------------------------------------------------------------------------
    def has(self, ref: Ref[Any]) -> bool:
        """Whether this is an actor of this daemon that has not ended for good."""
        cell: object = ref.cell
        return isinstance(cell, Cell) and cell.world is self.world and cell.state not in GONE

    def free(self, ref: Ref[Any]) -> None:
        """It ended for good."""
        if ref in self.names:
            with self.naming:
                for name in self.names.pop(ref, ()):
                    if self.refs.get(name) is ref:
                        del self.refs[name]

    def find(self, path: str) -> Ref[Any] | None:
        """Who stands there, in this process or in a worker."""
        exchange = self.world.exchange
        away: Ref[Any] | None = None if exchange is None else exchange.elsewhere(path)
        return away or self.ref_at(path)

    def ref_at(self, path: str) -> Ref[Any] | None:
        """Who stands there. Supervisors change their dicts in threads of their own; each look into one is atomic."""
        node: Any = self.root
        found: Ref[Any]
        for name in steps_below(self.root.path, path):
            above: Any = node.spawner if isinstance(node, Cell) else node
            if above is None:
                return None
            node = above.nodes.get(name)
            if node is None and above.machine is None:  # it is not up yet, or down for now
                node = above.declared.get(name)
            if node is None:
                return None
        if isinstance(node, Cell):
            found = node.ref
            return found
        if isinstance(node, Branch) and isinstance(node.spec, Pool):
            found = node.spec.ref
            return found
        kind = node.spec.kind if isinstance(node, Branch) else "worker"
        raise UsageError(f"lookup: given {path!r}, where a supervisor ({kind}) stands, allowed: the path of an actor")


def is_open_elsewhere(ref: Ref[Any]) -> bool:
    """Whether this is an actor of a worker that has not ended for good."""
    cell: Any = ref.cell
    return not (cell is None or isinstance(cell, Cell) or cell.refuses)
