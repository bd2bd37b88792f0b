"""The embedded database: one SQLite file with two tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import attrs
import msgspec

from .messages import Alert, Sample

SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists sample (at, cpu, memory, disk, disk_read, disk_write, net_in, net_out);
create index if not exists sample_at on sample (at);
create table if not exists alert (at, metric, state, mean, above, over);
"""
MEANS = """
select avg(at), avg(cpu), avg(memory), avg(disk), avg(disk_read), avg(disk_write), avg(net_in), avg(net_out)
from sample where at >= ? group by cast(at / ? as int) order by 1
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, and make it and its tables where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(SCHEMA)
    return connection


@attrs.frozen
class Database:
    """Samples and alerts on disk. A connection belongs to the thread that opened it."""

    path: Path
    keep: float
    """How long samples are kept, in seconds."""
    connection: sqlite3.Connection = attrs.field(
        init=False, default=attrs.Factory(lambda me: connect(me.path), takes_self=True)
    )

    def add(self, row: Sample | Alert) -> None:
        """Store a sample or an alert, and let go of the samples that are too old."""
        values = msgspec.structs.astuple(row)
        if isinstance(row, Alert):
            self.connection.execute("insert into alert values (?, ?, ?, ?, ?, ?)", values)
            return
        self.connection.execute("insert into sample values (?, ?, ?, ?, ?, ?, ?, ?)", values)
        self.connection.execute("delete from sample where at < ?", [row.at - self.keep])

    def history(self, since: float, every: float) -> tuple[Sample, ...]:
        """Return the samples since then, the oldest first; as means over `every` seconds if that is not 0."""
        if every == 0:
            rows = self.connection.execute("select * from sample where at >= ? order by at", [since])
        else:
            rows = self.connection.execute(MEANS, [since, every])
        return tuple(Sample(*row) for row in rows)

    def alerts(self, last: int) -> tuple[Alert, ...]:
        """Return the last alerts, the newest first."""
        rows = self.connection.execute("select * from alert order by at desc limit ?", [last])
        return tuple(Alert(*row) for row in rows)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
