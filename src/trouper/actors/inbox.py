"""The inbox of an actor that loops itself, with `run(self, inbox)`.

`async for message in inbox` (`for` in threading) takes messages until the actor is asked to stop; `get` takes one. A
request must be claimed with `current(self).reply_to(request)` before the next message is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from trouper.actors.ask import Ask
from trouper.actors.urgent import ENVELOPES, urgent_ahead
from trouper.errors import Stopping, UsageError
from trouper.lanes.slot import Slot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from trouper.actors.cell import Cell

M_co = TypeVar("M_co", covariant=True)


class BaseInbox(Generic[M_co]):
    """What the inboxes of the flavours share: taking what is there."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._ended = False

    def _over(self) -> bool:
        """Whether there is nothing more to come: a stop was asked for, and, when draining, the queue is empty."""
        cell = self._cell
        if not (self._ended or cell.leaving or cell.stop_wanted):
            return False
        return self._ended or cell.leaving or cell.killed is not None or not (cell.child.choice.drain and cell.ref.box)

    def _take(self) -> Any:
        """The next message; None wrapped in nothing is no message: `IndexError` says that there is none."""
        cell = self._cell
        box = cell.ref.box
        if not box:
            raise IndexError
        while type(item := box.popleft()) in ENVELOPES:
            if type(item) is Ask:
                cell.asked = item
                item = item.request
                break
            if item.take():
                item = item.message
                break
        if cell.offers:
            cell.serve_offers()
        cell.message = item
        return item

    def __len__(self) -> int:
        """How many messages wait; `if inbox:` looks without taking one."""
        box = self._cell.ref.box
        return len(box) - sum(not box[i].live() for i in range(urgent_ahead(box))) if box else 0


@final
class Inbox(BaseInbox[M_co]):
    """The inbox of an actor in an async flavour: `async for message in inbox`. The runtime makes it, for `run`."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self._waiter: Slot[None] | None = None
        self._tickers: set[Slot[None]] = set()

    def __aiter__(self) -> AsyncIterator[M_co]:
        """Iterate over the messages, until the actor is asked to stop."""
        return self

    async def __anext__(self) -> M_co:
        try:
            return await self.get()
        except Stopping:
            raise StopAsyncIteration from None

    async def get(self) -> M_co:
        """Wait for the next message.

        Returns:
            The message. A request must be claimed with `current(self).reply_to(request)` before the next one is taken;
            one that is not fails with `ReplyDropped`.

        Raises:
            Stopping: the actor was asked to stop. Let it pass, or clean up and return.
        """
        self._cell.drop_asked()
        lane = self._cell.ref.lane
        if lane.spent():
            await lane.breathe()
        while True:
            if self._over():
                raise Stopping
            try:
                return self._take()  # type: ignore[no-any-return]
            except IndexError:
                await self._wait()

    def ticks(self, every: float) -> AsyncIterator[None]:
        """Yield now and then every `every` seconds, until the actor is asked to stop.

        There is no drift; what a stall made late comes once, not in a burst. Messages wait meanwhile.

        Args:
            every: seconds, more than 0.

        Raises:
            ValueError: `every` is not more than 0.
        """
        return Ticks(self, every)

    async def _tick(self, due: float) -> bool:
        """Wait until `due`; False: no more ticks."""
        lane = self._cell.ref.lane
        while not self._over() and (left := due - lane.now()) > 0:
            await self._wait_for_tick(left)
        return not self._over()

    async def _wait(self) -> None:
        """Wait for a message or the end; the mark is cleared before the last look, as everywhere."""
        ref = self._cell.ref
        if self._waiter is not None:
            raise UsageError(f"{self._cell.path}: two tasks wait for messages in one inbox, allowed: one")
        waiter: Slot[None] = Slot()
        self._waiter = waiter
        try:
            ref.step = self._cell.handler_step
            ref.queued = False
            if not ref.box and not self._over():  # what lay there may have been no message any more
                await waiter.wait()
        finally:
            self._waiter = None
            ref.queued = True

    async def _wait_for_tick(self, left: float) -> None:
        waiter: Slot[None] = Slot()
        self._tickers.add(waiter)
        try:
            await waiter.wait(left)
        finally:
            self._tickers.discard(waiter)

    def wake(self) -> None:
        """The lane: there is a message."""
        if self._waiter is not None:
            self._waiter.put(None)

    def end(self) -> bool:
        """The lane: no more messages. Whether somebody waits for one and will see that."""
        self._ended = True
        waits = self._waiter is not None or bool(self._tickers)
        for ticker in list(self._tickers):
            ticker.put(None)
        self.wake()
        return waits


@final
class Ticks:
    """The ticks of an `Inbox`. No generator: one that a crash leaves behind would be a leak in trio's eyes."""

    def __init__(self, inbox: Inbox[Any], every: float) -> None:
        self._inbox = inbox
        self._every = every
        self._now = inbox._cell.ref.lane.now
        self._due: float | None = None

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> None:
        now = self._now()
        self._due = due = now if self._due is None else next_due(self._due, self._every, now)
        if not await self._inbox._tick(due):
            raise StopAsyncIteration


@final
class SyncInbox(BaseInbox[M_co]):
    """The inbox of a threading actor: `for message in inbox`. The runtime makes it, for `run`."""

    def __iter__(self) -> Iterator[M_co]:
        """Iterate over the messages, until the actor is asked to stop."""
        return self

    def __next__(self) -> M_co:
        try:
            return self.get()
        except Stopping:
            raise StopIteration from None

    def get(self, *, timeout: float | None = None) -> M_co:
        """Block until the next message is there.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The message; for a request see `Inbox.get`.

        Raises:
            Stopping: the actor was asked to stop. Let it pass, or clean up and return.
            TimeoutError: no message in time.
        """
        self._cell.drop_asked()
        lane = self._cell.ref.lane
        deadline = None if timeout is None else lane.now() + timeout
        while True:
            if lane.orders:
                lane.admit()  # a stop that is more than a wish, or something urgent
            if self._over():
                raise Stopping
            if self._cell.reload is not None and self._cell.due_to_reload():
                self._cell.reload_here()
            try:
                return self._take()  # type: ignore[no-any-return]
            except IndexError:
                if not self._wait(None if deadline is None else deadline - lane.now()):
                    raise TimeoutError(f"no message in {timeout:g} s") from None

    def ticks(self, every: float) -> Iterator[None]:
        """Yield now and then every `every` seconds, until the actor is asked to stop; as `Inbox.ticks`.

        Args:
            every: seconds, more than 0.

        Raises:
            ValueError: `every` is not more than 0.
        """
        lane = self._cell.ref.lane
        due = lane.now()
        while not self._over():
            yield None
            due = next_due(due, every, lane.now())
            self._cell.rest(self._over, due - lane.now())

    def _wait(self, timeout: float | None) -> bool:
        ref, lane = self._cell.ref, self._cell.ref.lane
        ref.queued = False
        try:
            return self._cell.rest(lambda: ref.box or self._over(), timeout)
        finally:
            ref.queued = True
            lane.ready.clear()  # it is here already

    def wake(self) -> None:
        """The bell has rung."""

    def end(self) -> bool:
        """No more messages; who waits for one sees that."""
        self._ended = True
        return True


def next_due(due: float, every: float, now: float) -> float:
    """The next tick after `now` on the grid of `due`: missed ones are left out."""
    if every <= 0:
        raise ValueError(f"ticks: given every={every!r}, allowed: seconds, more than 0")
    due += every
    return due if due >= now else due + (now - due) // every * every + every
