"""Refs: the handle for sending, and the hot half of the cell behind it.

A ref is made together with its child, long before anything runs, and stays the same object over all lives of the
actor. Until a daemon binds it, and whenever the actor is down, it is marked as queued, so that messages wait in its
box and nobody is woken.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trouper.actors.ask import Ask
from trouper.actors.steps import step_held, step_plain
from trouper.actors.urgent import pop_oldest, urgent_ahead
from trouper.errors import (
    ActorStopped,
    AskTimeout,
    MailboxFull,
    MessageTypeError,
    SelfAsk,
    WouldBlockLane,
    show,
    type_name,
)
from trouper.lanes.lane import step_coroutines
from trouper.lanes.slot import Slot, in_event_loop
from trouper.lanes.whose import handling
from trouper.messages import Request, reply_types

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trouper.actors.cell import Cell
    from trouper.actors.definition import Definition
    from trouper.mailbox.mailbox import Mailbox
    from trouper.messages import Asked

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")


class NoBox:
    """The box of an actor that never had a message: full, so that the first `send` goes the slow way and makes one."""

    def __len__(self) -> int:
        return sys.maxsize

    def __bool__(self) -> bool:
        return False


NO_BOX: Any = NoBox()
NOTHING: frozenset[type] = frozenset()
boxes = Lock()


class Ref(Generic[M_contra]):
    """The address of one actor: small, hashable, usable from every thread, valid across restarts.

    `child(...).ref` is one, and so is what `spawn` returns; that of a pool is a `Router`.
    """

    __slots__ = (
        "__weakref__",
        "accepts",
        "box",
        "capacity",
        "cell",
        "definition",
        "lane",
        "mailbox",
        "queued",
        "receive",
        "run",
        "step",
    )

    def __init__(self, definition: Definition, mailbox: Mailbox) -> None:
        self.box: Any = NO_BOX
        self.queued = True
        self.step: Any = step_held
        self.lane: Any
        self.receive: Any
        self.run: Any
        self.definition = definition
        self.cell: Cell = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # until bound
        self.mailbox = mailbox
        capacity = mailbox.capacity
        self.capacity = sys.maxsize if capacity is None else capacity
        self.accepts: Collection[type] = definition.exact or definition.exact_types()

    # -- sending -----------------------------------------------------------------------------------------------------
    def send(self, message: M_contra) -> None:
        """Put a message into the mailbox. Never blocks, never awaits; from any lane and any thread.

        Messages of one sender arrive in order, each at most once. One for a stopped actor becomes a dead letter; one
        that does not fit into a full mailbox is treated as its `overflow` says.

        Args:
            message: an instance of the types that the actor receives.

        Raises:
            MessageTypeError: it is not.
            MailboxFull: the mailbox is full and its overflow policy is `reject`.
        """
        if type(message) not in self.accepts and not self.admits(message, message):
            return
        box = self.box
        if len(box) >= self.capacity:
            if not self.make_room(message):
                return
            box = self.box
        box.append(message)
        if not self.queued:
            lane = self.lane
            if get_ident() == lane.ident:
                self.queued = True
                lane.ready.append(self)
                if lane.parked:
                    lane.wake()
            else:
                lane.foreign(self)

    async def ask(self, message: Asked[M_contra, R], *, timeout: float | None = 5.0) -> R:
        """Send a request and await its reply, in trio or asyncio; as a `call` of OTP's `gen_server`, but typed.

        To cancel it, or its timeout, does not stop the handler. An actor that has no place in a tree yet may get one,
        and is waited for.

        Args:
            message: a request that the actor receives.
            timeout: seconds; None waits for ever.

        Returns:
            The reply.

        Raises:
            AskTimeout: no reply in time.
            ActorRestarted: the actor crashed over the request.
            ActorStopped: the actor is stopped.
            ReplyTypeError: the reply has the wrong type.
            ReplyDropped: the actor let go of the request.
            SelfAsk: a handler asked its own actor.
            MessageTypeError: not a request, or not one that the actor receives.
            MailboxFull: there is no room for it.
        """
        ask = self.envelope(message)
        here = not self.queued and self.answers_at_once and get_ident() == self.lane.ident
        if here and self.lane.spent():
            await self.lane.breathe()
            here = not self.queued and self.answers_at_once
        if here and not self.box:
            self.cell.answer_in_place(ask)
        else:
            self.put(ask)
        if not ask.done and not await ask.wait(timeout):
            self.gave_up(ask, timeout)
        return ask.take()  # type: ignore[no-any-return]

    def ask_sync(self, message: Asked[M_contra, R], *, timeout: float | None = 5.0) -> R:
        """Send a request and block the thread until its reply is there: the twin of `ask` for threads.

        Args:
            message: a request that the actor receives.
            timeout: seconds; None waits for ever.

        Returns:
            The reply.

        Raises:
            WouldBlockLane: this is the thread of an event loop. Stopping: in a threading actor that was asked to
                stop. AskTimeout, ActorRestarted, ActorStopped, ReplyTypeError, ReplyDropped, SelfAsk,
                MessageTypeError, MailboxFull: as `ask`.
        """
        if in_event_loop():
            raise WouldBlockLane(
                f"ask_sync of {self!r} on the thread of an event loop, which it would stop; use `await ref.ask(...)`"
            )
        ask = self.envelope(message)
        self.put(ask)
        if not self.await_sync(ask, timeout):
            self.gave_up(ask, timeout)
        return ask.take()  # type: ignore[no-any-return]

    async def offer(self, message: M_contra) -> None:
        """Send, and wait for room if the mailbox is full: backpressure under every overflow policy.

        Args:
            message: an instance of the types that the actor receives.

        Raises:
            MessageTypeError: it is not.

        It may be cancelled while it waits: then the message is withdrawn. One for a stopped actor becomes a dead
            letter.
        """
        slot = self.queue_up(message)
        if slot is not None:
            try:
                await slot.wait()
            finally:
                slot.claim()  # cancelled: withdraw it

    def offer_sync(self, message: M_contra, *, timeout: float | None = None) -> None:
        """Send, and block the thread while the mailbox is full: the twin of `offer` for threads.

        Args:
            message: an instance of the types that the actor receives.
            timeout: seconds; None waits for ever.

        Raises:
            WouldBlockLane: this is the thread of an event loop.
            MailboxFull: no room in time.
            Stopping: in a threading actor that was asked to stop.
            MessageTypeError: not a message that the actor receives.
        """
        if in_event_loop():
            raise WouldBlockLane(
                f"offer_sync to {self!r} on the thread of an event loop, which it would stop; use `await offer(...)`"
            )
        slot = self.queue_up(message)
        if slot is not None:
            try:
                if not wait_in_thread(slot, timeout) and slot.claim():
                    raise MailboxFull(message, self, self.bound)
            finally:
                slot.claim()

    # -- what can be asked of it -------------------------------------------------------------------------------------
    @property
    def path(self) -> str | None:
        """Where it stands in the tree of its daemon; None before a daemon knows it."""
        return None if self.cell is None else self.cell.path

    def __repr__(self) -> str:
        where = "not in a running tree" if self.cell is None else self.cell.path
        return f"<Ref {type_name(self.definition.cls)}: {where}>"

    @property
    def bound(self) -> int:
        """How many messages the mailbox holds."""
        return sys.maxsize if self.mailbox.capacity is None else self.mailbox.capacity

    @property
    def answers_at_once(self) -> bool:
        """Whether it runs, and its handler cannot suspend: it is a plain function, or a coroutine without `await`."""
        return self.step is step_plain or (self.step is step_coroutines and not self.definition.suspends)

    @property
    def mind(self) -> Any:
        """For the lane: the cell behind it."""
        return self.cell

    def bury(self) -> None:
        """For the lane: what waits is dead."""
        self.cell.bury()

    # -- inside ------------------------------------------------------------------------------------------------------
    def bind(self, cell: Any, mailbox: Mailbox) -> None:
        """A daemon has a place for it."""
        self.cell = cell
        if mailbox is not self.mailbox:
            self.configure(mailbox)
        if self.accepts is NOTHING:  # it was closed: as a new one, it takes messages, and no lane looks at them yet
            self.queued, self.step = True, step_held
            self.open()

    def configure(self, mailbox: Mailbox) -> None:
        """Have the box bounded as `mailbox` says."""
        self.mailbox = mailbox
        self.capacity = self.bound

    def watch_begun(self) -> None:
        """Any thread: somebody wants to hear of its end."""

    def open(self) -> None:
        """Accept messages (again)."""
        self.accepts = self.definition.exact_types()

    def admits(self, message: object, item: object) -> bool:
        """What is not of a known type may be a subclass, a mistake, or for a closed mailbox."""
        types = self.definition.accepted()
        if types is not None and not isinstance(message, types):
            raise MessageTypeError(message, self, types)
        if self.cell is not None and self.cell.refuses:
            self.cell.refuse(item)
            return False
        self.accepts = frozenset({*self.accepts, type(message)})
        return True

    def make_room(self, item: object) -> bool:
        """The box is full, or not there yet. Returns whether `item` may go in."""
        if self.box is NO_BOX and not self.make_box():
            return True
        return self.has_room() or self.overflow(item)  # another sender may have made the box meanwhile

    def has_room(self) -> bool:
        """Whether one more fits."""
        return len(self.box) - urgent_ahead(self.box) < self.capacity

    def overflow(self, item: object) -> bool:
        """The box is full. Returns whether `item` may go in all the same."""
        overflow = self.mailbox.overflow
        if overflow == "drop_oldest":
            try:
                item, kept = pop_oldest(self.box), True
            except IndexError:
                return True
        else:
            kept = False
        if isinstance(item, Ask):
            item.fail(MailboxFull(item.request, self, self.bound))
        elif overflow == "reject":
            raise MailboxFull(item, self, self.bound)
        self.lost(item)
        return kept

    def make_box(self) -> deque[Any]:
        """Make the box, if it is not there; made under a lock and never given back, for any thread may append to it."""
        with boxes:
            if self.box is NO_BOX:
                self.box = deque()
        return self.box  # type: ignore[no-any-return]

    def lost(self, item: object) -> None:
        """This message was dropped."""
        if self.cell is not None:
            self.cell.world.overflowed(self, item)
        else:
            logging.getLogger("trouper").warning("%r: mailbox full, dropped: %s", self, show(item))

    def put(self, item: object) -> None:
        """As `send`, for what needs no look at its type any more."""
        if len(self.box) >= self.capacity and not self.make_room(item):
            return
        self.box.append(item)
        self.nudge()

    def nudge(self) -> None:
        """See to it that the lane looks at the box."""
        if not self.queued:
            lane = self.lane
            if get_ident() == lane.ident:
                self.queued = True
                lane.enqueue(self)
            else:
                lane.foreign(self)

    def envelope(self, message: Any) -> Ask:
        """Check a request, and put it into the envelope that its answer finds its way by."""
        if not isinstance(message, Request):
            raise MessageTypeError(message, self, (Request,))
        asker = handling.get(None)
        if asker is self.cell is not None:
            raise SelfAsk(
                f"{self!r} asks itself, and cannot answer before its handler is done; call a method, or `send`"
            )
        reply_types(type(message))  # what cannot be checked is refused here, not where it is answered
        ask = Ask(message, asker)
        if type(message) not in self.accepts and not self.admits(message, ask):
            raise ActorStopped(message)
        return ask

    def await_sync(self, ask: Ask, timeout: float | None) -> bool:
        """Block this thread until there is an answer; False: there was none in time."""
        return wait_in_thread(ask, timeout)

    def gave_up(self, ask: Ask, timeout: float | None) -> None:
        """Raise `AskTimeout`, if no answer came in the last moment."""
        if ask.give_up():
            raise AskTimeout(ask.request, f"{self!r} did not answer in {timeout:g} s")

    def queue_up(self, message: object) -> Slot[None] | None:
        """Put the message in, or line up for room; the slot is settled when it is in."""
        if type(message) not in self.accepts and not self.admits(message, message):
            return None
        return self.let_in(message)

    def let_in(self, message: object) -> Slot[None] | None:
        """As `queue_up`, for what needs no look at its type any more."""
        box = self.make_box()
        if self.cell is None:
            self.put(message)
            return None
        if len(box) < self.capacity and not self.cell.offers:
            box.append(message)  # without a second look: one that another sender was quicker than may be one too many
            self.nudge()
            return None
        slot: Slot[None] = Slot()
        self.cell.line_up(message, slot)
        return slot


def wait_in_thread(slot: Slot[Any], timeout: float | None, *, first: Callable[[], object] | None = None) -> bool:
    """Wait in a plain thread, or in that of a threading actor, which can be asked to stop meanwhile.

    `first` is called at the last moment before that.
    """
    cell = handling.get(None)
    if cell is None or not cell.owns_this_thread():
        return slot.wait_sync(timeout, first=first)
    if first is not None:
        first()
    return cell.wait_for(slot, timeout)  # type: ignore[no-any-return]
