"""The place of one worker process in the tree: a node like an actor's cell, whose lives are processes.

It has one process at a time, its `body`. While it is replaced there are two: the one that is `coming` takes over once
it is up, and only then the other is told to stop. The place is down when none of them is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trouper.errors import StartTimeout
from trouper.lanes.slot import Slot
from trouper.reasons import KILLED, timeout
from trouper.supervision.node import Elsewhere
from trouper.supervision.snapshot import Snapshot
from trouper.workers.body import Body

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.lanes.lane import Timer
    from trouper.reasons import Reason
    from trouper.supervision.members import State
    from trouper.supervision.spec import Supervisor
    from trouper.workers.launcher import Launcher
    from trouper.workers.peer import Peer
    from trouper.workers.staff import Staff

DRAINING = 0.005  # seconds between two looks


class Worker(Elsewhere):
    """One of the processes of a group, over all its lives; a `supervision.node.Node`.

    Args:
        staff: its supervisor.
        number: its `worker_id`.
    """

    def __init__(self, staff: Staff, number: int) -> None:
        self.staff, self.number, self.name = staff, number, str(number)
        self.generation = self.halted = self.doomed = self.gone = 0
        self.since = 0.0
        self.deadline: Timer | None = None
        self.abandoned = self.closed = False
        self.body: Body | None = None
        self.coming: Body | None = None
        self.leaving: Body | None = None
        self.last: Body | None = None  # the process that the place ended with
        self.peer = self.new_peer()
        staff.exchange.office.peers[self.path] = self.peer
        self.replaced: Callable[[str], object] = lambda _: None
        self.nodes: dict[str, Any] = {}  # what stands below it stands there in another process
        self.declared: dict[str, Any] = {}
        self.machine = None

    @property
    def path(self) -> str:
        return self.staff.below(self.name)

    @property
    def options(self) -> Supervisor:
        return self.staff.spec.subtree

    @property
    def bodies(self) -> list[Body]:
        return [body for body in (self.body, self.coming, self.leaving) if body is not None]

    # -- as a node ---------------------------------------------------------------------------------------------------
    def begin(self, generation: int) -> None:
        self.generation = generation
        if self.closed:  # it was terminated, or held
            self.closed = False
            self.peer.reopen()
        self.body = self.new_body(self.staff.launcher, self.peer)

    def new_body(self, launcher: Launcher, peer: Peer) -> Body:
        staff = self.staff
        return Body(self, staff.control, launcher, peer, self.generation, staff.spec.answer_within)

    def new_peer(self) -> Peer:
        return self.staff.exchange.peer(self.path)

    def ask_halt(self) -> None:
        """Stop; one that is not wanted any more answers first what it was sent, while the others go on."""
        if self.surplus and self.body is not None and self.body.up and not self.staff.world.stopping:
            self.peer.hold()
            self.staff.redirect(self)
            self.halt_when_drained(self.body)
        else:
            self.halt_all()

    def halt_when_drained(self, body: Body) -> None:
        """The deadline for its stop runs meanwhile."""
        if body is not self.body or self.staff.world.stopping or self.peer.drained:
            self.halt_all()
        else:
            self.staff.control.call_later(DRAINING, self.halt_when_drained, body)

    def halt_all(self) -> None:
        for body in self.bodies:
            body.halt()

    @property
    def surplus(self) -> bool:
        """Whether it has no place in its group any more."""
        return self.staff.declared.get(self.name) is not self

    def ask_kill(self, reason: Reason = KILLED) -> None:
        for body in self.bodies:
            body.kill(reason)

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody plans to start it again: what is still sent to its actors is dead."""
        if not self.closed:
            self.closed = True
            self.peer.close()
        for body in self.bodies:  # at the end of a daemon that does not wait for theirs
            body.fall_silent()

    def let_go(self) -> None:
        """It got no place in the tree after all."""

    def stack(self) -> str:
        return "\n".join(f"{self.path}: the process {body.pid}" for body in self.bodies)

    def snapshot(self, path: str, state: State, now: float, *, degraded: bool) -> Snapshot:
        """Its picture, with that of its tree as the process gave it with its last sign of life."""
        body = self.body
        uptime = None if body is None else now - self.since
        inside = () if body is None or body.picture is None else body.picture.children
        pid = None if body is None else body.pid
        return Snapshot(path, "worker", state, self.generation, None, uptime, 0, degraded, inside, pid)

    def count_running(self) -> int:
        """As it told with its last sign of life."""
        picture = None if self.body is None else self.body.picture
        nodes = () if picture is None else picture.walk()
        return sum(node.flavour is not None and node.state == "running" for node in nodes)

    def degraded(self) -> list[str]:
        """As it told with its last sign of life."""
        picture = None if self.body is None else self.body.picture
        return [] if picture is None else [node.path for node in picture.walk() if node.degraded]

    def ask(self, what: str, *args: Any) -> Slot[Any]:
        """One that is about to take over is told as well, and its answer is not waited for."""
        if self.coming is not None:
            self.coming.ask(what, *args)
        if self.body is not None:
            return self.body.ask(what, *args)
        slot: Slot[Any] = Slot()
        slot.put(None)
        return slot

    # -- another process in the same place ---------------------------------------------------------------------------
    def replace(self, launcher: Launcher, told: Callable[[str], object]) -> bool:
        """Start another process, which takes over when it is up. False: there is none to take over from.

        Args:
            launcher: has it started.
            told: hears `ok` when the other one is gone, `nope` if that goes on as it was, or ended meanwhile.
        """
        if self.body is None or not self.body.up or self.bodies != [self.body]:
            return False
        self.replaced = told
        self.coming = coming = self.new_body(launcher, self.new_peer())
        coming.generation += 1
        limit = self.staff.spec.start_timeout
        late = timeout(StartTimeout(self.path, f"the start took longer than {limit:g} s"))
        coming.deadline = self.staff.control.call_later(limit, coming.kill, late)
        return True

    def hand_over(self, body: Body) -> None:
        """The new process is up: the other one may go."""
        self.leaving, self.body, self.coming = self.body, body, None
        self.generation = body.generation
        self.staff.renewed(self)
        self.peer.hold()
        self.until_drained(body.peer, self.staff.lane.now() + self.options.shutdown)

    def until_drained(self, after: Peer, deadline: float) -> None:
        """Once the old one has answered what it was sent, all that waits goes to the new one."""
        before, lane = self.peer, self.staff.control
        if before is after:
            return
        if not before.drained and lane.now() < deadline:
            lane.call_later(DRAINING, self.until_drained, after, deadline)
            return
        self.peer = self.staff.exchange.office.peers[self.path] = after
        after.take_over(before)
        if self.leaving is not None:
            self.leaving.halt()
            self.leaving.deadline = lane.call_later(self.options.shutdown, self.leaving.kill, KILLED)

    def tell_replaced(self, word: str) -> None:
        told, self.replaced = self.replaced, lambda _: None
        told(word)

    # -- what becomes of its processes -------------------------------------------------------------------------------
    def order_for(self, body: Body) -> dict[str, Any]:
        return self.staff.order(self, body.generation)

    def body_is_up(self, body: Body) -> None:
        body.tell("listening", bool(self.staff.world.bus.active))  # it may have changed since the order was made
        if body is self.coming:
            if body.deadline is not None:
                body.deadline.cancel()
            self.hand_over(body)
        elif body is self.body:
            body.peer.release()
            self.staff.hear_of_start(self, self.generation)

    def body_said(self, body: Body, message: tuple[Any, ...]) -> None:
        self.staff.heard(self, message)

    def body_is_gone(self, body: Body) -> None:
        """One less; if it was the last, the place is down."""
        if body.deadline is not None:
            body.deadline.cancel()
        self.staff.no_longer_used(body.launcher)
        if body is self.leaving:
            self.leaving = None
            self.tell_replaced("ok")
        elif body is self.coming:
            self.coming = None
            self.staff.not_replaced(self, body)
            self.tell_replaced("nope")
        else:
            self.body, self.last = None, body
            if self.coming is not None:
                self.coming.kill(KILLED)
        if not self.bodies and self.last is not None:
            last, self.last = self.last, None
            report = self.staff.on_ended if last.up or last.halted else self.staff.on_start_failed
            self.staff.lane.post(report, self, self.generation, last.reason)
