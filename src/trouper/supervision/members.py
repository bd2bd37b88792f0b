"""The members of a supervisor in start order: what each one is, and how it is now.

Everything but a walk over all of them takes the same time however many there are.
"""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING, Final, Literal, final

import msgspec

from trouper.patience import Backoff, Persist
from trouper.reasons import NORMAL, Reason
from trouper.supervision.budget import Uptime

if TYPE_CHECKING:
    from collections.abc import Iterator

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Restart = Literal["permanent", "transient", "temporary"]
State = Literal["undefined", "starting", "running", "stopping", "restarting", "backoff", "held"]
"""`restarting` waits for its turn, `backoff` for its time; `held` is down until an operator releases it."""

RUNS: Final = frozenset({"starting", "running"})
PENDING: Final = frozenset({"restarting", "backoff"})
MOTION: Final = frozenset({"starting", "stopping", "restarting", "backoff"})


class Member(msgspec.Struct):
    """What the machine must know of a child.

    Args:
        id: its name within the supervisor.
        restart: after which ends it is restarted.
        significant: whether its end can be the supervisor's, see `auto_shutdown`.
        generation: its last generation, for one that lived in another machine before; its next is one more.
        backoff: the delays before its restarts; None is OTP's way, none at all.
        optional: whether the others wait for its start, and fail with it.
        held: whether an operator holds it down.
    """

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    generation: int = 0
    backoff: Backoff | None = None
    optional: bool = False
    held: bool = False


@final
class Child(msgspec.Struct, eq=False):
    """One member inside the machine."""

    id: str
    restart: Restart
    significant: bool
    generation: int
    """The last one that was started; 0 before the first."""
    backoff: Backoff | None
    optional: bool
    state: State = "undefined"
    moving: bool = False
    """Whether it is on its way up or down, and somebody waits for that."""
    uptime: Uptime = msgspec.field(default_factory=Uptime)
    over: bool = False
    """Whether this generation was reported to have ended by itself."""
    late: int = 0
    """The last generation that was stopped without such a report, or before its `due`: word of it may still come."""
    closed: bool = False
    """Whether its mailbox was closed since its last start."""
    failure: Reason = NORMAL
    """Why its last restart failed, while `restarting`."""
    failures: int = 0
    """How many in a row."""
    up_since: float = 0.0
    was_up: bool = False

    @property
    def unseen(self) -> bool:
        """Whether nobody has relied on it yet: it is optional, and has not come up once."""
        return self.optional and not self.was_up

    @property
    def patient(self) -> bool:
        """Whether it is tried for ever, uncounted."""
        return self.unseen or isinstance(self.backoff, Persist)


@final
class Members:
    """All of them, by id and in start order."""

    __slots__ = ("_children", "_floor", "_moving", "_vital", "uptime")

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._vital: set[str] = set()
        self._floor = 0
        self._moving = 0
        self.uptime = Uptime()
        """Of them all together, but for the optional ones, for which nobody waits."""

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
        child = self._children[member.id] = Child(
            member.id, member.restart, member.significant, generation, member.backoff, member.optional
        )
        if member.held:
            child.state = "held"
        return child

    def remove(self, child: Child) -> None:
        """Forget one that is down. A report that comes late for it must not fit who takes its id next."""
        del self._children[child.id]
        self._floor = max(self._floor, child.late)

    def become(self, child: Child, state: State, now: float) -> None:
        """Note how it is from now on."""
        child.state = state
        if child.significant:
            (self._vital.discard if state in {"undefined", "held"} else self._vital.add)(child.id)
        self._move(child, now, moving=state in MOTION and not child.patient)
        if state == "running":
            child.was_up, child.up_since = True, now

    def fell(self, child: Child, now: float) -> None:
        """It ended by itself; its state is still to be judged."""
        child.over = True
        if child.state == "running":
            self._move(child, now, moving=not child.patient)
            if child.backoff is not None and now - child.up_since >= child.backoff.reset_after:
                child.failures = 0

    def _move(self, child: Child, now: float, *, moving: bool) -> None:
        if moving is not child.moving:
            child.moving = moving
            (child.uptime.pause if moving else child.uptime.run)(now)
            if not child.optional:
                self._moving += 1 if moving else -1
                (self.uptime.pause if self._moving else self.uptime.run)(now)

    def group(self, child: Child, strategy: Strategy) -> list[Child]:
        """Who is restarted with `child`, itself included, in start order."""
        match strategy:
            case _ if child.unseen:
                return [child]
            case "one_for_one":
                return [child]
            case "one_for_all":
                return list(self)
            case "rest_for_one":
                return list(dropwhile(lambda other: other is not child, self))

    def stranded(self, strategy: Strategy) -> list[Child]:
        """Those that were down for a restart which does not come any more, in start order."""
        if strategy == "one_for_one":
            return []
        pending = [child for child in self if child.state in PENDING]
        awaited = {member for child in pending for member in self.group(child, strategy)}
        return [child for child in self if child.state == "undefined" and not child.closed and child not in awaited]

    def view(self) -> list[tuple[str, State]]:
        """Id and state of each, in start order; of one that is over and not judged yet, that it is down."""
        return [(child.id, "undefined" if child.over and child.state in RUNS else child.state) for child in self]
