"""The program that starts worker processes: a process with one thread, which has imported everything and then forks.

A daemon has many threads, and a fork of it would be a gamble. So it starts this program, once for each group of
workers, and asks it for each worker, by a socket. A request has the worker's ends of its channels and one end of a
*report* socket, on which the answer comes: the process id with a pidfd, and later the exit status. `spawn` has
a new interpreter started in place of the fork; so has a module that left a thread when it was imported, for then a fork
would be that gamble again.

It is the parent of the workers, and so it alone is told their exit status, and alone can be sure which process a number
means. It is no judge of their life: if it is killed, they live on, and the daemon sees that by their pidfds.

It is also the *subreaper* of all that they start: what a worker leaves behind becomes its child, and is killed with the
worker (what had made itself a session of its own, with the last of them). When the daemon is gone, however it ended,
the workers are told to stop, and are killed if they do not.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from trouper.workers.main_module import import_main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

WORKER = "trouper.daemon.worker"  # by name: it stands above this room
PRELOADED = WORKER, "trouper.lanes.asyncio_lane", "trouper.workers.staff"  # what is needed late is not for each worker
PR_SET_CHILD_SUBREAPER = 36
LEFT_TO_THE_PARENT = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


class Order(NamedTuple):
    """What this program is to do; plain values, for it travels as text.

    Args:
        name: the path of the group.
        daemon: the process id of who wants the workers.
        preload: modules to import.
        actors: classes in them, by their dotted names, of which all is to be known that messages to them take.
        main: how to import what the daemon runs as `__main__`, if the workers need it: `name` or `path`, and which.
        argv: that of the daemon, which its main module may read when it is imported.
        command: starts a new interpreter for a worker; the call of its `main` is added.
        spawn: whether that is wanted.
        grace: seconds for the workers to end by themselves after the daemon is gone.
    """

    name: str
    daemon: int
    preload: list[str]
    actors: list[str]
    main: tuple[str, str] | None
    argv: list[str]
    command: list[str]
    spawn: bool
    grace: float


def main(control: int, order: Order) -> NoReturn:
    """Do it, until the daemon lets go of the other end of `control`."""
    for number in LEFT_TO_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    retitle(f"trouper: starts the workers of {order.name}")
    sys.argv[:] = order.argv
    if not order.spawn:
        preload(order.preload, order.main)
        for name in PRELOADED:
            importlib.import_module(name)
        look_at(order.actors)
        gc.collect()
        gc.freeze()  # what is shared with the workers stays shared: no collection writes to it
    if os.getppid() != order.daemon:  # it has ended meanwhile
        os._exit(0)
    try:
        Forkserver(control, order).serve()
    except BaseException:  # noqa: BLE001 - the last place to tell it
        traceback.print_exc()
    os._exit(0)


def preload(modules: Iterable[str], main_module: tuple[str, str] | None) -> None:
    """Import what the workers will need. What fails here fails there again, where it can be told."""
    for name in modules:
        with suppress(Exception, SystemExit):
            importlib.import_module(name)
    if main_module is not None:
        with suppress(Exception, SystemExit):
            import_main(*main_module)


def look_at(actors: Iterable[str]) -> None:
    """Find out once what each worker would have to when the first message comes."""
    from trouper.actors.definition import definition_of  # noqa: PLC0415 - `spawn` needs nothing of this
    from trouper.workers.codec import mailbox_types  # noqa: PLC0415 - the same
    from trouper.workers.peer import class_named  # noqa: PLC0415 - the same

    for name in actors:
        with suppress(Exception):
            mailbox_types(definition_of(class_named(name)), name)


class Forkserver:
    """The one thread of this program."""

    def __init__(self, control: int, order: Order) -> None:
        self.control = socket.socket(fileno=control)
        self.control.set_inheritable(False)  # its end is that of this process, also where workers are new interpreters
        self.order = order
        self.daemon = os.pidfd_open(order.daemon)
        self.orphaned = os.getppid() != order.daemon
        self.workers: dict[int, socket.socket] = {}
        self.dead: set[int] = set()  # process ids, which are those of their sessions, too
        self.bell, self.alarm = socket.socketpair()
        for end in (self.bell, self.alarm):
            end.setblocking(False)  # noqa: FBT003 - the socket module wants it so
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.alarm.fileno(), warn_on_full_buffer=False)
        self.poll = select.poll()
        for one in (self.control, self.bell, self.daemon):
            self.poll.register(one, select.POLLIN)

    def serve(self) -> None:
        """Start workers and tell how they end, for as long as the daemon lives and wants that."""
        while not self.orphaned:
            ready = {fd for fd, _ in self.poll.poll()}
            if self.bell.fileno() in ready:
                self.reap()
            if self.daemon in ready or (self.control.fileno() in ready and not self.obey()):
                break
        self.outlive()

    def obey(self) -> bool:
        """Start one worker. False: no more are wanted."""
        request, fds, _, _ = socket.recv_fds(self.control, 4096, 3)
        if not request:
            return False
        *links, report = fds
        os.set_inheritable(report, False)  # noqa: FBT003 - the os module wants it so
        with socket.socket(fileno=report) as told:
            # a stop that comes before the worker listens waits until it can be heard
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            try:
                pid = self.start(links, told)
            except OSError as error:
                told.send(f"!{error}".encode())
                return True
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                for link in links:
                    os.close(link)
            self.workers[pid] = told.dup()
            self.dead.discard(pid)
            pidfd = os.pidfd_open(pid)
            try:
                socket.send_fds(told, [str(pid).encode()], [pidfd])
            except OSError:  # who asked for it has given it up
                os.kill(pid, signal.SIGKILL)
            finally:
                os.close(pidfd)
        return True

    def start(self, links: list[int], told: socket.socket) -> int:
        if self.order.spawn or threading.active_count() > 1:
            return self.start_interpreter(links)
        pid = os.fork()
        if pid == 0:
            self.become_worker(links, told)
        return pid

    def start_interpreter(self, links: list[int]) -> int:
        for fd in (*links, self.daemon):
            os.set_inheritable(fd, True)  # noqa: FBT003 - the os module wants it so
        *python, text = self.order.command
        command = [*python, f"{text}; main(*{links}, {self.daemon})"]
        return os.posix_spawn(command[0], command, os.environ, setsigmask=[], setsigdef=LEFT_TO_THE_PARENT)

    def become_worker(self, links: list[int], told: socket.socket) -> NoReturn:
        """In the new process."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (*LEFT_TO_THE_PARENT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for end in (self.control, self.bell, self.alarm, told, *self.workers.values()):
                end.close()
            importlib.import_module(WORKER).main(*links, self.daemon)
        except BaseException:  # noqa: BLE001 - the last place to tell it
            traceback.print_exc()
        os._exit(1)

    # -- ends --------------------------------------------------------------------------------------------------------
    def reap(self) -> None:
        """Tell of those that have ended, after what they left behind was killed."""
        with suppress(BlockingIOError):
            while self.bell.recv(4096):
                pass
        ended: list[tuple[socket.socket, int]] = []
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                if pid in self.workers:
                    ended.append((self.workers.pop(pid), os.waitstatus_to_exitcode(status)))
                    self.dead.add(pid)
        self.sweep()
        for told, code in ended:
            with told, suppress(OSError):
                told.send(str(code).encode())

    def sweep(self, *, all_of_them: bool = False) -> None:
        """Kill what dead workers have left behind. All are our children, so that no number means another process."""
        for pid in children():
            with suppress(ProcessLookupError):
                if pid not in self.workers and (all_of_them or os.getsid(pid) in self.dead):
                    os.kill(pid, signal.SIGKILL)

    def outlive(self) -> None:
        """The daemon is gone: see to it that nothing of it is left."""
        for pid in self.workers:
            os.kill(pid, signal.SIGTERM)
        deadline = monotonic() + self.order.grace
        self.poll = select.poll()
        self.poll.register(self.bell, select.POLLIN)
        while self.workers and (left := deadline - monotonic()) > 0:
            self.poll.poll(left * 1000)
            self.reap()
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)
        self.workers.clear()
        self.sweep(all_of_them=True)


def children() -> list[int]:
    """The process ids of our children; none where the system does not tell them."""
    found: list[int] = []
    with suppress(OSError):
        for of_thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):
                found += map(int, (of_thread / "children").read_text().split())
    return found


def retitle(text: str) -> None:
    """Say in the list of processes what this one is, where setproctitle is installed."""
    if (set_title := title_setter()) is not None:
        set_title(text)


@cache
def title_setter() -> Callable[[str], object] | None:
    """Looked for once, before the fork: to find nothing takes as long as a tenth of a worker's start."""
    try:
        return importlib.import_module("setproctitle").setproctitle  # type: ignore[no-any-return]
    except ImportError:
        return None
