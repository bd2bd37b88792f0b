"""The pytest plugin, in runs of pytest of its own: alone, and beside pytest-trio and pytest-asyncio."""

from __future__ import annotations

import importlib.metadata
import tomllib
from importlib.util import find_spec

import pytest

from tests.actors.stage import FlavourName
from tests.examples.station import ROOT

pytest_plugins = ["pytester"]

PLUGIN = "trouper.testing.plugin"

ACTORS = """
from __future__ import annotations
import asyncio
import pytest
import trio
from trouper import Request, actor, child, current

class Twice(Request[int]):
    value: int

@actor(flavour="{flavour}")
class Doubler:
    async def receive(self, message: Twice) -> int:
        await current(self).sleep(3600)
        return 2 * message.value

it = child(Doubler)
"""

PLAIN = (
    ACTORS
    + """
def test_plain(trial):
    with trial(it) as t:
        assert t.ask(it.ref, Twice(4), timeout=4000) == 8
        assert t.seed == 7
"""
)

BESIDE = (
    ACTORS
    + """
@pytest.fixture
def running(trial):
    with trial(it) as t:
        yield t

def check(t):
    before = t.now
    assert t.ask(it.ref, Twice(4), timeout=4000) == 8
    assert t.now == before + 3600

@pytest.mark.trio
async def test_in_trio(running):
    check(running)
    with trio.fail_after(5):
        await trio.sleep(0.001)
    check(running)

@pytest.mark.trio
async def test_in_trio_with_a_block(trial):
    with trial(it) as t:
        check(t)
        await trio.lowlevel.checkpoint()
        check(t)

@pytest.mark.asyncio
async def test_in_asyncio(running):
    check(running)
    async with asyncio.timeout(5):
        await asyncio.sleep(0.001)
    check(running)

@pytest.mark.asyncio
async def test_in_asyncio_with_a_block(trial):
    with trial(it) as t:
        check(t)
        await asyncio.sleep(0)
        check(t)
"""
)

FAILING = (
    ACTORS
    + """
def test_failing(trial):
    with trial(it):
        pass
    assert False, "fell over"

def test_failing_inside(trial):
    with trial(it, seed=99):
        assert False, "fell over"

def test_failing_without(request):
    assert False, "fell over"
"""
)


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    """Run pytest on this file, in this process."""
    pytester.makepyfile(text)
    scope = "asyncio_default_fixture_loop_scope = function\n" if find_spec("pytest_asyncio") else ""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{scope}")
    loaded = any(point.value == PLUGIN for point in importlib.metadata.entry_points(group="pytest11"))
    plugin = [] if loaded else ["-p", PLUGIN]
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *plugin, *options)


def test_the_fixture_is_a_trial_with_the_seed_of_the_command_line(
    pytester: pytest.Pytester, loop_flavour: FlavourName
) -> None:
    ran = run(pytester, PLAIN.replace("{flavour}", loop_flavour), "--trouper-seed=7")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["trouper: --trouper-seed=7"])


def test_it_works_beside_pytest_trio_and_pytest_asyncio_in_one_run(
    pytester: pytest.Pytester, loop_flavour: FlavourName
) -> None:
    pytest.importorskip("pytest_asyncio")
    run(pytester, BESIDE.replace("{flavour}", loop_flavour)).assert_outcomes(passed=4)


def test_what_fails_says_its_seed_and_a_random_one_is_told(pytester: pytest.Pytester) -> None:
    ran = run(pytester, FAILING.replace("{flavour}", "trio"), "--trouper-seed=random")
    ran.assert_outcomes(failed=3)
    seed = next(line.partition("=")[2] for line in ran.outlines if line.startswith("trouper: --trouper-seed="))
    assert seed.isdecimal()
    said = ran.stdout.str()
    assert said.count(f"replay with --trouper-seed={seed}") == 2
    assert "in a Trial with seed=99" in said


def test_a_seed_that_is_no_number_is_refused(pytester: pytest.Pytester) -> None:
    ran = run(pytester, "", "--trouper-seed=lucky")
    ran.stderr.fnmatch_lines(["*given 'lucky', allowed: a number, or random"])


def test_the_plugin_is_an_entry_point_under_the_name_of_its_module() -> None:
    """Else pytest would load it twice for who says `-p` as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
