"""What the actors of the telemetry daemon say to each other."""

from __future__ import annotations

from typing import Literal

from trouper import Message, Request


class Sample(Message):
    """One look at the host: shares in percent, rates in bytes per second, `at` in seconds since 1970."""

    at: float
    cpu: float
    memory: float
    disk: float
    disk_read: float
    disk_write: float
    net_in: float
    net_out: float


class Alert(Message):
    """A mean crossed its limit (`raised`) or came back under it (`cleared`)."""

    at: float
    metric: str
    state: Literal["raised", "cleared"]
    mean: float
    above: float
    over: float


class Next(Request[Sample]):
    """Ask the watcher for the next sample it sees: the answer comes when there is one."""


class Raised(Request[tuple[Alert, ...]]):
    """Ask the watcher which alerts are up right now."""


class History(Request[tuple[Sample, ...]]):
    """Ask the store for the samples since a time, averaged over `every` seconds (0: as they were taken)."""

    since: float
    every: float = 0.0


class Alerts(Request[tuple[Alert, ...]]):
    """Ask the store for the last alerts, the newest first."""

    last: int = 50


class Crash(Message):
    """Make the actor that gets it fail: to watch its supervisor at work."""

    why: str = "asked to, over HTTP"


class OnPurpose(Exception):
    """What an actor raises that was told to crash."""
