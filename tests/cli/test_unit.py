"""`trouper unit`: what it prints, and that systemd understands it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import project as project  # noqa: PLC0414 - a fixture
from trouper.cli import main
from trouper.cli import unit as unit_module
from trouper.cli.options import RUN_OPTIONS, parser
from trouper.cli.unit import best_type, quoted


@pytest.fixture(autouse=True)
def old_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_module, "best_type", lambda: "notify")


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["unit", "plant:tree", *options]) == 0
    return capsys.readouterr().out


def settings(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_a_unit_runs_the_tree_and_is_told_when_it_is_ready(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert text.startswith("# /etc/systemd/system/plant.service\n[Unit]\n")
    assert settings(text, "ExecStart") == [f"{sys.executable} -m trouper run plant:tree"]
    assert settings(text, "WorkingDirectory") == [str(project)]
    assert settings(text, "Type") == ["notify"]
    assert settings(text, "ExecReload") == ["kill -HUP $MAINPID", "sleep 0.2"]
    assert settings(text, "TimeoutStopSec") == ["70"]
    assert settings(text, "RestartPreventExitStatus") == ["78"]
    assert settings(text, "DynamicUser") == ["yes"]
    assert settings(text, "WatchdogSec") == ["30"]


def test_a_newer_systemd_reloads_by_itself(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "best_type", lambda: "notify-reload")
    text = printed(capsys)
    assert settings(text, "Type") == ["notify-reload"]
    assert settings(text, "ExecReload") == []
    assert settings(printed(capsys, "--type", "notify"), "Type") == ["notify"]


def test_what_the_systemd_here_can_do_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = tmp_path / "systemctl"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert best_type() == "notify"
    for says, best in [("systemd 252 (252.38)", "notify"), ("systemd 253 (253)", "notify-reload"), ("what?", "notify")]:
        systemctl.write_text(f"#!/bin/sh\necho '{says}'\n")
        systemctl.chmod(0o755)
        assert best_type() == best


def test_every_option_of_run_is_carried_into_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--uvloop", "--stop-within", "12.5", "--stall-after", "2", "--lock", "/run/plant/lock"]
    options += ["--log-level", "debug", "--log-format", "json", "--log-target", "/var/log/plant/log"]
    assert {option for option in options if option.startswith("--")} == set(RUN_OPTIONS)
    text = printed(capsys, *options)
    [command] = settings(text, "ExecStart")
    assert command == f"{sys.executable} -m trouper run plant:tree {' '.join(options)}"
    assert vars(parser().parse_args(command.split()[3:])) == vars(parser().parse_args(["run", "plant:tree", *options]))
    assert settings(text, "TimeoutStopSec") == ["22.5"]
    assert settings(text, "ReadWritePaths") == ["/var/log/plant"]  # and /run/plant is its own


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (["--user", "www-data"], "User", "www-data"),
        (["--watchdog", "2.5"], "WatchdogSec", "2.5"),
        (["--stop-within", "inf"], "TimeoutStopSec", "infinity"),
        (["--name", "other"], "StateDirectory", "other"),
    ],
)
def test_an_option_of_its_own(
    project: Path, capsys: pytest.CaptureFixture[str], options: list[str], key: str, value: str
) -> None:
    assert settings(printed(capsys, *options), key) == [value]


def test_sockets_have_units_of_their_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--socket", "http=:8080", "--socket", "admin=/run/plant admin.sock")
    files = re.findall(r"^# (\S+)$", text, re.MULTILINE)
    assert [Path(name).name for name in files if name.startswith("/")] == [
        "plant.service",
        "plant-http.socket",
        "plant-admin.socket",
    ]
    assert settings(text, "Sockets") == ["plant-http.socket plant-admin.socket"]
    assert settings(text, "ListenStream") == ["8080", "/run/plant admin.sock"]
    assert settings(text, "FileDescriptorName") == ["http", "admin"]


@pytest.mark.parametrize(
    "options", [["--socket", "http"], ["--socket", "=:80"], ["--name", "a b"], ["--watchdog", "0"]]
)
def test_an_option_that_is_none_is_refused_with_the_usage(
    project: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["unit", "plant:tree", *options])
    assert ended.value.code == 2
    assert "usage: trouper" in capsys.readouterr().err


def test_a_tree_that_is_none_has_no_unit(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unit", "plant:nothing"]) == 78
    assert capsys.readouterr().out == ""


def test_files_that_cannot_be_written_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unit", "plant:tree", "--into", "/nowhere"]) == 78
    assert "/nowhere" in capsys.readouterr().err


def test_a_directory_that_is_closed_to_the_user_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project.chmod(0o700)
    assert main(["unit", "plant:tree"]) == 0
    assert f"trouper: {project} is closed to the user that systemd makes up; --user" in capsys.readouterr().err
    assert main(["unit", "plant:tree", "--user", "root"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain/path-1.2:x", "plain/path-1.2:x"),
        ("100%", "100%%"),
        ("two words", '"two words"'),
        ('"', r'"\""'),
        ("\\", r'"\\"'),
        ("", '""'),
        ("é", '"é"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert quoted(word) == written


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_the_files_and_finds_them_safe(project: Path, capfd: Any) -> None:
    units = project / "units"
    units.mkdir()
    odd = ["--lock", "/run/plant/lock $HOME %n", "--log-target", "journal"]
    assert main(["unit", "plant:tree", "--into", str(units), "--socket", "http=127.0.0.1:8080", *odd]) == 0
    files = sorted(units.iterdir())
    checked = subprocess.run(
        ["systemd-analyze", "verify", *files],  # noqa: S607 - the one on the path
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "plant" in line]
    assert ours == []
    assert checked.returncode == 0
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", units / "plant.service"],  # noqa: S607 - the same
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert scored.returncode == 0, scored.stdout
