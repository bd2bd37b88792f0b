"""A busy daemon whose trace depends on the order of what happens at once: actors of all flavours that talk and fall.

Run as a program it prints the hashes of the traces of some seeds.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import Any

from tests.actors.stage import FlavourName, Note
from trouper import Limit, Ref, SyncInbox, actor, child, current, one_for_all, one_for_one
from trouper.testing import Trial


def now(me: Any) -> float:
    return current(me).daemon.world.clock()


def talker(flavour: FlavourName) -> Any:
    """Passes on what it gets, after a while; every seventh time it falls over."""

    class Loops:
        others: list[Ref[Note]]
        told: Any
        count: int = 0

        async def receive(self, message: Note) -> None:
            self.count += 1
            self.told(f"{now(self):g} {current(self).path} {message.text}")
            await current(self).sleep(message.text % 3)
            if message.text:
                self.others[message.text % len(self.others)].send(Note(message.text - 1))
            assert self.count < 7, "fell over"

    class Threads:
        others: list[Ref[Note]]
        told: Any
        count: int = 0

        def run(self, inbox: SyncInbox[Note]) -> None:
            for message in inbox:
                self.count += 1
                self.told(f"{now(self):g} {current(self).path} {message.text}")
                current(self).sleep_sync(message.text % 3)
                if message.text:
                    self.others[message.text % len(self.others)].send(Note(message.text - 1))
                assert self.count < 7, "fell over"

    return actor(flavour=flavour)(Threads if flavour == "threading" else Loops)


def trace(seed: int) -> list[str]:
    """What happens with this seed: all that is told, and all events, with their times."""
    told: list[str] = []
    others: list[Ref[Note]] = []
    flavours: list[FlavourName] = ["trio", "asyncio", "threading"]
    talkers = [
        child(talker(flavour), others, told.append).options(name=f"{flavour}{place}")
        for place in range(3)
        for flavour in flavours
    ]
    others += [it.ref for it in talkers]
    often = Limit(1000, within=1.0)
    tree = one_for_one(one_for_all(*talkers[:4], name="group", restarts=often), *talkers[4:], restarts=often)
    with Trial(tree, seed=seed) as t:
        for it in talkers:
            for _ in range(5):
                it.ref.send(Note(8))
        t.advance(60)
    return told + t.trace


def digest(seed: int) -> str:
    return hashlib.sha256("\n".join(trace(seed)).encode()).hexdigest()


if __name__ == "__main__":
    logging.disable()
    sys.stdout.write(" ".join(map(digest, map(int, sys.argv[1:]))))
