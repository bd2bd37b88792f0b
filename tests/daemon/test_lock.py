"""One instance: `--lock`, by real processes."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.daemon.program import run_code, run_tree
from trouper import SpecError
from trouper.daemon.lock import Lock, Locked

RUN = """
from pathlib import Path
from tests.daemon.trees import idle
from trouper import run
run(idle, lock=Path({path!r}))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_second_instance_ends_with_75_and_names_the_first(path: Path) -> None:
    with run_tree("idle", "--lock", str(path)) as first:
        first.until_logged("ready after")
        with run_tree("idle", "--lock", str(path)) as second:
            assert second.end() == 75
            assert second.said == []
            assert f"another instance runs: process {first.process.pid} holds {path}" in second.log
        assert first.stop(SIGTERM) == 0
    with run_tree("idle", "--lock", str(path)) as third:
        third.until_logged("ready after")
        assert path.read_text() == f"{third.process.pid}\n"
        assert third.stop(SIGTERM) == 0


def test_run_takes_a_lock_too(path: Path) -> None:
    with run_code(RUN.format(path=str(path))) as first:
        first.until_logged("ready after")
        with run_code(RUN.format(path=str(path))) as second:
            assert second.end() == 75


@pytest.mark.parametrize("number", [SIGKILL, signal.SIGSEGV])
def test_the_lock_is_free_after_every_kind_of_death(path: Path, number: int) -> None:
    with run_tree("idle", "--lock", str(path)) as first:
        first.until_logged("ready after")
        assert first.stop(number) == -number
    with run_tree("idle", "--lock", str(path)) as second:
        second.until_logged("ready after")


def test_a_child_that_outlives_the_daemon_does_not_hold_its_lock(path: Path) -> None:
    with run_tree("logs", "--lock", str(path)) as first:
        first.wait(lambda: any(line.startswith("child ") for line in first.said))
        pid = int(first.said[0].removeprefix("child "))
        try:
            assert first.stop(SIGKILL) == -SIGKILL
            Lock(path).release()
        finally:
            os.kill(pid, SIGKILL)


def test_a_forked_child_does_not_hold_the_lock(path: Path) -> None:
    lock, (reading, writing), (hearing, telling) = Lock(path), os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.close(writing)
        os.write(telling, b"forked")
        os.read(reading, 1)  # until the parent is through
        os._exit(0)
    os.read(hearing, 6)
    lock.release()
    Lock(path).release()
    for fd in (reading, writing, hearing, telling):
        os.close(fd)
    assert os.waitpid(child, 0)[1] == 0


def test_stale_words_in_the_file_are_harmless(path: Path) -> None:
    path.write_text("12345678901234567890 and more\n")
    lock = Lock(path)
    assert path.read_text() == f"{os.getpid()}\n"
    path.write_text("")
    with pytest.raises(Locked, match="a process that did not say which holds"):
        Lock(path)
    lock.release()


def test_a_lock_whose_file_was_replaced_meanwhile_is_taken_on_the_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, replaced = fcntl.flock, list[int]()

    def replace_and_lock(fd: int, how: int) -> None:
        if not replaced:
            replaced.append(fd)
            path.unlink()
            path.touch()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", replace_and_lock)
    lock = Lock(path)
    with pytest.raises(Locked):
        Lock(path)
    lock.release()


@pytest.mark.parametrize("wrong", ["nowhere/lock", "", "link"])
def test_a_file_that_cannot_be_is_refused_with_78(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    path = tmp_path / wrong
    with pytest.raises(SpecError, match=r"the daemon: lock: given .*, allowed: a file in a directory"):
        Lock(path)
    with run_tree("idle", "--lock", str(path)) as program:
        assert program.end() == 78
        assert str(path) in program.log
        assert program.said == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="Permission denied"):
        Lock(tmp_path / "lock")
