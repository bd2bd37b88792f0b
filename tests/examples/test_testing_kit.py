"""The example of the test kit is what it says: tests that pass, quickly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once

EXAMPLE = "examples/testing_kit.py"


@pytest.mark.parametrize(
    "command", [[EXAMPLE], ["-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE]], ids=" ".join
)
def test_the_example_passes(command: list[str]) -> None:
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "the thermostat is fine" in ran.stdout or "3 passed" in ran.stdout
