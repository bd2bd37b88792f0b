"""Ports: the receiver's half of a channel, which leads to one mailbox of this process.

Messages are put into the box of their actor by who reads the wire, whatever its capacity says: the credit of the sender
is a reservation. A *receipt* behind them says, when its turn comes, that they were taken and handled: a message whose
handler is cut short by the end of the process was not. It lies in the box as what is urgent does, in an envelope, so
that who gets no messages from other processes pays nothing for it.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, final

import msgspec

from trouper.actors.ask import Ask
from trouper.actors.router import Router
from trouper.actors.urgent import Urgent
from trouper.errors import CannotTravel, FrameError, Words
from trouper.workers.codec import MALFORMED, RAWS, encoded
from trouper.workers.credit import Takings
from trouper.workers.frames import ANSWER, FAIL, TAKEN, frame
from trouper.workers.told import tell

if TYPE_CHECKING:
    from trouper.actors.ref import Ref
    from trouper.workers.codec import Reader
    from trouper.workers.link import Link
    from trouper.workers.peer import Peer


@final
class Receipt(Urgent):
    """When it is taken, what was in front of it in the mailbox has been."""

    __slots__ = ("count", "port")

    def __init__(self, port: Port, count: int) -> None:
        self.message = None
        self.port = port
        self.count = count

    def live(self) -> bool:
        return False

    def take(self) -> bool:
        if count := self.spend():
            self.port.taken(count)
        return False

    def spend(self) -> int:
        """For how many it stands, once: an answer may have said it before."""
        with self.port.taking:
            count, self.count = self.count, 0
        return count


class Port:
    """One mailbox that the other process sends to.

    Args:
        peer: the other process.
        link: the link of this channel.
        channel: its number.
        ref: the actor.
        readers: what decodes a message, and a list of them.
    """

    def __init__(self, peer: Peer, link: Link, channel: int, ref: Ref[Any], readers: tuple[Reader, Reader]) -> None:
        self.peer = peer
        self.link = link
        self.channel = channel
        self.ref = ref
        self.one, self.many = readers
        self.takings = Takings()
        self.taking = Lock()

    # -- who reads the wire ------------------------------------------------------------------------------------------
    def sent(self, count: int, body: memoryview) -> None:
        """Messages came."""
        try:
            messages = self.many.decode(body)
        except msgspec.ValidationError:
            messages = self.sift(body)
        if len(messages) > count:
            raise FrameError(0, f"{len(messages)} messages in a frame of {count}", "as many as its head says")
        if refused := count - len(messages):
            self.acknowledge(refused)
        if messages:
            self.put(messages)

    def sift(self, body: memoryview) -> list[Any]:
        """Not all of them are what they should be: take the others."""
        messages: list[Any] = []
        try:
            raws = RAWS.decode(bytes(body))
        except MALFORMED as error:
            raise FrameError(0, f"a body that is no list: {error}", "a list of messages") from error
        for raw in raws:
            try:
                messages.append(self.one.decode(bytes(raw)))
            except msgspec.ValidationError as error:
                self.peer.world.dead(self.ref, Words(show_raw(raw)), f"it is not of the mailbox's types ({error})")
        return messages

    def put(self, messages: list[Any]) -> None:
        """Put them into the mailbox, and a receipt behind them."""
        ref, count = self.ref, len(messages)
        if isinstance(ref, Router):
            for message in messages:
                self.put_by_router(ref, message)
        elif ref.cell.refuses:
            for message in messages:
                ref.cell.refuse(message)
            self.acknowledge(count)
        else:
            ref.make_box().extend(messages)
            self.put_receipt(self.arrived(count))
            self.peer.wire.addressee = getattr(ref, "lane", None)  # which it has from its first start on
            ref.nudge()

    def put_by_router(self, router: Router[Any], message: object) -> None:
        """A pool: the receipt goes where the message goes."""
        worker = router.routes.pick(message)
        if worker is None or worker.cell.refuses:
            router.undeliverable(message)
            self.acknowledge(1)
        else:
            self.put_with_receipt(worker, message, Receipt(self, 1))

    def put_with_receipt(self, ref: Ref[Any], item: object, receipt: Receipt) -> None:
        ref.make_box().extend((item, receipt))
        self.peer.wire.addressee = getattr(ref, "lane", None)  # which it has from its first start on
        ref.nudge()

    def asked(self, number: int, body: memoryview) -> None:
        """A request came."""
        try:
            request = self.one.decode(body)
        except msgspec.ValidationError as error:
            words = f"it is not of the mailbox's types ({error})"
            self.answer_error(number, CannotTravel(Words(show_raw(body)), self.ref, words), 1)
            return
        ask, receipt = Ask(request), Receipt(self, 1)
        ask.wake_by(partial(self.answered, ask, number, receipt))
        ref: Ref[Any] | None = self.ref
        if isinstance(ref, Router):
            ref = ref.routes.pick(request)
        if ref is None or ref.cell.refuses:
            self.refuse(ask)
        else:
            self.put_with_receipt(ref, ask, receipt)

    def refuse(self, item: object) -> None:
        """Nobody takes it here any more."""
        if isinstance(self.ref, Router):
            self.ref.undeliverable(item)
        else:
            self.ref.cell.refuse(item)

    # -- any thread --------------------------------------------------------------------------------------------------
    def arrived(self, count: int) -> int:
        with self.taking:
            return self.takings.arrive(count)

    def taken(self, count: int) -> None:
        """So many were taken out of the mailbox, by whoever has this thread."""
        with self.taking:
            more = self.takings.take() if not isinstance(self.ref, Router) else 0
        self.put_receipt(more)
        self.acknowledge(count)

    def put_receipt(self, count: int) -> None:
        if count:
            self.ref.make_box().append(Receipt(self, count))

    def acknowledge(self, count: int) -> None:
        self.link.post(frame(TAKEN, self.channel, count))
        self.link.soon()

    def answered(self, ask: Ask, number: int, receipt: Receipt) -> None:
        """The ask is settled: its answer goes back, in the thread that gave it. Who answers at once has taken it."""
        taken = 0 if ask.claimed else receipt.spend()
        error = ask._error
        if error is not None:
            ask._error = None
            self.answer_error(number, error, taken)
            return
        try:
            body = encoded(ask._value, self.ref)
        except CannotTravel as trouble:
            self.answer_error(number, trouble, taken)
        else:
            self.link.answer(frame(ANSWER, self.channel if taken else 0, number, body))

    def answer_error(self, number: int, error: BaseException, taken: int) -> None:
        self.link.answer(frame(FAIL, self.channel if taken else 0, number, encoded(tell(error), self.ref)))


def show_raw(data: Any) -> str:
    """The beginning of what came, in bytes."""
    return f"{bytes(data)[:64]!r}"
