"""What an actor can ask of the runtime: who it is, children, background tasks, its own end."""

from __future__ import annotations

from typing import Any

import pytest

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
    Read,
    ask,
    for_ever,
    here,
    nothing,
    role,
    turn,
    until,
)
from trouper import (
    ActorStopped,
    Daemon,
    DuplicateChild,
    Limit,
    Mailbox,
    NotRunning,
    Ref,
    RestartLimitExceeded,
    Stopping,
    UsageError,
    child,
    current,
    one_for_one,
)
from trouper.events import ActorEnded, ActorStarted


def worker(flavour: FlavourName, seen: Diary, **options: Any) -> Any:
    @role(flavour, **options)
    class Worker:
        name: str = "worker"

        async def on_start(self) -> None:
            seen(("start", self.name, current(self).generation))

        async def receive(self, message: Echo | Crash) -> Any:
            if isinstance(message, Crash):
                raise Boom
            return (self.name, message.value)

        async def on_stop(self, reason: Any) -> None:
            seen(("stop", self.name, reason.kind))

    return Worker


# -- who am I ----------------------------------------------------------------------------------------------------------
def test_an_actor_knows_its_ref_path_generation_and_daemon(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Knowing:
        async def receive(self, message: Read | Crash) -> Any:
            if isinstance(message, Crash):
                raise Boom
            me = current(self)
            assert me is current(self)
            return [me.self_ref, me.path, me.generation, me.daemon, me.stopping]

    knowing = child(Knowing)

    async def body(daemon: Daemon) -> None:
        assert await knowing.ref.ask(Read()) == [knowing.ref, "/group/knowing", 1, daemon, False]
        knowing.ref.send(Crash())
        assert await knowing.ref.ask(Read()) == [knowing.ref, "/group/knowing", 2, daemon, False]

    host.run(one_for_one(one_for_one(knowing, name="group")), body)


def test_every_generation_is_constructed_anew_in_its_own_lane(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Born:
        def __attrs_post_init__(self) -> None:
            self.threads = {here()}

        async def on_start(self) -> None:
            self.threads.add(here())

        async def receive(self, message: Read | Crash) -> Any:
            if isinstance(message, Crash):
                raise Boom
            await turn(self)
            self.threads.add(here())
            return [id(self), *self.threads]

        async def on_stop(self, reason: Any) -> None:
            assert {here()} == self.threads

    born = child(Born)

    async def body(daemon: Daemon) -> None:
        first = await born.ref.ask(Read())
        born.ref.send(Crash())
        second = await born.ref.ask(Read())
        assert len(first) == len(second) == 2, "all its code runs in one thread"
        assert (first[1] == second[1]) == (flavour != "threading"), "a thread for each life"
        if flavour == host.name:
            assert first[1] == here()

    host.run(one_for_one(born), body)


def test_an_instance_that_no_daemon_made_has_no_context(flavour: FlavourName) -> None:
    with pytest.raises(NotRunning, match="not made by a daemon"):
        current(worker(flavour, Diary())())


def test_the_context_of_an_older_generation_is_over(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Leaky:
        async def receive(self, message: Crash | Echo) -> Any:
            if isinstance(message, Echo):
                return 1
            leaked.extend([self, current(self)])
            raise Boom

    leaked: list[Any] = []
    leaky = child(Leaky)

    async def body(daemon: Daemon) -> None:
        leaky.ref.send(Crash())
        await leaky.ref.ask(Echo())
        instance, context = leaked
        with pytest.raises(NotRunning):
            current(instance)
        for call in (lambda: context.spawn(child(Leaky)), context.stop, lambda: context.start_soon(nothing, daemon)):
            with pytest.raises(NotRunning, match="generation 1 is over"):
                call()
        assert context.stopping
        assert context.generation == 1

    host.run(one_for_one(leaky), body)


# -- children ----------------------------------------------------------------------------------------------------------
def parent(flavour: FlavourName, spawn: Any, seen: Diary) -> Any:
    @role(flavour)
    class Parent:
        async def on_start(self) -> None:
            self.refs: list[Ref[Any]] = [current(self).spawn(one) for one in spawn()]

        async def receive(self, message: Read | Crash | Note) -> Any:
            match message:
                case Crash():
                    raise Boom
                case Read():
                    return self.refs
                case Note(text):
                    text(self)
            return None

        async def on_stop(self, reason: Any) -> None:
            seen(("stop", "parent", reason.kind))

    return Parent


@pytest.mark.parametrize("below", FLAVOURS)
def test_an_actor_spawns_children_of_any_flavour_and_they_stop_before_it_side_by_side(
    flavour: FlavourName, below: FlavourName, host: Host
) -> None:
    seen = Diary()
    kind = worker(below, seen)
    family = child(parent(flavour, lambda: [child(kind, name) for name in ("a", "b", "c")], seen))

    async def body(daemon: Daemon) -> None:
        refs = await family.ref.ask(Read())
        for ref, name in zip(refs, ("a", "b", "c"), strict=True):
            assert await ref.ask(Echo(1)) == (name, 1)
            assert ref.path.startswith("/parent/worker")
        await daemon.terminate("/parent")
        starts, stops = seen.entries[:3], seen.entries[3:]
        assert sorted(starts) == [("start", name, 1) for name in ("a", "b", "c")]
        assert sorted(stops[:3]) == [("stop", name, "shutdown") for name in ("a", "b", "c")]
        assert stops[3:] == [("stop", "parent", "shutdown")]
        assert isinstance(await ended_ask(refs[0]), ActorStopped)

    host.run(one_for_one(family), body)


async def ended_ask(ref: Ref[Any]) -> Any:
    try:
        return await ask(ref, Echo())
    except ActorStopped as exc:
        return exc


def test_a_spawned_child_is_restarted_after_a_crash_but_not_after_a_normal_end(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()

    @role(flavour)
    class Quitter:
        async def receive(self, message: Note) -> None:
            current(self).stop()

        async def on_stop(self, reason: Any) -> None:
            seen(reason.kind)

    family = child(parent(flavour, lambda: [child(worker(flavour, seen)), child(Quitter)], seen))

    async def body(daemon: Daemon) -> None:
        busy, quitter = await family.ref.ask(Read())
        busy.send(Crash())
        assert await ask(busy, Echo(1)) == ("worker", 1)
        quitter.send(Note())
        await seen.until(lambda entries: "normal" in entries)
        await until(lambda: quitter.cell.state == "closed")
        before = daemon.dead_letters
        quitter.send(Note("late"))
        await until(lambda: daemon.dead_letters == before + 1)
        assert await family.ref.ask(Read()) == [busy, quitter], "its parent lives on"

    host.run(one_for_one(family), body)


def test_a_spawned_child_over_its_budget_crashes_its_spawner(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    family = child(parent(flavour, lambda: [child(worker(flavour, seen))], seen))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        (ref,) = await family.ref.ask(Read())
        for n in range(4):
            ref.send(Crash(f"{n}"))
        ended = await events.ended("/parent")
        assert ended.reason.kind == "crashed"
        assert isinstance(ended.reason.cause, RestartLimitExceeded)
        assert isinstance(ended.reason.cause.__cause__, Boom)
        assert len(ended.reason.cause.history) == 4
        assert ended.reason.cause.path == ref.path
        (other,) = await family.ref.ask(Read())
        assert other is not ref
        assert await ask(other, Echo(1)) == ("worker", 1)

    host.run(one_for_one(family), body)


@pytest.mark.parametrize("below", FLAVOURS)
def test_what_a_failing_on_start_spawned_is_stopped_before_the_next_try(
    flavour: FlavourName, below: FlavourName, host: Host
) -> None:
    seen = Diary()
    kind = worker(below, seen)

    @role(flavour)
    class Failing:
        async def on_start(self) -> None:
            ref = current(self).spawn(child(kind, f"child of {current(self).generation}"))
            assert await ask(ref, Echo(1))
            if current(self).generation == 1:
                raise Boom

        async def receive(self, message: Read) -> Any:
            return seen.entries.copy()

    failing = child(Failing)

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(failing) == "nope"
        again = child(Failing).options(name="again")
        assert await daemon.start(again) == "nope"
        assert [entry[:2] for entry in seen.entries] == [("start", "child of 1"), ("stop", "child of 1")] * 2

    host.run(one_for_one(), body)


def test_background_tasks_of_a_failing_on_start_are_cancelled(loop_flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(loop_flavour)
    class Failing:
        async def on_start(self) -> None:
            current(self).start_soon(self.background)
            await seen.until(1)
            raise Boom

        async def background(self) -> None:
            try:
                seen("begun")
                await for_ever(self)
            finally:
                seen("cancelled")

        async def receive(self, message: Note) -> None: ...

    async def body(daemon: Daemon) -> None:
        assert await daemon.start(child(Failing)) == "nope"
        assert seen == ["begun", "cancelled"]

    host.run(one_for_one(), body)


def test_an_actor_stops_its_own_child_and_no_other(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    stranger = child(worker(flavour, seen), "stranger").options(name="stranger")
    family = child(parent(flavour, lambda: [child(worker(flavour, seen), name) for name in ("a", "b")], seen))

    def stop_first(me: Any) -> None:
        with pytest.raises(UsageError, match="a child that it spawned"):
            current(me).stop(stranger.ref)
        current(me).stop(me.refs[0])

    async def body(daemon: Daemon) -> None:
        first, second = await family.ref.ask(Read())
        family.ref.send(Note(stop_first))
        await seen.until(lambda entries: ("stop", "a", "shutdown") in entries)
        await until(lambda: first.cell.state == "closed")
        assert await ask(second, Echo(1)) == ("b", 1)
        assert await ask(stranger.ref, Echo(1)) == ("stranger", 1)

    host.run(one_for_one(stranger, family), body)


def test_a_child_is_spawned_once(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    family = child(parent(flavour, list, seen))

    def spawn_twice(me: Any) -> None:
        one = child(worker(flavour, Diary()))
        current(me).spawn(one)
        with pytest.raises(DuplicateChild):
            current(me).spawn(one)
        seen("refused")

    async def body(daemon: Daemon) -> None:
        family.ref.send(Note(spawn_twice))
        await seen.until(1)

    host.run(one_for_one(family), body)


def test_a_crash_of_the_parent_takes_its_children_and_its_next_life_has_new_ones(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()
    family = child(parent(flavour, lambda: [child(worker(flavour, seen))], seen))

    async def body(daemon: Daemon) -> None:
        (old,) = await family.ref.ask(Read())
        family.ref.send(Crash())
        (new,) = await family.ref.ask(Read())
        assert new is not old
        assert isinstance(await ended_ask(old), ActorStopped)
        first_life = [("start", "worker", 1), ("stop", "worker", "shutdown"), ("stop", "parent", "crashed")]
        assert seen.entries[:3] == first_life

    host.run(one_for_one(family), body)


def test_grandchildren_stop_before_children(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    inner = parent(flavour, lambda: [child(worker(flavour, seen))], seen)
    family = child(parent(flavour, lambda: [child(inner)], seen))

    async def body(daemon: Daemon) -> None:
        (middle,) = await family.ref.ask(Read())
        (leaf,) = await ask(middle, Read())
        assert await ask(leaf, Echo(1)) == ("worker", 1)

    host.run(one_for_one(family), body)
    assert [entry[1] for entry in seen.entries if entry[0] == "stop"] == ["worker", "parent", "parent"]


def test_many_short_lived_children_leave_nothing_behind(flavour: FlavourName, host: Host) -> None:
    @role("trio", restart="temporary")
    class Once:
        async def receive(self, message: Note) -> None:
            current(self).stop()

    def spawn_many(me: Any) -> None:
        for _ in range(100):
            current(me).spawn(child(Once)).send(Note())

    family = child(parent(flavour, list, Diary()))

    async def body(daemon: Daemon) -> None:
        family.ref.send(Note(spawn_many))
        await family.ref.ask(Read())
        spawner: Any = family.ref.cell.spawner
        await until(lambda: not spawner.nodes)

    host.run(one_for_one(family), body)


# -- its own end -------------------------------------------------------------------------------------------------------
def test_an_actor_that_stops_itself_ends_normal_when_its_handler_is_done(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Quitting:
        async def receive(self, message: Note | Echo) -> Any:
            if isinstance(message, Echo):
                return current(self).generation
            current(self).stop()
            assert current(self).stopping
            await turn(self)
            seen(message.text)
            return None

    seen = Diary()
    quitting = child(Quitting)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded, ActorStarted)
        quitting.ref.send(Note("first life"))
        assert await quitting.ref.ask(Echo()) == 2, "it is permanent, and its mailbox waits for its next life"
        assert seen == ["first life"]
        assert (await events.ended("/quitting")).reason.kind == "normal"
        assert daemon.dead_letters == 0

    host.run(one_for_one(quitting, restarts=Limit(1, within=30.0)), body)


def test_a_handler_that_stopped_its_actor_comes_to_its_own_end(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Quitting:
        async def receive(self, message: Note) -> None:
            current(self).stop()
            seen(await ask(other.ref, Echo("still asking")))

    seen = Diary()
    other = child(worker("trio", Diary()))
    quitting = child(Quitting)

    async def body(daemon: Daemon) -> None:
        quitting.ref.send(Note())
        assert await seen.until(1) == [("worker", "still asking")]

    host.run(one_for_one(other, quitting), body)


def test_an_actor_cannot_stop_itself_while_it_starts(flavour: FlavourName, host: Host) -> None:
    @role(flavour)
    class Hasty:
        async def on_start(self) -> None:
            with pytest.raises(UsageError, match="Declined"):
                current(self).stop()

        async def receive(self, message: Note) -> None: ...

    host.run(child(Hasty), nothing)


# -- background tasks --------------------------------------------------------------------------------------------------
def test_the_failure_of_a_background_task_crashes_its_actor(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Busy:
        async def receive(self, message: Note | Echo) -> Any:
            if isinstance(message, Note):
                current(self).start_soon(self.background, message.text)
            return current(self).generation

        async def background(self, text: str) -> None:
            await turn(self)
            raise Boom(text)

    busy = child(Busy)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded)
        busy.ref.send(Note("background"))
        ended = await events.ended("/busy")
        assert (ended.reason.kind, str(ended.reason.cause)) == ("crashed", "background")
        assert await busy.ref.ask(Echo()) == 2

    host.run(one_for_one(busy), body)


def test_background_tasks_are_cancelled_before_on_stop(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Busy:
        async def on_start(self) -> None:
            for n in range(2):
                current(self).start_soon(self.background, n)

        async def background(self, n: int) -> None:
            try:
                seen("begun")
                await for_ever(self)
            finally:
                seen("cancelled")

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("on_stop")

    seen = Diary()

    async def body(daemon: Daemon) -> None:
        await seen.until(2)

    host.run(child(Busy), body)
    assert seen == ["begun", "begun", "cancelled", "cancelled", "on_stop"]


def test_a_background_task_that_returns_is_no_event(loop_flavour: FlavourName, host: Host) -> None:
    @role(loop_flavour)
    class Busy:
        async def receive(self, message: Echo) -> Any:
            current(self).start_soon(self.background)
            return current(self).generation

        async def background(self) -> None:
            seen("done")

    seen = Diary()
    busy = child(Busy)

    async def body(daemon: Daemon) -> None:
        for n in range(1, 4):
            assert await busy.ref.ask(Echo()) == 1
            await seen.until(n)
        await until(lambda: not busy.ref.cell.tasks)

    host.run(busy, body)


def test_a_thread_has_no_background_tasks(host: Host) -> None:
    @role("threading")
    class Thready:
        async def receive(self, message: Echo) -> Any:
            with pytest.raises(UsageError, match="a thread has no loop"):
                current(self).start_soon(self.background)
            return "refused"

        async def background(self) -> None: ...

    thready = child(Thready)

    async def body(daemon: Daemon) -> None:
        assert await thready.ref.ask(Echo()) == "refused"

    host.run(thready, body)


def test_a_sleep_of_a_thread_ends_with_a_stop(host: Host) -> None:
    @role("threading")
    class Sleepy:
        async def receive(self, message: Note) -> None:
            seen("asleep")
            current(self).sleep_sync(1e6)

    seen = Diary()
    sleepy = child(Sleepy)

    async def body(daemon: Daemon) -> None:
        sleepy.ref.send(Note())
        await seen.until(1)

    host.run(sleepy, body)


@pytest.mark.parametrize("verb", ["ask_sync", "offer_sync"])
def test_a_blocking_call_of_a_thread_ends_with_a_stop(host: Host, verb: str) -> None:
    @role("threading")
    class Waiting:
        async def receive(self, message: Note) -> None:
            seen("waiting")
            try:
                getattr(busy.ref, verb)(Read(), timeout=None)
            except Stopping:
                seen("stopping")
                raise

    @role("threading", mailbox=Mailbox(1))
    class Busy:
        async def receive(self, message: Read) -> list[Any]:
            await gate.passed()
            return []

    seen, gate = Diary(), Gate()
    busy, waiting = child(Busy), child(Waiting)

    async def body(daemon: Daemon) -> None:
        busy.ref.send(Read())
        await until(lambda: not busy.ref.box)
        if verb == "offer_sync":
            busy.ref.send(Read())
        waiting.ref.send(Note())
        await seen.until(1)
        assert await daemon.terminate("/waiting") == "ok"
        assert seen == ["waiting", "stopping"]
        gate.open()

    host.run(one_for_one(busy, waiting), body)
