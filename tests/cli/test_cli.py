"""The command line: `trouper run`, `trouper check`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.daemon.program import command
from trouper.cli import main

TREE = """
from __future__ import annotations

from typing import Never

from trouper import Limit, Mailbox, Message, SyncInbox, actor, child, one_for_all, one_for_one


class Sample(Message):
    value: float


class Flush(Message): ...


@actor(flavour="trio", restart="transient", drain=True)
class Writer:
    async def receive(self, message: Sample | Flush) -> None: ...


@actor(flavour="threading")
class Reader:
    every: float

    def run(self, inbox: SyncInbox[Never]) -> None:
        for _ in inbox.ticks(self.every): ...


@actor(flavour="asyncio", significant=True, restart="temporary")
class Web:
    async def receive(self, message: object) -> None: ...


tree = one_for_one(
    child(Writer).options(mailbox=Mailbox(capacity=10, overflow="reject")),
    one_for_all(child(Reader, 0.5).options(name="load", shutdown=1.5), name="readers", restarts=Limit(1, within=5)),
    child(Web).options(mailbox=Mailbox(capacity=None)),
    auto_shutdown="any_significant",
)
alone = child(Writer)


class holder:
    inner = tree
"""

DESCRIBED = """\
/: one_for_one, 3 restarts in 30 s; auto-shutdown any_significant
  writer: Writer, trio, transient; takes plant.Sample | plant.Flush; mailbox 10, reject; \
start within 30 s, shutdown 5 s; drain
  readers: one_for_all, 1 restarts in 5 s; permanent
    load: Reader, threading, permanent; takes no message at all; start within 30 s, shutdown 1.5 s
  web: Web, asyncio, temporary; takes anything; mailbox no bound; start within 30 s, shutdown 5 s; significant
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a module of its own name in it: modules are imported once in a process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    (tmp_path / "plant.py").write_text(TREE)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command that ends with 78."""
    assert main(arguments) == 78
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("trouper: ")
    return line


@pytest.mark.parametrize("target", ["plant:tree", "plant.py:tree", "./plant.py:tree", "plant:holder.inner"])
def test_check_prints_the_tree(project: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert main(["check", target]) == 0
    said = capsys.readouterr()
    assert said.out == DESCRIBED
    assert said.err == ""


def test_check_takes_one_child_for_a_tree(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "plant:alone"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("  writer: Writer, trio")


def test_a_file_imports_its_neighbours(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "site").mkdir()
    (project / "site" / "parts.py").write_text("from plant import tree")
    (project / "site" / "whole.py").write_text("from parts import tree")
    (project / "site" / "plant.py").write_text((project / "plant.py").read_text())
    assert main(["check", "site/whole.py:tree"]) == 0
    assert capsys.readouterr().out == DESCRIBED


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("plant", "given 'plant', allowed: module:attribute or path/file.py:attribute"),
        (":tree", "given ':tree', allowed"),
        ("plant:", "given 'plant:', allowed"),
        ("nowhere:tree", "there is no module 'nowhere'"),
        ("plant.nowhere:tree", "there is no module 'plant.nowhere'"),
        ("nowhere.py:tree", "there is no file nowhere.py"),
        ("plant:forest", "plant has no attribute 'forest'; trees in it: alone, tree"),
        ("plant:holder.outer", "plant has no attribute 'holder.outer'"),
        ("plant:Sample", "plant:Sample is <class 'plant.Sample'>, allowed: a supervisor or a child(...)"),
        (".plant:tree", "given '.plant' for a module, allowed"),
        ("..:tree", "given '..' for a module, allowed"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_is_not_there_is_refused_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], command: str, target: str, text: str
) -> None:
    assert text in refused(capsys, command, target)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1 / 0", "broken.py:1: ZeroDivisionError: division by zero"),
        ("import plant\nimport absent", "broken.py:2: ModuleNotFoundError: No module named 'absent'"),
        ("def tree(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(0)", "broken.py:1: SystemExit: 0"),
        ("from plant import *\ntree = child(Reader)", "missing a required argument: 'every'"),
        (
            "from plant import *\ntree = one_for_one(alone, alone)",
            "/writer-2: child: given child(plant.Writer), which stands at /writer already, allowed: one place",
        ),
    ],
)
@pytest.mark.parametrize("target", ["broken:tree", "broken.py:tree"])
def test_what_cannot_be_imported_is_refused_in_one_line_that_names_the_place(
    project: Path, capsys: pytest.CaptureFixture[str], source: str, text: str, target: str
) -> None:
    (project / "broken.py").write_text(source)
    assert text in refused(capsys, "check", target)


def test_a_file_does_not_take_the_place_of_a_module_that_is_loaded(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "logging.py").write_text((project / "plant.py").read_text())
    assert "'logging'" in refused(capsys, "check", "logging.py:tree")


def test_check_finds_two_messages_with_one_tag(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "twins.py").write_text("""
from trouper import Message, actor, child, one_for_one

class One(Message, tag="same"): ...
class Two(Message, tag="same"): ...

@actor(flavour="trio")
class Confused:
    async def receive(self, message: One | Two) -> None: ...

tree = one_for_one(one_for_one(child(Confused), name="group"))
""")
    line = refused(capsys, "check", "twins:tree")
    assert "/group/confused: mailbox: given the tag 'same' of both twins.One | twins.Two, allowed: diff" in line


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"trouper {version('trouper')}\n"


def test_help_names_the_commands_and_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "run a tree as a daemon" in text
    assert "validate a tree and print it" in text
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "path/file.py:attribute" in text
    assert "--log-level" in text


@pytest.mark.parametrize(
    ("arguments", "error", "allowed"),
    [
        ([], "trouper: error: the following arguments are required: COMMAND", []),
        (["fly"], "trouper: error: argument COMMAND: invalid choice: 'fly'", ["run", "check", "unit"]),
        (["run"], "trouper run: error: the following arguments are required: TARGET", []),
        (
            ["run", "plant:tree", "--log-level", "loud"],
            "trouper run: error: argument --log-level: invalid choice: 'loud'",
            ["debug", "info", "warning", "error", "critical"],
        ),
        (["run", "plant:tree", "--stop-within", "-1"], "argument --stop-within: invalid seconds value: '-1'", []),
        (["check", "plant:tree", "more"], "trouper: error: unrecognized arguments: more", []),
    ],
)
def test_a_wrong_argument_is_refused_with_what_was_given_what_is_allowed_and_the_usage(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, allowed: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: trouper ")
    told = said.err.splitlines()[-1]
    assert error in told
    assert all(word in told.partition("(choose from ")[2] for word in allowed)


@pytest.mark.parametrize("target", ["plant:tree", "plant.py:tree"])
def test_run_runs_the_tree_that_is_named(project: Path, target: str) -> None:
    with command("run", target, cwd=project) as program:
        program.until_logged("ready after")
        assert program.stop(SIGTERM) == 0
        assert "INFO     trouper: stopping: SIGTERM" in program.log


def test_the_log_level_is_the_least_that_is_logged(project: Path) -> None:
    (project / "talks.py").write_text("""
from trouper import actor, child

@actor(flavour="trio", restart="temporary")
class Talks:
    async def run(self) -> None:
        print("up", flush=True)
        raise ValueError("and gone")

tree = child(Talks)
""")
    with command("run", "talks:tree", "--log-level", "error", cwd=project) as program:
        program.until_logged("ValueError: and gone")
        assert program.stop(SIGTERM) == 0
        assert "INFO" not in program.log


def test_the_installed_command_is_the_same(project: Path) -> None:
    installed = Path(sys.executable).parent / "trouper"
    ended = subprocess.run(
        [installed, "check", "plant:nothing"], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 78
    assert ended.stderr == "trouper: plant has no attribute 'nothing'; trees in it: alone, tree\n"
