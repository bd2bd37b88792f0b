"""Flow control between two processes: how much may be under way from one sender to one mailbox.

The sender counts what it has *sent*, the receiver says what was *taken* out of the mailbox; what lies between is
*unacknowledged*: in a buffer, in a socket, in the mailbox, or lost when the other process dies. Nothing here waits or
locks. Each number has one writer, so it may be read from any thread.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = 65_536
"""Messages that may be under way to one mailbox, however large it is."""


class Credit:
    """The sender's side of one channel.

    Args:
        capacity: of the mailbox; None is no bound.
    """

    __slots__ = ("sent", "taken", "window")

    def __init__(self, capacity: int | None) -> None:
        self.window = WINDOW if capacity is None else min(capacity, WINDOW)
        self.sent = 0  # written by who writes to the link
        self.taken = 0  # written by who reads from it

    @property
    def unacknowledged(self) -> int:
        """How many are under way."""
        return self.sent - self.taken

    @property
    def left(self) -> int:
        """How many may be sent now."""
        return self.window - self.sent + self.taken

    def give_back(self, count: int) -> bool:
        """So many were taken; False: more than were sent, which is a lie."""
        if not 0 < count <= self.sent - self.taken:
            return False
        self.taken += count
        return True


class Takings:
    """The receiver's side of one channel: one receipt at a time lies in the mailbox behind what it stands for.

    When its turn comes, what was before it has been taken; so messages are acknowledged in batches while many come,
    and each at once while few do. The caller locks.
    """

    __slots__ = ("arrived", "covered", "waits")

    def __init__(self) -> None:
        self.arrived = 0
        self.covered = 0  # arrived, and a receipt stands or stood behind it
        self.waits = False  # a receipt lies in the mailbox

    def arrive(self, count: int) -> int:
        """So many were put into the mailbox: for how many a receipt goes behind them now; 0 for none."""
        self.arrived += count
        return 0 if self.waits else self._cover()

    def take(self) -> int:
        """The turn of the receipt came: for how many the next one goes into the mailbox; 0 for none."""
        return self._cover()

    def _cover(self) -> int:
        count, self.covered = self.arrived - self.covered, self.arrived
        self.waits = count > 0
        return count
