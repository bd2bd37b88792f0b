"""`open_daemon`: a daemon inside somebody else's trio or asyncio program.

The host's loop is the lane of its flavour, and the control lane runs in a thread. Such a daemon never ends the
process and touches no signal.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

import trio

from trouper.daemon.daemon import Daemon
from trouper.daemon.exits import OK
from trouper.daemon.notify import tell_systemd
from trouper.daemon.services import here
from trouper.errors import DaemonFailed
from trouper.lanes.asyncio_lane import AsyncioLane, own_task
from trouper.lanes.slot import in_asyncio
from trouper.lanes.trio_lane import TrioLane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from trouper.daemon.before import Hook
    from trouper.daemon.notify import Systemd
    from trouper.daemon.services import Services
    from trouper.lanes.loop_lane import Ear
    from trouper.supervision.spec import Child, Supervisor


THREADS_END = 0.5  # seconds for a thread to end that has nothing to do any more


class open_daemon:  # noqa: N801 - used like a function
    """Run a tree as long as an `async with` block, in a trio or an asyncio program.

    Args:
        tree: a supervisor, or one child; None for services alone.
        services: what is run beside the tree; None for new ones. Instances of services that are made in the block are
            among them.
        stop_within: seconds for the whole stop.
        stall_after: seconds without a turn after which a lane is reported.
        notify: whether systemd, if it started the process, is told of this daemon as `run` tells it: ready, stopping,
            counts and watchdog.
        hooks: what is done before a step of the daemon goes on, see `before`.

    The block is entered, with the `Daemon`, when the tree is ready. When it is left, however it is left, the tree is
    stopped, and the block's own exception goes on as it is. If a failure reaches the root, the block is cancelled.
    Whoever cancels the block waits until the tree is stopped.

    Raises:
        SpecError: the tree or an option is wrong.
        UsageError: a daemon runs these services already.
        DaemonFailed: a failure reached the root; its cause is the failure.

    Example:
        ```python
        async with open_daemon(tree) as daemon:
            print(await averages.ref.ask(Mean("load")))
        ```
    """

    def __init__(
        self,
        tree: Child[Any] | Supervisor | None = None,
        *,
        services: Services | None = None,
        stop_within: float = 60.0,
        stall_after: float = 5.0,
        notify: bool = False,
        hooks: Iterable[Hook] = (),
    ) -> None:
        self._tree, self._services, self._notify, self._hooks = tree, services, notify, hooks
        self._stop_within, self._stall_after = stop_within, stall_after
        self._systemd: Systemd | None = None

    async def __aenter__(self) -> Daemon:
        self._daemon = daemon = Daemon(
            self._tree,
            services=self._services,
            stop_within=self._stop_within,
            stall_after=self._stall_after,
            hooks=self._hooks,
        )
        if self._notify:
            self._systemd = tell_systemd(daemon, os.environ)
        self._host = host = AsyncioHost(daemon) if in_asyncio() else TrioHost(daemon)
        daemon.loops[host.lane.flavour] = host.lane
        host.lane.on_broken = daemon.lane_broke
        self._thread = Thread(target=trio.run, args=(daemon.main,), name="trouper control", daemon=True)
        self._thread.start()
        try:
            await host.shielded(host.open)
            await daemon.ready.wait()
        except BaseException:
            await self._finish()
            raise
        if self._failed:
            await self._finish()
            raise self._failure()
        self._token = here.set(daemon.services)
        host.enter_body()
        daemon.on_failed = host.failed_from_control
        if self._failed:
            host.failed_from_control()
        return daemon

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # the block is left in another context, as that of a fixture
            here.reset(self._token)
        try:
            cancelled_by_us = self._host.leave_body(kind, error, trace)
        finally:
            await self._finish()
        if self._failed and (error is None or cancelled_by_us):
            raise self._failure()

    async def _finish(self) -> None:
        """Stop the tree and wait for that, whoever cancels us meanwhile."""
        self._daemon.stop("the block is left")
        await self._host.shielded(self._end)

    async def _end(self) -> None:
        await self._daemon.over.wait()
        if self._systemd is not None:
            self._systemd.ended()
        self._host.lane.close()
        await self._host.closed()
        for thread in (self._thread, *self._daemon.threads, *self._daemon.idle_threads):
            thread.join(THREADS_END)

    @property
    def _failed(self) -> bool:
        return self._daemon.code != OK or self._daemon.cause is not None

    def _failure(self) -> DaemonFailed:
        daemon = self._daemon
        failure = DaemonFailed(daemon.code, daemon.said)
        failure.__cause__ = daemon.cause
        return failure


class TrioHost:
    """A trio program; the lane is a system task, which the host's cancellation does not reach."""

    def __init__(self, daemon: Daemon) -> None:
        self.lane = TrioLane("trio")
        self.daemon = daemon
        self.ended = trio.Event()

    async def open(self) -> None:
        started = trio.Event()
        self.token = trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(self.run_lane, started)
        await started.wait()

    async def run_lane(self, started: trio.Event) -> None:
        try:
            await self.lane.main(started.set)
        except Exception as exc:  # noqa: BLE001 - a system task must not raise
            self.daemon.lane_broke(self.lane, exc)
        finally:
            started.set()
            self.ended.set()

    def enter_body(self) -> None:
        self.scope = trio.CancelScope()
        self.scope.__enter__()

    def failed_from_control(self) -> None:
        """In the control lane: a failure ends the block."""
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self.scope.cancel)

    def leave_body(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return bool(self.scope.__exit__(kind, error, trace))

    async def shielded(self, fn: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope(shield=True):
            await fn()

    async def closed(self) -> None:
        with trio.move_on_after(THREADS_END):  # a shielded handler that never ends keeps its loop, not our caller
            await self.ended.wait()


class AsyncioHost:
    """An asyncio program; the lane is a task beside the host's."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.loop = asyncio.get_running_loop()
        self.body = own_task()
        self.lane = HostedLane(self.body)
        self.started = asyncio.Event()
        self.main = self.loop.create_task(self.run_lane())
        self.inside = self.cancelled = False

    async def open(self) -> None:
        await self.started.wait()

    async def run_lane(self) -> None:
        try:
            await self.lane.main(self.started.set)
        except Exception as exc:  # noqa: BLE001 - nobody awaits its result
            self.daemon.lane_broke(self.lane, exc)
        finally:
            self.started.set()

    def enter_body(self) -> None:
        self.inside, self.asked_before = True, self.body.cancelling()

    def failed_from_control(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self.cancel_body)

    def cancel_body(self) -> None:
        """In the loop, between two steps of the body, which therefore sees it."""
        if self.inside and not self.cancelled:
            self.cancelled = True
            self.body.cancel()

    def leave_body(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """As `asyncio.timeout` tells its own cancellation from the host's."""
        self.inside = False
        only_ours = self.cancelled and self.body.uncancel() <= self.asked_before
        return only_ours and isinstance(error, asyncio.CancelledError)

    async def shielded(self, fn: Callable[[], Awaitable[object]]) -> None:
        """Wait for `fn`, called anew after a cancellation of the host, which is kept for later."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                await fn()
                break
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled

    async def closed(self) -> None:
        await asyncio.wait([self.main])


class HostedLane(AsyncioLane):
    """The lane in the host's loop. `asyncio.run` cancels all tasks at its end; the tree stops in order even then."""

    def __init__(self, body: asyncio.Task[Any]) -> None:
        super().__init__("asyncio")
        self.body = body

    def begin_to_listen(self, ear: Ear) -> None:
        """The host's loop is left as it is."""

    async def until_closed(self) -> None:
        while not (self.closing.is_set() or self.body.done()):
            with suppress(asyncio.CancelledError):
                await self.closing.wait()
