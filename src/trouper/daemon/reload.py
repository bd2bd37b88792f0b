"""Reloads: the `on_reload` of every actor that runs and has it, one after the other, in start order.

A reload begins when the tree is ready and no other is under way. Requests that come while one is under way share the
next one: what has reloaded already may not have seen what they are about. A stop ends it at once.

Each actor has its `reload_timeout` twice: to become free for its `on_reload`, and for the hook itself. One that takes
longer is killed, as a start that takes too long is. One that is merely too busy is none the worse for it: its hook
comes when it is free, and the reload goes on without it.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trouper.actors.reloading import Reload
from trouper.events import DaemonReloaded, DaemonReloading
from trouper.supervision.snapshot import cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trouper.actors.cell import Cell
    from trouper.daemon.daemon import Daemon
    from trouper.lanes.slot import Slot
    from trouper.supervision.supervisor import Branch

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
            slot.put(self.paths())

    def paths(self) -> tuple[str, ...]:
        """Of all that could reload."""
        return tuple(cell.path for cell, _ in lives(self.daemon.root))

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
        began, left, failed = daemon.world.clock(), list(lives(daemon.root)), list[str]()
        count = len(left)
        log.info("reloading")
        event, free = DaemonReloading(), trio.Event()
        daemon.tell(event)
        with scope:
            if daemon.hooks.first(event, free.set):
                await free.wait()
            while left:
                cell, generation = left[0]
                if not await self.one(cell, generation):
                    failed.append(cell.path)
                del left[0]
        failed += [cell.path for cell, _ in left]
        if not scope.cancel_called:
            seconds = daemon.world.clock() - began
            level, said = (logging.ERROR, f"; not {', '.join(failed)}") if failed else (logging.INFO, "")
            log.log(level, "reloaded %d of %d actors after %.3g s%s", count - len(failed), count, seconds, said)
            daemon.tell(DaemonReloaded(seconds, tuple(failed)))
        return tuple(failed)

    async def one(self, cell: Cell, generation: int) -> bool:
        """Have this life reload; whether it did, or is over anyway."""
        mail, boss = Reload(cell, generation), cell.boss
        limit: float = cell.child.choice.reload_timeout
        boss.lane.do(cell.ask_reload, mail)
        if not await mail.begun.wait(limit):
            log.warning("%s: not free to reload within %g s; its on_reload comes when it is", cell.path, limit)
            return False
        if not await mail.outcome.wait(limit):
            branch: Any = boss
            kill = partial(boss.lane.do, branch.reload_took_too_long, cell, mail)
            if cell.threaded:
                kill()
            else:
                cell.ref.lane.post(kill)  # once its lane turns: if another actor holds that up, it is not its fault
            return False
        return mail.outcome.take() != "failed"


def lives(branch: Branch) -> Iterator[tuple[Cell, int]]:
    """The lives of a tree that have an `on_reload`, in start order."""
    for cell, state in cells(branch):
        if cell.child.definition.has_on_reload and state in {"running", "starting"}:
            yield cell, cell.generation
