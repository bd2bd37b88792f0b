"""Listening to a daemon."""

from __future__ import annotations

import logging
from threading import Thread
from typing import Any

import pytest

from tests.daemon.hosts import Fail, Notes, Where, cast, in_thread
from trouper import actor, child, one_for_one, open_daemon
from trouper.events import (
    ActorEnded,
    ActorStarted,
    ActorStarting,
    Bus,
    DaemonStopping,
    DeadLetter,
    Escalated,
    Event,
    Restarting,
    SupervisorEnded,
)


class Oops(Exception): ...


async def test_a_listener_hears_the_kinds_that_it_names() -> None:
    actors = cast(Notes())
    some: list[Any] = []
    everything: list[Any] = []
    async with open_daemon(one_for_one(*actors)) as daemon:
        daemon.subscribe(some.append, Restarting, ActorStarted)
        daemon.subscribe(everything.append)
        actors[0].ref.send(Fail(Oops()))
        assert "generation 2" in await actors[0].ref.ask(Where())
        await daemon.children()  # what the supervisor said before this answer was heard
    assert [type(event) for event in some] == [Restarting, ActorStarted]
    assert [event.path for event in some] == ["/in_trio", "/in_trio"]
    assert (some[0].used, some[0].allowed) == (1, 3)
    kinds = [type(event) for event in everything]
    assert kinds[:5] == [DeadLetter, ActorEnded, Restarting, ActorStarting, ActorStarted]
    assert kinds[5] is DaemonStopping
    assert kinds[6:] == [*(3 * [ActorEnded]), SupervisorEnded]


async def test_a_closed_subscription_hears_nothing_more() -> None:
    heard: list[Any] = []
    async with open_daemon(one_for_one(*cast(Notes()))) as daemon:
        with daemon.subscribe(heard.append):
            await daemon.terminate("/in_trio")
        subscription = daemon.subscribe(heard.append)
        subscription.close()
        subscription.close()
        await daemon.restart("/in_trio")
    assert [type(event) for event in heard] == [ActorEnded]


async def test_a_listener_that_fails_is_logged_and_the_others_hear_the_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Any] = []

    def careless(event: Event) -> None:
        raise Oops("not listening")

    async with open_daemon(one_for_one(*cast(Notes()))) as daemon:
        daemon.subscribe(careless, ActorEnded)
        daemon.subscribe(heard.append, ActorEnded)
        await daemon.terminate("/in_trio")
        assert [event.path for event in heard] == ["/in_trio"]
    [first, *_] = [record for record in caplog.records if "a listener failed" in record.message]
    assert first.levelno == logging.ERROR
    assert first.exc_info is not None
    assert "not listening" in str(first.exc_info[1])


async def test_no_event_is_made_when_nobody_listens() -> None:
    actors = cast(Notes())
    async with open_daemon(one_for_one(*actors)) as daemon:
        published: list[Event] = []
        daemon.world.bus.publish = published.append  # type: ignore[method-assign,assignment]  # pyright: ignore[reportAttributeAccessIssue]
        actors[0].ref.send(Fail(Oops()))
        assert "generation 2" in await actors[0].ref.ask(Where())
        await daemon.terminate("/in_asyncio")
        actors[1].ref.send(Where())
    assert not published
    assert daemon.dead_letters == 2


async def test_the_listener_may_be_the_send_of_a_ref() -> None:
    heard: list[str] = []

    @actor(flavour="trio", accepts=ActorEnded)
    class Obituaries:
        async def receive(self, message: ActorEnded) -> None:
            heard.append(message.path)

    actors = cast(Notes())
    async with open_daemon(one_for_one(obituaries := child(Obituaries), *actors)) as daemon:
        daemon.subscribe(obituaries.ref.send, ActorEnded)
        await daemon.terminate("/in_thread")
        await daemon.terminate("/in_asyncio")
        await daemon.children()
    assert heard[:2] == ["/in_thread", "/in_asyncio"]


def test_threads_that_subscribe_at_once_are_all_heard() -> None:
    bus = Bus()
    heard: list[Any] = []

    def subscribe_and_forget() -> None:
        for _ in range(2000):
            bus.subscribe(heard.append, Escalated).close()

    keep = [bus.subscribe(heard.append, DaemonStopping) for _ in range(3)]

    threads = [Thread(target=subscribe_and_forget) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    in_thread(lambda: bus.publish(DaemonStopping("over")))
    assert len(heard) == len(keep)
    assert bus.active == tuple(keep)
