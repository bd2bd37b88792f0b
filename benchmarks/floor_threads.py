"""A thread per actor, fed by a `queue.SimpleQueue`."""

from __future__ import annotations

import random
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from common import Outcome, expect, now, one_by_one, quiet_resident
from floor_messages import Hop, Ping, Pong, Tick, Total

if TYPE_CHECKING:
    from collections.abc import Callable

STACK = 64 * 1024
Box = SimpleQueue[Any]


def start(body: Callable[..., None], *args: object) -> None:
    threading.Thread(target=body, args=args, daemon=True).start()


def counting() -> Box:
    box: Box = SimpleQueue()
    start(counter, box)
    return box


def counter(box: Box) -> None:
    total, get = 0, box.get
    while True:
        message = get()
        if isinstance(message, Tick):
            total += 1
        else:
            message.answer(total)


def total_of(box: Box) -> int:
    reply: SimpleQueue[int] = SimpleQueue()
    box.put(Total(reply.put))
    return reply.get()


def count(n: int, _k: int) -> Outcome:
    box, message = counting(), Tick()
    put = box.put
    begin = now()
    for _ in range(n):
        put(message)
    total = total_of(box)
    seconds = now() - begin
    expect(total, n)
    return Outcome(seconds, {"capacity": None})


def ring(n: int, k: int) -> Outcome:
    boxes, done = [Box() for _ in range(k)], threading.Event()

    def relay(box: Box, to: Box) -> None:
        while True:
            message: Hop = box.get()
            if message.left:
                to.put(Hop(message.left - 1))
            else:
                done.set()

    for place, box in enumerate(boxes):
        start(relay, box, boxes[(place + 1) % k])
    begin = now()
    boxes[0].put(Hop(n))
    done.wait()
    return Outcome(now() - begin)


def pingpong(n: int, _k: int) -> Outcome:
    return ring(2 * n, 2)


def ask(n: int, _k: int) -> Outcome:
    box = counting()
    return one_by_one(n, lambda: total_of(box))


def create(n: int, _k: int) -> Outcome:
    """Time it once, then weigh a second population, before and after the first message."""
    threading.stack_size(STACK)
    begin = now()
    _tick([counting() for _ in range(n)])
    seconds = now() - begin
    empty = quiet_resident()
    boxes = [counting() for _ in range(n)]
    idle = quiet_resident()
    _tick(boxes)
    used = quiet_resident()
    extras = {"bytes_idle": (idle - empty) // n, "bytes_per_actor": (used - empty) // n, "stack_bytes": STACK}
    return Outcome(seconds, extras)


def _tick(boxes: list[Box]) -> None:
    reply: SimpleQueue[int] = SimpleQueue()
    for box in boxes:
        box.put(Total(reply.put))
    for _ in boxes:
        reply.get()


def fanin(n: int, k: int) -> Outcome:
    sink, gate, share = counting(), threading.Event(), n // k

    def produce() -> None:
        gate.wait()
        message = Tick()
        for _ in range(share):
            sink.put(message)

    producers = [threading.Thread(target=produce) for _ in range(k)]
    for producer in producers:
        producer.start()
    begin = now()
    gate.set()
    for producer in producers:
        producer.join()
    total = total_of(sink)
    seconds = now() - begin
    expect(total, share * k)
    return Outcome(seconds)


def big(n: int, k: int) -> Outcome:
    boxes, done = [Box() for _ in range(k)], Box()

    def chat(seed: int, todo: int) -> None:
        me, dice = boxes[seed], random.Random(seed)  # noqa: S311
        while True:
            message = me.get()
            if isinstance(message, Ping):
                message.sender.put(Pong())
            elif todo:
                todo -= 1
                dice.choice(boxes).put(Ping(me))
            else:
                done.put(None)

    for seed in range(k):
        start(chat, seed, n // k)
    begin = now()
    for box in boxes:
        box.put(Pong())
    for _ in boxes:
        done.get()
    return Outcome(now() - begin)


WORKLOADS = {
    "count": count,
    "pingpong": pingpong,
    "ask": ask,
    "ring": ring,
    "create": create,
    "fanin": fanin,
    "big": big,
}
