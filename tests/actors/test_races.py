"""Races that were seen, each made to happen."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any

from tests.actors.stage import Boom, Crash, Diary, Echo, Host, Note, outcome, role, together, until
from trouper import Daemon, Mailbox, child, current, one_for_all, one_for_one
from trouper.lanes.thread_lane import ThreadLane


def test_a_thread_that_is_over_leaves_orders_and_messages_to_the_next_life() -> None:
    """They would run beside that life, in another thread."""
    lane, seen = ThreadLane("first life"), Diary()
    lane.post(seen, "an order")
    lane.incoming.append(object())
    lane.close()
    lane.admit()
    assert seen == []
    assert not lane.ready


def test_an_order_that_ends_a_thread_is_its_last() -> None:
    lane, seen = ThreadLane("first life"), Diary()
    lane.post(lane.close)
    lane.post(seen, "a kill that came with the halt")
    lane.admit()
    assert seen == []


def test_a_stop_without_time_does_not_reach_into_the_next_life(host: Host) -> None:
    """Halt and kill are sent together, and the first of them may end the actor."""

    @role("threading", shutdown=0)
    class Brief:
        async def receive(self, message: Echo) -> Any:
            return current(self).generation

    @role("trio")
    class Crashing:
        async def receive(self, message: Crash) -> None:
            raise Boom

    brief, crashing = child(Brief), child(Crashing)

    async def body(daemon: Daemon) -> None:
        for generation in range(2, 5):
            crashing.ref.send(Crash())
            await until(lambda generation=generation: brief.ref.cell.generation == generation)  # type: ignore[misc]
            assert await brief.ref.ask(Echo(), timeout=None) == generation

    host.run(one_for_all(brief, crashing), body)


def test_two_threads_that_offer_first_are_both_heard(host: Host) -> None:
    @role("threading", mailbox=Mailbox(1))
    class Keeper:
        async def receive(self, message: Note) -> None:
            gate.wait()
            seen(message.text)

    def offer_one(n: int) -> None:
        keeper.ref.offer_sync(Note(n), timeout=10.0)

    gate, seen = Event(), Diary()
    keeper = child(Keeper)

    async def body(daemon: Daemon) -> None:
        keeper.ref.send(Note("first"))
        await until(lambda: not keeper.ref.box)
        keeper.ref.send(Note("second"))
        threads = [Thread(target=offer_one, args=(n,), daemon=True) for n in range(8)]
        for thread in threads:
            thread.start()
        await until(lambda: len(keeper.ref.cell.offers or ()) == len(threads))
        gate.set()
        assert set(await seen.until(10)) == {"first", "second", *range(8)}

    host.run(keeper, body)


def test_an_ask_and_a_crash_at_once_always_end(host: Host) -> None:
    """Whatever comes first, the asker hears of it."""

    @role("threading")
    class Fragile:
        async def receive(self, message: Crash | Echo) -> Any:
            if isinstance(message, Crash):
                raise Boom
            return message.value

    fragile = child(Fragile).options(restart="temporary")

    async def body(daemon: Daemon) -> None:
        async def crash() -> None:
            fragile.ref.send(Crash())

        asks = [lambda: outcome(lambda: fragile.ref.ask(Echo(1), timeout=None))] * 20
        await together(*asks[:10], crash, *asks[10:])

    host.run(one_for_one(fragile), body)
