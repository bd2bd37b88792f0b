"""What the machine of a supervisor wants, carried out: one method for each kind of action."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec

from trouper.actors.cell import Cell
from trouper.errors import RestartLimitExceeded, StartFailed
from trouper.events import ActorHeld, ActorReleased, ActorStarting, Degraded, SupervisorEnded, SupervisorStarted
from trouper.events import Restarting as RestartingEvent
from trouper.lanes.slot import Slot
from trouper.reasons import KILLED, SHUTDOWN, restart_limit, start_failed
from trouper.supervision.reports import Reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.reasons import Reason
    from trouper.supervision import actions as act
    from trouper.supervision.dynamic import Dynamic
    from trouper.supervision.machine import Machine
    from trouper.supervision.node import Node


class Adding(msgspec.Struct, frozen=True):
    """The ticket of a request to add a child."""

    name: str
    slot: Slot[Any]


class Orders(Reports):
    """The supervisor and what it does."""

    def do_start(self, action: act.Start) -> None:
        self.wait_no_more(action.id)
        node = self.nodes.get(action.id)
        if node is None:
            node = self.nodes[action.id] = self.coming[action.id]
        if self.deaths.open:
            self.deaths.absorbed(node)
        if self.awaited and self.is_held_up(action):
            node.gone, node.since = action.generation, self.world.clock()  # a stop will find nothing to stop
            self.postponed.append(action)
        else:
            self.launch(node, action.generation)

    def is_held_up(self, action: act.Start) -> bool:
        """Whether a hook comes first; where children share their fate, it holds up all of them."""
        return action.id in self.awaited or self.spec.strategy != "one_for_one"

    def hooks_over(self, child_id: str, ticket: object) -> None:
        """The restart of this child may go on."""
        if self.awaited.get(child_id) is not ticket:
            return  # of an earlier restart, or of an earlier life
        del self.awaited[child_id]
        waiting, self.postponed = self.postponed, []
        for action in waiting:
            if self.awaited and self.is_held_up(action):
                self.postponed.append(action)
            else:
                node = self.nodes[action.id]
                node.gone = 0
                self.launch(node, action.generation)

    def launch(self, node: Node, generation: int) -> None:
        """Begin a life of a node, with a deadline for its start."""
        if self.world.stopping:
            node.gone = generation  # nothing is started any more; the stop will find nothing to stop
            return
        node.since = self.world.clock()
        if self.world.bus.active and isinstance(node, Cell):
            self.world.bus.publish(ActorStarting(self.path_of(node), generation))
        limit = self.start_limit(node)
        if limit != inf:
            self.arm(node, limit, self.start_took_too_long, generation)
        node.begin(generation)

    def do_stop(self, action: act.Stop) -> None:
        node = self.nodes[action.id]
        node.halted = action.generation
        self.postponed = [start for start in self.postponed if start.id != action.id]
        if node.abandoned or node.gone == action.generation:
            self.lane.post(self.nothing_runs, node, action.generation)
            return
        node.ask_halt()
        limit = self.stop_limit(node)
        if limit == 0:
            self.kill_node(node, KILLED)
        else:
            self.arm(node, limit, self.stop_took_too_long, action.generation)

    def do_close(self, action: act.Close) -> None:
        node = self.nodes[action.id]
        self.wait_no_more(action.id)
        self.recovered(node)
        node.close(self.deaths.final(node))

    def do_forget(self, action: act.Forget) -> None:
        self.wait_no_more(action.id)
        self.forget(action.id)

    def forget(self, name: str) -> None:
        """It is down, and nobody plans to start it again."""
        node = self.nodes.pop(name)
        self.held.discard(name)
        self.recovered(node)
        node.close(self.deaths.final(node))

    def do_up(self, _: act.Up) -> None:
        if self.has_place and self.world.bus.active:
            self.world.bus.publish(SupervisorStarted(self.path, self.generation))
        self.boss.hear_of_start(self, self.generation)

    def do_restarting(self, action: act.Restarting) -> None:
        node, within, path = self.nodes[action.id], self.spec.limit.within, self.below(action.id)
        self.deaths.restarting(node, action, within)
        self.world.restarted()
        event = RestartingEvent(path, action.reason, action.used, action.n, within, action.delay, action.counted)
        if self.world.bus.active:
            self.world.bus.publish(event)
        ticket = object()
        if self.world.first(event, partial(self.lane.post, self.hooks_over, action.id, ticket)):
            self.awaited[action.id] = ticket
        if not action.counted and action.id not in self.degraded:
            self.degraded.add(action.id)
            self.world.degraded[path] = self.lane.now()
            if self.world.bus.active:
                self.world.bus.publish(Degraded(path, action.reason))

    def do_held(self, action: act.Held) -> None:
        (self.held.add if action.held else self.held.discard)(action.id)
        if self.world.bus.active:
            self.world.bus.publish((ActorHeld if action.held else ActorReleased)(self.below(action.id)))

    def do_retry(self, _: act.Retry) -> None:
        self.lane.post(self.resume, self.machine)

    def resume(self, machine: Machine | Dynamic) -> None:
        if machine is self.machine:  # and not of an earlier life
            machine.resume(self.lane.now())
            self.pump()

    def do_wait(self, action: act.Wait) -> None:
        self.wait_no_more(action.id)
        self.waits[action.id] = self.lane.call_later(
            action.seconds, self.due, self.machine, action.id, action.generation
        )

    def wait_no_more(self, child_id: str) -> None:
        """Its backoff is over, one way or another."""
        timer = self.waits.pop(child_id, None)
        if timer is not None:
            timer.cancel()

    def due(self, machine: Machine | Dynamic, child_id: str, generation: int) -> None:
        if machine is self.machine:
            machine.due(child_id, generation, self.lane.now())
            self.pump()

    def do_answer(self, action: act.Answer) -> None:
        ticket: Any = action.ticket
        if isinstance(ticket, Adding):
            node = self.coming.pop(ticket.name)
            if self.nodes.get(ticket.name) is not node:
                node.let_go()
            ticket = ticket.slot
        if ticket is not None:
            ticket.put((action.result, action.reason))

    def do_boot_failed(self, action: act.BootFailed) -> None:
        cause = action.reason.cause
        if not isinstance(cause, StartFailed):
            failure = StartFailed(self.path_of(self.nodes[action.id]))
            failure.__cause__ = cause
            cause = failure
        self.ended(self.boss.on_start_failed, start_failed(cause))

    def do_down(self, action: act.Down) -> None:
        reason, limit = action.reason, self.spec.limit
        if reason.kind == "restart_limit":
            history: Any = reason.why
            path = self.limit_path(history[-1].id)
            told = [f"{self.below(attempt.id)} ({attempt.reason})" for attempt in history]
            error = RestartLimitExceeded(path, told, limit.n, limit.within)
            error.__cause__ = reason.cause
            reason = restart_limit(error)
        self.ended(self.boss.on_ended, reason)

    def limit_path(self, last: str) -> str:
        """Whose limit was exceeded, when this child was restarted last."""
        return self.path

    def do_stopped(self, _: act.Stopped) -> None:
        self.ended(self.boss.on_ended, SHUTDOWN)

    def ended(self, report: Callable[[Node, int, Reason], object], reason: Reason) -> None:
        self.machine = None
        self.awaited.clear()
        self.postponed.clear()
        for name in list(self.waits):
            self.wait_no_more(name)
        self.deaths.given_up()
        for name in list(self.degraded):
            self.recovered(self.nodes[name])
        if self.has_place and self.world.bus.active:
            self.world.bus.publish(SupervisorEnded(self.path, self.generation, reason))
        self.boss.lane.post(report, self, self.generation, reason)
