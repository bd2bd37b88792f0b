"""The HTTP interface: every answer is an actor's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from trouper import AskError, Ref

from .feed import Feed
from .host import describe
from .messages import Alerts, Crash, History
from .page import html
from .roll import Roll
from .rule import Rule

POINTS = 300
"""A chart gets about this many samples, however long its time is."""


def json(content: Any, status: int = 200) -> Response:
    """Return the content as JSON; msgspec knows the messages."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def number(request: Request, name: str, default: int, most: int) -> int:
    """Return a number from the query, held between 1 and `most`."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise HTTPException(400, f"{name} must be a whole number, not {text!r}")
    return min(max(int(text), 1), most)


async def unavailable(request: Request, error: Exception) -> Response:
    """Answer for an actor that is just not there."""
    return json({"error": f"{type(error).__name__}: {error}"}, 503)


@attrs.frozen
class Api:
    """The endpoints, and whom they ask."""

    store: Ref[History | Alerts]
    cast: Mapping[str, Ref[Crash]]
    rules: tuple[Rule, ...]
    roll: Roll
    feed: Feed

    async def page(self, request: Request) -> Response:
        """GET /: the one page."""
        return HTMLResponse(html())

    async def state(self, request: Request) -> Response:
        """GET /api/state: what a page needs to begin with."""
        rules = [attrs.asdict(rule) for rule in self.rules]
        return json({"host": describe(), "rules": rules, "tree": self.roll.call()})

    async def history(self, request: Request) -> Response:
        """GET /api/history?seconds=300: the samples, as means when they are many."""
        seconds = number(request, "seconds", 300, 7 * 24 * 3600)
        every = seconds / POINTS if seconds > POINTS else 0.0
        samples = await self.store.ask(History(time.time() - seconds, every))
        return json({"every": every, "samples": samples})

    async def alerts(self, request: Request) -> Response:
        """GET /api/alerts?last=50: the newest first."""
        return json({"alerts": await self.store.ask(Alerts(number(request, "last", 50, 1000)))})

    async def live(self, request: Request) -> Response:
        """GET /api/live: a server-sent event for every sample."""
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self.feed.follow(), media_type="text/event-stream", headers=headers)

    async def crash(self, request: Request) -> Response:
        """POST /api/crash/{name}: make an actor fail. Not for other sites' pages."""
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise HTTPException(403, "only this daemon's own page may do that")
        name = request.path_params["name"]
        if name not in self.cast:
            raise HTTPException(404, f"there is no actor {name!r}; there are {', '.join(self.cast)}")
        self.cast[name].send(Crash())
        return json({"crashed": name}, 202)

    def app(self) -> Starlette:
        """Return all of it as an ASGI application."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/api/state", self.state),
                Route("/api/history", self.history),
                Route("/api/alerts", self.alerts),
                Route("/api/live", self.live),
                Route("/api/crash/{name}", self.crash, methods=["POST"]),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
            exception_handlers={AskError: unavailable},
        )
