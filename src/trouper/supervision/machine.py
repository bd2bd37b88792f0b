"""The supervision machine: what a supervisor decides, and nothing else.

It has no clock, no loop and no thread. Events go in as calls, in the order in which they happened, with the time;
actions come out in `Machine.actions`, which whoever drives the machine drains and carries out. Inside, every event is a
*job*: a generator that reads like OTP's own clauses and waits, by a bare `yield`, for the answer to the one `Start` or
`Stop` that is outstanding. One job runs at a time, and what happens meanwhile waits its turn: the machine is a
`gen_server` without the process.

What it decides is what the `supervisor` of Erlang/OTP decides
---------------------------------------------------------------
- **Boot** starts the members in order. The first that fails stops what runs, in reverse, and fails the boot.
- **An exit** is judged by the child's `restart` and the reason: a `permanent` child is always restarted, a `transient`
  one after an abnormal exit only, a `temporary` one never: it is forgotten.
- **A restart** takes a group down, in reverse start order, and up again, in start order: the child alone
  (`one_for_one`), every member (`one_for_all`), or the child and those after it (`rest_for_one`). Temporary members of
  the group are forgotten; all others are started, also one that was down before.
- **The limit**: every automatic restart counts, a failed one too; boot and requests do not. One more than the limit
  allows, and the supervisor stops everything and ends.
- **A restart that fails** leaves the child `restarting`. It is tried again through the driver's queue, so that requests
  get a turn (to terminate it, for instance, which ends the trying), as a new counted restart of the child that failed.
- **An exit while others are being stopped and started** waits. If its child was stopped meanwhile, it is absorbed;
  else it is judged, as a new failure. A report about an older generation is ignored.
- **A child may decline** to run: its spec stays (a temporary one's does not) and nothing runs.
- **Auto-shutdown**: a significant child that ends by itself, and is not restarted, takes the supervisor with it, at
  once (`any_significant`) or as the last one (`all_significant`). One that a request stopped does not.
- **Requests** (`add`, `terminate`, `restart`, `delete`) are answered in order, in OTP's words.

What it does better
-------------------
- The window is measured in float seconds, of the uptime of what was restarted: the child alone, or, where the strategy
  restarts more, all members together but for the optional ones (`budget`). So a cycle of failures that is slower than
  the window escalates, too.
- A child with a `Backoff` waits before it is restarted, longer each time; its group is down meanwhile. Under `Persist`
  its restarts do not count. Without one it is OTP's child.
- Where children are independent (`one_for_one`) and have a backoff, a restart holds up nobody: they start side by side,
  and other exits and requests are not kept waiting by one that takes long to come up.
- Nobody waits for the start of an `optional` child, either. Until it has come up once, its start is tried for ever.
- A child that is *held* stays down, through restarts of its group, until it is released. Those of its group that were
  down for its restart come up without it.
- `stop` pre-empts everything: a start that hangs is stopped, a restart that keeps failing is not waited for, requests
  under way are answered `shutting_down`.
- `view` answers at any time, also in the middle of a start.
- A supervisor over its limit ends with the abnormal reason `restart_limit`, its history and the last exception; OTP's
  ends with `shutdown`, which a transient parent ignores.
- `Close` says when a child's mailbox has no future, once per time that this becomes true. At the end of the machine it
  says nothing: whether the members come back is up to the parent, which may start the supervisor anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, final

from trouper.patience import DEFAULT_BACKOFF
from trouper.reasons import SHUTDOWN, Reason, restart_limit
from trouper.supervision.actions import (
    Answer,
    Attempt,
    BootFailed,
    Close,
    Down,
    Forget,
    Held,
    Restarting,
    Retry,
    Start,
    Stop,
    Stopped,
    Up,
    Wait,
    fails,
)
from trouper.supervision.budget import Budget
from trouper.supervision.jobs import Jobs
from trouper.supervision.members import Members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trouper.supervision.actions import Action, Last
    from trouper.supervision.members import Child, Member, State, Strategy

AutoShutdown = Literal["never", "any_significant", "all_significant"]

_Told: TypeAlias = Literal["started", "declined", "stopped"] | Reason
_Job: TypeAlias = Generator[None, _Told | None, None]


class Limited(Protocol):
    """How many restarts within how many seconds."""

    @property
    def n(self) -> int: ...
    @property
    def within(self) -> float: ...


@final
class Machine:
    """One supervisor's decisions.

    Args:
        strategy: `one_for_one`, `one_for_all` or `rest_for_one`.
        limit: how many restarts (`n`) are allowed within how many seconds (`within`).
        auto_shutdown: `never`, `any_significant` or `all_significant`.
        members: the children in start order; no two with one id.
        chance: gives random numbers from 0 to less than 1, for the jitter of delays.

    Call `boot` once, and first. Times are seconds of one clock that does not go backwards. Example::

        machine = Machine("one_for_one", Limit(3, within=30.0), "never", [Member("web")])
        machine.boot(0.0)  # actions: Start("web", 1)
        machine.started("web", 1, 0.1)  # actions: Up()
    """

    def __init__(
        self,
        strategy: Strategy,
        limit: Limited,
        auto_shutdown: AutoShutdown,
        members: Iterable[Member],
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.actions: deque[Action] = deque()
        self._strategy: Strategy = strategy
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._budget = Budget(limit.n, limit.within)
        self._chance = chance
        self._members = Members()
        self._retries: deque[Child] = deque()  # one for each Retry
        self._tickets: deque[object] = deque()  # of the requests that have no answer yet
        self._jobs: Jobs[_Told] = Jobs(first=self._boot())
        self._busy: Child | None = None  # whose start or stop is outstanding
        self._last: Last | None = None  # what to say when all is stopped
        self._now = 0.0
        for member in members:
            self._members.enter(member)

    # -- what happened -------------------------------------------------------------------------------------------------
    def boot(self, now: float) -> None:
        """Start the members in order; this ends in `Up` or `BootFailed`."""
        self._now = now
        if self._busy is None:
            self._jobs.go_on()

    def started(self, child_id: str, generation: int, now: float) -> None:
        """Answer to `Start`: it runs."""
        self._start_ended(child_id, generation, "started", now)

    def declined(self, child_id: str, generation: int, now: float) -> None:
        """Answer to `Start`: it does not want to run (OTP's `ignore`)."""
        self._start_ended(child_id, generation, "declined", now)

    def start_failed(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """Answer to `Start`: it failed, and nothing runs."""
        self._start_ended(child_id, generation, reason, now)

    def stopped(self, child_id: str, generation: int, now: float) -> None:
        """Answer to `Stop`: nothing runs, whether it was stopped or had ended by itself."""
        self._heard(child_id, generation, "stopping", "stopped", now)

    def exited(self, child_id: str, generation: int, reason: Reason, now: float) -> None:
        """It ended by itself. Ignored for an older generation, absorbed for a child that is being stopped."""
        self._now = now
        child = self._members.get(child_id)
        if child is None or child.generation != generation:
            return
        self._members.fell(child, now)
        self._start_ended(child_id, generation, reason, now)
        self._jobs.submit(self._judge(child, generation, reason))

    def stop(self, now: float) -> None:
        """Stop everything, whatever is under way; this ends in `Stopped`. Once is enough, twice does no harm."""
        self._now = now
        if self._last is None:
            self._jobs.preempt(self._end(Stopped()))
        else:
            self._last = Stopped()

    @property
    def failing(self) -> bool:
        """Whether it stops everything because it failed."""
        return fails(self._last)

    def resume(self, now: float) -> None:
        """Try to restart again: once for each `Retry`."""
        self._now = now
        if self._retries:
            self._jobs.submit(self._retry(self._retries.popleft()))

    def due(self, child_id: str, generation: int, now: float) -> None:
        """The delay of a `Wait` is over; ignored if something else became of that child meanwhile."""
        self._now = now
        child = self._members.get(child_id)
        if child is not None:
            self._jobs.submit(self._end_backoff(child, generation))

    # -- what is asked -------------------------------------------------------------------------------------------------
    def add(self, ticket: object, member: Member, now: float) -> None:
        """Start a new child, the last in the order, as OTP's `start_child`."""
        self._ask(ticket, self._add(member), now)

    def terminate(self, ticket: object, child_id: str, now: float) -> None:
        """Stop a child or give up its restart, as OTP's `terminate_child`; a temporary one is forgotten."""
        self._ask(ticket, self._terminate(child_id), now)

    def restart(self, ticket: object, child_id: str, now: float) -> None:
        """Start a child that is down, as OTP's `restart_child`."""
        self._ask(ticket, self._start_again(child_id), now)

    def delete(self, ticket: object, child_id: str, now: float) -> None:
        """Forget a child that is down, as OTP's `delete_child`."""
        self._ask(ticket, self._delete(child_id), now)

    def hold(self, ticket: object, child_id: str, now: float) -> None:
        """Stop a child and keep it down, also when its group is restarted, until `release`."""
        self._ask(ticket, self._hold(child_id), now)

    def release(self, ticket: object, child_id: str, now: float) -> None:
        """Start a child that is held."""
        self._ask(ticket, self._release(child_id), now)

    def view(self) -> list[tuple[str, State]]:
        """Id and state of every member in start order, at any time; `undefined` means that only its spec is there."""
        return self._members.view()

    # -- one job for each kind of event --------------------------------------------------------------------------------
    def _boot(self) -> _Job:
        for child in list(self._members):
            if child.state == "held":
                continue
            if child.optional:
                self._launch(child)
            elif failure := (yield from self._start(child)):
                yield from self._end(BootFailed(child.id, failure))
                return
        self.actions.append(Up())

    def _judge(self, child: Child, generation: int, reason: Reason) -> _Job:
        if child.generation != generation or child.state != "running":
            return  # stopped in the meantime: absorbed
        match child.restart, reason.abnormal:
            case ("permanent", _) | ("transient", True):
                yield from self._restart(child, reason)
            case _:
                self._retire(child)
                if self._takes_all_along(child):
                    yield from self._end(Down(SHUTDOWN))

    def _takes_all_along(self, child: Child) -> bool:
        match child.significant, self._auto_shutdown:
            case (False, _) | (_, "never"):
                return False
            case _, "any_significant":
                return True
            case _:
                return not self._members.vital

    def _give_up_start(self, child: Child, generation: int, told: _Told) -> _Job:
        yield from ()  # a job like the others, though it never waits
        if (child.state, child.generation) != ("starting", generation):
            return  # stopped in the meantime
        if isinstance(told, Reason) and child.restart != "temporary":
            self._try_again(child, told)
        else:
            self._retire(child)

    def _retry(self, child: Child) -> _Job:
        if child.state == "restarting":
            yield from self._restart(child, child.failure)

    def _end_backoff(self, child: Child, generation: int) -> _Job:
        if (child.state, child.generation) == ("backoff", generation):
            yield from self._bring_up(child)

    def _add(self, member: Member) -> _Job:
        if member.significant and (member.restart == "permanent" or self._auto_shutdown == "never"):
            return self._answer("bad_combination")
        if known := self._members.get(member.id):
            return self._answer("already_started" if known.state == "running" else "already_present")
        child = self._members.enter(member)
        failure = yield from self._start(child)
        if failure:
            self._forget(child)
        return self._answer_start(child, failure)

    def _start_again(self, child_id: str) -> _Job:
        child = self._members.get(child_id)
        if child is None or child.state != "undefined":
            return self._refuse(child)
        failure = yield from self._start(child)
        if failure:
            self._retire(child)
        return self._answer_start(child, failure)

    def _delete(self, child_id: str) -> _Job:
        yield from ()  # a job like the others, though it never waits
        child = self._members.get(child_id)
        if child is None or child.state not in {"undefined", "held"}:
            return self._refuse(child)
        self._forget(child)
        return self._answer("ok")

    def _hold(self, child_id: str) -> _Job:
        child = self._members.get(child_id)
        if child is None:
            return self._refuse(child)
        if child.state == "held":
            return self._answer("ok")
        yield from self._stop(child)
        self._become(child, "held")
        self.actions.append(Held(child.id, held=True))
        self._close(child)
        self._answer("ok")
        yield from self._start_group(self._members.stranded(self._strategy))

    def _release(self, child_id: str) -> _Job:
        child = self._members.get(child_id)
        if child is None or child.state != "held":
            return self._answer("not_found" if child is None else "not_held")
        self.actions.append(Held(child.id, held=False))
        self._become(child, "undefined")
        return (yield from self._start_again(child_id))

    def _terminate(self, child_id: str) -> _Job:
        child = self._members.get(child_id)
        if child is None:
            return self._refuse(child)
        if child.state != "held":
            yield from self._stop(child)
            self._retire(child)
            for waiting in self._members.stranded(self._strategy):
                self._close(waiting)
        return self._answer("ok")

    # -- what the jobs are made of -------------------------------------------------------------------------------------
    def _restart(self, child: Child, reason: Reason) -> _Job:
        counted, backoff = not child.patient, child.backoff
        if counted and self._over_limit(child, reason):
            yield from self._end(Down(restart_limit(reason.cause, self._budget.history)))
            return
        if backoff is None and not counted:
            backoff = DEFAULT_BACKOFF  # optional, and never seen: tried for ever, and not in a hurry
        child.failures += 1
        delay = 0.0 if backoff is None else backoff.delay(child.failures, self._chance())
        budget = self._budget
        self.actions.append(Restarting(child.id, reason, budget.used(self._now), budget.n, delay, counted))
        if delay > 0:
            yield from self._stop_group(child)
            self._become(child, "backoff")
            self.actions.append(Wait(child.id, child.generation, delay))
        else:
            yield from self._bring_up(child)

    def _over_limit(self, child: Child, reason: Reason) -> bool:
        alone = self._strategy == "one_for_one" or child.optional
        uptime = child.uptime if alone else self._members.uptime
        return self._budget.add(uptime, self._now, Attempt(self._now, child.id, reason))

    def _bring_up(self, child: Child) -> _Job:
        """Restart those that share its fate; where that is itself alone, and it has a backoff, nobody waits for it."""
        group = yield from self._stop_group(child)
        if group == [child] and child.backoff is not None and self._strategy == "one_for_one":
            self._launch(child)
        else:
            yield from self._start_group(group)

    def _stop_group(self, child: Child) -> Generator[None, _Told | None, list[Child]]:
        group = [member for member in self._members.group(child, self._strategy) if member.state != "held"]
        for member in reversed(group):
            yield from self._stop(member)
            if member.restart == "temporary":
                self._forget(member)
        return [member for member in group if member.restart != "temporary"]

    def _start_group(self, group: Iterable[Child]) -> _Job:
        for member in group:
            if member.optional:
                self._launch(member)
            elif failure := (yield from self._start(member)):
                self._try_again(member, failure)
                return

    def _end(self, last: Last) -> _Job:
        self._last = last
        self._jobs.drop_queued()
        while self._tickets:
            self._answer("shutting_down")
        if self._busy is not None:
            yield from self._stop(self._busy)
        for child in reversed(self._members):
            yield from self._stop(child)
        self.actions.append(self._last)

    def _start(self, child: Child) -> Generator[None, _Told | None, Reason | None]:
        """Return why it failed; one that declined has been dealt with."""
        self._launch(child)
        self._busy = child
        told = yield
        if told == "started":
            self._become(child, "running")
            return None
        if isinstance(told, Reason):
            self._become(child, "undefined")
            return told
        self._retire(child)
        return None

    def _launch(self, child: Child) -> None:
        """Begin a start; without a `yield` nobody waits for it (`_start_ended`)."""
        child.generation += 1
        child.over = child.closed = False
        self._become(child, "starting")
        self.actions.append(Start(child.id, child.generation))

    def _try_again(self, child: Child, failure: Reason) -> None:
        """Its restart failed: it comes up again through the driver's queue."""
        child.failure = failure
        self._become(child, "restarting")
        self._retries.append(child)
        self.actions.append(Retry())

    def _stop(self, child: Child) -> _Job:
        if child.state in ("starting", "running") and not child.over:
            self._become(child, "stopping")
            self._busy = child
            self.actions.append(Stop(child.id, child.generation))
        if child.state == "stopping":
            yield
            if not child.over:
                child.late = child.generation
        elif child.state == "backoff":
            child.late = child.generation
        if child.state != "held":
            self._become(child, "undefined")

    def _retire(self, child: Child) -> None:
        """It is down, and nobody plans to start it."""
        self._become(child, "undefined")
        if child.restart == "temporary":
            self._forget(child)
        else:
            self._close(child)

    def _close(self, child: Child) -> None:
        if not child.closed:
            child.closed = True
            self.actions.append(Close(child.id))

    def _forget(self, child: Child) -> None:
        self._members.remove(child)
        self.actions.append(Forget(child.id))

    def _become(self, child: Child, state: State) -> None:
        self._members.become(child, state, self._now)

    # -- answers come in if they are waited for, and go out in order ---------------------------------------------------
    def _start_ended(self, child_id: str, generation: int, told: _Told, now: float) -> None:
        """A start that somebody waits for goes on there; the end of another is a job of its own."""
        child = self._members.get(child_id)
        if child is self._busy or child is None or (child.generation, child.state) != (generation, "starting"):
            self._heard(child_id, generation, "starting", told, now)
            return
        self._now = now
        if told != "started":
            child.over = True
            self._jobs.submit(self._give_up_start(child, generation, told))
        elif not child.over:
            self._become(child, "running")

    def _heard(self, child_id: str, generation: int, state: State, told: _Told, now: float) -> None:
        """Go on if this is what is waited for; else it is too late and changes nothing."""
        child = self._busy
        if child is not None and (child.id, child.generation, child.state) == (child_id, generation, state):
            self._now = now
            self._busy = None
            self._jobs.go_on(told)

    def _ask(self, ticket: object, job: _Job, now: float) -> None:
        self._now = now
        self._tickets.append(ticket)
        if self._last is None:
            self._jobs.submit(job)
        else:
            self._answer("shutting_down")

    def _answer(self, result: str, reason: Reason | None = None) -> None:
        self.actions.append(Answer(self._tickets.popleft(), result, reason))

    def _answer_start(self, child: Child, failure: Reason | None) -> None:
        if failure:
            self._answer("nope", failure)
        else:
            self._answer("ok" if child.state == "running" else "ok_undefined")

    def _refuse(self, child: Child | None) -> None:
        if child is None:
            self._answer("not_found")
        elif child.state in {"starting", "backoff"}:
            self._answer("restarting")
        else:
            self._answer(child.state)
