"""What holds for every machine of children that are alike, whatever happens to them in whatever order."""

from __future__ import annotations

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
    Down,
    Forget,
    Restarting,
    Start,
    Stop,
    Stopped,
    Up,
    Wait,
)
from trouper.supervision.dynamic import Dynamic
from trouper.supervision.members import Member

pytestmark = pytest.mark.once

Life = tuple[str, int]

NAMES = "abcd"
REASONS = [NORMAL, SHUTDOWN, BOOM]
REQUESTS: list[Request] = ["restart", "delete", "hold", "release"]

names = st.sampled_from(NAMES)
backoffs = st.sampled_from([None, None, Backoff(), Backoff(first=5.0, reset_after=3.0), Persist(first=1.0)])
members = st.builds(
    Member,
    id=names,
    restart=st.sampled_from(["permanent", "transient", "temporary"]),
    generation=st.integers(0, 3),
    backoff=backoffs,
)


class World(RuleBasedStateMachine):
    """A driver whose children start, decline, fail and die as it pleases, side by side."""

    @initialize(n=st.integers(0, 4), specs=st.lists(members, max_size=3, unique_by=lambda member: member.id))
    def begin(self, n: int, specs: list[Member]) -> None:
        self.n = n
        self.now = 0.0
        self.specs = {spec.id: spec for spec in specs}
        self.booting = set(self.specs)
        self.starting: list[Life] = []
        self.stopping: list[Life] = []
        self.alive: set[Life] = set()
        self.died: list[tuple[Life, Reason]] = []  # to be reported
        self.waits: list[Life] = []
        self.past: list[Life] = []
        self.generations: dict[str, int] = {}
        self.answers = 0
        self.up = False
        self.stop_asked = False
        self.last: Action | None = None
        self.machine = Dynamic(Limit(n, 10.0), members=specs)
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
            case Forget(child):
                assert not any(life[0] == child for life in self.open())
                self.let_go(child)
            case Answer(_, result):
                self.answers -= 1
                assert result != "ok" or self.last is None
            case Restarting(child, _, used, n, delay, counted):
                assert counted is not isinstance(self.specs[child].backoff, Persist)
                assert counted <= used <= n == self.n
                assert 0.0 <= delay <= 30.0
            case Wait(child, generation, seconds):
                assert (child, generation) not in self.waits
                assert 0.0 < seconds <= 30.0
                self.waits.append((child, generation))
            case Up():
                assert not self.up
                assert not self.booting
                self.up = True
            case BootFailed() | Down():
                assert not self.stop_asked
                assert isinstance(action, BootFailed) <= (not self.up)
                self.ends(action)
            case Stopped():
                self.ends(action)
            case other:
                raise AssertionError(other)

    def sees_start(self, life: Life) -> None:
        child, generation = life
        assert generation > self.generations.get(child, 0)
        assert life not in self.waits, "a late delay would hit it"
        assert not any(other[0] == child for other in self.open()), "two generations at once"
        self.generations[child] = generation
        self.starting.append(life)
        self.past.append(life)

    def sees_stop(self, life: Life) -> None:
        assert life in self.open(), "it was stopped, or known to have ended"
        assert life not in self.stopping
        if life in self.starting:
            self.starting.remove(life)
        self.stopping.append(life)

    def ends(self, last: Action) -> None:
        assert not self.open(), "each life was stopped or reported"
        self.last = last

    def open(self) -> list[Life]:
        return [*self.starting, *self.alive, *self.stopping, *(life for life, _ in self.died)]

    def let_go(self, child: str) -> None:
        """It is forgotten, exactly once."""
        del self.specs[child], self.generations[child]
        self.booting.discard(child)
        self.past = [life for life in self.past if life[0] != child]

    # -- what happens --------------------------------------------------------------------------------------------------
    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.starting)
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "ok", "ignore", "error", "exit"]))
    def a_start_is_over(self, data: st.DataObject, outcome: str) -> None:
        life = data.draw(st.sampled_from(self.starting))
        self.starting.remove(life)
        match outcome:
            case "ok":
                self.alive.add(life)
                self.booting.discard(life[0])
                self.machine.started(*life, self.now)
            case "ignore":
                self.machine.declined(*life, self.now)
            case "error":
                self.machine.start_failed(*life, NOPE, self.now)
            case _:
                self.machine.exited(*life, BOOM, self.now)
        self.look()

    @precondition(lambda self: self.stopping)
    @rule(data=st.data(), crossed=st.sampled_from(["", "started", "failed", "declined", "exited"]))
    def a_stop_is_over(self, data: st.DataObject, crossed: str) -> None:
        self.stop_is_over(data.draw(st.sampled_from(self.stopping)), crossed)

    def stop_is_over(self, life: Life, crossed: str = "") -> None:
        match crossed:
            case "started" | "declined":
                self.changes_nothing(getattr(self.machine, crossed), *life, self.now)
            case "failed":
                self.changes_nothing(self.machine.start_failed, *life, NOPE, self.now)
            case "exited":
                self.changes_nothing(self.machine.exited, *life, BOOM, self.now)
            case _:
                pass
        self.stopping.remove(life)
        self.alive.discard(life)
        self.died = [(dead, why) for dead, why in self.died if dead != life]
        self.machine.stopped(*life, self.now)
        self.look()

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), reason=st.sampled_from(REASONS))
    def a_child_dies(self, data: st.DataObject, reason: Reason) -> None:
        life = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.remove(life)
        self.died.append((life, reason))

    @precondition(lambda self: self.died)
    @rule(data=st.data())
    def a_death_is_reported(self, data: st.DataObject) -> None:
        life, reason = data.draw(st.sampled_from(self.died))
        self.died.remove((life, reason))
        if life in self.stopping:
            self.changes_nothing(self.machine.exited, *life, reason, self.now)
        else:
            self.machine.exited(*life, reason, self.now)
            self.look()

    @precondition(lambda self: self.past)
    @rule(data=st.data(), report=st.sampled_from(["started", "declined", "start_failed", "stopped", "exited"]))
    def a_late_report_comes(self, data: st.DataObject, report: str) -> None:
        life = data.draw(st.sampled_from(self.past))
        if life not in self.open():
            reason = [NOPE] if report in {"start_failed", "exited"} else []
            self.changes_nothing(getattr(self.machine, report), *life, *reason, self.now)

    @precondition(lambda self: self.waits)
    @rule(data=st.data())
    def a_delay_is_over(self, data: st.DataObject) -> None:
        child, generation = data.draw(st.sampled_from(self.waits))
        self.waits.remove((child, generation))
        live = self.generations.get(child) == generation and dict(self.machine.view())[child] == "backoff"
        self.machine.due(child, generation, self.now)
        assert bool(self.machine.actions) is live
        self.look()

    def changes_nothing(self, call: Any, *arguments: Any) -> None:
        before = self.machine.view()
        call(*arguments)
        assert not self.machine.actions
        assert self.machine.view() == before

    @rule(child=names)
    def one_is_terminated(self, child: str) -> None:
        self.answers += 1
        self.machine.terminate(None, child, self.now)
        self.look()

    @rule(request=st.sampled_from(REQUESTS), child=names)
    def something_is_asked_that_is_not_for_them(self, request: str, child: str) -> None:
        getattr(self.machine, request)(None, child, self.now)
        assert [type(action) for action in self.machine.actions] == [Answer]
        self.machine.actions.clear()

    @rule(member=members, quietly=st.booleans())
    def a_child_is_added(self, member: Member, quietly: bool) -> None:
        if member.id in self.specs:
            return  # ids are the caller's to keep apart
        before = dict(self.machine.view())
        self.specs[member.id] = member
        if quietly:
            generation = self.machine.spawn(member.id, member.restart, member.backoff)
            assert bool(generation) is (not self.ending())
            if generation:
                self.see(Start(member.id, generation))
        else:
            self.answers += 1
            self.machine.add(None, member, self.now)
        if self.ending():
            del self.specs[member.id]
            assert dict(self.machine.view()) == before
        self.look()

    def ending(self) -> bool:
        return self.machine._last is not None

    @rule(really=st.integers(0, 9))
    def all_is_stopped(self, really: int) -> None:
        if really == 0:
            self.stop()

    def stop(self) -> None:
        self.stop_asked = self.stop_asked or self.last is None
        self.machine.stop(self.now)
        self.look()

    # -- what holds whenever it is the driver's turn -------------------------------------------------------------------
    @invariant()
    def the_view_tells_what_is(self) -> None:
        states = dict(self.machine.view())
        running = self.alive | {life for life, _ in self.died}
        for child, state in states.items():
            life = (child, self.generations[child])
            assert (life in self.stopping) == (state == "stopping")
            assert (life in self.starting) == (state == "starting")
            assert (life in running and life not in self.stopping) == (state == "running")
            assert (state == "backoff") == (self.waits.count(life) == 1)
        assert {child for child, _ in self.open()} <= states.keys()

    @invariant()
    def every_request_was_answered(self) -> None:
        assert self.answers == 0

    @invariant()
    def it_is_never_stuck(self) -> None:
        assert self.up or self.booting or self.ending()
        assert (self.last is not None) == (self.ending() and not self.open())

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        over = self.last
        self.stop()
        while self.stopping:
            self.stop_is_over(self.stopping[-1])
        assert isinstance(self.last, Stopped) or self.last is over is not None
        assert self.machine.view() == []
        for late in self.waits:
            self.changes_nothing(self.machine.due, *late, self.now)


World.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_the_dynamic_machine_keeps_its_promises = World.TestCase
