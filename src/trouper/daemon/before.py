"""Hooks: what is done *before* a step of the daemon goes on.

A listener hears of an event; a hook holds up what the event tells of, until it has returned or its timeout is over:

| before | waits |
|---|---|
| `DaemonReady` | the start of services, and the word that the tree is up: the record, the event, what systemd hears |
| `DaemonStopping` | the stop of services and of the tree, which run as ever meanwhile |
| `DaemonReloading` | the first `on_reload` |
| `Restarting` | the restart of a child that has ended |

A hook is a payload, run in the lane of its flavour, never in the control lane. Those before one step run one after the
other, in the order in which they were given. One that fails or takes too long is logged and told by `HookFailed`, and
the step goes on; one that is `vital` ends the daemon. Nothing waits for hooks longer than that: a stop ends those
before all other steps, a failure those before the stop, and the deadline for the whole stop counts from its beginning.
"""

from __future__ import annotations

import logging
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio

from trouper.actors.hooks import beyond_healing
from trouper.actors.options import is_bool, is_seconds
from trouper.daemon.payload import check_payload
from trouper.daemon.payloads import abandon, too_late
from trouper.errors import HookTimeout, SpecError, type_name
from trouper.events import DaemonReady, DaemonReloading, DaemonStopping, HookFailed, Restarting, is_under
from trouper.lanes.errand import payload_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trouper.actors.flavour import Flavour, FlavourName
    from trouper.daemon.daemon import Daemon
    from trouper.events import Event

log = logging.getLogger("trouper")

E = TypeVar("E", DaemonReady, DaemonStopping, DaemonReloading, Restarting)

STEPS: Final = (DaemonReady, DaemonStopping, DaemonReloading, Restarting)


@attrs.frozen(eq=False)
class Hook:
    """What is done before a step of the daemon goes on. Made by `before`.

    Args:
        kind: the class of the event that tells of the step.
        payload: what is called with the event.
        flavour: where.
        timeout: seconds that the step waits for it.
        vital: whether its failure ends the daemon.
        under: the place of the tree that it is about.
    """

    kind: type[Event]
    payload: Callable[[Any], object]
    flavour: FlavourName
    timeout: float
    vital: bool
    under: str

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return payload_name(self.payload)


def before(
    kind: type[E],
    payload: Callable[[E], object],
    *,
    flavour: Flavour,
    timeout: float = 5.0,
    vital: bool = False,
    under: str = "/",
) -> Hook:
    """Have `payload(event)` done before what the event tells of goes on: for `run(tree, hooks=[...])` or `Daemon.hook`.

    Args:
        kind: `DaemonReady`, `DaemonStopping`, `DaemonReloading` or `Restarting`.
        payload: a coroutine function, or a plain function, which in an async flavour must not block.
        flavour: where it runs: the module trio, asyncio or threading, or its name.
        timeout: seconds that the step waits for it at most. Then it is cancelled; a thread is left behind.
        vital: whether its failure, or its timeout, is one of the daemon, which ends with 70.
        under: for `Restarting`: only of children at this place of the tree, or below it.

    Returns:
        A value for one daemon or several.

    Raises:
        SpecError: this is no such step, or an option is wrong.
        UsageError: it is no such function, or no such flavour.

    Example:
        `run(tree, hooks=[before(DaemonStopping, leave_the_balancer, flavour=trio, timeout=10.0)])`
    """
    for name, value, right, allowed in (
        ("kind", kind, kind in STEPS, " | ".join(step.__name__ for step in STEPS)),
        ("timeout", timeout, is_seconds(timeout, zero=False), "seconds: a number above 0, or math.inf"),
        ("vital", vital, is_bool(vital), "True | False"),
        ("under", under, isinstance(under, str), "a path, as '/readers'"),
    ):
        if not right:
            raise SpecError("before(...)", name, value, allowed)
    return Hook(kind, payload, check_payload("before", payload, flavour), timeout, vital, under)


class Hooks:
    """The hooks of one daemon. Any thread may call."""

    def __init__(self, daemon: Daemon, hooks: Iterable[Hook]) -> None:
        self.daemon = daemon
        self.active: tuple[Hook, ...] = ()
        self.changing = Lock()
        self.under_way: dict[trio.CancelScope, type[Event]] = {}
        for hook in hooks:
            self.add(hook)

    def add(self, hook: Hook) -> None:
        if not isinstance(hook, Hook):
            raise SpecError("the daemon", "hooks", hook, "what `before(...)` returns")
        with self.changing:
            self.active = (*self.active, hook)

    def remove(self, hook: Hook) -> None:
        with self.changing:
            self.active = tuple(one for one in self.active if one is not hook)

    def first(self, event: Event, then: Callable[[], object]) -> bool:
        """Have `then()` called once the hooks before this event are over; False: there are none, and it is not."""
        hooks = [hook for hook in self.active if hook.kind is type(event) and is_under(event, hook.under)]
        if hooks:
            self.daemon.control.do(self.begin, event, hooks, then)
        return bool(hooks)

    # -- in the control lane -----------------------------------------------------------------------------------------
    def begin(self, event: Event, hooks: list[Hook], then: Callable[[], object]) -> None:
        daemon, scope = self.daemon, trio.CancelScope()
        if daemon.stop_why is not None and type(event) is not DaemonStopping:
            then()
            return
        self.under_way[scope] = type(event)
        daemon.control.start_task(self.work, (scope, event, hooks), partial(self.over, scope, then))

    def over(self, scope: trio.CancelScope, then: Callable[[], object], _: object, error: BaseException | None) -> None:
        del self.under_way[scope]
        if error is not None:
            raise error  # a bug of ours, which ends the control lane
        then()

    def cut(self, *kinds: type[Event]) -> None:
        """Wait no longer for those before such events."""
        for scope, kind in self.under_way.items():
            if kind in kinds:
                scope.cancel()

    async def work(self, scope: trio.CancelScope, event: Event, hooks: list[Hook]) -> None:
        with scope:
            for hook in hooks:
                if self.daemon.calls_over:  # the tree has ended by itself meanwhile
                    return
                error = await self.outcome(hook, event)
                if error is not None and not self.daemon.calls_over:
                    self.failed(hook, error)
                if scope.cancel_called:
                    return

    async def outcome(self, hook: Hook, event: Event) -> BaseException | None:
        """Run it, and return what went wrong."""
        slot, errand = self.daemon.begin_call(hook.payload, (event,), hook.flavour)
        try:
            if not await slot.wait(hook.timeout) and slot.give_up():
                errand.cancel()
                return HookTimeout(hook.name, too_late(errand, hook.timeout))
        except trio.Cancelled:
            abandon(slot, errand)
            raise
        try:
            slot.take()
        except BaseException as exc:  # noqa: BLE001 - judged by who asked; below
            return exc
        return None

    def failed(self, hook: Hook, error: BaseException) -> None:
        """Say it; if it is vital, the failure is the daemon's."""
        daemon, step = self.daemon, type_name(hook.kind).rpartition(".")[2]
        log.error("the hook %s before %s failed: %r", hook.name, step, error, exc_info=error)
        if daemon.world.bus.active:
            daemon.world.bus.publish(HookFailed(hook.name, step, error))
        if hook.vital:
            error.add_note(f"in the hook {hook.name} before {step}")
        if hook.vital or beyond_healing(error):
            daemon.world.stopping = True
            daemon.escalate("/", error)  # now, before the step goes on
