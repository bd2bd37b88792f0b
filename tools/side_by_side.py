"""Run make targets side by side, one per core, and keep their output apart.

    side_by_side.py TARGET...

The first target starts first, and its output closes ours, so that `side_by_side.py pytest ...` ends with pytest's
summary. Of the others one line is printed when they are done, and all of the output of those that failed. A failed
pytest takes the last place from one that passed. Exits with 1 when any target failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
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


def closing(parts: list[Part], first: str) -> Part:
    """Choose the part that is shown last: the first target, or a failed pytest if that one passed."""
    own = next(part for part in parts if part.target == first)
    return next((part for part in [own, *parts] if part.failed and part.target.startswith("pytest")), own)


def main(targets: list[str]) -> int:
    """Make the targets; return the exit status."""
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        parts = [job.result() for job in as_completed([pool.submit(make, target) for target in targets])]
    failed = [part for part in parts if part.failed]
    last = closing(parts, targets[0])
    for part in failed:
        if part is not last:
            part.show()
    if failed:
        print(f"\nfailed: {', '.join(part.target for part in failed)}", flush=True)
    last.show()
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
