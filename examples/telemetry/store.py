"""The actor that remembers."""

from __future__ import annotations

import threading
from pathlib import Path

import attrs

from trouper import Reason, actor

from .database import Database
from .messages import Alert, Alerts, Crash, History, OnPurpose, Sample

WEEK = 7 * 24 * 3600.0
Rows = tuple[Sample, ...] | tuple[Alert, ...]


@actor(flavour=threading)
class Store:
    """Owns the SQLite connection, which wants to stay in one thread: a threading actor has one for itself."""

    path: Path
    keep: float = WEEK
    database: Database = attrs.field(init=False)

    def on_start(self) -> None:
        """Open the file: each generation has a connection of its own."""
        self.database = Database(self.path, self.keep)

    def receive(self, message: Sample | Alert | History | Alerts | Crash) -> Rows | None:
        """Store what is told, answer what is asked."""
        match message:
            case Sample() | Alert():
                self.database.add(message)
                return None
            case History(since, every):
                return self.database.history(since, every)
            case Alerts(last):
                return self.database.alerts(last)
            case Crash(why):
                raise OnPurpose(why)

    def on_stop(self, reason: Reason) -> None:
        """Close the file, also after a crash."""
        self.database.close()
