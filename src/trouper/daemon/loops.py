"""The async lanes of a daemon, which are started when they are needed, and what they listen to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trouper.lanes.loop_lane import LoopLane

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.lanes.loop_lane import Ear


class Lanes(dict[str, LoopLane]):
    """The async lanes by flavour; one that is needed first is started. Each start of an actor looks here.

    Args:
        open_lane: starts the lane of a flavour, once, and puts it here.
    """

    def __init__(self, open_lane: Callable[[str], LoopLane]) -> None:
        super().__init__()
        self.open_lane = open_lane
        self.ear: Callable[[LoopLane], Ear] | None = None

    def __missing__(self, flavour: str) -> LoopLane:
        return self.open_lane(flavour)

    def __setitem__(self, flavour: str, lane: LoopLane) -> None:
        super().__setitem__(flavour, lane)  # before it looks for an ear
        if self.ear is not None:
            lane.post(lane.listen, self.ear(lane))

    def listen(self, ear: Callable[[LoopLane], Ear]) -> None:
        """Have each listen to an ear of its own, also those that are started later.

        Args:
            ear: makes that of a lane; at times one that is not used.
        """
        self.ear = ear  # before it looks for lanes
        for lane in list(self.values()):
            lane.post(lane.listen, ear(lane))
