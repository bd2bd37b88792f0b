"""Starts and stops have a deadline.

Past `start_timeout` a start is killed, past `reload_timeout` an `on_reload`, past `shutdown` a stop. What does not end
within a second grace after that is unkillable: its stack goes to the log, no second generation is ever started beside
it, and the failure goes straight to the root. The grace is as long as `shutdown`, but no shorter than a second, for a
kill takes effect only in a turn of the actor's lane, and a loaded machine may give that none for a moment.
"""

from __future__ import annotations

import logging
from math import inf, isfinite
from typing import TYPE_CHECKING

from trouper.actors.cell import Cell
from trouper.errors import ReloadTimeout, StartTimeout, StopTimeout, Unkillable
from trouper.reasons import timeout
from trouper.supervision.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.reloading import Reload
    from trouper.reasons import Reason
    from trouper.supervision.node import Node

log = logging.getLogger("trouper")

GRACE = 5.0  # seconds between the kill and the verdict "unkillable", at most
LEAST = 1.0  # and at least


class Deadlines(Standing):
    """The supervisor and its clock."""

    def start_limit(self, node: Node) -> float:
        """Seconds for a start; a supervisor's own start takes what its children's take."""
        if not isinstance(node, Cell):
            return inf
        return float(node.child.choice.start_timeout)

    def stop_limit(self, node: Node) -> float:
        if self.killing:
            return 0.0
        return float(node.options.shutdown)

    def arm(self, node: Node, seconds: float, fn: Callable[[Node, int], object], generation: int) -> None:
        self.disarm(node)
        if isfinite(seconds):
            node.deadline = self.lane.call_later(seconds, self.expired, node, generation, fn)

    def disarm(self, node: Node) -> None:
        if node.deadline is not None:
            node.deadline.cancel()
            node.deadline = None

    def expired(self, node: Node, generation: int, fn: Callable[[Node, int], object]) -> None:
        if node.deadline is not None and node.generation == generation:
            node.deadline = None
            fn(node, generation)

    def start_took_too_long(self, node: Node, generation: int) -> None:
        limit = self.start_limit(node)
        self.kill_node(node, timeout(StartTimeout(self.path_of(node), f"the start took longer than {limit:g} s")))

    def stop_took_too_long(self, node: Node, generation: int) -> None:
        limit = self.stop_limit(node)
        self.kill_node(node, timeout(StopTimeout(self.path_of(node), f"the stop took longer than {limit:g} s")))

    def reload_took_too_long(self, cell: Cell, mail: Reload) -> None:
        if self.nodes.get(cell.name) is cell and cell.reloading is mail and cell.halted != mail.generation:
            limit = cell.child.choice.reload_timeout
            self.kill_node(cell, timeout(ReloadTimeout(cell.path, f"the reload took longer than {limit:g} s")))

    def kill_node(self, node: Node, reason: Reason) -> None:
        """End it now, and wait for that a while."""
        node.doomed = node.generation
        node.ask_kill(reason)
        if isinstance(node, Cell):
            if self.may_abandon(node):
                self.leave_behind(node, node.generation)
                return
            grace = node.child.choice.shutdown
            self.arm(node, min(max(grace, LEAST), GRACE) if grace else GRACE, self.unkillable, node.generation)

    def unkillable(self, node: Node, generation: int) -> None:
        """It does not end: say so, and go on without it."""
        path = self.path_of(node)
        log.critical(
            "%s: generation %d does not end, not even killed; it is left behind:\n%s", path, generation, node.stack()
        )
        self.world.fatal(path, Unkillable(path))
        self.go_on_without(node, generation)

    def may_abandon(self, cell: Cell) -> bool:
        """Whether this one is not waited for, now that its time is over: its thread ends with the process."""
        return cell.options.abandon and self.world.stopping

    def leave_behind(self, cell: Cell, generation: int) -> None:
        log.info("%s: generation %d is left behind in its thread", self.path_of(cell), generation)
        self.disarm(cell)
        self.go_on_without(cell, generation)

    def go_on_without(self, node: Node, generation: int) -> None:
        node.abandoned = True
        if node.halted == generation:
            self.nothing_runs(node, generation)
        else:
            node.gone = generation
