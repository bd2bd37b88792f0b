"""The machine of children that are alike to their supervisor: those that an actor spawned, and the workers of a pool.

It is OTP's `simple_one_for_one`, with a limit for each child. It takes the same calls and gives the same actions as
`Machine`, and is as pure; but the children have no order among them, so that they start, restart and stop side by side,
and one that takes long holds up nobody. A child that ends and is not restarted is forgotten. A start that fails counts
as an abnormal end, but at boot it fails the boot. One child over its limit ends them all.

Whatever happens to one child takes the same time however many there are.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

from trouper.patience import Persist
from trouper.reasons import restart_limit
from trouper.supervision.actions import (
    Answer,
    Attempt,
    BootFailed,
    Down,
    Forget,
    Restarting,
    Start,
    Stop,
    Stopped,
    Up,
    Wait,
    fails,
)
from trouper.supervision.budget import Budget, Uptime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trouper.patience import Backoff
    from trouper.reasons import Reason
    from trouper.supervision.actions import Action, Last
    from trouper.supervision.machine import Limited
    from trouper.supervision.members import Member, Restart, State


@final
class Spawn:
    """One child. There may be very many: what most of them never need is made when it is needed."""

    __slots__ = ("backoff", "generation", "restart", "state", "trouble")

    def __init__(self, restart: Restart, backoff: Backoff | None, generation: int) -> None:
        self.restart: Restart = restart
        self.backoff = backoff
        self.state: State = "starting"
        self.generation = generation
        self.trouble: Trouble | None = None


@final
class Trouble:
    """What is remembered of a child that failed."""

    __slots__ = ("budget", "failures", "up_since", "uptime")

    def __init__(self, budget: Budget, now: float) -> None:
        self.budget = budget
        self.uptime = Uptime()
        self.up_since = now
        self.failures = 0


@final
class Dynamic:
    """The decisions over such children.

    Args:
        limit: how many restarts (`n`) within how many seconds (`within`) of its uptime each child has.
        chance: gives random numbers from 0 to less than 1, for the jitter of delays.
        members: those that are there from the beginning; it is up when all of them are.
    """

    def __init__(
        self, limit: Limited, chance: Callable[[], float] = lambda: 0.0, members: Iterable[Member] = ()
    ) -> None:
        self.actions: deque[Action] = deque()
        self._limit = limit
        self._chance = chance
        self._children: dict[str, Spawn] = {}
        self._first = tuple(members)
        self._booting: set[str] = set()
        self._floor = 0
        self._last: Last | None = None

    def boot(self, now: float) -> None:
        """Start those that are there from the beginning; this ends in `Up` or `BootFailed`."""
        if self._last is not None:
            return
        for member in self._first:
            self._enter(member.id, member.restart, member.backoff, member.generation)
        self._booting = {member.id for member in self._first}
        if not self._booting:
            self.actions.append(Up())

    # -- what is asked -------------------------------------------------------------------------------------------------
    def add(self, ticket: object, member: Member, now: float) -> None:
        """Start a new child, whose answer comes at once; ids are the caller's to keep apart."""
        if self._last is None:
            self._enter(member.id, member.restart, member.backoff, member.generation)
            self.actions.append(Answer(ticket, "ok"))
        else:
            self.actions.append(Answer(ticket, "shutting_down"))

    def spawn(self, child_id: str, restart: Restart, backoff: Backoff | None) -> int:
        """As `add`, but the caller starts it, without an action: the generation to start, or 0 if it is too late."""
        if self._last is not None:
            return 0
        generation = self._floor + 1
        self._children[child_id] = Spawn(restart, backoff, generation)
        return generation

    def terminate(self, ticket: object, child_id: str, now: float) -> None:
        """Stop a child for good."""
        child = self._children.get(child_id)
        if child is None:
            result = "not_found"
        elif self._last is None:
            result = "ok"
            self._stop(child_id, child)
        else:
            result = "shutting_down"
        self.actions.append(Answer(ticket, result))

    def restart(self, ticket: object, child_id: str, now: float) -> None:
        """Not for such children: one that is down is forgotten."""
        self._refuse(ticket, child_id)

    delete = hold = release = restart

    def stop(self, now: float) -> None:
        """Stop everything; this ends in `Stopped`."""
        if self._last is None:
            self._end(Stopped())
        else:
            self._last = Stopped()

    @property
    def ending(self) -> bool:
        """Whether it stops them all: nothing is started any more."""
        return self._last is not None

    @property
    def failing(self) -> bool:
        """Whether it stops everything because it failed."""
        return fails(self._last)

    # -- what happened -------------------------------------------------------------------------------------------------
    def started(self, child_id: str, generation: int, now: float) -> None:
        """It runs."""
        child = self._children.get(child_id)
        if child is not None and child.state == "starting" and child.generation == generation:
            child.state = "running"
            if child.trouble is not None:
                child.trouble.up_since = now
                child.trouble.uptime.run(now)
            if self._booting:
                self._boot_goes_on(child_id)

    def declined(self, child_id: str, generation: int, now: float) -> None:
        """It does not want to run."""
        if self._known(child_id, generation, "starting") is not None:
            self._forget(child_id)

    def start_failed(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """Its start failed, and nothing runs."""
        if self._known(child_id, generation, "starting") is not None:
            self.exited(child_id, generation, reason, now)

    def exited(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """It ended by itself. Ignored for an older generation, absorbed for a child that is being stopped."""
        child = self._known(child_id, generation, "starting", "running")
        if child is None:
            return
        if child_id in self._booting:
            del self._children[child_id]
            self._end(BootFailed(child_id, reason))
            return
        match child.restart, reason.abnormal:
            case ("permanent", _) | ("transient", True):
                self._restart(child_id, child, reason, now)
            case _:
                self._forget(child_id)

    def stopped(self, child_id: str, generation: int, now: float) -> None:
        """Answer to `Stop`: nothing runs there any more."""
        if self._known(child_id, generation, "stopping") is not None:
            self._forget(child_id)

    def renewed(self, child_id: str) -> None:
        """Another life has taken over from one that runs, and is running: the other one is no concern of ours now."""
        child = self._children.get(child_id)
        if child is not None and child.state == "running":
            child.generation += 1

    def resume(self, now: float) -> None:
        """Nothing here waits for its turn."""

    def due(self, child_id: str, generation: int, now: float) -> None:
        """The delay of a `Wait` is over; ignored if something else became of that child meanwhile."""
        child = self._known(child_id, generation, "backoff")
        if child is not None:
            self._start(child_id, child)

    def view(self) -> list[tuple[str, State]]:
        """Id and state of every child in start order."""
        return [(child_id, child.state) for child_id, child in list(self._children.items())]

    # -- the parts -----------------------------------------------------------------------------------------------------
    def _known(self, child_id: str, generation: int, *states: State) -> Spawn | None:
        child = self._children.get(child_id)
        return child if child is not None and child.generation == generation and child.state in states else None

    def _enter(self, child_id: str, restart: Restart, backoff: Backoff | None, before: int) -> None:
        generation = max(before, self._floor) + 1
        self._children[child_id] = Spawn(restart, backoff, generation)
        self.actions.append(Start(child_id, generation))

    def _start(self, child_id: str, child: Spawn) -> None:
        child.state = "starting"
        child.generation += 1
        self.actions.append(Start(child_id, child.generation))

    def _restart(self, child_id: str, child: Spawn, reason: Reason, now: float) -> None:
        trouble, backoff = child.trouble, child.backoff
        if trouble is None:
            trouble = child.trouble = Trouble(Budget(self._limit.n, self._limit.within), now)
        elif backoff is not None and child.state == "running" and now - trouble.up_since >= backoff.reset_after:
            trouble.failures = 0
        trouble.uptime.pause(now)
        budget, counted = trouble.budget, not isinstance(backoff, Persist)
        if counted and budget.add(trouble.uptime, now, Attempt(now, child_id, reason)):
            del self._children[child_id]
            self._end(Down(restart_limit(reason.cause, budget.history)))
            return
        trouble.failures += 1
        delay = 0.0 if backoff is None else backoff.delay(trouble.failures, self._chance())
        self.actions.append(Restarting(child_id, reason, budget.used(now), budget.n, delay, counted))
        if delay > 0:
            child.state = "backoff"
            self.actions.append(Wait(child_id, child.generation, delay))
        else:
            self._start(child_id, child)

    def _forget(self, child_id: str) -> None:
        del self._children[child_id]
        self.actions.append(Forget(child_id))
        if self._last is None:
            self._boot_goes_on(child_id)
        elif not self._children:
            self.actions.append(self._last)

    def _boot_goes_on(self, child_id: str) -> None:
        if child_id in self._booting:
            self._booting.discard(child_id)
            if not self._booting:
                self.actions.append(Up())

    def _stop(self, child_id: str, child: Spawn) -> None:
        if child.state == "backoff":
            self._floor = max(self._floor, child.generation)  # its `due` must not fit who takes its id next
            self._forget(child_id)
        elif child.state != "stopping":
            child.state = "stopping"
            self.actions.append(Stop(child_id, child.generation))

    def _end(self, last: Last) -> None:
        """Stop them all at once, the youngest first; the last word, when there is none."""
        self._last = last
        if not self._children:
            self.actions.append(last)
        for child_id, child in reversed(list(self._children.items())):
            self._stop(child_id, child)

    def _refuse(self, ticket: object, child_id: str) -> None:
        self.actions.append(Answer(ticket, "simple_one_for_one" if child_id in self._children else "not_found"))
