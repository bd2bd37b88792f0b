"""An explorer of interleavings: it runs two threads through the real code, one shared operation at a time.

A stress test does not see a lost wake-up that needs a switch between two particular opcodes. So one token is passed
between two threads: who holds it runs, the other waits. A trace function counts opcodes that may touch what the threads
share, and a schedule says after how many of them the token is passed on. All schedules with a given number of such
switches are tried, always in the same order.

The code under test is compiled from the files of the package, for a mutant with one text in them replaced by another.
"""

from __future__ import annotations

import dis
import sys
from collections import deque
from dataclasses import dataclass
from functools import cache
from inspect import getsourcefile
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread, get_ident
from types import ModuleType, coroutine
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from trouper.actors import ref as ref_module
from trouper.actors import steps as steps_module
from trouper.actors import watching as watching_module
from trouper.lanes import doorbell as doorbell_module
from trouper.lanes import lane as lane_module
from trouper.lanes import loop_lane as loop_module
from trouper.lanes import thread_lane as thread_module
from trouper.lanes import trio_lane as trio_module
from trouper.lanes.loop_lane import LoopLane
from trouper.workers import channel as channel_module
from trouper.workers import link as link_module
from trouper.workers import remote as remote_module

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import CodeType, FrameType

LANE, SENDER = 0, 1
STUCK_AFTER = 20.0  # seconds: no schedule takes a hundredth of that

TRACED = frozenset(
    str(getsourcefile(module))
    for module in (
        *(lane_module, loop_module, thread_module, ref_module, steps_module, watching_module),
        *(link_module, remote_module, doorbell_module, trio_module, channel_module),
    )
)
VARIABLES = frozenset(
    {"box", "queued", "parked", "pending", "over", "accepts", "refuses", "run", "step", "state", "watched", "watches"}
    | {"dirty", "frames", "out", "blocked", "starved", "sent", "taken", "left", "rung", "closed"}
    | {"queue", "rest"}
)  # written by one, read by the other
TOUCHES = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR")
TESTS = (
    "TO_BOOL",
    "UNARY_NOT",
    "POP_JUMP_IF_T",
    "POP_JUMP_IF_F",
    "POP_JUMP_FORWARD_IF_T",
    "POP_JUMP_FORWARD_IF_F",
    "JUMP_IF_",
)
FLAGS = ("COMPARE_OP", "CONTAINS_OP", "IS_OP", "TO_BOOL")  # their result is nobody's but the frame's


# -- the code under test -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Mutation:
    """A replacement in the source of one module. The text must be there exactly once."""

    module: ModuleType
    old: str
    new: str


def compiled(module: ModuleType, *mutations: Mutation) -> dict[str, Any]:
    """The namespace of a module, executed anew from its file, with the mutations that concern it."""
    path = str(getsourcefile(module))
    source = Path(path).read_text(encoding="utf-8")
    for mutation in mutations:
        if mutation.module is module:
            assert source.count(mutation.old) == 1, f"the mutation does not fit {path} any more:\n{mutation.old}"
            source = source.replace(mutation.old, mutation.new)
    fresh = ModuleType(module.__name__)
    exec(compile(source, path, "exec"), fresh.__dict__)  # noqa: S102 - it is our own source
    return fresh.__dict__


@dataclass(frozen=True)
class Code:
    """The parts of the package that are explored, as namespaces whose clocks, locks and files are ours."""

    lane: dict[str, Any]
    ref: dict[str, Any]
    doorbell: dict[str, Any]
    trio: dict[str, Any]

    @classmethod
    def of(cls, *mutations: Mutation) -> Code:
        lane = compiled(lane_module, *mutations)
        lane["HELD"] = lane_module.HELD  # the steps, which are not compiled anew, return this one
        return cls(lane, *(compiled(module, *mutations) for module in (ref_module, doorbell_module, trio_module)))


# -- the token ---------------------------------------------------------------------------------------------------------
class Token:
    """Held by one of two threads. `segments` says after how many shared operations it is passed on, each time anew.

    A thread that blocks passes it on, too, which is no switch of the schedule: the other goes on counting.
    """

    def __init__(self, first: int, segments: tuple[int, ...]) -> None:
        self.holder = first
        self.segments = deque(segments)
        self.over = [False, False]
        self.gates = (Lock(), Lock())
        for gate in self.gates:
            gate.acquire()

    @property
    def used_up(self) -> bool:
        """Whether every switch of the schedule came about."""
        return not self.segments

    def tick(self, me: int) -> None:
        """This thread is about to do something that the other may see."""
        segments = self.segments
        while segments and segments[0] == 0 and not self.over[1 - me]:
            segments.popleft()
            self.pass_on(me)
        if segments and segments[0]:
            segments[0] -= 1

    def pass_on(self, me: int) -> None:
        self.gates[1 - me].release()
        self.hold(me)

    def hold(self, me: int) -> None:
        assert self.gates[me].acquire(timeout=STUCK_AFTER), "the other thread holds the token for ever"
        self.holder = me

    def wait_until(self, me: int, holds: Callable[[], object]) -> bool:
        """Let the other thread run until this holds. False: it has ended, and it never will."""
        while not holds():
            if self.over[1 - me]:
                return False
            self.pass_on(me)
        return True

    def end(self, me: int) -> None:
        self.over[me] = True
        self.gates[1 - me].release()


class TokenLock:
    """A lock whose waiters pass the token on, for a blocked thread that holds it would stop everything."""

    def __init__(self, token: Token) -> None:
        self.token = token
        self.held = False

    def __enter__(self) -> None:
        assert self.token.wait_until(self.token.holder, lambda: not self.held)
        self.held = True

    def __exit__(self, *_: object) -> None:
        self.held = False


class TokenBell:
    """The bell of a thread, as a `SimpleQueue`; who waits for it passes the token on."""

    class NeverRings(BaseException):
        pass

    def __init__(self, token: Token) -> None:
        self.token = token
        self.rung: deque[None] = deque()

    def put(self, item: None) -> None:
        self.rung.append(item)

    def get(self, timeout: float | None = None) -> None:
        if not self.token.wait_until(LANE, lambda: self.rung):
            raise self.NeverRings
        self.rung.popleft()


@cache
def shared_operations(code: CodeType) -> frozenset[int]:
    """Offsets of the opcodes before which a switch can make a difference.

    These are reads and writes of what both threads use, calls (of a deque's methods, for one), and tests whether a
    deque is empty.
    """
    found = set()
    before: dis.Instruction | None = None
    for one in dis.get_instructions(code):
        name = one.opname
        if name.startswith(TOUCHES):
            shared = one.argval in VARIABLES
        elif name.startswith(TESTS):
            shared = (
                before is not None and not before.opname.startswith(FLAGS) and before.argval not in VARIABLES - {"box"}
            )
        else:
            shared = name.startswith(("CALL", "BEFORE_WITH", "LOAD_SPECIAL"))
        if shared:
            found.add(one.offset)
        before = one
    return frozenset(found)


def tracer(token: Token, me: int) -> Callable[[FrameType, str, Any], Any]:
    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            if frame.f_code.co_filename not in TRACED:
                return None
            frame.f_trace_opcodes = True
        elif event == "opcode" and frame.f_lasti in shared_operations(frame.f_code):
            token.tick(me)
        return trace

    return trace


class Worker:
    """A thread that is used again for many trials; starting one costs more than a trial."""

    def __init__(self, me: int) -> None:
        self.me = me
        self.jobs: SimpleQueue[tuple[Token, Callable[[], object]] | None] = SimpleQueue()
        self.results: SimpleQueue[BaseException | None] = SimpleQueue()
        Thread(target=self.work, name=f"explorer {me}", daemon=True).start()

    def work(self) -> None:
        while (job := self.jobs.get()) is not None:
            token, fn = job
            error: BaseException | None = None
            token.hold(self.me)
            sys.settrace(tracer(token, self.me))
            try:
                fn()
            except BaseException as exc:  # noqa: BLE001 - reported by the trial
                error = exc
            finally:
                sys.settrace(None)
                token.end(self.me)
            self.results.put(error)


# -- the loop ----------------------------------------------------------------------------------------------------------
@coroutine
def let_loop_run() -> Generator[None, None, None]:
    yield


class Loop:
    """The event loop of an explored lane: what a flavour adds to `LoopLane`, played by hand."""

    pause, park, wake = LoopLane.pause, LoopLane.park, LoopLane.wake
    lie_down, get_up = LoopLane.lie_down, LoopLane.get_up

    token: Token
    asleep = False

    def begin(self, token: Token) -> None:
        self.token = token
        self.calls: deque[Callable[[], object]] = deque()  # from other threads
        self.timers: deque[Callable[[], object]] = deque()  # due as soon as the lane sleeps

    async def checkpoint(self) -> None:
        await let_loop_run()

    async def doze(self, keep: Callable[[Any], object], lost: Callable[[Any], object]) -> None:
        keep("bed")
        self.asleep = True
        await let_loop_run()

    def rouse(self, bed: Any) -> bool:
        self.asleep = False
        return True

    def call_from_outside(self, fn: Callable[[], object]) -> None:
        self.calls.append(fn)

    def live(self) -> None:
        """Take turns until the lane sleeps for ever."""
        lane: Any = self
        lane.ident = get_ident()
        while True:
            lane.turn(clean)
            pause = lane.pause()
            while not ended(pause):
                if not self.run_loop():
                    pause.close()
                    return

    def run_loop(self) -> bool:
        """What is due in the loop, until the dispatcher is awake. False: it never will be."""
        while self.asleep:
            if self.timers:
                self.timers.popleft()()
            elif not self.token.wait_until(LANE, lambda: self.calls):
                return False
            else:
                self.calls.popleft()()
        while self.calls:
            self.calls.popleft()()
        return True


class Counter:
    """The counter of the kernel behind a doorbell, in place of `os` there."""

    EFD_NONBLOCK = EFD_CLOEXEC = 0

    def __init__(self) -> None:
        self.count = 0
        self.awaited = False

    def eventfd(self, count: int, flags: int) -> int:
        return 3

    def write(self, fd: int, data: bytes) -> None:
        self.count += 1

    def read(self, fd: int, size: int) -> None:
        if not self.count:
            raise BlockingIOError
        self.count = 0

    def close(self, fd: int) -> None: ...

    async def wait_readable(self, fd: int) -> None:
        self.awaited = True
        while not self.count:
            await let_loop_run()
        self.awaited = False


class AtTheDoor(Loop):
    """The trio loop of an explored lane: its only dispatcher sleeps at the door."""

    spares: tuple[()] = ()
    counter: Counter
    door: Any

    def begin(self, token: Token) -> None:
        super().begin(token)
        lane: Any = self
        LoopLane.open_door(lane, self, self.calls.append)

    def call_from_outside(self, fn: Callable[[], object]) -> None:
        lane: Any = self
        LoopLane.call_from_outside(lane, fn)

    def run_loop(self) -> bool:
        """What is due in the loop, until somebody has rung. False: nobody ever will."""
        if self.counter.awaited and not self.counter.count:
            if not self.timers:
                return self.token.wait_until(LANE, lambda: self.counter.count)
            self.timers.popleft()()
        return True


def looped(code: Code, token: Token, *, door: bool = False) -> Any:
    """A lane with nothing replaced but the loop: that of asyncio, or that of trio, with its `door`."""
    bases: tuple[Any, ...] = (Loop, code.lane["Lane"])
    names: dict[str, Any] = {}
    if door:
        counter, trio_lane = Counter(), code.trio["TrioLane"]
        code.doorbell.update({"os": counter, "RLock": lambda: TokenLock(token)})
        code.trio.update({"wait_readable": counter.wait_readable, "cancel_shielded_checkpoint": let_loop_run})
        bases = (AtTheDoor, code.lane["Lane"])
        names = {
            "counter": counter,
            **{name: vars(trio_lane)[name] for name in ("attended", "checkpoint", "park", "wake")},
        }
    looped_class: Any = type("Looped", bases, names)
    lane = looped_class("explored", slice_after=0.5)
    with patch.object(loop_module, "Doorbell", code.doorbell["Doorbell"]):
        lane.begin(token)
    return lane


def clean() -> bool:
    return False


def ended(coro: Any) -> bool:
    try:
        coro.send(None)
    except StopIteration:
        return True
    return False


# -- the exploration ---------------------------------------------------------------------------------------------------
@dataclass
class Story:
    """What two threads do in one trial, and how it should end."""

    lane: Callable[[], object]
    sender: Callable[[], object]
    outcome: Callable[[], object]


@dataclass
class Finding:
    first: int
    segments: tuple[int, ...]
    outcome: object


@dataclass
class Findings:
    schedules: int = 0
    wrong: Finding | None = None


class Explorer:
    """Tries all schedules of a story with at most `switches` switches."""

    def __init__(self) -> None:
        self.workers = (Worker(LANE), Worker(SENDER))

    def close(self) -> None:
        for worker in self.workers:
            worker.jobs.put(None)

    def trial(self, tell: Callable[[Token], Story], first: int, segments: tuple[int, ...]) -> tuple[Token, object]:
        token = Token(first, segments)
        story = tell(token)
        for worker, fn in zip(self.workers, (story.lane, story.sender), strict=True):
            worker.jobs.put((token, fn))
        token.gates[first].release()
        errors = [worker.results.get(timeout=2 * STUCK_AFTER) for worker in self.workers]
        return token, next(filter(None, errors), None) or story.outcome()

    def explore(self, tell: Callable[[Token], Story], expected: object, *, switches: int, stride: int = 1) -> Findings:
        """Until the outcome of a schedule is not the expected one, or all were tried.

        A `stride` leaves schedules out: of those with further switches, only those after every so many operations.
        """
        findings = Findings()
        for first in (LANE, SENDER):
            for finding in self.deeper(tell, first, (), switches, stride):
                findings.schedules += 1
                if finding.outcome != expected:
                    findings.wrong = finding
                    return findings
        return findings

    def deeper(
        self, tell: Callable[[Token], Story], first: int, before: tuple[int, ...], switches: int, stride: int
    ) -> Iterator[Finding]:
        """The schedules that begin with `before`; the last segment grows until its thread ends before it is used up."""
        length = 0
        while True:
            segments = (*before, length)
            token, outcome = self.trial(tell, first, segments)
            yield Finding(first, segments, outcome)
            if not token.used_up:
                return
            if switches > 1 and length % stride == 0:
                yield from self.deeper(tell, first, segments, switches - 1, stride)
            length += 1
