"""Scripted actors: a test decides how each life of an actor starts, runs and stops, in every flavour.

```python
script = Script()
tree = one_for_one(child(script.actor("trio")))
script.on_start(Fail(OSError("no such host")), Hang())  # the first start, the second; then all goes well
with Trial(tree) as t:
    script.crash(ValueError("fell over"))
    t.advance(1)
    script.release()
```
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast, final

import attrs
import trio

from trouper.actors.context import current
from trouper.actors.definition import actor
from trouper.actors.flavour import flavour_name
from trouper.errors import Declined, Stopping, UsageError
from trouper.lanes.slot import Slot, in_asyncio, in_event_loop
from trouper.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.actors.cell import Cell
    from trouper.actors.flavour import Flavour
    from trouper.actors.ref import Ref
    from trouper.reasons import Reason


@attrs.frozen
class Fine:
    """Nothing happens: it starts, or stops, at once."""


@attrs.frozen
class Fail:
    """It raises.

    Args:
        error: the exception.
    """

    error: BaseException


@attrs.frozen
class Decline:
    """It declines to run; for a start.

    Args:
        why: for the log.
    """

    why: str = ""


@attrs.frozen
class Sleep:
    """It takes its time.

    Args:
        seconds: how long.
    """

    seconds: float


@attrs.frozen
class Hang:
    """It hangs until `script.release()`.

    Args:
        stubborn: whether not even a stop or a cancellation ends that; by default they do.
    """

    stubborn: bool = False


Outcome: TypeAlias = Fine | Fail | Decline | Sleep | Hang
"""What a start, a reload, a stop or a handler comes to."""


class Do(Message):
    """What `Script.do` sends: the handler comes to this outcome."""

    outcome: Any


class Finish(Message):
    """What `Script.finish` sends: the actor ends normally."""


@attrs.frozen
class Step:
    """One thing that a scripted actor did.

    Args:
        generation: in which of its lives.
        what: `starting`, `started`, `handling`, `handled`, `reloading`, `reloaded`, `stopping` or `stopped`.
        message: the message, where there is one.
    """

    generation: int
    what: str
    message: Any = None


@final
class Script:
    """What the lives of one actor (or of several) come to, decided by a test and read by it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        """What the actors did so far."""
        self._ref: Ref[Any] | None = None
        self._starts: deque[Outcome] = deque()
        self._reloads: deque[Outcome] = deque()
        self._stops: deque[Outcome] = deque()
        self._hanging: set[Slot[None]] = set()

    def actor(self, flavour: Flavour, *accepts: type, **options: Any) -> type[Any]:
        """An actor class of this flavour that obeys this script.

        Args:
            flavour: the module trio, asyncio or threading, or its name.
            accepts: further messages that it takes, and handles by doing nothing; requests are answered with None.
            options: as for `@actor`.
        """
        methods: dict[str, Any] = {name: value for name, value in vars(Player).items() if inspect.isfunction(value)}
        if flavour_name(flavour, "Script.actor") == "threading":
            methods = {name: plain(method) for name, method in methods.items()}
        cls = type("Scripted", (), {**methods, "script": self, "__doc__": "An actor that obeys a script."})
        return actor(flavour=flavour, accepts=(Do, Finish, *accepts), **options)(cls)

    @property
    def ref(self) -> Ref[Any]:
        """The address of the actor that started last.

        Raises:
            UsageError: none has started yet.
        """
        if self._ref is None:
            raise UsageError("a script was asked for its actor, and none has started yet; allowed: once the tree runs")
        return self._ref

    # -- what it is to do --------------------------------------------------------------------------------------------
    def on_start(self, *outcomes: Outcome) -> None:
        """What the next starts come to, one each; those after them are fine."""
        self._starts.extend(outcomes)

    def on_reload(self, *outcomes: Outcome) -> None:
        """What the next reloads come to, one each; those after them are fine."""
        self._reloads.extend(outcomes)

    def on_stop(self, *outcomes: Outcome) -> None:
        """What the next stops come to, one each; those after them are fine."""
        self._stops.extend(outcomes)

    def do(self, outcome: Outcome) -> None:
        """Have the actor that started last handle a message that comes to this."""
        self.ref.send(Do(outcome))

    def crash(self, error: BaseException) -> None:
        """Have it crash with this exception, once it has handled what waits."""
        self.do(Fail(error))

    def finish(self) -> None:
        """Have it end normally, by itself."""
        self.ref.send(Finish())

    def release(self) -> None:
        """Let go of all that hangs."""
        hanging, self._hanging = self._hanging, set()
        for slot in hanging:
            slot.put(None)

    @property
    def hangs(self) -> bool:
        """Whether something hangs now."""
        return bool(self._hanging)

    # -- for the players ---------------------------------------------------------------------------------------------
    def note(self, me: Any, what: str, message: Any = None) -> None:
        self.steps.append(Step(current(me).generation, what, message))

    def next_start(self, me: Any) -> Outcome:
        self.note(me, "starting")
        self._ref = current(me).self_ref
        return self._starts.popleft() if self._starts else Fine()

    def next_reload(self, me: Any) -> Outcome:
        self.note(me, "reloading")
        return self._reloads.popleft() if self._reloads else Fine()

    def next_stop(self, me: Any) -> Outcome:
        self.note(me, "stopping")
        return self._stops.popleft() if self._stops else Fine()

    def hang(self) -> Slot[None]:
        slot: Slot[None] = Slot()
        self._hanging.add(slot)
        return slot


class Player:
    """The methods of a scripted actor."""

    script: Script

    async def on_start(self) -> None:
        await come_to(self.script.next_start(self), self)
        self.script.note(self, "started")

    async def receive(self, message: Any) -> None:
        self.script.note(self, "handling", message)
        if isinstance(message, Do):
            await come_to(message.outcome, self)
        elif isinstance(message, Finish):
            current(cast("Any", self)).stop()
        self.script.note(self, "handled", message)

    async def on_reload(self) -> None:
        await come_to(self.script.next_reload(self), self)
        self.script.note(self, "reloaded")

    async def on_stop(self, reason: Reason) -> None:
        await come_to(self.script.next_stop(self), self)
        self.script.note(self, "stopped")


def plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """The twin of an async method for threads, where nothing of it suspends: all that it waits for blocks."""

    def driven(*args: Any) -> Any:
        try:
            method(*args).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError(f"{method.__qualname__} suspended in a thread")

    driven.__name__, driven.__qualname__ = method.__name__, method.__qualname__
    vars(driven)["__signature__"] = inspect.signature(method)
    return driven


async def come_to(outcome: Outcome, me: Any) -> None:
    """Do what the script says."""
    if isinstance(outcome, Fail):
        raise outcome.error
    if isinstance(outcome, Decline):
        raise Declined(outcome.why)
    in_loop = in_event_loop()
    if isinstance(outcome, Sleep):
        await current(me).sleep(outcome.seconds) if in_loop else current(me).sleep_sync(outcome.seconds)
    elif isinstance(outcome, Hang):
        slot = me.script.hang()
        if in_loop:
            await (endure(slot) if outcome.stubborn else slot.wait())
        elif outcome.stubborn:
            slot.wait_sync()
        else:
            hang_in_thread(slot, me.__trouper_cell__)


def hang_in_thread(slot: Slot[None], cell: Cell) -> None:
    """Wait as a polite hook does that no loop can cancel: a stop ends it, and in `on_stop` a kill."""

    def over() -> object:
        return slot.done or cell.cut_short

    slot.wake_by(partial(cell.ref.lane.bell.put, None))
    cell.ref.lane.wait(over)
    if not slot.done and not cell.in_on_stop:
        raise Stopping


async def endure(slot: Slot[None]) -> None:
    """Wait, whoever cancels that."""
    with trio.CancelScope(shield=True) if not in_asyncio() else nullcontext():
        while not slot.done:
            with suppress(asyncio.CancelledError):
                await slot.wait()
