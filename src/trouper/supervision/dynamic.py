"""The machine of spawned children: OTP's `simple_one_for_one`, with a budget for each child.

It takes the same calls and gives the same actions as `Machine`, and is as pure. Its children are independent of each
other: they start side by side, so that one whose start takes long holds up nobody, and each has the limit for itself.
A child that ends and is not restarted is forgotten. A start that fails counts as an abnormal end. One child over its
limit ends them all.

When all are stopped, they are stopped one after the other, in reverse start order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from trouper.reasons import restart_limit
from trouper.supervision.actions import (
    Answer,
    Attempt,
    Down,
    Forget,
    Restarting,
    Start,
    Stop,
    Stopped,
    Up,
)
from trouper.supervision.budget import Budget

if TYPE_CHECKING:
    from trouper.reasons import Reason
    from trouper.supervision.actions import (
        Action,
        Last,
    )
    from trouper.supervision.machine import Limited
    from trouper.supervision.members import Member, Restart, State


@final
class Spawn:
    """One spawned child."""

    __slots__ = ("budget", "generation", "restart", "state")

    def __init__(self, restart: Restart) -> None:
        self.restart: Restart = restart
        self.state: State = "starting"
        self.generation = 1
        self.budget: Budget | None = None


@final
class Dynamic:
    """The decisions over what one actor spawned.

    Args:
        limit: how many restarts (`n`) within how many seconds (`within`) each child has.
    """

    def __init__(self, limit: Limited) -> None:
        self.actions: list[Action] = []
        self._limit = limit
        self._children: dict[str, Spawn] = {}
        self._last: Last | None = None

    def boot(self, now: float) -> None:
        """There is nothing to start yet."""
        self.actions.append(Up())

    # -- what is asked -------------------------------------------------------------------------------------------------
    def add(self, ticket: object, member: Member, now: float) -> None:
        """Start a new child; ids are the caller's to keep apart."""
        if self._last is not None:
            self.actions += [Answer(ticket, "shutting_down"), Forget(member.id)]
            return
        self._children[member.id] = Spawn(member.restart)
        self.actions.append(Start(member.id, 1))

    def terminate(self, ticket: object, child_id: str, now: float) -> None:
        """Stop a child for good."""
        child = self._children.get(child_id)
        if child is not None and child.state != "stopping" and self._last is None:
            child.state = "stopping"
            self.actions.append(Stop(child_id, child.generation))
        self.actions.append(Answer(ticket, "not_found" if child is None else "ok"))

    def stop(self, now: float) -> None:
        """Stop everything; this ends in `Stopped`."""
        if self._last is None:
            self._last = Stopped()
            self._stop_next()
        else:
            self._last = Stopped()

    # -- what happened -------------------------------------------------------------------------------------------------
    def started(self, child_id: str, generation: int, now: float) -> None:
        """It runs."""
        child = self._children.get(child_id)
        if child is not None and child.generation == generation and child.state == "starting":
            child.state = "running"

    def declined(self, child_id: str, generation: int, now: float) -> None:
        """It does not want to run."""
        if self._concerns(child_id, generation):
            self._forget(child_id)

    def start_failed(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """Its start failed, and nothing runs."""
        self.exited(child_id, generation, reason, now)

    def exited(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """It ended by itself."""
        child = self._children.get(child_id)
        if child is None or not self._concerns(child_id, generation):
            return
        match child.restart, reason.abnormal:
            case _ if self._last is not None:
                self._forget(child_id)
            case ("permanent", _) | ("transient", True):
                self._restart(child_id, child, reason, now)
            case _:
                self._forget(child_id)

    def stopped(self, child_id: str, generation: int, now: float) -> None:
        """Answer to `Stop`: nothing runs there any more."""
        if self._concerns(child_id, generation):
            self._forget(child_id)
        if self._last is not None:
            self._stop_next()

    def view(self) -> list[tuple[str, State]]:
        """Id and state of every child in start order."""
        return [(child_id, child.state) for child_id, child in self._children.items()]

    # -- the parts -----------------------------------------------------------------------------------------------------
    def _concerns(self, child_id: str, generation: int) -> bool:
        child = self._children.get(child_id)
        return child is not None and child.generation == generation

    def _restart(self, child_id: str, child: Spawn, reason: Reason, now: float) -> None:
        if child.budget is None:
            child.budget = Budget(self._limit.n, self._limit.within)
        budget = child.budget
        if budget.add(now, Attempt(now, child_id, reason)):
            del self._children[child_id]
            self._last = Down(restart_limit(reason.cause, budget.history))
            self._stop_next()
            return
        self.actions.append(Restarting(child_id, reason, budget.used(now), budget.n))
        child.state = "starting"
        child.generation += 1
        self.actions.append(Start(child_id, child.generation))

    def _forget(self, child_id: str) -> None:
        del self._children[child_id]
        self.actions.append(Forget(child_id))

    def _stop_next(self) -> None:
        """Stop the youngest; the last word, when there is none."""
        assert self._last is not None
        for child_id in reversed(self._children):
            child = self._children[child_id]
            if child.state != "stopping":
                child.state = "stopping"
                self.actions.append(Stop(child_id, child.generation))
            return
        self.actions.append(self._last)
