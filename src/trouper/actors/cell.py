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

import logging
from functools import partial
from typing import TYPE_CHECKING

from trouper.actors.inbox import Inbox, SyncInbox
from trouper.actors.life import DRAINING, RUNNING, STARTING, STOPPING
from trouper.actors.reloading import Reloading
from trouper.actors.speaker import enter_beside
from trouper.actors.steps import (
    step_held,
    step_inbox,
    step_offered,
    step_plain,
    step_start,
    step_thread,
)
from trouper.errors import (
    Declined,
)
from trouper.lanes.lane import HELD, step_coroutines
from trouper.lanes.whose import handling, life
from trouper.reasons import KILLED, SHUTDOWN, Reason, crashed, start_failed

if TYPE_CHECKING:
    from contextvars import Context as Variables

    from trouper.errors import (
        LeakedScope,
    )
    from trouper.lanes.lane import Activity, Held, Lane

log = logging.getLogger("trouper")


class Cell(Reloading):
    """One place of the tree, over all lives of the actor that stands there: what its boss asks of it, and its start."""

    __slots__ = ()

    def begin(self, generation: int) -> None:
        """Start a life. The cell is down, so nobody else touches it."""
        if self.generation:
            for name in self.OF_ONE_GENERATION:
                self.__dict__.pop(name, None)
        self.generation = generation
        flavour = self.child.definition.flavour
        if flavour == "threading":
            thread = self.ref.lane = self.world.thread_lane(self.path)
            thread.on_broken = self.lane_broke
            self.prepare(thread)
            try:
                thread.launch()
            except RuntimeError as exc:  # the system has no thread for it
                self.fail_start(exc)
        else:
            lane = self.ref.lane = self.world.lane(flavour)
            if lane is self.boss.lane:
                self.prepare(lane)
            else:
                lane.post(self.prepare, lane)

    def prepare(self, lane: Lane) -> None:
        """In its lane: all is set for its first step, which constructs it."""
        ref = self.ref
        self.state = STARTING
        if self.generation > 1:
            for name in self.WHY_IT_ENDED:
                self.__dict__.pop(name, None)
        if self.refuses:
            self.refuses = False
            ref.open()
        variables: Variables = self.world.context.copy()
        run = ref.run = variables.run
        run(handling.set, self)
        if self.generation > 1:
            run(life.set, self.generation)
        ref.queued = True
        ref.step = step_start
        lane.enqueue(ref)

    def lane_broke(self, lane: object, error: BaseException) -> None:
        self.world.fatal(self.path, error)

    def ask_halt(self) -> None:
        """Ask for a graceful stop. Who sees that it is wanted finds the order already there."""
        self.turn_away_early()
        self.ref.lane.post(self.halt, self.generation, SHUTDOWN)
        self.stop_wanted = True
        self.send_interrupt()

    def ask_kill(self, reason: Reason = KILLED) -> None:
        """Ask for the end at once, with this reason."""
        self.ref.lane.post(self.kill, self.generation, reason)
        self.stop_wanted = True
        self.send_interrupt()

    def send_interrupt(self) -> None:
        """Once for each generation, and not where a blocking call of the runtime sees the stop by itself."""
        if not self.threaded or not self.child.definition.has_interrupt or self.interrupted:
            return
        if not self.ref.lane.waits_in_runtime:
            self.interrupted = True
            self.ref.lane.aside(self.interrupt, f"{self.path} interrupt")

    def interrupt(self) -> None:
        """In a thread of its own: ask the user's code to let go of what blocks it."""
        instance = self.instance
        if instance is not None and self.busy:
            enter_beside(self)
            try:
                instance.interrupt()
            except Exception:
                log.exception("%s: interrupt failed", self.path)

    def construct(self) -> Activity | Held | None:
        """Make the instance, in its own context, and begin what comes first."""
        if self.state != STARTING or self.stop_wanted:
            self.finish(self.reason or SHUTDOWN)
            return HELD
        try:
            self.make()
        except BaseException as exc:  # noqa: BLE001 - judged below
            self.fail_start(exc)
            return HELD
        if not self.child.definition.has_on_start:
            self.come_up(None, None)
            return HELD
        self.hook = (self.instance.on_start, self.come_up)
        return self.begin_hook()

    def make(self) -> None:
        """Make the instance of this generation, which knows its cell from its constructor on."""
        child = self.child
        cls = child.definition.cls
        instance = self.instance = cls.__new__(cls)
        object.__setattr__(instance, "__trouper_cell__", self)  # its `__dict__` would cost 60 bytes more
        if child.kwargs:
            instance.__init__(*child.args, **child.kwargs)
        else:  # an empty mapping costs a microsecond to unpack
            instance.__init__(*child.args)

    def come_up(self, _: object, error: BaseException | None) -> None:
        """`on_start` is over."""
        if error is not None:
            self.fail_start(error)
            return
        child, ref = self.child, self.ref
        definition = child.definition
        self.state = RUNNING
        if definition.has_on_stop:
            self.stop_due = True
        if self.reason is not None:  # told to stop meanwhile, and `on_start` came to its end all the same
            self.wind_down(self.reason)
            return
        if child.choice.readiness == "on_start" or self.ready_early:
            self.boss.hear_of_start(self, self.generation)
        else:
            self.unready = True
        if self.offers:
            self.serve_offers()  # the orders to do so may have gone to an earlier life
        if definition.style == "receive":
            ref.receive = self.instance.receive
            self.handler_step = step_coroutines if definition.is_async else step_thread if self.threaded else step_plain
            if self.silence is not None:
                self.silence.listen()
            ref.step = step_offered if self.offers else self.handler_step
            ref.lane.release(ref)
        else:
            self.handler_step = step_inbox
            if definition.style == "run":
                self.inbox = SyncInbox(self) if self.threaded else Inbox(self)
                self.perform(partial(self.instance.run, self.inbox), self.run_ended)
            else:
                self.perform(self.instance.run, self.run_ended)
        if self.reload is not None:
            ref.lane.post(self.hear_reload, self.reload)  # outside of this step, whose context it may need

    def tell_ready(self) -> None:
        """In the actor's own thread: it says that it is up. A second time is harmless."""
        if self.state == STARTING:
            self.ready_early = True
        elif self.unready and self.state != STOPPING:
            self.unready = False
            self.boss.hear_of_start(self, self.generation)

    def fail_start(self, error: BaseException) -> None:
        """Nothing runs, once what `on_start` spawned and started is stopped."""
        boss, why = self.boss, self.judge(error)
        if isinstance(error, Declined):
            self.report = boss.on_declined, error.why
            why = Reason("normal", None, error.why)  # no failure, whose traceback would keep the instance
        elif self.reason is None:  # not halted, killed or timed out meanwhile
            reason = start_failed(why.cause) if why.kind == "crashed" and why.cause is not None else why
            self.report = boss.on_start_failed, reason
        self.state, self.reason = STOPPING, self.reason or why
        self.ref.step = step_held
        self.ref.queued = True
        self.advance()

    def left_open(self, error: LeakedScope) -> None:
        """In a context of its handlers: what one of them has left open has come to its end."""
        self.ref.lane.post(self.crash_late, life.get(), error)

    def crash_late(self, generation: int, error: LeakedScope) -> None:
        """An order: it left something open, in a life that may be over."""
        if generation == self.generation and self.state in (STARTING, RUNNING, DRAINING):
            self.crash(error)
        else:
            log.error("generation %d: %s", generation, error)

    def leaked(self, error: LeakedScope) -> None:
        """A step left its task unclean."""
        if self.state in (RUNNING, DRAINING):
            self.wind_down(crashed(error))
        elif self.state == STARTING:
            self.fail_start(error)
        else:
            log.error("%s: %s", self.path, error)
