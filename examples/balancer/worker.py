"""What the room on the host is used for."""

from __future__ import annotations

import threading
from itertools import count
from time import perf_counter

from trouper import actor, current

SHARE = 0.1  # of one core
SPELL = 0.01  # seconds of work between two rests


@actor(flavour=threading)
class Worker:
    """It looks for primes, and rests nine tenths of the time."""

    def run(self) -> None:
        """Go on for ever; a stop ends the rest."""
        me, began = current(self), perf_counter()
        for number in count(3, 2):
            any(number % divisor == 0 for divisor in range(3, int(number**0.5) + 1, 2))
            worked = perf_counter() - began
            if worked > SPELL:
                me.sleep_sync(worked / SHARE - worked)
                began = perf_counter()
