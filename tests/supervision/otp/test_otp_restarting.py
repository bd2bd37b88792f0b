"""Restarting, as OTP's supervisor does it: who is restarted after which end, with whom, and who is told."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.actors.stage import FLAVOURS, Boom, Diary, Events, FlavourName, Gate, Host, role
from tests.supervision.otp.players import (
    STRATEGIES,
    TRIO,
    End,
    How,
    Who,
    become,
    generation,
    mixed,
    player,
    states,
    watched,
)
from trouper import (
    Daemon,
    DaemonFailed,
    Limit,
    RestartLimitExceeded,
    child,
    current,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from trouper.actors.options import Restart
from trouper.events import ActorEnded, ActorStarted, Restarting
from trouper.supervision.spec import AutoShutdown

NONE = Limit(0, within=30.0)
KINDS: dict[How, str] = {"normal": "normal", "shutdown": "shutdown", "crash": "crashed"}


# -- restart types by exit reasons -------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_each_restart_type_after_each_exit_reason(flavour: FlavourName, restart: Restart, how: How) -> None:
    one = player(flavour, Diary(), "one", restart=restart)
    again = restart == "permanent" or (restart == "transient" and how == "crash")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End(how))
        ended = await events.ended("/one")
        assert ended.reason.kind == KINDS[how]
        if again:
            assert (await events.nth(Restarting, "/one")).used == 1
            assert (await events.started("/one")).generation == 2
            await become(daemon, {"one": "running"})
        else:
            await become(daemon, {} if restart == "temporary" else {"one": "undefined"})
            assert await daemon.start(player(flavour, Diary(), "other")) == "ok"
            assert not events.of(Restarting)

    TRIO.run(one_for_one(one), body)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_group_restart_brings_back_who_was_down_and_forgets_the_temporary(
    flavour: FlavourName, strategy: str
) -> None:
    seen = Diary()
    a = player(flavour, seen, "a")
    down, fleeting = player(flavour, seen, "down"), player(flavour, seen, "fleeting", restart="temporary")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/down") == "ok"
        a.ref.send(End())
        await seen.until(lambda entries: entries.count("+down") == 2)
        await become(daemon, {"a": "running", "down": "running"})
        assert seen.entries[-4:] == ["-a", "-fleeting", "+a", "+down"]

    TRIO.run(STRATEGIES[strategy](a, down, fleeting), body)


# -- strategies, and what is above -------------------------------------------------------------------------------------
OUTER = {
    "one_for_one": ["-B", "+B"],
    "one_for_all": ["-C", "-B", "-A", "+A", "+B", "+C"],
    "rest_for_one": ["-C", "-B", "+B", "+C"],
}


@pytest.mark.parametrize(("inner", "outer"), list(product(STRATEGIES, STRATEGIES)))
def test_a_group_over_its_limit_is_restarted_as_the_strategy_above_says(
    inner: str, outer: str, flavour: FlavourName
) -> None:
    """The group B has three members, of which the second ends twice; A and C are its siblings."""
    seen = Diary()
    a, c = player("threading", seen, "A"), player("asyncio", seen, "C")
    x, y, z = (player(flavour, seen, name) for name in "xyz")
    group = STRATEGIES[inner](x, y, z, name="B", restarts=Limit(1, within=1e9))
    first = {"one_for_one": "y", "one_for_all": "xyz", "rest_for_one": "yz"}[inner]

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        y.ref.send(End())
        await seen.until(lambda entries: all(entries.count(f"+{name}") == 2 for name in first))
        at = len(seen.entries)
        y.ref.send(End())
        wanted = expected(OUTER[outer])
        await seen.until(at + len(wanted))
        assert seen.entries[at:] == wanted
        assert [event.path for event in events.of(Restarting)] == ["/B/y", "/B"]
        assert [await generation(one) for one in (x, y, z)] == [3 if name in first else 2 for name in "xyz"]
        assert [await generation(one) for one in (a, c)] == [2 if f"+{name}" in wanted else 1 for name in "AC"]

    def expected(order: list[str]) -> list[str]:
        """The crash comes first; then B goes down, which stops who is left of it, before its siblings do."""
        rest = [entry for entry in order if entry != "-B"]
        up = rest.index("+B")
        return ["-y", "-z", "-x", *rest[:up], "+x", "+y", "+z", *rest[up + 1 :]]

    TRIO.run(STRATEGIES[outer](a, group, c), body)


@pytest.mark.parametrize("turn", range(3))
def test_in_a_tree_of_three_levels_each_level_heals_what_it_can(host: Host, turn: int) -> None:
    seen = Diary()
    leaf, twin, cousin, uncle = (
        player(FLAVOURS[(n + turn) % 3], seen, name) for n, name in enumerate(("leaf", "twin", "cousin", "uncle"))
    )
    inner = one_for_one(leaf, twin, name="inner", restarts=Limit(1, within=1e9))
    middle = rest_for_one(inner, cousin, name="middle", restarts=Limit(1, within=1e9))
    tree = one_for_one(middle, uncle, restarts=Limit(1, within=1e9))

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        for life in range(1, 6):
            assert await generation(leaf) == life
            leaf.ref.send(End())
            started = await events.started("/middle/inner/leaf", life)
            assert started.generation == life + 1
            await daemon.tree()
        assert [event.path for event in events.of(Restarting)] == [
            "/middle/inner/leaf",  # at once
            "/middle/inner",  # over its limit: the level above
            "/middle/inner/leaf",
            "/middle",
            "/middle/inner/leaf",
        ]
        assert [await generation(one) for one in (twin, cousin, uncle)] == [3, 3, 1]

    host.run(tree, body)


def test_what_no_level_heals_reaches_the_root_with_the_whole_story(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    leaf, cousin, uncle = (player(flavour, seen, name) for name in ("leaf", "cousin", "uncle"))
    inner = one_for_one(leaf, name="inner", restarts=NONE)
    tree = one_for_one(one_for_all(inner, cousin, name="middle", restarts=NONE), uncle, restarts=NONE)

    async def body(daemon: Daemon) -> None:
        leaf.ref.send(End())
        await seen.until(lambda _: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(tree, body)
    story: list[Any] = [caught.value.__cause__]
    while story[-1].__cause__ is not None:
        story.append(story[-1].__cause__)
    assert [error.path for error in story[:-1]] == ["/", "/middle", "/middle/inner"]
    assert all(isinstance(error, RestartLimitExceeded) for error in story[:-1])
    assert isinstance(story[-1], Boom)
    assert seen.entries[3:] == ["-leaf", "-cousin", "-uncle"]


def test_a_subtree_keeps_its_order_through_restarts_of_what_is_above(host: Host) -> None:
    seen = Diary()
    a, b, c, d, e = mixed(seen, "abcde")
    inner = one_for_all(b, rest_for_one(c, d, name="deep"), name="inner")

    async def body(daemon: Daemon) -> None:
        a.ref.send(End())
        await seen.until(15)
        assert seen.entries[5:] == ["-a", "-e", "-d", "-c", "-b", "+a", "+b", "+c", "+d", "+e"]
        assert await states(daemon, "/inner/deep") == {"c": "running", "d": "running"}

    host.run(rest_for_one(a, inner, e), body)


# -- one that ends while others start ----------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_member_that_ends_while_a_later_one_starts_is_judged_afterwards(flavour: FlavourName, strategy: str) -> None:
    """The second start of b ends a, and is not over until that is known: a new failure, counted anew."""
    seen = Diary()

    @role(flavour)
    class Later:
        async def on_start(self) -> None:
            if current(self).generation == 2:
                seen("?b")
                a.ref.send(End())
                await gate.passed()
            seen("+b")

        async def receive(self, message: Who) -> int:
            return current(self).generation

        async def on_stop(self, reason: Any) -> None:
            seen("-b")

    a, b, gate = player(flavour, seen, "a"), child(Later).options(name="b"), Gate()

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        a.ref.send(End())
        await events.ended("/a", 2)
        gate.open()
        await events.started("/b", 2)
        assert [(event.path, event.used) for event in events.of(Restarting)] == [("/a", 1), ("/a", 2)]
        assert (await generation(a), await generation(b)) == (3, 3)

    TRIO.run(STRATEGIES[strategy](a, b), body)
    assert seen.entries[:10] == ["+a", "+b", "-a", "-b", "+a", "?b", "-a", "+b", "-b", "+a"]


# -- significant children ----------------------------------------------------------------------------------------------
def significant(flavour: FlavourName, seen: Diary, name: str, restart: Restart = "transient") -> Any:
    return player(flavour, seen, name, restart=restart, significant=True)


@pytest.mark.parametrize("how", ["normal", "shutdown"])
@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_any_significant_child_that_ends_takes_its_supervisor_along_at_once(
    flavour: FlavourName, restart: Restart, how: How
) -> None:
    seen = Diary()
    a, b = significant(flavour, seen, "a", restart), significant(flavour, seen, "b", restart)
    group = one_for_one(a, b, player(flavour, seen, "c"), name="group", auto_shutdown="any_significant")

    async def body(daemon: Daemon) -> None:
        a.ref.send(End(how))
        await seen.until(6)
        assert seen.entries[3:] == ["-a", "-c", "-b"]
        await become(daemon, {"group": "undefined"})
        assert await daemon.restart("/group") == "ok"
        assert [await generation(one) for one in (a, b)] == [2, 2]

    TRIO.run(one_for_one(group.options(restart="transient")), body)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_all_significant_children_must_end_to_take_their_supervisor_along(
    flavour: FlavourName, restart: Restart
) -> None:
    seen = Diary()
    a, b = significant(flavour, seen, "a", restart), significant(flavour, seen, "b", restart)
    c = player(flavour, seen, "c")
    group = one_for_one(a, b, c, name="group", auto_shutdown="all_significant")

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        b.ref.send(End("normal"))
        await events.ended("/group/b")
        assert (await states(daemon, "/group"))["c"] == "running"
        c.ref.send(End())
        await events.started("/group/c")
        a.ref.send(End("normal"))
        await events.ended("/group/c", 2)
        await become(daemon, {"group": "undefined"})

    TRIO.run(one_for_one(group.options(restart="transient")), body)


def test_a_significant_child_that_crashes_is_restarted_where_it_is_transient(flavour: FlavourName) -> None:
    seen = Diary()
    a = significant(flavour, seen, "a")

    async def body(daemon: Daemon) -> None:
        a.ref.send(End())
        await seen.until(3)
        assert await generation(a) == 2

    TRIO.run(one_for_one(one_for_one(a, name="group", auto_shutdown="any_significant")), body)


def test_a_significant_temporary_child_that_crashes_takes_its_supervisor_along(flavour: FlavourName) -> None:
    seen = Diary()
    a = significant(flavour, seen, "a", "temporary")
    group = one_for_one(a, player(flavour, seen, "b"), name="group", auto_shutdown="any_significant")

    async def body(daemon: Daemon) -> None:
        a.ref.send(End())
        await seen.until(lambda entries: "-b" in entries)
        await become(daemon, {"group": "undefined"})

    TRIO.run(one_for_one(group.options(restart="transient")), body)


@pytest.mark.parametrize("auto", ["any_significant", "all_significant"])
def test_a_significant_child_that_a_request_stops_takes_nobody_along(flavour: FlavourName, auto: AutoShutdown) -> None:
    seen = Diary()
    a, b = significant(flavour, seen, "a"), significant(flavour, seen, "b")
    c = player(flavour, seen, "c")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/a") == "ok"
        assert await daemon.hold("/b") == "ok"
        assert await states(daemon) == {"a": "undefined", "b": "held", "c": "running"}
        assert await generation(c) == 1
        assert await daemon.delete("/a") == "ok"
        assert await daemon.release("/b") == "ok"

    TRIO.run(one_for_one(a, b, c, auto_shutdown=auto), body)


@pytest.mark.parametrize("auto", ["any_significant", "all_significant"])
def test_the_end_of_a_significant_child_of_the_root_ends_the_daemon_well(flavour: FlavourName, auto: Any) -> None:
    seen = Diary()
    a = significant(flavour, seen, "a")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorStarted, ActorEnded)
        a.ref.send(End("normal"))
        await events.ended("/b")
        await daemon.over.wait()
        assert (daemon.code, daemon.cause) == (0, None)

    TRIO.run(one_for_one(player(flavour, seen, "b"), a, auto_shutdown=auto), body)
    assert seen == ["+b", "+a", "-a", "-b"]


def test_a_significant_supervisor_that_ends_takes_the_one_above_along(flavour: FlavourName) -> None:
    seen = Diary()
    a = significant(flavour, seen, "a")
    inner = one_for_one(a, name="inner", auto_shutdown="any_significant")
    group = one_for_one(
        player(flavour, seen, "b"),
        inner.options(restart="transient", significant=True),
        name="group",
        auto_shutdown="all_significant",
    )

    async def body(daemon: Daemon) -> None:
        a.ref.send(End("normal"))
        await seen.until(4)
        assert seen.entries[2:] == ["-a", "-b"]
        await become(daemon, {"group": "undefined"})
        assert await daemon.restart("/group") == "ok"

    TRIO.run(one_for_one(group.options(restart="transient")), body)
