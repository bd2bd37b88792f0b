"""`trouper check` of a tree with processes: it is printed, and what cannot travel is refused with its path."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trouper.cli import main

pytestmark = pytest.mark.once

TREE = """
from __future__ import annotations
from trouper import Message, Ref, actor, child, one_for_one, process

class Note(Message):
    text: str

class Held(Message):
    by: list[int] | set[int]

@actor(flavour="trio")
class Store:
    limit: int = 0
    async def receive(self, message: Note) -> None: ...

@actor(flavour="threading")
class Keeper:
    def receive(self, message: Held) -> None: ...

@actor(flavour="trio")
class Writer:
    to: Ref[object]
    async def receive(self, message: Note) -> None: ...

stores = process(one_for_one(child(Store, 3), child(Store, limit=4).options(name="other")), workers=3, name="stores")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield tmp_path
    del sys.modules["yard"]


def test_a_tree_with_processes_is_printed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "yard.py").write_text(f"{TREE}\ntree = one_for_one(child(Keeper), stores)")
    assert main(["check", "yard:tree"]) == 0
    said = capsys.readouterr()
    assert [line.partition("; takes")[0] for line in said.out.splitlines()] == [
        "/: one_for_one, 3 restarts in 30 s",
        "  keeper: Keeper, threading, permanent",
        "  stores: 3 processes by forkserver, 3 restarts in 30 s for each; permanent",
        "    *: one_for_one, 3 restarts in 30 s; permanent",
        "      store: Store, trio, permanent",
        "      other: Store, trio, permanent",
    ]
    assert said.err == ""


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        pytest.param(
            "process(one_for_one(one_for_one(child(Keeper), name='deep')), name='cpu')",
            r"/cpu/\*/deep/keeper: message: given yard.Held \(Type unions .*\), allowed: what msgspec can decode: ",
            id="the mailbox of an actor in it",
        ),
        pytest.param(
            "process(child(Store, limit=lambda: 1), name='cpu')",
            r"/cpu/\*/store: argument 'limit': given <function .*, allowed: what can travel to another process: ",
            id="an argument",
        ),
        pytest.param(
            "keeper := child(Keeper), process(child(Writer, keeper.ref), name='cpu')",
            r"/cpu/\*/writer: argument 1: given <Ref yard.Keeper.*>, which takes: message: yard.Held \(Type unions ",
            id="the mailbox of an actor without whose address it has",
        ),
    ],
)
def test_what_cannot_travel_is_refused_with_its_path(
    project: Path, capsys: pytest.CaptureFixture[str], tree: str, text: str
) -> None:
    (project / "yard.py").write_text(f"{TREE}\ntree = one_for_one({tree})")
    assert main(["check", "yard:tree"]) == 78
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert re.match(f"trouper: {text}", line), line
