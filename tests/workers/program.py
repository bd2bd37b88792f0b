"""A process that takes messages over a socket: `python program.py FD`. Its actors stand below /worker."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import trio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.workers.couple import local_of
from trouper import Daemon, Message, Request, actor, child, one_for_one
from trouper.workers.link import Wire
from trouper.workers.peer import Office, Peer
from trouper.workers.waiting import WiredLane


class Note(Message):
    number: int


class Read(Request[list[int]]):
    """What was noted?"""


class Block(Message):
    """Block the thread for ever."""


class Pid(Request[int]):
    """Who are you?"""


@actor(flavour="threading")
class Notes:
    """A threading actor, which blocks nobody else."""

    def __attrs_post_init__(self) -> None:
        self.numbers: list[int] = []

    def receive(self, message: Note | Read | Block | Pid) -> Any:
        if isinstance(message, Note):
            self.numbers.append(message.number)
        elif isinstance(message, Block):
            time.sleep(3600)
        elif isinstance(message, Pid):
            return os.getpid()
        return self.numbers if isinstance(message, Read) else None


@actor(flavour="trio")
class Speaker:
    async def receive(self, message: Pid) -> int:
        return os.getpid()


def main() -> None:
    children = child(Notes).options(name="notes"), child(Speaker).options(name="speaker")
    wire = Wire()
    daemon = Daemon(one_for_one(one_for_one(*children, name="worker")), thread_lane=lambda name: WiredLane(name, wire))
    office = Office(local_of(daemon))
    office.home = Peer(
        "the parent", daemon.world, wire, find=office.find, local=office.local, on_lost=lambda _: os._exit(0)
    )
    office.home.attach(socket.socket(fileno=int(sys.argv[1])))
    wire.start()
    trio.run(daemon.main)


if __name__ == "__main__":
    main()
