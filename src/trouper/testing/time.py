"""Virtual time: seconds that pass only when somebody says so, and what is measured in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from random import Random

SLICE = 0.001  # seconds of a turn of a lane
READINGS = 8  # of the stopwatch in a slice, on average


class VirtualTime:
    """The one time of a trial, in seconds from its start."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class RunClock(trio.abc.Clock):
    """The clock of one trio run. Trio asks it how long to sleep when all tasks wait: so it knows that they do."""

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.due: float | None = None

    def start_clock(self) -> None:
        """It goes by itself."""

    def current_time(self) -> float:
        return self.time.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        self.due = deadline
        return 0


class Stopwatch:
    """What measures the slices of a lane: they end after so many readings, by lot, however fast the machine is."""

    def __init__(self, random: Random) -> None:
        self.lot = random.random
        self.passed = 0.0

    def __call__(self) -> float:
        self.passed += 2 * SLICE / READINGS * self.lot()
        return self.passed
