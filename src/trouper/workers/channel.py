"""What a daemon and its worker process tell each other: objects over a socket.

Nobody who has something to say waits for the other process. It lies in a queue, and whoever comes first writes for all,
as long as the socket takes it; who finds `writing` taken goes its way, for who holds it looks at the queue once more
*after* letting go. What the socket does not take, what is too much in passing and what takes long to write is left to a
thread, which has `writing` until all is written. So what is said in the usual case costs no switch of threads.

Another thread reads. Whoever reads an end of file knows that the other process has ended, however it did.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import socket
import traceback
from collections import deque
from contextlib import suppress
from math import inf
from struct import Struct
from threading import Lock, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("trouper")

LENGTH = Struct("!I")
IN_PASSING = 16  # writes of one thread for others, before they get one of their own


class Channel:
    """One end.

    Args:
        end: a connected stream; it belongs to the channel from now on.
        name: for its threads.
        guard: a pidfd of the other process, whose end is that of what is read, too: somebody may have inherited the
            other end of the channel.
    """

    def __init__(self, end: socket.socket, name: str, guard: int | None = None) -> None:
        end.settimeout(None)  # whatever the program has for its own
        self.end, self.name, self.guard = end, name, guard
        self.queue: deque[tuple[Any, ...]] = deque()
        self.rest = b""  # of what is being written
        self.pid = os.getpid()
        self.writing = Lock()
        self.heard = select.poll()
        for fd in (end.fileno(), guard):
            if fd is not None:
                self.heard.register(fd, select.POLLIN)

    def open(self, hear: Callable[[tuple[Any, ...]], object], over: Callable[[], object]) -> None:
        """Begin to read.

        Args:
            hear: called with each message, in the thread that reads.
            over: called at the end, in that thread, once.
        """
        Thread(target=self.read_on, args=(hear, over), name=f"{self.name} reads", daemon=True).start()

    def send(self, *message: Any) -> None:
        """Tell the other process. From any thread; never waits."""
        self.queue.append(message)
        self.write()

    def send_large(self, *message: Any) -> None:
        """The same for what may take long to write."""
        self.queue.append(message)
        if self.begin():
            self.delegate()

    def flush(self, seconds: float) -> bool:
        """Wait until all is written that was sent so far. Returns whether it was."""
        deadline = monotonic() + seconds
        self.write()
        while self.queue or self.rest or self.writing.locked():
            left = deadline - monotonic()
            if left <= 0 or os.getpid() != self.pid or not self.writing.acquire(timeout=left):
                return False
            self.writing.release()
            self.write()
            sleep(0.001)  # for where the system has no thread to wait for
        return True

    def close(self) -> None:
        """Say and hear nothing more."""
        with suppress(OSError):
            self.end.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """The same, and the socket is closed: in the thread that reads, or where nobody does."""
        self.close()  # so that a thread which writes gives up
        with self.writing:  # nobody may write to what somebody else opens under this number
            self.end.close()

    def is_orphaned(self) -> bool:
        """Whether the process behind the guard has ended."""
        return self.guard is not None and is_readable(self.guard)

    # -- whoever writes ----------------------------------------------------------------------------------------------
    def write(self) -> None:
        """Write what there is, unless somebody does."""
        while (self.queue or self.rest) and self.begin():
            if not self.write_in_passing():
                self.delegate()
                return
            self.writing.release()

    def begin(self) -> bool:
        """Become who writes; False: somebody is, or this is a fork of the process whose channel it is."""
        return os.getpid() == self.pid and self.writing.acquire(blocking=False)

    def write_in_passing(self) -> bool:
        """Write what the socket takes, on whoever's stack this is: what goes wrong there is no reason to be silent."""
        try:
            return self.write_some(IN_PASSING, socket.MSG_DONTWAIT)
        except BaseException:
            self.writing.release()
            raise

    def write_some(self, most: float, how: int) -> bool:
        """Write, who holds `writing`, until there is nothing more; False: the socket is full, or there is too much."""
        while self.rest or self.queue:
            if not self.rest:
                self.rest = packed(self.queue[0])
                self.queue.popleft()
            try:
                self.rest = self.rest[self.end.send(self.rest, how) :]
            except BlockingIOError:
                return False
            except OSError:
                self.rest = b""  # the other process is gone, which the reader finds, too
            most -= 1
            if most <= 0:
                return not (self.rest or self.queue)
        return True

    def delegate(self) -> None:
        """Have a thread write the rest; it holds `writing` from now on."""
        try:
            Thread(target=self.write_on, name=f"{self.name} writes", daemon=True).start()
        except RuntimeError:  # the system has none: what the socket takes, and the rest with the next message
            self.write_in_passing()
            self.writing.release()

    def write_on(self) -> None:
        """In a thread of its own."""
        try:
            self.write_some(inf, 0)
        finally:
            self.writing.release()
        self.write()

    # -- whoever reads -----------------------------------------------------------------------------------------------
    def read_on(self, hear: Callable[[tuple[Any, ...]], object], over: Callable[[], object]) -> None:
        while (message := self.receive()) is not None:
            hear(message)
        self.let_go()
        over()

    def receive(self) -> tuple[Any, ...] | None:
        """Read one message; None at the end."""
        head = self.take(LENGTH.size)
        text = None if head is None else self.take(*LENGTH.unpack(head))
        return None if text is None else pickle.loads(text)  # noqa: S301 - of our own process

    def take(self, count: int) -> bytes | None:
        """Read so many bytes; None if there will not be so many."""
        got = b""
        while len(got) < count:
            if any(fd == self.guard for fd, _ in self.heard.poll()):
                return None
            try:
                more = self.end.recv(count - len(got))
            except OSError:
                return None
            if not more:
                return None
            got += more
        return got


def is_readable(fd: int) -> bool:
    """Whether there is something to be read now; of a pidfd: whether the process has ended."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def packed(message: tuple[Any, ...]) -> bytes:
    """As it is written; nothing of what cannot be, for whoever writes it need not be who said it.

    Raises:
        RecursionError: it is written deep in somebody's stack; who writes next tries again.
    """
    try:
        text = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        return LENGTH.pack(len(text)) + text
    except Exception:  # noqa: BLE001 - told below
        try:
            log.exception("%r cannot be told to another process", message[0])
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - a handler of the program's, which must not hold up the rest
            traceback.print_exc()
        return b""
