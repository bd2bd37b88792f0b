"""The supervisor of a group of worker processes.

It decides as that of a pool does, by the machine of children that are alike: each is restarted for itself, with a limit
of its own. What it adds is what it takes to have a process: the forkserver they come from, the tree as bytes, and what
they tell: events and log records, which are the daemon's.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from trouper.errors import type_name
from trouper.events import WorkerEnded, WorkerStarted
from trouper.supervision.child import Child
from trouper.supervision.deadlines import GRACE
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.pool import Pool
from trouper.supervision.ranks import Ranks
from trouper.supervision.supervisor import BRANCHES
from trouper.workers.cargo import check_travel, modules_of, pack
from trouper.workers.exchange import Everywhere, exchange_of, lead_to, make_copies
from trouper.workers.launcher import Launcher
from trouper.workers.main_module import main_module
from trouper.workers.portable import rebuild_event, rebuild_value
from trouper.workers.spec import Process
from trouper.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane, Timer
    from trouper.lanes.slot import Slot
    from trouper.lanes.trio_lane import TrioLane
    from trouper.reasons import Reason
    from trouper.supervision.node import Node
    from trouper.supervision.place import Placed
    from trouper.supervision.spec import Supervisor
    from trouper.workers.body import Body

log = logging.getLogger("trouper")

SETTLED = 0.1  # seconds for a worker that is up to do what waited for it, before a spare process is started
OUTLIVED = 1.0  # seconds beyond `shutdown` for workers whose daemon is gone


class Staff(Ranks):
    """A group of worker processes at work; its arguments are those of a `Branch`."""

    spec: Process

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
        super().__init__(world, lane, boss, name, path, spec)
        [self.each] = children
        check_travel(self.each)
        self.exchange = exchange_of(world)
        self.cargo: bytes | None = None
        self.launcher = self.new_launcher()
        self.rolling = False
        self.settling: Timer | None = None  # the last of them is up, and is given a moment
        for number in range(1, self.spec.workers + 1):
            self.declare(number)
        for node in self.each.walk():
            if isinstance(node.spec, Child | Pool):
                make_copies(node.spec.ref, getattr(node.spec, "key", None), Everywhere(self, node.path))
                self.exchange.copies[node.path] = node.spec.ref
        self.resized()
        world.bus.on_change(self.listeners_changed)

    @property
    def control(self) -> TrioLane:
        """Where it lives."""
        return cast("TrioLane", self.lane)

    def name_of(self, number: int) -> str:
        return str(number - 1)  # a `worker_id`

    def make(self, number: int) -> Node:
        return Worker(self, number - 1)

    def resized(self) -> None:
        """Have the addresses of the subtree lead to those who are there."""
        workers = [node for node in self.declared.values() if isinstance(node, Worker)]
        for node in self.each.walk():
            if isinstance(node.spec, Child | Pool):
                actor = node.spec.template if isinstance(node.spec, Pool) else node.spec
                step = node.path.removeprefix(self.each.path)
                known = actor.definition, actor.choice.mailbox
                lead_to(node.spec.ref, tuple(worker.peer.ref(worker.path + step, *known) for worker in workers))

    def redirect(self, worker: Worker) -> None:
        """What waits for the actors of one is for the others."""
        for cell in list(worker.peer.cells.values()):
            copies = self.exchange.copies[self.each.path + cell.path.removeprefix(worker.path)]
            while cell.ref.box:
                with suppress(IndexError):
                    copies.put(cell.ref.box.popleft())

    @property
    def running(self) -> list[Worker]:
        return [node for node in self.nodes.values() if isinstance(node, Worker)]

    # -- what it takes to start one ----------------------------------------------------------------------------------
    def new_launcher(self) -> Launcher:
        spec, cargo = self.spec, self.cargo
        daemon: Any = self.world.daemon
        actors = [node.spec.definition for node in self.each.walk() if isinstance(node.spec, Child)]
        terms = {
            "group": self.path,
            "preload": modules_of(self.each.walk()),
            "main": main_module() if cargo is not None and b"__main__" in cargo else None,
            "argv": sys.argv,
            "flavours": {actor.flavour for actor in actors} - {"threading"},
            "stop_within": spec.subtree.shutdown,
            "stall_after": daemon.watchdog.stall_after,
            "uvloop": daemon.new_loop is not None,
            "levels": log_levels(),
        }
        names, grace = [type_name(actor.cls) for actor in actors], spec.subtree.shutdown + OUTLIVED
        return Launcher(self.path, names, terms, spawn=spec.start == "spawn", grace=grace)

    def begin(self, generation: int) -> None:
        if self.cargo is None:
            self.cargo = pack(self.each)
        self.launcher = self.new_launcher()
        super().begin(generation)

    def order(self, worker: Worker, generation: int) -> dict[str, Any]:
        """What a process is told that is to be this worker."""
        return {
            "path": worker.path,
            "worker_id": worker.number,
            "generation": generation,
            "tree": self.cargo,
            "levels": log_levels(),
            "listening": bool(self.world.bus.active),
        }

    def no_longer_used(self, launcher: Launcher) -> None:
        """One process less came out of it; one that was replaced ends with the last of them."""
        if launcher is not self.launcher and launcher.users == 0:
            self.control.start_task(launcher.close, (), lambda *_: None)
        self.keep_spares_soon()

    # -- what they tell ----------------------------------------------------------------------------------------------
    def heard(self, worker: Worker, message: tuple[Any, ...]) -> None:
        match message:
            case ("event", told):
                self.world.bus.publish(rebuild_event(told, worker.path))
            case ("log", record):
                tell_record(worker.path, record)
            case _:
                raise AssertionError(message)

    def listeners_changed(self) -> None:
        """Any thread: somebody listens to events, or nobody does any more."""
        self.lane.post(self.tell_all, "listening", bool(self.world.bus.active))

    def tell_all(self, *message: Any) -> None:
        for worker in self.running:
            for body in worker.bodies:
                body.tell(*message)

    # -- as a branch -------------------------------------------------------------------------------------------------
    def start_limit(self, node: Node) -> float:
        return self.spec.start_timeout

    def kill_node(self, node: Node, reason: Reason) -> None:
        super().kill_node(node, reason)
        self.arm(node, GRACE, self.unkillable, node.generation)

    def on_started(self, node: Node, generation: int) -> None:
        super().on_started(node, generation)
        self.tell_started(cast("Worker", node))
        self.keep_spares_soon()

    def keep_spares_soon(self) -> None:
        """Others have come or gone: a spare may be missing."""
        if self.spec.spares:
            if self.settling is not None:
                self.settling.cancel()
            self.settling = self.control.call_later(SETTLED, self.keep_spares)

    def keep_spares(self) -> None:
        """Have processes wait for a place, unless others are on their way to theirs, or this ends."""
        busy = self.rolling or not all(body.up for one in self.running for body in one.bodies)
        if not busy and self.hiring is not None:
            self.control.start_task(self.launcher.keep, (self.spec.spares,), lambda *_: None)

    def ask_halt(self) -> None:
        self.launcher.dismiss_spares()
        super().ask_halt()

    def tell_started(self, worker: Worker) -> None:
        body = worker.body
        if body is not None and body.pid is not None and self.world.bus.active:
            self.world.bus.publish(WorkerStarted(worker.path, body.generation, body.pid))

    def died(self, node: Node, generation: int, reason: Reason) -> None:
        super().died(node, generation, reason)
        if self.world.bus.active:
            uptime = self.world.clock() - node.since
            self.world.bus.publish(WorkerEnded(self.path_of(node), generation, reason, uptime))

    def ended(self, report: Callable[[Node, int, Reason], object], reason: Reason) -> None:
        """None of them is left: the forkserver is let go of, too."""
        last = super().ended
        self.control.start_task(self.launcher.close, (), lambda *_: last(report, reason))

    def close(self, cause: BaseException | None = None) -> None:
        super().close(cause)
        if self.control.over:
            self.launcher.drop()

    # -- one after the other -----------------------------------------------------------------------------------------
    def roll(self, ticket: Slot[Any]) -> None:
        """Replace each process by one from a fresh forkserver, one after the other; `Daemon.restart_rolling`."""
        if self.hiring is None:
            ticket.put(("shutting_down", None))
        elif self.rolling:
            ticket.put(("restarting", None))
        else:
            log.info("%s: restarting its workers one after the other", self.path)
            self.rolling = True
            Roll(self, ticket).go_on("ok")

    def renewed(self, worker: Worker) -> None:
        """A process has taken over from another, whose place it has: a life after another, without an end between."""
        if isinstance(self.machine, Dynamic):
            self.machine.renewed(worker.name)
        worker.since = self.world.clock()
        self.tell_started(worker)

    def use(self, launcher: Launcher) -> None:
        """From now on all come out of this one."""
        before, self.launcher = self.launcher, launcher
        before.dismiss_spares()
        self.no_longer_used(before)

    def not_replaced(self, worker: Worker, body: Body) -> None:
        log.error("%s: was not replaced: %s", worker.path, body.reason)


class Roll:
    """A rolling restart under way.

    Args:
        staff: whose processes are replaced.
        ticket: where the answer goes.
    """

    def __init__(self, staff: Staff, ticket: Slot[Any]) -> None:
        self.staff, self.ticket = staff, ticket
        self.launcher = staff.new_launcher()
        self.left = staff.running
        self.some = False  # have been replaced

    def go_on(self, word: str) -> None:
        """The one before was replaced (`ok`), or was not; then the others stay as they are."""
        staff = self.staff
        if word == "ok" and self.some:
            staff.use(self.launcher)
        self.some = True
        while word == "ok" and self.left:
            worker = self.left.pop(0)
            if staff.nodes.get(worker.name) is worker and worker.replace(self.launcher, self.go_on):
                return
        if word == "ok":
            staff.use(self.launcher)
        staff.rolling = False
        staff.no_longer_used(self.launcher)
        staff.keep_spares()
        self.ticket.put((word, None))


def check_processes(placed: Placed) -> None:
    """Refuse a tree of which a part cannot travel to the process it belongs to.

    Raises:
        SpecError: naming the actor and its argument.
    """
    for node in placed.walk():
        if isinstance(node.spec, Process):
            check_travel(node.children[0])


def log_levels() -> dict[str, int]:
    """The levels of the loggers that have one of their own, so that a worker says no more than is wanted."""
    named = logging.root.manager.loggerDict.items()
    levels = {name: logger.level for name, logger in named if isinstance(logger, logging.Logger) and logger.level}
    return {"": logging.root.level, **levels}


def tell_record(path: str, values: dict[str, Any]) -> None:
    """Log what a worker logged, with who it was in front."""
    record = logging.makeLogRecord({key: rebuild_value(value, path) for key, value in values.items()})
    record.processName = path
    if not record.msg.startswith(path):
        record.msg = f"[{path}] {record.msg}"
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


BRANCHES[Process] = Staff
