"""Requests, as OTP's supervisor answers them: every one in every state, with what is there after each."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from tests.actors.stage import Diary, FlavourName, Gate, Host, ask, outcome, together
from tests.supervision.otp.players import STRATEGIES, TRIO, Act, End, Who, counted, generation, player, states, watched
from trouper import ActorStopped, Backoff, Daemon, Limit, SpecError, UnknownPath, child, one_for_one
from trouper.actors.options import Restart
from trouper.events import ActorEnded, Restarting
from trouper.supervision.place import place
from trouper.supervision.spec import AutoShutdown, Supervisor

RESTARTS: tuple[Restart, ...] = get_args(Restart)
AUTO: tuple[AutoShutdown, ...] = get_args(AutoShutdown)
FAILING: list[Act] = ["fails"] * 10_000
LATE = Backoff(first=1e6, base=1e6, cap=1e6)  # its time never comes


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_child_goes_through_all_requests_and_the_counts_follow(flavour: FlavourName, strategy: str) -> None:
    seen = Diary()
    one = player(flavour, seen, "one")

    async def body(daemon: Daemon) -> None:
        async def say(verb: str) -> tuple[str, tuple[int, int]]:
            return await getattr(daemon, verb)("/group/one"), await counted(daemon, "/group")

        assert await daemon.start(one, under="/group") == "ok"
        assert await counted(daemon, "/group") == (2, 2)
        assert await daemon.start(player(flavour, seen, "one"), under="/group") == "already_started"
        assert await say("restart") == ("running", (2, 2))
        assert await say("delete") == ("running", (2, 2))
        assert await say("release") == ("not_held", (2, 2))
        assert await say("terminate") == ("ok", (2, 1))
        assert await daemon.start(player(flavour, seen, "one"), under="/group") == "already_present"
        assert await say("terminate") == ("ok", (2, 1))
        assert await say("release") == ("not_held", (2, 1))
        assert await say("restart") == ("ok", (2, 2))
        assert await generation(one) == 2
        assert await say("hold") == ("ok", (2, 1))
        assert await say("hold") == ("ok", (2, 1))
        assert await say("terminate") == ("ok", (2, 1))
        assert await say("restart") == ("held", (2, 1))
        assert await daemon.start(player(flavour, seen, "one"), under="/group") == "already_present"
        assert await states(daemon, "/group") == {"other": "running", "one": "held"}
        assert await say("release") == ("ok", (2, 2))
        assert await say("terminate") == ("ok", (2, 1))
        assert await say("delete") == ("ok", (1, 1))
        for verb in ("restart", "delete", "terminate", "hold", "release"):
            assert await say(verb) == ("not_found", (1, 1))
        assert await daemon.start(player(flavour, seen, "one"), under="/group") == "ok"
        assert await counted(daemon, "/group") == (2, 2)
        assert [name for name, _ in await daemon.children("/group")] == ["other", "one"], "it is the last"

    TRIO.run(one_for_one(STRATEGIES[strategy](player(flavour, seen, "other"), name="group")), body)
    assert seen.entries.count("+one") == seen.entries.count("-one") == 4


def test_a_temporary_child_that_is_terminated_is_forgotten(flavour: FlavourName) -> None:
    one = player(flavour, Diary(), "one", restart="temporary")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/one") == "ok"
        assert await daemon.children() == []
        assert isinstance(await outcome(lambda: ask(one.ref, Who())), ActorStopped)
        assert await daemon.delete("/one") == "not_found"

    TRIO.run(one_for_one(one), body)


def test_a_held_child_that_is_deleted_is_gone(flavour: FlavourName) -> None:
    one = player(flavour, Diary(), "one")

    async def body(daemon: Daemon) -> None:
        assert await daemon.hold("/one") == "ok"
        assert await daemon.delete("/one") == "ok"
        assert await daemon.release("/one") == "not_found"
        assert await daemon.start(player(flavour, Diary(), "one")) == "ok", "and its hold does not outlive it"

    TRIO.run(one_for_one(one), body)


def test_requests_for_a_child_that_waits_to_be_restarted(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", backoff=LATE)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        await events.nth(Restarting, "/one")
        assert await states(daemon) == {"one": "backoff"}
        assert await counted(daemon) == (1, 0)
        assert await daemon.restart("/one") == "restarting"
        assert await daemon.delete("/one") == "restarting"
        assert await daemon.release("/one") == "not_held"
        assert await daemon.start(player(flavour, seen, "one")) == "already_present"
        assert await daemon.terminate("/one") == "ok"
        assert await states(daemon) == {"one": "undefined"}
        assert await daemon.restart("/one") == "ok"
        assert await generation(one) == 2

    host.run(one_for_one(one), body)


def test_requests_under_a_supervisor_that_is_down_are_too_late(flavour: FlavourName) -> None:
    one = player(flavour, Diary(), "one")

    async def body(daemon: Daemon) -> None:
        assert await daemon.terminate("/group") == "ok"
        assert await daemon.children("/group") == [("one", "undefined")]
        for verb in (daemon.terminate, daemon.restart, daemon.delete, daemon.hold, daemon.release):
            assert await verb("/group/one") == "shutting_down"
        assert await daemon.start(player(flavour, Diary(), "two"), under="/group") == "shutting_down"
        assert await daemon.restart("/group") == "ok"
        assert await generation(one) == 2

    TRIO.run(one_for_one(one_for_one(one, name="group")), body)


@pytest.mark.parametrize("path", ["/nowhere/one", "/group/one/two", "/group/one/two/three", "//nowhere//x"])
def test_a_path_below_nothing_is_unknown(flavour: FlavourName, path: str) -> None:
    async def body(daemon: Daemon) -> None:
        for verb in (daemon.terminate, daemon.restart, daemon.delete, daemon.hold, daemon.release):
            with pytest.raises(UnknownPath, match="given the path"):
                await verb(path)
        with pytest.raises(UnknownPath):
            await daemon.children(path)
        with pytest.raises(UnknownPath):
            await daemon.start(player(flavour, Diary(), "two"), under=path)

    TRIO.run(one_for_one(one_for_one(player(flavour, Diary(), "one"), name="group")), body)


# -- what significance allows ------------------------------------------------------------------------------------------
def legal(*, significant: bool, restart: Restart, auto: AutoShutdown) -> bool:
    return not significant or (restart != "permanent" and auto != "never")


@pytest.mark.parametrize(("significant", "restart", "auto"), list(product([False, True], RESTARTS, AUTO)))
@pytest.mark.parametrize("inner", ["actor", "supervisor"])
def test_each_combination_of_significance_restart_and_auto_shutdown_is_taken_or_refused(
    flavour: FlavourName, significant: bool, restart: Restart, auto: AutoShutdown, inner: str
) -> None:
    def one() -> Any:
        if inner == "supervisor":
            return one_for_one(name="one").options(restart=restart, significant=significant)
        return player(flavour, Diary(), "one", restart=restart, significant=significant)

    allowed = legal(significant=significant, restart=restart, auto=auto)
    tree = one_for_one(one(), auto_shutdown=auto)
    if allowed:
        place(tree)
    else:
        with pytest.raises(SpecError, match="/one: significant: given significant=True"):
            place(tree)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(one()) == ("ok" if allowed else "bad_combination")
        assert await counted(daemon) == ((1, 1) if allowed else (0, 0))

    TRIO.run(one_for_one(auto_shutdown=auto), body)


@pytest.mark.parametrize(
    ("field", "value"), [("strategy", "simple"), ("children", ("a",)), ("limit", 3), ("auto_shutdown", "always")]
)
def test_a_supervisor_that_cannot_be_is_refused_where_it_is_written(field: str, value: Any) -> None:
    arguments: dict[str, Any] = {"strategy": "one_for_one", "children": (), field: value}
    with pytest.raises(SpecError):
        Supervisor(**arguments)


# -- requests and a stop while a restart hangs, or fails for ever ------------------------------------------------------
def test_a_restart_that_hangs_is_terminated_at_once_where_nobody_waits_for_it(flavour: FlavourName, host: Host) -> None:
    """With a backoff the start of a child alone holds up nobody, not even a request for itself."""
    seen = Diary()
    one, other = player(flavour, seen, "one", "ok", "hangs"), player(flavour, seen, "other")

    async def body(daemon: Daemon) -> None:
        one.ref.send(End())
        await seen.until(lambda entries: "?one" in entries)
        assert await daemon.terminate("/other") == "ok"
        assert await daemon.restart("/other") == "ok"
        assert await daemon.restart("/one") == "restarting"
        assert await daemon.delete("/one") == "restarting"
        assert await states(daemon) == {"one": "starting", "other": "running"}
        assert await daemon.terminate("/one") == "ok"
        assert await daemon.restart("/one") == "ok"
        assert await generation(one) == 3

    host.run(one_for_one(one, other), body)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_requests_wait_for_a_restart_that_hangs_where_there_is_no_backoff(flavour: FlavourName, strategy: str) -> None:
    """As in OTP; but what there is can be seen meanwhile."""
    seen, gate = Diary(), Gate()
    one, other = player(flavour, seen, "one", "ok", gate, backoff=None), player(flavour, seen, "other", backoff=None)
    answers = Diary()

    async def body(daemon: Daemon) -> None:
        async def terminate() -> None:
            answers(await daemon.terminate("/other"))

        async def look() -> None:
            for _ in range(10):
                assert (await states(daemon))["one"] == "starting"
            assert answers == []
            gate.open()

        one.ref.send(End())
        await seen.until(lambda entries: "?one" in entries)
        await together(terminate, look)
        assert answers == ["ok"]
        assert await states(daemon) == {"one": "running", "other": "undefined"}

    TRIO.run(STRATEGIES[strategy](one, other), body)


@pytest.mark.parametrize("backoff", [None, Backoff()], ids=["no backoff", "backoff"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_stop_preempts_a_restart_that_hangs(
    flavour: FlavourName, host: Host, strategy: str, backoff: Backoff | None
) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", "ok", "hangs", backoff=backoff)
    other = player(flavour, seen, "other", backoff=backoff)

    async def body(daemon: Daemon) -> None:
        async def stop() -> None:
            daemon.stop()

        one.ref.send(End())
        await seen.until(lambda entries: "?one" in entries)
        if backoff is None:
            answers = await together(lambda: daemon.terminate("/other"), stop)
            assert answers[0] == "shutting_down"

    host.run(STRATEGIES[strategy](one, other), body)
    assert seen.entries.count("+one") == 1
    assert seen.entries.count("+other") == seen.entries.count("-other")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("backoff", [None, Backoff(base=1e-9, cap=1e-9)], ids=["no backoff", "backoff"])
def test_a_restart_that_fails_for_ever_gives_requests_a_turn(
    flavour: FlavourName, strategy: str, backoff: Backoff | None
) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", "ok", *FAILING, backoff=backoff)
    other = player(flavour, seen, "other", backoff=backoff)

    async def body(daemon: Daemon) -> None:
        one.ref.send(End())
        await seen.until(lambda entries: entries.count("?one") > 20)
        assert await daemon.restart("/one") == "restarting"
        assert await daemon.delete("/one") == "restarting"
        assert await daemon.start(player(flavour, seen, "new")) == "ok"
        assert await daemon.terminate("/one") == "ok"
        tries = seen.entries.count("?one")
        assert (await states(daemon))["one"] == "undefined"
        assert await daemon.start(player(flavour, seen, "newer")) == "ok"
        assert seen.entries.count("?one") == tries, "it is not tried any more"
        assert (await states(daemon))["other"] == ("running" if strategy == "one_for_one" else "undefined")
        assert await daemon.delete("/one") == "ok"
        assert [name for name, _ in await daemon.children()] == ["other", "new", "newer"]

    TRIO.run(STRATEGIES[strategy](one, other, restarts=Limit(10**9, within=1e9)), body)


@pytest.mark.parametrize("backoff", [None, Backoff(base=1e-9, cap=1e-9)], ids=["no backoff", "backoff"])
def test_a_stop_ends_a_restart_that_fails_for_ever(flavour: FlavourName, host: Host, backoff: Backoff | None) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", "ok", *FAILING, backoff=backoff)
    other = player(flavour, seen, "other")

    async def body(daemon: Daemon) -> None:
        one.ref.send(End())
        await seen.until(lambda entries: entries.count("?one") > 20)

    host.run(one_for_one(other, one, restarts=Limit(10**9, within=1e9)), body)
    assert seen.entries[-1] == "-other"


def test_a_restart_that_fails_for_ever_goes_over_the_limit(flavour: FlavourName) -> None:
    seen = Diary()
    one = player(flavour, seen, "one", "ok", *FAILING[:3], backoff=None)

    async def body(daemon: Daemon) -> None:
        events = watched(daemon)
        one.ref.send(End())
        escalated = await events.nth(Restarting, "/group")
        assert escalated.reason.kind == "restart_limit"
        assert seen.entries.count("?one") == 3
        await events.started("/group/one")
        assert (await generation(one), await counted(daemon, "/group")) == (5, (1, 1))
        assert [event.generation for event in events.of(ActorEnded)] == [1, 2, 3, 4]

    TRIO.run(one_for_one(one_for_one(one, name="group", restarts=Limit(3, within=1e9))), body)


def test_a_child_has_one_class_and_many_places(flavour: FlavourName) -> None:
    """OTP: the same start function under several ids."""
    seen = Diary()
    two = [player(flavour, seen, name) for name in ("x", "y")]
    same = [child(two[0].definition.cls).options(name=name) for name in ("p", "q")]

    async def body(daemon: Daemon) -> None:
        assert await counted(daemon) == (4, 4)
        assert await daemon.terminate("/p") == "ok"
        assert await states(daemon) == {"x": "running", "y": "running", "p": "undefined", "q": "running"}

    TRIO.run(one_for_one(*two, *same), body)
