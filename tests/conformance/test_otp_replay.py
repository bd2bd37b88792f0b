from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.otp_replay import MachineStage, Scenario, difference, load, main, play
from trouper.supervision.members import Strategy

TRACES = Path(__file__).with_name("otp_traces.jsonl")


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    return load(TRACES)


def test_all_750_scenarios_are_there(scenarios: list[Scenario]) -> None:
    assert len(scenarios) == 750


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_the_machine_does_event_by_event_what_otp_did(scenarios: list[Scenario], strategy: Strategy) -> None:
    for scenario in scenarios:
        if scenario["strategy"] == strategy:
            assert play(scenario, MachineStage) == scenario["trace"], scenario


def test_the_script_counts_what_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(TRACES)]) == 0
    assert capsys.readouterr().out == "750 of 750 scenarios match\n"


def test_the_script_fails_on_a_mismatch_and_shows_the_first_when_asked(
    scenarios: list[Scenario], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = scenarios[0].copy()
    wrong["trace"] = [*wrong["trace"][:-1], ["sup_exit", "normal"]]
    file = tmp_path / "wrong.jsonl"
    file.write_text("".join(json.dumps(scenario) + "\n" for scenario in (scenarios[1], wrong)), encoding="utf-8")

    assert main([str(file), "-v"]) == 1
    out = capsys.readouterr().out
    assert 'scenario 2: event 13: expected ["sup_exit", "normal"], got ["sup_exit", "shutdown"]' in out
    assert out.endswith("1 of 2 scenarios match\n")


def test_traces_differ_where_one_is_longer() -> None:
    assert difference([["a"]], [["a"]]) is None
    assert difference([["a"], ["b"]], [["a"]]) == 'event 1: only expected ["b"]'
    assert difference([["a"]], [["a"], ["b"]]) == 'event 1: only got ["b"]'
