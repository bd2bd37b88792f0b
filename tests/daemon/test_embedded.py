"""`open_daemon` in a trio and in an asyncio program."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest
import trio

from tests.daemon.hosts import (
    STARTS,
    STOPS,
    AsyncioProgram,
    Fail,
    Host,
    InThread,
    Notes,
    TrioProgram,
    Where,
    cast,
    in_thread,
)
from tests.daemon.program import run_code
from trouper import (
    ActorStopped,
    Child,
    Daemon,
    DaemonFailed,
    Limit,
    RestartLimitExceeded,
    SpecError,
    StartFailed,
    Supervisor,
    actor,
    child,
    current,
    one_for_one,
    open_daemon,
)


class Oops(Exception): ...


@pytest.fixture(params=[TrioProgram(), AsyncioProgram()], ids=["trio", "asyncio"])
def host(request: pytest.FixtureRequest) -> Host:
    program: Host = request.param
    return program


@pytest.fixture
def notes() -> Notes:
    return Notes()


def frail(*children: Child[Where | Fail]) -> Supervisor:
    return one_for_one(*children, restarts=Limit(0, 30))


# -- the ways out of the block -----------------------------------------------------------------------------------------


def test_a_block_that_ends_stops_the_tree_in_order(host: Host, notes: Notes) -> None:
    actors = cast(notes)

    async def program() -> None:
        async with open_daemon(one_for_one(*actors)) as daemon:
            assert notes.lines == STARTS
            assert await daemon.children() == [(name, "running") for name in ("in_trio", "in_asyncio", "in_thread")]
            for one in actors:
                assert "generation 1" in await one.ref.ask(Where())
        assert notes.lines == STARTS + STOPS

    host.run(program)


def test_the_loop_of_the_program_is_the_lane_of_its_flavour(host: Host, notes: Notes) -> None:
    actors = cast(notes)

    async def program() -> None:
        here = threading.current_thread().name
        async with open_daemon(one_for_one(*actors)):
            for one, flavour in zip(actors, ("trio", "asyncio", "threading"), strict=True):
                assert ((await one.ref.ask(Where())).split()[0] == here.split()[0]) is (flavour == host.flavour)

    host.run(program)


def test_the_exception_of_the_block_comes_out_as_it_is(host: Host, notes: Notes) -> None:
    error = Oops("mine")

    async def program() -> None:
        async with open_daemon(one_for_one(*cast(notes))):
            raise error

    with pytest.raises(Oops) as raised:
        host.run(program)
    assert raised.value is error
    assert raised.value.__cause__ is None
    assert notes.lines == STARTS + STOPS


def test_a_cancelled_program_waits_until_the_tree_is_stopped(host: Host, notes: Notes) -> None:
    async def body(cancel: Callable[[], object]) -> None:
        async with open_daemon(one_for_one(*cast(notes))):
            cancel()
            await host.forever()

    assert host.run(lambda: host.cancellable(body))
    assert notes.lines == STARTS + STOPS


def test_further_cancels_during_the_stop_change_nothing(host: Host, notes: Notes) -> None:
    async def body(cancel: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop() if host.flavour == "asyncio" else None
        token = None if loop else trio.lowlevel.current_trio_token()

        def cancel_again() -> None:
            for _ in range(3):
                done = threading.Event()
                if loop is not None:
                    loop.call_soon_threadsafe(cancel)
                    loop.call_soon_threadsafe(done.set)
                elif token is not None:
                    token.run_sync_soon(cancel)
                    token.run_sync_soon(done.set)
                assert done.wait(5)

        notes.at_stop = cancel_again
        async with open_daemon(one_for_one(*cast(notes))):
            cancel()
            await host.forever()

    assert host.run(lambda: host.cancellable(body))
    assert notes.lines == STARTS + STOPS


def test_a_cancel_while_a_finished_block_is_left_comes_after_the_stop(host: Host, notes: Notes) -> None:
    async def body(cancel: Callable[[], object]) -> None:
        if host.flavour == "asyncio":
            notes.at_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, cancel)
        else:
            notes.at_stop = partial(trio.lowlevel.current_trio_token().run_sync_soon, cancel)
        async with open_daemon(one_for_one(*cast(notes))):
            pass
        await host.forever()

    assert host.run(lambda: host.cancellable(body))
    assert notes.lines == STARTS + STOPS


def test_a_program_cancelled_during_the_boot_stops_what_runs(host: Host, notes: Notes) -> None:
    entered = []

    async def body(cancel: Callable[[], object]) -> None:
        if host.flavour == "asyncio":
            notes.at_start = partial(asyncio.get_running_loop().call_soon_threadsafe, cancel)
        else:
            notes.at_start = partial(trio.lowlevel.current_trio_token().run_sync_soon, cancel)
        async with open_daemon(one_for_one(*cast(notes), child(NeverUp))):
            entered.append(1)

    assert host.run(lambda: host.cancellable(body))
    assert not entered
    assert notes.lines == STARTS + STOPS


@actor(flavour="asyncio")
class NeverUp:
    async def on_start(self) -> None:
        await asyncio.Event().wait()

    async def run(self) -> None: ...


def test_a_program_that_was_cancelled_before_stops_the_tree_again(host: Host, notes: Notes) -> None:
    async def body(cancel: Callable[[], object]) -> None:
        cancel()
        async with open_daemon(one_for_one(*cast(notes))):
            await host.forever()

    assert host.run(lambda: host.cancellable(body))
    starts, stops = (sum(word in line for line in notes.lines) for word in ("starts", "stops"))
    assert starts == stops


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_failure_that_reaches_the_root_cancels_the_block(host: Host, notes: Notes, index: int) -> None:
    actors = cast(notes)
    oops = Oops()

    async def program() -> None:
        async with open_daemon(frail(*actors)):
            actors[index].ref.send(Fail(oops))
            await host.forever()

    with pytest.raises(DaemonFailed, match="more than 0 restarts") as raised:
        host.run(program)
    assert raised.value.exit_code == 70
    assert isinstance(raised.value.__cause__, RestartLimitExceeded)
    assert raised.value.__cause__.__cause__ is oops
    assert len(notes.lines) == 6


@pytest.mark.parametrize("code", [0, 3])
def test_the_system_exit_of_an_actor_ends_the_block_with_its_code(host: Host, notes: Notes, code: int) -> None:
    actors = cast(notes)

    async def program() -> None:
        async with open_daemon(one_for_one(*actors)):
            actors[2].ref.send(Fail(SystemExit(code)))
            await host.forever()

    with pytest.raises(DaemonFailed) as raised:
        host.run(program)
    assert raised.value.exit_code == code
    assert isinstance(raised.value.__cause__, SystemExit)


def test_a_block_that_swallows_its_cancellation_fails_when_it_is_left(host: Host, notes: Notes) -> None:
    actors = cast(notes)
    over = []

    async def program() -> None:
        async with open_daemon(frail(*actors)):
            actors[0].ref.send(Fail(Oops()))
            with suppress(BaseException):  # as careless as a user may be
                await host.forever()
            over.append(1)

    with pytest.raises(DaemonFailed):
        host.run(program)
    assert over


def test_the_blocks_own_exception_goes_before_the_failure(host: Host, notes: Notes) -> None:
    actors = cast(notes)

    async def program() -> None:
        async with open_daemon(frail(*actors)):
            actors[0].ref.send(Fail(Oops()))
            try:
                await host.forever()
            finally:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        host.run(program)


def test_a_cancelled_program_stays_cancelled_when_the_daemon_fails(host: Host, notes: Notes) -> None:
    actors = cast(notes)

    async def body(cancel: Callable[[], object]) -> None:
        async with open_daemon(frail(*actors)):
            actors[0].ref.send(Fail(Oops()))
            cancel()
            await host.forever()

    assert host.run(lambda: host.cancellable(body))


def test_a_boot_that_fails_is_a_daemon_that_failed_and_the_block_is_not_entered(host: Host, notes: Notes) -> None:
    entered = []
    oops = Oops()

    def fail() -> None:
        raise oops

    notes.at_start = fail

    async def program() -> None:
        async with open_daemon(one_for_one(*cast(notes))):
            entered.append(1)

    with pytest.raises(DaemonFailed, match="/in_thread: the start failed") as raised:
        host.run(program)
    assert isinstance(raised.value.__cause__, StartFailed)
    assert raised.value.__cause__.__cause__ is oops
    assert not entered
    assert notes.lines == [*STARTS, *STOPS[1:]]


@pytest.mark.once
def test_an_actor_that_cannot_be_stopped_fails_the_daemon(host: Host, notes: Notes) -> None:
    let_go = threading.Event()
    notes.at_stop = let_go.wait

    async def program() -> None:
        async with open_daemon(one_for_one(child(InThread, notes).options(shutdown=0.05))):
            pass

    try:
        with pytest.raises(DaemonFailed, match=r"/in_thread: .*does not end"):
            host.run(program)
    finally:
        let_go.set()


def test_a_stop_that_takes_too_long_fails_the_daemon(host: Host, notes: Notes) -> None:
    let_go = threading.Event()
    notes.at_stop = let_go.wait

    async def program() -> None:
        async with open_daemon(one_for_one(child(InThread, notes)), stop_within=0.05):
            pass

    try:
        with pytest.raises(DaemonFailed, match="did not stop in time"):
            host.run(program)
    finally:
        let_go.set()


# -- a tree that is over, and trees that meet --------------------------------------------------------------------------


@actor(flavour="threading", restart="transient", significant=True)
class Finite:
    def run(self) -> None: ...


def test_a_tree_that_ends_by_itself_leaves_the_block_alone(host: Host, notes: Notes) -> None:
    actors = cast(notes)

    async def program() -> None:
        async with open_daemon(one_for_one(*actors, child(Finite), auto_shutdown="any_significant")) as daemon:
            await daemon.over.wait()
            with pytest.raises(ActorStopped):
                await actors[0].ref.ask(Where())
            assert await daemon.terminate("/in_trio") == "shutting_down"
            assert await daemon.children() == [
                (name, "undefined") for name in ("in_trio", "in_asyncio", "in_thread", "finite")
            ]
        assert await daemon.restart("/in_trio") == "shutting_down"

    host.run(program)
    assert notes.lines == STARTS + STOPS


def test_the_same_tree_may_run_again_afterwards(host: Host, notes: Notes) -> None:
    actors = cast(notes)
    tree = one_for_one(*actors)

    async def program() -> None:
        for _ in range(3):
            async with open_daemon(tree):
                for one in actors:
                    assert "generation 1" in await one.ref.ask(Where())

    host.run(program)
    assert notes.lines == 3 * (STARTS + STOPS)


def test_a_tree_runs_in_one_daemon_at_a_time(host: Host, notes: Notes) -> None:
    tree = one_for_one(*cast(notes))

    async def program() -> None:
        async with open_daemon(tree):
            with pytest.raises(SpecError, match="a child that stands at /in_trio already"):
                async with open_daemon(tree):
                    pass
        async with open_daemon(tree):
            pass

    host.run(program)


def test_two_daemons_in_one_program_do_not_meet(host: Host, notes: Notes) -> None:
    ours, theirs = cast(notes), cast(Notes())

    async def failing() -> None:
        async with open_daemon(frail(*theirs)):
            for one in (*ours, *theirs):
                assert "generation 1" in await one.ref.ask(Where())
            theirs[1].ref.send(Fail(Oops()))
            await host.forever()

    async def program() -> None:
        async with open_daemon(one_for_one(*ours)) as mine:
            with pytest.raises(DaemonFailed):
                await failing()
            for one in ours:
                assert "generation 1" in await one.ref.ask(Where())
            assert mine.dead_letters == 0

    host.run(program)
    assert notes.lines == STARTS + STOPS


def test_many_daemons_side_by_side(host: Host) -> None:
    async def one() -> None:
        notes = Notes()
        actors = cast(notes)
        async with open_daemon(one_for_one(*actors)):
            for each in actors:
                assert "generation 1" in await each.ref.ask(Where())
        assert notes.lines == STARTS + STOPS

    host.run(lambda: host.both(one, one, one))


def test_actors_of_two_daemons_in_one_loop_ask_each_other(host: Host, notes: Notes) -> None:
    ours, theirs = cast(notes), cast(Notes())

    async def program() -> None:
        async with open_daemon(one_for_one(*ours)):
            askers = one_for_one(*(child(Asker, one.ref, name=str(at)) for at, one in enumerate(ours)))
            async with open_daemon(one_for_one(*theirs, askers)):
                for asker in askers.children:
                    assert isinstance(asker, Child)
                    assert "generation 1" in await asker.ref.ask(Where())

    host.run(program)


@actor(flavour="trio")
class Asker:
    other: Any
    name: str = ""

    async def receive(self, message: Where) -> str:
        answer: str = await self.other.ask(message)
        return answer


def test_actors_that_never_had_a_message_drain(host: Host, notes: Notes) -> None:
    async def program() -> None:
        async with open_daemon(one_for_one(*(one.options(drain=True) for one in cast(notes)))):
            pass

    host.run(program)
    assert notes.lines == STARTS + STOPS


# -- what is left ------------------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(host: Host) -> None:
    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}

    async def program() -> None:
        before = threads(), open_files()
        tasks = count_tasks(host)
        for _ in range(3):
            async with open_daemon(one_for_one(*cast(Notes()))):
                assert threads() > before[0]
        assert (threads(), open_files()) == before
        await host.turn()
        assert count_tasks(host) == tasks

    host.run(program)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def count_tasks(host: Host) -> int:
    if host.flavour == "asyncio":
        return len(asyncio.all_tasks())
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_no_signal_handler_is_touched(flavour: str, notes: Notes) -> None:
    async def program() -> None:
        handlers = [signal.getsignal(number) for number in signal.valid_signals()]
        async with open_daemon(one_for_one(*cast(notes))):
            assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers
        assert [signal.getsignal(number) for number in signal.valid_signals()] == handlers

    if flavour == "trio":
        trio.run(program)
    else:
        asyncio.run(program())


def test_asyncio_run_cancels_a_block_in_a_forgotten_task_and_the_tree_stops_in_order(notes: Notes) -> None:
    async def forgotten(entered: asyncio.Event) -> None:
        async with open_daemon(one_for_one(*cast(notes))):
            entered.set()
            await asyncio.Event().wait()

    async def program() -> None:
        entered = asyncio.Event()
        task = asyncio.create_task(forgotten(entered))
        await entered.wait()
        assert not task.done()

    in_thread(lambda: asyncio.run(program()))
    assert notes.lines == STARTS + STOPS


def test_a_stop_that_was_asked_for_before_the_boot_prevents_it(notes: Notes) -> None:
    daemon = Daemon(one_for_one(*cast(notes)))
    daemon.stop()
    in_thread(lambda: trio.run(daemon.main))
    assert notes.lines == []
    assert daemon.code == 0


def test_an_actor_stops_the_daemon_and_the_block_goes_on(host: Host, notes: Notes) -> None:
    async def program() -> None:
        async with open_daemon(one_for_one(*cast(notes), child(Stopper))) as daemon:
            await daemon.over.wait()

    host.run(program)
    assert notes.lines == STARTS + STOPS


@actor(flavour="asyncio")
class Stopper:
    async def run(self) -> None:
        current(self).daemon.stop("enough")
        await asyncio.Event().wait()


# -- a real SIGINT -----------------------------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, os, signal, sys, trio
from trouper import Message, actor, child, one_for_one, open_daemon

class Go(Message): ...

@actor(flavour="{flavour}")
class Busy:
    async def receive(self, message: Go) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100_000):
            pass
        print("handled", flush=True)

    async def on_stop(self, reason: object) -> None:
        print("stopped", flush=True)

async def program() -> None:
    async with open_daemon(one_for_one(busy := child(Busy))):
        busy.ref.send(Go())
        await {forever}

try:
    {run}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    ("flavour", "forever", "run"),
    [
        ("trio", "trio.sleep_forever()", "trio.run(program)"),
        ("asyncio", "asyncio.Event().wait()", "asyncio.run(program())"),
    ],
)
def test_ctrl_c_reaches_the_program_and_no_handler(flavour: str, forever: str, run: str) -> None:
    with run_code(INTERRUPTED.format(flavour=flavour, forever=forever, run=run)) as program:
        assert program.end() == 0
        assert program.said == ["handled\n", "stopped\n", "interrupted\n"]
        assert program.log == ""


@pytest.mark.parametrize(
    ("forever", "run"),
    [("trio.sleep_forever()", "trio.run(program)"), ("asyncio.Event().wait()", "asyncio.run(program())")],
)
@pytest.mark.parametrize("flavour", ["trio", "asyncio"])
def test_ctrl_c_from_a_terminal_stops_the_tree(flavour: str, forever: str, run: str) -> None:
    script = INTERRUPTED.format(flavour=flavour, forever=forever, run=run).replace(
        "busy.ref.send(Go())", "print('up', flush=True)"
    )
    with run_code(script) as program:
        program.until_said("up")
        assert program.stop(SIGINT) == 0
        assert program.said == ["up\n", "stopped\n", "interrupted\n"]
        assert program.log == ""


HANGS = """
import threading
from trouper import actor, child

@actor(flavour="threading", shutdown=60)
class Hangs:
    def receive(self, message: int) -> None: ...

    def on_stop(self, reason: object) -> None:
        print("hangs", flush=True)
        threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("forever", "run"),
    [("trio.sleep_forever()", "trio.run(program)"), ("asyncio.Event().wait()", "asyncio.run(program())")],
    ids=["trio", "asyncio"],
)
def test_ctrl_c_again_ends_a_program_whose_tree_does_not_stop(forever: str, run: str) -> None:
    """In trio the second does. In asyncio that is one more cancel of the program; the third is let through."""
    script = INTERRUPTED.format(flavour="trio", forever=forever, run=run).replace("child(Busy)", "child(Hangs)")
    with run_code(HANGS + script.replace("busy.ref.send(Go())", "print('up', flush=True)")) as program:
        program.until_said("up")
        program.signal(SIGINT)
        program.until_said("hangs")
        while program.process.returncode is None:
            program.signal(SIGINT)
            with suppress(AssertionError):
                program.end(within=0.1)
        assert program.said[-1] == "interrupted\n"
