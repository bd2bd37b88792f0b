"""Limits, patience, holds and catastrophes: where supervision goes beyond OTP's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.actors.stage import (
    Boom,
    Diary,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    ask,
    for_ever,
    nothing,
    outcome,
    role,
    turn,
)
from tests.supervision.otp.players import (
    STRATEGIES,
    TRIO,
    Act,
    End,
    Who,
    become,
    generation,
    player,
    states,
    watched,
)
from trouper import (
    ActorStopped,
    Backoff,
    Daemon,
    DaemonFailed,
    Limit,
    Persist,
    StrayCancellation,
    child,
    current,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from trouper.events import ActorEnded, ActorHeld, ActorReleased, ActorStarted, Degraded, Recovered, Restarting

LATE = Backoff(first=1e6, base=1e6, cap=1e6)  # its time never comes
FAILING: list[Act] = ["fails"] * 20
SHORT = 0.05  # seconds of a window


# -- the window is one of uptime ---------------------------------------------------------------------------------------
def test_uptime_lets_restarts_age(flavour: FlavourName) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", backoff=None)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        now = daemon.control.now
        for life in range(2, 6):
            one.ref.send(End())
            await events.started("/one", life - 1)
            begun = now()
            while now() - begun < 1.2 * SHORT:
                await daemon.tree()
        assert [event.used for event in events.of(Restarting)] == [1, 1, 1, 1]

    TRIO.run(one_for_one(one, restarts=Limit(1, within=SHORT)), body)


def test_what_persists_never_escalates_and_the_tree_is_degraded_meanwhile(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    plan: list[Act] = ["ok", *FAILING, gate]
    remote = player(flavour, seen, "remote", *plan, backoff=Persist(base=1e-9, cap=1e-9))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Degraded, Recovered, Restarting)
        before = await daemon.tree()
        assert (before.status, before.degraded) == ("up", False)
        remote.ref.send(End())
        await seen.until(lambda entries: entries.count("?remote") == 21)
        tree = await daemon.tree()
        there = tree.find("/group/remote")
        assert there is not None
        assert there.degraded
        assert tree.status == "degraded"
        assert "degraded" in str(tree)
        gate.open()
        await events.nth(Recovered, "/group/remote")
        await become(daemon, {"remote": "running", "other": "running"}, "/group")
        assert (await daemon.tree()).status == "up"
        assert [type(event) for event in events.entries if not isinstance(event, Restarting)] == [Degraded, Recovered]
        assert len(events.of(Restarting)) == 21
        assert not any(event.counted for event in events.of(Restarting))
        assert events.of(Degraded)[0].path == "/group/remote"

    group = one_for_one(remote, player(flavour, seen, "other"), name="group", restarts=Limit(0, within=1e9))
    host.run(one_for_one(group, restarts=Limit(0, within=1e9)), body)


@pytest.mark.parametrize("verb", ["terminate", "hold"])
def test_what_is_not_wanted_any_more_is_not_degraded(flavour: FlavourName, verb: str) -> None:
    remote = player(flavour, Diary(), "remote", backoff=Persist(first=1e6, base=1e6, cap=1e6))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Degraded, Recovered)
        remote.ref.send(End())
        await events.nth(Degraded, "/remote")
        assert (await daemon.tree()).status == "degraded"
        assert await getattr(daemon, verb)("/remote") == "ok"
        assert (await daemon.tree()).status == "up"
        if verb == "terminate":
            assert await daemon.delete("/remote") == "ok"
            await events.nth(Recovered, "/remote")
        assert not daemon.world.degraded

    TRIO.run(one_for_one(remote), body)


def test_a_supervisor_that_ends_leaves_nothing_degraded_behind(flavour: FlavourName) -> None:
    remote = player(flavour, Diary(), "remote", backoff=Persist(first=1e6, base=1e6, cap=1e6))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Degraded, Recovered)
        remote.ref.send(End())
        await events.nth(Degraded, "/group/remote")
        assert await daemon.terminate("/group") == "ok"
        assert (await daemon.tree()).status == "up"
        assert await daemon.restart("/group") == "ok"
        assert (await daemon.tree()).status == "up"
        assert [type(event) for event in events.entries] == [Degraded, Recovered]

    TRIO.run(one_for_one(one_for_one(remote, name="group")), body)


def test_a_transient_parent_restarts_a_supervisor_that_went_over_its_limit(flavour: FlavourName, host: Host) -> None:
    one = player(flavour, Diary(), "one")
    group = one_for_one(one, name="group", restarts=Limit(0, within=1e9)).options(restart="transient")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        restarting = await events.nth(Restarting, "/group")
        assert restarting.reason.kind == "restart_limit"
        await events.started("/group/one")
        assert await generation(one) == 2

    host.run(one_for_one(group), body)


# -- nothing is resurrected --------------------------------------------------------------------------------------------
QUICK = Backoff(first=SHORT, base=SHORT, cap=SHORT, jitter=0)


@pytest.mark.parametrize("how", ["terminate", "delete", "hold", "replace", "end of the group"])
def test_what_is_decided_during_a_backoff_is_not_undone_by_its_timer(flavour: FlavourName, how: str) -> None:
    """A second child with the same delay, asked for afterwards, shows that the time of the first has come."""
    seen = Diary()
    one = player(flavour, seen, "one", backoff=QUICK)
    clock = player(flavour, seen, "clock", backoff=QUICK)
    group = one_for_one(one, name="group")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.nth(Restarting, "/group/one")
        if how == "hold":
            assert await daemon.hold("/group/one") == "ok"
        elif how == "end of the group":
            assert await daemon.terminate("/group") == "ok"
        else:
            assert await daemon.terminate("/group/one") == "ok"
        if how in {"delete", "replace"}:
            assert await daemon.delete("/group/one") == "ok"
        if how == "replace":
            assert await daemon.start(player(flavour, seen, "one"), under="/group") == "ok"
        clock.ref.send(End())
        await events.started("/clock")
        expected = {"hold": {"one": "held"}, "replace": {"one": "running"}, "delete": {}}
        assert await states(daemon, "/group") == expected.get(how, {"one": "undefined"})
        assert seen.entries.count("+one") == (2 if how == "replace" else 1)

    TRIO.run(one_for_one(group, clock), body)


def test_a_stop_during_a_backoff_resurrects_nothing_and_does_not_wait(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", backoff=LATE)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.nth(Restarting, "/one")

    host.run(one_for_all(one, player(flavour, seen, "other")), body)
    assert seen.entries.count("+one") == seen.entries.count("+other") == 1


# -- holds -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_held_child_stays_down_through_restarts_of_its_group_and_of_its_supervisor(
    flavour: FlavourName, strategy: str
) -> None:
    seen = Diary()
    first, held, last = (player(flavour, seen, name) for name in ("first", "held", "last"))
    group = STRATEGIES[strategy](first, held, last, name="group", restarts=Limit(1, within=1e9))
    down = {"first": "running", "held": "held", "last": "running"}

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorHeld, ActorReleased, ActorStarted, Restarting)
        assert await daemon.hold("/group/held") == "ok"
        before = daemon.dead_letters
        held.ref.send(End())
        assert isinstance(await outcome(lambda: ask(held.ref, Who())), ActorStopped)
        assert daemon.dead_letters == before + 2
        first.ref.send(End())
        await events.started("/group/first")
        await become(daemon, down, "/group")
        first.ref.send(End())  # over the limit: the group is restarted from above
        await events.nth(Restarting, "/group")
        await events.started("/group/last", 1 if strategy == "one_for_one" else 2)
        await become(daemon, down, "/group")
        held.ref.send(End())
        assert isinstance(await outcome(lambda: ask(held.ref, Who())), ActorStopped)
        assert await daemon.terminate("/group") == "ok"
        assert await daemon.restart("/group") == "ok"
        assert await states(daemon, "/group") == down
        assert seen.entries.count("+held") == 1
        assert await daemon.release("/group/held") == "ok"
        assert await generation(held) == 2
        assert [event for event in events.entries if isinstance(event, ActorHeld | ActorReleased)] == [
            ActorHeld("/group/held"),
            ActorReleased("/group/held"),
        ]

    TRIO.run(one_for_one(group), body)


def test_a_held_supervisor_stays_down_with_all_below_it(flavour: FlavourName) -> None:
    seen = Diary()
    first, inner = player(flavour, seen, "first"), player(flavour, seen, "inner")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        assert await daemon.hold("/group") == "ok"
        assert isinstance(await outcome(lambda: ask(inner.ref, Who())), ActorStopped)
        first.ref.send(End())
        await events.started("/first")
        await become(daemon, {"first": "running", "group": "held"})
        assert await daemon.release("/group") == "ok"
        assert await generation(inner) == 2

    TRIO.run(rest_for_one(first, one_for_one(inner, name="group")), body)


# -- stops at awkward times --------------------------------------------------------------------------------------------
def test_a_stop_while_booting_leaves_nothing_behind(flavour: FlavourName) -> None:
    """The boot waits in the second child's `on_start`; the first was up, the third is never begun."""
    seen = Diary()
    first, third = player(flavour, seen, "first"), player(flavour, seen, "third")

    @role(flavour)
    class Second:
        async def on_start(self) -> None:
            current(self).daemon.stop()
            current(self).daemon.stop("twice")
            try:
                await for_ever(self)
            finally:
                seen("second is out")

        async def receive(self, message: Note) -> None: ...

    TRIO.run(one_for_one(first, one_for_one(child(Second), name="group"), third), nothing)
    assert seen == ["+first", "second is out", "-first"]


# -- what no supervisor heals ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("now"), MemoryError("full")], ids=["KeyboardInterrupt", "MemoryError"]
)
@pytest.mark.parametrize("where", ["handler", "on_start", "on_stop", "constructor", "restart"])
def test_a_catastrophe_reaches_the_root(flavour: FlavourName, where: str, error: BaseException) -> None:
    seen = Diary()

    @role(flavour)
    class Doomed:
        def __attrs_post_init__(self) -> None:
            if where == "constructor":
                raise error

        async def on_start(self) -> None:
            if where == "on_start" or (where == "restart" and current(self).generation == 2):
                await turn(self)
                raise error

        async def receive(self, message: Note) -> None:
            await turn(self)
            raise Boom if where == "restart" else error

        async def on_stop(self, reason: Any) -> None:
            if where == "on_stop":
                await turn(self)
                raise error

    doomed = child(Doomed)

    async def body(daemon: Daemon) -> None:
        if where == "on_stop":
            assert await daemon.terminate("/doomed") in {"ok", "shutting_down"}  # if this thread is late for the answer
        else:
            doomed.ref.send(Note())
        await seen.until(lambda _: False)

    with pytest.raises(DaemonFailed) as caught:
        TRIO.run(one_for_one(player(flavour, seen, "other"), doomed), body)
    cause = caught.value.__cause__
    assert cause is not None
    assert error in {cause, cause.__cause__}
    assert seen == ["+other", "-other"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("now"), MemoryError("full")], ids=["KeyboardInterrupt", "MemoryError"]
)
def test_a_catastrophe_in_a_background_task_reaches_the_root(loop_flavour: FlavourName, error: BaseException) -> None:
    seen = Diary()

    @role(loop_flavour)
    class Doomed:
        async def receive(self, message: Note) -> None:
            current(self).start_soon(self.behind)

        async def behind(self) -> None:
            await turn(self)
            raise error

    doomed = child(Doomed)

    async def body(daemon: Daemon) -> None:
        doomed.ref.send(Note())
        await seen.until(lambda _: False)

    with pytest.raises(DaemonFailed) as caught:
        TRIO.run(one_for_one(player(loop_flavour, seen, "other"), doomed), body)
    assert caught.value.__cause__ is error
    assert seen == ["+other", "-other"]


def test_a_stray_cancellation_is_a_crash(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Cancelled:
        async def receive(self, message: Note | Who) -> int | None:
            if isinstance(message, Who):
                return current(self).generation
            if loop_flavour == "asyncio":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1e6)
            raise asyncio.CancelledError

    one = child(Cancelled)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(Note())
        ended = await events.ended("/cancelled")
        assert (ended.reason.kind, type(ended.reason.cause)) == ("crashed", StrayCancellation)
        await events.started("/cancelled")
        assert await ask(one.ref, Who()) == 2

    host.run(one_for_one(one), body)


# -- one record per death ----------------------------------------------------------------------------------------------
def deaths(caplog: pytest.LogCaptureFixture, path: str) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.name == "trouper" and getattr(record, "trouper", {}).get("path") == path
    ]


def test_each_death_has_one_record_with_all_that_is_known(
    flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trouper")
    seen = Diary()
    one = player(flavour, seen, "one", "ok", "fails", "ok", backoff=Backoff(base=0.001, jitter=0))

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.started("/group/one")
        await become(daemon, {"one": "running"}, "/group")
        one.ref.send(End("normal"))
        await events.started("/group/one", 2)
        await become(daemon, {"one": "running"}, "/group")
        one.ref.send(End("shutdown"))
        await events.nth(Restarting, "/group")
        await events.started("/group/one", 3)

    group = one_for_one(one, name="group", restarts=Limit(3, within=1e9))
    TRIO.run(one_for_one(group), body)
    texts = [record.getMessage() for record in deaths(caplog, "/group/one")]
    shown = [text.partition(" ended after ") for text in texts]
    assert [before for before, _, _ in shown] == [f"/group/one: generation {n}" for n in (1, 2, 3, 4)]
    assert all(float(after.partition(" s: ")[0]) < 20 for _, _, after in shown)
    assert [after.partition(" s: ")[2] for _, _, after in shown] == [
        "crashed: Boom: one; restarting it, 1 of 3 in 1e+09 s",
        "start failed: Boom: no start; restarting it in 0.001 s, 2 of 3 in 1e+09 s",
        "normal; restarting it in 0.002 s, 3 of 3 in 1e+09 s",
        "shutdown: one; the supervisor /group ends",
    ]
    for record, error in zip(deaths(caplog, "/group/one"), (Boom, Boom, None, None), strict=True):
        assert (None if record.exc_info is None else record.exc_info[0]) is error
        if record.exc_info is not None:
            assert record.exc_info[2] is not None, "with the traceback"
            assert record.levelno == logging.ERROR
    assert len(deaths(caplog, "/group")) == 1


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_group_that_crashes_together_has_one_record_for_each(
    flavour: FlavourName, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trouper")

    @role(flavour)
    class Sore:
        async def receive(self, message: Who) -> int:
            return current(self).generation

        async def on_stop(self, reason: Any) -> None:
            if current(self).generation == 1:
                raise Boom("sore")

    one, sore = player(flavour, Diary(), "one"), child(Sore)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.started("/sore")
        assert len(events.of(Restarting)) == 1
        assert len(events.of(ActorEnded)) == 2

    TRIO.run(STRATEGIES[strategy](one, sore), body)
    assert [len([r for r in deaths(caplog, path) if r.levelno == logging.ERROR]) for path in ("/one", "/sore")] == [
        1,
        1,
    ]


def test_children_that_are_stopped_well_are_no_news(flavour: FlavourName, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trouper")
    one, two = player(flavour, Diary(), "one"), player(flavour, Diary(), "two")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/one") == "ok"

    TRIO.run(one_for_one(one, two), body)
    assert deaths(caplog, "/one") == deaths(caplog, "/two") == []
