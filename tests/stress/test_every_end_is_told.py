"""Watchers in all lanes, and actors that are spawned in all lanes, crash and stop: every watch is told once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from tests.actors.stage import FLAVOURS, Boom, Crash, Diary, FlavourName, Host, in_thread, role
from tests.stress.test_nothing_lost import waited_for
from trouper import Child, Context, Daemon, Message, Reason, Ref, Request, Terminated, child, current, one_for_one

ROUNDS = 20  # for each pair of a spawner and the flavour of what it spawns


class Meet(Message):
    """Watch it; and if `hold` is false, think better of it."""

    ref: Any
    hold: bool


class Heard(Request[Any]):
    """How often did you hear of the end of whom, and why?"""


class Begin(Message): ...


class Leave(Message): ...


def watcher(flavour: FlavourName, told: Diary) -> Child[Any]:
    @role(flavour)
    class Watcher:
        async def on_start(self) -> None:
            self.ends: Counter[tuple[Ref[Any], str]] = Counter()

        async def receive(self, message: Meet | Heard | Terminated) -> Any:
            match message:
                case Meet(ref, hold):
                    current(self).watch(ref)
                    if not hold:
                        current(self).unwatch(ref)
                case Terminated(ref, reason):
                    self.ends[ref, reason.kind] += 1
                    told(ref)
                case Heard():
                    return self.ends
            return None

    return child(Watcher).options(name=f"by_{flavour}")


def mortal(flavour: FlavourName, restart: str) -> Child[Any]:
    @role(flavour, restart=restart)
    class Mortal:
        async def receive(self, message: Crash | Leave) -> None:
            match message:
                case Crash():
                    raise Boom
                case Leave():
                    current(self).stop()

        async def on_stop(self, reason: Reason) -> None:
            """One more step on the way."""

    return child(Mortal)


def crash(me: Context[Any], ref: Ref[Crash | Leave]) -> None:
    ref.send(Crash())


def crash_and_leave(me: Context[Any], ref: Ref[Crash | Leave]) -> None:
    """It is restarted in between."""
    ref.send(Crash())
    ref.send(Leave())


def leave(me: Context[Any], ref: Ref[Crash | Leave]) -> None:
    ref.send(Leave())


def be_stopped(me: Context[Any], ref: Ref[Crash | Leave]) -> None:
    me.stop(ref)


FATES = [
    ("temporary", crash, "crashed"),
    ("transient", crash_and_leave, "normal"),
    ("transient", leave, "normal"),
    ("transient", be_stopped, "shutdown"),
]


@attrs.define
class Lives:
    """What became of whom, as a watcher should hear it: None for those of whose end nobody wants to hear."""

    watchers: list[Ref[Any]]
    ends: dict[Ref[Any], str | None] = attrs.field(factory=dict)

    def live(self, me: Context[Any], n: int, flavour: FlavourName) -> None:
        """Spawn it, have it watched before, while and after it ends, and end it."""
        restart, end, kind = FATES[n % 4]
        hold, when = n % 5 != 4, n % 3
        born = mortal(flavour, restart)
        self.ends[born.ref] = kind if hold else None
        for step in range(3):
            if step == 1:
                me.spawn(born)
            elif step == 2:
                end(me, born.ref)
            if step == when:
                for to in self.watchers:
                    to.send(Meet(born.ref, hold))


def spawner(flavour: FlavourName, lives: Lives) -> Child[Any]:
    @role(flavour)
    class Spawner:
        async def receive(self, message: Begin) -> None:
            for n in range(ROUNDS):
                for kind in FLAVOURS:
                    lives.live(current(self), n, kind)

    return child(Spawner).options(name=f"spawner_{flavour}")


def test_of_many_lives_in_all_lanes_each_watcher_hears_of_each_end_once(host: Host) -> None:
    told = Diary()
    watchers = [watcher(name, told) for name in FLAVOURS]
    lives = Lives([by.ref for by in watchers])
    spawners = [spawner(name, lives) for name in FLAVOURS]
    count = len(FLAVOURS) ** 2 * ROUNDS
    ends = count - count // 5  # of one in five nobody wants to hear

    async def body(daemon: Daemon) -> None:
        for one in spawners:
            one.ref.send(Begin())
        assert await in_thread(waited_for, told, ends * len(watchers))
        expected = Counter((ref, kind) for ref, kind in lives.ends.items() if kind is not None)
        assert len(lives.ends) == count
        assert expected.total() == ends
        for by in watchers:
            assert await by.ref.ask(Heard()) == expected
        assert daemon.world.watching.watched == {}
        assert daemon.dead_letters == count // 2, "the messages over which they crashed"

    host.run(one_for_one(*watchers, *spawners), body)
