"""How many restarts are too many: OTP's restart intensity, over a window of uptime.

A counted restart ages only while what it restarted is not down for it. So a child that fails, needs a minute to come
up, and fails again uses up its limit however long that takes, as one does that fails ten times a second; where OTP's
window, which looks at the clock on the wall, has forgotten the first failure before the second comes.

What restarted at an age of `a` counts while `a < within`. What is older is dropped, the new one is added, and more than
`n` is over. The clock is the caller's: whatever it gives, its times must not go backwards.
"""

from __future__ import annotations

from collections import deque
from typing import Final, final

TOLD: Final = 100  # how many notes are kept


@final
class Uptime:
    """A clock that stands still while what it belongs to is down or on its way up.

    It runs from the beginning, and shows the time of the clock on the wall but for the seconds that it stood still. So
    what is never down for a measurable time is measured to the last bit.
    """

    __slots__ = ("_behind", "_stands_at")

    def __init__(self) -> None:
        self._behind = 0.0
        self._stands_at: float | None = None

    def run(self, now: float) -> None:
        """Go on; harmless if it runs."""
        if self._stands_at is not None:
            self._behind += now - self._stands_at
            self._stands_at = None

    def pause(self, now: float) -> None:
        """Stand still; harmless if it does."""
        if self._stands_at is None:
            self._stands_at = now

    def read(self, now: float) -> float:
        """What it shows, in seconds; only differences mean something."""
        return (now if self._stands_at is None else self._stands_at) - self._behind


@final
class Counted:
    """One restart that may still count."""

    __slots__ = ("at", "counts", "note")

    def __init__(self, at: float, note: object) -> None:
        self.at = at
        self.note = note  # it holds the failure, with its traceback and all that hangs on it
        self.counts = True


@final
class Budget:
    """The restarts of one supervisor (or of one child) that still count.

    Those of one uptime grow too old in the order in which they came, so each is looked at once when it does.

    Args:
        n: how many restarts are allowed within the window; 0 allows none.
        within: the length of the window in seconds; `inf` never forgets.

    Example::

        budget, up = Budget(1, within=10.0), Uptime()
        budget.add(up, 0.0), budget.add(up, 10.0), budget.add(up, 19.9)  # False, False, True
    """

    __slots__ = ("_count", "_last", "_of", "n", "within")

    def __init__(self, n: int, within: float) -> None:
        self.n = n
        self.within = within
        self._of: dict[Uptime, deque[Counted]] = {}
        self._count = 0
        self._last: deque[Counted] = deque()

    def add(self, uptime: Uptime, now: float, note: object = None) -> bool:
        """Count one restart and return whether that is one too many.

        Args:
            uptime: the clock of what is restarted.
            now: seconds.
            note: for the history.
        """
        self._forget(now)
        one = Counted(uptime.read(now), note)
        self._of.setdefault(uptime, deque()).append(one)
        self._count += 1
        self._last.append(one)
        if len(self._last) > TOLD:
            self._last.popleft().note = None
        return self._count > self.n

    def used(self, now: float) -> int:
        """How many restarts count at `now` (seconds)."""
        self._forget(now)
        return self._count

    @property
    def history(self) -> tuple[object, ...]:
        """The notes of what was counted when the budget was last asked, oldest first, and of many the last."""
        return tuple(one.note for one in self._last if one.counts)

    def _forget(self, now: float) -> None:
        for uptime, ones in list(self._of.items()):
            read = uptime.read(now)
            while ones and not read - ones[0].at < self.within:
                old = ones.popleft()
                old.counts, old.note = False, None
                self._count -= 1
            if not ones:
                del self._of[uptime]
