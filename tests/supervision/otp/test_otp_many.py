"""Many lives and many children: nothing is left behind, and one costs what another does."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import tracemalloc
from collections import Counter
from contextvars import Context
from functools import partial
from operator import eq
from typing import Any

import pytest

from tests.actors.stage import Boom, Diary, FlavourName, Gate, Host, Note, ask, role, turn
from tests.supervision.otp.players import End, Who
from trouper import Child, Daemon, Limit, Request, child, current, one_for_one
from trouper.actors.world import MANY, World
from trouper.events import ActorEnded, ActorStarted
from trouper.lanes.asyncio_lane import AsyncioLane
from trouper.lanes.trio_lane import TrioLane

BYTES = 200.0  # of a life that may stay; a cell, a task or an exception that were kept of one would take more
EVER = Limit(1000, within=1e-6)  # of uptime: nothing counts for long


# -- a thousand lives of one actor -------------------------------------------------------------------------------------
def fragile(flavour: FlavourName, up: Diary) -> Child[Any]:
    """It suspends, has a background task where there is such a thing, and crashes."""

    @role(flavour)
    class Fragile:
        async def on_start(self) -> None:
            await turn(self)
            if flavour != "threading":
                current(self).start_soon(current(self).sleep, 1e6)
            up.entries[:] = []
            up(current(self).generation)

        async def receive(self, message: End | Who) -> int:
            await turn(self)
            if isinstance(message, Who):
                return current(self).generation
            raise Boom

        async def on_stop(self, reason: Any) -> None:
            await turn(self)

    return child(Fragile).options(backoff=None)


def held(daemon: Daemon) -> dict[str, int]:
    """What a life could leave behind, counted."""
    gc.collect()
    counts = {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names are enough
        "deaths": len(daemon.root.deaths.open),
    }
    for lane in daemon.loops.values():
        if isinstance(lane, AsyncioLane):
            counts["asyncio tasks"] = len(asyncio.all_tasks(lane.loop))
        elif isinstance(lane, TrioLane):
            counts["trio tasks"] = len(lane.nursery.child_tasks)
            counts["trio timers"] = len(lane.timers._heap) // 100
    counts["control tasks"] = len(daemon.control.nursery.child_tasks)
    counts["control timers"] = len(daemon.control.timers._heap) // 100  # up to 64 cancelled ones stay
    return counts


async def lives(daemon: Daemon, one: Child[Any], up: Diary, count: int) -> None:
    """Have it crash and come back so often, each time after it was up."""
    life = await ask(one.ref, Who())
    for n in range(life + 1, life + 1 + count):
        one.ref.send(End())
        await up.until(partial(eq, [n]))
    assert await ask(one.ref, Who()) == life + count
    while (await daemon.children()) != [("fragile", "running")]:
        pass


def crash_and_restart(flavour: FlavourName, host: Host, warm: int, count: int) -> float:
    """Bytes per life that are kept; everything else must be what it was."""
    up = Diary()
    one = fragile(flavour, up)
    kept: list[float] = []

    async def body(daemon: Daemon) -> None:
        await lives(daemon, one, up, warm)
        before = held(daemon)
        begin = tracemalloc.get_traced_memory()[0]
        await lives(daemon, one, up, count)
        assert grown(held(daemon), before) == {}
        kept.append((tracemalloc.get_traced_memory()[0] - begin) / count)

    logging.getLogger("trouper").disabled = True  # pytest keeps every record, with its traceback
    try:
        host.run(one_for_one(one, restarts=EVER), body)
    finally:
        logging.getLogger("trouper").disabled = False
    return kept[0]


def grown(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """What there is more of; idle threads of other tests may have ended meanwhile."""
    return {what: count - before[what] for what, count in now.items() if count > before[what]}


def test_a_hundred_lives_leave_tasks_threads_and_files_as_they_were(flavour: FlavourName, host: Host) -> None:
    crash_and_restart(flavour, host, 20, 100)


@pytest.mark.long
def test_a_thousand_lives_leave_tasks_threads_files_and_memory_as_they_were(flavour: FlavourName, host: Host) -> None:
    tracemalloc.start()
    try:
        assert crash_and_restart(flavour, host, 200, 1000) < BYTES
    finally:
        tracemalloc.stop()


# -- many spawned children ---------------------------------------------------------------------------------------------
class Fill(Request[bool]):
    """Spawn so many."""

    count: int


def crowd(flavour: FlavourName, refs: list[Any]) -> Child[Any]:
    @role(flavour)
    class Worker:
        async def receive(self, message: End) -> None:
            raise Boom

    @role(flavour, accepts=Fill)
    class Parent:
        async def receive(self, message: Fill) -> bool:
            refs.extend(current(self).spawn(child(Worker)) for _ in range(message.count))
            return True

    return child(Parent).options(name="parent", shutdown=60.0)


def counted(daemon: Daemon, *kinds: Any) -> tuple[Counter[Any], Diary]:
    """How often each kind of event came, and a diary that is told at every thousandth."""
    counts: Counter[Any] = Counter()
    thousands = Diary()
    lock = threading.Lock()

    def heard(event: Any) -> None:
        with lock:
            counts[type(event), event.path, event.generation] += 1
            if len(counts) % 1000 == 0:
                thousands(len(counts))

    daemon.subscribe(heard, *kinds)
    return counts, thousands


def test_two_thousand_spawned_children_start_crash_once_and_stop_once_each(loop_flavour: FlavourName) -> None:
    refs: list[Any] = []
    parent = crowd(loop_flavour, refs)

    async def body(daemon: Daemon) -> None:
        counts, thousands = counted(daemon, ActorStarted, ActorEnded)
        await ask(parent.ref, Fill(2000))
        await thousands.until(2)
        for ref in refs:
            ref.send(End())
        await thousands.until(6)
        tree = (await daemon.tree()).find("/parent")
        assert tree is not None
        assert Counter(node.generation for node in tree.children) == {2: 2000}
        assert await daemon.terminate("/parent") == "ok"
        del counts[ActorEnded, "/parent", 1]
        paths = [f"/parent/worker-{n}" for n in range(1, 2001)]
        assert counts == Counter(
            (kind, path, life) for path in paths for kind in (ActorStarted, ActorEnded) for life in (1, 2)
        )
        assert (await daemon.tree()).find("/parent/worker-1") is None

    logging.getLogger("trouper").disabled = True  # four thousand tracebacks are another subject
    try:
        Host("trio").run(one_for_one(parent), body)
    finally:
        logging.getLogger("trouper").disabled = False


def test_the_lane_has_turns_for_others_while_two_thousand_children_are_stopped(loop_flavour: FlavourName) -> None:
    refs: list[Any] = []
    parent = crowd(loop_flavour, refs)
    ended: list[int] = []
    seen_at: set[int] = set()

    @role(loop_flavour)
    class Neighbour:
        async def receive(self, message: Note) -> None:
            seen_at.add(len(ended))
            if len(ended) < 2000:
                await turn(self)
                current(self).self_ref.send(Note())
            else:
                done.open()

    neighbour, done = child(Neighbour), Gate()

    async def body(daemon: Daemon) -> None:
        await ask(parent.ref, Fill(2000))
        daemon.subscribe(lambda event: ended.append(1) if "/worker" in event.path else None, ActorEnded)
        neighbour.ref.send(Note())
        assert await daemon.terminate("/parent") == "ok"
        await done.passed()

    Host("trio").run(one_for_one(parent, neighbour), body)
    assert len(seen_at) >= 10, "it saw the number of the ended grow"


def test_the_records_of_many_actors_are_looked_through_seldom() -> None:
    """Else each dead letter of a new actor costs a look at those of all others."""
    never: Any = None
    world = World(lane=never, control=never, fatal=never, spawner=never, context=Context(), clock=lambda: 1.0)
    looks: list[int] = []
    look = world.forget_quiet

    def counting(now: float) -> None:
        looks.append(len(world.quiet_until))
        look(now)

    world.forget_quiet = counting  # type: ignore[method-assign]
    for n in range(16 * MANY):
        ref: Any = Named(f"/a{n}")
        world.report(logging.DEBUG, ref, "dead letter", "")
    assert looks == [MANY, 2 * MANY, 4 * MANY, 8 * MANY]


class Named:
    """As much of a ref as a log record wants to know."""

    cell = None
    flavour = "trio"

    def __init__(self, path: str) -> None:
        self.path = path
        self.definition = self
