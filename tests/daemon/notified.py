"""Actors that systemd is told of, in processes of their own or in that of the test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Never

from tests.actors.stage import Boom, Crash, Note, Read
from trouper import Persist, Ref, actor, child, one_for_one
from trouper.daemon import notify


def say(words: object) -> None:
    print(words, flush=True)  # noqa: T201 - the test reads it


def until_opened() -> None:
    """Wait until the test opens the other end of a fifo."""
    with Path(os.environ["GATE"]).open():
        """It is there."""


@actor(flavour="asyncio")
class Holds:
    """Its start is over when the test says so."""

    async def on_start(self) -> None:
        say("starting")
        await asyncio.to_thread(until_opened)

    async def receive(self, message: Never) -> None: ...


@actor(flavour="threading")
class Environment:
    """What its child processes get."""

    def on_start(self) -> None:
        say(sorted(set(os.environ) & set(notify.ENVIRONMENT)))

    def receive(self, message: Never) -> None: ...


@actor(flavour="trio")
class Blocks:
    """A message blocks its lane for ever."""

    async def receive(self, message: Note) -> None:
        while True:
            pass


@actor(flavour="threading")
class Presses:
    blocks: Ref[Note]

    def run(self) -> None:
        until_opened()
        self.blocks.send(Note())


@actor(flavour="trio")
class Fragile:
    """It falls over, and comes up again at once."""

    async def receive(self, message: Crash | Read) -> list[Any]:
        if isinstance(message, Crash):
            raise Boom(message.text)
        return []


@actor(flavour="asyncio", backoff=Persist(first=1000.0))
class Remote:
    """It is down for long when it falls over."""

    async def receive(self, message: Crash) -> None:
        raise ValueError(message.text)


@actor(flavour="asyncio")
class Reloads:
    async def on_reload(self) -> None: ...

    async def receive(self, message: Never) -> None: ...


holds = one_for_one(child(Holds))
environment = one_for_one(child(Environment))
blocking = one_for_one(blocks := child(Blocks), child(Presses, blocks.ref))
