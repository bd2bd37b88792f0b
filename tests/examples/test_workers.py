"""The example of worker processes counts right, however many of them there are."""

from __future__ import annotations

import subprocess
import sys

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
