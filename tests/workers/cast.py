"""Actors for worker processes, and what they say to the test that watches them."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Never

import attrs

from trouper import actor, current


def say(stage: str, *words: object) -> None:
    """Tell the test, which hears whole lines in the order in which they were said."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mouth, suppress(OSError):
        mouth.sendto(" ".join(map(str, words)).encode(), stage)


@actor(flavour="trio")
class Idle:
    """It says where it is, and waits to be stopped."""

    stage: str

    async def on_start(self) -> None:
        here = current(self)
        say(self.stage, "up", here.path, here.daemon.worker_id, os.getpid())

    async def on_stop(self, reason: object) -> None:
        say(self.stage, "on_stop", current(self).path, reason)

    async def receive(self, message: Never) -> None: ...


class Late:
    """Where it is unpacked, that waits until the test writes to a pipe."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (self.stage,)


def unpacked(stage: str) -> Late:
    say(stage, "unpacks")
    Path(f"{stage}.pipe").read_bytes()
    return Late(stage)


@actor(flavour="trio")
class Waits:
    late: Late

    async def receive(self, message: Never) -> None: ...


@actor(flavour="threading")
class Does:
    """It says that it is up, and does one thing when the test gives the cue."""

    stage: str
    deed: Callable[[Any], object]
    ear: socket.socket = attrs.field(init=False)

    def on_start(self) -> None:
        here = current(self)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        cue = f"{self.stage}.{here.daemon.worker_id}"
        Path(cue).unlink(missing_ok=True)
        self.ear.bind(cue)
        say(self.stage, "up", here.path, here.daemon.worker_id, os.getpid())

    def run(self) -> None:
        with self.ear:
            if self.ear.recv(64) == b"cue":
                self.deed(self)

    def interrupt(self) -> None:
        say(self.ear.getsockname(), "stop")


@actor(flavour="trio")
class Constructs:
    """It does one thing while it is constructed."""

    stage: str
    deed: Callable[[Any], object]

    def __attrs_post_init__(self) -> None:
        say(self.stage, "constructs", os.getpid())
        self.deed(self)

    async def receive(self, message: Never) -> None: ...


# -- deeds -------------------------------------------------------------------------------------------------------------


def nothing(me: Any) -> None: ...


def fail(me: Any) -> None:
    raise ValueError("over its own feet")


def fail_once(me: Any) -> None:
    """Fail in the first life of the first worker, and in no other."""
    mark = Path(me.stage).with_suffix(".mark")
    if not mark.exists():
        mark.touch()
        fail(me)


def exit_3(me: Any) -> None:
    sys.exit(3)


def leave_at_once(me: Any) -> None:
    os._exit(9)


def segfault(me: Any) -> None:
    faulthandler.disable()  # it would write a page about it
    ctypes.string_at(0)


def hang(me: Any) -> None:
    """As native code does that never lets go of the interpreter: no Python code runs any more, not even for SIGTERM."""
    say(me.stage, "hangs", os.getpid())
    ctypes.PyDLL(None).sleep(600)


def have_children(me: Any) -> None:
    """Start a process, and another that makes itself a daemon."""
    child = subprocess.Popen(["/bin/sleep", "600"])
    hides = "echo $$; exec sleep 600 >/dev/null"  # which says so when it has done it
    double = subprocess.run(["/usr/bin/setsid", "-f", "/bin/sh", "-c", hides], stdout=subprocess.PIPE, check=True)
    say(me.stage, "children", child.pid, double.stdout.decode().strip())
    current(me).sleep_sync(inf)


def leave_a_daemon(me: Any) -> None:
    """Start a process that has all that this one has open, and a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.pause()
        os._exit(0)
    say(me.stage, "left")
    current(me).sleep_sync(inf)


def say_at_exit(me: Any) -> None:
    atexit.register(say, me.stage, "atexit")
    sys.stdout.write("kept back in stdout")
    say(me.stage, "acts")
    try:
        current(me).sleep_sync(inf)
    finally:
        say(me.stage, "finally")


def ask_at_exit(me: Any) -> None:
    here = current(me)
    path, daemon = here.path, here.daemon
    atexit.register(lambda: say(me.stage, "atexit", daemon.restart_sync(path)))
    say(me.stage, "acts")


def is_posted(notice: str) -> bool:
    """Whether the test has put up this file."""
    return Path(notice).exists()


@actor(flavour="trio")
class Reloads:
    """It says that it reloads; whether that fails or hangs, a file says."""

    stage: str

    async def on_start(self) -> None:
        here = current(self)
        say(self.stage, "up", here.path, here.generation)

    async def on_reload(self) -> None:
        here = current(self)
        say(self.stage, "reloads", here.path)
        if is_posted(f"{self.stage}.hangs.{here.daemon.worker_id}"):
            await here.sleep(inf)
        if is_posted(f"{self.stage}.fails.{here.daemon.worker_id}"):
            raise ValueError("no such setting")

    async def receive(self, message: Never) -> None: ...


@actor(flavour="trio")
class Raises:
    """It does not come up."""

    async def on_start(self) -> None:
        raise OSError("no such device")

    async def receive(self, message: Never) -> None: ...
