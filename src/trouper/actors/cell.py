"""The cold half of an actor: its life cycle. Everything here runs in the actor's lane, unless it says otherwise.

```
        begin            construct, on_start             halt, crash, its own end            all over
  down -------> starting --------------------> running ----------------------------> stopping --------> down
                    |                             |  halt with `drain`                  ^
                    | failed, declined, halted    +-----------> draining ---------------+
                    +--> down                                      queue empty, killed
```

`close` makes a cell that is down *closed*: what waits in its mailbox and what still comes are dead letters. The end
of a generation has one order (`advance`): its children, what it is doing, its background tasks, `on_stop`, the report
to the boss.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from threading import Thread, get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import trio

from trouper.actors.ask import Ask
from trouper.actors.inbox import Inbox, SyncInbox
from trouper.actors.ref import NOTHING, boxes, handling
from trouper.actors.steps import (
    step_closed,
    step_draining,
    step_held,
    step_hook,
    step_inbox,
    step_odd_coroutine,
    step_offered,
    step_plain,
    step_start,
    step_thread,
)
from trouper.errors import (
    ActorRestarted,
    ActorStopped,
    Declined,
    ReplyDropped,
    ReplyTypeError,
    Shutdown,
    Stopping,
    StrayCancellation,
    show,
)
from trouper.lanes.lane import HELD, Activity, step_coroutines
from trouper.lanes.loop_lane import Cancelled
from trouper.lanes.stacks import coroutine_stack, thread_stack
from trouper.lanes.thread_lane import ThreadLane
from trouper.reasons import KILLED, NORMAL, SHUTDOWN, Reason, crashed, start_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context as Variables

    from trouper.actors.options import Options
    from trouper.actors.ref import Ref
    from trouper.actors.world import Boss, Spawner, World
    from trouper.errors import (
        LeakedScope,
    )
    from trouper.lanes.lane import Held, Timer
    from trouper.lanes.slot import Slot

log = logging.getLogger("trouper")

ORDERLY = (Stopping, trio.Cancelled, asyncio.CancelledError)  # what an end that was asked for may raise

DOWN, STARTING, RUNNING, DRAINING, STOPPING, CLOSED = "down", "starting", "running", "draining", "stopping", "closed"


class Cell:
    """One place of the tree, over all lives of the actor that stands there."""

    # What every cell has is in slots; what most never need is here as a default, and costs memory where it is set only.
    __slots__ = (
        "__dict__",
        "boss",
        "child",
        "generation",
        "handler_step",
        "instance",
        "name",
        "ref",
        "since",
        "state",
        "world",
    )

    # The boss's, in its thread: the generation told to stop, the deadline that runs, whether it was left behind.
    halted = 0
    deadline: Timer | None = None
    abandoned = False
    doomed = gone = 0
    # Of one generation.
    me: Any = None  # its Context, once somebody asked for it
    activity: Activity | None = None
    message: Any = None  # what the suspended handler handles
    asked: Ask | None = None  # the request that is handled
    hook: tuple[Callable[..., Any], Callable[[Any, BaseException | None], object]] | None = None
    inbox: Inbox[Any] | SyncInbox[Any] | None = None
    reason: Reason | None = None
    tasks: set[Any] | None = None
    claims: WeakSet[Ask] | None = None  # requests that it claimed
    spawner: Spawner | None = None
    busy = False  # in the user's code, in a thread of its own
    stop_wanted = False
    stop_due = False  # `on_stop` is to be called
    in_on_stop = False
    leaving = False  # it stopped itself
    report: tuple[Callable[..., object], object] | None = None  # what the boss hears in place of its end
    killed: Reason | None = None  # it was told to end at once, for this reason
    interrupted = False
    told: bool | None = False  # what it does was told to end; None: its tasks, too
    # Of the mailbox.
    refuses = False
    offers: deque[tuple[object, Slot[None]]] | None = None

    OF_ONE_GENERATION = (
        *("me", "activity", "message", "asked", "hook", "inbox", "reason", "tasks", "spawner"),
        *("busy", "stop_wanted", "stop_due", "in_on_stop", "killed", "interrupted", "told", "leaving", "report"),
    )

    def __init__(self, world: World, boss: Boss, name: str, child: Any) -> None:
        self.world = world
        self.boss = boss
        self.name = name
        self.child = child
        self.generation = 0
        self.since = 0.0
        self.state = DOWN
        self.instance: Any = None
        self.handler_step: Any = step_held
        self.ref: Ref[Any] = child.ref
        self.ref.bind(self, child.choice.mailbox)

    @property
    def path(self) -> str:
        parent = self.boss.path
        return parent + self.name if parent == "/" else f"{parent}/{self.name}"

    @property
    def options(self) -> Options:
        return self.child.choice  # type: ignore[no-any-return]

    @property
    def mind(self) -> Cell:
        return self

    @property
    def threaded(self) -> bool:
        return self.child.definition.flavour == "threading"  # type: ignore[no-any-return]

    @property
    def stopping(self) -> bool:
        return self.state == STOPPING

    @property
    def drains(self) -> bool:
        """Whether a graceful stop handles first what is queued."""
        return self.options.drain and self.child.definition.style != "service"

    @property
    def cut_short(self) -> bool:
        """Whether blocking calls of the runtime end now: a stop is wanted, and no queue is to be worked off."""
        if self.leaving and self.child.definition.style != "receive":
            return True
        at_once = self.killed is not None or not self.drains or self.state in (STARTING, STOPPING)
        return self.stop_wanted and at_once

    def __repr__(self) -> str:
        return f"<{self.path} generation {self.generation}, {self.state}>"

    # -- from the boss, in the boss's thread -------------------------------------------------------------------------
    def begin(self, generation: int) -> None:
        """Start a life. The cell is down, so nobody else touches it."""
        if self.generation:
            for name in self.OF_ONE_GENERATION:
                self.__dict__.pop(name, None)
        self.generation = generation
        if self.threaded:
            thread = self.ref.lane = ThreadLane(self.path)
            thread.on_broken = self.lane_broke
            self.prepare()
            thread.ready.append(self.ref)
            try:
                thread.launch()
            except RuntimeError as exc:  # the system has no thread for it
                self.fail_start(exc)
        else:
            lane = self.ref.lane = self.world.lane(self.child.definition.flavour)
            lane.do(self.prepare_and_queue)

    def prepare_and_queue(self) -> None:
        self.prepare()
        self.ref.lane.enqueue(self.ref)

    def prepare(self) -> None:
        ref = self.ref
        self.state = STARTING
        if self.refuses:
            self.refuses = False
            ref.open()
        variables: Variables = self.world.context.copy()
        variables.run(handling.set, self)
        ref.run = variables.run
        ref.queued = True
        ref.step = step_start

    def lane_broke(self, lane: object, error: BaseException) -> None:
        self.world.fatal(self.path, error)

    def ask_halt(self) -> None:
        """Ask for a graceful stop. Who sees that it is wanted finds the order already there."""
        self.ref.lane.post(self.halt, self.generation, SHUTDOWN)
        self.stop_wanted = True
        self.send_interrupt()

    def ask_kill(self, reason: Reason = KILLED) -> None:
        """Ask for the end at once, with this reason."""
        self.ref.lane.post(self.kill, self.generation, reason)
        self.stop_wanted = True
        self.send_interrupt()

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody plans to start it again: dead letters from now on. The cell is down."""
        if self.threaded or self.generation == 0 or self.abandoned:
            self.shut(cause)
        else:
            self.ref.lane.do(self.shut, cause)

    def shut(self, cause: BaseException | None) -> None:
        if (self.state != DOWN and not self.abandoned) or self.ref.cell is not self:
            return
        if self.generation == 0:  # no lane knows it yet, and somebody may be about to send
            self.ref.lane, self.ref.run = self.world.control, self.world.context.copy().run
        self.state = CLOSED
        self.refuses = True
        self.ref.accepts = NOTHING
        self.ref.step = step_closed
        self.bury(cause)
        self.ref.queued = False
        self.bury(cause)

    def let_go(self) -> None:
        """It got no place in the tree after all."""
        if self.generation == 0:
            self.ref.cell = None  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]

    def send_interrupt(self) -> None:
        """Once for each generation, and not where a blocking call of the runtime sees the stop by itself."""
        if not self.threaded or not self.child.definition.has_interrupt or self.interrupted:
            return
        if not self.ref.lane.waits_in_runtime:
            self.interrupted = True
            Thread(target=self.interrupt, name=f"{self.path} interrupt", daemon=True).start()

    def interrupt(self) -> None:
        """In a thread of its own: ask the user's code to let go of what blocks it."""
        instance = self.instance
        if instance is not None and self.busy:
            try:
                instance.interrupt()
            except Exception:
                log.exception("%s: interrupt failed", self.path)

    # -- the start ---------------------------------------------------------------------------------------------------
    def construct(self) -> Activity | Held | None:
        """Make the instance, in its own context, and begin what comes first."""
        child = self.child
        definition = child.definition
        if self.state != STARTING or self.stop_wanted:
            self.finish(self.reason or SHUTDOWN)
            return HELD
        try:
            instance = self.instance = definition.cls.__new__(definition.cls)
            object.__setattr__(instance, "__trouper_cell__", self)  # its `__dict__` would cost 60 bytes more
            instance.__init__(*child.args, **child.kwargs)
        except BaseException as exc:  # noqa: BLE001 - judged below
            self.fail_start(exc)
            return HELD
        if not definition.has_on_start:
            self.come_up(None, None)
            return HELD
        self.hook = (instance.on_start, self.come_up)
        return self.begin_hook()

    def come_up(self, _: object, error: BaseException | None) -> None:
        """`on_start` is over."""
        if error is not None:
            self.fail_start(error)
            return
        definition, ref = self.child.definition, self.ref
        self.state = RUNNING
        if definition.has_on_stop:
            self.stop_due = True
        if self.reason is not None:  # told to stop meanwhile, and `on_start` came to its end all the same
            self.wind_down(self.reason)
            return
        self.boss.hear_of_start(self, self.generation)
        if self.offers:
            self.serve_offers()  # the orders to do so may have gone to an earlier life
        if definition.style == "receive":
            ref.receive = self.instance.receive
            self.handler_step = step_coroutines if definition.is_async else step_thread if self.threaded else step_plain
            self.ready_again()
        else:
            self.handler_step = step_inbox
            if definition.style == "run":
                self.inbox = SyncInbox(self) if self.threaded else Inbox(self)
                self.perform(partial(self.instance.run, self.inbox), self.run_ended)
            else:
                self.perform(self.instance.run, self.run_ended)

    def fail_start(self, error: BaseException) -> None:
        """Nothing runs, once what `on_start` spawned and started is stopped."""
        boss, why = self.boss, self.judge(error)
        if isinstance(error, Declined):
            self.report = boss.on_declined, error.why
        elif self.reason is None:  # not halted, killed or timed out meanwhile
            reason = start_failed(why.cause) if why.kind == "crashed" and why.cause is not None else why
            self.report = boss.on_start_failed, reason
        self.state, self.reason = STOPPING, self.reason or why
        self.ref.step = step_held
        self.ref.queued = True
        self.advance()

    # -- handlers ----------------------------------------------------------------------------------------------------
    def captured(self, coro: Coroutine[Any, Any, Any], trap: Any, message: object) -> Activity:
        """A handler suspended over this message."""
        self.message = message
        self.ref.step = step_held
        return self.suspend(coro, trap, self.handled)

    def suspend(
        self, coro: Coroutine[Any, Any, Any], trap: Any, then: Callable[[Any, BaseException | None], None]
    ) -> Activity:
        activity = self.activity = Activity(self.ref, coro, then)
        activity.trap = trap
        if self.killed:
            activity.cancel()
        return activity

    def step_odd(self, item: object) -> Activity | Held | None:
        """A step of the lane met what is no message of a known type."""
        return step_odd_coroutine(self.ref, item)

    def handled(self, value: Any, error: BaseException | None) -> None:
        """The suspended handler is over."""
        self.activity, message, self.message = None, self.message, None
        if error is not None:
            self.failed(error, message)
        elif isinstance(message, Ask):
            self.answered(message, value)
        self.ready_again() if self.state in (RUNNING, DRAINING) else self.advance()

    def ready_again(self) -> None:
        """Let the lane step it: there may be messages."""
        ref = self.ref
        if self.state == DRAINING:
            ref.step = step_draining
            ref.lane.enqueue(ref)
            return
        if ref.receive is None and self.inbox is None:
            return  # it stopped itself: the order is on its way
        ref.step = step_offered if self.offers else self.handler_step
        ref.lane.release(ref)

    def answered(self, ask: Ask, value: object) -> Held | None:
        """The handler of a request returned."""
        self.asked = None
        if ask.claimed:
            if value is None:
                return None
            misfit: ReplyTypeError | None = ReplyTypeError(
                ask.request, f"given the reply {show(value)} by return, and `reply_to` was called; allowed: one of them"
            )
        else:
            misfit = ask.misfit(value)
            if misfit is None:
                if not ask.put(value):
                    self.late(ask, value)
                return None
        assert misfit is not None
        ask.fail(misfit)
        return self.failed(misfit, ask)

    def claim(self, ask: Ask) -> None:
        """This generation is to answer it, later."""
        if self.claims is None:
            self.claims = WeakSet()
        self.claims.add(ask)

    def fail_claims(self) -> None:
        """Who still waits for an answer of this generation is told at once, as by OTP's monitor of a `call`."""
        claims, self.claims = self.claims, None
        for ask in list(claims or ()):
            if not ask.done:
                self.tell_gone(ask, self.reason or SHUTDOWN)

    def tell_gone(self, ask: Ask, reason: Reason) -> None:
        """Its generation ended over it, or before it had answered."""
        stopped = self.child.choice.restart == "temporary" or (self.stop_wanted and reason.cause is None)
        refusal = (ActorStopped if stopped else ActorRestarted)(ask.request)
        refusal.__cause__ = reason.cause
        ask.fail(refusal)

    def late(self, ask: Ask, value: object) -> None:
        """Any thread: an answer that nobody waits for any more."""
        self.world.dead(self.ref, value, f"a late reply to {show(ask.request)}, whose asker gave up")

    def failed(self, error: BaseException, message: object) -> Held:
        """The handler of this message raised (or was cancelled): the message is dead, the actor crashes."""
        self.asked = None
        reason = self.judge(error)
        self.lose(message, error, reason)
        self.wind_down(reason)
        return HELD

    def lose(self, message: object, error: BaseException, reason: Reason) -> None:
        """The handling of this message failed: it is a dead letter, and its asker is told at once.

        That holds for a claimed request, too: its `ReplyTo` may live on in the traceback for as long as that is kept.
        """
        if not isinstance(error, Shutdown):
            self.world.dead(self.ref, message, f"its handler failed ({reason})")
        if isinstance(message, Ask) and not message.done:
            self.tell_gone(message, reason)

    def leaked(self, error: LeakedScope) -> None:
        """A step left its task unclean."""
        if self.state in (RUNNING, DRAINING):
            self.wind_down(crashed(error))
        elif self.state == STARTING:
            self.fail_start(error)
        else:
            log.error("%s: %s", self.path, error)

    def judge(self, error: BaseException) -> Reason:
        """What an exception that ended the user's code means; those that no supervisor may heal go to the root."""
        if isinstance(error, Shutdown):
            return Reason("shutdown", None, error.why)
        if isinstance(error, Stopping):
            return SHUTDOWN
        if isinstance(error, Cancelled):
            return self.killed or SHUTDOWN
        if isinstance(error, BaseExceptionGroup) and error.subgroup(Stopping) and not error.split(ORDERLY)[1]:
            return SHUTDOWN  # raised in a nursery
        if isinstance(error, trio.Cancelled | asyncio.CancelledError):
            stray = StrayCancellation(self.path)
            stray.__cause__ = error
            return crashed(stray)
        if beyond_healing(error):
            self.world.fatal(self.path, error)
        return crashed(error)

    # -- hooks and run -----------------------------------------------------------------------------------------------
    def perform(self, hook: Callable[..., Any], then: Callable[[Any, BaseException | None], object]) -> None:
        """Have this hook run as the actor's next step."""
        self.hook = (hook, then)
        self.ref.step = step_hook
        self.ref.lane.enqueue(self.ref)

    def begin_hook(self) -> Activity | Held | None:
        due, self.hook = self.hook, None
        self.ref.step = step_held
        if due is None:
            return HELD
        hook, then = due
        if self.threaded:
            self.call_hook(hook, then)
            return HELD
        self.busy = True
        try:
            result = hook()
            trap = result.send(None)
        except StopIteration as done:
            self.busy = False
            then(done.value, None)
        except BaseException as exc:  # noqa: BLE001 - judged by who comes then
            self.busy = False
            then(None, exc)
        else:
            self.busy = False
            return self.suspend(result, trap, partial(self.hook_ended, then))
        return HELD

    def call_hook(self, hook: Callable[..., Any], then: Callable[[Any, BaseException | None], object]) -> None:
        """In the actor's own thread."""
        result, error = None, None
        self.busy = True
        try:
            result = hook()
        except BaseException as exc:  # noqa: BLE001 - judged by who comes then
            error = exc
        self.busy = False
        then(result, error)

    def hook_ended(
        self, then: Callable[[Any, BaseException | None], object], value: Any, error: BaseException | None
    ) -> None:
        self.activity = None
        then(value, error)

    def run_ended(self, value: object, error: BaseException | None) -> None:
        """`run` returned or raised."""
        reason = None if error is None else self.judge(error)
        if error is not None and reason is not None and self.message is not None:
            self.lose(self.asked or self.message, error, reason)
        self.drop_asked()
        if self.state == STOPPING:
            if error is not None and reason is not None and reason.abnormal and not isinstance(error, Cancelled):
                self.fail_at_the_end(error)
            self.advance()
        else:
            self.wind_down(reason or self.reason or (SHUTDOWN if self.stop_wanted else NORMAL))

    def drop_asked(self) -> None:
        """A `run` is through with the message that it took; if that is a request, it must have claimed it."""
        self.message = None
        ask, self.asked = self.asked, None
        if ask is not None and not ask.claimed:
            ask.fail(ReplyDropped(ask.request, "its actor took it and went on without `reply_to`"))

    def wake_inbox(self) -> None:
        if self.inbox is not None:
            self.inbox.wake()

    def task_ended(self, task: object, error: BaseException | None) -> None:
        """A background task is over."""
        if self.tasks is not None:
            self.tasks.discard(task)
        if self.state == STOPPING:
            if error is not None and not isinstance(error, asyncio.CancelledError):
                self.fail_at_the_end(error)
            self.advance()
        elif error is not None and self.state == STARTING:
            self.reason = self.judge(error)
            if self.activity is not None:
                self.activity.cancel()
        elif error is not None:
            self.wind_down(self.judge(error))

    # -- the end -----------------------------------------------------------------------------------------------------
    def halt(self, generation: int, reason: Reason) -> None:
        """An order: end in good order. It may come late, when another generation lives."""
        if generation != self.generation:
            return
        self.stop_wanted = True
        if self.state == STARTING:
            self.reason = self.reason or reason
            if self.activity is not None:
                self.activity.cancel()
        elif self.state == RUNNING:
            if self.drains:
                self.drain(reason)
            else:
                self.wind_down(reason)

    def drain(self, reason: Reason) -> None:
        """Refuse new messages and handle what is queued."""
        if self.leaving:
            self.wind_down(reason)
            return
        self.state, self.reason, self.refuses = DRAINING, reason, True
        self.ref.accepts = NOTHING
        if self.child.definition.style == "run":
            self.wake_inbox()
        elif self.activity is None:
            self.ref.step = step_draining
            if not self.ref.queued:
                self.ref.queued = True
                self.ref.lane.enqueue(self.ref)

    def drained(self) -> None:
        self.wind_down(self.reason or SHUTDOWN)

    def quit(self, generation: int) -> None:
        """It stopped itself."""
        if self.state in (RUNNING, DRAINING) and generation == self.generation:
            self.wind_down(self.reason or NORMAL)

    def kill(self, generation: int, reason: Reason) -> None:
        """An order: end now."""
        if generation != self.generation:
            return
        self.killed = reason
        if self.state == STARTING:
            self.halt(generation, reason)
        elif self.state in (RUNNING, DRAINING):
            self.wind_down(reason)
        elif self.state == STOPPING:
            if self.reason is not None and not self.reason.abnormal:
                self.reason = reason
            self.advance()

    def crash(self, error: BaseException) -> None:
        """An order: it failed by what somebody else did, such as a child of it."""
        if self.state in (RUNNING, DRAINING):
            self.wind_down(self.judge(error))
        elif self.state == STARTING:
            self.halt(self.generation, self.judge(error))

    def wind_down(self, reason: Reason) -> None:
        """The generation ends, for this reason; the first that is abnormal stands.

        In a lane of its loop it is never called with the user's code on the stack; a thread may be in a blocking call.
        """
        if self.state != STOPPING or self.reason is None or not self.reason.abnormal:
            self.reason = reason
        self.state = STOPPING
        if not self.in_on_stop:
            self.hook = None  # a `run` that was not begun is not begun any more
        self.ref.step = step_held
        self.ref.queued = True
        self.advance()
        if self.state == STOPPING and not self.stop_wanted:
            self.boss.lane.post(self.boss.on_ending, self, self.generation)

    def advance(self) -> None:
        """Go on with the end of the generation, in its order; called again when what it waits for is over."""
        if self.state != STOPPING:
            return
        if self.spawner is not None:
            self.spawner.kill() if self.killed else self.spawner.halt()
        elif self.activity is not None or self.busy:
            self.end_activity()
        elif self.tasks:
            self.end_tasks()
        elif self.stop_due:
            self.stop_due, self.in_on_stop = False, True
            self.perform(partial(self.instance.on_stop, self.reason), self.on_stop_ended)
        elif self.hook is None:
            self.finish(self.reason or SHUTDOWN)

    def end_activity(self) -> None:
        """What the actor does comes to its end by itself if it handles a message; else it is told, once."""
        if self.killed:
            if self.activity is not None:
                self.activity.cancel()
        elif not self.told and not self.in_on_stop and self.child.definition.style != "receive":
            self.told = True
            seen = self.inbox is not None and self.inbox.end()
            if not seen and self.activity is not None:
                self.activity.cancel()

    def end_tasks(self) -> None:
        """Background tasks are cancelled, once, and again when killed."""
        if self.told is not None or self.killed:
            self.told = None
            for task in list(self.tasks or ()):
                task.cancel()

    def spawner_ended(self, spawner: Spawner) -> None:
        """All its children are stopped."""
        if self.spawner is spawner:
            self.spawner = None
        self.advance()

    def on_stop_ended(self, _: object, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Cancelled):
            self.fail_at_the_end(error)
        self.advance()

    def fail_at_the_end(self, error: BaseException) -> None:
        """It failed while it ended: that is the reason now, and what it ended for is told with it."""
        before = None if self.reason is None else self.reason.cause
        if before is not error and error.__context__ is None:
            error.__context__ = before
        self.reason = self.judge(error)

    def finish(self, reason: Reason) -> None:
        report, what = self.report or (self.boss.on_ended, reason)
        self.down()
        self.boss.lane.post(report, self, self.generation, what)

    def down(self) -> None:
        """The generation is over: let go of all that belonged to it."""
        self.state = DOWN
        self.fail_claims()
        ref = self.ref
        ref.step = step_held
        ref.queued = True
        ref.receive = None
        self.instance = None
        for name in ("me", "inbox", "hook", "tasks"):
            self.__dict__.pop(name, None)
        if self.threaded:
            ref.lane.close()

    # -- the mailbox -------------------------------------------------------------------------------------------------
    def bury(self, cause: BaseException | None = None) -> None:
        """Turn what waits into dead letters, if nobody will handle it; in any thread."""
        if self.state != CLOSED:
            return
        self.let_in_all()
        box = self.ref.box
        while box:
            try:
                item = box.popleft()
            except IndexError:
                return
            self.refuse(item, cause)

    def refuse(self, item: object, cause: BaseException | None = None) -> None:
        """The actor is stopped (or drains): this message is dead, and whoever asked is told at once."""
        self.world.dead(self.ref, item, "the actor is stopped")
        if isinstance(item, Ask):
            stopped = ActorStopped(item.request)
            stopped.__cause__ = cause
            item.fail(stopped)

    def line_up(self, item: object, slot: Slot[None]) -> None:
        """Any thread: this message waits for room."""
        with boxes:
            if self.offers is None:
                self.offers = deque()
        self.offers.append((item, slot))
        ref = self.ref
        if ref.queued and self.state in (DOWN, STARTING):
            return  # served when it comes up
        if self.state == CLOSED:
            self.bury()
        else:
            ref.lane.post(self.expect_offers)

    def expect_offers(self) -> None:
        self.serve_offers()
        if self.offers and self.ref.step is self.handler_step and self.ref.step is not step_inbox:
            self.ref.step = step_offered

    def serve_offers(self) -> None:
        """Let waiting senders in while there is room."""
        ref, offers = self.ref, self.offers
        if offers is None:
            return
        box = ref.box
        while offers and len(box) < ref.capacity:
            item, slot = offers.popleft()
            if slot.claim():
                box.append(item)
                slot.settle(None, None)
        if not offers and ref.step is step_offered:
            ref.step = self.handler_step
        if box and not ref.queued:
            ref.queued = True
            ref.lane.enqueue(ref)

    def let_in_all(self) -> None:
        offers = self.offers
        while offers:
            item, slot = offers.popleft()
            if slot.claim():
                self.ref.make_box().append(item)
                slot.settle(None, None)

    def answer_in_place(self, ask: Ask) -> None:
        """Step an idle plain-function handler here and now, for an asker in the same lane."""
        ref = self.ref
        ref.queued = True
        ref.run(self.answer_one, ask)
        if self.state == RUNNING and ref.receive is not None:
            ref.lane.release(ref)

    def answer_one(self, ask: Ask) -> None:
        self.asked = ask
        try:
            value = self.ref.receive(ask.request)
        except BaseException as exc:  # noqa: BLE001 - judged here
            self.failed(exc, ask)
        else:
            self.answered(ask, value)

    # -- threads -----------------------------------------------------------------------------------------------------
    def stack(self) -> str:
        """Where its code is: the suspended coroutine, or else the thread it runs in."""
        activity = self.activity
        return coroutine_stack(activity.coro) if activity is not None else thread_stack(self.ref.lane.ident)

    def owns_this_thread(self) -> bool:
        return self.threaded and get_ident() == self.ref.lane.ident

    def wait_for(self, slot: Slot[Any], timeout: float | None) -> bool:
        """Block the actor's own thread until the slot is settled; a stop ends that."""
        lane = self.ref.lane
        slot.wake_by(partial(lane.bell.put, None))
        if not lane.wait(lambda: slot.done or self.cut_short, timeout):
            return False
        if not slot.done:
            slot.claim()
            raise Stopping
        return True


def beyond_healing(error: BaseException) -> bool:
    """Whether it is, or has inside, what goes to the root: KeyboardInterrupt, SystemExit, MemoryError and so on."""
    if isinstance(error, BaseExceptionGroup):
        return any(beyond_healing(inner) for inner in error.exceptions)
    if isinstance(error, ORDERLY):
        return False
    return isinstance(error, MemoryError) or not isinstance(error, Exception)
