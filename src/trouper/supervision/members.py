"""The members of a supervisor in start order: what each one is, and how it is now.

Everything but a walk over all of them takes the same time however many there are.
"""

from __future__ import annotations

from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple, final

import attrs

from trouper.reasons import NORMAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trouper.reasons import Reason
    from trouper.supervision.budget import Budget

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Restart = Literal["permanent", "transient", "temporary"]
State = Literal["undefined", "starting", "running", "stopping", "restarting"]


@attrs.define
class Member:
    """What the machine must know of a child.

    Args:
        id: its name within the supervisor.
        restart: after which ends it is restarted.
        significant: whether its end can be the supervisor's, see `auto_shutdown`.
        generation: its last generation, for one that lived in another machine before; its next is one more.
    """

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    generation: int = 0


class Count(NamedTuple):
    """How many members there are, as OTP's `count_children`."""

    specs: int
    """All of them, running or not."""
    active: int
    """Those that run."""


@final
@attrs.define(eq=False)
class Child:
    """One member inside the machine."""

    id: str
    restart: Restart
    significant: bool
    generation: int
    """The last one that was started; 0 before the first."""
    state: State = "undefined"
    over: bool = False
    """Whether this generation was reported to have ended by itself."""
    unreported: int = 0
    """The last generation that was stopped without such a report; it may still come."""
    closed: bool = False
    """Whether its mailbox was closed since its last start."""
    failure: Reason = NORMAL
    """Why its last restart failed, while `restarting`."""
    budget: Budget | None = None
    """Its own restarts, where the limit is not a shared one."""


@final
class Members:
    """All of them, by id and in start order."""

    __slots__ = ("_children", "_floor", "_vital")

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._vital: set[str] = set()
        self._floor = 0

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __reversed__(self) -> Iterator[Child]:
        return reversed(self._children.values())

    @property
    def vital(self) -> bool:
        """Whether any significant member is running, or about to be again."""
        return bool(self._vital)

    def get(self, child_id: str) -> Child | None:
        """The member with this id, if there is one."""
        return self._children.get(child_id)

    def enter(self, member: Member) -> Child:
        """Put a new one at the end of the order."""
        generation = max(member.generation, self._floor)
        child = self._children[member.id] = Child(member.id, member.restart, member.significant, generation)
        return child

    def remove(self, child: Child) -> None:
        """Forget one that is down. A report that comes late for it must not fit who takes its id next."""
        del self._children[child.id]
        self._floor = max(self._floor, child.unreported)

    def become(self, child: Child, state: State) -> None:
        """Note how it is now."""
        child.state = state
        if child.significant:
            (self._vital.discard if state == "undefined" else self._vital.add)(child.id)

    def group(self, child: Child, strategy: Strategy) -> list[Child]:
        """Who is restarted with `child`, itself included, in start order."""
        match strategy:
            case "one_for_one":
                return [child]
            case "one_for_all":
                return list(self)
            case "rest_for_one":
                return list(dropwhile(lambda other: other is not child, self))

    def stranded(self) -> list[Child]:
        """Those that are down, and that no pending restart will start: none is before them in the order."""
        return [child for child in takewhile(lambda it: it.state != "restarting", self) if child.state == "undefined"]

    def view(self) -> list[tuple[str, State]]:
        """Id and state of each, in start order."""
        return [(child.id, child.state) for child in self]

    def count(self) -> Count:
        """How many there are, and how many run."""
        return Count(len(self._children), sum(child.state == "running" for child in self))
