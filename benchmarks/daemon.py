"""trouper beside cobald.daemon: calls, adoptions, late services, start, and what finished payloads cost.

    python benchmarks/daemon.py [--runs 7] [--figures execute_trio,late] [--json FILE]

Each figure comes from a process of its own, the systems take turns, and what is printed is the median over the runs.
cobald 0.14 is installed into `.venv-cobald`, an environment of its own that is made when it is needed first. What is
measured stands in `daemon_figures.py`. Exits with 1 if a figure is not better than cobald's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from common import say
from daemon_figures import FIGURE, FIGURES, STARTED_AT

HERE = Path(__file__).resolve().parent
COBALD = HERE.parent / ".venv-cobald"
SECONDS = 300


@attrs.frozen
class Row:
    """A line of the table: a key of a figure, and which of two is the better one."""

    figure: str
    key: str
    title: str
    more_is_better: bool = False
    at_most: float | None = None

    def better(self, trouper: float, cobald: float) -> bool:
        wins = trouper > cobald if self.more_is_better else trouper < cobald
        return wins and (self.at_most is None or trouper <= self.at_most)

    def ratio(self, trouper: float, cobald: float) -> float:
        """How many times as good."""
        over, under = (trouper, cobald) if self.more_is_better else (cobald, trouper)
        return over / under if under > 0 else float("inf")


ROWS = (
    Row("execute_asyncio", "us", "execute in asyncio, p50, us"),
    Row("execute_trio", "us", "execute in trio, p50, us"),
    Row("adopt_asyncio", "calls_per_s", "adopt into asyncio, handed over per s", more_is_better=True),
    Row("adopt_asyncio", "runs_per_s", "adopt into asyncio, run per s", more_is_better=True),
    Row("adopt_trio", "calls_per_s", "adopt into trio, handed over per s", more_is_better=True),
    Row("adopt_trio", "runs_per_s", "adopt into trio, run per s", more_is_better=True),
    Row("late", "ms", "a service made late until it runs, ms", at_most=5.0),
    Row("start_by_command", "ms", "start by its own command to the first service, ms"),
    Row("start", "ms", "start of a script to the first service, ms"),
    Row("kept_asyncio", "bytes", "kept of each finished payload, asyncio, bytes"),
)


def cobald_python() -> str:
    """The interpreter of an environment with cobald, made if it is not there."""
    python = COBALD / "bin" / "python"
    if not python.exists():
        say(f"making {COBALD.name} ...")
        venv.create(COBALD, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "cobald==0.14.0"]
        subprocess.run(command, check=True)  # noqa: S603 - our own
    return str(python)


def measure(python: str, system: str, figure: str) -> dict[str, float]:
    script = str(HERE / f"daemon_{system}.py")
    commands = {"trouper": ["-m", "trouper", "run", f"{script}:tree"], "cobald": ["-m", "cobald.daemon", script]}
    command = [python, *(commands[system] if figure == "start_by_command" else [script])]
    environment = os.environ | {STARTED_AT: repr(time.monotonic()), FIGURE: figure, "PYTHONPATH": path()}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start would compile all modules anew
    done = subprocess.run(  # noqa: S603 - our own
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def path() -> str:
    """Both find what is here, however they are started."""
    return os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])


def main() -> None:
    """All figures of both systems, in turns."""
    arguments = argparse.ArgumentParser(description="trouper beside cobald.daemon.")
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--figures", default=",".join(FIGURES), help="some of them, joined by commas")
    arguments.add_argument("--json", type=Path, help="a file for all that was measured")
    chosen = arguments.parse_args()
    pythons = {"trouper": sys.executable, "cobald": cobald_python()}
    figures = [figure for figure in FIGURES if figure in chosen.figures.split(",")]
    found: dict[str, Any] = {system: {figure: [] for figure in figures} for system in pythons}
    for run in range(chosen.runs):
        for figure in figures:
            for system, python in pythons.items():
                found[system][figure].append(measure(python, system, figure))
        say(f"run {run + 1} of {chosen.runs} is done")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=1))
    raise SystemExit(0 if told(found, figures) else 1)


def told(found: Any, figures: list[str]) -> bool:
    """Print the table. Whether every figure is better than cobald's."""
    say(f"\n{'':48}{'trouper':>12}{'cobald':>12}{'times':>8}")
    good = True
    for row in ROWS:
        if row.figure in figures:
            ours, theirs = (median(one[row.key] for one in found[it][row.figure]) for it in ("trouper", "cobald"))
            good = good and row.better(ours, theirs)
            verdict = "" if row.better(ours, theirs) else "  <- not better"
            say(f"{row.title:48}{ours:12,.1f}{theirs:12,.1f}{row.ratio(ours, theirs):8.1f}{verdict}")
    return good


if __name__ == "__main__":
    main()
