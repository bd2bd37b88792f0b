"""Supervision of real actors: strategies, nesting, starts, stops, escalation and requests, over flavours."""

from __future__ import annotations

import asyncio
from math import inf
from threading import Event as Bell
from typing import Any

import pytest
import trio

from tests.actors.stage import (
    FLAVOURS,
    Boom,
    Crash,
    Diary,
    Echo,
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
    together,
    turn,
    until,
)
from trouper import (
    ActorStopped,
    Child,
    Daemon,
    DaemonFailed,
    Limit,
    RestartLimitExceeded,
    StartFailed,
    StartTimeout,
    StopTimeout,
    Supervisor,
    Unkillable,
    UnknownPath,
    child,
    current,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from trouper.events import ActorEnded, ActorStarted, DaemonStopping, Escalated, Restarting

STRATEGIES = {"one_for_one": one_for_one, "one_for_all": one_for_all, "rest_for_one": rest_for_one}


def member(flavour: FlavourName, seen: Diary, name: str, **options: Any) -> Child[Any]:
    """A child that notes when it starts and stops, under this name."""

    @role(flavour)
    class Member:
        async def on_start(self) -> None:
            await turn(self)
            seen(f"+{name}")

        async def receive(self, message: Crash | Note | Echo) -> Any:
            if isinstance(message, Crash):
                raise Boom(message.text)
            if isinstance(message, Note):
                current(self).stop()
                return None
            return current(self).generation

        async def on_stop(self, reason: Any) -> None:
            await turn(self)
            seen(f"-{name}")

    return child(Member).options(name=name, **options)


def mixed(seen: Diary, *names: str, **options: Any) -> list[Child[Any]]:
    """Members of all flavours in turn."""
    return [member(FLAVOURS[n % 3], seen, name, **options) for n, name in enumerate(names)]


async def settled(ref: Any, generation: int) -> None:
    """Wait until this generation answers."""
    while await ask(ref, Echo()) != generation:
        pass


# -- start and stop ----------------------------------------------------------------------------------------------------
def test_children_start_in_order_and_stop_in_reverse_over_all_flavours(host: Host) -> None:
    seen = Diary()
    a, b, c, d, e, f = mixed(seen, "a", "b", "c", "d", "e", "f")

    async def body(daemon: Daemon) -> None:
        assert seen == ["+a", "+b", "+c", "+d", "+e", "+f"]

    host.run(one_for_one(a, one_for_all(b, rest_for_one(c, name="inner"), d, name="outer"), e, f), body)
    assert seen.entries[6:] == ["-f", "-e", "-d", "-c", "-b", "-a"]


@pytest.mark.parametrize("how", ["on_start", "construct"])
def test_a_failing_start_at_boot_stops_what_runs_in_reverse(flavour: FlavourName, host: Host, how: str) -> None:
    @role(flavour)
    class Failing:
        def __attrs_post_init__(self) -> None:
            if how == "construct":
                raise Boom("no")

        async def on_start(self) -> None:
            raise Boom("no")

        async def receive(self, message: Note) -> None: ...

    seen = Diary()
    a, b, c, never = mixed(seen, "a", "b", "c", "never")
    tree = one_for_one(a, one_for_one(b, c, child(Failing), name="group"), never)
    with pytest.raises(DaemonFailed) as caught:
        host.run(tree, nothing)
    assert seen == ["+a", "+b", "+c", "-c", "-b", "-a"]
    failed = caught.value.__cause__
    assert isinstance(failed, StartFailed)
    assert failed.path == "/group/failing"
    assert str(failed.__cause__) == "no"


def test_a_start_that_takes_too_long_fails_the_boot(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Slow:
        async def on_start(self) -> None:
            await for_ever(self)

        async def receive(self, message: Note) -> None: ...

    seen = Diary()
    (first,) = mixed(seen, "first")
    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(first, child(Slow).options(start_timeout=0.05)), nothing)
    assert isinstance(caught.value.__cause__, StartFailed)
    assert isinstance(caught.value.__cause__.__cause__, StartTimeout)
    assert seen == ["+first", "-first"]


def test_the_stop_of_the_tree_preempts_a_start_that_hangs(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Slow:
        async def on_start(self) -> None:
            hanging("here")
            await for_ever(self)

        async def receive(self, message: Note) -> None: ...

    seen, hanging = Diary(), Diary()

    async def body(daemon: Daemon) -> None:
        async def stop() -> None:
            await hanging.until(1)
            daemon.stop()

        answers = await together(lambda: daemon.start(child(Slow)), stop)
        assert answers[0] == "shutting_down"

    host.run(one_for_one(*mixed(seen, "first")), body)
    assert seen == ["+first", "-first"]


@pytest.mark.parametrize("shutdown", [0, inf])
def test_children_without_time_or_with_all_of_it_are_stopped(flavour: FlavourName, host: Host, shutdown: float) -> None:
    """Without time, an idle actor ends as well as any other; with all of it, a stop waits for the handler."""
    seen = Diary()
    slow = member(flavour, seen, "slow", shutdown=shutdown)

    async def body(daemon: Daemon) -> None:
        assert await ask(slow.ref, Echo()) == 1
        assert await daemon.terminate("/slow") == "ok"
        assert await daemon.children() == [("slow", "undefined")]

    host.run(one_for_one(slow), body)
    if shutdown:
        assert seen == ["+slow", "-slow"]


def test_a_handler_that_takes_too_long_is_killed(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour, shutdown=0.05)
    class Slow:
        async def receive(self, message: Note) -> None:
            try:
                seen("handling")
                await for_ever(self)
            finally:
                seen("finally")

        async def on_stop(self, reason: Any) -> None:
            seen(reason.kind)

    seen = Diary()
    slow = child(Slow)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        slow.ref.send(Note())
        await seen.until(1)
        assert await daemon.terminate("/slow") == "ok"
        reason = events.of(ActorEnded)[0].reason
        assert (reason.kind, type(reason.cause)) == ("timeout", StopTimeout)

    host.run(one_for_one(slow), body)
    assert seen.entries[:2] == ["handling", "finally"]


# -- strategies --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["-b", "+b"]),
        ("one_for_all", ["-b", "-c", "-a", "+a", "+b", "+c"]),
        ("rest_for_one", ["-b", "-c", "+b", "+c"]),
    ],
)
@pytest.mark.parametrize("turned", [0, 1, 2], ids=["trio fails", "asyncio fails", "threading fails"])
def test_a_crash_restarts_those_that_the_strategy_says(
    host: Host, strategy: str, expected: list[str], turned: int
) -> None:
    seen = Diary()
    flavours: list[Any] = [FLAVOURS[(n + turned - 1) % 3] for n in range(3)]
    a, b, c = (member(kind, seen, name) for kind, name in zip(flavours, "abc", strict=True))

    async def body(daemon: Daemon) -> None:
        b.ref.send(Crash())
        await seen.until(3 + len(expected))
        assert seen.entries[3:] == expected
        assert [await ask(one.ref, Echo()) for one in (a, b, c)] == [
            2 if f"+{one.choice.name}" in expected else 1 for one in (a, b, c)
        ]

    host.run(STRATEGIES[strategy](a, b, c), body)


def test_a_member_that_crashes_while_its_group_stops_is_absorbed(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Sore:
        async def receive(self, message: Echo) -> Any:
            return current(self).generation

        async def on_stop(self, reason: Any) -> None:
            if current(self).generation == 1:
                raise Boom

    seen = Diary()
    (crasher,) = mixed(seen, "crasher")
    sore = child(Sore)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        crasher.ref.send(Crash())
        await settled(sore.ref, 2)
        assert len(events.entries) == 1

    host.run(one_for_all(crasher, sore), body)


def test_a_restart_that_fails_is_tried_again_and_counted(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Shaky:
        async def on_start(self) -> None:
            if 1 < current(self).generation < 4:
                raise Boom("not yet")

        async def receive(self, message: Crash | Echo) -> Any:
            if isinstance(message, Crash):
                raise Boom
            return current(self).generation

    shaky = child(Shaky)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        shaky.ref.send(Crash())
        assert await ask(shaky.ref, Echo()) == 4
        assert [event.used for event in events.of(Restarting)] == [1, 2, 3]

    host.run(one_for_one(shaky), body)


# -- escalation --------------------------------------------------------------------------------------------------------
def test_a_supervisor_over_its_limit_is_restarted_by_the_one_above(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    leaf, sibling = member(flavour, seen, "leaf"), member("trio", seen, "sibling")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        leaf.ref.send(Crash())
        leaf.ref.send(Crash())
        await settled(leaf.ref, 3)
        assert [event.path for event in events.of(Restarting)] == ["/group/leaf", "/group"]
        assert events.of(Restarting)[1].reason.kind == "restart_limit"
        assert await ask(sibling.ref, Echo()) == 2

    tree = one_for_one(one_for_one(leaf, sibling, name="group", restarts=Limit(1, within=30.0)))
    host.run(tree, body)
    assert seen.entries[:2] == ["+leaf", "+sibling"]


def test_a_failure_escalates_through_all_levels_to_the_root(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    leaf = member(flavour, seen, "leaf")
    none = Limit(0, within=30.0)
    tree: Supervisor = one_for_one(leaf, name="level-3", restarts=none)
    for level in (2, 1):
        tree = one_for_one(tree, name=f"level-{level}", restarts=none)

    async def body(daemon: Daemon) -> None:
        events.subscription = daemon.subscribe(events)
        leaf.ref.send(Crash("deep"))
        await until(lambda: False)

    events = Events.__new__(Events)
    Diary.__init__(events)
    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(tree, restarts=none), body)
    assert caught.value.exit_code == 70
    causes = []
    error: BaseException | None = caught.value.__cause__
    while error is not None:
        causes.append(error)
        error = error.__cause__
    assert [getattr(cause, "path", str(cause)) for cause in causes] == [
        "/",
        "/level-1",
        "/level-1/level-2",
        "/level-1/level-2/level-3",
        "deep",
    ]
    assert all(isinstance(cause, RestartLimitExceeded) for cause in causes[:4])
    assert len(events.of(Escalated)) == 1
    assert len(events.of(DaemonStopping)) == 1


def test_a_transient_supervisor_does_not_swallow_its_own_failure(flavour: FlavourName, host: Host) -> None:
    """OTP's supervisor over its limit ends with `shutdown`, which a transient parent ignores."""
    leaf = member(flavour, Diary(), "leaf")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        leaf.ref.send(Crash())
        await settled(leaf.ref, 2)
        assert [event.path for event in events.of(Restarting)] == ["/group"]

    group = one_for_one(leaf, name="group", restarts=Limit(0, within=30.0)).options(restart="transient")
    host.run(one_for_one(group), body)


# -- significant children ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("auto", ["any_significant", "all_significant"])
def test_the_end_of_significant_children_ends_their_supervisor(flavour: FlavourName, host: Host, auto: Any) -> None:
    seen = Diary()
    first = member(flavour, seen, "first", restart="transient", significant=True)
    second = member("asyncio", seen, "second", restart="transient", significant=True)
    third = member("trio", seen, "third")

    async def body(daemon: Daemon) -> None:
        first.ref.send(Note("stop"))
        if auto == "all_significant":
            await until(lambda: first.ref.cell.state == "closed")
            assert await ask(third.ref, Echo()) == 1
            second.ref.send(Note("stop"))
        await until(lambda: third.ref.cell.state == "closed")
        assert await daemon.children() == [("group", "undefined")]

    group = one_for_one(first, second, third, name="group", auto_shutdown=auto).options(restart="transient")
    host.run(one_for_one(group), body)
    assert sorted(seen.entries[3:]) == ["-first", "-second", "-third"]


# -- requests ----------------------------------------------------------------------------------------------------------
def test_children_are_started_terminated_restarted_and_deleted_by_request(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    declared, added = member(flavour, seen, "declared"), member(flavour, seen, "added")

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(added, under="/group") == "ok"
        assert await daemon.start(member(flavour, seen, "added"), under="/group") == "already_started"
        assert await ask(added.ref, Echo()) == 1
        assert added.ref.path == "/group/added"
        assert await daemon.children("/group") == [("declared", "running"), ("added", "running")]
        assert await daemon.restart("/group/added") == "running"
        assert await daemon.delete("/group/added") == "running"
        assert await daemon.terminate("/group/added") == "ok"
        assert isinstance(await outcome(lambda: ask(added.ref, Echo())), ActorStopped)
        assert await daemon.restart("/group/added") == "ok"
        assert await ask(added.ref, Echo()) == 2
        assert await daemon.terminate("/group/added") == "ok"
        assert await daemon.delete("/group/added") == "ok"
        assert await daemon.terminate("/group/added") == "not_found"
        assert await daemon.children("/group") == [("declared", "running")]
        assert await daemon.children() == [("group", "running")]
        with pytest.raises(UnknownPath):
            await daemon.children("/nowhere")
        with pytest.raises(UnknownPath):
            await daemon.start(member(flavour, seen, "lost"), under="/group/declared")

    host.run(one_for_one(one_for_one(declared, name="group")), body)


def test_a_whole_subtree_can_be_terminated_and_restarted(host: Host) -> None:
    seen = Diary()
    a, b, c = mixed(seen, "a", "b", "c")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/group") == "ok"
        assert isinstance(await outcome(lambda: ask(b.ref, Echo())), ActorStopped)
        assert await daemon.restart("/group") == "ok"
        assert [await ask(one.ref, Echo()) for one in (a, b, c)] == [2, 2, 2]
        assert seen == ["+a", "+b", "+c", "-c", "-b", "-a", "+a", "+b", "+c"]

    host.run(one_for_one(one_for_one(a, b, c, name="group")), body)


def test_requests_after_the_stop_are_refused(flavour: FlavourName, host: Host) -> None:
    late = member(flavour, Diary(), "late")
    daemons: list[Daemon] = []

    async def body(daemon: Daemon) -> None:
        daemons.append(daemon)
        daemon.stop()
        assert await daemon.start(late) == "shutting_down"
        assert await daemon.terminate("/first") == "shutting_down"

    host.run(one_for_one(member(flavour, Diary(), "first")), body)


def test_a_failing_request_to_start_leaves_nothing_behind(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Failing:
        async def on_start(self) -> None:
            raise Boom

        async def receive(self, message: Note) -> None: ...

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(failing) == "nope"
        assert await daemon.children() == []
        failing.ref.send(Note())
        await until(lambda: daemon.dead_letters == 1)

    host.run(one_for_one(), body)


# -- unkillable --------------------------------------------------------------------------------------------------------
def stubborn(flavour: FlavourName, seen: Diary, bell: Bell) -> Any:
    """An actor that does not end, whatever is done to it, until the bell rings."""

    if flavour == "threading":

        @role("threading")
        class Deaf:
            async def receive(self, message: Note) -> None:
                seen("deaf")
                bell.wait()

        return Deaf

    @role(flavour)
    class Swallowing:
        async def receive(self, message: Note) -> None:
            seen("deaf")
            if flavour == "trio":
                with trio.CancelScope(shield=True):
                    while not bell.is_set():
                        await trio.lowlevel.checkpoint()
            while not bell.is_set():
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    seen("swallowed")

    return Swallowing


@pytest.mark.parametrize("how", ["terminate", "leave"])
def test_what_cannot_be_killed_fails_the_daemon(
    flavour: FlavourName, host: Host, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen, bell = Diary(), Bell()
    actor = child(stubborn(flavour, seen, bell)).options(name="stubborn", shutdown=0.1)
    (other,) = mixed(seen, "other")

    async def body(daemon: Daemon) -> None:
        daemon.subscribe(lambda _: bell.set(), Escalated)  # let the test end: its own loop may be the lane
        actor.ref.send(Note())
        await seen.until(lambda entries: "deaf" in entries)
        if how == "terminate":
            await daemon.terminate("/stubborn")
            await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(other, actor), body)
    bell.set()
    assert caught.value.exit_code == 70
    assert isinstance(caught.value.__cause__, Unkillable)
    assert caught.value.__cause__.path == "/stubborn"
    assert seen.entries[-1] == "-other", "the rest of the tree is stopped in good order"
    (record,) = [record for record in caplog.records if "left behind" in record.getMessage()]
    assert "receive" in record.getMessage(), "with its stack"


@pytest.mark.once
def test_a_start_that_hangs_in_a_thread_and_cannot_be_killed_fails_the_daemon(host: Host) -> None:
    @role("threading")
    class Deaf:
        async def on_start(self) -> None:
            bell.wait()

        async def receive(self, message: Note) -> None: ...

    bell = Bell()
    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(child(Deaf).options(start_timeout=0.05, shutdown=0.05)), nothing)
    bell.set()
    assert caught.value.exit_code == 70


# -- the daemon's view -------------------------------------------------------------------------------------------------
def test_states_can_be_seen_while_a_start_hangs(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Slow:
        async def on_start(self) -> None:
            hanging("here")
            await gate.passed()

        async def receive(self, message: Note) -> None: ...

    gate, hanging = Gate(), Diary()

    async def body(daemon: Daemon) -> None:
        async def look() -> None:
            await hanging.until(1)
            assert await daemon.children() == [("slow", "starting")]
            gate.open()

        assert (await together(lambda: daemon.start(child(Slow)), look))[0] == "ok"
        assert await daemon.children() == [("slow", "running")]

    host.run(one_for_one(), body)


def test_starts_and_ends_are_events_with_generations(flavour: FlavourName, host: Host) -> None:
    one = member(flavour, Diary(), "one")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorStarted, ActorEnded)
        one.ref.send(Crash())
        await settled(one.ref, 2)
        first, second = await events.until(2)
        assert (first.path, first.generation, first.reason.kind) == ("/one", 1, "crashed")
        assert second == ActorStarted("/one", 2, flavour)

    host.run(one_for_one(one), body)
