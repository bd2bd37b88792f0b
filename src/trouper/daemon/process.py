"""`run`: a daemon that owns its process: signals, exit code, and the certainty that it ends."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import sys
from functools import partial
from math import isfinite
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

import trio

from trouper.daemon.daemon import Daemon
from trouper.daemon.exits import FAILED, LOCKED, WRONG_TREE, end_process
from trouper.daemon.listeners import forget_passed
from trouper.daemon.lock import Lock, Locked
from trouper.daemon.notify import tell_systemd
from trouper.daemon.services import default_services
from trouper.daemon.signals import Signals
from trouper.errors import SpecError, UsageError
from trouper.lanes.slot import in_event_loop
from trouper.logs import setup_logging
from trouper.workers.main_module import importing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import NoReturn

    from trouper.daemon.before import Hook
    from trouper.daemon.notify import Systemd
    from trouper.daemon.services import Services
    from trouper.supervision.spec import Child, Supervisor

log = logging.getLogger("trouper")

# seconds; with the default of 5 ms a flooded lane keeps other threads waiting for up to a second. Who waits beside two
# flooded lanes is passed over by chance: a quarter of a slice makes that half as long as half a slice does.
SWITCH_INTERVAL = 0.00025
STOP_WITHIN = 60.0  # seconds; below the 90 of systemd
GC_THRESHOLD = (100_000, 50, 1000)  # the default costs a factor of two to three where many actors are made


def run(
    tree: Child[Any] | Supervisor | None = None,
    *,
    services: Services | None = None,
    stop_within: float = STOP_WITHIN,
    stall_after: float = 5.0,
    uvloop: bool = False,
    lock: str | Path | None = None,
    hooks: Iterable[Hook] = (),
) -> NoReturn:
    """Run a tree until it is told to stop, ends by itself or fails; the exit code of the process says which.

    The first SIGTERM or SIGINT stops the tree in good order, a second one ends the process at once; SIGHUP has actors
    reload, and SIGUSR1 writes to the log what runs (`trouper.daemon.signals` lists them). Call it in the main thread;
    it does not return, so that no forgotten thread can keep the process. `trouper.daemon.exits` lists the exit codes.

    Args:
        tree: a supervisor, or one child; None for services alone.
        services: what is run beside the tree; None for `default_services`.
        stop_within: seconds for the whole stop.
        stall_after: seconds without a turn after which a lane is reported.
        uvloop: whether the asyncio lane runs on uvloop, which the extra `trouper[uvloop]` installs.
        lock: a file that one process at a time can hold; the exit code is 75 if another one does.
        hooks: what is done before a step of the daemon goes on, see `before`.

    Where no logging is configured, records of level `info` go to stderr. If systemd started the process it is told
    when the tree is ready, how it does, and that it turns.

    Raises:
        UsageError: this is not the main thread, uvloop is not installed, or a daemon runs these services already.
    """
    if importing:
        raise UsageError(
            f"run was called while a worker process imports {importing[0]}; let it stand below"
            ' `if __name__ == "__main__":`'
        )
    if current_thread() is not main_thread() or in_event_loop():
        raise UsageError(
            "run belongs into the main thread, which alone can handle signals, and outside of an event loop;"
            " elsewhere use `async with open_daemon(tree)`"
        )
    if not logging.root.handlers:
        setup_logging()
    try:
        daemon = Daemon(
            tree,
            services=default_services if services is None else services,
            stop_within=stop_within,
            stall_after=stall_after,
            uvloop=uvloop,
            hooks=hooks,
        )
        if lock is not None:
            Lock(lock)
    except SpecError as error:
        log.critical("the tree or an option is wrong: %s", error)
        end_process(WRONG_TREE)
    except Locked as error:
        log.critical("%s", error)
        end_process(LOCKED)
    signals = Signals(daemon)
    systemd = tell_systemd(daemon, os.environ)
    forget_passed(os.environ)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*GC_THRESHOLD)
    daemon.on_deadline = lambda: leave(signals, systemd, daemon.code or FAILED)
    if isfinite(stall_after) and has_file(sys.stderr):
        # the only thing that works while C code holds the GIL
        daemon.watchdog.each_round = partial(faulthandler.dump_traceback_later, 3 * stall_after)
    try:
        trio.run(daemon.main, signals.listen)
    except BaseException:  # a bug of ours must not pass for a clean end
        log.critical("the control lane failed", exc_info=True)
        leave(signals, systemd, FAILED)
    leave(signals, systemd, daemon.code)


def leave(signals: Signals, systemd: Systemd | None, code: int) -> NoReturn:
    """End the process, whichever way led here; systemd hears it before."""
    if systemd is not None:
        systemd.ended()
    signals.end(code)


def has_file(stream: Any) -> bool:
    """Whether there is a file below it that faulthandler can write to."""
    try:
        return stream.fileno() >= 0  # type: ignore[no-any-return]
    except (AttributeError, OSError, ValueError):
        return False
