"""What stands below a supervisor, seen from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trouper.supervision.members import Member

if TYPE_CHECKING:
    from trouper.actors.options import Options
    from trouper.lanes.lane import Timer
    from trouper.reasons import Reason
    from trouper.supervision.spec import Supervisor


class Node(Protocol):
    """What stands below a supervisor: an actor's cell or another supervisor.

    `halted` is the generation that was told to stop, `doomed` the one that was told to end at once, `gone` the one that
    ended (or was not begun) when the daemon was stopping already.
    """

    name: str
    generation: int
    since: float
    deadline: Timer | None
    abandoned: bool
    halted: int
    doomed: int
    gone: int

    @property
    def options(self) -> Any: ...
    def begin(self, generation: int) -> None: ...
    def ask_halt(self) -> None: ...
    def ask_kill(self, reason: Reason = ...) -> None: ...
    def close(self, cause: BaseException | None = None) -> None: ...
    def stack(self) -> str: ...
    def let_go(self) -> None: ...


def member_of(name: str, options: Options | Supervisor, generation: int, *, held: bool) -> Member:
    """What a machine must know of it."""
    return Member(name, options.restart, options.significant, generation, options.backoff, options.optional, held)
