"""Exit codes, and the end of a process that some thread will not let end.

| code | when |
|---|---|
| 0 | asked to stop, or finished by itself |
| 70 | a failure reached the root, or something could not be stopped (`EX_SOFTWARE`) |
| 75 | another instance holds the lock (`EX_TEMPFAIL`) |
| 78 | the tree or its configuration is wrong (`EX_CONFIG`) |
| 128 + n | a second signal n cut the shutdown short |
| any | the code of a `SystemExit` that an actor raised |
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from trouper.logs.writer import flush_logs

if TYPE_CHECKING:
    from typing import NoReturn

OK, FAILED, LOCKED, WRONG_TREE = 0, 70, 75, 78

LAST_WORDS = 3.0  # seconds for atexit handlers, logs and stdio


def code_of(cause: BaseException) -> int:
    """The exit code for a failure that reached the root, as Python has it for `SystemExit`, also for one in a group."""
    if isinstance(cause, BaseExceptionGroup) and (exits := cause.subgroup(SystemExit)) is not None:
        return code_of(exits.exceptions[0])
    if not isinstance(cause, SystemExit):
        return FAILED
    if cause.code is None:
        return OK
    return cause.code if isinstance(cause.code, int) else 1


def end_process(code: int) -> NoReturn:
    """Leave, whatever threads still run: atexit handlers, logs and stdio have their turn first, under a deadline.

    In the main thread. A signal cuts the last words short: all that could be stopped is stopped, and the code is known.
    """
    faulthandler.cancel_dump_traceback_later()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(code & 0xFF))
    thread = Thread(target=last_words, name="trouper last words", daemon=True)
    try:
        thread.start()
        thread.join(LAST_WORDS)
    except RuntimeError:  # the system has no thread: here, then, and an alarm is the deadline
        signal.signal(signal.SIGALRM, lambda *_: os._exit(code & 0xFF))
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS)
        last_words()
    os._exit(code & 0xFF)


def last_words() -> None:
    flush_logs()  # first: an atexit handler may hang
    with suppress(BaseException):
        atexit._run_exitfuncs()
    with suppress(BaseException):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
