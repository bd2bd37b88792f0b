"""Run make targets side by side, three per core, as tests wait a lot and linters are nice; and keep their output apart.

    side_by_side.py TARGET...

They start in their order, and the output of the first one closes ours, so that it ends with pytest's summary when that
runs tests. Of the others one line is printed when they are done, and all of the output of those that failed: the first
of them in the order takes the last place from one that passed. Exits with 1 when any target failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A target that was made."""

    target: str
    failed: bool
    output: str
    seconds: float

    @property
    def last_line(self) -> str:
        """What a tool says at its end: as a rule, its verdict."""
        return self.output[self.output.rfind("\n") + 1 :].strip("= ")

    def show(self) -> None:
        """Print everything that the target printed."""
        print(f"\n-- {self.target} {'-' * (116 - len(self.target))}\n{self.output}", flush=True)


def make(target: str) -> Part:
    """Make one target, in a make of its own, and collect what it prints."""
    of_our_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in of_our_make}
    started = time.monotonic()
    done = subprocess.run(
        [os.environ.get("MAKE", "make"), "--no-print-directory", target],
        check=False,
        encoding="utf-8",
        env=environment,
        errors="replace",
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    output = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("make: ***"))
    part = Part(target, done.returncode != 0, output.rstrip(), time.monotonic() - started)
    print(f"{'FAILED' if part.failed else 'ok':6}  {target:12}  {part.seconds:5.1f} s  {part.last_line}", flush=True)
    return part


def main(targets: list[str]) -> int:
    """Make the targets; return the exit status."""
    with ThreadPoolExecutor(max_workers=3 * (os.cpu_count() or 1)) as pool:
        parts = list(pool.map(make, targets))
    failed = [part for part in parts if part.failed]
    last = [*failed, *parts][0]
    for part in failed:
        if part is not last:
            part.show()
    if failed:
        print(f"\nfailed: {', '.join(part.target for part in failed)}", flush=True)
    last.show()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
