"""The one handler: records are laid out where they are made, and written by a thread.

A lane must not wait for a disk, a pipe or a journal that is slow, or supervision would wait with it. So the thread that
logs only puts bytes into a queue, which is bounded: what does not fit is counted, and said when there is room again. At
the end of the process what is queued is written, under a deadline. What a `kill -9` may cost is the records of the last
milliseconds.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Literal

from trouper.errors import SpecError, Words
from trouper.logs import layouts
from trouper.logs.targets import File, Journal, Stream
from trouper.logs.whose import ActorFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from logging import LogRecord

    from trouper.logs.targets import Target

LIMIT = 10_000  # records that wait for a slow target
FLUSH = 2.0  # seconds for what waits, at the end
LEVELS = ("debug", "info", "warning", "error", "critical")
LAYOUTS = ("text", "json")


class Writer(logging.Handler):
    """A handler whose target is written to by a thread of its own.

    Args:
        target: where the records go.
        layout: makes bytes of a record, in the thread that logs.
    """

    def __init__(self, target: Target, layout: Callable[[LogRecord], bytes]) -> None:
        super().__init__()
        self.target, self.layout = target, layout
        self.addFilter(ActorFilter())
        self.queue: SimpleQueue[bytes | Event | None] = SimpleQueue()
        self.dropped = self.told = 0
        self.over = self.retired = self.complained = False
        self.process = os.getpid()
        self.thread = Thread(target=self.main, name="trouper log", daemon=True)
        self.thread.start()

    # -- where it is logged ------------------------------------------------------------------------------------------
    def emit(self, record: LogRecord) -> None:
        """Queue a record; without a thread (after `close`, in a forked process) it is written at once."""
        try:
            data = self.layout(record)
        except Exception:  # noqa: BLE001 - as every handler does: a bad record must not break its actor
            self.handleError(record)
            return
        if self.over or self.process != os.getpid():
            self.write(data)
        elif self.queue.qsize() < LIMIT:
            self.queue.put(data)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until what is queued is written, for a while."""
        if not self.over and self.process == os.getpid():
            written = Event()
            self.queue.put(written)
            written.wait(FLUSH)

    def close(self) -> None:
        """Write what is queued, and write at once from now on: there may be last words."""
        self.flush()
        self.over = True
        self.queue.put(None)
        super().close()

    def retire(self) -> None:
        """Another handler writes from now on: the target is closed by the thread, which may hang in it."""
        self.retired = True
        self.close()

    # -- in its thread -----------------------------------------------------------------------------------------------
    def main(self) -> None:
        while (item := self.queue.get()) is not None:
            if isinstance(item, Event):
                item.set()
            else:
                self.write(item)
            if self.dropped != self.told and self.queue.qsize() < LIMIT // 2:
                self.tell_dropped()
        if self.retired:
            self.target.close()

    def tell_dropped(self) -> None:
        """Not by a logger: who waits in `flush` may hold the lock of this handler."""
        lost = self.dropped - self.told
        self.told += lost
        said = f"{lost} log records were dropped: what takes them is too slow"
        record = logging.LogRecord("trouper", logging.WARNING, __file__, 0, said, None, None, "tell_dropped")
        self.filter(record)
        self.write(self.layout(record))

    def write(self, data: bytes) -> None:
        try:
            self.target.write(data)
        except Exception as error:  # noqa: BLE001 - a stream may raise what it likes
            if not self.complained:  # a full disk may have room again: each record is tried
                self.complained = True
                with suppress(AttributeError, OSError, ValueError):
                    sys.__stderr__.write(f"trouper: the log cannot be written: {error!r}\n")  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]  # suppressed


def setup_logging(
    level: str = "info",
    *,
    layout: Literal["text", "json"] = "text",
    target: str | Path = "stderr",
) -> None:
    """Send the records of all loggers somewhere, each with the `path`, `generation` and `lane` of its actor.

    No lane waits for the target: a thread writes. `trouper run` calls this, and so does `run` where no logging is
    configured. A second call replaces what the first one set up; handlers of others stay.

    Args:
        level: the least that is logged: `debug`, `info`, `warning`, `error` or `critical`.
        layout: `text` or `json`, one object in a line. The journal keeps fields, whatever this says.
        target: `stderr`, `journal` (that of systemd), or the path of a file. A file that was moved away is made anew,
            so that logrotate needs neither a signal nor `copytruncate`.

    Raises:
        SpecError: there is no such level or layout, or the target cannot be opened.
    """
    check_one_of("level", level, LEVELS)
    check_one_of("layout", layout, LAYOUTS)
    root = logging.getLogger()
    writer = Writer(opened(target), layouts.journal if target == "journal" else layout_of(layout))
    for handler in root.handlers[:]:
        if isinstance(handler, Writer):
            root.removeHandler(handler)
            handler.retire()
    root.addHandler(writer)
    root.setLevel(level.upper())


def opened(target: str | Path) -> Target:
    try:
        if target == "stderr":
            return Stream(sys.stderr)
        return Journal() if target == "journal" else File(Path(target))
    except (OSError, TypeError, ValueError) as error:
        given = Words(f"{target} ({error})")
        raise SpecError("the log", "target", given, "stderr, journal, or a file that can be written") from error


def layout_of(name: str) -> Callable[[LogRecord], bytes]:
    if name == "json":
        from trouper.logs.json_layout import as_json  # noqa: PLC0415 - most logs do without

        return as_json
    return layouts.text


def check_one_of(name: str, given: object, allowed: Collection[str]) -> None:
    if given not in allowed:
        raise SpecError("the log", name, given, ", ".join(allowed))


def flush_logs() -> None:
    """Have what is queued written, under a deadline: the process is about to end without further notice."""
    for handler in logging.root.handlers:
        if isinstance(handler, Writer):
            with suppress(Exception):
                handler.flush()
