"""The scenarios of OTP, played by real actors: some of them always, all 750 of them in the long run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance import otp_replay
from tests.conformance.otp_live import Flavour, on_stage
from tests.conformance.otp_replay import Scenario, load, main, play

TRACES = Path(__file__).with_name("otp_traces.jsonl")
EVERY = 1 if os.environ.get("TROUPER_LONG") else 8


@pytest.mark.once
@pytest.mark.parametrize("flavour", ["trio", "asyncio", "threading"])
def test_real_actors_under_real_supervisors_do_event_by_event_what_otp_did(flavour: Flavour) -> None:
    for scenario in load(TRACES)[::EVERY]:
        assert play(scenario, on_stage(flavour)) == scenario["trace"], scenario


def write(path: Path, scenarios: Sequence[Scenario]) -> str:
    path.write_text("".join(json.dumps(scenario) + "\n" for scenario in scenarios), encoding="utf-8")
    return str(path)


@pytest.mark.once
@pytest.mark.parametrize("flavour", ["trio", "asyncio", "threading"])
def test_the_script_plays_a_file_live_and_counts_what_matches(
    flavour: Flavour, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    right = load(TRACES)[:5]
    assert main([write(tmp_path / "right.jsonl", right), "--live", flavour]) == 0
    assert capsys.readouterr().out == "5 of 5 scenarios match\n"

    wrong = right[0].copy()
    wrong["trace"] = [*wrong["trace"][:-1], ["sup_exit", "normal"]]
    assert main([write(tmp_path / "wrong.jsonl", [*right[1:], wrong]), "--live", flavour]) == 1
    assert capsys.readouterr().out == "4 of 5 scenarios match\n"


@pytest.mark.once
def test_the_script_is_a_command_that_needs_no_path_to_the_tests(tmp_path: Path) -> None:
    file = write(tmp_path / "one.jsonl", load(TRACES)[:1])
    done = subprocess.run(
        [sys.executable, otp_replay.__file__, file, "--live", "trio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "1 of 1 scenarios match\n"
