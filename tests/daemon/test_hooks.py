"""Hooks of real daemons: in which lane they run, what waits for them, and that no process hangs in one."""

from __future__ import annotations

import threading
from signal import SIGTERM, SIGUSR1
from typing import Any

import pytest

from tests.actors.stage import Boom, Diary, FlavourName, Gate, Host, Note, checkpoint, role, wait_for_ever
from tests.daemon.program import Program, run_code
from trouper import (
    Daemon,
    DaemonFailed,
    DaemonReady,
    DaemonReloading,
    DaemonStopping,
    Event,
    Hook,
    HookFailed,
    HookTimeout,
    Restarting,
    SpecError,
    UsageError,
    before,
    child,
    one_for_one,
    open_daemon,
)

FLAVOURS: list[FlavourName] = ["trio", "asyncio", "threading"]


@pytest.fixture(params=["in_trio", "in_asyncio"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param.removeprefix("in_"))


@role("trio")
class Plain:
    async def receive(self, message: Note) -> None: ...


def tells(told: Diary, flavour: FlavourName, word: object = None) -> Any:
    """A hook of this flavour."""

    def plain(event: Event) -> None:
        told((type(event), threading.current_thread().name) if word is None else word)

    async def slow(event: Event) -> None:
        await checkpoint()
        plain(event)

    return plain if flavour == "threading" else slow


# -- in a program that embeds the daemon -------------------------------------------------------------------------------
def test_each_runs_in_the_lane_of_its_flavour_and_none_in_the_control_lane(host: Host) -> None:
    told = Diary()
    steps: list[Any] = [DaemonReady, DaemonReloading, DaemonStopping]
    hooks = [before(step, tells(told, flavour), flavour=flavour) for step in steps for flavour in FLAVOURS]

    async def body(daemon: Daemon) -> None:
        assert await daemon.reload() == ()

    host.run(child(Plain), body, hooks=hooks)
    here = threading.current_thread().name
    lanes = [here if host.name == flavour else f"trouper {flavour}" for flavour in ("trio", "asyncio")]
    assert told.entries == [(step, lane) for step in steps for lane in [*lanes, "trouper payload"]]


def test_a_block_is_entered_once_the_hooks_before_the_ready_are_done(host: Host) -> None:
    told, events = Diary(), Diary()

    async def start(event: DaemonReady) -> None:
        assert event.seconds >= 0
        await checkpoint()
        told("hook")

    async def body(daemon: Daemon) -> None:
        told("body")
        events(daemon.stop_why)

    host.run(child(Plain), body, hooks=[before(DaemonReady, start, flavour="asyncio")])
    assert told == ["hook", "body"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hook_before_the_ready_that_hangs_is_waited_for_until_its_timeout(
    host: Host, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    released, told = threading.Event(), Diary()

    def stuck(event: DaemonReady) -> None:
        released.wait(20)

    async def hangs(event: DaemonReady) -> None:
        try:
            await wait_for_ever()
        finally:
            told("cancelled")

    async def body(daemon: Daemon) -> None:
        told("body")
        released.set()

    hooks = [
        before(DaemonReady, stuck if flavour == "threading" else hangs, flavour=flavour, timeout=0.02),
        before(DaemonReady, tells(told, flavour, "the next hook"), flavour=flavour),
    ]
    host.run(child(Plain), body, hooks=hooks)
    assert [entry for entry in told.entries if entry != "cancelled"] == ["the next hook", "body"]
    assert ("cancelled" in told.entries) == (flavour != "threading")
    [record] = [record for record in caplog.records if "before DaemonReady failed" in record.message]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], HookTimeout)


@pytest.mark.parametrize(("error", "vital"), [(Boom("no licence"), True), (SystemExit(3), False)])
def test_a_hook_before_the_ready_may_fail_the_start(host: Host, error: BaseException, vital: bool) -> None:
    def refuse(event: DaemonReady) -> None:
        raise error

    async def body(daemon: Daemon) -> None:
        pytest.fail("entered")

    with pytest.raises(DaemonFailed) as failed:
        host.run(child(Plain), body, hooks=[before(DaemonReady, refuse, flavour="threading", vital=vital)])
    assert failed.value.__cause__ is error


def test_a_hook_may_be_given_to_a_running_daemon_from_any_thread(host: Host) -> None:
    told = Diary()

    async def body(daemon: Daemon) -> None:
        thread = threading.Thread(
            target=daemon.hook, args=(before(DaemonStopping, tells(told, "trio"), flavour="trio"),)
        )
        thread.start()
        thread.join()

    host.run(child(Plain), body)
    assert [entry[0] for entry in told.entries] == [DaemonStopping]


def test_a_tree_that_ends_by_itself_while_hooks_are_under_way_is_no_failure(host: Host) -> None:
    ending, came = Gate(), list[str]()

    @role("trio", significant=True, restart="temporary")
    class Brief:
        async def run(self) -> None:
            await ending.passed()

    async def first(_: Event) -> None:
        ending.open()
        await Gate().passed()

    async def second(_: Event) -> None:
        came.append("second")

    async def body(_: Daemon) -> None: ...

    hooks = [before(DaemonReady, hook, flavour="trio") for hook in (first, second)]
    host.run(one_for_one(child(Brief), auto_shutdown="any_significant"), body, hooks=hooks)
    assert came == []


def test_a_hook_that_ends_late_in_its_thread_harms_nobody(host: Host) -> None:
    gate, failed = Gate(), Diary()

    def stuck(event: DaemonReloading) -> None:
        released.wait(20)

    released = threading.Event()

    async def body(daemon: Daemon) -> None:
        with daemon.subscribe(failed, HookFailed):
            assert await daemon.reload() == ()
            released.set()
            assert await daemon.reload() == ()
        assert str(failed.entries[0].error).endswith("stuck: not done in 0.02 s, and its thread runs on")
        gate.open()

    host.run(child(Plain), body, hooks=[before(DaemonReloading, stuck, flavour="threading", timeout=0.02)])
    assert [event.before for event in failed.entries] == ["DaemonReloading"]


# -- what is refused ---------------------------------------------------------------------------------------------------
def nothing(event: Event) -> None: ...


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": HookFailed}, r"kind: given .*HookFailed.*, allowed: DaemonReady \| DaemonStopping"),
        ({"timeout": 0}, "timeout: given 0, allowed: seconds: a number above 0"),
        ({"vital": 1}, r"vital: given 1, allowed: True \| False"),
        ({"under": None}, "under: given None, allowed: a path"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"kind": Restarting, "payload": nothing, "flavour": "trio", **options}
    with pytest.raises(SpecError, match=text):
        before(given.pop("kind"), given.pop("payload"), **given)


@pytest.mark.parametrize(
    ("payload", "flavour", "text"),
    [
        (None, "trio", "before: given None, allowed: a function or a coroutine function"),
        (nothing, "curio", "before: flavour: given 'curio', allowed: the module trio, asyncio or threading"),
        (tells(Diary(), "trio"), "threading", "given the coroutine function .* in the flavour threading"),
    ],
)
def test_a_wrong_payload_is_refused(payload: Any, flavour: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        before(DaemonReady, payload, flavour=flavour)


async def test_what_is_no_hook_is_refused() -> None:
    wrong: Any = [nothing]
    with pytest.raises(SpecError, match=r"hooks: given .*nothing.*, allowed: what `before"):
        async with open_daemon(child(Plain), hooks=wrong):
            pass


def test_a_hook_tells_the_name_of_its_function() -> None:
    hook = before(DaemonReady, nothing, flavour="trio")
    assert isinstance(hook, Hook)
    assert hook.name == "tests.daemon.test_hooks.nothing"


# -- in a process of its own -------------------------------------------------------------------------------------------
SCRIPT = """
import asyncio, threading, trio
from tests.daemon.trees import hear_nothing, idle, say
from trouper import DaemonReady, DaemonStopping, before, run

def hangs(event):
    say(f"hook before {type(event).__name__}")
    hear_nothing()

async def hangs_in_trio(event):
    say(f"hook before {type(event).__name__}")
    await trio.sleep_forever()

async def blocks_asyncio(event):
    hangs(event)

def fails(event):
    raise OSError("no such balancer")

run(idle, hooks=[before(__STEP__, __HOOK__)])
"""


def run_hooked(step: str, hook: str) -> Program:
    return run_code(SCRIPT.replace("__STEP__", step).replace("__HOOK__", hook))


@pytest.mark.parametrize(
    "hook", ["hangs, flavour='threading'", "hangs_in_trio, flavour='trio'", "blocks_asyncio, flavour='asyncio'"]
)
def test_a_second_signal_cuts_a_hook_that_hangs(hook: str) -> None:
    with run_hooked("DaemonStopping", f"{hook}, timeout=1000.0") as program:
        program.until_logged("ready after")
        program.signal(SIGTERM)
        program.until_said("hook before DaemonStopping")
        assert program.stop(SIGTERM) == 128 + SIGTERM
        assert program.seconds_to_end < 5


def test_what_runs_now_shows_where_a_hook_hangs() -> None:
    with run_hooked("DaemonReady", "hangs_in_trio, flavour='trio', timeout=1000.0") as program:
        program.until_said("hook before DaemonReady")
        program.signal(SIGUSR1)
        program.until_logged("SIGUSR1: the other threads")
        [lane] = program.records("SIGUSR1: the trio lane")
        assert "\n__main__.hangs_in_trio:\n" in lane
        assert "in hangs_in_trio\n" in lane


@pytest.mark.parametrize("hook", ["hangs, flavour='threading'", "hangs_in_trio, flavour='trio'"])
def test_a_stop_goes_on_after_a_hook_that_hangs(hook: str) -> None:
    with run_hooked("DaemonStopping", f"{hook}, timeout=0.1") as program:
        program.until_logged("ready after")
        assert program.stop(SIGTERM) == 0
        assert program.said[-2:] == ["hook before DaemonStopping\n", "idle stops: shutdown\n"]
        assert len(program.records("before DaemonStopping failed: HookTimeout")) == 1


def test_a_hook_that_fails_is_logged_and_changes_no_exit_code_unless_it_is_vital() -> None:
    for vital, code in ((False, 0), (True, 70)):
        with run_hooked("DaemonStopping", f"fails, flavour='threading', vital={vital}") as program:
            program.until_logged("ready after")
            assert program.stop(SIGTERM) == code
            assert program.said[-1] == "idle stops: shutdown\n"
            assert len(program.records("fails before DaemonStopping failed: OSError('no such balancer')")) == 1
            assert len(program.records("a failure reached the root")) == int(vital)


def test_a_stop_before_the_ready_does_not_wait_for_its_hooks() -> None:
    with run_hooked("DaemonReady", "hangs_in_trio, flavour='trio', timeout=1000.0") as program:
        program.until_said("hook before DaemonReady")
        assert program.stop(SIGTERM) == 0
        assert "ready after" not in program.log
        assert program.seconds_to_end < 5
