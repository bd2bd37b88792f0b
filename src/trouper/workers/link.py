"""The link: a socket between two processes, from the bytes down.

**Writing.** What is to be written lies in two queues that any thread may append to: whole frames, and refs whose boxes
have something in them. Whoever comes first writes for all: a thread that finds `writing` taken goes its way, since
who holds it looks at the queues once more *after* letting go. So an ask costs no switch of threads, and what is sent
while somebody writes goes out together with one call of the system.

Where a lane sends, its writing comes after the step under way (an order to itself): a handler that sends a thousand
messages makes a few writes. Other threads leave theirs to the wire's thread, which comes as soon as it gets the
interpreter. A box that has grown to `CHUNK` is written by who sends, so that nobody waits for either.

**Backpressure.** When the socket takes no more, the link is blocked until the wire's thread hears that it does: boxes
fill, and the policies of mailboxes apply.

**Reading** is the business of one thread at a time, for all links of a process: the wire's own, or one that would sleep
otherwise and has *borrowed* the wire. A thread that waits for an answer reads it itself; so do a threading actor that
waits for messages, and the loop of a lane while it sleeps (`waiting.py`): no switch of threads lies between the socket
and who waits for it. Who reads decodes, and puts messages into the mailboxes of their actors.
"""

from __future__ import annotations

import os
from collections import deque
from select import EPOLLIN, EPOLLOUT, epoll
from threading import Lock, Thread, get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol

from trouper.errors import FrameError
from trouper.lanes.whose import handling
from trouper.workers.frames import CONTROL, HELLO, VERSION, Decoder, frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from trouper.lanes.lane import Lane
    from trouper.workers.frames import Frame

HIGH: Final = 256 * 1024  # bytes that are gathered for one write
ROUNDS: Final = 8  # writes of one thread, before it leaves the rest to the wire's
NOBODY: Final = -1


class Source(Protocol):
    """A ref whose box has something in it."""

    queued: bool
    lane: Any

    def drain(self, out: bytearray) -> None: ...


class Link:
    """One end of a socket between two processes. For the refs beyond it, it is what a lane is for others.

    Args:
        sock: a stream, connected; the link owns it from now on.
        wire: where it is read.
        hear: called by who reads with each frame but the greeting; what it raises ends the link.
        lost: called there, too, once the link has ended, with the error, or None at the end of the stream.
    """

    ident = NOBODY

    def __init__(
        self,
        sock: socket,
        wire: Wire,
        hear: Callable[[Frame], object],
        lost: Callable[[Link, BaseException | None], object],
    ) -> None:
        sock.settimeout(0)
        self.sock = sock
        self.wire = wire
        self.hear = hear
        self.lost = lost
        self.decoder = Decoder()
        self.frames: deque[bytes] = deque()
        self.dirty: deque[Source] = deque()
        self.out = bytearray()
        self.writing = Lock()
        self.blocked = False
        self.over = False
        self.greeted = False
        self.frames.append(frame(HELLO, 0, VERSION, b"\xc0"))

    # -- any thread --------------------------------------------------------------------------------------------------
    def foreign(self, ref: Source) -> None:
        """This ref's box has something in it, and it is not marked."""
        ref.queued = True
        self.dirty.append(ref)
        if self.over:
            if ref.lane is not self:
                ref.lane.foreign(ref)
            return
        lane = lane_here()
        if lane is not None and lane.flavour != "threading":
            lane.post(self.flush)
        else:
            self.wire.wake(self)

    def now(self, ref: Source) -> None:
        """As `foreign`, and written here and now: somebody waits for the answer."""
        if not ref.queued:
            ref.queued = True
            self.dirty.append(ref)
        if self.over and ref.lane is not self:
            ref.lane.now(ref)
        else:
            self.flush()

    def post(self, data: bytes) -> None:
        """Have a frame written; `flush` or `soon` must follow."""
        self.frames.append(data)

    def soon(self) -> None:
        """Flush after the step under way, if this is the thread of a lane."""
        if (lane := lane_here()) is not None:
            lane.post(self.flush)
        else:
            self.wire.wake(self)

    def answer(self, data: bytes) -> None:
        """Write a frame that somebody waits for: at once, or after the step under way if that is a loop's."""
        self.frames.append(data)
        if (lane := lane_here()) is not None and lane.flavour != "threading":
            lane.post(self.flush)
        else:
            self.flush()

    def flush(self) -> None:
        """Write what there is, unless somebody does."""
        while (self.frames or self.dirty or self.out) and not self.blocked:
            if not self.writing.acquire(blocking=False):
                return
            try:
                done = self.write()
            except BaseException as error:  # noqa: BLE001 - whatever could not be written, what follows is of no use
                self.blocked = True
                self.wire.do(self.wire.end_one, self, error)
                return
            finally:
                self.writing.release()
            if not done:
                self.wire.wake(self)
                return

    def write(self) -> bool:
        """Write until there is nothing more or the socket is full; False: for too long already."""
        out = self.out
        for _ in range(ROUNDS):
            self.fill(out)
            if not out:
                return True
            try:
                count = self.sock.send(out)
            except (BlockingIOError, InterruptedError):
                count = 0
            except OSError:  # the other end is gone: the reader hears it, after what it has still said
                self.blocked = True
                return True
            if count < len(out):
                del out[:count]
                self.blocked = True
                self.wire.watch(self, EPOLLIN | EPOLLOUT)
                return True
            out.clear()
        return False

    def fill(self, out: bytearray) -> None:
        """Gather what goes out with the next write."""
        frames, dirty = self.frames, self.dirty
        while len(out) < HIGH:
            if frames:
                out += frames.popleft()
            elif dirty:
                dirty.popleft().drain(out)
            else:
                return

    def close(self) -> None:
        """End it, after what is written already; `lost` is called as at the end of the stream."""
        self.wire.do(self.wire.end_one, self)

    # -- who reads -------------------------------------------------------------------------------------------
    def heard(self, events: int) -> None:
        """The socket has or takes something."""
        if events & EPOLLOUT:
            self.wire.watch(self, EPOLLIN)
            self.blocked = False
            self.flush()
        if events & ~EPOLLOUT:
            self.read()

    def read(self) -> None:
        """Take what has come."""
        try:
            with self.decoder.room() as room:
                count = self.sock.recv_into(room)
            for one in self.decoder.filled(count):
                self.take(one)
            if not count:
                self.decoder.finish()
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            self.lose(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, this stream is of no use any more
            self.lose(error)
        else:
            self.flush() if count else self.lose(None)

    def take(self, one: Frame) -> None:
        if self.greeted and one[0] != HELLO:
            self.hear(one)
        elif self.greeted or one[0] != HELLO or one[2] != VERSION:
            found = f"kind {one[0]}, number {one[2]}"
            raise FrameError(0, found, f"one greeting of version {VERSION} before all else, and no second")
        self.greeted = True

    def lose(self, error: BaseException | None) -> None:
        """It has ended."""
        if self.over:
            return
        with self.writing:
            self.over = self.blocked = True
            self.wire.forget(self)
            self.sock.close()
        self.lost(self, error)


class Wire:
    """Reads from all links of a process and writes where nobody else does, in its own thread or a borrowed one."""

    def __init__(self, name: str = "trouper wire") -> None:
        self.sockets = epoll()
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.own = epoll()  # what its own thread waits for
        self.own.register(self.bell, EPOLLIN)
        self.own.register(self.sockets.fileno(), EPOLLIN)
        self.links: dict[int, Link] = {}
        self.orders: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.reading = Lock()
        self.borrowed = Lock()
        self.borrower = NOBODY
        self.addressee: object = None  # the lane that something came for last
        self.parked = False
        self.pending = False
        self.over = False
        self.thread = Thread(target=self.main, name=name, daemon=True)

    def __del__(self) -> None:
        """Only now: whoever was about to ring must not ring what somebody else has opened under this number."""
        os.close(self.bell)

    # -- any thread --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the thread; once."""
        self.thread.start()

    def attach(self, link: Link) -> None:
        """Read from this link from now on."""
        self.links[link.sock.fileno()] = link
        self.sockets.register(link.sock.fileno(), EPOLLIN)
        self.wake(link)

    def wake(self, link: Link) -> None:
        """Have the thread flush this link."""
        self.do(link.flush)

    def do(self, order: Callable[..., object], *args: Any) -> None:
        """Have `order(*args)` called in the wire's own thread."""
        self.orders.append((order, args))
        if self.parked and not self.pending:
            self.pending = True
            os.eventfd_write(self.bell, 1)

    def watch(self, link: Link, events: int) -> None:
        """Wait for these events of its socket."""
        self.sockets.modify(link.sock.fileno(), events)

    def forget(self, link: Link) -> None:
        if self.addressee is link:
            self.addressee = None
        self.links.pop(link.sock.fileno(), None)
        self.sockets.unregister(link.sock.fileno())

    def close(self) -> None:
        """End all links and the thread. Does not wait for it."""
        self.do(self.end)

    # -- whoever reads -----------------------------------------------------------------------------------------------
    def lend(self) -> bool:
        """The caller reads from now on, whenever `sockets` has something, until `back`; False: somebody else does."""
        if self.over or not self.borrowed.acquire(blocking=False):
            return False
        self.borrower = get_ident()
        self.own.modify(self.sockets.fileno(), 0)
        return True

    def back(self) -> None:
        """The caller has something better to do."""
        self.borrower = NOBODY
        self.own.modify(self.sockets.fileno(), EPOLLIN)
        self.borrowed.release()

    def read(self, *, wait: bool = True) -> None:
        """Take what has come, on all links; without `wait` leave it to who is reading still."""
        if not self.reading.acquire(blocking=wait):
            return
        try:
            for fd, what in self.sockets.poll(0):
                if (link := self.links.get(fd)) is not None:
                    link.heard(what)
        finally:
            self.reading.release()

    # -- its own thread ----------------------------------------------------------------------------------------------
    def main(self) -> None:
        orders, bell, poll = self.orders, self.bell, self.own.poll
        while not self.over:
            self.parked = True  # before the last look
            if orders:
                self.parked = False
            events = poll(0 if orders else None)
            self.parked = False
            for fd, _ in events:
                if fd == bell:
                    os.eventfd_read(bell)
                    self.pending = False
                else:
                    self.read()
            for _ in range(len(orders)):
                order, args = orders.popleft()
                order(*args)

    def end_one(self, link: Link, error: BaseException | None = None) -> None:
        with self.reading:
            link.lose(error)

    def end(self) -> None:
        for link in list(self.links.values()):
            self.end_one(link)
        self.over = True


def lane_here() -> Lane | None:
    """The lane whose thread this is, where a handler or a task of an actor runs."""
    cell = handling.get(None)
    lane: Lane | None = None if cell is None else cell.ref.lane
    return lane if lane is not None and lane.ident == get_ident() else None


def control(name: str, payload: bytes) -> bytes:
    """A frame for who keeps the processes."""
    words = name.encode("ascii")
    return frame(CONTROL, len(words), 0, words + payload)
