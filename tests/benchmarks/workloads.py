"""Runs each workload of `bench.py` and `floor.py` once, with tiny numbers: `python -m tests.benchmarks.workloads`.

A script decorates its classes as one lane needs them, once in a process; so each run is in a fork of this one, in which
everything is imported already.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LANES = "trio", "asyncio", "threading"
N, K = "8", "4"


def fork(script: str, main: Callable[[], object], *arguments: str) -> None:
    """Run a script as if it had been called with these arguments; its output is ours."""
    pid = os.fork()
    if pid == 0:
        sys.argv = [str(BENCHMARKS / script), *arguments]
        main()
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(f"{script} {' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")


def main() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    bench: Any = import_module("bench")
    floor: Any = import_module("floor")
    for name in floor.MODULES.values():
        import_module(name)
    gc.freeze()  # some of them collect garbage, and this is none
    for lane, workload in product(LANES, [*bench.IN_LANE, *bench.FROM_THREAD]):
        fork("bench.py", bench.main, workload, N, K, "--lane", lane)
    fork("bench.py", bench.main, "count", N, K, "--lane", "trio", "--plain")
    fork("bench.py", bench.main, "startup", "1", "--lane", "trio")
    for system, workloads in floor.HAS.items():
        for workload in workloads:
            fork("floor.py", floor.main, workload, N, K, "--system", system)
    fork("floor.py", floor.main, "startup", "1")


if __name__ == "__main__":
    main()
