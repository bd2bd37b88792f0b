"""Who has the next turn, and when time goes on: the heart of a trial.

Loops and threads take turns, one at a time, drawn by lot. When none of them can do anything, all is idle, and time
jumps to the first instant at which somebody wants to be woken. The lots come from the seed: the same seed gives the
same order.
"""

from __future__ import annotations

from math import isfinite
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from trouper.lanes.stacks import thread_stack
from trouper.testing.errors import TrialStuck

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from trouper.lanes.lane import Lane
    from trouper.testing.threads import Threads
    from trouper.testing.time import VirtualTime

NAP = 0.0005  # real seconds between two looks at what works in real time


def never() -> bool:
    return False


class Player(Protocol):
    """Who takes turns."""

    @property
    def due(self) -> float: ...
    @property
    def holds_time(self) -> bool: ...
    def step(self) -> bool: ...


class Loop(Player, Protocol):
    """An event loop that is stepped."""

    @property
    def lane(self) -> Lane: ...
    @property
    def over(self) -> bool: ...


class Stepper:
    """Steps the loops and threads of one trial.

    Args:
        loops: the event loops.
        threads: the threads.
        time: moved on when all are idle.
        random: draws who is next.
        patience: real seconds for one instant of virtual time.
    """

    def __init__(
        self, loops: Sequence[Loop], threads: Threads, time: VirtualTime, random: Random, patience: float
    ) -> None:
        self.loops, self.threads, self.time, self.random, self.patience = loops, threads, time, random, patience

    def settle(self) -> None:
        """Give turns until nobody can do anything at this instant.

        Raises:
            TrialStuck: they do not come to an end, or a thread does not come back.
        """
        gives_up = monotonic() + self.patience
        idle: set[Player] = set()
        while True:
            players: list[Player] = [worker for worker in self.threads.workers if worker.runnable]
            players += [loop for loop in self.loops if loop not in idle]
            if players:
                player = players[int(self.random.random() * len(players))]
                idle = set() if player.step() else {*idle, player}
            elif any(player.holds_time for player in self.players):
                sleep(NAP)
                while not any(loop.step() for loop in self.loops) and self.awaited(gives_up):
                    sleep(NAP)
                idle = set()
            else:
                self.threads.bury()
                return
            if monotonic() > gives_up:
                raise TrialStuck(self.told(f"the world does not come to rest at {self.time.now:g} s"))

    @property
    def players(self) -> list[Player]:
        return [*self.loops, *self.threads.workers]

    def awaited(self, gives_up: float) -> bool:
        """Whether there is nothing to do but to wait for what works in real time."""
        working = any(player.holds_time for player in self.players)
        return working and monotonic() < gives_up and not any(worker.runnable for worker in self.threads.workers)

    def run(self, until: float, done: Callable[[], object] = never) -> bool:
        """Let time go on until `done()`, looked at whenever all is idle, or until an instant.

        Args:
            until: the instant, in seconds of the trial; infinity for as long as something is to come.
            done: whether it is enough.

        Returns:
            Whether it was enough.

        Raises:
            TrialStuck: as `settle`.
        """
        while True:
            self.settle()
            if done():
                return True
            due = min(player.due for player in self.players)
            if due > until or not isfinite(due):
                if isfinite(until):
                    self.time.now = max(self.time.now, until)
                return False
            self.time.now = max(self.time.now, due)

    def told(self, what: str) -> str:
        """The text of an error, with what everybody does."""
        lines = [f"{what} (patience: {self.patience:g} real seconds)"]
        for loop in self.loops:
            works = "over" if loop.over else "waits for a worker thread" if loop.holds_time else "here"
            lines.append(f"- the {loop.lane.name} lane: {works}, {len(loop.lane.ready)} actors ready")
        lines += [
            f"- the thread of {worker.name}: {worker.state}\n{thread_stack(worker.thread.ident or 0)}"
            for worker in self.threads.workers
        ]
        return "\n".join(lines)
