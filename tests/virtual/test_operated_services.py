"""Services and the steps of their daemon, in virtual time: its hooks, its reloads, its stop and its counts."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import pytest
import trio

from tests.actors.stage import FLAVOURS, Boom, Crash, Diary, FlavourName, Number, plain, role
from tests.virtual.cast import nap
from trouper import (
    ActorEnded,
    Child,
    DaemonFailed,
    DaemonReloaded,
    DaemonReloading,
    DaemonStopping,
    Event,
    Limit,
    Restarting,
    RestartLimitExceeded,
    StartTimeout,
    before,
    child,
    current,
    one_for_one,
    service,
)
from trouper.daemon.notify import status_of
from trouper.testing import Trial

pytestmark = pytest.mark.once

IN = pytest.mark.parametrize("flavour", FLAVOURS)


@role("trio")
class Fragile:
    async def receive(self, message: Crash | Number) -> int | None:
        if isinstance(message, Crash):
            raise Boom
        return 1


@role("asyncio")
class Leaves:
    async def receive(self, message: Number) -> int | None:
        current(self).stop()
        return 1


def standing(flavour: FlavourName, **options: Any) -> Any:
    """A service class that stands there until it is stopped."""

    class Told:
        def __init__(self, told: Diary, fails: int = 0) -> None:
            self.told, self.fails = told, fails

        def say(self, what: str) -> None:
            me: Any = self
            self.told((current(me).path, what))

        def reload(self) -> None:
            self.say("reloads")
            self.fails -= 1
            if self.fails >= 0:
                raise Boom

    class InThread(Told):
        def run(self) -> None:
            self.say("runs")
            current(self).sleep_sync(1e6)

        def on_reload(self) -> None:
            self.reload()

    class InLoop(Told):
        async def run(self) -> None:
            self.say("runs")
            if flavour == "trio":
                await trio.sleep_forever()
            await asyncio.sleep(1e6)

        async def on_reload(self) -> None:
            self.reload()

    made: Any = InThread if flavour == "threading" else InLoop
    return service(flavour=flavour, **options)(made)


@service(flavour="trio", name="slow")
class Slow:
    """It takes its time to stop."""

    def __init__(self, seconds: float, told: Diary) -> None:
        self.seconds, self.told = seconds, told

    async def run(self) -> None:
        await trio.sleep_forever()

    async def on_stop(self, reason: object) -> None:
        await trio.sleep(self.seconds)
        self.told("stopped")


# -- starts and restarts -----------------------------------------------------------------------------------------------
def faltering(flavour: FlavourName, t: Trial, told: Diary, **options: Any) -> Any:
    """A service whose first start hangs, and whose `run` fails after a second."""

    class Falters:
        async def on_start(self) -> None:
            told(("starts", t.now))
            if len(told.entries) == 1:
                await nap(self, 1e6)

        async def run(self) -> None:
            told(("runs", t.now))
            await nap(self, 1)
            raise Boom

    if flavour == "threading":
        for name in ("on_start", "run"):
            setattr(Falters, name, plain(vars(Falters)[name]))
    return service(flavour=flavour, name="one", **options)(Falters)


@IN
def test_a_service_has_a_start_timeout_of_its_own_and_is_started_again(flavour: FlavourName) -> None:
    told = Diary()
    with Trial() as t:
        faltering(flavour, t, told, start_timeout=3.0, restart="permanent")()
        t.advance(3.5)
        [ended] = t.events_of(ActorEnded)
        assert ended.reason.kind == "timeout"
        assert isinstance(ended.reason.cause, StartTimeout)
        assert told == [("starts", 0), ("starts", 3), ("runs", 3)]


@IN
@pytest.mark.parametrize("hangs", [True, False])
def test_a_temporary_service_that_fails_is_gone_and_nobody_else_is_harmed(flavour: FlavourName, hangs: bool) -> None:
    told = Diary()
    with Trial(other := child(Fragile)) as t:
        if not hangs:
            told("its first start is over")
        faltering(flavour, t, told, start_timeout=3.0, restart="temporary")()
        t.advance(60)
        assert told.entries[-1] == (("starts", 0) if hangs else ("runs", 0))
        assert [event.reason.kind for event in t.events_of(ActorEnded)] == ["timeout" if hangs else "crashed"]
        assert t.events_of(Restarting) == []
        assert t.daemon.tree_sync().find("/services/one") is None
        assert len(t.daemon.services) == 0
        assert t.ask(other.ref, Number()) == 1


@IN
def test_a_temporary_service_that_returns_is_over(flavour: FlavourName) -> None:
    told = Diary()

    class Brief:
        async def run(self) -> None:
            told("ran")

    if flavour == "threading":
        Brief.run = plain(Brief.run)  # type: ignore[method-assign]
    with Trial() as t:
        service(flavour=flavour, restart="temporary", name="one")(Brief)()
        t.advance(60)
        assert told == ["ran"]
        assert t.events_of(Restarting) == []
        assert t.daemon.tree_sync().find("/services/one") is None


# -- reloads -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_services_reload_after_the_tree_in_the_order_of_their_start(seed: int) -> None:
    told = Diary()

    @role("asyncio")
    class Reloads:
        async def receive(self, message: Number) -> int | None:
            return 1

        async def on_reload(self) -> None:
            told((current(self).path, "reloads"))

    with Trial(child(Reloads), seed=seed) as t:
        for flavour in FLAVOURS:
            standing(flavour, name=flavour)(told)
        t.settle()
        told.entries.clear()
        assert t.daemon.reload_sync() == ()
        assert [path for path, _ in told.entries] == ["/reloads", *(f"/services/{flavour}" for flavour in FLAVOURS)]


@IN
def test_a_service_whose_reload_fails_is_run_again_and_reloads_the_next_time(flavour: FlavourName) -> None:
    told = Diary()
    with Trial() as t:
        standing(flavour, name="one")(told, 1)
        t.settle()
        assert t.daemon.reload_sync() == ("/services/one",)
        t.settle()
        assert t.daemon.reload_sync() == ()
        assert [event.failed for event in t.events_of(DaemonReloaded)] == [("/services/one",), ()]
        assert [what for _, what in told.entries] == ["runs", "reloads", "runs", "reloads"]


def test_a_service_has_a_reload_timeout_of_its_own() -> None:
    @service(flavour="trio", reload_timeout=2.0, name="one")
    class Hangs:
        async def run(self) -> None:
            await trio.sleep_forever()

        async def on_reload(self) -> None:
            await trio.sleep_forever()

    with Trial() as t:
        Hangs()
        t.settle()
        began = t.now
        assert t.daemon.reload_sync() == ("/services/one",)
        assert t.now == began + 2


# -- hooks -------------------------------------------------------------------------------------------------------------
def test_services_reload_and_stop_after_the_hooks_before_that() -> None:
    told = Diary()

    async def hook(event: Event) -> None:
        told(type(event))
        await trio.sleep(1)

    with Trial() as t:
        t.daemon.hook(before(DaemonReloading, hook, flavour="trio"))
        t.daemon.hook(before(DaemonStopping, hook, flavour="trio"))
        standing("asyncio", name="one")(told)
        Slow(0, told)
        t.settle()
        t.daemon.reload_sync()
        assert told == [("/services/one", "runs"), DaemonReloading, ("/services/one", "reloads")]
    assert told.entries[3:] == [DaemonStopping, "stopped"]


def test_a_service_that_a_hook_makes_is_run_by_its_daemon() -> None:
    told = Diary()

    async def hook(event: DaemonReloading) -> None:
        standing("trio", name="one")(told)

    with Trial() as t:
        t.daemon.hook(before(DaemonReloading, hook, flavour="trio"))
        t.daemon.reload_sync()
        t.settle()
        assert ("/services/one", "runs") in told.entries


def test_a_hook_holds_up_the_restart_of_a_service() -> None:
    told = Diary()

    async def hook(event: Restarting) -> None:
        told(event.path)
        await trio.sleep(1)

    with Trial() as t:
        t.daemon.hook(before(Restarting, hook, flavour="trio", under="/services"))
        standing("trio", name="one")(told, 1)
        t.settle()
        t.daemon.reload_sync()
        began = t.now
        t.until(lambda: told.entries.count(("/services/one", "runs")) == 2, within=5)
        assert t.now == began + 1
        assert told.entries[2:] == ["/services/one", ("/services/one", "runs")]


# -- the stop ----------------------------------------------------------------------------------------------------------
def test_the_tree_works_as_ever_while_services_stop() -> None:
    told = Diary()
    fragile = child(Fragile)
    with Trial(fragile) as t:
        Slow(3, told)
        t.settle()
        t.daemon.stop()
        t.advance(1)
        fragile.ref.send(Crash())
        t.settle()
        assert t.ask(fragile.ref, Number(1)) == 1
        t.advance(1.5)
        assert told == []
        assert t.ask(fragile.ref, Number(1)) == 1
    assert told == ["stopped"]
    assert [event.path for event in t.events_of(Restarting)] == ["/fragile"]


def test_a_tree_over_its_limit_while_services_stop_fails_once_they_have() -> None:
    told = Diary()
    fragile = child(Fragile)
    t = Trial(one_for_one(fragile, restarts=Limit(0, within=1)))
    with pytest.raises(DaemonFailed) as failed:
        stop_with(t, fragile, told)
    assert told == ["stopped"]
    assert isinstance(failed.value.__cause__, RestartLimitExceeded)
    assert 3 <= t.now < 3.1


def stop_with(t: Trial, fragile: Child[Crash | Number], told: Diary) -> None:
    """Have it crash while a service takes its time to stop."""
    with t:
        Slow(3, told)
        t.settle()
        t.daemon.stop()
        t.advance(1)
        fragile.ref.send(Crash())
        t.advance(1)
        assert told == []


@IN
def test_a_service_over_its_limit_stops_the_other_services_and_the_tree_at_once(flavour: FlavourName) -> None:
    told = Diary()
    t = Trial(child(Fragile))
    with pytest.raises(DaemonFailed, match="more than 3 restarts"):
        fail_reloads(t, flavour, told)
    assert told.entries[-1] == "stopped"
    assert 3 <= t.now < 3.1


def fail_reloads(t: Trial, flavour: FlavourName, told: Diary) -> None:
    with t:
        Slow(2, told)
        standing(flavour, name="one", backoff=None)(told, 4)
        for _ in range(4):
            t.settle()
            t.daemon.reload_sync()
        t.advance(3)


@pytest.mark.parametrize("beside", [True, False])
def test_the_end_of_a_tree_by_itself_is_a_stop_of_what_stands_beside_it(beside: bool) -> None:
    told = Diary()
    leaves = child(Leaves).options(restart="temporary", significant=True)
    with Trial(one_for_one(leaves, auto_shutdown="any_significant")) as t:
        if beside:
            Slow(3, told)
            t.settle()
        leaves.ref.send(Number(1))
        t.advance(1)
        assert [event.why for event in t.events_of(DaemonStopping)] == (
            ["the tree has ended by itself"] if beside else []
        )
        assert told == []
    assert told == (["stopped"] if beside else [])
    assert t.daemon.code == 0


def test_services_that_do_not_stop_are_under_the_deadline_of_the_daemon() -> None:
    @service(flavour="trio", shutdown=inf)
    class Forever:
        async def run(self) -> None:
            await trio.sleep_forever()

        async def on_stop(self, reason: object) -> None:
            await trio.sleep_forever()

    leaves = child(Leaves).options(restart="temporary", significant=True)
    t = Trial(one_for_one(leaves, auto_shutdown="any_significant"), stop_within=7)
    with pytest.raises(DaemonFailed, match="did not stop in time"):
        leave(t, Forever, leaves)
    assert 7 <= t.now < 7.1


def leave(t: Trial, cls: Any, leaves: Child[Number]) -> None:
    with t:
        cls()
        t.settle()
        leaves.ref.send(Number(1))
        t.advance(1)


# -- what is told ------------------------------------------------------------------------------------------------------
def test_services_and_restarted_payloads_are_counted_as_actors() -> None:
    told = Diary()
    with Trial(child(Fragile)) as t:
        t.settle()
        assert status_of(t.daemon).startswith("1 actor,")
        for flavour in FLAVOURS:
            standing(flavour)(told)
        t.daemon.adopt(trio.sleep_forever, flavour="trio", restart="transient")
        t.daemon.adopt(trio.sleep_forever, flavour="trio")
        t.settle()
        assert status_of(t.daemon).startswith("5 actors,")
