"""`trouper run --log-...`: real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.daemon.program import run_code, run_tree


def test_all_records_up_to_the_last_are_written_though_an_exit_handler_hangs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with run_tree("logs", "--log-target", str(path), "--log-format", "json") as program:
        program.wait(lambda: any(line.startswith("child ") for line in program.said))
        pid = int(program.said[0].removeprefix("child "))
        assert program.stop(SIGTERM) == 0
        os.kill(pid, SIGKILL)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    [last] = [record for record in records if record["message"].startswith("the last ")]
    assert last["message"].endswith("\n999")
    assert (last["path"], last["generation"], last["lane"]) == ("/logs", 1, "threading")
    assert program.log == ""


def test_the_record_of_a_fatal_death_is_written_before_the_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with run_tree("stumbling", "--log-target", str(path)) as program:
        assert program.end() == 70
    assert "a failure reached the root" in path.read_text()
    assert "over its own feet" in path.read_text()


def test_a_second_signal_loses_no_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with run_tree("slow_to_stop", "--log-target", str(path)) as program:
        program.until_said("idle is up")
        program.signal(SIGTERM)
        program.until_said("stop hangs")
        assert program.stop(SIGTERM) == 128 + SIGTERM
    assert "SIGTERM while stopping: ending at once" in path.read_text()


def test_a_log_that_cannot_be_written_ends_the_process_with_78_before_anything_starts(tmp_path: Path) -> None:
    with run_tree("idle", "--log-target", str(tmp_path / "nowhere" / "log")) as program:
        assert program.end() == 78
        assert "the log: target: given" in program.log
        assert program.said == []


@pytest.mark.parametrize("configured", [True, False])
def test_run_leaves_a_configured_root_logger_alone(configured: bool) -> None:
    script = f"""
import logging
from tests.daemon.trees import idle
from trouper import run
if {configured}:
    logging.basicConfig(level=logging.INFO, format="mine: %(message)s")
run(idle)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        assert program.stop(SIGTERM) == 0
        assert all(line.startswith("mine: ") for line in program.logged) is configured
        assert len(program.logged) == 2


def test_a_stderr_that_nobody_reads_holds_up_no_lane() -> None:
    """All that does not fit into the pipe waits in the queue, and the daemon goes on."""
    script = """
import logging, os, sys
from tests.daemon.trees import say
from trouper import actor, child, run

@actor(flavour="trio")
class Chatty:
    async def on_start(self) -> None:
        for number in range(2000):
            logging.getLogger("chatty").info("%d %s", number, "x" * 200)
        say("all said")

    async def receive(self, message: int) -> None: ...

reading, writing = os.pipe()
sys.stderr = open(writing, "w")
run(child(Chatty), stop_within=1)
"""
    with run_code(script) as program:
        program.until_said("all said")
        assert program.stop(SIGTERM) == 0
