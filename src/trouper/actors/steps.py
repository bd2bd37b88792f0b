"""What a lane does with a cell whose turn it is: the hot path.

A cell's `step` says in what state it is. The lane calls `cell.run(cell.step, cell, batch)`, in the actor's own
context; the step returns None (look at the box and queue me again), an `Activity` (a handler suspended: capture it)
or `HELD` (somebody else will release me). A step never raises: what the user's code raises is the cell's to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trouper.actors.ask import Ask
from trouper.actors.urgent import ENVELOPES
from trouper.lanes.lane import HELD

if TYPE_CHECKING:
    from trouper.actors.ref import Ref
    from trouper.lanes.lane import Activity, Held

    Stepped = Activity | Held | None


def step_odd_coroutine(ref: Ref[Any], item: object) -> Stepped:
    """Handle what `step_coroutines` does not know: what is in an envelope, or a message of a new type."""
    cell = ref.cell
    ask: Ask | None = None
    if type(item) is Ask:
        ask = item
    elif type(item) in ENVELOPES:
        urgent: Any = item
        if not urgent.take():
            return urgent.stepped  # type: ignore[no-any-return]
        item = urgent.message
    cell.asked = ask
    coro = ref.receive(item if ask is None else ask.request)
    try:
        trap = coro.send(None)
    except StopIteration as done:
        return None if ask is None else cell.answered(ask, done.value)
    except BaseException as exc:  # noqa: BLE001 - judged by the cell
        return cell.failed(exc, item)
    return cell.captured(coro, trap, item)


def step_plain(ref: Ref[Any], batch: int) -> Stepped:
    """Handle messages with a plain function, which cannot suspend."""
    box, receive = ref.box, ref.receive
    pop, envelopes = box.popleft, ENVELOPES
    waiting = len(box)
    for _ in range(min(batch, waiting)):
        try:
            message = pop()
        except IndexError:
            return None
        if type(message) in envelopes:
            out = step_odd_plain(ref, message)
            if out is not None:
                return out
        else:
            try:
                receive(message)
            except BaseException as exc:  # noqa: BLE001 - judged by the cell
                return ref.cell.failed(exc, message)
        if ref.receive is not receive:
            return HELD
    return None


def step_odd_plain(ref: Ref[Any], item: Any) -> Stepped:
    """Handle what is in an envelope."""
    if type(item) is Ask:
        return step_asked_plain(ref, item)
    if not item.take():
        return item.stepped  # type: ignore[no-any-return]
    try:
        ref.receive(item.message)
    except BaseException as exc:  # noqa: BLE001 - judged by the cell
        return ref.cell.failed(exc, item.message)
    return None


def step_asked_plain(ref: Ref[Any], ask: Ask) -> Stepped:
    cell = ref.cell
    cell.asked = ask
    try:
        value = ref.receive(ask.request)
    except BaseException as exc:  # noqa: BLE001 - judged by the cell
        return cell.failed(exc, ask)
    return cell.answered(ask, value)


def step_thread(ref: Ref[Any], batch: int) -> Stepped:
    """Handle messages in the actor's own thread; orders have their turn before and after each.

    It says that it is busy *before* it looks for orders; who wants it to stop posts the order *before* it looks whether
    to interrupt it. So no message is begun that nobody would interrupt.
    """
    cell, lane = ref.cell, ref.lane
    out: Stepped = None
    for _ in range(batch):
        cell.busy = True
        if lane.orders:
            cell.busy = False
            lane.admit()
            break
        out = step_plain(ref, 1)
        cell.busy = False
        if out is not None or lane.orders or not ref.box or cell.stopping:
            break
    if lane.over:  # this life is over, and the cell may be in the next one's hands
        return HELD
    if cell.stopping:
        cell.advance()
    elif cell.state == "draining" and not ref.box:
        cell.drained()
    if lane.over:
        return HELD
    return out if cell.state in ("running", "draining") else HELD


def step_start(ref: Ref[Any], batch: int) -> Stepped:
    """Construct the actor and begin its `on_start`."""
    return ref.cell.construct()


def step_hook(ref: Ref[Any], batch: int) -> Stepped:
    """Begin the hook (or `run`) that is due."""
    return ref.cell.begin_hook()


def step_inbox(ref: Ref[Any], batch: int) -> Stepped:
    """Messages for an actor that loops itself: wake it."""
    ref.cell.wake_inbox()
    return HELD


def step_held(ref: Ref[Any], batch: int) -> Stepped:
    """Down, suspended, or on its way to an end: it stays marked."""
    return HELD


def step_closed(ref: Ref[Any], batch: int) -> Stepped:
    """Stopped for good: what still arrives is a dead letter."""
    ref.cell.bury()
    return None


def step_draining(ref: Ref[Any], batch: int) -> Stepped:
    """Asked to stop, but to handle what is queued first."""
    cell = ref.cell
    out = cell.handler_step(ref, batch) if ref.box else None  # there may be no box yet
    if out is None and not ref.box:
        cell.drained()
        return HELD
    return out


def step_offered(ref: Ref[Any], batch: int) -> Stepped:
    """Senders wait for room: let them in as there is some."""
    cell, lane = ref.cell, ref.lane
    out: Stepped = cell.handler_step(ref, batch)
    if not lane.over:  # else its next life has them, perhaps in another thread
        cell.serve_offers()
    return out
