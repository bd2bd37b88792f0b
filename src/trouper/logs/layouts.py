"""How a record is laid out, each layout a function from a record to the bytes that a target takes."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Any

from trouper.actors.speaker import ABOUT
from trouper.logs.whose import of_somebody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import LogRecord

FORMAT = "%(asctime)s %(levelname)-8s %(name)s%(who)s: %(message)s"
USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "trouper", "who", ABOUT}
OURS = "path", "generation", "lane"
PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}  # of syslog

plain = logging.Formatter()
head = logging.Formatter(FORMAT)


def text(record: LogRecord) -> bytes:
    """For people. The runtime's own records name in their words whom they are of."""
    told = of_somebody(record) and record.name != "trouper"
    record.__dict__["who"] = " [{path} {generation} {lane}]".format_map(record.__dict__) if told else ""
    return head.format(record).encode(errors="backslashreplace") + b"\n"


def journal(record: LogRecord) -> bytes:
    """One entry of the systemd journal in its native protocol, each field a line or, with a size, any bytes."""
    return b"".join(framed(name, str(value)) for name, value in journal_fields(record))


def journal_fields(record: LogRecord) -> Iterator[tuple[str, object]]:
    trace = traceback_of(record)
    yield "MESSAGE", f"{record.getMessage()}\n{trace}" if trace else record.getMessage()
    yield "PRIORITY", next((priority for level, priority in PRIORITIES.items() if record.levelno >= level), 7)
    yield "SYSLOG_IDENTIFIER", Path(sys.argv[0]).stem.removeprefix("__main__") or "trouper"
    yield "SYSLOG_PID", os.getpid()
    yield "LOGGER", record.name
    yield "THREAD_NAME", record.threadName
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", record.lineno
    yield "CODE_FUNC", record.funcName
    if of_somebody(record):
        for name in OURS:
            yield f"TROUPER_{name.upper()}", getattr(record, name)
    for key, value in extra_of(record).items():
        name = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in key.upper()).strip("_")
        if name[:1].isalpha():
            yield f"EXTRA_{name}"[:64], value


def framed(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + pack("<Q", len(data)) + data + b"\n"


def extra_of(record: LogRecord) -> dict[str, Any]:
    """What the user's code gave with it."""
    return {key: value for key, value in record.__dict__.items() if key not in USUAL and key not in OURS}


def traceback_of(record: LogRecord) -> str:
    """As `logging.Formatter` shows what goes with a message."""
    parts = (
        [plain.formatException(record.exc_info)] if record.exc_info else [record.exc_text] if record.exc_text else []
    )
    parts += [plain.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts)
