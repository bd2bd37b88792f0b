"""How long a thread waits until a sleeping task was woken and has answered: by the loop's own way, and by a doorbell.

```
python benchmarks/wake.py                # both loops, medians of seven runs
```

Prints a line of JSON for each run, then the medians, in microseconds, and the ratios within a run. The ways take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from threading import Lock, Thread
from typing import Any

import trio
import trio.testing
from common import say

from trouper.daemon.process import SWITCH_INTERVAL
from trouper.lanes.doorbell import Doorbell

TRIPS, WARM = 5000, 500


def trips(wake: Callable[[], object], answered: Lock, told: list[float]) -> None:
    """In a thread: wake the task and wait for its answer, again and again."""
    took = []
    for _ in range(TRIPS):
        begin = time.perf_counter()
        wake()
        answered.acquire()
        took.append(time.perf_counter() - begin)
    told.append(median(took[WARM:]) * 1e6)


def measure(wake: Callable[[], object], answered: Lock, told: list[float], end: Callable[[], object]) -> None:
    def work() -> None:
        trips(wake, answered, told)
        end()

    Thread(target=work).start()


def held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


async def trio_own() -> float:
    """By `run_sync_soon`, which reschedules the task."""
    answered, told, beds, token = held(), list[float](), list[Any](), trio.lowlevel.current_trio_token()

    async def answer() -> None:
        while True:
            beds.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
            answered.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        await trio.testing.wait_all_tasks_blocked()
        end = lambda: token.run_sync_soon(nursery.cancel_scope.cancel)  # noqa: E731 - as the others
        measure(lambda: token.run_sync_soon(lambda: trio.lowlevel.reschedule(beds.pop())), answered, told, end)
    return told[0]


async def trio_bell() -> float:
    """The task sleeps at the bell, as a dispatcher does."""
    answered, told, token = held(), list[float](), trio.lowlevel.current_trio_token()
    bell = Doorbell(token.run_sync_soon)

    async def answer() -> None:
        while True:
            await trio.lowlevel.wait_readable(bell.fd)
            bell.answer()
            answered.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        measure(bell.ring, answered, told, lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
    bell.close()
    return told[0]


async def in_asyncio(by: Callable[[asyncio.AbstractEventLoop], Callable[[Callable[[], object]], object]]) -> float:
    answered, told, loop = held(), list[float](), asyncio.get_running_loop()
    beds, over = list[Any](), asyncio.Event()

    async def answer() -> None:
        while True:
            beds.append(loop.create_future())
            await beds[-1]
            answered.release()

    task = asyncio.create_task(answer())
    await asyncio.sleep(0)
    call = by(loop)
    measure(
        lambda: call(lambda: beds.pop().set_result(None)), answered, told, lambda: loop.call_soon_threadsafe(over.set)
    )
    await over.wait()
    task.cancel()
    return told[0]


async def asyncio_own() -> float:
    """By `call_soon_threadsafe`."""
    return await in_asyncio(lambda loop: loop.call_soon_threadsafe)


async def asyncio_bell() -> float:
    """By a bell that the loop watches."""
    bells = []

    def by(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], object]], object]:
        bell = Doorbell(loop.call_soon_threadsafe)
        bells.append(bell)
        loop.add_reader(bell.fd, bell.answer)
        return bell.call

    took = await in_asyncio(by)
    for bell in bells:
        asyncio.get_running_loop().remove_reader(bell.fd)
        bell.close()
    return took


WAYS: dict[str, Callable[[], float]] = {
    "run_sync_soon": lambda: trio.run(trio_own),
    "trio, bell": lambda: trio.run(trio_bell),
    "call_soon_threadsafe": lambda: asyncio.run(asyncio_own()),
    "asyncio, bell": lambda: asyncio.run(asyncio_bell()),
}


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description="How long it takes to wake a loop.")
    arguments.add_argument("--runs", type=int, default=7)
    chosen = arguments.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL)
    runs = []
    for number in range(chosen.runs):
        runs.append({way: round(run(), 1) for way, run in WAYS.items()})
        say(json.dumps({"run": number + 1, **runs[-1]}))
    say(json.dumps({"medians": {way: median(run[way] for run in runs) for way in WAYS}}))
    for own, bell in (("run_sync_soon", "trio, bell"), ("call_soon_threadsafe", "asyncio, bell")):
        say(json.dumps({"ratio": f"{bell} to {own}", "found": round(median(run[bell] / run[own] for run in runs), 2)}))


if __name__ == "__main__":
    main()
