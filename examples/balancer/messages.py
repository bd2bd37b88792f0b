"""What the parts tell each other."""

from __future__ import annotations

from trouper import Message, Request


class Load(Message):
    """How busy the host is, in percent of all its cores."""

    percent: float


class Report(Message):
    """What the controller sees, and what it wants."""

    load: float
    demand: int
    supply: int


class Status(Request[Report]): ...
