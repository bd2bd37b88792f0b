"""Handling: what a message, a request, `run` or a background task comes to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeGuard

from trouper.actors.ask import STASHED, Ask
from trouper.actors.ending import Ending
from trouper.actors.hooks import beyond_healing
from trouper.actors.life import DRAINING, RUNNING, STARTING, STOPPING
from trouper.actors.steps import (
    step_draining,
    step_held,
    step_odd_coroutine,
    step_offered,
)
from trouper.errors import (
    LeakedScope,
    ReplyTypeError,
    Shutdown,
    show,
)
from trouper.events import HandlerFailed
from trouper.lanes.hygiene import asyncio_cancelled
from trouper.lanes.lane import HELD
from trouper.lanes.loop_lane import Cancelled
from trouper.reasons import NORMAL, SHUTDOWN

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trouper.lanes.lane import Activity, Held
    from trouper.reasons import Reason


class Handlers(Ending):
    """The cell and its handlers."""

    __slots__ = ()

    def captured(self, coro: Coroutine[Any, Any, Any], trap: Any, message: object) -> Activity:
        """A handler suspended over this message."""
        self.message = message
        self.ref.step = step_held
        return self.suspend(coro, trap, self.handled)

    def step_odd(self, item: object) -> Activity | Held | None:
        """A step of the lane met what is no message of a known type."""
        return step_odd_coroutine(self.ref, item)

    def handled(self, value: Any, error: BaseException | None) -> None:
        """The suspended handler is over."""
        self.activity, message, self.message = None, self.message, None
        if error is not None:
            self.failed(error, message)
        elif isinstance(message, Ask):
            self.answered(message, value)
        self.ready_again() if self.state in (RUNNING, DRAINING) else self.advance()

    def ready_again(self) -> None:
        """Let the lane step it: there may be messages."""
        ref = self.ref
        if self.state == DRAINING:
            ref.step = step_draining
            ref.lane.enqueue(ref)
            return
        if ref.receive is None and self.inbox is None:
            return  # it stopped itself: the order is on its way
        ref.step = step_offered if self.offers else self.handler_step
        ref.lane.release(ref)

    def answered(self, ask: Ask, value: object) -> Held | None:
        """The handler of a request returned."""
        self.asked = None
        if ask.claimed:
            call = "reply_to"
            if ask.claimed is STASHED:
                ask.claimed, call = False, "stash"
            if value is None:
                return None
            misfit: ReplyTypeError | None = ReplyTypeError(
                ask.request, f"given the reply {show(value)} by return, and `{call}` was called; allowed: one of them"
            )
        else:
            misfit = ask.misfit(value)
            if misfit is None:
                if not ask.put(value):
                    self.late(ask, value)
                return None
        assert misfit is not None
        ask.fail(misfit)
        return self.crash_over(misfit, ask)

    def failed(self, error: BaseException, message: object) -> Held | None:
        """The handler of this message raised (or was cancelled)."""
        if isinstance(error, self.child.definition.expected) and forgivable(error):
            return self.forgive(error, message)
        return self.crash_over(error, message)

    def forgive(self, error: Exception, message: object) -> Held | None:
        """The class expects this: who asked gets the error, and the actor goes on as it is."""
        self.asked = None
        self.drop_from_stash(message)
        request = message.request if isinstance(message, Ask) else message
        self.world.report(logging.WARNING, self.ref, "expected failure", f"{show(error)} over {show(request)}")
        if self.world.bus.active:
            self.world.bus.publish(HandlerFailed(self.path, request, error))
        if isinstance(message, Ask):
            message.fail(error)
        return HELD if self.ref.receive is None else None  # it may have stopped itself

    def crash_over(self, error: BaseException, message: object) -> Held:
        """The message is dead, the actor crashes."""
        self.asked = None
        reason = self.judge(error)
        self.lose(message, error, reason)
        self.wind_down(reason)
        return HELD

    def lose(self, message: object, error: BaseException, reason: Reason) -> None:
        """The handling of this message failed: it is a dead letter, and its asker is told at once.

        That holds for a claimed request, too: its `ReplyTo` may live on in the traceback for as long as that is kept.
        """
        if self.drop_from_stash(message) or not isinstance(error, Shutdown):
            self.world.dead(self.ref, message, f"its handler failed ({reason})")
        if isinstance(message, Ask) and not message.done:
            self.tell_gone(message, reason)

    def run_ended(self, value: object, error: BaseException | None) -> None:
        """`run` returned or raised."""
        reason = None if error is None else self.judge(error)
        if error is not None and reason is not None and self.message is not None:
            self.lose(self.asked or self.message, error, reason)
        self.drop_asked()
        if self.state == STOPPING:
            if error is not None and reason is not None and reason.abnormal and not isinstance(error, Cancelled):
                self.fail_at_the_end(error)
            self.advance()
        else:
            self.wind_down(reason or self.reason or (SHUTDOWN if self.stop_wanted else NORMAL))

    def task_ended(self, task: object, error: BaseException | None) -> None:
        """A background task is over."""
        if self.tasks is not None:
            self.tasks.discard(task)
        if self.state == STOPPING:
            if error is not None and not asyncio_cancelled(error):
                self.fail_at_the_end(error)
            self.advance()
        elif error is not None and self.state == STARTING:
            self.reason = self.judge(error)
            if self.activity is not None:
                self.activity.cancel()
        elif error is not None:
            self.wind_down(self.judge(error))

    def answer_in_place(self, ask: Ask) -> None:
        """Step an idle handler that cannot suspend here and now, for an asker in the same lane."""
        ref = self.ref
        ref.queued = True
        ref.run(self.answer_one, ask)
        if self.state == RUNNING and ref.receive is not None:
            ref.lane.release(ref)

    def answer_one(self, ask: Ask) -> None:
        self.asked = ask
        try:
            value = self.ref.receive(ask.request)
            if self.child.definition.is_async:
                value = value_of(value)
        except BaseException as exc:  # noqa: BLE001 - judged here
            self.failed(exc, ask)
        else:
            self.answered(ask, value)


def value_of(coro: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that has no `await` in it."""
    try:
        coro.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError(f"{coro} suspended")


def forgivable(error: BaseException) -> TypeGuard[Exception]:
    """Whether a class may expect this: not what ends an actor, whatever it says, nor what nobody may heal."""
    return not isinstance(error, Shutdown | LeakedScope) and not beyond_healing(error)
