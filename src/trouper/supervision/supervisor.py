"""The supervisor: it carries out what its machine decides, in the thread of one lane.

The supervisors of the static tree live in the control lane, which runs no user code. What an actor spawned is
supervised in the actor's own lane (for a threading actor, whose thread is the user's, in the control lane). A
supervisor is a `Node` for the one above it, as an actor's cell is: it is begun, halted, killed and closed, and
reports what becomes of it.

Starts and stops are jobs with a deadline. Past `start_timeout` a start is killed; past `shutdown` a stop is. What
does not end within a second grace after that is unkillable: its stack goes to the log, no second generation is ever
started beside it, and the failure goes straight to the root.
"""

from __future__ import annotations

import logging
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from trouper.actors.cell import Cell
from trouper.errors import (
    DuplicateChild,
    RestartLimitExceeded,
    SpecError,
    StartFailed,
    StartTimeout,
    StopTimeout,
    Unkillable,
    Words,
)
from trouper.events import (
    ActorDeclined,
    ActorEnded,
    ActorHeld,
    ActorReleased,
    ActorStarted,
    ActorStarting,
    Degraded,
    Recovered,
    SupervisorEnded,
    SupervisorStarted,
)
from trouper.events import Restarting as RestartingEvent
from trouper.reasons import KILLED, SHUTDOWN, restart_limit, start_failed, timeout
from trouper.supervision import actions as act
from trouper.supervision.deaths import Deaths
from trouper.supervision.machine import Machine
from trouper.supervision.members import Member
from trouper.supervision.place import Placed, default_name, place
from trouper.supervision.pool import Pool, refuse_template
from trouper.supervision.spec import Child, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trouper.actors.options import Options
    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane, Timer
    from trouper.lanes.slot import Slot
    from trouper.reasons import Reason
    from trouper.supervision.dynamic import Dynamic

log = logging.getLogger("trouper")

GRACE = 5.0  # seconds between the kill and the verdict "unkillable"


class Node(Protocol):
    """What stands below a supervisor: an actor's cell or another supervisor.

    `halted` is the generation that was told to stop, `doomed` the one that was told to end at once, `gone` the one that
    ended (or was not begun) when the daemon was stopping already.
    """

    name: str
    generation: int
    since: float
    deadline: Timer | None
    abandoned: bool
    halted: int
    doomed: int
    gone: int

    @property
    def options(self) -> Any: ...
    def begin(self, generation: int) -> None: ...
    def ask_halt(self) -> None: ...
    def ask_kill(self, reason: Reason = ...) -> None: ...
    def close(self, cause: BaseException | None = None) -> None: ...
    def stack(self) -> str: ...
    def let_go(self) -> None: ...


class Branch:
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

    has_place = True  # of its own in the tree

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
        self.world, self.lane, self.boss = world, lane, boss
        self.name, self.path, self.spec = name, path, spec
        self.generation = self.halted = self.doomed = self.gone = 0
        self.since = 0.0
        self.deadline: Timer | None = None
        self.abandoned = self.killing = False
        self.declared = {placed.name: self.plant(placed) for placed in children}
        self.nodes: dict[str, Node] = {}
        self.coming: dict[str, Node] = {}  # asked for, and not begun yet
        self.deaths = Deaths(path)
        self.held: set[str] = set()
        self.degraded: set[str] = set()
        self.machine: Machine | Dynamic | None = None

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
        self.machine = self.new_machine()
        self.machine.boot(self.lane.now())
        self.pump()

    def new_machine(self) -> Machine | Dynamic:
        members = [
            member_of(name, node.options, node.generation, held=name in self.held) for name, node in self.nodes.items()
        ]
        spec = self.spec
        return Machine(spec.strategy, spec.limit, spec.auto_shutdown, members, self.world.random.random)

    def ask_halt(self) -> None:
        """Stop all below, whatever is under way."""
        if self.machine is not None:
            self.machine.stop(self.lane.now())
            self.pump()

    def ask_kill(self, reason: Reason = KILLED) -> None:
        """Stop all below, at once."""
        self.killing = True
        for node in list(self.nodes.values()):  # a threading actor may spawn meanwhile
            if node.deadline is not None or node.halted == node.generation > 0:
                self.kill_node(node, KILLED)
        self.ask_halt()

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody plans to start it again."""
        for node in {**self.nodes, **self.declared}.values():
            node.close(cause)

    def stack(self) -> str:
        return "\n".join(node.stack() for node in list(self.nodes.values()) if node.halted == node.generation > 0)

    # -- what the machine wants --------------------------------------------------------------------------------------
    def pump(self) -> None:
        """Carry out the machine's actions, in order."""
        machine = self.machine
        if machine is None:
            return
        wanted = machine.actions
        while wanted:
            action = wanted.popleft()
            HANDLERS[type(action)](self, action)

    def do_start(self, action: act.Start) -> None:
        node = self.nodes.get(action.id)
        if node is None:
            node = self.nodes[action.id] = self.coming[action.id]
        if self.deaths.open:
            self.deaths.absorbed(node)
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
        self.recovered(node)
        node.close(self.deaths.final(node))

    def do_forget(self, action: act.Forget) -> None:
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
        if self.world.bus.active:
            self.world.bus.publish(
                RestartingEvent(path, action.reason, action.used, action.n, within, action.delay, action.counted)
            )
        if not action.counted and action.id not in self.degraded:
            self.degraded.add(action.id)
            self.world.degraded[path] = self.lane.now()
            if self.world.bus.active:
                self.world.bus.publish(Degraded(path, action.reason))

    def recovered(self, node: Node) -> None:
        """It is up, or not wanted any more."""
        if node.name in self.degraded:
            self.degraded.discard(node.name)
            path = self.path_of(node)
            since = self.world.degraded.pop(path)
            if self.world.bus.active:
                self.world.bus.publish(Recovered(path, self.lane.now() - since))

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
        self.lane.call_later(action.seconds, self.due, self.machine, action.id, action.generation)

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
        self.deaths.given_up()
        for name in list(self.degraded):
            self.recovered(self.nodes[name])
        if self.has_place and self.world.bus.active:
            self.world.bus.publish(SupervisorEnded(self.path, self.generation, reason))
        self.boss.lane.post(report, self, self.generation, reason)

    # -- what the nodes report ---------------------------------------------------------------------------------------
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

    def nothing_runs(self, node: Node, generation: int) -> None:
        """The answer to a `Stop`."""
        node.halted = 0
        if self.machine is not None:
            self.machine.stopped(node.name, generation, self.lane.now())
            self.pump()

    def died(self, node: Node, generation: int, reason: Reason) -> None:
        """Note a death, to be logged once its consequence is known; a stop that went well is no news."""
        uptime = self.world.clock() - node.since
        if self.world.bus.active and isinstance(node, Cell):
            self.world.bus.publish(ActorEnded(node.path, generation, reason, uptime))
        self.deaths.noted(node, self.path_of(node), generation, reason, uptime)
        if node.halted == generation:
            self.deaths.stopped(node)

    # -- deadlines ---------------------------------------------------------------------------------------------------
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

    def kill_node(self, node: Node, reason: Reason) -> None:
        """End it now, and wait for that a while."""
        node.doomed = node.generation
        node.ask_kill(reason)
        if isinstance(node, Cell):
            grace = node.child.choice.shutdown
            self.arm(node, grace if 0 < grace < GRACE else GRACE, self.unkillable, node.generation)

    def unkillable(self, node: Node, generation: int) -> None:
        """It does not end: say so, and go on without it."""
        path = self.path_of(node)
        node.abandoned = True
        log.critical(
            "%s: generation %d does not end, not even killed; it is left behind:\n%s", path, generation, node.stack()
        )
        self.world.fatal(path, Unkillable(path))
        if node.halted == generation:
            self.nothing_runs(node, generation)
        else:
            node.gone = generation

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
        return machine.view() if machine is not None else [(name, "undefined") for name in list(self.nodes)]

    # -- words -------------------------------------------------------------------------------------------------------
    def below(self, name: str) -> str:
        return self.path + name if self.path == "/" else f"{self.path}/{name}"

    def path_of(self, node: Node) -> str:
        return self.below(node.name)


@attrs.frozen
class Adding:
    """The ticket of a request to add a child."""

    name: str
    slot: Slot[Any]


def refuse_kept(nodes: Iterable[Placed]) -> None:
    """A child has one place in one tree at a time.

    Raises:
        DuplicateChild: one of them has a place already.
    """
    for node in nodes:
        refuse_template(node.spec, node.path)
        cell = node.spec.ref.cell if isinstance(node.spec, Child | Pool) else None
        if cell is not None and cell.boss is not None and cell.boss.keeps(cell):
            given = Words(f"a {'pool' if isinstance(node.spec, Pool) else 'child'} that stands at {cell.path} already")
            raise DuplicateChild(node.path, "tree", given, "one that stands in no running tree, or was deleted there")


def member_of(name: str, options: Options | Supervisor, generation: int, *, held: bool) -> Member:
    return Member(name, options.restart, options.significant, generation, options.backoff, options.optional, held)


def branch_of(placed: Placed, world: World, lane: Lane, boss: Boss) -> Branch:
    """Make the node of a supervisor."""
    spec = placed.spec
    assert isinstance(spec, Supervisor)
    return BRANCHES[type(spec)](world, lane, boss, placed.name, placed.path, spec, placed.children)


BRANCHES: dict[type[Supervisor], type[Branch]] = {Supervisor: Branch}
"""What carries out which kind of spec; `crew` puts its own in."""

HANDLERS: dict[type, Callable[[Branch, Any], None]] = {
    act.Start: Branch.do_start,
    act.Stop: Branch.do_stop,
    act.Close: Branch.do_close,
    act.Forget: Branch.do_forget,
    act.Up: Branch.do_up,
    act.Restarting: Branch.do_restarting,
    act.Retry: Branch.do_retry,
    act.Wait: Branch.do_wait,
    act.Held: Branch.do_held,
    act.Answer: Branch.do_answer,
    act.BootFailed: Branch.do_boot_failed,
    act.Down: Branch.do_down,
    act.Stopped: Branch.do_stopped,
}
