"""uvicorn as a context, inside an actor."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket: uvicorn's own way to report that a port is taken is to exit the process."""
    return socket.create_server((host, port), reuse_port=False)


@contextlib.asynccontextmanager
async def serving(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Serve `app` while the body runs; the end takes about 100 ms.

    `Server.serve` would take the signals, which belong to the daemon, and would leave everything open when it is
    cancelled. So this is what it does, without the two.
    """
    config = uvicorn.Config(app, lifespan="off", log_config=None, log_level="warning", timeout_graceful_shutdown=1)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield
    finally:
        await server.shutdown(sockets=[listener])
