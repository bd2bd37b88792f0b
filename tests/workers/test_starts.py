"""How workers come to be: what is imported for all of them, when none is forked, what they are called."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.daemon.program import Program
from tests.workers.cast import Idle
from tests.workers.house import Stage, command_of, house, stage
from trouper import child, one_for_one, process
from trouper.daemon.process import GC_THRESHOLD
from trouper.workers.spec import Start

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once

NOTES = """
from __future__ import annotations
import os, sys, threading
from pathlib import Path
from trouper import Request, actor

def note(what):
    with Path({notes!r}).open("a") as notes:
        notes.write(f"{{os.getpid()}} {{what}}\\n")

def note_import(event, args):
    if event == "import" and args[0].partition(".")[0] in ("trouper", "trio", "msgspec"):
        note(args[0])

note("itself")
if os.getpid() != {tester}:
    sys.addaudithook(note_import)

class WhoIs(Request[tuple[int, list[str]]]):
    '''Your process id, and the names of your threads.'''

@actor(flavour="threading")
class Noted:
    def receive(self, message: WhoIs) -> tuple[int, list[str]]:
        return os.getpid(), [thread.name for thread in threading.enumerate()]
"""

LEAVES_A_THREAD = """
over = threading.Event()
threading.Thread(target=over.wait, name="left by an import", daemon=True).start()
"""


class Notes:
    """Makes a module with an actor, which notes where it is imported, and what is imported there after it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "notes"

    def module(self, name: str, more: str = "") -> Any:
        source = NOTES.format(notes=str(self.file), tester=os.getpid()) + more
        (self.folder / f"{name}.py").write_text(source)
        return importlib.import_module(name)

    @property
    def taken(self) -> list[tuple[int, str]]:
        pairs = [line.split(" ", 1) for line in self.file.read_text().splitlines()]
        return [(int(pid), what) for pid, what in pairs]

    @property
    def importers(self) -> list[int]:
        return [pid for pid, what in self.taken if what == "itself"]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    monkeypatch.syspath_prepend(tmp_path)
    return Notes(tmp_path)


async def test_the_forkserver_imports_trouper_and_what_the_tree_names_once_for_all_workers(notes: Notes) -> None:
    module = notes.module("noted_once")
    noted = child(module.Noted)
    group = process(noted, workers=3, name="cpu")
    async with house(one_for_one(group)) as inside:
        copies = group.copies(noted.ref)
        pids = {(await copies.worker(number).ask(module.WhoIs()))[0] for number in range(3)}
        launcher = inside.launcher("/cpu")
        assert len({*pids, launcher, os.getpid()}) == 5
    assert notes.importers == [os.getpid(), launcher]
    assert (launcher, "trouper.workers.cargo") in notes.taken
    assert {pid for pid, _ in notes.taken} == {os.getpid(), launcher}, notes.taken


async def test_where_an_import_leaves_a_thread_workers_are_new_interpreters_instead_of_forks(notes: Notes) -> None:
    module = notes.module("noted_with_a_thread", LEAVES_A_THREAD)
    noted = child(module.Noted)
    group = process(noted, workers=2, name="cpu")
    try:
        async with house(one_for_one(group)) as inside:
            copies = group.copies(noted.ref)
            launcher = inside.launcher("/cpu")
            pids: list[int] = []
            for number in (0, 1):
                pid, threads = await copies.worker(number).ask(module.WhoIs())
                pids.append(pid)
                assert "left by an import" in threads, "a fork has one thread"
                assert "trouper.workers.forkserver" not in command_of(pid)
            assert sorted(notes.importers) == sorted([os.getpid(), launcher, *pids])
    finally:
        module.over.set()


RESTLESS = """
import gc, signal

signal.signal(signal.SIGUSR2, signal.SIG_IGN)
gc.set_threshold(123)
note(f"imported in {threading.current_thread().name}")

class HowMany(Request[int]):
    '''At how many objects do you collect?'''

@actor(flavour="threading")
class Collects:
    def receive(self, message: HowMany) -> int:
        return gc.get_threshold()[0]
"""


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
async def test_modules_are_imported_in_the_main_thread_of_a_process_and_its_collector_is_tuned_after_that(
    start: Start, notes: Notes
) -> None:
    before, handler = gc.get_threshold(), signal.getsignal(signal.SIGUSR2)
    try:
        module = notes.module(f"restless_{start}", RESTLESS)
    finally:
        gc.set_threshold(*before)
        signal.signal(signal.SIGUSR2, handler)
    collects = child(module.Collects)
    async with house(one_for_one(process(collects, name="cpu", start=start))):
        assert await collects.ref.ask(module.HowMany()) == GC_THRESHOLD[0]
    imports = [what for _, what in notes.taken if what.startswith("imported")]
    assert len(imports) >= 2
    assert set(imports) == {"imported in MainThread"}


TITLES = """
import os
from pathlib import Path

def setproctitle(title):
    with Path({titles!r}).open("a") as titles:
        titles.write(f"{{os.getpid()}} {{title}}\\n")
"""


async def test_the_list_of_processes_says_what_each_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = tmp_path / "titles"
    (tmp_path / "setproctitle.py").write_text(TITLES.format(titles=str(titles)))
    monkeypatch.syspath_prepend(tmp_path)
    with stage() as heard:
        group = process(child(Idle, heard.path), workers=2, name="cpu")
        async with house(one_for_one(group)) as inside:
            first, second = await inside.pid("/cpu/0"), await inside.pid("/cpu/1")
            launcher = inside.launcher("/cpu")
    assert sorted(titles.read_text().splitlines()) == sorted(
        [
            f"{launcher} trouper: starts the workers of /cpu",
            f"{first} trouper: to be a worker of /cpu",
            f"{first} trouper: worker /cpu/0",
            f"{second} trouper: to be a worker of /cpu",
            f"{second} trouper: worker /cpu/1",
        ]
    )


OF_THE_MAIN_MODULE = """
from __future__ import annotations
import sys
from dataclasses import dataclass
import trio
from tests.workers.cast import say
from trouper import Ref, Request, actor, child, current, one_for_one, process, run

WHERE, START = sys.argv[1:]

@dataclass
class Manner:
    words: str

class Greet(Request[Manner]):
    manner: Manner

@actor(flavour="trio")
class Greeter:
    manner: Manner
    async def receive(self, message: Greet) -> Manner:
        assert type(message.manner) is Manner
        return Manner(f"{message.manner.words} {self.manner.words} from {current(self).daemon.worker_id}")

@actor(flavour="trio")
class Caller:
    greeter: Ref[Greet]
    async def run(self) -> None:
        answer = await self.greeter.ask(Greet(Manner("hello")))
        assert type(answer) is Manner
        say(WHERE, "answered", answer.words)
        await trio.sleep_forever()

if __name__ == "__main__":
    greeter = child(Greeter, Manner("world"))
    run(one_for_one(process(greeter, name="cpu", start=START), child(Caller, greeter.ref)))
"""


def greets(heard: Stage, folder: Path, start: str, *how: str) -> Program:
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command, pipe = [sys.executable, *how, heard.path, start], subprocess.PIPE
    return Program(subprocess.Popen(command, env=environ, cwd=folder, text=True, stdout=pipe, stderr=pipe))


@pytest.mark.parametrize(
    ("start", "how"),
    [
        pytest.param("forkserver", ["-m", "greets"], id="a module, forkserver"),
        pytest.param("spawn", ["greets.pyz"], id="an archive, spawn"),
    ],
)
async def test_classes_values_and_messages_of_the_main_module_travel(
    start: str, how: list[str], tmp_path: Path
) -> None:
    (tmp_path / "greets.py").write_text(OF_THE_MAIN_MODULE)
    with ZipFile(tmp_path / "greets.pyz", "w") as archive:
        archive.writestr("__main__.py", OF_THE_MAIN_MODULE)
    with stage() as heard, greets(heard, tmp_path, start, *how) as program:
        assert await heard.hear("answered") == ["hello", "world", "from", "0"]
        assert program.stop(signal.SIGTERM) == 0
