"""The limits that trouper is measured against.

    python benchmarks/floor.py WORKLOAD N [K] --system bare|trio|asyncio|threads

Prints one line of JSON. What each system is, its module says: `floor_bare`, `floor_tasks`, `floor_threads`.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from common import parser, prepare, report, startup

if TYPE_CHECKING:
    from collections.abc import Callable

    from common import Outcome

    Run = Callable[[str, int, int], Outcome]

MODULES = {"bare": "floor_bare", "trio": "floor_tasks", "asyncio": "floor_tasks", "threads": "floor_threads"}
ASYNC = ("count", "pingpong", "ask", "ring", "create", "fanin", "big", "restart")
HAS = {
    "bare": ASYNC,
    "trio": (*ASYNC, "xthread", "xthread_batch", "xthread_ask"),
    "asyncio": (*ASYNC, "xthread", "xthread_batch", "xthread_ask"),
    "threads": ASYNC[:-1],
}


def runner(system: str) -> Run:
    """The function that runs a workload of this system, imported only now: `startup` pays for what it uses."""
    module = importlib.import_module(MODULES[system])
    if system in ("trio", "asyncio"):
        run: Run = getattr(module, f"run_{system}")
        return run
    return lambda name, n, k: module.WORKLOADS[name](n, k)


def main() -> None:
    arguments = parser("Run one workload on one of the limits.", HAS["trio"])
    arguments.add_argument("--system", choices=MODULES, default="bare")
    chosen = arguments.parse_args()
    if chosen.workload not in (*HAS[chosen.system], "startup"):
        sys.exit(f"{chosen.system} has no {chosen.workload}; it has: {', '.join(HAS[chosen.system])}, startup")
    prepare(chosen)
    if chosen.workload == "startup":
        outcome = startup(chosen.n, lambda: runner(chosen.system)("count", 1, 1))
    else:
        outcome = runner(chosen.system)(chosen.workload, chosen.n, chosen.k)
    report(chosen.system, chosen, outcome)


if __name__ == "__main__":
    main()
