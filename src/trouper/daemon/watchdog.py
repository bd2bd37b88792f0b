"""The watchdog: a lane that does not turn is reported, with its stack and the actor that holds it up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trouper.actors import steps
from trouper.actors.ask import Ask
from trouper.actors.cell import Cell
from trouper.actors.speaker import ABOUT
from trouper.errors import show
from trouper.events import LaneStalled
from trouper.lanes.errand import Errand, step_errand
from trouper.lanes.lane import Lane, step_coroutines
from trouper.lanes.loop_lane import resume
from trouper.lanes.stacks import local_in_stack, thread_stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.events import Bus

log = logging.getLogger("trouper")

STEPS: frozenset[Any] = frozenset(getattr(steps, name).__code__ for name in dir(steps) if name.startswith("step_")) | {
    resume.__code__,
    step_coroutines.__code__,
    step_errand.__code__,
    Errand.take_up.__code__,
    Lane.turn.__code__,
    Lane.admit.__code__,  # an order: nobody's message, whatever was handled before it
    Cell.answer_one.__code__,
}


class Knock(msgspec.Struct, eq=False):
    """One question to a lane whether it turns, until it answers; a late answer must not silence the next."""

    at: float
    reported: bool = False


class Watchdog:
    """It knocks at each lane, from the control lane, and counts the seconds until the lane answers.

    Args:
        lanes: gives the lanes that run now.
        bus: for `LaneStalled`.
        stall_after: seconds without a turn until a lane is reported.
        each_round: called in every round, for what the process wants to be told of.
    """

    def __init__(
        self, lanes: Callable[[], list[Lane]], bus: Bus, stall_after: float, each_round: Callable[[], object]
    ) -> None:
        self.lanes, self.bus, self.stall_after, self.each_round = lanes, bus, stall_after, each_round
        self.knocked: dict[Lane, Knock] = {}
        self.stalls = 0

    async def watch(self) -> None:
        """Make rounds until cancelled, after the first one."""
        while True:
            await trio.sleep(self.stall_after / 4)
            self.make_round()

    def make_round(self) -> None:
        """Look at each lane. The first round comes before the first actor, who may hold the interpreter's lock."""
        now = trio.current_time()
        for lane in self.lanes():
            self.look_at(lane, now)
        self.each_round()

    def look_at(self, lane: Lane, now: float) -> None:
        knock = self.knocked.get(lane)
        if lane.over:
            self.knocked.pop(lane, None)  # it turns no more: its loop closes
        elif knock is None:
            self.knocked[lane] = Knock(now)
            lane.post(self.answered, lane)
        elif now - knock.at >= self.stall_after * 0.75 and not knock.reported:
            knock.reported = True
            self.report(lane, now - knock.at)

    def answered(self, lane: Lane) -> None:
        """In the lane's thread: it turns."""
        self.knocked.pop(lane, None)

    def report(self, lane: Lane, seconds: float) -> None:
        """Say who holds the lane up, as far as the stack tells."""
        self.stalls += 1
        stack = thread_stack(lane.ident)
        path, message = held_up_by(lane.ident)
        at = f" in {path}" if path else ""
        if message is not None:
            at += f" over {show(message)}"
        about = {"path": path or "-", "lane": lane.name}
        log.error("the %s lane has not turned for %.3g s%s:\n%s", lane.name, seconds, at, stack, extra={ABOUT: about})
        if self.bus.active:
            self.bus.publish(LaneStalled(lane.name, path, message, seconds, stack))


def held_up_by(ident: int) -> tuple[str | None, Any]:
    """The actor whose code a thread is in, and the message that it handles, as far as its stack tells."""
    found = local_in_stack(ident, STEPS)
    return (None, None) if found is None else culprit(found)


def culprit(found: dict[str, Any]) -> tuple[str | None, Any]:
    """The path and the message, from the local variables of a step."""
    activity = found.get("activity")
    if activity is not None:
        cell = activity.cell.cell
        return cell.path, request_in(cell.message)
    handler = found.get("ref") or found.get("cell") or found.get("self")  # of a step, or of an answer given in place
    path = getattr(handler, "path", None)  # a lane that carries out an order has none
    return path, None if path is None else request_in(found.get("message", found.get("ask")))


def request_in(item: Any) -> Any:
    return item.request if isinstance(item, Ask) else item
