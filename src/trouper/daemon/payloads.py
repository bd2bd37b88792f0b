"""Payloads: functions and coroutine functions that a daemon runs in any flavour, for whoever calls it."""

from __future__ import annotations

import logging
from contextvars import copy_context
from functools import partial
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack, overload

from trouper.actors.hooks import beyond_healing
from trouper.actors.ref import wait_in_thread
from trouper.daemon.payload import as_failure, check_payload
from trouper.daemon.services import here
from trouper.errors import CallTimeout, DaemonStopped, NotRunning, WouldBlockLane
from trouper.lanes.errand import Errand, no_loop, payload_name
from trouper.lanes.hands import Hands
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.slot import Slot, in_event_loop
from trouper.lanes.thread_lane import ThreadLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trouper.actors.flavour import Flavour, FlavourName
    from trouper.actors.options import Restart
    from trouper.actors.world import World
    from trouper.daemon.adopted import Adopted
    from trouper.daemon.annex import Annex
    from trouper.daemon.loops import Lanes
    from trouper.daemon.services import Services
    from trouper.lanes.lane import Lane
    from trouper.lanes.loop_lane import LoopLane
    from trouper.lanes.trio_lane import TrioLane

log = logging.getLogger("trouper")

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Payloads:
    """What a `Daemon` can be asked to run. Any thread may call."""

    world: World
    control: TrioLane
    loops: Lanes
    lane_broke: Callable[[Lane, BaseException], None]
    services: Services
    annex: Annex

    def __init__(self) -> None:
        self.calls: dict[Errand, Slot[Any]] = {}
        self.calls_over = False
        self.hands = Hands(self.thread)

    def adopt(
        self,
        payload: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        flavour: Flavour,
        name: str | None = None,
        restart: Restart | None = None,
    ) -> Adopted:
        """Run `payload(*args)` in the background, and return at once.

        It begins when the tree is up, and is cancelled before the tree stops; a thread is left behind then. Without a
        `restart`, what it raises is the daemon's failure, and so is a result other than None, which nobody would
        receive. With one it is an actor: restarted as that says, at most 3 times in 30 seconds; one more is the
        daemon's failure.

        Args:
            payload: a coroutine function, or a plain function, which in an async flavour must not block; whatever it
                returns is awaited there if it can be. Keyword arguments go through `functools.partial`.
            args: its positional arguments.
            flavour: the module trio, asyncio or threading, or its name.
            name: its name below `/adopted`; by default that of the function, with a number.
            restart: None, or which ends restart it: `"permanent"` every one, `"transient"` a failure, `"temporary"`
                none. A result other than None is a failure.

        Returns:
            A handle, which nobody needs to keep.

        Raises:
            UsageError: it is no such function, or no such flavour.
            SpecError: the name is another payload's or cannot be one, or there is no such `restart`.
            NotRunning: the daemon is stopping.

        Example:
            `daemon.adopt(watch_directory, path, flavour=asyncio, restart="transient")`
        """
        if self.annex.halted:
            raise NotRunning("the daemon is stopping, and adopts nothing any more")
        return self.services.adopt(payload, *args, flavour=flavour, name=name, restart=restart)

    @overload
    def execute(
        self, payload: Callable[[Unpack[Ts]], Awaitable[R]], *args: *Ts, flavour: Flavour, timeout: float | None = None
    ) -> R: ...
    @overload
    def execute(
        self, payload: Callable[[Unpack[Ts]], R], *args: *Ts, flavour: Flavour, timeout: float | None = None
    ) -> R: ...
    def execute(self, payload: Any, *args: Any, flavour: Flavour, timeout: float | None = None) -> Any:  # type: ignore[misc]  # TypeVarTuple
        """Run `payload(*args)` in a flavour, and block the thread until its result is there.

        In the flavour threading, and without a timeout, it is called here and now.

        Args:
            payload: a coroutine function, or a plain function, which in an async flavour must not block; whatever it
                returns is awaited there if it can be. Keyword arguments go through `functools.partial`.
            args: its positional arguments.
            flavour: the module trio, asyncio or threading, or its name.
            timeout: seconds; None waits for ever.

        Returns:
            What it returns.

        Raises:
            Exception: what it raises. What no supervisor may heal, such as SystemExit, reaches the root as well, but
                where the payload is called here and now: there it is raised in the caller, and nowhere else.
            CallTimeout: it was not done in time, and is cancelled; a thread cannot be, and its result is dropped.
            DaemonStopped: the daemon has ended, or ends meanwhile.
            WouldBlockLane: this is the thread of an event loop; use `await daemon.call(...)`.
            Stopping: in a threading actor that was asked to stop.
            UsageError: it is no such function, or no such flavour.

        Example:
            `daemon.execute(trio.sleep, 0.1, flavour=trio)`
        """
        name = check_payload("execute", payload, flavour, timeout)
        if in_event_loop():
            raise WouldBlockLane(
                f"execute of {payload_name(payload)} on the thread of an event loop, which it would stop;"
                f" use `await daemon.call(...)`"
            )
        if name == "threading" and timeout is None:
            return self._in_this_thread(payload, args)
        slot, errand = self.prepare_call(payload, args)
        try:
            in_time = wait_in_thread(slot, timeout, first=partial(self.send_out, errand, name))
        except BaseException:
            abandon(slot, errand)
            raise
        return result_of(slot, errand, timeout, in_time=in_time)

    @overload
    async def call(
        self, payload: Callable[[Unpack[Ts]], Awaitable[R]], *args: *Ts, flavour: Flavour, timeout: float | None = None
    ) -> R: ...
    @overload
    async def call(
        self, payload: Callable[[Unpack[Ts]], R], *args: *Ts, flavour: Flavour, timeout: float | None = None
    ) -> R: ...
    async def call(self, payload: Any, *args: Any, flavour: Flavour, timeout: float | None = None) -> Any:  # type: ignore[misc]  # TypeVarTuple
        """Run `payload(*args)` in a flavour, and await its result in trio or asyncio: the twin of `execute`.

        In the lane of the caller it is called, and awaited, here and now. To cancel the call cancels the payload.

        Args:
            payload: as for `execute`.
            args: its positional arguments.
            flavour: the module trio, asyncio or threading, or its name.
            timeout: seconds; None waits for ever.

        Returns:
            What it returns.

        Raises:
            Exception, CallTimeout, DaemonStopped, UsageError: as `execute`.

        Example:
            `size = await daemon.call(os.path.getsize, path, flavour=threading)`
        """
        name = check_payload("call", payload, flavour, timeout)
        lane = self.loops.get(name)
        if lane is not None and lane.is_here():
            return await self._in_this_lane(lane, payload, args, timeout)
        slot, errand = self.begin_call(payload, args, name)
        try:
            in_time = await slot.wait(timeout)
        except BaseException:
            abandon(slot, errand)
            raise
        return result_of(slot, errand, timeout, in_time=in_time)

    # -- inside ------------------------------------------------------------------------------------------------------
    def _in_this_thread(self, payload: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if self.calls_over:
            raise DaemonStopped(payload_name(payload))
        result = payload(*args)
        if type(result) is CoroutineType:
            result.close()
            raise no_loop(payload_name(payload))
        return result

    async def _in_this_lane(
        self, lane: LoopLane, payload: Callable[..., Any], args: tuple[Any, ...], timeout: float | None
    ) -> Any:
        if self.calls_over:
            raise DaemonStopped(payload_name(payload))
        result = payload(*args)
        if not isawaitable(result):
            return result
        if timeout is None:
            return await result
        in_time, value = await lane.within(timeout, result)
        if not in_time:
            raise CallTimeout(payload_name(payload), f"not done in {timeout:g} s, and cancelled")
        return value

    def begin_call(
        self, payload: Callable[..., Any], args: tuple[Any, ...], flavour: FlavourName
    ) -> tuple[Slot[Any], Errand]:
        """Have a payload run in a lane, from any thread: where its outcome comes, and what can be cancelled."""
        slot, errand = self.prepare_call(payload, args)
        self.send_out(errand, flavour)
        return slot, errand

    def prepare_call(self, payload: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Slot[Any], Errand]:
        slot: Slot[Any] = Slot()
        context = copy_context()
        if context:
            context.run(here.set, self.services)
        else:  # of a thread that has none, as most foreign ones
            context = self.world.context.copy()
        errand = Errand(None, payload, args, context, self.call_ended)
        self.calls[errand] = slot
        if self.calls_over:  # looked at last: who ends them finds this one, or is seen here
            self.calls.pop(errand, None)
            raise DaemonStopped(errand.path)
        return slot, errand

    def call_ended(self, errand: Errand, value: Any, error: BaseException | None) -> None:
        """In the lane of the payload: it is over."""
        slot = self.calls.pop(errand)
        self.take_back(errand)  # before anybody hears of it, and needs a thread for what comes next
        if error is None:
            slot.put(value)
        elif isinstance(error, Cancelled):
            slot.fail(DaemonStopped(errand.path))  # if not its caller cancelled it, and wants no answer
        else:
            error = as_failure(errand.path, error)
            told, hopeless = slot.fail(error), beyond_healing(error)
            if hopeless:
                error.add_note(f"in the payload {errand.path}")
                self.world.fatal("/", error)
            elif not told:
                log.warning("the payload %s failed when nobody waited for it any more", errand.path, exc_info=error)

    def send_out(self, errand: Errand, flavour: FlavourName) -> None:
        """Have an errand run in a lane of this flavour; from any thread, without waiting for the lane to start."""
        lane: Lane | None = self.loops.get(flavour)
        if flavour == "threading":
            try:
                lane = self.hands.lane()
            except RuntimeError as exc:  # the system has no thread for it
                errand.tell(None, exc)
                return
        if lane is not None:
            errand.go(lane)
        else:
            self.control.post(self.send_late, errand, flavour)

    def send_late(self, errand: Errand, flavour: FlavourName) -> None:
        """In the control lane: this lane does not run yet, or did not just now."""
        if self.calls_over:
            errand.bury()
        else:
            errand.go(self.loops[flavour])

    def take_back(self, errand: Errand) -> None:
        """In the lane of an errand, which is over: its thread may do the next."""
        if isinstance(errand.lane, ThreadLane):
            self.hands.release(errand.lane)

    def thread(self, name: str) -> ThreadLane:
        lane = self.world.thread_lane(name)
        lane.on_broken = self.lane_broke
        return lane

    def errands(self) -> list[Errand]:
        """The payloads that run or are about to, called or adopted, but for those that are actors; in any thread."""
        adopted = [one._errand for one in self.services._running()]
        return [*self.calls.copy(), *(errand for errand in adopted if errand is not None)]

    def end_calls(self) -> None:
        """The tree has ended: who still waits is told at once, and what runs is cancelled."""
        self.calls_over = True
        for errand, slot in self.calls.copy().items():
            slot.fail(DaemonStopped(errand.path))
            errand.cancel()


def abandon(slot: Slot[Any], errand: Errand) -> None:
    """Nobody waits any more, and a result that comes is dropped: the payload is cancelled."""
    slot.claim()
    if not slot.done:
        errand.cancel()


def result_of(slot: Slot[Any], errand: Errand, timeout: float | None, *, in_time: bool) -> Any:
    if not in_time and slot.give_up():
        errand.cancel()
        raise CallTimeout(errand.path, too_late(errand, timeout))
    return slot.take()


def too_late(errand: Errand, timeout: float | None) -> str:
    """What became of a payload that was not done in time, in words."""
    return f"not done in {timeout:g} s, and {'its thread runs on' if errand.in_thread else 'cancelled'}"
