"""From a daemon's side: the forkserver of one group of workers, and the processes that come out of it.

A process is told the terms of its group as soon as it is there, and comes up with them. Then it is somebody's, who
sends an order; or it is a *spare*, which waits for that.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trouper.errors import Failure
from trouper.workers.channel import Channel, is_readable
from trouper.workers.forkserver import Order

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_INHERITED = ("NOTIFY_", "LISTEN_", "WATCHDOG_")  # what systemd says is said to the daemon alone
log = logging.getLogger("trouper")

REQUEST = b"one more"
ANSWER = 256  # bytes
ENDING = 2.0  # seconds for a forkserver to end that nobody needs any more
LAST_WORD = 1.0  # seconds between the end of a process and the word of how it ended
PROLOGUE = "import sys; sys.path[:] = {path!r}; from {module} import main"


@attrs.frozen(eq=False)
class Started:
    """A process that runs, or has run.

    Args:
        pid: its number.
        pidfd: what it is known by; it is readable when the process has ended.
        channel: the way to its daemon.
        data: our end of the way between its actors and ours.
        report: where its exit status comes.
    """

    pid: int
    pidfd: int
    channel: Channel
    data: socket.socket
    report: socket.socket

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    async def ended(self) -> int | None:
        """Wait for its end. Returns its exit code, negative for a signal; None if nobody is left who knows it."""
        await trio.lowlevel.wait_readable(self.pidfd)
        with trio.move_on_after(LAST_WORD):
            await trio.lowlevel.wait_readable(self.report)
            with suppress(OSError):
                word = self.report.recv(ANSWER)
                return int(word) if word else None
        return None

    def close(self) -> None:
        os.close(self.pidfd)
        self.report.close()

    def dismiss(self) -> None:
        """Have it end; it is nobody's."""
        self.signal(signal.SIGKILL)
        self.channel.let_go()
        self.data.close()
        self.close()


class Launcher:
    """A forkserver, started when a worker is wanted first, and again when one is wanted and it has died.

    Args:
        name: the path of the group.
        actors: the names of the classes that the workers run.
        terms: what each process is told first. Its `preload` are modules that it imports, its `main` is how it
            imports what runs as `__main__` here, if the workers need that.
        spawn: whether a worker is a new interpreter.
        grace: seconds for the workers to end by themselves after this process.
    """

    def __init__(
        self,
        name: str,
        actors: Sequence[str],
        terms: dict[str, Any],
        *,
        spawn: bool,
        grace: float,
    ) -> None:
        self.name, self.actors = name, list(actors)
        self.terms, self.spawn, self.grace = terms, spawn, grace
        self.control: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.turn = trio.Lock()  # to start it, or to ask it for something
        self.users = 0  # processes that came out of it and are somebody's, and those that are to
        self.spares: deque[Started] = deque()
        self.coming = self.wanted = 0  # spares that are asked for, and how many there are to be

    async def start(self) -> Started:
        """Return a process: a spare, or a new one. To cancel that leaves none behind.

        Raises:
            Failure: there cannot be one.
        """
        while self.spares:
            spare = self.spares.popleft()
            if not (is_readable(spare.pidfd) or self.is_dead()):
                return spare
            spare.dismiss()
        for _ in range(2):  # the forkserver may have died long ago, and that is found out now
            async with self.turn:
                if self.control is None:
                    await self.open()
            control = self.control
            started = await self.ask()
            if started is not None:
                return started
            if self.control is control:  # else somebody has found that out before
                await self.close()
        raise Failure(self.name, "the process that starts its workers dies")

    def is_dead(self) -> bool:
        """Whether the forkserver is, which says nothing while it lives. What it has started would have no guardian."""
        return self.control is None or is_readable(self.control.fileno())

    async def keep(self, spares: int) -> None:
        """See to it that there are so many spares, if the forkserver lives."""
        self.wanted = spares
        for dead in [spare for spare in self.spares if is_readable(spare.pidfd)]:
            self.spares.remove(dead)
            dead.dismiss()
        while len(self.spares) + self.coming < self.wanted:
            control = self.control
            self.coming += 1
            try:
                spare = await self.ask()
            except (Failure, OSError) as error:
                log.warning("%s: there is no spare process: %s", self.name, error)
                return
            finally:
                self.coming -= 1
            if spare is None:
                return
            if self.control is control and len(self.spares) < self.wanted:
                self.spares.append(spare)
            else:  # they were dismissed meanwhile
                spare.dismiss()

    async def ask(self) -> Started | None:
        """Have one more process; None if the forkserver is dead."""
        control = self.control
        if control is None:
            return None
        link, far_link = socket.socketpair()
        data, far_data = socket.socketpair()
        report, far_report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = False
        try:
            with far_link, far_data, far_report:
                far = [far_link.fileno(), far_data.fileno(), far_report.fileno()]
                async with self.turn:
                    if self.control is not control:  # it was found dead meanwhile
                        return None
                    await trio.lowlevel.wait_writable(control)
                    socket.send_fds(control, [REQUEST], far)
            await trio.lowlevel.wait_readable(report)
            word, fds, _, _ = socket.recv_fds(report, ANSWER, 1)
            if word.startswith(b"!"):
                raise Failure(self.name, f"no process could be started: {word[1:].decode()}")
            if not word:
                return None
            if not fds:
                raise Failure(self.name, "no process can be known: too many open files")
            kept = True
            os.set_inheritable(fds[0], False)  # noqa: FBT003 - the os module wants it so
            channel = Channel(link, f"trouper {self.name}")
            channel.send("terms", self.terms)
            return Started(int(word), fds[0], channel, data, report)
        except (OSError, trio.ClosedResourceError):
            return None
        finally:
            if not kept:
                for end in (link, data, report):
                    end.close()

    async def open(self) -> None:
        """Start the forkserver itself, in a thread: that takes its time."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self.process = await trio.to_thread.run_sync(self.popen, theirs)
                self.control = ours
            finally:
                if self.control is None:
                    ours.close()

    def popen(self, control: socket.socket) -> subprocess.Popen[bytes]:
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        python = [sys.executable, *flags, "-c"]
        path = [str(Path.cwd()) if entry == "" else entry for entry in sys.path]
        again = PROLOGUE.format(path=path, module="trouper.daemon.worker")
        command = [*python, again]
        known = self.terms["preload"], self.actors, self.terms["main"]
        order = Order(self.name, os.getpid(), *known, sys.argv, command, self.spawn, self.grace)
        text = PROLOGUE.format(path=path, module="trouper.workers.forkserver")
        text += f", Order; main({control.fileno()}, Order(*{tuple(order)!r}))"
        environ = {key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)}
        return subprocess.Popen([*python, text], stdin=subprocess.DEVNULL, env=environ, pass_fds=[control.fileno()])  # noqa: S603 - our own

    async def close(self) -> None:
        """Let go of the forkserver: it ends as soon as none of its workers is left."""
        self.dismiss_spares()
        control, process = self.control, self.process
        self.control = self.process = None
        if control is not None:
            trio.lowlevel.notify_closing(control)
            control.close()
        if process is not None:
            with suppress(ProcessLookupError):  # a host that reaps whatever ends has taken it
                await self.reap(process, os.pidfd_open(process.pid))
            process.wait()

    def dismiss_spares(self) -> None:
        """Have none from now on, until some are wanted again."""
        self.wanted = 0
        while self.spares:
            self.spares.popleft().dismiss()

    def drop(self) -> None:
        """The same where no loop runs any more: at the end of a daemon that did not stop in time."""
        self.dismiss_spares()
        control, process = self.control, self.process
        self.control = self.process = None
        if control is not None:
            control.close()
        if process is not None:
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def reap(self, process: subprocess.Popen[bytes], pidfd: int) -> None:
        """Wait for its end, and see to it that there is one."""
        try:
            with trio.move_on_after(ENDING) as late:
                await trio.lowlevel.wait_readable(pidfd)
            if late.cancelled_caught:
                process.kill()
                await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
