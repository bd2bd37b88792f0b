"""The actor that shows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Mapping

import attrs
import msgspec

from trouper import AskError, Inbox, Reason, Ref, actor, current

from .api import Api
from .feed import Feed
from .messages import Alert, Alerts, Crash, History, Next, OnPurpose, Raised, Sample
from .roll import Roll
from .rule import Rule
from .serving import listen, serving

log = logging.getLogger("telemetry")


@actor(flavour=asyncio)
class Web:
    """Serves the page and its interface over HTTP, in the asyncio lane."""

    store: Ref[History | Alerts]
    watcher: Ref[Next | Raised]
    cast: Mapping[str, Ref[Crash]]
    rules: tuple[Rule, ...]
    roll: Roll
    port: int
    feed: Feed = attrs.field(init=False, factory=Feed)
    listener: socket.socket = attrs.field(init=False)

    async def on_start(self) -> None:
        self.roll.follow(current(self).daemon)
        self.listener = listen("127.0.0.1", self.port)

    async def run(self, inbox: Inbox[Crash]) -> None:
        me = current(self)
        api = Api(self.store, {**self.cast, "web": me.self_ref}, self.rules, self.roll, self.feed)
        async with serving(api.app(), self.listener), contextlib.aclosing(self.feed):
            me.start_soon(self.follow)
            log.info("the page is at http://127.0.0.1:%d", self.listener.getsockname()[1])
            async for message in inbox:
                raise OnPurpose(message.why)

    async def on_stop(self, reason: Reason) -> None:
        self.listener.close()

    async def follow(self) -> None:
        """Pass on every sample that the watcher sees, and the state of the tree with it."""
        while True:
            sample, raised = await self.look()
            news = {"at": time.time(), "sample": sample, "raised": raised, "tree": self.roll.call()}
            self.feed.publish(msgspec.json.encode(news))

    async def look(self) -> tuple[Sample | None, tuple[Alert, ...]]:
        """Return the next sample and the alerts that are up; nothing, while there is nobody to tell."""
        try:
            return await self.watcher.ask(Next(), timeout=2.0), await self.watcher.ask(Raised(), timeout=2.0)
        except AskError:
            await asyncio.sleep(0.5)
            return None, ()
