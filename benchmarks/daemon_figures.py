"""What `daemon.py` measures, the same for both systems: a figure is a function of what a system can do.

It runs in two environments, one of which has no trouper; and each figure in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

STARTED_AT, FIGURE = "TROUPER_BENCH_STARTED_AT", "TROUPER_BENCH_FIGURE"
CALLS, WARM = 5000, 500
PAYLOADS = 50_000
LATE = 5
SETTLED = 6.0  # seconds until cobald, which looks for new services ever more seldom, looks once in a second


class System(Protocol):
    """What is compared. Methods are called in a thread that runs no loop."""

    def execute(self, payload: Any, flavour: Any) -> Any: ...
    def adopt(self, payload: Any, flavour: Any) -> Any: ...
    def make_service(self, begun: Callable[[], object]) -> object: ...


async def nothing() -> None:
    """A payload that is not the subject."""


def execute(system: System, flavour: Any) -> dict[str, float]:
    """Microseconds of a call, from a thread, each after the one before."""
    took = []
    for _ in range(WARM + CALLS):
        before = time.perf_counter()
        system.execute(nothing, flavour)
        took.append(time.perf_counter() - before)
    return {"us": median(took[WARM:]) * 1e6}


class Count:
    """Payloads that ran."""

    def __init__(self, wanted: int) -> None:
        self.left, self.done = wanted, threading.Event()

    async def one(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


def adopt(system: System, flavour: Any) -> dict[str, float]:
    """Payloads a second: that are handed over, and until the last one has run."""
    count = Count(PAYLOADS)
    begin = time.perf_counter()
    for _ in range(PAYLOADS):
        system.adopt(count.one, flavour)
    handed_over = time.perf_counter()
    count.done.wait()
    return {"calls_per_s": PAYLOADS / (handed_over - begin), "runs_per_s": PAYLOADS / (time.perf_counter() - begin)}


def late(system: System, _: Any) -> dict[str, float]:
    """Milliseconds from the construction of a service until its `run` begins, in a daemon that runs for a while."""
    time.sleep(SETTLED)
    took = []
    for _ in range(LATE):
        time.sleep(random.random())  # noqa: S311 - no secret
        begun = threading.Event()
        before = time.perf_counter()
        keep = system.make_service(begun.set)
        begun.wait()
        took.append(time.perf_counter() - before)
        del keep
    return {"ms": median(took) * 1e3}


def start(_system: System, _: Any) -> dict[str, float]:
    """Milliseconds from the start of the process until the first service runs: now."""
    return {"ms": (time.monotonic() - float(os.environ[STARTED_AT])) * 1e3}


def kept(system: System, flavour: Any) -> dict[str, float]:
    """Bytes in memory for each payload that has run."""
    for _ in range(2):  # what the allocators take once is not the subject
        adopt(system, flavour)
    before = resident()
    adopt(system, flavour)
    adopt(system, flavour)
    return {"bytes": (resident() - before) / (2 * PAYLOADS)}


def resident() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


FIGURES: dict[str, tuple[Callable[[System, Any], dict[str, float]], str]] = {
    "execute_asyncio": (execute, "asyncio"),
    "execute_trio": (execute, "trio"),
    "adopt_asyncio": (adopt, "asyncio"),
    "adopt_trio": (adopt, "trio"),
    "late": (late, ""),
    "start": (start, ""),
    "start_by_command": (start, ""),
    "kept_asyncio": (kept, "asyncio"),
}


def measure(system: System) -> None:
    """Print the figure that the environment names, and end the process."""
    function, flavour = FIGURES[os.environ[FIGURE]]
    modules = {"asyncio": asyncio, "trio": sys.modules["trio"]}
    sys.stdout.write(json.dumps(function(system, modules.get(flavour))) + "\n")
    sys.stdout.flush()
    os._exit(0)
