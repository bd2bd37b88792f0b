"""Refs across a link: the sender's half.

A `RemoteRef` is a ref like any other. Its box is in the sender's process, and so are its capacity and its overflow
policy: `send` appends, as everywhere. What is in the box is then written to the link (`drain`) for as long as there is
credit; without credit it stays, and the box fills. The capacity is shared by what waits in the box and what is under
way, which ends when the actor is done with it.

What has been written belongs to the other process. If that dies, it is lost, and counted; what is still in the box
goes to its successor, as the mailbox of an actor survives a restart.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from trouper.actors.ask import Ask
from trouper.actors.life import CLOSED, RUNNING
from trouper.actors.ref import NO_BOX, NOTHING, Ref
from trouper.actors.urgent import ENVELOPES
from trouper.errors import ActorStopped, CannotTravel, MessageTypeError, show, type_name
from trouper.lanes.slot import in_event_loop
from trouper.lanes.whose import handling
from trouper.reasons import SHUTDOWN
from trouper.workers.codec import ENCODER, encoded
from trouper.workers.credit import Credit
from trouper.workers.frames import ASK, HEAD, MAX_BODY, OPEN, SEND, frame
from trouper.workers.link import HIGH, NOBODY
from trouper.workers.waiting import wait_reading

if TYPE_CHECKING:
    from trouper.actors.definition import Definition
    from trouper.actors.world import World
    from trouper.lanes.slot import Slot
    from trouper.mailbox.mailbox import Mailbox
    from trouper.messages import Asked
    from trouper.reasons import Reason
    from trouper.workers.codec import MailboxTypes
    from trouper.workers.peer import Peer

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")

CHUNK: Final = 1024  # messages in a box, at which who sends writes
BATCH: Final = 512  # messages of one frame
EMPTY: Final = bytes(HEAD.size)


class RemoteRef(Ref[M_contra]):
    """The address of an actor in another process: everything that a `Ref` is.

    Its messages are encoded after `send` has returned: a field that holds what its type does not allow makes a dead
    letter. Made by `Peer.ref`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Ref {type_name(self.definition.cls)}: {self.there.path}, in another process>"

    @property
    def there(self) -> RemoteCell:
        """What stands where a ref has its cell."""
        return cast("RemoteCell", self.cell)

    # -- the sender's thread -----------------------------------------------------------------------------------------
    def admits(self, message: object, item: object) -> bool:
        """Of classes with fields only those in the mailbox travel, no subclass: the receiver would not know it."""
        types = self.there.types.exact
        if not isinstance(message, tuple(types)) or (has_fields(type(message)) and type(message) not in types):
            raise MessageTypeError(message, self, types)
        if self.cell.refuses:
            self.cell.refuse(item)
            return False
        self.accepts = frozenset({*self.accepts, type(message)})
        return True

    def open(self) -> None:
        self.accepts = self.there.types.exact

    def put(self, item: object) -> None:
        """Who asks waits, and has nothing better to do than to write."""
        if not isinstance(item, Ask) or self.there.peer.link is None:
            super().put(item)
        elif len(self.box) < self.capacity or self.make_room(item):
            self.box.append(item)
            self.lane.now(self)

    def ask_sync(self, message: Asked[M_contra, R], *, timeout: float | None = 5.0) -> R:
        """As that of every ref; a thread that is no actor's borrows the wire first, and reads its answer itself.

        The thread of an actor has a bell for that.
        """
        cell, wire = handling.get(None), self.there.peer.wire
        if in_event_loop() or (cell is not None and cell.owns_this_thread()) or not wire.lend():
            return super().ask_sync(message, timeout=timeout)
        try:
            return super().ask_sync(message, timeout=timeout)
        finally:
            wire.back()

    def await_sync(self, ask: Ask, timeout: float | None) -> bool:
        wire = self.there.peer.wire
        if wire.borrower == get_ident():
            return wait_reading(wire, ask, timeout)
        return super().await_sync(ask, timeout)

    def make_room(self, item: object) -> bool:
        if self.box is NO_BOX:
            self.make_box()
        if (link := self.there.peer.link) is not None:
            link.flush()
        return super().make_room(item)

    def has_room(self) -> bool:
        """Whether what waits and what is under way leave room for one more; `capacity` says when to ask for that."""
        room, waiting = self.there.room, len(self.box)
        self.capacity = room if waiting >= CHUNK else min(CHUNK, room)
        return waiting < room

    def watch_begun(self) -> None:
        self.there.peer.watch(self.there)

    # -- who writes to the link --------------------------------------------------------------------------------------
    def drain(self, out: bytearray) -> None:
        """Write what is in the box, for as long as there is credit and room."""
        box, cell = self.box, self.there
        credit, link = cell.credit, self.lane
        while True:
            self.queued = False  # before the last look
            if not box:
                break
            self.queued = True
            if len(out) >= HIGH:
                link.dirty.append(self)
                break
            if credit.left <= 0:
                cell.starved = True
                if credit.left <= 0:
                    break
                cell.starved = False
            cell.pack(out, min(credit.left, BATCH))
        room = cell.room
        self.capacity = room if len(box) >= CHUNK else min(CHUNK, room)


class RemoteCell:
    """What stands behind a `RemoteRef`, in the place of a cell.

    Args:
        peer: the other process.
        path: where the actor stands.
        types: what its mailbox takes.
        definition: of its class.
        mailbox: its capacity, and the policy for what does not fit.
    """

    __slots__ = (
        "channel",
        "credit",
        "ended_by",
        "generation",
        "offers",
        "path",
        "peer",
        "ref",
        "refusal",
        "refuses",
        "serving",
        "starved",
        "state",
        "types",
        "watch",
        "world",
    )

    def __init__(self, peer: Peer, path: str, types: MailboxTypes, definition: Definition, mailbox: Mailbox) -> None:
        self.peer = peer
        self.world: World = peer.world
        self.path = path
        self.types = types
        self.generation = 1
        self.state = RUNNING
        self.ended_by: Reason = SHUTDOWN
        self.refuses = False
        self.refusal: BaseException | None = None
        self.starved = False
        self.channel = self.watch = 0
        self.offers: deque[tuple[object, Slot[None]]] | None = None
        self.serving = Lock()
        self.credit = Credit(mailbox.capacity)
        self.ref: RemoteRef[Any] = RemoteRef(definition, mailbox)
        self.ref.lane = LIMBO if peer.link is None else peer.link
        self.ref.cell = self  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        self.ref.accepts = types.exact

    @property
    def room(self) -> int:
        """How many messages may wait in the box."""
        capacity = self.ref.mailbox.capacity
        return sys.maxsize if capacity is None else capacity - self.credit.unacknowledged

    # -- writing -----------------------------------------------------------------------------------------------------
    def pack(self, out: bytearray, most: int) -> None:
        """Take up to so many messages out of the box, and write them."""
        if not self.channel:
            self.open_channel(out)
        batch, ask = self.gather(most)
        if self.refusal is not None:
            for item in batch if ask is None else [*batch, ask]:
                self.reject(item, self.refusal)
            return
        if batch:
            self.pack_messages(out, batch)
        if ask is not None:
            self.pack_ask(out, ask)

    def gather(self, most: int) -> tuple[list[Any], Ask | None]:
        """Take messages out of the box, up to so many or to the next ask, which comes behind them."""
        pop = self.ref.box.popleft
        batch: list[Any] = []
        try:
            while len(batch) < most:
                item = pop()
                if type(item) not in ENVELOPES:
                    batch.append(item)
                elif type(item) is Ask:
                    return batch, item
                elif item.take():
                    batch.append(item.message)
        except IndexError:
            """It is empty, or another thread dropped the oldest."""
        return batch, None

    def open_channel(self, out: bytearray) -> None:
        self.channel = self.peer.open(self)
        schema = self.types.schema
        out += frame(OPEN, self.channel, 0, ENCODER.encode([self.path, schema.fingerprint, schema.text]))

    def pack_messages(self, out: bytearray, batch: list[Any]) -> None:
        """Write one frame; what cannot travel is found by halves."""
        at = len(out)
        out += EMPTY
        trouble = ""
        try:
            ENCODER.encode_into(batch, out, -1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender went on long ago
            trouble = str(error) or type(error).__name__
        size = len(out) - at - HEAD.size
        if size > MAX_BODY:
            trouble = f"it has {size} bytes, allowed: {MAX_BODY}"
        if not trouble:
            HEAD.pack_into(out, at, size, SEND, self.channel, len(batch))
            self.credit.sent += len(batch)
            return
        del out[at:]
        if len(batch) == 1:
            self.reject(batch[0], CannotTravel(batch[0], self.ref, trouble))
        else:
            half = len(batch) // 2
            self.pack_messages(out, batch[:half])
            self.pack_messages(out, batch[half:])

    def pack_ask(self, out: bytearray, ask: Ask) -> None:
        try:
            body = encoded(ask.request, self.ref)
        except CannotTravel as error:
            self.reject(ask, error)
            return
        out += frame(ASK, self.channel, self.peer.expect(ask, self), body)
        self.credit.sent += 1

    def reject(self, item: object, error: BaseException) -> None:
        """This cannot be delivered there."""
        why = f"it cannot travel to another process: {error.why}" if isinstance(error, CannotTravel) else str(error)
        self.world.dead(self.ref, item, why)
        if isinstance(item, Ask):
            item.fail(error)

    # -- who reads the wire ------------------------------------------------------------------------------------------
    def taken(self, count: int) -> bool:
        """The actor took so many; False: that cannot be."""
        if not self.credit.give_back(count):
            return False
        ref = self.ref
        ref.capacity = min(CHUNK, self.room)
        if self.starved:
            self.starved = False
            ref.lane.dirty.append(ref)
        if self.offers:
            self.serve()
        return True

    def attach(self, link: Any) -> None:
        """The process is there (again)."""
        if not self.refuses:
            self.ref.lane = link
            link.foreign(self.ref)

    def detach(self) -> None:
        """The process is gone, and what it had."""
        self.ref.queued = not self.refuses
        self.credit = Credit(self.ref.mailbox.capacity)
        self.channel = self.watch = 0
        self.starved = False
        self.refusal = None
        self.ref.capacity = min(CHUNK, self.room)

    # -- as a cell ---------------------------------------------------------------------------------------------------
    def line_up(self, item: object, slot: Slot[None]) -> None:
        """Any thread: this message waits for room."""
        if self.offers is None:
            self.offers = deque()
        self.offers.append((item, slot))
        self.serve()

    def serve(self) -> None:
        """Let in who waits for room, while there is some."""
        ref, offers = self.ref, self.offers
        if not offers:
            return
        with self.serving:
            while offers and (self.refuses or ref.has_room()):
                item, slot = offers.popleft()
                if slot.claim():
                    ref.make_box().append(item)
                    slot.settle(None, None)
        if self.refuses:
            self.bury()
        else:
            ref.nudge()

    def close(self, reason: Reason) -> None:
        """Nobody will come there again."""
        self.ended_by, self.state, self.refuses = reason, CLOSED, True
        self.ref.accepts = NOTHING
        self.ref.lane = GRAVE
        self.ref.queued = False
        self.bury()

    def reopen(self) -> None:
        """Somebody will come there after all; what is sent from now on waits for that."""
        self.refuses, self.state = False, RUNNING
        self.ref.lane = LIMBO
        self.detach()
        self.ref.open()

    def bury(self) -> None:
        """What waits is dead."""
        box = self.ref.box
        while box:
            try:
                item = box.popleft()
            except IndexError:
                break
            if type(item) not in ENVELOPES or type(item) is Ask:
                self.refuse(item)
            else:
                item.take()
        if self.offers:
            self.serve()

    def refuse(self, item: object, cause: BaseException | None = None) -> None:
        self.world.dead(self.ref, item, "the process is stopped")
        if isinstance(item, Ask):
            stopped = ActorStopped(item.request, f"the process of {self.path} is stopped")
            stopped.__cause__ = cause
            item.fail(stopped)

    def late(self, ask: Ask, value: object) -> None:
        """An answer that nobody waits for any more."""
        asker = "whose asker" if ask.asker is None else f"whose asker {ask.asker.path}"
        self.world.dead(self.ref, value, f"a late reply to {show(ask.request)}, {asker} gave up")

    def owns_this_thread(self) -> bool:
        return False


class Limbo:
    """Where what is sent lies in its box until the process is there, or lets messages in."""

    ident = NOBODY

    def foreign(self, ref: RemoteRef[Any]) -> None: ...
    def now(self, ref: RemoteRef[Any]) -> None: ...


LIMBO: Final = Limbo()


class Grave:
    """What is sent by who was about to when the address closed comes here."""

    ident = NOBODY

    def foreign(self, ref: RemoteRef[Any]) -> None:
        ref.there.bury()

    now = foreign


GRAVE: Final = Grave()


def has_fields(cls: type) -> bool:
    return any(hasattr(cls, mark) for mark in ("__struct_fields__", "__dataclass_fields__", "__attrs_attrs__"))
