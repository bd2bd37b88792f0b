"""Where one asks how it goes."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from trouper import AskError, Ref, actor

from .messages import Status

log = logging.getLogger("balancer")

PATIENCE = 2.0  # seconds for a client to say what it wants


@actor(flavour=asyncio)
class Desk:
    """It answers every HTTP request with the controller's report, as JSON."""

    controller: Ref[Status]
    port: int

    async def run(self) -> None:
        """Serve until the daemon stops."""
        server = await asyncio.start_server(self.answer, "127.0.0.1", self.port)
        for socket in server.sockets:
            log.info("the desk is at http://%s:%d", *socket.getsockname())
        async with server:
            await server.serve_forever()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):  # a server of Python 3.13 stops when its clients are gone
                await reader.readuntil(b"\r\n\r\n")
            body = msgspec.json.encode(await self.controller.ask(Status()))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
        except (AskError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.warning("a request was not answered: %s", error)
        finally:
            writer.close()
