"""The actor that shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import attrs
import msgspec
from trouper import ActorRestarted, AskError, AskTimeout, Inbox, Ref, actor, current

from .api import Api
from .feed import Feed
from .messages import Alerts, Crash, History, Next, OnPurpose, Raised
from .rule import Rule
from .serving import listen, serving


@actor(flavour=asyncio)
class Web:
    """Serves the page and its interface over HTTP, in the asyncio lane."""

    store: Ref[History | Alerts]
    watcher: Ref[Next | Raised]
    cast: Mapping[str, Ref[Crash]]
    rules: tuple[Rule, ...]
    port: int
    feed: Feed = attrs.field(init=False, factory=Feed)

    async def run(self, inbox: Inbox[Crash]) -> None:
        me = current(self)
        cast = {**self.cast, "web": me.self_ref}
        api = Api(self.store, cast, self.rules, self.feed, self.tree)
        async with serving(api.app(), listen("127.0.0.1", self.port)):
            me.start_soon(self.follow)
            try:
                async for message in inbox:
                    raise OnPurpose(message.why)
            finally:
                self.feed.close()

    async def follow(self) -> None:
        """Pass on every sample that the watcher sees, and the state of the tree with it."""
        while True:
            try:
                sample = await self.watcher.ask(Next(), timeout=2.0)
                raised = await self.watcher.ask(Raised())
            except AskError:
                sample, raised = None, ()
            self.feed.publish(msgspec.json.encode({"at": time.time(), "sample": sample, "raised": raised, "tree": []}))
