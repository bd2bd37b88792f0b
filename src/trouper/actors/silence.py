"""The receive timeout: an actor hears that it heard of nothing for a while, as in Akka.

While it is set, the step that handles messages is one that notes the time after each; actors without it pay nothing.
The timer is not set anew with each message. It comes, looks how long ago the last message was, and waits for the rest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trouper.actors.life import RUNNING, STARTING
from trouper.actors.timer import Alarm, clock_of
from trouper.actors.urgent import Urgent
from trouper.lanes.lane import Activity
from trouper.messages import ReceiveTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.cell import Cell
    from trouper.actors.ref import Ref
    from trouper.lanes.lane import Held


class Silence:
    """What waits for an actor to have handled nothing for `seconds`."""

    __slots__ = ("alarm", "cell", "clock", "seconds", "since", "step")

    def __init__(self, cell: Cell, seconds: float) -> None:
        self.cell = cell
        self.seconds = seconds
        self.step: Any = None
        self.clock = clock_of(cell)
        self.since = self.clock.now()
        self.alarm = Alarm(cell, seconds, self.ring)

    def listen(self) -> None:
        """Put the step that notes the time before the one that handles; in the lane, when the actor runs."""
        cell, ref = self.cell, self.cell.ref
        self.step = cell.handler_step
        cell.handler_step = step_listening
        if ref.step is self.step:
            ref.step = step_listening
        if cell.activity is not None:
            self.follow(cell.activity)
        self.note()
        ref.lane.post(self.note)  # when the handler that asked for it is done

    def stop(self) -> None:
        """Wait no more; in the lane."""
        self.alarm.cancel()
        cell, ref = self.cell, self.cell.ref
        cell.silence = None
        if cell.handler_step is step_listening:
            cell.handler_step = self.step
            if ref.step is step_listening:
                ref.step = self.step

    def note(self) -> None:
        """A message was handled."""
        self.since = self.clock.now()

    def follow(self, activity: Activity) -> None:
        """Note when this suspended handler is done."""
        activity.then = partial(self.done, activity.then)

    def done(self, then: Callable[[Any, BaseException | None], None], value: Any, error: BaseException | None) -> None:
        self.note()
        then(value, error)

    def ring(self) -> None:
        """The time is up; but perhaps something was heard meanwhile."""
        cell = self.cell
        if cell.state not in (STARTING, RUNNING):
            return
        left = self.since + self.seconds - self.clock.now()
        if cell.state == STARTING or cell.activity is not None or cell.busy or cell.ref.box:
            left = self.seconds  # it is at work, and notes when that is done
        elif left <= 0:
            cell.press(Silent(ReceiveTimeout(), cell, self))
            left = self.seconds
        self.alarm = Alarm(cell, left, self.ring)


class Silent(Urgent):
    """A `ReceiveTimeout` on its way."""

    __slots__ = ("silence",)

    def __init__(self, message: ReceiveTimeout, cell: Cell, silence: Silence) -> None:
        super().__init__(message, cell)
        self.silence = silence

    def live(self) -> bool:
        return self.cell.silence is self.silence and super().live()


def step_listening(ref: Ref[Any], batch: int) -> Activity | Held | None:
    """Handle messages, and note when that was done."""
    silence = ref.cell.silence
    assert silence is not None, "this step is set while there is one"
    out: Activity | Held | None = silence.step(ref, batch)
    silence.note()
    if isinstance(out, Activity):
        silence.follow(out)
    return out
