"""Spawned children in numbers: seconds for each to start, to crash and be restarted, and to stop.

```
python benchmarks/spawned.py                         # 10,000, 30,000 and 100,000 children, in both lanes
python benchmarks/spawned.py --lane trio 10000 20000
```

What becomes of one child takes the same time however many there are, so the figures of a column should be alike, but
for what the caches of the machine cost. Prints a line of JSON for each size, and the ratio of the last to the first.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import subprocess
import sys
from typing import Any

import trio
from common import GC_CHOICES, expect, now, resident, say

from trouper import Limit, Message, Ref, Request, actor, child, current, one_for_one, open_daemon

SIZES = (10_000, 30_000, 100_000)
STEPS = ("start", "crash", "stop")


class Fail(Message):
    """Raise."""


class Fill(Request[bool]):
    """Spawn so many children."""

    count: int


class Count:
    """Counts to a number, in one lane, and tells another when it is there."""

    def __init__(self) -> None:
        self.reached, self.goal = 0, 0
        self.bell = trio.Event()
        self.token = trio.lowlevel.current_trio_token()

    def one(self) -> None:
        self.reached += 1
        if self.reached == self.goal:
            self.token.run_sync_soon(self.bell.set)

    async def until(self, goal: int) -> None:
        self.goal, self.bell = goal, trio.Event()
        if self.reached < goal:
            await self.bell.wait()


def classes(lane: Any) -> tuple[Any, Any]:
    """A child that counts its starts, and the actor that spawns it."""

    @actor(flavour=lane)
    class Worker:
        count: Count

        def __attrs_post_init__(self) -> None:
            self.count.one()

        async def receive(self, _message: Fail) -> None:
            raise ValueError

    @actor(flavour=lane, accepts=Fill)
    class Spawner:
        count: Count
        refs: list[Ref[Fail]]

        async def receive(self, message: Fill) -> bool:
            me = current(self)
            for _ in range(message.count):
                self.refs.append(me.spawn(child(Worker, self.count)))
            return True

    return Worker, Spawner


async def measure(lane: str, n: int) -> dict[str, float]:
    """Seconds for each of `n` children, for each of the steps."""
    count, refs = Count(), []
    _, spawner = classes(lane)
    boss = child(spawner, count, refs).options(name="boss", shutdown=600.0)
    took = {}
    async with open_daemon(one_for_one(boss, restarts=Limit(0, within=1.0)), stop_within=600.0) as daemon:
        begin = now()
        await boss.ref.ask(Fill(n), timeout=None)
        await count.until(n)
        took["start"] = now() - begin
        begin = now()
        for number, ref in enumerate(refs):
            ref.send(Fail())
            if number % 1000 == 0:
                await trio.lowlevel.checkpoint()
        await count.until(2 * n)
        took["crash"] = now() - begin
        expect(count.reached, 2 * n)
        expect(len((await daemon.tree()).find("/boss").children), n)  # type: ignore[union-attr]
        begin = now()
        await daemon.terminate("/boss")
        took["stop"] = now() - begin
    return {step: seconds / n for step, seconds in took.items()}


def run_one(lane: str, n: int, collector: str) -> None:
    """In a process of its own."""
    logging.getLogger("trouper").setLevel(logging.CRITICAL + 1)  # a hundred thousand tracebacks are another subject
    thresholds = GC_CHOICES[collector]
    if thresholds is not None:
        gc.set_threshold(*thresholds)
    took = trio.run(measure, lane, n)
    figures = {f"{step}_us": round(seconds * 1e6, 2) for step, seconds in took.items()}
    say(json.dumps({"lane": lane, "n": n, **figures, "gc": collector, "rss_bytes": resident()}))


def main() -> None:
    """Every size in a process of its own."""
    arguments = argparse.ArgumentParser(description="Spawned children in numbers.")
    arguments.add_argument("sizes", type=int, nargs="*", default=SIZES)
    arguments.add_argument("--lane", choices=["trio", "asyncio"], action="append")
    arguments.add_argument("--gc", choices=GC_CHOICES, default="default", help="thresholds of the cyclic collector")
    arguments.add_argument("--here", action="store_true", help="measure in this process")
    chosen = arguments.parse_args()
    for lane in chosen.lane or ["trio", "asyncio"]:
        rows = []
        for n in chosen.sizes:
            if chosen.here:
                run_one(lane, n, chosen.gc)
                continue
            command = [sys.executable, __file__, "--here", "--lane", lane, "--gc", chosen.gc, str(n)]
            line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603 - ourselves
            sys.stdout.write(line)
            rows.append(json.loads(line))
        if len(rows) > 1:
            ratios = {step: round(rows[-1][f"{step}_us"] / rows[0][f"{step}_us"], 2) for step in STEPS}
            say(json.dumps({"lane": lane, "ratio": ratios}))


if __name__ == "__main__":
    main()
