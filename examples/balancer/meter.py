"""The input of the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Never

from trouper import Ref, SyncInbox, actor

from .messages import Load


@actor(flavour=threading)
class Meter:
    """It reads the load of the host, which may block, in a thread of its own."""

    read: Callable[[], float]
    controller: Ref[Load]
    every: float = 1.0

    def run(self, inbox: SyncInbox[Never]) -> None:
        """Tell the controller the load since the last tick; the first reading has nothing to compare with."""
        self.read()
        for _ in islice(inbox.ticks(every=self.every), 1, None):
            self.controller.send(Load(self.read()))
