"""Every message arrives once and in the order of its sender, from wherever, whatever the receiver does."""

from __future__ import annotations

import os
from collections import Counter
from threading import Thread
from typing import Any

import attrs
import pytest

from tests.actors.stage import FLAVOURS, Boom, Diary, FlavourName, Host, in_thread, role, turn
from trouper import Daemon, Limit, Mailbox, Message, Ref, Request, child, current, one_for_one
from trouper.events import ActorEnded, DeadLetter

UNBOUNDED = Mailbox(None)
OFTEN = Limit(10_000_000, within=1.0)
SLOWLY = 97  # over each such message the receiver suspends ...
BADLY = 331  # ... and over each such one it crashes


class Item(Message):
    sender: str
    n: int


class Go(Message):
    """Send so many messages to all receivers."""

    count: int


class Finished(Request[int]):
    """How many messages came so far?"""


@attrs.define
class Tally:
    """What one receiver saw, over all its lives; only one of them is alive at a time."""

    next: Counter[str] = attrs.field(factory=Counter)
    seen: int = 0
    crashes: int = 0
    disorder: list[Item] = attrs.field(factory=list)

    def note(self, item: Item) -> None:
        if item.n != self.next[item.sender]:
            self.disorder.append(item)
        self.next[item.sender] = item.n + 1
        self.seen += 1


def receiver(flavour: FlavourName, *, troubled: bool) -> Any:
    @role(flavour, mailbox=UNBOUNDED)
    class Receiver:
        tally: Tally

        async def receive(self, message: Item | Finished) -> int | None:
            if isinstance(message, Finished):
                return self.tally.seen
            self.tally.note(message)
            if troubled and message.n % SLOWLY == 0:
                await turn(self)
            if troubled and message.n % BADLY == 0:
                self.tally.crashes += 1
                raise Boom
            return None

    return child(Receiver, Tally()).options(name=f"to_{flavour}", backoff=None)


def sender(flavour: FlavourName, receivers: list[Ref[Any]], finished: Diary) -> Any:
    @role(flavour)
    class Sender:
        async def receive(self, message: Go) -> None:
            for n in range(message.count):
                item = Item(flavour, n)
                for ref in receivers:
                    ref.send(item)
                if n % 100 == 0:
                    await turn(self)
            finished(current(self).path)

    return child(Sender).options(name=f"from_{flavour}")


def send_from_thread(name: str, receivers: list[Ref[Any]], count: int, finished: Diary) -> None:
    for n in range(count):
        item = Item(name, n)
        for ref in receivers:
            ref.send(item)
    finished(name)


def run_storm(host: Host, count: int, *, threads: int, troubled: bool) -> None:
    """Send `count` messages from each of the senders to each of the receivers."""
    finished, dead, ended = Diary(), Counter[Any](), Counter[str]()
    children = [receiver(flavour, troubled=troubled) for flavour in FLAVOURS]
    refs = [one.ref for one in children]
    senders = [sender(flavour, refs, finished) for flavour in FLAVOURS]
    logged: list[DeadLetter] = []

    async def body(daemon: Daemon) -> None:
        daemon.subscribe(logged.append, DeadLetter)
        daemon.subscribe(lambda event: ended.update([event.path]), ActorEnded)
        foreign = [
            Thread(target=send_from_thread, args=(f"thread {n}", refs, count, finished), daemon=True)
            for n in range(threads)
        ]
        for thread in foreign:
            thread.start()
        for one in senders:
            one.ref.send(Go(count))
        if not await in_thread(waited_for, finished, threads + len(senders)):
            raise AssertionError(f"finished: {finished}")
        for one in children:
            await one.ref.ask(Finished(), timeout=None)
        dead.update((letter.path, letter.message) for letter in logged)
        assert daemon.dead_letters == len(logged) == sum(one.args[0].crashes for one in children)

    host.run(one_for_one(*children, *senders, restarts=OFTEN), body)
    expected = count * (threads + len(senders))
    for one in children:
        tally, path = one.args[0], f"/{one.choice.name}"
        assert tally.disorder == []
        assert tally.seen == expected
        lost = {(where, item.n) for where, item in dead if where == path}
        assert sum(times for (where, _), times in dead.items() if where == path) == tally.crashes
        assert lost == ({(path, n) for n in range(0, count, BADLY)} if troubled else set())


def waited_for(finished: Diary, count: int) -> bool:
    waiting = finished._line_up(count)
    return waiting is None or waiting.wait_sync(None)


@pytest.mark.parametrize("troubled", [False, True], ids=["calm", "troubled"])
def test_of_many_messages_across_all_lanes_none_is_lost_or_doubled_or_out_of_order(host: Host, troubled: bool) -> None:
    """A receiver that crashes loses the messages it crashed on, each of them one dead letter, and no other."""
    run_storm(host, 2_800, threads=3, troubled=troubled)


@pytest.mark.long
@pytest.mark.skipif(os.environ.get("TROUPER_LONG") != "1", reason="takes minutes; TROUPER_LONG=1 runs it")
def test_of_ten_million_messages_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.actors.stage.PATIENCE", 3_600.0)
    for name in ("trio", "asyncio"):
        run_storm(Host(name), 140_000, threads=3, troubled=False)
        run_storm(Host(name), 140_000, threads=3, troubled=True)
