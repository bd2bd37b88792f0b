"""What operators see and do while things hang: snapshots are never kept waiting, spawned children have paths, too."""

from __future__ import annotations

from threading import Event as Bell
from types import SimpleNamespace
from typing import Any

import pytest

from tests.actors.stage import (
    LOOPS,
    Diary,
    FlavourName,
    Gate,
    Host,
    Note,
    ask,
    for_ever,
    outcome,
    role,
    together,
)
from tests.supervision.otp.players import STRATEGIES, TRIO, End, Who, become, player, watched
from trouper import (
    ActorStopped,
    Backoff,
    Child,
    Daemon,
    Message,
    Request,
    Snapshot,
    UnknownPath,
    child,
    current,
    one_for_all,
    one_for_one,
)
from trouper.events import Restarting
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.spec import Limit
from trouper.supervision.supervisor import Branch

LATE = Backoff(first=1e6, base=1e6, cap=1e6)  # its time never comes


BELL = Bell()
REFS: dict[str, Any] = {}  # of what was spawned, by path


class Spawn(Request[list[str]]):
    """Spawn such children; their paths."""

    name: str | None = None
    count: int = 1


class Block(Message):
    """Hold the lane up until the gate is opened."""


def parent(flavour: FlavourName, seen: Diary, below: FlavourName, *plan: Any, **options: Any) -> Child[Any]:
    """An actor that spawns players called `worker`, and can block its lane."""

    @role(flavour)
    class Parent:
        async def receive(self, message: Spawn | Block | Who) -> Any:
            if isinstance(message, Who):
                return current(self).generation
            if isinstance(message, Block):
                seen("blocked")
                BELL.wait(20)
                return None
            paths = []
            for _ in range(message.count):
                one = player(below, seen, "worker", *plan).options(name=message.name, **options)
                paths.append(current(self).spawn(one).path)
                REFS[str(paths[-1])] = one.ref
            return paths

    return child(Parent).options(name="parent")


def at(tree: Snapshot, path: str) -> Snapshot:
    found = tree.find(path)
    assert found is not None, f"nothing at {path}:\n{tree}"
    return found


# -- snapshots while something hangs -----------------------------------------------------------------------------------
def test_the_tree_is_seen_while_its_boot_hangs(flavour: FlavourName, host: Host) -> None:
    """The start is released only after the answer."""
    seen, gate = Diary(), Gate()
    trees: list[Snapshot] = []

    @role("trio")
    class Operator:
        async def run(self) -> None:
            await seen.until(lambda entries: "?slow" in entries)
            trees.append(await current(self).daemon.tree())
            gate.open()
            await for_ever(self)

    async def body(daemon: Daemon) -> None:
        assert "+slow" in seen.entries
        trees.append(await daemon.tree())

    tree = one_for_one(
        child(Operator), one_for_one(player(flavour, seen, "slow", gate), player(flavour, seen, "last"), name="group")
    )
    host.run(tree, body)
    during, after = trees
    assert [(node.path, node.state) for node in during.walk()] == [
        ("/", "running"),
        ("/operator", "running"),
        ("/group", "starting"),
        ("/group/slow", "starting"),
        ("/group/last", "undefined"),
    ]
    assert (during.status, after.status) == ("changing", "up")
    assert (at(during, "/group/slow").generation, at(during, "/group/last").generation) == (1, 0)
    assert at(during, "/group/slow").uptime is not None
    assert at(during, "/group/last").uptime is None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_tree_is_seen_while_a_restart_hangs(flavour: FlavourName, strategy: str) -> None:
    seen, gate = Diary(), Gate()
    slow = player(flavour, seen, "slow", "ok", gate, backoff=None)

    async def body(daemon: Daemon) -> None:
        slow.ref.send(End())
        await seen.until(lambda entries: "?slow" in entries)
        slow.ref.send(End("normal"))
        tree = await daemon.tree()
        assert (at(tree, "/slow").state, at(tree, "/slow").generation) == ("starting", 2)
        assert at(tree, "/slow").waiting == 1
        assert "1 waiting" in str(tree)
        gate.open()

    TRIO.run(STRATEGIES[strategy](slow, player(flavour, seen, "last")), body)


def test_the_tree_is_seen_while_a_stop_hangs(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()

    @role(flavour)
    class Slow:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("stopping")
            await gate.passed()

    async def body(daemon: Daemon) -> None:
        async def look() -> None:
            await seen.until(lambda entries: "stopping" in entries)
            tree = await daemon.tree()
            assert [at(tree, path).state for path in ("/group", "/group/first", "/group/slow")] == [
                "stopping",
                "running",
                "stopping",
            ]
            gate.open()

        assert await together(lambda: daemon.terminate("/group"), look) == ["ok", None]
        tree = await daemon.tree()
        assert [at(tree, path).state for path in ("/group", "/group/first", "/group/slow")] == ["undefined"] * 3
        assert all(node.uptime is None for node in at(tree, "/group").walk())

    host.run(one_for_one(one_for_one(player(flavour, seen, "first"), child(Slow), name="group")), body)


def test_the_tree_is_seen_while_the_daemon_stops(flavour: FlavourName) -> None:
    seen = Diary()
    trees: list[Snapshot] = []

    @role(flavour)
    class Last:
        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            daemon = current(self).daemon
            trees.append(daemon.tree_sync() if flavour == "threading" else await daemon.tree())

    async def body(daemon: Daemon) -> None: ...

    TRIO.run(one_for_one(player(flavour, seen, "first"), child(Last)), body)
    assert [(node.path, node.state) for node in trees[0].walk()] == [
        ("/", "stopping"),
        ("/first", "running"),
        ("/last", "stopping"),
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_tree_is_seen_during_a_backoff(flavour: FlavourName, strategy: str) -> None:
    one = player(flavour, Diary(), "one", backoff=LATE)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.nth(Restarting, "/one")
        await become(daemon, {"one": "backoff", "two": "running" if strategy == "one_for_one" else "undefined"})
        tree = await daemon.tree()
        assert (tree.status, at(tree, "/one").degraded, at(tree, "/one").uptime) == ("changing", False, None)

    TRIO.run(STRATEGIES[strategy](one, player(flavour, Diary(), "two")), body)


def test_a_snapshot_reads_as_a_tree(flavour: FlavourName) -> None:
    seen = Diary()
    boss = parent(flavour, seen, flavour)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        await ask(boss.ref, Spawn(count=2))
        await events.started("/group/parent/player-2")
        assert await daemon.hold("/group/idle") == "ok"
        tree = await daemon.tree()
        lines = str(tree).splitlines()
        shapes = [line.partition(", up ")[0] for line in lines]
        assert shapes == [
            "/: running, one_for_one, generation 1",
            "  group: running, one_for_all, generation 1",
            "    parent: running, Parent, generation 1",
            "      player-1: running, Player, generation 1",
            "      player-2: running, Player, generation 1",
            "    idle: held, Player, generation 1",
        ]
        assert [node.flavour for node in tree.walk()] == [None, None, *[flavour] * 4]
        assert [node.name for node in tree.walk()] == ["", "group", "parent", "player-1", "player-2", "idle"]
        assert tree.find("/group/parent/player-3") is None
        uptimes = [node.uptime for node in tree.walk() if node.uptime is not None]
        assert len(uptimes) == 5
        assert all(0 <= uptime < 20 for uptime in uptimes), uptimes

    TRIO.run(one_for_one(one_for_all(boss, player(flavour, seen, "idle"), name="group")), body)


# -- spawned children --------------------------------------------------------------------------------------------------
def test_a_spawned_child_is_stopped_by_its_path_and_the_other_requests_are_not_for_it(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    boss = parent(flavour, seen, flavour)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        assert await ask(boss.ref, Spawn(count=2)) == ["/parent/player-1", "/parent/player-2"]
        await events.started("/parent/player-2")
        await become(daemon, {"player-1": "running", "player-2": "running"}, "/parent")
        for verb in (daemon.restart, daemon.delete, daemon.hold, daemon.release):
            assert await verb("/parent/player-1") == "simple_one_for_one"
            assert await verb("/parent/nobody") == "not_found"
        assert await daemon.terminate("/parent/nobody") == "not_found"
        assert await daemon.terminate("/parent/player-1") == "ok"
        await events.ended("/parent/player-1")
        await become(daemon, {"player-2": "running"}, "/parent")
        ref = REFS["/parent/player-1"]
        while not isinstance(await outcome(lambda: ask(ref, Who())), ActorStopped):
            await daemon.children()
        assert not events.of(Restarting)
        assert await ask(boss.ref, Who()) == 1

    host.run(one_for_one(boss), body)


def test_a_child_cannot_be_added_below_an_actor(flavour: FlavourName) -> None:
    seen = Diary()
    boss = parent(flavour, seen, flavour)
    extra = player(flavour, seen, "extra")

    async def body(daemon: Daemon) -> None:
        for _ in range(2):
            with pytest.raises(UnknownPath, match="/parent"):
                await daemon.start(extra, under="/parent")
            await ask(boss.ref, Spawn())
        assert await daemon.start(extra) == "ok", "it has no place yet"

    TRIO.run(one_for_one(boss), body)


def test_a_spawned_child_can_be_stopped_while_its_restart_hangs_or_waits(flavour: FlavourName) -> None:
    seen = Diary()
    boss = parent(flavour, seen, flavour, "ok", "hangs")

    async def body(daemon: Daemon) -> None:
        await ask(boss.ref, Spawn("a"))
        await seen.until(1)
        REFS["/parent/a"].send(End())
        await seen.until(lambda entries: "?worker" in entries)
        await become(daemon, {"a": "starting"}, "/parent")
        assert await daemon.terminate("/parent/a") == "ok"
        await become(daemon, {}, "/parent")

    TRIO.run(one_for_one(boss), body)


def test_held_actors_and_supervisors_are_released_by_their_path(flavour: FlavourName) -> None:
    seen = Diary()
    boss = parent(flavour, seen, flavour)

    async def body(daemon: Daemon) -> None:
        await ask(boss.ref, Spawn(count=3))
        assert await daemon.hold("/group/parent") == "ok"
        tree = await daemon.tree()
        assert (at(tree, "/group/parent").state, at(tree, "/group/parent").children) == ("held", ())
        with pytest.raises(UnknownPath):
            await daemon.hold("/group/parent/player-1")
        assert await daemon.hold("/group") == "ok"
        assert at(await daemon.tree(), "/group").state == "held"
        assert await daemon.release("/group/parent") == "shutting_down"
        assert await daemon.release("/group") == "ok"
        assert at(await daemon.tree(), "/group/parent").state == "held"
        assert await daemon.release("/group/parent") == "ok"
        assert await ask(boss.ref, Who()) == 2

    TRIO.run(one_for_one(one_for_one(boss, name="group")), body)


@pytest.mark.parametrize("path", ["/", "", "/group/", "/nobody", "nobody"])
def test_a_path_that_names_no_child_is_not_found(path: str) -> None:
    async def body(daemon: Daemon) -> None:
        for verb in (daemon.terminate, daemon.hold, daemon.release, daemon.restart, daemon.delete):
            assert await verb(path) == "not_found"
        assert at(await daemon.tree(), "/group/one").state == "running"

    TRIO.run(one_for_one(one_for_one(player("trio", Diary(), "one"), name="group")), body)


def test_the_tree_is_seen_while_the_lane_of_a_spawner_is_blocked(loop_flavour: FlavourName) -> None:
    """The host's loop is the other one; the request for the spawned child comes through when the lane turns again."""
    seen = Diary()
    boss = parent(loop_flavour, seen, loop_flavour)
    BELL.clear()

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        answers = Diary()
        await ask(boss.ref, Spawn(count=2))
        await events.started("/parent/player-2")
        boss.ref.send(Block())
        await seen.until(lambda entries: "blocked" in entries)

        async def stop() -> None:
            answers(await daemon.terminate("/parent/player-1"))

        async def look() -> None:
            try:
                tree = await daemon.tree()
                assert [child.path for child in at(tree, "/parent").children] == [
                    "/parent/player-1",
                    "/parent/player-2",
                ]
                assert len(await daemon.children("/parent")) == 2
                assert answers == []
            finally:
                BELL.set()

        assert await together(stop, look) == [None, None]
        assert answers == ["ok"]
        await become(daemon, {"player-2": "running"}, "/parent")

    other: FlavourName = next(name for name in LOOPS if name != loop_flavour)
    Host(other).run(one_for_one(boss), body)


def test_a_look_at_a_supervisor_that_another_thread_ends_meanwhile_finds_it_down() -> None:
    class Vanishing:
        """Its machine is gone when it is looked at a second time."""

        nodes = {"one": None}  # noqa: RUF012 - never changed
        world = SimpleNamespace(stopping=False)
        looks = 0

        @property
        def machine(self) -> Dynamic | None:
            self.looks += 1
            return Dynamic(Limit(1, within=1.0)) if self.looks == 1 else None

    vanishing: Any = Vanishing()
    assert Branch.view(vanishing) == []
    assert Branch.view(vanishing) == [("one", "undefined")]
