"""A play: a random tree, and all that can be done to it, as a state machine of hypothesis."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.stateful import afterwards
from tests.stateful.ledger import Question
from tests.stateful.plans import (
    Deed,
    Group,
    Plan,
    crowds,
    deeds,
    groups,
    indices,
    leaves,
    names,
    pauses,
    timeouts,
    trees,
    verbs,
)
from tests.stateful.players import Stage
from tests.stateful.witness import Witnesses
from trouper import AskError, DaemonFailed, MailboxFull
from trouper.events import Event
from trouper.supervision.members import Strategy
from trouper.supervision.snapshot import Snapshot
from trouper.testing import Trial

GROUPS = get_args(Strategy)


class Stopped(Trial):
    """A trial that is stopped at an event."""

    stop_at: int | None = None

    def _note(self, event: Event) -> None:
        super()._note(event)
        if len(self._log) == self.stop_at:
            self.daemon.stop("at this event")


class Play(RuleBasedStateMachine):
    """A daemon in virtual time: what its actors say must be what its machines were told, and what its tree says."""

    failure: DaemonFailed | None = None

    @initialize(
        tree=trees,
        seed=st.integers(0, 1_000),
        stop_at=st.one_of(st.none(), st.none(), st.integers(1, 60)),
        turn=st.integers(0, 7),
    )
    def begin(self, tree: Group, seed: int, stop_at: int | None, turn: int) -> None:
        self.stage = Stage()
        self.ledger, self.turn = self.stage.ledger, turn
        self.witnesses = Witnesses(self.ledger)
        self.tickets: list[Any] = []
        self.added: list[Any] = []
        self.tree: Snapshot | None = None
        self.trial = Stopped(self.stage.plant(tree, None), seed=seed, stop_within=1e6)
        self.trial.stop_at = stop_at
        self.around = ExitStack()
        self.records = self.around.enter_context(logged())
        self.around.enter_context(self.witnesses.watching())
        try:
            self.around.enter_context(self.trial)
        except DaemonFailed as failure:
            self.failure = failure
        else:
            self.time_passes(0.0)

    def place(self, index: int) -> int:
        """Few places are meant often, so that much happens to one at a time; which these are differs."""
        return index + self.turn

    def path(self, index: int, *kinds: str) -> str:
        """Of what was seen last in the tree, of those of these kinds; seldom of what never was."""
        nodes = [] if self.tree is None else list(self.tree.walk())
        paths = [node.path for node in nodes if not kinds or node.kind in kinds] or ["/"]
        return (paths * 5 + ["/nope"])[self.place(index) % (5 * len(paths) + 1)]

    # -- what is done ------------------------------------------------------------------------------------------------
    @rule(seconds=pauses)
    def time_passes(self, seconds: float | None) -> None:
        """None: not yet, so that more comes at once."""
        if seconds is not None and self.failure is None:
            self.trial.advance(seconds)
            self.at_rest()

    @rule(then=pauses)
    def all_that_hangs_goes_on(self, then: float | None) -> None:
        self.ledger.release()
        self.time_passes(then)

    @rule(to=indices, deed=deeds, then=pauses)
    def tell(self, to: int, deed: Deed, then: float | None) -> None:
        if self.stage.refs:
            self.ledger.tell(self.stage.whom(self.place(to)), deed)
        self.time_passes(then)

    @rule(to=indices, then=pauses)
    def crash(self, to: int, then: float | None) -> None:
        self.tell(to, "crash", then)

    @rule(to=indices, deed=deeds, timeout=timeouts)
    def ask(self, to: int, deed: Deed, timeout: float) -> None:
        if self.stage.refs and self.failure is None:
            ref = self.stage.whom(self.place(to))
            question = self.ledger.letter(ref, Question, deed)
            try:
                assert self.trial.ask(ref, question, timeout=timeout) == question.id
            except AskError:
                pass
            except MailboxFull:
                self.ledger.refused.add(question.id)

    @rule(verb=verbs, whom=indices, then=pauses)
    def request(self, verb: str, whom: int, then: float | None) -> None:
        self.tickets.append(self.trial.daemon._request(verb, self.path(whom)))
        self.time_passes(then)

    @rule(whom=indices, size=st.integers(0, 3), then=pauses)
    def resize(self, whom: int, size: int, then: float | None) -> None:
        self.tickets.append(self.trial.daemon._resize(self.path(whom, "pool"), size))
        self.time_passes(then)

    @rule(under=indices, plan=st.one_of(leaves(), groups(0), crowds()), name=names, then=pauses)
    def add(self, under: int, plan: Plan, name: str, then: float | None) -> None:
        self.added.append(self.stage.plant(plan, name))
        self.tickets.append(self.trial.daemon._start(self.added[-1], self.path(under, *GROUPS)))
        self.time_passes(then)

    @rule(which=indices, under=indices, then=pauses)
    def add_again(self, which: int, under: int, then: float | None) -> None:
        """It may have been deleted, or refused."""
        if self.added:
            made = self.added[which % len(self.added)]
            self.tickets.append(self.trial.daemon._start(made, self.path(under, *GROUPS)))
        self.time_passes(then)

    # -- what holds --------------------------------------------------------------------------------------------------
    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.ledger.wrong, "\n".join(self.ledger.wrong)

    def at_rest(self) -> None:
        """All is idle: the tree says the same as the actors."""
        self.witnesses.at_rest()
        self.nothing_is_wrong()
        if self.trial.daemon.over.done:
            assert not self.ledger.alive
            return
        tree = self.tree = self.trial.daemon.tree_sync()
        actors = [snapshot for snapshot in tree.walk() if snapshot.flavour is not None]
        assert set(self.ledger.alive) <= {actor.path for actor in actors}, f"{self.ledger.alive}, and the tree:\n{tree}"
        for actor in actors:
            self.compare(actor)

    def compare(self, actor: Snapshot) -> None:
        """The tree says the same as this actor."""
        life = self.ledger.alive.get(actor.path)
        told = f"{actor}: {life}"
        if actor.state not in {"running", "starting", "stopping"}:
            assert life is None, told
            return
        assert life is not None, told
        assert life.generation == actor.generation, told
        match actor.state, life.stage:
            case "starting", "up":
                assert life.cell.unready, told
            case "stopping", "up":
                busy = actor.path in self.ledger.handling or self.ledger.below(actor.path)
                assert busy, f"{told}, and nobody told it"
            case "running", stage:
                assert stage != "starting", told
            case _:
                pass
        if life.stage == "up" and actor.path not in self.ledger.handling and not life.cell.ref.box:
            missed = [ref for *watcher, ref in self.ledger.watches if watcher == [*life[:2]] and is_closed(ref)]
            assert not missed, f"{told}: not told of the end of {missed}"

    def teardown(self) -> None:
        if not hasattr(self, "around"):
            return
        error = sys.exc_info()[1]  # of a rule or an invariant
        try:
            self.around.__exit__(*sys.exc_info())
        except DaemonFailed as failure:
            self.failure = failure
        if error is None:
            self.nothing_is_wrong()
            afterwards.check(self)


def is_closed(ref: Any) -> bool:
    return ref.cell is not None and ref.cell.state == "closed"


class Records(logging.Handler):
    """What the runtime logs."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)


@contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """Its records, and nobody else gets them: there are very many."""
    log, records = logging.getLogger("trouper"), Records()
    before = log.level, log.propagate
    log.addHandler(records)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield records.all
    finally:
        log.removeHandler(records)
        log.setLevel(before[0])
        log.propagate = before[1]
