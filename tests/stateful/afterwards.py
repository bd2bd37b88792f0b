"""What holds when all is over: of lives, of their order, of messages, of the log, of the end."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from tests.stateful.ledger import Ledger, Question, Word, has_place
from trouper import DaemonFailed
from trouper.events import (
    ActorDeclined,
    ActorEnded,
    ActorStarting,
    DaemonReady,
    DaemonStopping,
    DeadLetter,
    Escalated,
    Event,
    SupervisorEnded,
    SupervisorStarted,
)
from trouper.testing import Trial

if TYPE_CHECKING:
    from tests.stateful.play import Play


def check(play: Play) -> None:
    """Look at all that happened.

    Raises:
        AssertionError: something of it must not be.
    """
    events = play.trial.events
    lives(play.ledger, events)
    messages(play.ledger, play.trial)
    log(play.records, play.trial, play.failure)
    verdict(events, play.failure)
    assert all(ticket.done for ticket in play.tickets), "a request has no answer"


def lives(ledger: Ledger, events: list[Event]) -> None:
    """Each generation is begun once, stopped once if it was up, and over once; one at a time, and none by itself."""
    assert not ledger.alive
    assert ledger.stopped_lives == ledger.up_lives, "on_stop, for each on_start that was done"
    alive: dict[str, int] = {}
    last: Counter[object] = Counter()
    for event in events:
        match event:
            case ActorStarting(path, generation):
                assert path not in alive, event
                assert not last["stopping"], f"{event}, and the daemon is stopping"
                alive[path] = generation
            case ActorDeclined(path, generation) | ActorEnded(path, generation):
                assert alive.pop(path) == generation, event
                assert not any(other.startswith(f"{path}/") for other in alive), f"{event}, and alive are {alive}"
            case SupervisorStarted(path):
                last[path] += 1
                assert last[path] == 1, event
            case SupervisorEnded(path):
                last[path] = 0
                assert not any(other.startswith(f"{path.rstrip('/')}/") for other in alive), f"{event}: {alive}"
            case DaemonReady():
                assert last["/"], "the root is not up, and the daemon is ready"
            case DaemonStopping():
                last["stopping"] += 1
            case _:
                pass
    assert not alive


def messages(ledger: Ledger, trial: Trial) -> None:
    """Each message is handled once or is one dead letter; who asked is told."""
    letters = trial.events_of(DeadLetter)
    dead = Counter(event.message.id for event in letters if isinstance(event.message, Word | Question))
    for letter, to in ledger.sent.items():
        ends = ledger.done[letter] + dead[letter]
        if letter in ledger.refused:
            assert not ledger.begun[letter], f"letter {letter} was refused, and handled"
        else:
            may_wait = letter in ledger.early or letter in ledger.own or not has_place(to)
            told = f"begun {ledger.begun[letter]} times, done {ledger.done[letter]} times, {dead[letter]} dead letters"
            assert ends == 1 or (may_wait and not ends), f"letter {letter} for {to}: {told}"
    assert "open" not in ledger.asks.values(), "an ask has no end"
    assert trial.daemon.dead_letters == len(letters)


def log(records: list[logging.LogRecord], trial: Trial, failure: DaemonFailed | None) -> None:
    """One record of each death that was not in order, one at most of others, and no error without an explanation."""
    deaths = Counter(tuple(vars(record)["trouper"].values()) for record in records if hasattr(record, "trouper"))
    ends = [event for event in trial.events if isinstance(event, ActorEnded | SupervisorEnded) and event.path != "/"]
    assert deaths <= Counter((event.path, event.generation) for event in ends)
    assert deaths >= Counter((event.path, event.generation) for event in ends if event.reason.abnormal)
    for record in records:
        if record.levelno >= logging.ERROR and not hasattr(record, "trouper"):
            assert record.getMessage().startswith("a failure reached the root"), record.getMessage()
            assert failure is not None


def verdict(events: list[Event], failure: DaemonFailed | None) -> None:
    """The daemon fails if, and only if, the root gave up."""
    last = [event.reason for event in events if isinstance(event, SupervisorEnded) and event.path == "/"]
    assert len(last) <= 1
    gave_up = any(reason.abnormal for reason in last)
    assert (failure is not None) == gave_up
    assert sum(isinstance(event, Escalated) for event in events) == gave_up
