"""Names and paths: who looks an actor up finds its ref as long as it lives, and never after its end was told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.stage import (
    FLAVOURS,
    Boom,
    Crash,
    Diary,
    Echo,
    FlavourName,
    Gate,
    Host,
    Note,
    Read,
    ask,
    in_thread,
    nothing,
    role,
    together,
    until,
)
from trouper import (
    ActorStopped,
    Child,
    Daemon,
    DaemonFailed,
    DefinitionError,
    Limit,
    NameTaken,
    Ref,
    Request,
    Terminated,
    UsageError,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
)


class Do(Request[Any]):
    """Call `what(current(self))`, and answer with what it returns."""

    what: Any


@actor(flavour="trio")
class InTrio:
    async def receive(self, message: Do | Crash | Echo) -> Any:
        return do(self, message)


@actor(flavour="asyncio")
class InAsyncio:
    async def receive(self, message: Do | Crash | Echo) -> Any:
        return do(self, message)


@actor(flavour="threading")
class InThread:
    def receive(self, message: Do | Crash | Echo) -> Any:
        return do(self, message)


@actor(flavour="asyncio")
class InAsyncioToo(InAsyncio):
    """A subclass is a class of its own."""


CLASSES: dict[FlavourName, Any] = {"trio": InTrio, "asyncio": InAsyncio, "threading": InThread}


def do(me: Any, message: Do | Crash | Echo) -> Any:
    if isinstance(message, Crash):
        raise Boom
    return message.what(current(me)) if isinstance(message, Do) else message.value


def one(flavour: FlavourName, name: str = "one", **options: Any) -> Child[Any]:
    made: Child[Any] = child(CLASSES[flavour]).options(name=name, **options)
    return made


# -- names -------------------------------------------------------------------------------------------------------------
def test_a_name_finds_its_actor_from_every_lane_and_from_foreign_threads(flavour: FlavourName, host: Host) -> None:
    cls, named = CLASSES[flavour], one(flavour)
    askers = [one(name, f"asker_{name}") for name in FLAVOURS]

    async def body(daemon: Daemon) -> None:
        assert daemon.lookup(cls, "boss") is None
        daemon.register("boss", named.ref)
        assert daemon.lookup(cls, "boss") is named.ref
        assert await in_thread(daemon.lookup, cls, "boss") is named.ref
        for asker in askers:
            assert await asker.ref.ask(Do(lambda me: me.daemon.lookup(cls, "boss"))) is named.ref

    host.run(one_for_one(named, *askers), body)


def test_an_actor_registers_itself_in_each_of_its_lives_and_keeps_the_name_over_restarts(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour)
    class Named:
        async def on_start(self) -> None:
            current(self).daemon.register("me", current(self).self_ref)

        async def receive(self, message: Crash | Read) -> Any:
            if isinstance(message, Crash):
                raise Boom
            return [current(self).generation]

    named = child(Named)

    async def body(daemon: Daemon) -> None:
        assert daemon.lookup(Named, "me") is named.ref
        named.ref.send(Crash())
        assert await ask(named.ref, Read()) == [2]
        assert daemon.lookup(Named, "me") is named.ref

    host.run(named, body)


def test_a_name_is_one_actors_and_the_error_says_whose(flavour: FlavourName, host: Host) -> None:
    cls, first, second = CLASSES[flavour], one(flavour, "first"), one(flavour, "second")

    async def body(daemon: Daemon) -> None:
        daemon.register("boss", first.ref)
        daemon.register("boss", first.ref)
        with pytest.raises(NameTaken) as caught:
            daemon.register("boss", second.ref)
        assert str(caught.value) == (
            f"register: given 'boss' for {second.ref!r}, and {first.ref!r} has it; allowed: another name"
        )
        assert daemon.lookup(cls, "boss") is first.ref
        daemon.register("chief", first.ref)
        daemon.unregister("boss")
        daemon.unregister("boss")
        assert daemon.lookup(cls, "boss") is None
        assert daemon.lookup(cls, "chief") is first.ref
        daemon.register("boss", second.ref)
        assert daemon.lookup(cls, "boss") is second.ref

    host.run(one_for_one(first, second), body)


def test_names_are_free_when_their_actor_has_ended_for_good(flavour: FlavourName, host: Host) -> None:
    cls, first, second = CLASSES[flavour], one(flavour, "first"), one(flavour, "second")

    async def body(daemon: Daemon) -> None:
        for name in ("boss", "chief"):
            daemon.register(name, first.ref)
        await daemon.terminate("/first")
        assert daemon.lookup(cls, "boss") is None
        daemon.register("boss", second.ref)
        assert await daemon.restart("/first") == "ok"
        assert daemon.lookup(cls, "boss") is second.ref
        assert daemon.lookup(cls, "chief") is None, "it is an operator who brings it back, not its name"
        assert daemon.names.keys() == {second.ref}

    host.run(one_for_one(first, second), body)


@pytest.mark.parametrize("watching", FLAVOURS)
def test_who_has_the_notice_of_an_end_finds_the_ref_no_more_and_the_name_free(
    flavour: FlavourName, watching: FlavourName, host: Host
) -> None:
    @role(watching)
    class Heir:
        async def receive(self, message: Do | Terminated) -> Any:
            me = current(self)
            if isinstance(message, Do):
                return message.what(me)
            heard([me.daemon.lookup(cls, where) for where in ("boss", path)])
            me.daemon.register("boss", me.self_ref)
            return heard(me.daemon.lookup(Heir, "boss"))

    heard, cls, path = Diary(), CLASSES[flavour], "/heir/one"
    heir = child(Heir)

    def spawn_and_watch(me: Any) -> Any:
        ref = me.spawn(one(flavour, restart="temporary"))
        me.daemon.register("boss", ref)
        me.watch(ref)
        return ref

    async def body(daemon: Daemon) -> None:
        ref = await ask(heir.ref, Do(spawn_and_watch))
        assert daemon.lookup(cls, "boss") is daemon.lookup(cls, path) is ref
        assert ref is not None
        ref.send(Crash())
        assert await heard.until(2) == [[None, None], heir.ref]

    host.run(heir, body)


def test_what_cannot_have_a_name_is_refused(flavour: FlavourName, host: Host) -> None:
    dead, alive, unplaced = one(flavour, "dead"), one(flavour, "alive"), one(flavour)
    wrong: Any = alive

    async def body(daemon: Daemon) -> None:
        await daemon.terminate("/dead")
        for ref in (dead.ref, unplaced.ref, wrong):
            with pytest.raises(UsageError, match="as 'x', allowed: the ref of a living actor of this daemon"):
                daemon.register("x", ref)
        for name in ("", "a/b", "/alive", " x", 3):
            with pytest.raises(UsageError, match="allowed: a printable string without '/'"):
                daemon.register(name, alive.ref)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert (daemon.refs, daemon.names) == ({}, {})

    host.run(one_for_one(dead, alive), body)


def test_daemons_do_not_share_names(flavour: FlavourName, host: Host) -> None:
    cls, mine, theirs = CLASSES[flavour], one("threading", "mine"), one(flavour, "theirs")

    async def body(daemon: Daemon) -> None:
        async with open_daemon(theirs) as other:
            other.register("boss", theirs.ref)
            assert daemon.lookup(cls, "boss") is daemon.lookup(cls, "/theirs") is None
            with pytest.raises(UsageError, match="a living actor of this daemon"):
                daemon.register("boss", theirs.ref)
            daemon.register("boss", mine.ref)

    host.run(mine, body)


# -- paths -------------------------------------------------------------------------------------------------------------
def test_a_path_finds_what_the_tree_declares_what_was_added_and_what_was_spawned(
    flavour: FlavourName, host: Host
) -> None:
    cls, declared, added = CLASSES[flavour], one(flavour, "declared"), one(flavour, "added")

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(added, under="/group") == "ok"
        spawned = await declared.ref.ask(Do(lambda me: me.spawn(one(flavour, "spawned"))))
        below = await spawned.ask(Do(lambda me: me.spawn(child(cls))))
        found = {
            "/group/declared": declared.ref,
            "/group/added": added.ref,
            "/group/declared/spawned": spawned,
            f"/group/declared/spawned/{cls.__trouper__.default_name}-1": below,
        }
        for path, ref in found.items():
            assert daemon.lookup(cls, path) is ref
            assert await in_thread(daemon.lookup, cls, path) is ref
            assert await spawned.ask(Do(lambda me, path=path: me.daemon.lookup(cls, path))) is ref
            assert ref.path == path
        for path in ("/nobody", "/nobody/declared", "/group/nobody", "/group/added/nobody", "/group/declared/nobody"):
            assert daemon.lookup(cls, path) is None

    host.run(one_for_one(one_for_one(declared, name="group")), body)


def test_while_the_tree_starts_those_to_come_are_found(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Early:
        async def on_start(self) -> None:
            found(current(self).daemon.lookup(cls, "/group/late"))

        async def receive(self, message: Note) -> None: ...

    found, cls, late = Diary(), CLASSES[flavour], one(flavour, "late")
    host.run(one_for_one(child(Early), one_for_one(late, name="group")), nothing)
    assert found == [late.ref]


def test_no_path_leads_to_who_has_ended_and_to_a_restarted_one_it_does(flavour: FlavourName, host: Host) -> None:
    cls, mortal = CLASSES[flavour], one(flavour)

    async def body(daemon: Daemon) -> None:
        mortal.ref.send(Crash())
        assert await mortal.ref.ask(Echo(1)) == 1
        assert daemon.lookup(cls, "/one") is mortal.ref
        await daemon.terminate("/one")
        assert daemon.lookup(cls, "/one") is None
        await daemon.restart("/one")
        assert daemon.lookup(cls, "/one") is mortal.ref
        await daemon.terminate("/one")
        await daemon.delete("/one")
        assert daemon.lookup(cls, "/one") is None
        await daemon.start(heir := one(flavour))
        assert daemon.lookup(cls, "/one") is heir.ref

    host.run(one_for_one(mortal), body)


def test_the_place_of_a_supervisor_is_an_error_that_says_so(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        for path in ("/", "/group"):
            with pytest.raises(UsageError) as caught:
                daemon.lookup(InTrio, path)
            assert str(caught.value) == (
                f"lookup: given {path!r}, where a supervisor (one_for_one) stands, allowed: the path of an actor"
            )

    host.run(one_for_one(one_for_one(one("trio"), name="group")), body)


def test_a_look_up_does_not_wait_for_a_lane_that_is_blocked(flavour: FlavourName, host: Host) -> None:
    """It may be asked by who watches a stall."""

    @role("threading")
    class Blocks:
        async def receive(self, message: Note) -> None:
            await gate.passed()

    gate, cls, asked = Gate(), CLASSES[flavour], one(flavour)
    blocks = child(Blocks)

    async def body(daemon: Daemon) -> None:
        blocks.ref.send(Note())
        assert daemon.lookup(Blocks, "/blocks") is blocks.ref
        assert daemon.lookup(cls, "/one") is asked.ref
        gate.open()

    host.run(one_for_one(blocks, asked), body)


# -- classes -----------------------------------------------------------------------------------------------------------
def test_an_actor_of_another_class_is_an_error_and_one_of_a_subclass_is_not(host: Host) -> None:
    base, sub = child(InAsyncio).options(name="base"), child(InAsyncioToo).options(name="sub")

    async def body(daemon: Daemon) -> None:
        daemon.register("boss", base.ref)
        for where in ("boss", "/base"):
            with pytest.raises(UsageError) as caught:
                daemon.lookup(InTrio, where)
            assert str(caught.value) == (
                f"lookup: given tests.daemon.test_registry.InTrio for {where!r},"
                " allowed: tests.daemon.test_registry.InAsyncio"
            )
        assert daemon.lookup(InAsyncio, "/sub") is sub.ref
        with pytest.raises(UsageError):
            daemon.lookup(InAsyncioToo, "/base")
        with pytest.raises(DefinitionError):
            daemon.lookup(Boom, "nobody")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]

    host.run(one_for_one(base, sub), body)


def test_after_the_daemon_nobody_is_found_and_no_name_is_given(flavour: FlavourName, host: Host) -> None:
    daemons: list[Daemon] = []
    named = one(flavour)

    async def body(daemon: Daemon) -> None:
        daemons.append(daemon)
        daemon.register("boss", named.ref)

    host.run(named, body)
    [daemon] = daemons
    assert daemon.lookup(CLASSES[flavour], "boss") is daemon.lookup(CLASSES[flavour], "/one") is None
    assert (daemon.refs, daemon.names) == ({}, {})
    with pytest.raises(UsageError):
        daemon.register("boss", named.ref)


# -- an ask of the dead ------------------------------------------------------------------------------------------------
async def fails_at_once(ref: Ref[Any]) -> None:
    """No timeout: were it not at once, it would be never."""
    with pytest.raises(ActorStopped):
        await ref.ask(Echo(1), timeout=None)
    with pytest.raises(ActorStopped):
        await in_thread(lambda: ref.ask_sync(Echo(1), timeout=None))


def test_an_ask_of_the_dead_fails_at_once_however_they_died(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Fails:
        async def on_start(self) -> None:
            raise Boom

        async def receive(self, message: Echo) -> None: ...

    spawner = one(flavour, "spawner")
    temporary = one(flavour, "temporary", restart="temporary")
    given_up, innocent = one(flavour, "given_up"), one(flavour, "innocent")
    group = one_for_one(given_up, innocent, name="group", restarts=Limit(0, within=1.0)).options(restart="temporary")

    async def body(daemon: Daemon) -> None:
        spawned = await spawner.ref.ask(Do(lambda me: me.spawn(one(flavour))))
        below = await spawned.ask(Do(lambda me: me.spawn(one(flavour))))
        await spawner.ref.ask(Do(lambda me: me.stop(spawned)))
        temporary.ref.send(Crash())
        given_up.ref.send(Crash())
        failing = child(Fails)
        assert await daemon.start(failing) == "nope"
        for ref in (spawned, below, temporary.ref, given_up.ref, innocent.ref, failing.ref):
            await fails_at_once(ref)

    host.run(one_for_one(spawner, temporary, group), body)


def test_an_ask_of_who_never_began_because_the_boot_failed_fails_at_once(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Fails:
        async def on_start(self) -> None:
            raise Boom

        async def receive(self, message: Echo) -> None: ...

    failing, after = child(Fails), one(flavour)

    async def program() -> None:
        with pytest.raises(DaemonFailed):
            async with open_daemon(one_for_one(failing, after)):
                raise AssertionError("the boot failed")
        assert after.ref.cell.generation == 0
        for ref in (failing.ref, after.ref):
            await fails_at_once(ref)

    host.loop(program)


def test_an_ask_after_the_daemon_fails_at_once(flavour: FlavourName, host: Host) -> None:
    declared = one(flavour)
    spawned: list[Ref[Any]] = []

    async def body(daemon: Daemon) -> None:
        spawned.append(await declared.ref.ask(Do(lambda me: me.spawn(one(flavour)))))

    async def program() -> None:
        async with open_daemon(declared) as daemon:
            await body(daemon)
        for ref in (declared.ref, *spawned):
            await fails_at_once(ref)

    host.loop(program)


@pytest.mark.parametrize("stuck", ["itself", "its spawner"])
def test_an_ask_of_who_did_not_stop_before_the_deadline_fails_at_once(
    flavour: FlavourName, host: Host, stuck: str
) -> None:
    """The thread that hangs is left behind, and so are all below and beside it."""

    @role("threading", shutdown=60.0)
    class Stuck:
        async def receive(self, message: Note | Read | Echo) -> Any:
            if isinstance(message, Read):
                return [current(self).spawn(one(flavour))]
            await gate.passed()
            return None

    gate, hangs, beside = Gate(), child(Stuck), one(flavour, "beside")
    refs: list[Ref[Any]] = [hangs.ref, beside.ref]
    daemons: list[Daemon] = []

    async def live() -> None:
        async with open_daemon(one_for_one(beside, hangs), stop_within=0.05) as daemon:
            daemons.append(daemon)
            if stuck == "its spawner":
                refs.extend(await hangs.ref.ask(Read()))
            hangs.ref.send(Note())
            await until(lambda: not hangs.ref.box)

    async def program() -> None:
        with pytest.raises(DaemonFailed, match="did not stop in time"):
            await live()
        for ref in refs:
            await fails_at_once(ref)
        assert daemons[0].lookup(CLASSES[flavour], "/beside") is None
        gate.open()

    host.loop(program)


def test_an_ask_of_who_waits_for_a_place_waits_with_it(flavour: FlavourName, host: Host) -> None:
    """It is not dead: its messages lie in its mailbox, as those sent before the daemon runs do."""
    coming = one(flavour)

    async def body(daemon: Daemon) -> None:
        def ask_early() -> Any:
            return coming.ref.ask_sync(Echo(1), timeout=None)

        async def start() -> None:
            while not coming.ref.box:
                await in_thread(lambda: None)
            assert await daemon.start(coming) == "ok"

        answers = await together(lambda: in_thread(ask_early), start)
        assert answers == [1, None]

    host.run(one_for_one(one("trio", "other")), body)
