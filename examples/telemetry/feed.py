"""What the live stream passes on: the newest news to everybody who listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import attrs


@attrs.define(eq=False)
class Feed:
    """One publisher and many followers on one asyncio loop. A slow follower skips what is no longer new."""

    news: bytes | None = attrs.field(default=None, init=False)
    closed: bool = attrs.field(default=False, init=False)
    changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def publish(self, news: bytes) -> None:
        """Hand the news to everybody."""
        self.news = news
        self.wake()

    async def aclose(self) -> None:
        """End every follower's stream."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Let those run who wait, and make those wait who come now."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield the news as server-sent events, until the feed is closed."""
        yield b"retry: 500\n\n"  # milliseconds until a browser comes back
        while not self.closed:
            changed = self.changed
            if self.news is not None:
                yield b"data: " + self.news + b"\n\n"
            await changed.wait()
