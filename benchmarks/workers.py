"""Worker processes: how soon one is replaced, how soon ten are, how soon all end, and what one weighs.

```
python benchmarks/workers.py                       # all of it, the medians of seven runs
python benchmarks/workers.py --runs 3 --without-cotyledon
```

`bare` is multiprocessing's forkserver with the same modules preloaded. cotyledon gets an environment of its own, made
in a temporary folder. Prints a line of JSON for each figure of each run, then the medians, and what is wanted of them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import trio
from common import expect, say

from trouper import Request, actor, child, current, one_for_one, open_daemon, process, run

TEN = 10
SPARE = 1.0  # seconds until a spare process is up
PRELOAD = ["trouper", "trouper.daemon.worker", "workers"]


class WhoIs(Request[int]):
    """Which process is it?"""


@actor(flavour="trio")
class Clerk:
    async def receive(self, _: WhoIs) -> int:
        return os.getpid()


@actor(flavour="trio")
class Idle:
    """It says that it is up, through a pipe."""

    pipe: str

    async def run(self) -> None:
        tell(self.pipe)
        await current(self).sleep(600)


def tell(pipe: str) -> None:
    with Path(pipe).open("ab", buffering=0) as file:
        file.write(b".")


class Hall:
    """A pipe by which processes say that they are up."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/up"
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR)

    def until(self, count: int) -> None:
        while count > 0:
            ready, _, _ = select.select([self.fd], [], [], 60)
            expect(bool(ready), wanted=True)
            count -= len(os.read(self.fd, count))


# -- trouper -----------------------------------------------------------------------------------------------------------
def of_trouper(workers: int, measure: Callable[..., Any], spares: int = 0) -> Any:
    """Measure in a daemon with so many workers, and so many spare processes."""

    async def main() -> Any:
        clerk = child(Clerk)
        async with open_daemon(one_for_one(process(clerk, workers=workers, name="desk", spares=spares))) as daemon:
            await trio.sleep(SPARE * spares)
            tree = await daemon.tree()
            pids = [node.pid for node in tree.walk() if node.kind == "worker"]
            return await measure(clerk.ref, pids)

    return trio.run(main)


async def replace(clerks: Any, pids: list[int]) -> float:
    """From the kill to the answers of as many others."""
    for number in range(len(pids)):
        await clerks.worker(number).ask(WhoIs())
    answers: list[int] = []

    async def ask(number: int) -> None:
        answer = pids[number]
        while answer == pids[number]:
            with suppress(Exception):  # it was under way to the one that died
                answer = await clerks.worker(number).ask(WhoIs(), timeout=60.0)
        answers.append(answer)

    begin = time.perf_counter()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    async with trio.open_nursery() as nursery:
        for number in range(len(pids)):
            nursery.start_soon(ask, number)
    seconds = time.perf_counter() - begin
    expect(bool(set(answers) & set(pids)), wanted=False)
    return seconds


async def weigh(clerks: Any, pids: list[int]) -> float:
    for number in range(len(pids)):
        await clerks.worker(number).ask(WhoIs())
    return median(map(private, pids))


def private(pid: int) -> int:
    """Bytes that no other process has in memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


# -- bare --------------------------------------------------------------------------------------------------------------
def bare_worker(end: Connection) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(EOFError):
        while True:
            end.recv()
            end.send(os.getpid())


def bare_start() -> tuple[Any, Connection]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours, theirs = multiprocessing.Pipe()
    worker = context.Process(target=bare_worker, args=(theirs,), daemon=True)
    worker.start()
    theirs.close()
    ours.send(None)
    expect(ours.recv(), worker.pid)
    return worker, ours


def bare_replaced() -> float:
    bare_start()  # the forkserver itself
    begin = time.perf_counter()
    bare_start()
    return time.perf_counter() - begin


def bare_ends() -> float:
    worker, _ = bare_start()
    begin = time.perf_counter()
    worker.terminate()
    worker.join()
    seconds = time.perf_counter() - begin
    expect(worker.exitcode, 0)
    return seconds


def bare_weight() -> float:
    worker, _ = bare_start()
    return private(worker.pid)


# -- whole programs ----------------------------------------------------------------------------------------------------
def idle_program(pipe: str) -> None:
    run(one_for_one(process(child(Idle, pipe), workers=TEN, name="idle")))


def end_of(command: list[str], hall: Hall) -> float:
    """From SIGTERM to the end of a program with ten idle workers."""
    with subprocess.Popen([*command, hall.path], stderr=subprocess.DEVNULL) as program:  # noqa: S603 - our own
        hall.until(TEN)
        begin = time.perf_counter()
        program.send_signal(signal.SIGTERM)
        until_ended(program.pid)
        return time.perf_counter() - begin


def until_ended(pid: int) -> None:
    """Wait for the end of a process; `Popen.wait` with a timeout looks only now and then, at last every 50 ms."""
    guard = os.pidfd_open(pid)
    ready, _, _ = select.select([guard], [], [], 60)
    os.close(guard)
    expect(bool(ready), wanted=True)


COTYLEDON = """
import os, sys, time
import cotyledon

class Idle(cotyledon.Service):
    def run(self):
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b".")
        time.sleep(600)

if __name__ == "__main__":
    manager = cotyledon.ServiceManager()
    manager.add(Idle, workers=10)
    manager.run()
"""


def cotyledon_recovers(command: list[str]) -> float:
    """Ten workers killed at once, until ten others are up."""
    hall = Hall()
    with subprocess.Popen([*command, hall.path], stderr=subprocess.DEVNULL) as program:  # noqa: S603 - our own
        hall.until(TEN)
        of_all = Path(f"/proc/{program.pid}/task").glob("*/children")
        workers = [int(pid) for of_thread in of_all for pid in of_thread.read_text().split()]
        begin = time.perf_counter()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        hall.until(TEN)
        seconds = time.perf_counter() - begin
        program.send_signal(signal.SIGTERM)
        program.wait(60)
    return seconds


def cotyledon(folder: Path) -> list[str]:
    """Make an environment with it, and return the command of its program."""
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "cotyledon==2.2.0"], check=True)  # noqa: S603 - our own
    script = folder / "program.py"
    script.write_text(COTYLEDON)
    return [python, str(script)]


# -- runs --------------------------------------------------------------------------------------------------------------
FIGURES: dict[str, Callable[[], float]] = {
    "replaced_s": lambda: of_trouper(1, replace),
    "replaced_by_a_spare_s": lambda: of_trouper(1, replace, spares=1),
    "bare_replaced_s": bare_replaced,
    "ten_replaced_s": lambda: of_trouper(TEN, replace),
    "ten_end_s": lambda: end_of([sys.executable, __file__, "--idle"], Hall()),
    "bare_ends_s": bare_ends,
    "private_bytes": lambda: of_trouper(1, weigh),
    "bare_private_bytes": bare_weight,
}


def in_a_process_of_its_own(name: str) -> float:
    folder = str(Path(__file__).parent)
    program = f"import workers; workers.say(repr(workers.FIGURES[{name!r}]()))"  # no main module that is run again
    environ = {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit(1)
    return float(done.stdout)


def wanted(figures: dict[str, float]) -> dict[str, tuple[float, float]]:
    """What was found of one run, and what is wanted of it, at most."""
    bare = figures["bare_replaced_s"]
    found = {
        "replaced by a spare, to a bare forkserver start": (figures["replaced_by_a_spare_s"] / bare, 1.5),
        "replaced by a fork, to a bare forkserver start": (figures["replaced_s"] / bare, 1.5),
        "seconds for ten that were killed at once": (figures["ten_replaced_s"], 1.0),
        "seconds for the end of ten beyond that of a bare one": (figures["ten_end_s"] - figures["bare_ends_s"], 0.05),
        "private MB beyond its imports": ((figures["private_bytes"] - figures["bare_private_bytes"]) / 1e6, 6.0),
    }
    if "cotyledon_ten_replaced_s" in figures:
        ratio = figures["ten_replaced_s"] / figures["cotyledon_ten_replaced_s"]
        found["ten that were killed at once, to cotyledon"] = ratio, 1.0
        found["end of ten, to cotyledon"] = figures["ten_end_s"] / figures["cotyledon_ten_end_s"], 1.0
    return found


def main() -> None:
    """Take turns, so that what else the machine does hits all alike."""
    arguments = argparse.ArgumentParser(description="Worker processes.")
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--without-cotyledon", action="store_true")
    arguments.add_argument("--idle", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.idle:
        idle_program(chosen.idle)
    with tempfile.TemporaryDirectory() as folder:
        every = {name: partial(in_a_process_of_its_own, name) for name in FIGURES}
        if not chosen.without_cotyledon:
            command = cotyledon(Path(folder))
            every["cotyledon_ten_replaced_s"] = partial(cotyledon_recovers, command)
            every["cotyledon_ten_end_s"] = lambda: end_of(command, Hall())
        runs = []
        for number in range(chosen.runs):
            runs.append({name: measure() for name, measure in every.items()})
            say(json.dumps({"run": number + 1, **runs[-1]}))
    say(json.dumps({"medians": {name: median(figures[name] for figures in runs) for name in runs[0]}}))
    for name in wanted(runs[0]):
        found, most = median(wanted(figures)[name][0] for figures in runs), wanted(runs[0])[name][1]
        say(json.dumps({"target": name, "found": round(found, 3), "wanted": most, "meets": found <= most}))


if __name__ == "__main__":
    main()
