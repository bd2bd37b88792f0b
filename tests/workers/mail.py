"""Messages of every kind that travels, what is held against them, and actors that take them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import trio

from trouper import Mailbox, Message, Ref, Request, actor


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Place:
    x: int
    inner: Place | None = None


class Sample(Message):
    name: str
    value: float


class Batch(Message):
    numbers: list[int]
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    colour: Colour | None = None
    kind: Literal["a", "b"] = "a"
    place: Place | None = None
    data: bytes = b""


class Mean(Request[float]):
    name: str


class Where(Request[Place]):
    place: Place


def conforms(message: object) -> bool:
    """Whether a value is exactly what the types above say."""
    if type(message) is Sample:
        return type(message.name) is str and type(message.value) is float
    if type(message) is Mean:
        return type(message.name) is str
    if type(message) is Where:
        return is_place(message.place)
    return (
        type(message) is Batch
        and type(message.numbers) is list
        and all(type(number) is int for number in message.numbers)
        and type(message.extra) is dict
        and all(type(key) is str for key in message.extra)
        and type(message.pair) is tuple
        and [type(part) for part in message.pair] == [int, str]
        and (message.colour is None or type(message.colour) is Colour)
        and message.kind in ("a", "b")
        and (message.place is None or is_place(message.place))
        and type(message.data) is bytes
    )


def is_place(value: object) -> bool:
    return type(value) is Place and type(value.x) is int and (value.inner is None or is_place(value.inner))


@actor(flavour=trio, mailbox=Mailbox(1000))
class Taker:
    """Never run: its mailbox is looked at."""

    async def receive(self, message: Sample | Batch | Mean | Where) -> Any: ...


@actor(flavour=trio)
class Pointer:
    async def receive(self, message: Pointing) -> None: ...


class Pointing(Message):
    to: Ref[Sample]
    error: BaseException | None = None
