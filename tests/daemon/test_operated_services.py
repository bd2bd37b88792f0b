"""Services and payloads as an operator meets them: in reports and signals, and beside worker processes."""

from __future__ import annotations

import asyncio
import threading
from signal import SIGHUP, SIGTERM, SIGUSR1
from typing import Any

import pytest
import trio

from tests.actors.stage import FLAVOURS, LOOPS, Diary, FlavourName, Host, wait_for_ever
from tests.daemon.program import run_code
from trouper import (
    Daemon,
    DaemonReady,
    Request,
    Services,
    actor,
    before,
    child,
    current,
    one_for_one,
    process,
    service,
)
from trouper.daemon.report import stacks


@pytest.fixture(params=LOOPS)
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


def test_services_begin_after_the_hooks_before_the_ready(host: Host) -> None:
    told, services = Diary(), Services()

    @service(flavour="asyncio")
    class Says:
        def __init__(self) -> None:
            told("made")

        async def run(self) -> None:
            told(current(self).path)

    async def hook(event: DaemonReady) -> None:
        await trio.lowlevel.checkpoint()
        told("hook")
        Says()

    async def body(daemon: Daemon) -> None:
        await told.until(5)

    with services.here():
        Says()
    host.run(one_for_one(), body, services=services, hooks=[before(DaemonReady, hook, flavour="trio")])
    assert told.entries[:3] == ["made", "hook", "made"]
    assert sorted(told.entries[3:]) == ["/services/says", "/services/says-2"]  # of the daemon, whoever makes it


@pytest.mark.parametrize("flavour", LOOPS)
def test_services_and_adopted_payloads_that_wait_in_a_loop_are_told(host: Host, flavour: FlavourName) -> None:
    begun = Diary()

    async def suspended() -> None:
        begun("adopted")
        await wait_for_ever()

    @service(flavour=flavour, name="one")
    class Serves:
        async def run(self) -> None:
            begun("service")
            await wait_for_ever()

    async def body(daemon: Daemon) -> None:
        Serves()
        daemon.adopt(suspended, flavour=flavour, name="two")
        daemon.adopt(suspended, flavour=flavour, name="three", restart="transient")
        await begun.until(3)
        told = ""
        while told.count("in wait_for_ever") < 3:  # one that has begun may not have suspended yet
            await trio.lowlevel.checkpoint() if host.name == "trio" else await asyncio.sleep(0)
            [told] = [text for text in stacks(daemon) if text.startswith(f"the {flavour} lane")]
        assert {"/services/one:", "/adopted/two:", "/adopted/three:"} <= set(told.split("\n"))

    host.run(one_for_one(), body)


def test_services_and_adopted_payloads_in_threads_are_told_by_their_paths(host: Host) -> None:
    begun, over = Diary(), threading.Event()

    def works() -> None:
        begun("up")
        over.wait()

    @service(flavour="threading", name="one")
    class Works:
        def run(self) -> None:
            works()

    async def body(daemon: Daemon) -> None:
        Works()
        daemon.adopt(works, flavour="threading", name="two")
        daemon.adopt(works, flavour="threading", name="three", restart="transient")
        try:
            await begun.until(3)
            [*_, others] = stacks(daemon)
            for path in ("/services/one", "/adopted/two", "/adopted/three"):
                assert path in others
        finally:
            over.set()

    host.run(one_for_one(), body)


class Where(Request[str]): ...


@actor(flavour="trio")
class Idle:
    async def receive(self, message: Where) -> str:
        return current(self).path


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_services_stand_beside_worker_processes_and_stop_before_them(flavour: FlavourName) -> None:
    apart = child(Idle)
    told = Diary()

    class InLoop:
        async def run(self) -> None:
            told(await apart.ref.ask(Where()))
            await wait_for_ever()

        async def on_stop(self, reason: object) -> None:
            told(await apart.ref.ask(Where()))

    class InThread:
        def run(self) -> None:
            told(apart.ref.ask_sync(Where()))
            current(self).sleep_sync(1e6)

        def on_stop(self, reason: object) -> None:
            told(apart.ref.ask_sync(Where()))

    one: Any = InThread if flavour == "threading" else InLoop
    serves: Any = service(flavour=flavour, name="one")(one)

    async def body(daemon: Daemon) -> None:
        serves()
        await told.until(1)
        tree = await daemon.tree()
        assert [node.path for node in tree.children] == ["/cpu", "/services"]

    Host("trio").run(one_for_one(process(apart, name="cpu")), body)
    assert told == 2 * ["/cpu/0/idle"]


PROGRAM = """
import threading
import trio
from trouper import current, default_services, run, service

@service(flavour="trio", name="one")
class One:
    async def run(self):
        print("up", flush=True)
        await trio.sleep_forever()
    async def on_reload(self):
        print("reloads", flush=True)
    async def on_stop(self, reason):
        {on_stop}

def hangs():
    threading.Event().wait()

One()
default_services.adopt(hangs, flavour="threading", name="two")
run()
"""


def test_sigusr1_shows_what_stands_beside_the_tree_and_sighup_reloads_it() -> None:
    with run_code(PROGRAM.format(on_stop="pass")) as program:
        program.until_said("up")
        program.signal(SIGHUP)
        program.until_said("reloads")
        program.signal(SIGUSR1)
        program.wait(lambda: program.records("SIGUSR1: the other threads"))
        [tree] = program.records("SIGUSR1: the tree")
        for place in ("\n  services: ", "\n    one: running, One, generation 1", "\n    two: running, "):
            assert place in tree
        [others] = program.records("SIGUSR1: the other threads")
        assert "/adopted/two:\n" in others
        assert "in hangs\n" in others
        [lane] = program.records("SIGUSR1: the trio lane")
        assert "\n/services/one:\n" in lane
        assert program.stop(SIGTERM) == 0
        assert "reloaded 1 of 1 actor after" in program.log


def test_a_second_signal_cuts_a_service_that_hangs_and_says_where() -> None:
    with run_code(PROGRAM.format(on_stop='print("stops", flush=True); await trio.sleep_forever()')) as program:
        program.until_said("up")
        program.signal(SIGTERM)
        program.until_said("stops")
        assert program.stop(SIGTERM) == 128 + SIGTERM
        [cut] = program.records("SIGTERM while stopping")
        assert "in on_stop\n" in cut
