"""A pure machine, its clock, and what it said since it was last asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

from trouper.reasons import Reason, crashed, start_failed
from trouper.supervision.actions import Action, Restarting, Start, Up
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.machine import AutoShutdown, Machine
from trouper.supervision.members import Member, Strategy

BOOM = crashed(RuntimeError("boom"))
NOPE = start_failed(RuntimeError("nope"))

Request = Literal["terminate", "restart", "delete", "hold", "release"]


class Limit(NamedTuple):
    n: int
    within: float


class Console:
    """Every report and request is about the present generation, unless another is named."""

    def __init__(self, machine: Machine | Dynamic) -> None:
        self.machine = machine
        self.now = 0.0
        self.generations: dict[str, int] = {}

    def at(self, now: float) -> Self:
        self.now = now
        return self

    def said(self) -> list[Action]:
        actions = list(self.machine.actions)
        self.machine.actions.clear()
        self.generations |= {action.id: action.generation for action in actions if isinstance(action, Start)}
        return actions

    def life(self, child: str, generation: int | None) -> tuple[str, int]:
        return child, self.generations.get(child, 1) if generation is None else generation

    def boot(self) -> list[Action]:
        self.machine.boot(self.now)
        return self.said()

    def started(self, child: str, generation: int | None = None) -> list[Action]:
        self.machine.started(*self.life(child, generation), self.now)
        return self.said()

    def declined(self, child: str, generation: int | None = None) -> list[Action]:
        self.machine.declined(*self.life(child, generation), self.now)
        return self.said()

    def failed(self, child: str, generation: int | None = None, reason: Reason = NOPE) -> list[Action]:
        self.machine.start_failed(*self.life(child, generation), reason, self.now)
        return self.said()

    def stopped(self, child: str, generation: int | None = None) -> list[Action]:
        self.machine.stopped(*self.life(child, generation), self.now)
        return self.said()

    def exited(self, child: str, generation: int | None = None, reason: Reason = BOOM) -> list[Action]:
        self.machine.exited(*self.life(child, generation), reason, self.now)
        return self.said()

    def due(self, child: str, generation: int | None = None) -> list[Action]:
        self.machine.due(*self.life(child, generation), self.now)
        return self.said()

    def stop(self) -> list[Action]:
        self.machine.stop(self.now)
        return self.said()

    def resume(self) -> list[Action]:
        self.machine.resume(self.now)
        return self.said()

    def ask(self, request: Request, child: str, ticket: object = 1) -> list[Action]:
        getattr(self.machine, request)(ticket, child, self.now)
        return self.said()

    def add(self, member: Member | str, ticket: object = 1) -> list[Action]:
        self.machine.add(ticket, Member(member) if isinstance(member, str) else member, self.now)
        return self.said()

    def states(self) -> dict[str, str]:
        return dict(self.machine.view())


class Rig(Console):
    """A supervisor of the static tree."""

    def __init__(
        self,
        *members: Member | str,
        strategy: Strategy = "one_for_one",
        n: int = 3,
        within: float = 30.0,
        auto_shutdown: AutoShutdown = "never",
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__(Machine(strategy, Limit(n, within), auto_shutdown, specs(members), chance))


class Pool(Console):
    """A supervisor of children that are alike to it."""

    def __init__(
        self,
        *members: Member | str,
        n: int = 3,
        within: float = 30.0,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.dynamic = Dynamic(Limit(n, within), chance, specs(members))
        super().__init__(self.dynamic)


def specs(members: tuple[Member | str, ...]) -> list[Member]:
    return [Member(member) if isinstance(member, str) else member for member in members]


def running(
    *members: Member | str,
    strategy: Strategy = "one_for_one",
    n: int = 3,
    within: float = 30.0,
    auto_shutdown: AutoShutdown = "never",
    chance: Callable[[], float] = lambda: 0.0,
) -> Rig:
    """A rig whose members are all up."""
    rig = Rig(*members, strategy=strategy, n=n, within=within, auto_shutdown=auto_shutdown, chance=chance)
    wanted = rig.boot()
    said_up = False
    while wanted:
        match wanted.pop(0):
            case Start(child, _):
                wanted += rig.started(child)
            case action:
                assert action == Up()
                said_up = True
    assert said_up
    assert set(rig.states().values()) <= {"running", "held"}
    return rig


def decided(said: list[Action]) -> Restarting:
    """The restart that was decided first."""
    restart = said[0]
    assert isinstance(restart, Restarting)
    return restart


def restarting(
    child: str, used: int = 1, reason: Reason = BOOM, n: int = 3, delay: float = 0.0, *, counted: bool = True
) -> Restarting:
    return Restarting(child, reason, used, n, delay, counted)
