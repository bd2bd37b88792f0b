"""The loop: a load below the band asks for one worker more, one above it for one less."""

from __future__ import annotations

from typing import Any, Self

import attrs
import trio

from trouper import Router, actor, current

from .messages import Load, Report, Status

ALL = 100.0  # percent


@attrs.frozen
class Band:
    """The load to keep, in percent, and how many workers may be used for it."""

    low: float
    high: float
    most: int

    def __attrs_post_init__(self) -> None:
        if not (0 <= self.low < self.high <= ALL and self.most >= 1):
            raise ValueError(f"given {self}, allowed: 0 <= low < high <= 100, and one worker or more")

    @classmethod
    def parse(cls, text: str, most: int) -> Self:
        """Read a band such as `40-70`."""
        try:
            low, high = map(float, text.split("-"))
        except ValueError as error:
            raise ValueError(f"given the band {text!r}, allowed: two percentages such as 40-70") from error
        return cls(low, high, most)

    def demand(self, supply: int, load: float) -> int:
        """How many workers are wanted where there are `supply` and the host is that busy."""
        step = 1 if load < self.low else -1 if load > self.high else 0
        return min(max(1, supply + step), self.most)


@actor(flavour=trio)
class Controller:
    """It looks at the load, and has the pool run as many workers as are wanted."""

    band: Band
    workers: Router[Any]
    load: float = attrs.field(default=0.0, init=False)
    demand: int = attrs.field(default=1, init=False)

    async def on_start(self) -> None:
        """After a restart it goes on with what is there."""
        self.demand = self.workers.size

    async def receive(self, message: Load | Status) -> Report | None:
        """One step of the loop for each reading."""
        if isinstance(message, Status):
            return Report(self.load, self.demand, self.workers.size)
        self.load = message.percent
        self.demand = self.band.demand(self.workers.size, message.percent)
        if self.demand != self.workers.size:
            await current(self).daemon.resize(self.workers.path or "", self.demand)
        return None
