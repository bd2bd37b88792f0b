"""A sliding window over a figure."""

from __future__ import annotations

from collections import deque

import attrs


@attrs.define
class Window:
    """The values of the last `seconds`, and their mean."""

    seconds: float
    settled: bool = attrs.field(default=False, init=False)
    """Something has left the window: it was watched for its whole length."""
    values: deque[tuple[float, float]] = attrs.field(factory=deque, init=False)

    def add(self, at: float, value: float) -> None:
        """Take a value in, and let go of those that are too old by now."""
        self.values.append((at, value))
        while at - self.values[0][0] > self.seconds:
            self.values.popleft()
            self.settled = True

    @property
    def mean(self) -> float:
        """The mean of what is inside; 0.0 of nothing."""
        return sum(value for _, value in self.values) / max(len(self.values), 1)
