"""The actor that looks at the host."""

from __future__ import annotations

import threading
from itertools import islice

from trouper import Ref, SyncInbox, actor

from .host import Host
from .messages import Crash, OnPurpose, Sample


@actor(flavour=threading)
class Sampler:
    """A plain blocking loop in a thread of its own: the kernel's files are read without an event loop waiting."""

    store: Ref[Sample]
    watcher: Ref[Sample]
    every: float = 1.0

    def run(self, inbox: SyncInbox[Crash]) -> None:
        """Send a sample to whoever wants one at every tick."""
        host = Host()
        for _ in islice(
            inbox.ticks(every=self.every), 1, None
        ):  # the first comes at once, and a rate needs a look back
            sample = host.sample()
            self.store.send(sample)
            self.watcher.send(sample)
            if inbox:
                raise OnPurpose(inbox.get().why)
