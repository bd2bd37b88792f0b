"""The run queue that all lanes share, and the argument why no wake-up is lost.

A lane is one thread. It owns the cells of the actors that live in it: all their state is touched by this thread
alone, with two exceptions, both single operations that the interpreter makes atomic: any thread may `append` to (or,
when a full `drop_oldest` mailbox must lose its head, `popleft` from) a cell's box, and any thread may `append` to the
lane's `incoming` and `orders`.

**A cell is marked.** `cell.queued` is true while somebody is bound to look at its box: it stands in `ready`, or a
handler of it is suspended, or it is down and will be looked at when it comes up. Only the lane writes the mark.

**A sender** appends to the box, *then* reads the mark. If it is set, whoever set it will look at the box later. If it
is clear, a sender in the lane sets it and appends the cell to `ready`; a foreign sender appends the cell to
`incoming`, *then* reads `parked`, and wakes the lane if it is.

**The lane** clears the mark *before* it looks at the box a last time. So for each message one of two holds: the
lane's last look came after the append and sees the message, or the clear came before the sender read the mark and the
sender puts the cell into `incoming`. In the same way the lane declares itself `parked` *before* it looks at
`incoming` and `orders` a last time: either it sees the entry, or the foreign thread sees `parked` and wakes it. A
cell that arrives twice is marked by then and skipped.

**A wake-up is sent once.** Waking a loop from another thread costs a system call, so `pending` remembers that one is
under way. The lane clears it *before* it looks for work; cleared after, a wake-up asked for in between would be
dropped.

`tests/lanes/test_interleavings.py` steps a sender and a lane through this code opcode by opcode, and fails on each
mutant of the argument.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import get_ident
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

BATCH = 64  # messages of one cell before the next cell has its turn; fewer where handlers are slow


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None: ...


class Held:
    """What a step returns when its cell must stay marked and out of the run queue: somebody else will release it."""


HELD = Held()


class Activity:
    """A coroutine of one cell that is suspended in a dispatcher's task, which became the cell's task."""

    __slots__ = ("_cancel", "asked", "cell", "coro", "then", "trap")

    def __init__(
        self, cell: Stepped, coro: Coroutine[Any, Any, Any], then: Callable[[Any, BaseException | None], None]
    ) -> None:
        self.cell = cell
        self.coro = coro
        self.then = then
        self.trap: Any = None
        self.asked = False  # a cancellation was asked for
        self._cancel: Callable[[], object] | None = None

    def cancel(self) -> None:
        """Cancel it; before the task is captured the wish is remembered and applied at the capture."""
        self.asked = True
        if self._cancel is not None:
            self._cancel()

    def captured_by(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        if self.asked:
            cancel()

    def ended(self, value: Any, error: BaseException | None) -> None:
        self._cancel = None
        self.then(value, error)


class Stepped(Protocol):
    """What a lane must know of a cell."""

    box: Any
    queued: bool
    run: Any
    step: Any

    @property
    def mind(self) -> Any: ...

    def bury(self) -> None: ...


class Lane:
    """One thread with a run queue. The flavours add how to park it, how to wake it and how to await in it."""

    flavour: str
    stopwatch: Callable[[], float] = perf_counter  # what slices are measured by

    def __init__(self, name: str, *, slice_after: float | None = None) -> None:
        self.name = name
        self.ident = 0
        self.ready: deque[Any] = deque()
        self.incoming: deque[Any] = deque()
        self.orders: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.parked = False
        self.pending = False
        self.over = False
        self.turns = 0
        self.dirty: Callable[[], object] = bool  # of the turn that is under way
        self.batch = BATCH
        self._slice = slice_after
        self._turn_ends = 0.0
        self.on_broken: Callable[[Lane, BaseException], None] = raise_broken

    # -- from any thread ---------------------------------------------------------------------------------------------
    def foreign(self, cell: Stepped) -> None:
        """Another thread has put a message into an unmarked cell."""
        self.incoming.append(cell)
        if self.parked:
            self.wake_from_outside()
        elif self.over:
            self.bury_late()

    def post(self, order: Callable[..., object], *args: Any) -> None:
        """Have `order(*args)` called soon in the lane's thread, before further messages are handled."""
        self.orders.append((order, args))
        if self.parked:
            if get_ident() == self.ident:
                self.wake()
            else:
                self.wake_from_outside()

    def do(self, order: Callable[..., object], *args: Any) -> None:
        """Call `order(*args)` in the lane's thread: now if this is it, soon if it is not."""
        if get_ident() == self.ident:
            order(*args)
        else:
            self.post(order, *args)

    def bury_late(self) -> None:
        """After the lane's end a sender's own thread turns what it sent into dead letters."""
        while self.incoming:
            try:
                cell = self.incoming.popleft()
            except IndexError:
                return
            cell.bury()

    def wake_from_outside(self) -> None:
        if not self.pending:
            self.pending = True
            self.call_from_outside(self.woken)

    def woken(self) -> None:
        self.pending = False
        if self.parked:
            self.wake()

    # -- in the lane -------------------------------------------------------------------------------------------------
    def enqueue(self, cell: Stepped) -> None:
        """Give a cell that is marked already its turn."""
        self.ready.append(cell)
        if self.parked:
            self.wake()

    def release(self, cell: Stepped) -> None:
        """Let a cell go that somebody held marked: clear the mark, then look at its box a last time."""
        cell.queued = False
        if cell.box and not cell.queued:
            cell.queued = True
            self.enqueue(cell)

    def admit(self) -> None:
        """Take in what other threads left: orders first, then cells with new messages."""
        orders, incoming, ready = self.orders, self.incoming, self.ready
        if orders:
            self.obey()
        while incoming:
            cell = incoming.popleft()
            if not cell.queued:
                cell.queued = True
                ready.append(cell)

    def obey(self) -> None:
        """Carry out the orders that are there. Those that they bring about wait until the loop has had its turn."""
        orders = self.orders
        for _ in range(len(orders)):
            if orders:  # else one of them has carried out the rest
                order, args = orders.popleft()
                order(*args)

    @property
    def slice(self) -> float:
        """Seconds of a turn: twice the interpreter's switch interval, or innocent threads starve."""
        return self._slice if self._slice is not None else max(0.001, 2 * sys.getswitchinterval())

    def spent(self) -> bool:
        """Whether the slice of this turn is used up; work that is done in place counts against it, too."""
        return self.stopwatch() > self._turn_ends

    def begin_slice(self) -> None:
        self._turn_ends = self.stopwatch() + self.slice

    def turn(self, dirty: Callable[[], object]) -> Activity | None:  # noqa: C901, PLR0912, PLR0915 - the hot path: calls cost
        """Step ready cells for one slice; a handler that really awaits ends the turn and is returned.

        `dirty()` tells whether a step left something behind in the task that stepped it.
        """
        ready = self.ready
        pop, push, stopwatch = ready.popleft, ready.append, self.stopwatch
        batch, length, self.dirty = self.batch, self.slice, dirty
        seldom = max(0, (batch >> 2) - 1)  # the clock is read every 16 cells, more often where handlers are slow
        self.turns += 1
        self._turn_ends = end = stopwatch() + length
        self.admit()
        count = 0
        while True:
            if not ready:
                self.admit()
                if not ready:
                    return None
            cell = pop()
            box = cell.box
            waiting = len(box)
            if waiting != 1 or cell.step is not step_coroutines:
                out = cell.run(cell.step, cell, batch)
            else:  # the most common case has no frame of its own: one message, and a coroutine that ends at once
                try:
                    message = box.popleft()
                except IndexError:  # a foreign sender dropped the oldest
                    push(cell)
                    continue
                receive = cell.receive
                if type(message) not in cell.accepts:
                    out = cell.run(cell.mind.step_odd, message)
                else:
                    coro = receive(message)
                    try:
                        trap = cell.run(coro.send, None)
                    except StopIteration:
                        out = None if cell.receive is receive else HELD
                    except BaseException as exc:  # noqa: BLE001 - judged by the cell
                        out = cell.mind.failed(exc, message)
                    else:
                        out = cell.mind.captured(coro, trap, message)
            if out is None:
                if dirty():
                    raise Spoiled(cell)
                if cell.box:
                    push(cell)
                else:
                    cell.queued = False
                    if cell.box and not cell.queued:
                        cell.queued = True
                        push(cell)
            elif out is not HELD:
                return out  # type: ignore[no-any-return]  # pyright: ignore[reportReturnType]
            elif dirty():
                raise Spoiled(cell)
            count += 1
            if waiting > 1 or not count & seldom:
                self.admit()
                if (now := stopwatch()) > end:
                    self.batch = max(1, batch >> 1) if now > end + length else min(BATCH, batch << 1)
                    return None

    def idle(self) -> bool:
        """Declare the lane parked, then look a last time. True: nothing to do, go to sleep."""
        self.parked = True
        if self.ready or self.incoming or self.orders:
            self.parked = False
            return False
        return True

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return monotonic()

    # -- for the flavours --------------------------------------------------------------------------------------------
    def wake(self) -> None:
        raise NotImplementedError

    def call_from_outside(self, fn: Callable[[], object]) -> None:
        raise NotImplementedError

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> Timer:
        raise NotImplementedError

    def call_at(self, when: float, fn: Callable[..., object], *args: Any) -> Timer:
        """As `call_later`, at an instant of `now()`."""
        raise NotImplementedError


def step_coroutines(cell: Any, batch: int) -> Activity | Held | None:
    """Handle messages with a coroutine function: each coroutine is stepped here, and most end at once.

    What is no message of a known type (a request in its envelope, the first of a new type) goes to `step_odd`.
    """
    box, receive, accepts = cell.box, cell.receive, cell.accepts
    pop = box.popleft
    waiting = len(box)
    for _ in range(waiting if waiting < batch else batch):  # noqa: FURB136 - a call of `min` costs
        try:
            message = pop()
        except IndexError:  # a foreign sender dropped the oldest
            return None
        if type(message) not in accepts:
            out = cell.mind.step_odd(message)
            if out is not None:
                return out  # type: ignore[no-any-return]
        else:
            coro = receive(message)
            try:
                trap = coro.send(None)
            except StopIteration:
                pass
            except BaseException as exc:  # noqa: BLE001 - judged by the cell
                return cell.mind.failed(exc, message)  # type: ignore[no-any-return]
            else:
                return cell.mind.captured(coro, trap, message)  # type: ignore[no-any-return]
        if cell.receive is not receive:  # it stopped itself
            return HELD
    return None


class Spoiled(BaseException):
    """Internal: a step of `cell` left its task unclean."""

    def __init__(self, cell: Stepped) -> None:
        super().__init__(cell)
        self.cell = cell


def raise_broken(lane: Lane, error: BaseException) -> None:
    raise error
