"""What becomes of messages that nobody handles, of senders who wait for room, and of requests that were claimed."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, final
from weakref import WeakSet

from trouper.actors.ask import STASHED, Ask
from trouper.actors.life import CLOSED, DOWN, STARTING, Life
from trouper.actors.ref import boxes
from trouper.actors.steps import (
    step_inbox,
    step_offered,
)
from trouper.actors.urgent import Urgent, put_in_front, urgent_ahead
from trouper.errors import (
    ActorRestarted,
    ActorStopped,
    StashFull,
    UsageError,
    show,
)
from trouper.reasons import SHUTDOWN

if TYPE_CHECKING:
    from trouper.lanes.slot import Slot
    from trouper.reasons import Reason


class Letters(Life):
    """The cell and its mailbox."""

    __slots__ = ()

    def bury(self, cause: BaseException | None = None) -> None:
        """Turn what waits into dead letters, if nobody will handle it; in any thread."""
        if self.state != CLOSED:
            return
        self.let_in_all()
        box = self.ref.box
        while box:
            try:
                item = box.popleft()
            except IndexError:
                return
            if not isinstance(item, Urgent):
                self.give_up(item, cause)
            elif item.live():
                self.refuse(item.message, cause)
            else:
                item.take()

    def press(self, urgent: Urgent) -> None:
        """Put this in front of the mailbox, behind what is urgent already; in the lane."""
        box = self.ref.make_box()
        box.insert(urgent_ahead(box), urgent)
        self.ref.nudge()

    def give_up(self, item: object, cause: BaseException | None) -> None:
        """It waited, and is not handled here any more."""
        self.refuse(item, cause)

    def refuse(self, item: object, cause: BaseException | None = None) -> None:
        """The actor is stopped (or drains): this message is dead, and whoever asked is told at once."""
        self.world.dead(self.ref, item, "the actor is stopped")
        if isinstance(item, Ask):
            stopped = ActorStopped(item.request)
            stopped.__cause__ = cause
            item.fail(stopped)

    def line_up(self, item: object, slot: Slot[None]) -> None:
        """Any thread: this message waits for room."""
        with boxes:
            if self.offers is None:
                self.offers = deque()
        self.offers.append((item, slot))
        ref = self.ref
        if ref.queued and self.state in (DOWN, STARTING):
            return  # served when it comes up
        if self.state == CLOSED:
            self.bury()
        else:
            ref.lane.post(self.expect_offers)

    def expect_offers(self) -> None:
        self.serve_offers()
        if self.offers and self.ref.step is self.handler_step and self.ref.step is not step_inbox:
            self.ref.step = step_offered

    def serve_offers(self) -> None:
        """Let waiting senders in while there is room."""
        ref, offers = self.ref, self.offers
        if offers is None:
            return
        box = ref.box
        while offers and len(box) - urgent_ahead(box) < ref.capacity:
            item, slot = offers.popleft()
            if slot.claim():
                box.append(item)
                slot.settle(None, None)
        if not offers and ref.step is step_offered:
            ref.step = self.handler_step
        if box and not ref.queued:
            ref.queued = True
            ref.lane.enqueue(ref)

    def let_in_all(self) -> None:
        offers = self.offers
        while offers:
            item, slot = offers.popleft()
            if slot.claim():
                self.ref.make_box().append(item)
                slot.settle(None, None)

    def claim(self, ask: Ask) -> None:
        """This generation is to answer it, later."""
        if self.claims is None:
            self.claims = WeakSet()
        self.claims.add(ask)

    def fail_claims(self) -> None:
        """Who still waits for an answer of this generation is told at once, as by OTP's monitor of a `call`."""
        claims, self.claims = self.claims, None
        for ask in list(claims or ()):
            if not ask.done:
                self.tell_gone(ask, self.reason or SHUTDOWN)

    def tell_gone(self, ask: Ask, reason: Reason) -> None:
        """Its generation ended over it, or before it had answered."""
        stopped = self.child.choice.restart == "temporary" or (self.stop_wanted and reason.cause is None)
        refusal = (ActorStopped if stopped else ActorRestarted)(ask.request)
        refusal.__cause__ = reason.cause
        ask.fail(refusal)

    def late(self, ask: Ask, value: object) -> None:
        """Any thread: an answer that nobody waits for any more."""
        asker = "whose asker" if ask.asker is None else f"whose asker {ask.asker.path}"
        self.world.dead(self.ref, value, f"a late reply to {show(ask.request)}, {asker} gave up")

    # -- kept for later ----------------------------------------------------------------------------------------------
    def keep(self, message: object) -> None:
        """Stash this message, with its asker if it is the request that is being handled."""
        capacity = self.ref.mailbox.stash
        if self.stash is None:
            self.stash = []
        if capacity is not None and len(self.stash) >= capacity:
            raise StashFull(message, self.path, capacity)
        ask = self.asked
        if ask is None or ask.request is not message:
            self.stash.append(message)
            self.stashing = Stashing(message, self)
            self.ref.make_box().appendleft(self.stashing)
            self.ref.nudge()
            return
        if ask.claimed:
            given = "it was stashed before" if ask.claimed is STASHED else "`reply_to` was called for it"
            raise UsageError(f"{self.path}: given {show(message)} to stash, and {given}; allowed: one of them, once")
        ask.claimed = STASHED
        self.stash.append(ask)

    def put_back(self) -> None:
        """What is stashed goes to the front of the mailbox, in its order."""
        stash, self.stash = self.stash, None
        if stash:
            if self.stashing is not None:
                self.stashing.back = len(stash)
            put_in_front(self.ref.make_box(), stash)
            self.ref.nudge()

    def drop_from_stash(self, item: object) -> bool:
        """The handling of this failed: it is not handled again. Returns whether it was stashed."""
        if not isinstance(item, Ask):
            return self.stashing is not None and self.stashing.undo(item)
        if item.claimed is STASHED:
            item.claimed = False
            with suppress(ValueError, IndexError):  # nowhere; or another thread dropped the oldest at the same time
                self.ref.make_box().remove(item)  # put back already
        if not self.stash or self.stash[-1] is not item:
            return False
        self.stash.pop()
        return True


@final
class Stashing(Urgent):
    """The handler under way stashed this message. It is no message itself: taking it says that the handler is over.

    It waits before all else, and so tells a message that its own handler stashed from the same one that was sent twice.
    """

    __slots__ = ("back",)

    def __init__(self, message: object, cell: Letters) -> None:
        super().__init__(message, cell)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.back = 0  # how many it put back into the mailbox

    def live(self) -> bool:
        return False

    def take(self) -> bool:
        if self.cell.stashing is self:
            self.cell.stashing = None
        return False

    def undo(self, item: object) -> bool:
        """Take the message out again, out of the stash or the mailbox; False: it is another one."""
        if self.message is not item:
            return False
        self.cell.stashing = None
        if self.back:
            take_last(self.cell.ref.box, self.back, item)
        else:
            self.cell.stash.pop()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        return True


def take_last(box: deque[Any], count: int, item: object) -> None:
    """Of the first so many messages that are not urgent, take out the last that is this one."""
    front: list[Any] = []
    count += urgent_ahead(box)
    with suppress(IndexError):  # another thread dropped the oldest
        while len(front) < count:
            front.append(box.popleft())
    for place in reversed(range(len(front))):
        if front[place] is item:
            del front[place]
            break
    box.extendleft(reversed(front))
