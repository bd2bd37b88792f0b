"""Reloading: an actor is told, by its `on_reload`, that what it read when it started may have changed.

`on_reload` is a hook of a living generation, and never runs in the middle of something that the actor does:

- With `receive` it comes between two messages, before those that wait, and the next message waits for its end.
- With an async `run` it is a task of its own beside `run`: one of them has a turn where the other awaits.
- With `run` in a thread it comes in that same thread, which is a promise, and only where the actor rests: in `get` or
  `ticks` of its inbox, or in `sleep_sync`. A thread that never rests there never reloads.

A generation that is starting is told once it is up. An `on_reload` that fails crashes the actor. One that is under way
when a stop is asked for is cancelled. Who wishes the reload hears through a `Reload` how it went, whatever becomes of
the actor meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, final

from trouper.actors.ending import mails
from trouper.actors.handlers import Handlers
from trouper.actors.hooks import hooked, in_background
from trouper.actors.life import RUNNING, STARTING, STOPPING
from trouper.actors.urgent import Urgent
from trouper.errors import Stopping
from trouper.lanes.hygiene import asyncio_cancelled
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.cell import Cell
    from trouper.lanes.lane import Activity, Held
    from trouper.lanes.loop_lane import Task

Outcome = Literal["reloaded", "failed", "gone"]
"""`gone`: it ends, or has ended, for another reason."""


@final
class Reload(Urgent):
    """The wish that one generation of an actor reloads, and how that went.

    Args:
        cell: the actor.
        generation: which of its lives.
    """

    __slots__ = ("begun", "cut", "outcome", "stepped", "task")

    def __init__(self, cell: Cell, generation: int) -> None:
        super().__init__(None, cell)
        self.generation = generation
        self.begun: Slot[None] = Slot()  # its turn has come; or it never will
        self.outcome: Slot[Outcome] = Slot()
        self.stepped: Activity | Held | None = None
        self.task: Task | None = None
        self.cut = False  # it was told to end, for a stop

    def live(self) -> bool:
        """Never: it is no message."""
        return False

    def take(self) -> bool:
        """The turn of an actor with `receive` has come: its lane steps the hook, and no message."""
        self.stepped = self.cell.reload_between(self)
        return False

    def told(self, outcome: Outcome) -> None:
        """That is how it went."""
        self.outcome.put(outcome)
        self.begun.put(None)


class Reloading(Handlers):
    """The cell and its reloads."""

    __slots__ = ()

    @property
    def waits_for_reload(self) -> bool:
        """Whether a reload of the whole tree cannot end before what this actor does now does."""
        definition = self.child.definition
        busy = definition.has_on_reload and (definition.style == "receive" or self.threaded)
        return self.state == STARTING or busy

    def ask_reload(self, mail: Reload) -> None:
        """In the lane of its boss, which begins lives: have this generation reload when it can."""
        lane = self.ref.lane
        if mail.generation != self.generation or self.abandoned:
            mail.told("gone")
            return
        self.put_reload(mail)
        lane.post(self.hear_reload, mail)
        if lane.over:  # looked at last: a thread that ends looks for the mail after it has said so
            self.put_reload(None)

    def hear_reload(self, mail: Reload) -> None:
        """In its own lane."""
        if self.reload is not mail:
            return
        if self.state == RUNNING:
            self.reload_soon(mail)
        elif self.state != STARTING:
            self.put_reload(None)

    def reload_soon(self, mail: Reload) -> None:
        """It is up."""
        if self.child.definition.style == "receive":
            self.press(mail)
        elif not self.threaded and self.reloading is None:  # else it comes after that one
            self.reload_beside(mail)

    def begin_reload(self, mail: Reload) -> Callable[[], Any] | None:
        """The hook that is to be called now, if it still is."""
        with mails:
            if self.reload is not mail:
                return None
            self.reload = None
        if self.state != RUNNING or self.stop_wanted or self.leaving:
            mail.told("gone")
            return None
        self.reloading = mail
        mail.begun.put(None)
        return self.instance.on_reload  # type: ignore[no-any-return]

    def reload_between(self, mail: Reload) -> Activity | Held | None:
        """Between two messages of `receive`."""
        hook = self.begin_reload(mail)
        if hook is None:
            return None
        self.hook = (hook, self.reloaded)
        return self.begin_hook()

    def reloaded(self, _: object, error: BaseException | None) -> None:
        """The hook between two messages is over."""
        if self.end_reload(error):
            self.ready_again()
        else:
            self.advance()

    def reload_beside(self, mail: Reload) -> None:
        """In a task beside an async `run`."""
        hook = self.begin_reload(mail)
        if hook is None:
            return
        if self.tasks is None:
            self.tasks = set()
        mail.task = self.ref.run(self.ref.lane.start_task, partial(beside, mail, hook), (), self.task_reloaded)
        self.tasks.add(mail.task)

    def task_reloaded(self, task: object, error: BaseException | None) -> None:
        """The task beside `run` is over."""
        if self.tasks is not None:
            self.tasks.discard(task)
        if not self.end_reload(error):
            self.advance()
        elif self.reload is not None:  # it came meanwhile
            self.reload_soon(self.reload)

    def due_to_reload(self) -> bool:
        """Whether a `run` in a thread, which rests, is to reload now."""
        return (
            self.reload is not None
            and self.state == RUNNING
            and not self.stop_wanted
            and not self.leaving
            and self.reloading is None
            and self.child.definition.style != "receive"
        )

    def reload_here(self) -> None:
        """In the thread of a `run` that rests.

        Raises:
            Stopping: the hook failed, and the actor ends.
        """
        mail = self.reload
        hook = None if mail is None else self.begin_reload(mail)
        if hook is None:
            return
        error: BaseException | None = None
        try:
            hook()
        except BaseException as exc:  # noqa: BLE001 - judged below
            error = exc
        if not self.end_reload(error):
            raise Stopping

    def rest(self, until: Callable[[], object], timeout: float | None) -> bool:
        """Block the actor's own thread as its lane's `wait` does; its `on_reload` may come meanwhile."""
        lane = self.ref.lane
        deadline = None if timeout is None else lane.now() + timeout
        while True:
            left = None if deadline is None else deadline - lane.now()
            came = lane.wait(lambda: self.due_to_reload() or until(), left)
            if not self.due_to_reload():
                return came  # type: ignore[no-any-return]
            self.reload_here()

    def end_reload(self, error: BaseException | None) -> bool:
        """Say how it went. False: the actor is ending, perhaps for that."""
        mail, self.reloading = self.reloading, None
        assert mail is not None
        ending = mail.cut or self.stop_wanted or self.state == STOPPING
        if isinstance(error, Cancelled) or (ending and (isinstance(error, Stopping) or asyncio_cancelled(error))):
            error = None  # it was told to end
        reason = None if error is None else self.judge(error)
        if ending:
            mail.told("gone")
        else:
            mail.told("failed" if reason is not None and reason.abnormal else "reloaded")
        if self.state == STOPPING:
            if error is not None and reason is not None and reason.abnormal:
                self.fail_at_the_end(error)
            return False
        if reason is not None:
            self.wind_down(reason)
            return False
        return True


async def beside(mail: Reload, hook: Callable[[], Any]) -> None:
    """Beside `run` it is no handler, and may ask its own actor; but it may not wait for the reload it is part of."""
    await in_background(marked, mail, hook)


async def marked(mail: Reload, hook: Callable[[], Any]) -> None:
    hooked.set(mail)
    await hook()
