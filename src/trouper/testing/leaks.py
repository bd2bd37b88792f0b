"""What is left over when it should be gone: tasks, timers, threads, open files, instances of actors.

Each kind is found by its difference: what is there at the end and was not at the beginning. A trial looks closer, for
it knows what came while its world ran, and whose it is.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
import threading
import traceback
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import trio

from trouper.errors import show
from trouper.lanes.slot import in_asyncio
from trouper.testing.errors import Leaked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind: TypeAlias = Literal["tasks", "timers", "threads", "files", "instances"]
KINDS: tuple[Kind, ...] = ("tasks", "timers", "threads", "files", "instances")

FILES = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")
ENDING = 0.5  # real seconds for a thread to end that has nothing to do any more
CACHED = "Trio thread"  # trio keeps idle worker threads for a while


# -- what there is -----------------------------------------------------------------------------------------------------
def open_files() -> set[int]:
    """The file descriptors of this process."""
    listed = [int(entry.name) for entry in FILES.iterdir()]
    return {fd for fd in listed if identity(fd) is not None}  # without the one that was listed by


def identity(fd: int) -> tuple[int, int] | None:
    """What tells a file from another that got its number later; None if it is closed."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def file_name(fd: int) -> str:
    with suppress(OSError):
        return f"{fd}, {(FILES / str(fd)).readlink()}"
    return str(fd)


def running_tasks() -> set[Any]:
    """The tasks of the loop that runs here, if one does."""
    if in_asyncio():
        return {*asyncio.all_tasks()}
    if trio.lowlevel.in_trio_task():
        root = trio.lowlevel.current_root_task()
        return set() if root is None else {*below(root)}
    return set()


def below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """A task of trio and all in its nurseries."""
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from below(child)


def task_name(task: Any) -> str:
    coro = task.get_coro() if isinstance(task, asyncio.Task) else task.coro
    return str(getattr(coro, "__qualname__", task))


# -- who holds what is not gone ----------------------------------------------------------------------------------------
def forget_frames(error: BaseException | None, seen: set[int] | None = None) -> None:
    """Have the traceback of an error, and of those behind it, keep no local variables alive."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    traceback.clear_frames(error.__traceback__)
    if error.__traceback__ is not None:
        forget_callers(error.__traceback__.tb_frame)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *inner):
        forget_frames(other, seen)


def forget_callers(frame: FrameType | None) -> None:
    """A frame keeps those that called it: let functions forget their variables, once they are over."""
    while frame is not None:
        if not frame.f_code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            with suppress(RuntimeError):  # it runs
                frame.clear()
        frame = frame.f_back


def held_by(thing: object) -> str:
    """Who refers to it, in a few words."""
    holders = [holder for holder in gc.get_referrers(thing) if not isinstance(holder, FrameType)]
    return ", ".join(f"{type(holder).__name__} {show(holder)}" for holder in holders[:3]) or "a frame or an extension"


class Watch:
    """Things that must be gone at the end; called with one, it watches that."""

    def __init__(self) -> None:
        self.watched: list[tuple[str, weakref.ref[Any]]] = []

    def __call__(self, thing: object, name: str | None = None) -> None:
        """Watch a thing.

        Args:
            thing: what can be referred to weakly.
            name: for the report.
        """
        self.watched.append((show(thing) if name is None else name, weakref.ref(thing)))

    def left(self) -> list[str]:
        """Those that are not gone, and who holds them; collects garbage only if it must."""
        if any(ref() is not None for _, ref in self.watched):
            gc.collect()
        left = []
        for name, ref in self.watched:
            if (thing := ref()) is not None:
                left.append(f"{name}, held by {held_by(thing)}")
        return left


class Arrivals:
    """Threads and files that come while something runs, for a report of those that stay."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.files: dict[int, tuple[int, int] | None] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what comes within."""
        threads, files = set(threading.enumerate()), open_files()
        try:
            yield
        finally:
            self.threads += set(threading.enumerate()) - threads
            self.files.update((fd, identity(fd)) for fd in open_files() - files)

    def threads_left(self) -> list[str]:
        """Those that do not end."""
        gives_up = monotonic() + ENDING
        for thread in self.threads:
            if not thread.name.startswith(CACHED):
                thread.join(max(0.0, gives_up - monotonic()))
        return [thread.name for thread in self.threads if thread.is_alive() and not thread.name.startswith(CACHED)]

    def files_left(self) -> list[str]:
        """Those that are open."""
        return [file_name(fd) for fd, known in self.files.items() if known is not None and identity(fd) == known]


def report(left: dict[Kind, list[str]], where: str) -> None:
    """Raise, if anything is left.

    Raises:
        Leaked: with all of it.
    """
    lines = [f"- {kind}: {one}" for kind in KINDS for one in left.get(kind, ())]
    if lines:
        raise Leaked("\n".join([f"left over {where}:", *lines]))


@contextmanager
def no_leaks() -> Iterator[Callable[..., None]]:
    """Make sure that a block leaves nothing behind: no task of the running loop, no thread, no open file.

    As a value it has a function that takes what else must be gone: `gone(thing)`.

    Raises:
        Leaked: something is left; the text names it.

    Example:
        ```python
        with no_leaks() as gone:
            connection = connect()
            gone(connection)
            connection.close()
            del connection
        ```
    """
    before, arrivals, watch = running_tasks(), Arrivals(), Watch()
    with arrivals.noted():
        yield watch
    left: dict[Kind, list[str]] = {
        "tasks": [task_name(task) for task in running_tasks() - before],
        "threads": arrivals.threads_left(),
        "files": arrivals.files_left(),
        "instances": watch.left(),
    }
    report(left, "at the end of the block")
