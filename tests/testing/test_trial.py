"""A whole daemon in the thread of a test: virtual time, restarts, seeds, and no trace of it afterwards."""

from __future__ import annotations

from time import monotonic
from typing import Any

from tests.actors.stage import FlavourName, Note, role
from trouper import (
    Request,
    child,
    current,
    one_for_one,
)
from trouper.events import ActorEnded
from trouper.testing import Trial


class Generation(Request[int]):
    """Which life is it?"""


def sleeper(flavour: FlavourName) -> Any:
    """Sleeps as long as it is told, in the way of its flavour, and crashes over what is negative."""

    @role(flavour)
    class Sleeper:
        async def receive(self, message: Note | Generation) -> int | None:
            if isinstance(message, Generation):
                return current(self).generation
            if flavour == "threading":
                current(self).sleep_sync(abs(message.text))
            else:
                await current(self).sleep(abs(message.text))
            if message.text < 0:
                raise ValueError("fell over")
            return None

    return Sleeper


def test_seconds_pass_without_any_passing_and_a_restart_takes_place_in_them(flavour: FlavourName) -> None:
    tree = one_for_one(
        it := child(
            sleeper(flavour),
        ).options(name="it")
    )
    began = monotonic()
    with Trial(tree) as t:
        it.ref.send(Note(-3600))
        t.advance(3599)
        assert not t.events_of(ActorEnded)
        t.advance(1)
        (ended,) = t.events_of(ActorEnded)
        assert (ended.path, ended.uptime) == ("/it", 3600)
        assert t.ask(it.ref, Generation()) == 2
        assert t.now == 3600
    assert monotonic() - began < 30
