"""`open_daemon`: a daemon inside somebody else's trio or asyncio program.

The host's loop is the lane of its flavour, and the control lane runs in a thread. Such a daemon never ends the process and touches
no signal.
"""

from __future__ import annotations

import asyncio
from threading import Thread
from typing import TYPE_CHECKING, Any

import trio

from trouper.daemon.daemon import Daemon
from trouper.errors import DaemonFailed
from trouper.lanes.asyncio_lane import AsyncioLane
from trouper.lanes.slot import Slot, in_asyncio
from trouper.lanes.trio_lane import TrioLane

if TYPE_CHECKING:
    from types import TracebackType

    from trouper.supervision.spec import Child, Supervisor


class open_daemon:  # noqa: N801 - used like a function
    """Run a tree as long as an `async with` block, in a trio or an asyncio program.

    Args:
        tree: a supervisor, or one child.
        stop_within: seconds for the whole stop.
        stall_after: seconds without a turn after which a lane is reported.

    The block is entered when the tree is ready. When it is left, however it is left, the tree is stopped, and the block's own
    exception goes on as it is. If a failure reaches the root, the block is cancelled.

    Raises:
        SpecError: the tree is wrong.
        DaemonFailed: a failure reached the root; its cause is the failure.

    Example:
        ```python
        async with open_daemon(tree) as daemon:
            print(await averages.ref.ask(Mean("load")))
        ```
    """

    def __init__(self, tree: Child[Any] | Supervisor, *, stop_within: float = 60.0, stall_after: float = 5.0) -> None:
        self._tree = tree
        self._options = {"stop_within": stop_within, "stall_after": stall_after}

    async def __aenter__(self) -> Daemon:
        self._daemon = daemon = Daemon(self._tree, **self._options)
        self._host = host = AsyncioHost(daemon) if in_asyncio() else TrioHost(daemon)
        daemon.loops[host.lane.flavour] = host.lane
        host.lane.on_broken = daemon.lane_broke
        await host.open()
        self._thread = Thread(target=trio.run, args=(daemon.main,), name="trouper control", daemon=True)
        self._thread.start()
        try:
            await daemon.ready.wait()
        except BaseException:
            await self._finish()
            raise
        if daemon.over.done or daemon.cause is not None:
            await self._finish()
            raise self._failure()
        daemon.on_stopping = host.stopping_from_control
        host.enter_body()
        if daemon.stop_why is not None:
            host.stopping_from_control()
        return daemon

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        cancelled_by_us = self._host.leave_body(kind, error, trace)
        await self._finish()
        if self._daemon.code and (error is None or cancelled_by_us):
            raise self._failure()
        return cancelled_by_us

    async def _finish(self) -> None:
        """Stop the tree and wait for that, whoever cancels us meanwhile."""
        self._daemon.stop("the block is left")
        await self._host.wait_shielded(self._daemon.over)
        await self._host.close()
        self._thread.join(2.0)

    def _failure(self) -> DaemonFailed:
        daemon = self._daemon
        failure = DaemonFailed(daemon.code, f"{daemon.cause}" if daemon.cause is not None else "it did not stop in time")
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
            self.ended.set()

    def enter_body(self) -> None:
        self.scope = trio.CancelScope()
        self.scope.__enter__()

    def stopping_from_control(self) -> None:
        """In the control lane: a failure ends the block."""
        if self.daemon.cause is not None:
            self.token.run_sync_soon(self.scope.cancel)

    def leave_body(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        return bool(self.scope.__exit__(kind, error, trace))

    async def wait_shielded(self, slot: Slot[None]) -> None:
        with trio.CancelScope(shield=True):
            await slot.wait()

    async def close(self) -> None:
        with trio.CancelScope(shield=True):
            self.lane.close()
            await self.ended.wait()


class AsyncioHost:
    """An asyncio program; the lane is a task beside the host's."""

    def __init__(self, daemon: Daemon) -> None:
        self.lane = AsyncioLane("asyncio")
        self.daemon = daemon
        self.cancelled = False

    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self.body = task
        started = asyncio.Event()
        self.main = self.loop.create_task(self.lane.main(started.set))
        await started.wait()

    def enter_body(self) -> None:
        """The body is the host's own task."""

    def stopping_from_control(self) -> None:
        if self.daemon.cause is not None:
            self.loop.call_soon_threadsafe(self.cancel_body)

    def cancel_body(self) -> None:
        if not self.daemon.over.done or not self.main.done():
            self.cancelled = True
            self.body.cancel()

    def leave_body(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self.daemon.on_stopping = lambda: None
        if self.cancelled:
            self.body.uncancel()
        return self.cancelled and isinstance(error, asyncio.CancelledError)

    async def wait_shielded(self, slot: Slot[None]) -> None:
        await self.shielded(self.loop.create_task(slot_wait(slot)))

    async def close(self) -> None:
        self.lane.close()
        await self.shielded(self.main)

    async def shielded(self, task: asyncio.Task[Any]) -> None:
        """Wait for a task, and keep a cancellation of the host for later."""
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.shield(asyncio.wait([task]))
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled


async def slot_wait(slot: Slot[None]) -> None:
    await slot.wait()
