"""Payloads and services that fail, in virtual time: they are restarted with delays, and over their limit all ends."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from tests.actors.stage import FLAVOURS, LOOPS, Boom, FlavourName
from trouper import (
    Daemon,
    DaemonFailed,
    Message,
    Restarting,
    RestartLimitExceeded,
    Services,
    actor,
    child,
    current,
    one_for_one,
    service,
)
from trouper.testing import Trial

pytestmark = pytest.mark.once

IN = pytest.mark.parametrize("flavour", FLAVOURS)


def frail_service(flavour: FlavourName, frail: Any) -> None:
    """Make an instance of a service that does this."""

    class Plain:
        def run(self) -> None:
            frail()

    class Coroutine:
        async def run(self) -> None:
            frail()

    if flavour == "threading":
        service(flavour=flavour, name="frail")(Plain)()
    else:
        service(flavour=flavour, name="frail")(Coroutine)()


def set_up(how: str, flavour: FlavourName, frail: Any, services: Services) -> str:
    """Have it run, and restarted when it fails. Returns where."""
    if how == "adopt":
        return services.adopt(frail, flavour=flavour, restart="transient", name="frail").path
    with services.here():
        frail_service(flavour, frail)
    return "/services/frail"


HOW = pytest.mark.parametrize("how", ["adopt", "service"])


@HOW
@IN
def test_one_that_fails_is_restarted_the_first_time_at_once_and_then_with_a_delay(
    how: str, flavour: FlavourName
) -> None:
    lives: list[float] = []
    services = Services()

    def frail() -> None:
        lives.append(t.now)
        if len(lives) < 4:
            raise Boom

    path = set_up(how, flavour, frail, services)
    t = Trial(services=services, seed=7)
    with t:
        t.until(lambda: len(lives) == 4, within=5)
        t.settle()
        assert t.daemon.tree_sync().find(path) is None
        restarts = t.events_of(Restarting)
        assert [(one.path, one.used) for one in restarts] == [(path, 1), (path, 2), (path, 3)]
        delays = [one.delay for one in restarts]
        assert delays[0] == 0 < delays[1] < delays[2]
    assert lives[0] == lives[1] < lives[2] < lives[3]


@HOW
@IN
def test_one_over_its_limit_is_the_failure_of_the_daemon(how: str, flavour: FlavourName) -> None:
    error, services = Boom("again"), Services()

    def frail() -> None:
        raise error

    path = set_up(how, flavour, frail, services)
    with pytest.raises(DaemonFailed) as failed, Trial(services=services) as t:
        t.advance(10)
    cause = failed.value.__cause__
    assert isinstance(cause, RestartLimitExceeded)
    assert (cause.path, cause.__cause__) == (path, error)


@pytest.mark.parametrize("seed", range(5))
def test_each_has_the_limit_for_itself(seed: int) -> None:
    falls: list[str] = []

    async def frail(name: str) -> None:
        falls.append(name)
        if falls.count(name) <= 3:
            raise Boom

    with Trial(seed=seed) as t:
        for name in "abcdef":
            t.daemon.adopt(frail, name, flavour=trio, restart="transient", name=name)
        t.advance(20)
        assert sorted(falls) == sorted(4 * "abcdef")


@pytest.mark.parametrize("seed", range(5))
def test_all_that_runs_beside_the_tree_ends_before_it(seed: int) -> None:
    ends: list[str] = []

    @actor(flavour="asyncio")
    class Last:
        async def receive(self, message: Message) -> None: ...

        async def on_stop(self, reason: object) -> None:
            ends.append("tree")

    @service(flavour="trio")
    class Slow:
        async def run(self) -> None:
            await trio.sleep_forever()

        async def on_stop(self, reason: object) -> None:
            await trio.sleep(2)
            ends.append("service")

    async def payload() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(1)
            ends.append("payload")

    with Trial(child(Last), seed=seed) as t:
        Slow()
        t.daemon.adopt(payload, flavour=asyncio)
        t.settle()
    assert ends == ["payload", "service", "tree"]


@attrs.frozen
class Slept:
    seconds: float


@service(flavour=threading)
class Sleeper:
    def run(self) -> None:
        current(self).sleep_sync(1e6)


def test_threads_of_services_end_in_the_calls_of_the_runtime_and_those_of_payloads_are_left_alone() -> None:
    done = []

    def naps(daemon: Daemon) -> None:
        daemon.execute(trio.sleep, 3, flavour=trio)
        done.append(t.now)

    with Trial(one_for_one()) as t:
        Sleeper()
        t.daemon.adopt(naps, t.daemon, flavour=threading)
        t.advance(5)
        assert done == [3]


def test_a_call_waits_in_virtual_time_and_gives_up_in_it() -> None:
    async def naps() -> float:
        await trio.sleep(3)
        return t.now

    with Trial() as t:
        assert t.daemon.execute(naps, flavour=trio, timeout=3.5) == 3
        with pytest.raises(TimeoutError):
            t.daemon.execute(naps, flavour=trio, timeout=2)
        assert t.now == 5
        assert t.daemon.execute(threading.get_ident, flavour=threading, timeout=2) != threading.get_ident()


@pytest.mark.parametrize("flavour", LOOPS)
def test_a_payload_that_does_not_end_when_it_is_cancelled_is_left_behind_after_a_grace(flavour: FlavourName) -> None:
    async def stubborn() -> None:
        if flavour == "trio":
            with trio.CancelScope(shield=True):
                await trio.sleep(6.5)
            return
        while t.now < 6:  # it is cancelled after a second, and left behind after five more
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(100)

    services = Services()
    services.adopt(stubborn, flavour=flavour, name="stubborn")
    t = Trial(services=services)
    with pytest.raises(DaemonFailed, match="/adopted/stubborn: it does not end"), t:
        t.advance(1)
