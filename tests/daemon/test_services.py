"""`@service`: every instance of the class is run by a daemon, once its whole construction is done."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from signal import SIGTERM
from typing import Any, Generic, Self, TypeVar

import attrs
import pytest
import trio

from tests.actors.stage import (
    FLAVOURS,
    LOOPS,
    PATIENCE,
    Boom,
    Diary,
    FlavourName,
    Host,
    in_thread,
    until,
    wait_for_ever,
)
from tests.daemon.program import run_code
from trouper import (
    Daemon,
    DaemonFailed,
    DefinitionError,
    Message,
    NotRunning,
    Reason,
    Request,
    Services,
    SpecError,
    Unkillable,
    UsageError,
    actor,
    child,
    current,
    default_services,
    one_for_one,
    open_daemon,
    service,
)

T = TypeVar("T")
NOTHING = one_for_one()
IN = pytest.mark.parametrize("flavour", FLAVOURS)


@pytest.fixture(params=LOOPS)
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


@pytest.fixture(autouse=True)
def nothing_reaches_the_default_registry() -> Any:
    yield
    assert len(default_services) == 0


async def nothing(_: Daemon) -> None: ...


def serving(flavour: FlavourName, run: Callable[[Any], object], **options: Any) -> type[Any]:
    """A service class whose `run` does this."""

    class Takes:
        def __init__(self, *args: Any) -> None:
            self.args = args

    class InThread(Takes):
        def run(self) -> None:
            run(self)

    class InLoop(Takes):
        async def run(self) -> None:
            run(self)

    if flavour == "threading":
        return service(flavour=flavour, **options)(InThread)
    return service(flavour=flavour, **options)(InLoop)


# -- where and when it runs --------------------------------------------------------------------------------------------


@IN
def test_an_instance_made_before_the_daemon_runs_in_the_thread_of_its_flavour(host: Host, flavour: FlavourName) -> None:
    ran, services = Diary(), Services()
    cls = serving(flavour, lambda me: ran((me.args, threading.current_thread().name)))
    with services.here():
        cls(1, 2)
    assert len(services) == 1

    async def body(daemon: Daemon) -> None:
        await ran.until(1)
        thread = {host.name: threading.current_thread().name, "threading": "/services/in_thread"}
        assert ran == [((1, 2), thread.get(flavour, f"trouper {flavour}"))]
        await until(lambda: len(services) == 0)

    host.run(NOTHING, body, services=services)


@IN
def test_services_begin_when_the_tree_is_up(host: Host, flavour: FlavourName) -> None:
    order, services = Diary(), Services()
    with services.here():
        serving(flavour, lambda _: order("service"))()

    @actor(flavour="threading")
    class Slow:
        def on_start(self) -> None:
            order("tree")

        def receive(self, message: Message) -> None: ...

    async def body(_: Daemon) -> None:
        await order.until(2)
        assert order == ["tree", "service"]

    host.run(child(Slow), body, services=services)


class Make(Request[None]):
    cls: Any


@actor(flavour="trio")
class TrioMaker:
    async def receive(self, message: Make) -> None:
        message.cls()


@actor(flavour="asyncio")
class AsyncioMaker:
    async def receive(self, message: Make) -> None:
        message.cls()


@actor(flavour="threading")
class ThreadMaker:
    def receive(self, message: Make) -> None:
        message.cls()


MAKERS: dict[str, Any] = {"trio": TrioMaker, "asyncio": AsyncioMaker, "threading": ThreadMaker}


@IN
@pytest.mark.parametrize("made_in", FLAVOURS)
def test_an_instance_made_in_a_lane_runs_at_once_in_the_daemon_of_that_lane(
    host: Host, flavour: FlavourName, made_in: FlavourName
) -> None:
    ran, maker = Diary(), child(MAKERS[made_in])

    async def body(daemon: Daemon) -> None:
        await maker.ref.ask(Make(serving(flavour, lambda me: ran(current(me).daemon))), timeout=PATIENCE)
        await ran.until(1)
        assert ran == [daemon]

    host.run(maker, body)


def test_code_in_threads_and_tasks_of_a_lane_belongs_to_its_daemon_too(host: Host) -> None:
    ran = Diary()
    cls = serving("trio", lambda me: ran(current(me).daemon))

    @actor(flavour="asyncio")
    class Worker:
        async def on_start(self) -> None:
            current(self).start_soon(self.task)
            await asyncio.to_thread(cls)

        async def task(self) -> None:
            cls()

        async def receive(self, message: Message) -> None: ...

    async def body(daemon: Daemon) -> None:
        await ran.until(2)
        daemon.adopt(cls_of(cls), flavour=trio)
        await daemon.call(cls_of(cls), flavour=threading)
        await ran.until(4)
        assert ran == 4 * [daemon]

    host.run(child(Worker), body)


def cls_of(cls: type[Any]) -> Callable[[], None]:
    def make() -> None:
        cls()

    return make


def test_an_instance_made_in_the_block_of_a_daemon_is_run_by_it_and_two_daemons_do_not_meet(host: Host) -> None:
    ran = Diary()
    cls = serving("threading", lambda me: ran((me.args[0], current(me).daemon)))

    async def program() -> None:
        async with open_daemon() as outer:
            cls("outer")
            async with open_daemon() as inner:
                cls("inner")
                await ran.until(2)
            cls("outer again")
            await ran.until(3)
        assert set(ran.entries) == {("outer", outer), ("inner", inner), ("outer again", outer)}

    host.loop(program)


def test_an_instance_that_nobody_refers_to_runs(host: Host) -> None:
    services, asked = Services(), Diary()

    @service(flavour=trio)
    class Lonely:
        async def run(self) -> None:
            asked("up")
            await trio.sleep_forever()

    with services.here():
        watched = weakref.ref(Lonely())
    gc.collect()

    async def body(daemon: Daemon) -> None:
        await asked.until(1)
        gc.collect()
        assert watched() is not None
        assert await daemon.children("/services") == [("lonely", "running")]
        assert list(services) == [watched()]

    host.run(NOTHING, body, services=services)
    assert (len(services), list(services)) == (0, [])


@IN
def test_a_finished_instance_is_not_kept(host: Host, flavour: FlavourName) -> None:
    cls = serving(flavour, print)

    async def body(daemon: Daemon) -> None:
        watched = weakref.ref(cls())
        await until(lambda: len(daemon.services) == 0)
        await until(lambda: gc.collect() is None or watched() is None)

    host.run(NOTHING, body)


@IN
def test_a_restart_runs_the_same_instance_again(host: Host, flavour: FlavourName) -> None:
    ran = Diary()

    def run(me: Any) -> None:
        ran((me, current(me).generation))
        if len(ran.entries) == 1:
            raise Boom

    cls = serving(flavour, run)

    async def body(_: Daemon) -> None:
        one = cls()
        await ran.until(2)
        assert ran == [(one, 1), (one, 2)]

    host.run(NOTHING, body)


def test_a_service_that_returns_has_ended_and_a_permanent_one_is_started_again(host: Host) -> None:
    ran = Diary()
    once, again = serving("trio", lambda _: ran("once")), serving("trio", lambda _: ran("again"), restart="permanent")

    async def body(daemon: Daemon) -> None:
        once()
        await until(lambda: len(daemon.services) == 0)
        again()
        await ran.until(3)
        assert ran == ["once", "again", "again"]

    host.run(NOTHING, body)


# -- the whole construction --------------------------------------------------------------------------------------------


def whole(me: Any) -> None:
    """What `run` sees of its instance."""
    me.seen(sorted(name for name in ("base", "sub", "last") if hasattr(me, name)))


@service(flavour=trio)
class Base:
    def __init__(self, seen: Diary) -> None:
        self.seen = seen
        self.base = True

    async def run(self) -> None:
        whole(self)


class Sub(Base):
    def __init__(self, seen: Diary) -> None:
        super().__init__(seen)
        self.sub = True


class Last(Sub):
    def __init__(self, seen: Diary) -> None:
        super().__init__(seen)
        self.last = True


class Silent(Last):
    """Has no constructor of its own."""


@service(flavour=asyncio)
class Again(Sub):
    """Is decorated itself, too."""

    def __init__(self, seen: Diary) -> None:
        super().__init__(seen)
        self.last = True

    async def run(self) -> None:
        whole(self)


class Mixin:
    def __new__(cls, *args: Any) -> Self:
        made = super().__new__(cls)
        made.sub = True
        return made

    sub: bool


class MixedBefore(Mixin, Base): ...


class MixedAfter(Base, Mixin): ...


@dataclasses.dataclass
class Data(Base):
    seen: Diary
    base: bool = True
    sub: bool = True


@dataclasses.dataclass(slots=True)
class SlottedData(Base):
    seen: Diary
    sub: bool = True


@attrs.define(slots=False)
class Attrs(Base):
    seen: Diary
    sub: bool = True


@service(flavour="threading")
@attrs.define
class OnAttrs:
    seen: Diary
    base: bool = True

    def run(self) -> None:
        assert current(self).path.startswith("/services/on_attrs")
        whole(self)


@attrs.define
@service(flavour="threading")
class BelowAttrs:
    seen: Diary
    base: bool = True

    def run(self) -> None:
        whole(self)


@attrs.define
class MoreAttrs(OnAttrs):
    sub: bool = True

    def run(self) -> None:
        whole(self)


@service(flavour="asyncio")
@dataclasses.dataclass(frozen=True)
class Frozen:
    seen: Diary
    base: bool = True

    async def run(self) -> None:
        assert current(self).path.startswith("/services/frozen")
        whole(self)


@service(flavour="trio")
class GenericOne(Generic[T]):
    def __init__(self, seen: T) -> None:
        self.seen = seen
        self.base = True

    async def run(self) -> None:
        whole(self)


@service(flavour="trio")
class OwnNew:
    def __new__(cls, seen: Diary) -> Self:
        made = super().__new__(cls)
        made.seen, made.base = seen, True
        return made

    seen: Diary
    base: bool

    async def run(self) -> None:
        whole(self)


@pytest.mark.parametrize(
    ("cls", "seen"),
    [
        (Base, ["base"]),
        (Sub, ["base", "sub"]),
        (Last, ["base", "last", "sub"]),
        (Silent, ["base", "last", "sub"]),
        (Again, ["base", "last", "sub"]),
        (MixedBefore, ["base", "sub"]),
        (MixedAfter, ["base", "sub"]),
        (Data, ["base", "sub"]),
        (SlottedData, ["sub"]),
        (Attrs, ["sub"]),
        (OnAttrs, ["base"]),
        (BelowAttrs, ["base"]),
        (MoreAttrs, ["base", "sub"]),
        (Frozen, ["base"]),
        (GenericOne[Diary], ["base"]),
        (OwnNew, ["base"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("times", [1, 2])
def test_run_sees_the_whole_instance_once(host: Host, cls: Any, seen: list[str], times: int) -> None:
    async def body(daemon: Daemon) -> None:
        for number in range(times):
            diary = Diary()
            cls(diary)
            await diary.until(1)
            await until(lambda: len(daemon.services) == 0)
            assert diary == [seen], number

    host.run(NOTHING, body)


def test_a_base_that_was_made_before_its_subclass_does_not_enlist_it_too_early(host: Host) -> None:
    class Slow(Base):
        def __init__(self, seen: Diary, before: Callable[[], object]) -> None:
            super().__init__(seen)
            before()
            self.sub = True

    async def body(daemon: Daemon) -> None:
        seen = Diary()
        Base(seen)
        await until(lambda: len(daemon.services) == 0)
        Slow(seen, lambda: seen(len(daemon.services)))
        await seen.until(3)
        assert seen == [["base"], 0, ["base", "sub"]]

    host.run(NOTHING, body)


@pytest.mark.parametrize("fails_in", ["base", "sub"])
def test_a_construction_that_fails_enlists_nothing(fails_in: str) -> None:
    @service(flavour=trio)
    class Frail:
        def __init__(self) -> None:
            if fails_in == "base":
                raise Boom

        async def run(self) -> None: ...

    class Frailer(Frail):
        def __init__(self) -> None:
            super().__init__()
            raise Boom

    services = Services()
    with services.here():
        for _ in range(2):
            with pytest.raises(Boom):
                Frailer()
    assert len(services) == 0


def test_what_is_no_construction_enlists_nothing() -> None:
    services, seen = Services(), Diary()
    with services.here():
        one = Base(seen)
        copy.copy(one)
        any_base: Any = Base
        any_base.__new__(Base, seen)
        one.__init__(seen)  # type: ignore[misc]
    assert list(services) == [one]


def test_arguments_that_nobody_takes_are_refused_as_ever() -> None:
    @service(flavour=trio)
    class Plain:
        async def run(self) -> None: ...

    cls: Any = Plain
    any_base: Any = Base
    services = Services()
    with services.here():
        for make in (partial(cls, 1), partial(cls, one=1)):
            with pytest.raises(TypeError, match=r"Plain\(\) takes no arguments"):
                make()
        with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'seen'"):
            any_base()
        cls()
    assert len(services) == 1


def test_instances_need_no_hash_and_equal_ones_are_two(host: Host) -> None:
    @service(flavour="threading")
    @dataclasses.dataclass
    class Equal:
        seen: Diary

        def run(self) -> None:
            self.seen("ran")

    async def body(_: Daemon) -> None:
        seen = Diary()
        assert Equal(seen) == Equal(seen)
        await seen.until(2)

    host.run(NOTHING, body)


# -- names -------------------------------------------------------------------------------------------------------------


def test_services_are_called_after_their_class_or_as_they_choose(host: Host) -> None:
    @service(flavour=trio)
    class HostProbe:
        async def run(self) -> None:
            await trio.sleep_forever()

    @service(flavour=trio, name=lambda self: self.called)
    class Named:
        def __init__(self, called: Any) -> None:
            self.called = called

        async def run(self) -> None:
            await trio.sleep_forever()

    async def body(daemon: Daemon) -> None:
        HostProbe()
        Named("host_probe-2")
        HostProbe()
        Named(None)
        with pytest.raises(
            SpecError, match="name: given 'host_probe', which another service has, allowed: a name that"
        ):
            Named("host_probe")
        with pytest.raises(SpecError, match="name: given 'a/b', allowed: a printable string"):
            Named("a/b")
        names = ["host_probe", "host_probe-2", "host_probe-3", "named"]
        while await daemon.children("/services") != [(name, "running") for name in names]:
            """They come up."""
        assert await daemon.terminate("/services/host_probe") == "ok"
        await until(lambda: len(daemon.services) == 3)
        Named("host_probe")

    host.run(NOTHING, body)


# -- as actors ---------------------------------------------------------------------------------------------------------


@actor(flavour="trio")
class Lower:
    order: Diary

    async def receive(self, message: Message) -> None: ...

    async def on_stop(self, reason: Reason) -> None:
        self.order("tree")


@IN
def test_services_have_the_hooks_of_actors_and_stop_before_the_tree(host: Host, flavour: FlavourName) -> None:
    order = Diary()

    class InLoop:
        async def on_start(self) -> None:
            order(f"{current(self).path} starts")

        async def run(self) -> None:
            await wait_for_ever()

        async def on_stop(self, reason: Reason) -> None:
            order(f"service: {reason.kind}")

    class InThread:
        def on_start(self) -> None:
            order(f"{current(self).path} starts")
            self.event = threading.Event()

        def run(self) -> None:
            self.event.wait()

        def interrupt(self) -> None:
            self.event.set()

        def on_stop(self, reason: Reason) -> None:
            order(f"service: {reason.kind}")

    cls = service(flavour=flavour, name="one")
    made: Any = cls(InThread) if flavour == "threading" else cls(InLoop)

    async def body(_: Daemon) -> None:
        made()
        await order.until(1)

    host.run(child(Lower, order), body)
    assert order == ["/services/one starts", "service: shutdown", "tree"]


@pytest.mark.once
def test_a_thread_that_ignores_the_stop_is_unkillable_or_abandoned_as_its_class_says(host: Host) -> None:
    gate, begun = threading.Event(), Diary()

    def hangs(_: Any) -> None:
        begun("up")
        gate.wait()

    abandoned = serving("threading", hangs, shutdown=0, abandon=True)
    kept = serving("threading", hangs, shutdown=0.001)

    async def body(cls: Any, _: Daemon) -> None:
        cls()
        await begun.until(1)

    host.run(NOTHING, partial(body, abandoned))
    begun.entries.clear()
    with pytest.raises(DaemonFailed) as failed:
        host.run(NOTHING, partial(body, kept))
    assert isinstance(failed.value.__cause__, Unkillable)
    gate.set()


def test_services_stand_beside_the_tree_and_are_no_children_of_it(host: Host) -> None:
    cls = serving("trio", print, name="one", restart="permanent")

    @service(flavour=trio, name="sleeper")
    class Sleeper:
        async def run(self) -> None:
            await trio.sleep_forever()

    async def body(daemon: Daemon) -> None:
        assert (await daemon.tree()).children == ()
        sleeper = Sleeper()
        while await daemon.children("/services") != [("sleeper", "running")]:
            """It comes up."""
        found = (await daemon.tree()).find("/services/sleeper")
        assert found is not None
        assert (found.kind, found.flavour, found.generation) == ("Sleeper", "trio", 1)
        assert await daemon.children() == []
        assert await daemon.terminate("/services") == "not_found"
        assert await daemon.hold("/services/sleeper") == "simple_one_for_one"
        assert await daemon.restart("/services/sleeper") == "simple_one_for_one"
        assert await daemon.start(child(MAKERS["trio"]), under="/services") == "simple_one_for_one"
        assert await daemon.terminate("/services/sleeper") == "ok"
        await until(lambda: list(daemon.services) == [])
        with pytest.raises(NotRunning):
            current(sleeper)

    host.run(NOTHING, body)
    assert cls


# -- registries --------------------------------------------------------------------------------------------------------


async def test_what_is_no_registry_is_refused() -> None:
    wrong: Any = [object()]
    with pytest.raises(SpecError, match=r"the daemon: services: given \[<object.*, allowed: a Services, or None"):
        async with open_daemon(services=wrong):
            """Not even begun."""


def test_a_registry_is_run_by_one_daemon_at_a_time_and_the_next_one_runs_what_waits(host: Host) -> None:
    services, ran = Services(), Diary()
    cls = serving("threading", lambda me: ran(me.args))

    async def program() -> None:
        async with open_daemon(services=services) as daemon:
            assert daemon.services is services
            with pytest.raises(UsageError, match="given services that a daemon runs already, allowed: one daemon"):
                Daemon(services=services)
            cls(1)
            await ran.until(1)
        with services.here():
            cls(2)
        async with open_daemon(services=services):
            await ran.until(2)
        assert ran == [(1,), (2,)]

    host.loop(program)


def test_instances_outlive_a_daemon_whose_boot_fails(host: Host) -> None:
    services, ran = Services(), Diary()

    @actor(flavour=trio)
    class Broken:
        async def on_start(self) -> None:
            raise Boom

        async def receive(self, message: Message) -> None: ...

    with services.here():
        serving("threading", lambda me: ran(me.args))(1)
    with pytest.raises(DaemonFailed):
        host.run(child(Broken), nothing, services=services)
    assert len(services) == 1

    async def body(_: Daemon) -> None:
        await ran.until(1)

    host.run(NOTHING, body, services=services)


def test_a_daemon_that_is_stopping_starts_no_service_any_more(host: Host) -> None:
    told: list[str] = []

    @actor(flavour=asyncio)
    class Maker:
        async def run(self) -> None:
            await wait_for_ever()

        async def on_stop(self, reason: Reason) -> None:
            with pytest.raises(NotRunning, match="the daemon is stopping, and starts nothing any more"):
                serving("trio", print)()
            told.append("refused")

    host.run(child(Maker), nothing)
    assert told == ["refused"]


def test_many_threads_make_instances_at_the_same_time(host: Host) -> None:
    ran = Diary()
    cls = serving("trio", lambda me: ran(me.args[0]))

    async def body(daemon: Daemon) -> None:
        def make(first: int) -> None:
            with daemon.services.here():
                for number in range(first, first + 50):
                    cls(number)

        threads = [threading.Thread(target=make, args=(first,)) for first in range(0, 200, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await in_thread(thread.join)
        await ran.until(200)
        assert sorted(ran.entries) == list(range(200))

    host.run(NOTHING, body)


# -- what is refused ---------------------------------------------------------------------------------------------------


def undecorated(**methods: Any) -> type[Any]:
    return type("Wrong", (), methods)


async def run_async(self: Any) -> None: ...
def run_plain(self: Any) -> None: ...
async def run_inbox(self: Any, inbox: Any) -> None: ...


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (3, {"flavour": trio}, "@service: found 3, allowed: a class"),
        (undecorated(), {"flavour": trio}, "neither `receive` nor `run`"),
        (undecorated(run=run_plain), {"flavour": trio}, "a plain `def` in the flavour trio"),
        (undecorated(run=run_async), {"flavour": threading}, "an `async def` in the flavour threading"),
        (
            undecorated(run=run_inbox),
            {"flavour": trio},
            r"found `run` with messages, allowed: `run\(self\)`; an @actor",
        ),
        (
            undecorated(run=run_async),
            {"flavour": "gevent"},
            r"@service\(flavour=...\): found 'gevent', allowed: the mod",
        ),
        (
            undecorated(run=run_async),
            {"flavour": trio, "name": "a/b"},
            r"@service\(name=...\): found 'a/b', allowed: a p",
        ),
        (
            undecorated(run=run_async),
            {"flavour": trio, "name": 3},
            r"@service\(name=...\): found 3, allowed: a printable",
        ),
        (
            undecorated(run=run_async),
            {"flavour": trio, "drain": True},
            "found True, allowed: the options restart, shut",
        ),
        (
            undecorated(run=run_async),
            {"flavour": trio, "shutdown": -1},
            r"@service\(shutdown=...\): found -1, allowed: s",
        ),
        (undecorated(run=run_async), {"flavour": trio, "abandon": True}, "abandon.*False in the flavour trio"),
        (TrioMaker, {"flavour": trio}, "found an actor class, allowed: a plain class"),
        (type("Wrong", (Message,), {"run": run_async}), {"flavour": trio}, "found a message class"),
    ],
)
def test_a_class_that_cannot_be_a_service_is_refused(cls: Any, options: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        service(**options)(cls)


def test_a_subclass_that_cannot_be_one_is_refused_when_it_is_made() -> None:
    class Plain(Base):
        def run(self) -> None: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    services = Services()
    with services.here(), pytest.raises(DefinitionError, match=r"Plain.run: found a plain `def` in the flavour trio"):
        Plain(Diary())
    assert len(services) == 0


# -- a process of its own ----------------------------------------------------------------------------------------------

ALONE = """
import asyncio, threading, time
import trio
from trouper import run, service, default_services, Services

said = threading.Event()

@service(flavour=trio, name=lambda self: self.name)
class Says:
    def __init__(self, name):
        self.name = name

    async def run(self):
        print(self.name, flush=True)
        said.set()
        await trio.sleep_forever()

    async def on_stop(self, reason):
        print(self.name, "stops", flush=True)

Says("early")
{more}
run({arguments})
"""


def test_run_needs_no_tree_and_runs_the_services_that_nobody_put_elsewhere() -> None:
    with run_code(ALONE.format(more="", arguments="")) as program:
        program.until_said("early")
        assert program.stop(SIGTERM) == 0
        assert program.said == ["early\n", "early stops\n"]


def test_a_foreign_thread_makes_services_of_a_daemon_that_owns_its_process() -> None:
    more = "threading.Timer(0.1, Says, ['late']).start()"
    with run_code(ALONE.format(more=more, arguments="")) as program:
        program.until_said("late")
        assert program.stop(SIGTERM) == 0


def test_run_takes_other_services_instead() -> None:
    more = "others = Services()\nwith others.here():\n    Says('other')"
    with run_code(ALONE.format(more=more, arguments="services=others")) as program:
        program.until_said("other")
        assert program.stop(SIGTERM) == 0
        assert program.said == ["other\n", "other stops\n"]


def test_a_service_that_nobody_can_heal_ends_the_process_with_70() -> None:
    more = """
@service(flavour=asyncio, backoff=None)
class Frail:
    async def run(self):
        await asyncio.to_thread(said.wait)
        1 / 0

Frail()
"""
    with run_code(ALONE.format(more=more, arguments="")) as program:
        assert program.end() == 70
        assert "/services/frail: more than 3 restarts in 30 s" in program.log
        assert "early stops\n" in program.said
