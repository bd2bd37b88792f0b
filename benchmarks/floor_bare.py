"""The bare limit: what a runtime that steps coroutines cannot beat in pure Python.

A deque; for each message a new coroutine of the handler, stepped by `coro.send(None)`; before each append the class of
the message is looked up in a frozenset and the length of the deque is compared. No clock, no slices, no errors caught,
no contexts, no threads. In `count` not even a call stands between producer and deque (`rate_with_call` is the same with
one); the other workloads need many boxes, so there `Cell.send` is the call and `run` the scheduler.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

from common import Outcome, expect, now, one_by_one, quiet_resident
from floor_messages import Boom, BoomError, Hop, Ping, Pong, Tick, Total

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ACCEPTS = frozenset({Tick, Total, Hop, Ping, Pong, Boom})
CAPACITY = 1 << 60
ready: deque[Cell] = deque()


class Cell:
    """A box, a handler and a mark that it waits in the run queue."""

    __slots__ = ("accepts", "box", "capacity", "queued", "receive")

    def __init__(self, receive: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        self.box: deque[Any] = deque()
        self.receive = receive
        self.accepts = ACCEPTS
        self.capacity = CAPACITY
        self.queued = False

    def send(self, message: object) -> None:
        box = self.box
        if type(message) not in self.accepts:
            raise TypeError(message)
        if len(box) >= self.capacity:
            raise OverflowError
        box.append(message)
        if not self.queued:
            self.queued = True
            ready.append(self)


def run() -> None:
    """Step handlers until no box holds a message."""
    while ready:
        cell = ready.popleft()
        box, receive = cell.box, cell.receive
        while box:
            try:
                receive(box.popleft()).send(None)
            except StopIteration:
                continue
            raise AssertionError("a handler of the bare limit never suspends")
        cell.queued = False


class Counter:
    def __init__(self) -> None:
        self.total = 0

    async def receive(self, message: Tick | Total | Boom) -> None:
        if isinstance(message, Tick):
            self.total += 1
        elif isinstance(message, Total):
            message.answer(self.total)
        else:
            raise BoomError


class Relay:
    def __init__(self) -> None:
        self.to: Cell

    async def receive(self, message: Hop) -> None:
        if message.left:
            self.to.send(Hop(message.left - 1))


class Chatterer:
    def __init__(self, seed: int, todo: int, cells: list[Cell]) -> None:
        self.dice = random.Random(seed)  # noqa: S311
        self.todo = todo
        self.cells = cells
        self.me = cells[seed]

    async def receive(self, message: Ping | Pong) -> None:
        if isinstance(message, Ping):
            message.sender.send(Pong())
        elif self.todo:
            self.todo -= 1
            self.dice.choice(self.cells).send(Ping(self.me))


def _append_inline(n: int, cell: Cell) -> None:
    message = Tick()
    box, accepts, capacity = cell.box, cell.accepts, cell.capacity
    for _ in range(n):
        if type(message) not in accepts:
            raise TypeError(message)
        if len(box) >= capacity:
            raise OverflowError
        box.append(message)
    cell.queued = True
    ready.append(cell)


def _append_by_call(n: int, cell: Cell) -> None:
    message, send = Tick(), cell.send
    for _ in range(n):
        send(message)


def _count(n: int, produce: Callable[[int, Cell], None]) -> float:
    cell, totals = Cell(Counter().receive), list[int]()
    begin = now()
    produce(n, cell)
    cell.send(Total(totals.append))
    run()
    seconds = now() - begin
    expect(totals, [n])
    return seconds


def count(n: int, _k: int) -> Outcome:
    seconds = _count(n, _append_inline)
    return Outcome(seconds, {"rate_with_call": round(n / _count(n, _append_by_call), 1), "capacity": "compared"})


def ring(n: int, k: int) -> Outcome:
    relays = [Relay() for _ in range(k)]
    cells = [Cell(relay.receive) for relay in relays]
    for place, relay in enumerate(relays):
        relay.to = cells[(place + 1) % k]
    begin = now()
    cells[0].send(Hop(n))
    run()
    return Outcome(now() - begin)


def pingpong(n: int, _k: int) -> Outcome:
    return ring(2 * n, 2)


def ask(n: int, _k: int) -> Outcome:
    cell, totals = Cell(Counter().receive), list[int]()

    def call() -> None:
        cell.send(Total(totals.append))
        run()
        totals.pop()

    return one_by_one(n, call)


def create(n: int, _k: int) -> Outcome:
    """Time it once, then weigh a second population, before and after the first message."""
    begin = now()
    first = [Cell(Counter().receive) for _ in range(n)]
    _tick(first)
    seconds = now() - begin
    empty = quiet_resident()
    second = [Cell(Counter().receive) for _ in range(n)]
    idle = quiet_resident()
    _tick(second)
    used = quiet_resident()
    return Outcome(seconds, {"bytes_idle": (idle - empty) // n, "bytes_per_actor": (used - empty) // n})


def _tick(cells: list[Cell]) -> None:
    message = Tick()
    for cell in cells:
        cell.send(message)
    run()


def fanin(n: int, k: int) -> Outcome:
    sink, totals, share = Cell(Counter().receive), list[int](), n // k

    class Producer:
        async def receive(self, _message: Tick) -> None:
            message = Tick()
            for _ in range(share):
                sink.send(message)

    producers = [Cell(Producer().receive) for _ in range(k)]
    begin = now()
    for producer in producers:
        producer.send(Tick())
    run()
    sink.send(Total(totals.append))
    run()
    seconds = now() - begin
    expect(totals, [share * k])
    return Outcome(seconds)


def big(n: int, k: int) -> Outcome:
    cells = [Cell(Counter().receive) for _ in range(k)]
    for seed, cell in enumerate(cells):
        cell.receive = Chatterer(seed, n // k, cells).receive
    begin = now()
    for cell in cells:
        cell.send(Pong())
    run()
    return Outcome(now() - begin)


def restart(n: int, _k: int) -> Outcome:
    cell, totals = Cell(Counter().receive), list[int]()

    def call() -> None:
        cell.send(Boom())
        cell.send(Total(totals.append))
        try:
            run()
        except BoomError:
            cell.receive = Counter().receive
            ready.append(cell)
            run()
        totals.pop()

    return one_by_one(n, call)


WORKLOADS = {
    "count": count,
    "pingpong": pingpong,
    "ask": ask,
    "ring": ring,
    "create": create,
    "fanin": fanin,
    "big": big,
    "restart": restart,
}
