"""The example of a pool does what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once

COMMANDS = {
    "as a script": ["examples/pool.py"],
    "by the command line": ["-m", "trouper", "run", "examples/pool.py:tree"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_each_word_is_counted_in_one_place(command: list[str]) -> None:
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout.splitlines() == ["(4, 'the')"], ran.stderr
    assert ran.returncode == 0


def test_it_is_checked_by_the_command_line() -> None:
    command = [sys.executable, "-m", "trouper", "check", "examples/pool.py:tree"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert "  counters: pool of 3, hash, 3 restarts in 30 s for each worker; permanent" in ran.stdout.splitlines()
    assert ran.returncode == 0
