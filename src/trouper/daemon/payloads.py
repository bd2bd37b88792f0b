"""Payloads: functions and coroutine functions that a daemon runs in any flavour, for whoever calls it."""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from functools import partial
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack, overload

import trio

from trouper.actors.flavour import flavour_name
from trouper.actors.hooks import beyond_healing
from trouper.actors.options import is_seconds
from trouper.actors.ref import wait_in_thread
from trouper.errors import CallTimeout, DaemonStopped, SpecError, StrayCancellation, UsageError, WouldBlockLane, show
from trouper.lanes.errand import Errand, no_loop
from trouper.lanes.hands import Hands
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.slot import Slot, in_event_loop
from trouper.lanes.thread_lane import ThreadLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trouper.actors.flavour import Flavour, FlavourName
    from trouper.actors.world import World
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
    loops: dict[str, LoopLane]
    lane_broke: Callable[[Lane, BaseException], None]

    def __init__(self) -> None:
        self.calls: dict[Slot[Any], Errand] = {}
        self.calls_over = False
        self.hands = Hands(self.thread)

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
        slot, errand = self.begin_call(payload, args, name)
        try:
            in_time = wait_in_thread(slot, timeout)
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
            raise late(payload_name(payload), timeout, "cancelled")
        return value

    def begin_call(
        self, payload: Callable[..., Any], args: tuple[Any, ...], flavour: FlavourName
    ) -> tuple[Slot[Any], Errand]:
        """Have a payload run in a lane, from any thread: where its outcome comes, and what can be cancelled."""
        slot: Slot[Any] = Slot()
        errand = Errand(payload_name(payload), payload, args, copy_context(), partial(self.call_ended, slot))
        self.calls[slot] = errand
        if self.calls_over:  # looked at last: who ends them finds this one, or is seen here
            self.calls.pop(slot, None)
            raise DaemonStopped(errand.path)
        self.send_out(errand, flavour)
        return slot, errand

    def call_ended(self, slot: Slot[Any], errand: Errand, value: Any, error: BaseException | None) -> None:
        """In the lane of the payload: it is over."""
        self.calls.pop(slot, None)
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

    def end_calls(self) -> None:
        """The tree has ended: who still waits is told at once, and what runs is cancelled."""
        self.calls_over = True
        for slot, errand in self.calls.copy().items():
            slot.fail(DaemonStopped(errand.path))
            errand.cancel()


def check_payload(call: str, payload: Any, flavour: Any, timeout: Any = None) -> FlavourName:
    """Refuse what cannot be run. Returns the name of the flavour.

    Raises:
        UsageError: the text says what was given, and what is allowed.
    """
    if type(payload) is CoroutineType:
        payload.close()  # nobody will await it
        raise UsageError(
            f"{call}: given a coroutine, allowed: the function that makes it, and its arguments:"
            f" {call}({payload.__name__}, ..., flavour=...)"
        )
    if not callable(payload) or isasyncgenfunction(payload):
        raise UsageError(f"{call}: given {show(payload)}, allowed: a function or a coroutine function")
    try:
        name = flavour_name(flavour, call)
    except SpecError as error:
        raise UsageError(str(error)) from None
    if name == "threading" and iscoroutinefunction(payload):
        raise no_loop(payload_name(payload))
    if timeout is not None and not is_seconds(timeout, zero=True):
        raise UsageError(f"{call}: given timeout={timeout!r}, allowed: seconds, a number of 0 or more, or None")
    return name


def payload_name(payload: Any) -> str:
    """What a payload is called in errors and logs."""
    while isinstance(payload, partial):
        payload = payload.func
    name, module = getattr(payload, "__qualname__", None), getattr(payload, "__module__", None)
    if not isinstance(name, str):
        return show(payload, 80)
    return f"{module}.{name}" if isinstance(module, str) else name  # a method of a built-in type has none


def as_failure(path: str, error: BaseException) -> BaseException:
    """A cancellation that nobody asked for is a failure like others, and tells no loop of another lane anything."""
    if not isinstance(error, trio.Cancelled | asyncio.CancelledError):
        return error
    stray = StrayCancellation(path)
    stray.__cause__ = error
    return stray


def abandon(slot: Slot[Any], errand: Errand) -> None:
    """Nobody waits any more, and a result that comes is dropped: the payload is cancelled."""
    slot.claim()
    if not slot.done:
        errand.cancel()


def result_of(slot: Slot[Any], errand: Errand, timeout: float | None, *, in_time: bool) -> Any:
    if not in_time and slot.give_up():
        errand.cancel()
        raise late(errand.path, timeout, "its thread runs on" if errand.in_thread else "cancelled")
    return slot.take()


def late(payload: str, timeout: float | None, fate: str) -> CallTimeout:
    return CallTimeout(payload, f"not done in {timeout:g} s, and {fate}")
