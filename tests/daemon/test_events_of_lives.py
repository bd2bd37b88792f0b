"""What the bus tells of lives, and whom."""

from __future__ import annotations

from tests.actors.stage import Boom, Crash, Diary, FlavourName, Host, role
from trouper import (
    ActorEnded,
    ActorHeld,
    ActorStarted,
    ActorStarting,
    Backoff,
    Daemon,
    DaemonReady,
    DeadLetter,
    Event,
    Restarting,
    SupervisorEnded,
    SupervisorStarted,
    child,
    one_for_one,
)
from trouper.events import Bus


def test_every_step_of_a_life_is_one_event_in_order(flavour: FlavourName, host: Host) -> None:
    @role(flavour, backoff=Backoff(first=0.001))
    class Failing:
        async def receive(self, message: Crash) -> None:
            raise Boom

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        seen = Diary()
        with daemon.subscribe(seen, ActorStarting, ActorStarted, ActorEnded, Restarting, DeadLetter):
            failing.ref.send(Crash())
            await seen.until(lambda entries: isinstance(entries[-1], ActorStarted) if entries else False)
        kinds = [type(event) for event in seen.entries]
        assert kinds == [DeadLetter, ActorEnded, Restarting, ActorStarting, ActorStarted]
        restarting = seen.entries[2]
        assert (restarting.path, restarting.used, restarting.allowed, restarting.counted) == ("/failing", 1, 3, True)
        assert 0 < restarting.delay <= 0.001

    host.run(one_for_one(failing), body)


def test_a_supervisor_tells_that_it_is_up_and_that_it_ended(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        seen = Diary()
        daemon.subscribe(seen, SupervisorStarted, SupervisorEnded)
        await daemon.start(one_for_one(name="group"))
        await daemon.terminate("/group")
        assert [(type(event), event.path, event.generation) for event in seen.entries] == [
            (SupervisorStarted, "/group", 1),
            (SupervisorEnded, "/group", 1),
        ]

    host.run(one_for_one(), body)


def test_a_listener_hears_of_one_part_of_the_tree() -> None:
    bus, below, everywhere = Bus(), list[Event](), list[Event]()
    bus.subscribe(below.append, under="/readers")
    bus.subscribe(everywhere.append, under="/")
    events = [ActorHeld(path) for path in ("/readers", "/readers/load", "/readers-2", "/")]
    for event in [*events, DaemonReady(0.1)]:
        bus.publish(event)
    assert below == events[:2]
    assert everywhere == [*events, DaemonReady(0.1)]
