"""Starting, as OTP's supervisor does it: children that are ignored, fail, or answer oddly."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.stage import Boom, Diary, Events, FlavourName, Host, Note, ask, nothing, outcome, role
from tests.supervision.otp.players import TRIO, End, Who, become, counted, generation, player
from trouper import ActorStopped, Daemon, DaemonFailed, Declined, Shutdown, StartFailed, child, one_for_all, one_for_one
from trouper.events import ActorDeclined, Restarting


# -- ignored -----------------------------------------------------------------------------------------------------------
def test_a_child_that_declines_at_boot_keeps_its_spec_and_the_boot_goes_on(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    declines = player(flavour, seen, "declines", "declines", "declines")

    async def body(daemon: Daemon) -> None:
        assert await daemon.children() == [("first", "running"), ("declines", "undefined"), ("last", "running")]
        assert seen == ["+first", "?declines", "+last"]
        assert isinstance(await outcome(lambda: ask(declines.ref, Who())), ActorStopped)
        assert await daemon.restart("/declines") == "ok_undefined"
        assert await daemon.restart("/declines") == "ok"
        assert await generation(declines) == 3

    host.run(one_for_one(player(flavour, seen, "first"), declines, player(flavour, seen, "last")), body)
    assert seen.entries[-3:] == ["-last", "-declines", "-first"]


def test_a_temporary_child_that_declines_at_boot_is_forgotten(flavour: FlavourName) -> None:
    async def body(daemon: Daemon) -> None:
        assert await daemon.children() == []
        assert await daemon.restart("/fleeting") == "not_found"

    TRIO.run(one_for_one(player(flavour, Diary(), "fleeting", "declines", restart="temporary")), body)


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_child_that_is_added_and_declines_is_kept_unless_it_is_temporary(flavour: FlavourName, restart: Any) -> None:
    added = player(flavour, Diary(), "added", "declines", restart=restart)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(added) == "ok_undefined"
        assert await counted(daemon) == ((0, 0) if restart == "temporary" else (1, 0))
        again = player(flavour, Diary(), "added", restart=restart)
        assert await daemon.start(again) == ("ok" if restart == "temporary" else "already_present")

    TRIO.run(one_for_one(), body)


def test_a_child_that_declines_to_be_restarted_stays_down_and_costs_nothing_more(flavour: FlavourName) -> None:
    seen = Diary()
    tired = player(flavour, seen, "tired", "ok", "declines")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorDeclined, Restarting)
        tired.ref.send(End())
        restarting, declined = await events.until(2)
        assert (restarting.used, declined) == (1, ActorDeclined("/tired", 2, "not today"))
        assert await daemon.restart("/tired") == "ok"
        assert await daemon.children() == [("tired", "running")]

    TRIO.run(one_for_one(tired), body)
    assert seen == ["+tired", "-tired", "?tired", "+tired", "-tired"]


def test_a_member_that_declines_in_a_group_restart_does_not_hold_the_group_up(flavour: FlavourName) -> None:
    seen = Diary()
    a, c = player(flavour, seen, "a"), player(flavour, seen, "c")
    b = player(flavour, seen, "b", "ok", "declines")

    async def body(daemon: Daemon) -> None:
        a.ref.send(End())
        await seen.until(3 + 3 + 3)
        assert seen.entries[3:] == ["-a", "-c", "-b", "+a", "?b", "+c"]
        assert await generation(c) == 2
        await become(daemon, {"a": "running", "b": "undefined", "c": "running"})

    TRIO.run(one_for_all(a, b, c), body)


def test_declining_in_the_constructor_is_declining(flavour: FlavourName) -> None:
    @role(flavour)
    class Shy:
        def __attrs_post_init__(self) -> None:
            raise Declined

        async def receive(self, message: Note) -> None: ...

    async def body(daemon: Daemon) -> None:
        assert await daemon.children() == [("shy", "undefined")]

    TRIO.run(one_for_one(child(Shy)), body)


# -- failing -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error", [Boom("no"), Shutdown("no")], ids=["an error", "Shutdown"])
def test_a_start_that_fails_fails_the_boot_and_what_comes_later_is_not_begun(
    flavour: FlavourName, host: Host, error: Exception
) -> None:
    seen = Diary()
    tree = one_for_one(
        player(flavour, seen, "first"),
        one_for_all(player(flavour, seen, "inner"), player(flavour, seen, "bad", error), name="group"),
        player(flavour, seen, "never"),
    )
    with pytest.raises(DaemonFailed) as caught:
        host.run(tree, nothing)
    assert seen == ["+first", "+inner", "?bad", "-inner", "-first"]
    failed = caught.value.__cause__
    assert isinstance(failed, StartFailed)
    assert failed.path == "/group/bad"
    assert failed.__cause__ is (error if isinstance(error, Boom) else None)


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_child_that_is_added_and_fails_leaves_no_spec_behind(flavour: FlavourName, restart: Any) -> None:
    seen = Diary()
    bad = player(flavour, seen, "bad", "fails", restart=restart)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(bad) == "nope"
        assert await counted(daemon) == (0, 0)
        assert await daemon.delete("/bad") == "not_found"
        assert await daemon.start(player(flavour, seen, "bad", restart=restart)) == "ok"
        assert await counted(daemon) == (1, 1)

    TRIO.run(one_for_one(), body)


def test_a_restart_by_request_that_fails_is_refused_and_the_spec_stays(flavour: FlavourName) -> None:
    seen = Diary()
    bad = player(flavour, seen, "bad", "ok", "fails")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        assert await daemon.terminate("/bad") == "ok"
        assert await daemon.restart("/bad") == "nope"
        assert await daemon.children() == [("bad", "undefined")]
        assert await daemon.restart("/bad") == "ok"
        assert await generation(bad) == 3
        assert events == [], "requests do not count and are not retried"

    TRIO.run(one_for_one(bad), body)


def test_a_supervisor_that_is_added_and_cannot_boot_leaves_nothing_behind(flavour: FlavourName) -> None:
    seen = Diary()
    group = one_for_one(player(flavour, seen, "good"), player(flavour, seen, "bad", "fails"), name="group")

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(group) == "nope"
        assert await daemon.children() == []
        assert seen == ["+good", "?bad", "-good"]

    TRIO.run(one_for_one(), body)


# -- odd answers -------------------------------------------------------------------------------------------------------
def test_what_on_start_returns_does_not_matter(flavour: FlavourName) -> None:
    @role(flavour)
    class Returns:
        async def on_start(self) -> Any:
            return Boom("only a value")

        async def receive(self, message: Who) -> int:
            return 1

    returns = child(Returns)

    async def body(daemon: Daemon) -> None:
        assert await daemon.children() == [("returns", "running")]
        assert await ask(returns.ref, Who()) == 1

    TRIO.run(one_for_one(returns), body)


def test_a_constructor_that_raises_at_a_restart_is_tried_again_and_counted(flavour: FlavourName) -> None:
    lives = Diary()

    @role(flavour)
    class Brittle:
        def __attrs_post_init__(self) -> None:
            lives("life")
            if len(lives.entries) in {2, 3}:
                raise Boom("broken")

        async def receive(self, message: End | Who) -> int:
            if isinstance(message, End):
                raise Boom
            return len(lives.entries)

    brittle = child(Brittle).options(backoff=None)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, Restarting)
        brittle.ref.send(End())
        assert await ask(brittle.ref, Who()) == 4
        assert [(event.used, event.reason.kind) for event in events.of(Restarting)] == [
            (1, "crashed"),
            (2, "start_failed"),
            (3, "start_failed"),
        ]

    TRIO.run(one_for_one(brittle), body)
