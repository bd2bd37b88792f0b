"""The scenarios of OTP, played by real actors: some of them always, all 750 of them in the long run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.otp_live import Flavour, on_stage
from tests.conformance.otp_replay import load, play

TRACES = Path(__file__).with_name("otp_traces.jsonl")
EVERY = 1 if os.environ.get("TROUPER_LONG") else 8


@pytest.mark.once
@pytest.mark.parametrize("flavour", ["trio", "asyncio", "threading"])
def test_real_actors_under_real_supervisors_do_event_by_event_what_otp_did(flavour: Flavour) -> None:
    for scenario in load(TRACES)[::EVERY]:
        assert play(scenario, on_stage(flavour)) == scenario["trace"], scenario
