"""The argument in `lane.py` holds however a lane and a foreign thread interleave, and each part of it is needed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any

import pytest

from tests.lanes.explorer import LANE, Code, Explorer, Findings, Mutation, Story, Token, TokenBell, TokenLock, looped
from trouper import Mailbox, Message, actor
from trouper.actors import ref as ref_module
from trouper.actors.definition import definition_of
from trouper.actors.steps import step_plain
from trouper.lanes import doorbell as doorbell_module
from trouper.lanes import lane as lane_module
from trouper.lanes import trio_lane as trio_module
from trouper.lanes.thread_lane import ThreadLane

LONG = bool(os.environ.get("TROUPER_LONG"))


class Note(Message):
    number: int


@actor(flavour="trio")
class Listener:
    def receive(self, message: Note) -> None: ...


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    explorer = Explorer()
    yield explorer
    explorer.close()


class Stage:
    """A lane, an actor in it, and what came of the messages."""

    def __init__(
        self,
        code: Code,
        token: Token,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        mailbox: Mailbox | None = None,
        door: bool = False,
    ) -> None:
        code.lane["perf_counter"] = clock
        code.ref["boxes"] = TokenLock(token)
        self.code = code
        self.lane = looped(code, token, door=door)
        self.got: list[int] = []
        self.ref = self.make_ref(mailbox or Mailbox())

    def make_ref(self, mailbox: Mailbox) -> Any:
        ref = self.code.ref["Ref"](definition_of(Listener), mailbox)
        ref.cell = self
        ref.lane = self.lane
        ref.run = lambda step, *args: step(*args)
        ref.receive = lambda message: self.got.append(message.number)
        ref.step = step_plain
        ref.queued = False
        return ref

    def send(self, *numbers: int) -> None:
        for number in numbers:
            self.ref.send(Note(number))

    # -- as a cell ---------------------------------------------------------------------------------------------------
    refuses = False

    @property
    def world(self) -> Stage:
        return self

    def overflowed(self, ref: object, item: Note) -> None:
        self.got.append(-item.number)

    def bury(self) -> None:
        self.got.extend(-self.ref.box.popleft().number for _ in range(len(self.ref.box)))

    def story(self, lane: Callable[[], object], sender: Callable[[], object]) -> Story:
        return Story(lane, sender, lambda: self.got)


# -- stories: what a lane does while another thread sends --------------------------------------------------------------
def handling(code: Code, token: Token) -> Story:
    """The lane handles a message of the actor when more arrive."""
    stage = Stage(code, token)
    stage.ref.box = deque([Note(0)])
    stage.ref.queued = True
    stage.lane.ready.append(stage.ref)
    return stage.story(stage.lane.live, lambda: stage.send(1, 2))


def spent(code: Code, token: Token) -> Story:
    """The same, but each turn's slice is spent at the first look at the clock."""
    story = handling(code, token)
    ticks = count()
    code.lane["perf_counter"] = lambda: next(ticks)
    return story


def releasing(code: Code, token: Token) -> Story:
    """A handler that had suspended is over: the lane releases its actor."""
    stage = Stage(code, token)
    stage.ref.box = deque()
    stage.ref.queued = True
    stage.lane.orders.append((stage.lane.release, (stage.ref,)))
    return stage.story(stage.lane.live, lambda: stage.send(1, 2))


def parking(code: Code, token: Token, *, door: bool = False) -> Story:
    """The lane has nothing to do and parks."""
    stage = Stage(code, token, door=door)
    stage.ref.box = deque()
    return stage.story(stage.lane.live, lambda: stage.send(1))


def parking_again(code: Code, token: Token, *, door: bool = False) -> Story:
    """It parks, is woken, handles, parks."""
    stage = Stage(code, token, door=door)
    stage.ref.box = deque()
    return stage.story(stage.lane.live, lambda: stage.send(1, 2))


def parking_at_the_door(code: Code, token: Token) -> Story:
    return parking(code, token, door=True)


def parking_again_at_the_door(code: Code, token: Token) -> Story:
    return parking_again(code, token, door=True)


def calling_at_the_door(code: Code, token: Token) -> Story:
    """Another thread has something called in the loop, whether the lane sleeps or not."""
    stage = Stage(code, token, door=True)
    stage.ref.box = deque([Note(0)])
    stage.ref.queued = True
    stage.lane.ready.append(stage.ref)
    calls = [partial(stage.got.append, n) for n in (1, 2)]
    return Story(stage.lane.live, lambda: [*map(stage.lane.door.call, calls)], lambda: sorted(stage.got))


def calling_at_a_door_that_closes(code: Code, token: Token) -> Story:
    """Nobody sleeps there any more, but the loop goes on."""
    stage = Stage(code, token, door=True)
    loop: deque[Callable[[], object]] = deque()
    stage.lane.door.otherwise = loop.append

    def close_and_go_on() -> None:
        stage.lane.door.close()
        while token.wait_until(LANE, lambda: loop):
            loop.popleft()()

    calls = [partial(stage.got.append, n) for n in (1, 2)]
    return Story(close_and_go_on, lambda: [*map(stage.lane.door.call, calls)], lambda: stage.got)


def first_message(code: Code, token: Token) -> Story:
    """The box is not there yet, and both threads make it."""
    stage = Stage(code, token)
    other = stage.make_ref(Mailbox())
    other.receive = lambda _: stage.send(1)
    other.box, other.queued = deque([Note(0)]), True
    stage.lane.ready.append(other)
    return Story(stage.lane.live, lambda: stage.send(2), lambda: sorted(stage.got))


def own_timer(code: Code, token: Token, *, door: bool = False) -> Story:
    """A timer of the lane wakes it while another thread does."""
    stage = Stage(code, token, door=door)
    stage.ref.box = deque()
    stage.lane.timers.append(lambda: stage.send(1))
    return Story(
        stage.lane.live, lambda: stage.send(2, 3), lambda: (sorted(stage.got), [n for n in stage.got if n > 1])
    )


def own_timer_at_the_door(code: Code, token: Token) -> Story:
    return own_timer(code, token, door=True)


def orders(code: Code, token: Token, *, door: bool = False) -> Story:
    """Another thread posts orders."""
    stage = Stage(code, token, door=door)
    return stage.story(stage.lane.live, lambda: [stage.lane.post(stage.got.append, n) for n in (1, 2)])


def orders_at_the_door(code: Code, token: Token) -> Story:
    return orders(code, token, door=True)


def dropping_the_oldest(code: Code, token: Token) -> Story:
    """A full box loses its head to the sender while the lane takes it."""
    stage = Stage(code, token, mailbox=Mailbox(1, overflow="drop_oldest"))
    stage.ref.box = deque([Note(1)])
    stage.ref.queued = True
    stage.lane.ready.append(stage.ref)
    return Story(stage.lane.live, lambda: stage.send(2, 3), lambda: (sorted(map(abs, stage.got)), stage.got[-1]))


def the_end(code: Code, token: Token) -> Story:
    """The lane ends: what comes late is buried."""
    stage = Stage(code, token)
    stage.ref.box = deque()

    def last_turn_and_end() -> None:
        stage.lane.turn(lambda: False)
        stage.lane.over = True
        stage.lane.bury_late()

    return Story(last_turn_and_end, lambda: stage.send(1, 2), lambda: sorted(map(abs, stage.got)))


def thread(code: Code, token: Token) -> Story:
    """A threading actor handles its messages and parks in its bell."""
    stage = Stage(code, token)
    stage.ref.box = deque()
    lane = stage.ref.lane = threaded(token)
    return stage.story(lane.main, lambda: stage.send(1, 2))


def thread_in_its_inbox(code: Code, token: Token) -> Story:
    """A threading actor takes its messages itself, and orders come as well."""
    stage = Stage(code, token)
    box: deque[Note] = deque()
    stage.ref.box = box
    lane = stage.ref.lane = threaded(token)

    def take_all() -> None:
        lane.ident = get_ident()
        with suppress(TokenBell.NeverRings):
            while lane.wait(lambda: box):
                stage.got.append(box.popleft().number)

    def send_and_post() -> None:
        stage.send(1)
        lane.post(stage.got.append, 2)

    return Story(take_all, send_and_post, lambda: sorted(stage.got))


def threaded(token: Token) -> Any:
    lane: Any = ThreadLane("explored")
    lane.bell = TokenBell(token)
    lane.on_broken = lambda lane, error: None
    return lane


Tell = Callable[[Code, Token], Story]
STORIES: dict[Tell, object] = {
    handling: [0, 1, 2],
    spent: [0, 1, 2],
    releasing: [1, 2],
    parking: [1],
    parking_again: [1, 2],
    first_message: [1, 2],
    own_timer: ([1, 2, 3], [2, 3]),
    orders: [1, 2],
    dropping_the_oldest: ([1, 2, 3], 3),
    the_end: [1, 2],
    parking_at_the_door: [1],
    parking_again_at_the_door: [1, 2],
    calling_at_the_door: [0, 1, 2],
    calling_at_a_door_that_closes: [1, 2],
    own_timer_at_the_door: ([1, 2, 3], [2, 3]),
    orders_at_the_door: [1, 2],
    thread: [1, 2],
    thread_in_its_inbox: [1, 2],
}


STRIDE = 1 if LONG else 32


def explore(explorer: Explorer, tell: Tell, code: Code, *, switches: int = 2, stride: int = STRIDE) -> Findings:
    return explorer.explore(lambda token: tell(code, token), STORIES[tell], switches=switches, stride=stride)


@pytest.mark.once
@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_no_message_is_lost_doubled_or_overtaken(explorer: Explorer, tell: Tell) -> None:
    found = explore(explorer, tell, Code.of())
    assert found.wrong is None
    assert found.schedules > 50


@pytest.mark.long
@pytest.mark.skipif(not LONG, reason="tens of thousands of schedules; TROUPER_LONG=1 runs them")
@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_nor_with_three_switches(explorer: Explorer, tell: Tell) -> None:
    assert explore(explorer, tell, Code.of(), switches=3, stride=8).wrong is None


# -- each part of the argument is needed -------------------------------------------------------------------------------
LAST_LOOK_OF_A_TURN = """\
                    if cell.box and not cell.queued:
                        cell.queued = True
                        push(cell)
"""
LAST_LOOK_OF_RELEASE = """\
        if cell.box and not cell.queued:
            cell.queued = True
            self.enqueue(cell)
"""
PARKING = "        self.parked = True\n"
LAST_LOOK_BEFORE_SLEEP = """\
        if self.ready or self.incoming or self.orders:
            self.parked = False
            return False
"""
SLEEP = "        return True\n"
WOKEN = "    def woken(self) -> None:\n"
FORGET_PENDING = "        self.pending = False\n"
LEAVE_IN_THE_LANE = """\
        self.incoming.append(cell)
        if self.parked:
            self.wake_from_outside()
"""
LOOK_WHETHER_PARKED_FIRST = """\
        parked = self.parked
        self.incoming.append(cell)
        if parked:
            self.wake_from_outside()
"""
BURY_WHAT_CAME_LATE = """\
        elif self.over:
            self.bury_late()
"""
SEND = """\
        box.append(message)
        if not self.queued:
"""
LOOK_AT_THE_MARK_FIRST = """\
        queued = self.queued
        box.append(message)
        if not queued:
"""
MAKE_THE_BOX = """\
        with boxes:
            if self.box is NO_BOX:
                self.box = deque()
"""
LOOK_AGAIN_WHETHER_FULL = "        return self.has_room() or self.overflow(item)"

ANSWER = """\
        self.rung = False
        calls = self.calls
        while calls:
            calls.popleft()()
"""
FORGET_AFTER_THE_LOOK = """\
        calls = self.calls
        while calls:
            calls.popleft()()
        self.rung = False
"""
CALL_AND_RING = """\
        self.calls.append(fn)
        self.ring()
"""
RING_AND_CALL = """\
        self.ring()
        self.calls.append(fn)
"""
LEAVE = "        self.closed = True\n"
LAST_ANSWER = "        self.answer()\n"

MUTANTS: dict[str, tuple[Tell, tuple[Mutation, ...]]] = {
    "the bell is forgotten after the look for calls": (
        calling_at_the_door,
        (Mutation(doorbell_module, ANSWER, FORGET_AFTER_THE_LOOK),),
    ),
    "the bell is rung before the call is there": (
        calling_at_the_door,
        (Mutation(doorbell_module, CALL_AND_RING, RING_AND_CALL),),
    ),
    "the bell is closed and answered no more": (
        calling_at_a_door_that_closes,
        (Mutation(doorbell_module, LEAVE + LAST_ANSWER, LEAVE),),
    ),
    "the bell is answered a last time before it is closed": (
        calling_at_a_door_that_closes,
        (Mutation(doorbell_module, LEAVE + LAST_ANSWER, LAST_ANSWER + LEAVE),),
    ),
    "a call at a door that was closed is for nobody": (
        calling_at_a_door_that_closes,
        (Mutation(doorbell_module, "            self.otherwise(self.answer)\n", "            pass\n"),),
    ),
    "who sleeps at the door does not go on where it finds the lane parked": (
        orders_at_the_door,
        (Mutation(trio_module, "while not parked:", "while True:"),),
    ),
    "a turn clears the mark and looks no more": (
        handling,
        (Mutation(lane_module, LAST_LOOK_OF_A_TURN, ""),),
    ),
    "release clears the mark and looks no more": (
        releasing,
        (Mutation(lane_module, LAST_LOOK_OF_RELEASE, ""),),
    ),
    "the lane parks and looks no more": (
        parking,
        (Mutation(lane_module, PARKING + LAST_LOOK_BEFORE_SLEEP, PARKING),),
    ),
    "the lane looks before it declares itself parked": (
        parking,
        (Mutation(lane_module, PARKING + LAST_LOOK_BEFORE_SLEEP, LAST_LOOK_BEFORE_SLEEP + PARKING),),
    ),
    "the lane parks and looks no more for orders": (
        orders,
        (
            Mutation(
                lane_module,
                "self.incoming or self.orders:\n            self.parked",
                "self.incoming:\n            self.parked",
            ),
        ),
    ),
    "the pending wake-up is never forgotten": (
        parking_again,
        (Mutation(lane_module, WOKEN + FORGET_PENDING, WOKEN),),
    ),
    "the pending wake-up is forgotten after the look for work": (
        parking_again,
        (
            Mutation(lane_module, WOKEN + FORGET_PENDING, WOKEN),
            Mutation(lane_module, LAST_LOOK_BEFORE_SLEEP + SLEEP, LAST_LOOK_BEFORE_SLEEP + FORGET_PENDING + SLEEP),
        ),
    ),
    "a foreign sender looks whether the lane is parked before it leaves the cell there": (
        parking,
        (Mutation(lane_module, LEAVE_IN_THE_LANE, LOOK_WHETHER_PARKED_FIRST),),
    ),
    "a foreign sender leaves a cell in a lane that is over": (
        the_end,
        (Mutation(lane_module, BURY_WHAT_CAME_LATE, ""),),
    ),
    "a sender looks at the mark before it appends to the box": (
        handling,
        (Mutation(ref_module, SEND, LOOK_AT_THE_MARK_FIRST),),
    ),
    "two senders make the box at once": (
        first_message,
        (Mutation(ref_module, MAKE_THE_BOX, "        self.box = deque()\n"),),
    ),
    "a sender that was late to make the box takes it for full": (
        first_message,
        (Mutation(ref_module, LOOK_AGAIN_WHETHER_FULL, "            return True\n        return self.overflow(item)"),),
    ),
}


@pytest.mark.once
@pytest.mark.parametrize(("tell", "mutations"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_of_the_argument_is_found(explorer: Explorer, tell: Tell, mutations: tuple[Mutation, ...]) -> None:
    assert explore(explorer, tell, Code.of(*mutations), stride=4).wrong is not None


@pytest.mark.once
def test_the_same_schedules_are_tried_each_time(explorer: Explorer) -> None:
    tell, mutations = MUTANTS["a turn clears the mark and looks no more"]
    first, second = (explore(explorer, tell, Code.of(*mutations)) for _ in range(2))
    assert first == second


def test_a_mutation_that_does_not_fit_the_source_is_refused() -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        Code.of(Mutation(lane_module, "no such line", ""))
