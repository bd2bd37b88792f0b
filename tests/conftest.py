"""Every test of live actors runs on every flavour it applies to, and in both kinds of hosts."""

from __future__ import annotations

import pytest

from tests.actors.stage import FLAVOURS, LOOPS, FlavourName, Host


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
