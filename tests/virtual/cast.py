"""What the tests in virtual time share: scripted children, and what the events of a trial tell about them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from trouper import child, current
from trouper.events import ActorEnded, ActorStarted, Restarting
from trouper.lanes.slot import in_event_loop
from trouper.testing import Fail, Trial

if TYPE_CHECKING:
    import pytest

    from tests.actors.stage import FlavourName
    from trouper.reasons import Kind
    from trouper.testing import Script

Trials: TypeAlias = Callable[..., Trial]

HAIR = 2.0**-20  # seconds; sums with it are exact
DAY = 24 * 3600.0


def play(script: Script, flavour: FlavourName, *accepts: type, name: str = "it", **options: Any) -> Any:
    """A child that obeys the script."""
    return child(script.actor(flavour, *accepts)).options(name=name, **options)


def broken(times: int = 1) -> list[Fail]:
    """Starts or stops that fail."""
    return [Fail(OSError("no such host")) for _ in range(times)]


async def nap(me: Any, seconds: float) -> None:
    """Sleep in the way of the actor's flavour."""
    if in_event_loop():
        await current(me).sleep(seconds)
    else:
        current(me).sleep_sync(seconds)


def starts(t: Trial) -> list[str]:
    """Who came up so far, each time."""
    return [event.path for event in t.events_of(ActorStarted)]


def ends(t: Trial) -> list[tuple[str, Kind]]:
    """Who ended so far, each time, and how."""
    return [(event.path, event.reason.kind) for event in t.events_of(ActorEnded)]


def delays(t: Trial) -> list[float]:
    return [event.delay for event in t.events_of(Restarting)]


def whats(script: Script) -> list[str]:
    return [step.what for step in script.steps]


def state(t: Trial, path: str) -> str:
    found = t.daemon.tree_sync().find(path)
    return "gone" if found is None else found.state


def deaths(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The log records that tell of the end of a generation."""
    return [record for record in caplog.records if hasattr(record, "trouper")]
