"""The same seed gives the same order of events, every time and on every Python; another seed gives another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.station import ROOT
from tests.testing.company import digest, trace
from trouper import Request, actor, child, current
from trouper.testing import Trial

VENVS = [Path(sys.prefix), *Path(sys.prefix).parent.glob(".venv-3.*")]  # as `make test` has them, this one among them
PYTHONS = sorted({venv / "bin" / "python" for venv in VENVS})


def test_a_seed_gives_the_same_trace_each_time() -> None:
    first = trace(1)
    assert len(first) > 400
    assert trace(1) == first


def test_seeds_give_different_orders_of_the_same_work() -> None:
    traces = [trace(seed) for seed in range(3)]
    assert len(set(map(tuple, traces))) == 3


@pytest.mark.long
@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("hashes", ["0", "1"])
def test_a_seed_gives_the_same_trace_on_every_python_whatever_its_hashes(python: Path, hashes: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONHASHSEED": hashes}
    command = [str(python), "-m", "tests.testing.company", "1", "2"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == [digest(1), digest(2)]


class Draw(Request[float]):
    """A number of the daemon's own random generator."""


@actor(flavour="trio")
class Gambler:
    async def receive(self, message: Draw) -> float:
        return current(self).daemon.world.random.random()


def draws(seed: int) -> list[float]:
    it = child(Gambler)
    with Trial(it, seed=seed) as t:
        return [t.ask(it.ref, Draw()) for _ in range(3)]


def test_what_the_runtime_leaves_to_chance_comes_from_the_seed() -> None:
    assert draws(1) == draws(1)
    assert draws(1) != draws(2)
