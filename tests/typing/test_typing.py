"""Both type checkers refuse exactly the marked lines of `refused.py`, for the marked reasons, and accept `accepted.py`.

The markers are taken away in a copy: what the checkers say of it must be what the markers said. That the markers
themselves are right (and needed) is seen by the checkers' runs over the whole project.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PROGRAMS = ("accepted.py", "refused.py")
MARKERS = {"mypy": r"  # type: ignore\[(.*?)\]", "basedpyright": r"  # pyright: ignore\[(.*?)\]"}
MYPY_SAYS = re.compile(r"(\w+\.py):(\d+): error: .*\[([\w-]+)\]")

Findings = AbstractSet[tuple[str, int, str]]
"""File, line, and the code of an error."""


def marked(checker: str) -> Findings:
    found = set()
    for name in PROGRAMS:
        for number, line in enumerate((HERE / name).read_text().splitlines(), 1):
            for codes in re.findall(MARKERS[checker], line):
                found |= {(name, number, code) for code in codes.split(", ")}
    return found


@pytest.fixture
def stripped(tmp_path: Path) -> Path:
    folder = tmp_path / "stripped"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name in PROGRAMS:
        text = (HERE / name).read_text()
        for marker in MARKERS.values():
            text = re.sub(marker, "", text)
        (folder / name).write_text(text)
    return folder


def test_every_mistake_is_marked_for_both_checkers_and_nothing_else_is() -> None:
    lines = {checker: {(name, number) for name, number, _ in marked(checker)} for checker in MARKERS}
    assert lines["mypy"] == lines["basedpyright"]
    assert len(lines["mypy"]) > 60
    assert {name for name, _ in lines["mypy"]} == {"refused.py"}


def test_the_accepted_program_is_accepted_by_the_runtime_too() -> None:
    assert importlib.import_module("tests.typing.accepted").tree.strategy == "one_for_all"


@pytest.mark.long
def test_mypy_finds_the_marked_mistakes_and_no_others(stripped: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "--hide-error-context"]
    command += ["--show-error-codes", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'typing-tests'}"]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    command += ["--follow-imports=silent", "stripped"]
    run = subprocess.run(
        command, cwd=stripped.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = MYPY_SAYS.findall(run.stdout)
    assert {(name, int(line), code) for name, line, code in said} == marked("mypy"), run.stdout + run.stderr


@pytest.mark.long
def test_basedpyright_finds_the_marked_mistakes_and_no_others(stripped: Path) -> None:
    pytest.importorskip("basedpyright")
    settings = {
        "include": ["stripped"],
        "extraPaths": [str(ROOT / "src")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": False,
    }
    project = stripped.parent / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        f"--pythonpath={sys.executable}",
        "-p",
        str(project),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = json.loads(run.stdout)["generalDiagnostics"]
    findings = {(Path(it["file"]).name, it["range"]["start"]["line"] + 1, it.get("rule", it["message"])) for it in said}
    assert findings == marked("basedpyright"), run.stderr
