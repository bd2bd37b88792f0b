"""The messages of the limits: declared as trouper declares its own, so that making one costs the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class Tick(msgspec.Struct, frozen=True, tag=True):
    """Count this."""


class Total(msgspec.Struct, frozen=True, tag=True):
    """Give the sum to `answer`."""

    answer: Callable[[int], object]


class Hop(msgspec.Struct, frozen=True, tag=True):
    """Pass on until nothing is left."""

    left: int


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Answer `sender` with a `Pong`."""

    sender: Any


class Pong(msgspec.Struct, frozen=True, tag=True):
    """The answer to a `Ping`."""


class Boom(msgspec.Struct, frozen=True, tag=True):
    """Raise."""


class BoomError(Exception):
    """What a `Boom` raises."""
