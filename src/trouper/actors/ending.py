"""The end of a generation, which has one order (`advance`).

Its children, what it is doing, its background tasks, `on_stop`, the report to the boss.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from trouper.actors.hooks import Hooks
from trouper.actors.life import CLOSED, CLOSING, DOWN, DRAINING, RUNNING, STARTING, STOPPING
from trouper.actors.ref import NOTHING
from trouper.actors.steps import (
    step_closed,
    step_draining,
    step_held,
)
from trouper.errors import NotReady
from trouper.lanes.loop_lane import Cancelled
from trouper.reasons import NORMAL, SHUTDOWN, start_failed

if TYPE_CHECKING:
    from trouper.actors.reloading import Reload
    from trouper.actors.world import Spawner
    from trouper.reasons import Reason


mails = Lock()  # over `reload` of a cell, which its boss puts there and its lane takes out


class Ending(Hooks):
    """The cell and its ends."""

    __slots__ = ()

    def halt(self, generation: int, reason: Reason) -> None:
        """An order: end in good order. It may come late, when another generation lives."""
        if generation != self.generation:
            return
        self.stop_wanted = True
        if self.state == STARTING:
            self.reason = self.reason or reason
            if self.activity is not None:
                self.activity.cancel()
        elif self.state == RUNNING:
            if self.drains:
                self.drain(reason)
            else:
                self.wind_down(reason)

    def drain(self, reason: Reason) -> None:
        """Refuse new messages and handle what is queued."""
        if self.leaving:
            self.wind_down(reason)
            return
        self.state, self.reason = DRAINING, reason
        self.turn_away()
        self.cut_reload()
        if self.child.definition.style == "run":
            self.wake_inbox()
        elif self.activity is None:
            self.ref.step = step_draining
            if not self.ref.queued:
                self.ref.queued = True
                self.ref.lane.enqueue(self.ref)

    def turn_away(self) -> None:
        """Refuse new messages."""
        self.refuses = True
        self.ref.accepts = NOTHING

    def turn_away_early(self) -> None:
        """Who asks for the stop does it for a thread, which takes the order only between two messages."""
        if self.threaded and self.drains and self.state == RUNNING and not self.leaving:
            self.turn_away()

    def drained(self) -> None:
        self.wind_down(self.reason or SHUTDOWN)

    def quit(self, generation: int) -> None:
        """It stopped itself."""
        if self.state in (RUNNING, DRAINING) and generation == self.generation:
            self.wind_down(self.reason or NORMAL)

    def kill(self, generation: int, reason: Reason) -> None:
        """An order: end now."""
        if generation != self.generation:
            return
        self.killed = reason
        self.stop_wanted = True
        if self.state == STARTING:
            self.halt(generation, reason)
        elif self.state in (RUNNING, DRAINING):
            self.wind_down(reason)
        elif self.state == STOPPING:
            if self.reason is not None and not self.reason.abnormal:
                self.reason = reason
            self.advance()

    def crash(self, error: BaseException) -> None:
        """An order: it failed by what somebody else did, such as a child of it."""
        if self.state in (RUNNING, DRAINING):
            self.wind_down(self.judge(error))
        elif self.state == STARTING:
            self.halt(self.generation, self.judge(error))

    def wind_down(self, reason: Reason) -> None:
        """The generation ends, for this reason; the first that is abnormal stands.

        In a lane of its loop it is never called with the user's code on the stack; a thread may be in a blocking call.
        """
        if self.state != STOPPING or self.reason is None or not self.reason.abnormal:
            self.reason = reason
        self.state = STOPPING
        if not self.in_on_stop:
            self.hook = None  # a `run` that was not begun is not begun any more
        self.ref.step = step_held
        self.ref.queued = True
        self.advance()
        if self.state == STOPPING and not self.stop_wanted:
            self.boss.lane.post(self.boss.on_ending, self, self.generation)

    def advance(self) -> None:
        """Go on with the end of the generation, in its order; called again when what it waits for is over."""
        if self.state != STOPPING:
            return
        if self.reloading is not None and not self.leaving:
            self.cut_reload()
        if self.spawner is not None:
            self.spawner.kill() if self.killed else self.spawner.halt()
        elif self.activity is not None or self.busy:
            self.end_activity()
        elif self.tasks:
            self.end_tasks()
        elif self.stop_due:
            self.stop_due, self.in_on_stop = False, True
            self.perform(partial(self.instance.on_stop, self.reason), self.on_stop_ended)
        elif self.hook is None:
            self.finish(self.reason or SHUTDOWN)

    def end_activity(self) -> None:
        """What the actor does comes to its end by itself if it handles a message; else it is told, once."""
        if self.killed:
            if self.activity is not None:
                self.activity.cancel()
        elif not self.told and not self.in_on_stop and self.child.definition.style != "receive":
            self.told = True
            seen = self.inbox is not None and self.inbox.end()
            if not seen and self.activity is not None:
                self.activity.cancel()

    def put_reload(self, mail: Reload | None) -> None:
        """Keep this one in mind; whoever waits for the one before waits in vain. Any thread may call."""
        with mails:
            before, self.reload = self.reload, mail
        if before is not None:
            before.told("gone")

    def cut_reload(self) -> None:
        """A stop is not kept waiting by an `on_reload`; a thread's sees it in the calls of the runtime."""
        mail = self.reloading
        if mail is None or mail.cut:
            return
        mail.cut = True
        if mail.task is not None:
            mail.task.cancel()
        elif self.activity is not None and not self.threaded:
            self.activity.cancel()

    def end_tasks(self) -> None:
        """Background tasks are cancelled, once, and again when killed."""
        if self.told is not None or self.killed:
            self.told = None
            for task in list(self.tasks or ()):
                task.cancel()

    def spawner_ended(self, spawner: Spawner) -> None:
        """All its children are stopped."""
        if self.spawner is spawner:
            self.spawner = None
        self.advance()

    def on_stop_ended(self, _: object, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self.fail_at_the_end(error)
        self.advance()

    def fail_at_the_end(self, error: BaseException) -> None:
        """It failed while it ended: that is the reason now, and what it ended for is told with it.

        What only says that it was told to end (`Stopping`, `Shutdown`) hides no failure before it.
        """
        before, now = self.reason, self.judge(error)
        if before is not None and before.abnormal and not now.abnormal:
            return
        cause = None if before is None else before.cause
        if cause is not error and error.__context__ is None:
            error.__context__ = cause
        self.reason = now

    def finish(self, reason: Reason) -> None:
        report, what = self.report or (self.boss.on_ended, reason)
        if self.unready and self.report is None and not self.stop_wanted:
            report, what = self.boss.on_start_failed, start_failed(reason.cause or NotReady(self.path))
        self.down()
        self.boss.lane.post(report, self, self.generation, what)

    def down(self) -> None:
        """The generation is over: let go of all that belonged to it."""
        self.state = DOWN
        self.fail_claims()
        for timer in list((self.timers or {}).values()):
            timer.stop()
        if self.silence is not None:
            self.silence.stop()
        self.put_back()
        if self.watches is not None:
            self.world.watching.unwatch_all(self)
        ref = self.ref
        ref.step = step_held
        ref.queued = True
        ref.receive = None
        self.instance = None
        for name in ("me", "inbox", "hook", "tasks", "timers", "silence", "stash", "stashing"):
            self.__dict__.pop(name, None)
        if self.threaded:
            ref.lane.close()
        if self.reload is not None:
            self.put_reload(None)

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody plans to start it again: dead letters from now on. The cell is down, or was left behind."""
        if self.threaded or self.generation == 0 or self.left_behind:
            self.shut(cause)
        elif self.state == DOWN:  # and nobody but its boss, in whose thread this is, makes it something else
            self.state = CLOSING
            self.ref.lane.do(self.shut, cause)

    def shut(self, cause: BaseException | None) -> None:
        if (self.state not in (DOWN, CLOSING) and not self.left_behind) or self.ref.cell is not self:
            return
        if self.spawner is not None:  # left behind with what it spawned
            self.spawner.close()
        if self.state not in (DOWN, CLOSING):
            self.haunted = True
            if self.threaded:
                self.ref.lane.close()
        if self.generation == 0:  # no lane knows it yet, and somebody may be about to send
            self.ref.lane, self.ref.run = self.world.control, self.world.context.copy().run
        self.state = CLOSED
        self.turn_away()
        self.ref.step = step_closed
        self.bury(cause)
        self.ref.queued = False
        self.bury(cause)
        self.world.watching.ended(self)
