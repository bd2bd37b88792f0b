"""Reloads: the `on_reload` of every actor that runs and has it, one after the other, in start order.

A reload begins when the tree is ready and no other is under way. Requests that come while one is under way share the
next one: what has reloaded already may not have seen what they are about. A stop ends it at once.

Each actor has its `reload_timeout` twice: to become free for its `on_reload`, and for the hook itself. One that takes
longer is killed, as a start that takes too long is. One that is merely too busy is none the worse for it: its hook
comes when it is free, with as long a time for it, and the reload goes on without it.

What ends for another reason before its hook does is not counted: its next life reads its settings anyway. A reload that
does not come about, for the daemon stops, is never answered by an empty list.

A worker process reloads as a whole when its turn comes, by the reloads of its own daemon; those of one group do so side
by side.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trouper.actors.reloading import Reload
from trouper.daemon.notify import counted
from trouper.events import DaemonReloaded, DaemonReloading
from trouper.lanes.slot import when_done
from trouper.supervision.node import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trouper.actors.cell import Cell
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
            slot.put(self.paths() or (self.daemon.root.path,))  # nobody is to think that all is well

    def paths(self) -> tuple[str, ...]:
        """Of all that could reload."""
        return tuple(node.path for node, _ in lives(self.daemon))

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
        began, left, tally = daemon.world.clock(), deque(lives(daemon)), Tally()
        log.info("reloading")
        event, free = DaemonReloading(), trio.Event()
        daemon.tell(event)
        with scope:
            if daemon.hooks.first(event, free.set):
                await free.wait()
            answers: dict[str, Slot[tuple[str, ...] | None]] = {}
            while left:
                node, generation = left[0]
                if isinstance(node, Elsewhere):
                    if node.path not in answers:
                        answers = ask_group(left)
                    await answers[node.path].wait()
                    tally.add("worker", answers[node.path].take())
                else:
                    tally.add("actor", await self.one(node, generation))
                left.popleft()
        tally.failed += [node.path for node, _ in left]
        if not scope.cancel_called:
            seconds = daemon.world.clock() - began
            log.log(logging.ERROR if tally.failed else logging.INFO, "reloaded %s after %.3g s%s", *tally.told(seconds))
            daemon.tell(DaemonReloaded(seconds, tuple(tally.failed)))
        return tuple(tally.failed)

    async def one(self, cell: Cell, generation: int) -> tuple[str, ...] | None:
        """Have this life reload: its path if it did not in time; None if it ended meanwhile."""
        mail = Reload(cell, generation)
        limit: float = cell.child.choice.reload_timeout
        cell.boss.lane.do(cell.ask_reload, mail)
        if not await mail.begun.wait(limit):
            log.warning("%s: not free to reload within %g s; its on_reload comes when it is", cell.path, limit)
            when_done(mail.begun, partial(self.daemon.control.post, self.watch_late, mail, limit))
            return (cell.path,)
        if not await mail.outcome.wait(limit):
            kill_late(mail)
            return (cell.path,)
        outcome = mail.outcome.take()
        return None if outcome == "gone" else () if outcome == "reloaded" else (cell.path,)

    def watch_late(self, mail: Reload, limit: float) -> None:
        """Its turn has come after all: from now on it has its time for the hook."""
        control = self.daemon.control
        if isfinite(limit) and not (mail.outcome.done or control.over):
            timer = control.call_later(limit, kill_late, mail)
            when_done(mail.outcome, partial(control.post, timer.cancel))


class Tally(msgspec.Struct):
    """What came of one reload."""

    done: Counter[str] = msgspec.field(default_factory=Counter)
    all: Counter[str] = msgspec.field(default_factory=Counter)
    gone: int = 0
    failed: list[str] = msgspec.field(default_factory=list)

    def add(self, kind: str, failed: tuple[str, ...] | None) -> None:
        """One more: the paths that failed in it; None if it ended meanwhile."""
        self.all[kind] += 1
        self.done[kind] += failed == ()
        self.gone += failed is None
        self.failed += failed or ()

    def told(self, seconds: float) -> tuple[str, float, str]:
        """For the log: of what how many, and what became of the others."""
        kinds = self.all or {"actor": 0}
        of_all = " and ".join(f"{self.done[kind]} of {counted(self.all[kind], kind)}" for kind in kinds)
        rest = [f"; {self.gone} ended meanwhile"] if self.gone else []
        rest += [f"; not {', '.join(self.failed)}"] if self.failed else []
        return of_all, seconds, "".join(rest)


def ask_group(left: Iterable[tuple[Cell | Elsewhere, int]]) -> dict[str, Slot[tuple[str, ...] | None]]:
    """Have those worker processes reload that come first and are of one group; their answers by their paths."""
    answers: dict[str, Slot[tuple[str, ...] | None]] = {}
    group = ""
    for node, _ in left:
        above = node.path.rpartition("/")[0]
        if not isinstance(node, Elsewhere) or above != (group or above):
            break
        group, answers[node.path] = above, node.ask("reload")
    return answers


def kill_late(mail: Reload) -> None:
    """Its hook takes too long."""
    cell = mail.cell
    boss: Any = cell.boss
    kill = partial(boss.lane.do, boss.reload_took_too_long, cell, mail)
    if cell.threaded:
        kill()
    else:
        cell.ref.lane.post(kill)  # once its lane turns: if another actor holds that up, it is not its fault


def lives(daemon: Daemon) -> Iterator[tuple[Cell | Elsewhere, int]]:
    """The lives that have an `on_reload`, and the worker processes, in start order; services come after the tree."""
    for node, state in daemon.places():
        if state not in {"running", "starting"}:
            continue
        if isinstance(node, Elsewhere):
            yield node, 0
        elif node.child.definition.has_on_reload:
            yield node, node.generation
