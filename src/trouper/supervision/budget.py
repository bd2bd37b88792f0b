"""How many restarts are too many: OTP's restart intensity over a sliding window of float seconds.

A time `t` counts while `now - t < within`. What is older is dropped, the new time is added, and more than `n` is over.
The clock is the caller's: whatever it gives, its times must not go backwards.
"""

from __future__ import annotations

from collections import deque
from typing import final


@final
class Budget:
    """The restarts of one supervisor (or of one child) that still count.

    Args:
        n: how many restarts are allowed within the window; 0 allows none.
        within: the length of the window in seconds; `inf` never forgets.

    Example::

        budget = Budget(1, within=10.0)
        budget.add(0.0), budget.add(10.0), budget.add(19.9)  # False, False, True
    """

    __slots__ = ("_counted", "n", "within")

    def __init__(self, n: int, within: float) -> None:
        self.n = n
        self.within = within
        self._counted: deque[tuple[float, object]] = deque(maxlen=n + 1)  # one more than allowed is over already

    def add(self, now: float, note: object = None) -> bool:
        """Count one restart at `now` (seconds) and return whether that is one too many; `note` goes to the history."""
        self._forget(now)
        self._counted.append((now, note))
        return len(self._counted) > self.n

    def used(self, now: float) -> int:
        """How many restarts count at `now` (seconds)."""
        self._forget(now)
        return len(self._counted)

    @property
    def history(self) -> tuple[object, ...]:
        """The notes of what was counted when the budget was last asked, oldest first."""
        return tuple(note for _, note in self._counted)

    def _forget(self, now: float) -> None:
        counted = self._counted
        while counted and not now - counted[0][0] < self.within:
            counted.popleft()
