"""What the nodes below a supervisor report to it: `actors.world.Boss`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trouper.actors.cell import Cell
from trouper.events import ActorDeclined, ActorEnded, ActorStarted, Recovered
from trouper.supervision.deadlines import GRACE, Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.reasons import Reason
    from trouper.supervision.dynamic import Dynamic
    from trouper.supervision.machine import Machine
    from trouper.supervision.node import Node

log = logging.getLogger("trouper")


class Reports(Deadlines):
    """The supervisor and what it hears."""

    def concerns(self, node: Node) -> bool:
        """Whether a report is of a node that stands here still, and was not left behind."""
        return self.nodes.get(node.name) is node and not node.abandoned

    def hear_of_start(self, node: Node, generation: int) -> None:
        """A node runs; called in its thread."""
        self.lane.post(self.on_started, node, generation)

    def on_started(self, node: Node, generation: int) -> None:
        machine = self.machine
        if machine is None or self.nodes.get(node.name) is not node or node.abandoned:
            return
        if node.deadline is not None and generation not in (node.halted, node.doomed):
            self.disarm(node)
        if self.world.bus.active and isinstance(node, Cell):
            self.world.bus.publish(ActorStarted(node.path, generation, node.child.definition.flavour))
        if self.degraded:
            self.recovered(node)
        machine.started(node.name, generation, self.lane.now())
        if machine.actions:
            self.pump()

    def on_declined(self, node: Node, generation: int, why: str) -> None:
        if not self.concerns(node):
            return
        log.info("%s: declined to run%s", self.path_of(node), f": {why}" if why else "")
        if self.world.bus.active:
            self.world.bus.publish(ActorDeclined(self.path_of(node), generation, why))
        self.over(node, generation, lambda machine, now: machine.declined(node.name, generation, now))

    def on_start_failed(self, node: Node, generation: int, reason: Reason) -> None:
        if not self.concerns(node):
            return
        self.died(node, generation, reason)
        self.over(node, generation, lambda machine, now: machine.start_failed(node.name, generation, reason, now))

    def on_ending(self, node: Node, generation: int) -> None:
        """It ends by itself, and is not through with that yet."""
        if self.concerns(node) and generation not in (node.halted, node.doomed):
            self.arm(node, self.stop_limit(node) or GRACE, self.stop_took_too_long, generation)

    def on_ended(self, node: Node, generation: int, reason: Reason) -> None:
        if not self.concerns(node):
            return
        self.died(node, generation, reason)
        self.over(node, generation, lambda machine, now: machine.exited(node.name, generation, reason, now))

    def over(self, node: Node, generation: int, tell: Callable[[Machine | Dynamic, float], None]) -> None:
        """Tell the machine that nothing runs there any more: as the answer to its `Stop`, or as what it is."""
        self.disarm(node)
        machine, now = self.machine, self.lane.now()
        if machine is None:
            return
        if node.halted == generation:
            self.nothing_runs(node, generation)
        elif self.world.stopping:
            node.gone = generation
        else:
            tell(machine, now)
            self.pump()

    def died(self, node: Node, generation: int, reason: Reason) -> None:
        """Note a death, to be logged once its consequence is known; a stop that went well is no news."""
        uptime = self.world.clock() - node.since
        if self.world.bus.active and isinstance(node, Cell):
            self.world.bus.publish(ActorEnded(node.path, generation, reason, uptime))
        self.deaths.noted(node, self.path_of(node), generation, reason, uptime)
        if node.halted == generation:
            self.deaths.stopped(node)

    def recovered(self, node: Node) -> None:
        """It is up, or not wanted any more."""
        if node.name in self.degraded:
            self.degraded.discard(node.name)
            path = self.path_of(node)
            since = self.world.degraded.pop(path)
            if self.world.bus.active:
                self.world.bus.publish(Recovered(path, self.lane.now() - since))
