"""The README's example does what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.examples.station import ROOT

pytestmark = pytest.mark.once

COMMANDS = {
    "as a script": ["examples/hello.py"],
    "by the command line": ["-m", "trouper", "run", "examples/hello.py:tree"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_guest_is_greeted_crashes_is_restarted_and_is_greeted_again(command: list[str]) -> None:
    ran = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout.splitlines() == ["hello, guest number 1", "hello, guest number 2"]
    assert "/guest: generation 1 ended" in ran.stderr
    assert "AssertionError: fell over" in ran.stderr
    assert ran.returncode == 0


def test_it_fits_on_a_page_of_a_readme() -> None:
    assert len((ROOT / "examples/hello.py").read_text().splitlines()) < 30
