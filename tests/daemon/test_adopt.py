"""`adopt`: payloads in the background, from everywhere; what they come to is never silent."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
import trio

from tests.actors.stage import (
    FLAVOURS,
    LOOPS,
    PATIENCE,
    Boom,
    Diary,
    FlavourName,
    Gate,
    Host,
    in_thread,
    until,
    wait_for_ever,
)
from trouper import (
    Adopted,
    Daemon,
    DaemonFailed,
    LeakedScope,
    Message,
    NotRunning,
    OrphanedReturn,
    Request,
    Services,
    SpecError,
    StrayCancellation,
    Unkillable,
    UsageError,
    WouldBlockLane,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
)
from trouper.lanes.errand import Errand

NOTHING = one_for_one()
CHECKPOINT: dict[str, Callable[[], Awaitable[None]]] = {
    "trio": trio.lowlevel.checkpoint,
    "asyncio": lambda: asyncio.sleep(0),
}
IN = pytest.mark.parametrize("flavour", FLAVOURS)
IN_LOOP = pytest.mark.parametrize("flavour", LOOPS)


@pytest.fixture(params=LOOPS)
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


def payload_in(flavour: FlavourName, say: Callable[[Any], object], *, then: object = None) -> Callable[[], Any]:
    """Says where it is, and returns `then`, or raises it."""

    def plain() -> object:
        say(threading.current_thread().name)
        if isinstance(then, BaseException):
            raise then
        return then

    async def suspended() -> object:
        await CHECKPOINT[flavour]()
        return plain()

    return plain if flavour == "threading" else suspended


def failure_of(host: Host, body: Callable[[Daemon], Awaitable[object]], **options: Any) -> DaemonFailed:
    """How the daemon fails by what its body does."""

    async def and_wait(daemon: Daemon) -> None:
        await body(daemon)
        await wait_for_ever()

    with pytest.raises(DaemonFailed) as failed:
        host.run(NOTHING, and_wait, **options)
    return failed.value


# -- what becomes of it ------------------------------------------------------------------------------------------------


@IN
def test_a_payload_runs_in_the_background_in_the_thread_of_its_flavour(host: Host, flavour: FlavourName) -> None:
    said = Diary()

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(payload_in(flavour, said), flavour=flavour)
        assert await adopted.wait(timeout=PATIENCE) == adopted.state == "returned"
        own = "trouper payload" if flavour == "threading" else f"trouper {flavour}"
        assert said == [threading.current_thread().name if flavour == host.name else own]

    host.run(NOTHING, body)


@IN
def test_a_payload_that_raises_is_the_failure_of_the_daemon(host: Host, flavour: FlavourName) -> None:
    error = Boom("mine")

    async def body(daemon: Daemon) -> None:
        daemon.adopt(payload_in(flavour, print, then=error), flavour=flavour, name="one")

    failed = failure_of(host, body)
    assert failed.__cause__ is error
    assert (failed.exit_code, failed.detail) == (70, "/adopted/one: Boom: mine")


@IN
def test_a_result_that_nobody_receives_is_a_failure_that_names_payload_and_value(
    host: Host, flavour: FlavourName
) -> None:
    async def body(daemon: Daemon) -> None:
        daemon.adopt(payload_in(flavour, print, then=[3]), flavour=flavour, name="one")

    orphan = failure_of(host, body).__cause__
    assert isinstance(orphan, OrphanedReturn)
    assert (orphan.path, orphan.value) == ("/adopted/one", [3])
    assert "/adopted/one: " in str(orphan)
    assert "payload_in" in str(orphan)
    assert "returned [3], and nobody is there to receive it; allowed: None, or `execute`" in str(orphan)


def test_a_falsy_result_is_a_result() -> None:
    async def body(daemon: Daemon) -> None:
        daemon.adopt(payload_in("trio", print, then=0), flavour=trio)

    assert isinstance(failure_of(Host("trio"), body).__cause__, OrphanedReturn)


@IN_LOOP
def test_a_cancellation_that_nobody_asked_for_is_a_failure(host: Host, flavour: FlavourName) -> None:
    async def strays() -> None:
        if flavour == "asyncio":
            raise asyncio.CancelledError
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept.append(error)
        raise kept.pop()

    kept: list[trio.Cancelled] = []

    async def body(daemon: Daemon) -> None:
        daemon.adopt(strays, flavour=flavour)

    assert isinstance(failure_of(host, body).__cause__, StrayCancellation)


@pytest.mark.parametrize("suspends", [False, True])
def test_a_payload_that_leaves_a_scope_open_is_a_failure_and_poisons_nothing(suspends: bool) -> None:
    kept, stopped = list[Any](), Diary()

    async def leaks() -> None:
        kept.append(trio.CancelScope().__enter__())
        if suspends:
            await trio.lowlevel.checkpoint()

    @actor(flavour="trio")
    class Neighbour:
        async def receive(self, message: Message) -> None: ...

        async def on_stop(self, reason: object) -> None:
            await trio.lowlevel.checkpoint()
            stopped("in good order")

    async def body(daemon: Daemon) -> None:
        daemon.adopt(leaks, flavour=trio, name="one")
        await wait_for_ever()

    with pytest.raises(DaemonFailed, match="/adopted/one: the handler left a scope") as failed:
        Host("asyncio").run(child(Neighbour), body)
    assert isinstance(failed.value.__cause__, LeakedScope)
    assert stopped == ["in good order"]


@IN
@pytest.mark.parametrize("suspends", [False, True])
def test_a_plain_function_or_an_awaitable_will_do_in_an_async_flavour(
    host: Host, flavour: FlavourName, suspends: bool
) -> None:
    said = Diary()

    def plain() -> Any:
        said("here")
        return wait_for_ever() if suspends and flavour != "threading" else None

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(plain, flavour=flavour)
        await said.until(1)
        adopted.cancel()
        assert await adopted.wait(timeout=PATIENCE) in {"returned", "cancelled"}

    host.run(NOTHING, body)


COLOUR: ContextVar[str] = ContextVar("colour")


@IN
def test_a_payload_has_a_copy_of_the_context_variables_of_who_adopts_it(host: Host, flavour: FlavourName) -> None:
    seen = Diary()

    async def body(daemon: Daemon) -> None:
        COLOUR.set("green")
        adopted = daemon.adopt(lambda: seen(COLOUR.get()), flavour=flavour)
        COLOUR.set("red")
        await adopted.wait(timeout=PATIENCE)
        assert seen == ["green"]

    host.run(NOTHING, body)


# -- from where --------------------------------------------------------------------------------------------------------


class Adopt(Request[None]):
    payload: Any
    flavour: FlavourName


def adopter(flavour: FlavourName) -> Any:
    @actor(flavour=flavour)
    class Adopter:
        def receive(self, message: Adopt) -> None:
            current(self).daemon.adopt(message.payload, flavour=message.flavour)

    return child(Adopter)


@IN
@pytest.mark.parametrize("adopted_in", FLAVOURS)
def test_every_lane_adopts_into_every_lane(host: Host, flavour: FlavourName, adopted_in: FlavourName) -> None:
    said, boss = Diary(), adopter(flavour)

    async def body(_: Daemon) -> None:
        await boss.ref.ask(Adopt(payload_in(adopted_in, said), adopted_in), timeout=PATIENCE)
        await said.until(1)

    host.run(boss, body)


@IN
def test_a_foreign_thread_adopts(host: Host, flavour: FlavourName) -> None:
    said = Diary()

    async def body(daemon: Daemon) -> None:
        await in_thread(partial(daemon.adopt, payload_in(flavour, said), flavour=flavour))
        await said.until(1)

    host.run(NOTHING, body)


class Held:
    """Lanes that do nothing until they are let go."""

    def __init__(self, *lanes: Any) -> None:
        self.gate, self.begun, self.tired = threading.Event(), threading.Semaphore(0), Diary()
        for lane in lanes:
            lane.post(self.hold)
        for _ in lanes:
            assert self.begun.acquire(timeout=PATIENCE)

    def hold(self) -> None:
        self.begun.release()
        if not self.gate.wait(PATIENCE / 2):
            self.tired("nobody let it go")

    def let_go(self) -> None:
        assert self.tired == []
        self.gate.set()


@IN
@pytest.mark.parametrize("restart", [None, "transient"])
@pytest.mark.parametrize("caller", [*FLAVOURS, "a foreign thread"])
def test_adopt_waits_for_no_lane(host: Host, caller: Any, flavour: FlavourName, restart: Any) -> None:
    """It returns while the control lane is held up, and the lane of the payload, unless that is the caller's own."""
    said = Diary()

    def adopt_while_held(daemon: Daemon) -> None:
        lanes = [daemon.control, *([daemon.loops[flavour]] if flavour not in ("threading", caller) else [])]
        held = Held(*lanes)
        daemon.adopt(payload_in(flavour, said), flavour=flavour, restart=restart)
        assert said == [] or (flavour == "threading" and restart is None), "it is not held up"
        held.let_go()

    class Caller:
        def receive(self, message: Adopt) -> None:
            adopt_while_held(current(self).daemon)

    boss: Any = child(actor(flavour="trio" if caller not in FLAVOURS else caller)(Caller))

    async def body(daemon: Daemon) -> None:
        if caller in FLAVOURS:
            await boss.ref.ask(Adopt(None, flavour), timeout=PATIENCE)
        else:
            await in_thread(adopt_while_held, daemon)
        await said.until(1)

    host.run(boss, body)


@IN
def test_what_is_adopted_before_there_is_a_daemon_waits_for_it(host: Host, flavour: FlavourName) -> None:
    said, services = Diary(), Services()
    adopted = services.adopt(payload_in(flavour, said), flavour=flavour, name="early")
    assert (adopted.state, adopted.path) == ("queued", "/adopted/early")

    async def body(_: Daemon) -> None:
        assert await adopted.wait(timeout=PATIENCE) == "returned"
        assert len(said.entries) == 1

    host.run(NOTHING, body, services=services)


@IN
def test_what_is_adopted_while_the_tree_comes_up_begins_when_it_is_up(host: Host, flavour: FlavourName) -> None:
    order = Diary()
    handles: list[Adopted] = []

    @actor(flavour="threading")
    class Early:
        def on_start(self) -> None:
            handles.append(current(self).daemon.adopt(lambda: order("payload"), flavour=flavour))

        def receive(self, message: Message) -> None: ...

    @actor(flavour="threading")
    class Slow:
        def on_start(self) -> None:
            assert handles[0].state == "queued"
            order("up")

        def receive(self, message: Message) -> None: ...

    async def body(_: Daemon) -> None:
        await handles[0].wait(timeout=PATIENCE)
        assert order == ["up", "payload"]

    host.run(one_for_one(child(Early), child(Slow)), body)


def test_what_waits_for_a_daemon_whose_boot_fails_is_cancelled(host: Host) -> None:
    @actor(flavour=trio)
    class Broken:
        async def on_start(self) -> None:
            raise Boom

        async def receive(self, message: Message) -> None: ...

    async def body(_: Daemon) -> None: ...

    services = Services()
    adopted = services.adopt(print, flavour=trio)
    with pytest.raises(DaemonFailed):
        host.run(child(Broken), body, services=services)
    assert adopted.state == "cancelled"


def test_a_daemon_that_stops_adopts_nothing_any_more(host: Host) -> None:
    said: list[str] = []

    @actor(flavour=asyncio)
    class Last:
        async def run(self) -> None:
            await wait_for_ever()

        async def on_stop(self, reason: object) -> None:
            with pytest.raises(NotRunning, match="the daemon is stopping, and adopts nothing any more"):
                current(self).daemon.adopt(print, flavour=trio)
            said.append("refused")

    async def program() -> None:
        async with open_daemon(child(Last)) as daemon:
            pass
        assert said == ["refused"]
        with pytest.raises(NotRunning):
            daemon.adopt(print, flavour=trio)

    host.loop(program)


# -- the handle --------------------------------------------------------------------------------------------------------


@IN_LOOP
@pytest.mark.parametrize("restart", [None, "permanent"])
def test_a_payload_that_is_cancelled_ends_and_that_is_no_failure(
    host: Host, flavour: FlavourName, restart: Any
) -> None:
    begun, ended = Gate(), Gate()

    async def hangs() -> None:
        begun.open()
        try:
            await wait_for_ever()
        finally:
            ended.open()

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(hangs, flavour=flavour, restart=restart)
        await begun.passed()
        adopted.cancel()
        assert await adopted.wait(timeout=PATIENCE) == "cancelled"
        await ended.passed()
        adopted.cancel()
        assert adopted.state == "cancelled"

    host.run(NOTHING, body)


@pytest.mark.parametrize("restart", [None, "permanent"])
def test_what_is_cancelled_while_it_is_queued_never_begins(host: Host, restart: Any) -> None:
    services, said = Services(), Diary()
    adopted = services.adopt(payload_in("trio", said), flavour=trio, restart=restart)
    adopted.cancel()
    assert adopted.state == "cancelled"

    async def body(daemon: Daemon) -> None:
        await services.adopt(payload_in("trio", said), flavour=trio).wait(timeout=PATIENCE)
        assert len(said.entries) == 1

    host.run(NOTHING, body, services=services)


def test_what_is_cancelled_just_when_it_is_about_to_be_an_actor_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    services, said = Services(), Diary()
    adopted = services.adopt(payload_in("trio", said), flavour=trio, restart="permanent")
    cancel = Errand.cancel

    async def body(daemon: Daemon) -> None:
        def preempted(errand: Errand) -> None:
            """The control lane begins it between the word that it is cancelled and the look whether it had begun."""
            cancel(errand)
            adopted._start(daemon.annex)

        monkeypatch.setattr(Errand, "cancel", preempted)
        adopted.cancel()
        assert await adopted.wait(timeout=PATIENCE) == "cancelled"
        assert said == []

    Host("asyncio").run(NOTHING, body)  # with other services: nobody else starts it


def test_a_thread_that_is_cancelled_goes_on_and_its_result_is_dropped(host: Host) -> None:
    gate = threading.Event()

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(gate.wait, flavour=threading)
        await until(lambda: adopted.state == "running")
        adopted.cancel()
        gate.set()
        assert await adopted.wait(timeout=PATIENCE) in {"returned", "cancelled"}

    host.run(NOTHING, body)


def test_a_thread_with_a_restart_is_left_behind_when_it_is_cancelled(host: Host) -> None:
    begun, gate = Gate(), threading.Event()

    def hangs() -> None:
        begun.open()
        gate.wait()

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(hangs, flavour=threading, restart="permanent")
        await begun.passed()
        adopted.cancel()
        assert await adopted.wait(timeout=PATIENCE) == "abandoned"
        gate.set()

    host.run(NOTHING, body)


def test_many_may_wait_for_the_end_each_in_its_own_way(host: Host) -> None:
    gate, states = trio_gate(), Diary()

    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(gate.passed, flavour=asyncio)
        threads = [threading.Thread(target=lambda: states(adopted.wait_sync(timeout=PATIENCE))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for flavour in LOOPS:
            daemon.adopt(waits, adopted, flavour=flavour)
        await until(lambda: adopted._waiting is not None and len(adopted._waiting) == 5)
        gate.open()
        await states.until(5)
        assert set(states.entries) == {"returned"}
        for thread in threads:
            await in_thread(thread.join)

    async def waits(adopted: Adopted) -> None:
        states(await adopted.wait(timeout=PATIENCE))

    host.run(NOTHING, body)


def trio_gate() -> Gate:
    return Gate()


def test_who_waits_too_long_is_told_and_the_payload_goes_on(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(trio.sleep_forever, flavour=trio, name="sleeper")
        with pytest.raises(TimeoutError, match=r"<Adopted /adopted/sleeper, trio, running> is not over after 0.01 s"):
            await adopted.wait(timeout=0.01)
        raised: list[BaseException] = []

        def wait() -> None:
            try:
                adopted.wait_sync(timeout=0.01)
            except TimeoutError as error:
                raised.append(error)

        await in_thread(wait)
        assert len(raised) == 1
        assert adopted.state == "running"
        assert not adopted._waiting
        with pytest.raises(WouldBlockLane):
            adopted.wait_sync()

    host.run(NOTHING, body)


# -- restarted ---------------------------------------------------------------------------------------------------------


def test_a_result_is_a_failure_that_supervision_decides_about(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        adopted = daemon.adopt(payload_in("asyncio", print, then=3), flavour=asyncio, restart="temporary")
        assert await adopted.wait(timeout=PATIENCE) == "failed"

    host.run(NOTHING, body)


def test_a_permanent_payload_that_returns_is_started_again(host: Host) -> None:
    lives = Diary()

    async def body(daemon: Daemon) -> None:
        daemon.adopt(payload_in("trio", lives), flavour=trio, restart="permanent")
        await lives.until(2)

    host.run(NOTHING, body)


# -- the end of the daemon ---------------------------------------------------------------------------------------------


class Note(Request[None]):
    text: str


@actor(flavour=trio)
class Book:
    lines: list[str]

    async def receive(self, message: Note) -> None:
        self.lines.append(message.text)

    async def on_stop(self, reason: object) -> None:
        self.lines.append("the book is closed")


@IN_LOOP
@pytest.mark.parametrize("restart", [None, "transient"])
def test_payloads_end_before_the_tree_so_that_they_can_use_it_to_the_last(
    host: Host, flavour: FlavourName, restart: Any
) -> None:
    lines: list[str] = []
    book, begun = child(Book, lines).options(drain=True), Gate()

    async def writes() -> None:
        try:
            begun.open()
            await wait_for_ever()
        finally:
            book.ref.send(Note("the last word"))

    async def body(daemon: Daemon) -> None:
        daemon.adopt(writes, flavour=flavour, restart=restart)
        await begun.passed()

    host.run(book, body)
    assert lines == ["the last word", "the book is closed"]


@pytest.mark.parametrize("restart", [None, "transient"])
def test_threads_are_left_behind_and_are_no_failure(host: Host, restart: Any) -> None:
    begun, gate, handles = Gate(), threading.Event(), list[Adopted]()

    def hangs() -> None:
        begun.open()
        gate.wait()

    async def body(daemon: Daemon) -> None:
        handles.append(daemon.adopt(hangs, flavour=threading, restart=restart))
        await begun.passed()

    host.run(NOTHING, body)
    assert handles[0].state == "abandoned"
    gate.set()


def test_what_a_thread_returns_that_was_left_behind_is_dropped(host: Host) -> None:
    began, ending, dropped = Gate(), threading.Event(), threading.Event()

    def returns() -> int:
        began.open()
        ending.wait(PATIENCE)
        return 42

    @actor(flavour="threading")
    class Last:
        def receive(self, message: Message) -> None: ...

        def on_stop(self, reason: object) -> None:
            ending.set()
            hands = current(self).daemon.hands
            while not hands.idle:
                """Its thread is on its way back, and tells first what came of it."""
            hands.idle[0].post(dropped.set)
            assert dropped.wait(PATIENCE)

    async def body(daemon: Daemon) -> None:
        daemon.adopt(returns, flavour=threading)
        await began.passed()

    host.run(child(Last), body)


def test_a_failure_in_the_last_moment_is_a_failure(host: Host) -> None:
    begun, error = Gate(), Boom("too late")

    async def fails() -> None:
        begun.open()
        try:
            await wait_for_ever()
        finally:
            raise error

    async def body(daemon: Daemon) -> None:
        daemon.adopt(fails, flavour=trio)
        await begun.passed()

    with pytest.raises(DaemonFailed) as failed:
        host.run(NOTHING, body)
    assert failed.value.__cause__ is error


def test_payloads_end_too_when_the_tree_ends_by_itself(host: Host) -> None:
    begun, ended, handles = Gate(), Gate(), list[Adopted]()

    @actor(flavour=trio, restart="temporary", significant=True)
    class Short:
        async def run(self) -> None:
            await ended.passed()

    async def body(daemon: Daemon) -> None:
        handles.append(daemon.adopt(hangs, flavour=asyncio))
        await begun.passed()
        ended.open()
        assert await handles[0].wait(timeout=PATIENCE) == "cancelled"

    async def hangs() -> None:
        begun.open()
        await wait_for_ever()

    host.run(one_for_one(child(Short), auto_shutdown="any_significant"), body)


@pytest.mark.long
def test_what_does_not_end_when_it_is_cancelled_fails_the_daemon_after_a_grace() -> None:
    begun, over = Gate(), threading.Event()

    async def stubborn() -> None:
        begun.open()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(over.wait)

    async def body(daemon: Daemon) -> None:
        daemon.adopt(stubborn, flavour=trio, name="stubborn")
        await begun.passed()

    with pytest.raises(DaemonFailed) as failed:
        Host("asyncio").run(NOTHING, body)
    over.set()
    assert isinstance(failed.value.__cause__, Unkillable)
    assert "/adopted/stubborn" in str(failed.value)


# -- what is kept, and seen --------------------------------------------------------------------------------------------


@IN
@pytest.mark.parametrize("restart", [None, "transient"])
def test_a_finished_payload_is_not_kept(host: Host, flavour: FlavourName, restart: Any) -> None:
    class Load:
        """What a payload has with it."""

        def __call__(self) -> None: ...

    async def body(daemon: Daemon) -> None:
        loads: list[weakref.ref[Load]] = []
        for _ in range(20):
            load = Load()
            loads.append(weakref.ref(load))
            await daemon.adopt(load, flavour=flavour, restart=restart).wait(timeout=PATIENCE)
            del load
        await daemon.tree()
        await daemon.call(gc.collect, flavour=flavour)
        gc.collect()
        assert [load for load in loads[:-1] if load() is not None] == []
        assert not daemon.services._adopted
        assert not daemon.services._waiting

    host.run(NOTHING, body)


def test_what_runs_stands_in_the_tree_below_adopted_and_what_is_over_does_not(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        assert (await daemon.tree()).children == ()
        alone = daemon.adopt(trio.sleep_forever, flavour=trio)
        with_restart = daemon.adopt(asyncio.sleep, 1e6, flavour=asyncio, restart="transient", name="naps")
        while await daemon.children("/adopted") != [("naps", "running")]:
            """It comes up."""
        found = (await daemon.tree()).find("/adopted")
        assert found is not None
        assert {(one.path, one.state, one.flavour) for one in found.children} == {
            (alone.path, "running", "trio"),
            ("/adopted/naps", "running", "asyncio"),
        }
        assert alone.path == "/adopted/sleep_forever-1"
        assert await daemon.terminate("/adopted/naps") == "ok"
        assert await with_restart.wait(timeout=PATIENCE) == "cancelled"
        assert await daemon.start(child(Book, []), under="/adopted") == "simple_one_for_one"
        alone.cancel()
        await alone.wait(timeout=PATIENCE)
        assert (await daemon.tree()).children == ()

    host.run(NOTHING, body)


@pytest.mark.parametrize("restart", [None, "transient"])
def test_two_that_run_cannot_have_one_name(host: Host, restart: Any) -> None:
    async def body(daemon: Daemon) -> None:
        first = daemon.adopt(trio.sleep_forever, flavour=trio, name="sleeper", restart=restart)
        with pytest.raises(SpecError, match="name: given 'sleeper', which a running payload has, allowed: a name"):
            daemon.adopt(trio.sleep_forever, flavour=trio, name="sleeper")
        first.cancel()
        await first.wait(timeout=PATIENCE)
        daemon.adopt(trio.sleep_forever, flavour=trio, name="sleeper")

    host.run(NOTHING, body)


def test_a_name_that_somebody_chose_is_in_nobodys_way() -> None:
    services = Services()
    chosen = services.adopt(trio.sleep_forever, flavour=trio, name="sleep_forever-1")
    assert services.adopt(trio.sleep_forever, flavour=trio).name == "sleep_forever-2"
    chosen.cancel()


@pytest.mark.parametrize("place", ["services", "adopted"])
@pytest.mark.parametrize("chosen", [True, False])
def test_these_names_are_taken_below_the_root_and_nowhere_else(host: Host, place: str, chosen: bool) -> None:
    def one() -> Any:
        if chosen:
            return child(Book, []).options(name=place)
        plain: Any = type(place.title(), (), {"receive": Book.receive})
        return child(actor(flavour=trio, accepts=Note)(plain))

    def refused() -> Any:
        return pytest.raises(SpecError, match=f"name: given '{place}' for .* the root, allowed: another name;")

    with refused():
        Daemon(one_for_one(one()))

    async def body(daemon: Daemon) -> None:
        with refused():
            await daemon.start(one())
        with refused():
            await daemon.start(one(), under="")
        assert await daemon.start(one(), under="/group") == "ok"
        assert await daemon.start(one_for_one(one(), name="other")) == "ok"

    host.run(one_for_one(one_for_one(name="group")), body)


@pytest.mark.parametrize(
    ("payload", "options", "error", "said"),
    [
        (3, {"flavour": trio}, UsageError, "adopt: given 3, allowed: a function or a coroutine function"),
        (print, {"flavour": "gevent"}, UsageError, "given 'gevent', allowed: the module trio, asyncio or threading"),
        (trio.sleep_forever, {"flavour": threading}, UsageError, "trio.*sleep_forever in the flavour threading"),
        (print, {"flavour": trio, "name": "a/b"}, SpecError, "name: given 'a/b', allowed: a printable string"),
        (print, {"flavour": trio, "restart": "always"}, SpecError, "restart: given 'always', allowed: 'permanent'"),
    ],
)
def test_what_cannot_be_adopted_is_refused_at_the_call(
    host: Host, payload: Any, options: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        Services().adopt(payload, **options)

    async def body(daemon: Daemon) -> None:
        with pytest.raises(error, match=said):
            daemon.adopt(payload, **options)
        assert not daemon.services._adopted

    host.run(NOTHING, body)
