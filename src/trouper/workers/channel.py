"""What a daemon and its worker process tell each other: objects over a socket.

Two threads at each end, so that nobody who has something to say waits for the other process: one writes what lies in a
queue, one reads. Whoever reads an end of file knows that the other process has ended, however it did.
"""

from __future__ import annotations

import pickle
import socket
from contextlib import suppress
from queue import SimpleQueue
from struct import Struct
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = Struct("!I")


class Channel:
    """One end.

    Args:
        end: a connected stream; it belongs to the channel from now on.
        name: for its threads.
    """

    def __init__(self, end: socket.socket, name: str) -> None:
        self.end, self.name = end, name
        self.queue: SimpleQueue[tuple[Any, ...] | Event | None] = SimpleQueue()
        self.file = end.makefile("rb")

    def open(self, hear: Callable[[tuple[Any, ...]], object], over: Callable[[], object]) -> None:
        """Begin to write and to read.

        Args:
            hear: called with each message, in the thread that reads.
            over: called at the end, in that thread, once.
        """
        Thread(target=self.write_on, name=f"{self.name} writes", daemon=True).start()
        Thread(target=self.read_on, args=(hear, over), name=f"{self.name} reads", daemon=True).start()

    def send(self, *message: Any) -> None:
        """Tell the other process, soon. From any thread; never waits."""
        self.queue.put(message)

    def flush(self, seconds: float) -> bool:
        """Wait until all is written that was sent so far. Returns whether it was."""
        written = Event()
        self.queue.put(written)
        return written.wait(seconds)

    def close(self) -> None:
        """Say and hear nothing more."""
        with suppress(OSError):
            self.end.shutdown(socket.SHUT_RDWR)
        self.queue.put(None)

    # -- in threads of its own ---------------------------------------------------------------------------------------
    def write_on(self) -> None:
        broken = False
        while (item := self.queue.get()) is not None:
            if isinstance(item, Event):
                item.set()
            elif not broken:
                try:
                    text = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
                    self.end.sendall(LENGTH.pack(len(text)) + text)
                except OSError:
                    broken = True  # the other process is gone, which the reader finds, too
        self.end.close()

    def read_on(self, hear: Callable[[tuple[Any, ...]], object], over: Callable[[], object]) -> None:
        with self.file:
            while (message := self.receive()) is not None:
                hear(message)
        over()

    def receive(self) -> tuple[Any, ...] | None:
        """Read one message; None at the end."""
        try:
            head = self.file.read(LENGTH.size)
            if len(head) < LENGTH.size:
                return None
            (length,) = LENGTH.unpack(head)
            text = self.file.read(length)
            return None if len(text) < length else pickle.loads(text)  # noqa: S301 - of our own process
        except OSError:
            return None
