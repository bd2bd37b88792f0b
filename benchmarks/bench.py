"""trouper, measured.

    python benchmarks/bench.py WORKLOAD N [K] --lane trio|asyncio|threading [--plain]

Prints one line of JSON. A director, itself an actor of the lane, runs the workload: what it sends never crosses a
thread (except in the threading lane, where every actor has its own). The daemon is embedded in a loop of this program,
which is then the lane of its flavour. `xthread*` send from a thread that the runtime does not know. `--plain` takes
plain functions as handlers, `receive` without `async`; threads have no others.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

import attrs
import trio
from bench_actors import Boom, Cast, Heard, Hop, Lane, Ping, Play, Pong, Produce, Tick, Total, cast
from common import Outcome, expect, now, one_by_one, one_by_one_async, parser, prepare, quiet_resident, report, startup

from trouper import Child, Limit, Mailbox, Ref, actor, child, current, one_for_one, open_daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trouper.messages import Asked

M = TypeVar("M")
R = TypeVar("R")

ENDLESS = Mailbox(capacity=None)
UNBOUNDED = {"capacity": None}


class Event(Protocol):
    def set(self) -> object: ...

    def wait(self) -> Any: ...


EVENTS: dict[Lane, Callable[[], Event]] = {"trio": trio.Event, "asyncio": asyncio.Event, "threading": threading.Event}


@attrs.frozen
class Stage:
    """Where a workload plays: what the director can do in its lane."""

    lane: Lane
    cast: Cast
    crasher: Ref[Heard]
    context: Any

    def spawn(self, spec: Child[M]) -> Ref[M]:
        ref: Ref[M] = self.context.spawn(spec)
        return ref

    def counter(self) -> Child[Heard]:
        """A counter with room for everything."""
        return child(self.cast.counter).options(mailbox=ENDLESS)

    async def ask(self, ref: Ref[Any], request: Asked[Any, R]) -> R:
        if self.lane == "threading":
            return ref.ask_sync(request, timeout=None)
        return await ref.ask(request, timeout=None)

    def event(self) -> Event:
        return EVENTS[self.lane]()

    async def wait(self, event: Event) -> None:
        waiting = event.wait()
        if inspect.isawaitable(waiting):
            await waiting


@attrs.frozen
class Countdown:
    """Sets the event when it was called as often as it has marks; threads may call it at once."""

    event: Event
    marks: list[None]

    def __call__(self) -> None:
        self.marks.pop()
        if not self.marks:
            self.event.set()


async def count(stage: Stage, n: int, _k: int) -> Outcome:
    ref = stage.spawn(stage.counter())
    await stage.ask(ref, Total())
    message, send = Tick(), ref.send
    begin = now()
    for _ in range(n):
        send(message)
    total = await stage.ask(ref, Total())
    seconds = now() - begin
    expect(total, n)
    return Outcome(seconds, UNBOUNDED)


async def ring(stage: Stage, n: int, k: int) -> Outcome:
    done = stage.event()
    refs: list[Ref[Hop]] = []
    specs = [child(stage.cast.relay, place, refs, done.set) for place in range(k)]
    refs += [spec.ref for spec in specs]
    for spec in specs:
        stage.spawn(spec)
    begin = now()
    refs[0].send(Hop(n))
    await stage.wait(done)
    return Outcome(now() - begin)


async def pingpong(stage: Stage, n: int, _k: int) -> Outcome:
    return await ring(stage, 2 * n, 2)


async def ask(stage: Stage, n: int, _k: int) -> Outcome:
    """Without a timeout; `rate_with_timeout` has the usual 5 s, `rate_queued` is of who does not answer in place."""
    ref, waiter, request = stage.spawn(child(stage.cast.counter)), stage.spawn(child(stage.cast.waiter)), Total()
    await stage.ask(ref, request)
    if stage.lane == "threading":
        timed = one_by_one(n, lambda: ref.ask_sync(request))
        queued = one_by_one(n, lambda: waiter.ask_sync(request, timeout=None))
        outcome = one_by_one(n, lambda: ref.ask_sync(request, timeout=None))
    else:
        timed = await one_by_one_async(n, lambda: ref.ask(request))
        queued = await one_by_one_async(n, lambda: waiter.ask(request, timeout=None))
        outcome = await one_by_one_async(n, lambda: ref.ask(request, timeout=None))
    others = {"rate_with_timeout": round(n / timed.seconds, 1), "rate_queued": round(n / queued.seconds, 1)}
    return attrs.evolve(outcome, extras={**outcome.extras, **others})


async def create(stage: Stage, n: int, _k: int) -> Outcome:
    """Time it once, then weigh a second population, before and after the first message."""
    begin = now()
    refs = [stage.spawn(child(stage.cast.counter)) for _ in range(n)]
    await _tick(stage, refs)
    seconds = now() - begin
    for ref in refs[:: max(1, n // 100)]:
        expect(await stage.ask(ref, Total()), 1)
    empty = quiet_resident()
    more = [stage.spawn(child(stage.cast.counter)) for _ in range(n)]
    await stage.ask(more[-1], Total())
    idle = quiet_resident()
    await _tick(stage, more)
    used = quiet_resident()
    return Outcome(seconds, {"bytes_idle": (idle - empty) // n, "bytes_per_actor": (used - empty) // n})


async def _tick(stage: Stage, refs: list[Ref[Heard]]) -> None:
    message = Tick()
    for ref in refs:
        ref.send(message)
    if stage.lane == "threading":
        for ref in refs:
            await stage.ask(ref, Total())
    else:
        await stage.ask(refs[-1], Total())


async def fanin(stage: Stage, n: int, k: int) -> Outcome:
    sink, done, share = stage.spawn(stage.counter()), stage.event(), n // k
    finish = Countdown(done, [None] * k)
    producers = [stage.spawn(child(stage.cast.producer, sink, share, finish)) for _ in range(k)]
    await stage.ask(sink, Total())
    begin = now()
    for producer in producers:
        producer.send(Produce())
    await stage.wait(done)
    total = await stage.ask(sink, Total())
    seconds = now() - begin
    expect(total, share * k)
    return Outcome(seconds, UNBOUNDED)


async def big(stage: Stage, n: int, k: int) -> Outcome:
    done = stage.event()
    refs: list[Ref[Ping | Pong]] = []
    finish = Countdown(done, [None] * k)
    specs = [child(stage.cast.chatterer, seed, n // k, refs, finish) for seed in range(k)]
    refs += [spec.ref for spec in specs]
    for spec in specs:
        stage.spawn(spec)
    begin = now()
    for ref in refs:
        ref.send(Pong())
    await stage.wait(done)
    return Outcome(now() - begin)


async def restart(stage: Stage, n: int, _k: int) -> Outcome:
    """The crasher stands in the static tree, whose supervisor lives in the control lane: another thread."""

    async def call() -> None:
        stage.crasher.send(Boom())
        await stage.ask(stage.crasher, Total())

    return await one_by_one_async(n, call)


IN_LANE = {
    "count": count,
    "pingpong": pingpong,
    "ask": ask,
    "ring": ring,
    "create": create,
    "fanin": fanin,
    "big": big,
    "restart": restart,
}


class Director:
    lane: Lane
    cast: Cast
    crasher: Ref[Heard]

    async def receive(self, message: Play) -> Outcome:
        return await play(self, message)


class ThreadDirector:
    lane: Lane
    cast: Cast
    crasher: Ref[Heard]

    def receive(self, message: Play) -> Outcome:
        return step(play(self, message))


async def play(director: Director | ThreadDirector, order: Play) -> Outcome:
    stage = Stage(director.lane, director.cast, director.crasher, current(director))
    return await IN_LANE[order.workload](stage, order.n, order.k)


def step(coro: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that never suspends: in a thread every wait blocks."""
    try:
        coro.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    raise AssertionError("a workload suspended in the threading lane")


async def in_lane(lane: Lane, troupe: Cast, workload: str, n: int, k: int) -> Outcome:
    """Have the director run the workload."""
    crasher = child(troupe.counter).options(backoff=None)
    decorated: Any = actor(flavour=lane)(ThreadDirector if lane == "threading" else Director)
    director: Child[Play] = child(decorated, lane, troupe, crasher.ref)
    outcomes: list[Outcome] = []
    async with open_daemon(one_for_one(one_for_one(crasher, restarts=Limit(n + 1, within=3600.0)), director)):
        outcomes.append(await director.ref.ask(Play(workload, n, k), timeout=None))
    return outcomes[0]


def xthread(ref: Ref[Heard], n: int) -> Outcome:
    """A send for each message. There is nothing to batch: a send wakes the lane only if no wake-up is under way."""
    message, send = Tick(), ref.send
    begin = now()
    for _ in range(n):
        send(message)
    total = ref.ask_sync(Total(), timeout=None)
    seconds = now() - begin
    expect(total, n)
    return Outcome(seconds, UNBOUNDED)


def xthread_ask(ref: Ref[Heard], n: int) -> Outcome:
    request = Total()
    return one_by_one(n, lambda: ref.ask_sync(request, timeout=None))


FROM_THREAD = {"xthread": xthread, "xthread_batch": xthread, "xthread_ask": xthread_ask}


async def from_thread(troupe: Cast, workload: str, n: int) -> Outcome:
    """Run the workload in a thread of the host's pool, which is no lane."""
    counter = child(troupe.counter).options(mailbox=ENDLESS)
    outcomes: list[Outcome] = []
    async with open_daemon(one_for_one(counter)):
        outcomes.append(await in_thread(FROM_THREAD[workload], counter.ref, n))
    return outcomes[0]


async def in_thread(work: Callable[[Ref[Heard], int], Outcome], ref: Ref[Heard], n: int) -> Outcome:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return await trio.to_thread.run_sync(work, ref, n)
    return await asyncio.to_thread(work, ref, n)


def run(lane: Lane, workload: str, n: int, k: int, *, plain: bool) -> Outcome:
    """Run a workload in a daemon embedded in the loop of the lane; for threads, in a trio loop."""
    troupe = cast(lane, plain=plain)

    async def main() -> Outcome:
        if workload in FROM_THREAD:
            return await from_thread(troupe, workload, n)
        return await in_lane(lane, troupe, workload, n, k)

    return asyncio.run(main()) if lane == "asyncio" else trio.run(main)


def be_quiet() -> None:
    """Make the records of the crashes, but write them nowhere."""
    log = logging.getLogger("trouper")
    log.addHandler(logging.NullHandler())
    log.propagate = False


def main() -> None:
    arguments = parser("Run one workload on trouper.", {*IN_LANE, *FROM_THREAD})
    arguments.add_argument("--lane", choices=get_args(Lane), required=True)
    arguments.add_argument("--plain", action="store_true", help="plain functions as handlers")
    chosen = arguments.parse_args()
    prepare(chosen)
    be_quiet()
    if chosen.workload == "startup":
        outcome = startup(chosen.n, lambda: run(chosen.lane, "count", 1, 1, plain=chosen.plain))
    else:
        outcome = run(chosen.lane, chosen.workload, chosen.n, chosen.k, plain=chosen.plain)
    plain = "-plain" if chosen.plain and chosen.lane != "threading" else ""
    report(f"trouper-{chosen.lane}{plain}", chosen, outcome)


if __name__ == "__main__":
    main()
