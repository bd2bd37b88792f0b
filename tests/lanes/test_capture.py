"""A handler that suspends has a task of its own: what trio and asyncio offer works in it, and touches nobody else."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from threading import Event as ThreadEvent
from typing import Any

import pytest
import trio

from tests.lanes.company import PATIENCE, PUPPETS, Call, Place, Theatre, every_place, settled
from trouper import Message, Ref, actor, child, current, one_for_one
from trouper.lanes.loop_lane import SPARES
from trouper.lanes.slot import Slot

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


async def ask(ref: Ref[Any], fn: Any) -> Any:
    return await ref.ask(Call(fn), timeout=PATIENCE)


# -- what a handler can do ---------------------------------------------------------------------------------------------
@every_place
def test_a_timeout_ends_what_it_is_around_and_nothing_else(place: Place) -> None:
    tools = place.tools

    async def handler(_: object) -> list[bool]:
        outcomes = [await tools.timed_out(0.001, tools.forever), await tools.timed_out(100, lambda: tools.sleep(0))]
        await tools.sleep(0)
        return outcomes

    async def nested(_: object) -> list[bool]:
        inner: list[bool] = []

        async def within() -> None:
            inner.append(await tools.timed_out(0.001, tools.forever))

        return [await tools.timed_out(100, within), *inner]

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, handler) == [True, False]
        assert await ask(ref, nested) == [False, True]
        assert await ask(ref, handler) == [True, False]

    place.play(body, one={})


@every_place
def test_tasks_of_a_handler_run_together_and_end_with_it(place: Place) -> None:
    async def handler(_: object) -> list[str]:
        met: list[str] = []
        first, second = Slot[None](), Slot[None]()

        async def one() -> None:
            first.put(None)
            await second.wait()
            met.append("one")

        async def other() -> None:
            second.put(None)
            await first.wait()
            met.append("other")

        await place.tools.together(one, other)
        return sorted(met)

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, handler) == ["one", "other"]
        assert await ask(ref, handler) == ["one", "other"]

    place.play(body, one={})


@every_place
def test_a_failing_task_cancels_its_siblings_and_fails_the_handler(place: Place) -> None:
    cancelled: list[str] = []

    async def fails() -> None:
        raise ValueError("the task failed")

    async def sibling() -> None:
        try:
            await place.tools.forever()
        finally:
            cancelled.append("sibling")

    async def caught(_: object) -> str:
        try:
            await place.tools.together(sibling, fails)
        except* ValueError:
            pass
        await place.tools.sleep(0)
        return "went on"

    async def uncaught(_: object) -> None:
        await place.tools.together(sibling, fails)

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, caught) == "went on"
        ref.send(Call(uncaught))
        reason = await theatre.end_of("/one")
        assert reason.kind == "crashed"
        assert isinstance(reason.cause, ExceptionGroup)
        assert await ask(ref, caught) == "went on"
        assert cancelled == ["sibling"] * 3

    place.play(body, one={})


@every_place
def test_a_lock_is_held_by_one_handler_at_a_time(place: Place) -> None:
    """The first to hold it lets go only once two others wait for it."""
    inside, most, waiting = [0], [0], [0]

    async def body(theatre: Theatre, one: Ref[Any], two: Ref[Any], three: Ref[Any]) -> None:
        lock, held, two_wait = place.tools.Lock(), Slot[None](), Slot[None]()

        async def holder(_: object) -> None:
            async with lock:
                inside[0] += 1
                held.put(None)
                await settled(two_wait)
                inside[0] -= 1

        async def handler(_: object) -> None:
            for _ in range(3):
                waiting[0] += lock.locked()
                if waiting == [2]:
                    two_wait.put(None)
                async with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    await place.tools.sleep(0)
                    inside[0] -= 1

        one.send(Call(holder))
        await settled(held)
        for ref in (two, three, one, two, three, one):
            ref.send(Call(handler))
        for ref in (one, two, three):
            await ask(ref, handler)
        assert most == [1]

    place.play(body, one={}, two={}, three={})


@every_place
def test_a_thread_works_for_a_handler_while_its_lane_goes_on(place: Place) -> None:
    free = ThreadEvent()

    async def in_thread(_: object) -> bool:
        return bool(await place.tools.in_thread(lambda: free.wait(PATIENCE)))

    async def let_go(_: object) -> None:
        free.set()

    async def body(theatre: Theatre, one: Ref[Any], two: Ref[Any]) -> None:
        one.send(Call(in_thread))
        await ask(two, let_go)
        assert await ask(one, in_thread)

    place.play(body, one={}, two={})


@every_place
def test_async_generators_work_within_a_handler(place: Place) -> None:
    closed: list[str] = []

    async def counting() -> AsyncGenerator[int, None]:
        try:
            for number in range(5):
                await place.tools.sleep(0)
                yield number
        finally:
            closed.append("closed")

    async def handler(_: object) -> list[int]:
        counted = [number async for number in counting()]
        left = counting()
        assert await anext(left) == 0
        await left.aclose()
        return counted

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, handler) == [0, 1, 2, 3, 4]
        assert closed == ["closed", "closed"]

    place.play(body, one={})


@every_place
def test_a_handler_knows_which_library_it_runs_in_before_and_after_it_suspends(place: Place) -> None:
    async def handler(_: object) -> list[str | None]:
        before = place.tools.detected()
        await place.tools.sleep(0)
        return [before, place.tools.detected()]

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, handler) == [place.flavour] * 2

    place.play(body, one={})


# -- the end -----------------------------------------------------------------------------------------------------------
class Waiting:
    """A handler that waits for ever, and notes what becomes of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.began = Slot[None]()
        self.notes: list[str] = []

    async def __call__(self, _: object) -> None:
        self.began.put(None)
        try:
            await self.place.tools.forever()
        except self.place.tools.Cancelled:
            self.notes.append("cancelled")
            raise
        finally:
            self.notes.append("finally")


@every_place
@pytest.mark.parametrize(("shutdown", "kind"), [(0.0, "killed"), (0.01, "timeout")])
def test_a_stop_cancels_a_handler_after_its_deadline(place: Place, shutdown: float, kind: str) -> None:
    waiting = Waiting(place)

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        ref.send(Call(waiting))
        await settled(waiting.began)
        assert await theatre.daemon.terminate("/one") == "ok"
        assert waiting.notes == ["cancelled", "finally"]
        assert (await theatre.end_of("/one")).kind in {kind, "killed"}

    place.play(body, one={"shutdown": shutdown})


@every_place
def test_the_death_of_one_of_many_concerns_nobody_else(place: Place) -> None:
    waits = [Waiting(place) for _ in range(3)]

    async def body(theatre: Theatre, *refs: Ref[Any]) -> None:
        for ref, waiting in zip(refs, waits, strict=True):
            ref.send(Call(waiting))
            await settled(waiting.began)
        assert await theatre.daemon.terminate("/two") == "ok"
        assert [waiting.notes for waiting in waits] == [[], ["cancelled", "finally"], []]

    place.play(body, one={"shutdown": 0.0}, two={"shutdown": 0.0}, three={"shutdown": 0.0})
    assert [waiting.notes for waiting in waits] == [["cancelled", "finally"]] * 3


@every_place
def test_a_handler_that_swallows_its_cancellation_and_returns_is_over(place: Place) -> None:
    began = Slot[None]()

    async def handler(_: object) -> str:
        began.put(None)
        try:
            await place.tools.forever()
        except place.tools.Cancelled:
            return "never mind"
        return "not reached"

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        ref.send(Call(handler))
        await settled(began)
        assert await theatre.daemon.terminate("/one") == "ok"
        assert await theatre.daemon.restart("/one") == "ok"
        assert await ask(ref, detected) == place.flavour

    async def detected(_: object) -> str | None:
        await place.tools.sleep(0)
        return place.tools.detected()  # type: ignore[no-any-return]

    place.play(body, one={"shutdown": 0.0})


@every_place
def test_a_group_whose_child_raises_when_it_is_cancelled_ends_its_own_actor_only(place: Place) -> None:
    began = Slot[None]()

    async def raises() -> None:
        began.put(None)
        try:
            await place.tools.forever()
        finally:
            raise ValueError("on the way out")

    async def handler(_: object) -> None:
        await place.tools.together(raises, place.tools.forever)

    async def body(theatre: Theatre, one: Ref[Any], *others: Ref[Any]) -> None:
        waits = [Waiting(place) for _ in others]
        for other, waiting in zip(others, waits, strict=True):
            other.send(Call(waiting))
            await settled(waiting.began)
        one.send(Call(handler))
        await settled(began)
        assert await theatre.daemon.terminate("/one") == "ok"
        ended = await theatre.end_of("/one")
        assert ended.kind == "killed"
        assert [waiting.notes for waiting in waits] == [[], []]
        assert await theatre.daemon.restart("/one") == "ok"
        assert await ask(one, answer) == "well"

    async def answer(_: object) -> str:
        await place.tools.sleep(0)
        return "well"

    place.play(body, one={"shutdown": 0.0}, two={"shutdown": 0.0}, three={"shutdown": 0.0})


@every_place
def test_a_shielded_part_is_finished_before_the_end(place: Place) -> None:
    began, notes = Slot[None](), []

    async def careful() -> None:
        began.put(None)
        await free.wait()
        notes.append("finished")

    async def handler(_: object) -> None:
        await place.tools.shielded(careful)
        await place.tools.sleep(0)
        notes.append("not reached")

    free = Slot[None]()

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        ref.send(Call(handler))
        await settled(began)
        theatre.daemon.stop()
        await place.until(lambda: ref.cell.activity is not None and ref.cell.activity.asked)
        free.put(None)

    place.play(body, one={"shutdown": 0.0})
    assert notes == ["finished"]


@every_place
def test_a_kill_that_comes_before_the_hook_first_suspends_is_applied_when_it_does(place: Place) -> None:
    notes: list[str] = []

    @actor(flavour=place.module, shutdown=0.0)
    class Slow:
        async def receive(self, message: Call) -> Any:
            return await message.fn(self)

        async def on_stop(self, reason: object) -> None:
            notes.append("began")
            await place.tools.timed_out(100, place.tools.forever)
            notes.append("not reached")

    waiting = Waiting(place)

    async def run() -> None:
        slow: Any = child(Slow)
        async with place.theatre(one_for_one(slow)) as theatre:
            slow.ref.send(Call(waiting))
            await settled(waiting.began)
            assert await theatre.daemon.terminate("/slow") == "ok"

    place.run(run)
    assert waiting.notes == ["cancelled", "finally"]
    assert notes == ["began"]


@every_place
def test_a_stop_that_comes_while_a_handler_blocks_its_lane_ends_it_when_it_suspends(place: Place) -> None:
    began, notes = Slot[None](), []
    stopping = ThreadEvent()

    async def handler(_: object) -> None:
        began.put(None)
        stopping.wait(PATIENCE)
        try:
            await place.tools.forever()
        finally:
            notes.append("ended")

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        lane: Any = ref.lane
        posted = lane.post

        def post(order: Any, *args: Any) -> None:
            posted(order, *args)
            if getattr(order, "__name__", "") == "kill":
                stopping.set()

        lane.post = post
        ref.send(Call(handler))
        await settled(began)
        assert await theatre.daemon.terminate("/one") == "ok"
        assert notes == ["ended"]

    if place.flavour == place.host:
        pytest.skip("the host would be blocked, and could not ask for the stop")
    place.play(body, one={"shutdown": 0.0})


# -- context variables -------------------------------------------------------------------------------------------------
@every_place
def test_a_context_variable_is_inherited_by_tasks_and_threads_of_the_handler(place: Place) -> None:
    async def handler(_: object) -> dict[str, str]:
        seen: dict[str, str] = {}
        variable.set("mine")

        async def task() -> None:
            await place.tools.sleep(0)
            seen["task"] = variable.get()

        await place.tools.together(task)
        seen["handler"] = variable.get()
        seen["thread"] = await place.tools.in_thread(variable.get)
        return seen

    async def body(theatre: Theatre, ref: Ref[Any]) -> None:
        assert await ask(ref, handler) == {"task": "mine", "handler": "mine", "thread": "mine"}

    place.play(body, one={})


@every_place
def test_a_context_variable_stays_with_its_actor(place: Place) -> None:
    def setting(name: str) -> Any:
        async def handler(_: object) -> list[str]:
            before = variable.get()
            variable.set(name)
            await place.tools.sleep(0)
            return [before, variable.get()]

        return handler

    async def reading(_: object) -> list[str]:
        first = variable.get()
        await place.tools.sleep(0)
        return [first, variable.get()]

    async def body(theatre: Theatre, one: Ref[Any], two: Ref[Any]) -> None:
        variable.set("the host's")
        assert await ask(one, setting("one's")) == ["nobody's", "one's"]
        assert await ask(two, reading) == ["nobody's"] * 2
        assert await ask(two, setting("two's")) == ["nobody's", "two's"]
        assert await ask(one, reading) == ["one's"] * 2
        assert variable.get() == "the host's"

    place.play(body, one={}, two={})


# -- many --------------------------------------------------------------------------------------------------------------
class Crowd:
    """Handlers that wait, each for its own slot, and what is known of all of them."""

    def __init__(self, size: int) -> None:
        self.free = [Slot[None]() for _ in range(size)]
        self.began: list[int] = []
        self.done: list[int] = []
        self.all_began, self.all_done = Slot[None](), Slot[None]()

    def handler(self, number: int) -> Any:
        async def wait(_: object) -> None:
            self.count(self.began, number, self.all_began)
            await self.free[number].wait()
            self.count(self.done, number, self.all_done)

        return wait

    def count(self, seen: list[int], number: int, all_seen: Slot[None]) -> None:
        seen.append(number)
        if len(seen) == len(self.free):
            all_seen.put(None)


@every_place
def test_five_hundred_handlers_can_be_suspended_at_once_and_few_spares_are_kept(place: Place) -> None:
    crowd = Crowd(500)

    async def tasks(_: object) -> int:
        if place.flavour == "trio":
            nursery = trio.lowlevel.current_task().parent_nursery
            assert nursery is not None
            return len(nursery.child_tasks)
        return len(asyncio.all_tasks())

    async def run() -> None:
        children = [place.puppet(f"p{number}") for number in range(500)]
        counter = place.puppet("counter")
        async with place.theatre(one_for_one(*children, counter)) as theatre:
            before = await ask(counter.ref, tasks)
            for number, one in enumerate(children):
                one.ref.send(Call(crowd.handler(number)))
            await settled(crowd.all_began)
            assert await ask(counter.ref, tasks) > 500  # one for each of them, and one that dispatches
            for slot in crowd.free:
                slot.put(None)
            await settled(crowd.all_done)
            while await ask(counter.ref, tasks) > before + SPARES:
                """The last of them are on their way."""
            assert 0 < len(theatre.daemon.loops[place.flavour].spares) <= SPARES

    place.run(run)
    assert sorted(crowd.done) == list(range(500))


# -- timers and sockets beside a flood ---------------------------------------------------------------------------------
class Again(Message): ...


async def flooded(place: Place, beside: Any, *, floods: int = 3) -> int:
    """How many messages actors that send to themselves handle while `beside(self)` runs in the same lane."""
    handled: Counter[str] = Counter()
    over = [False]

    @actor(flavour=place.module)
    class Flood:
        async def receive(self, message: Again) -> None:
            handled["messages"] += 1
            if not over[0]:
                current(self).self_ref.send(message)

    children: list[Any] = [child(Flood).options(name=f"flood{number}") for number in range(floods)]
    innocent: Any = child(PUPPETS[place.flavour]).options(name="innocent")
    async with place.theatre(one_for_one(*children, innocent)):
        for one in children:
            one.ref.send(Again())
        await ask(innocent.ref, beside)
        over[0] = True
    return handled["messages"]


@every_place
def test_timers_of_a_lane_go_on_beside_a_flood(place: Place) -> None:
    ticks = 10

    async def tick(_: object) -> None:
        for _ in range(ticks):
            await place.tools.sleep(0.0001)

    async def run() -> None:
        # A slice is some milliseconds long, a message takes about a microsecond, a timer waits for a slice or two. In a
        # lane that gave its loop a turn only now and then, or when all mailboxes are empty, it would wait for ever.
        assert await flooded(place, tick) < ticks * 100_000

    place.run(run)


@every_place
def test_sockets_of_a_lane_go_on_beside_a_flood(place: Place) -> None:
    echoes = 10

    async def trio_echo(_: object) -> None:
        left, right = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
        async with left, right:
            for _ in range(echoes):
                await left.send_all(b"x")
                await right.send_all(await right.receive_some(1))
                assert await left.receive_some(1) == b"x"

    async def asyncio_echo(_: object) -> None:
        one_end, other_end = socket.socketpair()
        left, to_right = await asyncio.open_connection(sock=one_end)
        right, to_left = await asyncio.open_connection(sock=other_end)
        for _ in range(echoes):
            to_right.write(b"x")
            to_left.write(await right.readexactly(1))
            assert await left.readexactly(1) == b"x"
        for writer in (to_left, to_right):
            writer.close()
            await writer.wait_closed()

    async def run() -> None:
        echo = trio_echo if place.flavour == "trio" else asyncio_echo
        assert await flooded(place, echo) < echoes * 200_000

    place.run(run)
