"""The part of `current(self)` that is about later: timers, silence, and the stash."""

from __future__ import annotations

from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar

from trouper.actors.life import CLOSED, CLOSING, DOWN
from trouper.actors.options import is_seconds
from trouper.actors.silence import Silence
from trouper.actors.timer import TimerHandle
from trouper.errors import MessageTypeError, NotRunning, SpecError, UsageError
from trouper.messages import ReceiveTimeout

if TYPE_CHECKING:
    from collections.abc import Hashable

    from trouper.actors.cell import Cell

M = TypeVar("M")

OVER = frozenset({DOWN, CLOSING, CLOSED})


class Later(Generic[M]):
    """One generation of an actor; `Context` has the rest."""

    __slots__ = ("_cell", "_generation")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._generation = cell.generation

    def _alive(self) -> Cell:
        cell = self._cell
        if cell.generation != self._generation or cell.state in OVER:
            raise NotRunning(f"{cell.path}: generation {self._generation} is over; its context is of no use any more")
        return cell

    def _at_home(self, call: str) -> Cell:
        """For calls that touch what only the actor's own thread may touch."""
        cell = self._alive()
        if get_ident() != cell.ref.lane.ident:
            raise UsageError(
                f"{cell.path}: {call} in another thread than the actor's, allowed: in its own; send it a message"
            )
        return cell

    # -- timers -------------------------------------------------------------------------------------------------------
    def after(self, seconds: float, message: M, *, key: Hashable = None) -> TimerHandle:
        """Send a message to this actor, once, after a while; it goes before the messages of others.

        All timers end with the generation.

        Args:
            seconds: how long from now, 0 or more.
            message: what it gets, of its mailbox type.
            key: a timer that is set with the same key is replaced. Its tick is not delivered, not even if it waits
                already.

        Returns:
            The timer, to cancel it.

        Raises:
            SpecError: `seconds` is no such number.
            MessageTypeError: the mailbox does not take this message.
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("after")
        check_seconds(cell, "after", seconds, zero=True)
        check_message(cell, message)
        return TimerHandle(cell, seconds, message, repeats=False, key=key)

    def every(self, seconds: float, message: M, *, key: Hashable = None) -> TimerHandle:
        """Send a message to this actor again and again, the first after `seconds`.

        There is no drift. A tick that still waits when the next is due is not doubled: what a stall made late comes
        once.

        Args:
            seconds: from one to the next, more than 0.
            message: what it gets, of its mailbox type.
            key: as in `after`.

        Returns:
            The timer, to cancel it.

        Raises:
            SpecError, MessageTypeError, UsageError, NotRunning: as `after`.
        """
        cell = self._at_home("every")
        check_seconds(cell, "every", seconds, zero=False)
        check_message(cell, message)
        return TimerHandle(cell, seconds, message, repeats=True, key=key)

    def cancel(self, key: Hashable) -> bool:
        """Cancel the timer that was set with this key; a tick of it that waits already is not delivered.

        Args:
            key: as given to `after` or `every`.

        Returns:
            Whether there was one.

        Raises:
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        timer = (self._at_home("cancel").timers or {}).get(key)
        if timer is None:
            return False
        timer.stop()
        return True

    def receive_timeout(self, seconds: float | None) -> None:
        """Have a `ReceiveTimeout` delivered whenever no message was handled for so long, as in Akka.

        It comes again and again while nothing else does. Every message starts the time anew, also those of timers.

        Args:
            seconds: more than 0; None for no such message any more.

        Raises:
            SpecError: `seconds` is no such number.
            MessageTypeError: the mailbox does not take `ReceiveTimeout`.
            UsageError: the actor has `run`; or called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("receive_timeout")
        if cell.child.definition.style != "receive":
            raise UsageError(
                f"{cell.path}: receive_timeout is for actors with `receive`; in `run`, set `after` with a key anew"
                f" for each message, or use `inbox.get(timeout=...)` in a thread"
            )
        if seconds is not None:
            check_seconds(cell, "receive_timeout", seconds, zero=False)
            check_message(cell, ReceiveTimeout())
        if cell.silence is not None:
            cell.silence.stop()
        if seconds is not None:
            cell.silence = Silence(cell, seconds)
            if cell.state != "starting":
                cell.silence.listen()

    def stash(self, message: M) -> None:
        """Keep a message for later: `unstash` puts it back into the mailbox.

        A request that is stashed while it is handled is answered when it is handled again; return None meanwhile. On a
        restart, what is stashed goes back to the front of the mailbox by itself; at the end for good it becomes dead
        letters.

        Args:
            message: the message that is being handled.

        Raises:
            StashFull: there are as many already as `Mailbox(stash=...)` says.
            MessageTypeError: it is none that the mailbox takes.
            UsageError: a request was stashed or claimed before; or called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        cell = self._at_home("stash")
        check_message(cell, message)
        cell.keep(message)

    def unstash(self) -> None:
        """Put all that is stashed back to the front of the mailbox, in the order in which it was stashed.

        Raises:
            UsageError: called in a thread that is not the actor's.
            NotRunning: this generation is over.
        """
        self._at_home("unstash").put_back()


def check_seconds(cell: Cell, call: str, seconds: object, *, zero: bool) -> None:
    if not is_seconds(seconds, zero=zero) or seconds == inf:
        raise SpecError(cell.path, call, seconds, f"seconds: a finite number {'of 0 or more' if zero else 'above 0'}")


def check_message(cell: Cell, message: object) -> None:
    types = cell.child.definition.accepted()
    if types is not None and not isinstance(message, types):
        raise MessageTypeError(message, cell.ref, types)
