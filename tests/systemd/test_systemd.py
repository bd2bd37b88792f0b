"""What `trouper unit` prints, run by a real systemd."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.systemd.machine import HERE, PROJECT, Machine

pytestmark = pytest.mark.once
if os.geteuid() != 0:
    pytest.skip("only root can boot a systemd", allow_module_level=True)
if not Path("/lib/systemd/systemd").exists():
    pytest.skip("there is no systemd on this host", allow_module_level=True)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The systemd of this host."""
    with Machine(tmp_path_factory.mktemp("systemd")) as booted:
        yield booted


@pytest.fixture(scope="module")
def newer_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One that knows `Type=notify-reload`."""
    newer = tmp_path_factory.mktemp("newer")
    got = subprocess.run(
        ["timeout", "-k", "1", "120", HERE / "newer.sh", newer],  # noqa: S607 - the one on the path
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode != 0:
        pytest.skip(f"a newer systemd cannot be had here: {got.stderr[-300:]}")
    with Machine(tmp_path_factory.mktemp("systemd"), newer) as booted:
        yield booted


@pytest.fixture(params=["of this host", pytest.param("newer", marks=pytest.mark.long)])
def either(request: pytest.FixtureRequest) -> Machine:
    booted: Machine = request.getfixturevalue("newer_machine" if request.param == "newer" else "machine")
    return booted


def test_a_start_waits_until_the_tree_is_ready(either: Machine) -> None:
    name, open_gate = either.install("starts", "gated"), either.gate("start")
    starting = either.start("systemctl", "start", name)
    shown = either.until_shown(name, ActiveState="activating", SubState="start")
    assert shown["Type"] == ("notify-reload" if either.newer else "notify")
    assert starting.poll() is None
    open_gate()
    assert starting.wait(30) == 0
    shown = either.show(name)
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert shown["StatusText"] == "1 actor, 0 restarts, 0 dead letters"
    either.systemctl("stop", name)
    shown = either.show(name)
    assert (shown["ActiveState"], shown["Result"], shown["ExecMainStatus"]) == ("inactive", "success", "0")


def reloads(machine: Machine, name: str) -> None:
    start, reload = machine.gate("start"), machine.gate("reload")
    starting = machine.start("systemctl", "start", name)
    start()
    assert starting.wait(30) == 0
    reloading = machine.start("systemctl", "reload", name)
    machine.until_shown(name, ActiveState="reloading")
    reload_is_waited_for = machine.start("sleep", "0.4")  # longer than any command of the unit
    assert reload_is_waited_for.wait(30) == 0
    assert reloading.poll() is None
    reload()
    assert reloading.wait(30) == 0
    assert machine.show(name)["ActiveState"] == "active"
    machine.systemctl("stop", name)


def test_a_reload_waits_until_all_have_reloaded(machine: Machine) -> None:
    reloads(machine, machine.install("reloads", "gated", "--type", "notify"))


def test_worker_processes_reload_are_replaced_and_end_with_their_service(machine: Machine) -> None:
    def processes() -> list[str]:
        """Those of the service: the daemon, the one that starts workers, and two workers."""
        return machine.run("cat", f"/sys/fs/cgroup/system.slice/{name}.service/cgroup.procs")[1].split()

    name = machine.install("works", "working", "--watchdog", "5")
    machine.systemctl("start", name)
    shown = machine.until_shown(name, StatusText="3 actors, 0 restarts, 0 dead letters")
    before = processes()
    assert len(before) == 4
    assert shown["MainPID"] == before[0]
    machine.systemctl("reload", name)
    _, journal = machine.run("journalctl", "-u", name, "--no-pager", "-o", "cat")
    for path in ("/counts", "/workers/0/counts", "/workers/1/counts"):
        assert f"{path} has reloaded" in journal
    machine.run("kill", "-KILL", before[-1])
    machine.until_shown(name, StatusText="3 actors, 1 restart, 0 dead letters")
    assert (len(processes()), processes()[:3]) == (4, before[:3])
    machine.systemctl("stop", name)
    shown = machine.show(name)
    assert (shown["ActiveState"], shown["Result"], shown["ExecMainStatus"]) == ("inactive", "success", "0")


@pytest.mark.long
def test_a_newer_systemd_reloads_without_a_command(newer_machine: Machine) -> None:
    _, said = newer_machine.run("systemctl", "--version")
    assert int(said.split()[1]) >= 254
    name = newer_machine.install("reloads", "gated")
    assert newer_machine.show(name)["Type"] == "notify-reload"
    reloads(newer_machine, name)


def test_a_blocked_lane_is_restarted_by_the_watchdog(either: Machine) -> None:
    name, block = (
        either.install("blocks", "blocking", "--watchdog", "1", extra="RestartSec=50ms"),
        either.gate("block"),
    )
    either.systemctl("start", name)
    first = either.show(name)["MainPID"]
    block()
    shown = either.until_shown(name, NRestarts="1", ActiveState="active")
    assert shown["MainPID"] != first
    _, journal = either.run("journalctl", "-u", name, "--no-pager", "-o", "cat")
    assert f"{name}.service: Watchdog timeout" in journal
    either.systemctl("stop", name)


def test_a_crash_loop_ends_after_five_starts(either: Machine) -> None:
    name = either.install("fails", "failing", extra="RestartSec=10ms")
    code, _ = either.run("systemctl", "start", name)
    assert code == 1
    shown = either.until_shown(name, ActiveState="failed")
    assert (shown["NRestarts"], shown["ExecMainStatus"]) == ("5", "70")
    _, journal = either.run("journalctl", "-u", name, "--no-pager", "-o", "cat")
    assert journal.count("a failure reached the root: /fails: ") == 5
    assert "Start request repeated too quickly" in journal


def test_what_a_restart_does_not_mend_is_not_restarted(machine: Machine) -> None:
    name = machine.install("wrong", "talking", "--lock", "/nowhere/lock", extra="ReadWritePaths=\nReadWritePaths=/run")
    code, _ = machine.run("systemctl", "start", name)
    assert code == 1
    shown = machine.until_shown(name, ActiveState="failed")
    assert (shown["NRestarts"], shown["ExecMainStatus"]) == ("0", "78")


def test_no_connection_is_lost_over_restarts(either: Machine) -> None:
    name = either.install("serves", "serving", "--socket", f"http={PROJECT}/serves.sock")
    either.systemctl("start", f"{name}-http.socket")
    assert either.show(name)["ActiveState"] == "inactive"
    over, answers = Event(), list[bytes]()

    def client() -> None:
        while not over.is_set():
            answers.append(either.connect("serves.sock"))

    with ThreadPoolExecutor() as pool:
        clients = [pool.submit(client) for _ in range(3)]
        try:
            either.until_shown(name, ActiveState="active")  # by the first connection
            for _ in range(2):
                either.systemctl("restart", name)
                pid = either.show(name)["MainPID"].encode()
                while pid not in answers and not any(one.done() for one in clients):
                    """It serves."""
        finally:
            over.set()
        for one in clients:
            one.result(30)
    assert b"" not in answers
    assert len(set(answers)) == 3
    either.systemctl("stop", f"{name}-http.socket", name)


def test_the_journal_keeps_fields_and_records_of_any_size(machine: Machine) -> None:
    name = machine.install("talks", "talking", "--log-target", "journal", "--lock", "/run/talks/lock")
    machine.systemctl("start", name)
    pid = machine.show(name)["MainPID"]
    assert (machine.root / "run/talks/lock").read_text() == f"{pid}\n"
    machine.systemctl("stop", name)  # which writes what is queued
    _, said = machine.run("journalctl", "-u", name, "--no-pager", "-o", "json", "--all", "LOGGER=app")
    long, lines = [json.loads(line) for line in said.splitlines()]
    assert len(long["MESSAGE"]) > 300_000
    assert lines["MESSAGE"] == "several\nlines"
    assert (lines["TROUPER_PATH"], lines["TROUPER_GENERATION"], lines["TROUPER_LANE"]) == ("/talks", "1", "threading")
    assert (lines["PRIORITY"], lines["EXTRA_REQUEST"], lines["_PID"]) == ("6", "7", pid)
