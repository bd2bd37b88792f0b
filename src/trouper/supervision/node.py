"""What stands below a supervisor, seen from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trouper.supervision.members import Member

if TYPE_CHECKING:
    from trouper.actors.options import Options
    from trouper.lanes.lane import Timer
    from trouper.lanes.slot import Slot
    from trouper.reasons import Reason
    from trouper.supervision.members import State
    from trouper.supervision.snapshot import Snapshot
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


class Elsewhere:
    """A node whose own tree runs in another process, in a daemon that can be asked. All of it in the control lane."""

    @property
    def path(self) -> str:
        """Where it stands."""
        raise NotImplementedError

    def snapshot(self, path: str, state: State, now: float, *, degraded: bool) -> Snapshot:
        """Its picture, with that of its tree."""
        raise NotImplementedError

    def count_running(self) -> int:
        """How many actors run there, as far as is known."""
        raise NotImplementedError

    def degraded(self) -> list[str]:
        """The paths of those there that are down and tried for ever, as far as is known."""
        raise NotImplementedError

    def ask(self, what: str, *args: Any) -> Slot[Any]:
        """Ask its daemon, now or as soon as that is up; None is the answer if it ends before it gives one.

        Args:
            what: one of the questions that `daemon.worker.Worker` answers.
            args: plain values.
        """
        raise NotImplementedError


def member_of(name: str, options: Options | Supervisor, generation: int, *, held: bool) -> Member:
    """What a machine must know of it."""
    return Member(name, options.restart, options.significant, generation, options.backoff, options.optional, held)
