"""The watching example does what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once


def test_the_stage_manager_hears_of_each_players_end_and_why() -> None:
    command = [sys.executable, "examples/watching.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert sorted(ran.stdout.splitlines()) == ["Ann: normal", "Bob: crashed: RuntimeError: fell off the stage"]
    assert ran.returncode == 0
