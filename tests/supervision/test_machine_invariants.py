"""What holds for every machine, whatever happens to it in whatever order."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.supervision.rig import BOOM, NOPE, Limit, Request
from trouper import Backoff, Persist
from trouper.reasons import NORMAL, SHUTDOWN, Reason
from trouper.supervision.actions import (
    Action,
    Answer,
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
)
from trouper.supervision.machine import AutoShutdown, Machine
from trouper.supervision.members import Member, Strategy

pytestmark = pytest.mark.once

Life = tuple[str, int]

NAMES = "abc"
REASONS = [NORMAL, SHUTDOWN, BOOM]
REQUESTS: list[Request] = ["terminate", "restart", "delete", "hold", "release"]

names = st.sampled_from(NAMES)


def members(*, held: bool) -> st.SearchStrategy[Member]:
    return st.builds(
        Member,
        id=names,
        restart=st.sampled_from(["permanent", "transient", "temporary"]),
        significant=st.booleans(),
        backoff=st.sampled_from([None, None, Backoff(), Backoff(first=5.0, reset_after=3.0), Persist(first=1.0)]),
        optional=st.sampled_from([False, False, True]),
        held=st.booleans() if held else st.just(False),
    )


class World(RuleBasedStateMachine):
    """A driver whose children start, decline, fail and die as it pleases, and whose reports may be late."""

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        auto_shutdown=st.sampled_from(["never", "any_significant", "all_significant"]),
        n=st.integers(0, 9),
        specs=st.lists(members(held=True), max_size=3, unique_by=lambda member: member.id),
    )
    def begin(self, strategy: Strategy, auto_shutdown: AutoShutdown, n: int, specs: list[Member]) -> None:
        self.strategy, self.n = strategy, n
        self.now = 0.0
        self.specs = {spec.id: spec for spec in specs}
        self.coming: dict[str, Member] = {}  # added, and not begun yet
        self.starting: list[Life] = []
        self.stopping: Life | None = None
        self.alive: set[Life] = set()
        self.died: list[tuple[Life, Reason]] = []  # to be reported
        self.unreported: set[Life] = set()  # started, and no report has said that it ended
        self.open: set[Life] = set()  # of those, the ones that were not stopped either
        self.past: list[Life] = []
        self.was_up: set[str] = set()
        self.generations: dict[str, int] = {}
        self.closed: set[str] = set()
        self.held = {spec.id for spec in specs if spec.held}
        self.waits: list[Life] = []
        self.retries = 0
        self.tickets: deque[int] = deque()
        self.asked = 0
        self.up = False
        self.stop_asked = False
        self.last: Action | None = None
        self.machine = Machine(strategy, Limit(n, 10.0), auto_shutdown, specs)
        self.machine.boot(self.now)
        self.look()

    # -- what the machine says is checked as it comes ------------------------------------------------------------------
    def look(self) -> None:
        for action in self.machine.actions:
            assert self.last is None or isinstance(action, Answer), "nothing but answers after the last word"
            self.see(action)
        self.machine.actions.clear()

    def see(self, action: Action) -> None:
        match action:
            case Start(child, generation):
                self.sees_start((child, generation))
            case Stop(child, generation):
                self.sees_stop((child, generation))
            case Close(child) | Forget(child):
                assert not any(life[0] == child for life in [*self.alive, *self.open])
                if isinstance(action, Close):
                    assert child not in self.closed, "closed twice"
                    self.closed.add(child)
                else:
                    self.sees_forget(child)
            case Answer(ticket):
                assert ticket == self.tickets.popleft()
            case Up():
                assert not self.up
                self.up = True
            case BootFailed() | Down() | Stopped():
                self.sees_the_last_word(action)
            case _:
                self.sees_restart(action)

    def sees_restart(self, action: Action) -> None:
        match action:
            case Restarting(child, _, used, n, delay, counted):
                assert counted is not (isinstance(self.specs[child].backoff, Persist) or self.unseen(child))
                assert counted <= used <= n == self.n
                assert 0.0 <= delay <= 30.0
            case Retry():
                self.retries += 1
            case Wait(child, generation, seconds):
                assert (child, generation) not in self.waits
                assert 0.0 < seconds <= 30.0
                self.waits.append((child, generation))
            case Held(child, held):
                assert held is (child not in self.held)
                assert not any(life[0] == child for life in self.alive)
                (self.held.add if held else self.held.remove)(child)
            case unknown:
                raise AssertionError(unknown)

    def sees_the_last_word(self, last: BootFailed | Down | Stopped) -> None:
        assert not self.alive
        assert not self.open, "each life was stopped or reported"
        assert not self.tickets
        assert isinstance(last, Stopped) or not self.stop_asked
        assert isinstance(last, BootFailed) is not self.up or isinstance(last, Stopped)
        self.last = last

    def sees_start(self, life: Life) -> None:
        child, generation = life
        self.specs.setdefault(child, self.coming.get(child, Member(child)))
        assert self.stopping is None
        assert not self.awaits_start(), "somebody waits for another start"
        assert child not in self.held
        assert generation > self.generations.get(child, 0)
        assert life not in self.unreported, "a late report would hit it"
        assert life not in self.waits, "a late delay would hit it"
        assert not any(other[0] == child for other in self.open), "two generations at once"
        self.unreported.add(life)
        self.open.add(life)
        self.past.append(life)
        self.starting.append(life)
        self.generations[child] = generation
        self.closed.discard(child)

    def sees_stop(self, life: Life) -> None:
        assert self.stopping is None
        assert life in self.open, "it was stopped, or known to have ended"
        if self.awaits_start():
            assert self.stop_asked
            assert life in self.starting
            assert not self.detached(life)
        if life in self.starting:
            self.starting.remove(life)
        self.stopping = life

    def sees_forget(self, child: str) -> None:
        self.closed.discard(child)
        self.held.discard(child)
        self.was_up.discard(child)
        self.past = [life for life in self.past if life[0] != child or life in self.unreported]
        self.generations.pop(child, None)
        del self.specs[child]

    # -- who waits for whom --------------------------------------------------------------------------------------------
    def unseen(self, child: str) -> bool:
        return self.specs[child].optional and child not in self.was_up

    def detached(self, life: Life) -> bool:
        """Nobody waits for such a start, at least after a boot, and if no request wants it."""
        spec = self.specs[life[0]]
        return spec.optional or (self.up and self.strategy == "one_for_one" and spec.backoff is not None)

    def awaits_start(self) -> bool:
        return any(not self.detached(life) for life in self.starting)

    def idle(self) -> bool:
        """Whether the machine has nothing left to do before something happens."""
        quiet = self.stopping is None and not self.tickets and not self.awaits_start()
        return quiet and self.up and self.last is None

    def awaited(self) -> set[str]:
        """Whom a pending restart will start."""
        order = list(self.machine.view())
        children: set[str] = set()
        for place, (child, state) in enumerate(order):
            if state in {"restarting", "backoff"}:
                alone = self.strategy == "one_for_one" or self.unseen(child)
                group = [order[place]] if alone else order if self.strategy == "one_for_all" else order[place:]
                children |= {member for member, _ in group}
        return children

    # -- what happens --------------------------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "ok", "ignore", "error", "exit"]))
    def a_start_is_over(self, data: st.DataObject, outcome: str) -> None:
        self.start_is_over(data.draw(st.sampled_from(self.starting)), outcome)

    def start_is_over(self, life: Life, outcome: str) -> None:
        self.starting.remove(life)
        if outcome == "ok":
            self.alive.add(life)
            self.was_up.add(life[0])
            self.machine.started(*life, self.now)
        else:
            self.unreported.remove(life)
            self.open.remove(life)
            match outcome:
                case "ignore":
                    self.machine.declined(*life, self.now)
                case "error":
                    self.machine.start_failed(*life, NOPE, self.now)
                case _:
                    self.machine.exited(*life, BOOM, self.now)
        self.look()

    @precondition(lambda self: self.stopping)
    @rule(crossed=st.sampled_from(["", "started", "failed", "declined", "exited"]))
    def a_stop_is_over(self, crossed: str) -> None:
        assert self.stopping is not None
        life = self.stopping
        match crossed:
            case "started":
                self.machine.started(*life, self.now)
            case "failed":
                self.machine.start_failed(*life, NOPE, self.now)
            case "declined":
                self.machine.declined(*life, self.now)
            case "exited" if life in self.unreported:
                self.report(life, BOOM)
            case _:
                pass
        assert not self.machine.actions, "what crosses a stop changes nothing"
        self.alive.discard(life)
        self.open.discard(life)
        self.stopping = None
        self.machine.stopped(*life, self.now)
        self.look()

    @precondition(lambda self: self.starting or self.stopping)
    @rule(answers=st.integers(1, 8))
    def all_goes_well(self, answers: int) -> None:
        for _ in range(answers):
            if self.stopping is not None:
                self.a_stop_is_over("")
            elif self.starting:
                self.start_is_over(self.starting[0], "ok")

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), reason=st.sampled_from(REASONS))
    def a_child_dies(self, data: st.DataObject, reason: Reason) -> None:
        life = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.remove(life)
        self.died.append((life, reason))

    @precondition(lambda self: self.died)
    @rule()
    def a_death_is_reported(self) -> None:
        self.report(*self.died[0])
        self.look()

    def report(self, life: Life, reason: Reason) -> None:
        self.unreported.remove(life)
        self.open.discard(life)
        self.died = [(dead, why) for dead, why in self.died if dead != life]
        self.machine.exited(*life, reason, self.now)

    @precondition(lambda self: self.unreported - self.open)
    @rule(data=st.data())
    def a_late_report_comes(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(sorted(self.unreported - self.open)))
        self.changes_nothing(self.report, life, BOOM)

    @precondition(lambda self: self.past)
    @rule(data=st.data(), answer=st.sampled_from(["started", "declined", "start_failed", "stopped"]))
    def a_late_answer_comes(self, data: st.DataObject, answer: str) -> None:
        life = data.draw(st.sampled_from(self.past))
        if life not in self.starting and life != self.stopping:
            reason = [NOPE] if answer == "start_failed" else []
            self.changes_nothing(getattr(self.machine, answer), *life, *reason, self.now)

    @precondition(lambda self: self.waits)
    @rule(data=st.data())
    def a_delay_is_over(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from(self.waits))
        self.waits.remove(life)
        if self.waits_for(life):
            self.machine.due(*life, self.now)
            self.look()
        else:
            self.changes_nothing(self.machine.due, *life, self.now)
            self.look()

    def waits_for(self, life: Life) -> bool:
        child, generation = life
        return self.generations.get(child) == generation and dict(self.machine.view()).get(child) == "backoff"

    def changes_nothing(self, call: Any, *arguments: Any) -> None:
        before = self.machine.view()
        call(*arguments)
        assert not self.machine.actions
        assert self.machine.view() == before

    @precondition(lambda self: self.retries)
    @rule()
    def it_resumes(self) -> None:
        self.retries -= 1
        self.machine.resume(self.now)
        self.look()

    @rule(request=st.sampled_from(REQUESTS), child=names)
    def something_is_asked(self, request: str, child: str) -> None:
        getattr(self.machine, request)(self.ticket(), child, self.now)
        self.look()

    @rule(member=members(held=False))
    def a_child_is_added(self, member: Member) -> None:
        if member.id in self.coming and self.tickets:
            return  # one at a time, so that it is known which it is that starts
        self.coming[member.id] = member
        self.machine.add(self.ticket(), member, self.now)
        self.look()

    def ticket(self) -> int:
        self.asked += 1
        self.tickets.append(self.asked)
        return self.asked

    @rule(really=st.integers(0, 9))
    def all_is_stopped(self, really: int) -> None:
        if really == 0:
            self.stop_asked = self.stop_asked or self.last is None
            self.machine.stop(self.now)
            self.look()

    # -- what holds whenever it is the driver's turn -------------------------------------------------------------------
    @invariant()
    def the_view_tells_what_is(self) -> None:
        states = dict(self.machine.view())
        running = self.alive | {life for life, _ in self.died}
        for child, state in states.items():
            life = (child, self.generations.get(child, 0))
            assert (life in self.starting) <= (state == "starting")
            assert (life == self.stopping) == (state == "stopping")
            assert self.waits.count(life) <= 1
            if self.idle():
                assert state != "running" or life in running
                assert state != "starting" or life in self.starting
                assert (state == "backoff") <= self.waits.count(life)
        assert all(states.get(child) in ("running", "stopping") for child, _ in self.alive)

    @invariant()
    def who_is_down_is_closed_unless_a_restart_is_planned(self) -> None:
        states = dict(self.machine.view())
        assert all(states[child] in {"undefined", "held"} for child in self.closed)
        if self.idle():
            down = {child for child, state in states.items() if state == "undefined"}
            assert down - self.awaited() <= self.closed

    @invariant()
    def who_is_held_is_down_and_stays_so(self) -> None:
        assert {child for child, state in self.machine.view() if state == "held"} == self.held
        assert not any(child in self.held for child, _ in self.open)

    @invariant()
    def it_is_never_stuck(self) -> None:
        if not self.starting and self.stopping is None:
            assert not self.tickets
            assert self.up or self.last is not None
        if self.idle():
            states = [state for _, state in self.machine.view()]
            assert states.count("restarting") <= self.retries

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.stop_asked = self.stop_asked or self.last is None
        self.machine.stop(self.now)
        self.look()
        while self.stopping is not None:
            self.a_stop_is_over("")
        assert self.last is not None
        for late in list(self.waits):
            self.changes_nothing(self.machine.due, *late, self.now)
        for _ in range(self.retries):
            self.changes_nothing(self.machine.resume, self.now)
        assert all(state in {"undefined", "held"} for _, state in self.machine.view())
        for child in NAMES:
            self.a_child_is_added(Member(child))
        assert not self.starting


World.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
test_the_machine_keeps_its_promises = World.TestCase
