"""One log record per death: it waits for what the supervisor makes of the death, and says both."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from trouper.actors.cell import Cell
from trouper.actors.speaker import ABOUT
from trouper.reasons import Reason

if TYPE_CHECKING:
    from trouper.supervision.actions import Restarting

log = logging.getLogger("trouper")


class Death(msgspec.Struct):
    """One end of one generation."""

    path: str
    generation: int
    reason: Reason
    uptime: float
    lane: str

    def log(self, consequence: str) -> None:
        reason = self.reason
        level = logging.ERROR if reason.abnormal else logging.INFO
        cause = reason.cause if reason.abnormal else None
        log.log(
            level,
            "%s: generation %d ended after %.3g s: %s; %s",
            self.path,
            self.generation,
            self.uptime,
            reason,
            consequence,
            exc_info=(type(cause), cause, cause.__traceback__) if cause is not None else None,
            extra={
                "trouper": {"path": self.path, "generation": self.generation},
                ABOUT: {"path": self.path, "generation": self.generation, "lane": self.lane},
            },
        )


class Deaths:
    """The deaths below one supervisor that are not logged yet."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.open: dict[str, Death] = {}

    def noted(self, node: Any, path: str, generation: int, reason: Reason, uptime: float) -> None:
        """It died."""
        self.flush(node, "no consequence")
        lane = node.child.definition.flavour if isinstance(node, Cell) else "-"
        self.open[node.name] = Death(path, generation, reason, uptime, lane)

    def flush(self, node: Any, consequence: str) -> Death | None:
        death = self.open.pop(node.name, None)
        if death is not None:
            death.log(consequence)
        return death

    def stopped(self, node: Any) -> None:
        """It was being stopped."""
        death = self.open.pop(node.name)
        if death.reason.abnormal:
            death.log("it was being stopped")

    def restarting(self, node: Any, action: Restarting, within: float) -> None:
        """It is restarted, soon."""
        when = f" in {action.delay:.3g} s" if action.delay else ""
        count = f"{action.used} of {action.n} in {within:g} s" if action.counted else "which does not count"
        self.flush(node, f"restarting it{when}, {count}")

    def absorbed(self, node: Any) -> None:
        """It comes up again with its group."""
        self.flush(node, "restarting it with its group")

    def final(self, node: Any) -> BaseException | None:
        """Nobody plans to start it again. Returns the cause."""
        death = self.flush(node, "not restarted")
        return None if death is None else death.reason.cause

    def given_up(self) -> None:
        """The supervisor is at its end."""
        for death in self.open.values():
            death.log(f"the supervisor {self.path} ends")
        self.open.clear()
