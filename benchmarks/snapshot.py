"""How long `daemon.tree()` takes with 10,000 children below one supervisor, one of which hangs in its restart.

```
python benchmarks/snapshot.py            # the children declared in the tree, and spawned by an actor
python benchmarks/snapshot.py --n 100000
```

Prints a line of JSON for each: milliseconds from the call to the answer, with the way through the control lane.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
from statistics import median
from typing import Any

import trio
from common import expect, now, say

from trouper import Message, Request, actor, child, current, one_for_one, open_daemon
from trouper.events import Restarting

ROUNDS = 21


class Fail(Message):
    """Raise."""


class Fill(Request[bool]):
    """Spawn so many children, and one that hangs when it is restarted."""

    count: int


@actor(flavour=trio)
class Idle:
    """One of many."""

    async def receive(self, _message: Fail) -> None: ...


@actor(flavour=trio, start_timeout=600.0)
class Hanging:
    """Crashes when told to, and hangs when it is started again."""

    async def on_start(self) -> None:
        if current(self).generation > 1:
            await trio.sleep_forever()

    async def receive(self, _message: Fail) -> None:
        raise ValueError


@actor(flavour=trio, accepts=Fill)
class Spawner:
    """Has the children in the one case."""

    hanging: Any

    async def receive(self, message: Fill) -> bool:
        me = current(self)
        for _ in range(message.count):
            me.spawn(child(Idle))
        me.spawn(self.hanging)
        return True


async def measure(n: int, *, spawned: bool) -> dict[str, float]:
    """Milliseconds of one snapshot while the restart hangs."""
    hanging = child(Hanging).options(name="hanging", backoff=None)
    boss = child(Spawner, hanging).options(name="boss")
    tree = one_for_one(boss) if spawned else one_for_one(*(child(Idle) for _ in range(n)), hanging)
    restarting = trio.Event()
    token = trio.lowlevel.current_trio_token()
    async with open_daemon(tree, stop_within=600.0) as daemon:
        daemon.subscribe(lambda _: token.run_sync_soon(restarting.set), Restarting)
        if spawned:
            await boss.ref.ask(Fill(n), timeout=None)
        hanging.ref.send(Fail())
        await restarting.wait()
        while (seen := (await daemon.tree()).find(hanging.ref.path)) is None or seen.state != "starting":
            pass
        gc.collect()
        took = []
        for _ in range(ROUNDS):
            begin = now()
            snapshot = await daemon.tree()
            took.append((now() - begin) * 1e3)
        expect(sum(1 for _ in snapshot.walk()), n + 2 + spawned)
    return {"median_ms": round(median(took), 2), "max_ms": round(max(took), 2)}


def main() -> None:
    """Measure both cases."""
    arguments = argparse.ArgumentParser(description="A snapshot of many children during a restart that hangs.")
    arguments.add_argument("--n", type=int, default=10_000)
    chosen = arguments.parse_args()
    logging.getLogger("trouper").setLevel(logging.CRITICAL + 1)
    for spawned in (False, True):
        figures = trio.run(lambda spawned=spawned: measure(chosen.n, spawned=spawned))
        say(json.dumps({"children": "spawned" if spawned else "declared", "n": chosen.n, **figures}))


if __name__ == "__main__":
    main()
