"""Actors of the daemon and of its workers send and ask each other, whatever becomes of the workers meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import Any, Never

import attrs
import pytest
import trio

from tests.workers.cast import say
from tests.workers.house import house, kill, stage
from trouper import (
    ActorRestarted,
    ActorStopped,
    DeadLetter,
    Lost,
    Message,
    Ref,
    Request,
    Supervisor,
    Terminated,
    UsageError,
    WorkerEnded,
    WorkerStarted,
    actor,
    child,
    current,
    one_for_one,
    pool,
    process,
)
from trouper.workers.frames import SEND, Decoder

pytestmark = pytest.mark.once


class WhoIs(Request[int]):
    """Who are you, by your process id?"""


class Wait(Request[None]):
    """Never answer."""


class Did(Message):
    worker: int


class HowOften(Request[dict[int, int]]): ...


class Start(Request[int]):
    """What are you to begin with?"""


@actor(flavour="trio")
class Book:
    """It stands in the daemon."""

    did: Counter[int] = attrs.field(factory=Counter, init=False)

    async def receive(self, message: Did | HowOften | Start) -> dict[int, int] | int | None:
        if isinstance(message, Start):
            return 40
        if isinstance(message, HowOften):
            return dict(self.did)
        self.did[message.worker] += 1
        return None


@actor(flavour="asyncio")
class Clerk:
    """It stands in each worker."""

    book: Ref[Did | HowOften | Start]
    begun_with: int = attrs.field(default=0, init=False)

    async def on_start(self) -> None:
        self.begun_with = await self.book.ask(Start())

    async def receive(self, message: WhoIs | Wait) -> int | None:
        number = current(self).daemon.worker_id
        assert number is not None
        self.book.send(Did(number))
        if isinstance(message, Wait):
            await asyncio.Event().wait()
        return os.getpid() if self.begun_with == 40 else 0


class Desk:
    """A book in the daemon, and clerks in workers."""

    def __init__(self, workers: int) -> None:
        self.book = child(Book)
        self.clerk = child(Clerk, self.book.ref)
        self.group = process(self.clerk, workers=workers, name="desk", shutdown=5.0)
        self.tree: Supervisor = one_for_one(self.book, self.group)

    async def until(self, count: int) -> None:
        """Wait until the clerks have done so much, as far as the book knows."""
        with trio.fail_after(20):
            while sum((await self.book.ref.ask(HowOften())).values()) != count:
                await trio.lowlevel.checkpoint()


async def test_whoever_is_asked_from_outside_is_the_worker_whose_turn_it_is() -> None:
    desk = Desk(2)
    async with house(desk.tree) as inside:
        pids = [await inside.pid(f"/desk/{number}") for number in (0, 1)]
        answers = [await desk.clerk.ref.ask(WhoIs()) for _ in range(6)]
        assert answers in (pids * 3, pids[::-1] * 3)
        clerks = desk.group.copies(desk.clerk.ref)
        assert clerks.size == 2
        assert [await clerks.worker(number).ask(WhoIs()) for number in (1, 0)] == pids[::-1]
        with pytest.raises(UsageError, match="given worker 2, allowed: a number from 0 to 1"):
            clerks.worker(2)
        with pytest.raises(UsageError, match="allowed: the ref of a child in it"):
            desk.group.copies(desk.book.ref)
        await desk.until(8)
        assert await desk.book.ref.ask(HowOften()) == {0: 4, 1: 4}


class Curious:
    """What asks when it is made anew in a worker."""

    def __init__(self, book: Ref[Start], answer: int = 0) -> None:
        self.book, self.answer = book, answer

    def __reduce__(self) -> tuple[Any, ...]:
        return made_anew, (self.book,)


def made_anew(book: Ref[Start]) -> Curious:
    return Curious(book, book.ask_sync(Start()))


@actor(flavour="trio")
class Told:
    curious: Curious

    async def receive(self, message: WhoIs) -> int:
        return self.curious.answer


async def test_what_is_unpacked_in_a_worker_may_ask_the_daemon() -> None:
    book = child(Book)
    told = child(Told, Curious(book.ref))
    async with house(one_for_one(book, process(told, name="desk"))):
        assert await told.ref.ask(WhoIs()) == 40


async def test_one_that_was_terminated_in_a_worker_keeps_its_turn_and_refuses_what_it_is_given() -> None:
    desk = Desk(2)
    async with house(desk.tree, DeadLetter) as inside:
        alive = await inside.pid("/desk/0")
        assert await inside.daemon.terminate("/desk/1/clerk") == "ok"
        answers: list[int | None] = []
        for _ in range(4):
            try:
                answers.append(await desk.clerk.ref.ask(WhoIs()))
            except ActorStopped:
                answers.append(None)
        assert answers in ([alive, None] * 2, [None, alive] * 2)
        await inside.until(DeadLetter, count=2)
        assert await inside.daemon.restart("/desk/1/clerk") == "ok"
        assert len({await desk.clerk.ref.ask(WhoIs()) for _ in range(2)}) == 2


async def test_who_asked_a_worker_that_is_killed_hears_that_at_once_and_what_was_lost_is_told() -> None:
    desk = Desk(1)
    async with house(desk.tree, Lost, WorkerStarted) as inside:
        first = await inside.pid("/desk/0")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(ActorRestarted):
                    await desk.clerk.ref.ask(Wait(), timeout=None)

            await desk.until(1)
            kill(first, signal.SIGSTOP)
            desk.clerk.ref.send(WhoIs())
            while inside.daemon.world.exchange.office.peers["/desk/0"].sent < 2:
                await trio.lowlevel.checkpoint()  # it has left our process then
            kill(first)
        lost = await inside.until(Lost)
        assert (lost.path, lost.sent, lost.unacknowledged) == ("/desk/0", 2, 2)
        await inside.until(WorkerStarted)
        assert await desk.clerk.ref.ask(WhoIs()) == await inside.pid("/desk/0") != first


async def ask_on(desk: Desk, enough: trio.Event, answers: list[int]) -> None:
    while not enough.is_set():
        answers.append(await desk.clerk.ref.ask(WhoIs(), timeout=20.0))


async def test_a_rolling_restart_under_load_fails_no_ask() -> None:
    desk = Desk(2)
    async with house(desk.tree, Lost) as inside:
        enough, answers = trio.Event(), list[int]()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask_on, desk, enough, answers)
            before = {await inside.pid(f"/desk/{number}") for number in (0, 1)}
            assert await inside.daemon.restart_rolling("/desk") == "ok"
            after = {await inside.pid(f"/desk/{number}") for number in (0, 1)}
            enough.set()
        assert not before & after
        assert set(answers) >= before
        assert 0 not in answers
        await desk.until(len(answers))
        assert inside.events == []
        assert inside.daemon.dead_letters == 0


async def test_scaling_up_and_down_under_load_fails_no_ask() -> None:
    desk = Desk(1)
    async with house(desk.tree, WorkerStarted, WorkerEnded) as inside:
        enough, answers = trio.Event(), list[int]()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(ask_on, desk, enough, answers)
            await inside.daemon.scale("/desk", 3)
            await inside.until(WorkerStarted, count=2)
            while len(set(answers)) < 3:
                await trio.lowlevel.checkpoint()
            await inside.daemon.scale("/desk", 1)
            await inside.until(WorkerEnded, count=2)
            enough.set()
        assert len(set(answers)) == 3
        await desk.until(len(answers))
        assert inside.daemon.dead_letters == 0


@pytest.mark.parametrize(("down", "up"), [("hold", "release"), ("terminate", "restart")])
async def test_a_group_that_an_operator_stops_and_starts_again_has_its_addresses_again(down: str, up: str) -> None:
    desk = Desk(2)
    async with house(desk.tree) as inside:
        assert await getattr(inside.daemon, down)("/desk") == "ok"
        with pytest.raises(ActorStopped):
            await desk.clerk.ref.ask(WhoIs())
        assert await getattr(inside.daemon, up)("/desk") == "ok"
        pids = {await inside.pid(f"/desk/{number}") for number in (0, 1)}
        assert {await desk.clerk.ref.ask(WhoIs()) for _ in range(4)} == pids
        desk.clerk.ref.send(WhoIs())
        await desk.until(5)


async def test_lookup_finds_what_the_subtree_declares() -> None:
    desk = Desk(2)
    async with house(desk.tree) as inside:
        find, clerks = inside.daemon.lookup, desk.group.copies(desk.clerk.ref)
        assert find(Clerk, "/desk/1/clerk") is clerks.worker(1)
        assert find(Clerk, "/desk/*/clerk") is clerks
        assert find(Clerk, "/desk/0/nobody") is None
        assert find(Clerk, "/desk/7/clerk") is None
        with pytest.raises(UsageError, match="Clerk"):
            find(Book, "/desk/0/clerk")
        with pytest.raises(UsageError, match="a supervisor"):
            find(Clerk, "/desk/0")
        assert await inside.daemon.hold("/desk") == "ok"
        assert find(Clerk, "/desk/1/clerk") is None


async def test_a_worker_that_was_terminated_is_reached_when_it_is_wanted_again() -> None:
    desk = Desk(2)
    async with house(desk.tree, WorkerEnded, WorkerStarted) as inside:
        one = desk.group.copies(desk.clerk.ref).worker(1)
        assert await inside.daemon.terminate("/desk/1") == "ok"
        await inside.until(WorkerEnded)
        with pytest.raises(ActorStopped):
            await one.ask(WhoIs())
        assert await inside.daemon.scale("/desk", 2) == "ok"
        assert await one.ask(WhoIs(), timeout=20.0) == await inside.pid("/desk/1")


@actor(flavour="trio")
class Silent:
    async def receive(self, message: Never) -> None: ...


async def test_a_pool_in_each_worker_is_reached_by_one_address() -> None:
    book = child(Book)
    clerks = pool(child(Clerk, book.ref), size=2)
    tree = one_for_one(book, process(one_for_one(clerks, child(Silent)), workers=2, name="desk"))
    async with house(tree) as inside:
        pids = {await inside.pid(f"/desk/{number}") for number in (0, 1)}
        assert {await clerks.ref.ask(WhoIs()) for _ in range(4)} == pids


async def test_a_tree_with_workers_runs_again_in_another_daemon() -> None:
    desk = Desk(1)
    for _ in range(2):
        async with house(desk.tree) as inside:
            assert await desk.clerk.ref.ask(WhoIs()) == await inside.pid("/desk/0")


async def test_the_tree_shows_what_runs_in_the_workers() -> None:
    desk = Desk(1)
    async with house(desk.tree) as inside:
        snapshot = await inside.daemon.tree()
        clerk = snapshot.find("/desk/0/clerk")
        assert clerk is not None
        assert (clerk.kind, clerk.state) == ("Clerk", "running")
        assert f"process {await inside.pid('/desk/0')}" in str(snapshot)


class Visit(Request[int]):
    """Watch this one, and ask who it is; your process is to end when it does."""

    whom: Ref[WhoIs]


@actor(flavour="trio")
class Host:
    async def receive(self, message: WhoIs) -> int:
        return os.getpid()


@actor(flavour="trio")
class Visitor:
    async def receive(self, message: Visit | Terminated) -> int:
        if isinstance(message, Terminated):
            os._exit(7)
        current(self).watch(message.whom)
        return await message.whom.ask(WhoIs())


async def test_an_actor_of_one_worker_is_reached_and_watched_from_another() -> None:
    host, visitor = child(Host), child(Visitor)
    hosts, visitors = process(host, workers=2, name="hosts"), process(visitor, name="visitors")
    async with house(one_for_one(hosts, visitors), WorkerEnded) as inside:
        for number in (0, 1):
            there = await inside.pid(f"/hosts/{number}")
            assert await visitor.ref.ask(Visit(hosts.copies(host.ref).worker(number))) == there
        kill(await inside.pid("/hosts/1"))
        ended = await inside.until(WorkerEnded, where=lambda event: event.path == "/visitors/0")
        assert ended.reason.cause.code == 7


class Attend(Request[None]):
    """Watch this one."""

    whom: Ref[WhoIs]


@actor(flavour="asyncio")
class Witness:
    """It says whose end it is told of."""

    stage: str

    async def receive(self, message: Attend | Terminated) -> None:
        if isinstance(message, Attend):
            current(self).watch(message.whom)
        else:
            say(self.stage, "ended", message.ref.path, message.reason.kind)


async def test_an_actor_of_the_daemon_and_one_of_a_worker_are_told_of_each_others_ends() -> None:
    with stage() as heard:
        host, witness = child(Host), child(Witness, heard.path)
        far_host, far_witness = child(Host), child(Witness, heard.path)
        hosts = process(one_for_one(far_host, far_witness), workers=2, name="far")
        async with house(one_for_one(host, hosts, witness)) as inside:
            await hosts.copies(far_witness.ref).worker(0).ask(Attend(host.ref))
            assert await inside.daemon.terminate("/host") == "ok"
            assert await heard.hear("ended") == ["/host", "shutdown"]
            for number in (0, 1):
                await witness.ref.ask(Attend(hosts.copies(far_host.ref).worker(number)))
            assert await inside.daemon.terminate("/far/0/host") == "ok"
            assert await heard.hear("ended") == ["/far/0/host", "shutdown"]
            kill(await inside.pid("/far/1"))
            assert await heard.hear("ended") == ["/far/1/host", "crashed"]


MANY, FEW = 1000, 4


class Drop(Message):
    number: int


class Pour(Request[None]):
    """Send them, one after the other."""


class Poured(Request[int]): ...


@actor(flavour="trio")
class Basin:
    drops: list[int] = attrs.field(factory=list, init=False)

    async def receive(self, message: Drop | Poured) -> int | None:
        if isinstance(message, Poured):
            return len(self.drops)
        self.drops.append(message.number)
        return None


@actor(flavour="asyncio")
class Spout:
    basin: Ref[Drop | Poured]

    async def receive(self, message: Pour) -> None:
        for number in range(MANY):
            self.basin.send(Drop(number))


class Counted:
    """A socket, and what was written to it at once."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.written: list[bytes] = []

    def send(self, data: bytearray) -> int:
        count: int = self.sock.send(data)
        self.written.append(bytes(data[:count]))
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


async def test_a_burst_of_messages_is_a_few_frames_in_a_few_writes() -> None:
    basin, far_basin = child(Basin), child(Basin)
    spout, far_spout = child(Spout, far_basin.ref), child(Spout, basin.ref)
    group = process(one_for_one(far_basin, far_spout), name="far")
    async with house(one_for_one(basin, group, spout)) as inside:
        link = inside.daemon.world.exchange.office.peers["/far/0"].link
        counted = link.sock = Counted(link.sock)
        hear, heard = link.hear, list[int]()

        def count(frame: Any) -> None:
            if frame[0] == SEND:
                heard.append(frame[2])
            hear(frame)

        link.hear = count
        await far_spout.ref.ask(Pour())
        while await basin.ref.ask(Poured()) < MANY:
            await trio.lowlevel.checkpoint()
        assert sum(heard) == MANY
        assert len(heard) <= FEW

        await spout.ref.ask(Pour())
        while await far_basin.ref.ask(Poured()) < MANY:
            await trio.lowlevel.checkpoint()
        decoder = Decoder()
        writes = [[number for kind, _, number, _ in decoder.feed(data) if kind == SEND] for data in counted.written]
        assert sum(map(sum, writes)) == MANY
        assert sum(map(len, writes)) <= FEW
        assert sum(map(bool, writes)) <= FEW
