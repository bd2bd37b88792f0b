"""What runs now, as it is told of live daemons."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from tests.actors.stage import LOOPS, Events, FlavourName, Gate, Host, in_thread, until, wait_for_ever
from trouper import ActorEnded, Daemon, actor, child, one_for_one
from trouper.daemon.report import stacks


@pytest.fixture(params=LOOPS)
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


@pytest.mark.parametrize("flavour", LOOPS)
def test_payloads_that_are_suspended_in_a_loop_are_told(host: Host, flavour: FlavourName) -> None:
    async def suspended() -> None:
        await wait_for_ever()

    def calls(daemon: Daemon) -> None:
        with pytest.raises(Exception, match="the daemon has ended"):
            daemon.execute(suspended, flavour=flavour)

    async def body(daemon: Daemon) -> None:
        thread.append(threading.Thread(target=calls, args=(daemon,)))
        thread[0].start()
        await until(lambda: any(errand.activity for errand in daemon.calls.copy()))
        [lane] = [text for text in await in_thread(lambda: list(stacks(daemon))) if f"the {flavour} lane" in text]
        assert ".suspended:\n" in lane
        assert "in wait_for_ever\n" in lane

    thread: list[threading.Thread] = []
    host.run(one_for_one(), body)
    thread[0].join()


def test_a_payload_in_a_thread_is_told_by_its_name(host: Host) -> None:
    begun, over = Gate(), threading.Event()

    def works() -> None:
        begun.open()
        over.wait()

    async def body(daemon: Daemon) -> None:
        thread = threading.Thread(target=partial(daemon.execute, works, flavour=threading, timeout=1e6))
        thread.start()
        try:
            await begun.passed()
            [*_, others] = stacks(daemon)
            assert ".works:\n" in others
        finally:
            over.set()
            await in_thread(thread.join)

    host.run(one_for_one(), body)


@actor(flavour="threading", restart="transient")
class Once:
    go: threading.Event

    def run(self) -> None:
        self.go.wait()


def test_a_thread_has_no_name_of_an_actor_whose_thread_has_ended(host: Host) -> None:
    go, over = threading.Event(), threading.Event()
    other = threading.Thread(target=over.wait, name="somebody else's")

    async def body(daemon: Daemon) -> None:
        ended = Events(daemon, ActorEnded)
        cell: Any = daemon.root.nodes["once"]
        lane = cell.ref.lane
        go.set()
        await ended.ended("/once")
        await in_thread(lane.thread.join)
        other.start()
        try:
            lane.ident = other.ident  # as the system may have it
            [*_, others] = stacks(daemon)
            assert "somebody else's:\n" in others
            assert "/once" not in others
        finally:
            over.set()
            await in_thread(other.join)

    host.run(one_for_one(child(Once, go)), body)
