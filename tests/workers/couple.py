"""Two daemons that know each other as processes do, over a real socket, here in one process.

`there` has its actors below /there, as a worker has them below its own place; `here` is the parent.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from trouper import Child, Daemon, Event, Ref, Supervisor, UsageError, one_for_one, open_daemon
from trouper.actors.definition import definition_of
from trouper.lanes.slot import Slot
from trouper.workers.link import Wire
from trouper.workers.peer import Office, Peer
from trouper.workers.waiting import Gate, WiredLane

T = TypeVar("T")
PATIENCE = 20.0  # seconds: only a failing test waits so long


@attrs.define
class Side:
    """One of the two."""

    daemon: Daemon
    wire: Wire
    office: Office
    peer: Peer
    lost: Slot[BaseException | None]
    told: list[tuple[str, bytes]]


@attrs.define
class Couple:
    here: Side
    there: Side

    def ref(self, path: str, cls: Any, **options: Any) -> Ref[Any]:
        """The ref, here, of an actor there."""
        return self.here.peer.ref(f"/there/{path}", definition_of(cls), **options)

    def connect(self) -> None:
        ours, theirs = socket.socketpair()
        self.there.peer.attach(theirs)
        self.here.peer.attach(ours)

    async def disconnect(self) -> None:
        """As if `there` had died."""
        link = self.there.peer.link
        assert link is not None
        link.close()
        with trio.fail_after(PATIENCE):
            await self.here.lost.wait()
            await self.there.lost.wait()


def local_of(daemon: Daemon) -> Callable[[str], Ref[Any] | None]:
    def local(path: str) -> Ref[Any] | None:
        try:
            return daemon.ref_at(path)
        except UsageError:
            return None

    return local


def side(daemon: Daemon, name: str, *, wired: bool) -> Side:
    wire = Wire(f"wire of {name}")
    office = Office(local_of(daemon))
    lost: Slot[BaseException | None] = Slot()
    told: list[tuple[str, bytes]] = []
    peer = Peer(
        name,
        daemon.world,
        wire,
        find=office.find,
        local=office.local,
        on_control=lambda name, payload: told.append((name, payload)),
        on_lost=lost.put,
    )
    wire.start()
    if wired:
        daemon.loops.listen(partial(Gate, wire))
    return Side(daemon, wire, office, peer, lost, told)


@asynccontextmanager
async def couple(
    *there: Child[Any] | Supervisor, here: tuple[Child[Any], ...] = (), connected: bool = True, wired: bool = False
) -> AsyncIterator[Couple]:
    """Run both.

    Args:
        there: the actors there.
        here: the actors here.
        connected: whether there is a link from the beginning.
        wired: whether loops, and threading actors there, read the wire while they wait, as in real processes.
    """
    below = one_for_one(one_for_one(*there, name="there"))
    async with open_daemon(one_for_one(*here)) as first, open_daemon(below) as second:
        ours, theirs = side(first, "/there", wired=wired), side(second, "the parent", wired=wired)
        ours.office.peers["/there"] = ours.peer
        theirs.office.home = theirs.peer
        two = Couple(ours, theirs)
        if wired:
            second.world.thread_lane = lambda name: WiredLane(name, theirs.wire)
            assert (await second.terminate("/there"), await second.restart("/there")) == ("ok", "ok")
        if connected:
            two.connect()
        try:
            yield two
        finally:
            for wire in (ours.wire, theirs.wire):
                wire.close()
                wire.thread.join(PATIENCE)


def run(body: Callable[[], Awaitable[object]]) -> None:
    """Run a test."""

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            await body()

    trio.run(main)


class Heard:
    """The events of a daemon, as they come; `until` waits for one."""

    def __init__(self, daemon: Daemon, *kinds: type[Event]) -> None:
        self.events: list[Any] = []
        self.bell = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def hear(event: Event) -> None:
            self.events.append(event)
            token.run_sync_soon(self.ring)

        daemon.subscribe(hear, *kinds)

    def ring(self) -> None:
        self.bell.set()
        self.bell = trio.Event()

    async def until(self, holds: Callable[[list[Any]], object]) -> list[Any]:
        while not holds(self.events):
            await self.bell.wait()
        return self.events
