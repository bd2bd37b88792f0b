"""The docs are true: their programs run and print what they say, and what they list is what there is.

All python blocks of a page are one program, which keeps its line numbers: an error names the line of the page.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trouper
from trouper import events
from trouper.actors.options import OPTION_NAMES
from trouper.cli import parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TROUPER = [sys.executable, "-m", "trouper"]
FUTURE = "from __future__ import annotations"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
SAID = re.compile(r"^\s*print\(.*\)  # (.*)$")


def program(page: Path) -> str:
    """The python blocks, every line where it stands in the page; the first line is a heading there."""
    lines, inside = [""], False
    for line in page.read_text().splitlines()[1:]:
        if line.startswith("```"):
            inside = line == "```python"
            line = ""  # noqa: PLW2901 - the fence is no part of it
        lines.append(line if inside else "")
    if FUTURE not in lines and any(lines):
        lines[0] = FUTURE
    return "\n".join(lines) + "\n"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PROGRAMS = [page for page in PAGES if program(page).strip()]


def name_of(page: Path) -> str:
    return page.name


@pytest.mark.once
@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_the_program_of_a_page_runs_and_prints_what_its_comments_say(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem.lower()}_page.py"
    script.write_text(program(page))
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    expected = [match[1] for line in program(page).splitlines() if (match := SAID.match(line))]
    if expected:
        assert ran.stdout.splitlines() == expected


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    for page in PROGRAMS:
        (folder / f"{page.stem.lower()}_page.py").write_text(program(page))
    return folder


@pytest.mark.long
def test_mypy_accepts_the_programs(programs: Path) -> None:
    pytest.importorskip("mypy")
    cache = ROOT / ".mypy_cache" / "docs-tests"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    command += ["--follow-imports=silent", *sorted(map(str, programs.iterdir()))]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.long
def test_basedpyright_accepts_the_programs(programs: Path) -> None:
    pytest.importorskip("basedpyright")
    settings = {"extraPaths": [str(ROOT / "src")], "typeCheckingMode": "standard", "reportMatchNotExhaustive": "error"}
    (programs / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", f"--pythonpath={sys.executable}", "-p", str(programs)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout


def test_the_readme_shows_the_hello_example_as_it_is() -> None:
    example = (ROOT / "examples" / "hello.py").read_text()
    assert f"```python\n{example}```\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", page.read_text()):
        assert re.search(rf"^{target}:|^\.PHONY:.*\b{target}\b", makefile, re.MULTILINE), target


@pytest.mark.parametrize("name", trouper.__all__)
def test_every_public_name_is_told_somewhere(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in PAGES)


def test_the_guide_tells_every_event_with_its_fields() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    for event in events.Event.__subclasses__():
        fields = ", ".join(f"`{field}`" for field in event.__struct_fields__)
        assert f"| `{event.__name__}` | {fields} |" in guide


def test_the_guide_tells_every_option_of_a_child() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    assert [name for name in OPTION_NAMES if f"| `{name}` |" not in guide] == []


@pytest.mark.once
def test_the_guide_tells_every_command_with_its_options() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    commands = re.findall(r"^    ([a-z]+)  ", parser().format_help(), re.MULTILINE)
    assert commands
    shown = [subprocess.run([*TROUPER, it, "--help"], capture_output=True, text=True, check=True) for it in commands]
    options = {option for ran in shown for option in re.findall(r" (--[a-z-]+)", ran.stdout)} - {"--help"}
    assert [option for option in sorted(options) if f"`{option}" not in guide] == []
    assert [command for command in commands if not re.search(rf"`trouper {command}\s", guide)] == []


def test_the_architecture_page_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = {path.stem for path in (ROOT / "src" / "trouper").rglob("*.py")} - {"__init__"}
    assert [module for module in sorted(modules) if not re.search(rf"\b{module}\b", text)] == []
