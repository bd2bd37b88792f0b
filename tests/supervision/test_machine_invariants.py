"""What holds for every machine, whatever happens to it in whatever order."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trouper.reasons import NORMAL, SHUTDOWN, Reason, crashed, start_failed
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

Life = tuple[str, int]

NAMES = "abc"
REASONS = [NORMAL, SHUTDOWN, crashed(RuntimeError("boom"))]
NOPE = start_failed(RuntimeError("nope"))

names = st.sampled_from(NAMES)
members = st.builds(
    Member,
    id=names,
    restart=st.sampled_from(["permanent", "transient", "temporary"]),
    significant=st.booleans(),
)


class Limit(NamedTuple):
    n: int
    within: float


class World(RuleBasedStateMachine):
    """A driver whose children start, decline, fail and die as it pleases, and whose reports may be late."""

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        auto_shutdown=st.sampled_from(["never", "any_significant", "all_significant"]),
        n=st.integers(0, 4),
        specs=st.lists(members, max_size=3, unique_by=lambda member: member.id),
    )
    def begin(self, strategy: Strategy, auto_shutdown: AutoShutdown, n: int, specs: list[Member]) -> None:
        self.n = n
        self.now = 0.0
        self.outstanding: Start | Stop | None = None
        self.alive: set[Life] = set()
        self.died: list[tuple[Life, Reason]] = []  # to be reported
        self.unreported: set[Life] = set()  # started, and no report has said that it ended
        self.generations: dict[str, int] = {}
        self.closed: set[str] = set()
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
                assert self.outstanding is None
                assert generation > self.generations.get(child, 0)
                assert (child, generation) not in self.unreported, "a late report would hit it"
                self.unreported.add((child, generation))
                assert not any(life[0] == child for life in self.alive), "two generations at once"
                self.generations[child] = generation
                self.outstanding = action
                self.closed.discard(child)
            case Stop(child, generation):
                starting = self.outstanding == Start(child, generation)
                assert self.outstanding is None or (starting and self.stop_asked)
                assert starting or (child, generation) in self.alive | {life for life, _ in self.died}
                self.outstanding = action
            case Close(child) | Forget(child):
                assert not any(life[0] == child for life in self.alive)
                assert self.outstanding is None
                if isinstance(action, Close):
                    assert child not in self.closed, "closed twice"
                    self.closed.add(child)
                else:
                    self.closed.discard(child)
                    del self.generations[child]
            case Answer(ticket):
                assert ticket == self.tickets.popleft()
            case Restarting(_, _, used, n):
                assert 1 <= used <= n == self.n
            case Retry() | Wait() | Held():
                assert isinstance(action, Retry), "nobody here has a backoff, and nobody is held"
                self.retries += 1
            case Up():
                assert not self.up
                self.up = True
            case BootFailed() | Down() | Stopped():
                assert not self.alive
                assert self.outstanding is None
                assert not self.tickets
                assert isinstance(action, Stopped) or not self.stop_asked
                assert isinstance(action, BootFailed) is not self.up or isinstance(action, Stopped)
                self.last = action

    # -- what happens --------------------------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: isinstance(self.outstanding, Start))
    @rule(outcome=st.sampled_from(["ok", "ok", "ok", "ignore", "error", "exit"]))
    def a_start_is_over(self, outcome: str) -> None:
        assert isinstance(self.outstanding, Start)
        life = (self.outstanding.id, self.outstanding.generation)
        self.outstanding = None
        match outcome:
            case "ok":
                self.alive.add(life)
                self.machine.started(*life, self.now)
            case "ignore":
                self.unreported.remove(life)
                self.machine.declined(*life, self.now)
            case "error":
                self.unreported.remove(life)
                self.machine.start_failed(*life, NOPE, self.now)
            case _:
                self.unreported.remove(life)
                self.machine.exited(*life, REASONS[2], self.now)
        self.look()

    @precondition(lambda self: isinstance(self.outstanding, Stop))
    @rule(crossed=st.sampled_from(["", "started", "failed", "exited"]))
    def a_stop_is_over(self, crossed: str) -> None:
        assert isinstance(self.outstanding, Stop)
        life = (self.outstanding.id, self.outstanding.generation)
        match crossed:
            case "started":
                self.machine.started(*life, self.now)
            case "failed":
                self.machine.start_failed(*life, NOPE, self.now)
            case "exited" if life in self.unreported:
                self.report(life, REASONS[2])
            case _:
                pass
        assert not self.machine.actions, "what crosses a stop changes nothing"
        self.alive.discard(life)
        self.outstanding = None
        self.machine.stopped(*life, self.now)
        self.look()

    @precondition(lambda self: self.outstanding)
    @rule(answers=st.integers(1, 5))
    def all_goes_well(self, answers: int) -> None:
        for _ in range(answers):
            if isinstance(self.outstanding, Start):
                self.a_start_is_over("ok")
            elif isinstance(self.outstanding, Stop):
                self.a_stop_is_over("")

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

    @precondition(lambda self: self.late())
    @rule(data=st.data())
    def a_late_report_comes(self, data: st.DataObject) -> None:
        before = self.machine.view()
        self.report(data.draw(st.sampled_from(self.late())), REASONS[2])
        assert not self.machine.actions
        assert self.machine.view() == before

    def late(self) -> list[Life]:
        """What was stopped, so that a report of its end comes late if it comes."""
        now = (self.outstanding.id, self.outstanding.generation) if self.outstanding else None
        return sorted(self.unreported - self.alive - {life for life, _ in self.died} - {now})

    def report(self, life: Life, reason: Reason) -> None:
        self.unreported.remove(life)
        self.died = [(dead, why) for dead, why in self.died if dead != life]
        self.machine.exited(*life, reason, self.now)

    @precondition(lambda self: self.retries)
    @rule()
    def it_resumes(self) -> None:
        self.retries -= 1
        self.machine.resume(self.now)
        self.look()

    @rule(request=st.sampled_from(["terminate", "restart", "delete"]), child=names)
    def something_is_asked(self, request: str, child: str) -> None:
        getattr(self.machine, request)(self.ticket(), child, self.now)
        self.look()

    @rule(member=members)
    def a_child_is_added(self, member: Member) -> None:
        self.machine.add(self.ticket(), member, self.now)
        self.look()

    def ticket(self) -> int:
        self.asked += 1
        self.tickets.append(self.asked)
        return self.asked

    @rule(really=st.integers(0, 4))
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
            if state == "running":
                assert life in running or self.outstanding is not None, "or it is about to be judged"
            assert (state == "starting") == (self.outstanding == Start(*life))
            assert (state == "stopping") == (self.outstanding == Stop(*life))
        assert all(states.get(child) in ("running", "stopping") for child, _ in self.alive)

    @invariant()
    def who_is_down_is_closed_unless_a_restart_is_planned(self) -> None:
        states = dict(self.machine.view())
        assert all(states[child] == "undefined" for child in self.closed)
        if self.last is None and self.outstanding is None and "restarting" not in states.values():
            assert {child for child, state in states.items() if state == "undefined"} == self.closed

    @invariant()
    def it_is_never_stuck(self) -> None:
        if self.outstanding is None:
            assert not self.tickets
            assert self.up or self.last is not None
            states = [state for _, state in self.machine.view()]
            assert states.count("restarting") <= self.retries

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.stop_asked = self.last is None
        self.machine.stop(self.now)
        self.look()
        while self.outstanding is not None:
            self.a_stop_is_over("")
        assert self.last is not None
        assert not self.alive
        assert all(state == "undefined" for _, state in self.machine.view())
        for child in NAMES:
            self.a_child_is_added(Member(child))
        assert self.outstanding is None


World.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
test_the_machine_keeps_its_promises = World.TestCase
