"""Every test of live actors runs on every flavour it applies to, and in both kinds of hosts.

`--ways 1` leaves combinations of parameters out, and `--share 1/2` runs the tests of every second file.
"""

from __future__ import annotations

import gc
import signal
from itertools import groupby

import pytest

from tests.actors.stage import FLAVOURS, LOOPS, FlavourName, Host
from tests.chosen import covering, share

# in the background of a shell, or under `nohup`, the daemons of tests would inherit that these are ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> FlavourName:
    """The flavour of the actors under test."""
    name: FlavourName = request.param
    return name


@pytest.fixture(params=LOOPS)
def loop_flavour(request: pytest.FixtureRequest) -> FlavourName:
    """The flavour of the actors under test, where only those of event loops are meant."""
    name: FlavourName = request.param
    return name


@pytest.fixture(params=["in_trio", "in_asyncio"])
def host(request: pytest.FixtureRequest) -> Host:
    """The program around the daemon."""
    return Host(request.param.removeprefix("in_"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the options that `make test` runs these tests with."""
    group = parser.getgroup("trouper's own tests")
    group.addoption(
        "--ways",
        metavar="N",
        type=int,
        help="of a test's combinations run a few in which the values of any N parameters meet; by default all",
    )
    group.addoption("--share", metavar="N/M", default="1/1", help="run the tests of every M'th file, from the N'th on")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose."""
    number, of = map(int, str(config.getoption("share")).split("/"))
    files = share([item.path for item in items], number, of)
    chosen = [item for item in items if item.path in files]
    if ways := config.getoption("ways"):
        tests = [list(cases) for _, cases in groupby(chosen, lambda item: item.nodeid.partition("[")[0])]
        chosen = [cases[at] for cases in tests for at in covering([parameters(item) for item in cases], ways)]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def parameters(item: pytest.Item) -> dict[str, int]:
    """For each parameter the identity of its value, which need not have a hash."""
    call = getattr(item, "callspec", None)
    return {} if call is None else {name: id(value) for name, value in call.params.items()}


def pytest_collection_finish() -> None:
    """What is there before the first test is no garbage: have collections look at what the tests make alone."""
    gc.collect()
    gc.freeze()
