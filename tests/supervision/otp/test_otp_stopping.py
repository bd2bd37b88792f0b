"""Stopping, as OTP's supervisor does it: with all the time, with a little, with none, and in a race."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from tests.actors.stage import FLAVOURS, Diary, Events, FlavourName, Gate, Host, Note, for_ever, role, together, turn
from tests.supervision.otp.players import TRIO, End, How, counted, player, states, watched
from trouper import Child, Daemon, StopTimeout, child, one_for_all, one_for_one
from trouper.events import ActorEnded, ActorStarted, Restarting


def lingering(flavour: FlavourName, seen: Diary, gate: Gate | None, **options: Any) -> Child[Note]:
    """Its handler waits at the gate, or for ever."""

    @role(flavour)
    class Lingering:
        async def receive(self, message: Note) -> None:
            seen("handling")
            try:
                await (for_ever(self) if gate is None else gate.passed())
                seen("handled")
            finally:
                seen("out")

        async def on_stop(self, reason: Any) -> None:
            await turn(self)
            seen(reason.kind)

    return child(Lingering).options(name="lingering", **options)


def test_with_all_the_time_a_stop_waits_for_the_handler(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    one = lingering(flavour, seen, gate, shutdown=inf)

    async def body(daemon: Daemon) -> None:
        async def look() -> None:
            while (await states(daemon))["lingering"] != "stopping":
                await daemon.tree()
            assert seen == ["handling"], "it waits"
            gate.open()

        one.ref.send(Note())
        await seen.until(1)
        assert (await together(lambda: daemon.terminate("/lingering"), look)) == ["ok", None]
        assert await counted(daemon) == (1, 0)

    host.run(one_for_one(one), body)
    assert seen == ["handling", "handled", "out", "shutdown"]


def test_with_a_little_time_a_handler_that_never_ends_is_killed(loop_flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    one = lingering(loop_flavour, seen, None, shutdown=0.05)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        one.ref.send(Note())
        await seen.until(1)
        assert await daemon.terminate("/lingering") == "ok"
        assert isinstance((await events.ended("/lingering")).reason.cause, StopTimeout)

    host.run(one_for_one(one), body)
    assert seen.entries[:2] == ["handling", "out"]
    assert "handled" not in seen.entries


def test_without_time_a_handler_that_never_ends_is_killed_at_once(flavour: FlavourName, host: Host) -> None:
    """A thread cannot be forced; its blocking call of the runtime ends at once."""
    seen = Diary()
    one = lingering(flavour, seen, None, shutdown=0)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        one.ref.send(Note())
        await seen.until(1)
        assert await daemon.terminate("/lingering") == "ok"
        ended = await events.ended("/lingering")
        assert (ended.reason.kind, ended.generation) == ("killed", 1)

    host.run(one_for_one(one), body)
    assert seen.entries[:2] == ["handling", "out"]


@pytest.mark.parametrize("how", ["normal", "shutdown", "crash"])
def test_twelve_children_that_end_by_themselves_while_they_are_stopped_end_once_each(how: How, host: Host) -> None:
    """The last one is stopped first; it waits until the eleven before it have ended by themselves, in any order."""
    seen = Diary()
    eleven = [player(FLAVOURS[n % 3], seen, f"n{n}", restart="permanent") for n in range(11)]
    told: list[Events] = []

    @role("trio")
    class Last:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            for one in eleven:
                one.ref.send(End(how))
            for n in range(11):
                await told[0].ended(f"/group/n{n}")
            seen("-last")

    async def body(daemon: Daemon) -> None:
        told.append(watched(daemon))
        assert await daemon.terminate("/group") == "ok"
        assert sorted(event.path for event in told[0].of(ActorEnded)) == sorted(
            [f"/group/n{n}" for n in range(11)] + ["/group/last"]
        )
        assert not told[0].of(Restarting)
        assert not told[0].of(ActorStarted)
        assert await daemon.restart("/group") == "ok"
        assert await counted(daemon, "/group") == (12, 12)

    host.run(one_for_one(one_for_one(*eleven, child(Last), name="group")), body)
    assert sorted(seen.entries[11:23]) == sorted([f"-n{n}" for n in range(11)] + ["-last"])


def test_twelve_children_that_end_while_the_daemon_stops_race_with_it_and_nothing_is_restarted(host: Host) -> None:
    seen = Diary()
    twelve = [player(FLAVOURS[n % 3], seen, f"n{n}") for n in range(12)]

    async def body(daemon: Daemon) -> None:
        told.append(watched(daemon))
        daemon.stop()
        for one in twelve:
            one.ref.send(End())

    told: list[Events] = []
    host.run(one_for_all(*twelve), body)
    assert sorted(seen.entries) == sorted(f"{sign}n{n}" for n in range(12) for sign in "+-")
    assert len(told[0].of(ActorEnded)) == 12
    assert not told[0].of(Restarting)


def test_an_on_stop_that_fails_does_not_keep_the_rest_from_stopping(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Sore:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("sore")
            raise ValueError("clean-up failed")

    seen = Diary()
    tree = one_for_one(player(flavour, seen, "a"), child(Sore), player(flavour, seen, "b"))

    async def body(daemon: Daemon) -> None:
        told.append(Events(daemon, ActorEnded))

    told: list[Events] = []
    host.run(tree, body)
    assert seen == ["+a", "+b", "-b", "sore", "-a"]
    assert [(event.path, event.reason.kind) for event in told[0].of(ActorEnded)] == [
        ("/b", "shutdown"),
        ("/sore", "crashed"),
        ("/a", "shutdown"),
    ]


def test_a_second_stop_is_harmless(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    async def body(daemon: Daemon) -> None:
        daemon.stop("once")
        daemon.stop("twice")
        daemon.root.lane.post(daemon.root.ask_halt)
        daemon.stop("and again")

    host.run(one_for_one(one_for_one(player(flavour, seen, "a"), name="group"), player(flavour, seen, "b")), body)
    assert seen == ["+a", "+b", "-b", "-a"]


def test_a_request_during_the_stop_is_answered_that_it_is_too_late(flavour: FlavourName) -> None:
    seen, gate = Diary(), Gate()
    one = lingering(flavour, seen, gate)

    async def body(daemon: Daemon) -> None:
        one.ref.send(Note())
        await seen.until(1)
        daemon.stop()
        for verb in (daemon.terminate, daemon.restart, daemon.delete, daemon.hold, daemon.release):
            assert await verb("/lingering") == "shutting_down"
        assert await daemon.start(player(flavour, seen, "late")) == "shutting_down"
        assert (await daemon.tree()).state == "stopping"
        gate.open()

    TRIO.run(one_for_one(one), body)
    assert "+late" not in seen.entries
