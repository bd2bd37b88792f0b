"""Readiness by notice, and optional children: when a start is done, and who waits for it."""

from __future__ import annotations

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
    role,
    together,
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
    Backoff,
    Child,
    Daemon,
    DaemonFailed,
    Limit,
    NotReady,
    NotRunning,
    Shutdown,
    StartFailed,
    StartTimeout,
    SyncInbox,
    child,
    current,
    one_for_one,
    rest_for_one,
)
from trouper.events import ActorEnded, ActorStarted, Degraded, Recovered, Restarting


def notifying(flavour: FlavourName, seen: Diary, ready_at: int = 1, **options: Any) -> Child[Any]:
    """It is up when it got so many notes; it dies of an `End`."""

    @role(flavour, readiness="notify")
    class Notifying:
        count: int = 0

        async def on_start(self) -> None:
            await turn(self)
            seen("?one")

        async def receive(self, message: Note | End | Who) -> int | None:
            if isinstance(message, Who):
                return current(self).generation
            if isinstance(message, End):
                if message.how == "crash":
                    raise Boom("early")
                if message.how == "shutdown":
                    raise Shutdown
                current(self).stop()
                return None
            self.count += 1
            if self.count == ready_at:
                await turn(self)
                seen("+one")
                current(self).ready()
            return None

        async def on_stop(self, reason: Any) -> None:
            seen(f"-one {reason.kind}")

    return child(Notifying).options(name="one", **options)


# -- readiness by notice -----------------------------------------------------------------------------------------------
def test_the_next_child_starts_only_when_the_one_before_said_that_it_is_ready(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    one = notifying(flavour, seen, ready_at=3)

    @role("trio")
    class First:
        async def run(self) -> None:
            events = Events(current(self).daemon, ActorStarted)
            await seen.until(lambda entries: "?one" in entries)
            for _ in range(2):
                one.ref.send(Note())
            assert await ask(one.ref, Who()) == 1, "it handles messages, and is not up"
            assert dict(await current(self).daemon.children())["one"] == "starting"
            assert not [event for event in events.of(ActorStarted) if event.path == "/one"]
            assert "+next" not in seen.entries
            one.ref.send(Note())
            await events.started("/one")
            await for_ever(self)

    async def body(daemon: Daemon) -> None:
        assert await states(daemon) == {"first": "running", "one": "running", "next": "running"}

    host.run(one_for_one(child(First), one, player(flavour, seen, "next")), body)
    assert seen == ["?one", "+one", "+next", "-next", "-one shutdown"]


def test_one_that_does_not_say_that_it_is_ready_fails_the_boot_after_its_start_timeout(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    one = notifying(flavour, seen, start_timeout=0.25)
    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(player(flavour, seen, "first"), one, player(flavour, seen, "never")), nothing)
    failed = caught.value.__cause__
    assert isinstance(failed, StartFailed)
    assert failed.path == "/one"
    assert isinstance(failed.__cause__, StartTimeout)
    assert seen == ["+first", "?one", "-one timeout", "-first"], "its `on_start` was done: its `on_stop` is due"


@pytest.mark.parametrize("how", ["normal", "shutdown", "crash"])
def test_one_that_ends_before_it_is_ready_fails_the_boot(flavour: FlavourName, how: Any) -> None:
    seen = Diary()
    one = notifying(flavour, seen)
    one.ref.send(End(how))
    with pytest.raises(DaemonFailed) as caught:
        TRIO.run(one_for_one(player(flavour, seen, "first"), one), nothing)
    failed = caught.value.__cause__
    assert isinstance(failed, StartFailed)
    assert isinstance(failed.__cause__, Boom if how == "crash" else NotReady)
    assert seen.entries[0] == "+first"
    assert seen.entries[-1] == "-first"


@pytest.mark.parametrize("how", ["normal", "shutdown", "crash"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("backoff", [None, Backoff(base=1e-9, cap=1e-9)], ids=["no backoff", "backoff"])
def test_one_that_ends_before_it_is_ready_again_has_failed_its_restart(
    flavour: FlavourName, how: Any, strategy: str, backoff: Backoff | None
) -> None:
    seen = Diary()
    one = notifying(flavour, seen, backoff=backoff, restart="transient")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await seen.until(lambda entries: entries.count("?one") == 2)
        one.ref.send(End(how))
        await seen.until(lambda entries: entries.count("?one") == 3)
        one.ref.send(Note())
        assert (await events.started("/one")).generation == 3
        told = events.of(Restarting)
        assert [(event.used, event.reason.kind) for event in told] == [(1, "crashed"), (2, "start_failed")]
        assert isinstance(told[1].reason.cause, Boom if how == "crash" else NotReady)
        assert [event.generation for event in events.of(ActorEnded) if event.path == "/one"] == [1, 2]

    async def boot(daemon: Daemon) -> None:
        assert await daemon.start(other) == "ok"
        assert (await together(lambda: daemon.start(one), let_it))[0] == "ok"
        await body(daemon)

    async def let_it() -> None:
        await seen.until(lambda entries: "?one" in entries)
        one.ref.send(Note())

    other = player(flavour, seen, "other")
    TRIO.run(STRATEGIES[strategy](restarts=Limit(5, within=1e9)), boot)


def test_one_that_never_gets_ready_again_is_timed_out_and_tried_again(flavour: FlavourName) -> None:
    seen = Diary()
    one = notifying(flavour, seen, start_timeout=0.5, backoff=None)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        assert (await together(lambda: daemon.start(one), lambda: let_it(1)))[0] == "ok"
        one.ref.send(End())
        restarting = await events.nth(Restarting, "/one", 2)
        assert (restarting.reason.kind, type(restarting.reason.cause)) == ("timeout", StartTimeout)
        await let_it(3)
        await events.started("/one", 2)

    async def let_it(life: int) -> None:
        await seen.until(lambda entries: entries.count("?one") >= life)
        one.ref.send(Note())

    TRIO.run(one_for_one(restarts=Limit(100, within=1e9)), body)


def test_to_be_ready_in_on_start_or_twice_is_to_be_ready(flavour: FlavourName) -> None:
    seen = Diary()
    kept: list[Any] = []

    @role(flavour, readiness="notify")
    class Eager:
        async def on_start(self) -> None:
            kept.append(current(self))
            current(self).ready()
            await turn(self)
            current(self).ready()
            seen("on_start is done")

        async def receive(self, message: Note) -> None:
            current(self).ready()
            seen("ready again")

    eager = child(Eager)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorStarted)
        assert seen == ["on_start is done", "+next"]
        eager.ref.send(Note())
        await seen.until(3)
        assert await daemon.terminate("/eager") == "ok"
        with pytest.raises(NotRunning):
            kept[0].ready()
        assert events == []

    TRIO.run(one_for_one(eager, player(flavour, seen, "next")), body)


def test_to_be_ready_counts_only_when_on_start_is_done(flavour: FlavourName) -> None:
    """It said so too early, and failed after that: its start failed."""

    @role(flavour, readiness="notify")
    class Hasty:
        async def on_start(self) -> None:
            current(self).ready()
            await turn(self)
            raise Boom

        async def receive(self, message: Note) -> None: ...

    with pytest.raises(DaemonFailed) as caught:
        TRIO.run(one_for_one(child(Hasty)), nothing)
    assert isinstance(caught.value.__cause__, StartFailed)


def test_where_no_notice_is_asked_for_ready_does_nothing(flavour: FlavourName) -> None:
    @role(flavour)
    class Plain:
        async def receive(self, message: Note | Who) -> int:
            current(self).ready()
            return current(self).generation

    plain = child(Plain)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorStarted)
        assert await ask(plain.ref, Who()) == 1
        assert await daemon.children() == [("plain", "running")]
        assert events == []

    TRIO.run(one_for_one(plain), body)


def test_a_run_loop_says_when_it_is_ready(flavour: FlavourName) -> None:
    """As in a threading `run` that binds a socket first, and serves then."""
    seen, gate = Diary(), Gate()

    @role(flavour, readiness="notify")
    class Server:
        async def run(self) -> None:
            seen("binding")
            await gate.passed()
            seen("serving")
            current(self).ready()
            await for_ever(self)

    async def body(daemon: Daemon) -> None:
        async def look() -> None:
            await seen.until(1)
            assert await states(daemon, "/group") == {"server": "starting", "next": "undefined"}
            assert seen == ["binding"]
            gate.open()

        tree = one_for_one(child(Server), player(flavour, seen, "next"), name="group")
        assert await together(lambda: daemon.start(tree), look) == ["ok", None]
        assert seen == ["binding", "serving", "+next"]

    TRIO.run(one_for_one(), body)


def test_a_threading_run_loop_says_in_the_midst_of_its_messages_that_it_is_ready() -> None:
    seen = Diary()

    @role("threading", readiness="notify", accepts=Note)
    class Loop:
        def run(self, inbox: SyncInbox[Note]) -> None:
            for message in inbox:
                seen(message.text)
                if message.text == "ready":
                    current(self).ready()

    loop = child(Loop)
    for text in ("early", "ready", "late"):
        loop.ref.send(Note(text))

    async def body(daemon: Daemon) -> None:
        await seen.until(lambda entries: {"late", "+next"} <= set(entries))
        assert seen.entries.index("+next") > seen.entries.index("ready")

    TRIO.run(one_for_one(loop, player("trio", seen, "next")), body)


def test_a_stop_while_nobody_is_ready_ends_the_boot(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    one = notifying(flavour, seen, start_timeout=1e6)

    @role("trio")
    class Impatient:
        async def run(self) -> None:
            await seen.until(lambda entries: "?one" in entries)
            current(self).daemon.stop()
            await for_ever(self)

    host.run(one_for_one(child(Impatient), one, player(flavour, seen, "never")), nothing)
    assert seen == ["?one", "-one shutdown"]


# -- optional children -------------------------------------------------------------------------------------------------
def test_the_boot_goes_on_while_an_optional_child_hangs_in_its_start(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    slow = player(flavour, seen, "slow", gate, optional=True)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        assert await states(daemon) == {"first": "running", "slow": "starting", "last": "running"}
        assert (await daemon.tree()).status == "changing"
        assert "+slow" not in seen.entries
        gate.open()
        await events.started("/slow")
        await become(daemon, {"first": "running", "slow": "running", "last": "running"})
        assert await generation(slow) == 1
        assert not events.of(Restarting)

    host.run(one_for_one(player(flavour, seen, "first"), slow, player(flavour, seen, "last")), body)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_optional_child_that_fails_to_start_is_tried_until_it_comes_up_and_disturbs_nobody(
    flavour: FlavourName, strategy: str
) -> None:
    seen, gate = Diary(), Gate()
    plan: list[Act] = ["fails", "fails", "fails", "fails", gate]
    shy = player(flavour, seen, "shy", *plan, optional=True, backoff=Backoff(base=1e-9, cap=1e-9))
    tree = STRATEGIES[strategy](shy, player(flavour, seen, "other"), restarts=Limit(0, within=1e9))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Degraded, Recovered)
        await seen.until(lambda entries: entries.count("?shy") == 5)
        assert (await daemon.tree()).status == "degraded"
        gate.open()
        await events.nth(Recovered, "/shy")
        await become(daemon, {"shy": "running", "other": "running"})
        assert seen.entries.count("+other") == 1
        assert (await daemon.tree()).status == "up"

    TRIO.run(tree, body)


def test_an_optional_child_that_was_up_once_is_a_child_like_any_other(flavour: FlavourName) -> None:
    seen = Diary()
    once = player(flavour, seen, "once", optional=True)
    group = one_for_one(once, name="group", restarts=Limit(0, within=1e9))

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        await become(daemon, {"once": "running"}, "/group")
        once.ref.send(End())
        assert (await events.nth(Restarting, "/group")).counted

    TRIO.run(one_for_one(group), body)


def test_an_optional_child_that_declines_or_is_temporary_is_not_tried_again(flavour: FlavourName) -> None:
    seen = Diary()
    declines = player(flavour, seen, "declines", "declines", optional=True)
    fleeting = player(flavour, seen, "fleeting", "fails", optional=True, restart="temporary")

    async def body(daemon: Daemon) -> None:
        await become(daemon, {"declines": "undefined"})
        assert sorted(seen.entries) == ["?declines", "?fleeting"]

    TRIO.run(one_for_one(declines, fleeting), body)


def test_a_stop_during_the_hanging_start_of_an_optional_child_waits_for_nothing(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    slow = player(flavour, seen, "slow", "hangs", optional=True)

    async def body(daemon: Daemon) -> None:
        await seen.until(lambda entries: "?slow" in entries)

    host.run(one_for_one(player(flavour, seen, "first"), slow, player(flavour, seen, "last")), body)
    assert sorted(seen.entries[:3]) == ["+first", "+last", "?slow"]
    assert seen.entries[3:] == ["-last", "-first"]


def test_an_optional_supervisor_boots_beside_the_others(flavour: FlavourName) -> None:
    seen, gate = Diary(), Gate()
    group = one_for_one(player(flavour, seen, "inner", "fails", gate), name="group").options(
        optional=True, backoff=Backoff(base=1e-9, cap=1e-9)
    )

    async def body(daemon: Daemon) -> None:
        await seen.until(lambda entries: entries.count("?inner") == 2)
        assert (await states(daemon))["last"] == "running"
        assert await states(daemon, "/group") == {"inner": "starting"}
        gate.open()
        await become(daemon, {"group": "running", "last": "running"})

    TRIO.run(rest_for_one(group, player(flavour, seen, "last")), body)


def test_requests_for_an_optional_child_whose_start_hangs_are_answered(flavour: FlavourName) -> None:
    seen = Diary()
    slow = player(flavour, seen, "slow", "hangs", optional=True)

    async def body(daemon: Daemon) -> None:
        await seen.until(lambda entries: "?slow" in entries)
        assert await daemon.restart("/slow") == "restarting"
        assert await daemon.terminate("/slow") == "ok"
        assert await states(daemon) == {"slow": "undefined"}
        assert await daemon.restart("/slow") == "ok"
        assert await generation(slow) == 2

    TRIO.run(one_for_one(slow), body)
