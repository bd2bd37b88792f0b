"""The idiomatic ways: a task per actor, fed by a trio memory channel pair or by an `asyncio.Queue`.

The workloads are written once. A `Loop` names what differs between the two: how a mailbox is made, how a task is
started, what an event and a reply are, how a foreign thread calls in.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio
import trio.testing
from common import Outcome, expect, now, one_by_one, one_by_one_async, quiet_resident
from floor_messages import Boom, BoomError, Hop, Ping, Pong, Tick, Total

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


@attrs.frozen
class Box:
    """A mailbox: the two calls that an actor and its senders need."""

    send: Callable[[Any], None]
    get: Callable[[], Awaitable[Any]]


class Event(Protocol):
    def set(self) -> None: ...

    async def wait(self) -> Any: ...


class Loop(ABC):
    """What the two loops name differently."""

    @abstractmethod
    def box(self) -> Box: ...

    @abstractmethod
    def event(self) -> Event: ...

    @abstractmethod
    def start(self, body: Coroutine[Any, Any, None]) -> None: ...

    @abstractmethod
    async def ask(self, box: Box) -> int: ...

    @abstractmethod
    async def supervise(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `body` in a task of its own until it raises `BoomError`."""

    @abstractmethod
    def post(self, call: Callable[..., object], *args: object) -> None:
        """From any thread: have the loop make this call."""

    @abstractmethod
    def run_in_loop(self, box: Box) -> int:
        """From any thread: ask in the loop and block for the answer."""

    @abstractmethod
    async def in_thread(self, work: Callable[[], Outcome]) -> Outcome: ...

    async def settle(self) -> None:
        """Let every started task reach its mailbox."""
        await trio.testing.wait_all_tasks_blocked()


@attrs.define
class TrioReply:
    event: trio.Event = attrs.field(factory=trio.Event)
    value: int = 0

    def put(self, value: int) -> None:
        self.value = value
        self.event.set()


@attrs.define
class TrioLoop(Loop):
    nursery: trio.Nursery
    token: trio.lowlevel.TrioToken = attrs.field(factory=trio.lowlevel.current_trio_token)

    def box(self) -> Box:
        send, receive = trio.open_memory_channel[Any](math.inf)
        return Box(send.send_nowait, receive.receive)

    def event(self) -> Event:
        return trio.Event()

    def start(self, body: Coroutine[Any, Any, None]) -> None:
        self.nursery.start_soon(lambda: body)

    async def ask(self, box: Box) -> int:
        reply = TrioReply()
        box.send(Total(reply.put))
        await reply.event.wait()
        return reply.value

    async def supervise(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(body)
        except* BoomError:
            pass

    def post(self, call: Callable[..., object], *args: object) -> None:
        self.token.run_sync_soon(call, *args)

    def run_in_loop(self, box: Box) -> int:
        return trio.from_thread.run(self.ask, box, trio_token=self.token)

    async def in_thread(self, work: Callable[[], Outcome]) -> Outcome:
        return await trio.to_thread.run_sync(work)


@attrs.define
class AsyncioLoop(Loop):
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop)

    def box(self) -> Box:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        return Box(queue.put_nowait, queue.get)

    def event(self) -> Event:
        return asyncio.Event()

    def start(self, body: Coroutine[Any, Any, None]) -> None:
        self.tasks.add(asyncio.create_task(body))

    async def ask(self, box: Box) -> int:
        reply: asyncio.Future[int] = self.loop.create_future()
        box.send(Total(reply.set_result))
        return await reply

    async def supervise(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with contextlib.suppress(BoomError):
            await asyncio.create_task(body())

    def post(self, call: Callable[..., object], *args: object) -> None:
        self.loop.call_soon_threadsafe(call, *args)

    def run_in_loop(self, box: Box) -> int:
        return asyncio.run_coroutine_threadsafe(self.ask(box), self.loop).result()

    async def in_thread(self, work: Callable[[], Outcome]) -> Outcome:
        return await asyncio.to_thread(work)

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)


async def counter(box: Box) -> None:
    total, get = 0, box.get
    while True:
        message = await get()
        if isinstance(message, Tick):
            total += 1
        elif isinstance(message, Total):
            message.answer(total)
        else:
            raise BoomError


async def relay(box: Box, to: Box, done: Event) -> None:
    get = box.get
    while True:
        message: Hop = await get()
        if message.left:
            to.send(Hop(message.left - 1))
        else:
            done.set()


async def count(loop: Loop, n: int, _k: int) -> Outcome:
    box, message = loop.box(), Tick()
    loop.start(counter(box))
    await loop.settle()
    send = box.send
    begin = now()
    for _ in range(n):
        send(message)
    total = await loop.ask(box)
    seconds = now() - begin
    expect(total, n)
    return Outcome(seconds, {"capacity": None})


async def ring(loop: Loop, n: int, k: int) -> Outcome:
    boxes, done = [loop.box() for _ in range(k)], loop.event()
    for place, box in enumerate(boxes):
        loop.start(relay(box, boxes[(place + 1) % k], done))
    await loop.settle()
    begin = now()
    boxes[0].send(Hop(n))
    await done.wait()
    return Outcome(now() - begin)


async def pingpong(loop: Loop, n: int, _k: int) -> Outcome:
    return await ring(loop, 2 * n, 2)


async def ask(loop: Loop, n: int, _k: int) -> Outcome:
    box = loop.box()
    loop.start(counter(box))
    await loop.settle()
    return await one_by_one_async(n, lambda: loop.ask(box))


async def create(loop: Loop, n: int, _k: int) -> Outcome:
    """Time it once, then weigh a second population, before and after the first message."""
    begin = now()
    await _tick(loop, _populate(loop, n))
    seconds = now() - begin
    empty = quiet_resident()
    boxes = _populate(loop, n)
    await loop.settle()
    idle = quiet_resident()
    await _tick(loop, boxes)
    used = quiet_resident()
    return Outcome(seconds, {"bytes_idle": (idle - empty) // n, "bytes_per_actor": (used - empty) // n})


def _populate(loop: Loop, n: int) -> list[Box]:
    boxes = [loop.box() for _ in range(n)]
    for box in boxes:
        loop.start(counter(box))
    return boxes


async def _tick(loop: Loop, boxes: list[Box]) -> None:
    message = Tick()
    for box in boxes:
        box.send(message)
    await loop.ask(boxes[-1])


async def fanin(loop: Loop, n: int, k: int) -> Outcome:
    sink, gates, done = loop.box(), [loop.box() for _ in range(k)], loop.event()
    share, busy = n // k, k

    async def produce(gate: Box) -> None:
        nonlocal busy
        message, send = await gate.get(), sink.send
        for _ in range(share):
            send(message)
        busy -= 1
        if not busy:
            done.set()

    for body in (counter(sink), *map(produce, gates)):
        loop.start(body)
    await loop.settle()
    begin = now()
    for gate in gates:
        gate.send(Tick())
    await done.wait()
    total = await loop.ask(sink)
    seconds = now() - begin
    expect(total, share * k)
    return Outcome(seconds)


async def big(loop: Loop, n: int, k: int) -> Outcome:
    boxes, done, busy = [loop.box() for _ in range(k)], loop.event(), k

    async def chat(seed: int, todo: int) -> None:
        nonlocal busy
        me, dice = boxes[seed], random.Random(seed)  # noqa: S311
        while True:
            message = await me.get()
            if isinstance(message, Ping):
                message.sender.send(Pong())
            elif todo:
                todo -= 1
                dice.choice(boxes).send(Ping(me))
            else:
                busy -= 1
                if not busy:
                    done.set()

    for seed in range(k):
        loop.start(chat(seed, n // k))
    await loop.settle()
    begin = now()
    for box in boxes:
        box.send(Pong())
    await done.wait()
    return Outcome(now() - begin)


async def restart(loop: Loop, n: int, _k: int) -> Outcome:
    """The least supervisor there is: a loop around a task."""
    box = loop.box()

    async def keep() -> None:
        while True:
            await loop.supervise(lambda: counter(box))

    async def call() -> None:
        box.send(Boom())
        await loop.ask(box)

    loop.start(keep())
    await loop.settle()
    return await one_by_one_async(n, call)


async def xthread(loop: Loop, n: int, _k: int) -> Outcome:
    """One call into the loop for each message."""
    box, message = loop.box(), Tick()

    def produce() -> None:
        for _ in range(n):
            loop.post(box.send, message)

    return await _from_thread(loop, box, produce, n)


async def xthread_batch(loop: Loop, n: int, _k: int) -> Outcome:
    """A deque, and a call into the loop only when none is under way."""
    box, message = loop.box(), Tick()
    incoming: deque[Tick] = deque()
    called = False

    def drain() -> None:
        nonlocal called
        called = False
        for _ in range(len(incoming)):
            box.send(incoming.popleft())

    def produce() -> None:
        nonlocal called
        for _ in range(n):
            incoming.append(message)
            if not called:
                called = True
                loop.post(drain)

    return await _from_thread(loop, box, produce, n)


async def _from_thread(loop: Loop, box: Box, produce: Callable[[], None], n: int) -> Outcome:
    loop.start(counter(box))
    await loop.settle()

    def work() -> Outcome:
        begin = now()
        thread = threading.Thread(target=produce)
        thread.start()
        thread.join()
        while loop.run_in_loop(box) < n:
            pass
        return Outcome(now() - begin)

    return await loop.in_thread(work)


async def xthread_ask(loop: Loop, n: int, _k: int) -> Outcome:
    box = loop.box()
    loop.start(counter(box))
    await loop.settle()
    return await loop.in_thread(lambda: one_by_one(n, lambda: loop.run_in_loop(box)))


WORKLOADS = {
    "count": count,
    "pingpong": pingpong,
    "ask": ask,
    "ring": ring,
    "create": create,
    "fanin": fanin,
    "big": big,
    "restart": restart,
    "xthread": xthread,
    "xthread_batch": xthread_batch,
    "xthread_ask": xthread_ask,
}


def run_trio(name: str, n: int, k: int) -> Outcome:
    """Run a workload on trio."""

    async def main() -> Outcome:
        async with trio.open_nursery() as nursery:
            outcome = await WORKLOADS[name](TrioLoop(nursery), n, k)
            nursery.cancel_scope.cancel()
        return outcome

    return trio.run(main)


def run_asyncio(name: str, n: int, k: int) -> Outcome:
    """Run a workload on asyncio."""

    async def main() -> Outcome:
        return await WORKLOADS[name](AsyncioLoop(), n, k)

    return asyncio.run(main())
