"""Reloads: the `on_reload` of every actor that runs and has it, one after the other, in start order.

A reload begins when the tree is ready and no other is under way. Requests that come while one is under way share the
next one: what has reloaded already may not have seen what they are about. A stop ends it at once.

Each actor has its `reload_timeout` twice: to become free for its `on_reload`, and for the hook itself. One that takes
longer is killed, as a start that takes too long is. One that is merely too busy is none the worse for it: its hook
comes when it is free, with as long a time for it, and the reload goes on without it.

What ends for another reason before its hook does is not counted: its next life reads its settings anyway. A reload that
does not come about, for the daemon stops, is never answered by an empty list.
"""

from __future__ import annotations

import logging
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import trio

from trouper.actors.reloading import Reload
from trouper.events import DaemonReloaded, DaemonReloading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trouper.actors.cell import Cell
    from trouper.actors.reloading import Outcome
    from trouper.daemon.daemon import Daemon
    from trouper.lanes.slot import Slot

log = logging.getLogger("trouper")


class Reloads:
    """The reloads of a daemon; all of it in its control lane."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.asked: list[Slot[tuple[str, ...]]] = []  # for whom the next one is
        self.scope: trio.CancelScope | None = None  # of those that are under way

    def ask(self, slot: Slot[tuple[str, ...]]) -> None:
        """Reload, and answer with the paths of those that did not."""
        self.asked.append(slot)
        self.go_on()

    def go_on(self) -> None:
        """Begin, if it is time."""
        daemon = self.daemon
        if daemon.stop_why is not None or daemon.control.over:
            self.stop()
        elif self.asked and self.scope is None and daemon.ready.done:
            self.scope, slots = trio.CancelScope(), self.asked
            self.asked = []
            daemon.control.start_task(self.work, (self.scope, slots), self.ended)

    def stop(self) -> None:
        """None is begun any more, and the one under way ends here."""
        if self.scope is not None:
            self.scope.cancel()
        slots, self.asked = self.asked, []
        for slot in slots:
            slot.put(self.paths() or ("/",))  # nobody is to think that all is well

    def paths(self) -> tuple[str, ...]:
        """Of all that could reload."""
        return tuple(cell.path for cell, _ in lives(self.daemon))

    def ended(self, _: object, error: BaseException | None) -> None:
        self.scope = None
        if error is not None:
            raise error  # a bug of ours, which ends the control lane
        self.go_on()

    async def work(self, scope: trio.CancelScope, slots: list[Slot[tuple[str, ...]]]) -> None:
        """One reload, and the answer to those who asked for it."""
        failed = self.paths()
        try:
            failed = await self.all(scope)
        finally:
            for slot in slots:
                slot.put(failed)

    async def all(self, scope: trio.CancelScope) -> tuple[str, ...]:
        """Have all reload; the paths of those that did not."""
        daemon = self.daemon
        began, left, failed = daemon.world.clock(), list(lives(daemon)), list[str]()
        count, gone = len(left), 0
        log.info("reloading")
        event, free = DaemonReloading(), trio.Event()
        daemon.tell(event)
        with scope:
            if daemon.hooks.first(event, free.set):
                await free.wait()
            while left:
                cell, generation = left[0]
                outcome = await self.one(cell, generation)
                gone += outcome == "gone"
                if outcome == "failed":
                    failed.append(cell.path)
                del left[0]
        failed += [cell.path for cell, _ in left]
        if not scope.cancel_called:
            seconds = daemon.world.clock() - began
            level, said = (logging.ERROR, f"; not {', '.join(failed)}") if failed else (logging.INFO, "")
            said = f"; {gone} ended meanwhile{said}" if gone else said
            done = count - len(failed) - gone
            log.log(level, "reloaded %d of %d actors after %.3g s%s", done, count, seconds, said)
            daemon.tell(DaemonReloaded(seconds, tuple(failed)))
        return tuple(failed)

    async def one(self, cell: Cell, generation: int) -> Outcome:
        """Have this life reload; what came of it in time."""
        mail = Reload(cell, generation)
        limit: float = cell.child.choice.reload_timeout
        cell.boss.lane.do(cell.ask_reload, mail)
        if not await mail.begun.wait(limit):
            log.warning("%s: not free to reload within %g s; its on_reload comes when it is", cell.path, limit)
            when_done(mail.begun, partial(self.daemon.control.post, self.watch_late, mail, limit))
            return "failed"
        if not await mail.outcome.wait(limit):
            kill_late(mail)
            return "failed"
        return mail.outcome.take()

    def watch_late(self, mail: Reload, limit: float) -> None:
        """Its turn has come after all: from now on it has its time for the hook."""
        control = self.daemon.control
        if isfinite(limit) and not (mail.outcome.done or control.over):
            timer = control.call_later(limit, kill_late, mail)
            when_done(mail.outcome, partial(control.post, timer.cancel))


def when_done(slot: Slot[Any], fn: Callable[[], object]) -> None:
    """Have `fn` called once there is a result, in the thread that gives it; at times twice."""
    slot.wake_by(fn)
    if slot.done:
        fn()


def kill_late(mail: Reload) -> None:
    """Its hook takes too long."""
    cell = mail.cell
    boss: Any = cell.boss
    kill = partial(boss.lane.do, boss.reload_took_too_long, cell, mail)
    if cell.threaded:
        kill()
    else:
        cell.ref.lane.post(kill)  # once its lane turns: if another actor holds that up, it is not its fault


def lives(daemon: Daemon) -> Iterator[tuple[Cell, int]]:
    """The lives that have an `on_reload`, in start order; services come after the tree."""
    for cell, state in daemon.cells():
        if cell.child.definition.has_on_reload and state in {"running", "starting"}:
            yield cell, cell.generation
