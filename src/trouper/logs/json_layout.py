"""Records as JSON: a module of its own, for the one of the standard library is not needed elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trouper.logs.layouts import OURS, extra_of, traceback_of
from trouper.logs.whose import of_somebody

if TYPE_CHECKING:
    from logging import LogRecord


def as_json(record: LogRecord) -> bytes:
    """One JSON object in a line."""
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    if of_somebody(record):
        fields |= {name: getattr(record, name) for name in OURS}
    if trace := traceback_of(record):
        fields["exception"] = trace
    if extra := extra_of(record):
        try:
            return dump({**fields, "extra": extra})
        except (TypeError, ValueError, RecursionError):  # a cycle, a key that is none, a number that JSON has not
            fields["extra"] = {str(key): repr(value) for key, value in extra.items()}
    return dump(fields)


def dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, default=repr, allow_nan=False).encode() + b"\n"
