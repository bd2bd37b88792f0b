"""The annex of the tree: services and adopted payloads. They come after the tree is up, and go before it stops."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from trouper.errors import Unkillable
from trouper.supervision.deadlines import GRACE
from trouper.supervision.snapshot import snapshot
from trouper.supervision.wing import Wing

if TYPE_CHECKING:
    from collections.abc import Callable

    from trouper.daemon.adopted import Adopted
    from trouper.daemon.daemon import Daemon
    from trouper.daemon.services import Services
    from trouper.reasons import Reason
    from trouper.supervision.snapshot import Snapshot

log = logging.getLogger("trouper")


class Annex:
    """What one daemon runs beside its tree. All of it belongs to the control lane, but for what says otherwise.

    Args:
        daemon: whose it is.
        services: who tells it what there is to run.
    """

    path = "/"

    def __init__(self, daemon: Daemon, services: Services) -> None:
        self.daemon, self.services, self.lane = daemon, services, daemon.control
        world = daemon.world
        self.wings = {
            "services": Wing(world, self, "services", leaves_threads=False),
            "adopted": Wing(world, self, "adopted", leaves_threads=True),
        }
        self.opened = self.halted = self.over = False
        self.pending: set[Adopted] = set()
        self.then: list[Callable[[], object]] = []

    # -- coming ------------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """The tree is up."""
        self.opened = True
        self.admit()

    def admit(self) -> None:
        """Start what waits to be run."""
        if self.halted:
            self.services._refuse_waiting()
        elif self.opened:
            for one in self.services._take_waiting():
                one._start(self)

    def look(self) -> None:
        """In any thread: something waits now."""
        if self.over:
            self.services._refuse_waiting()
        elif self.opened or self.halted:
            self.lane.post(self.admit)

    # -- going -------------------------------------------------------------------------------------------------------
    def halt(self, then: Callable[[], object]) -> None:
        """Stop all of it; `then` is called when nothing runs here any more."""
        self.then.append(then)
        if not self.halted:
            self.halted = True
            self.services._refuse_waiting()
            for adopted in self.services._running():
                self.halt_payload(adopted)
            for wing in self.wings.values():
                wing.ask_halt()
            if self.pending:
                self.lane.call_later(GRACE, self.took_too_long)
        self.check()

    def halt_payload(self, adopted: Adopted) -> None:
        """Cancel one that no wing knows; a thread is not waited for."""
        threaded = adopted._flavour == "threading"
        if not threaded:
            self.pending.add(adopted)
        adopted.cancel()  # a thread runs on, and what it returns from now on is dropped
        if adopted._end is not None:  # it had not begun, or was over already
            self.pending.discard(adopted)
        elif threaded:
            log.info("%s is left behind in its thread", adopted.path)
            adopted._settle("abandoned")

    def one_over(self, adopted: Adopted) -> None:
        self.pending.discard(adopted)
        self.check()

    def took_too_long(self) -> None:
        """They were cancelled, and did not end."""
        for adopted in list(self.pending):
            log.critical("%s does not end, not even cancelled; it is left behind:\n%s", adopted.path, adopted._stack())
            self.daemon.fatal(adopted.path, Unkillable(adopted.path))
            adopted._settle("abandoned")

    def evict(self, adopted: Adopted) -> None:
        """Stop one of a wing for good."""
        if adopted._tenant is not None:
            self.wings["adopted"].end_child(adopted._tenant)

    def is_empty(self) -> bool:
        """Whether nothing runs here, nor waits to be run."""
        return not (self.services._adopted or any(wing.nodes for wing in self.wings.values()))

    def check(self) -> None:
        if self.halted and not self.pending and all(wing.machine is None for wing in self.wings.values()):
            then, self.then = self.then, []
            for call in then:
                call()

    def close(self, cause: BaseException | None) -> None:
        """The daemon is over."""
        self.halted = self.over = True
        for wing in self.wings.values():
            wing.close(cause)
        self.services._released()

    def failed(self, path: str, error: BaseException) -> None:
        """In any thread: what an adopted payload came to is the daemon's failure."""
        if self.over:
            log.error("%s failed after its daemon had ended", path, exc_info=error)
        else:
            self.daemon.fatal(path, error)

    # -- as a boss ---------------------------------------------------------------------------------------------------
    def keeps(self, node: Any) -> bool:
        return not self.over

    def hear_of_start(self, node: Any, generation: int) -> None:
        """Wings are up from the beginning."""

    def on_ended(self, node: Wing, generation: int, reason: Reason) -> None:
        if reason.abnormal and reason.cause is not None:
            self.daemon.escalate(getattr(reason.cause, "path", node.path), reason.cause)
        self.check()

    def on_declined(self, node: Any, generation: int, why: str) -> None: ...
    def on_start_failed(self, node: Any, generation: int, reason: Reason) -> None: ...
    def on_ending(self, node: Any, generation: int) -> None: ...

    # -- what can be seen ----------------------------------------------------------------------------------------------
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Of the wings in which there is something."""
        found = [snapshot(wing, self.daemon.world) for wing in self.wings.values()]
        now = self.daemon.world.clock()
        payloads = tuple(adopted._snapshot(now) for adopted in self.services._running())
        found[-1] = msgspec.structs.replace(found[-1], children=(*found[-1].children, *payloads))
        return tuple(one for one in found if one.children)

    def stack(self) -> str:
        stacks = [*(wing.stack() for wing in self.wings.values()), *(adopted._stack() for adopted in self.pending)]
        return "\n".join(filter(None, stacks))
