"""A daemon with worker processes in a test: what is said in them, what happens, who lives."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from trouper import Daemon, Event, Supervisor, open_daemon

PATIENCE = 20.0


class Stage:
    """Where actors of all processes are heard, by the path of a socket."""

    def __init__(self, ear: trio.socket.SocketType, path: str) -> None:
        self.ear, self.path = ear, path

    async def hear(self, *words: object) -> list[str]:
        """The rest of the next line that begins with these words; what is said before is not listened to."""
        wanted = [str(word) for word in words]
        heard: list[str] = []
        with trio.move_on_after(PATIENCE):
            while True:
                line = (await self.ear.recv(4096)).decode()
                heard.append(line)
                said = line.split(" ")
                if said[: len(wanted)] == wanted:
                    return said[len(wanted) :]
        raise AssertionError(f"waited for {wanted}, heard {heard}")

    async def hear_all(self, count: int, *words: object) -> list[list[str]]:
        return [await self.hear(*words) for _ in range(count)]

    def post(self, what: str, number: int) -> None:
        """Have the actors of a worker find a file."""
        Path(f"{self.path}.{what}.{number}").touch()

    def cue(self, number: int = 0) -> None:
        """Have a `Does` do it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(b"cue", f"{self.path}.{number}")


@contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        path = f"{folder}/stage"
        bound.bind(path)
        with trio.socket.from_stdlib_socket(bound) as ear:
            yield Stage(ear, path)


class House:
    """A daemon, and what has happened in it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.events: list[Any] = []
        self.bell = trio.Event()
        self.token = trio.lowlevel.current_trio_token()

    def note(self, event: Event) -> None:
        self.token.run_sync_soon(self.take, event)

    def take(self, event: Event) -> None:
        self.events.append(event)
        self.bell.set()
        self.bell = trio.Event()

    async def until(self, kind: type[Event], *, where: Callable[[Any], object] = lambda _: True, count: int = 1) -> Any:
        """The event with this number, of this kind, of which `where` is true."""
        with trio.move_on_after(PATIENCE):
            while True:
                found = [event for event in self.events if isinstance(event, kind) and where(event)]
                if len(found) >= count:
                    return found[count - 1]
                await self.bell.wait()
        raise AssertionError(f"no {kind.__name__} number {count} in {self.events}")

    async def pid(self, path: str) -> int:
        snapshot = (await self.daemon.tree()).find(path)
        assert snapshot is not None
        assert snapshot.pid is not None
        return snapshot.pid

    def launcher(self, path: str) -> int:
        """The process id of a forkserver."""
        [pid] = [pid for pid in children(os.getpid()) if f"'{path}'" in command_of(pid)]
        return pid


@asynccontextmanager
async def house(tree: Supervisor, *kinds: type[Event], **options: Any) -> AsyncIterator[House]:
    before = set(children(os.getpid()))
    async with open_daemon(tree, **options) as daemon:
        inside = House(daemon)
        with daemon.subscribe(inside.note, *kinds):
            yield inside
    assert set(children(os.getpid())) <= before, "a process of ours is left"


# -- processes ---------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    found: list[int] = []
    for of_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError):  # the thread ended meanwhile
            found += map(int, of_thread.read_text().split())
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


async def ended(pid: int) -> None:
    """Wait for the end of any process."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
