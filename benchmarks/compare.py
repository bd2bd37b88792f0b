"""trouper beside the limits: every system, interleaved, each figure from a process of its own.

    python benchmarks/compare.py [--runs 5] [--workloads count,ring] [--quick] [--json FILE]

Prints the medians, the ratios that matter and what became of the targets. Compare ratios, not rates: a ratio is taken
within one run, where both figures were measured within seconds, and the median is over the runs. Always exits with 0.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from common import say

HERE = Path(__file__).parent
SECONDS = 300


@attrs.frozen
class System:
    """A column of the table."""

    name: str
    script: str
    options: tuple[str, ...]
    sizes: dict[str, int]

    def command(self, workload: str, *, quick: bool) -> list[str]:
        name, _, collector = workload.partition("@")
        n = self.sizes[workload] // (10 if quick and name != "startup" else 1)
        extra = ["--gc", collector] if collector else []
        return [sys.executable, str(HERE / self.script), name, str(n), *self.options, *extra]


STEPPED = {
    "count": 500_000,
    "pingpong": 100_000,
    "ask": 100_000,
    "ring": 200_000,
    "create": 20_000,
    "create@rare": 20_000,
    "fanin": 500_000,
    "big": 100_000,
    "restart": 1000,
    "startup": 3,
}
SWITCHED = STEPPED | {
    "count": 200_000,
    "pingpong": 20_000,
    "ask": 20_000,
    "ring": 50_000,
    "fanin": 200_000,
    "big": 20_000,
}
THREADED = SWITCHED | {"count": 500_000, "fanin": 500_000, "create": 1000, "create@rare": 1000}
FOREIGN = {"xthread": 200_000, "xthread_batch": 200_000, "xthread_ask": 2000}
LONE = FOREIGN | {"xthread": 20_000}
WITHOUT_RESTART = {name: n for name, n in THREADED.items() if name != "restart"}
SYSTEMS = (
    System("bare", "floor.py", ("--system", "bare"), STEPPED),
    System("trio channel", "floor.py", ("--system", "trio"), SWITCHED | LONE),
    System("asyncio queue", "floor.py", ("--system", "asyncio"), SWITCHED | LONE),
    System("thread", "floor.py", ("--system", "threads"), WITHOUT_RESTART),
    System("trouper trio", "bench.py", ("--lane", "trio"), STEPPED | FOREIGN),
    System("trouper trio plain", "bench.py", ("--lane", "trio", "--plain"), STEPPED | FOREIGN),
    System("trouper asyncio", "bench.py", ("--lane", "asyncio"), STEPPED | FOREIGN),
    System("trouper asyncio plain", "bench.py", ("--lane", "asyncio", "--plain"), STEPPED | FOREIGN),
    System("trouper threading", "bench.py", ("--lane", "threading"), THREADED | FOREIGN),
)
WORKLOADS = (*STEPPED, *FOREIGN)


@attrs.frozen
class Target:
    """What a lane shall reach: `key` of a workload, alone or as a ratio to that of another system."""

    workload: str
    lane: str
    wanted: float
    key: str = "rate"
    over: str | None = None
    at_most: bool = False

    def __str__(self) -> str:
        what = f"{self.workload} {self.key}, trouper {self.lane}"
        return f"{what}{f' / {self.over}' if self.over else ''} {'<=' if self.at_most else '>='} {self.wanted:,g}"


TARGETS = [
    target
    for lane in ("trio", "asyncio")
    for target in (
        Target("count", lane, 0.6, over="bare"),
        Target("pingpong", lane, 5, over="trio channel"),
        Target("ring", lane, 5, over="trio channel"),
        Target("create", lane, 1536, key="bytes_idle", at_most=True),
        Target("create", lane, 1536, key="bytes_per_actor", at_most=True),
        Target("create@rare", lane, 100_000),  # as in a daemon: `run` sets these thresholds
    )
]
LIMITS = {
    "trouper trio": ("bare", "trio channel"),
    "trouper trio plain": ("bare", "trio channel"),
    "trouper asyncio": ("bare", "asyncio queue"),
    "trouper asyncio plain": ("bare", "asyncio queue"),
    "trouper threading": ("thread",),
}


@attrs.define
class Results:
    """All printed lines, by workload, system and run; a failed one has an `error` instead of figures."""

    rows: list[dict[str, Any]] = attrs.field(factory=list)

    def figures(self, system: str, workload: str, key: str = "rate") -> dict[int, float]:
        found = (row for row in self.rows if (row["column"], row["row"]) == (system, workload))
        return {row["run"]: row[key] for row in found if row.get(key) is not None}

    def ratio(self, workload: str, system: str, over: str) -> float | None:
        ours, theirs = self.figures(system, workload), self.figures(over, workload)
        ratios = [ours[run] / theirs[run] for run in ours.keys() & theirs.keys()]
        return median(ratios) if ratios else None

    def median(self, system: str, workload: str, key: str = "rate") -> float | None:
        figures = self.figures(system, workload, key).values()
        return median(figures) if figures else None


def measure(runs: int, workloads: list[str], *, quick: bool) -> Results:
    """Run after run, in each all workloads, in each all systems."""
    results = Results()
    for run in range(runs):
        for workload in workloads:
            for system in SYSTEMS:
                if workload in system.sizes:
                    sys.stderr.write(f"run {run + 1} of {runs}: {workload}, {system.name}\n")
                    row = one(system.command(workload, quick=quick))
                    results.rows.append({**row, "column": system.name, "row": workload, "run": run})
    return results


def one(command: list[str]) -> dict[str, Any]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603 - ours
    except subprocess.TimeoutExpired:
        return {"error": f"gave no figure within {SECONDS} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def human(figure: float | None) -> str:
    """Three or four digits and a unit."""
    if figure is None:
        return "-"
    if figure >= 1_000_000:
        return f"{figure / 1_000_000:.2f} M"
    if figure >= 10_000:
        return f"{figure / 1000:.3g} k"
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"


def table(header: list[str], lines: list[list[str]]) -> str:
    """Markdown with aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(cells, widths) for cells in (header, rule, *lines))


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"


def medians(results: Results, title: str, columns: dict[str, tuple[str, str]]) -> str:
    """A line per system; `columns` says for each heading which figure of which workload stands there."""
    lines = [
        [system.name, *(human(results.median(system.name, workload, key)) for workload, key in columns.values())]
        for system in SYSTEMS
    ]
    return table([title, *columns], lines)


def rates(results: Results, workloads: list[str]) -> str:
    return medians(results, "per second", {workload: (workload, "rate") for workload in workloads})


def details(results: Results, workloads: list[str]) -> str:
    """Latencies of what goes one by one, and the weight of an actor."""
    columns = {
        f"{workload}, p50 us": (workload, "p50_us")
        for workload in workloads
        if any("p50_us" in row for row in results.rows if row["row"] == workload)
    }
    if "create" in workloads:
        columns |= {"idle actor, bytes": ("create", "bytes_idle"), "after a message": ("create", "bytes_per_actor")}
    return medians(results, "more", columns)


def ratios(results: Results, workloads: list[str]) -> str:
    lines = [
        [f"{ours} / {limit}", *(_ratio(results.ratio(workload, ours, limit)) for workload in workloads)]
        for ours, limits in LIMITS.items()
        for limit in limits
    ]
    return table(["ratio", *workloads], lines)


def _ratio(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def verdicts(results: Results, workloads: list[str]) -> Iterator[str]:
    for target in TARGETS:
        if target.workload not in workloads:
            continue
        ours = f"trouper {target.lane}"
        if target.over is None:
            found = results.median(ours, target.workload, target.key)
        else:
            found = results.ratio(target.workload, ours, target.over)
        yield f"{verdict(target, found)}  {target}: {'no figure' if found is None else f'{found:,.3g}'}"


def verdict(target: Target, found: float | None) -> str:
    if found is None:
        return "misses"
    good = found <= target.wanted if target.at_most else found >= target.wanted
    return "meets " if good else "misses"


def failures(results: Results) -> Iterator[str]:
    """Each error once, with all that it hit."""
    hit: dict[str, dict[str, None]] = {}
    for row in results.rows:
        if "error" in row:
            hit.setdefault(row["error"], {})[f"{row['column']} {row['row']}"] = None
    for error, names in hit.items():
        yield f"failed: {error} ({', '.join(names)})"


def main() -> None:
    arguments = argparse.ArgumentParser(description="Compare trouper with the limits.")
    arguments.add_argument("--runs", type=int, help="5, or 3 when quick")
    arguments.add_argument("--workloads", default=",".join(WORKLOADS), help="comma-separated; all unless told")
    arguments.add_argument("--quick", action="store_true", help="a tenth of the messages: for a first look")
    arguments.add_argument("--cpu", action="store_true", help="count seconds of processor time: for a busy machine")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="write every single line there")
    chosen = arguments.parse_args()
    workloads = chosen.workloads.split(",")
    if unknown := set(workloads) - set(WORKLOADS):
        arguments.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if chosen.cpu:
        os.environ["TROUPER_BENCH_CLOCK"] = "cpu"
    results = measure(chosen.runs or (3 if chosen.quick else 5), workloads, quick=chosen.quick)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results.rows, indent=1), encoding="utf-8")
    say("\n\n".join(part(results, workloads) for part in (rates, details, ratios)))
    say("\n".join(["", *verdicts(results, workloads), *failures(results)]))


if __name__ == "__main__":
    main()
