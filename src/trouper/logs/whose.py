"""Which actor a log record is of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from trouper.actors.speaker import ABOUT, speaker

if TYPE_CHECKING:
    from logging import LogRecord

NOBODY = {"path": "-", "generation": 0, "lane": "-"}


class ActorFilter(logging.Filter):
    """Gives log records `path`, `generation` and `lane`: those of the actor whose code logs, or that is told of.

    `setup_logging` uses it. In a configuration of your own, put it on a handler, where it sees the records of all
    loggers: `{"actor": {"()": "trouper.ActorFilter"}}` among the `filters` of `logging.config.dictConfig`. It works in
    handlers, also in those that were suspended, in tasks and in `to_thread`. Records of nobody have `-`, 0 and `-`.
    What a record has already, by `extra=`, stands.
    """

    def filter(self, record: LogRecord) -> bool:
        """Complete a record; none is left out."""
        about: dict[str, Any] = getattr(record, ABOUT, {})
        if not about and (who := speaker()) is not None:
            about = who._asdict()
        for name, value in {**NOBODY, **about}.items():
            record.__dict__.setdefault(name, value)
        return True


def of_somebody(record: LogRecord) -> bool:
    """Whether it is of an actor; the filter has seen it."""
    return bool(record.__dict__["path"] != NOBODY["path"])
