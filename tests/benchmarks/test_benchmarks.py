"""The benchmarks run, and print what their readers look for. What they measure here says nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]
IN_LANE = {"count", "pingpong", "ask", "ring", "create", "fanin", "big", "restart"}
FROM_THREAD = {"xthread", "xthread_batch", "xthread_ask"}
EXTRAS = {  # beside what every line has
    "ask": {"p50_us", "p99_us", "max_us"},
    "restart": {"p50_us", "p99_us", "max_us"},
    "xthread_ask": {"p50_us", "p99_us", "max_us"},
    "create": {"bytes_per_actor"},
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The line of each workload on each system."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.workloads"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("TROUPER_BENCH")},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_workload_runs_on_every_system_that_has_it(rows: list[dict[str, Any]]) -> None:
    ran: dict[str, set[str]] = {}
    for row in rows:
        ran.setdefault(row["system"], set()).add(row["workload"])
    everything = IN_LANE | FROM_THREAD
    assert ran == {
        "trouper-trio": {*everything, "startup"},
        "trouper-asyncio": everything,
        "trouper-threading": everything,
        "trouper-trio-plain": {"count"},
        "bare": {*IN_LANE, "startup"},
        "trio": everything,
        "asyncio": everything,
        "threads": IN_LANE - {"restart"},
    }
    assert len(rows) == sum(map(len, ran.values()))


def test_each_line_says_what_ran_how_long_and_in_how_much_memory(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert (row["n"], row["k"]) == ((1, 1) if row["workload"] == "startup" else (8, 4)), row
        assert row["seconds"] > 0, row
        rounding = 0.06 * row["seconds"] + 1e-6 * row["rate"]
        assert row["rate"] * row["seconds"] == pytest.approx(row["n"], abs=rounding), row
        assert row["rss_bytes"] > 5_000_000, row
        assert EXTRAS.get(row["workload"], set()) <= row.keys(), row


def test_a_mailbox_without_a_bound_is_told(rows: list[dict[str, Any]]) -> None:
    """Elsewhere a line that says nothing of the capacity would be compared with one of bounded mailboxes."""
    unbounded = {"count", "fanin", "xthread", "xthread_batch"}
    for row in rows:
        if row["system"].startswith("trouper"):
            assert ("capacity" in row) == (row["workload"] in unbounded), row
            assert row.get("capacity") is None
