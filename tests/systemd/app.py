"""What the units of the tests run. Fifos there are gates: an actor waits until the test opens one."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Never

import trio

from trouper import Limit, Listener, Message, Ref, actor, child, current, listener, one_for_one, process

log = logging.getLogger("app")


def pass_gate(name: str) -> None:
    with Path(name).open():
        """Somebody opened it."""


class Block(Message): ...


@actor(flavour="asyncio", start_timeout=60, reload_timeout=60)
class Gated:
    """Its start, and its reload, are over when the test says so."""

    async def on_start(self) -> None:
        await asyncio.to_thread(pass_gate, "start")

    async def on_reload(self) -> None:
        await asyncio.to_thread(pass_gate, "reload")

    async def receive(self, message: Never) -> None: ...


@actor(flavour="trio")
class Blocks:
    async def receive(self, message: Block) -> None:
        while True:
            pass


@actor(flavour="asyncio")
class Presses:
    blocks: Ref[Block]

    async def run(self) -> None:
        await asyncio.to_thread(pass_gate, "block")
        self.blocks.send(Block())


@actor(flavour="trio")
class Fails:
    async def on_start(self) -> None:
        raise OSError("no such device")

    async def receive(self, message: Never) -> None: ...


@actor(flavour="trio")
class Serves:
    """It answers each connection with the number of its process."""

    http: Listener

    async def run(self) -> None:
        with trio.socket.from_stdlib_socket(self.http.open()) as listening:
            while True:
                connection, _ = await listening.accept()
                with trio.CancelScope(shield=True), connection:
                    await connection.send(f"{os.getpid()}".encode())


@actor(flavour="threading")
class Talks:
    def on_start(self) -> None:
        log.warning("a %s word", "x" * 300_000)
        log.info("several\nlines", extra={"request": 7})

    def receive(self, message: Never) -> None: ...


@actor(flavour="trio")
class Counts:
    """It says that it has reloaded."""

    async def on_reload(self) -> None:
        log.info("%s has reloaded", current(self).path)

    async def receive(self, message: Never) -> None: ...


gated = one_for_one(child(Gated))
blocking = one_for_one(blocks := child(Blocks), child(Presses, blocks.ref))
failing = one_for_one(child(Fails), restarts=Limit(1, within=30))
serving = one_for_one(child(Serves, listener("http")))
talking = one_for_one(child(Talks))
working = one_for_one(child(Counts), process(child(Counts), workers=2, name="workers"))
