"""The example of worker processes counts right, however many of them there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once

PROGRAM = """
import trio
from examples.workers.primes import measure

if __name__ == "__main__":
    trio.run(measure, 2, 30_000)
"""


def test_two_workers_count_all_primes() -> None:
    command = [sys.executable, "-c", PROGRAM]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("2 workers: 3245 primes below 30000 in ")


AT_ONCE = """
import sys, trio
from examples.workers import primes
from trouper import actor, current

PIPE = sys.argv[1]

@actor(flavour="threading")
class Meets(primes.Counter):
    met = False
    def receive(self, message: primes.Count) -> int:
        if not self.met:
            self.met = True
            with open(PIPE, "rb" if current(self).daemon.worker_id else "wb"):
                "each end is open once the other is"
        return super().receive(message)

if __name__ == "__main__":
    primes.Counter = Meets
    trio.run(primes.measure, 2, 1_000)
"""


def test_two_workers_count_at_the_same_time(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    (script := tmp_path / "at_once.py").write_text(AT_ONCE)
    command, environ = [sys.executable, str(script), str(pipe)], {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.startswith("2 workers: 168 primes below 1000 in "), ran.stderr
