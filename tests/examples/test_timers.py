"""The kettle boils, and only then is there tea."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once


def test_who_asked_too_early_is_answered_when_the_water_boils() -> None:
    command = [sys.executable, "examples/timers.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout.splitlines() == ["80 degrees", "90 degrees", "100 degrees", "tea is ready"]
    assert ran.returncode == 0
