"""An adopted payload: it runs in the background, and what it comes to is the daemon's business."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from inspect import isawaitable
from threading import Lock
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Literal, final

from trouper.actors.definition import Definition
from trouper.actors.options import Options
from trouper.actors.ref import Ref, wait_in_thread
from trouper.actors.signature import shape_of
from trouper.daemon.payload import as_failure
from trouper.errors import OrphanedReturn, Shutdown, Stopping, WouldBlockLane
from trouper.lanes.errand import Errand, no_loop, payload_name
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.slot import Slot, in_event_loop
from trouper.lanes.stacks import coroutine_stack, thread_stack
from trouper.supervision.child import Child
from trouper.supervision.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from trouper.actors.flavour import FlavourName
    from trouper.actors.life import Life
    from trouper.actors.options import Restart
    from trouper.daemon.annex import Annex
    from trouper.daemon.services import Services
    from trouper.supervision.wing import Tenant

log = logging.getLogger("trouper")

AdoptedState = Literal["queued", "running", "returned", "failed", "cancelled", "abandoned"]

waiters = Lock()


@final
class Adopted:
    """The handle of a payload that a daemon runs in the background; what `adopt` returns. Any thread may use it.

    Nobody needs to keep it: the payload runs all the same.
    """

    __slots__ = (
        *("__weakref__", "_annex", "_begun", "_end", "_errand", "_flavour", "_restart", "_services"),
        *("_since", "_tenant", "_waiting", "name"),
    )

    name: str
    """Its name; it stands at `/adopted/NAME`."""

    def __init__(  # noqa: PLR0917 - one place makes them
        self,
        name: str,
        payload: Callable[..., Any],
        args: tuple[Any, ...],
        flavour: FlavourName,
        restart: Restart | None,
        context: Context,
        services: Services,
    ) -> None:
        self.name = name
        self._services = services
        self._errand: Errand | None = Errand(f"/adopted/{name}", payload, args, context, self._ended)
        self._flavour: FlavourName = flavour
        self._restart: Restart | None = restart
        self._annex: Annex | None = None
        self._tenant: Tenant | None = None
        self._waiting: deque[Slot[None]] | None = None
        self._begun = False
        self._end: AdoptedState | None = None

    # -- for users ---------------------------------------------------------------------------------------------------
    @property
    def state(self) -> AdoptedState:
        """How it is.

        `queued` (its daemon is not ready yet), `running` (also between two restarts), `returned`, `failed`,
        `cancelled`, or `abandoned`: it did not end, and its daemon goes on without it, or is over.
        """
        return self._end or ("running" if self._begun else "queued")

    @property
    def path(self) -> str:
        """Where it stands in the tree."""
        return f"/adopted/{self.name}"

    def cancel(self) -> None:
        """Cancel it, and return at once. A second time, or after its end, it does no harm.

        What is queued, or waits to be restarted, does not begin. A thread that runs cannot be forced: what it returns
        is dropped, and what it raises is a failure as ever; one with a `restart` is left behind.
        """
        errand = self._errand
        if errand is None:
            return
        errand.cancel()  # looked at by who begins it, after it has said so
        if not self._begun:
            self._settle("cancelled")
        elif self._restart is not None and self._annex is not None:
            self._annex.lane.post(self._annex.evict, self)

    async def wait(self, *, timeout: float | None = None) -> AdoptedState:
        """Wait, in trio or asyncio, until it is over, whatever it came to. That may be never.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            How it ended, see `state`.

        Raises:
            TimeoutError: it goes on.
        """
        slot = self._line_up()
        try:
            if not await slot.wait(timeout):
                raise TimeoutError(f"{self!r} is not over after {timeout:g} s")
        finally:
            self._step_out(slot)
        return self.state

    def wait_sync(self, *, timeout: float | None = None) -> AdoptedState:
        """Block the thread until it is over: the twin of `wait` for threads.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            How it ended, see `state`.

        Raises:
            TimeoutError: it goes on.
            WouldBlockLane: this is the thread of an event loop.
            Stopping: in a threading actor that was asked to stop.
        """
        if in_event_loop():
            raise WouldBlockLane(f"wait_sync of {self!r} on the thread of an event loop; use `await adopted.wait()`")
        slot = self._line_up()
        try:
            if not wait_in_thread(slot, timeout):
                raise TimeoutError(f"{self!r} is not over after {timeout:g} s")
        finally:
            self._step_out(slot)
        return self.state

    def __repr__(self) -> str:
        return f"<Adopted {self.path}, {self._flavour}, {self.state}>"

    # -- inside ------------------------------------------------------------------------------------------------------
    def _line_up(self) -> Slot[None]:
        """Published before the look at the state; who ends it does that the other way round."""
        slot: Slot[None] = Slot()
        with waiters:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(slot)
        if self._end is not None:
            slot.put(None)
        return slot

    def _step_out(self, slot: Slot[None]) -> None:
        with waiters:
            if self._waiting is not None and slot in self._waiting:
                self._waiting.remove(slot)

    def _start(self, annex: Annex) -> None:
        """In the control lane: the daemon is ready."""
        if self._restart is None:
            self._begin(annex)
            return
        self._annex = annex
        self._begun = True
        errand = self._errand
        if errand is None:
            return
        if errand.asked:  # in another thread, which may have seen it begun by now
            self._settle("cancelled")
        else:
            self._tenant = annex.wings["adopted"].house(self.name, self._child(errand), self._gone)

    def _begin(self, annex: Annex) -> None:
        """Run it, in any thread."""
        daemon = annex.daemon
        self._annex = annex
        self._since = daemon.world.clock()
        self._begun = True
        errand = self._errand
        if errand is not None:
            daemon.send_out(errand, self._flavour)

    def _ended(self, errand: Errand, value: Any, error: BaseException | None) -> None:
        """In its lane: it is over, and what it came to may be the end of the daemon."""
        annex = self._annex
        if annex is None:
            return
        annex.daemon.take_back(errand)
        state: AdoptedState = "returned"
        failure: BaseException | None = None
        if error is None:
            if value is not None and not errand.asked:
                state, failure = "failed", OrphanedReturn(self.path, payload_name(errand.payload), value)
        elif isinstance(error, Cancelled):
            state = "cancelled"
        elif not isinstance(error, Shutdown | Stopping):
            state, failure = "failed", as_failure(self.path, error)
        if failure is not None:
            annex.failed(self.path, failure)
        self._settle(state)

    def _gone(self, tenant: Life) -> None:
        """As an actor it has ended for good."""
        reason = tenant.ended_by
        if tenant.abandoned:
            self._settle("abandoned")
        elif reason.kind == "normal":
            self._settle("returned")
        else:
            self._settle("failed" if reason.abnormal and reason.kind != "killed" else "cancelled")

    def _settle(self, state: AdoptedState) -> None:
        if not self._services._forget(self):
            return  # somebody was quicker
        self._end = state
        self._errand = self._tenant = None  # they know this handle, too
        annex = self._annex
        if annex is not None and annex.halted:
            annex.lane.post(annex.one_over, self)
        for slot in tuple(self._waiting or ()):
            slot.put(None)

    def _stack(self) -> str:
        """Where its code is."""
        errand = self._errand
        if errand is None or errand.lane is None:
            return "(it does not run)"
        activity = errand.activity
        return thread_stack(errand.lane.ident) if activity is None else coroutine_stack(activity.coro)

    def _snapshot(self, now: float) -> Snapshot:
        state: Literal["running", "starting"] = "running" if self._begun else "starting"
        kind = DEFINITIONS[self._flavour].cls.__name__
        uptime = now - self._since if self._begun else None
        return Snapshot(self.path, kind, state, int(self._begun), self._flavour, uptime, 0, degraded=False, children=())

    def _child(self, errand: Errand) -> Child[Any]:
        """It as an actor, for one that is restarted."""
        definition = DEFINITIONS[self._flavour]
        choice = definition.options.replace(self.path, name=self.name, restart=self._restart or "temporary")
        instance = definition.cls(partial(errand.payload, *errand.args), self.path, payload_name(errand.payload))
        return Child(definition, (instance,), {}, choice, Ref(definition, choice.mailbox))


class Payload:
    """A payload as an actor that is restarted."""

    def __init__(self, payload: Callable[[], Any], path: str, called: str) -> None:
        self.payload, self.path, self.called = payload, path, called

    def orphan(self, value: object) -> None:
        if value is not None:
            raise OrphanedReturn(self.path, self.called, value)


class LoopPayload(Payload):
    """In a loop."""

    async def run(self) -> None:
        value = self.payload()
        self.orphan(await value if isawaitable(value) else value)


class ThreadPayload(Payload):
    """In a thread."""

    def run(self) -> None:
        value = self.payload()
        if type(value) is CoroutineType:
            value.close()
            raise no_loop(self.called)
        self.orphan(value)


def definition_for(cls: type, flavour: FlavourName) -> Definition:
    in_thread = flavour == "threading"
    options = Options(shutdown=0, abandon=True) if in_thread else Options()
    return Definition(cls, flavour, shape_of(cls, flavour), options)


DEFINITIONS: Final[dict[FlavourName, Definition]] = {
    "trio": definition_for(LoopPayload, "trio"),
    "asyncio": definition_for(LoopPayload, "asyncio"),
    "threading": definition_for(ThreadPayload, "threading"),
}
