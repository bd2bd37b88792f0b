"""`execute` and `call`: any payload, in any flavour, from anywhere; the result comes back, or the error, in time."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import pytest
import trio

from tests.actors.stage import (
    FLAVOURS,
    LOOPS,
    PATIENCE,
    FlavourName,
    Gate,
    Host,
    Tardy,
    in_thread,
    outcome,
    until,
    wait_for_ever,
)
from trouper import (
    CallTimeout,
    Daemon,
    DaemonFailed,
    DaemonStopped,
    LeakedScope,
    Request,
    SelfAsk,
    Stopping,
    StrayCancellation,
    UsageError,
    WouldBlockLane,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
)

NOTHING = one_for_one()
SUSPENDS: dict[str, Callable[[], Awaitable[None]]] = {
    "trio": trio.lowlevel.checkpoint,
    "asyncio": lambda: asyncio.sleep(0),
}


class Oops(Exception): ...


@pytest.fixture(params=LOOPS)
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


def where() -> str:
    return threading.current_thread().name


async def where_it_awaits(flavour: FlavourName) -> str:
    await SUSPENDS[flavour]()
    return threading.current_thread().name


def payload_for(flavour: FlavourName, *, suspends: bool) -> Callable[[], Any]:
    """Says the name of its thread."""
    return partial(where_it_awaits, flavour) if suspends and flavour != "threading" else where


def in_this_thread(how: str, daemon: Daemon, payload: Any, *args: Any, **options: Any) -> Any:
    """Through `execute`, or through `call` in a loop that the daemon does not know."""
    if how == "execute":
        return daemon.execute(payload, *args, **options)
    return trio.run(partial(daemon.call, payload, *args, **options))


async def by(how: str, daemon: Daemon, payload: Any, *args: Any, **options: Any) -> Any:
    """Through `call` here, or in a foreign thread."""
    if how == "call":
        return await daemon.call(payload, *args, **options)
    raised: list[Exception] = []

    def elsewhere() -> Any:
        try:
            return in_this_thread(how, daemon, payload, *args, **options)
        except Exception as error:  # noqa: BLE001 - asyncio would make another one of some
            raised.append(error)

    result = await in_thread(elsewhere)
    for error in raised:
        raise error
    return result


HOW = pytest.mark.parametrize("how", ["call", "call elsewhere", "execute"])
IN = pytest.mark.parametrize("flavour", FLAVOURS)
IN_LOOP = pytest.mark.parametrize("flavour", LOOPS)


# -- the result --------------------------------------------------------------------------------------------------------


@HOW
@IN
@pytest.mark.parametrize("suspends", [False, True])
def test_a_payload_runs_in_the_thread_of_its_flavour_and_its_result_comes_back(
    host: Host, how: str, flavour: FlavourName, suspends: bool
) -> None:
    async def body(daemon: Daemon) -> None:
        ran_in = await by(how, daemon, payload_for(flavour, suspends=suspends), flavour=flavour, timeout=PATIENCE)
        if flavour == host.name:
            assert ran_in == where()
        else:
            assert ran_in == ("trouper payload" if flavour == "threading" else f"trouper {flavour}")

    host.run(NOTHING, body)


@HOW
@IN
def test_arguments_are_passed_on_and_keywords_go_through_partial(host: Host, how: str, flavour: FlavourName) -> None:
    def both(one: int, *, two: int) -> tuple[int, int]:
        return one, two

    async def body(daemon: Daemon) -> None:
        assert await by(how, daemon, partial(both, two=2), 1, flavour=flavour) == (1, 2)

    host.run(NOTHING, body)


@HOW
@IN
@pytest.mark.parametrize("error", [Oops("mine"), ValueError(), StopAsyncIteration(), TimeoutError("its own")])
def test_what_a_payload_raises_comes_out_as_it_is(host: Host, how: str, flavour: FlavourName, error: Exception) -> None:
    def fails() -> None:
        raise error

    async def body(daemon: Daemon) -> None:
        assert await outcome(lambda: by(how, daemon, fails, flavour=flavour, timeout=PATIENCE)) is error
        assert await daemon.call(where, flavour=flavour)

    host.run(NOTHING, body)


@HOW
@IN_LOOP
def test_whatever_can_be_awaited_is(host: Host, how: str, flavour: FlavourName) -> None:
    class Three:
        def __await__(self) -> Any:
            yield from SUSPENDS[flavour]().__await__()
            return 3

    async def body(daemon: Daemon) -> None:
        assert await by(how, daemon, Three, flavour=flavour) == 3

    host.run(NOTHING, body)


def test_a_future_of_asyncio_is_awaited_in_asyncio(host: Host) -> None:
    def later() -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, 3)
        return future

    async def body(daemon: Daemon) -> None:
        assert await daemon.call(later, flavour=asyncio) == 3

    host.run(NOTHING, body)


COLOUR: ContextVar[str] = ContextVar("colour")


@HOW
@IN
def test_a_payload_sees_the_context_variables_of_its_caller_and_changes_a_copy(
    host: Host, how: str, flavour: FlavourName
) -> None:
    def look() -> str:
        seen = COLOUR.get()
        COLOUR.set("red")
        return seen

    async def body(daemon: Daemon) -> None:
        COLOUR.set("green")
        assert await by(how, daemon, look, flavour=flavour, timeout=PATIENCE) == "green"
        if flavour != host.name:  # in the caller's own lane it is a call like others
            assert COLOUR.get() == "green"

    host.run(NOTHING, body)


@HOW
@IN
def test_a_method_of_a_built_in_type_is_a_payload_as_others(host: Host, how: str, flavour: FlavourName) -> None:
    async def body(daemon: Daemon) -> None:
        assert await by(how, daemon, str.upper, "x", flavour=flavour) == "X"
        assert await by(how, daemon, (1).__add__, 2, flavour=flavour) == 3
        raised = await outcome(lambda: by(how, daemon, str.upper, "x", flavour="gevent"))
        assert type(raised) is UsageError

    host.run(NOTHING, body)


def test_execute_in_threading_without_a_timeout_is_a_plain_call(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        here, there = await in_thread(lambda: (where(), daemon.execute(where, flavour=threading)))
        assert here == there

    host.run(NOTHING, body)


def test_threads_are_used_again_and_a_few_idle_ones_are_kept(host: Host) -> None:
    async def body(daemon: Daemon) -> None:
        first = {await daemon.call(threading.get_ident, flavour=threading) for _ in range(50)}
        assert len(first) == 1
        barrier = threading.Barrier(20)
        threads = [
            threading.Thread(target=daemon.execute, args=(barrier.wait,), kwargs={"flavour": threading, "timeout": 20})
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            await in_thread(thread.join)
        await until(lambda: len(daemon.hands.idle) == 8)

    host.run(NOTHING, body)
    assert not [thread for thread in threading.enumerate() if thread.name == "trouper payload"]


# -- in time -----------------------------------------------------------------------------------------------------------


@HOW
@IN_LOOP
def test_a_payload_that_is_not_done_in_time_is_cancelled(host: Host, how: str, flavour: FlavourName) -> None:
    begun, cancelled = threading.Event(), Gate()

    async def hangs() -> None:
        begun.set()
        try:
            await wait_for_ever()
        except BaseException:
            cancelled.open()
            raise

    async def body(daemon: Daemon) -> None:
        timeout = 0.005
        while not begun.is_set():  # what the machine does else may take longer
            timeout *= 2
            raised = await outcome(partial(by, how, daemon, hangs, flavour=flavour, timeout=timeout))
            assert type(raised) is CallTimeout
            assert str(raised).endswith(f"hangs: not done in {timeout:g} s, and cancelled")
            assert isinstance(raised, TimeoutError)
        await cancelled.passed()
        assert await daemon.call(where, flavour=flavour)

    host.run(NOTHING, body)


@HOW
def test_a_thread_that_is_not_done_in_time_is_left_alone_and_its_result_dropped(host: Host, how: str) -> None:
    gate = threading.Event()

    async def body(daemon: Daemon) -> None:
        raised = await outcome(lambda: by(how, daemon, gate.wait, flavour=threading, timeout=0.01))
        assert type(raised) is CallTimeout
        assert str(raised).endswith("not done in 0.01 s, and its thread runs on")
        gate.set()

    host.run(NOTHING, body)


@HOW
def test_a_result_of_the_last_moment_is_no_none(host: Host, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Tardy(monkeypatch, "it")

    async def body(daemon: Daemon) -> None:
        result: Any = CallTimeout("nothing yet")
        timeout = 0.01
        while isinstance(result, CallTimeout):  # what the machine does else may take longer
            timeout *= 2
            result = await outcome(partial(by, how, daemon, lambda: "it", flavour=threading, timeout=timeout))
        assert result == "it"

    host.run(NOTHING, body)


def test_a_timeout_of_the_payload_is_not_taken_for_the_caller_s(host: Host) -> None:
    async def own() -> None:
        raise TimeoutError("its own")

    async def body(daemon: Daemon) -> None:
        raised = await outcome(lambda: daemon.call(own, flavour=host.name, timeout=PATIENCE))
        assert type(raised) is TimeoutError

    host.run(NOTHING, body)


@IN_LOOP
def test_who_cancels_a_call_cancels_the_payload(host: Host, flavour: FlavourName) -> None:
    begun, cancelled = Gate(), Gate()

    async def hangs() -> None:
        begun.open()
        try:
            await wait_for_ever()
        except BaseException:
            cancelled.open()
            raise

    async def in_trio(daemon: Daemon) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(daemon.call, hangs, flavour=flavour))
            await begun.passed()
            nursery.cancel_scope.cancel()

    async def in_asyncio(daemon: Daemon) -> None:
        task = asyncio.create_task(daemon.call(hangs, flavour=flavour))
        await begun.passed()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async def body(daemon: Daemon) -> None:
        await (in_trio(daemon) if host.name == "trio" else in_asyncio(daemon))
        await cancelled.passed()
        await until(lambda: not daemon.calls)

    host.run(NOTHING, body)


# -- the lane stays clean ----------------------------------------------------------------------------------------------


@HOW
@pytest.mark.parametrize("suspends", [False, True])
def test_a_payload_that_leaves_a_scope_open_fails_and_its_lane_goes_on(how: str, suspends: bool) -> None:
    kept = []

    async def leaks() -> str:
        scope = trio.CancelScope()
        scope.__enter__()
        kept.append(scope)
        if suspends:
            await trio.lowlevel.checkpoint()
        return "a result that must not be told"

    async def body(daemon: Daemon) -> None:
        raised = await outcome(lambda: by(how, daemon, leaks, flavour=trio))
        assert type(raised) is LeakedScope
        assert "leaks" in str(raised)
        for _ in range(3):
            assert await by(how, daemon, payload_for("trio", suspends=True), flavour=trio) == "trouper trio"

    Host("asyncio").run(NOTHING, body)


@IN_LOOP
def test_a_cancellation_that_nobody_asked_for_is_a_failure(flavour: FlavourName) -> None:
    other = Host("asyncio" if flavour == "trio" else "trio")

    async def cancels_itself() -> None:
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
        raised = await outcome(lambda: daemon.call(cancels_itself, flavour=flavour))
        assert type(raised) is StrayCancellation
        assert await daemon.call(where, flavour=flavour)

    other.run(NOTHING, body)


@pytest.mark.parametrize("how", ["call elsewhere", "execute"])
@IN
@pytest.mark.parametrize(
    ("raises", "code"), [(partial(SystemExit, 3), 3), (KeyboardInterrupt, 70), (MemoryError, 70)], ids=str
)
def test_what_nobody_may_heal_reaches_the_caller_and_the_root(
    host: Host, how: str, flavour: FlavourName, raises: Callable[[], BaseException], code: int
) -> None:
    error, seen = raises(), list[BaseException]()

    def fails() -> None:
        raise error

    def elsewhere(daemon: Daemon) -> None:
        try:
            in_this_thread(how, daemon, fails, flavour=flavour, timeout=PATIENCE)
        except BaseException as raised:  # noqa: BLE001 - looked at below
            seen.append(raised)

    async def body(daemon: Daemon) -> None:
        threads.append(threading.Thread(target=elsewhere, args=(daemon,)))
        threads[0].start()
        await wait_for_ever()

    threads: list[threading.Thread] = []
    with pytest.raises(DaemonFailed) as failed:
        host.run(NOTHING, body)
    assert (failed.value.exit_code, failed.value.__cause__) == (code, error)
    threads[0].join()
    assert seen == [error]


def test_what_nobody_may_heal_is_the_callers_own_where_the_payload_is_called_in_place(host: Host) -> None:
    def leaves() -> None:
        raise SystemExit(3)

    def elsewhere(daemon: Daemon) -> None:
        with pytest.raises(SystemExit):
            daemon.execute(leaves, flavour=threading)

    async def body(daemon: Daemon) -> None:
        with pytest.raises(SystemExit):
            await daemon.call(leaves, flavour=host.name)
        await in_thread(elsewhere, daemon)
        await daemon.tree()  # what comes after it has had its turn
        assert daemon.cause is None

    host.run(NOTHING, body)


# -- what would deadlock -----------------------------------------------------------------------------------------------


@IN
def test_execute_in_the_thread_of_a_loop_is_refused(host: Host, flavour: FlavourName) -> None:
    async def body(daemon: Daemon) -> None:
        with pytest.raises(WouldBlockLane, match=r"where.*use `await daemon.call"):
            daemon.execute(where, flavour=flavour)

    host.run(NOTHING, body)


class Visit(Request[str]): ...


@actor(flavour=trio)
class Narcissus:
    async def receive(self, message: Visit) -> str:
        me = current(self)

        async def ask() -> str:
            return await me.self_ref.ask(Visit(), timeout=None)

        return await me.daemon.call(ask, flavour=asyncio, timeout=None)


def test_a_payload_that_asks_the_actor_which_waits_for_it_is_refused(host: Host) -> None:
    narcissus = child(Narcissus).options(restart="temporary")

    async def body(_: Daemon) -> None:
        raised = await outcome(lambda: narcissus.ref.ask(Visit(), timeout=PATIENCE))
        assert type(raised.__cause__) is SelfAsk

    host.run(narcissus, body)


# -- the end -----------------------------------------------------------------------------------------------------------


@IN_LOOP
def test_a_call_that_is_under_way_when_the_daemon_ends_fails_at_once(host: Host, flavour: FlavourName) -> None:
    begun, over = Gate(), Gate()
    raised: list[BaseException] = []

    async def hangs() -> None:
        begun.open()
        await wait_for_ever()

    def execute(daemon: Daemon) -> None:
        try:
            daemon.execute(hangs, flavour=flavour)
        except DaemonStopped as error:
            raised.append(error)
        over.open()

    async def program() -> None:
        async with open_daemon(NOTHING) as daemon:
            threading.Thread(target=execute, args=(daemon,)).start()
            await begun.passed()
        await over.passed()
        assert "hangs: the daemon has ended" in str(raised[0])

    host.loop(program)


@IN
def test_a_call_after_the_end_of_the_daemon_says_so(host: Host, flavour: FlavourName) -> None:
    async def program() -> None:
        async with open_daemon(NOTHING) as daemon:
            await daemon.call(where, flavour=flavour)
        for how in ("call", "execute"):
            assert type(await outcome(partial(by, how, daemon, where, flavour=flavour))) is DaemonStopped

    host.loop(program)


@IN_LOOP
def test_a_thread_that_is_asked_to_stop_waits_no_more_and_its_payload_is_cancelled(
    host: Host, flavour: FlavourName
) -> None:
    begun, cancelled, said = Gate(), Gate(), list[str]()

    async def hangs() -> None:
        begun.open()
        try:
            await wait_for_ever()
        finally:
            cancelled.open()

    @actor(flavour=threading)
    class Executes:
        def run(self) -> None:
            try:
                current(self).daemon.execute(hangs, flavour=flavour)
            except Stopping:
                said.append("stopping")
                raise

    async def body(daemon: Daemon) -> None:
        await begun.passed()
        assert await daemon.terminate("/executes") == "ok"
        await cancelled.passed()
        assert said == ["stopping"]

    host.run(one_for_one(child(Executes)), body)


def test_an_actor_may_call_while_it_stops(host: Host) -> None:
    said: list[str] = []

    @actor(flavour=asyncio)
    class Last:
        async def run(self) -> None:
            await wait_for_ever()

        async def on_stop(self, reason: object) -> None:
            said.append(await current(self).daemon.call(where, flavour=threading))

    async def body(_: Daemon) -> None: ...

    host.run(child(Last), body)
    assert said == ["trouper payload"]


# -- wrong input -------------------------------------------------------------------------------------------------------


async def coroutine_function() -> None: ...


async def async_generator() -> Any:
    yield 1


@HOW
@pytest.mark.parametrize(
    ("payload", "options", "said"),
    [
        (3, {"flavour": trio}, "given 3, allowed: a function or a coroutine function"),
        (async_generator, {"flavour": trio}, "given <function async_generator.*allowed: a function or a coroutine"),
        (where, {"flavour": "gevent"}, "flavour: given 'gevent', allowed: the module trio, asyncio or threading"),
        (where, {"flavour": None}, "flavour: given None, allowed: the module trio"),
        (coroutine_function, {"flavour": threading}, "coroutine_function in the flavour threading, which has no loop"),
        (partial(coroutine_function), {"flavour": threading}, "coroutine_function in the flavour threading"),
        (lambda: coroutine_function(), {"flavour": threading, "timeout": 9}, "lambda.*in the flavour threading"),  # noqa: PLW0108
        (where, {"flavour": trio, "timeout": -1}, "given timeout=-1, allowed: seconds"),
        (where, {"flavour": trio, "timeout": "1"}, "given timeout='1', allowed: seconds"),
    ],
)
def test_what_cannot_be_run_is_refused(host: Host, how: str, payload: Any, options: Any, said: str) -> None:
    async def body(daemon: Daemon) -> None:
        with pytest.raises(UsageError, match=said):
            await by(how, daemon, payload, **options)

    host.run(NOTHING, body)


@HOW
def test_a_coroutine_in_the_place_of_its_function_is_refused_with_the_right_call(host: Host, how: str) -> None:
    async def body(daemon: Daemon) -> None:
        with pytest.raises(UsageError, match=r"given a coroutine.*(call|execute)\(coroutine_function, \.\.\., flavour"):
            await by(how, daemon, coroutine_function(), flavour=trio)

    host.run(NOTHING, body)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_payload_was_given_is_let_go_of_when_it_is_over_also_where_a_timer_keeps_its_context(
    flavour: FlavourName,
) -> None:
    """Without a run of the cyclic collector."""

    class Big: ...

    contexts: list[Any] = []

    def payload(_: Big) -> None:
        contexts.append(copy_context())

    async def body(daemon: Daemon) -> None:
        gone: list[Any] = []

        def new() -> Big:
            big = Big()
            gone.append(weakref.ref(big))
            return big

        for _ in range(3):
            await in_thread(partial(daemon.execute, payload, new(), flavour=flavour))
            await daemon.adopt(payload, new(), flavour=flavour).wait()
        await until(lambda: not any(one() for one in gone))
        assert len(contexts) == len(gone)

    gc.disable()
    try:
        Host("trio").run(NOTHING, body)
    finally:
        gc.enable()
