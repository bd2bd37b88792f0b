"""What every benchmark script shares: the command line, the clock, the memory and the one line of JSON.

A workload takes `(n, k)` - how often, and among how many actors - and gives an `Outcome`. Linux only (`/proc`).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

STARTED_AT = "TROUPER_BENCH_STARTED_AT"
CLOCK = os.environ.get("TROUPER_BENCH_CLOCK", "wall")
now = time.process_time if CLOCK == "cpu" else time.perf_counter
CROWD = 100
CROWDED = frozenset({"ring", "fanin", "big"})
GC_CHOICES = {"default": None, "rare": (100_000, 50, 1000), "off": (0, 0, 0)}


@attrs.frozen
class Outcome:
    """What one workload measured."""

    seconds: float
    """Wall time of the measured part."""
    extras: Mapping[str, float | str | None] = attrs.field(factory=dict)
    """Further columns of the printed line."""


def resident() -> int:
    """Bytes of this process that are in memory now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def quiet_resident() -> int:
    """Bytes in memory after the garbage is gone: take it before and after to weigh what was made between."""
    gc.collect()
    return resident()


def latencies(samples: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum, in microseconds, of a list of seconds."""
    ordered = sorted(samples)
    last = len(ordered) - 1
    places = {"p50_us": last // 2, "p99_us": last * 99 // 100, "max_us": last}
    return {name: round(ordered[place] * 1e6, 2) for name, place in places.items()}


def one_by_one(n: int, call: Callable[[], object]) -> Outcome:
    """Time `n` calls, each after the one before."""
    samples = []
    begin = now()
    for _ in range(n):
        before = now()
        call()
        samples.append(now() - before)
    return Outcome(now() - begin, latencies(samples))


async def one_by_one_async(n: int, call: Callable[[], Awaitable[object]]) -> Outcome:
    """As `one_by_one`, for a call that is awaited."""
    samples = []
    begin = now()
    for _ in range(n):
        before = now()
        await call()
        samples.append(now() - before)
    return Outcome(now() - begin, latencies(samples))


def expect(found: object, wanted: object) -> None:
    """Refuse to report a figure for work that was not done."""
    if found != wanted:
        raise AssertionError(f"the workload lost something: counted {found}, sent {wanted}")


def parser(description: str, workloads: Iterable[str]) -> argparse.ArgumentParser:
    """The arguments that `floor.py` and `bench.py` have in common."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("workload", choices=sorted({*workloads, "startup"}))
    arguments.add_argument("n", type=int, help="how many messages, round trips, hops, actors, crashes or processes")
    arguments.add_argument("k", type=int, nargs="?", help=f"how many actors (ring, fanin, big: {CROWD} unless told)")
    arguments.add_argument("--gc", choices=GC_CHOICES, default="default", help="thresholds of the cyclic collector")
    return arguments


def prepare(chosen: argparse.Namespace) -> None:
    """Fill in `k` and set the collector as asked."""
    if chosen.k is None:
        chosen.k = CROWD if chosen.workload in CROWDED else 1
    thresholds = GC_CHOICES[chosen.gc]
    if thresholds is not None:
        gc.set_threshold(*thresholds)


def startup(n: int, first_message: Callable[[], object]) -> Outcome:
    """From the start of a process to its first handled message: `n` fresh processes, or the rest of this one."""
    begun = os.environ.get(STARTED_AT)
    if begun is not None:
        first_message()
        return Outcome(time.monotonic() - float(begun))
    samples = [_start_one() for _ in range(n)]
    return Outcome(sum(samples), latencies(samples))


def _start_one() -> float:
    command = [sys.executable, *sys.argv]
    environment = os.environ | {STARTED_AT: repr(time.monotonic())}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return float(json.loads(done.stdout)["seconds"])


def report(system: str, chosen: argparse.Namespace, outcome: Outcome, *packages: str) -> None:
    """Print the line."""
    row: dict[str, Any] = {
        "system": system,
        "workload": chosen.workload,
        "n": chosen.n,
        "k": chosen.k,
        "seconds": round(outcome.seconds, 6),
        "rate": round(chosen.n / outcome.seconds, 1),
        "rss_bytes": resident(),
        **outcome.extras,
        "gc": chosen.gc,
        "clock": CLOCK,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    say(json.dumps(row))


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")
