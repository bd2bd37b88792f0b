"""One operating system process in which a worker lives, from before it is there until it is gone.

```
           asked for                says that it is up               ended: its pidfd says so
  begun ----------> starting -------------------------> up ------------------------------------> gone
    |                   |                                |
    +-- cancelled       +-- halted: SIGTERM -------------+
                            killed: SIGKILL
```

All of this is in the control lane, but for what the threads of the channel hand over.
"""

from __future__ import annotations

import logging
import signal
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trouper.errors import FrameError, WorkerDied
from trouper.lanes.slot import Slot
from trouper.reasons import NORMAL, SHUTDOWN, Reason, crashed, start_failed
from trouper.workers.told import rebuild

if TYPE_CHECKING:
    from trouper.lanes.lane import Timer
    from trouper.lanes.trio_lane import TrioLane
    from trouper.supervision.snapshot import Snapshot
    from trouper.workers.channel import Channel
    from trouper.workers.launcher import Launcher, Started
    from trouper.workers.peer import Peer

log = logging.getLogger("trouper")

KNOCKS = 4  # questions without an answer after which a process counts as hung
LAST_WORDS = 1.0  # seconds to hear what an ended process had said


class Owner(Protocol):
    """Whose process it is, and who hears of it."""

    @property
    def path(self) -> str: ...
    def order_for(self, body: Body) -> dict[str, Any]: ...
    def body_is_up(self, body: Body) -> None: ...
    def body_said(self, body: Body, message: tuple[Any, ...]) -> None: ...
    def body_is_gone(self, body: Body) -> None: ...


class Body:
    """One process.

    Args:
        owner: hears of it.
        lane: the control lane.
        launcher: has it started.
        peer: by which its actors are reached.
        generation: of the worker that lives in it.
        answer_within: seconds without a sign of life after which it is killed.
    """

    knocking: Timer

    def __init__(  # noqa: PLR0917 - one place makes them
        self, owner: Owner, lane: TrioLane, launcher: Launcher, peer: Peer, generation: int, answer_within: float
    ) -> None:
        self.owner, self.lane, self.launcher, self.peer = owner, lane, launcher, peer
        self.generation, self.answer_within = generation, answer_within
        self.started: Started | None = None
        self.channel: Channel | None = None
        self.emptied, self.unlinked = trio.Event(), trio.Event()
        self.up = self.halted = self.dead = False
        self.killed: Reason | None = None
        self.code: int | None = None
        self.failure: BaseException | None = None  # what it said why
        self.unanswered = 0
        self.deadline: Timer | None = None  # of one that takes over from another, or is taken over from
        self.picture: Snapshot | None = None
        self.gone = False
        self.numbers = count(1)
        self.questions: dict[int, Slot[Any]] = {}
        self.early: list[tuple[Any, ...]] = []  # what was asked before it was up
        launcher.users += 1
        self.scope = lane.start_task(self.live, (), self.over)

    @property
    def pid(self) -> int | None:
        return None if self.started is None else self.started.pid

    # -- what is asked of it -----------------------------------------------------------------------------------------
    def halt(self) -> None:
        """End in good order."""
        self.halted = True
        self.end_by(signal.SIGTERM)

    def kill(self, reason: Reason) -> None:
        """End now."""
        self.killed = self.killed or reason
        self.end_by(signal.SIGKILL)

    def end_by(self, number: signal.Signals) -> None:
        if self.started is None:
            self.scope.cancel()
        else:
            self.started.signal(number)

    def tell(self, *message: Any) -> None:
        if self.channel is not None:
            self.channel.send(*message)

    def ask(self, what: str, *args: Any) -> Slot[Any]:
        """Ask its daemon, see `Elsewhere.ask`."""
        slot: Slot[Any] = Slot()
        if self.gone:
            slot.put(None)
            return slot
        number = next(self.numbers)
        self.questions[number] = slot
        if self.up:
            self.tell("ask", number, what, args)
        else:
            self.early.append(("ask", number, what, args))
        return slot

    # -- its life ----------------------------------------------------------------------------------------------------
    async def live(self) -> None:
        """Have it started, and wait for its end."""
        order, peer = self.owner.order_for(self), self.peer
        self.started = started = await self.launcher.start()
        channel = self.channel = started.channel
        channel.name = f"trouper {self.owner.path}"
        self.knock_later()
        try:
            peer.on_lost = self.link_ended
            link = peer.attach(started.data, held=True)
            channel.open(self.hear, self.ended_to_hear)
            channel.send("order", order)
            self.code = await started.ended()
            self.dead = True
            with trio.move_on_after(LAST_WORDS):  # what it has left behind may hold the other ends
                await self.emptied.wait()
                await self.unlinked.wait()
            if not self.unlinked.is_set():
                link.close()
                await self.unlinked.wait()
        finally:
            self.knocking.cancel()
            started.signal(signal.SIGKILL)
            channel.close()
            started.close()

    def knock_later(self) -> None:
        self.knocking = self.lane.call_later(self.answer_within / KNOCKS, self.knock)

    def knock(self) -> None:
        """See to it that it answers; kill it if it does not. Counted in rounds: we may have been stopped ourselves."""
        if self.dead or self.gone:
            return
        if self.up and self.unanswered >= KNOCKS:
            died = WorkerDied(self.owner.path, f"process {self.pid} gave no sign of life for {self.answer_within:g} s")
            log.error("%s, and is killed", died)
            self.kill(Reason("killed", died))
            return
        if self.up:
            self.unanswered += 1
            self.tell("ping")
        self.knock_later()

    def over(self, _: object, error: BaseException | None) -> None:
        """It is gone, or never was."""
        if error is not None and not isinstance(error, trio.Cancelled):
            self.failure = self.failure or error
        self.launcher.users -= 1
        self.fall_silent()
        self.owner.body_is_gone(self)

    def fall_silent(self) -> None:
        """Nothing more is heard of it; who has asked it is told so."""
        self.gone = True
        questions, self.questions = self.questions, {}
        for slot in questions.values():
            slot.put(None)

    # -- what it says, in the thread that reads ----------------------------------------------------------------------
    def hear(self, message: tuple[Any, ...]) -> None:
        self.lane.post(self.heard, message)

    def ended_to_hear(self) -> None:
        self.lane.post(self.emptied.set)

    def link_ended(self, error: BaseException | None) -> None:
        self.lane.post(self.unlink, error)

    def heard(self, message: tuple[Any, ...]) -> None:
        """In the control lane."""
        match message:
            case ("ready", picture):
                self.up, self.picture = True, picture
                early, self.early = self.early, []
                for question in early:
                    self.tell(*question)
                self.owner.body_is_up(self)
            case ("pong", picture):
                self.unanswered, self.picture = 0, picture
            case ("answer", number, value, picture):
                self.picture = picture
                self.answered(number, value, None)
            case ("refused", number, told):
                self.answered(number, None, rebuild(told, f"process {self.pid}"))
            case ("failed", told):
                self.failure = rebuild(told, f"process {self.pid}")
            case _:
                self.owner.body_said(self, message)

    def answered(self, number: int, value: Any, error: BaseException | None) -> None:
        """The first answer counts."""
        slot = self.questions.pop(number, None)
        if slot is not None:
            slot.put(value) if error is None else slot.fail(error)

    def unlink(self, error: BaseException | None) -> None:
        """In the control lane: the way to its actors is closed. If it lives, it is of no use any more."""
        self.unlinked.set()
        if isinstance(error, FrameError):
            self.kill(crashed(error))
        elif error is not None:
            self.failure = self.failure or error
            self.end_by(signal.SIGKILL)

    # -- how it ended ------------------------------------------------------------------------------------------------
    @property
    def reason(self) -> Reason:
        """Why, once it is gone."""
        if self.killed is not None:
            return self.killed
        if self.halted:
            ordinary = self.code in (0, None, -signal.SIGTERM)
            return SHUTDOWN if ordinary else crashed(self.death())
        if not self.up:
            return start_failed(self.death())
        return NORMAL if self.code == 0 else crashed(self.death())

    def death(self) -> WorkerDied:
        """As an error, with what it said as the cause."""
        died = WorkerDied(self.owner.path, self.how(), self.pid, self.code)
        died.__cause__ = self.failure
        return died

    def how(self) -> str:
        if self.pid is None:
            return f"its process could not be started: {self.failure}"
        said = "" if self.failure is None else f": {type(self.failure).__name__}: {self.failure}"
        return f"process {self.pid} ended, {ended_by(self.code)}{said}"


def ended_by(code: int | None) -> str:
    """`exit 3`, `SIGKILL`, or that nobody knows."""
    if code is None:
        return "and how is not known: who started it had died"
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
